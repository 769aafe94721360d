# A member whose directory is restored from an old copy has forgotten votes, promises and WAL
# that it acknowledged (V3, R10, H23).  It is recognised, and takes no part: the term goes on
# without it, and with it alone nobody is elected.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('restored', nodes => 3);
my $leader = $cluster->leader;
my ($second, $third) = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

# ---- the copy, and what happens after it ----------------------------------------------

$third->stop('fast');
my $saved = $third->basedir . '/saved';
system_or_bail('cp', '-a', $third->data_dir, $saved);
my $term = $cluster->ask($leader, 'SELECT term FROM quorum.status');
$cluster->start($third);
$cluster->wait_for_followers;
$leader->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
$leader->safe_psql('postgres', qq{SELECT quorum.switchover('$second->{quorum_name}')});
my $next = $cluster->wait_for_leader(not => $leader);
$cluster->wait_for_followers;
cmp_ok($cluster->ask($next, 'SELECT term FROM quorum.status'), '>', $term, 'the copy is of an earlier term');

# ---- it is put back ----------------------------------------------------------------------

$third->stop('immediate');
rename $third->data_dir, $third->basedir . '/lost' or die "rename: $!";
system_or_bail('cp', '-a', $saved, $third->data_dir);
my $restored = $cluster->log_size($third);
$cluster->start($third);
is($cluster->ask($third, 'SELECT membership FROM quorum.status'), 'foreign copy', 'a restored directory is recognised');
is($cluster->ask($third, 'SELECT pg_is_in_recovery()'), 't', 'it runs as a standby');
is($cluster->ask($next, "SELECT count(*) FROM pg_stat_replication WHERE application_name LIKE 'quorum%'"), '1',
	'it does not stream as the member');
$next->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
pass('the two others go on');

# With one of those lost there is no majority: what was restored does not count.
my $size = $cluster->log_size($leader);
$cluster->kill_all($next);
$cluster->wait_until('several election rounds', sub {
	my @rounds = $cluster->log_since($leader, $size) =~ /pre-vote for term/g;
	return @rounds >= 4;
});
like($cluster->ask($leader, 'SELECT role FROM quorum.status'), qr/^(?:follower|pre_candidate)$/,
	'a member and what was restored elect nobody');
unlike($cluster->log_since($third, $restored), qr/voted for/, '... for the latter does not vote');
$cluster->start($next);
$cluster->wait_for_leader;
is($cluster->ask($cluster->leader, 'SELECT count(*) FROM t'), '2', 'with the other member there is a leader, and every row');

# ---- the generation before ---------------------------------------------------------------

# It may lack the last vote, and lies in its own directory.
($second) = $cluster->followers;
$second->stop('fast');
rename $second->data_dir . '/pg_quorum/state.prev', $second->data_dir . '/pg_quorum/state' or die "rename: $!";
$cluster->start($second);
is($cluster->ask($second, 'SELECT membership FROM quorum.status'), 'state unreadable', 'the generation before is no state');

done_testing();
