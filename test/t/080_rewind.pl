# A leader that dies with WAL that nobody else has comes back by itself: it rewinds
# against its successor and streams, under the same pid.  What is its own stays its own,
# and a rewind that is interrupted anywhere is repeated.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use Digest::MD5;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $cluster = QuorumCluster->new('rewind', nodes => 3);
my $serial = 0;

$cluster->leader->safe_psql('postgres', 'CREATE TABLE t (id int, filler text)');
$cluster->wait_for_followers;

# The leader flushes WAL that nobody has, and dies.  Returns it; another one leads then.
sub diverge
{
	my $old = $cluster->leader;
	$serial++;
	kill 'STOP', split /\n/, $cluster->ask($old, 'SELECT pid FROM pg_stat_replication');
	my $writer = $cluster->session($old);
	$writer->send("INSERT INTO t SELECT -$serial, repeat('x', 100) FROM generate_series(1, 2000)");
	$cluster->wait_until('WAL that only the old leader has', sub {
		return $cluster->ask($old, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
	});
	$cluster->kill_all($old);
	$cluster->wait_for_leader(not => $old);
	return $old;
}

# What belongs to the node: name and content of its files outside of PostgreSQL's data.
sub own_files
{
	my ($node) = @_;
	my $data = $node->data_dir;
	my %own;

	for my $file (glob("$data/*.conf $data/*.secret $data/*.key $data/own/* $data/PG_VERSION"))
	{
		$own{$file} = Digest::MD5::md5_hex(PostgreSQL::Test::Utils::slurp_file($file));
	}
	return \%own;
}

sub is_healthy
{
	my ($old, $what) = @_;

	$cluster->wait_for_followers($old);
	my $rows = $cluster->ask($cluster->leader, 'SELECT count(*), sum(id) FROM t');
	my $lsn = $cluster->ask($cluster->leader, 'SELECT pg_current_wal_flush_lsn()');
	$cluster->wait_until('replay', sub {
		return ($cluster->ask($old, "SELECT pg_last_wal_replay_lsn() >= '$lsn'") // '') eq 't';
	});
	is($cluster->ask($old, 'SELECT count(*), sum(id) FROM t'), $rows, "$what: it holds what the leader holds");
	ok(!-e $old->data_dir . '/pg_quorum/pgsql_tmp.rewind/journal', "$what: nothing of the rewind is left");
	return;
}

# ---- a former leader comes back -------------------------------------------------

my $old = diverge();
$old->append_conf('postgresql.conf', "# a line of its own\n");
$old->append_conf('postgresql.auto.conf', "work_mem = '5MB'\n");
$old->append_conf('pg_hba.conf', "# a line of its own\n");
mkdir $old->data_dir . '/own';
PostgreSQL::Test::Utils::append_to_file($old->data_dir . '/own/notes', "not the server's\n");
PostgreSQL::Test::Utils::append_to_file($old->data_dir . '/server.key', "not another's\n");
my $own = own_files($old);
my $offset = $cluster->log_size($old);
my $began = time();
$cluster->start($old);
my $pid = $cluster->postmaster_pid($old);

is_healthy($old, 'a former leader');
note(sprintf('%.1f s from its start', time() - $began));
is($cluster->postmaster_pid($old), $pid, 'it did so under one pid');
is_deeply(own_files($old), $own, 'its own files are what they were');
is($cluster->ask($old, 'SHOW work_mem'), '5MB', 'its own settings are in force');
is($cluster->ask($old, 'SHOW quorum.node_name'), $old->{quorum_name}, 'it is who it was');
is($cluster->ask($old, 'SELECT count(*) FROM t WHERE id = -1'), '0', 'what nobody else had is gone');

my $log = PostgreSQL::Test::Utils::slurp_file($old->logfile, $offset);
unlike($log, qr/voted for/, 'it gave no vote meanwhile');
like($log, qr/pg_rewind: servers diverged/, 'pg_rewind brought it back');

# ---- interrupted -----------------------------------------------------------------

sub journal
{
	my ($node) = @_;
	open(my $fh, '<', $node->data_dir . '/pg_quorum/pgsql_tmp.rewind/journal') or return '';
	local $/;
	return <$fh> // '';
}

sub child_rewinds
{
	my ($node) = @_;

	for my $pid ($cluster->processes($node))
	{
		open(my $fh, '<', "/proc/$pid/cmdline") or next;
		return $pid if (<$fh> // '') =~ /pg_rewind\0/;
	}
	return 0;
}

my %interruptions = (
	'the postmaster is killed before the data move' => sub { journal($_[0]) =~ /phase requested/ },
	'the postmaster is killed while the data move' => sub { journal($_[0]) =~ /phase parking/ },
	'the postmaster is killed while pg_rewind runs' => sub { journal($_[0]) =~ /phase rewinding/ },
	'the postmaster is killed while pg_rewind copies' => sub {
		return $cluster->log_since($_[0]) =~ /pg_rewind: need to copy/;
	},
	'the postmaster is killed while the data come back' => sub { journal($_[0]) =~ /phase rewound/ },
	'the postmaster is killed before the rewind is proved' => sub { journal($_[0]) =~ /phase placed/ },
	'pg_rewind is killed' => sub { journal($_[0]) =~ /phase rewinding/ && child_rewinds($_[0]) },
	'the server is stopped while pg_rewind copies' => sub {
		return $cluster->log_since($_[0]) =~ /pg_rewind: need to copy/;
	});

for my $what (sort keys %interruptions)
{
	my $met = $interruptions{$what};
	my $node = diverge();
	my $until = time() + 30;
	my $reached;

	$own = own_files($node);
	$node->{log_from} = $cluster->log_size($node);
	$cluster->start($node);
	usleep(200) while !($reached = $met->($node)) && time() < $until && $cluster->log_since($node) !~ /rewound and following/;
	if ($what =~ /^pg_rewind/)
	{
		kill 'KILL', $reached if $reached;
	}
	elsif ($what =~ /stopped/)
	{
		$node->stop('fast');
		$cluster->start($node);
	}
	else
	{
		$cluster->kill_postmaster($node);
		$cluster->start($node);
	}
	note("$what: too late") if !$reached;
	is_healthy($node, $what);
	is_deeply(own_files($node), $own, "$what: its own files are what they were");
}

done_testing();
