#!/usr/bin/perl
# drill.pl
#	  Lets a newcomer watch a failover: three servers, a writer, a fault on the leader,
#	  the story of what followed as it happens, and whether anything acknowledged is missing.
#
# Servers and processes are test/perl/QuorumNodes.pm; the client is writer.c.  For a partition
# each server gets a host of its own (test/perl/QuorumNet.pm).
#
# usage: drill.pl --bindir DIR --writer FILE [--fault kill|killall|freeze|partition|switchover|all]
#                 [--rounds N] [--nodes N] [--witness] [--load pgbench] [--keep]
# exit status: 0 nothing lost and every member whole after each round, else 1.
use strict;
use warnings;
use FindBin ();
use lib "$FindBin::RealBin/../perl";
use QuorumNet;
use QuorumNodes;
use Getopt::Long ();
use List::Util qw(max min sum0);
use Time::HiRes qw(time sleep);

my $rate = 200;           # rows a second
my $serve_limit = 30;     # seconds until a new leader must have served
my $return_limit = 90;    # seconds until every member must be whole again
my $calm = 1;             # seconds watched after a new leader served
my $cut_for = 5;          # seconds of a partition at least: two leases and a half
my $held = 0.03;          # seconds a line waits for an earlier one of another node
my $stories = 20;         # in a drill of more rounds each is one line

my @arguments = @ARGV;
my @all = qw(kill killall freeze partition switchover);
my %option = (fault => 'kill', rounds => 3, nodes => 0, load => '');
my $usage = "usage: drill.pl --bindir DIR --writer FILE [--fault " . join('|', @all, 'all') .
  "] [--rounds N] [--nodes N] [--witness] [--load pgbench] [--keep]\n";
Getopt::Long::GetOptions(\%option, 'bindir=s', 'writer=s', 'fault=s', 'rounds=i', 'nodes=i', 'witness', 'load=s', 'keep')
  or die $usage;
grep { $_ eq $option{fault} } @all, 'all' or die "FAULT is one of @all, all, not $option{fault}\n";
$option{load} eq '' || $option{load} eq 'pgbench' or die "LOAD is pgbench or nothing, not $option{load}\n";
$option{rounds} >= 1 or die "ROUNDS is at least 1\n";
$option{nodes} ||= $option{witness} ? 2 : 3;
$option{nodes} >= ($option{witness} ? 2 : 3) && $option{nodes} <= 15
  or die "NODES is between 3 and 15: two nodes cannot lose one and still have a majority, unless there is a witness (WITNESS=1)\n";

# With a witness the loss of a follower is a fault, too: commits wait for it until it is left out.
my @faults = $option{fault} eq 'all' ? @all : ($option{fault});
@faults = map { $_ eq 'switchover' ? ($_) : ("$_ of a follower", $_) } @faults if $option{witness};
if (grep { /^partition/ } @faults)
{
	if (defined(my $why = QuorumNet::missing()))
	{
		print "skipped: FAULT=partition: $why\n";
		exit 0 if $option{fault} eq 'partition';
		@faults = grep { !/^partition/ } @faults;
	}
	else
	{
		QuorumNet::enter(@arguments);
		QuorumNodes::use_network($option{nodes} + ($option{witness} ? 1 : 0));
	}
}

