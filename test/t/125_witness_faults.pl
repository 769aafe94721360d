# Two servers with data and a witness: every single and double fault, killed and frozen.
#
# One table: who fails, one after the other or at once, and who is left to serve.  After
# each row whoever failed comes back; then everybody is in again, and every row that was
# acknowledged is there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumLedger;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $cluster = QuorumCluster->new('faults', nodes => 2, witness => 1);
my $witness = $cluster->witness;
my $ledger = QuorumLedger->new($cluster);

# L leader, F follower, W witness, as they are when the row begins; "+" at once, "," after
# the cluster has found its way.  Then who acknowledges writes, who comes back first, and
# who acknowledges writes then; "" = nobody, undef = there is nobody to ask.
my @table = (
	[ 'L', 'F', 'L', 'F' ],
	[ 'F', 'L', 'F', 'L' ],
	[ 'W', 'L', 'W', 'L' ],
	[ 'L,F', undef, 'L', '' ],
	[ 'L,F', undef, 'F', 'F' ],
	[ 'L,W', '', 'L', 'F' ],
	[ 'L,W', '', 'W', 'F' ],
	[ 'F,L', undef, 'F', '' ],
	[ 'F,L', undef, 'L', 'L' ],
	[ 'F,W', '', 'F', 'L' ],
	[ 'F,W', '', 'W', 'L' ],
	[ 'W,L', '', 'W', 'F' ],
	[ 'W,F', '', 'W', 'L' ],
	[ 'L+F', undef, 'F', 'F' ],
	[ 'L+W', '', 'W', 'F' ],
	[ 'F+W', '', 'W', 'L' ],
);

# $at_once is called before the killed ones are waited for.
sub fail
{
	my ($how, $at_once, @nodes) = @_;

	if ($how eq 'freeze')
	{
		$_ == $witness ? $witness->freeze : $cluster->freeze($_) for @nodes;
		$at_once->();
		return;
	}

	# The leader sees at once who was killed, but not who was frozen.
	if ($how eq 'mixed' && grep { $_ == $witness } @nodes)
	{
		$witness->freeze;
		@nodes = grep { $_ != $witness } @nodes;
	}

	# all of them at the same moment
	kill 'KILL', map { $_ == $witness ? $witness->pid : $cluster->processes($_) } @nodes;
	$at_once->();
	$_ == $witness ? $witness->kill_all : $cluster->kill_all($_) for @nodes;
}

sub come_back
{
	my ($how, @nodes) = @_;

	for my $node (@nodes)
	{
		if ($how eq 'freeze' || $how eq 'mixed' && $node == $witness)
		{
			$node == $witness ? $witness->thaw : $cluster->thaw($node);
		}
		else
		{
			$node == $witness ? $witness->start : $cluster->start($node);
		}
	}
}

# Acknowledged by one of the servers that still run, in time?
sub served_by
{
	my ($limit, @nodes) = @_;
	my $until = time() + $limit;

	while (time() < $until)
	{
		for my $node (@nodes)
		{
			return $node if $ledger->write($node, 3);
		}
		usleep(20_000);
	}
	return undef;
}

# Nobody serves, and nobody begins to.  A leader that alone makes the quorum for commits,
# as the others know, may do so for the rest of its lease; any other one stops at once.
sub nobody_serves
{
	my ($until_lease_is_over, @nodes) = @_;
	my $until = time() + 20;
	my $served = 0;

	while (grep { $ledger->write($_, 1) } @nodes)
	{
		return 0 if !$until_lease_is_over || time() > $until;
	}
	$until = time() + 2 * $cluster->lease / 1000;
	while (time() < $until)
	{
		$served += $ledger->write($_, 1) for @nodes;
	}
	return !$served;
}

sub wait_for_whole
{
	$cluster->wait_for_followers;
	$cluster->wait_until('everybody is in', sub {
		my $leader = $cluster->wait_for_leader;
		my $out = $cluster->ask($leader,
			'SELECT count(*) FROM quorum.members WHERE left_out OR NOT reachable');
		return defined $out && $out eq '0';
	});
}

# $expected of the running servers acknowledges writes, or nobody does.
sub check_who_serves
{
	my ($what, $expected, $node, $failed) = @_;
	my @running = map { $node->{$_} } grep { !$failed->{$_} } qw(L F);

	if ($expected eq '')
	{
		ok(nobody_serves($what =~ /[LF],W:$/, @running), "$what nobody serves");
		return;
	}
	my $by = served_by(30, @running);
	is($by && $by->{quorum_name}, $node->{$expected}{quorum_name}, "$what $expected serves");
}

sub run_row
{
	my ($how, $faults, $serves, $back, $serves_then) = @_;
	my %node = (W => $witness, L => $cluster->leader);
	my %failed;
	my @steps = split /,/, $faults;
	my $what = "$how $faults:";

	($node{F}) = $cluster->followers;
	while (defined(my $step = shift @steps))
	{
		my @now = split /\+/, $step;
		my $alone = $faults =~ /^(F\+W|W,F)$/ && !@steps;
		my $session = $alone ? $cluster->session($node{L}) : undef;

		$session->ask('SELECT 1') if $alone;
		fail($how, sub {
			is($ledger->timed($session, $cluster->lease / 1000), undef,
				"$what what nobody else holds is not acknowledged") if $alone;
		}, map { $node{$_} } @now);
		$failed{$_} = 1 for @now;
		ok(served_by(30, map { $node{$_} } grep { !$failed{$_} } qw(L F)), "$what writes go on after the first") if @steps;
	}
	check_who_serves($what, $serves, \%node, \%failed) if defined $serves;
	come_back($how, $node{$back});
	delete $failed{$back};
	check_who_serves("$what $back is back,", $serves_then, \%node, \%failed);
	come_back($how, map { $node{$_} } keys %failed);
	wait_for_whole();
	ok(served_by(30, $cluster->leader), "$what all are back and serve");
	is($ledger->missing, '', "$what every acknowledged id is there");
}

$cluster->wait_for_followers;
for my $how ('kill', 'freeze')
{
	run_row($how, @$_) for @table;
}

# Servers killed, the witness frozen.
run_row('mixed', @$_) for grep { $_->[0] =~ /\+W/ } @table;
note($ledger->count . ' acknowledged ids');

done_testing();
