# Rewinds and clones need no superuser: the role that the command makes is enough, with its
# password in a file, and without its grants a node says which one it lacks.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use IPC::Run ();
use PostgreSQL::Test::Utils;
use QuorumByCommand;
use Test::More;

my @with = (@settings, '--set=min_wal_size=32MB', '--set=log_line_prefix=%m [%p] %u ', '--set=log_connections=on');
my $serial = 0;

sub leader
{
	my ($but) = @_;
	return wait_until('a leader', sub {
		for my $number (grep { !$but || $_ != $but } 1 .. 3)
		{
			return $number if (ask($number, "SELECT role || ' ' || gate FROM quorum.status") // '') eq 'leader open';
		}
		return;
	});
}

sub streams
{
	my ($number) = @_;
	my $leader = leader();
	return wait_until("n$number streams", sub {
		return (ask($leader, "SELECT count(*) FROM quorum.replication WHERE direction = 'to' AND node = 'n$number' AND counted") // 0) == 1;
	});
}

sub start
{
	my ($number) = @_;
	my ($rc, $out, $err) = run_it('pg_ctl', '-w', '-t', '60', '-D', directory($number), '-l', directory($number) . '/server.log', 'start');
	is($rc, 0, "n$number starts") or diag($out, $err);
}

# The leader flushes WAL that nobody has, and dies; returns its number.
sub diverge
{
	my ($spoil) = @_;
	my $old = leader();

	streams($_) for grep { $_ != $old } 1 .. 3;
	$serial++;
	kill 'STOP', split /\n/, ask($old, 'SELECT pid FROM pg_stat_replication');
	my $writer = IPC::Run::start([ 'psql', '-XAtqw', '-d', "host=$sockets port=$port{$old}[0] dbname=postgres",
			'-c', "INSERT INTO t SELECT -$serial FROM generate_series(1, 1000)" ], '<', \undef, '>', \my $out, '2>', \my $err);
	wait_until('WAL that only the old leader has', sub {
		return (ask($old, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") // 0) > 0;
	});
	my $redo;
	if ($spoil)
	{
		ask($old, $_) for 'SELECT pg_switch_wal()', 'CHECKPOINT';
		$redo = substr(ask($old, 'SELECT redo_wal_file FROM pg_control_checkpoint()'), 8);
	}
	kill_node($old);
	IPC::Run::finish($writer);
	for my $file (glob(directory($old) . '/pg_wal/*'))
	{
		unlink $file if $spoil && $file =~ m{/[0-9A-F]{8}([0-9A-F]{16})$} && $1 lt $redo;
	}
	leader($old);
	return $old;
}

sub is_healthy
{
	my ($number, $what) = @_;
	my $leader = leader();

	streams($number);
	my $lsn = ask($leader, 'SELECT pg_current_wal_flush_lsn()');
	wait_until('replay', sub { return (ask($number, "SELECT pg_last_wal_replay_lsn() >= '$lsn'") // '') eq 't' });
	is(ask($number, 'SELECT count(*), sum(id) FROM t'), ask($leader, 'SELECT count(*), sum(id) FROM t'), "$what: it holds what the leader holds");
	return;
}

# ---- three nodes, as the manual makes them ---------------------------------------------------

my ($rc, $out, $err) = run_it('pg_quorum', 'init', '--initdb', place(1), @with, "--token-file=$token");
is($rc, 0, 'init') or BAIL_OUT($out . $err . log_of(1));
for my $number (2, 3)
{
	($rc, $out, $err) = run_it('pg_quorum', 'join', place($number), @with, "\@$token");
	is($rc, 0, "n$number joins") or BAIL_OUT($out . $err . log_of($number));
}
ask(leader(), 'CREATE TABLE t (id int)');
my $role = "SELECT rolsuper, rolreplication, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = 'quorum_replicator'";
is(ask(leader(), $role), 'f|t|f|f|f', 'the role of the streams is no superuser');
is(ask(leader(), "SELECT has_function_privilege('quorum_replicator', 'pg_read_binary_file(text, bigint, bigint, boolean)', 'EXECUTE')"), 't', 'it has the grants');

# ---- a rewind ----------------------------------------------------------------------------------

my $old = diverge();
my $new = leader($old);
my $offset = -s directory($old) . '/server.log';
my $offset_new = -s directory($new) . '/server.log';
start($old);
is_healthy($old, 'a rewind');
like(log_of($old, $offset), qr/pg_rewind: Done/, 'a rewind: it was one');
like(log_of($new, $offset_new), qr/authorized: user=quorum_replicator database=postgres application_name=pg_quorum/, 'a rewind: as that role');
unlike(log_of($new, $offset_new), qr/authorized: user=(?!quorum_replicator)\S+ database=\S+ application_name=pg_(?:quorum|rewind)/, 'a rewind: as no other one');

# ---- without a grant ------------------------------------------------------------------------------

$old = diverge();
$new = leader($old);
ask($new, 'REVOKE EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean) FROM quorum_replicator');
start($old);
wait_until('a reason', sub { return (ask($old, 'SELECT reason FROM quorum.status') // '') =~ /permission denied for function pg_ls_dir/ });
pass('without a grant: quorum.status names it');
ask($new, 'GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean) TO quorum_replicator');
$offset = -s directory($old) . '/server.log';
is_healthy($old, 'granted later');
like(log_of($old, $offset), qr/pg_rewind: Done/, 'granted later: by a rewind');

# ---- a clone --------------------------------------------------------------------------------------

$old = diverge(1);
$offset = -s directory($old) . '/server.log';
start($old);
is_healthy($old, 'a clone');
like(log_of($old, $offset), qr/quorum: cloning n\d/, 'a clone: it was one');
ok(-s directory($old) . '/pg_quorum.pgpass' && -s directory($old) . '/pg_quorum.secret', 'a clone: its own files are there');

# ---- three rewinds that fail ------------------------------------------------------------------------

$old = diverge();
$new = leader($old);
ask($new, 'REVOKE EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean) FROM quorum_replicator');
$offset = -s directory($old) . '/server.log';
start($old);
is_healthy($old, 'after three rewinds');
is(scalar(() = log_of($old, $offset) =~ /was not rewound: pg_rewind: .*permission denied/g), 3, 'after three rewinds: three have failed');
like(log_of($old, $offset), qr/needs a new copy of the leader's data: 3 rewinds failed: .*permission denied/, 'after three rewinds: a clone says why');

done_testing();
