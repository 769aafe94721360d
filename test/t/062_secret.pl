# The secret of a cluster is changed while it serves (H107).
#
# One node at a time, in three rounds: the new one is accepted, then used, then alone.  After
# the first node of each round another one is restarted, so that it makes all of its
# connections anew between files that differ.  The wrong order is told, and costs nobody else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('secret', nodes => 3);
my $leader = $cluster->leader;
my ($second, $third) = $cluster->followers;
my $old = $cluster->secret;
my $new = 'quite another secret, which nobody has known before';

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;
my $term = $cluster->ask($leader, 'SELECT term FROM quorum.status');
my $client = $cluster->session($leader);
my $rows = 0;

# An insert is answered, and so fast that nothing can have been in its way for a lease.
sub serves
{
	my ($when) = @_;

	$client->send('INSERT INTO t VALUES (1)');
	ok($client->finished($cluster->lease / 1000) && $client->error eq '', "$when: commits are answered");
	$rows++;
}

sub set_secret
{
	my ($node, @lines) = @_;

	$cluster->write_secret($node, join("\n", @lines));
	$node->reload;
	return;
}

# ---- the right order ------------------------------------------------------------------

for my $round ([ 'accepted', $old, $new ], [ 'used', $new, $old ], [ 'alone', $new ])
{
	my ($what, @lines) = @$round;

	for my $node ($third, $second, $leader)
	{
		set_secret($node, @lines);
		serves("the new secret is $what on $node->{quorum_name}");
		next if $node != $third;

		$third->restart;
		$cluster->wait_for_followers;
		pass("... and what it makes its connections with is accepted by the others");
		$second->restart;
		$cluster->wait_for_followers;
		pass("... and it accepts what the others use");
	}
}
is($cluster->ask($leader, 'SELECT term FROM quorum.status'), $term, 'nobody has stood for election meanwhile');
is($cluster->ask($leader, 'SELECT count(*) FROM t'), $rows, 'every row is there');

# ---- the wrong order ------------------------------------------------------------------

my @sizes = map { $cluster->log_size($_) } $leader, $third;
my $newer = 'the secret that comes next, and is not known to all nodes';
set_secret($third, $newer);
serves('a file that does not fit');
is($cluster->ask($leader, "SELECT counted FROM quorum.replication WHERE node = '$third->{quorum_name}'"), 't',
	'connections that stand are not broken');
kill 'TERM', $cluster->ask($third, 'SELECT pid FROM pg_stat_wal_receiver');
$cluster->wait_for_log($leader, qr/Its proof was made .* or with another secret/, $sizes[0]);
pass('its next stream is refused, and the leader says why');
$third->restart;
$cluster->wait_for_log($leader, qr/does not know the secret.*HINT:  A new secret is the second line of the file on every node/s,
	$sizes[0]);
pass('so is it on the quorum port');
$cluster->wait_for_log($third, qr/could not reach node .*the secrets may differ/, $sizes[1]);
pass('and says so itself');
serves('while a node is refused');
set_secret($third, $new);
$cluster->wait_for_followers;
pass('with the right file it is back, without a restart');

# A file that cannot be used changes nothing.
my $size = $cluster->log_size($leader);
set_secret($leader, 'short');
$cluster->wait_for_log($leader, qr/must have 16 to 1024 bytes/, $size);
$third->restart;
$cluster->wait_for_followers($third);
serves('a file that cannot be used');
set_secret($leader, $new);

# ---- a failover ------------------------------------------------------------------------

$cluster->wait_for_followers;
$cluster->kill_all($leader);
my $next = $cluster->wait_for_leader(not => $leader);
is($cluster->ask($next, 'SELECT count(*) FROM t'), $rows, 'after a failover every row is there');
$cluster->start($leader);
$cluster->wait_for_followers;
pass('and the old leader follows');

done_testing();
