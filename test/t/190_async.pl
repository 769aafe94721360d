# quorum.commit = async: commits do not wait for the quorum, but never get further ahead of
# it than quorum.max_lag; a failover takes back no more than that.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('async', nodes => 3);
my $leader = $cluster->leader;
my $max_lag = 512 * 1024;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, filler text)');
$cluster->wait_for_followers;
my $id = 5;
$leader->safe_psql('postgres', "INSERT INTO t SELECT id, '' FROM generate_series(1, $id) AS id");

# The walreceivers stand still; workers and lease go on.
my @receivers = map { $cluster->ask($_, 'SELECT pid FROM pg_stat_wal_receiver') } $cluster->followers;
kill 'STOP', @receivers;
my $held = $cluster->ask($leader, 'SELECT max(flush_lsn) FROM pg_stat_replication');

my $careful = $cluster->session($leader);
$careful->send("INSERT INTO t VALUES (0, '')");
ok(!$careful->finished(0.5), 'quorum: a commit waits for the others');

my $hasty = $cluster->session($leader);
$hasty->ask('SET quorum.commit = async');
$hasty->ask("SET quorum.max_lag = '512kB'");
for (1 .. 400)
{
	$hasty->send('INSERT INTO t SELECT ' . ($id + 1)
		. ", string_agg(md5(random()::text), '') FROM generate_series(1, 200)");
	last if !$hasty->finished(2);
	$id++;
}
cmp_ok($id, '>', 20, "async: commits do not wait for the others ($id of them)");
cmp_ok($id, '<', 400, '... but not without end');
my $ahead = $cluster->ask($leader, "SELECT pg_current_wal_flush_lsn() - '$held'::pg_lsn");
cmp_ok($ahead, '>', $max_lag / 2, "... as far as quorum.max_lag allows ($ahead bytes with the one that waits)");
ok(!$hasty->finished(0.5), '... and the next one waits');
my $other = $cluster->session($leader);
is($other->ask('SHOW synchronous_commit'), 'on', 'the setting of the session is what it was');

# ---- a failover takes back at most that much ------------------------------------------

$cluster->kill_all($leader);
kill 'CONT', @receivers;
my $next = $cluster->wait_for_leader(not => $leader);
my $kept = $cluster->ask($next, 'SELECT count(*) FROM t WHERE id > 0');
my $lost = $id - $kept;
cmp_ok($lost, '>', 0, "an asynchronous commit can be lost ($lost of $id)");

# 6400 bytes a row that do not compress; WAL is never less.
cmp_ok($lost * 6400, '<=', $max_lag, '... but no more than quorum.max_lag of WAL');
is($cluster->ask($next, 'SELECT count(*) FROM t WHERE id = 0'), '0',
	'what was never acknowledged is lost as well');
is($cluster->ask($next, 'SELECT max(id) FROM t'), $kept, 'what is lost is the end, without holes');

$cluster->start($leader);
$cluster->wait_for_followers;
is($cluster->ask($leader, 'SELECT max(id) FROM t'), $kept, 'the old leader follows and has the same');

# ---- gate and lease are asked for as ever ---------------------------------------------------

my $fenced = $cluster->session($next);
$fenced->ask('SET quorum.commit = async');
$fenced->ask('BEGIN');
ok(defined $fenced->ask("INSERT INTO t VALUES (-1, '')"), 'an asynchronous transaction has written');
my $worker = $cluster->ask($next, 'SELECT worker_pid FROM quorum.status');
kill 'STOP', $worker;
my $third = $cluster->wait_for_leader(not => $next);
is($fenced->ask('COMMIT'), undef, '... and does not commit without a lease');
like($fenced->error, qr/does not lead its cluster: commit refused/, '... which it is told');
is($cluster->ask($third, 'SELECT count(*) FROM t WHERE id = -1'), '0', 'whoever leads next has nothing of it');
kill 'CONT', $worker;
$cluster->wait_for_followers;

done_testing();
