# TortureNemesis.pm
#	  What torture.pl does to a cluster: faults drawn by chance, several at once, each with its end.
#
# A fault says what it does and leaves a piece of code that undoes it, due at some instant.
# All of them are over after heal().
package TortureNemesis;

use strict;
use warnings;
use POSIX ();
use Time::HiRes qw(time);
use QuorumNodes;

my $lease = 2;            # seconds; the default of quorum.lease_duration
my $at_once = 3;          # faults that are under way at one time
my %processes = (         # how a process of the server calls itself
	worker => qr/^postgres: (\S+: )?pg_quorum\b/,
	startup => qr/startup/,
	walreceiver => qr/walreceiver/,
	walsender => qr/walsender/,
	checkpointer => qr/checkpointer/,
	walwriter => qr/walwriter/,
	backend => qr/torture|\[local\]|idle|INSERT|COMMIT/,
);

# weight, name
my @menu = (
	[ 6, 'kill_postmaster' ], [ 4, 'kill_all' ], [ 5, 'kill_process' ], [ 6, 'stop_process' ], [ 5, 'freeze_node' ],
	[ 6, 'cut_node' ], [ 4, 'cut_one_way' ], [ 4, 'cut_pair' ], [ 3, 'cut_data_port' ], [ 3, 'cut_quorum_port' ],
	[ 4, 'lose_packets' ], [ 4, 'switchover' ], [ 3, 'cancel_storm' ], [ 2, 'terminate_storm' ], [ 2, 'alter_system' ],
	[ 2, 'promote' ], [ 2, 'stop_planned' ], [ 2, 'crash_cluster' ], [ 2, 'remove_and_add' ], [ 2, 'ddl' ],
);

# cluster; rand: a generator of its own; log: code that takes a line
sub new
{
	my ($class, %self) = @_;
	return bless { %self, undo => [], count => {} }, $class;
}

sub draw { return int($_[0]{rand}->() * $_[1]) }
sub pick { my ($self, @from) = @_; return $from[ $self->draw(scalar @from) ] }
sub between { return $_[1] + $_[0]{rand}->() * ($_[2] - $_[1]) }
sub node { return $_[0]->pick($_[0]{cluster}->nodes) }

# Most faults should hit where it hurts.
sub victim
{
	my ($self) = @_;
	my $leader = $self->draw(10) < 6 ? $self->{leader}->() : undef;
	return $leader // $self->node;
}

sub say_so
{
	my ($self, $text) = @_;
	$self->{log}->($text);
}

sub later
{
	my ($self, $seconds, $text, $code) = @_;
	push @{ $self->{undo} }, { at => time() + $seconds, text => $text, code => $code };
}

