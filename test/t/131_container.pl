# A member as process 1 of a container: it restarts in place, reaps what is left to it, obeys
# signals, and leaves other processes of the container alone.
#
# The container is a PID namespace: all that makes process 1 special is in there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use POSIX ();
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my @unshare = (qw(unshare --user --map-current-user --pid --fork --mount-proc --kill-child=KILL));
plan skip_all => 'this machine allows no PID namespace' if system("@unshare true >/dev/null 2>&1") != 0;

my $cluster = QuorumCluster->new('container', nodes => 3);
my ($first, $second, $node) = $cluster->nodes;
my $container;

$cluster->leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;
$node->stop('fast');

# To the harness pid 1 is that of the host: it must know nothing of this node any more.
@{ $cluster->{nodes} } = ($first, $second);

# Jobs of the shell stay behind as children of process 1, as do those of whoever dies.
sub start_container
{
	my ($jobs) = @_;
	my $command = "$jobs exec " . $node->installed_command('postgres') . ' -D ' . $node->data_dir;

	unlink $node->data_dir . '/postmaster.pid';
	$container = fork() // die "fork: $!";
	if ($container == 0)
	{
		POSIX::setsid();
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>>', $node->logfile);
		open(STDERR, '>&', \*STDOUT);
		{ no warnings 'exec'; exec @unshare, 'sh', '-c', $command }
		POSIX::_exit(127);
	}
	$cluster->wait_until('the container answers', sub { $cluster->ask($node, 'SELECT 1') });
}

sub children_of
{
	my ($pid) = @_;
	my $list = -e "/proc/$pid/task/$pid/children" ? slurp_file("/proc/$pid/task/$pid/children") : '';
	return split ' ', $list;
}

# Process 1, as the host sees it.
sub process_1 { return (children_of($container))[0]; }

sub zombies
{
	return grep { -e "/proc/$_/stat" && slurp_file("/proc/$_/stat") =~ /\) Z / } children_of(process_1());
}

sub no_zombies
{
	my ($what) = @_;
	$cluster->wait_until("$what: the dead are reaped", sub { !zombies() }, 20);
	pass("$what: the dead are reaped");
}

