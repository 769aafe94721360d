# TorturePower.pm
#	  A power cut: what the processes of a host had written and not yet fsynced is gone with them,
#	  on a disk that lies also what they had.
#
# shim.c has written down how WAL and state looked before; that is put back.  A part of
# TortureNemesis.pm, whose methods it uses.
package TorturePower;

use strict;
use warnings;
use File::Find ();
use Time::HiRes qw(time sleep);
use QuorumNodes;

my $gone_limit = 10;      # seconds for killed processes to be gone
my $try_limit = 20;       # seconds until the first write must have been seen
my $calm_limit = 30;      # seconds for which a disk that is to lie waits until all else is whole
my $head = 32;            # bytes: struct Undo of shim.c

sub power_menu { return ([ 4, 'power_cut' ], [ 1, 'lost_fsync' ]) }

# What is there, by inode.
sub written { my ($host) = @_; return grep { m{/\d+-\d+$} } glob("$host->{undo}/*") }

# A shim that writes nothing down makes power cuts of no effect: it has to, once, while an fsync
# hangs, behind a commit on a disk that lies, and no more when the disk tells the truth.
sub try_power
{
	my ($self, $leader) = @_;
	my $cluster = $self->{cluster};
	my $commit = sub { $cluster->query($leader, q{SELECT pg_logical_emit_message(true, 'torture', '')}) };

	$self->set_fault($leader, places => 1, delay => 30e6, error => 0);
	$self->ask($leader, 'CREATE TABLE power ()');
	$cluster->wait_for($try_limit, 'what is not on disk is written down', sub { unsynced_wal($leader) });
	$self->set_fault($leader, places => 1, delay => 0, error => -1);
	$cluster->wait_for($try_limit, 'so is what a disk says to have', sub { $commit->(); unsynced_wal($leader) });
	$self->set_fault($leader, places => 0, delay => 0, error => 0);
	$cluster->wait_for($try_limit, 'what is on disk is not', sub { $commit->(); !unsynced_wal($leader) });
	return;
}

sub unsynced_wal
{
	my ($host) = @_;
	my %wal = map { join('-', (stat $_)[ 0, 1 ]) => 1 } glob("$host->{dir}/pg_wal/0*");
	return scalar grep { $wal{ (split m{/})[-1] } } written($host);
}

# One host or all of them, often while their disks are slow: then much is written that is not
# on disk.  When all are hit, the power of who has led is often back last: what it had to itself
# is of no help to the others.
sub power_cut
{
	my ($self) = @_;
	my @hosts = $self->draw(3) ? $self->victim : $self->hosts;
	my $delay = $self->draw(4) ? $self->between(0.02, 0.5) : 0;
	my $names = @hosts > 1 ? 'everybody' : $hosts[0]{name};
	my $dark = @hosts > 1 && $self->draw(3) ? $self->{leader}->() : undef;
	$self->set_fault($_, places => 3, delay => int($delay * 1e6), error => 0) for @hosts;
	$self->later($self->between(0, 1), "power cut of $names", sub {
		1 while grep { $self->{cluster}->signal_all($_, 'KILL') } @hosts;
		$self->lose($_) for @hosts;
		$self->stay_dark($dark) if $dark;
	});
	return sprintf 'fsync of WAL and state of %s takes %.3f s, until a power cut', $names, $delay;
}

# What was not on the disk of a host whose processes have been killed.
sub lose
{
	my ($self, $host) = @_;
	$self->wait_gone($host);
	my ($bytes, $renames) = undo($host);
	$self->{count}{'bytes lost'} += $bytes;
	$self->{count}{'renames lost'} += $renames;
	$self->say_so("$host->{name} has lost $bytes bytes and $renames renames") if $bytes + $renames;
	$self->set_fault($host, places => 0, delay => 0, error => 0);
	return;
}

sub wait_gone
{
	my ($self, $host) = @_;
	$self->{cluster}->wait_for($gone_limit, "everything of $host->{name} is gone", sub {
		QuorumNodes::reap();
		return !$self->{cluster}->pids($host);
	});
	return;
}

sub stay_dark
{
	my ($self, $node) = @_;
	return if $self->{reviving}{ $node->{name} } || $self->{replacing}{ $node->{name} };
	$self->{reviving}{ $node->{name} } = 1;
	$self->later($self->between(2, 8), "the power of $node->{name} is back", sub {
		delete $self->{reviving}{ $node->{name} };
		$self->revive($node);
	});
	return;
}

# ---- a disk that lies -------------------------------------------------------------------------

# Fsyncs of a follower, or of the witness, that return and keep nothing, then a power cut: what
# it has acknowledged, and what it has voted, is gone, and it cannot know.  One holder less of
# everything is what a cluster survives while all others are whole and the term lasts, and no
# more (A4): it waits until all else is whole, and nothing else begins until it is whole, too.
sub lost_fsync
{
	my ($self) = @_;
	return if $self->{forgetting};
	$self->{forgetting} = { step => 'calm', until => time() + $calm_limit, look_at => time() };
	return 'all faults end: a disk is going to lie';
}

