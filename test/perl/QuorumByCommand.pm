# QuorumByCommand.pm
#	  Nodes n1, n2, … that the command pg_quorum makes in directories of a test.
#
# PostgreSQL::Test::Cluster knows nothing of them: they are told and asked by programs, through
# their sockets.  When the test ends those that are left are killed; if it failed, with the ends
# of their logs.
package QuorumByCommand;

use strict;
use warnings;

use Exporter qw(import);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use QuorumProcesses;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw($sockets $token %port @settings directory place log_of run_it ask wait_until kill_node);

my $count = 5;
my $base;
our ($sockets, $token);
our %port;        # number => [ of PostgreSQL, of the quorum ]
our @settings;    # what init and join set on each node

# Behind that of PostgreSQL::Test::Utils, which says where directories are.
INIT
{
	$base = PostgreSQL::Test::Utils::tempdir();
	$sockets = PostgreSQL::Test::Utils::tempdir_short();
	$token = "$base/token";
	%port = map { $_ => [ map { PostgreSQL::Test::Cluster::get_free_port() } 1, 2 ] } 1 .. $count;
	@settings = ("--set=unix_socket_directories=$sockets", '--set=shared_buffers=16MB',
		'--set=max_wal_senders=12', '--set=quorum.lease_duration=1000');
	delete @ENV{ grep { /^PG(DATA|HOST|PORT|USER|DATABASE|PASS|SERVICE|_QUORUM)/ } keys %ENV };
	$ENV{LC_ALL} = 'C';
}

sub directory { return "$base/n$_[0]"; }
sub place { return ('-D', directory($_[0]), "--name=n$_[0]", "--address=127.0.0.1:$port{$_[0]}[1]", "--port=$port{$_[0]}[0]"); }

# What a node has logged since that offset.
sub log_of
{
	my ($number, $offset) = @_;
	my $file = directory($number) . '/server.log';
	return -e $file ? slurp_file($file, $offset // 0) : '';
}

# Exit code, standard output and standard error of a command; a reference first is what it reads.
sub run_it
{
	my (@command) = @_;
	my $input = ref $command[0] ? ${ shift @command } : '';
	my ($out, $err) = ('', '');

	IPC::Run::run(\@command, '<', \$input, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
	return ($? >> 8, $out, $err);
}

# As the superuser, through the socket; undef when there is no answer.
sub ask
{
	my ($number, $sql) = @_;
	my ($rc, $out) = run_it('psql', '-XAtqw', '-d', "host=$sockets port=$port{$number}[0] dbname=postgres", '-c', $sql);
	chomp $out;
	return $rc == 0 ? $out : undef;
}

sub wait_until
{
	my ($what, $check) = @_;
	my $until = time() + 90;

	while (time() < $until)
	{
		my $result = $check->();
		return $result if $result;
		usleep(50_000);
	}
	diag("waited in vain for: $what");
	die "waited in vain for: $what";
}

# The postmaster and its children at one instant, dead and gone.
sub kill_node
{
	my ($number) = @_;
	my @pids = QuorumProcesses::of(QuorumProcesses::postmaster_of(directory($number)) // return);
	my $until = time() + 30;

	kill 'STOP', @pids;
	kill 'KILL', @pids;
	usleep(20_000) while time() < $until && grep { QuorumProcesses::runs($_) && slurp_file("/proc/$_/stat") !~ /\) Z / } @pids;

	# nobody may have reaped the dead, and then lock files of theirs count
	unlink directory($number) . '/postmaster.pid', "$sockets/.s.PGSQL.$port{$number}[0].lock";
	return;
}

$SIG{INT} = $SIG{TERM} = sub { exit 1 };

END
{
	my $status = $?;
	for my $number (defined $base ? 1 .. $count : ())
	{
		my @lines = grep { !/ connection / } split /\n/, log_of($number);
		splice @lines, 0, @lines - 40 if @lines > 40;
		if (@lines && !Test::More->builder->is_passing) { diag("---- n$number"); diag($_) for @lines }
		kill_node($number);
	}
	$? = $status;
}

1;
