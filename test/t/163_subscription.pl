# A subscription on a cluster tells its publisher only of what the quorum holds: PostgreSQL lets the
# process that applies changes commit locally, and what it has confirmed is never sent again (H8, H97).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
$publisher->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t');

my $cluster = QuorumCluster->new('subscriber', nodes => 3);
my $leader = $cluster->leader;
$leader->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)');
$leader->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '" . $publisher->connstr . " dbname=postgres' PUBLICATION p");
$publisher->safe_psql('postgres', 'INSERT INTO t VALUES (1)');

sub rows { return $cluster->ask($_[0], q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM t}) // '' }

# Has the publisher been told of everything up to there?
sub confirmed
{
	my ($lsn) = @_;
	return $publisher->safe_psql('postgres', "SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots WHERE slot_name = 's'") eq 't';
}

sub published { return $publisher->safe_psql('postgres', 'SELECT pg_current_wal_lsn()') }

my $lsn = published();
$cluster->wait_until('the first row', sub { rows($leader) eq '1' });
$cluster->wait_until('its confirmation', sub { confirmed($lsn) });
$cluster->wait_for_followers;
pass('what the quorum holds is confirmed to the publisher');

# ---- the followers receive nothing, their workers go on -----------------------------------------

my $applying = q{SELECT pid FROM pg_stat_activity WHERE backend_type ~ '^logical replication (apply )?worker$' AND wait_event = 'SyncRep'};
my @receivers = map { $cluster->ask($_, 'SELECT pid FROM pg_stat_wal_receiver') } $cluster->followers;
kill 'STOP', @receivers;
$publisher->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
$lsn = published();
my $pid = $cluster->wait_until('it is applied', sub { $cluster->ask($leader, $applying) });
pass('what was applied waits for the quorum');
is($cluster->ask($leader, "SELECT pg_cancel_backend($pid)"), 't', '... it is cancelled');
my $beside = $cluster->session($leader);
$beside->send('CREATE TABLE beside ()');
ok(!$beside->finished(1), '... (so does another commit)');
is($cluster->ask($leader, $applying), $pid, '... and waits on');
is(rows($leader), '1', 'nobody sees the row');
ok(!confirmed($lsn), 'the publisher is not told of it');

# ---- a failover: the row was on the old leader alone ---------------------------------------------

$cluster->kill_all($leader);
kill 'CONT', @receivers;
my $next = $cluster->wait_for_leader(not => $leader);
$cluster->wait_until('the row', sub { rows($next) eq '1 2' });
pass('whoever leads next has it, from the publisher if nobody else');
$publisher->safe_psql('postgres', 'INSERT INTO t VALUES (3)');
$lsn = published();
$cluster->wait_until('the next row', sub { rows($next) eq '1 2 3' });
$cluster->wait_until('its confirmation', sub { confirmed($lsn) });
pass('... and goes on');
$cluster->start($leader);
$cluster->wait_for_followers;
$cluster->wait_until('the old leader has the same', sub { rows($leader) eq '1 2 3' });
pass('the old leader follows');
$publisher->stop;

done_testing();
