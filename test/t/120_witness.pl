# Two servers with data and a witness: writes go on without either server, and never
# with both of them apart.
#
# The witness is the daemon that "pg_quorum witness" becomes.  First the story of the sync
# set: who is lost is left out, cannot lead, is taken in again.  Then the witness itself:
# killed, wiped, copied, asked to be two.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumLedger;
use IO::Socket::UNIX;
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $cluster = QuorumCluster->new('witness', nodes => 2, witness => 1);
my $witness = $cluster->witness;
my $ledger = QuorumLedger->new($cluster);

sub members
{
	my ($column, $where) = @_;
	return $cluster->ask($cluster->leader,
		"SELECT string_agg($column, ',' ORDER BY node_id) FROM quorum.members WHERE $where") // '';
}

sub wait_for_whole
{
	$cluster->wait_for_followers;
	$cluster->wait_until('nobody is left out', sub { members('name', 'left_out') eq '' });
}

# Nobody serves on these nodes, and nobody begins to: looked at for some leases.
sub nobody_serves
{
	my ($what, @nodes) = @_;
	my $until = time() + 3 * $cluster->lease / 1000;
	my $served = 0;

	$cluster->wait_until('nobody serves', sub { !grep { $ledger->write($_) } @nodes }, 20);
	while (time() < $until)
	{
		$served += $ledger->write($_) for @nodes;
	}
	is($served, 0, $what);
}

# ---- one of three ---------------------------------------------------------------------

is(members('kind', 'true'), 'voter,voter,witness', 'two voters with data and a witness');
wait_for_whole();
my $leader = $cluster->leader;
my ($follower) = $cluster->followers;
my ($said, $code) = $witness->status;
is($cluster->ask($leader, "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%3'"), '0',
	'nobody keeps WAL for the witness');
cmp_ok($witness->resident, '<', 10 * 1024, 'the witness needs less than 10 MB');
note('resident: ' . $witness->resident . ' kB');

# ---- the follower dies ------------------------------------------------------------------

my $writer = $cluster->session($leader);
ok(defined $ledger->timed($writer), 'a row is written') for 1 .. 3;
kill 'KILL', $cluster->processes($follower);
my $gap = $ledger->timed($writer);
ok(defined $gap, 'writes go on without the follower');
note(sprintf 'gap after kill of the follower: %.0f ms', $gap);
cmp_ok($gap, '<', 3000, '... soon');
$cluster->kill_all($follower);
is(members('name', 'left_out'), $follower->{quorum_name}, 'quorum.members says who is left out');
ok($ledger->write($leader), 'writes go on');

# ---- and then the leader: the follower lacks what was written since ----------------------

# The witness has it on disk that the follower was left out.
$cluster->kill_all($leader);
$witness->kill_all;
ok($witness->start, 'the witness starts again');
$cluster->start($follower);
nobody_serves('who was left out never leads', $follower);
like($cluster->ask($follower, 'SELECT reason FROM quorum.members WHERE is_self') // '', qr/left out/,
	'... and says why');
$cluster->start($leader);
is($cluster->wait_for_leader, $leader, 'the one that has everything leads');
wait_for_whole();
is($ledger->missing, '', 'every acknowledged id is there');
is(members('name', 'in_sync_rule'), $follower->{quorum_name}, 'commits wait for the follower again');

# ---- the leader dies ----------------------------------------------------------------------

