# A leader whose worker is well and whose service is not gives its term up.
#
# Heartbeats pass all the time.  G2: nobody can stream from it.  G3: its disk is nearly
# full.  G1: the flush of its WAL hangs.  And a follower whose state cannot be written, one
# whose disk is full (H85), and servers that are out of connections (H82).

use strict;
use warnings;

use File::Spec;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumHba;
use QuorumPreload;
use PostgreSQL::Test::Utils;
use Test::More;

# A library that makes the flush of WAL files hang as long as a file exists; with another one
# there is no more room for the state than what the reserve takes.
my $hang = QuorumPreload::library('hang', <<'C');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static int is_file(int fd, const char *end)
{
	char link[64], path[4096];
	ssize_t n;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	return n > (ssize_t) strlen(end) && strcmp(path + n - strlen(end), end) == 0;
}
ssize_t write(int fd, const void *bytes, size_t size)
{
	if (access("full_disk", F_OK) == 0 && access("pg_quorum/reserve", F_OK) == 0 && is_file(fd, "/pg_quorum/state.tmp"))
	{
		errno = ENOSPC;
		return -1;
	}
	return ((ssize_t (*)(int, const void *, size_t)) dlsym(RTLD_NEXT, "write"))(fd, bytes, size);
}
int posix_fallocate(int fd, off_t offset, off_t size)
{
	if (access("full_disk", F_OK) == 0 && is_file(fd, "/pg_quorum/reserve"))
		return ENOSPC;
	return ((int (*)(int, off_t, off_t)) dlsym(RTLD_NEXT, "posix_fallocate"))(fd, offset, size);
}
int fdatasync(int fd)
{
	char link[64], path[4096];
	const char *hang = getenv("HANG_WAL");
	struct stat st;
	ssize_t n;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	while (hang != NULL && strstr(path, "/pg_wal/0") != NULL && strstr(path, hang) != NULL &&
		   stat("hang_wal", &st) == 0)
		usleep(10000);
	return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
C
$ENV{LD_PRELOAD} = $hang if defined $hang;
$ENV{HANG_WAL} = '/pgdata/';
my $cluster = QuorumCluster->new('grey', nodes => 3, conf => 'max_connections = 10');
delete $ENV{LD_PRELOAD};
my $leader = $cluster->leader;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)');
$cluster->wait_for_followers;

my $id = 0;

# One acknowledged row from whoever leads.
sub write_one
{
	$id++;
	$cluster->wait_until("row $id is acknowledged", sub {
		my $node = $cluster->leader;
		my $session = $cluster->session($node);
		return defined $session->ask("INSERT INTO t VALUES ($id) ON CONFLICT DO NOTHING");
	});
}