my %fault_words = (
	kill => 'SIGKILL to the postmaster',
	killall => 'SIGKILL to every process',
	freeze => 'SIGSTOP to every process',
	partition => 'no packet from or to another node, clients still get through,',
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
my ($unknown, $refused, $connected_port);
my $acked = '';           # a bit for each id that was acknowledged
my $acked_count = 0;
my @acks;                 # [time, port] since the last round
my ($writer_pid, $writer_input);
my $next_id = 1;
my $load_pid;
my $switchover_error = '';
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
			$node->{following_at} = $at if $text =~ /^following /;
			$node->{rewound_at} = $at if $text =~ /^(rewound|cloned) and following/;
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
			vec($acked, $rest, 1) = 1;
			$acked_count++;
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
		{ no warnings 'exec'; exec $writer_program, join(',', map { "$_->{host}:$_->{port}" } $cluster->nodes), 'postgres', $rate, $next_id }
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
	my ($fault, $node) = @_;
	my @pids = $cluster->pids($node);
	my $postmaster = $cluster->postmaster_pid($node);
	my $what = $fault =~ s/ .*//r;

	QuorumNodes::note_segments(@pids);
	$node->{following_at} = 0;
	if ($what eq 'switchover')
	{
		# The checkpoint before it is no part of the gap, and may take its time: writes go on.
		$fault_at = $node->{back_at} = time();
		my ($status, $text) = $cluster->psql($node, "SELECT quorum.switchover(timeout => '${serve_limit}s')");
		$switchover_error = $status == 0 ? '' : "quorum.switchover() on $node->{name}: $text";
		return story_line($fault_at, $node->{name}, "$fault_words{$what} of $node->{name}");
	}
	$fault_at = time();
	if ($what eq 'kill') { kill 'KILL', $postmaster }
	elsif ($what eq 'partition') { QuorumNodes::network()->cut($node->{number}) }
	else
	{
		# stopped first, none can see another die: so all are killed at once
		kill 'STOP', $postmaster, @pids;
		$cluster->signal_all($node, 'STOP');
		$cluster->signal_all($node, 'KILL') if $what eq 'killall';
	}
	story_line($fault_at, $node->{name}, "fault: $fault_words{$what} of $node->{name}");
}