($leader) = $cluster->leader;
($follower) = $cluster->followers;
$writer = $cluster->session($follower);
is($writer->ask('SELECT 1'), '1', 'a session on the follower');
kill 'KILL', $cluster->processes($leader);
$gap = $ledger->timed_until($writer, 30);
ok(defined $gap, 'the follower leads and serves without the leader');
note(sprintf 'gap after kill of the leader: %.0f ms', $gap // -1);
$cluster->kill_all($leader);
is(members('name', 'left_out'), $leader->{quorum_name}, 'the old leader is left out');
is($ledger->missing, '', 'every acknowledged id is there');
$cluster->start($leader);
wait_for_whole();

# ---- the witness dies -----------------------------------------------------------------------

($leader) = $cluster->leader;
($follower) = $cluster->followers;
$witness->kill_all;
$cluster->wait_until('the witness is missed', sub { members('name', 'NOT reachable') eq 'w' });
ok($ledger->write($leader), 'writes go on without the witness');
is(members('name', 'left_out'), '', '... and nobody is left out');
my $size = $witness->log_size;
ok($witness->start, 'the witness starts again');
$cluster->wait_until('the witness is heard', sub { members('name', 'NOT reachable') eq '' });
# A promise that it has not renewed since its start runs out: nothing has to be proven then.
$cluster->wait_until('the witness follows', sub { $witness->log_since($size) =~ /leader is \Q$leader->{quorum_name}\E / });
$cluster->kill_all($leader);
my $new = $cluster->wait_for_leader(not => $leader, limit => 30);
like($witness->log_since($size), qr/voted for n\d \(\d\) in term/, 'it votes again');
like($witness->log_since($size), qr/lost: both ports refuse/, '... and proves itself that the leader is dead');
($said, $code) = $witness->status;
$cluster->wait_until('the status of the witness', sub {
	($said, $code) = $witness->status;
	return $said =~ /^leader: $new->{quorum_name}$/m && $said =~ /left out/ && $code == 0;
});
pass('pg_quorum witness --status says who leads, and who is left out');
$cluster->start($leader);
wait_for_whole();

# ---- a second one in its place ----------------------------------------------------------------

my @second = ($witness->{command}, $witness->arguments);
my ($out, $err) = run_command(\@second);
like($err, qr/a witness runs in this directory already/, 'one witness for one directory');

system_or_bail('cp', '-a', $witness->data_dir, $witness->data_dir . '_copy');
my $copy = $cluster->new_witness('w_copy');
$copy->{directory} = $witness->data_dir . '_copy';
$copy->{name} = 'w';
$witness->kill_all;
$copy->{port} = $witness->{port};
ok($copy->start, 'a copy of the directory starts in its place');
like($copy->log_since, qr/takes no part: .*written for data directory|takes no part: .*copy/, '... and takes no part');
like(($copy->status)[0], qr/^membership: foreign copy$/m, '... which its status says');
($leader) = $cluster->leader;
($follower) = $cluster->followers;
$cluster->kill_all($follower);
nobody_serves('a leader and a copy are no majority', $leader);
unlike($copy->log_since, qr/voted|leader is/, 'the copy has neither voted nor followed');
$copy->kill_all;

# ---- its state is lost --------------------------------------------------------------------------

# The same with a witness that remembers nothing: it must not help anybody to lead.
system_or_bail('rm', '-rf', $witness->data_dir);
ok($witness->start, 'a witness whose directory was deleted starts');
like($witness->log_since, qr/no member yet: it waits to be invited/, '... and waits to be invited');
nobody_serves('a leader and a witness without memory are no majority', $leader);
$cluster->start($follower);
$cluster->wait_for_leader;
wait_for_whole();
is(members('name', 'NOT reachable'), 'w', 'it is still missed');
$cluster->leader->safe_psql('postgres', "SELECT quorum.remove_member('w')");
$cluster->add_witness($witness);
is(members('kind', 'true'), 'voter,voter,witness', 'removed and added it is a witness again');
is(members('name', 'node_id = 4'), 'w', '... under a new number');
wait_for_whole();

# Removed while it runs, it may come back as it is; what it promised holds.
$cluster->leader->safe_psql('postgres', "SELECT quorum.remove_member('w')");
$cluster->add_witness($witness);
is(members('name', 'node_id = 5'), 'w', 'a witness that was removed is added again without being wiped');
$cluster->wait_until('it takes part', sub { members('name', 'NOT reachable') eq '' });

# ---- what it refuses ------------------------------------------------------------------------------

my $asked = $cluster->session($cluster->leader);
my $other = $cluster->new_witness('w2');
$other->start;
is($asked->ask("SELECT quorum.add_member('w2', '127.0.0.1:$other->{port}', 'learner')", 60), undef,
	'a witness is no learner');
like($asked->error, qr/a witness answers at that address/, '... and says so');
is($other->stop, 0, 'it stops as asked');
is($cluster->ask($cluster->leader, "SELECT count(*) FROM quorum.members"), '3', 'it is no member');
like(($other->status)[0], qr/^running: no$/, 'pg_quorum witness --status says that it does not run');

# ---- how it starts ----------------------------------------------------------------------------------

# A service manager is told when it is ready; the secret comes out of a token.
my $token = encode_base64(join("\n", 'hosts h', 'ports 1', 'dbname d', 'user u',
	'secret ' . $cluster->secret, ''), '');
my $sum = 2166136261;
$sum = (($sum ^ ord) * 16777619) & 0xffffffff for split //, $token;
my $first = $cluster->new_witness('w3');
my $socket_path = PostgreSQL::Test::Utils::tempdir_short() . '/notify';
my $manager = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $socket_path) or die "$socket_path: $!";
$first->{secret_file} = $first->data_dir . '/pg_quorum.secret';
$first->{more} = [ sprintf('--token=pgq1.%08x.%s', $sum, $token) ];
{
	local $ENV{NOTIFY_SOCKET} = $socket_path;
	ok($first->start, 'it starts with a token');
}
my ($said_ready, $said_stopping);
$manager->recv($said_ready, 100);
is($said_ready, 'READY=1', 'the service manager hears that it is ready');
is(slurp_file($first->data_dir . '/pg_quorum.secret'), $cluster->secret . "\n", 'it has the secret of the token');
is((stat $first->data_dir)[2] & 0777, 0700, 'its directory is for its owner only');
is($first->stop, 0, 'it stops as asked');
$manager->recv($said_stopping, 100);
is($said_stopping, 'STOPPING=1', 'the service manager hears that it stops');
chmod 0644, $witness->{secret_file};
$size = $witness->log_size;
$witness->reload;
$cluster->wait_until('the complaint', sub { $witness->log_since($size) =~ /accessible to others/ });
chmod 0600, $witness->{secret_file};
ok($ledger->write($cluster->leader), 'a secret that cannot be read changes nothing');
open(my $state, '>>', $witness->data_dir . '/pg_quorum/state');
print $state 'x';
close $state;
is($witness->stop, 0, 'the witness stops as asked');
ok(!$witness->start, 'with a damaged state it does not start');
like($witness->log_since, qr/takes no part: pg_quorum\/state is damaged/, '... and says why');
is($ledger->missing, '', 'every acknowledged id is there');

done_testing();
