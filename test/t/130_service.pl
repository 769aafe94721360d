# Restarts in place are invisible to whoever supervises the server: systemd hears of no
# stop, pg_ctl finds its server at any time, and the way it was started is kept.
#
# The datagram socket of this test stands for systemd's.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use IO::Socket::UNIX;
use POSIX ();
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Socket qw(SOCK_DGRAM);
use Test::More;
use Time::HiRes qw(time usleep);

my $cluster = QuorumCluster->new('service', nodes => 3);
my ($first, $second, $third) = $cluster->nodes;
my $serial = 0;

$cluster->leader->safe_psql('postgres', 'CREATE TABLE t (id int, filler text)');
$cluster->wait_for_followers;

sub switch_to
{
	my ($target) = @_;
	my $leader = $cluster->wait_for_leader;

	return if $leader == $target;
	$cluster->wait_until("$target->{quorum_name} leads", sub {
		$leader = $cluster->wait_for_leader;
		return 1 if $leader == $target;
		$cluster->wait_for_followers;
		$cluster->ask($leader, "SELECT quorum.switchover('$target->{quorum_name}')", timeout => 30);
		return 0;
	});
	$cluster->wait_for_followers;
}

# A hand-over that is under way; one that was refused or given up is asked for again.
sub begin_hand_over
{
	my ($session, $from, $target) = @_;
	my $size = $cluster->log_size($from);
	my $asked = 0;

	$cluster->wait_until("$from->{quorum_name} restarts in place", sub {
		return 1 if slurp_file($from->logfile, $size) =~ /restarting in place/;
		$session->send("SELECT quorum.switchover('$target->{quorum_name}')") if !$asked++ || $session->finished(0.01);
		return 0;
	});
}

# ---- systemd --------------------------------------------------------------------------

my $sockets = PostgreSQL::Test::Utils::tempdir_short();
my $manager = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => "$sockets/notify") or die "$sockets/notify: $!";
my @heard;

# Every message since the start, one line each.
sub heard
{
	$manager->blocking(0);
	while (defined $manager->recv(my $message, 4096))
	{
		push @heard, split /\n/, $message;
	}
	return join ' ', @heard;
}

sub wait_to_hear
{
	my ($what, $regexp) = @_;
	$cluster->wait_until("systemd hears: $what", sub { heard() =~ $regexp });
}

# A standby that is frozen when it leads comes back with WAL that nobody else has.
sub depose_with_own_wal
{
	my ($old) = @_;
	my @senders = split /\n/, $cluster->ask($old, 'SELECT pid FROM pg_stat_replication');

	$serial++;
	my @writers = $cluster->write_alone($old, "INSERT INTO t SELECT -$serial, repeat('x', 100) FROM generate_series(1, 2000)");
	$cluster->freeze($old);
	$cluster->wait_for_leader(not => $old);
	# Of what it has not sent nothing may leave it now.
	kill 'KILL', @senders;
	$cluster->thaw($old);
}

my ($server) = grep { -x } map { "$_/postgres" } split /:/, $ENV{PATH};
SKIP:
{
	skip 'this PostgreSQL is built without systemd', 1 if `ldd $server` !~ /libsystemd/;

	switch_to($second);
	$first->stop('fast');
	{
		local $ENV{NOTIFY_SOCKET} = "$sockets/notify";
		$first->start;
	}
	my $pid = $cluster->postmaster_pid($first);
	wait_to_hear('READY after the start', qr/READY=1/);
	switch_to($first);
	@heard = ();
	switch_to($second);
	wait_to_hear('READY after a switchover', qr/READY=1/);
	unlike(heard(), qr/STOPPING/, 'a switchover: systemd hears of no stop');
	is($cluster->postmaster_pid($first), $pid, 'a switchover: the main process is the same');

	switch_to($first);
	@heard = ();
	my $size = $cluster->log_size($first);
	depose_with_own_wal($first);
	$cluster->wait_for_log($first, qr/pg_rewind took/, $size);
	$cluster->wait_for_followers($first);
	wait_to_hear('READY after a rewind', qr/READY=1/);
	like(heard(), qr/EXTEND_TIMEOUT_USEC=\d{7,} STATUS=\S.* STATUS= .*READY=1/,
		'a rewind: systemd is asked for patience, told why, and that it is over');
	unlike(heard(), qr/STOPPING/, 'a rewind: systemd hears of no stop');
	is($cluster->postmaster_pid($first), $pid, 'a rewind: the main process is the same');

	@heard = ();
	$first->stop('fast');
	wait_to_hear('STOPPING', qr/STOPPING=1/);
	pass('a real stop is said');
	unlike(heard(), qr/READY/, 'and is one');
	$first->start;
}

