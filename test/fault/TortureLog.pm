# TortureLog.pm
#	  Terms, votes and gates, by what the servers wrote into their logs and whom clients were
#	  served by.
#
# A frozen server writes that its gate is closed when it thaws, so that its own line says
# nothing about when it ended: a gate is open from its line in the log, or the first answer to
# a client, whichever came first, until the last transaction that it served.
package TortureLog;

use strict;
use warnings;

# What a line of quorum says: { event, term, peer, at: seconds, of a server }, or nothing.
sub parse
{
	my ($line) = @_;
	my ($at, $text) = $line =~ /^(?:(\d+\.\d+) |.* UTC witness\[\d+\] )LOG:  quorum: (.*)/ or return;
	my ($event, $term, $peer)
	  = $text =~ /^candidate in term (\d+)$/ ? ('candidate', $1)
	  : $text =~ /^voted for (\S+) \(\d+\) in term (\d+)$/ ? ('voted', $2, $1)
	  : $text =~ /^elected leader of term (\d+)$/ ? ('elected', $1)
	  : $text =~ /^leader is (\S+) \(\d+\) in term (\d+)$/ ? ('leader', $2, $1)
	  : $text =~ /^promoted to timeline (\d+)$/ ? ('promoted', $1)
	  : $text =~ /^gate open in term (\d+)$/ ? ('gate', $1)
	  : $text =~ /^invited as node \d+, joining$/ ? ('joined', 0)
	  : return;
	return { at => $at, event => $event, term => $term, peer => $peer };
}

# What a line says about how a term ended, who came back and who belongs: { event, term, why }.
sub parse_course
{
	my ($line) = @_;
	my ($text) = $line =~ /^\d+\.\d+ LOG:  quorum: (.*)/ or return;
	my ($event, $term, $why)
	  = $text =~ /^resigned from term (\d+): (.*)$/ ? ('resigned', $1, $2)
	  : $text =~ /^leader \S+ \(\d+\) of term (\d+) lost: (.*)$/ ? ('lost', $1, $2)
	  : $text =~ /^(rewound|cloned) and following in term (\d+), / ? ($1, $2)
	  : $text =~ /^invited as node \d+, joining$/ ? ('joined', 0)
	  : return;
	return { event => $event, term => $term, why => $why };
}

# A change of leader is a term that was begun by an election and whose gate opened after an
# earlier one had served; a failover is one that nobody had asked for.  Why a leader lost its
# term: what it says itself comes before what others say of it, or of one that is silent.
# events: of parse(), courses: of parse_course(), both { node => [...] }.
sub count_changes
{
	my ($events, $courses) = @_;
	my (%elected, %gate, %said, %count);

	for my $node (keys %$events)
	{
		for (@{ $events->{$node} })
		{
			$elected{ $_->{term} } = 1 if $_->{event} eq 'elected';
			$gate{ $_->{term} } = $node if $_->{event} eq 'gate';
		}
	}
	for (map { @{ $courses->{$_} } } sort keys %$courses)
	{
		$said{ $_->{term} }{ $_->{event} } //= $_->{why} if $_->{event} =~ /^(resigned|lost)$/;
		$count{ $_->{event} }++;
	}
	my ($first, @later) = sort { $a <=> $b } keys %gate;
	my %changes = (failovers => 0, switchovers => 0, moved => 0, why => {}, map { $_ => $count{$_} // 0 } qw(rewound cloned joined));
	my $before = $first;
	for my $term (grep { $elected{$_} } @later)
	{
		my $why = $said{$before}{resigned} // $said{$before}{lost} // 'it says nothing';
		$changes{ $why eq 'handed over' ? 'switchovers' : 'failovers' }++;
		$changes{why}{$why}++ if $why ne 'handed over';
		$changes{moved}++ if $gate{$term} ne $gate{$before};
		$before = $term;
	}
	return \%changes;
}

# events: { node => [of parse(), in the order of the log] }; find: code that takes kind and text.
# Returns { term => [instant of its first open gate, node] }.
sub check_terms
{
	my ($events, $find) = @_;
	my (%elected, %gate);

	for my $node (sort keys %$events)
	{
		my ($term, %vote) = (0);
		for (@{ $events->{$node} })
		{
			# another member from here on, also where it has the name of one that was lost
			%vote = () if $_->{event} eq 'joined';
			next if $_->{event} eq 'joined';
			$find->('falling term', "$node: $_->{event} in term $_->{term} after term $term") if $_->{term} < $term;
			$term = $_->{term} if $_->{term} > $term;
			my $for = $_->{event} eq 'candidate' ? $node : $_->{event} eq 'voted' ? $_->{peer} : undef;
			$find->('two votes', "$node voted for $vote{ $_->{term} } and $for in term $_->{term}")
			  if defined $for && ($vote{ $_->{term} } // $for) ne $for;
			$vote{ $_->{term} } //= $for;
			$elected{ $_->{term} }{$node} = 1 if $_->{event} =~ /^(elected|gate)$/;
			$elected{ $_->{term} }{ $_->{peer} } = 1 if $_->{event} eq 'leader' && $_->{peer} ne 'node';    # who has left
			$gate{ $_->{term} } //= [ $_->{at}, $node ] if $_->{event} eq 'gate';
		}
	}
	for my $term (sort { $a <=> $b } keys %elected)
	{
		my @leaders = sort keys %{ $elected{$term} };
		$find->('two leaders', "term $term: @leaders") if @leaders > 1;
	}
	return \%gate;
}

# Nobody is served in a term when the gate of a later one is open already.
# gates: { term => instant }, where known; transactions: with outcome, term, start, end, line;
# instants of both are microseconds of one clock.
sub check_gates
{
	my ($gates, $transactions, $find) = @_;
	my %open = %$gates;
	my @served = grep { $_->{outcome} eq 'ok' && $_->{term} } @$transactions;
	my (%later, $soonest);

	for (@served)
	{
		$open{ $_->{term} } = $_->{end} if !defined $open{ $_->{term} } || $_->{end} < $open{ $_->{term} };
	}
	for my $term (sort { $b <=> $a } keys %open)
	{
		$later{$term} = $soonest;
		$soonest = [ $open{$term}, $term ] if !$soonest || $open{$term} < $soonest->[0];
	}
	for (@served)
	{
		my $later = $later{ $_->{term} } // next;
		$find->('gates overlap', sprintf 'the gate of term %d was open since %.3f s: %s', $later->[1], ($_->{start} - $later->[0]) / 1e6, $_->{line})
		  if $_->{start} > $later->[0];
	}
	return;
}

1;
