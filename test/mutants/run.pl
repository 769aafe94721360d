#!/usr/bin/perl
# run.pl
#	  Takes protections out of copies of the sources, one at a time: a test has to notice each.
#
# perl test/mutants/run.pl [--suites fast|all|KIND,…] [--jobs N] [--all] [--logs DIR] [NAME…]
#	prints a table.  --all: every suite of the list, not only the first that notices.
#	A suite must pass on the unchanged sources before it may kill anybody.
# perl test/mutants/run.pl --check		does every edit of the list still apply?
# perl test/mutants/run.pl --page		docs/mutants.md
# perl test/mutants/run.pl --record <TABLE	keep the seconds of a table in test/mutants/seconds
#
# exit status: 0 each is noticed as the list says, 1 one is not, 2 wrong usage
use strict;
use warnings;
use FindBin ();
use lib "$FindBin::RealBin", "$FindBin::RealBin/../perl";
use Getopt::Long ();
use IO::Handle;
use MutantList;
use MutantSuites;
use POSIX ();
use QuorumNodes;
use Socket ();
use Storable ();
use Time::HiRes qw(time);

my $usage = "usage: run.pl [--check | --page | --record] [--suites fast|all|KIND,...] [--jobs N] [--all] [--logs DIR] [NAME...]\n";
my $source = "$FindBin::RealBin/../..";
my %option = (suites => 'all', jobs => 1);
Getopt::Long::GetOptions(\%option, 'check', 'page', 'record', 'suites=s', 'jobs=i', 'all', 'logs=s') or do { print STDERR $usage; exit 2 };
chdir $source or die "$source: $!\n";
chomp($source = `pwd`);
$| = 1;

my @mutants = MutantList::read_all("$source/test/mutants");
if ($option{page}) { print MutantList::page(@mutants); exit 0 }
if ($option{record}) { MutantList::record_seconds("$source/test/mutants", \@mutants, <STDIN>); exit 0 }

my @complaints = MutantList::complaints($source, @mutants);
print @complaints;
if ($option{check})
{
	my $page = "$source/docs/mutants.md";
	if (!-e $page || MutantList::slurp($page) ne MutantList::page(@mutants))
	{
		push @complaints, 1;
		print "docs/mutants.md does not fit the list: perl test/mutants/run.pl --page >docs/mutants.md\n";
	}
}
exit(@complaints ? 1 : 0) if $option{check} || @complaints;

# ---- which mutants, which suites ----------------------------------------------------------

my %wanted = map { $_ => 1 } map { split /[ ,]+/ } @ARGV;
for my $name (keys %wanted) { die "no mutant is called $name\n" if !grep { $_->{name} eq $name } @mutants }
my @kinds = $option{suites} eq 'fast' ? MutantList::fast_suites() : split /[ ,]+/, $option{suites};
my %kinds = map { $_ => 1 } @kinds;
my $without = 0;

@mutants = grep { !%wanted || $wanted{ $_->{name} } } @mutants;
if ($option{suites} ne 'all')
{
	$_->{kills} = [ grep { $kinds{ $_->{kind} } } @{ $_->{kills} } ] for @mutants;
	$without = grep { !@{ $_->{kills} } } @mutants;
	@mutants = grep { @{ $_->{kills} } } @mutants;
}
die "no mutant is left to run\n" if !@mutants;

my @kills = map { @{ $_->{kills} } } @mutants;
my $slow = grep { $_->{kind} eq 'tap' || $_->{kind} eq 'torture' } @kills;

# ---- where they live ----------------------------------------------------------------------

my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
my %pg;
if ($slow)
{
	for my $what (qw(bindir pkglibdir sharedir includedir includedir-server pgxs))
	{
		chomp($pg{$what} = `$pg_config --$what`);
		die "$pg_config does not say its $what\n" if $pg{$what} eq '';
	}
}

# Torture makes network namespaces: somebody stays root for it, and is told where and what.
sub root_for_torture
{
	return if $> != 0 || !grep { $_->{kind} eq 'torture' } @kills;
	socketpair(my $ours, my $theirs, Socket::AF_UNIX(), Socket::SOCK_STREAM(), Socket::PF_UNSPEC()) or die "socketpair: $!\n";
	defined(my $pid = fork()) or die "fork: $!\n";
	if ($pid)
	{
		close $theirs;
		return $ours;
	}
	close $ours;
	while (defined(my $line = <$theirs>))
	{
		my ($tree, @words) = map { "'$_'" } split /\s/, $line;
		my $said = `cd $tree && make -s --no-print-directory torture-run @words 2>&1`;
		syswrite($theirs, pack('NN', $? >> 8, length $said) . $said);
	}
	POSIX::_exit(0);
}

my $root = root_for_torture();
if (defined $option{logs})
{
	my (undef, $uid, $gid) = QuorumNodes::unprivileged_user();
	mkdir $option{logs};
	$> != 0 or chown($uid, $gid, $option{logs}) or die "$option{logs}: $!\n";
	chomp($option{logs} = `cd '$option{logs}' && pwd`);
}
my ($workspace) = QuorumNodes::open_workspace('mutants', grep { -e } qw(src test control sql expected docs Makefile));
my $logs = $option{logs} // "$workspace/logs";

