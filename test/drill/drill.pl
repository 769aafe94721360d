#!/usr/bin/perl
# drill.pl
#	  Lets a newcomer watch a failover: three servers, a writer, a fault on the leader,
#	  the story of what followed as it happens, and whether anything acknowledged is missing.
#
# Servers and processes are test/perl/QuorumNodes.pm; the client is writer.c.
#
# usage: drill.pl --bindir DIR --writer FILE [--fault kill|killall|freeze|switchover] [--rounds N] [--nodes N]
# exit status: 0 nothing lost, 1 something acknowledged is missing or no new leader served.
use strict;
use warnings;
use FindBin ();
use lib "$FindBin::RealBin/../perl";
use QuorumNodes;
use Getopt::Long ();
use List::Util qw(max min sum0);
use Time::HiRes qw(time sleep);

my $rate = 200;           # rows a second
my $serve_limit = 30;     # seconds until a new leader must have served
my $return_limit = 60;    # seconds until a node brought back must stream
my $calm = 1;             # seconds watched after a new leader served
my $held = 0.03;          # seconds a line waits for an earlier one of another node

my %option = (fault => 'kill', rounds => 3, nodes => 3);
Getopt::Long::GetOptions(\%option, 'bindir=s', 'writer=s', 'fault=s', 'rounds=i', 'nodes=i')
  or die "usage: drill.pl --bindir DIR --writer FILE [--fault kill|killall|freeze|switchover] [--rounds N] [--nodes N]\n";
$option{fault} =~ /^(kill|killall|freeze|switchover)$/ or die "FAULT is kill, killall, freeze or switchover, not $option{fault}\n";
$option{rounds} >= 1 or die "ROUNDS is at least 1\n";
$option{nodes} >= 3 && $option{nodes} <= 15 or die "NODES is between 3 and 15: two nodes cannot lose one and still have a majority\n";

my %fault_words = (
	kill => 'SIGKILL to the postmaster',
	killall => 'SIGKILL to every process',
	freeze => 'SIGSTOP to every process',
	switchover => 'quorum.switchover(): a planned change');

$| = 1;
my ($workspace, $writer_program) = QuorumNodes::open_workspace('drill', $option{writer});
my $keep_workspace = 1;
$SIG{$_} = sub { $keep_workspace = 0; print "\ninterrupted\n"; exit 130 } for qw(INT TERM HUP);
my $parent = getppid();

# ---- what is seen: the writer's lines and the servers' logs --------------------------------

my $cluster;              # of the current cluster: QuorumNodes
my %tail;                 # path => [handle, unfinished line]
my @waiting;              # [time, line], to be printed in order of time
my $fault_at;             # seconds since 1970, undef before the first fault
my (@acked, $unknown, $refused, $connected_port);
my (@acks);               # [time, port] since the writer started
my ($writer_pid, $writer_input);
my $next_id = 1;
my $story;                # is the story being told now?

sub read_new_lines
{
	my ($path) = @_;
	if (!$tail{$path})
	{
		open(my $in, '<', $path) or return ();    # not written to yet
		$tail{$path} = [$in, ''];
	}
	my $tail = $tail{$path};
	my @lines;
	while (sysread($tail->[0], my $chunk, 65536))
	{
		$tail->[1] .= $chunk;
		push @lines, $1 while $tail->[1] =~ s/^(.*)\n//;
	}
	return @lines;
}

sub story_line
{
	my ($at, $who, $what) = @_;
	push @waiting, [$at, sprintf('%+8.0f ms  %-6s  %s', 1000 * ($at - $fault_at), $who, $what)] if $story;
}

sub print_waiting
{
	my ($until) = @_;
	@waiting = sort { $a->[0] <=> $b->[0] } @waiting;
	print shift(@waiting)->[1], "\n" while @waiting && $waiting[0][0] <= $until;
}

# The servers' words are stable; only those that need it are said differently here.
sub words_for
{
	my ($text) = @_;
	return "detected: $1 is lost: $2" if $text =~ /^leader (\S+) .*lost: (.*)/;
	return "streaming from $1 in term $2" if $text =~ /^following (\S+) \(\d+\) in term (\d+)/;
	return $text;
}

sub watch_servers
{
	for my $node ($cluster->nodes)
	{
		for my $line (read_new_lines($node->{log}))
		{
			$line =~ /^(\d+\.\d+) \w+:  quorum: (.*)/ or next;
			my ($at, $text) = ($1, $2);
			$node->{stays_away} = $1 if $text =~ /^no rewind: (.*)/;
			$node->{following_at} = $at if $text =~ /^following /;
			story_line($at, $node->{name}, words_for($text)) if defined $fault_at && $at >= $fault_at - 0.001;
		}
	}
}

