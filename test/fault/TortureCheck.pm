# TortureCheck.pm
#	  Judges what the clients of torture.pl wrote down against what the cluster has in the end.
#
# Values are unique, and lists only grow: the final list of a key is the order in which its
# values were committed, and every read must be a beginning of it.  What must not be there:
#
#	lost        acknowledged and not there        duplicate   there twice
#	G1a         of a transaction that failed      G1b         read half way through a transaction
#	vanished    read once, and not there          stale       acknowledged before the read began, not in it
#	G1c         a cycle of writes and reads       G2          a cycle among serializable transactions
#	bank        a total that changed              seq         a number handed out twice
package TortureCheck;

use strict;
use warnings;

my $shown = 5;            # findings of one kind that are told in full

sub new
{
	my ($class, %self) = @_;
	return bless { %self, found => {}, count => {}, ok => 0, failed => 0, unknown => 0, reads => 0, standby_reads => 0 }, $class;
}

sub find
{
	my ($self, $kind, $text) = @_;
	push @{ $self->{found}{$kind} }, $text if ++$self->{count}{$kind} <= $shown;
}

# { key => [values in order] }, total, { number => 1 }, of the cluster when all is quiet.
sub final
{
	my ($self, $lists, $total, $numbers) = @_;
	$self->{lists} = $lists;
	$self->{total} = $total;
	$self->{numbers} = $numbers;
	for my $key (keys %$lists)
	{
		my $position = 0;
		for my $value (@{ $lists->{$key} })
		{
			$self->find('duplicate', "value $value of key $key") if exists $self->{place}{$key}{$value};
			$self->{place}{$key}{$value} = $position++;
		}
	}
}

sub parse
{
	my ($self, $line, $standby) = @_;
	my ($start, $end, $outcome, $level, $port, $kind, @operations) = split / /, $line;
	return if !defined $kind || $end !~ /^\d+$/;    # cut off with its client
	$self->{$outcome}++;
	my $t = { start => $start, end => $end, outcome => $outcome, level => $level, kind => $kind,
		operations => \@operations, standby => $standby, line => length $line > 200 ? substr($line, 0, 200) . '...' : $line };
	push @{ $self->{transactions} }, $t;
	return if $kind ne 'list';
	for (@operations)
	{
		my ($what, $key, $value) = split /:/, $_, 3;
		push @{ $t->{appends}{$key} }, $value if $what eq 'a';
		$self->{writer}{$value} = $t if $what eq 'a';
	}
}

sub check
{
	my ($self) = @_;
	for my $t (@{ $self->{transactions} })
	{
		$self->check_appends($t) if $t->{appends};
		$self->check_bank($t) if $t->{kind} eq 'bank';
		$self->check_sequence($t) if $t->{kind} eq 'seq';
	}
	$self->find('bank', "the final total is $self->{total}, not 0") if $self->{total} != 0;
	$self->index_acknowledged;
	for my $t (grep { $_->{kind} eq 'list' } @{ $self->{transactions} })
	{
		$self->check_reads($t);
	}
	$self->check_cycles('G1c', 0);
	$self->check_cycles('G2', 1);
	return $self->{count};
}

sub check_appends
{
	my ($self, $t) = @_;
	for my $key (keys %{ $t->{appends} })
	{
		my @there = grep { exists $self->{place}{$key}{$_} } @{ $t->{appends}{$key} };
		if ($t->{outcome} eq 'ok')
		{
			$self->find('lost', "key $key: $t->{line}") if @there != @{ $t->{appends}{$key} };
		}
		elsif ($t->{outcome} eq 'failed')
		{
			$self->find('G1a', "key $key has @there: $t->{line}") if @there;
		}
		elsif (@there && @there != @{ $t->{appends}{$key} })
		{
			$self->find('lost', "key $key, half of: $t->{line}");
		}
		$t->{effective} = 1 if @there;
	}
}

sub check_bank
{
	my ($self, $t) = @_;
	for (@{ $t->{operations} })
	{
		$self->find('bank', $t->{line}) if /^sum:(.*)/ && $1 ne '0';
	}
}

sub check_sequence
{
	my ($self, $t) = @_;
	for (@{ $t->{operations} })
	{
		next if !/^n:(\d+)/ || $t->{outcome} ne 'ok';
		$self->find('seq', "number $1 twice: $t->{line}") if $self->{drawn}{$1}++;
		$self->find('lost', "number $1: $t->{line}") if !$self->{numbers}{$1};
	}
}

