# QuorumNodes.pm
#	  Real servers of a drill or a benchmark: made, started, killed, watched, cleared away.
#
# Core Perl only, so that it runs wherever make and PostgreSQL do; tests with plans and
# assertions use PostgreSQL::Test instead.  Everything lives below one workspace directory,
# and every process started there has its current directory there: that is how they are
# found again, whoever their parent is.
package QuorumNodes;

use strict;
use warnings;
use File::Path ();
use File::Temp ();
use IO::Socket::INET ();
use POSIX ();
use QuorumNet ();
use Time::HiRes ();

# ---- the workspace ------------------------------------------------------------------------

my ($workspace, $janitor, $janitor_pipe, $owner_pid);
my ($network_size, @relay, $network);    # QuorumNet, when each node has a host of its own

# Before open_workspace, as root and in the hub: so many nodes get a network of their own;
# with a relay (program, seed) between them, if one is named.
sub use_network { ($network_size, @relay) = @_ }

sub network { return $network }

# Never run servers as root: go on as the user that the distribution made for them.
sub unprivileged_user
{
	for my $name ('postgres', 'nobody')
	{
		my @entry = getpwnam($name);
		return ($name, $entry[2], $entry[3]) if @entry;
	}
	die "there is neither a user postgres nor a user nobody to run the servers\n";
}

# Make a directory below TMPDIR, or /tmp, for the unprivileged user, copy the given files or trees there
# (the clone may be out of its sight), become that user, and leave a janitor behind that
# clears away every process however this one ends.
sub open_workspace
{
	my ($name, @files) = @_;

	umask 077;
	my $parent = $ENV{TMPDIR} || '/tmp';
	$workspace = File::Temp::mkdtemp("$parent/pg_quorum-$name-XXXX");
	my @copies = map { "$workspace/" . (split m{/})[-1] } @files;
	system('cp', '-R', @files, $workspace) == 0 or die "could not copy to $workspace\n" if @files;
	if ($> == 0)
	{
		my ($user, $uid, $gid) = unprivileged_user();
		system('chown', '-R', "$uid:$gid", $workspace) == 0 or die "chown $workspace failed\n";
		$network = QuorumNet->new($network_size, $uid, $gid, $workspace, @relay) if $network_size;
		$) = "$gid $gid";
		$( = $gid;
		POSIX::setuid($uid) or die "setuid: $!\n";
		die "still root\n" if $> == 0 || $< == 0;
	}
	chdir '/';
	delete @ENV{ grep { /^PG/ } keys %ENV };
	$ENV{LC_ALL} = 'C';
	$owner_pid = $$;
	start_janitor();
	return ($workspace, @copies);
}

sub start_janitor
{
	pipe(my $read, my $write) or die "pipe: $!\n";
	defined($janitor = fork()) or die "fork: $!\n";
	if ($janitor == 0)
	{
		POSIX::setsid();
		$SIG{$_} = 'IGNORE' for qw(INT TERM HUP PIPE);
		close $write;
		sysread($read, my $nothing, 1);    # returns when the owner is gone, or done
		sweep();
		POSIX::_exit(0);
	}
	close $read;
	$janitor_pipe = $write;
}

# End every process of the workspace; then, if asked to, remove it.
sub close_workspace
{
	my ($remove) = @_;
	return if !defined $workspace || $$ != $owner_pid;
	close $janitor_pipe;
	waitpid($janitor, 0);
	chdir '/';
	$network->unmount if $network;
	File::Path::remove_tree($workspace) if $remove;
	undef $workspace;
}

# Every process whose current directory is $dir or below it.
sub pids_below
{
	my ($dir) = @_;
	my @pids;
	opendir(my $proc, '/proc') or die "/proc: $!\n";
	for my $pid (grep { /^\d+$/ && $_ != $$ } readdir $proc)
	{
		my $cwd = readlink "/proc/$pid/cwd";
		push @pids, $pid if defined $cwd && ($cwd eq $dir || index($cwd, "$dir/") == 0);
	}
	return @pids;
}

# Shared memory outlives a killed server: write down what there is, for sweep().
sub note_segments
{
	my (@pids) = @_;
	my %names;
	for my $pid (@pids)
	{
		open(my $maps, '<', "/proc/$pid/maps") or next;
		while (<$maps>) { $names{$1} = 1 if m{ (/dev/shm/PostgreSQL\.\d+)} }
	}
	return if !%names;
	open(my $list, '>>', "$workspace/segments") or return;
	print $list "$_\n" for sort keys %names;
}

