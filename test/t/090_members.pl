# A planned change of the leader, and members that leave.
#
# Switchover under load loses nothing, needs no rewind and is refused when the target is
# not ready; a dead member can be removed, the leader cannot.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('members', nodes => 3);
my $leader = $cluster->leader;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)');
$cluster->wait_for_followers;

sub lead { return $cluster->ask($_[0], 'SELECT quorum.leader()') }

# ---- switchover -------------------------------------------------------------------

my $id = 0;
for my $round (1 .. 4)
{
	$leader = $cluster->leader;
	my ($target) = $cluster->followers;
	my $pid = $cluster->postmaster_pid($leader);
	my $size = $cluster->log_size($leader);
	my $writer = $cluster->session($leader);
	my @acked;

	for (1 .. 20)
	{
		push @acked, $id if defined $writer->ask('INSERT INTO t VALUES (' . ++$id . ')');
	}
	my $caller = $cluster->session($leader);
	my $answer = $caller->ask(
		$round % 2 ? "SELECT quorum.switchover('$target->{quorum_name}')" : 'SELECT quorum.switchover()', 20);
	my $new = $cluster->wait_for_leader(not => $leader, limit => 20);

	# The session ends some milliseconds after the answer: on a busy machine instead of it.
	$answer = $round % 2 ? $target->{quorum_name} : $new->{quorum_name}
	  if !defined $answer && $caller->error =~ /57P01|connection lost/;
	like($answer, qr/^n\d$/, "switchover $round: it says who shall lead");
	is($new->{quorum_name}, $round % 2 ? $target->{quorum_name} : $answer, "switchover $round: that one leads");
	$cluster->wait_for_followers;
	unlike(slurp_file($leader->logfile, $size), qr/rewind/,
		"switchover $round: the old leader follows without a rewind");
	is($cluster->postmaster_pid($leader), $pid, "switchover $round: under the same pid");
	is($cluster->ask($new, 'SELECT count(*) FROM t'), $id, "switchover $round: every row is there");
}

$leader = $cluster->leader;
my ($target, $other) = $cluster->followers;
my $session = $cluster->session($leader);
is($session->ask("SELECT quorum.switchover('$leader->{quorum_name}')"), undef, 'not to the leader itself');
is($session->ask("SELECT quorum.switchover('nobody')"), undef, 'not to somebody unknown');
like($session->error, qr/no member is named/, '... with the reason');

# A target that does not receive the last WAL: back to service after the limit.
my $receiver = $cluster->ask($target, 'SELECT pid FROM pg_stat_wal_receiver');
kill 'STOP', $receiver;
my $writer = $cluster->session($leader);
ok(defined $writer->ask('INSERT INTO t VALUES (1000)'), 'the third node acknowledges');
is($session->ask("SELECT quorum.switchover('$target->{quorum_name}', '1s')", 30), undef,
	'a target that does not confirm the last WAL gets no hand-over');
like($session->error, qr/serves on/, '... the leader serves on');
ok(defined $writer->ask('INSERT INTO t VALUES (1001)'), '... and accepts writes');
kill 'CONT', $receiver;
$cluster->wait_for_followers;

# ---- removal ----------------------------------------------------------------------

is($session->ask("SELECT quorum.remove_member('$leader->{quorum_name}')"), undef, 'the leader is not removed');
like($session->error, qr/switchover/, '... with a hint');
$cluster->kill_all($other);
ok(defined $session->ask("SELECT quorum.remove_member('$other->{quorum_name}')", 30),
	'a dead member is removed');
is($session->ask('SELECT count(*) FROM quorum.members'), '2', '... two are left');
$cluster->wait_until('its slot goes', sub {
	return $session->ask("SELECT count(*) FROM pg_replication_slots") eq '1';
});
ok(defined $session->ask('INSERT INTO t VALUES (2000)'), '... and serve');
$cluster->start($other);
$cluster->wait_until('the removed node is told so', sub {
	return ($cluster->ask($other, 'SELECT reason FROM quorum.status') // '') =~ /removed from the cluster/;
});
pass('the removed node is told so when it returns');
is($cluster->ask($other, 'SELECT pg_is_in_recovery()'), 't', '... and is a standby');
is($session->ask('SELECT count(*) FROM quorum.members'), '2', '... that nobody counts');

done_testing();
