# TortureRejoins.pm
#	  What torture.pl does to nodes that come back: logs that have parted, rewinds and clones
#	  that are interrupted, members that are removed or replaced, a witness without memory.
#
# A part of TortureNemesis.pm, whose methods it uses.
package TortureRejoins;

use strict;
use warnings;
use File::Path ();
use POSIX ();
use Time::HiRes qw(time sleep);
use QuorumNodes;

my $lease = 2;            # seconds; as in TortureNemesis.pm
my $watch = 30;           # seconds for which a rewind is waited for
my $replace_limit = 150;  # seconds until a new copy is given up
my $known = 3 * $lease;   # until a node that comes back has told its leader that its log has left
my $ask_limit = 20;       # seconds until a request has been answered, or is given up (TortureUsers.pm)
my $look_again = 8;       # seconds until an operator looks again
my $programs = qr{/(pg_rewind|pg_basebackup|pg_verifybackup|psql)\0};

sub rejoin_menu
{
	my ($self) = @_;
	my $witness = $self->{cluster}{witness};
	return ([ 3, 'diverge' ], [ 4, 'interrupt_rewind' ], [ 2, 'clone' ], [ 3, 'interrupt_clone' ],
		$witness ? ([ 3, 'kill_witness' ], [ 3, 'freeze_witness' ], [ 3, 'cut_witness' ], [ 2, 'wipe_witness' ])
		: ([ 2, 'remove_and_add' ], [ 2, 'replace_member' ]));
}

# ---- logs that part ---------------------------------------------------------------------------

# The leader goes on alone for a moment, then dies with what only it has.  Not while somebody is
# out: of two voters one that has to be rewound or cloned may end the lease of the other one,
# and then nobody is elected without an operator (W1).
sub diverge
{
	my ($self, %how) = @_;
	return if $self->somebody_is_out;
	my $node = $self->{leader}->() // return;
	my $postmaster = $self->alive($node) // return;
	my $seconds = $self->between(0.1, 1);
	$self->{parting_until} = time() + $seconds + $known;
	my @senders = $self->processes_of($node, 'walsender');
	return if !@senders;
	kill 'STOP', @senders;
	$self->ask($node, 'SELECT pg_switch_wal()', 'CHECKPOINT') if $how{checkpoint};
	$self->later($seconds, "kill -9 of everything of $node->{name}", sub {
		my $redo = $how{spoil} ? $self->redo_file($node) : undef;
		kill 'CONT', @senders;
		$self->{cluster}->signal_all($node, 'KILL');
		spoil($node, $redo) if defined $redo;
		$self->{watched} = { node => $node, until => time() + $watch, wait => $self->between(0, 0.5) } if $how{interrupt};
	});
	return sprintf 'nobody gets the log of %s for %.1f s; then it dies', $node->{name}, $seconds;
}

sub interrupt_rewind
{
	my ($self) = @_;
	my $what = $self->diverge(interrupt => 1) // return;
	return "$what, and its rewind is interrupted";
}

sub clone
{
	my ($self, @more) = @_;
	my $what = $self->diverge(checkpoint => 1, spoil => 1, @more) // return;
	return "$what, and what a rewind needs is gone";
}

sub interrupt_clone
{
	my ($self) = @_;
	my $what = $self->clone(interrupt => 1) // return;
	return "$what, and its clone is interrupted";
}

sub redo_file
{
	my ($self, $node) = @_;
	my ($status, $text) = $self->{answer}->($node, 'SELECT redo_wal_file FROM pg_control_checkpoint()');
	return $status == 0 && $text =~ /^([0-9A-F]{24})$/m ? $1 : undef;
}

# Without the WAL before its last checkpoint no rewind is possible; it boots without.
sub spoil
{
	my ($node, $redo) = @_;
	for my $file (glob("$node->{dir}/pg_wal/*"))
	{
		my ($name) = $file =~ m{/([0-9A-F]{24})$} or next;
		unlink $file if substr($name, 8) lt substr($redo, 8);
	}
	return;
}