# ---- pg_ctl -----------------------------------------------------------------------------

# Looks at the files as often as it can, until the last one of them is gone; then reports
# of each of the others how often it was looked at, and for how long it was away.
sub watch
{
	my (@files) = @_;
	my $until = pop @files;
	my (%looks, %missing, %since, %longest);
	my $report = "$sockets/looks";
	my $pid = fork() // die "fork: $!";

	return ($pid, $report) if $pid;
	while (-e $until)
	{
		for my $file (@files)
		{
			my $in;
			$looks{$file}++;
			if (open($in, '<', $file) && defined readline $in)
			{
				my $away = delete $since{$file} // next;
				$longest{$file} = time() - $away if time() - $away > ($longest{$file} // 0);
			}
			else
			{
				$missing{$file}++;
				$since{$file} //= time();
			}
		}
	}
	open(my $out, '>', $report);
	print $out join("\n", map { join ' ', $looks{$_}, $missing{$_} // 0, $longest{$_} // 0 } @files);
	close $out;
	POSIX::_exit(0);
}

sub pg_ctl
{
	my ($node, @arguments) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ $node->installed_command('pg_ctl'), '-D', $node->data_dir, @arguments ], '<', '/dev/null', '>', \$out, '2>', \$err);
	return ($? >> 8, $out . $err);
}

switch_to($first);
my $external = "$sockets/external.pid";
$third->append_conf('postgresql.conf', "external_pid_file = '$external'\n");
$third->restart;
switch_to($third);
my $pid = $cluster->postmaster_pid($third);
is(slurp_file($external), "$pid\n", 'external_pid_file is written');

PostgreSQL::Test::Utils::append_to_file("$sockets/watching", '');
my ($watcher, $report) = watch($third->data_dir . '/postmaster.pid', $external, "$sockets/watching");
my $size = $cluster->log_size($third);
switch_to($first);
switch_to($third);
depose_with_own_wal($third);
$cluster->wait_for_log($third, qr/pg_rewind took/, $size);
$cluster->wait_for_followers($third);
unlink "$sockets/watching";
waitpid $watcher, 0;
for my $line (split /\n/, slurp_file($report))
{
	my ($looks, $missing, $longest) = split / /, $line;

	cmp_ok($looks, '>', 1000, 'a pid file was looked at through restarts in place and a rewind') or diag($line);
	cmp_ok($longest, '<', 0.5, 'it was there, but for the instants in which the server replaces it');
	note(sprintf 'missing or empty in %d of %d looks, at most %.1f ms', $missing, $looks, 1000 * $longest);
}
is($cluster->postmaster_pid($third), $pid, 'it names the same process');
is(slurp_file($external), "$pid\n", 'as does external_pid_file');

# Reloads and questions, as fast as they come, never hurt.
switch_to($third);
$size = $cluster->log_size($third);
my $session = $cluster->session($third);
$session->send("SELECT quorum.switchover('$first->{quorum_name}')");
my ($reloads, $until) = (0, time() + 60);
while (time() < $until)
{
	kill 'HUP', $pid or last;
	$reloads++;
	last if slurp_file($third->logfile, $size) =~ /entering standby mode.*ready to accept read-only/s;
	usleep(500);
}
cmp_ok($reloads, '>', 10, 'reloads all the way through a restart in place');
is($cluster->postmaster_pid($third), $pid, 'the server has survived them');
$cluster->wait_for_followers;
my ($rc, $said) = pg_ctl($third, 'status');
is($rc, 0, 'pg_ctl status finds it') or diag($said);
like($said, qr/PID: $pid\b/, '... under its pid');

# A zombie that nobody reaps has ended.
sub runs
{
	my $state = -e "/proc/$_[0]/stat" ? slurp_file("/proc/$_[0]/stat") : '';
	return $state =~ /\) [^Z] /;
}

