#!/usr/bin/perl
# calm.pl
#	  Does a busy cluster without any fault keep its leader?  pgbench writes for some minutes,
#	  and every change of leader in them is a false failover.
#
# usage: calm.pl --bindir DIR [--minutes N] [--clients N] [--nodes N] [--lease MILLISECONDS] [--allowed N]
# exit status: 0 no more false failovers than allowed, and every client was served; else 1.
use strict;
use warnings;
use FindBin ();
use lib "$FindBin::RealBin/../perl";
use QuorumNodes;
use Getopt::Long ();
use Time::HiRes qw(time);

my %option = (minutes => 30, clients => 16, nodes => 3, lease => 0, allowed => 0);
my $usage = "usage: calm.pl --bindir DIR [--minutes N] [--clients N] [--nodes N] [--lease MILLISECONDS] [--allowed N]\n";
Getopt::Long::GetOptions(\%option, 'bindir=s', 'minutes=i', 'clients=i', 'nodes=i', 'lease=i', 'allowed=i') or die $usage;
$option{minutes} >= 1 or die "MINUTES is at least 1\n";

$| = 1;
my ($workspace) = QuorumNodes::open_workspace('calm');
my $remove = 0;
$SIG{$_} = sub { $remove = 1; print "\ninterrupted\n"; exit 130 } for qw(INT TERM HUP);
END { my $status = $?; QuorumNodes::close_workspace($remove); $? = $status }

my $cluster = QuorumNodes->new(bindir => $option{bindir}, extension => 1, count => $option{nodes},
	settings => $option{lease} ? "quorum.lease_duration = $option{lease}\n" : '');
my $leader = $cluster->create;
my $term = $cluster->query($leader, 'SELECT term FROM quorum.status');
my $lease = $cluster->query($leader, 'SHOW quorum.lease_duration');
my @where = ('-h', $workspace, '-p', $leader->{port}, '-U', 'postgres', 'postgres');

printf "%d nodes, lease %s, pgbench with %d clients for %d minutes\n", @option{qw(nodes)}, $lease, @option{qw(clients minutes)};
QuorumNodes::run_or_die($cluster->bin('pgbench'), '-i', '-q', '-s', $option{clients}, @where);
my ($status, $text) = QuorumNodes::run($cluster->bin('pgbench'), '-n', '-c', $option{clients}, '-j', 2, '-T', 60 * $option{minutes},
	'-P', 60, @where);
my ($transactions) = $text =~ /^number of transactions actually processed: (\d+)/m;
my ($tps) = $text =~ /^tps = ([\d.]+)/m;

# Every election takes a term, also one that failed.
my ($last) = sort { $b <=> $a } map { $cluster->query($_, 'SELECT term FROM quorum.status') } $cluster->nodes;
my $failovers = $last - $term;
my @said = grep { /quorum: (?:leader .* lost|stepped down|resigned|elected leader)/ } map { QuorumNodes::read_lines($_->{log}) } $cluster->nodes;
if ($failovers) { print map { "   $_\n" } @said }
print "pgbench ended with status $status:\n", map { "   $_\n" } (split /\n/, $text)[-20 .. -1] if $status != 0 && !$failovers;
printf "\ncalm: nodes=%d lease=%s clients=%d minutes=%d transactions=%d tps=%.0f false_failovers=%d\n",
  $option{nodes}, $lease, $option{clients}, $option{minutes}, $transactions // 0, $tps // 0, $failovers;
$remove = $failovers <= $option{allowed} && ($status == 0 || $failovers > 0);
print "the servers' logs are in $workspace\n" if !$remove;
exit !$remove;
