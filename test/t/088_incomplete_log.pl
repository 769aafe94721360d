# Who does not hold all that it ever acknowledged, or does not know yet, helps nobody to lead.
#
# R5: a node that boots and has much of its log left to read.  What it has read so far is no
# longer than the log of one that lacks a commit; a vote by that would lose it.
# S8: a node whose data were replaced by those of a member that was away.  Its log is whole,
# and ends before what it acknowledged; a vote by that would lose a commit as well.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# Restartpoints and cleaned buffers would move the point from which a standby answers queries.
my $cluster = QuorumCluster->new('incomplete', nodes => 3, conf => q{
autovacuum = off
bgwriter_lru_maxpages = 0
checkpoint_timeout = 1h
});
my $leader = $cluster->leader;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

sub status
{
	my ($node, $column) = @_;
	return $cluster->ask($node, "SELECT $column FROM quorum.status") // '';
}

# WAL of many small records that change no page; 64 bytes each.
sub write_much
{
	my ($node, $count) = @_;
	return $cluster->ask($node, "SELECT count(pg_logical_emit_message(false, 'test', 'x')) FROM generate_series(1, $count)",
		timeout => 60);
}

# Nobody is elected, for as long as somebody would have been some times.
sub nobody_is_elected
{
	my @nodes = @_;
	return $cluster->seen_within(3 * $cluster->lease / 1000, sub {
		return join ' ', map { $_->{quorum_name} } grep { status($_, 'role') eq 'leader' } @nodes;
	}) // '';
}

# ---- a log that is not read yet ---------------------------------------------------------

# Where the startup process reads: the number of a segment, 0 when that is not known.
sub startup_process
{
	my ($node) = @_;

	my ($pid, $title) = $cluster->process($node, qr/^postgres: .*\bstartup\b/) or return;
	return ($pid, $title =~ /recovering [0-9A-F]{8}([0-9A-F]{16})/ ? hex substr($1, 8) : 0);
}

