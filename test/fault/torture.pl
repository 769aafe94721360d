#!/usr/bin/perl
# torture.pl
#	  A cluster of real servers, each with a host of its own, under random faults and load;
#	  afterwards everything that clients were told is held against what is there.
#
# Faults are TortureNemesis.pm, clients client*.c, the judgement TortureJudge.pm.  Every draw
# of a fault comes from the seed; what it meets depends on the machine.
#
# usage: torture.pl --bindir DIR --client FILE --relay FILE --shim FILE [--minutes N] [--seed N] [--nodes N]
#		[--witness] [--clients N] [--pace] [--keep]
#	--pace: most of the time goes into changes of leader
# exit status: 0 nothing found, 1 something found, or the cluster did not heal.
use strict;
use warnings;
use FindBin ();
use lib "$FindBin::RealBin/../perl", $FindBin::RealBin;
use QuorumNet;
use QuorumNodes;
use TortureJudge;
use TortureNemesis;
use File::Spec ();
use Getopt::Long ();
use POSIX ();
use Time::HiRes qw(time sleep);

my $heal_limit = 180;     # seconds until every member must be whole in the end
my @arguments = @ARGV;
my %option = (minutes => 1, seed => int(time() * 1000) % 1_000_000, clients => 4);
Getopt::Long::GetOptions(\%option, 'bindir=s', 'client=s', 'relay=s', 'shim=s', 'minutes=f', 'seed=i', 'nodes=i', 'witness',
	'clients=i', 'pace', 'keep')
  or die "usage: torture.pl --bindir DIR --client FILE --relay FILE --shim FILE [--minutes N] [--seed N] [--nodes N] [--witness] [--clients N] [--pace] [--keep]\n";
$option{nodes} //= $option{witness} ? 2 : 3;

if (defined(my $why = QuorumNet::missing()))
{
	print "skipped: torture: $why\n";
	exit 0;
}
QuorumNet::enter('--seed', $option{seed}, @arguments);
QuorumNodes::use_network($option{nodes} + ($option{witness} ? 1 : 0), File::Spec->rel2abs($option{relay}), $option{seed});
$| = 1;
my ($workspace, $client_program, $shim) = QuorumNodes::open_workspace('torture', $option{client}, $option{shim});
$SIG{$_} = sub { print "\ninterrupted\n"; exit 130 } for qw(INT TERM HUP);

# A generator of the nemesis alone: what else draws does not move its draws.
my $dice = $option{seed} * 2654435761 % 2147483647 || 1;
sub dice { $dice = $dice * 48271 % 2147483647; return $dice / 2147483647 }

my $cluster = QuorumNodes->new(bindir => $option{bindir}, extension => 1, count => $option{nodes}, witness => $option{witness}, settings => <<'EOC');
shared_buffers = 32MB
min_wal_size = 64MB
max_wal_size = 256MB
max_prepared_transactions = 50
log_min_messages = log
quorum.promotion_limit = 10s
EOC
my $began = time();
my (@events, @clients, $nemesis);

sub event
{
	my ($text) = @_;
	my $line = sprintf '%8.2f  %s', time() - $began, $text;
	push @events, $line;
	QuorumNodes::write_file("$workspace/events", '>>', "$line\n");
}

