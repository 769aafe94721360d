# A copy of a leader's data without its WAL, made while the leader lost its term: the end of the
# backup is in WAL that nobody else has, so the copy can never be promoted.  It acknowledges nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use IPC::Run;
use Test::More;

my $cluster = QuorumCluster->new('no_end', nodes => 3, conf => 'autovacuum = off');
my $first = $cluster->leader;
$first->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

# ---- the end of the backup is written when nobody gets it any more -----------------------

my $path = $first->backup_dir . '/copy';
my $backup = IPC::Run::start([ 'pg_basebackup', '-D', $path, '-h', $first->host, '-p', $first->port, '-X', 'none',
	'-c', 'fast', '--no-sync', '-r', '4M' ], '>', '/dev/null', '2>&1');
$cluster->wait_until('files are being copied', sub {
	return $cluster->ask($first, "SELECT count(*) FROM pg_stat_progress_basebackup WHERE phase = 'streaming database files'") });
$first->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
kill 'STOP', split /\n/, $cluster->ask($first, "SELECT pid FROM pg_stat_replication WHERE state = 'streaming'");
ok(IPC::Run::finish($backup), 'a backup ends while nobody streams');
$cluster->kill_all($first);
my $leader = $cluster->wait_for_leader(not => $first);

my $copy = PostgreSQL::Test::Cluster->new('no_end_n4');
$copy->init_from_backup($first, 'copy', has_streaming => 1);
$cluster->_configure($copy, 4);
push @{ $cluster->{nodes} }, $copy;
PostgreSQL::Test::Utils::system_or_bail('pg_ctl', '-W', '-s', '-D', $copy->data_dir, '-l', $copy->logfile, 'start');
my $session = $cluster->session($leader);
$session->send("SELECT quorum.add_member('n4', '" . $cluster->{host} . ":$copy->{quorum_port}')");
ok($cluster->wait_for_log($copy, qr/started streaming WAL/), 'the copy streams');
my $acknowledged = "SELECT count(*) FROM pg_stat_replication WHERE flush_lsn > '0/0' AND application_name = 'quorum_4'";
$cluster->seen_within(3, sub {
	$cluster->ask($leader, 'INSERT INTO t VALUES (2)');
	return $cluster->ask($leader, $acknowledged);
});
is($cluster->ask($leader, $acknowledged), 0, '... and acknowledges nothing');
unlike($cluster->log_since($copy), qr/consistent recovery state reached/, '... as it is not consistent');

done_testing();
