# A member whose data somebody has written to without the cluster: promoted while the library was not
# loaded, written to in single-user mode, its WAL reset.  Its log ends behind those of the others and
# lacks what they hold: it helps nobody to lead, and gets a new copy of the leader's data (W5).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use IPC::Run;
use Test::More;
use Time::HiRes qw(time usleep);

my $cluster = QuorumCluster->new('foreign', nodes => 3, conf => 'autovacuum = off');
my $leader = $cluster->leader;
my ($other, $foreign) = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

# A server that waits for a leader opens no port yet.
sub start_and_go_on
{
	my ($node) = @_;
	PostgreSQL::Test::Utils::system_or_bail('pg_ctl', '-W', '-s', '-D', $node->data_dir, '-l', $node->logfile, 'start');
	$node->{dead} = 0;
	$cluster->wait_until('its pid', sub { return $cluster->postmaster_pid($node) });
	$node->_update_pid(1);
}

# Nobody is elected, for as long as somebody would have been some times.
sub nobody_is_elected
{
	my ($until, $elected) = (time() + 3 * $cluster->lease / 1000, '');

	while ($elected eq '' && time() < $until)
	{
		($elected) = map { $_->{quorum_name} } grep { ($cluster->ask($_, 'SELECT role FROM quorum.status') // '') eq 'leader' } @_;
		$elected //= '';
		usleep(20_000);
	}
	return $elected;
}

sub rows { return $cluster->ask($_[0], 'SELECT coalesce(string_agg(id::text, $$ $$ ORDER BY id), $$none$$) FROM t') // 'no answer' }

# Every node has these, in the end.
sub all_have
{
	my ($rows, $what) = @_;

	$cluster->wait_for_followers;
	$cluster->wait_until("$rows everywhere", sub {
		return !grep { rows($_) ne $rows } $cluster->nodes;
	});
	pass($what);
}

# ---- promoted without the library -------------------------------------------------------

my $conf = slurp_file($foreign->data_dir . '/postgresql.conf');
$foreign->stop('fast');
$foreign->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$foreign->start;
is($cluster->ask($foreign, 'SELECT pg_is_in_recovery()'), 't', 'without the library a member starts as a standby');
is($cluster->ask($foreign, 'SELECT pg_promote(true, 30)'), 't', '... and somebody promotes it');
ok(defined $cluster->ask($foreign, 'SET synchronous_commit = local; INSERT INTO t VALUES (100)'), '... and it is written to');
$foreign->stop('fast');
unlink $foreign->data_dir . '/postgresql.conf';
append_to_file($foreign->data_dir . '/postgresql.conf', $conf);

ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (1)'), 'a commit that it does not have');
$cluster->kill_all($leader);
my $size = $cluster->log_size($foreign);
start_and_go_on($foreign);
is(nobody_is_elected($foreign, $other), '', 'who was promoted without the cluster helps nobody to lead');
unlike(slurp_file($foreign->logfile, $size), qr/voted for|candidate in term|entering standby mode/, '... it does not even start');
like(slurp_file($foreign->logfile, $size), qr/not the cluster's any more: it has a timeline 2, but promised no term above 1/, '... it says why');
$cluster->start($leader);
all_have('1', 'with the one that has the commit there is a leader; the other one is copied anew');

# ---- single-user mode -------------------------------------------------------------------

sub single_user
{
	my ($node, $sql) = @_;
	my $out = '';
	my @postgres = ($node->config_data('--bindir') . '/postgres', '--single', '-D', $node->data_dir, '-c', 'shared_preload_libraries=',
		'-c', 'synchronous_commit=local', 'postgres');

	unlink $node->data_dir . '/standby.signal';
	IPC::Run::run(\@postgres, '<', \"$sql\n", '>', \$out, '2>&1', IPC::Run::timeout(60)) or diag($out);
	return $? == 0 && $out !~ /ERROR/;
}

$leader = $cluster->leader;
($foreign) = grep { $_ != $leader } $foreign, $other;
$leader->safe_psql('postgres', 'CHECKPOINT');
$cluster->wait_for_followers;
my $timeline = $cluster->ask($leader, 'SELECT timeline FROM quorum.status');
$cluster->wait_until('a restart point on the timeline of the term', sub {
	$cluster->ask($foreign, 'CHECKPOINT');
	return ($cluster->ask($foreign, 'SELECT timeline_id FROM pg_control_checkpoint()') // '') eq $timeline });
$foreign->stop('fast');
ok(single_user($foreign, 'INSERT INTO t VALUES (101)'), 'a member is written to in single-user mode');
$size = $cluster->log_size($foreign);
start_and_go_on($foreign);
$cluster->wait_for_log($foreign, qr/not the cluster's any more: it was a primary on timeline $timeline/, $size);
all_have('1', '... and copied anew');

# ---- WAL that was reset -----------------------------------------------------------------

# Of a leader that was stopped as planned: to have been a primary is nothing strange.
$foreign = $leader = $cluster->leader;
$foreign->stop('fast');
system_or_bail('pg_resetwal', '-D', $foreign->data_dir);
$size = $cluster->log_size($foreign);
start_and_go_on($foreign);
$cluster->wait_for_log($foreign, qr/not the cluster's any more: its WAL was reset/, $size);
all_have('1', 'a member whose WAL was reset is copied anew');

# ---- ... and nobody else ----------------------------------------------------------------

my @sizes = map { $cluster->log_size($_) } $cluster->nodes;
$_->stop('fast') for $cluster->nodes;
start_and_go_on($_) for $cluster->nodes;
all_have('1', 'the whole cluster, stopped as planned, starts');
ok(!(grep { my $from = shift @sizes; slurp_file($_->logfile, $from) =~ /not the cluster's/ } $cluster->nodes), '... and finds nothing strange');

done_testing();
