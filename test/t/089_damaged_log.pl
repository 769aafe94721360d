# Recovery takes a record that it cannot read for the end of the log.  A node that was elected
# for WAL it acknowledged, and of which its disk has damaged some before it was replayed, does
# not begin a timeline without that WAL (R13, H88): the commits in it would be lost.
#
# The follower's replay is paused, so that what is damaged is read at the promotion only.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use Fcntl qw(SEEK_SET);
use Test::More;

my $cluster = QuorumCluster->new('damaged_log', nodes => 3, conf => "autovacuum = off\nwal_compression = off");
my $leader = $cluster->leader;
my ($node, $behind) = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int, filler text)');
$cluster->wait_for_followers;
$cluster->kill_all($behind);

ok(defined $cluster->ask($node, 'SELECT pg_wal_replay_pause()'), 'replay is paused on the only other one that acknowledges');
$cluster->wait_until('the pause', sub {
	return ($cluster->ask($node, 'SELECT pg_get_wal_replay_pause_state()') // '') eq 'paused';
});
$leader->safe_psql('postgres', "INSERT INTO t SELECT i, repeat('x', 400) FROM generate_series(1, 4000) i") for 1 .. 3;

# Further on than what the startup process may have decoded already, and with commits behind it.
my $damaged = $cluster->ask($leader, 'SELECT pg_current_wal_flush_lsn() - 1000000');
my ($file, $offset) = split /\|/, $cluster->ask($leader, "SELECT file_name, file_offset FROM pg_walfile_name_offset('$damaged')");
is($cluster->ask($node, "SELECT pg_last_wal_replay_lsn() < '$damaged'::pg_lsn - 2000000 AND pg_last_wal_receive_lsn() > '$damaged'"), 't',
	'bytes that it has acknowledged, and not read yet');

# Before the leader is lost: that ends the pause.
damage($node->data_dir . "/pg_wal/$file", $offset);
$cluster->kill_all($leader);

# ---- it is elected, for the longer log, and finds it damaged ------------------------------

my $since = $cluster->log_size($node);
$cluster->start($behind);
ok($cluster->wait_for_log($node, qr/elected leader.*recovery ended at .* but this node acknowledged.*promotion to timeline \d+ stopped: the log is damaged/s, $since),
	'it is elected, and does not promote');
$cluster->wait_until('its restart in place', sub {
	return ($cluster->ask($node, "SELECT reason FROM quorum.status") // '') =~ /recovering/;
});
pass('after its restart it knows that something is missing, and does not vote (S8)');
isnt($cluster->ask($behind, 'SELECT role FROM quorum.status'), 'leader', 'so the one behind is not elected');

# ---- who has the WAL leads, and it is whole again -----------------------------------------

$cluster->start($leader);
is($cluster->wait_for_leader, $leader, 'the old leader, which has it all, leads again');
$cluster->wait_for_followers;
for my $each ($leader, $node, $behind)
{
	$cluster->wait_until('all rows', sub { return ($cluster->ask($each, 'SELECT count(*) FROM t') // '') eq '12000' });
	pass("every row is on $each->{quorum_name}");
}
$cluster->wait_until('the vote is back', sub {
	return ($cluster->ask($node, "SELECT electable FROM quorum.status") // '') eq 't';
});
pass('it can be elected again');

done_testing();

# Eight bytes that are aligned as records are, for no record leaves more than seven unused.
sub damage
{
	my ($name, $at) = @_;
	my $bytes;

	open(my $wal, '+<:raw', $name) or die "$name: $!\n";
	$at -= $at % 8;
	seek($wal, $at, SEEK_SET) && read($wal, $bytes, 8) == 8 or die "$name: $!\n";
	seek($wal, $at, SEEK_SET) or die "$name: $!\n";
	print {$wal} $bytes ^ (chr(0x55) x 8);
	close($wal) or die "$name: $!\n";
	return;
}
