# A change of leader does not wait for what holds up replay on a standby (E9).
#
# A follower whose replay is paused asks for no new stream, and with it the new leader's
# gate would stay shut; a reader in a transaction that replay conflicts with holds up a
# promotion for max_standby_streaming_delay, 30 s by default.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use Test::More;

my $cluster = QuorumCluster->new('replay', nodes => 3);
my $leader = $cluster->leader;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 1000)');
$cluster->wait_for_followers;

# ---- a pause ------------------------------------------------------------------

my @followers = $cluster->followers;
for my $node (@followers)
{
	ok(defined $cluster->ask($node, 'SELECT pg_wal_replay_pause()'), 'replay is paused on a follower');
	$cluster->wait_until('the pause', sub {
		return ($cluster->ask($node, 'SELECT pg_get_wal_replay_pause_state()') // '') eq 'paused';
	});
}
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (-1)'), 'commits go on: they need no replay');
$cluster->kill_all($leader);
my $new = $cluster->wait_for_leader(not => $leader, limit => 20);
is($cluster->ask($new, 'SELECT count(*) FROM t WHERE id = -1'), '1', 'the new leader has replayed what it had');
ok(defined $cluster->ask($new, 'INSERT INTO t VALUES (-2)'), 'and serves: the other follower acknowledges');
$cluster->start($leader);
$cluster->wait_for_followers;

# ---- readers ------------------------------------------------------------------

$leader = $cluster->leader;
@followers = $cluster->followers;
my @readers = map { $cluster->session($_) } @followers;
for my $reader (@readers)
{
	$reader->ask('BEGIN ISOLATION LEVEL REPEATABLE READ');
	is($reader->ask('SELECT count(*) FROM t WHERE id > 0'), '1000', 'a transaction reads on a standby');
}
ok(defined $cluster->ask($leader, 'DELETE FROM t WHERE id > 0'), 'its rows are deleted');
ok(defined $cluster->ask($leader, 'VACUUM t'), '... and removed');
$cluster->wait_until('replay waits for the readers', sub {
	my @behind = grep {
		($cluster->ask($_, 'SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()') // '') eq 't'
	} @followers;
	return @behind == @followers;
});
$cluster->kill_all($leader);
$new = $cluster->wait_for_leader(not => $leader, limit => 15);
pass('a leader serves long before max_standby_streaming_delay');
is($cluster->ask($new, 'SELECT count(*) FROM t WHERE id > 0'), '0', 'with everything replayed');

done_testing();