sub watch_writer
{
	for my $line (read_new_lines("$workspace/writer.out"))
	{
		my ($what, $ms, $port, $rest) = split ' ', $line, 4;
		my $at = $ms / 1000;
		if ($what eq 'A')
		{
			first_ack_after($at, $port) if @acks && defined $fault_at && $acks[-1][1] != $port;
			push @acks, [$at, $port];
			push @acked, $rest;
			$next_id = $rest + 1;
		}
		elsif ($what eq 'U') { $unknown++; $next_id = $rest + 1 }
		elsif ($what eq 'R') { $refused++; $next_id = $rest + 1 }
		elsif ($what eq 'C') { $connected_port = $port }
		elsif ($what eq 'D') { story_line($at, 'client', "gives up ${\name_of($port)}: $rest") }
	}
}

sub name_of
{
	my $node = $cluster->by_port($_[0]);
	return $node ? $node->{name} : 'nobody';
}

sub first_ack_after
{
	my ($at, $port) = @_;
	story_line($at, 'client', sprintf 'first write acknowledged by %s, %.0f ms after the one before', name_of($port), 1000 * ($at - $acks[-1][0]));
}

sub watch
{
	exit 130 if getppid() != $parent;    # make is gone: so is the reader
	watch_servers();
	watch_writer();
	print_waiting(time() - $held);
}

sub watch_for { my $until = time() + $_[0]; do { watch(); sleep 0.005 } while time() < $until }

# ---- the writer ----------------------------------------------------------------------------

sub start_writer
{
	my ($input, $output) = (undef, "$workspace/writer.out");
	unlink $output;
	delete $tail{$output};
	@acks = ();
	pipe(my $read, $writer_input) or die "pipe: $!\n";
	defined($writer_pid = fork()) or die "fork: $!\n";
	if ($writer_pid == 0)
	{
		close $writer_input;
		chdir $workspace;
		open(STDIN, '<&', $read) && open(STDOUT, '>', $output) or die "$output: $!\n";
		{ no warnings 'exec'; exec $writer_program, join(',', map { $_->{port} } $cluster->nodes), 'postgres', $rate, $next_id }
		die "$writer_program: $!\n";
	}
}

sub stop_writer
{
	return if !defined $writer_pid;
	close $writer_input;
	waitpid($writer_pid, 0);
	undef $writer_pid;
	watch_writer();
}

# ---- one round -----------------------------------------------------------------------------

sub wait_for
{
	my ($seconds, $what, $condition) = @_;
	$cluster->wait_for($seconds, $what, $condition, sub { watch(); sleep 0.005 });
}

# The same with a condition that asks a server, which takes a while: less often.
sub wait_for_answer
{
	my ($seconds, $what, $condition) = @_;
	$cluster->wait_for($seconds, $what, $condition, sub { watch_for(0.2) });
}

sub strike
{
	my ($node) = @_;
	my @pids = $cluster->pids($node);
	my $postmaster = $cluster->postmaster_pid($node);

	QuorumNodes::note_segments(@pids);
	if ($option{fault} eq 'switchover')
	{
		# The checkpoint before it is no part of the gap: the story begins when the gate shuts.
		$node->{stays_away} = undef;
		$node->{following_at} = 0;
		$fault_at = $node->{back_at} = time();
		$cluster->psql($node, 'SELECT quorum.switchover()');
		return story_line($fault_at, $node->{name}, "$fault_words{switchover} of $node->{name}");
	}
	$fault_at = time();
	if ($option{fault} eq 'kill') { kill 'KILL', $postmaster }
	else
	{
		# stopped first, none can see another die: so all are killed at once
		kill 'STOP', $postmaster, @pids;
		$cluster->signal_all($node, 'STOP');
		$cluster->signal_all($node, 'KILL') if $option{fault} eq 'killall';
	}
	story_line($fault_at, $node->{name}, "fault: $fault_words{$option{fault}} of $node->{name}");
}

