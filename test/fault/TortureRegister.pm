# TortureRegister.pm
#	  Is there an order of all operations on a register in which each could have answered what
#	  it did, and nobody overtakes who was answered before it began?
#
# The search of Wing and Gong, with Lowe's memory of what was tried: from the operations that
# may come next one is taken, whose answer fits; who must come next and does not fit sends the
# search back.  An operation without an answer may come at any time after its start, or never.
# The search is bounded: a register for which it takes too long is undecided.
package TortureRegister;

use strict;
use warnings;

our $steps_max = 300_000;

# operations: [{ start, end (undef: no answer), what (R, W, C), value or old and new, result }];
# the register is '' before the first.  Returns 'yes', 'undecided', or 'no' and why.
sub linearizable
{
	my (@operations) = @_;
	my @entries = entries(@operations);
	my $left = grep { defined $_->{end} } @operations;
	my ($head, $state, $steps, @taken, %tried) = ({}, '', 0);
	my $done = '';
	my $deepest = [ -1, '' ];

	link_up($head, @entries);
	my $entry = $head->{next};
	while ($left)
	{
		return 'undecided' if ++$steps > $steps_max;
		if ($entry && $entry->{call})
		{
			my $next = after($state, $entry->{operation});
			if (defined $next)
			{
				vec($done, $entry->{id}, 1) = 1;
				if (!$tried{"$done $next"}++)
				{
					push @taken, [ $entry, $state ];
					$state = $next;
					$left-- if $entry->{match};
					lift($entry);
					$entry = $head->{next};
					next;
				}
				vec($done, $entry->{id}, 1) = 0;
			}
			$entry = $entry->{next};
			next;
		}

		# Who returned here should have come before, or nobody fits any more.
		$deepest = [ scalar @taken, $state, $entry ] if @taken > $deepest->[0];
		return ('no', why($deepest)) if !@taken;
		($entry, $state) = @{ pop @taken };
		$left++ if $entry->{match};
		vec($done, $entry->{id}, 1) = 0;
		unlift($entry);
		$entry = $entry->{next};
	}
	return 'yes';
}

# What the register holds after the operation; undef: it cannot have been answered so.
sub after
{
	my ($state, $op) = @_;
	return $state eq $op->{value} ? $state : undef if $op->{what} eq 'R';
	return $op->{value} if $op->{what} eq 'W';
	my $same = $state eq $op->{old};
	return $same ? $op->{new} : undef if !defined $op->{end} || $op->{result};
	return $same ? undef : $state;
}

sub why
{
	my ($deepest) = @_;
	my ($count, $state, $entry) = @$deepest;
	return "after $count operations, which leave '$state', nothing fits; next to return is "
	  . ($entry ? $entry->{operation}{line} // 'an operation' : 'nobody');
}

# Calls and returns by time; calls come first where both are at one instant.
sub entries
{
	my (@operations) = @_;
	my (@entries, $id);
	$id = 0;
	for my $operation (@operations)
	{
		my $call = { call => 1, at => $operation->{start}, operation => $operation, id => $id++ };
		push @entries, $call;
		next if !defined $operation->{end};
		$call->{match} = { call => 0, at => $operation->{end}, operation => $operation };
		push @entries, $call->{match};
	}
	return sort { $a->{at} <=> $b->{at} || $b->{call} <=> $a->{call} } @entries;
}

sub link_up
{
	my ($before, @entries) = @_;
	for my $entry (@entries)
	{
		$before->{next} = $entry;
		$entry->{before} = $before;
		$before = $entry;
	}
	return;
}

# Take a call and its return out of the list.
sub lift
{
	for my $entry (grep { defined } $_[0]{match}, $_[0])
	{
		$entry->{before}{next} = $entry->{next};
		$entry->{next}{before} = $entry->{before} if $entry->{next};
	}
	return;
}

# Put them back, in the reverse order.
sub unlift
{
	for my $entry (grep { defined } $_[0], $_[0]{match})
	{
		$entry->{before}{next} = $entry;
		$entry->{next}{before} = $entry if $entry->{next};
	}
	return;
}

1;
