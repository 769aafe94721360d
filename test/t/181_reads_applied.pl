# quorum.read_consistency = committed counts what replay has made visible, also while the record that
# did it is still being applied: a commit that drops files is visible before they are gone.
#
# Who truncates a file on which somebody else has a lease (fcntl, F_SETLEASE) waits for the end of
# that lease.  This test has one on a file of the table that is dropped.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use Fcntl qw(F_RDLCK);
use PostgreSQL::Test::Utils;
use Test::More;

my $setlease = 1024;    # F_SETLEASE of Linux
$SIG{IO} = 'IGNORE';    # says that somebody waits

sub lease_on
{
	my ($file) = @_;

	append_to_file($file, '');
	open(my $leased, '<', $file) or die "$file: $!";
	return fcntl($leased, $setlease, F_RDLCK) ? $leased : undef;
}

plan skip_all => "no leases on files here: $!" if $^O ne 'linux' || !lease_on(PostgreSQL::Test::Utils::tempdir() . '/file');

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
my $worker = $cluster->ask($leader, 'SELECT worker_pid FROM quorum.status');

# A second segment, which is truncated when the table is dropped.
my $leased = lease_on($follower->data_dir . '/' . $cluster->ask($leader, "SELECT pg_relation_filepath('dropped')") . '.1')
  // die "no lease: $!";

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
$cluster->wait_until('a row', sub { ($reader{local}->ask('SELECT count(*) FROM t') // '') eq '1' });
pass('a commit is visible on the standby');
is($reader{committed}->ask('SELECT count(*) FROM t'), undef, 'it is not known to be held, so it is not read');
like($reader{committed}->error, qr/not confirmed within 300 ms/, '... and the read says so');
is($reader{local}->ask('SELECT pg_last_wal_replay_lsn()'), $replayed, '... while it is still being applied');

close $leased;
kill 'CONT', $worker;
$cluster->wait_until('it is read', sub { ($reader{committed}->ask('SELECT count(*) FROM t') // '') eq '1' });
pass('it is read when it is known');

done_testing();
