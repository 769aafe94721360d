# No commit is acknowledged before the quorum has it, whatever kind of commit it is and
# whatever happens to the session meanwhile (S5; H1, H7-H11, H13, H14).
#
# While the walreceivers of the followers stand still, their workers do not: the leader keeps
# its lease, and every commit waits.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('commits', nodes => 3, conf => qq{
max_prepared_transactions = 10
max_connections = 60
min_parallel_table_scan_size = 0
min_parallel_index_scan_size = 0
parallel_setup_cost = 0
parallel_tuple_cost = 0
autovacuum_naptime = 1s
autovacuum_vacuum_threshold = 1
autovacuum_analyze_threshold = 1
});
my $leader = $cluster->leader;
my @followers = $cluster->followers;

$leader->safe_psql('postgres', q{
	CREATE TABLE t (id text);
	CREATE TABLE u AS SELECT id, md5(id::text) AS filler FROM generate_series(1, 5000) AS id;
	CREATE TABLE v AS TABLE u;
	CREATE INDEX v_id ON v (id);
	CREATE TYPE colour AS ENUM ('red');
	CREATE ROLE hasty SUPERUSER LOGIN;
	ALTER ROLE hasty SET synchronous_commit = off;
	CREATE DATABASE hasty;
	ALTER DATABASE hasty SET synchronous_commit = local;
	CREATE FUNCTION hasty(text) RETURNS void LANGUAGE plpgsql AS
		$$ BEGIN PERFORM set_config('synchronous_commit', 'off', true); INSERT INTO t VALUES ($1); END $$;
	CREATE PROCEDURE twice(text) LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO t VALUES ($1); COMMIT; INSERT INTO t VALUES ($1 || ' again'); END $$;
});
$leader->safe_psql('hasty', 'CREATE TABLE t (id text)');
$leader->safe_psql('postgres', "BEGIN; INSERT INTO t VALUES ('prepared $_'); PREPARE TRANSACTION '$_'") for 1 .. 2;
$cluster->wait_for_followers;

my @receivers;

# Those of now: on a slow machine a stream ends while it is held, and begins anew in another process.
sub hold
{
	@receivers = ();
	for my $node (@followers)
	{
		push @receivers, $cluster->wait_until('its walreceiver', sub { $cluster->ask($node, 'SELECT pid FROM pg_stat_wal_receiver') });
	}
	kill 'STOP', @receivers;
	return;
}
sub release { kill 'CONT', @receivers; return }