sub leads { return ($cluster->ask($_[0], "SELECT role || ' ' || gate FROM quorum.status") // '') eq 'leader open' }

sub follows
{
	my ($what) = @_;
	$cluster->wait_until("$what: it follows", sub {
		my ($leader) = grep { leads($_) } $first, $second;
		return $leader && ($cluster->ask($leader, qq{SELECT count(*) FROM quorum.replication
			WHERE direction = 'to' AND counted}) // 0) == 2;
	});
	pass("$what: it follows");
}

sub lead
{
	follows('before it leads');

	# On a slow machine somebody else may stand before the successor has its votes: once more then.
	$cluster->wait_until('the container leads', sub {
		return 1 if leads($node);
		my ($other) = grep { leads($_) } $first, $second;
		$cluster->ask($other, "SELECT quorum.switchover('$node->{quorum_name}')", timeout => 30) if $other;
		return 0;
	});
	$cluster->wait_until('with two followers', sub {
		($cluster->ask($node, "SELECT count(*) FROM quorum.replication WHERE direction = 'to' AND counted") // 0) == 2 });
}

END
{
	my $status = $?;
	kill 'KILL', $container if $container;
	waitpid $container, 0 if $container;
	if (!Test::More->builder->is_passing)
	{
		my @lines = split /\n/, slurp_file($node->logfile);
		diag($_) for @lines > 60 ? @lines[ -60 .. -1 ] : @lines;
	}
	$? = $status;
}

start_container('sleep 1000 & sleep 0.1 & (sleep 0.3 &);');
my $pid = process_1();
is((split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0], 1, 'the server is process 1');
follows('process 1');
my ($job) = grep { slurp_file("/proc/$_/cmdline") =~ /^sleep\0001000/ } children_of($pid);
ok($job, 'a job of the shell that it has replaced runs beside it');
no_zombies('the shell has left jobs that ended');

# ---- restarts in place --------------------------------------------------------------

lead();
pass('process 1 leads');
my $size = $cluster->log_size($node);
$cluster->ask($node, "SELECT quorum.switchover('n1')", timeout => 30);
$cluster->wait_until('another leads', sub { grep { leads($_) } $first, $second });
$cluster->wait_for_log($node, qr/restarting in place.*entering standby mode/s, $size);
follows('after a restart in place');
is(process_1(), $pid, 'after a restart in place: it is the same process');
ok(-d "/proc/$job", 'after a restart in place: the job beside it runs');
no_zombies('after a restart in place');

# Writes of its own, then a rewind.
lead();
my @senders = split /\n/, $cluster->ask($node, 'SELECT pid FROM pg_stat_replication');
my %host_pid;
for my $child (children_of($pid))
{
	$host_pid{$1} = $child if slurp_file("/proc/$child/status") =~ /^NSpid:\s+\d+\s+(\d+)$/m;
}
kill 'STOP', map { $host_pid{$_} } @senders;
my $writer = $cluster->session($node);
$writer->send('INSERT INTO t SELECT generate_series(1, 2000)');
$cluster->wait_until('WAL that nobody else has', sub {
	$cluster->ask($node, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") });
my @all = ($pid, children_of($pid));
kill 'STOP', @all;
my $leader = $cluster->wait_for_leader;
kill 'KILL', map { $host_pid{$_} } @senders;
$size = $cluster->log_size($node);
kill 'CONT', @all;
$cluster->wait_until('it is rewound', sub { slurp_file($node->logfile, $size) =~ /pg_rewind took/ });
follows('after a rewind');
is(process_1(), $pid, 'after a rewind: it is the same process');
ok(-d "/proc/$job", 'after a rewind: the job beside it runs');
no_zombies('after a rewind');

# A backend that crashes: children of the dead are left to process 1 as well.
lead();
my $session = $cluster->session($node);
my $backend = $session->ask('SELECT pg_backend_pid()');
my ($crashes) = grep { slurp_file("/proc/$_/status") =~ /^NSpid:\s+\d+\s+$backend$/m } children_of($pid);
$size = $cluster->log_size($node);
kill 'KILL', $crashes;
$cluster->wait_until('it boots as a standby', sub { slurp_file($node->logfile, $size) =~ /entering standby mode/ });
$cluster->wait_until('somebody leads', sub { grep { leads($_) } $first, $second, $node });
$cluster->wait_until('all three are in', sub {
	my ($who) = grep { leads($_) } $first, $second, $node;
	return $who && ($cluster->ask($who, "SELECT count(*) FROM quorum.replication WHERE direction = 'to' AND counted") // 0) == 2;
});
is(process_1(), $pid, 'after a crash of a backend: it is the same process');
no_zombies('after a crash of a backend');

# ---- signals ------------------------------------------------------------------------

# docker stop: SIGTERM, or SIGINT where the image says so; process 1 has no default actions.
for my $signal ('TERM', 'INT')
{
	$cluster->wait_until('it follows', sub { !leads($node) || do {
		$cluster->ask($node, "SELECT quorum.switchover('n1')", timeout => 30); 0 } });
	kill $signal, process_1();
	$cluster->wait_until("SIG$signal ends the container", sub { waitpid($container, POSIX::WNOHANG) == $container });
	is($?, 0, "SIG$signal ends the container, which exits with 0");
	start_container('');
	follows("after SIG$signal");
}

# A stop in the middle of a restart in place is a stop, whichever life it reaches.
for my $delay (0, 30, 80, 150)
{
	lead();
	$size = $cluster->log_size($node);
	$session = $cluster->session($node);
	$session->send("SELECT quorum.switchover('n1')");
	$cluster->wait_until('it restarts', sub { slurp_file($node->logfile, $size) =~ /restarting in place/ });
	usleep(1000 * $delay);
	kill 'INT', process_1();
	$cluster->wait_until("SIGINT $delay ms into a restart in place", sub { waitpid($container, POSIX::WNOHANG) == $container }, 20);
	is($?, 0, "SIGINT $delay ms into a restart in place ends the container");
	start_container('');
}

# The kernel ends a whole container with its process 1: nobody is left to say that it resigns.
lead();
my $began = time();
kill 'KILL', process_1();
waitpid $container, 0;
my $new = $cluster->wait_for_leader;
note(sprintf 'a new leader %.0f ms after the end of the container', 1000 * (time() - $began));
ok(defined $cluster->ask($new, 'INSERT INTO t VALUES (1)'), 'when the container of the leader is gone another one leads');
start_container('');
follows('started again');

done_testing();