# For each key: [instant, largest place that was acknowledged by then], by time.
sub index_acknowledged
{
	my ($self) = @_;
	my %at;
	for my $t (grep { $_->{outcome} eq 'ok' && $_->{appends} } @{ $self->{transactions} })
	{
		for my $key (keys %{ $t->{appends} })
		{
			push @{ $at{$key} }, map { [ $t->{end}, $self->{place}{$key}{$_} // -1 ] } @{ $t->{appends}{$key} };
		}
	}
	for my $key (keys %at)
	{
		my $most = -1;
		for (sort { $a->[0] <=> $b->[0] } @{ $at{$key} })
		{
			$most = $_->[1] if $_->[1] > $most;
			push @{ $self->{acknowledged}{$key} }, [ $_->[0], $most ];
		}
	}
}

# The largest place of a value of the key that was acknowledged before the instant; -1 = none.
sub acknowledged_before
{
	my ($self, $key, $instant) = @_;
	my $list = $self->{acknowledged}{$key} // return -1;
	my ($low, $high) = (0, scalar @$list);
	while ($low < $high)
	{
		my $middle = int(($low + $high) / 2);
		if ($list->[$middle][0] < $instant) { $low = $middle + 1 }
		else { $high = $middle }
	}
	return $low ? $list->[$low - 1][1] : -1;
}

# Only a transaction whose end was acknowledged has read what it says.
sub check_reads
{
	my ($self, $t) = @_;
	my %own;
	return if $t->{outcome} ne 'ok';
	for (@{ $t->{operations} })
	{
		my ($what, $key, $text) = split /:/, $_, 3;
		if ($what eq 'a')
		{
			$own{$text} = 1;
			next;
		}
		my @values = split /,/, $text // '';
		my @others = grep { !$own{$_} } @values;
		$t->{standby} ? $self->{standby_reads}++ : $self->{reads}++;

		# own values may be followed by nothing: they are locked
		my $place = 0;
		for my $value (@others)
		{
			my $is = $self->{place}{$key}{$value};
			if (!defined $is || $is != $place)
			{
				my $why = !defined $is ? 'is not there' : "is at $is";
				my $kind = $self->{writer}{$value} && $self->{writer}{$value}{outcome} eq 'failed' ? 'G1a' : 'vanished';
				$self->find($kind, "value $value of key $key $why, read at $place: $t->{line}");
				last;
			}
			$place++;
		}
		my $known = $self->acknowledged_before($key, $t->{start});
		$self->find('stale', "key $key to place " . ($place - 1) . ", acknowledged was $known: $t->{line}")
		  if !$t->{standby} && $known >= @values;
		if (@others)
		{
			my $writer = $self->{writer}{ $others[-1] };
			my $written = $writer ? $writer->{appends}{$key} : undef;
			$self->find('G1b', "key $key ends with $others[-1]: $t->{line}") if $written && $written->[-1] != $others[-1];
			push @{ $t->{saw} }, [ $key, scalar @others, $writer ];
		}
		else
		{
			push @{ $t->{saw} }, [ $key, 0, undef ];
		}
	}
}

# Edges: who wrote before (ww), whose value was read (wr), who overwrote what was read (rw).
sub check_cycles
{
	my ($self, $kind, $serializable) = @_;
	my @members = grep { $_->{kind} eq 'list' && ($_->{outcome} eq 'ok' || $_->{effective}) && !$_->{standby}
		  && (!$serializable || $_->{level} == 2) } @{ $self->{transactions} };
	my %member = map { $_ => 1 } @members;
	my %edges;

	for my $key (keys %{ $self->{lists} })
	{
		my $before;
		for my $value (@{ $self->{lists}{$key} })
		{
			my $writer = $self->{writer}{$value} // next;
			next if !$member{$writer};
			$edges{$before}{$writer} = $writer if $before && $before != $writer;
			$before = $writer;
		}
	}
	for my $t (@members)
	{
		for my $saw (@{ $t->{saw} // [] })
		{
			my ($key, $length, $writer) = @$saw;
			$edges{$writer}{$t} = $t if $writer && $writer != $t && $member{$writer};
			next if !$serializable;
			my $next = $self->{lists}{$key} ? $self->{lists}{$key}[$length] : undef;
			my $overwriter = defined $next ? $self->{writer}{$next} : undef;
			$edges{$t}{$overwriter} = $overwriter if $overwriter && $overwriter != $t && $member{$overwriter};
		}
	}
	for my $cycle (cycles(\@members, \%edges))
	{
		$self->find($kind, join "\n      ", @$cycle . ' transactions', map { $_->{line} } @$cycle[ 0 .. ($#$cycle > 3 ? 3 : $#$cycle) ]);
	}
}

# Strongly connected components of more than one (Tarjan, without recursion).
sub cycles
{
	my ($nodes, $edges) = @_;
	my ($index, %index, %low, %on, @stack, @found) = (0);

	for my $root (@$nodes)
	{
		next if defined $index{$root};
		my @work = ([ $root, [ values %{ $edges->{$root} // {} } ] ]);
		$index{$root} = $low{$root} = $index++;
		push @stack, $root;
		$on{$root} = 1;
		while (@work)
		{
			my ($node, $left) = @{ $work[-1] };
			if (my $next = shift @$left)
			{
				if (!defined $index{$next})
				{
					$index{$next} = $low{$next} = $index++;
					push @stack, $next;
					$on{$next} = 1;
					push @work, [ $next, [ values %{ $edges->{$next} // {} } ] ];
				}
				elsif ($on{$next} && $index{$next} < $low{$node})
				{
					$low{$node} = $index{$next};
				}
				next;
			}
			pop @work;
			$low{ $work[-1][0] } = $low{$node} if @work && $low{$node} < $low{ $work[-1][0] };
			next if $low{$node} != $index{$node};
			my @component;
			my $member;
			do
			{
				$member = pop @stack;
				delete $on{$member};
				push @component, $member;
			} while ($member != $node);
			push @found, \@component if @component > 1;
		}
	}
	return @found;
}

1;