# Something of a node that is rewound or cloned is killed, some time after it was seen.
sub interrupt
{
	my ($self) = @_;
	my $watched = $self->{watched} // return;
	my $node = $watched->{node};
	if (time() > $watched->{until})
	{
		delete $self->{watched};
		return;
	}
	my $pid = rejoin_program($self, $node) // return;
	$watched->{at} //= time() + $watched->{wait};
	return if time() < $watched->{at};
	my $victim = $self->pick('program', 'postmaster', 'node');
	if ($victim eq 'node') { $self->{cluster}->signal_all($node, 'KILL') }
	else { kill 'KILL', $victim eq 'program' ? $pid : $self->alive($node) // $pid }
	delete $self->{watched};
	$self->{count}{"interrupted by kill of $victim"}++;
	$self->say_so("kill -9 of the $victim of $node->{name} while it comes back: "
		. (grep { /^phase / } QuorumNodes::read_lines("$node->{dir}/pg_quorum/pgsql_tmp.rewind/journal"))[0]);
	return;
}

sub rejoin_program
{
	my ($self, $node) = @_;
	return if !-e "$node->{dir}/pg_quorum/pgsql_tmp.rewind/journal";
	for my $pid ($self->{cluster}->pids($node))
	{
		open(my $in, '<', "/proc/$pid/cmdline") or next;
		return $pid if (<$in> // '') =~ $programs;
	}
	return;
}

# ---- members that come and go -------------------------------------------------------------------

sub add_statement
{
	my ($member, $kind) = @_;
	return "SELECT quorum.add_member('$member->{name}', '$member->{host}:$member->{quorum_port}'" . ($kind ? ", kind => '$kind')" : ')');
}

# Somebody who was removed, and is no voter yet: an operator brings it back before the next one
# goes.  Who is away is none of those.
sub somebody_is_out { my ($self) = @_; return %{ $self->{out} // {} } || %{ $self->{replacing} // {} } }

# Who removes a member has all of them, and none whose log has just left the cluster's: later
# the leader knows, and refuses (W1).
sub may_remove { my ($self) = @_; return !$self->somebody_is_out && time() >= ($self->{parting_until} // 0) }

sub remove_and_add
{
	my ($self) = @_;
	return if !$self->may_remove;
	my $leader = $self->{leader}->() // return;
	my $node = $self->pick($self->other_nodes($leader));
	$self->{removed}{ $node->{name} } = 1;
	$self->{out}{ $node->{name} } = { until => time() + $ask_limit };
	$self->ask($leader, "SELECT quorum.remove_member('$node->{name}')");
	$self->add_later($node);
	return "remove $node->{name}";
}

sub add_later
{
	my ($self, $node) = @_;
	$self->later($self->between(0.5, 5), "add $node->{name} again", sub {
		my $now = $self->{leader}->();
		$self->ask($now, add_statement($node)) if $now && !$self->{replacing}{ $node->{name} };
	});
	return;
}

# An operator looks whether who was added is a voter, and asks again if not: the first leader
# may have died over it.
sub look_after_removed
{
	my ($self) = @_;
	return if !%{ $self->{out} // {} } || time() < ($self->{look_at} // 0);
	$self->{look_at} = time() + 2;
	my $leader = $self->{leader}->() // return;
	my ($status, $text) = $self->{answer}->($leader, "SELECT name FROM quorum.members WHERE kind = 'voter'");
	return if $status != 0;
	my %voters = map { $_ => 1 } split /\n/, $text;
	for my $node (grep { $self->{out}{ $_->{name} } && !$self->{replacing}{ $_->{name} } } $self->{cluster}->nodes)
	{
		my $name = $node->{name};
		my $out = $self->{out}{$name};
		my $late = time() >= $out->{until};
		$out->{left} = 1 if !$voters{$name};
		if ($voters{$name})
		{
			delete $self->{out}{$name} if $out->{left} || $late;
		}
		elsif ($late && $node != $leader)
		{
			$out->{until} = time() + $look_again;
			$self->say_so("add $name once more");
			$self->ask($leader, add_statement($node));
		}
	}
	return;
}

# Its disk is lost, its name goes on: removed, copied anew, added.  Only who is no member any
# more may lose its data: the loss of a voter's disk is the loss of a vote for good.
sub replace_member
{
	my ($self) = @_;
	return if !$self->may_remove;
	my $leader = $self->{leader}->() // return;
	my $node = $self->pick($self->other_nodes($leader));
	my $name = $node->{name};
	return if $self->{reviving}{$name};
	$self->{out}{$name} = { until => time() + $ask_limit };
	my $mark = $self->{replacing}{$name} = "$node->{log}.replaced";
	$self->{removed}{$name} = 1;
	unlink $mark;
	defined(my $pid = fork()) or die "fork: $!\n";
	return "replace $name" if $pid;
	$SIG{ALRM} = sub { QuorumNodes::write_file($mark, '>', "gave up\n"); POSIX::_exit(1) };
	alarm $replace_limit;
	my $done = eval { $self->copy_anew($leader, $node) };
	QuorumNodes::write_file($mark, '>', $done ? "replaced\n" : 'not replaced: ' . ($@ || "not removed\n"));
	POSIX::_exit(0);
}

sub copy_anew
{
	my ($self, $leader, $node) = @_;
	my $cluster = $self->{cluster};
	my ($status) = $cluster->psql($leader, "SELECT quorum.remove_member('$node->{name}')");
	return 0 if $status != 0;
	my $wanted = "SELECT count(*) FROM quorum.members WHERE name = '$node->{name}'";
	($status, my $text) = $cluster->psql($leader, "$wanted; SELECT set_committed FROM quorum.status");
	return 0 if $status != 0 || $text !~ /\A0\nt\n\z/;
	1 while $cluster->signal_all($node, 'KILL');
	for (;;)
	{
		my $from = $self->{leader}->();
		if ($from && $from != $node)
		{
			File::Path::remove_tree($node->{dir});
			unlink glob("$node->{undo}/*");
			($status, $text) = QuorumNodes::run($cluster->bin('pg_basebackup'), '-D', $node->{dir}, '-h', $from->{host}, '-p', $from->{port},
				'-U', 'postgres', '-X', 'stream', '-R', '--checkpoint=fast', '--no-sync');
			if ($status == 0)
			{
				$cluster->configure($node);
				return 1;
			}
		}
		sleep 0.5;
	}
}

# A copy that has ended: the node may be started, and is invited.
sub look_after_copies
{
	my ($self) = @_;
	for my $node ($self->{cluster}->nodes)
	{
		my $mark = $self->{replacing}{ $node->{name} };
		next if !$mark || !-s $mark;
		my ($text) = QuorumNodes::read_lines($mark);
		delete $self->{replacing}{ $node->{name} };
		$self->{count}{"member $text"}++ if $text eq 'replaced';

		# what was altered on the server that it is a copy of
		$self->{altered}{ $node->{name} }{$_} = 1 for qw(fsync full_page_writes synchronous_commit);
		$self->say_so("$node->{name}: $text");
		$self->revive($node);
		$self->{out}{ $node->{name} }{until} = time() + $look_again;
		$self->add_later($node);
	}
	return;
}

# Who was removed, or has forgotten everything, is a member again in the end.
sub bring_in
{
	my ($self, $leader) = @_;
	my $cluster = $self->{cluster};
	for my $node (grep { $_ != $leader && $self->{removed}{ $_->{name} } && !$self->{replacing}{ $_->{name} } } $cluster->nodes)
	{
		$cluster->psql($leader, add_statement($node));
	}
	my $witness = $cluster->{witness} // return;
	return if !$self->{wiped};
	my ($status, $text) = $cluster->psql($leader, "SELECT count(*) FROM quorum.members WHERE name = 'w' AND reachable");
	return if $status != 0 || $text !~ /^0$/m;
	$cluster->psql($leader, "SELECT quorum.remove_member('w')");
	$cluster->psql($leader, add_statement($witness, 'witness'));
	return;
}

# ---- the witness --------------------------------------------------------------------------------

sub kill_witness
{
	my ($self) = @_;
	$self->{cluster}->signal_all($self->{cluster}{witness}, 'KILL');
	return 'kill -9 of the witness';
}

sub freeze_witness
{
	my ($self) = @_;
	my $seconds = $self->between(0.1, 3) * $lease;
	my @pids = $self->{cluster}->pids($self->{cluster}{witness}) or return;
	kill 'STOP', @pids;
	$self->later($seconds, 'thaw the witness', sub { kill 'CONT', @pids });
	return sprintf 'freeze the witness for %.1f s', $seconds;
}

sub cut_witness
{
	my ($self) = @_;
	$self->{cluster}->network->cut($self->{cluster}{witness}{number});
	return $self->cut_for('cut the witness off');
}

# It takes no part until somebody has removed and added it; until then it is a lost vote, and
# who loses a second one for good waits for an operator: nothing else begins meanwhile.
sub wipe_witness
{
	my ($self) = @_;
	my $cluster = $self->{cluster};
	return if @{ $self->{undo} } || $self->{watched} || !$self->{leader}->();
	my ($status, $text) = $self->{answer}->($self->{leader}->() // return,
		'SELECT count(*) FROM quorum.members WHERE NOT reachable OR left_out OR kind = \'voter\' AND NOT electable');
	return if $status != 0 || $text !~ /^0$/m;
	my $witness = $cluster->{witness};
	$cluster->signal_all($witness, 'KILL');
	File::Path::remove_tree($witness->{dir});
	unlink glob("$witness->{undo}/*");
	$self->{wiped} = $self->{forgetful} = 1;
	$self->{ask_witness_at} = time() + 3 * $lease;    # it is taken for reachable for some time
	$self->later($self->between(1, 6), 'a new witness is added', sub {
		my $now = $self->{leader}->();
		$self->ask($now, "SELECT quorum.remove_member('w')", add_statement($witness, 'witness')) if $now;
	});
	return 'the witness loses its memory';
}

# Is there a witness without memory that nobody has added yet?
sub is_forgetful
{
	my ($self) = @_;
	return 0 if !$self->{forgetful};
	return 1 if time() < ($self->{ask_witness_at} // 0);
	$self->{ask_witness_at} = time() + 1;
	my $leader = $self->{leader}->() // return 1;
	my ($status, $text) = $self->{answer}->($leader, "SELECT count(*) FROM quorum.members WHERE name = 'w' AND reachable");
	$self->bring_in($leader) if $status == 0 && $text =~ /^0$/m && !@{ $self->{undo} };
	$self->{forgetful} = 0 if $status == 0 && $text =~ /^1$/m;
	return $self->{forgetful};
}

sub look_after_witness
{
	my ($self) = @_;
	my $witness = $self->{cluster}{witness} // return;
	return if $self->{reviving}{w} || ($witness->{pid} && kill(0, $witness->{pid}));
	$self->{reviving}{w} = 1;
	$self->later($self->between(0, 3), 'start the witness', sub {
		delete $self->{reviving}{w};
		$self->{cluster}->start_witness if !kill(0, $witness->{pid});
	});
	return;
}

1;
