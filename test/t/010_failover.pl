# A dead leader is replaced and nothing acknowledged is missing.
#
# Goal: after SIGKILL of the leader's postmaster, and after SIGKILL of all its
# processes, another voter serves, every acknowledged row is there, the new timeline
# is the term it was elected in, and the old leader serves nothing when it returns.
# Nobody waits for a lease: the dying worker says that it resigns, and where it could
# not, both ports refuse.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('failover', nodes => 3);
my $leader = $cluster->leader;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)');
$cluster->wait_for_followers;

sub acked
{
	my ($node, $from, $to) = @_;
	my @acked;
	for my $id ($from .. $to)
	{
		push @acked, $id if defined $cluster->ask($node, "INSERT INTO t VALUES ($id)");
	}
	return @acked;
}

my @all;

for my $fault ('kill_postmaster', 'kill_all')
{
	my $from = 1 + 1000 * ($fault eq 'kill_all');
	my @ids = acked($leader, $from, $from + 19);
	is(scalar @ids, 20, "$fault: rows are acknowledged before the fault");
	push @all, @ids;

	my %size = map { $_ => $cluster->log_size($_) } $cluster->nodes;
	$cluster->$fault($leader);
	my $new = $cluster->wait_for_leader(not => $leader, limit => 30);
	ok($new, "$fault: another node leads");
	my $how = $fault eq 'kill_all' ? 'both ports refuse' : 'resigned';
	like($cluster->log_since($new, $size{$new}),
		qr/leader $leader->{quorum_name} \(\d+\) of term \d+ lost: $how/,
		"$fault: no lease was waited for, $how");

	my $list = join(',', @all);
	is($cluster->ask($new, "SELECT count(*) FROM t WHERE id IN ($list)"),
		scalar @all, "$fault: every acknowledged row is there");
	is( $cluster->ask($new,
			"SELECT s.term = s.timeline AND s.timeline = c.timeline_id::bigint "
			  . "FROM quorum.status s, pg_control_checkpoint() c"
		) // 'unknown',
		't', "$fault: timeline and term are equal")
	  if $cluster->wait_until('checkpoint on the new timeline', sub {
			  my $same = $cluster->ask($new,
				  "SELECT s.term = c.timeline_id::bigint FROM quorum.status s, pg_control_checkpoint() c");
			  return defined $same && $same eq 't';
		  });
	push @all, acked($new, $from + 500, $from + 500);
	is(scalar(grep { $_ == $from + 500 } @all), 1, "$fault: the new leader accepts writes");

	# The follower that is left follows without being told.
	my @left = grep { $_ != $leader && $_ != $new } $cluster->nodes;
	ok($cluster->wait_for_followers(@left), "$fault: the other node follows");

	# The old leader comes back as a standby, whatever it believed.
	$cluster->start($leader);
	is($cluster->ask($leader, 'SELECT pg_is_in_recovery()'), 't',
		"$fault: the old leader is a standby");
	ok(!defined $cluster->ask($leader, 'INSERT INTO t VALUES (-1)'),
		"$fault: the old leader takes no write");
	ok($cluster->wait_for_followers($leader), "$fault: the old leader follows");
	$leader = $new;
}

done_testing();