# The workers hold the janitor's pipe open: it begins when the last of them is gone.
my @children;
$SIG{$_} = sub { print "\ninterrupted\n"; kill 'TERM', @children; exit 130 } for qw(INT TERM HUP);

mkdir "$workspace/tree";
rename "$workspace/$_", "$workspace/tree/$_" for qw(src test control sql expected docs Makefile);

my %place = (tree => "$workspace/tree", objects => "$workspace/objects", logs => $logs, make => $ENV{MAKE} || 'make',
	pg => $slow ? \%pg : undef, root => $root, lock => "$workspace/torture.lock");
MutantSuites->new(%place, dir => $workspace)->build_shared(@kills);

# ---- the work, in several processes -------------------------------------------------------

# Give every item to a worker; what they tell goes to $take.
sub share_out
{
	my ($workers, $work, $take, @items) = @_;
	pipe(my $queue, my $orders) or die "pipe: $!\n";
	pipe(my $answers, my $told) or die "pipe: $!\n";

	syswrite($orders, join '', map { pack 'N', $_ } 0 .. $#items);
	close $orders;
	for my $worker (@$workers)
	{
		defined(my $pid = fork()) or die "fork: $!\n";
		push @children, $pid;
		next if $pid;
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
		close $answers;
		while (sysread($queue, my $number, 4))
		{
			$work->($worker, $items[ unpack 'N', $number ], sub {
				my $text = Storable::freeze($_[0]);
				syswrite($told, pack('N', length $text) . $text);
			});
		}
		POSIX::_exit(0);
	}
	close $told;
	close $queue;
	while (read($answers, my $length, 4))
	{
		read($answers, my $text, unpack 'N', $length);
		$take->(Storable::thaw($text));
	}
	waitpid($_, 0) for splice @children;
}

# A suite that fails by itself proves nothing.  Known for each worker, so asked for once.
sub distrust
{
	my ($worker, $kill) = @_;
	my @words = grep { !/^break=/ } @{ $kill->{words} };
	my $call = join ' ', $kill->{kind}, @words;

	if (!exists $worker->{distrust}{$call})
	{
		my ($verdict, $seconds, $said) = $worker->judge({ kind => $kill->{kind}, words => \@words });
		$worker->{distrust}{$call} = $verdict eq 'passes' ? '' : "$call does not pass on the unchanged sources: $said";
	}
	return $worker->{distrust}{$call};
}

sub try_mutant
{
	my ($worker, $mutant) = @_;
	my (@killed, @missed);
	my $seconds = 0;

	for my $kill (@{ $mutant->{kills} })
	{
		my $distrust = distrust($worker, $kill);
		if ($distrust)
		{
			push @missed, $distrust;
			next;
		}
		$worker->take_out($mutant);
		my ($verdict, $took, $said) = $worker->judge($kill);
		$worker->put_back;
		$seconds += $took;
		if ($verdict ne 'dies') { push @missed, "$kill->{call} $verdict: $said" }
		else
		{
			push @killed, defined $kill->{says} ? "$kill->{call}: $kill->{says}" : $kill->{call};
			last if !$option{all};
		}
	}
	return { mutant => $mutant, killed => \@killed, missed => \@missed, seconds => $seconds };
}

# One worker for all mutants of one suite.
my %by_suite;
push @{ $by_suite{ $_->{kills}[0]{kind} . ' ' . ($_->{kills}[0]{kind} =~ /^(unit|tap)$/ ? $_->{kills}[0]{words}[0] : '') } }, $_ for @mutants;
my @groups = sort { @$b <=> @$a || $a->[0]{name} cmp $b->[0]{name} } values %by_suite;
my @workers = map { MutantSuites->new(%place, dir => "$workspace/$_") } 1 .. $option{jobs};
my $began = time();
my ($bad, $dead, $alive) = (0, 0, 0);

printf "| %-22s | %-66s | %-72s | %7s |\n", 'mutant', 'protection that is taken out', 'killed by', 'seconds';
share_out(\@workers,
	sub {
		my ($worker, $group, $tell) = @_;
		$tell->(eval { try_mutant($worker, $_) } // { mutant => $_, killed => [], missed => [$@], seconds => 0 }) for @$group;
	},
	sub {
		my ($found) = @_;
		my ($mutant, @killed) = ($found->{mutant}, @{ $found->{killed} });
		printf "| %-22s | %-66s | %-72s | %7.1f |\n", $mutant->{name}, $mutant->{hole}, join('; ', @killed) || 'SURVIVES', $found->{seconds};
		print map { '    not as the list says: ' . (s/\s*\n/ /gr =~ s/ $//r) . "\n" } @{ $found->{missed} };
		@killed ? $dead++ : $alive++;
		$bad++ if @{ $found->{missed} };
	},
	@groups);

my $lost = @mutants - $dead - $alive;
printf "\n%d mutants, %d die, %d survive%s, %.0f s%s\n", scalar @mutants, $dead, $alive, $lost ? ", $lost were not tried" : '', time() - $began,
  $without ? "; $without more are for other suites" : '';
print "what the suites said is in $logs\n" if defined $option{logs};
QuorumNodes::close_workspace(1);
exit($bad || $alive || $lost ? 1 : 0);

END
{
	my $status = $?;
	QuorumNodes::close_workspace(1) if defined $workspace;
	$? = $status;
}
