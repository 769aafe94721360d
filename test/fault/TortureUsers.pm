# TortureUsers.pm
#	  What operators and clients do to a cluster under torture.pl: planned changes, settings
#	  that must not change, cancels, floods of connections, long reads.
#
# A part of TortureNemesis.pm, whose methods it uses.
package TortureUsers;

use strict;
use warnings;
use IO::Socket::INET ();
use POSIX ();
use Time::HiRes qw(time sleep);
use QuorumNodes;

my $flood_size = 120;     # more than max_connections

sub user_menu
{
	return ([ 4, 'switchover' ], [ 3, 'cancel_storm' ], [ 2, 'terminate_storm' ], [ 2, 'alter_system' ], [ 2, 'promote' ],
		[ 2, 'ddl' ], [ 3, 'long_read' ], [ 3, 'flood' ]);
}

# In a child: a server may not answer for long.
sub ask
{
	my ($self, $node, @statements) = @_;
	$self->in_child(20, sub { $self->{cluster}->psql($node, $_) for @statements });
	return;
}

sub in_child
{
	my ($self, $limit, $code) = @_;
	defined(my $pid = fork()) or die "fork: $!\n";
	return if $pid;
	alarm $limit;
	eval { $code->(); 1 } or print STDERR $@;
	POSIX::_exit(0);
}

sub switchover
{
	my ($self) = @_;
	my $node = $self->{leader}->() // return;
	$self->ask($node, 'SELECT quorum.switchover()');
	return "switchover from $node->{name}";
}

sub storm
{
	my ($self, $function) = @_;
	my $node = $self->victim;
	$self->ask($node, "SELECT $function(pid) FROM pg_stat_activity WHERE application_name = 'torture'");
	return "$function of every client of $node->{name}";
}

sub cancel_storm { return $_[0]->storm('pg_cancel_backend') }
sub terminate_storm { return $_[0]->storm('pg_terminate_backend') }

sub alter_system
{
	my ($self) = @_;
	my $node = $self->victim;
	my $setting = $self->pick("synchronous_standby_names = ''", "synchronous_standby_names = 'ANY 1 (nobody)'",
		'synchronous_commit = off', 'synchronous_commit = local', 'fsync = off', 'full_page_writes = off',
		"primary_conninfo = 'host=/nowhere'");
	my ($name) = split / /, $setting;
	$self->{altered}{ $node->{name} }{$name} = 1;
	$self->ask($node, "ALTER SYSTEM SET $setting", 'SELECT pg_reload_conf()');
	$self->later($self->between(0.5, 4), "ALTER SYSTEM RESET $name on $node->{name}",
		sub { $self->ask($node, "ALTER SYSTEM RESET $name", 'SELECT pg_reload_conf()') });
	return "ALTER SYSTEM SET $setting on $node->{name}";
}

# A server that was not there when a setting was to be reset; one that started with a setting
# that forbids to take part takes part when it starts again.
sub reset_settings
{
	my ($self, $node) = @_;
	my @names = sort keys %{ $self->{altered}{ $node->{name} } // {} };
	my $pid = $self->alive($node);
	return if !@names || !$pid;
	for my $statement (map({ "ALTER SYSTEM RESET $_" } @names), 'SELECT pg_reload_conf()')
	{
		my ($status) = $self->{answer}->($node, $statement);
		return if $status != 0;
	}
	my ($status, $text) = $self->{answer}->($node, 'SELECT reason FROM quorum.status');
	return if $status != 0;
	kill 'INT', $pid if $text =~ /fsync|full_page_writes/;
	delete $self->{altered}{ $node->{name} } if $text !~ /fsync|full_page_writes/;
	return;
}

sub promote
{
	my ($self) = @_;
	my $leader = $self->{leader}->() // return;
	my $node = $self->pick($self->other_nodes($leader));
	$self->ask($node, 'SELECT pg_promote(false)');
	return "pg_promote() on $node->{name}";
}

sub ddl
{
	my ($self) = @_;
	my $node = $self->{leader}->() // return;
	my $name = 'd' . ++$self->{tables};
	$self->ask($node, "CREATE TABLE $name AS SELECT g AS id, repeat('x', 100) FROM generate_series(1, 20000) AS g",
		"CREATE INDEX ON $name (id)", "VACUUM $name", "ALTER TABLE $name ADD COLUMN c int DEFAULT 1", "DROP TABLE $name");
	return "tables come and go on $node->{name}";
}

# One snapshot shows one state, for as long as it lives; it may be cancelled.
sub long_read
{
	my ($self) = @_;
	my $leader = $self->{leader}->() // return;
	my $node = $self->pick($self->other_nodes($leader));
	my $seconds = sprintf '%.1f', $self->between(1, 12);
	my $state = q{SELECT 'state ' || md5(string_agg(l::text, ' ' ORDER BY key)) FROM lists AS l};
	$self->in_child(40, sub {
		my ($status, $text) = $self->{cluster}->psql($node,
			"BEGIN ISOLATION LEVEL REPEATABLE READ; $state; SELECT pg_sleep($seconds); $state; COMMIT");
		my @states = $text =~ /^(state .*)$/mg;
		QuorumNodes::write_file($self->{findings}, '>>', "a snapshot on $node->{name} has changed: @states\n")
		  if @states == 2 && $states[0] ne $states[1];
	});
	return "a read of $seconds s on $node->{name}";
}

# Every slot of a server is taken, those for superusers, too.
sub flood
{
	my ($self) = @_;
	my $node = $self->victim;
	my $seconds = $self->between(1, 6);
	my $packet = pack('N n n Z* Z* Z* Z* x', 0, 3, 0, 'user', 'postgres', 'database', 'postgres');
	substr($packet, 0, 4) = pack 'N', length $packet;
	$self->in_child(30, sub {
		local $SIG{PIPE} = 'IGNORE';
		my @open;
		my $until = time() + $seconds;
		while (time() < $until)
		{
			my $socket = @open < $flood_size
			  ? IO::Socket::INET->new(PeerAddr => $node->{host}, PeerPort => $node->{port}, Timeout => 1) : undef;
			if (!$socket)
			{
				sleep 0.1;
				next;
			}
			print $socket $packet;
			$socket->flush;
			push @open, $socket;
		}
	});
	return sprintf 'a flood of connections to %s for %.1f s', $node->{name}, $seconds;
}

1;
