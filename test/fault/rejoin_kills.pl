#!/usr/bin/perl
# rejoin_kills.pl
#	  kill -9 at random moments while an old leader is brought back by a rewind or a clone.
#
# Each round: the leader gets WAL that nobody else has, and dies; while it comes back,
# something of it is killed once or more, and it is started again, as a service manager
# would.  In the end it must stream, hold every acknowledged row, and have its own files byte
# for byte; at no moment may a server run on a half-written directory.
#
# Every draw comes from the seed.  The moments themselves depend on the machine, so a
# repeated seed kills the same things in the same phases, not at the same instruction.
#
# usage: rejoin_kills.pl --bindir DIR --writer FILE [--rounds N] [--clones N] [--seed N]
# exit status: 0 every round ended well, 1 one did not.
use strict;
use warnings;
use FindBin ();
use lib "$FindBin::RealBin/../perl", $FindBin::RealBin;
use QuorumNodes;
use RejoinRound;
use Getopt::Long ();
use Time::HiRes qw(time sleep);

my %option = (rounds => 50, clones => 20, seed => time() * 1000 % 1_000_000);
Getopt::Long::GetOptions(\%option, 'bindir=s', 'writer=s', 'rounds=i', 'clones=i', 'seed=i')
  or die "usage: rejoin_kills.pl --bindir DIR --writer FILE [--rounds N] [--clones N] [--seed N]\n";
srand($option{seed});
$| = 1;
my ($workspace, $writer_program) = QuorumNodes::open_workspace('rejoin', $option{writer});
$SIG{$_} = sub { print "\ninterrupted\n"; exit 130 } for qw(INT TERM HUP);
my $passed = 0;
my $cluster;

# Each node has a tablespace of its own, and all but the first have their WAL elsewhere.
sub places
{
	my ($from, $node) = @_;
	my ($theirs, $ours) = map { "$workspace/$_->{name}.side" } $from, $node;

	if (!-e $theirs)
	{
		mkdir $theirs or die "$theirs: $!\n";
		$cluster->query($from, "CREATE TABLESPACE side LOCATION '$theirs'");
	}
	return ("--waldir=$workspace/$node->{name}.wal", "--tablespace-mapping=$theirs=$ours");
}

$cluster = QuorumNodes->new(bindir => $option{bindir}, extension => 1, count => 3, copy_options => \&places, settings => <<'EOC');
shared_buffers = 16MB
min_wal_size = 32MB
quorum.lease_duration = 1000
log_min_messages = log
EOC

# ---- the writer ----------------------------------------------------------------------------

my ($writer_pid, $writer_input, $writer_output);
my $unfinished = '';
my %acked;

sub start_writer
{
	pipe(my $read, $writer_input) or die "pipe: $!\n";
	defined($writer_pid = fork()) or die "fork: $!\n";
	if ($writer_pid == 0)
	{
		close $writer_input;
		open(STDIN, '<&', $read) && open(STDOUT, '>', "$workspace/writer.out") or die "writer: $!\n";
		{ no warnings 'exec'; exec $writer_program, join(',', map { "$_->{host}:$_->{port}" } $cluster->nodes), 'postgres', 100, 1 }
		die "$writer_program: $!\n";
	}
	close $read;
}

# What was acknowledged until now.
sub acknowledged
{
	if (!$writer_output)
	{
		open(my $in, '<', "$workspace/writer.out") or return \%acked;
		$writer_output = $in;
	}
	while (sysread($writer_output, my $chunk, 65536))
	{
		$unfinished .= $chunk;
		while ($unfinished =~ s/^(.*)\n//)
		{
			my $line = $1;
			$acked{$1} = 1 if $line =~ /^A \S+ \S+ (\d+)/;
		}
	}
	return \%acked;
}

# ---- rounds --------------------------------------------------------------------------------

sub rounds
{
	my %seen;

	printf "seed %d: three servers in %s\n", $option{seed}, $workspace;
	my $first = $cluster->create;
	$cluster->query($first, 'CREATE TABLE drill (id bigint PRIMARY KEY)');
	$cluster->query($first, 'CREATE TABLE junk (id int, filler text)');
	$cluster->query($first, q{CREATE TABLE pages TABLESPACE side AS SELECT i AS id, 0 AS changed, repeat('x', 500) AS filler FROM generate_series(1, 30000) i});
	start_writer();
	$cluster->wait_for(30, 'the writer writes', sub { keys %{ acknowledged() } > 50 });

	my @kinds = (('rewind') x $option{rounds}, ('clone') x $option{clones});
	my $of = @kinds;
	my $in_vain = 0;
	while (@kinds)
	{
		my $round = RejoinRound->new(cluster => $cluster, number => $passed + 1, of => $of,
			kind => $kinds[0], workspace => $workspace, acknowledged => \&acknowledged);
		$round->run;

		# One that was too fast for its kill is played again.
		die "no kill hits\n" if !$round->kills && ++$in_vain > $of + 10;
		next if !$round->kills;
		$seen{$_}++ for $round->kills;
		shift @kinds;
		$passed++;
	}
	print "what was killed, and when:\n";
	printf "  %4d  %s\n", $seen{$_}, $_ for sort keys %seen;
	return;
}

my $fine = eval { rounds(); 1 };
my $error = $@;
if (!$fine)
{
	print "\n$error";
	print map { $cluster->log_tail($_, 60) } grep { -e $_->{log} } $cluster->nodes;
}
if (defined $writer_pid) { close $writer_input; waitpid($writer_pid, 0) }
printf "acknowledged rows: %d\n", scalar keys %{ acknowledged() };
QuorumNodes::close_workspace($fine);
print "the servers' directories and logs are in $workspace\n" if !$fine;
printf "\nrejoin-kills: seed=%d rounds=%d clones=%d passed=%d failed=%d\n", $option{seed}, $option{rounds}, $option{clones},
  $passed, $fine ? 0 : 1;
exit($fine ? 0 : 1);

END
{
	my $status = $?;
	QuorumNodes::close_workspace(0) if defined $workspace;
	$? = $status;
}
