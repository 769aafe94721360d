# A leader that dies while it writes a record longer than a segment leaves followers whose WAL ends
# with a segment, in the middle of that record.  The next leader's timeline begins where the record
# did, segments earlier.  PostgreSQL asks it for the segment that comes next, and has not got those
# between: nobody may wait until the leader gets there, and nothing may be acknowledged across them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A leader whose WAL does not get to its disk for a lease gives up (G1), and its writer is stopped.
my $cluster = QuorumCluster->new('crossing', nodes => 3, lease => 10000, conf => qq{
autovacuum = off
max_wal_size = 2GB
});
my $first = $cluster->leader;
my ($one, $other) = $cluster->followers;
$first->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

my $segment = 16 * 1024 * 1024;

# ---- WAL that ends with a segment, within a record --------------------------------------

# Without it only whole segments are flushed while the record is written.
kill 'STOP', $cluster->ask($first, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
my $session = $cluster->session($first);
my $writer = $cluster->session($first);
my $writer_pid = $writer->ask('SELECT pg_backend_pid()');
my $begin = $session->ask('SELECT pg_current_wal_flush_lsn()');
$writer->send("SELECT pg_logical_emit_message(false, 'test', repeat('x', 300000000))");
$cluster->wait_until('segments of the record are flushed', sub {
	return $session->ask("SELECT pg_current_wal_flush_lsn() - '$begin' > 2 * $segment") eq 't' });
kill 'STOP', $writer_pid;
is($session->ask("SELECT (pg_current_wal_flush_lsn() - '0/0') % $segment"), 0, 'the WAL of the leader ends with a segment');
$cluster->wait_until('followers that have it all', sub {
	return $session->ask('SELECT count(*) FROM pg_stat_replication WHERE flush_lsn = pg_current_wal_flush_lsn()') eq '2' });
my $ends = $session->ask('SELECT pg_current_wal_flush_lsn()');
my %from = map { $_->{quorum_name} => $cluster->log_size($_) } $cluster->nodes;
my %pid = map { $_->{quorum_name} => $cluster->postmaster_pid($_) } ($one, $other);
$cluster->kill_all($first);

# ---- the next leader ---------------------------------------------------------------------

my $leader = $cluster->wait_for_leader(not => $first);
my $node = $leader == $one ? $other : $one;
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (1)'), 'the next leader serves: it has a follower');
is($cluster->ask($leader, "SELECT pg_current_wal_flush_lsn() < '$ends'"), 't', '... although its WAL ends earlier than that of the last one did');
like($cluster->log_since($node, $from{ $node->{quorum_name} }), qr/its log ended within a record that the log of the leader has not got/,
	'its follower begins with that record anew');
$cluster->wait_until('the follower to show the row', sub { ($cluster->ask($node, 'SELECT id FROM t') // '') eq '1' }, 20);
pass('... and replays what it has');
is($cluster->postmaster_pid($node), $pid{ $node->{quorum_name} }, '... under one pid');

# ---- the last one, when there is WAL for it ----------------------------------------------

$cluster->ask($leader, "SELECT pg_logical_emit_message(false, 'test', repeat('x', 16000000)) FROM generate_series(1, 4)", timeout => 60);
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (2)'), 'the leader has got to the segment that the record went on in');
is($cluster->ask($leader, "SELECT pg_current_wal_flush_lsn() > '$ends'"), 't', '... and beyond');
$cluster->start($first);
$cluster->wait_for_followers;

# More than it had flushed may have been written: then its own log ends within a segment.
like($cluster->log_since($first, $from{ $first->{quorum_name} }), qr/its log ended within a record that the log of the leader has not got|invalid .* in (?:log|WAL) segment/,
	'the last leader begins with that record anew, too, and follows');
$cluster->wait_until('the last leader to show the rows', sub { ($cluster->ask($first, 'SELECT max(id) FROM t') // '') eq '2' }, 20);
pass('it holds what the leader holds');

done_testing();
