# Acknowledged is what is on the disk, whatever the settings say or said when it was written.
#
# With wal_sync_method = open_datasync or open_sync what makes a write durable is how its file was
# opened.  PostgreSQL's walreceiver keeps the file that it has open when that setting or fsync
# changes, and calls flushed what was only written.  What was written while fsync was off is synced
# before it is acknowledged, also when no stream has seen that it was off (A4).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Fcntl qw(O_DSYNC);
use Test::More;

plan skip_all => 'needs /proc' if !-r "/proc/$$/fdinfo/0";

my $cluster = QuorumCluster->new('method', nodes => 3);
my $leader = $cluster->leader;
my ($node) = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

# The node has acknowledged all that the leader has.
sub acknowledged
{
	my $lsn = $leader->safe_psql('postgres', 'INSERT INTO t VALUES (1); SELECT pg_current_wal_flush_lsn()');
	my $name = $cluster->ask($leader, "SELECT 'quorum_' || node_id FROM quorum.members WHERE name = '$node->{quorum_name}'");
	$cluster->wait_until('the acknowledgement', sub {
		return $cluster->ask($leader, "SELECT count(*) FROM pg_stat_replication WHERE application_name = '$name' AND flush_lsn >= '$lsn'") });
}

# Does the walreceiver's write into its segment return when that is on the disk?
sub writes_through
{
	my $pid = $cluster->ask($node, 'SELECT pid FROM pg_stat_wal_receiver');
	for my $fd (glob("/proc/$pid/fd/*"))
	{
		next if (readlink($fd) // '') !~ m{/pg_wal/[0-9A-F]{24}$};
		$fd =~ s{/fd/}{/fdinfo/};
		return PostgreSQL::Test::Utils::slurp_file($fd) =~ /^flags:\s*([0-7]+)/m && (oct($1) & O_DSYNC) ? 'yes' : 'no';
	}
	return 'no segment is open';
}

sub set_and_reload
{
	my ($setting, $value) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET $setting = $value");
	$node->reload;
	$cluster->wait_until("$setting = $value", sub { ($cluster->ask($node, "SHOW $setting") // '') eq $value });
}

acknowledged();
is(writes_through(), 'no', 'with the default its segment is synced by a call');

set_and_reload('wal_sync_method', 'open_datasync');
acknowledged();
is(writes_through(), 'yes', 'with open_datasync what is acknowledged was written through');

set_and_reload('fsync', 'off');
$leader->safe_psql('postgres', 'SELECT pg_switch_wal()');
$leader->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
$cluster->wait_until('a segment that is opened while fsync is off', sub { return writes_through() eq 'no' });
set_and_reload('fsync', 'on');
acknowledged();
is(writes_through(), 'yes', '... also when fsync was off when it was opened');

# ---- what was written before a boot -------------------------------------------------------

# A clean stop, after which PostgreSQL syncs nothing.
set_and_reload('fsync', 'off');
$leader->safe_psql('postgres', 'INSERT INTO t VALUES (3)');
$node->safe_psql('postgres', 'ALTER SYSTEM SET fsync = on');
my $offset = $cluster->log_size($node);
$node->stop('fast');
$cluster->start($node);
$cluster->wait_for_followers;
like($cluster->log_since($node, $offset),
	qr/what was written and not synced is on the disk now.*started streaming WAL/s,
	'what was written before a clean stop is synced before the node says that it has it');

# ---- fsync is off for a while, and nobody streams --------------------------------------------

my @others = ((grep { $_ != $node && $_ != $leader } $cluster->nodes), $leader);
$_->stop('fast') for @others;
set_and_reload('fsync', 'off');
$cluster->wait_until('its worker knows', sub {
	return ($cluster->ask($node, 'SELECT reason FROM quorum.members WHERE is_self') // '') =~ /fsync or full_page_writes is off/ });
my $size = $cluster->log_size($node);
set_and_reload('fsync', 'on');

# Another one shall lead.
$cluster->freeze($node);
$cluster->start($_) for @others;
$leader = $cluster->wait_for_leader(not => $node);
$cluster->thaw($node);
ok($cluster->wait_for_log($node, qr/what was written and not synced is on the disk now/, $size), 'fsync is on again: it syncs what it wrote without');
$cluster->wait_for_followers;

done_testing();
