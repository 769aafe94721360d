# quorum.check(): nothing is wrong with a healthy cluster, and what is wrong is found.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumHba;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('check', nodes => 3);
my $leader = $cluster->leader;
$leader->safe_psql('postgres', 'CREATE ROLE watcher LOGIN IN ROLE pg_monitor');
$cluster->wait_for_followers;

sub findings
{
	my ($node, $where) = @_;
	return $cluster->ask($node, "SET ROLE watcher; SELECT string_agg(severity || ': ' || what, E'\\n' ORDER BY what)
		FROM quorum.check() WHERE $where", timeout => 20) // "no answer: $cluster->{last_error}";
}

# The finding that matches, once it is there.
sub finds
{
	my ($node, $regexp, $what) = @_;
	my $all = '';
	my $ok = eval { $cluster->wait_until($what, sub { ($all = findings($node, 'true')) =~ $regexp }, 20) };
	ok($ok, $what) or diag($all);
	return;
}

# ---- a healthy cluster -----------------------------------------------------------

for my $node ($cluster->nodes)
{
	$cluster->wait_until('the role', sub { return findings($node, 'true') !~ /no answer/ });
	is(findings($node, "severity <> 'ok'"), '', "$node->{quorum_name} finds nothing wrong");
	like(findings($node, "topic = 'failover'"), qr/^ok: a failover would work now; n\d would win/m,
		'... says who would win');
}
my @followers = $cluster->followers;
$followers[1]->append_conf('postgresql.conf', 'quorum.priority = 200');
$followers[1]->reload;
finds($leader, qr/^ok: a failover would work now; $followers[1]{quorum_name} would win/m, 'the higher priority wins');
is($cluster->ask($leader, "SELECT count(*) FROM quorum.check() WHERE topic = 'access' AND severity = 'ok' AND what LIKE 'pg_hba.conf lets n_ stream from here'"),
	'2', 'both others may stream from the leader');

# ---- what is wrong ---------------------------------------------------------------

my $hba = QuorumHba->new($leader);
my ($first, $second) = map { $_->{quorum_name} } @followers;

$hba->write("local all all trust\nhost replication all 10.0.0.0/8 trust\nhost all all 127.0.0.1/32 trust\n");
finds($leader, qr/^error: pg_hba.conf does not let $first stream from here/m, 'no line for streams');
like($cluster->ask($leader, "SELECT hint FROM quorum.check() WHERE what LIKE 'pg_hba.conf does not let $first stream%'"),
	qr{host replication \S+ 127\.0\.0\.1/32 scram-sha-256}, '... with the line that is missing');
$hba->write("local all all trust\nhost replication all 127.0.0.1/32 reject\nhost replication all 0.0.0.0/0 trust\nhost all all 127.0.0.1/32 trust\n");
finds($leader, qr/^error: pg_hba.conf does not let $first stream from here/m, 'the first line that fits decides');
$hba->write("local all all trust\nhost replication +pg_monitor 127.0.0.1/32 trust\nhost replication all 127.0.0.0 255.255.255.0 md5\n");
finds($leader, qr/^ok: pg_hba.conf lets $first stream from here/m, 'a mask fits');
finds($leader, qr/^warning: pg_hba.conf does not let $second into database postgres/m, 'no line for rewinds');
$hba->write($hba->text . "\nhost all nonsense\n");
is(findings($leader, "topic = 'access' AND severity <> 'ok'"), 'warning: line ' . (($hba->text =~ tr/\n//) + 2) .
	' of pg_hba.conf cannot be used', 'a line that cannot be used');
$hba->put_back;

$leader->append_conf('postgresql.conf', "restart_after_crash = off\nmax_connections = 77\nquorum.allow_local_commit = on");
$leader->reload;
finds($leader, qr/^warning: quorum.allow_local_commit is "on"/m, 'a setting that loses commits');
finds($leader, qr/^warning: restart_after_crash is "off"/m, 'a setting that ends the server');
finds($leader, qr/^warning: some settings are in force only after a restart/m, 'a restart that is due');

$followers[0]->stop('fast');
finds($leader, qr/^error: $first is not reachable/m, 'a node that is gone');
finds($leader, qr/^error: a failover would not work now/m, '... and what it means');
finds($followers[1], qr/^error: $first is not reachable/m, 'a follower knows it as well');
$cluster->start($followers[0]);
$cluster->wait_for_followers;
finds($leader, qr/^ok: a failover would work now/m, 'all is well again');
$followers[0]->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
finds($followers[0], qr/^warning: replay is paused on this node/m, 'a pause of replay');

# ---- quorum.conninfo -------------------------------------------------------------

my ($rc, $out, $err) = $leader->psql('postgres', "ALTER SYSTEM SET quorum.conninfo = 'postgresql://replicator\@n1/postgres'");
isnt($rc, 0, 'a URI is refused');
like($err, qr/DETAIL: +It is a URI.\nHINT: +Write keywords and values/, '... with what to write instead');
($rc, $out, $err) = $leader->psql('postgres', "ALTER SYSTEM SET quorum.conninfo = 'user replicator'");
like($err, qr/It is not a list of keywords and values/, 'so is what is no list of keywords');
is($leader->psql('postgres', q{ALTER SYSTEM SET quorum.conninfo = 'user=postgres options=''-c work_mem=5MB'''}), 0, 'a list is accepted');
$followers[0]->append_conf('postgresql.conf', "quorum.conninfo = 'postgresql://n1'");
$followers[0]->restart;
like($cluster->wait_until('an answer', sub { return $cluster->ask($followers[0], "SELECT reason FROM quorum.status") }),
	qr/quorum.conninfo cannot be used/, 'a server that starts with a URI takes no part, and says why');

done_testing();