# May nothing begin because of such a disk?
sub look_after_forgetting
{
	my ($self) = @_;
	my $course = $self->{forgetting} // return 0;
	return 1 if $course->{step} eq 'lying' || time() < $course->{look_at};
	$course->{look_at} = time() + 0.5;
	my $leader = $self->whole;
	if ($course->{step} eq 'calm')
	{
		$self->lie($course, $leader) if $leader;
		if (!$leader && time() > $course->{until})
		{
			$self->say_so('no disk lies: not everybody is whole');
			delete $self->{forgetting};
		}
	}
	elsif ($leader)
	{
		my ($term) = $self->served;
		$self->say_so("$course->{host}{name} is whole again" . ($term == $course->{term} ? '' : " in term $term: more was lost than A4 allows for"));
		delete $self->{forgetting};
	}
	return 1;
}

# Who leads, when nothing is under way, and nobody is away or behind.
sub whole
{
	my ($self) = @_;
	return if @{ $self->{undo} } || $self->{watched} || $self->somebody_is_out || $self->is_forgetful;
	my $leader = $self->{leader}->() // return;
	return $self->{cluster}->complaints($leader) ? undef : $leader;
}

sub lie
{
	my ($self, $course, $leader) = @_;
	my $host = $self->pick($self->others($leader));
	my $seconds = $self->between(0.3, 3);
	@$course{qw(step host leader)} = ('lying', $host, $leader);
	($course->{term}) = $self->served;
	$course->{checkpoint} = $self->checkpoint($host);
	$self->set_fault($host, places => 3, delay => 0, error => -1);
	$self->say_so(sprintf 'the disk of %s keeps nothing of what is fsynced to WAL and state for %.1f s', $host->{name}, $seconds);
	$self->later($seconds, "power cut of $host->{name}", sub { $self->forget($course) });
	return;
}

# A checkpoint is kept with the data, which a power cut leaves alone: one without its WAL is
# more than such a disk can do.
sub forget
{
	my ($self, $course) = @_;
	my $host = $course->{host};
	1 while $self->{cluster}->signal_all($host, 'KILL');
	$self->wait_gone($host);
	my ($term) = $self->served;
	my $leader = $self->{leader}->();
	$course->{step} = 'forgotten';
	if ($term == $course->{term} && $leader && $leader == $course->{leader} && $self->checkpoint($host) eq $course->{checkpoint})
	{
		$self->{count}{'disks that lied'}++;
		return $self->lose($host);
	}
	$self->say_so("the disk of $host->{name} has kept it after all");
	unlink glob("$host->{undo}/*");
	$self->set_fault($host, places => 0, delay => 0, error => 0);
	return;
}

sub checkpoint
{
	my ($self, $host) = @_;
	return 'none' if !-e "$host->{dir}/global/pg_control";
	my ($status, $text) = QuorumNodes::run($self->{cluster}->bin('pg_controldata'), '-D', $host->{dir});
	return $text =~ /^Latest checkpoint location: +(\S+)/m ? $1 : die "pg_controldata of $host->{name}: $text\n";
}

# ---- what is undone -----------------------------------------------------------------------------

# Bytes first: renamed files are found where they are now.  (bytes, renames) that were lost.
sub undo
{
	my ($host) = @_;
	my @files = written($host);
	my ($bytes, @renames, %path) = (0);
	File::Find::find({ no_chdir => 1, wanted => sub {
		my @status = lstat;
		$path{"$status[0]-$status[1]"} = $_ if @status && -f _;
	} }, grep { -d } map { "$host->{dir}/$_" } qw(pg_wal pg_quorum)) if @files;
	for my $file (@files)
	{
		my ($inode) = $file =~ m{([^/]+)$};
		my @undo = read_undo($file);
		push @renames, grep { $_->{kind} == 2 } @undo;
		$bytes += undo_bytes($path{$inode}, grep { $_->{kind} == 1 } @undo) if defined $path{$inode};
	}
	my $lost = 0;
	for (reverse @renames)
	{
		my ($from, $to, $kept) = split /\0/, $_->{what};
		next if !-e $to;
		$lost++;
		rename $to, $from;
		rename $kept, $to if ($kept // '') ne '';
	}
	unlink glob("$host->{undo}/*");
	return ($bytes, $lost);
}

sub read_undo
{
	my ($file) = @_;
	open(my $in, '<:raw', $file) or die "$file: $!\n";
	local $/;
	my $text = <$in> // '';
	my @undo;
	for (my $at = 0; $at + $head <= length $text;)
	{
		my ($kind, $offset, $size, $length) = unpack 'q4', substr($text, $at, $head);
		last if $at + $head + $length > length $text;
		push @undo, { kind => $kind, offset => $offset, size => $size, what => substr($text, $at + $head, $length) };
		$at += $head + $length;
	}
	return @undo;
}

sub undo_bytes
{
	my ($path, @undo) = @_;
	my $bytes = 0;
	open(my $out, '+<:raw', $path) or die "$path: $!\n";
	for (reverse @undo)
	{
		my $grown = (-s $out) - $_->{size};
		truncate($out, $_->{size}) or die "$path: $!\n" if $grown > 0;
		sysseek($out, $_->{offset}, 0);
		defined syswrite($out, $_->{what}) or die "$path: $!\n";
		$bytes += length($_->{what}) + ($grown > 0 ? $grown : 0);
	}
	close $out;
	return $bytes;
}

1;
