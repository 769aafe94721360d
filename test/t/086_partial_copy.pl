# The first segment of a leader's timeline begins with a copy of what the one before holds: who was
# stopped while it wrote that copy still has its whole log, says so, and can lead.
#
# The leader dies; one follower is promoted and dies before the other one got anything of it.  The
# state of the other one after a death during the copy is what it has and the promoted one's history
# and segment, of which everything behind the byte where the copy was cut off is zero.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use File::Copy qw(copy);
use PostgreSQL::Test::Utils;
use QuorumHba;
use Test::More;

my ($cluster, $first, $young, $node, %hba, $cut, $end, $tli, $size, $number, $old, $new, $history, $of_young);
my $page = 8192;

sub lsn { return $cluster->ask($_[0], "SELECT $_[1] - '0/0'") }
sub wal { return $_[0]->data_dir . "/pg_wal/$_[1]" }

# ---- the situation -----------------------------------------------------------------------------------

sub make_situation
{
	my ($name, @initdb) = @_;

	$cluster = QuorumCluster->new($name, nodes => 3, initdb => \@initdb, conf => "autovacuum = off\narchive_mode = on\narchive_command = 'true'");
	$first = $cluster->leader;
	my @followers = $cluster->followers;

	# Nobody streams from who will be promoted.
	%hba = map { $_->{quorum_name} => QuorumHba->new($_) } @followers;
	$_->refuse_streams($cluster) for values %hba;

	# A log whose end, its last checkpoint but one, and its last checkpoint are in one segment.
	$first->safe_psql('postgres', 'CREATE TABLE t (id int, filler text); SELECT pg_switch_wal()');
	$first->safe_psql('postgres', "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 300) AS i");
	$cut = int(lsn($first, 'pg_current_wal_insert_lsn()') / $page) * $page;
	$first->safe_psql('postgres', 'CHECKPOINT');
	$first->safe_psql('postgres', "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(301, 600) AS i");
	$cluster->wait_for_followers;

	# Nothing writes WAL any more, so that everybody has the same.
	kill 'STOP', split /\n/, $cluster->ask($first, "SELECT pid FROM pg_stat_activity WHERE backend_type IN ('checkpointer', 'background writer')");
	$end = lsn($first, 'pg_current_wal_insert_lsn()');
	$cluster->wait_until('everything is replayed', sub { !grep { (lsn($_, 'pg_last_wal_replay_lsn()') // 0) != $end } @followers });

	# Somebody is promoted, and nobody gets a byte of it.
	my %from = map { $_->{quorum_name} => $cluster->log_size($_) } @followers;
	$cluster->kill_all($first);
	$young = $cluster->wait_until('somebody is promoted', sub {
		return (grep { $cluster->log_since($_, $from{ $_->{quorum_name} }) =~ /quorum: promoted to timeline/ } @followers)[0] });
	$cluster->kill_all($young);
	($node) = grep { $_ != $young } @followers;
	($tli) = $cluster->log_since($young, $from{ $young->{quorum_name} }) =~ /quorum: promoted to timeline (\d+)/;
	$size = $cluster->ask($node, "SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'");
	$number = int(($end - 1) / $size);
	($old, $new) = map { sprintf '%08X%08X%08X', $_, $number / (2**32 / $size), $number % (2**32 / $size) } 1, $tli;
	$history = sprintf '%08X.history', $tli;

	is(lsn($node, 'pg_last_wal_replay_lsn()'), $end, 'the other one has the whole log');
	my ($high, $low) = PostgreSQL::Test::Utils::slurp_file(wal($young, $history)) =~ m{^1\t([0-9A-F]+)/([0-9A-F]+)\t}m;
	is((hex($high) << 32) + hex($low), $end, 'the timeline of the promoted one begins where it ends');
	cmp_ok(int($cut / $size), '==', $number, 'the copy ends in the same segment');
	$of_young = PostgreSQL::Test::Utils::slurp_file(wal($young, $new));
}

sub write_wal
{
	my ($name, $data) = @_;
	open(my $out, '>:raw', wal($node, $name)) or die "$name: $!";
	print $out $data;
	close $out or die $!;
	chmod 0600, wal($node, $name);
}

# What was written of a segment before position $lsn.
sub cut_off
{
	my ($data, $lsn) = @_;
	my $offset = $lsn - $number * $size;
	return substr($data, 0, $offset) . "\0" x ($size - $offset);
}

sub leave_histories
{
	copy(wal($young, $_), wal($node, $_)) or die $! for map { s{.*/}{}r } glob(wal($young, '*.history'));
}

sub leave_copy
{
	my ($lsn) = @_;
	leave_histories();
	write_wal($new, cut_off($of_young, $lsn));
}

# Start it alone; what it claims to have once it has read its log.
sub claim
{
	my ($what) = @_;
	my $offset = $cluster->log_size($node);

	$cluster->start($node);
	$cluster->wait_until("$what: it has read its log", sub {
		return ($cluster->ask($node, 'SELECT phase FROM quorum.status') // '') eq 'standby' }, 30);
	my $claim = $cluster->ask($node, "SELECT timeline || ' ' || (flush_lsn - '0/0') FROM quorum.members WHERE is_self");
	return ($claim, $cluster->log_since($node, $offset));
}

# ---- at a boot ---------------------------------------------------------------------------------------

make_situation('partial_copy');
my $removed = qr/quorum: removed a segment of timeline $tli: its copy of timeline 1 was not finished/;
my ($claim, $log);

$cluster->kill_all($node);
leave_copy($cut);
($claim, $log) = claim('a checkpoint before the cut');
is($claim, "1 $end", 'after a copy that was cut off behind the last checkpoint it claims all it has acknowledged');
like($log, $removed, '... and says what it removed');
ok(!-e wal($node, $history), '... a history without WAL goes, too');

# Bytes 20 to 23 of a page are not used: every record is valid, and still it is no copy.
$cluster->kill_all($node);
my $differs = cut_off($of_young, $cut);
substr($differs, $cut - $number * $size - 2 * $page + 20, 1) = 'x';
leave_copy($cut);
write_wal($new, $differs);
($claim, $log) = claim('something that differs');
is($claim, "1 $end", 'nor does anything else in its place hide what it has acknowledged');
like($log, qr/quorum: timelines $tli and 1 differ before.*hides a part of the log/s, '... but recovery is asked before it goes');
unlike($log, $removed, '... as it was no copy');

$node->safe_psql('postgres', 'CHECKPOINT');
cmp_ok(lsn($node, '(SELECT checkpoint_lsn FROM pg_control_checkpoint())'), '>', $cut, 'a checkpoint behind the cut');
$cluster->kill_all($node);
leave_copy($cut);
($claim, $log) = claim('a checkpoint behind the cut');
is($claim, "1 $end", 'after a copy that was cut off before the last checkpoint, too');
like($log, $removed, '... and it starts without a leader');

# The file was made, nothing was written yet.
$cluster->kill_all($node);
leave_copy($number * $size);
($claim, $log) = claim('an empty copy');
is($claim, "1 $end", 'after a copy without a byte, too');

# ---- what stays --------------------------------------------------------------------------------------

my $of_old = PostgreSQL::Test::Utils::slurp_file(wal($node, $old));

$cluster->kill_all($node);
leave_copy($end);
write_wal($old, cut_off($of_old, $cut));
($claim, $log) = claim('the copy is longer');
is($claim, "1 $end", 'a copy that is longer than what it was copied from stays');
unlike($log, qr/quorum: removed/, '... and its history');

$cluster->kill_all($node);
leave_copy($end);
write_wal($old, $of_old);
($claim, $log) = claim('a whole copy');
is($claim, "1 $end", 'so does one that is whole');
ok(-e wal($node, $new), '... in its file');

$cluster->kill_all($node);
unlink wal($node, $new), wal($node, $history);

# ---- in the life in which the copy was cut off ----------------------------------------------------------

($claim, $log) = claim('no copy');
is($claim, "1 $end", 'it has the whole log still');

# It aims at the timeline, of whose first segment there is what $leave leaves, and is to lead: by an
# operator's word, as of two nodes with the same log either may be elected.
sub lead
{
	my ($what, $leave) = @_;
	my $offset = $cluster->log_size($node);

	$hba{ $node->{quorum_name} }->put_back;
	$node->reload;
	$leave->();
	kill 'TERM', $cluster->wait_until('its walreceiver', sub {
		return ($cluster->process($node, qr/walreceiver/))[0];
	});
	$cluster->wait_for_log($node, qr/new target timeline is $tli/, $offset);
	$cluster->wait_until("$what: force", sub {
		return defined $cluster->ask($node, "SELECT quorum.force('$node->{quorum_name}')", timeout => 60) || $cluster->{last_error} !~ /lease/ });
	is($cluster->wait_for_leader, $node, "$what: it is promoted");
	my $log = $cluster->log_since($node, $offset);
	like($log, qr/quorum: finished the copy of timeline 1 that timeline $tli begins with.*promoted to timeline/s, '... behind the end of the copy');
	unlike($log, qr/PANIC/, '... in one go');
	is($cluster->ask($node, 'SELECT count(*) FROM t'), '600', 'everything that was acknowledged is there');
	ok(defined $cluster->ask($node, 'INSERT INTO t VALUES (601)'), '... and it serves');

	$offset = $cluster->log_size($first);
	$cluster->start($first);
	$cluster->wait_until('the first leader has what it serves', sub { ($cluster->ask($first, 'SELECT count(*) FROM t') // '') eq '601' });
	unlike($cluster->log_since($first, $offset), qr/needs a rewind/, 'who has the same log is sent what comes next');
	$cluster->kill_all($_) for $node, $first;
}

lead('a copy that was cut off', sub { leave_copy($cut) });

# ---- ... and in which nothing but the history had come --------------------------------------------------

make_situation('no_copy');
lead('no copy at all', \&leave_histories);

# ---- with segments of another size ----------------------------------------------------------------------

make_situation('small_segments', '--wal-segsize=1');
is($size, 1024 * 1024, 'segments of 1 MB');
$cluster->kill_all($node);
leave_copy($cut);
($claim, $log) = claim('segments of 1 MB');
is($claim, "1 $end", 'segments of 1 MB: it claims all it has acknowledged');
like($log, qr/quorum: removed a segment of timeline $tli: its copy of timeline 1 was not finished/, '... and says what it removed of the copy');
lead('segments of 1 MB', sub { leave_copy($cut) });

done_testing();
