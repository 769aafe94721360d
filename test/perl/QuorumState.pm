# QuorumState.pm
#	  What the state file of a node says: who it is, and which version wrote it.
#
# The layout is that of src/net/state.c, around that of quorum_hard_state_encode().
package QuorumState;

use strict;
use warnings;

use PostgreSQL::Test::Utils ();

# { format, cluster_id, system_identifier, node_id, uuid }; ids are bytes or numbers as in a
# Hello of QuorumWire.
sub of
{
	my ($node) = @_;
	my $bytes = PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/pg_quorum/state');

	# magic, version, inode and birth of three files, machine, path, payload
	my (undef, $payload) = unpack 'x8 x4 x48 x8 S</a L</a', $bytes;
	my ($major, $minor, %state);
	($major, $minor, @state{qw(cluster_id system_identifier node_id uuid)}) = unpack 'C C a16 Q< L< a16', $payload;
	$state{format} = "$major.$minor";
	return \%state;
}

1;
