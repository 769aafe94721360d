# An invitation finds a member: one that was removed and could not be told, or the wrong one.
#
# A server and a witness are away when they are removed, and all that they know have moved
# when they come back.  Nobody tells them, and still they take the next invitation.  A member
# that was not removed takes none, whoever sends it, and does not even notice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumLedger;
use QuorumMessage;
use QuorumState;
use QuorumWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('invited', nodes => 4, witness => 1);
my $ledger = QuorumLedger->new($cluster);
my $witness = $cluster->witness;
my $leader = $cluster->leader;
my ($one, $two, $away) = $cluster->followers;

sub name { return $_[0]{quorum_name}; }
sub ask { return $cluster->ask(@_) // ''; }
sub column { my ($node, $column) = @_; return ask($node, "SELECT $column FROM quorum.status"); }
sub member { my ($node, $column) = @_; return ask($leader, "SELECT $column FROM quorum.members WHERE name = '" . name($node) . "'"); }
sub address { return "127.0.0.1:$_[0]{quorum_port}"; }

$ledger->write($leader) or diag($cluster->{last_error}) for 1 .. 5;
$cluster->wait_for_followers;

# ---- a member that was not removed --------------------------------------------------

# What it is doing, and since when.
sub doings
{
	my ($node) = @_;
	return ask($node, "SELECT pg_postmaster_start_time(), (SELECT pid FROM pg_stat_wal_receiver), role, membership, leader FROM quorum.status");
}

my $doings = doings($one);
my $size = $cluster->log_size($one);
my $leader_size = $cluster->log_size($leader);
like($doings, qr/\|\d+\|follower\|member\|n\d$/, 'a member follows');

# Its address, given for a server of another name.
is($cluster->ask($leader, "SELECT quorum.add_member('x', 'localhost:$one->{quorum_port}', 'voter', '3 s')"), undef,
	'nobody joins at the address of a member');
$cluster->wait_for_log($one, qr/invites node \d+, and finds this node, \d+: it is a member already/, $size);
$cluster->wait_for_log($leader, qr/node "x" \(\d+\) at host "localhost", port \d+ cannot be talked to/, $leader_size);
like($cluster->log_since($leader, $leader_size), qr/It says about this node: another node answers at this address/,
	'... and the log of the leader says why');
ok(defined $cluster->ask($leader, "SELECT quorum.remove_member('x')", timeout => 60), '... who is taken out again');
is(doings($one), $doings, '... and the member there has gone on');

# The same by hand, of node 9001: the set of each invitation is made up here.
$doings = doings($two);
my $system = ask($leader, 'SELECT system_identifier FROM pg_control_system()');
my $state = QuorumState::of($two);
is($state->{system_identifier}, $system, 'the state file names the system');
is($state->{node_id}, member($two, 'node_id'), '... and the node');
my $id = $state->{node_id};
my %host = (
	port => $two->{quorum_port},
	secret => $cluster->secret,
	cluster_id => $state->{cluster_id},
	system_identifier => $system,
	node_id => 9001,
	boot_nonce => 4711,
	uuid => 'x' x 16);

# An INVITE as a $target; the set has these members, beside guest and host.
sub invitation
{
	my ($target, $term, @members) = @_;
	return QuorumMessage::invite(from => 9001, to => $target, term => $term, cluster_id => $host{cluster_id},
		system_identifier => $system, next_node_id => 9100, members => { 9001 => 'host', $target => name($two), @members });
}

sub look_for { my ($target, %change) = @_; return QuorumWire->new(%host, target => $target, flags => 3, %change); }

# A leader that has been replaced invites with the set that it has.
$size = $cluster->log_size($two);
my $talk = QuorumWire->new(%host, target => $id);
ok($talk->handshake, 'node 9001 talks to the member') or diag($talk->error);
my $wire = look_for(9002);
ok($wire->handshake, '... and looks for node 9002 there') or diag($wire->error);
$wire->send_frame(invitation(9002, 1));
$cluster->wait_for_log($two, qr/node 9001 invites node 9002, and finds this node, $id: it knows a newer member set/, $size);
pass('an invitation with an old set is none');
ok(!$talk->is_closed_by_node(1), '... and takes nothing away from whoever invites');

# One that says nothing of a removal, in a term to come.
$wire->send_frame(invitation(9002, column($leader, 'term') + 1000, $id => name($two)));
ok($wire->is_closed_by_node(10), 'nor one with a set that names the member');
$wire = look_for(9002);
$wire->handshake;
is($wire->error, 'refused: other_node', '... which is told to whoever looks for that node again');
for my $case ([ 'another cluster', cluster_id => 'x' x 16 ], [ 'another system', system_identifier => $system + 1 ])
{
	my ($what, %change) = @$case;
	$wire = look_for(9003, %change);
	$wire->handshake;
	is($wire->error, 'refused: other_node', "a node of $what finds no guest here");
}
ok(!$talk->is_closed_by_node(1), 'node 9001 may talk to the member still');
is(doings($two), $doings, '... which has noticed nothing of all that');
ok($ledger->write($leader), '... nor has the cluster');
$_->close for $talk, $wire;

# ---- removed, and nobody can tell ---------------------------------------------------

my ($old_id, $old_witness_id) = map { member($_, 'node_id') } $away, $witness;
$away->stop('fast');
$witness->stop;
ok(defined $cluster->ask($leader, "SELECT quorum.remove_member('" . name($_) . "')", timeout => 60), name($_) . ' is removed while it is away')
  for $witness, $away;

# Whoever leads moves last, as a follower.
sub move
{
	my ($node) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();

	$node->append_conf('postgresql.conf', "quorum.address = '127.0.0.1:$port'");
	$node->stop('fast');
	$cluster->start($node);
	ok(defined $cluster->ask($leader, "SELECT quorum.set_member_address('" . name($node) . "', '127.0.0.1:$port')", timeout => 60),
		name($node) . ' moves') or diag($cluster->{last_error});
	$node->{quorum_port} = $port;
	$cluster->wait_until('it follows there', sub { return column($node, 'leader') eq name($leader) && column($node, 'reason') eq ''; });
	$cluster->wait_for_followers(grep { $_ != $leader } $leader, $one, $two);
	return;
}

move($one);
move($two);
my $old = $leader;
$cluster->session($old)->ask("SELECT quorum.switchover('" . name($one) . "')", 20);
$leader = $cluster->wait_for_leader(not => $old);
$cluster->wait_for_followers(grep { $_ != $leader } $old, $one, $two);
move($old);
ok($ledger->write($leader), 'writes are accepted');

$size = $cluster->log_size($away);
my $witness_size = $witness->log_size;
$cluster->start($away);
ok($witness->start, 'the witness starts');
$cluster->wait_until('it looks for those that it knows', sub { return column($away, 'role') eq 'follower' && column($away, 'leader') eq ''; });
my $before = column($away, 'term');
my $new_id = ask($leader, "SELECT quorum.add_member('" . name($away) . "', '" . address($away) . "')", timeout => 60);
cmp_ok($new_id || 0, '>', $old_id, 'it is invited again under a new id') or diag($cluster->{last_error});
my $new_witness_id = ask($leader, "SELECT quorum.add_member('w', '" . address($witness) . "', 'witness')", timeout => 60);
cmp_ok($new_witness_id || 0, '>', $old_witness_id, '... and so is the witness') or diag($cluster->{last_error});
unlike($cluster->log_since($away, $size), qr/removed from the cluster|left the member set/, 'nobody had told it');
unlike($witness->log_since($witness_size), qr/removed from the cluster|left the member set/, '... nor the witness');
$cluster->wait_for_followers;
is(member($away, 'kind'), 'voter', 'it is a voter again');
is(member($witness, 'kind'), 'witness', '... and the witness one');
is(column($away, 'node_id'), $new_id, '... which it knows');
cmp_ok(column($away, 'term'), '>=', $before, '... its term has not gone back');
ok($ledger->write($leader), 'writes are accepted');
is($ledger->missing, '', 'every acknowledged row is there');
my $rows = ask($leader, "SELECT string_agg(id::text, ',' ORDER BY id) FROM ledger");
$cluster->wait_until('it has every row', sub { return ask($away, "SELECT string_agg(id::text, ',' ORDER BY id) FROM ledger") eq $rows; });
pass('... on the server that came back, too');

# Without their votes nobody is elected: three of five.
$cluster->wait_until('everybody is in', sub {
	return ask($leader, 'SELECT count(*) FROM quorum.members WHERE reachable AND NOT left_out') eq '5';
});
my ($dead) = grep { $_ != $leader && $_ != $away } $cluster->nodes;
$cluster->kill_all($_) for $dead, $leader;
isnt($cluster->wait_for_leader(not => $leader), $leader, 'it votes, and the witness does');
is($ledger->missing, '', '... and every acknowledged row is there still');
$cluster->start($_) for $dead, $leader;
$leader = $cluster->leader;
$cluster->wait_for_followers;

# ---- removed, and a primary still ----------------------------------------------------

# Its term is handed over, but the server cannot restart: its postmaster stands still.
$old = $leader;
my $session = $cluster->session($old);
$session->ask('SELECT 1', 20);
my $postmaster = $cluster->postmaster_pid($old);
$size = $cluster->log_size($old);
$old->{frozen} = 1;
kill 'STOP', $postmaster;
$session->ask("SELECT quorum.switchover()", 20);
$leader = $cluster->wait_for_leader(not => $old);
ok(defined $cluster->ask($leader, "SELECT quorum.remove_member('" . name($old) . "')", timeout => 60), 'who led is removed') or diag($cluster->{last_error});
my $caller = $cluster->session($leader);
$caller->send("SELECT quorum.add_member('" . name($old) . "', '" . address($old) . "')");
$cluster->wait_for_log($old, qr/invited as node \d+, when this server is a standby/, $size);
pass('a primary that was removed is invited');
kill 'CONT', $postmaster;
$old->{frozen} = undef;
ok($caller->finished(60) && $caller->error eq '', '... and joins as soon as it is a standby') or diag($caller->error);
$cluster->wait_for_followers;
is($ledger->missing, '', '... and every acknowledged row is there');

done_testing();
