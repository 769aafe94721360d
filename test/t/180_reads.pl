# How sure a read is: quorum.read_consistency on the leader and on a standby.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('reads', nodes => 3, lease => 3000);
my $leader = $cluster->leader;
my ($follower) = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)');
$cluster->wait_for_followers;

# A session with that level; its reads give up soon.
sub reader
{
	my ($node, $level, $ms) = @_;
	my $session = $cluster->session($node);

	$session->ask("SET quorum.read_consistency = $level");
	$session->ask("SET quorum.read_timeout = $ms");
	return $session;
}

sub worker { return $cluster->ask($_[0], 'SELECT worker_pid FROM quorum.status'); }

# Reads that do not pass the executor.
$leader->safe_psql('postgres', q{SELECT lo_from_bytea(7777, 'one')});
my $exported = PostgreSQL::Test::Utils::tempdir() . '/exported';
my %unseen = (
	'COPY' => 'COPY t TO STDOUT',
	'an expression of DO' => q{DO $$ DECLARE b bytea; BEGIN b := lo_get(7777); END $$},
	'a function call of the protocol' => "\\lo_export 7777 '$exported'");
$cluster->wait_for_followers;
my %brief = (leader => reader($leader, 'quorum', 5000), follower => reader($follower, 'committed', 5000));
for my $node (sort keys %brief)
{
	ok(defined $brief{$node}->ask($unseen{$_}), "the $node answers: $_") for sort keys %unseen;
	$brief{$node}->ask('SET quorum.read_timeout = 100');
}

my %at_leader = map { $_ => reader($leader, $_, 300) } qw(local lease committed quorum);
my %at_follower = map { $_ => reader($follower, $_, 300) } qw(local lease committed quorum);

$cluster->wait_until('the standby has the row', sub {
	return ($at_follower{local}->ask('SELECT count(*) FROM t') // '') eq '1';
});
is($at_leader{$_}->ask('SELECT count(*) FROM t'), '1', "the leader answers: $_") for sort keys %at_leader;
is($at_follower{$_}->ask('SELECT count(*) FROM t'), '1', "a standby answers: $_")
	for sort keys %at_follower;
# ---- no majority answers, the lease is not over yet ----------------------------------

my @workers = map { worker($_) } $cluster->followers;
kill 'STOP', @workers;
is($at_leader{quorum}->ask('SELECT count(*) FROM t'), undef, 'quorum: nobody confirms the read');
like($at_leader{quorum}->error, qr/not confirmed within 300 ms/, '... and it says so');
for my $what (sort keys %unseen)
{
	is($brief{leader}->ask($unseen{$what}), undef, "quorum: neither is $what");
	like($brief{leader}->error, qr/not confirmed within 100 ms/, '... and it says so');
}
is($at_leader{lease}->ask('SELECT count(*) FROM t'), '1', 'lease: valid all the same');
is($at_leader{quorum}->ask('SELECT role FROM quorum.status'), 'leader',
	'quorum: the own status needs no confirmation');
kill 'CONT', @workers;
$cluster->wait_until('reads are confirmed again', sub {
	return defined $at_leader{quorum}->ask('SELECT count(*) FROM t');
});
pass('reads are confirmed again');

# ---- a standby has replayed what it does not know to be held -------------------------

my ($worker) = worker($leader);
kill 'STOP', $worker;
my $writer = $cluster->session($leader);
ok(defined $writer->ask('INSERT INTO t VALUES (2)'), 'a commit under the lease, heartbeats stopped');
$cluster->wait_until('the standby has replayed it', sub {
	return ($at_follower{local}->ask('SELECT count(*) FROM t') // '') eq '2';
});
is($at_follower{lease}->ask('SELECT count(*) FROM t'), '2', 'lease: a standby shows what it has');
for my $level (qw(committed quorum))
{
	is($at_follower{$level}->ask('SELECT count(*) FROM t'), undef,
		"$level: it is not known that the quorum has it");
	like($at_follower{$level}->error, qr/not confirmed within 300 ms/, '... and it says so');
}
for my $what (sort keys %unseen)
{
	is($brief{follower}->ask($unseen{$what}), undef, "committed: neither is $what");
	like($brief{follower}->error, qr/not confirmed within 100 ms/, '... and it says so');
}
kill 'CONT', $worker;
$cluster->wait_until('it is known', sub {
	return ($at_follower{committed}->ask('SELECT count(*) FROM t') // '') eq '2';
});
pass('committed: shown as soon as it is known');

# ---- a leader without a lease ---------------------------------------------------------

$leader = $cluster->leader;
$at_leader{$_} = reader($leader, $_, 300) for qw(local lease);
$worker = worker($leader);
kill 'STOP', $worker;
$cluster->wait_until('the lease is over', sub {
	return !defined $at_leader{lease}->ask('SELECT count(*) FROM t');
});
like($at_leader{lease}->error, qr/does not lead its cluster: read refused/, 'lease: refused');
is($at_leader{local}->ask('SELECT count(*) FROM t'), '2', 'local: answered by whoever has asked for it');
ok(!defined $at_leader{local}->ask('INSERT INTO t VALUES (3)'), 'local: a write is refused');
kill 'CONT', $worker;

$cluster->wait_for_leader;
done_testing();
