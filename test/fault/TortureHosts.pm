# TortureHosts.pm
#	  What torture.pl does to the hosts of its nodes: disks that are full, slow or fail, clocks
#	  that are off.
#
# Disks and clocks are those of shim.c, one file for each node; the full disk is a real one of
# its own, which one node has.  A part of TortureNemesis.pm, whose methods it uses.
package TortureHosts;

use strict;
use warnings;
use Errno ();
use Time::HiRes ();
use QuorumNodes;

my $lease = 2;            # seconds; as in TortureNemesis.pm
my $disk_size = 1500;    # megabytes of the small disk
my %places = (WAL => 1, state => 2, data => 4);

# Where shim.c has what: bytes from the beginning of the file.
my $lines_max = 2000;
my %field = (places => 0, delay => 8, error => 16, wall => 24, mono => 32, boot => 40 + 24 * $lines_max);
my $file_size = 48 + 48 * $lines_max;
my %clock_id = (mono => Time::HiRes::CLOCK_MONOTONIC(), boot => 7);    # CLOCK_BOOTTIME

sub host_menu
{
	return ([ 4, 'slow_disk' ], [ 3, 'failing_disk' ], [ 4, 'full_disk' ], [ 2, 'wrong_time' ], [ 3, 'wrong_rate' ]);
}

# Before anything is started: the files of the shim, and the small disk.
sub prepare_hosts
{
	my ($self) = @_;
	for my $node ($self->hosts)
	{
		$node->{faults} = "$node->{log}.faults";
		QuorumNodes::write_file($node->{faults}, '>', "\0" x $file_size);
	}
	my $node = $self->{small} = $self->node;
	$node->{disk} = "$node->{dir}.disk";
	$self->{cluster}->network->mount($node->{disk}, $disk_size);
	$node->{dir} = "$node->{disk}/data";
	for ($self->hosts)
	{
		$_->{undo} = "$_->{dir}.undo";    # on the same disk: files are kept there under another name
		mkdir $_->{undo} or die "$_->{undo}: $!\n";
		$_->{environment} = [ "LD_PRELOAD=$self->{shim}", "QUORUM_FAULTS=$_->{faults}", "QUORUM_UNDO=$_->{undo}" ];
	}
	return "$node->{name} has a disk of its own, $disk_size MB";
}

# ---- disks ----------------------------------------------------------------------------------

sub set_fault
{
	my ($self, $node, %value) = @_;
	open(my $out, '+<', $node->{faults}) or die "$node->{faults}: $!\n";
	binmode $out;
	for my $name (sort { $field{$b} <=> $field{$a} } keys %value)
	{
		sysseek($out, $field{$name}, 0);
		syswrite($out, pack 'q', $value{$name});
	}
	close $out;
	return;
}

# Some places of the disk, at least one.
sub some_places
{
	my ($self) = @_;
	my $bits = 1 + $self->draw(7);
	return ($bits, join ' and ', grep { $bits & $places{$_} } sort keys %places);
}

sub slow_disk
{
	my ($self) = @_;
	my $node = $self->victim;
	my ($bits, $names) = $self->some_places;
	my $delay = $self->draw(3) ? $self->between(0.005, 0.3) : $self->between(0.3, 3 * $lease);
	my $seconds = $self->between(0.3, 4) * $lease;
	$self->set_fault($node, places => $bits, delay => int($delay * 1e6), error => 0);
	$self->later($seconds, "the disk of $node->{name} is fast again", sub { $self->set_fault($node, places => 0, delay => 0, error => 0) });
	return sprintf 'fsync of %s of %s takes %.3f s, for %.1f s', $names, $node->{name}, $delay, $seconds;
}

