# TortureNemesis.pm
#	  What torture.pl does to a cluster: faults drawn by chance, several at once, each with its end.
#
# A fault says what it does and leaves a piece of code that undoes it, due at some instant.
# All of them are over after heal().  Here: processes and the network; the rest is in parts.
package TortureNemesis;

use strict;
use warnings;
use Time::HiRes qw(time);
use QuorumNodes;
use TortureHosts;
use TortureLog;
use TorturePower;
use TortureRejoins;
use TortureUsers;

our @ISA = qw(TortureHosts TorturePower TortureRejoins TortureUsers);

my $lease = 2;            # seconds; the default of quorum.lease_duration
my $at_once = 4;          # faults that are under way at one time
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
my @own_menu = (
	[ 6, 'kill_postmaster' ], [ 4, 'kill_all' ], [ 5, 'kill_process' ], [ 6, 'stop_process' ], [ 5, 'freeze_node' ], [ 3, 'freeze_worker' ],
	[ 6, 'cut_node' ], [ 4, 'cut_one_way' ], [ 4, 'cut_pair' ], [ 3, 'cut_data_port' ], [ 3, 'cut_quorum_port' ],
	[ 4, 'lose_packets' ], [ 6, 'slow_network' ], [ 2, 'stop_planned' ], [ 2, 'crash_cluster' ],
);
my @large_menu = ([ 3, 'cut_ring' ], [ 5, 'cut_halves' ]);    # what less than four hosts have no room for

# At a pace: these are drawn so many times as often, most of them hit the leader, and what
# comes next waits until somebody else serves, or this one had its chance.
my %often = (kill_postmaster => 3, kill_all => 4, kill_process => 2, freeze_node => 2, freeze_worker => 2, cut_node => 2, stop_planned => 3, crash_cluster => 2,
	diverge => 3, interrupt_rewind => 2, power_cut => 3);
my $chance = 4;           # seconds

