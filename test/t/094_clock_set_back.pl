# Whether recovery may have read a file of pg_wal when it booted does not depend on what time the
# file says: the clock may have been set back meanwhile.  As in 087 a leader dies within a record
# longer than a segment, and its follower has to begin with that record anew; the stream that
# begins there breaks before it has got that far, and the next one has to begin there as well.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumHba;
use Test::More;
use Time::HiRes qw(time usleep);

# The connection holds back up to 36 MB, of a segment of 64.
my $cluster = QuorumCluster->new('clock', nodes => 3, lease => 10000, initdb => ['--wal-segsize=64'], conf => qq{
autovacuum = off
max_wal_size = 2GB
});
my $first = $cluster->leader;
my @followers = $cluster->followers;
$first->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

my $segment = 64 * 1024 * 1024;

# ---- WAL that ends with a segment, within a record that begins at the end of another one -----

my $session = $cluster->session($first);
$session->ask('SELECT pg_switch_wal()');
$session->ask("SELECT pg_logical_emit_message(true, 'test', repeat('x', 66000000))", 60);
kill 'STOP', ($cluster->process($first, qr/\bwalwriter\b/))[0];
my $begin = $session->ask('SELECT pg_current_wal_flush_lsn()');
my $file = $session->ask("SELECT pg_walfile_name('$begin')");
cmp_ok($session->ask("SELECT ('$begin'::pg_lsn - '0/0') % $segment"), '>', 60_000_000, 'a segment is nearly full');
my $writer = $cluster->session($first);
my $writer_pid = $writer->ask('SELECT pg_backend_pid()');
$writer->send("SELECT pg_logical_emit_message(false, 'test', repeat('x', 300000000))");
$cluster->wait_until('segments of the record are flushed', sub {
	return $session->ask("SELECT pg_current_wal_flush_lsn() - '$begin' > 1.5 * $segment") eq 't' });
kill 'STOP', $writer_pid;
is($session->ask("SELECT (pg_current_wal_flush_lsn() - '0/0') % $segment"), 0, 'the WAL of the leader ends with a segment');
$cluster->wait_until('followers that have it all', sub {
	return $session->ask('SELECT count(*) FROM pg_stat_replication WHERE flush_lsn = pg_current_wal_flush_lsn()') eq '2' });

# ---- the first stream of the next leader's timeline breaks -------------------------------

sub children
{
	my ($pid) = @_;
	open(my $in, '<', "/proc/$pid/task/$pid/children") or return;
	return split ' ', <$in> // '';
}

# Nobody gets a stream from the next leader at first, and whoever sends it then does so a little
# at a time.
my %from = map { $_->{quorum_name} => $cluster->log_size($_) } @followers;
my %hba = map { $_->{quorum_name} => QuorumHba->new($_) } @followers;
$_->refuse_streams($cluster) for values %hba;
$cluster->kill_all($first);
my $leader = $cluster->wait_until('the next leader', sub {
	return (grep { $cluster->log_since($_, $from{ $_->{quorum_name} }) =~ /promoted to timeline/ } @followers)[0] });
my ($node) = grep { $_ != $leader } @followers;
my $postmaster = $cluster->postmaster_pid($leader);
kill 'STOP', $postmaster;
my %known = map { $_ => 1 } children($postmaster);
$hba{ $leader->{quorum_name} }->put_back;
kill 'HUP', $postmaster;
kill 'CONT', $postmaster;
my ($path, @sender);
my $until = time() + 60;
while (!$path && time() < $until)
{
	@sender = grep { !$known{$_} } children($postmaster);
	kill 'STOP', @sender;
	usleep(5000) if @sender;
	($path) = grep { substr($_, -24) gt $file } glob($node->data_dir . '/pg_wal/????????' . substr($file, 8));
	kill 'CONT', @sender if !$path;
}
ok($path && @sender, 'the stream begins where the record does');
my ($receiver) = $cluster->process($node, qr/\bwalreceiver\b/);
$cluster->wait_until('an end of what comes', sub {
	my $before = join ' ', (stat $path)[9], -M _;
	usleep(200_000);
	return $before eq join ' ', (stat $path)[9], -M _;
});
unlike($cluster->log_since($node, $from{ $node->{quorum_name} }), qr/its log ended within a record/, '... and stands still before it has got there');
ok(utime(1, 1, $path), '... as the clock is set back');
kill 'TERM', $receiver;
$cluster->wait_until('its end', sub { !-d "/proc/$receiver" });
kill 'CONT', @sender;

is($cluster->wait_for_leader(not => $first), $leader, 'the leader serves: it has a follower');
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (1)'), '... and takes a commit');
like($cluster->log_since($node, $from{ $node->{quorum_name} }), qr/its log ended within a record that the log of the leader has not got/,
	'its follower begins with that record anew');
$cluster->wait_until('the follower to show the row', sub { ($cluster->ask($node, 'SELECT id FROM t') // '') eq '1' }, 20);
pass('... and replays what it has');

done_testing();