# End every process of the workspace: servers get an immediate stop first.
sub sweep
{
	my @pids = pids_below($workspace);
	my %dirs = map { $_ => 1 } grep { defined } map({ readlink "/proc/$_/cwd" } @pids), glob("$workspace/*");
	my (@servers, @shm_ids);

	for my $dir (keys %dirs)
	{
		my @lines = read_lines("$dir/postmaster.pid") or next;
		push @servers, $lines[0];
		push @shm_ids, $1 if ($lines[6] // '') =~ /\d+\s+(\d+)/;
	}
	note_segments(@pids);
	kill 'CONT', @pids;
	my %ours = map { $_ => 1 } @pids;
	kill 'QUIT', grep { $ours{$_} } @servers;
	my $polite = Time::HiRes::time() + 3;
	while (@pids = pids_below($workspace))
	{
		kill 'KILL', @pids if Time::HiRes::time() > $polite;
		Time::HiRes::sleep(0.02);
	}
	shmctl($_, 0, 0) for @shm_ids;    # 0 = IPC_RMID
	unlink read_lines("$workspace/segments");
}

sub read_lines
{
	my ($path) = @_;
	open(my $in, '<', $path) or return ();
	chomp(my @lines = <$in>);
	return @lines;
}

# ---- commands -----------------------------------------------------------------------------

# Run a command; (exit status, output and errors).
sub run
{
	my (@command) = @_;
	my $pid = open(my $out, '-|') // die "fork: $!\n";
	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDERR, '>&', \*STDOUT);
		chdir $workspace;
		{ no warnings 'exec'; exec { $command[0] } @command }
		print "cannot run $command[0]: $!\n";
		POSIX::_exit(127);
	}
	local $/;
	my $text = <$out> // '';
	close $out;
	return ($?, $text);
}

sub run_or_die
{
	my ($status, $text) = run(@_);
	die "failed: @_\n$text" if $status != 0;
	return $text;
}

# Ports below the ephemeral range, free now.
sub free_ports
{
	my ($count) = @_;
	my @ports;
	my $port = $ENV{QUORUM_PORTS} || 20000 + int(rand(10000));
	while (@ports < $count)
	{
		die "no free ports\n" if $port > 32767;
		my $probe = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1);
		push @ports, $port if $probe;
		$port++;
	}
	return @ports;
}

# ---- servers ------------------------------------------------------------------------------

# copy_options: more options for the copy of (from, node)
# bindir; extension (1: members of a quorum, 0: plain PostgreSQL); count; prefix of the
# directories; settings (lines for every server).
sub new
{
	my ($class, %self) = @_;
	my $self = bless {%self}, $class;
	my @ports = free_ports(2 * $self->{count} + 1);

	$self->{prefix} //= 'n';
	for my $i (1 .. $self->{count})
	{
		my $name = "$self->{prefix}$i";
		push @{ $self->{nodes} }, {
			name => "n$i",
			number => $i,
			host => $network ? $network->address($i) : '127.0.0.1',
			dir => "$workspace/$name",
			log => "$workspace/$name.log",
			port => shift @ports,
			quorum_port => shift @ports
		};
	}
	my $number = 1 + $self->{count};
	$self->{witness} = {
		name => 'w',
		number => $number,
		host => $network ? $network->address($number) : '127.0.0.1',
		dir => "$workspace/$self->{prefix}w",
		log => "$workspace/$self->{prefix}w.log",
		quorum_port => shift @ports
	} if $self->{witness};
	return $self;
}

sub nodes { return @{ $_[0]{nodes} } }
sub bin { return "$_[0]{bindir}/$_[1]" }

sub by_port
{
	my ($self, $port) = @_;
	return (grep { $_->{port} == $port } $self->nodes)[0];
}

sub write_file
{
	my ($path, $mode, $text) = @_;
	open(my $out, $mode, $path) or die "$path: $!\n";
	print $out $text;
	close $out or die "$path: $!\n";
}

