#!/usr/bin/perl
# bench.pl
#	  What the extension costs beside the same three servers without it: throughput, latency of
#	  the commits, CPU time, also idle; and one look at the lease.
#
# One run of pgbench says little: the next one differs by more than what is looked for.  So
# both clusters are up all the time and take many short turns, plain and quorum by turns; the
# two of a pair are compared with each other only, and the median of these ratios is told with
# the interval in which it lies with 95 % confidence (bootstrap).  A turn ends when the standbys
# have replayed it.  Nothing that happens now and then, or more at the beginning than later,
# falls into a turn: no checkpoint, no autovacuum, no full page images.  Nobody takes two turns
# in a row: the second would find what the first left behind.  Settings that differ are printed.
# What one turn differs by from the next does not shrink with its length: many short turns say
# more than some long ones.
#
# The CPU time of a transaction counts the processes of the turn's own servers: it is told
# by kind of process, and it says what the extension costs also on a machine that is not quiet.
#
# usage: bench.pl --bindir DIR --lease-check FILE [--clients "N …"] [--pairs N] [--seconds N] [--idle SECONDS] [--settle SECONDS]
use strict;
use warnings;
use FindBin ();
use lib "$FindBin::RealBin/../perl";
use QuorumNodes;
use Getopt::Long ();
use List::Util qw(max sum0 uniq);
use POSIX ();
use Time::HiRes qw(time sleep);

my %option = (pairs => 100, seconds => 1, idle => 60, settle => 15, clients => '1 8 16', nodes => 3);
Getopt::Long::GetOptions(\%option, 'bindir=s', 'lease-check=s', 'pairs=i', 'seconds=i', 'idle=i', 'settle=i', 'clients=s', 'nodes=i')
  or die "usage: bench.pl --bindir DIR --lease-check FILE [--clients \"N …\"] [--pairs N] [--seconds N] [--idle SECONDS] [--settle SECONDS]\n";
my @clients = grep { $_ > 0 } split /[ ,]+/, $option{clients};
die "--clients names no number of clients\n" if !@clients;

use constant { RESAMPLES => 4000, SEED => 15, WARM_UP => 10 };

my $settings = <<'EOC';
shared_buffers = 256MB
max_wal_size = 32GB
checkpoint_timeout = 1d
autovacuum = off
EOC

$| = 1;
my ($workspace, $lease_check) = QuorumNodes::open_workspace('bench', $option{'lease-check'});
my $parent = getppid();
$SIG{$_} = sub { print "\ninterrupted\n"; QuorumNodes::close_workspace(1); exit 130 } for qw(INT TERM HUP);
END { my $status = $?; QuorumNodes::close_workspace($status == 0); $? = $status }

my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());
srand(SEED);