# Undo what is due; begin something new when there is room.
sub tick
{
	my ($self) = @_;
	my @due = grep { $_->{at} <= time() } @{ $self->{undo} };
	@{ $self->{undo} } = grep { $_->{at} > time() } @{ $self->{undo} };
	for (@due)
	{
		$self->say_so($_->{text});
		$_->{code}->();
	}
	$self->look_after($_) for $self->{cluster}->nodes;
	return if time() < ($self->{next_at} // 0) || @{ $self->{undo} } >= $at_once;
	$self->{next_at} = time() + $self->between(0.2, 4);
	$self->strike;
}

sub strike
{
	my ($self) = @_;
	my $sum = 0;
	$sum += $_->[0] for @menu;
	my $at = $self->draw($sum);
	for (@menu)
	{
		my ($weight, $name) = @$_;
		$at -= $weight;
		next if $at >= 0;
		my $what = $self->can($name)->($self);
		return if !defined $what;
		$self->{count}{$name}++;
		$self->say_so($what);
		return;
	}
}

# Everything is undone and every server runs.
sub heal
{
	my ($self) = @_;
	$_->{code}->() for sort { $a->{at} <=> $b->{at} } splice @{ $self->{undo} };
	$self->{cluster}->network->heal;
	for my $node ($self->{cluster}->nodes)
	{
		kill 'CONT', $self->{cluster}->pids($node);
		$self->revive($node);
	}
}

# ---- processes ------------------------------------------------------------------------------

sub alive
{
	my ($self, $node) = @_;
	my $pid = $self->{cluster}->postmaster_pid($node);
	return defined $pid && kill(0, $pid) ? $pid : undef;
}

# As a service manager does: whatever runs is ended, then the server starts.
sub revive
{
	my ($self, $node) = @_;
	QuorumNodes::reap();
	return if $self->alive($node);
	$self->{cluster}->signal_all($node, 'KILL');
	QuorumNodes::run_server($node, $self->{cluster}->bin('postgres'), '-D', $node->{dir});
}

# A service manager sees that its server is gone, and starts it.
sub look_after
{
	my ($self, $node) = @_;
	return if $self->{reviving}{ $node->{name} } || $self->alive($node);
	$self->{reviving}{ $node->{name} } = 1;
	$self->later($self->between(0, 3), "start $node->{name}", sub {
		delete $self->{reviving}{ $node->{name} };
		$self->revive($node);
	});
}

sub kill_postmaster
{
	my ($self) = @_;
	my $node = $self->victim;
	my $pid = $self->alive($node) // return;
	kill 'KILL', $pid;
	return "kill -9 of the postmaster of $node->{name}";
}

sub kill_all
{
	my ($self) = @_;
	my $node = $self->victim;
	$self->alive($node) // return;
	$self->{cluster}->signal_all($node, 'KILL');
	return "kill -9 of everything of $node->{name}";
}

sub crash_cluster
{
	my ($self) = @_;
	for my $node ($self->{cluster}->nodes)
	{
		$self->{cluster}->signal_all($node, 'KILL');
	}
	return 'kill -9 of everything of every node';
}

sub stop_planned
{
	my ($self) = @_;
	my $node = $self->victim;
	my $pid = $self->alive($node) // return;
	kill 'INT', $pid;
	return "planned stop of $node->{name}";
}

# A process of that kind, by what it calls itself; undef when there is none.
sub process
{
	my ($self, $node, $kind) = @_;
	my $postmaster = $self->{cluster}->postmaster_pid($node) // 0;
	return $postmaster || undef if $kind eq 'postmaster';
	my @found;
	for my $pid (grep { $_ != $postmaster } $self->{cluster}->pids($node))
	{
		open(my $in, '<', "/proc/$pid/cmdline") or next;
		my $title = join ' ', <$in>;
		push @found, $pid if $title =~ $processes{$kind};
	}
	return @found ? $self->pick(@found) : undef;
}

sub kill_process
{
	my ($self) = @_;
	my ($node, $kind) = ($self->victim, $self->pick(sort keys %processes));
	my $pid = $self->process($node, $kind) // return;
	kill 'KILL', $pid;
	return "kill -9 of a $kind of $node->{name}";
}

sub stop_process
{
	my ($self) = @_;
	my ($node, $kind) = ($self->victim, $self->pick('postmaster', sort keys %processes));
	my $pid = $self->process($node, $kind) // return;
	my $seconds = $self->between(0.1, 3) * $lease;
	kill 'STOP', $pid;
	$self->later($seconds, "thaw a $kind of $node->{name}", sub { kill 'CONT', $pid });
	return sprintf 'freeze a %s of %s for %.1f s', $kind, $node->{name}, $seconds;
}

sub freeze_node
{
	my ($self) = @_;
	my $node = $self->victim;
	my $seconds = $self->between(0.1, 3) * $lease;
	$self->{cluster}->signal_all($node, 'STOP');
	$self->later($seconds, "thaw $node->{name}", sub { kill 'CONT', $self->{cluster}->pids($node) });
	return sprintf 'freeze %s for %.1f s', $node->{name}, $seconds;
}

# ---- the network ------------------------------------------------------------------------------

# Rules are flushed together: the end of one cut is the end of all.
sub cut_for
{
	my ($self, $what) = @_;
	my $seconds = $self->between(0.2, 4) * $lease;
	$self->later($seconds, 'the network heals', sub { $self->{cluster}->network->heal });
	return sprintf '%s for %.1f s', $what, $seconds;
}

sub others
{
	my ($self, $node) = @_;
	return grep { $_ != $node } $self->{cluster}->nodes;
}

sub cut_node
{
	my ($self) = @_;
	my $node = $self->victim;
	$self->{cluster}->network->cut($node->{number});
	return $self->cut_for("cut $node->{name} off");
}

sub cut_one_way
{
	my ($self) = @_;
	my $node = $self->victim;
	my $out = $self->draw(2);
	for ($self->others($node))
	{
		my @way = $out ? ($node->{number}, $_->{number}) : ($_->{number}, $node->{number});
		$self->{cluster}->network->drop(@way, 100);
	}
	return $self->cut_for("nothing gets " . ($out ? 'out of' : 'into') . " $node->{name}");
}

sub cut_pair
{
	my ($self) = @_;
	my $node = $self->victim;
	my $other = $self->pick($self->others($node));
	$self->{cluster}->network->drop(@$_, 100)
	  for [ $node->{number}, $other->{number} ], [ $other->{number}, $node->{number} ];
	return $self->cut_for("cut $node->{name} from $other->{name}");
}

sub cut_port
{
	my ($self, $port) = @_;
	my $node = $self->victim;
	for ($self->others($node))
	{
		$self->{cluster}->network->drop($_->{number}, $node->{number}, 100, $node->{$port});
	}
	return $self->cut_for("close the $port of $node->{name}");
}

sub cut_data_port { return $_[0]->cut_port('port') }
sub cut_quorum_port { return $_[0]->cut_port('quorum_port') }

sub lose_packets
{
	my ($self) = @_;
	my $percent = 1 + $self->draw(30);
	for my $from ($self->{cluster}->nodes)
	{
		$self->{cluster}->network->drop($from->{number}, $_->{number}, $percent) for $self->others($from);
	}
	return $self->cut_for("lose $percent % of the packets");
}

# ---- what operators and clients do --------------------------------------------------------------

# In a child: a server may not answer for long.
sub ask
{
	my ($self, $node, @statements) = @_;
	defined(my $pid = fork()) or die "fork: $!\n";
	return if $pid;
	alarm 20;
	for (@statements)
	{
		$self->{cluster}->psql($node, $_);
	}
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
		'synchronous_commit = off', 'synchronous_commit = local', "primary_conninfo = 'host=/nowhere'");
	my ($name) = split / /, $setting;
	$self->ask($node, "ALTER SYSTEM SET $setting", 'SELECT pg_reload_conf()');
	$self->later($self->between(0.5, 4), "ALTER SYSTEM RESET $name on $node->{name}",
		sub { $self->ask($node, "ALTER SYSTEM RESET $name", 'SELECT pg_reload_conf()') });
	return "ALTER SYSTEM SET $setting on $node->{name}";
}

sub promote
{
	my ($self) = @_;
	my $leader = $self->{leader}->() // return;
	my $node = $self->pick($self->others($leader));
	$self->ask($node, 'SELECT pg_promote(false)');
	return "pg_promote() on $node->{name}";
}

sub remove_and_add
{
	my ($self) = @_;
	my $leader = $self->{leader}->() // return;
	my $node = $self->pick($self->others($leader));
	my $add = "SELECT quorum.add_member('$node->{name}', '$node->{host}:$node->{quorum_port}')";
	$self->{removed}{ $node->{name} } = 1;
	$self->ask($leader, "SELECT quorum.remove_member('$node->{name}')");
	$self->later($self->between(0.5, 5), "add $node->{name} again", sub {
		my $now = $self->{leader}->();
		$self->ask($now, $add) if $now;
	});
	return "remove $node->{name}";
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

1;
