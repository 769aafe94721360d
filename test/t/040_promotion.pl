# Nobody but the elected node takes a timeline (V8).
#
# pg_promote() and pg_ctl promote on a follower, both as superuser: the follower must come
# back as a standby under the same pid, without a new timeline, and the leader must not
# notice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('promotion', nodes => 3);
my $leader = $cluster->leader;
my ($follower) = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;
my $term = $cluster->ask($leader, 'SELECT term FROM quorum.status');

sub histories
{
	my ($node) = @_;
	return join ' ', sort map { s{.*/}{}r } glob($node->data_dir . '/pg_wal/*.history');
}

for my $how ('pg_promote()', 'pg_ctl promote')
{
	my $pid = $cluster->postmaster_pid($follower);
	my $before = histories($follower);
	my $size = $cluster->log_size($follower);

	if ($how eq 'pg_promote()')
	{
		$cluster->ask($follower, 'SELECT pg_promote(true, 10)');
	}
	else
	{
		IPC::Run::run([ 'pg_ctl', '-D', $follower->data_dir, '-W', 'promote' ],
			'>', \my $out, '2>', \my $err);
	}
	$cluster->wait_for_log($follower, qr/entering standby mode/, $size);
	$cluster->wait_for_followers;
	pass("$how: the follower is a standby again and follows");
	my $log = slurp_file($follower->logfile, $size);
	like($log, qr/promotion to timeline \d+ stopped: this node was not elected/,
		"$how: it is stopped when PostgreSQL has chosen a timeline");
	unlike($log, qr/archive recovery complete/, "$how: but did not take it");
	is(histories($follower), $before, "$how: no history file is left");
	is($cluster->postmaster_pid($follower), $pid, "$how: same pid");
	is($cluster->ask($leader, 'SELECT role || term FROM quorum.status'), "leader$term",
		"$how: the leader did not notice");
}
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (1)'), 'the leader accepts writes');

done_testing();
