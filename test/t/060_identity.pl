# Nobody votes, streams or speaks in the name of another.
#
# A copied data directory is recognised and takes no part; a node with a wrong secret is
# not heard; garbage, half frames, a frame of 1 GB and a replay on the quorum port are
# dropped and counted, and the cluster does not notice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumMessage;
use QuorumState;
use QuorumWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('identity', nodes => 3);
my $leader = $cluster->leader;
my ($second, $third) = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

sub counter
{
	my ($name) = @_;
	return $cluster->ask($leader, "SELECT $name FROM quorum.transport");
}

sub still_leads
{
	my ($what) = @_;
	is($cluster->ask($leader, 'SELECT role || gate FROM quorum.status'), 'leaderopen',
		"$what: the leader leads");
	ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (1)'), "$what: and accepts writes");
}

# ---- what comes in on the port --------------------------------------------------

# Identity of a node that is down, as a thief of its state file would know it.
$third->stop('fast');
my $state = QuorumState::of($third);
my $system = $cluster->ask($leader, 'SELECT system_identifier FROM pg_control_system()');
is($state->{system_identifier}, $system, 'the state file names the system');
my %thief = (%$state{qw(cluster_id system_identifier node_id uuid)}, target => 1, port => $leader->{quorum_port});

my $before = counter('rejected_garbage');
my $wire = QuorumWire->new(port => $leader->{quorum_port});
$wire->challenge;
$wire->send_bytes("\xff" x 4096);
ok($wire->is_closed_by_node(10), 'garbage in place of a hello: dropped');
$wire = QuorumWire->new(port => $leader->{quorum_port});
$wire->challenge;
$wire->send_bytes(substr $wire->hello_bytes(%thief), 0, 20);
ok($wire->is_closed_by_node(10), 'half a hello: dropped after a while');
still_leads('garbage');

my $auth = counter('rejected_auth');
$wire = QuorumWire->new(%thief, secret => 'not the secret of this cluster');
$wire->handshake;
ok($wire->is_closed_by_node(10), 'wrong secret: dropped');
$cluster->wait_until('the wrong secret is counted', sub { counter('rejected_auth') > $auth });
pass('wrong secret: counted');

# With the right secret, what follows the handshake is still not trusted.
for my $attack ('1 GB', 'damaged', 'replay', 'no message')
{
	my @counters = map { counter($_) } 'rejected_auth', 'rejected_garbage';

	$wire = QuorumWire->new(%thief, secret => $cluster->secret);
	if (!$wire->handshake)
	{
		fail("$attack: handshake: " . $wire->error);
		next;
	}
	if ($attack eq '1 GB') { $wire->send_bytes(pack('L<', 1 << 30) . 'x' x 100) }
	elsif ($attack eq 'damaged') { $wire->send_frame('x' x 40, mac => 'y' x 32) }
	elsif ($attack eq 'replay')
	{
		my $frame = $wire->frame_bytes('x' x 40);
		$wire->send_bytes($frame . $frame);
	}
	else { $wire->send_frame('this is no message of the core') }

	# A frame that is genuine but no message may come from a later version: only it is lost.
	ok($wire->is_closed_by_node(10), "$attack: connection dropped") if $attack ne 'no message';
	$cluster->wait_until("$attack is counted", sub {
		return counter('rejected_auth') > $counters[0] || counter('rejected_garbage') > $counters[1];
	});
	pass("$attack: counted");
}

# Who knows the secret is still not whoever it says it is.
for my $case (
	[ 'another cluster', other_cluster => cluster_id => 'x' x 16 ],
	[ 'another system', other_system => system_identifier => $system + 1 ],
	[ 'another server that joined as this node', other_incarnation => uuid => 'x' x 16 ],
	[ 'the node itself', same_node => node_id => 1 ])
{
	my ($what, $verdict, %change) = @$case;

	$wire = QuorumWire->new(%thief, secret => $cluster->secret, %change);
	$wire->handshake;
	is($wire->error, "refused: $verdict", "a node of $what: refused");
}