sub another_leads
{
	my ($before, $why) = @_;

	$cluster->wait_until($why, sub {
		for my $node (grep { $_ != $before } $cluster->nodes)
		{
			return 1 if ($cluster->ask($node, 'SELECT quorum.is_leader()') // '') eq 't';
		}
		return 0;
	});
	return pass($why);
}

sub told
{
	my ($node, $what) = @_;
	return ok($cluster->wait_for_log($node, qr/$what/, 0), "... and tells why: $what");
}

write_one();

# ---- G2: the quorum port is open, the replication port is not ----------------------

my $hba = QuorumHba->new($leader);
$hba->refuse_streams($cluster);
$cluster->ask($leader, 'SELECT pg_terminate_backend(pid) FROM pg_stat_replication');
another_leads($leader, 'nobody can stream from the leader: another one leads');
told($leader, 'the others hear it but cannot stream from it');
$hba->put_back;
$leader->reload;
write_one();
$cluster->wait_for_followers;

# ---- G3: no room ------------------------------------------------------------------

$leader = $cluster->leader;
$cluster->ask($leader, "ALTER SYSTEM SET quorum.min_free_space = '1000000GB'");
$leader->reload;
another_leads($leader, 'the disk of the leader is nearly full: another one leads');
told($leader, 'handing term \d+ over');
write_one();
$cluster->wait_for_followers;
$leader->append_conf('postgresql.auto.conf', "quorum.min_free_space = 0");
$leader->reload;

# ---- G1: the flush hangs ------------------------------------------------------------

SKIP:
{
	skip 'gcc could not build the hanging disk', 2 if !defined $hang;
	$leader = $cluster->leader;
	my $flag = $leader->data_dir . '/hang_wal';
	PostgreSQL::Test::Utils::append_to_file($flag, '');
	my $writer = $cluster->session($leader);
	$writer->send('INSERT INTO t VALUES (1000)');
	another_leads($leader, 'the WAL of the leader does not get to its disk: another one leads');
	told($leader, 'its WAL does not get to its disk');
	unlink $flag;
	write_one();
	$cluster->wait_for_followers;
}

# ---- R1: a promise that cannot be written is not made ---------------------------------

$leader = $cluster->leader;
my ($full) = $cluster->followers;
my $from = $cluster->log_size($full);
chmod 0500, $full->data_dir . '/pg_quorum' or die "chmod: $!";
$cluster->ask($leader, 'SELECT quorum.switchover()', timeout => 20);
another_leads($leader, 'a switchover');
$cluster->wait_for_log($full, qr/the state of this node could not be written: it takes no part/, $from);
$cluster->wait_until('its reason', sub {
	($cluster->ask($full, 'SELECT reason FROM quorum.status') // '') =~ /state of this node could not be written/ });
pass('a node that cannot write its state takes no part, and says why');
chmod 0700, $full->data_dir . '/pg_quorum' or die "chmod: $!";
$cluster->wait_for_followers;
pass('it takes part again when it can, without a restart');

# ---- H85: a full disk, and what was put aside for a vote --------------------------------------

SKIP:
{
	skip 'gcc could not build the full disk', 5 if !defined $hang;
	$leader = $cluster->leader;
	my @voters = $cluster->followers;
	my $reserve = sub { $_[0]->data_dir . '/pg_quorum/reserve' };

	is(scalar(grep { (-s $reserve->($_) // 0) >= 65536 } @voters), 2, 'there is a reserve for the state');
	append_to_file($_->data_dir . '/full_disk', '') for @voters;
	$cluster->kill_all($leader);
	my $next = $cluster->wait_for_leader(not => $leader);
	pass('with full disks votes are written all the same');
	is(scalar(grep { -e $reserve->($_) } @voters), 0, '... in place of the reserve');
	unlink $_->data_dir . '/full_disk' for @voters;
	write_one();
	$cluster->start($leader);
	$cluster->wait_for_followers;
	$cluster->ask($next, 'SELECT quorum.switchover()', timeout => 20);
	another_leads($next, 'another election');
	$cluster->wait_until('the reserve', sub { (grep { -e $reserve->($_) } @voters) == 2 });
	pass('where there is room there is a reserve again');
	$cluster->wait_for_followers;
}

# ---- H82: no connection is left ---------------------------------------------------------------

# Sessions of the node, as many as it takes.
sub fill
{
	my ($node) = @_;
	my @sessions;

	while (1)
	{
		my $session = $cluster->session($node);
		return @sessions if !defined $session->ask('SELECT 1');
		push @sessions, $session;
	}
}

$leader = $cluster->leader;
my @others = $cluster->followers;
my %seats = map { $_->{quorum_name} => [ fill($_) ] } $leader, @others;
is($cluster->ask($_, 'SELECT 1'), undef, "$_->{quorum_name} takes no connection any more") for $leader, @others;
$cluster->kill_all($leader);
my $seat = $cluster->wait_until('a leader with an open gate', sub {
	my ($found) = grep { ($_->ask('SELECT role || gate FROM quorum.status') // '') eq 'leaderopen' } map { $seats{ $_->{quorum_name} }[0] } @others;
	return $found;
});
pass('with every connection taken on all nodes another one leads');
$id++;
ok(defined $seat->ask("INSERT INTO t VALUES ($id)"), '... and the other one streams from it');
undef $seat;
%seats = ();
$cluster->start($leader);
$cluster->wait_for_followers;

is($cluster->ask($cluster->leader, "SELECT count(*) FROM t WHERE id <= $id"), $id,
	'every acknowledged row is there');

done_testing();
