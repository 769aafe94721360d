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
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

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

# Nobody streams from this node any more, once its server has read it.
sub refuse_streams
{
	my ($node) = @_;
	my $file = $node->data_dir . '/pg_hba.conf';
	my $text = PostgreSQL::Test::Utils::slurp_file($file);

	open(my $out, '>', $file) or die "$file: $!";
	print $out "local replication all reject\nhost replication all all reject\n$text";
	close $out;
	$cluster->ask($node, 'SELECT pg_reload_conf()');
	return sub {
		open(my $again, '>', $file) or die "$file: $!";
		print $again $text;
		close $again;
	};
}

# ---- n1 has much that nobody else has -------------------------------------------------

my %allow = map { $_->{quorum_name} => refuse_streams($_) } @followers;
kill 'STOP', split /\n/, $cluster->ask($n1, 'SELECT pid FROM pg_stat_replication');
my $writer = $cluster->session($n1);
$writer->send("INSERT INTO t SELECT i, repeat('x', 1900) FROM generate_series(1, 60000) AS i");
$cluster->wait_until('WAL that only n1 has', sub {
	return $cluster->ask($n1, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query ~ '^INSERT'");
});
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
	  || PostgreSQL::Test::Utils::slurp_file($elected->logfile) =~ /promoted to timeline/;
});
my $until = time() + $cluster->lease / 1000;
$cluster->wait_until('a gate that opens too early', sub { time() > $until || grep { role($_) =~ / open / } @followers });
my $common = received($c);
is(scalar(grep { role($_) =~ / open / } @followers), 0, 'nobody streams from the elected node: its gate is shut');
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
unlike(PostgreSQL::Test::Utils::slurp_file($n1->logfile, $offset), qr/gate open/, 'n1 dies before its gate opens');

# ---- the situation --------------------------------------------------------------------

$allow{ $elected->{quorum_name} }->();
$offset = $cluster->log_size($elected);
my %from = map { $_->{quorum_name} => $cluster->log_size($_) } $c, $n1;
$cluster->start($elected);
$cluster->wait_for_log($elected, qr/promoted to timeline/, $offset);
$cluster->start($n1);

is($cluster->wait_for_leader, $elected, 'the elected node opens its gate');
like(PostgreSQL::Test::Utils::slurp_file($elected->logfile, $offset), qr/checkpoint starting: [a-z -]*(?:immediate|fast).*gate open/s,
	'... behind a checkpoint, which the rewind needs, and does not take its time');
$cluster->wait_for_followers;
ok($cluster->wait_for_log($c, qr/rewound and following in term/, $from{ $c->{quorum_name} }), '... after it was rewound from');
ok($cluster->wait_for_log($n1, qr/(?:rewound|cloned) and following in term/, $from{ $n1->{quorum_name} }), 'the other one comes back, too');
unlike(PostgreSQL::Test::Utils::slurp_file($elected->logfile, $offset), qr/leader is (?!\Q$elected->{quorum_name}\E )/,
	'nobody else led meanwhile');
is($cluster->ask($elected, 'SELECT count(*) FROM t'), '0', 'nothing of n1 is left');

done_testing();