# A Resign in the name of the leader, on the connection of another node.
my ($leader_id, $second_id) = map { $cluster->ask($leader,
	"SELECT node_id FROM quorum.members WHERE name = '$_->{quorum_name}'") } $leader, $second;
my $term = $cluster->ask($leader, 'SELECT term FROM quorum.status');
my $garbage = $cluster->ask($second, 'SELECT rejected_garbage FROM quorum.transport');
my $second_size = $cluster->log_size($second);
$wire = QuorumWire->new(%thief, secret => $cluster->secret, port => $second->{quorum_port},
	target => $second_id);
ok($wire->handshake, 'a thief of identity and secret is heard');
my ($own, $forged) = map { $wire->frame_bytes(QuorumMessage::resign(from => $_, to => $second_id, term => $term)) }
  $thief{node_id}, $leader_id;
$wire->send_bytes($own . $forged);
$cluster->wait_until('the forged name is counted', sub {
	return $cluster->ask($second, 'SELECT rejected_garbage FROM quorum.transport') > $garbage
	  || $cluster->log_since($second, $second_size) =~ /lost/;
});
unlike($cluster->log_since($second, $second_size), qr/lost: resigned/, '... but not in the name of the leader');
is($cluster->ask($second, 'SELECT rejected_garbage FROM quorum.transport'), $garbage + 1,
	'... while its own Resign is none to complain of');
still_leads('attacks with the secret');
$cluster->start($third);
$cluster->wait_for_followers;

# ---- a member whose secret differs ----------------------------------------------

$auth = counter('rejected_auth');
$third->stop('fast');
$cluster->write_secret($third, 'quite another secret of sufficient length');
$cluster->start($third);
$cluster->wait_until('the wrong secret of a member is counted', sub {
	return counter('rejected_auth') > $auth;
});
pass('a member with a wrong secret is not heard');
is($cluster->ask($third, 'SELECT leader IS NULL FROM quorum.status'), 't', 'it knows no leader');
still_leads('wrong secret');
$third->stop('fast');
$cluster->write_secret($third, $cluster->secret);
$cluster->start($third);
$cluster->wait_for_followers;
pass('with the right secret it follows again');

# ---- a copy of a member ---------------------------------------------------------

$third->stop('fast');
my $copy = PostgreSQL::Test::Cluster->new('identity_copy');
system_or_bail('cp', '-a', $third->data_dir, $copy->basedir . '/pgdata') if !-d $copy->data_dir;
$cluster->_configure($copy, 3);
$copy->start;
is($cluster->ask($copy, 'SELECT membership FROM quorum.status'), 'foreign copy',
	'a copied data directory is recognised');
is($cluster->ask($copy, 'SELECT pg_is_in_recovery()'), 't', 'it runs as a standby');
$cluster->start($third);
$cluster->wait_for_followers;
is($cluster->ask($leader, 'SELECT count(*) FROM quorum.members'), '3', 'the cluster has three members');

# One member and the copy are no majority.
$cluster->kill_all($third);
my $size = $cluster->log_size($second);
$cluster->kill_all($leader);
$cluster->wait_for_log($second, qr/pre-vote for term/, $size);
my $rounds = sub { my @n = $cluster->log_since($second, $size) =~ /pre-vote for term/g; scalar @n };
$cluster->wait_until('several election rounds', sub { $rounds->() >= 4 });
like($cluster->ask($second, 'SELECT role FROM quorum.status'), qr/^(?:follower|pre_candidate)$/,
	'a member and a copy elect nobody');
unlike(slurp_file($copy->logfile), qr/voted for/, 'the copy does not vote');
$cluster->start($third);
$cluster->wait_for_leader;
pass('with another member there is a leader');
$copy->stop('immediate');

done_testing();
