# QuorumNet.pm
#	  A host for each server on one machine: network namespaces around a hub, so that links
#	  can be cut and healed.
#
# The hub is a network namespace of its own, too: nothing of the machine's network is
# touched, and all of it is gone with the last process.  What needs root is done by a broker
# that is forked before the others give up their rights: it makes the namespaces, starts
# servers in them as the unprivileged user, and sets rules of nftables in the hub, which
# forwards every packet between two nodes.  Clients live in the hub and reach everybody.
# With a relay (test/fault/relay.c) links can be slow, too: their packets take its way.
# A node can have a small disk of its own, which goes with the last process as well.
package QuorumNet;

use strict;
use warnings;
use IO::Handle ();
use POSIX ();
use Time::HiRes ();

# A setting of the environment says that this process is in the hub already.
my $marker = 'QUORUM_NET_HUB';

my @tools = qw(unshare nsenter setpriv ip nft);
my $device = 'relay0';
my $rule = 1000;          # preference of our rules of routing, and their table

# Why there can be no network of namespaces here; undef when there can.
sub missing
{
	$ENV{PATH} .= ':/usr/sbin:/sbin';
	return undef if $ENV{$marker};
	return 'it needs root' if $> != 0;
	for my $tool (@tools)
	{
		return "$tool is missing" if !grep { -x "$_/$tool" } split /:/, $ENV{PATH};
	}
	return 'no network namespace can be made here' if system('unshare --net true 2>/dev/null') != 0;
	return 'no mount namespace can be made here (in a chroot, / has to be a mount point)' if system('unshare --mount true 2>/dev/null') != 0;
	return 'no rule of nftables can be made here'
	  if system("unshare --net nft 'add table inet probe; add chain inet probe f { type filter hook forward priority 0; }' 2>/dev/null") != 0;
	return undef;
}

# Run this program again, in the hub; returns when it is there.
sub enter
{
	my (@arguments) = @_;
	return if delete $ENV{$marker};
	$ENV{$marker} = 1;
	exec('unshare', '--net', '--mount', $^X, $0, @arguments) or die "unshare: $!\n";
}

sub address { return "10.99.$_[1].2" }

