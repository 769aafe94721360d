# A node that leads and dies before its first checkpoint comes back by a rewind: its pg_control
# names the old timeline still, and the leader has more of that one than it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumHba;
use Test::More;

my $cluster = QuorumCluster->new('young', nodes => 3);
my $first = $cluster->leader;
my @followers = $cluster->followers;

# So many pages to write that the checkpoint after a promotion, which takes its time, is not over.
$first->safe_psql('postgres', 'CREATE TABLE t (id int); CREATE TABLE pages AS SELECT i FROM generate_series(1, 100000) AS i');
$cluster->wait_for_followers;

# Nobody streams from whoever of them is elected: its gate stays shut, behind which it asks for a
# checkpoint that is made at once.
my %hba = map { $_->{quorum_name} => QuorumHba->new($_) } @followers;
$_->refuse_streams($cluster) for values %hba;

# The first leader has more of its own timeline than anybody else, up to beyond the end of young's log.
my @writers = $cluster->write_alone($first, 'INSERT INTO t SELECT 0 FROM generate_series(1, 1000)');
my %from = map { $_->{quorum_name} => $cluster->log_size($_) } @followers;
$cluster->kill_all($first);
my $young = $cluster->wait_until('somebody is promoted', sub {
	return (grep { $cluster->log_since($_, $from{ $_->{quorum_name} }) =~ /quorum: promoted to timeline/ } @followers)[0] });
$cluster->kill_all($young);
my $log = $cluster->log_since($young, $from{ $young->{quorum_name} });
unlike($log, qr/promoted to timeline.*(?:checkpoint complete|gate open)/s, 'it dies before its first checkpoint');

$_->put_back for values %hba;
$_->reload for grep { $_ != $young } @followers;
$cluster->start($first);
my $leader = $cluster->wait_for_leader(not => $young);
is($leader, $first, 'the first leader leads again');
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (1)'), '... and serves');

my $size = $cluster->log_size($young);
$cluster->start($young);
$cluster->wait_for_followers;
ok($cluster->wait_for_log($young, qr/rewound and following in term/, $size), 'it comes back by a rewind');
unlike($cluster->log_since($young, $size), qr/needs a new copy/, '... not by a clone');
$cluster->wait_until('what the leader holds', sub { ($cluster->ask($young, 'SELECT count(*) FROM t WHERE id = 1') // '') eq '1' });
pass('it holds what the leader holds');

done_testing();
