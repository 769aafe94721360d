# TortureGraph.pm
#	  Who came before whom among the transactions of a history of lists, and where that is a
#	  circle.
#
# A list only grows, so that its final content says in which order its values were committed:
#
#	ww	wrote the value right before that of the other
#	wr	wrote the last value that the other one read
#	rw	read a list without the value that the other one wrote next
#	rt	was acknowledged before the other one began
#
# The first, second and last mean that one was committed before the other at every level of
# isolation; so does rw for who is serializable, and a snapshot (repeatable read or above) is
# no older than what led to it.  Hence what must not be there:
#
#	G0				a circle of ww
#	G1c				a circle of ww and wr
#	real-time		a circle of ww, wr and rt
#	G-single		a circle with one rw of a snapshot, the rest ww, wr and rt
#	G2-item			a circle of ww, wr and rw among serializable transactions
#	G2-real-time	the same with rt
#
# Standbys may be behind: nothing is rt to or from what was read there.
package TortureGraph;

use strict;
use warnings;

my $told_in_full = 5;    # transactions of one circle

# list: transactions that took effect, each with start, end (undef: not known), level, line,
# standby; saw: [[key, values read, writer of the last]]; lists: { key => [values] };
# writer: { value => transaction }; find: code that takes kind and text.
sub check
{
	my (%with) = @_;
	my $self = bless { %with, nodes => $with{list}, number => {}, blamed => {} }, __PACKAGE__;

	$self->{number}{ $self->{nodes}[$_] } = $_ for 0 .. $#{ $self->{nodes} };
	$self->add_orders;
	$self->add_reads;
	$self->add_instants;
	$self->circles('G0', 0, qw(ww));
	$self->circles('G1c', 0, qw(ww wr));
	$self->circles('real-time', 0, qw(ww wr rt));
	$self->single;
	$self->circles('G2-item', 2, qw(ww wr rw));
	$self->circles('G2-real-time', 2, qw(ww wr rw rt));
	return;
}

sub edge
{
	my ($self, $kind, $from, $to) = @_;
	my ($a, $b) = map { $self->{number}{$_} } $from, $to;
	push @{ $self->{$kind}[$a] }, $b if defined $a && defined $b && $a != $b;
	return;
}

sub add_orders
{
	my ($self) = @_;
	for my $values (values %{ $self->{lists} })
	{
		my $before;
		for my $writer (grep { $_ && defined $self->{number}{$_} } map { $self->{writer}{$_} } @$values)
		{
			$self->edge('ww', $before, $writer) if $before;
			$before = $writer;
		}
	}
	return;
}

