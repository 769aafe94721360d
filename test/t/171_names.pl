# A resolver of host names that does not answer stops nothing that goes on (H81).
#
# Members are known by the name of their host.  One of them is away, so the others ask for its
# address again, and wait ten leases for the answer.  Meanwhile the leader keeps its lease; and
# when it dies nobody asks for an address that is known.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumPreload;
use PostgreSQL::Test::Utils;
use Test::More;

my $answer_after = 10;    # seconds; ten leases

# A library in which names, not numbers, take that long to look up, as long as a file exists.
my $library = QuorumPreload::library('names', <<"C");
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/stat.h>
#include <unistd.h>
static void note(const char *name)
{
	close(open(name, O_CREAT | O_WRONLY, 0600));
}
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	struct stat st;
	if (node != NULL && (hints == NULL || !(hints->ai_flags & AI_NUMERICHOST)) && stat("slow_names", &st) == 0)
	{
		note("names_asked");
		for (int i = 0; i < $answer_after * 100; i++)
			usleep(10000);
		note("names_answered");
	}
	return ((int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))
			dlsym(RTLD_NEXT, "getaddrinfo"))(node, service, hints, found);
}
C
plan skip_all => 'gcc could not build the slow resolver' if !defined $library;
my $cluster;
{
	local $ENV{LD_PRELOAD} = $library;
	$cluster = QuorumCluster->new('names', nodes => 3, host => 'localhost', conf => q{listen_addresses = 'localhost'});
}
my $leader = $cluster->leader;
my ($second, $third) = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;
my $client = $cluster->session($leader);
$client->ask('SELECT 1');
my $term = $client->ask('SELECT term FROM quorum.status');

sub mark { return $_[0]->data_dir . "/$_[1]" }

append_to_file(mark($_, 'slow_names'), '') for $leader, $second;
$cluster->kill_all($third);
$cluster->wait_until('both ask for the address of who is away', sub { -e mark($leader, 'names_asked') && -e mark($second, 'names_asked') }, 90);

# The answer is on its way for ten leases.
my ($answered, $late) = (0, 0);
$cluster->wait_until('an answer', sub {
	$client->send('INSERT INTO t VALUES (1)');
	$client->finished($cluster->lease / 1000) && $client->error eq '' ? $answered++ : $late++;
	return $late || -e mark($leader, 'names_answered') && -e mark($second, 'names_answered');
}, 3 * $answer_after);
is($late, 0, "while names are looked up every commit is answered within a lease ($answered of them)");
is($client->ask('SELECT role || term FROM quorum.status'), "leader$term", 'nobody else has led meanwhile');
$cluster->wait_for_log($leader, qr/looking up host "localhost" of another node took \d+ ms/, 0);
pass('the log names the resolver');
unlink mark($leader, 'slow_names') or die "unlink: $!";
unlink mark($second, 'slow_names') or die "unlink: $!";

{
	local $ENV{LD_PRELOAD} = $library;
	$cluster->start($third);
}
$cluster->wait_for_followers;
pass('who was away is back');

# ---- a failover -------------------------------------------------------------------------

append_to_file(mark($_, 'slow_names'), '') for $second, $third;
$cluster->kill_all($leader);
my $next = eval { $cluster->wait_for_leader(not => $leader, limit => $answer_after - 1) };
ok($next, 'a failover waits for no resolver');
$next //= $cluster->wait_for_leader(not => $leader);
is($cluster->ask($next, 'SELECT count(*) FROM t'), $answered, 'every acknowledged row is there');
unlink mark($_, 'slow_names') for $second, $third;
$cluster->start($leader);
$cluster->wait_for_followers;
pass('the old leader follows');

done_testing();
