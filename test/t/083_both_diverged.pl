# Both followers have left the log of the node that is elected: its gate can only open when
# one of them was rewound against it, so it serves a rewind before it serves anybody else.
#
# How it comes to that: n1 dies with WAL that nobody has; a leads, nobody can stream from it,
# and it dies; n1 leads again, and dies while c takes over what only n1 had.  Now the log of
# a is the best one that is left, for its timeline, and neither n1's nor c's fits to it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumHba;
use Test::More;

my $cluster = QuorumCluster->new('both_diverged', nodes => 3);
my $n1 = $cluster->leader;
my @followers = $cluster->followers;

$n1->safe_psql('postgres', 'CREATE TABLE t (id int, filler text)');
$cluster->wait_for_followers;

sub role
{
	my ($node) = @_;
	return $cluster->ask($node, "SELECT role || ' ' || gate || ' ' || term FROM quorum.status") // '';
}

sub received
{
	my ($node) = @_;
	return $cluster->ask($node, "SELECT pg_last_wal_receive_lsn() - '0/0'") // 0;
}

# ---- n1 has much that nobody else has -------------------------------------------------

my %hba = map { $_->{quorum_name} => QuorumHba->new($_) } @followers;
$_->refuse_streams($cluster) for values %hba;
my @writers = $cluster->write_alone($n1, "INSERT INTO t SELECT i, repeat('x', 1900) FROM generate_series(1, 60000) AS i");
my %open = map { $_->{quorum_name} => $cluster->session($_) } @followers;
$open{$_}->ask('SELECT 1') for keys %open;
$cluster->kill_all($n1);

# ---- a leads, and nobody gets anything of it ------------------------------------------

my $elected = $cluster->wait_until('an elected node', sub {
	my ($found) = grep { role($_) =~ /^leader / } @followers;
	return $found;
});
my ($c) = grep { $_ != $elected } @followers;
$cluster->wait_until('its timeline', sub {
	return ($cluster->ask($elected, 'SELECT NOT pg_is_in_recovery()', timeout => 5) // '') eq 't'
	  || $cluster->log_since($elected) =~ /promoted to timeline/;
});
my $early = $cluster->seen_within($cluster->lease / 1000, sub { return join ' ', grep { / open / } map { role($_) } @followers });
my $common = received($c);
is($early, undef, 'nobody streams from the elected node: its gate is shut');
my $session = $open{ $elected->{quorum_name} };
$cluster->wait_until('it has promoted', sub { ($session->ask('SELECT pg_is_in_recovery()') // '') eq 'f' });
is($session->ask('SELECT count(*) FROM t'), undef, 'a session from before the promotion reads nothing while the gate is shut');
like($session->error, qr/read refused.*Its gate is closed/s, '... and says why');
is($session->ask('CREATE TABLE early ()'), undef, '... nor does it write');
undef %open;
undef $session;
$cluster->kill_all($elected);

# ---- n1 leads again, until c has some of what only n1 had ------------------------------

my $offset = $cluster->log_size($n1);
$cluster->start($n1);
$cluster->wait_until('WAL of n1 on its way', sub { received($c) > $common });
$cluster->kill_all($n1);
unlike($cluster->log_since($n1, $offset), qr/gate open/, 'n1 dies before its gate opens');

# ---- the situation --------------------------------------------------------------------

$hba{ $elected->{quorum_name} }->put_back;
$offset = $cluster->log_size($elected);
my %from = map { $_->{quorum_name} => $cluster->log_size($_) } $c, $n1;
$cluster->start($elected);
$cluster->wait_for_log($elected, qr/promoted to timeline/, $offset);
$cluster->start($n1);

is($cluster->wait_for_leader, $elected, 'the elected node opens its gate');
like($cluster->log_since($elected, $offset), qr/checkpoint starting: [a-z -]*(?:immediate|fast).*gate open/s,
	'... behind a checkpoint, which the rewind needs, and does not take its time');
$cluster->wait_for_followers;
ok($cluster->wait_for_log($c, qr/rewound and following in term/, $from{ $c->{quorum_name} }), '... after it was rewound from');
ok($cluster->wait_for_log($n1, qr/(?:rewound|cloned) and following in term/, $from{ $n1->{quorum_name} }), 'the other one comes back, too');
unlike($cluster->log_since($elected, $offset), qr/leader is (?!\Q$elected->{quorum_name}\E )/,
	'nobody else led meanwhile');
is($cluster->ask($elected, 'SELECT count(*) FROM t'), '0', 'nothing of n1 is left');

done_testing();