# Longest time between two acknowledged writes that ended after $since.
sub gap_ms
{
	my ($since) = @_;
	my $gap = 0;
	for my $i (1 .. $#acks)
	{
		$gap = max($gap, $acks[$i][0] - $acks[ $i - 1 ][0]) if $acks[$i][0] > $since;
	}
	return 1000 * $gap;
}

# All nodes share a disk: the sync after a rewind may hold up the leader's commits for so
# long that the client gives it up.  A fault that struck then would be blamed for it.
sub wait_for_writes { wait_for(10, 'writes go on', sub { $acks[-1][0] > time() - 0.1 }) }

sub bring_back
{
	my ($fault, $node) = @_;

	return if $fault eq 'switchover';
	watch_for(max(0, $fault_at + $cut_for - time())) if $fault =~ /^partition/;
	$node->{following_at} = 0;
	$node->{back_at} = time();
	if ($fault =~ /^freeze/)
	{
		story_line(time(), $node->{name}, 'SIGCONT: it may go on');
		$cluster->signal_all($node, 'CONT');
	}
	elsif ($fault =~ /^partition/)
	{
		story_line(time(), $node->{name}, 'the network is whole again');
		QuorumNodes::network()->heal;
	}
	else
	{
		wait_for(10, "the last processes of $node->{name} end", sub { !$cluster->pids($node) });
		story_line(time(), $node->{name}, 'started again');
		$cluster->start($node, sub { watch(); sleep 0.005 });
	}
}

# Every member streams, counts and could lead, or the drill has failed.
sub wait_until_whole
{
	my ($node) = @_;
	my $limit = time() + $return_limit;

	while (1)
	{
		my @complaints = $cluster->complaints($cluster->by_port($acks[-1][1]));
		push @complaints, "$node->{name} has not followed since it could" if $node->{following_at} < $node->{back_at};
		return if !@complaints;
		die "not every member is whole $return_limit s after the fault was mended:\n", map { "  $_\n" } @complaints if time() > $limit;
		watch_for(0.2);
	}
}

# Every term begins with a copy of its first segment, and PostgreSQL keeps all copies of the
# segment it writes: so many changes of the leader, with so little written in between, would
# fill pg_wal, and a rewind copies that.
sub tidy_up
{
	my $leader = $cluster->by_port($acks[-1][1]);

	$cluster->query($leader, 'SELECT pg_switch_wal()');
	$cluster->query($leader, 'CHECKPOINT');
	$cluster->psql($_, 'CHECKPOINT') for grep { $_ != $leader } $cluster->nodes;
}

my %results;              # fault => { gap => [ms], rejoin => [ms], rewound => n }
my $held_up = 0;          # longest gap, in ms, once the new leader had served for a while

sub round
{
	my ($number) = @_;
	my $fault = $faults[ ($number - 1) % @faults ];
	my $leader = $cluster->by_port($acks[-1][1]);
	my $victim = $fault =~ /follower/ ? (grep { $_ != $leader } $cluster->nodes)[0] : $leader;

	wait_for_load($leader);
	@acks = ($acks[-1]);
	printf "\nround %d of %d: %d nodes%s, %s leads, %d rows a second are written%s\n", $number, $option{rounds}, $option{nodes},
	  $option{witness} ? ' and a witness' : '', $leader->{name}, $rate, $option{load} ? " beside $option{load} -c 8" : ''
	  if $option{rounds} <= $stories;
	$story = $option{rounds} <= $stories;
	strike($fault, $victim);
	if ($victim == $leader)
	{
		wait_for($serve_limit, 'a new leader serves', sub {
			die $switchover_error if $switchover_error;
			$acks[-1][1] != $leader->{port};
		});
	}
	else
	{
		wait_for($serve_limit, 'writes go on', sub { $acks[-1][0] > $fault_at + $calm && $acks[-1][0] > time() - 0.1 });
	}
	watch_for($calm);
	my $gap = gap_ms($fault_at);
	my $served_at = time();

	bring_back($fault, $victim);
	watch_for($calm) if $fault =~ /^(freeze|partition)/;
	wait_until_whole($victim);
	$gap = max($gap, gap_ms($fault_at)) if $fault =~ /^(freeze|partition)/;
	watch_for($held);
	print_waiting(time());
	$story = 0;
	watch_for($calm / 2);
	wait_for_writes();
	$held_up = max($held_up, gap_ms($served_at));
	if ($number % 10 == 0)
	{
		tidy_up();
		watch_for($calm / 2);
		wait_for_writes();
	}
	my $rejoin = 1000 * ($victim->{following_at} - $victim->{back_at});
	my $rewound = ($victim->{rewound_at} // 0) >= $fault_at;
	push @{ $results{$fault}{gap} }, $gap;
	push @{ $results{$fault}{rejoin} }, $rejoin;
	$results{$fault}{rewound} += $rewound;
	printf "round %d%s: no write was acknowledged for %.0f ms; %s streams again %.0f ms after it could%s; all members are whole\n", $number,
	  $option{rounds} <= $stories ? '' : " of $option{rounds}, $fault of $victim->{name}", $gap, $victim->{name}, $rejoin,
	  $rewound ? ', rewound' : '';
}

# ---- clusters ------------------------------------------------------------------------------

sub make_cluster
{
	printf "making %d servers%s in %s%s\n", $option{nodes}, $option{witness} ? ' and a witness' : '', $workspace,
	  QuorumNodes::network() ? ', each with a network of its own' : '';
	$cluster = QuorumNodes->new(bindir => $option{bindir}, extension => 1, count => $option{nodes}, witness => $option{witness},
		prefix => 'c', settings => $option{load} ? "shared_buffers = 64MB\nmax_wal_size = 1GB\n" :
		"shared_buffers = 16MB\nmin_wal_size = 32MB\nmax_wal_size = 128MB\nquorum.rollback_keep_size = 64MB\n");
	my $first = $cluster->create;
	$cluster->query($first, 'CREATE TABLE drill (id bigint PRIMARY KEY)');
	start_load($first) if $option{load};
	start_writer();
	wait_for(10, 'the writer writes', sub { @acks >= $rate / 2 });
}

# pgbench ends when it loses its connections: it is started again until the drill ends.
sub start_load
{
	my ($leader) = @_;
	my $hosts = join ',', map { $_->{host} } $cluster->nodes;
	my $ports = join ',', map { $_->{port} } $cluster->nodes;
	my $target = "host=$hosts port=$ports user=postgres dbname=postgres target_session_attrs=read-write connect_timeout=2 application_name=drill_load";

	QuorumNodes::run_or_die($cluster->bin('pgbench'), '-i', '-q', '-s', 16, '-h', $workspace, '-p', $leader->{port}, '-U', 'postgres', 'postgres');
	defined($load_pid = fork()) or die "fork: $!\n";
	return if $load_pid;
	chdir $workspace;
	$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
	open(STDIN, '<', '/dev/null');
	open(STDOUT, '>', '/dev/null');
	open(STDERR, '>', '/dev/null');
	while (1)
	{
		system $cluster->bin('pgbench'), '-n', '-c', 8, '-j', 2, '-T', 3600, $target;
		sleep 0.05;
	}
}

sub wait_for_load
{
	my ($leader) = @_;
	wait_for_answer(60, 'pgbench works', sub {
		my ($status, $text) = $cluster->psql($leader, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'drill_load'");
		$status == 0 && $text =~ /^\d+$/m && $text >= 8;
	}) if $option{load};
	watch_for($calm) if $option{load};
}

# How many acknowledged rows are missing?
sub verify
{
	stop_writer();
	my $leader = $cluster->by_port($acks[-1][1]);
	vec($acked, $_, 1) = 0 for split /\n/, $cluster->query($leader, 'SELECT id FROM drill');
	my @missing;
	for my $byte (grep { vec($acked, $_, 8) } 0 .. length($acked) - 1)
	{
		push @missing, grep { vec($acked, $_, 1) } 8 * $byte .. 8 * $byte + 7;
	}
	printf "acknowledged rows missing on %s: %d of %d%s\n", $leader->{name}, scalar @missing, $acked_count,
	  @missing ? ' (the first: ' . join(', ', @missing[ 0 .. min(9, $#missing) ]) . ')' : '';
	return scalar @missing;
}

sub of_rounds
{
	my ($what, @values) = @_;
	@values = sort { $a <=> $b } @values;
	return sprintf "${what}_ms_min=%.0f ${what}_ms_median=%.0f ${what}_ms_max=%.0f", $values[0],
	  ($values[ $#values / 2 ] + $values[ @values / 2 ]) / 2, $values[-1];
}

sub drill
{
	make_cluster();
	round($_) for 1 .. $option{rounds};
	my $lost = verify();
	print "writes refused with an error: ${\($refused // 0)}, without an answer: ${\($unknown // 0)}\n";
	printf "while members came back, and between rounds, no write was acknowledged for %.0f ms at most\n\n", $held_up;
	for my $fault (grep { $results{$_} } @faults)
	{
		my $result = $results{$fault};
		printf "%s: rounds=%d %s %s rewound=%d\n", $fault, scalar @{ $result->{gap} }, of_rounds('gap', @{ $result->{gap} }),
		  of_rounds('rejoin', @{ $result->{rejoin} }), $result->{rewound};
	}
	return (sprintf("drill: fault=%s rounds=%d %s acked=%d lost=%d", $option{fault}, $option{rounds},
			of_rounds('gap', map { @{ $_->{gap} } } values %results), $acked_count, $lost), $lost);
}

my ($verdict, $lost) = eval { drill() };
my $error = $@;
if (defined $verdict)
{
	$keep_workspace = $lost > 0 || $option{keep};
	finish();
	print "the servers' directories and logs are in $workspace\n" if $keep_workspace;
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
	kill 'TERM', grep { defined } $load_pid, $cluster ? $cluster->{witness}{pid} : ();
	undef $load_pid;
	QuorumNodes::close_workspace(!$keep_workspace);
}

END
{
	my $status = $?;
	finish();
	$? = $status;
}
