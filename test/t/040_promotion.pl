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
	my $log = $cluster->log_since($follower, $size);
	like($log, qr/promotion to timeline \d+ stopped: this node was not elected/,
		"$how: it is stopped when PostgreSQL has chosen a timeline");
	unlike($log, qr/archive recovery complete/, "$how: but did not take it");
	is(histories($follower), $before, "$how: no history file is left");
	is($cluster->postmaster_pid($follower), $pid, "$how: same pid");
	is($cluster->ask($leader, 'SELECT role || term FROM quorum.status'), "leader$term",
		"$how: the leader did not notice");
}
# What tells of a timeline is a line of the server log: nobody may turn it off, neither by a
# reload nor at the start.  From 19 on each kind of process has a level of its own.
my @silent = ('panic');
push @silent, 'warning, startup:fatal' if $cluster->ask($follower, 'SHOW server_version_num') >= 190000;
sub level_becomes
{
	my ($level) = @_;
	return $cluster->wait_until("log_min_messages is $level", sub {
		return ($cluster->ask($follower, 'SHOW log_min_messages') // '') eq $level;
	});
}
for my $silent (@silent)
{
	$follower->append_conf('postgresql.conf', "log_min_messages = warning");
	$follower->restart;
	level_becomes('warning');
	$follower->append_conf('postgresql.conf', "log_min_messages = '$silent'");
	$follower->reload;
	level_becomes('log');
	pass("log_min_messages = $silent after a reload: is log");
	$follower->restart;
	level_becomes('log');
	pass("log_min_messages = $silent at the start: is log");
	$cluster->wait_for_followers;

	my $size = $cluster->log_size($follower);
	$cluster->ask($follower, 'SELECT pg_promote(true, 10)');
	$cluster->wait_for_log($follower, qr/promotion to timeline \d+ stopped.*entering standby mode/s, $size);
	$cluster->wait_for_followers;
	pass("log_min_messages = $silent: a promotion is stopped");
}
is($cluster->ask($leader, 'SELECT role || term FROM quorum.status'), "leader$term", 'the leader did not notice');
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (1)'), 'the leader accepts writes');

done_testing();
