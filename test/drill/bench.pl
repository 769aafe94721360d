#!/usr/bin/perl
# bench.pl
#	  What the extension costs: throughput and idle CPU beside the same three servers
#	  without it, measured alternately in one run; and one look at the lease.
#
# With one client the ratio of the throughputs is that of the commits' latencies.
#
# usage: bench.pl --bindir DIR --lease-check FILE [--clients N] [--pairs N] [--seconds N] [--idle SECONDS] [--settle SECONDS]
use strict;
use warnings;
use FindBin ();
use lib "$FindBin::RealBin/../perl";
use QuorumNodes;
use Getopt::Long ();
use POSIX ();
use Time::HiRes qw(time sleep);

my %option = (pairs => 5, seconds => 20, idle => 60, settle => 15, clients => 8, nodes => 3);
Getopt::Long::GetOptions(\%option, 'bindir=s', 'lease-check=s', 'pairs=i', 'seconds=i', 'idle=i', 'settle=i', 'clients=i', 'nodes=i')
  or die "usage: bench.pl --bindir DIR --lease-check FILE [--clients N] [--pairs N] [--seconds N] [--idle SECONDS] [--settle SECONDS]\n";

$| = 1;
my ($workspace, $lease_check) = QuorumNodes::open_workspace('bench', $option{'lease-check'});
my $parent = getppid();
$SIG{$_} = sub { print "\ninterrupted\n"; QuorumNodes::close_workspace(1); exit 130 } for qw(INT TERM HUP);
END { my $status = $?; QuorumNodes::close_workspace($status == 0); $? = $status }

my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return ($sorted[ $#sorted / 2 ] + $sorted[ @sorted / 2 ]) / 2;
}

sub make_cluster
{
	my ($extension) = @_;
	my $cluster = QuorumNodes->new(bindir => $option{bindir}, extension => $extension, count => $option{nodes},
		prefix => $extension ? 'quorum' : 'plain', settings => "shared_buffers = 128MB\nmax_wal_size = 4GB\ncheckpoint_timeout = 1h\n");
	$cluster->{leader} = $cluster->create;
	$cluster->{words} = $extension ? 'with pg_quorum' : 'plain PostgreSQL';
	return $cluster;
}

# CPU seconds that the processes of a cluster have used: of the living in nanoseconds, of
# the ended as their postmaster counts them.
sub cpu_seconds
{
	my ($cluster) = @_;
	my $sum = 0;
	for my $node ($cluster->nodes)
	{
		my $postmaster = $cluster->postmaster_pid($node);
		for my $pid ($cluster->pids($node))
		{
			my ($nanoseconds) = split ' ', (QuorumNodes::read_lines("/proc/$pid/schedstat"))[0] // '';
			my @stat = split ' ', ((QuorumNodes::read_lines("/proc/$pid/stat"))[0] // '') =~ s/.*\) //r;
			$sum += defined $nanoseconds ? $nanoseconds / 1e9 : @stat ? ($stat[11] + $stat[12]) / $ticks : 0;
			$sum += ($stat[13] + $stat[14]) / $ticks if $pid == $postmaster && @stat;
		}
	}
	return $sum;
}

sub idle
{
	my (@clusters) = @_;
	print "idle: $option{settle} s to calm down, $option{idle} s measured\n";
	sleep($option{settle});
	my @before = map { cpu_seconds($_) } @clusters;
	my $begin = time();
	sleep($option{idle});
	my $minutes = (time() - $begin) / 60;
	my @used = map { (cpu_seconds($clusters[$_]) - $before[$_]) / $minutes / $option{nodes} } 0 .. $#clusters;
	printf "idle, %s: %.3f CPU seconds a minute and node\n", $clusters[$_]{words}, $used[$_] for 0 .. $#clusters;
	return $used[1] - $used[0];
}

sub throughput
{
	my ($cluster) = @_;
	$cluster->query($cluster->{leader}, 'CHECKPOINT');
	my $text = QuorumNodes::run_or_die($cluster->bin('pgbench'), '-n', '-c', $option{clients}, '-j', $option{clients} > 1 ? 2 : 1, '-T', $option{seconds},
		'-h', $workspace, '-p', $cluster->{leader}{port}, '-U', 'postgres', 'postgres');
	my ($tps) = $text =~ /^tps = ([\d.]+)/m or die $text;
	printf "  %-17s %7.0f transactions a second\n", $cluster->{words}, $tps;
	exit 130 if getppid() != $parent;
	return $tps;
}

# Nanoseconds: median of some series of a million looks each.
sub lease_check
{
	my ($cluster) = @_;
	my $library = $lease_check =~ s/\.so$//r;
	$cluster->query($cluster->{leader}, "CREATE FUNCTION lease_check_ns(bigint) RETURNS float8 AS '$library' LANGUAGE c STRICT");
	return median(map { $cluster->query($cluster->{leader}, 'SELECT lease_check_ns(1000000)') } 1 .. 9);
}

my ($plain, $quorum) = map { print "making $option{nodes} servers, ", $_ ? 'with pg_quorum' : 'plain', "\n"; make_cluster($_) } 0, 1;
for my $cluster ($plain, $quorum)
{
	QuorumNodes::run_or_die($cluster->bin('pgbench'), '-i', '-q', '-s', 2 * $option{clients}, '-h', $workspace,
		'-p', $cluster->{leader}{port}, '-U', 'postgres', 'postgres');
	$cluster->query($cluster->{leader}, 'VACUUM ANALYZE');
	$cluster->query($cluster->{leader}, 'CHECKPOINT');
	printf "%s: synchronous_standby_names = %s\n", $cluster->{words}, $cluster->query($cluster->{leader}, 'SHOW synchronous_standby_names');
}
my $idle = idle($plain, $quorum);
my $look = lease_check($quorum);

my @ratios;
for my $pair (1 .. $option{pairs})
{
	print "pair $pair of $option{pairs}\n";
	my @order = $pair % 2 ? ($plain, $quorum) : ($quorum, $plain);
	my %tps = map { $_->{words} => throughput($_) } @order;
	push @ratios, $tps{ $quorum->{words} } / $tps{ $plain->{words} };
}
printf "\nbench: nodes=%d clients=%d pairs=%d ratio_min=%.3f ratio_median=%.3f ratio_max=%.3f idle_cpu_s_per_min_and_node=%.3f lease_check_ns=%.0f\n",
  $option{nodes}, $option{clients}, $option{pairs}, (sort { $a <=> $b } @ratios)[0], median(@ratios), (sort { $a <=> $b } @ratios)[-1], $idle, $look;
