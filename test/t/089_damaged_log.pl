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

# Far on, with commits behind it, and with more in between than what the startup process may have
# decoded already.  Eight bytes, aligned as records are: no record leaves more than seven unused.
$cluster->kill_all($behind);
pause_replay();
$leader->safe_psql('postgres', "INSERT INTO t SELECT i, repeat('x', 400) FROM generate_series(1, 4000) i") for 1 .. 3;
my $damaged = $cluster->ask($leader, 'SELECT pg_current_wal_flush_lsn() - 1000000');
is($cluster->ask($node, "SELECT pg_last_wal_replay_lsn() < '$damaged'::pg_lsn - 2000000 AND pg_last_wal_receive_lsn() > '$damaged'"), 't',
	'bytes that it has acknowledged, and not read yet');
is_not_promoted($damaged, chr(0x55) x 8, 12000);

# The length of a record on the last page claims megabytes that were never written, as if the
# rest of it had not come.
$leader->safe_psql('postgres', 'SELECT pg_switch_wal()');
$leader->safe_psql('postgres', "INSERT INTO t VALUES (0, 'x')");
$cluster->wait_until('replay', sub {
	my $end = $cluster->ask($leader, 'SELECT pg_current_wal_insert_lsn()') // return;
	return ($cluster->ask($node, "SELECT pg_last_wal_replay_lsn() = '$end'") // '') eq 't';
});
$cluster->kill_all($behind);
pause_replay();
my $first = $cluster->ask($node, 'SELECT pg_last_wal_replay_lsn()');
$leader->safe_psql('postgres', "INSERT INTO t VALUES (0, 'x')") for 1 .. 3;
is($cluster->ask($leader, "SELECT '$first'::pg_lsn - '0/0' < 8192 + s AND pg_current_wal_flush_lsn() - '0/0' < 8192 + s FROM "
	. "(SELECT floor(('$first'::pg_lsn - '0/0') / 8192) * 8192 AS s) AS page"), 't', 'some records on the last page');
is_not_promoted($first, "\0\0\x55\0\0\0\0\0", 12004);

done_testing();

sub pause_replay
{
	ok(defined $cluster->ask($node, 'SELECT pg_wal_replay_pause()'), 'replay is paused on the only other one that acknowledges');
	$cluster->wait_until('the pause', sub {
		return ($cluster->ask($node, 'SELECT pg_get_wal_replay_pause_state()') // '') eq 'paused';
	});
	return;
}

# It is elected, for the longer log, and finds it damaged; who has the WAL leads, and it is whole
# again.
sub is_not_promoted
{
	my ($where, $mask, $rows) = @_;

	# Before the leader is lost: that ends the pause.
	damage($where, $mask);
	$cluster->kill_all($leader);

	my ($since, $since_behind) = map { $cluster->log_size($_) } $node, $behind;
	$cluster->start($behind);
	ok($cluster->wait_for_log($node, qr/elected leader.*recovery ended at .* but this node acknowledged.*promotion to timeline \d+ stopped: the log is damaged/s, $since),
		'it is elected, and does not promote');
	$cluster->wait_until('its restart in place', sub {
		return ($cluster->ask($node, "SELECT reason FROM quorum.status") // '') =~ /recovering/;
	});
	pass('after its restart it knows that something is missing, and does not vote (S8)');
	is($cluster->seen_within(2 * $cluster->lease / 1000, sub { $cluster->log_since($behind, $since_behind) =~ /elected leader of term/ }),
		undef, 'so the one behind is not elected');

	$cluster->start($leader);
	is($cluster->wait_for_leader, $leader, 'the old leader, which has it all, leads again');
	$cluster->wait_for_followers;
	for my $each ($leader, $node, $behind)
	{
		$cluster->wait_until('all rows', sub { return ($cluster->ask($each, 'SELECT count(*) FROM t') // '') eq $rows });
		pass("every row is on $each->{quorum_name}");
	}
	$cluster->wait_until('the vote is back', sub {
		return ($cluster->ask($node, "SELECT electable FROM quorum.status") // '') eq 't';
	});
	pass('it can be elected again');
	return;
}

sub damage
{
	my ($lsn, $mask) = @_;
	my ($file, $at) = split /\|/, $cluster->ask($leader, "SELECT file_name, file_offset FROM pg_walfile_name_offset('$lsn')");
	my $name = $node->data_dir . "/pg_wal/$file";
	my $bytes;

	open(my $wal, '+<:raw', $name) or die "$name: $!\n";
	$at -= $at % 8;
	seek($wal, $at, SEEK_SET) && read($wal, $bytes, length $mask) == length $mask or die "$name: $!\n";
	seek($wal, $at, SEEK_SET) or die "$name: $!\n";
	print {$wal} $bytes ^ $mask;
	close($wal) or die "$name: $!\n";
	return;
}
