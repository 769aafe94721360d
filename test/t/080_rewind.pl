# A leader that dies with WAL that nobody else has comes back by itself: it rewinds
# against its successor and streams, under the same pid.  What is its own stays its own,
# and a rewind that is interrupted anywhere is repeated.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumRejoin;
use Digest::MD5;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

my $cluster = QuorumCluster->new('rewind', nodes => 3);
my $serial = 0;

$cluster->leader->safe_psql('postgres', 'CREATE TABLE t (id int, filler text)');
$cluster->wait_for_followers;

# The leader flushes WAL that nobody has, and dies.  Returns it; another one leads then.
sub diverge
{
	my $old = $cluster->leader;
	$serial++;
	my @writers = $cluster->write_alone($old, "INSERT INTO t SELECT -$serial, repeat('x', 100) FROM generate_series(1, 2000)");
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
	$cluster->wait_for_replay($old);
	is($cluster->ask($old, 'SELECT count(*), sum(id) FROM t'), $rows, "$what: it holds what the leader holds");
	$cluster->wait_until('the end of the rewind', sub { return !-e QuorumRejoin::journal($old) });
	pass("$what: nothing of the rewind is left");
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

my @kept = glob($old->data_dir . '/pg_quorum/pgsql_tmp.rollback/*');
is(scalar @kept, 1, 'what is gone is kept aside');
ok(scalar(grep { /\/[0-9A-F]{24}$/ } glob("$kept[0]/*")), '... the WAL');
my $table = $cluster->ask($old, "SELECT '1663/' || oid || '/' || pg_relation_filenode('t') FROM pg_database WHERE datname = 'postgres'");
like(PostgreSQL::Test::Utils::slurp_file("$kept[0]/list"), qr/\tCOMMIT 2.*\t \Q$table\E:2000\/0\/0$/m, '... with a list of what it did');

# What it was is shown on the node that lost it, a standby, and to a role that may monitor.
$cluster->leader->safe_psql('postgres', 'CREATE ROLE watcher LOGIN IN ROLE pg_monitor');
$cluster->wait_until('the role', sub {
	return $cluster->ask($old, "SELECT count(*) FROM pg_roles WHERE rolname = 'watcher'");
});
my ($id) = $kept[0] =~ m{([^/]+)$};
my $leader_name = $cluster->leader->{quorum_name};
is($cluster->ask($old, "SET ROLE watcher; SELECT id, at > now() - interval '10 minutes', from_timeline, to_timeline,
		from_lsn < to_lsn, bytes > 16 * 1024 * 1024, leader, term, commits, relations FROM quorum.rollbacks"),
	"$id|t|1|1|t|t|$leader_name|2|1|{t}", 'it is shown: from where to where, against whom, how much, which relations');
is($cluster->ask($old, "SET ROLE watcher; SELECT xid > 0, outcome, at > now() - interval '10 minutes', lsn > '0/1000000', relation,
		inserted, updated, deleted FROM quorum.rollback_transactions('$id')"),
	't|commit|t|t|t|2000|0|0', '... with what each transaction did');
is($cluster->ask($cluster->leader, 'SELECT count(*) FROM quorum.rollbacks'), '0', '... on the node that lost it only');
is($cluster->ask($old, "SELECT * FROM quorum.rollback_transactions('../../global')"), undef, 'an id is no path');
like($cluster->{last_error}, qr/there is no rollback/, '... and says so');
is($cluster->ask($old, "SELECT node, term, phase_ms > 0, detail ~ '^lost 1 commits, [0-9]+ bytes from .* kept as $id\$'
		FROM quorum.history WHERE event = 'rewound'"),
	"$leader_name|2|t|t", 'the history tells of the rewind, how long it took and what it lost');

my $log = $cluster->log_since($old, $offset);
like($log, qr/quorum: rewound and following in term 2, \d+ ms/, '... and so does the log');
unlike($log, qr/voted for/, 'it gave no vote meanwhile');
like($log, qr/pg_rewind: servers diverged/, 'pg_rewind brought it back');

# ---- what is kept has limits ------------------------------------------------------

# Older ones, as earlier rewinds leave them.
sub older
{
	my ($stamp, $bytes) = @_;
	my $dir = $old->data_dir . "/pg_quorum/pgsql_tmp.rollback/$stamp-1-0_02000000";

	mkdir $dir;
	PostgreSQL::Test::Utils::append_to_file("$dir/about", "fork 1 0/2000000\nend 1 0/2001000\nterm 2\nsource n9\n");
	PostgreSQL::Test::Utils::append_to_file("$dir/00000001000000000000000$_", 'x' x ($bytes / 2)) for 1, 2;
	return $dir;
}

my $ancient = older('20200101T000000Z', 100);
my $big = older(POSIX::strftime('%Y%m%dT%H%M%SZ', gmtime(time() - 7200)), 20_000_000);
my $small = older(POSIX::strftime('%Y%m%dT%H%M%SZ', gmtime(time() - 3600)), 1000);
$old->restart;
$cluster->wait_until('the end of what is too old', sub { !-e $ancient });
ok(-e "$big/about" && -e "$small/about", 'age limit: nothing else goes');
$old->append_conf('postgresql.conf', 'quorum.rollback_keep_size = 1');
$old->restart;
$cluster->wait_until('the end of what is too much', sub { !-e $big && !-e $small });
ok(-e "$kept[0]/about", 'size limit: the newest one stays, though it alone is too much');
$cluster->wait_for_followers($old);

# ---- interrupted -----------------------------------------------------------------

my $copies = sub { $cluster->log_since(@_) =~ /pg_rewind: need to copy/ };
my $server = sub { $cluster->postmaster_pid($_[0]) };
my $rewinder = sub { ($cluster->process($_[0], qr/pg_rewind\0/))[0] };
my @interruptions = (
	[ 'killed before the data move', QuorumRejoin::in_phase('requested'), $server ],
	[ 'killed while the data move', QuorumRejoin::in_phase('parking'), $server ],
	[ 'killed while pg_rewind starts', QuorumRejoin::in_phase('rewinding'), $server ],
	[ 'killed while pg_rewind copies', $copies, $server ],
	[ 'killed while the data come back', QuorumRejoin::in_phase('rewound'), $server ],
	[ 'killed before it streams', QuorumRejoin::in_phase('placed'), $server ],
	[ 'pg_rewind killed', $rewinder, $rewinder ],
	[ 'pg_rewind killed while it copies', $copies, $rewinder ]);

# A rewind that was over before it could be interrupted shows nothing: another one, then.
sub interrupt
{
	my ($met, $victim) = @_;

	for (1 .. 5)
	{
		my $node = diverge();
		my $from = $cluster->log_size($node);

		$own = own_files($node);
		my $killer = QuorumRejoin::kill_when($cluster, $node, $met, $victim);
		$node->start(fail_ok => 1);
		return ($node, $from) if QuorumRejoin::killed($killer);
		$cluster->wait_for_followers($node);
	}
	die 'no rewind of five was interrupted';
}

for my $interruption (@interruptions)
{
	my ($what, $met, $victim) = @$interruption;
	my ($node) = interrupt($met, $victim);

	if ($victim == $server)
	{
		$cluster->kill_all($node);
		$cluster->start($node);
	}
	is_healthy($node, $what);
	is_deeply(own_files($node), $own, "$what: its own files are what they were");
}

# ---- stopped ---------------------------------------------------------------------

my $stopped = diverge();
my $from = $cluster->log_size($stopped);
$cluster->start($stopped);
$cluster->wait_until('pg_rewind', sub { $cluster->log_since($stopped, $from) =~ /pg_rewind: / });
$stopped->stop('fast');
pass('the server can be stopped while pg_rewind runs');
$cluster->start($stopped);
is_healthy($stopped, 'stopped');

# ---- cloned ----------------------------------------------------------------------

# The source of an interrupted rewind leads no more: nobody else has what was copied.
my ($half, $half_from) = interrupt($copies, $server);
$cluster->kill_all($half);
my $term = $cluster->ask($cluster->leader, 'SELECT term FROM quorum.status');
$cluster->ask($cluster->leader, 'SELECT quorum.switchover()', timeout => 20);
$cluster->wait_until('a later term', sub {
	return $cluster->ask($cluster->leader, 'SELECT term FROM quorum.status') > $term;
});

# Half rewound data are not started, and say what they need.
$half->append_conf('postgresql.conf', "quorum.auto_clone = off\n");
# pg_ctl of 18 may take the end of this start for that of a recovery target, and be content.
PostgreSQL::Test::Utils::system_log('pg_ctl', '-w', '-D', $half->data_dir, '-l', $half->logfile, 'start');
ok(!-e $half->data_dir . '/postmaster.pid', 'without auto_clone half rewound data are not started');
like($cluster->log_since($half, $half_from), qr/FATAL:  quorum: this data directory cannot be started: needs a clone: the rewind was interrupted, then n\d became the leader of term \d+; quorum.auto_clone is off/,
	'... and say what they need, and why');
$half->append_conf('postgresql.conf', "quorum.auto_clone = on\n");
$own = own_files($half);
$cluster->start($half);
is_healthy($half, 'cloned');
is_deeply(own_files($half), $own, 'cloned: its own files are what they were');
like($cluster->log_since($half, $half_from), qr/cloning n\d/, 'it was cloned from the leader of the new term');
is($cluster->ask($half, 'SHOW quorum.node_name'), $half->{quorum_name}, 'it is who it was');

done_testing();
