# Every node keeps the WAL that every other one may need: slots advance with their members,
# also on followers, and go with them.  Where max_slot_wal_keep_size sets a limit, a member
# is named before its WAL is lost; when it is back, a clone helps.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('slots', nodes => 4, conf => qq{
log_min_messages = warning
max_slot_wal_keep_size = 64MB
min_wal_size = 32MB
max_wal_size = 256MB
quorum.auto_clone = off
});
my $leader = $cluster->leader;
my @followers = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

# One segment of WAL more.
sub write_segment
{
	$leader->safe_psql('postgres', 'INSERT INTO t VALUES (1); SELECT pg_switch_wal()');
	return;
}

sub slots
{
	my ($node) = @_;
	return $cluster->ask($node, "SELECT string_agg(slot_name, ',' ORDER BY slot_name) FROM pg_replication_slots
		WHERE slot_name LIKE 'quorum\\_%'") // '';
}

# ---- slots on every node ---------------------------------------------------------

for my $node ($cluster->nodes)
{
	my $id = substr($node->{quorum_name}, 1);
	my $others = join(',', map { "quorum_$_" } grep { $_ != $id } 1 .. 4);
	$cluster->wait_until("slots on n$id", sub { return slots($node) eq $others });
	pass("$node->{quorum_name} has a slot for each other member");
}

my $mark = $cluster->ask($leader, 'SELECT pg_current_wal_insert_lsn()');
write_segment() for 1 .. 3;
$cluster->wait_for_followers;
for my $node ($cluster->nodes)
{
	$cluster->wait_until("slots on $node->{quorum_name} advance", sub {
		$cluster->ask($leader, 'CHECKPOINT');
		$cluster->ask($node, 'CHECKPOINT');
		# the leader owns the slots of nobody's stream but those to it; its own has no owner here
		my $behind = $cluster->ask($node, "SELECT count(*) FROM pg_replication_slots s, quorum.members m
			WHERE slot_name = 'quorum_' || m.node_id AND m.role = 'follower' AND NOT (restart_lsn > '$mark')");
		return defined $behind && $behind == 0;
	});
	pass("on $node->{quorum_name} they advance with the members");
}

is($cluster->ask($leader, "SELECT count(*) FROM quorum.replication WHERE wal_status = 'reserved' AND safe_wal_size > 0"),
	'3', 'quorum.replication shows what the slots keep');

# ---- who leaves takes its slot along ---------------------------------------------

my ($leaver) = grep { $_->{quorum_name} eq 'n4' } @followers;
$leaver->stop('fast');
$leader->safe_psql('postgres', "SELECT quorum.remove_member('n4')");
for my $node (grep { $_ != $leaver } $cluster->nodes)
{
	$cluster->wait_until("no slot of n4 on $node->{quorum_name}", sub { return slots($node) !~ /quorum_4/ });
	pass("$node->{quorum_name} has no slot of the member that left");
}

# ---- a member falls behind -------------------------------------------------------

sub member
{
	my ($column) = @_;
	return $cluster->ask($leader, "SELECT $column FROM quorum.members WHERE name = 'n3'") // '';
}

my ($late) = grep { $_->{quorum_name} eq 'n3' } @followers;
$late->stop('fast');
my $from = $cluster->log_size($leader);
my $written = 0;
$cluster->wait_until('the warning', sub {
	return 1 if $cluster->log_since($leader, $from) =~ /WARNING: .*member n3 is far behind/;
	write_segment() if $written++ % 80 == 0;	# the worker looks once a second
	return 0;
});
is(member('wal_status'), 'reserved', 'a member that falls behind is named while its WAL is still there');
cmp_ok(member('safe_wal_size'), '<', 32 * 1024 * 1024, '... with what is left');
cmp_ok(member('safe_wal_size'), '>', 0, '... which is not nothing');
is($cluster->ask($leader, "SELECT count(*) FROM quorum.history WHERE event = 'wal_low' AND node = 'n3'"), '1',
	'... once, and the history has it');
unlike($cluster->log_since($leader, $from), qr/WAL that member n3 needs is gone/, '... before it is lost');

$cluster->wait_until('the loss', sub {
	write_segment();
	$cluster->ask($leader, 'CHECKPOINT');
	return member('wal_status') eq 'lost';
});
$cluster->wait_for_log($leader, qr/WARNING: .*WAL that member n3 needs is gone/, $from);
pass('the loss is said');
is($cluster->ask($leader, "SELECT count(*) FROM quorum.history WHERE event = 'wal_lost' AND node = 'n3'"), '1',
	'... once, and the history has it');
is($cluster->ask($leader, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'quorum_3'"), 'lost',
	'no WAL is kept in vain');

# ---- and comes back --------------------------------------------------------------

my $back = $cluster->log_size($late);
$cluster->start($late);
$cluster->wait_until('the reason', sub {
	return ($cluster->ask($late, 'SELECT reason FROM quorum.status') // '') =~
		/needs a clone: its leader has removed the WAL that comes next; quorum.auto_clone is off/;
});
pass('it says what it needs, and why it gets it not');
is($cluster->ask($leader, "SELECT coalesce(reason, '') FROM quorum.members WHERE name = 'n3'"), '',
	'it keeps its vote: its log is short, not wrong');
is(member('wal_status'), 'lost', 'the leader still shows that it cannot stream');

$from = $cluster->log_size($late);
$late->append_conf('postgresql.conf', 'quorum.auto_clone = on');
$late->reload;
$cluster->wait_for_followers($late);
ok($cluster->wait_for_log($late, qr/cloned and following/, $from), 'auto_clone brings it back');
is(scalar(() = $cluster->log_since($late, $back) =~ /restarting in place/g), 1, '... in one restart');
unlike($cluster->log_since($late, $back), qr/pg_rewind/, '... in which no rewind is tried that cannot help');
is($cluster->ask($late, "SELECT node, detail FROM quorum.history WHERE event = 'cloned'"),
	"$leader->{quorum_name}|nothing of its log was lost", '... and the history tells of it');
$cluster->wait_until('WAL for it', sub { return member('wal_status') eq 'reserved' });
pass('its slot keeps WAL for it again');
is($cluster->ask($late, 'SELECT count(*) FROM quorum.rollbacks'), '0', 'nothing was taken out of its log');

done_testing();
