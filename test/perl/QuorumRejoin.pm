# QuorumRejoin.pm
#	  A node that rewinds or clones itself, killed in a phase of it.
#
#	my $killer = QuorumRejoin::kill_when($cluster, $node, QuorumRejoin::in_phase('placed'), $victim);
#	$node->start(fail_ok => 1);
#	QuorumRejoin::killed($killer) or …		# it was over before
package QuorumRejoin;

use strict;
use warnings;

use POSIX ();
use Time::HiRes qw(time usleep);

# Nothing of a rewind or a clone is left when this file is gone.
sub journal { return $_[0]->data_dir . '/pg_quorum/pgsql_tmp.rewind/journal'; }

sub in_phase
{
	my ($phase) = @_;
	return sub {
		my ($node) = @_;
		open(my $in, '<', journal($node)) or return 0;
		local $/;
		return (<$in> // '') =~ /^phase $phase$/m;
	};
}

# A process that kills what $victim->($node) names as soon as $met->($node, $offset) is true of the
# node and of its log since now: the server may still be starting.
sub kill_when
{
	my ($cluster, $node, $met, $victim) = @_;
	my $from = $cluster->log_size($node);
	my $until = time() + 30;
	my $pid = fork() // die "fork: $!";

	return $pid if $pid;
	while (time() < $until)
	{
		if ($met->($node, $from))
		{
			my $target = $victim->($node);
			kill 'KILL', $target if $target;
			POSIX::_exit($target ? 0 : 1);
		}
		POSIX::_exit(1) if $cluster->log_since($node, $from) =~ /(?:rewound|cloned) and following/;
		usleep(100);
	}
	POSIX::_exit(1);
}

# Has it killed what it should?
sub killed
{
	my ($pid) = @_;
	waitpid $pid, 0;
	return $? == 0;
}

1;
