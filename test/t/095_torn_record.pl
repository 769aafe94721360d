# A power cut may leave a record of which the beginning is here, the end of a segment is torn, and
# the rest never came.  PostgreSQL asks for the segment that comes next, and calls flushed what it
# gets, before recovery has the whole record and finds it torn.  Nothing is acknowledged meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Fcntl qw(SEEK_SET);
use Test::More;

# A restartpoint, or a page that is written, would say that more of the log is needed.
my $cluster = QuorumCluster->new('torn', nodes => 3, conf => qq{
autovacuum = off
bgwriter_lru_maxpages = 0
checkpoint_timeout = 1h
max_wal_size = 2GB
});
my $leader = $cluster->leader;
my ($node) = $cluster->followers;
my $segment = 16 * 1024 * 1024;

# ---- a torn record -----------------------------------------------------------------------

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$leader->safe_psql('postgres', 'CHECKPOINT');
$leader->safe_psql('postgres', 'SELECT pg_switch_wal()');
$cluster->wait_for_followers;
my $replayed = sub { ($cluster->ask($node, "SELECT pg_last_wal_replay_lsn() >= '$_[0]'") // '') eq 't' };
my $begin = $cluster->ask($leader, 'SELECT pg_current_wal_insert_lsn()');
$cluster->wait_until('replay up to the record', sub { $replayed->($begin) });
my ($file, $at) = split /\|/, $cluster->ask($leader, "SELECT file_name, file_offset FROM pg_walfile_name_offset('$begin'::pg_lsn + 8)");
my $behind = $cluster->ask($leader, "SELECT '$begin'::pg_lsn - $at + 8 + $segment");
ok(defined $cluster->ask($leader, "SELECT pg_logical_emit_message(false, 'test', repeat('x', 20000000))", timeout => 60),
	'a record that ends in the next segment');
$cluster->ask($leader, 'INSERT INTO t VALUES (1)');
$cluster->kill_all($node);

my $wal = $node->data_dir . '/pg_wal';
open(my $out, '+<:raw', "$wal/$file") or die "$wal/$file: $!\n";
seek($out, -600, 2) or die "$file: $!\n";
print {$out} "\0" x 600;
close($out) or die "$file: $!\n";
unlink grep { m{/[0-9A-F]{24}$} && m{([^/]+)$} && $1 gt $file } glob("$wal/*");

# ---- the rest of it comes before recovery can look ---------------------------------------

my $session = $cluster->session($leader);
my $offset = $cluster->log_size($node);
my $postmaster = $cluster->postmaster_pid($leader);
kill 'STOP', $postmaster;    # nobody can connect to the leader, who leads all the same
PostgreSQL::Test::Utils::system_or_bail('pg_ctl', '-W', '-s', '-D', $node->data_dir, '-l', $node->logfile, 'start');
$cluster->wait_until('its walreceiver', sub { $cluster->process($node, qr/\bwalreceiver\b/) });
my ($startup) = $cluster->process($node, qr/\bstartup\b/);
kill 'STOP', $startup;
kill 'CONT', $postmaster;
$node->{dead} = 0;
$node->_update_pid(1);
$cluster->wait_until('a consistent state', sub { defined $cluster->ask($node, 'SELECT 1') });
is($cluster->ask($node, "SELECT pg_last_wal_replay_lsn() < '$behind'"), 't', 'the node is consistent, and has read what is before the torn record');
$cluster->wait_until('what comes behind it', sub {
	return ($cluster->ask($node, "SELECT pg_last_wal_receive_lsn() > '$behind'") // '') eq 't' });
my $name = "'quorum_' || (SELECT node_id FROM quorum.members WHERE name = '$node->{quorum_name}')";
my $acknowledged = "SELECT count(*) FROM pg_stat_replication WHERE flush_lsn > '0/0' AND application_name = $name";
my $seen = $cluster->seen_within(2, sub {
	$session->ask('INSERT INTO t VALUES (2)');
	return $session->ask($acknowledged);
});
is($session->ask("SELECT count(*) FROM pg_stat_replication WHERE application_name = $name"), 1, 'it streams from behind that');
is($seen, undef, '... and acknowledges nothing');

# ---- recovery looks ----------------------------------------------------------------------

kill 'CONT', $startup;
$cluster->wait_for_followers($node);
like($cluster->log_since($node, $offset), qr/incorrect resource manager data checksum/, 'recovery finds it torn');
my $end = $session->ask('SELECT pg_current_wal_flush_lsn()');
$cluster->wait_until('replay', sub { $replayed->($end) });
is($cluster->ask($node, 'SELECT count(*) > 1 FROM t'), 't', '... and gets all of it');

done_testing();