# ---- statistics ---------------------------------------------------------------------------

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return ($sorted[ $#sorted / 2 ] + $sorted[ @sorted / 2 ]) / 2;
}

# Median, and between which two values 95 % of the medians of drawn samples lie.
sub with_interval
{
	my (@values) = @_;
	my @medians = sort { $a <=> $b } map { median(map { $values[ rand @values ] } @values) } 1 .. RESAMPLES;
	return (median(@values), $medians[ RESAMPLES * 0.025 ], $medians[ RESAMPLES * 0.975 ]);
}

# ---- the clusters -------------------------------------------------------------------------

sub make_cluster
{
	my ($extension) = @_;
	my $cluster = QuorumNodes->new(bindir => $option{bindir}, extension => $extension, count => $option{nodes},
		prefix => $extension ? 'quorum' : 'plain', settings => $settings);
	$cluster->{words} = $extension ? 'with pg_quorum' : 'plain PostgreSQL';
	print "making $option{nodes} servers, $cluster->{words}\n";
	$cluster->{leader} = $cluster->create;
	return $cluster;
}

sub fill
{
	my ($cluster) = @_;
	QuorumNodes::run_or_die($cluster->bin('pgbench'), '-i', '-q', '-s', 2 * max(@clients), '-h', $workspace,
		'-p', $cluster->{leader}{port}, '-U', 'postgres', 'postgres');
	$cluster->query($cluster->{leader}, 'VACUUM ANALYZE');
}

sub wait_for_standbys
{
	my ($cluster) = @_;
	my $lsn = $cluster->query($cluster->{leader}, 'SELECT pg_current_wal_flush_lsn()');
	for my $node (grep { $_ != $cluster->{leader} } $cluster->nodes)
	{
		$cluster->wait_for(120, "$node->{name} has replayed everything",
			sub { $cluster->query($node, "SELECT pg_last_wal_replay_lsn() >= '$lsn'") eq 't' });
	}
}

# No checkpoint from here on.  One row of each page is written, so that its image is in the log.
sub prepare
{
	my ($cluster) = @_;
	$cluster->query($cluster->{leader}, 'CHECKPOINT');
	wait_for_standbys($cluster);
	$cluster->query($_, 'CHECKPOINT') for $cluster->nodes;
	$cluster->query($cluster->{leader}, 'UPDATE pgbench_accounts SET abalance = abalance WHERE aid IN ' .
		"(SELECT min(aid) FROM pgbench_accounts GROUP BY (ctid::text::point)[0])");
	pgbench($cluster, max(@clients), WARM_UP);
	wait_for_standbys($cluster);
}

# What both have to have in common.
sub print_differences
{
	my ($plain, $quorum) = @_;
	for my $i (0, 1)
	{
		my ($of_plain, $of_quorum) = map { settings_of($_, ($_->nodes)[$i]) } $plain, $quorum;
		print 'settings of a ', $i ? 'standby' : 'primary', " that differ, plain / with pg_quorum:\n";
		for my $name (sort(uniq(keys %$of_plain, keys %$of_quorum)))
		{
			my @values = map { $_->{$name} // 'unknown' } $of_plain, $of_quorum;
			print "  $name: $values[0] / $values[1]\n" if $values[0] ne $values[1];
		}
	}
}

# As far as PostgreSQL itself has them, and but for ports and directories.
sub settings_of
{
	my ($cluster, $node) = @_;
	my $text = $cluster->query($node, "SELECT name, replace(setting, E'\\n', ' ') || coalesce(' ' || unit, '') FROM pg_settings " .
		"WHERE name !~ '^quorum\\.|^port\$|_file\$|^data_directory\$|^primary_conninfo\$'");
	return { map { split /\|/, $_, 2 } split /\n/, $text };
}

# ---- CPU time -----------------------------------------------------------------------------

my @kinds = ('backends', 'walsenders', 'walreceivers', 'startup', 'worker', 'rest');

sub kind_of
{
	my ($pid) = @_;
	my $title = (QuorumNodes::read_lines("/proc/$pid/cmdline"))[0] // '';
	return "$1s" if $title =~ /^postgres: \w+: (walsender|walreceiver)\b/;
	return 'startup' if $title =~ /^postgres: \w+: startup\b/;
	return 'worker' if $title =~ /^postgres: \w+: pg_quorum\b/;
	return 'rest';
}

# CPU seconds that the processes of a cluster have used, by kind: of the living in
# nanoseconds, of the ended as their postmaster counts them.
sub cpu_seconds
{
	my ($cluster) = @_;
	my %used = map { $_ => 0 } @kinds;
	for my $node ($cluster->nodes)
	{
		my $postmaster = $cluster->postmaster_pid($node);
		for my $pid ($cluster->pids($node))
		{
			my ($nanoseconds) = split ' ', (QuorumNodes::read_lines("/proc/$pid/schedstat"))[0] // '';
			my @stat = split ' ', ((QuorumNodes::read_lines("/proc/$pid/stat"))[0] // '') =~ s/.*\) //r;
			$used{ kind_of($pid) } += defined $nanoseconds ? $nanoseconds / 1e9 : @stat ? ($stat[11] + $stat[12]) / $ticks : 0;
			$used{backends} += ($stat[13] + $stat[14]) / $ticks if $pid == $postmaster && @stat;
		}
	}
	return \%used;
}

# The sessions of a turn count when their postmaster has collected them.
sub children_of
{
	my ($postmaster) = @_;
	my @parents = map { (split ' ', ((QuorumNodes::read_lines($_))[0] // '') =~ s/.*\) //r)[1] // 0 } glob('/proc/[0-9]*/stat');
	return scalar grep { $_ == $postmaster } @parents;
}

sub total { return sum0(values %{ $_[0] }) }

sub difference
{
	my ($before, $after) = @_;
	return { map { $_ => $after->{$_} - $before->{$_} } @kinds };
}

# CPU seconds of the whole machine: used, stolen by its host, all there were.
sub machine_seconds
{
	my (undef, @spent) = split ' ', (QuorumNodes::read_lines('/proc/stat'))[0];
	return map { $_ / $ticks } sum0(@spent[0, 1, 2, 5, 6]), $spent[7], sum0(@spent[0 .. 7]);
}

# What this run has used so far: its servers, this script, pgbench.
sub own_seconds
{
	return sum0(map({ total(cpu_seconds($_)) } @_), times);
}

# ---- what is measured ---------------------------------------------------------------------

sub idle
{
	my (@clusters) = @_;
	print "idle: $option{settle} s to calm down, $option{idle} s measured\n";
	sleep($option{settle});
	my @before = map { total(cpu_seconds($_)) } @clusters;
	my $begin = time();
	sleep($option{idle});
	my $minutes = (time() - $begin) / 60;
	my @used = map { (total(cpu_seconds($clusters[$_])) - $before[$_]) / $minutes / $option{nodes} } 0 .. $#clusters;
	printf "idle, %s: %.3f CPU seconds a minute and node\n", $clusters[$_]{words}, $used[$_] for 0 .. $#clusters;
	return $used[1] - $used[0];
}

# Nanoseconds: median of some series of a million looks each.
sub lease_check
{
	my ($cluster) = @_;
	my $library = $lease_check =~ s/\.so$//r;
	$cluster->query($cluster->{leader}, "CREATE FUNCTION lease_check_ns(bigint) RETURNS float8 AS '$library' LANGUAGE c STRICT");
	return median(map { $cluster->query($cluster->{leader}, 'SELECT lease_check_ns(1000000)') } 1 .. 9);
}

sub pgbench
{
	my ($cluster, $clients, $seconds) = @_;
	return QuorumNodes::run_or_die($cluster->bin('pgbench'), '-n', '-r', '-c', $clients, '-j', $clients > 1 ? 2 : 1, '-T', $seconds,
		'-h', $workspace, '-p', $cluster->{leader}{port}, '-U', 'postgres', 'postgres');
}

# One turn: transactions a second, milliseconds of a commit, CPU microseconds of a transaction by kind.
sub turn
{
	my ($cluster, $clients) = @_;
	my $postmaster = $cluster->postmaster_pid($cluster->{leader});
	my $children = children_of($postmaster);
	my $before = cpu_seconds($cluster);
	my $text = pgbench($cluster, $clients, $option{seconds});
	wait_for_standbys($cluster);
	$cluster->wait_for(60, 'the sessions are over', sub { children_of($postmaster) <= $children });
	my $used = difference($before, cpu_seconds($cluster));
	my ($count) = $text =~ /^number of transactions actually processed: (\d+)/m or die $text;
	my ($tps) = $text =~ /^tps = ([\d.]+)/m or die $text;
	my ($commit) = $text =~ /^\s+([\d.]+)\s.*END;/m or die $text;
	exit 130 if getppid() != $parent;
	return { tps => $tps, commit => $commit, cpu => 1e6 * total($used) / $count,
		by_kind => { map { $_ => 1e6 * $used->{$_} / $count } @kinds } };
}

# Pairs of turns: [plain, quorum] each.
sub pairs
{
	my ($plain, $quorum, $clients) = @_;
	my @pairs;
	print "$clients client", $clients > 1 ? 's' : '', ", transactions a second, plain / with pg_quorum\n";
	for my $number (1 .. $option{pairs})
	{
		my @pair = map { turn($_, $clients) } $plain, $quorum;
		push @pairs, \@pair;
		printf "  %2d: %6.0f / %6.0f = %.3f\n", $number, (map { $_->{tps} } @pair), $pair[1]{tps} / $pair[0]{tps};
	}
	return @pairs;
}

sub report
{
	my ($clients, @pairs) = @_;
	print "CPU microseconds of a transaction, plain / with pg_quorum:";
	for my $kind (@kinds)
	{
		printf " %s %.1f / %.1f", $kind, map { my $side = $_; median(map { $_->[$side]{by_kind}{$kind} } @pairs) } 0, 1;
	}
	print "\nbench: nodes=$option{nodes} clients=$clients pairs=", scalar(@pairs), " seconds=$option{seconds}";
	for my $what (['throughput', 'tps'], ['commit_latency', 'commit'], ['cpu', 'cpu'])
	{
		printf ' %s=%.3f(%.3f-%.3f)', $what->[0], with_interval(map { $_->[1]{ $what->[1] } / $_->[0]{ $what->[1] } } @pairs);
	}
	print "\n";
}

my ($plain, $quorum) = map { make_cluster($_) } 0, 1;
print_differences($plain, $quorum);
fill($_) for $plain, $quorum;
my $idle = idle($plain, $quorum);
my $look = lease_check($quorum);

prepare($_) for $plain, $quorum;
my @before = (machine_seconds(), own_seconds($plain, $quorum));
my %pairs = map { $_ => [pairs($plain, $quorum, $_)] } @clients;
my @after = (machine_seconds(), own_seconds($plain, $quorum));
my ($used, $stolen, $all, $own) = map { $after[$_] - $before[$_] } 0 .. $#after;

print "\n";
report($_, @{ $pairs{$_} }) for @clients;
printf "bench: idle_cpu_s_per_min_and_node=%.3f lease_check_ns=%.0f stolen=%.1f%% others=%.1f%%\n", $idle, $look,
  100 * $stolen / $all, 100 * ($used - $own) / $all;