# The node that serves, if one says so at once; most likely it is who did so last.
sub leader
{
	my (undef, $last) = $nemesis->served;
	for my $node (sort { ($b == ($last // 0)) <=> ($a == ($last // 0)) } $cluster->nodes)
	{
		next if !-e "$node->{dir}/postmaster.pid";
		local $ENV{PGCONNECT_TIMEOUT} = 2;
		my ($status, $text) = answer_of($node, "SELECT role || ' ' || gate FROM quorum.status");
		return $node if $status == 0 && $text =~ /^leader open$/m;
	}
	return;
}

# psql that does not wait for a frozen server.
sub answer_of
{
	my ($node, $sql) = @_;
	return QuorumNodes::run('timeout', '2', $cluster->bin('psql'), '-XAtq', '-h', $workspace, '-p', $node->{port},
		'-U', 'postgres', '-d', 'postgres', '-c', $sql);
}

sub start_client
{
	my ($number, @more) = @_;
	pipe(my $read, my $input) or die "pipe: $!\n";
	defined(my $pid = fork()) or die "fork: $!\n";
	if ($pid == 0)
	{
		close $input;
		close $_->{input} for @clients;
		open(STDIN, '<&', $read) && open(STDOUT, '>', "$workspace/client.$number") or die "client: $!\n";
		{ no warnings 'exec'; exec $client_program, join(',', map { "$_->{host}:$_->{port}" } $cluster->nodes), 'postgres', $number, $option{seed}, @more }
		die "$client_program: $!\n";
	}
	close $read;
	push @clients, { number => $number, pid => $pid, input => $input, standby => scalar(grep { $_ eq 'standby' } @more), file => "$workspace/client.$number" };
}

sub stop_clients
{
	close $_->{input} for @clients;
	waitpid($_->{pid}, 0) for @clients;
}

my $findings = "$workspace/findings";
$nemesis = TortureNemesis->new(cluster => $cluster, pace => $option{pace}, rand => \&dice, leader => \&leader, log => \&event,
	answer => \&answer_of, shim => $shim, findings => $findings);

# ---- the course of a run --------------------------------------------------------------------

sub prepare
{
	event($nemesis->prepare_hosts);
	my $first = $cluster->create;
	TortureJudge::make_tables($cluster, $first);
	$nemesis->try_power($first);
	return;
}

sub torture
{
	my ($nemesis) = @_;
	my $until = time() + 60 * $option{minutes};

	start_client($_) for 1 .. $option{clients};
	start_client(1 + $option{clients}, 'standby');
	start_client(2 + $option{clients}, 'reader');
	while (time() < $until)
	{
		$nemesis->tick;
		QuorumNodes::reap();
		decide_old();
		sleep 0.05;
	}
	event('all faults end');
	$nemesis->heal;
	return;
}

# Every member whole, nobody needing help; servers that ended meanwhile are started again.
sub wait_healthy
{
	my ($nemesis) = @_;
	my ($limit, @complaints) = (time() + $heal_limit);
	my ($again, $added) = (time() + 5, time() + 10);

	for (;;)
	{
		my $leader = leader();
		@complaints = $leader ? $cluster->complaints($leader) : 'nobody leads';
		return $leader if !@complaints;
		die "after $heal_limit s: " . join('; ', @complaints) . "\n" if time() > $limit;
		if (time() > $again)
		{
			$nemesis->heal;
			$again = time() + 5;
		}
		if ($leader && time() > $added)
		{
			$nemesis->bring_in($leader);
			$added = time() + 10;
		}
		QuorumNodes::reap();
		sleep 0.3;
	}
}

# Prepared transactions that nobody decided are decided by chance: both are right.  Those with
# a k are decided by their clients.
# Those that wait for longer block everybody else: in a child, a server may not answer.
my $decided_at = 0;
sub decide_old
{
	return if time() < $decided_at + 3;
	$decided_at = time();
	my $commit = dice() < 0.5 ? 'COMMIT' : 'ROLLBACK';
	defined(my $pid = fork()) or die "fork: $!\n";
	return if $pid;
	alarm 20;
	my $leader = leader();
	if ($leader)
	{
		my ($status, $text) = answer_of($leader, "SELECT gid FROM pg_prepared_xacts WHERE prepared < now() - interval '3 s' AND gid NOT LIKE 'k%'");
		for my $gid ($status == 0 ? split /\n/, $text : ())
		{
			answer_of($leader, "$commit PREPARED '$gid'");
		}
	}
	POSIX::_exit(0);
}

sub decide
{
	my ($leader) = @_;
	for my $gid (split /\n/, $cluster->query($leader, 'SELECT gid FROM pg_prepared_xacts'))
	{
		$cluster->query($leader, (dice() < 0.5 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$gid'");
	}
}

my $again = "make torture MINUTES=$option{minutes} SEED=$option{seed} NODES=$option{nodes}" . ($option{witness} ? ' WITNESS=1' : '') . ($option{pace} ? ' PACE=1' : '');
QuorumNodes::write_file("$workspace/again", '>', "$again\n");
printf "torture: seed %d, %g minutes, %d servers%s, %d clients, in %s\n", $option{seed}, $option{minutes}, $option{nodes},
  $option{witness} ? ' and a witness' : '', $option{clients}, $workspace;
my $check;
my $fine = eval {
	prepare();
	torture($nemesis);
	my $healthy_at = time();
	my $leader = wait_healthy($nemesis);
	printf "every member is whole %.1f s after the last fault\n", time() - $healthy_at;
	stop_clients();
	TortureJudge::settle($cluster, $leader);
	decide($leader);
	$check = TortureJudge::judge($cluster, $leader, clients => \@clients, shifted => $nemesis->{shifted});
	$check->find('snapshot', $_) for QuorumNodes::read_lines($findings);
	1;
};
print "\n$@" if !$fine;
print "faults: ", join(', ', map { "$_ $nemesis->{count}{$_}" } sort keys %{ $nemesis->{count} }), "\n";
if ($check)
{
	printf "transactions: %d acknowledged, %d refused, %d without answer; reads: %d on leaders, %d on standbys; terms served: %d\n",
	  $check->{ok}, $check->{failed}, $check->{unknown}, $check->{reads}, $check->{standby_reads}, $check->{terms};
	my $changes = $check->{changes};
	printf "changes of leader: %d failovers and %d switchovers, %d to another node; failovers by why the term ended: %s\n",
	  @$changes{qw(failovers switchovers moved)}, join(', ', map { "$_ $changes->{why}{$_}" } sort keys %{ $changes->{why} }) || 'none';
	for my $kind (sort keys %{ $check->{found} })
	{
		my $text = join '', "FOUND $kind: $check->{count}{$kind}\n", map { "    $_\n" } @{ $check->{found}{$kind} };
		print $text;
		QuorumNodes::write_file("$workspace/found", '>>', $text);
	}
	$fine = 0 if %{ $check->{count} };
}
else
{
	eval { stop_clients() };
	print map { $cluster->log_tail($_, 30) } grep { -e $_->{log} } $cluster->nodes;
}
QuorumNodes::close_workspace($fine && !$option{keep});
print "events, histories, findings and logs are in $workspace; again: $again\n" if !$fine || $option{keep};
printf "\ntorture: seed=%d minutes=%g nodes=%d%s faults=%d acknowledged=%d failovers=%d switchovers=%d rewinds=%d clones=%d joined=%d found=%s\n",
  @option{qw(seed minutes nodes)}, $option{witness} ? '+witness' : '', $nemesis->{faults},
  $check ? ($check->{ok}, @{ $check->{changes} }{qw(failovers switchovers rewound cloned)}, $check->{changes}{joined} - $option{nodes} + 1) : (0) x 6,
  $check ? join(',', map { "$_:$check->{count}{$_}" } sort keys %{ $check->{count} }) || 'nothing' : 'no end';
exit($fine ? 0 : 1);

END
{
	my $status = $?;
	QuorumNodes::close_workspace(0) if defined $workspace;
	$? = $status;
}