# A stop while it restarts in place is a stop.
my $stopped = 0;
for my $delay (0, 20, 60, 100, 150, 250)
{
	switch_to($third);
	$session = $cluster->session($third);
	begin_hand_over($session, $third, $first);
	usleep(1000 * $delay);

	# docs/operations.md: there is an instant in which the server replaces its lock file
	for my $try (1 .. 3)
	{
		($rc, $said) = pg_ctl($third, '-w', '-m', 'fast', 'stop');
		last if $said !~ /PID file .* does not exist|PID file .* is empty/;
		note("after $delay ms: $said");
	}
	# ... and a pg_ctl that waits may take it for the end
	$cluster->wait_until('the end of the server', sub { !runs($pid) }) if $rc == 0;
	$stopped++ if $rc == 0 && !-e $third->data_dir . '/postmaster.pid';
	diag("after $delay ms: $rc $said") if $rc != 0;
	$third->{_pid} = undef;
	$third->start;
	$pid = $cluster->postmaster_pid($third);
}

# Both reach the postmaster at once, and it cannot know which one came first.
switch_to($third);
$session = $cluster->session($third);
$session->ask('SELECT 1');    # a stopped postmaster lets nobody in
kill 'STOP', $pid;
begin_hand_over($session, $third, $first);
kill 'INT', $pid;
kill 'CONT', $pid;
$cluster->wait_until('a stop together with a restart in place is a stop', sub { !runs($pid) });
pass('a stop together with a restart in place is a stop');
$third->{_pid} = undef;
$third->start;
$pid = $cluster->postmaster_pid($third);
is($stopped, 6, 'pg_ctl stop during a restart in place stops the server, at whatever moment');
$cluster->wait_for_followers;
switch_to($third);
switch_to($first);
($rc, $said) = pg_ctl($third, '-w', '-l', $third->logfile, 'restart');
is($rc, 0, 'pg_ctl restart after a restart in place') or diag($said);
$cluster->wait_for_followers;

# ---- the way it was started ---------------------------------------------------------------

# pg_ctl hands on what it was given: here a path that means something in one place only.
sub start_from
{
	my ($node, $place, $path) = @_;
	my $child = fork() // die "fork: $!";

	if ($child == 0)
	{
		chdir $place;
		POSIX::setsid();
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>>', $node->logfile);
		open(STDERR, '>&', \*STDOUT);
		{ no warnings 'exec'; exec $node->installed_command('postgres'), '-D', $path }
		POSIX::_exit(127);
	}
	$cluster->wait_until('the server has started', sub { $cluster->ask($node, 'SELECT 1') });
	return $child;
}

my ($place, $name) = $third->data_dir =~ m{^(.*)/([^/]+)$};
symlink($third->data_dir, "$sockets/linked") or die "symlink: $!";
for my $way ([ 'a relative -D', $place, $name ], [ 'a symbolic link', '/', "$sockets/linked" ])
{
	my ($what, $from, $path) = @$way;

	$cluster->wait_for_followers;
	$third->stop('fast');
	my $child = start_from($third, $from, $path);
	is($cluster->ask($third, 'SELECT membership FROM quorum.status'), 'member', "$what: it is the same member");
	switch_to($third);
	switch_to($first);
	is($cluster->postmaster_pid($third), $child, "$what: it restarts in place");
	switch_to($third);
	$size = $cluster->log_size($third);
	depose_with_own_wal($third);
	$cluster->wait_for_log($third, qr/pg_rewind took/, $size);
	$cluster->wait_for_followers($third);
	is($cluster->postmaster_pid($third), $child, "$what: and is rewound");
	($rc, $said) = pg_ctl($third, '-w', 'stop');
	is($rc, 0, "$what: pg_ctl stops it") or diag($said);
	waitpid $child, 0;
	is($?, 0, "$what: exit status");
	$third->start;
}

done_testing();