sub add_reads
{
	my ($self) = @_;
	for my $t (@{ $self->{nodes} })
	{
		for my $saw (@{ $t->{saw} // [] })
		{
			my ($key, $length, $writer) = @$saw;
			my $next = $self->{lists}{$key} ? $self->{lists}{$key}[$length] : undef;
			$self->edge('wr', $writer, $t) if $writer;
			$self->edge('rw', $t, $self->{writer}{$next}) if $t->{level} > 0 && defined $next && $self->{writer}{$next};
		}
	}
	return;
}

# rt has too many edges: instants stand between, one for each end, each before the next.
sub add_instants
{
	my ($self) = @_;
	my @numbers = grep { !$self->{nodes}[$_]{standby} } 0 .. $#{ $self->{nodes} };
	my @ended = sort { $self->{nodes}[$a]{end} <=> $self->{nodes}[$b]{end} } grep { defined $self->{nodes}[$_]{end} } @numbers;
	my @begun = sort { $self->{nodes}[$a]{start} <=> $self->{nodes}[$b]{start} } @numbers;
	my $instant = @{ $self->{nodes} };

	for my $i (0 .. $#ended)
	{
		my $end = $self->{nodes}[ $ended[$i] ]{end};
		push @{ $self->{rt}[ $ended[$i] ] }, $instant + $i;
		push @{ $self->{rt}[ $instant + $i - 1 ] }, $instant + $i if $i;
		$self->{instant}[ $instant + $i ] = $end;
		shift @begun while @begun && $self->{nodes}[ $begun[0] ]{start} <= $end;
		my $next = $i < $#ended ? $self->{nodes}[ $ended[ $i + 1 ] ]{end} : undef;
		for (@begun)
		{
			last if defined $next && $self->{nodes}[$_]{start} > $next;
			push @{ $self->{rt}[ $instant + $i ] }, $_;
		}
	}
	$self->{all} = $instant + @ended;
	return;
}

# Strongly connected components that nobody was blamed for yet, of transactions of at least
# this level.
sub circles
{
	my ($self, $kind, $level, @kinds) = @_;
	my @member = map { $_ >= @{ $self->{nodes} } || ($self->{nodes}[$_]{level} >= $level && !($level && $self->{nodes}[$_]{standby})) }
	  0 .. $self->{all} - 1;
	my $next = sub {
		my ($from) = @_;
		return grep { $member[$_] } map { @{ $self->{$_}[$from] // [] } } @kinds;
	};
	for my $component (components([ grep { $member[$_] } 0 .. $self->{all} - 1 ], $next))
	{
		my %inside = map { $_ => 1 } @$component;
		my @transactions = grep { $_ < @{ $self->{nodes} } } @$component;
		next if grep { $self->{blamed}{$_} } @transactions;
		$self->{blamed}{$_} = 1 for @transactions;
		my $path = $self->path($transactions[0], $transactions[0], sub { $inside{ $_[0] } }, @kinds);
		$self->tell($kind, $path);
	}
	return;
}

# Circles with one rw: for each of them, is there a way back?  Whoever is on that way began
# before the reader ended.
sub single
{
	my ($self) = @_;
	for my $reader (0 .. $#{ $self->{nodes} })
	{
		my $t = $self->{nodes}[$reader];
		next if !defined $t->{end};
		for my $writer (@{ $self->{rw}[$reader] // [] })
		{
			my $within = sub { ($_[0] < @{ $self->{nodes} } ? $self->{nodes}[ $_[0] ]{start} : $self->{instant}[ $_[0] ]) <= $t->{end} };
			next if $self->{blamed}{$reader} || $self->{blamed}{$writer} || !$within->($writer);
			my $path = $self->path($writer, $reader, $within, qw(ww wr rt)) or next;
			$self->{blamed}{$_} = 1 for grep { $_ < @{ $self->{nodes} } } map { $_->[1] } @$path;
			$self->tell('G-single', [ [ 'rw', $writer ], @$path ]);
		}
	}
	return;
}

# The shortest way from one to the other: [[kind of edge, where to], ...]
sub path
{
	my ($self, $from, $to, $within, @kinds) = @_;
	my (%came, @queue);

	@queue = ($from);
	while (defined(my $at = shift @queue))
	{
		for my $kind (@kinds)
		{
			for my $next (@{ $self->{$kind}[$at] // [] })
			{
				next if $came{$next} || !$within->($next);
				$came{$next} = [ $kind, $at ];
				push @queue, $next;
				next if $next != $to;
				my ($back, @path) = ($next);
				do
				{
					unshift @path, [ $came{$back}[0], $back ];
					$back = $came{$back}[1];
				} while ($back != $from);
				return \@path;
			}
		}
	}
	return;
}

sub tell
{
	my ($self, $kind, $path) = @_;
	my @lines = map { "$_->[0]: $self->{nodes}[ $_->[1] ]{line}" } grep { $_->[1] < @{ $self->{nodes} } } @$path;
	my $count = @lines;
	splice @lines, $told_in_full if @lines > $told_in_full;
	$self->{find}->($kind, join "\n      ", "$count transactions in a circle", @lines);
	return;
}

# Strongly connected components of more than one (Tarjan, without recursion).
sub components
{
	my ($nodes, $next_of) = @_;
	my ($index, @index, @low, @on, @stack, @found) = (0);

	for my $root (@$nodes)
	{
		next if defined $index[$root];
		my @work;
		my $enter = sub {
			my ($node) = @_;
			$index[$node] = $low[$node] = $index++;
			push @stack, $node;
			$on[$node] = 1;
			push @work, [ $node, [ $next_of->($node) ] ];
		};
		$enter->($root);
		while (@work)
		{
			my ($node, $left) = @{ $work[-1] };
			if (@$left)
			{
				my $next = pop @$left;
				if (!defined $index[$next]) { $enter->($next) }
				elsif ($on[$next] && $index[$next] < $low[$node]) { $low[$node] = $index[$next] }
				next;
			}
			pop @work;
			$low[ $work[-1][0] ] = $low[$node] if @work && $low[$node] < $low[ $work[-1][0] ];
			next if $low[$node] != $index[$node];
			my @component;
			do
			{
				push @component, pop @stack;
				$on[ $component[-1] ] = 0;
			} while ($component[-1] != $node);
			push @found, \@component if @component > 1;
		}
	}
	return @found;
}

1;
