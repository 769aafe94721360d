# QuorumMessage.pm
#	  Messages of the core as bytes, made by hand: what a node says that lies.
#
# The layout is that of src/core/quorum_message.c; what a test does not name is 0.  The frame
# around a message is for QuorumWire.
package QuorumMessage;

use strict;
use warnings;

use constant {
	MAJOR => 3,
	MINOR => 0,
	RESIGN => 8,
	INVITE => 10,
	LEADER => 3,
	VOTER => 1,
	LEARNER => 3,
	POSTMASTER_DIED => 1,
};

sub block { my ($bytes) = @_; return pack('S<', length $bytes) . $bytes; }

# What every message begins with: from, to, term, role, set_term, set_version.
sub head
{
	my ($type, %field) = @_;
	return pack 'C C C L< L< L< C L< L< L< Q<', MAJOR, MINOR, $type,
	  map { $_ // 0 } @field{qw(from to term role set_term set_version tli lsn)};
}

# "My term is over, for my postmaster has died."
sub resign
{
	my (%field) = @_;
	return head(RESIGN, %field) . pack 'C L<', POSTMASTER_DIED, 0;
}

# "Join my cluster as node `to`."  members: { id => name }, of which each shall become a voter.
sub invite
{
	my (%field) = @_;
	my %names = %{ $field{members} };
	my $set = pack 'L< L< L< Q< C', $field{term}, 1, $field{next_node_id}, 0, scalar keys %names;

	$set .= block(pack 'L< C C C S< S< a16 S</a S</a', $_, LEARNER, VOTER, 0, 9, 9, '', $names{$_}, '127.0.0.1')
	  for sort keys %names;
	return head(INVITE, %field, role => LEADER, set_term => $field{term}, set_version => 1)
	  . pack('a16 Q< L<', @field{qw(cluster_id system_identifier to)}) . block($set);
}

1;
