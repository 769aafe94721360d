# A node raised its fence for a term that it could not write to its disk.  When it can write again it
# follows the next leader, in whatever term that one was elected by the others (S2, D2, E7).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('unwritten', nodes => 3);
my $leader = $cluster->leader;
my ($other, $node) = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

# Alone, and told to lead: that takes a term ten and more ahead.
$cluster->kill_all($other);
$cluster->kill_all($leader);
my $state = $node->data_dir . '/pg_quorum';
my $size = $cluster->log_size($node);
chmod 0500, $state or die "chmod: $!";
$cluster->wait_until('the order to lead is taken', sub {
	$cluster->ask($node, "SELECT quorum.force('$node->{quorum_name}')", timeout => 3);
	return slurp_file($node->logfile, $size) =~ /the state of this node could not be written: it takes no part/;
});
pass('a node cannot write the term that it is to lead');
chmod 0700, $state or die "chmod: $!";
$cluster->wait_for_log($node, qr/the state of this node can be written again/, $size);

$cluster->start($_) for $leader, $other;
$cluster->wait_for_followers;
pass('... and follows the next leader when it can write again');
is($cluster->ask($cluster->leader, 'INSERT INTO t VALUES (1); SELECT count(*) FROM t'), '1', '... which serves');

done_testing();
