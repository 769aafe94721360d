# Only WAL of the leader's own history, held by a member, releases a commit (V1, V2).
#
# V1: a node whose log diverged inside one segment reconnects to the new leader.  Plain
# PostgreSQL counts its flush position and acknowledges a commit that it does not have.
# V2: only the ledger of what members hold releases one, not PostgreSQL's wait for names.
# S5: a session cannot choose to wait for less, neither by a setting nor by a cancel.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A diverged node that stays one.
my $cluster = QuorumCluster->new('acks', nodes => 3, conf => 'quorum.auto_rewind = off');
my $leader = $cluster->leader;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int, filler text)');
$cluster->wait_for_followers;

# ---- S5, V2 ---------------------------------------------------------------------

my @followers = $cluster->followers;
my @receivers = map { $cluster->ask($_, 'SELECT pid FROM pg_stat_wal_receiver') } @followers;

# Their workers live, so the leader keeps its lease; their walreceivers flush nothing.
kill 'STOP', @receivers;
my ($careful, $careless) = map { $cluster->session($leader) } 1, 2;
$careless->ask('SET synchronous_commit = off');
$_->send('INSERT INTO t VALUES (0)') for $careful, $careless;
ok(!$careless->finished(0.5), 'synchronous_commit = off releases no commit');
$cluster->wait_until('the careful one waits', sub {
	return $cluster->ask($leader, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
});
$cluster->ask($leader, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
	. "WHERE query LIKE 'INSERT INTO t VALUES (0)%' AND pid <> pg_backend_pid()");
ok(!$careful->finished(0.5), 'nor does a cancel');
is($cluster->ask($leader, 'SELECT count(*) FROM t'), '0', '... and nobody sees the row meanwhile');

# Who takes the names away ends PostgreSQL's own wait: what is left is the ledger.
$cluster->ask($leader, "ALTER SYSTEM SET synchronous_standby_names = ''");
$cluster->ask($leader, 'SELECT pg_reload_conf()');
$cluster->wait_until("PostgreSQL's wait is over", sub {
	return $cluster->ask($leader, 'SELECT count(*) FROM t') eq '2';
});
ok(!$careful->finished(0.5), 'without names in force no commit is released');
ok(!$careless->finished(0), '... not that of the careless one, either');
kill 'CONT', @receivers;
ok($careful->finished(20) && $careless->finished(20), 'the members do');
is($careful->error . $careless->error, '', '... without an error');
$cluster->wait_for_followers;

# ---- V1 -----------------------------------------------------------------------

# The leader flushes WAL that nobody has, and dies.
my $old = $cluster->leader;
my @writers = $cluster->write_alone($old, "INSERT INTO t SELECT -1, repeat('x', 100) FROM generate_series(1, 2000)");
my $diverged = $cluster->ask($old, 'SELECT pg_current_wal_flush_lsn()');
$cluster->kill_all($old);
my $new = $cluster->wait_for_leader(not => $old);
my ($third) = grep { $_ != $old && $_ != $new } $cluster->nodes;

# Now the only other node that could acknowledge is the diverged one: the third
# votes and hears heartbeats, but receives nothing.
$cluster->wait_for_followers($third);
my $receiver = $cluster->ask($third, 'SELECT pid FROM pg_stat_wal_receiver');
kill 'STOP', $receiver;
my $again = $cluster->session($new);
$again->send('INSERT INTO t VALUES (2)');
$cluster->wait_until('the insert waits', sub {
	return $cluster->ask($new, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") eq '1';
});
is($cluster->ask($new, "SELECT pg_current_wal_flush_lsn() < '$diverged'"), 't',
	'the diverged log reaches beyond the commit');
my $size = $cluster->log_size($old);
$cluster->start($old);
$cluster->wait_until('the diverged node meets the new leader', sub {
	return ($cluster->ask($old, 'SELECT needs_rewind FROM quorum.status') // '') eq 't'
	  || $cluster->log_since($old, $size) =~ /started streaming WAL/;
});
ok(!$again->finished(1), 'a diverged node releases no commit');
is($cluster->ask($old, 'SELECT needs_rewind FROM quorum.status'), 't', 'it is recognised');
like($cluster->ask($old, 'SELECT reason FROM quorum.status'), qr/rewind/,
	'it says that it needs a rewind');
is($cluster->ask($old, 'SELECT count(*) FROM pg_stat_wal_receiver WHERE status = \'streaming\''), '0',
	'it does not stream');
kill 'CONT', $receiver;
ok($again->finished(20), 'the third node does release it');
is($cluster->ask($new, 'SELECT count(*) FROM t WHERE id = -1'), '0',
	'what nobody else had was not acknowledged and is gone');

done_testing();