sub failing_disk
{
	my ($self) = @_;
	my $node = $self->victim;
	my ($bits, $names) = $self->some_places;
	my $error = $self->draw(4) ? 'EIO' : 'ENOSPC';
	my $seconds = $self->between(0.1, 1.5) * $lease;
	$self->set_fault($node, places => $bits, delay => 0, error => Errno->can($error)->());
	$self->later($seconds, "the disk of $node->{name} is well again", sub { $self->set_fault($node, places => 0, delay => 0, error => 0) });
	return sprintf 'fsync of %s of %s fails with %s for %.1f s', $names, $node->{name}, $error, $seconds;
}

# What is left is nothing, or so little that a leader had better hand over.
sub full_disk
{
	my ($self) = @_;
	my $node = $self->{small};
	return if $self->{filled};
	my $left = $self->pick(0, 0, 1, 30, 60);
	my $seconds = $self->between(0.5, 4) * $lease;
	my $filler = "$node->{disk}/filler";
	my ($status, $text) = QuorumNodes::run('df', '--output=avail', '-B1M', $node->{disk});
	my ($free) = $text =~ /(\d+)\s*$/ or return;
	return if $free < 100;
	my $size = $free - $left;

	# the last bytes, too, when nothing shall be left
	QuorumNodes::run('sh', '-c', "fallocate -l ${size}M $filler 2>/dev/null || head -c ${size}M /dev/zero >$filler" . ($left ? '' : "; cat /dev/zero >>$filler"));
	$self->{filled} = 1;
	$self->later($seconds, "the disk of $node->{name} has room again", sub { unlink $filler; $self->{filled} = 0 });
	return sprintf 'the disk of %s has %d MB left for %.1f s', $node->{name}, $left, $seconds;
}

# ---- clocks ---------------------------------------------------------------------------------

sub wrong_time
{
	my ($self) = @_;
	my $node = $self->victim;
	my $offset = $self->pick(-86400, -3600, -10, -0.5, 0.5, 10, 3600, 86400);
	my $seconds = $self->between(0.5, 5) * $lease;
	$self->{shifted}{ $node->{name} } = 1;
	$self->set_fault($node, wall => int($offset * 1e9));
	$self->later($seconds, "$node->{name} has the right time again", sub { $self->set_fault($node, wall => 0) });
	return sprintf 'the time of %s is %+g s off for %.1f s', $node->{name}, $offset, $seconds;
}

# Up to what the lease leaves room for: 10 in a thousand (quorum_lease.c).
sub wrong_rate
{
	my ($self) = @_;
	my $node = $self->victim;
	my $ppm = $self->pick(-9000, -9000, 9000, 9000, -9000 + $self->draw(18001));
	my $seconds = $self->between(1, 10) * $lease;
	$self->set_rate($node, $ppm);
	$self->later($seconds, "the clock of $node->{name} has the right rate again", sub { $self->set_rate($node, 0) });
	return sprintf 'the clock of %s goes %+.2f %% for %.1f s', $node->{name}, $ppm / 10000, $seconds;
}

# A new line that begins a moment from now, where the old one will be.
sub set_rate
{
	my ($self, $node, $ppm) = @_;
	for my $clock (sort keys %clock_id)
	{
		my $lines = $node->{lines}{$clock} //= [];
		my $at = int(Time::HiRes::clock_gettime($clock_id{$clock}) * 1e9) + 20_000_000;
		my $shown = $at;
		return if @$lines == $lines_max;
		if (@$lines)
		{
			my $last = $lines->[-1];
			$shown = $last->[1] + ($at - $last->[0]) + int(($at - $last->[0]) * $last->[2] / 1e6);
		}
		push @$lines, [ $at, $shown, $ppm ];
		open(my $out, '+<', $node->{faults}) or die "$node->{faults}: $!\n";
		binmode $out;
		sysseek($out, $field{$clock} + 8 + 24 * $#$lines, 0);
		syswrite($out, pack 'q3', @{ $lines->[-1] });
		sysseek($out, $field{$clock}, 0);
		syswrite($out, pack 'q', scalar @$lines);
		close $out;
	}
	return;
}

1;
