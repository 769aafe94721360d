# TortureFiles.pm
#	  Files of several nodes that must be the same, byte for byte: WAL and histories of timelines.
#
# Only one node ever writes a timeline, so equal positions of it hold equal bytes wherever
# they are, also what a rewind has left behind.  How far the WAL of a node is valid says
# pg_waldump: behind that there is what a recycled segment held before.  That may also lie
# behind a switch to the next segment: nobody reads what fills this one, or waits for it.
package TortureFiles;

use strict;
use warnings;

my $segment_size = 16 * 1024 * 1024;

sub position { my ($high, $low) = split m{/}, $_[0]; return hex($high) * 4294967296 + hex($low) }
sub lsn { return sprintf '%X/%X', int($_[0] / 4294967296), $_[0] % 4294967296 }

# Timeline and position of the first byte of a segment, by its name.
sub place
{
	my ($name) = @_;
	my ($tli, $high, $low) = $name =~ /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$/ or return;
	return (hex $tli, hex($high) * 4294967296 + hex($low) * $segment_size);
}

sub names
{
	my ($dir, $pattern) = @_;
	opendir(my $handle, $dir) or die "$dir: $!\n";
	return sort grep { /$pattern/ } readdir $handle;
}

sub content
{
	my ($path, $length) = @_;
	open(my $in, '<:raw', $path) or die "$path: $!\n";
	local $/;
	return readline $in if !defined $length;
	my $got = read($in, my $bytes, $length);
	die "$path: $!\n" if !defined $got;
	return $bytes;
}

# wal: { node => directory }; a history of one name is the same everywhere.  Where a clone
# has none, the node has put a placeholder, which says nothing.
sub check_histories
{
	my ($wal, $find) = @_;
	my (%first, $compared);

	$compared = 0;
	for my $node (sort keys %$wal)
	{
		for my $name (names($wal->{$node}, qr/^[0-9A-F]{8}\.history$/))
		{
			my $text = content("$wal->{$node}/$name");
			next if $text =~ /^# pg_quorum: no leader/;
			my $other = $first{$name} //= [ $node, $text ];
			$compared++ if $other->[0] ne $node;
			$find->('history files differ', "$name of $node is not that of $other->[0]") if $text ne $other->[1];
		}
	}
	return $compared;
}

# ends: { node => { timeline => position up to which its WAL is valid } }; switches: { timeline =>
# [ ends of the records that switch to the next segment ] }.  Returns how many bytes were compared.
sub check_wal
{
	my ($wal, $ends, $switches, $find) = @_;
	my (%holders, $compared);

	$compared = 0;
	for my $node (sort keys %$wal)
	{
		push @{ $holders{$_} }, $node for names($wal->{$node}, qr/^[0-9A-F]{24}$/);
	}
	for my $name (sort keys %holders)
	{
		my ($tli, $start) = place($name);
		my ($switch) = grep { $_ > $start && $_ <= $start + $segment_size } @{ $switches->{$tli} // [] };
		my %length = map { $_ => length_within($ends->{$_}{$tli}, $start, $switch) } @{ $holders{$name} };
		my ($most, @others) = sort { $length{$b} <=> $length{$a} || $a cmp $b } grep { $length{$_} > 0 } @{ $holders{$name} };
		next if !@others;
		my $whole = content("$wal->{$most}/$name", $length{$most});
		for my $node (@others)
		{
			my $bytes = content("$wal->{$node}/$name", $length{$node});
			$compared += length $bytes;
			next if $bytes eq substr($whole, 0, length $bytes);
			(($bytes ^ substr($whole, 0, length $bytes)) =~ /[^\0]/) and
			  $find->('WAL differs', "$name of $node and $most, timeline $tli at " . lsn($start + $-[0]) . ', compared to ' . lsn($start + $length{$node}));
		}
	}
	return $compared;
}

sub length_within
{
	my ($end, $start, $switch) = @_;
	return 0 if !defined $end || $end <= $start;
	$end = $switch if defined $switch && $switch < $end;
	return $end - $start > $segment_size ? $segment_size : $end - $start;
}

# The first segment of the newest piece without a hole, for each timeline.
sub pieces
{
	my ($dir) = @_;
	my (%from, %next);
	for my $name (names($dir, qr/^[0-9A-F]{24}$/))
	{
		my ($tli, $start) = place($name);
		$from{$tli} = $start if !defined $next{$tli} || $next{$tli} != $start;
		$next{$tli} = $start + $segment_size;
	}
	return \%from;
}

# Where records end that switch to the next segment: such a record is a header and nothing else.
sub switches
{
	my ($text) = @_;
	return map { position($_) + 24 } $text =~ m{^rmgr: XLOG .*, lsn: ([0-9A-F]+/[0-9A-F]+), .*desc: SWITCH\b}mg;
}

# Up to where WAL is valid, by what pg_waldump says in the end: where no record begins, or else
# the start of the last one that it has read.
sub end_of_wal
{
	my ($text) = @_;
	return position($1) if $text =~ m{(?:invalid record length|with incorrect prev-link [0-9A-F/]+|invalid resource manager ID \d+) at ([0-9A-F]+/[0-9A-F]+)};
	return position($1) if $text =~ m{error in WAL record at ([0-9A-F]+/[0-9A-F]+)};
	return (place($1))[1] if $text =~ /could not (?:find|open) file "(?:[^"]*\/)?([0-9A-F]{24})"/;
	return position($1) if $text =~ m{could not find a valid record after ([0-9A-F]+/[0-9A-F]+)};
	die "how far is this valid? $text\n";
}

1;
