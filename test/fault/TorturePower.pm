# TorturePower.pm
#	  A power cut: what the processes of a host had written and not yet fsynced is gone with them.
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
my $head = 32;            # bytes: struct Undo of shim.c

sub power_menu { return [ 4, 'power_cut' ] }

# What is there, by inode.
sub written { my ($host) = @_; return grep { m{/\d+-\d+$} } glob("$host->{undo}/*") }

# A shim that writes nothing down makes power cuts of no effect: it has to, once.
sub try_power
{
	my ($self, $leader) = @_;
	$self->set_fault($leader, places => 1, delay => 30e6, error => 0);
	$self->ask($leader, 'CREATE TABLE power ()');
	$self->{cluster}->wait_for($try_limit, 'what is not on disk is written down', sub {
		my %wal = map { join('-', (stat $_)[ 0, 1 ]) => 1 } glob("$leader->{dir}/pg_wal/0*");
		return scalar grep { $wal{ (split m{/})[-1] } } written($leader);
	});
	$self->set_fault($leader, places => 0, delay => 0, error => 0);
	return;
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
		for my $host (@hosts)
		{
			$self->{cluster}->wait_for($gone_limit, "everything of $host->{name} is gone", sub {
				QuorumNodes::reap();
				return !$self->{cluster}->pids($host);
			});
			my ($bytes, $renames) = undo($host);
			$self->{count}{'bytes lost'} += $bytes;
			$self->{count}{'renames lost'} += $renames;
			$self->say_so("$host->{name} has lost $bytes bytes and $renames renames") if $bytes + $renames;
			$self->set_fault($host, places => 0, delay => 0, error => 0);
		}
		$self->stay_dark($dark) if $dark;
	});
	return sprintf 'fsync of WAL and state of %s takes %.3f s, until a power cut', $names, $delay;
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