# Longest time between two acknowledged writes that ended after the fault.
sub gap_ms
{
	my $gap = 0;
	for my $i (1 .. $#acks)
	{
		$gap = max($gap, $acks[$i][0] - $acks[ $i - 1 ][0]) if $acks[$i][0] > $fault_at;
	}
	return 1000 * $gap;
}

sub bring_back
{
	my ($node) = @_;

	return if $option{fault} eq 'switchover';
	$node->{stays_away} = undef;
	$node->{following_at} = 0;
	$node->{back_at} = time();
	if ($option{fault} eq 'freeze')
	{
		story_line(time(), $node->{name}, 'SIGCONT: it may go on');
		$cluster->signal_all($node, 'CONT');
		watch_for($calm);
	}
	else
	{
		wait_for(10, "the last processes of $node->{name} end", sub { !$cluster->pids($node) });
		story_line(time(), $node->{name}, 'started again');
		$cluster->start($node, sub { watch(); sleep 0.005 });
	}
}

my @rejoins;              # ms from when the old leader could run until it streams again

# Returns the gap, and whether the same servers can be used for the next round.
sub round
{
	my ($number) = @_;
	my $leader = $cluster->by_port($connected_port);

	printf "\nround %d of %d: %d nodes, %s leads, %d rows a second are written\n", $number, $option{rounds}, $option{nodes}, $leader->{name}, $rate;
	$story = 1;
	strike($leader);
	wait_for($serve_limit, 'a new leader serves', sub { $acks[-1][1] != $leader->{port} });
	my $successor = $cluster->by_port($acks[-1][1]);
	watch_for($calm);
	my $gap = gap_ms();

	bring_back($leader);
	wait_for_answer($return_limit, "$leader->{name} streams again", sub {
		$leader->{stays_away}
		  || $leader->{following_at} >= $leader->{back_at} && $cluster->all_stream($successor);
	});
	$gap = max($gap, gap_ms()) if $option{fault} eq 'freeze';
	watch_for($held);
	print_waiting(time());
	$story = 0;
	my $rejoin = 1000 * ($leader->{following_at} - $leader->{back_at});
	push @rejoins, $rejoin if !$leader->{stays_away};
	printf "round %d: no write was acknowledged for %.0f ms; %s\n", $number, $gap,
	  $leader->{stays_away} ? "$leader->{name} cannot come back: $leader->{stays_away}"
	  : sprintf('%s streams again %.0f ms after it could', $leader->{name}, $rejoin);
	return ($gap, !$leader->{stays_away});
}

# ---- clusters ------------------------------------------------------------------------------

my $cluster_count = 0;

sub make_cluster
{
	$cluster_count++;
	printf "making %d servers in %s\n", $option{nodes}, $workspace;
	undef $fault_at;
	$cluster = QuorumNodes->new(bindir => $option{bindir}, extension => 1, count => $option{nodes},
		prefix => "c${cluster_count}n", settings => "shared_buffers = 16MB\nmin_wal_size = 32MB\n");
	my $first = $cluster->create;
	$cluster->query($first, 'CREATE TABLE drill (id bigint PRIMARY KEY)');
	@acked = ();
	start_writer();
	wait_for(10, 'the writer writes', sub { @acks >= $rate / 2 });
}

# Is every acknowledged row there?  Returns (acknowledged, missing).
sub verify
{
	stop_writer();
	my $leader = $cluster->by_port($acks[-1][1]);
	my %there = map { $_ => 1 } split /\n/, $cluster->query($leader, 'SELECT id FROM drill');
	my @missing = grep { !$there{$_} } @acked;
	printf "acknowledged rows missing on %s: %d of %d%s\n", $leader->{name}, scalar @missing, scalar @acked,
	  @missing ? ' (the first: ' . join(', ', @missing[ 0 .. min(9, $#missing) ]) . ')' : '';
	return (scalar @acked, scalar @missing);
}

# Of sorted values.
sub median { return ($_[ $#_ / 2 ] + $_[ @_ / 2 ]) / 2 }

sub drill
{
	my (@gaps, $acked, $lost);
	my $usable = 0;

	for my $number (1 .. $option{rounds})
	{
		make_cluster() if !$usable;
		(my $gap, $usable) = round($number);
		push @gaps, $gap;
		next if $usable && $number < $option{rounds};
		my ($there, $missing) = verify();
		$acked += $there;
		$lost += $missing;
		next if $number == $option{rounds};
		print "new servers for the next round\n";
		$cluster->destroy;
	}
	@gaps = sort { $a <=> $b } @gaps;
	my $median = median(@gaps);
	@rejoins = sort { $a <=> $b } @rejoins;
	printf "old leader streams again: rounds=%d rejoin_ms_min=%.0f rejoin_ms_median=%.0f rejoin_ms_max=%.0f\n",
	  scalar @rejoins, $rejoins[0], median(@rejoins), $rejoins[-1] if @rejoins;
	print "writes refused with an error: ${\($refused // 0)}, without an answer: ${\($unknown // 0)}\n";
	return (sprintf("drill: fault=%s rounds=%d gap_ms_min=%.0f gap_ms_median=%.0f gap_ms_max=%.0f acked=%d lost=%d",
			$option{fault}, $option{rounds}, $gaps[0], $median, $gaps[-1], $acked, $lost), $lost);
}

my ($verdict, $lost) = eval { drill() };
my $error = $@;
if (defined $verdict)
{
	$keep_workspace = $lost > 0;
	finish();
	print "the servers' directories and logs are in $workspace\n" if $lost > 0;
	print "\n$verdict\n";
	exit($lost > 0);
}
print_waiting(time());
print "\n$error";
print map { $cluster->log_tail($_) } grep { -e $_->{log} } $cluster->nodes if $cluster;
finish();
print "\ndrill failed: ${\((split /\n/, $error)[0])}\nthe servers' directories and logs are in $workspace\n";
exit 1;

sub finish
{
	if (defined $writer_pid) { close $writer_input; waitpid($writer_pid, 0); undef $writer_pid }
	QuorumNodes::close_workspace(!$keep_workspace);
}

END
{
	my $status = $?;
	finish();
	$? = $status;
}