# cluster; pace: true = most of the time goes into changes of leader; rand: a generator of its own; log: code that takes a line; leader: code that finds
# it; answer: code that asks a node; shim: the library; findings: a file for what is wrong
sub new
{
	my ($class, %self) = @_;
	my $self = bless { %self, undo => [], count => {}, faults => 0, shifted => {} }, $class;
	$self->{menu} = [ @own_menu, ($self->hosts > 3 ? @large_menu : ()), $self->host_menu, $self->power_menu, $self->rejoin_menu, $self->user_menu ];
	$self->{menu} = [ map { [ $_->[0] * ($often{ $_->[1] } // 1), $_->[1] ] } @{ $self->{menu} } ] if $self->{pace};
	return $self;
}

sub draw { return int($_[0]{rand}->() * $_[1]) }
sub pick { my ($self, @from) = @_; return $from[ $self->draw(scalar @from) ] }
sub between { return $_[1] + $_[0]{rand}->() * ($_[2] - $_[1]) }
sub node { return $_[0]->pick($_[0]{cluster}->nodes) }
sub hosts { return grep { defined } $_[0]{cluster}->nodes, $_[0]{cluster}{witness} }

# Most faults should hit where it hurts.
sub victim
{
	my ($self) = @_;
	my $leader = $self->draw(10) < ($self->{pace} ? 9 : 6) ? $self->{leader}->() : undef;
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
	$self->interrupt;
	$self->look_after_copies;
	$self->look_after_removed;
	$self->look_after_witness;
	$self->look_after($_) for $self->{cluster}->nodes;
	$self->keep_pace if $self->{pace};
	return if $self->look_after_forgetting;
	return if time() < ($self->{next_at} // 0) || @{ $self->{undo} } >= $at_once || $self->is_forgetful;
	my $name = $self->strike;
	my $pause = !$self->{pace} ? $self->between(0.2, 4) : $name && $often{$name} ? $chance : $self->between(0, 0.8);
	$self->{next_at} = time() + $pause;
}

# Somebody serves in a new term: what is under way ends soon, something new begins.
sub keep_pace
{
	my ($self) = @_;
	my ($term) = $self->served;
	return if $term == ($self->{last_term} // 0);
	$self->{last_term} = $term;
	my $soon = time() + $self->between(0, 0.4);
	for (@{ $self->{undo} }) { $_->{at} = $soon if $_->{at} > $soon }
	$self->{next_at} = time() + $self->between(0.1, 1.2);
	return;
}

# The newest term whose gate was opened, and who did it, by what the logs have got since the
# last time: nobody has to answer for that.
sub served
{
	my ($self) = @_;
	my $newest = $self->{newest} //= [ 0, undef ];
	for my $node ($self->{cluster}->nodes)
	{
		open(my $in, '<', $node->{log}) or next;
		seek $in, $self->{read}{ $node->{name} } // 0, 0;
		while (my $line = <$in>)
		{
			last if $line !~ /\n\z/;
			$self->{read}{ $node->{name} } += length $line;
			next if index($line, 'quorum: gate open in term ') < 0;
			my $event = TortureLog::parse($line) // next;
			@$newest = ($event->{term}, $node) if $event->{term} > $newest->[0];
		}
	}
	return @$newest;
}

sub strike
{
	my ($self) = @_;
	my $sum = 0;
	$sum += $_->[0] for @{ $self->{menu} };
	my $at = $self->draw($sum);
	for (@{ $self->{menu} })
	{
		my ($weight, $name) = @$_;
		$at -= $weight;
		next if $at >= 0;
		my $what = $self->can($name)->($self);
		return if !defined $what;
		$self->{count}{$name}++;
		$self->{faults}++;
		$self->say_so($what);
		return $name;
	}
	return;
}

# Everything is undone and every server runs.
sub heal
{
	my ($self) = @_;
	delete $self->{watched};
	do
	{
		my @due = splice @{ $self->{undo} };
		$_->{code}->() for sort { $a->{at} <=> $b->{at} } @due;
		$self->look_after_copies;
		$self->look_after_witness;
	} while (@{ $self->{undo} });
	$self->{cluster}->network->heal;
	for my $node ($self->{cluster}->nodes)
	{
		kill 'CONT', $self->{cluster}->pids($node);
		$self->revive($node);
		$self->reset_settings($node);
	}
	kill 'CONT', $self->{cluster}->pids($self->{cluster}{witness}) if $self->{cluster}{witness};
}

# ---- processes ------------------------------------------------------------------------------

sub alive
{
	my ($self, $node) = @_;
	my $pid = $self->{cluster}->postmaster_pid($node);
	return defined $pid && (readlink("/proc/$pid/cwd") // '') eq $node->{dir} ? $pid : undef;
}

# As a service manager does: whatever runs is ended, then the server starts.  A server that was
# killed between making its lock and writing it refuses every start, and so does one whose lock
# names a process that is somebody else's by now; the message asks the operator to remove the file.
sub revive
{
	my ($self, $node) = @_;
	QuorumNodes::reap();
	return if $self->alive($node) || $self->{replacing}{ $node->{name} };
	$self->{cluster}->signal_all($node, 'KILL');
	my $lock = "$node->{dir}/postmaster.pid";
	my $pid = $self->{cluster}->postmaster_pid($node);
	unlink $lock if -f $lock && (-z _ || $pid && kill 0, $pid);
	QuorumNodes::run_server($node, $self->{cluster}->bin('postgres'), '-D', $node->{dir});
}

# A service manager sees that its server is gone, and starts it.
sub look_after
{
	my ($self, $node) = @_;
	return if $self->{reviving}{ $node->{name} } || $self->{replacing}{ $node->{name} } || $self->alive($node);
	$self->{reviving}{ $node->{name} } = 1;
	$self->later($self->between(0, $self->{pace} ? 0.5 : 3), "start $node->{name}", sub {
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
	my @found = $self->processes_of($node, $kind);
	return @found ? $self->pick(@found) : undef;
}

sub processes_of
{
	my ($self, $node, $kind) = @_;
	my $postmaster = $self->{cluster}->postmaster_pid($node) // 0;
	return grep { $_ } $postmaster if $kind eq 'postmaster';
	my @found;
	for my $pid (grep { $_ != $postmaster } $self->{cluster}->pids($node))
	{
		open(my $in, '<', "/proc/$pid/cmdline") or next;
		my $title = join ' ', <$in>;
		push @found, $pid if $title =~ $processes{$kind};
	}
	return @found;
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

# Nobody tells the leader's backends that its term is over: they have to see it themselves.
sub freeze_worker
{
	my ($self) = @_;
	my $node = $self->{leader}->() // return;
	my $pid = $self->process($node, 'worker') // return;
	my $seconds = $self->between(1.5, 3) * $lease;
	kill 'STOP', $pid;
	$self->later($seconds, "thaw the worker of $node->{name}", sub { kill 'CONT', $pid });
	return sprintf 'freeze the worker of %s, which leads, for %.1f s', $node->{name}, $seconds;
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
	return grep { $_ != $node } $self->hosts;
}

# ... that have data.
sub other_nodes
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
	for my $from ($self->hosts)
	{
		$self->{cluster}->network->drop($from->{number}, $_->{number}, $percent) for $self->others($from);
	}
	return $self->cut_for("lose $percent % of the packets");
}

# Everybody reaches its two neighbours only.
sub cut_ring
{
	my ($self) = @_;
	my @ring = $self->hosts;
	for my $i (0 .. $#ring)
	{
		for my $j (grep { my $apart = abs($_ - $i); $apart > 1 && $apart < $#ring } 0 .. $#ring)
		{
			$self->{cluster}->network->drop($ring[$i]{number}, $ring[$j]{number}, 100);
		}
	}
	return $self->cut_for('everybody reaches its neighbours only');
}

# Two groups, each of two hosts or more; a leader may be in either.
sub cut_halves
{
	my ($self) = @_;
	my @others = $self->hosts;
	my @group = map { splice @others, $self->draw(scalar @others), 1 } 1 .. 2 + $self->draw(@others - 3);
	for my $one (@group)
	{
		for my $other (@others)
		{
			$self->{cluster}->network->drop(@$_, 100)
			  for [ $one->{number}, $other->{number} ], [ $other->{number}, $one->{number} ];
		}
	}
	return $self->cut_for('cut ' . join(' and ', map { $_->{name} } @group) . ' from ' . join(' and ', map { $_->{name} } @others));
}

# Late, out of order, or little at a time: to and from one host, or everywhere.
sub slow_network
{
	my ($self) = @_;
	my $node = $self->draw(2) ? $self->victim : undef;
	my $delay = 5 * int(exp $self->between(0, log 100));
	my $jitter = $self->draw(2) ? $self->draw($delay + 1) : 0;
	my $kbits = $self->draw(3) ? 0 : 128 << $self->draw(7);
	for my $from ($self->hosts)
	{
		for my $to ($self->others($from))
		{
			next if $node && $from != $node && $to != $node;
			$self->{cluster}->network->slow($from->{number}, $to->{number}, $delay, $jitter, $kbits);
		}
	}
	return $self->cut_for(sprintf 'packets %s take %d to %d ms%s', $node ? "to and from $node->{name}" : 'everywhere', $delay,
		$delay + $jitter, $kbits ? ", $kbits kbit/s" : '');
}

1;
