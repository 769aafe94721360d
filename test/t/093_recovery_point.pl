# Data may be of a log that is not here: recovery has to get to a point (minRecoveryPoint) before
# they are consistent.  Where the leader's log has no such point nobody ever gets there: PostgreSQL
# dies of it at every boot, or takes it for reached, when it lies so close behind the fork that the
# record which begins the leader's timeline ends behind it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Fcntl qw(SEEK_SET);
use Test::More;

my $cluster = QuorumCluster->new('point', nodes => 5, conf => 'autovacuum = off');
my $first = $cluster->leader;
my ($node, @others) = $cluster->followers;

# pg_ctl would wait for a consistent state.
sub start_without_waiting
{
	PostgreSQL::Test::Utils::system_or_bail('pg_ctl', '-W', '-s', '-D', $_[0]->data_dir, '-l', $_[0]->logfile, 'start');
}

$first->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

# ---- a record that the disk has damaged, and that is in nobody's log any more ------------

my $names = join ',', map { "'$_->{quorum_name}'" } @others;
kill 'STOP', split /\n/, $cluster->ask($first, "SELECT pid FROM pg_stat_replication JOIN quorum.members ON application_name = 'quorum_' || node_id WHERE name IN ($names)");
my $writer = $cluster->session($first);
$writer->send('INSERT INTO t VALUES (-1)');
$cluster->wait_until('one follower that has a commit', sub {
	return $cluster->ask($first, 'SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_insert_lsn()') eq '1'
	  && $cluster->ask($first, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") eq '1' });
$node->stop('fast');
$cluster->kill_all($first);
my $leader = $cluster->wait_for_leader(not => $first);
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (1)'), 'a leader without a commit that nobody has acknowledged');
my $timeline = substr $cluster->ask($leader, 'SELECT pg_walfile_name(pg_current_wal_lsn())'), 0, 8;
my ($high, $low) = PostgreSQL::Test::Utils::slurp_file($leader->data_dir . "/pg_wal/$timeline.history") =~ m{^1\t([0-9A-F]+)/([0-9A-F]+)\t}m;
my ($point) = `pg_controldata @{[ $node->data_dir ]}` =~ m{^Minimum recovery ending location:\s*(\S+)}m;
is($cluster->ask($leader, "SELECT '$point'::pg_lsn > '$high/$low'::pg_lsn + 48"), 't', 'the data of who has it are of the log behind the fork');

my $wal = $node->data_dir . sprintf('/pg_wal/00000001%08X%08X', hex $high, hex($low) >> 24);
open(my $out, '+<:raw', $wal) or die "$wal: $!\n";
seek($out, hex($low) & 0xFFFFFF, SEEK_SET) or die "$wal: $!\n";
print {$out} "\0" x 64;
close($out) or die "$wal: $!\n";

my $offset = $cluster->log_size($node);
start_without_waiting($node);
$cluster->wait_for_followers($node);
$node->{dead} = 0;
$node->_update_pid(1);
like($cluster->log_since($node, $offset), qr/this node needs a rewind/, 'with its log damaged there it does not follow');
unlike($cluster->log_since($node, $offset), qr/PANIC/, '... nor dies');
ok($cluster->wait_for_log($node, qr/cloned and following in term/, $offset), '... but is cloned');
is($cluster->ask($node, 'SELECT string_agg(id::text, $$ $$) FROM t'), '1', 'it holds what the leader holds');

# ---- data of a leader that had 40 bytes more than anybody else ---------------------------

# They are in its buffers only, and nobody writes more.
$cluster->wait_for_followers($node, @others);
$leader->safe_psql('postgres', 'CHECKPOINT');
kill 'STOP', split /\n/, $cluster->ask($leader, "SELECT pid FROM pg_stat_activity WHERE backend_type IN ('walwriter', 'background writer')");
my $session = $cluster->session($leader);
$session->ask('BEGIN');
$session->ask('SELECT pg_current_xact_id()');
$session->ask('ROLLBACK');
my $in_buffers = 'SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn()';
is($session->ask($in_buffers), '40', 'the leader has WAL that is in its buffers only');
$offset = $cluster->log_size($first);
start_without_waiting($first);
$cluster->wait_for_log($first, qr/pg_rewind: Done!/, $offset);
$offset += $-[0] if $cluster->log_since($first, $offset) =~ /pg_rewind: Done!/;
ok($cluster->wait_for_log($first, qr/started streaming WAL/, $offset), 'somebody is rewound to it');
is($session->ask($in_buffers), '40', '... whose data are of that WAL');
unlike($cluster->log_since($first, $offset), qr/consistent recovery state reached/, '... so it is not consistent');
$cluster->kill_all($leader);
my $next = $cluster->wait_for_leader(not => $leader);
$cluster->wait_for_followers($first);
$first->{dead} = 0;
$first->_update_pid(1);
my $log = $cluster->log_since($first, $offset);
unlike($log, qr/rewound and following/, 'without that WAL it is never consistent');
like($log, qr/cloned and following in term/, '... so it is cloned');

$cluster->start($leader);
$cluster->wait_for_followers;
ok(defined $cluster->ask($next, 'INSERT INTO t VALUES (2)'), 'all five are there again');
$cluster->wait_until('what the leader holds', sub {
	return ($cluster->ask($first, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t") // '') eq '1 2';
});
pass('it holds what the leader holds');

done_testing();