# Root's part: fork the broker.  It ends when the pipe to it does.
sub new
{
	my ($class, $count, $uid, $gid, $directory, @relay) = @_;
	my $self = bless { count => $count, uid => $uid, gid => $gid, directory => $directory, relay => \@relay }, $class;

	pipe(my $in, $self->{out}) or die "pipe: $!\n";
	pipe($self->{in}, my $out) or die "pipe: $!\n";
	defined(my $pid = fork()) or die "fork: $!\n";
	if ($pid == 0)
	{
		close $self->{$_} for qw(in out);
		POSIX::setsid();
		$SIG{$_} = 'IGNORE' for qw(INT TERM HUP PIPE);
		$out->autoflush(1);
		my $made = eval { $self->_make; 1 };
		print $out $made ? "ok\n" : 'failed: ' . ($@ =~ tr/\n/ /r) . "\n";
		$self->_serve($in, $out) if $made;
		kill 'KILL', grep { defined } $self->{relay_pid}, @{ $self->{holders} // [] };
		POSIX::_exit(0);
	}
	close $in;
	close $out;
	$self->{out}->autoflush(1);
	$self->_answer;
	return $self;
}

sub _answer
{
	my ($self) = @_;
	my $line = readline $self->{in};
	die "the network's broker is gone\n" if !defined $line;
	chomp $line;
	die "network: $1\n" if $line =~ /^failed: (.*)/;
	return $line;
}

sub _ask
{
	my ($self, @words) = @_;
	print { $self->{out} } join("\t", @words), "\n";
	return $self->_answer;
}

# ---- what the others ask for ---------------------------------------------------------------

# Start a server in the namespace of a node: its pid.
sub start { my ($self, $number, $log, @command) = @_; return $self->_ask('start', $number, $log, @command) }

# From now on no packet passes between this node and another one.
sub cut { my ($self, $number) = @_; return $self->_ask('cut', $number) }

# Packets from one node to another are dropped: all of them, those of some ports (either
# end), or one in so many per cent.
sub drop
{
	my ($self, $from, $to, $percent, @ports) = @_;
	return $self->_ask('drop', $from, $to, $percent, @ports);
}

# Packets from one node to another take so many milliseconds, and some more by chance, so
# that they pass each other; no more than so many kbit a second (0 = no limit).
sub slow { my ($self, @link) = @_; return $self->_ask('slow', @link) }

sub heal { return $_[0]->_ask('heal') }

# A file system of so many megabytes at this directory.
sub mount { my ($self, $path, $megabytes) = @_; return $self->_ask('mount', $path, $megabytes) }
sub unmount { return $_[0]->_ask('unmount') }

# ---- the broker ----------------------------------------------------------------------------

sub _run
{
	my ($self, @command) = @_;
	local $SIG{CHLD} = 'DEFAULT';
	system(@command) == 0 or die "failed: @command\n";
}

sub _make
{
	my ($self) = @_;
	my $own = readlink '/proc/self/ns/net';

	chdir '/';
	$self->_run(qw(ip link set lo up));
	set_kernel('ip_forward', 1);
	$self->_run('nft', 'add table inet drill; add chain inet drill cut { type filter hook forward priority 0; }');
	$self->_start_relay if @{ $self->{relay} };
	$self->_heal;
	for my $number (1 .. $self->{count})
	{
		pipe(my $read, my $write) or die "pipe: $!\n";
		defined(my $pid = fork()) or die "fork: $!\n";
		if ($pid == 0)
		{
			open(STDIN, '<&', $read);
			{ no warnings 'exec'; exec 'unshare', '--net', 'cat' }
			POSIX::_exit(127);
		}
		push @{ $self->{holders} }, $pid;
		push @{ $self->{pipes} }, $write;
		my $limit = Time::HiRes::time() + 10;
		while ((readlink("/proc/$pid/ns/net") // $own) eq $own)
		{
			die "no namespace for node $number\n" if Time::HiRes::time() > $limit;
			Time::HiRes::sleep(0.005);
		}
		my @inside = ('nsenter', "--net=/proc/$pid/ns/net", 'ip');
		$self->_run('ip', 'link', 'add', "v$number", 'type', 'veth', 'peer', 'name', 'e0', 'netns', $pid);
		$self->_run('ip', 'address', 'add', "10.99.$number.1/24", 'dev', "v$number");
		$self->_run('ip', 'link', 'set', "v$number", 'up');
		$self->_run(@inside, qw(link set lo up));
		$self->_run(@inside, 'address', 'add', $self->address($number) . '/24', 'dev', 'e0');
		$self->_run(@inside, qw(link set e0 up));
		$self->_run(@inside, 'route', 'add', 'default', 'via', "10.99.$number.1");
	}
}

sub set_kernel
{
	my ($name, $value) = @_;
	open(my $out, '>', "/proc/sys/net/ipv4/$name") or die "$name: $!\n";
	print $out "$value\n";
	close $out or die "$name: $!\n";
}

# A packet that comes back from the relay has a sender that lives elsewhere.
sub _start_relay
{
	my ($self) = @_;
	pipe(my $read, $self->{to_relay}) or die "pipe: $!\n";
	pipe(my $answer, my $write) or die "pipe: $!\n";
	defined(my $pid = fork()) or die "fork: $!\n";
	if ($pid == 0)
	{
		open(STDIN, '<&', $read);
		open(STDOUT, '>&', $write);
		close $self->{to_relay};
		{ no warnings 'exec'; exec $self->{relay}[0], $device, $self->{relay}[1] }
		POSIX::_exit(127);
	}
	close $read;
	close $write;
	$self->{relay_pid} = $pid;
	$self->{to_relay}->autoflush(1);
	die "the relay does not start\n" if (readline($answer) // '') ne "ready\n";
	$self->_run('ip', 'link', 'set', $device, 'up');
	set_kernel("conf/$_/rp_filter", 0) for 'all', 'default', $device;
	$self->_run('ip', 'route', 'add', 'default', 'dev', $device, 'table', $rule);
}

sub _serve
{
	my ($self, $in, $out) = @_;

	# A killed server is reaped at once, and not taken for a running one by its lock file.
	$SIG{CHLD} = 'IGNORE';
	while (defined(my $line = readline $in))
	{
		chomp $line;
		my ($what, @words) = split /\t/, $line;
		my $order = $what =~ /^(?:start|cut|drop|slow|heal|mount|unmount)$/ ? $self->can("_$what") : undef;
		my $answer = eval { $order ? $order->($self, @words) : die "no such order: $what\n" };
		print $out defined $answer ? "$answer\n" : 'failed: ' . ($@ =~ tr/\n/ /r) . "\n";
	}
}

sub _start
{
	my ($self, $number, $log, @command) = @_;
	defined(my $pid = fork()) or die "fork: $!\n";
	return $pid if $pid;
	POSIX::setsid();
	$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE CHLD);
	chdir $self->{directory};
	open(STDIN, '<', '/dev/null');
	open(STDOUT, '>>', $log);
	open(STDERR, '>&', \*STDOUT);
	{
		no warnings 'exec';
		exec 'nsenter', "--net=/proc/$self->{holders}[$number - 1]/ns/net", 'setpriv', "--reuid=$self->{uid}",
		  "--regid=$self->{gid}", '--clear-groups', @command;
	}
	POSIX::_exit(127);
}

sub _cut
{
	my ($self, $number) = @_;
	my $address = $self->address($number);
	$self->_run('nft', "add rule inet drill cut ip saddr $address drop; add rule inet drill cut ip daddr $address drop");
	return 'ok';
}

sub _drop
{
	my ($self, $from, $to, $percent, @ports) = @_;
	my $rule = 'add rule inet drill cut ip saddr ' . $self->address($from) . ' ip daddr ' . $self->address($to);
	my $how = ($percent < 100 ? "numgen random mod 100 < $percent " : '') . 'drop';
	my $ports = join ', ', @ports;
	$self->_run('nft', join '; ', @ports ? map { "$rule tcp $_ { $ports } $how" } qw(dport sport) : "$rule $how");
	return 'ok';
}

sub _slow
{
	my ($self, $from, $to, $delay, $jitter, $kbits) = @_;
	die "there is no relay\n" if !$self->{to_relay};
	print { $self->{to_relay} } "$from $to $delay $jitter $kbits\n";
	$self->_run('ip', 'rule', 'add', 'pref', $rule, 'iif', "v$from", 'to', $self->address($to), 'lookup', $rule)
	  if !$self->{slowed}{"$from $to"}++;
	return 'ok';
}

# What the relay sends on has passed the rules before.
sub _heal
{
	my ($self) = @_;
	$self->_run('nft', "flush chain inet drill cut; add rule inet drill cut iifname $device accept");
	if ($self->{to_relay})
	{
		print { $self->{to_relay} } "clear\n";
		delete $self->{slowed};
		$self->_run("while ip rule del pref $rule 2>/dev/null; do :; done");
	}
	return 'ok';
}

sub _mount
{
	my ($self, $path, $megabytes) = @_;
	mkdir $path or die "$path: $!\n";
	chown $self->{uid}, $self->{gid}, $path;    # to be removed when it is empty again
	$self->_run('mount', '-t', 'tmpfs', '-o', "size=${megabytes}m,uid=$self->{uid},gid=$self->{gid},mode=0700", 'quorum', $path);
	push @{ $self->{mounts} }, $path;
	return 'ok';
}

sub _unmount
{
	my ($self) = @_;
	$self->_run('umount', '-l', $_) for splice @{ $self->{mounts} // [] };
	return 'ok';
}

1;