# A session in the given database as the given role.
sub session_as
{
	my ($database, $role) = @_;
	my $session = $cluster->session($leader);

	$session->ask("\\connect $database " . ($role // '-')) if $database ne 'postgres' || defined $role;
	return $session;
}

# ---- every kind of commit ---------------------------------------------------------------

# what, statement, settings, database, role.  The first ones are cancelled.
my @single = (
	[ 'an insert', q{INSERT INTO t VALUES ('insert')} ],
	[ 'a statement_timeout', q{INSERT INTO t VALUES ('timeout')}, q{SET statement_timeout = '200ms'} ],
	[ 'idle timeouts', 
		q{SET idle_session_timeout = '200ms'; SET idle_in_transaction_session_timeout = '200ms'; INSERT INTO t VALUES ('idle')} ],
	(map { [ "synchronous_commit = $_ of a session", "INSERT INTO t VALUES ('$_')", "SET synchronous_commit = $_" ] }
		qw(off local remote_write remote_apply)),
	[ '... of a role', q{INSERT INTO t VALUES ('role')}, '', 'postgres', 'hasty' ],
	[ '... of a database', q{INSERT INTO t VALUES ('database')}, '', 'hasty' ],
	[ '... of a function', q{SELECT hasty('function')} ],
	[ 'a savepoint', q{BEGIN; INSERT INTO t VALUES ('outer'); SAVEPOINT s; INSERT INTO t VALUES ('inner'); RELEASE s; COMMIT} ],
	[ 'PREPARE TRANSACTION', q{BEGIN; INSERT INTO t VALUES ('prepared 3'); PREPARE TRANSACTION '3'} ],
	[ 'COMMIT PREPARED', q{COMMIT PREPARED '1'} ],
	[ 'ROLLBACK PREPARED', q{ROLLBACK PREPARED '2'} ],
	[ 'CREATE TABLE', 'CREATE TABLE created (id int)' ],
	[ 'CREATE TABLE AS with parallel workers', 'CREATE TABLE counted AS SELECT count(*), max(filler) FROM u' ],
	[ 'ALTER TYPE ADD VALUE', q{ALTER TYPE colour ADD VALUE 'green'} ],
	[ 'TRUNCATE', 'TRUNCATE v' ]);
my @several = (
	[ 'COMMIT in a procedure', q{CALL twice('procedure')} ],
	[ 'COMMIT in a procedure with a timeout', q{CALL twice('procedure, timed out')}, q{SET statement_timeout = '200ms'} ],
	[ 'CREATE INDEX CONCURRENTLY', 'CREATE INDEX CONCURRENTLY u_id ON u (id)' ],
	[ 'CREATE DATABASE', 'CREATE DATABASE created STRATEGY wal_log' ]);

# Each in a session of its own, under way at the same time.
sub begin_all
{
	my @running;

	for my $case (@_)
	{
		my ($what, $statement, $settings, $database, $role) = @$case;
		my $session = session_as($database // 'postgres', $role);

		$session->ask($settings) if $settings;
		push @running, { what => $what, session => $session, statement => $statement,
			pid => $session->ask('SELECT pg_backend_pid()') };
	}
	hold();
	$_->{session}->send($_->{statement}) for @running;
	return @running;
}

# Which of them do not wait for the quorum?
sub wait_for_all
{
	my ($what, @running) = @_;
	my $others = '';

	eval {
		$cluster->wait_until($what, sub {
			$others = $cluster->ask($leader, "SELECT string_agg(concat_ws(' ', query, state, wait_event), E'\n') "
				. "FROM pg_stat_activity WHERE wait_event IS DISTINCT FROM 'SyncRep' AND pid IN (" . pids(@running) . ')');
			return defined $others && $others eq '';
		}, 20);
		1;
	} or diag("not waiting: $others");
	is($others, '', $what);
	return;
}

sub pids { return join(',', map { $_->{pid} } @_) }

sub nobody_has_finished
{
	my ($what, @running) = @_;
	my @early = grep { $_->{session}->finished(0) } @running;

	is(join(', ', map { $_->{what} } @early), '', "nobody is told that it is committed: $what");
	return;
}

like($leader->safe_psql('postgres', 'EXPLAIN (ANALYZE, COSTS OFF) CREATE TABLE explained AS SELECT count(*), max(filler) FROM u'),
	qr/Workers Launched: [1-9]/, 'parallel workers are used');
$cluster->wait_for_followers;
my @running = begin_all(@single);
my $waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid IN (" . pids(@running) . ')';
wait_for_all('all of them wait for the quorum', @running);
nobody_has_finished('all kinds wait', @running);
is($running[1]{session}->finished(0.5), 0, 'timeouts have passed');
my $cancelled = $cluster->ask($leader, 'SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE pid IN ('
	. pids(@running) . ')');
is($cancelled, scalar @running, 'all of them are cancelled');
$cluster->ask($leader, "SELECT pg_terminate_backend($running[0]{pid})");
$running[0]{session}->finished(0.5);
nobody_has_finished('cancelled, timed out, terminated', @running);
is($cluster->ask($leader, $waiting), scalar @running, '... all wait on');
my $seen = q{SELECT concat_ws(' ', (SELECT count(*) FROM t), (SELECT count(*) FROM pg_enum),
	(SELECT count(*) FROM pg_class WHERE relname IN ('created', 'counted')))};
is($cluster->ask($leader, $seen), '0 1 0', 'nothing of it is visible');
release();
for my $one (@running[ 1 .. $#running ])
{
	ok($one->{session}->finished(20) && $one->{session}->error eq '', "$one->{what}: answered when the quorum has it")
	  or diag($one->{session}->error);
}
ok($running[0]{session}->finished(20), 'the terminated one ends');
is($cluster->ask($leader, $seen), '12 2 2', 'all of it is visible');
undef @running;

# ---- several transactions in one command, each waits ---------------------------------------

$cluster->wait_for_followers;
@running = begin_all(@several);
$waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid IN (" . pids(@running) . ')';
wait_for_all('the first transaction of each waits', @running);
nobody_has_finished('several transactions', @running);
is($cluster->ask($leader, q{SELECT count(*) FROM t WHERE id LIKE 'procedure%'}), '0', 'nothing of the procedure is visible');
is($cluster->ask($leader, q{SELECT count(*) FROM pg_database WHERE datname = 'created'}), '0', 'nor the database');

# Background processes do not end waits.
$cluster->ask($leader, 'CHECKPOINT');
nobody_has_finished('a checkpoint', @running);

# The settings that this node manages, taken away under load: nobody is told more.
for my $sql ("ALTER SYSTEM SET synchronous_standby_names = ''", 'ALTER SYSTEM RESET synchronous_standby_names',
	'ALTER SYSTEM RESET primary_conninfo', "ALTER SYSTEM SET primary_slot_name = ''",
	"ALTER SYSTEM SET primary_conninfo = 'host=nowhere'")
{
	$cluster->ask($leader, $sql) // diag("$sql: $cluster->{last_error}");
	$cluster->ask($leader, 'SELECT pg_reload_conf()');
	nobody_has_finished($sql, @running);
}
is($running[0]{session}->finished(0.5), 0, '... nor later');
$cluster->wait_until('the names are back', sub {
	return ($cluster->ask($leader, 'SHOW synchronous_standby_names') // '') =~ /^ANY 1 \(quorum_\d+, quorum_\d+\)$/;
});
pass('the names are back');
release();
my ($timed_out) = splice(@running, 1, 1);
ok($timed_out->{session}->finished(30), "$timed_out->{what}: it ends");
like($timed_out->{session}->error, qr/canceling statement due to statement timeout/, '... behind its first transaction');
is($cluster->ask($leader, q{SELECT count(*) FROM t WHERE id LIKE 'procedure, timed out%'}), '1', '... which is there');
undef $timed_out;
for my $one (@running)
{
	ok($one->{session}->finished(30) && $one->{session}->error eq '', "$one->{what}: answered when the quorum has it")
	  or diag($one->{session}->error);
}
undef @running;
for my $sql ('VACUUM FULL u', 'REINDEX TABLE CONCURRENTLY u', 'CLUSTER u USING u_id', 'ANALYZE')
{
	my $session = $cluster->session($leader);
	$session->ask('SELECT 1');
	$cluster->wait_for_followers;
	hold();
	$session->send($sql);
	ok(!$session->finished(0.5), "$sql waits");
	release();
	ok($session->finished(30) && $session->error eq '', '... and is answered') or diag($session->error);
}
$cluster->wait_for_followers;

# ---- background processes ---------------------------------------------------------------------

# PostgreSQL lets autovacuum commit locally.  Rows of a transaction that was rolled back are all
# there is: their removal truncates the table, and that takes a transaction id.
my $autovacuum = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND wait_event = 'SyncRep'};
$leader->safe_psql('postgres', 'CREATE TABLE w (id int)');
hold();
$cluster->ask($leader, 'BEGIN; INSERT INTO w SELECT generate_series(1, 5000); ROLLBACK');
my ($vacuum) = split /\n/, $cluster->wait_until('autovacuum waits for the quorum', sub { $cluster->ask($leader, $autovacuum) });
pass('a commit of autovacuum waits for the quorum');
my $beside = $cluster->session($leader);
$beside->send(q{INSERT INTO t VALUES ('beside autovacuum')});
is($cluster->ask($leader, "SELECT pg_cancel_backend($vacuum)"), 't', '... it is cancelled');
ok(!$beside->finished(0.5), '... (so does another one)');
like($cluster->ask($leader, $autovacuum), qr/^$vacuum$/m, '... and waits on');
release();
$cluster->wait_until('autovacuum goes on', sub { ($cluster->ask($leader, $autovacuum) // $vacuum) !~ /^$vacuum$/m });
pass('... until the quorum has it');
$cluster->wait_for_followers;

# ---- what an administrator allows -------------------------------------------------------------

$leader->safe_psql('postgres', 'ALTER SYSTEM SET quorum.allow_local_commit = on');
$leader->reload;
$cluster->wait_until('it is on', sub { ($cluster->ask($leader, 'SHOW quorum.allow_local_commit') // '') eq 'on' });
my %level = map { $_ => $cluster->session($leader) } qw(off local remote_write on);
$level{$_}->ask("SET synchronous_commit = $_") for keys %level;
hold();
$level{$_}->send("INSERT INTO t VALUES ('allowed $_')") for sort keys %level;
ok($level{$_}->finished(20) && $level{$_}->error eq '', "quorum.allow_local_commit: $_ does not wait") for qw(off local);
ok(!$level{on}->finished(0.5), '... on does');

# Who takes the names away ends PostgreSQL's own wait, for a write: what is left is the ledger.
$cluster->ask($leader, "ALTER SYSTEM SET synchronous_standby_names = ''");
$cluster->ask($leader, 'SELECT pg_reload_conf()');
$cluster->wait_until("PostgreSQL's wait is over", sub {
	return ($cluster->ask($leader, "SELECT count(*) FROM t WHERE id = 'allowed remote_write'") // '') eq '1';
});
ok(!$level{remote_write}->finished(0.5), '... and so does remote_write, which no crash of another host may undo');
release();
ok($level{$_}->finished(20) && $level{$_}->error eq '', "... until the quorum has it: $_") for qw(on remote_write);
$leader->safe_psql('postgres', 'ALTER SYSTEM RESET quorum.allow_local_commit');
$leader->reload;
undef %level;
$cluster->wait_for_followers;

# ---- followers that do not write what they say ------------------------------------------------

for my $node (@followers)
{
	$node->safe_psql('postgres', 'ALTER SYSTEM SET fsync = off');
	$node->reload;
	$cluster->wait_until('fsync is off', sub { ($cluster->ask($node, 'SHOW fsync') // '') eq 'off' });
}
my $session = $cluster->session($leader);
$cluster->wait_until('walreceivers have read it', sub {
	$session->send(q{INSERT INTO t VALUES ('fsync')});
	return !$session->finished(1.5);
});
pass('fsync = off on the followers: a commit waits');
my %on_at;
for my $node (@followers)
{
	$on_at{ $node->name } = $cluster->log_size($node);
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET fsync');
	$node->reload;
}
ok($session->finished(20) && $session->error eq '', '... until one of them has it on');
for my $node (@followers)
{
	$cluster->wait_for_log($node, qr/what was written and not synced is on the disk now/,
		$on_at{ $node->name });
}
pass('... and has synced what it wrote meanwhile');
$cluster->wait_for_followers;

# ---- a leader that does not, either -------------------------------------------------------------

for my $setting (qw(fsync full_page_writes))
{
	my $leading = $cluster->leader;

	$leading->safe_psql('postgres', "ALTER SYSTEM SET $setting = off");
	$leading->reload;
	my $next = $cluster->wait_for_leader(not => $leading);
	isnt($next, $leading, "$setting = off on the leader: another one leads");
	$cluster->wait_until('it can be told to mend that', sub {
		return defined $cluster->ask($leading, 'SELECT 1');
	});
	open(my $in, '<', $leading->data_dir . '/postgresql.auto.conf') or die $!;
	my @kept = grep { !/^$setting\b/ } <$in>;
	close $in;
	open(my $out, '>', $leading->data_dir . '/postgresql.auto.conf') or die $!;
	print $out @kept;
	close $out;
	$leading->restart;
	$cluster->wait_for_followers;
	pass('... and with it on the old one follows');
}
$leader = $cluster->leader;
@followers = $cluster->followers;

# ---- an outcome that is not known -----------------------------------------------------------

my $size = $cluster->log_size($leader);
hold();
my $one = $cluster->session($leader);
my $two = $cluster->session($leader);
my $three = $cluster->session($leader);
my $xid = $one->ask('BEGIN; SELECT pg_current_xact_id()');
$one->send(q{INSERT INTO t VALUES ('unknown'); COMMIT});
$two->send(q{COMMIT PREPARED '3'});
$three->send(q{BEGIN; INSERT INTO t VALUES ('unknown, prepared'); PREPARE TRANSACTION '4'});
$cluster->wait_until('they wait', sub {
	return $cluster->ask($leader, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'}) eq '3';
});
my $worker = $cluster->ask($leader, 'SELECT worker_pid FROM quorum.status');
kill 'STOP', $worker;
for my $session ($one, $two, $three)
{
	ok($session->finished(20), 'the lease is over: the session ends');
	like($session->error, qr/connection (to server was )?lost|server closed|terminating connection/, '... without an acknowledgement');
}
$cluster->wait_for_log($leader, qr/connection cut, outcome of transaction $xid unknown/, $size);
pass('the log says of which transaction the outcome is unknown');
$cluster->wait_for_log($leader, qr/connection cut, outcome of prepared transaction "3" unknown/, $size);
pass('... also of a prepared one');
kill 'CONT', $worker;
release();
$cluster->wait_for_followers;

# ---- a session that must go, and a quorum that does not come ----------------------------------

# Nothing that its commit did may be shown, so it ends as in a crash; a fast shutdown would wait
# for ever otherwise.
$leader = $cluster->leader;
@followers = $cluster->followers;
$size = $cluster->log_size($leader);
$one = $cluster->session($leader);
$xid = $one->ask('BEGIN; SELECT pg_current_xact_id()');
hold();
$one->send(q{INSERT INTO t VALUES ('terminated'); COMMIT});
$cluster->wait_until('it waits', sub {
	return ($cluster->ask($leader, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'}) // '') eq '1';
});
$cluster->ask($leader, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'});
ok($one->finished(40), 'a terminated session whose quorum does not come ends all the same');
like($one->error, qr/connection (to server was )?lost|server closed|terminating connection/, '... without an acknowledgement');
$cluster->wait_for_log($leader, qr/terminated while it waited, outcome of transaction $xid unknown/, $size);
pass('... and the log says of which transaction the outcome is unknown');
release();
$cluster->wait_for_leader;
$cluster->wait_for_followers;

done_testing();
