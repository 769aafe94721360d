# A frozen leader loses its lease before anyone else serves, and serves nothing when it thaws.
#
# Method: sessions are open on the leader; SIGSTOP to all its processes; wait for the next
# leader.  First only the backends of those sessions are continued: no worker, no
# postmaster, nobody could have told them, and yet they must refuse.  Then everything.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $cluster = QuorumCluster->new('freeze', nodes => 3);
my $old = $cluster->leader;

$old->safe_psql('postgres', 'CREATE TABLE t (id int)');
$old->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
$cluster->wait_for_followers;

my $postmaster = $cluster->postmaster_pid($old);
my $reader = $cluster->session($old);
my $writer = $cluster->session($old);
my $slow = $cluster->session($old);
my @backends = map { $_->ask('SELECT pg_backend_pid()') } $reader, $writer, $slow;
is($reader->ask('SELECT count(*) FROM t'), '1', 'the session reads before the freeze');
$writer->ask('BEGIN');
$writer->ask('INSERT INTO t VALUES (3)');
$slow->send('SELECT count(*) FROM t, pg_sleep(2)');
$cluster->wait_until('the slow read runs', sub {
	return $reader->ask("SELECT wait_event FROM pg_stat_activity WHERE pid = $backends[2]") eq 'PgSleep';
});

my %size = map { $_ => $cluster->log_size($_) } $cluster->nodes;
$cluster->freeze($old);
my $frozen_at = time();
my $new = $cluster->wait_for_leader(not => $old, limit => 30);
cmp_ok((time() - $frozen_at) * 1000, '>=', $cluster->lease * 0.85,
	'nobody leads before the lease of the frozen leader is over');
ok(defined $cluster->ask($new, 'INSERT INTO t VALUES (2)'), 'the new leader accepts writes');
my ($third) = grep { $_ != $old && $_ != $new } $cluster->nodes;
like($cluster->log_since($third, $size{$third}),
	qr/leaving the stream of node \d+ in term 1: a newer term has been promised/,
	'who votes acknowledges nothing more to the old leader');

kill 'CONT', @backends;
is($reader->ask('SELECT count(*) FROM t'), undef, 'a thawed backend serves no read');
like($reader->error, qr/25006|does not lead/, '... and says that this node does not lead');
is($writer->ask('COMMIT'), undef, 'a thawed backend commits nothing');
like($writer->error, qr/25006|does not lead/, '... and says that this node does not lead');
ok($slow->finished(20), 'a read that began before the freeze ends');
like($slow->error, qr/25006|does not lead/, '... without an answer');

$cluster->thaw($old);
$cluster->wait_until('the thawed leader is a standby', sub {
	return ($cluster->ask($old, 'SELECT pg_is_in_recovery()') // '') eq 't';
});
is($cluster->postmaster_pid($old), $postmaster, 'it restarted in place: same pid');
is($cluster->ask($new, 'SELECT count(*) FROM t WHERE id = 3'), '0',
	'the write of the frozen session is nowhere');

done_testing();
