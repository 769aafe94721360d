# A member always boots as a standby, and a cluster finds its leader by itself.
#
# Crash of a backend on the leader, planned stop and restart of the leader, restart of
# the whole cluster, restart of a cluster of one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('restart', nodes => 3);
my $leader = $cluster->leader;

sub term { return $cluster->ask($_[0], 'SELECT term FROM quorum.status'); }

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

# Crash of a backend: PostgreSQL would go on as a primary of the same timeline (V7).
my $term = term($leader);
my $size = $cluster->log_size($leader);
my $session = $cluster->session($leader);
my $backend = $session->ask('SELECT pg_backend_pid()');
kill 'KILL', $backend;
$cluster->wait_for_log($leader, qr/entering standby mode/, $size);
pass('after a backend crash the leader boots as a standby');
my $next = $cluster->wait_for_leader;
cmp_ok(term($next), '>', $term, 'its term is over: the next leader has a later one');
ok(defined $cluster->ask($next, 'INSERT INTO t VALUES (1)'), 'the cluster accepts writes');
$cluster->wait_for_followers;
pass('all follow');

# Planned stop: the shutdown checkpoint reaches the others, so nobody needs a rewind.
$leader = $cluster->leader;
my %size = map { $_ => $cluster->log_size($_) } $cluster->nodes;
$leader->stop('fast');
$next = $cluster->wait_for_leader(not => $leader);
ok(defined $cluster->ask($next, 'INSERT INTO t VALUES (2)'),
	'after a planned stop another node accepts writes');
like($cluster->log_since($next, $size{$next}), qr/lost: stream ended after planned stop/,
	'... which has waited for the last record of the stopped one');
$cluster->start($leader);
$cluster->wait_for_followers($leader);
unlike($cluster->log_since($leader, $size{$leader}), qr/rewind/,
	'the stopped leader follows again without a rewind');

# The whole cluster, at once and without ceremony.
$cluster->wait_for_followers;
$term = term($cluster->leader);
$cluster->kill_all($_) for $cluster->nodes;
$cluster->start($_) for $cluster->nodes;
$next = $cluster->wait_for_leader;
cmp_ok(term($next), '>', $term, 'after a restart of everything a leader is elected');
is($cluster->ask($next, 'SELECT count(*) FROM t'), '2', 'every acknowledged row is there');
$cluster->wait_for_followers;
pass('all follow');

# The worker is killed while its server needs WAL of the leader to become consistent (V12):
# the postmaster alone would start it again when hot standby opens, which it never does.
$leader = $cluster->leader;
my ($half) = $cluster->followers;
$half->stop('fast');
my $copy = PostgreSQL::Test::Utils::tempdir() . '/copy';
$leader->command_ok([ 'pg_basebackup', '-D', $copy, '-d', $leader->connstr('postgres'), '-X', 'none', '-c', 'fast', '--no-sync' ],
	'a base backup without WAL');
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (3)'), 'the leader writes on');
my $data = $half->data_dir;
my @taken = qw(base global pg_xact pg_multixact pg_wal pg_twophase pg_subtrans);
system('rm', '-rf', map { "$data/$_" } @taken) == 0 or die 'rm';
system('cp', '-a', (map { "$copy/$_" } @taken), "$copy/backup_label", $data) == 0 or die 'cp';
my @frozen = grep { $_ != $half } $cluster->nodes;
$cluster->freeze($_) for @frozen;
$size = $cluster->log_size($half);
PostgreSQL::Test::Utils::system_log('pg_ctl', '-D', $data, '-l', $half->logfile, '-W', 'start') == 0 or die 'pg_ctl';
# 17 says that it is a standby only when it has found its checkpoint, which is not there yet.
$cluster->wait_for_log($half, qr/entering standby mode|starting backup recovery/, $size);
my $worker = $cluster->wait_until('the worker of the half server', sub {
	return ($cluster->process($half, qr/^postgres: (\S+: )?pg_quorum\b/))[0];
});
kill 'KILL', $worker;
$cluster->wait_for_log($half, qr/all server processes terminated; reinitializing/, $size);
$cluster->thaw($_) for @frozen;
$half->_update_pid(1);
$cluster->wait_for_followers;
pass('a worker killed before its server is consistent comes back');

# A cluster of one has nobody to ask.
my $single = QuorumCluster->new('single', nodes => 1);
my ($node) = $single->nodes;
$node->safe_psql('postgres', 'CREATE TABLE t (id int)');
$single->kill_all($node);
$single->start($node);
$single->wait_for_leader(limit => 10);
is($single->ask($node, 'SELECT count(*) FROM t'), '0', 'a node alone elects itself');
is($single->ask($node, 'SELECT term = timeline AND term = 2 FROM quorum.status'), 't',
	'... in the next term');

done_testing();
