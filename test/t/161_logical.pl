# Logical slots: from 17 on they are copied from the accepted leader, subscribers see nothing
# that a quorum does not hold, and a dead member stops no subscriber.  Before, the leader says
# that they do not survive.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $version = int(`pg_config --version` =~ /(\d+)/ ? $1 : 0);
my $cluster = QuorumCluster->new('logical', nodes => 3, conf => qq{
wal_level = logical
log_min_messages = warning
hot_standby_feedback = on
} . ($version >= 17 ? "sync_replication_slots = on\n" : ''));
my $leader = $cluster->leader;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;
$leader->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('plain', 'test_decoding')");
$cluster->wait_for_log($leader, qr/WARNING: .*logical replication slot "plain" does not survive a change of the leader/);
pass('a slot that does not survive a change of the leader is named');
$leader->safe_psql('postgres', "SELECT pg_drop_replication_slot('plain')");

if ($version < 17)
{
	SKIP: { skip 'slots are copied from 17 on', 1 }
	done_testing();
	exit 0;
}

# ---- nothing is sent that a quorum does not hold, and nobody waits for the dead ----

sub named { return $cluster->ask($_[0], 'SHOW synchronized_standby_slots') // '' }

# What a subscriber would get, within some seconds.
sub changes
{
	my ($node) = @_;
	return $cluster->ask($node, "SELECT string_agg(substring(data from 'id\\[integer\\]:(\\d+)'), ' ')
		FROM pg_logical_slot_get_changes('sub', NULL, NULL) WHERE data LIKE 'table%'", timeout => 20);
}

$leader->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('sub', 'test_decoding', false, false, true)");
my @followers = $cluster->followers;
my $all = join(', ', map { 'quorum_' . substr($_->{quorum_name}, 1) } @followers);
$cluster->wait_until('all followers are named', sub { return named($leader) eq $all });
pass('the leader names the members that stream from it');
$leader->safe_psql('postgres', 'INSERT INTO t SELECT generate_series(1, 3)');
is(changes($leader), '1 2 3', 'changes come');

my $dead = $followers[1];
$dead->stop('fast');
my $left = 'quorum_' . substr($followers[0]{quorum_name}, 1);
$cluster->wait_until('only one is named', sub { return named($leader) eq $left });
pass('a dead member is not waited for');
$leader->safe_psql('postgres', 'INSERT INTO t VALUES (4)');
is(changes($leader), '4', '... and changes still come');
$cluster->start($dead);
$cluster->wait_until('it is named again', sub { return named($leader) eq $all });
for my $node (@followers)
{
	my $id = substr($node->{quorum_name}, 1);
	my $others = join(', ', map { "quorum_$_" } grep { $_ != $id } 1 .. 3);
	$cluster->wait_until("$node->{quorum_name} names all others", sub { return named($node) eq $others });
	pass("$node->{quorum_name} is ready to lead: it names all others");
}

# ---- the slot survives -------------------------------------------------------------

sub copied
{
	my ($node, $lsn) = @_;
	my $rounds = 0;

	# PostgreSQL copies a slot when the original has moved past what the standby still has
	return $cluster->wait_until("a copy of the slot on $node->{quorum_name}", sub {
		if ($rounds++ % 20 == 0)
		{
			$leader->safe_psql('postgres', 'SELECT pg_current_xact_id(); SELECT pg_log_standby_snapshot()');
			changes($leader);
		}
		return ($cluster->ask($node, "SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots
			WHERE slot_name = 'sub' AND synced AND NOT temporary") // '') eq 't';
	}, 120);
}

my $confirmed = $cluster->ask($leader, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'sub'");
copied($_, $confirmed) for @followers;
pass('every follower copies the slot from the leader');
$leader->safe_psql('postgres', 'INSERT INTO t SELECT generate_series(5, 7)');

my $old = $leader;
$cluster->kill_all($old);
$leader = $cluster->wait_for_leader(not => $old);
is(changes($leader), '5 6 7', 'after a failover a subscriber goes on where it was');

$cluster->start($old);
$cluster->wait_for_followers;
$confirmed = $cluster->ask($leader, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'sub'");
copied($_, $confirmed) for $cluster->followers;
pass('who led before copies the slot that it had itself');
$cluster->ask($leader, 'SELECT quorum.switchover()', timeout => 20);
my $next = $cluster->wait_until('another leader', sub {
	my $now = $cluster->wait_for_leader;
	return $now == $leader ? undef : $now;
});
$cluster->wait_for_followers;
($old, $leader) = ($leader, $next);
$next->safe_psql('postgres', 'INSERT INTO t VALUES (8)');
is(changes($next), '8', '... and after a switchover');
$confirmed = $cluster->ask($next, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'sub'");
copied($old, $confirmed);
pass('... and so does who handed over');

done_testing();
