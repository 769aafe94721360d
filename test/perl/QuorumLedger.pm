
=head1 NAME

QuorumLedger - which rows a cluster has acknowledged, and whether they are there

=head1 SYNOPSIS

  my $ledger = QuorumLedger->new($cluster);
  $ledger->write($node) or note $cluster->{last_error};
  is($ledger->missing, '', 'every acknowledged id is there');

A row whose answer never came may be there or not.

=cut

package QuorumLedger;

use strict;
use warnings;

use Time::HiRes qw(time usleep);

sub new
{
	my ($class, $cluster) = @_;
	my $self = bless { cluster => $cluster, id => 0, acked => {} }, $class;

	$cluster->leader->safe_psql('postgres', 'CREATE TABLE ledger (id int PRIMARY KEY)');
	return $self;
}

sub statement { return 'INSERT INTO ledger VALUES (' . ++$_[0]{id} . ')'; }

# What was asked for last has been acknowledged.
sub acknowledged { $_[0]{acked}{ $_[0]{id} } = 1; }

sub count { return scalar keys %{ $_[0]{acked} }; }

# One row by way of $node: true when it is acknowledged.
sub write
{
	my ($self, $node, $limit) = @_;

	return 0 unless defined $self->{cluster}->ask($node, $self->statement, timeout => $limit // 2);
	$self->acknowledged;
	return 1;
}

# Through an open session: milliseconds until the row is acknowledged; undef = it is not.
sub timed
{
	my ($self, $session, $limit) = @_;
	my $from = time();

	return undef unless defined $session->ask($self->statement, $limit // 20);
	$self->acknowledged;
	return 1000 * (time() - $from);
}

# The same on a session of a node that does not lead yet: tried until it does.
sub timed_until
{
	my ($self, $session, $limit) = @_;
	my $from = time();

	while (time() < $from + $limit)
	{
		return 1000 * (time() - $from) if defined $self->timed($session, $limit);
		usleep(2_000);
	}
	return undef;
}

# Acknowledged ids that the leader does not have, as a text.
sub missing
{
	my ($self) = @_;
	my $have = $self->{cluster}->wait_until('an answer of the leader', sub {
		my $leader = $self->{cluster}->wait_for_leader;
		my $text = $self->{cluster}->ask($leader, "SELECT 'ids ' || coalesce(string_agg(id::text, ' '), '') FROM ledger");
		return $text;
	});
	my %have = map { $_ => 1 } split / /, $have;

	return join ' ', grep { !$have{$_} } sort { $a <=> $b } keys %{ $self->{acked} };
}

1;
