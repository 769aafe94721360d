# TortureCheck.pm
#	  Judges what the clients of torture.pl wrote down against what the cluster has in the end.
#
# Values are unique, and lists only grow: the final list of a key is the order in which its
# values were committed, and every read must be a beginning of it.  What must not be there:
#
#	lost        acknowledged and not there        duplicate   there twice
#	G1a         of a transaction that failed      G1b         read half way through a transaction
#	vanished    read once, and not there          stale       acknowledged before the read began, not in it
#	bank        a total that changed              seq         a number handed out twice
#	register    answers that no order explains
#
# Circles of transactions are TortureGraph.pm, orders of answers TortureRegister.pm, whose turn
# it was TortureLog.pm; files that must be the same TortureFiles.pm.  Nobody here asks a server.
package TortureCheck;

use strict;
use warnings;
use TortureGraph;
use TortureRegister;

my $shown = 5;            # findings of one kind that are told in full

sub new
{
	my ($class, %self) = @_;
	return bless { %self, found => {}, count => {}, ok => 0, failed => 0, unknown => 0, reads => 0, standby_reads => 0,
		registers_judged => 0, undecided => 0, transactions => [] }, $class;
}

sub find
{
	my ($self, $kind, $text) = @_;
	push @{ $self->{found}{$kind} }, $text if ++$self->{count}{$kind} <= $shown;
}

# For those who have no findings of their own.
sub finder
{
	my ($self) = @_;
	return sub { $self->find(@_) };
}

# Of the cluster when all is quiet: lists { key => [values in order] }, total, numbers { n => 1 },
# ledger { id => how often }, registers { key => value }.
sub final
{
	my ($self, %there) = @_;
	@$self{ keys %there } = values %there;
	for my $key (keys %{ $self->{lists} })
	{
		my $position = 0;
		for my $value (@{ $self->{lists}{$key} })
		{
			$self->find('duplicate', "value $value of key $key") if exists $self->{place}{$key}{$value};
			$self->{place}{$key}{$value} = $position++;
		}
	}
	for my $id (grep { $self->{ledger}{$_} > 1 } keys %{ $self->{ledger} })
	{
		$self->find('duplicate', "id $id of the ledger, $self->{ledger}{$id} times");
	}
}

