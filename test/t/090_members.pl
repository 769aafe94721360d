# A planned change of the leader, and members that leave.
#
# Switchover under load loses nothing, needs no rewind, gives its answer and is refused when
# the target is not ready or the checkpoint takes too long; with two voters it does not come
# back.  A dead member can be removed, the leader cannot.

use strict;
use warnings;

use FindBin;
use List::Util qw(min);
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('members', nodes => 3, conf => 'wal_writer_delay = 1ms');
my $leader = $cluster->leader;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)');
$cluster->wait_for_followers;

sub lead { return $cluster->ask($_[0], 'SELECT quorum.leader()') }

# ---- switchover -------------------------------------------------------------------

# Milliseconds of the day at which something was written to a log.
sub logged_at
{
	my ($text, $regexp) = @_;
	my ($h, $m, $s) = $text =~ /^\S+ (\d+):(\d+):(\d+\.\d+) [^\n]*$regexp/m or return undef;
	return 1000 * ($s + 60 * ($m + 60 * $h));
}

# Milliseconds that an old leader stayed once it might stop: as its successor served, or when
# it had waited a quarter of a second for that.
sub stayed
{
	my ($log, $log_of_successor) = @_;
	my $handed_over = logged_at($log, qr/handed over/);
	my $serves = logged_at($log_of_successor, qr/gate open in term/);

	return logged_at($log, qr/restarting in place/) - min($handed_over + 250, $serves // ());
}

# A statement that writes WAL all the time and would go on for minutes: it looks at the gate
# before its first row and after its last.
sub bulk_load
{
	my ($node) = @_;
	my $loader = $cluster->session($node);
	$loader->send(q{INSERT INTO bulk
		SELECT i, repeat('x', 500) || CASE WHEN i % 10 = 0 THEN pg_sleep(0.001)::text ELSE '' END
		FROM (SELECT generate_series(1, 10000000) AS i) AS rows});
	$cluster->wait_until('the load writes', sub {
		return ($cluster->ask($node, "SELECT pg_relation_size('bulk') > 200000") // '') eq 't';
	});
	return $loader;
}

$leader->safe_psql('postgres', 'CREATE TABLE bulk (id int, filler text)');
my $id = 0;
my @stayed;
for my $round (1 .. 4)
{
	$leader = $cluster->leader;
	my ($target) = $cluster->followers;
	my $pid = $cluster->postmaster_pid($leader);
	my %size = map { $_->{quorum_name} => $cluster->log_size($_) } $leader, $cluster->followers;
	my $writer = $cluster->session($leader);
	my $loader = $round > 2 ? bulk_load($leader) : undef;
	my $caller = $cluster->session($leader);

	for (1 .. 20)
	{
		$writer->ask('INSERT INTO t VALUES (' . ++$id . ')');
	}
	my $answer = $round % 2 ? $caller->ask("SELECT quorum.switchover('$target->{quorum_name}')", 20) :
	  $cluster->ask($leader, 'SELECT quorum.switchover()', timeout => 20);
	my $new = $cluster->wait_for_leader(not => $leader, limit => 20);

	like($answer // $caller->error . $cluster->{last_error}, qr/^n\d$/, "switchover $round: it says who shall lead");
	is($new->{quorum_name}, $round % 2 ? $target->{quorum_name} : $answer, "switchover $round: that one leads");
	$cluster->wait_for_followers;
	my ($log, $log_of_successor) = map { $cluster->log_since($_, $size{ $_->{quorum_name} }) } $leader, $new;
	unlike($log, qr/rewind/, "switchover $round: the old leader follows without a rewind");
	like($log, qr/handed over.*voted for \Q$new->{quorum_name}\E.*restarting in place/s,
		"switchover $round: ... after it has voted for its successor");
	push @{ $stayed[ $round % 2 ] }, stayed($log, $log_of_successor);
	is($cluster->postmaster_pid($leader), $pid, "switchover $round: under the same pid");
	is($cluster->ask($new, 'SELECT count(*) FROM t'), $id, "switchover $round: every row is there");
}
$leader = $cluster->leader;
$leader->safe_psql('postgres', 'TRUNCATE bulk');
cmp_ok(min(@{ $stayed[1] }), '<', 190, 'the old leader stops as soon as its answer has left');
cmp_ok(min(@{ $stayed[0] }), '<', 190, '... also when the caller has left as well');

$leader = $cluster->leader;
my ($target, $other) = $cluster->followers;
my $session = $cluster->session($leader);
is($session->ask("SELECT quorum.switchover('$leader->{quorum_name}')"), undef, 'not to the leader itself');
is($session->ask("SELECT quorum.switchover('nobody')"), undef, 'not to somebody unknown');
like($session->error, qr/no member is named/, '... with the reason');

# A target that does not receive the last WAL: back to service after the limit.
my $receiver = $cluster->ask($target, 'SELECT pid FROM pg_stat_wal_receiver');
my $loader = bulk_load($leader);
kill 'STOP', $receiver;
my $writer = $cluster->session($leader);
ok(defined $writer->ask('INSERT INTO t VALUES (1000)'), 'the third node acknowledges');
is($session->ask("SELECT quorum.switchover('$target->{quorum_name}', '1s')", 30), undef,
	'a target that does not confirm the last WAL gets no hand-over');
like($session->error, qr/serves on/, '... the leader serves on');
ok(!$loader->finished(0), '... a transaction goes on that could not write meanwhile');
$cluster->ask($leader, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO bulk%'");
ok($loader->finished(20), '... until it is canceled');
undef $loader;
ok(defined $writer->ask('INSERT INTO t VALUES (1001)'), '... and accepts writes');
kill 'CONT', $receiver;
$cluster->wait_for_followers;

# A checkpoint that takes longer than the call may: nothing is handed over.
my $checkpointer = $cluster->ask($leader, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
kill 'STOP', $checkpointer;
my $size = $cluster->log_size($leader);
is($session->ask("SELECT quorum.switchover('$target->{quorum_name}', '1s')", 20), undef,
	'a switchover waits for its checkpoint no longer than it may take');
like($session->error, qr/the checkpoint before the switchover is not done yet/, '... and says that the checkpoint is not done');
unlike($cluster->log_since($leader, $size), qr/handing term|gate closed/, '... the gate has stayed open');
kill 'CONT', $checkpointer;

# A caller that is slow: the hand-over does not wait for it, the end of its session does.
my $slow = $cluster->session($leader);
my $caller = $slow->ask('SELECT pg_backend_pid()');
my $size_of_target = $cluster->log_size($target);
$size = $cluster->log_size($leader);
kill 'STOP', $receiver = $cluster->ask($target, 'SELECT pid FROM pg_stat_wal_receiver');
ok(defined $writer->ask('INSERT INTO t VALUES (1002)'), 'the third node acknowledges');
$slow->send("SELECT quorum.switchover('$target->{quorum_name}', '60s')");
$cluster->wait_for_log($leader, qr/handing term/, $size);
kill 'STOP', $caller;
kill 'CONT', $receiver;
$cluster->wait_for_log($leader, qr/restarting in place/, $size);
kill 'CONT', $caller;
my $log = $cluster->log_since($leader, $size);
cmp_ok(stayed($log, $cluster->log_since($target, $size_of_target)), '>=', 190,
	'the server stays up for a moment when its answer has not been taken');
$cluster->wait_for_leader(not => $leader, limit => 20);
is(lead($target), $target->{quorum_name}, '... the target leads all the same');
$leader = $target;
$cluster->wait_for_followers;
($target, $other) = $cluster->followers;
$session = $cluster->session($leader);

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

# ---- two voters -------------------------------------------------------------------

my $pair = QuorumCluster->new('pair', nodes => 2);
$leader = $pair->leader;
for my $round (1 .. 2)
{
	my ($target) = $pair->followers;
	my $term = $pair->ask($leader, 'SELECT term FROM quorum.status');

	is($pair->session($leader)->ask('SELECT quorum.switchover()', 20), $target->{quorum_name},
		"two voters, switchover $round: the other one shall lead");
	$pair->wait_for_leader(not => $leader, limit => 20);
	$pair->wait_for_followers($leader);
	is($pair->ask($target, 'SELECT term FROM quorum.status'), $term + 1,
		'... it does at once, in the next term');
	is($pair->ask($target, 'SELECT role FROM quorum.status'), 'leader', '... and goes on when the other is back');
	$leader = $target;
}

done_testing();
