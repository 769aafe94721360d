# QuorumHba.pm
#	  Who may connect to a node of a QuorumCluster: its pg_hba.conf, changed and put back.
#
#	my $hba = QuorumHba->new($node);
#	$hba->refuse_streams($cluster);		# in force when this returns
#	$hba->put_back;
package QuorumHba;

use strict;
use warnings;

use PostgreSQL::Test::Utils ();

sub new
{
	my ($class, $node) = @_;
	my $file = $node->data_dir . '/pg_hba.conf';

	return bless { node => $node, file => $file, text => PostgreSQL::Test::Utils::slurp_file($file) }, $class;
}

# As it was when this object was made.
sub text { return $_[0]{text} }

# The server reads it at its next reload.
sub write
{
	my ($self, $text) = @_;

	open(my $out, '>', $self->{file}) or die "$self->{file}: $!";
	print $out $text;
	close $out or die "$self->{file}: $!";
	return;
}

sub put_back
{
	my ($self) = @_;
	$self->write($self->{text});
	return;
}

# Nobody begins a stream from this node any more; those that there are go on.
sub refuse_streams
{
	my ($self, $cluster) = @_;

	$self->write("local replication all reject\nhost replication all all reject\n$self->{text}");
	$self->{node}->reload;
	$cluster->wait_until("$self->{node}{quorum_name} refuses streams", sub {
		my (undef, undef, $err) = $self->{node}->psql('postgres', 'IDENTIFY_SYSTEM', replication => 'true');
		return $err =~ /pg_hba\.conf rejects replication connection/;
	});
	return;
}

1;