sub configure
{
	my ($self, $node) = @_;
	my $text = <<"EOC";
listen_addresses = '$node->{host}'
port = $node->{port}
unix_socket_directories = '$workspace'
log_line_prefix = '%n '
cluster_name = '$node->{name}'
max_wal_senders = 20
max_replication_slots = 20
@{[$self->{settings} // '']}
EOC
	$text .= <<"EOC" if $self->{extension};
shared_preload_libraries = 'pg_quorum'
quorum.node_name = '$node->{name}'
quorum.address = '$node->{host}:$node->{quorum_port}'
quorum.conninfo = 'user=postgres'
EOC
	write_file("$node->{dir}/servers.conf", '>', $text);
}

# Start a server as a child of this process, so that a killed one is reaped here and not
# taken for a running one by its lock file, whatever the init of a container does.
sub start
{
	my ($self, $node, $idle) = @_;
	my $pid = run_server($node, $self->bin('postgres'), '-D', $node->{dir});
	$self->wait_for(60, "$node->{name} starts", sub {
		reap();
		die "$node->{name} ended at its start\n" if !-d "/proc/$pid";
		my @lock = read_lines("$node->{dir}/postmaster.pid");
		return @lock > 7 && $lock[0] == $pid && $lock[7] =~ /^(ready|standby)/;
	}, $idle);
}

sub run_server
{
	my ($node, @command) = @_;

	reap();
	write_file($node->{log}, '>>', '');    # ours, whoever writes it
	unshift @command, 'env', @{ $node->{environment} } if $node->{environment};
	return $network->start($node->{number}, $node->{log}, @command) if $network;
	defined(my $pid = fork()) or die "fork: $!\n";
	return $pid if $pid;
	POSIX::setsid();
	chdir $workspace;
	open(STDIN, '<', '/dev/null');
	open(STDOUT, '>>', $node->{log});
	open(STDERR, '>&', \*STDOUT);
	{ no warnings 'exec'; exec @command }
	POSIX::_exit(127);
}

# Collect ended children.
sub reap { 1 while waitpid(-1, POSIX::WNOHANG) > 0 }

sub init_first
{
	my ($self) = @_;
	my ($node) = $self->nodes;

	run_or_die($self->bin('initdb'), '-D', $node->{dir}, '-k', '-N', '-A', 'trust', '-U', 'postgres', '--locale=C', '-E', 'UTF8');
	write_file("$node->{dir}/postgresql.conf", '>>', "include 'servers.conf'\n");
	write_file("$node->{dir}/pg_hba.conf", '>>', "host all,replication all 10.99.0.0/16 trust\n") if $network;
	if ($self->{extension})
	{
		write_file("$node->{dir}/pg_quorum.secret", '>', join('', map { sprintf '%02x', rand 256 } 1 .. 32) . "\n");
	}
	$self->configure($node);
	$self->start($node);
	return $node;
}

sub clone
{
	my ($self, $from, $node) = @_;

	run_or_die($self->bin('pg_basebackup'), '-D', $node->{dir}, '-h', $from->{host}, '-p', $from->{port},
		'-U', 'postgres', '-X', 'stream', '-R', '--checkpoint=fast', '--no-sync',
		$self->{extension} ? () : ('-C', '-S', "slot_$node->{name}"),
		$self->{copy_options} ? $self->{copy_options}->($from, $node) : ());
	$self->configure($node);
	$self->start($node);
}

# The whole cluster: the first node leads, the others stream from it.
sub create
{
	my ($self) = @_;
	my ($first, @others) = $self->nodes;

	$self->init_first;
	if ($self->{extension})
	{
		$self->query($first, 'CREATE EXTENSION pg_quorum');
		$self->query($first, 'SELECT quorum.bootstrap()');
	}
	for my $node (@others)
	{
		$self->clone($first, $node);
		$self->query($first, "SELECT quorum.add_member('$node->{name}', '$node->{host}:$node->{quorum_port}')") if $self->{extension};
	}
	if (!$self->{extension})
	{
		my $names = join ', ', map { $_->{name} } @others;
		$self->query($first, "ALTER SYSTEM SET synchronous_standby_names = 'ANY " . int(@{ $self->{nodes} } / 2) . " ($names)'");
		$self->query($first, 'SELECT pg_reload_conf()');
	}
	$self->join_witness($first) if $self->{witness};
	$self->wait_for(60, 'every standby streams and has its vote', sub { $self->all_stream($first) });
	return $first;
}

# A member that votes and has no data: pg_quorum witness.
sub join_witness
{
	my ($self, $leader) = @_;
	my $witness = $self->{witness};

	write_file("$witness->{dir}.secret", '>', join("\n", read_lines("$leader->{dir}/pg_quorum.secret")) . "\n");
	$self->start_witness;
	$self->query($leader, "SELECT quorum.add_member('$witness->{name}', '$witness->{host}:$witness->{quorum_port}', kind => 'witness')");
}

sub start_witness
{
	my ($self) = @_;
	my $witness = $self->{witness};

	$witness->{pid} = run_server($witness, $self->bin('pg_quorum'), 'witness', '-D', $witness->{dir}, "--name=$witness->{name}",
		"--address=$witness->{host}:$witness->{quorum_port}", "--secret-file=$witness->{dir}.secret");
	return;
}

sub psql
{
	my ($self, $node, $sql) = @_;
	local $ENV{PGCONNECT_TIMEOUT} = 3;
	local $ENV{PGOPTIONS} = '-c statement_timeout=60s';
	return run($self->bin('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1', '-h', $workspace, '-p', $node->{port},
		'-U', 'postgres', '-d', 'postgres', '-c', $sql);
}

sub query
{
	my ($self, $node, $sql) = @_;
	my ($status, $text) = $self->psql($node, $sql);
	die "on $node->{name}: $sql\n$text" if $status != 0;
	chomp $text;
	return $text;
}

# Does every other node stream from $leader and, in a quorum, vote?
sub all_stream
{
	my ($self, $leader) = @_;
	my $others = @{ $self->{nodes} } - 1;
	my ($status, $text) = $self->psql($leader, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'");
	return 0 if $status != 0 || $text !~ /^\d+$/m || $text < $others;
	return 1 if !$self->{extension};
	($status, $text) = $self->psql($leader, "SELECT count(*) FROM quorum.members WHERE kind = 'voter'");
	return $status == 0 && $text =~ /^\d+$/m && $text == $others + 1;
}

# Wait for a condition, never for a time; $idle does something useful meanwhile.
sub wait_for
{
	my ($self, $seconds, $what, $condition, $idle) = @_;
	my $limit = Time::HiRes::time() + $seconds;
	while (!$condition->())
	{
		die "waited $seconds s in vain: $what\n" if Time::HiRes::time() > $limit;
		$idle ? $idle->() : Time::HiRes::sleep(0.05);
	}
}

sub pids { return pids_below($_[1]{dir}) }

sub postmaster_pid
{
	my ($self, $node) = @_;
	return (read_lines("$node->{dir}/postmaster.pid"))[0];
}

# Signal every process of the node, also those that are born meanwhile.
sub signal_all
{
	my ($self, $node, $signal) = @_;
	my %seen;
	while (my @new = grep { !$seen{$_}++ } $self->pids($node)) { kill $signal, @new }
	return scalar keys %seen;
}

# What keeps the cluster that this node leads from being whole, one line each; empty: nothing.
sub complaints
{
	my ($self, $leader) = @_;
	my $members = @{ $self->{nodes} } + ($self->{witness} ? 1 : 0);
	my ($status, $text) = $self->psql($leader, <<"EOQ");
SELECT 'there are ' || count(*) || ' members' FROM quorum.members HAVING count(*) <> $members
UNION ALL SELECT 'the gate is ' || gate FROM quorum.status WHERE gate IS DISTINCT FROM 'open'
UNION ALL SELECT 'the member set is not stored by a majority' FROM quorum.status WHERE set_committed IS NOT TRUE
UNION ALL SELECT name || ' is a ' || kind FROM quorum.members WHERE kind NOT IN ('voter', 'witness')
UNION ALL SELECT name || ' is not heard' FROM quorum.members WHERE NOT reachable
UNION ALL SELECT name || ' cannot lead: ' || coalesce(reason, '') FROM quorum.members WHERE kind = 'voter' AND NOT electable
UNION ALL SELECT name || ' does not count for commits' FROM quorum.members WHERE kind = 'voter' AND NOT is_self AND NOT in_sync_rule
UNION ALL SELECT name || ' does not stream' || coalesce(': ' || why_not, '')
  FROM quorum.members LEFT JOIN quorum.replication ON direction = 'to' AND node = name
  WHERE kind = 'voter' AND NOT is_self AND counted IS NOT TRUE
EOQ
	return "$leader->{name} does not answer: " . ($text =~ s/\n.*//sr) if $status != 0;
	my @found = split /\n/, $text;
	for my $node (grep { $_ != $leader } $self->nodes)
	{
		($status, $text) = $self->psql($node, "SELECT reason FROM quorum.status WHERE phase <> 'standby' OR leader IS DISTINCT FROM '$leader->{name}' OR needs_rewind OR NOT electable");
		push @found, "$node->{name}: " . ($text =~ s/\n.*//sr) if $status != 0 || $text ne '';
	}
	return @found;
}

sub log_tail
{
	my ($self, $node, $lines) = @_;
	my @all = read_lines($node->{log});
	$lines //= 25;
	splice @all, 0, @all - $lines if @all > $lines;
	return join '', "--- end of the log of $node->{name} ---\n", map { "$_\n" } @all;
}

# Stop all servers at once and forget their directories.
sub destroy
{
	my ($self) = @_;
	for my $node ($self->nodes)
	{
		my @pids = $self->pids($node);
		note_segments(@pids);
		kill 'CONT', @pids;
		my $pid = $self->postmaster_pid($node);
		kill 'QUIT', $pid if defined $pid;
	}
	for my $node ($self->nodes)
	{
		my $limit = Time::HiRes::time() + 3;
		while (my @pids = $self->pids($node))
		{
			kill 'KILL', @pids if Time::HiRes::time() > $limit;
			Time::HiRes::sleep(0.02);
		}
		File::Path::remove_tree($node->{dir});
		unlink $node->{log};
	}
}

1;
