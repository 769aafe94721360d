# QuorumProcesses.pm
#	  The processes of a server: found by their postmaster, told apart by their titles.
package QuorumProcesses;

use strict;
use warnings;

# The postmaster and its children.
sub of
{
	my ($postmaster) = @_;
	my @pids = ($postmaster);

	for my $stat (glob('/proc/[0-9]*/stat'))
	{
		open(my $in, '<', $stat) or next;
		push @pids, $1 if (<$in> // '') =~ /^(\d+) \(.*\) \S (\d+)/s && $2 == $postmaster;
	}
	return @pids;
}

# (pid, title) of the one whose title fits; nothing when there is none.
sub titled
{
	my ($postmaster, $regexp) = @_;

	for my $pid (of($postmaster))
	{
		open(my $in, '<', "/proc/$pid/cmdline") or next;
		my $title = <$in> // '';
		return ($pid, $title) if $title =~ $regexp;
	}
	return;
}

# A zombie, too: it still holds the lock files in the eyes of the next postmaster.
sub runs
{
	my ($pid) = @_;
	return -d "/proc/$pid";
}

# The pid in the lock file of a data directory; undef when there is none.
sub postmaster_of
{
	my ($data_dir) = @_;

	open(my $in, '<', "$data_dir/postmaster.pid") or return undef;
	my $pid = <$in>;
	chomp $pid if defined $pid;
	return $pid;
}

1;
