# A rewind is over when recovery is consistent, not when the node streams: its source may die with
# the last of the WAL that its data belong to.  The successor has not got it, so no boot can ever
# use these data; the node has to know still that they are rewound, and is cloned.
#
# What only the source has is WAL in its buffers that nobody flushes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use QuorumRejoin;
use Test::More;

my $cluster = QuorumCluster->new('not_consistent', nodes => 5, conf => 'autovacuum = off');

$cluster->leader->safe_psql('postgres', 'CREATE TABLE t (id int, filler text)');
$cluster->wait_for_followers;

# ---- a node that has to be rewound ------------------------------------------------------

my $node = $cluster->leader;
my @writers = $cluster->write_alone($node, "INSERT INTO t SELECT -1, repeat('x', 100) FROM generate_series(1, 2000)");
$cluster->kill_all($node);
my $source = $cluster->wait_for_leader(not => $node);
$cluster->wait_for_followers(grep { $_ != $node && $_ != $source } $cluster->nodes);
$source->safe_psql('postgres', 'INSERT INTO t VALUES (1)');

# The last one that flushes anything.
$source->safe_psql('postgres', 'CHECKPOINT');

# ---- its source has WAL that nobody else gets -------------------------------------------

kill 'STOP', $cluster->ask($source, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
my $session = $cluster->session($source);
my $in_buffers = 'SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn() > 30000';
$session->ask("SELECT count(pg_logical_emit_message(false, 'test', repeat('x', 8000))) FROM generate_series(1, 4)");
is($session->ask($in_buffers), 't', 'the source has WAL that is in its buffers only');

# pg_ctl would wait for a consistent state.
my $offset = $cluster->log_size($node);
PostgreSQL::Test::Utils::system_or_bail('pg_ctl', '-W', '-s', '-D', $node->data_dir, '-l', $node->logfile, 'start');
$cluster->wait_for_log($node, qr/pg_rewind: Done!/, $offset);
$offset += $-[0] if $cluster->log_since($node, $offset) =~ /pg_rewind: Done!/;    # it was consistent before
my $pid = $cluster->postmaster_pid($node);
ok($cluster->wait_for_log($node, qr/started streaming WAL/, $offset), 'the node streams');
my $acknowledged = 'SELECT count(*) FROM pg_stat_replication WHERE flush_lsn IS NOT NULL AND application_name = '
  . "'quorum_' || (SELECT node_id FROM quorum.members WHERE name = '$node->{quorum_name}')";
$cluster->seen_within(2, sub {
	return $cluster->log_since($node, $offset) =~ /rewound and following/ || $session->ask($acknowledged);
});
is($session->ask($in_buffers), 't', '... has not got that WAL');
is($session->ask($acknowledged), 0, '... and acknowledges nothing');
unlike($cluster->log_since($node, $offset), qr/consistent recovery state reached/, '... so it is not consistent');
unlike($cluster->log_since($node, $offset), qr/rewound and following/, '... and its rewind is not over');

# ---- it is lost -------------------------------------------------------------------------

# Two that are whole are no majority, and the vote of who is not counts for none (S8).
my ($held, @others) = grep { $_ != $node && $_ != $source } $cluster->nodes;
my %from = map { $_->{quorum_name} => $cluster->log_size($_) } @others;
$cluster->freeze($held);
$cluster->kill_all($source);
is($cluster->seen_within(3 * $cluster->lease / 1000, sub {
	return join ' ', map { $_->{quorum_name} } grep { $cluster->log_since($_, $from{ $_->{quorum_name} }) =~ /elected leader of term/ } @others;
}), undef, 'who was rewound helps nobody to lead before it is consistent');

# Another one shall be elected: to promote is the other thing that such a node cannot do.
$cluster->freeze($node);
$cluster->thaw($held);
my $leader = $cluster->wait_for_leader(not => $source);
$cluster->thaw($node);
$cluster->wait_for_followers($node);
my $log = $cluster->log_since($node, $offset);
like($log, qr/this node needs a rewind/, 'with another leader it cannot be consistent');
unlike($log, qr/PANIC/, '... which it sees before recovery does');
like($log, qr/needs a new copy of the leader's data/, '... so it is cloned');
ok($cluster->wait_for_log($node, qr/cloned and following in term/, $offset), '... and follows');
is($cluster->postmaster_pid($node), $pid, '... under one pid');
ok(!-e QuorumRejoin::journal($node), '... nothing of the rewind is left');

$cluster->start($source);
$cluster->wait_for_followers;
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (2)'), 'all five are there again');
$cluster->wait_until('what the leader holds', sub {
	return ($cluster->ask($node, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t") // '') eq '1 2';
});
pass('it holds what the leader holds');

done_testing();
