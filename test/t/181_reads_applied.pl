# quorum.read_consistency = committed counts what replay has made visible, also while the record that
# did it is still being applied: a commit that drops files is visible before they are gone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# The leader's worker is held for moments: it must not lose its lease.
my $cluster = QuorumCluster->new('applied', nodes => 3, lease => 10000, conf => 'autovacuum = off');
my $leader = $cluster->leader;
my ($follower) = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int); CREATE TABLE dropped (id int)');
$cluster->wait_for_followers;
my $writer = $cluster->session($leader);
my %reader = map { $_ => $cluster->session($follower) } qw(local committed);
$reader{$_}->ask("SET quorum.read_consistency = $_") for keys %reader;
$reader{committed}->ask('SET quorum.read_timeout = 300');
my $startup = $reader{local}->ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'");
my $worker = $cluster->ask($leader, 'SELECT worker_pid FROM quorum.status');

# So many segments that to remove them takes its time.
my $file = $follower->data_dir . '/' . $cluster->ask($leader, "SELECT pg_relation_filepath('dropped')");
for my $number (1 .. 100_000)
{
	open(my $out, '>', "$file.$number") or die "$file.$number: $!";
	close $out;
}

$writer->ask('BEGIN');
$writer->ask('INSERT INTO t VALUES (1)');
$writer->ask('DROP TABLE dropped');
my $before = $writer->ask('SELECT pg_current_wal_insert_lsn()');
$cluster->wait_until('all but the commit is held and known to be', sub {
	return ($reader{local}->ask("SELECT pg_last_wal_replay_lsn() >= '$before'") // '') eq 't' &&
	  ($reader{committed}->ask('SELECT count(*) FROM t') // '') eq '0';
});
kill 'STOP', $worker;
my $replayed = $reader{local}->ask('SELECT pg_last_wal_replay_lsn()');
$writer->send('COMMIT');
my $until = time() + 60;
1 until $reader{local}->ask('SELECT count(*) FROM t') eq '1' || time() > $until;
kill 'STOP', $startup;
is($reader{local}->ask('SELECT count(*) FROM t'), '1', 'a commit is visible on the standby');
is($reader{local}->ask('SELECT pg_last_wal_replay_lsn()'), $replayed, '... and still being applied');
is($reader{committed}->ask('SELECT count(*) FROM t'), undef, 'it is not known to be held, so it is not read');
like($reader{committed}->error, qr/not confirmed within 300 ms/, '... and the read says so');

kill 'CONT', $startup, $worker;
$cluster->wait_until('it is read', sub { ($reader{committed}->ask('SELECT count(*) FROM t') // '') eq '1' });
pass('it is read when it is known');

done_testing();