sub parse
{
	my ($self, $line, $standby) = @_;
	my ($start, $end, $outcome, $level, $port, $term, $kind, @operations) = split / /, $line;
	return if !defined $kind || $end !~ /^\d+$/;    # cut off with its client
	$self->{$outcome}++;
	my $t = { start => $start, end => $outcome eq 'unknown' ? undef : $end, outcome => $outcome, level => $level, term => $term,
		kind => $kind, operations => \@operations, standby => $standby, line => length $line > 200 ? substr($line, 0, 200) . '...' : $line };
	push @{ $self->{transactions} }, $t;
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
	my %judge = (ledger => \&check_ledger, bank => \&check_bank, seq => \&check_sequence, register => \&note_register, list => sub {});
	for my $t (@{ $self->{transactions} })
	{
		$self->check_appends($t) if $t->{appends};
		$judge{ $t->{kind} }->($self, $t);
		$self->find('lost', "prepared and acknowledged: $t->{line}") if ($t->{operations}[-1] // '') eq 'p:gone';
	}
	$self->find('bank', "the final total is $self->{total}, not 0") if $self->{total} != 0;
	$self->check_registers;
	$self->index_acknowledged;
	my @lists = grep { $_->{kind} eq 'list' } @{ $self->{transactions} };
	$self->check_reads($_) for @lists;
	TortureGraph::check(list => [ grep { $_->{outcome} eq 'ok' || $_->{effective} } @lists ], lists => $self->{lists},
		writer => $self->{writer}, find => $self->finder);
	return $self->{count};
}

# ---- what was written ------------------------------------------------------------------------

sub check_appends
{
	my ($self, $t) = @_;
	for my $key (keys %{ $t->{appends} })
	{
		my @there = grep { exists $self->{place}{$key}{$_} } @{ $t->{appends}{$key} };
		$t->{effective} = 1 if @there && $t->{outcome} ne 'failed';
		$self->judge_writes($t, "key $key", scalar @{ $t->{appends}{$key} }, @there);
	}
}

sub check_ledger
{
	my ($self, $t) = @_;
	my @ids = map { /^l:(\d+)/ ? $1 : () } @{ $t->{operations} };
	$self->judge_writes($t, 'ledger', scalar @ids, grep { $self->{ledger}{$_} } @ids);
}

# All of an acknowledged transaction, nothing of a failed one; all or nothing of another.
sub judge_writes
{
	my ($self, $t, $where, $written, @there) = @_;
	if ($t->{outcome} eq 'ok')
	{
		$self->find('lost', "$where: $t->{line}") if @there != $written;
	}
	elsif ($t->{outcome} eq 'failed')
	{
		$self->find('G1a', "$where has @there: $t->{line}") if @there;
	}
	elsif (@there && @there != $written)
	{
		$self->find('lost', "$where, half of: $t->{line}");
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

# ---- registers -------------------------------------------------------------------------------

# What was refused has no effect; a read without an answer has none either.
sub note_register
{
	my ($self, $t) = @_;
	my ($what, $key, @values) = split /:/, $t->{operations}[0] // return, -1;
	return if $t->{outcome} eq 'failed';
	my %op = (start => $t->{start}, end => $t->{end}, what => $what, line => $t->{line});
	@op{qw(old new result)} = @values if $what eq 'C';
	$op{value} = $values[0] if $what ne 'C';
	push @{ $self->{register}{$key} }, \%op;
}

# The last operation on each is a read of what is there.
sub check_registers
{
	my ($self) = @_;
	for my $key (sort keys %{ $self->{register} // {} })
	{
		my @operations = @{ $self->{register}{$key} };
		my ($last) = sort { $b <=> $a } map { $_->{end} // $_->{start} } @operations;
		push @operations, { start => $last + 1, end => $last + 2, what => 'R', value => $self->{registers}{$key} // '', line => 'what is there in the end' };
		my ($verdict, $why) = TortureRegister::linearizable(@operations);
		$self->{registers_judged}++;
		$self->{undecided}++ if $verdict eq 'undecided';
		$self->find('register', "register $key of " . @operations . " operations: $why") if $verdict eq 'no';
	}
}

# ---- reads -----------------------------------------------------------------------------------

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

# Rows that were shown are there for ever, whatever became of the transaction that saw them.
sub check_reads
{
	my ($self, $t) = @_;
	my %own;
	for (@{ $t->{operations} })
	{
		my ($what, $key, $text) = split /:/, $_, 3;
		if ($what eq 'a')
		{
			$own{$key}{$text} = 1;
			next;
		}
		$t->{standby} ? $self->{standby_reads}++ : $self->{reads}++;
		my ($length, $others, $last) = $self->judge_values($t, $key, $text // '', $own{$key});
		my $known = $self->acknowledged_before($key, $t->{start});
		$self->find('stale', "key $key, $length values, acknowledged was place $known: $t->{line}")
		  if !$t->{standby} && $known >= $length;
		my $writer = defined $last ? $self->{writer}{$last} : undef;
		my $written = $writer ? $writer->{appends}{$key} : undef;
		$self->find('G1b', "key $key ends with $last: $t->{line}") if $written && $written->[-1] != $last;
		push @{ $t->{saw} }, [ $key, $others, $writer ] if $t->{outcome} eq 'ok';
	}
}

# How many values were read, how many of them of others, and the last of these.
sub judge_values
{
	my ($self, $t, $key, $text, $own) = @_;
	$self->{text}{$key} //= join '', map { "$_," } @{ $self->{lists}{$key} // [] };

	# the usual case, at once: it is the beginning of the list
	if (!$own && ($text eq '' || substr($self->{text}{$key}, 0, 1 + length $text) eq "$text,"))
	{
		my $count = $text eq '' ? 0 : 1 + ($text =~ tr/,//);
		return ($count, $count, $count ? substr($text, 1 + rindex $text, ',') : undef);
	}

	# own values may be followed by nothing: they are locked
	my @values = split /,/, $text;
	my @others = grep { !$own->{$_} } @values;
	$self->check_order($t, $key, @others);
	return (scalar @values, scalar @others, $others[-1]);
}

# What was read is what is there, in that order.
sub check_order
{
	my ($self, $t, $key, @others) = @_;
	my $place = 0;
	for my $value (@others)
	{
		my $is = $self->{place}{$key}{$value};
		if (!defined $is || $is != $place)
		{
			my $why = !defined $is ? 'is not there' : "is at $is";
			my $kind = $self->{writer}{$value} && $self->{writer}{$value}{outcome} eq 'failed' ? 'G1a' : 'vanished';
			$self->find($kind, "value $value of key $key $why, read at $place: $t->{line}");
			return;
		}
		$place++;
	}
}

1;