# Boot a node, and pause replay behind this segment: a step, a look, a step.  Who is stopped may
# hold a lock that everybody wants, who pauses holds none.
sub start_and_pause_behind
{
	my ($node, $segment) = @_;
	my ($pid, $reads);

	PostgreSQL::Test::Utils::system_or_bail('pg_ctl', '-W', '-s', '-D', $node->data_dir, '-l', $node->logfile, 'start');
	$cluster->wait_until('its startup process', sub { return ($pid) = startup_process($node) });
	$cluster->wait_until("a pause behind segment $segment", sub {
		for (1 .. 20)
		{
			kill 'STOP', $pid;
			(undef, $reads) = startup_process($node);
			my $paused = $reads > $segment && defined $cluster->ask($node, 'SELECT pg_wal_replay_pause()', timeout => 2);
			kill 'CONT', $pid;
			return 1 if $paused;
			usleep(500);
		}
		return 0;
	});
	$node->{dead} = 0;
	$node->_update_pid(1);
	$cluster->wait_until('the pause', sub {
		return ($cluster->ask($node, 'SELECT pg_get_wal_replay_pause_state()') // '') eq 'paused';
	});
}

my ($reader, $other) = $cluster->followers;

# All have these; then only one follower gets more, and that is a commit.
$leader->safe_psql('postgres', 'CHECKPOINT');
$cluster->wait_for_replay($reader);
$cluster->ask($reader, 'CHECKPOINT');
my $segment = hex substr($cluster->ask($leader, 'SELECT pg_walfile_name(pg_current_wal_lsn())'), 16);
is(write_much($leader, 900000), 900000, 'WAL that all have');
my $all_have = $cluster->ask($leader, 'SELECT pg_current_wal_insert_lsn()');
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (1)'), '... and a commit');
$cluster->wait_for_replay($_) for $reader, $other;
my $walsender = $cluster->ask($leader, 'SELECT pid FROM pg_stat_replication WHERE application_name = '
	. "'quorum_' || (SELECT node_id FROM quorum.members WHERE name = '$other->{quorum_name}')");
like($walsender, qr/^\d+$/, 'one of the two gets no more');
kill 'STOP', $walsender;
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (2)'), 'a commit that the other one has acknowledged');
$cluster->kill_all($reader);
$cluster->kill_all($leader);

my $offset = $cluster->log_size($reader);
start_and_pause_behind($reader, $segment);
is($cluster->ask($reader, "SELECT pg_last_wal_replay_lsn() < '$all_have'"), 't', 'it boots, and has much of its log left to read');
is(nobody_is_elected($reader, $other), '', 'who has not read its log helps nobody to lead');
is(status($reader, 'phase'), 'starting', '... it says that it starts');
like(status($reader, 'reason'), qr/has not yet read all of its WAL/, '... and why it does not stand');
unlike($cluster->log_since($reader, $offset), qr/voted for|candidate in term/, '... it has neither voted nor stood');
$cluster->ask($reader, 'SELECT pg_wal_replay_resume()');
is($cluster->wait_for_leader, $reader, 'when it has read its log it is elected, for it is the longest one');
is($cluster->ask($reader, 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM t'), '1 2', 'both commits are there');
$cluster->start($leader);
$cluster->wait_for_followers;

# ---- a log that ends before what it held -------------------------------------------------

# One is away.  What the leader and the other one write is acknowledged, and known on disk to
# have been there.
$leader = $cluster->leader;
my ($away, $restored) = $cluster->followers;

sub state_of { return join ' ', (stat($_[0]->data_dir . '/pg_quorum/state'))[ 1, 9 ] }

$cluster->wait_for_replay($restored);
$cluster->kill_all($away);
my $state = state_of($restored);
is(write_much($leader, 400000), 400000, 'WAL that one does not have');
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (3)'), '... and a commit');
$cluster->wait_for_replay($restored);
$cluster->wait_until('how far its log went is on disk', sub { state_of($restored) ne $state });
$cluster->kill_all($_) for $restored, $leader;

# What an operator does who has lost a disk and takes the wrong copy.
my @data = qw(base global pg_xact pg_multixact pg_wal pg_twophase pg_subtrans pg_commit_ts pg_logical);
system('rm', '-rf', map { $restored->data_dir . "/$_" } @data) == 0 or die 'rm';
system('cp', '-a', (map { $away->data_dir . "/$_" } @data), $restored->data_dir) == 0 or die 'cp';
$offset = $cluster->log_size($restored);
$cluster->start($_) for $restored, $away;
is($cluster->ask($restored, 'SELECT count(*) FROM t WHERE id = 3'), '0', 'two are there again, and lack a commit that one had acknowledged');
is(nobody_is_elected($restored, $away), '', 'who has lost what it acknowledged helps nobody to lead');
is(status($restored, 'phase'), 'standby', '... though it has read all of its log');
like(status($restored, 'reason'), qr/its log may lack committed records/, '... it says why');
unlike($cluster->log_since($restored, $offset), qr/voted for|candidate in term/, '... it has neither voted nor stood');
$cluster->start($leader);
is($cluster->wait_for_leader, $leader, 'the one that has everything is elected');
is($cluster->ask($leader, 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM t'), '1 2 3', 'every commit is there');
$cluster->wait_for_followers;
$cluster->wait_for_replay($restored);
$cluster->wait_until('the end of what it lacks', sub { status($restored, 'electable') eq 't' });
pass('who lacked something has it again');

# Its vote counts again: with another one away it takes both.
$cluster->kill_all($leader);
my $next = $cluster->wait_for_leader(not => $leader);
like($cluster->log_since($restored, $offset), qr/voted for|elected/, '... and helps to elect the next leader');
is($cluster->ask($next, 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM t'), '1 2 3', '... which has every commit');

done_testing();
