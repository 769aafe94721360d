# A leader without a lease answers no read that began before, either: cursors, also those WITH
# HOLD, portals of functions, expressions of DO, function calls of the protocol, which libpq's
# large objects are made of, and SQL on a connection for replication (S7).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('cursors', nodes => 3);
my $leader = $cluster->leader;

$leader->safe_psql('postgres', 'CREATE TABLE t AS SELECT id FROM generate_series(1, 1000) AS id');
$leader->safe_psql('postgres', q{SELECT lo_from_bytea(7777, 'old')});
$cluster->wait_for_followers;

my $file = PostgreSQL::Test::Utils::tempdir() . '/exported';
my %case = (
	'a cursor' => [ 'BEGIN; DECLARE c CURSOR FOR SELECT id FROM t', 'FETCH 10 FROM c' ],
	'a cursor that is moved' => [ 'BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id FROM t; MOVE 5 FROM c', 'FETCH BACKWARD 2 FROM c' ],
	'a cursor WITH HOLD' => [ 'DECLARE c CURSOR WITH HOLD FOR SELECT id FROM t', 'FETCH 10 FROM c' ],
	'a prepared statement' => [ 'PREPARE p AS SELECT count(*) FROM t', 'EXECUTE p' ],
	'an expression of DO' => [ 'SELECT 1', q{DO $$ DECLARE b bytea; BEGIN b := lo_get(7777); RAISE NOTICE '%', b; END $$} ],
	'COPY' => [ 'SELECT 1', 'COPY t TO STDOUT' ],
	'a large object' => [ 'SELECT 1', "\\lo_export 7777 '$file'" ],
	'one more of a transaction' => [ 'BEGIN; SELECT count(*) FROM t', "\\lo_export 7777 '$file'" ]);

my %session;
for my $what (sort keys %case)
{
	$session{$what} = $cluster->session($leader);
	ok(defined $session{$what}->ask($case{$what}[0]), "$what: begun");
	next if $what =~ /cursor/;
	ok(defined $session{$what}->ask($case{$what}[1]), "$what: answered with a lease");
}
ok(defined $session{'a cursor WITH HOLD'}->ask('FETCH 10 FROM c'), 'a cursor WITH HOLD: answered with a lease');
ok(-s $file, 'a large object has been read');

# SQL on a connection for replication.
sub over_replication
{
	my ($out, $err);
	IPC::Run::run([ 'psql', '-XAtq', '-d', $leader->connstr('postgres') . ' replication=database', '-c', 'SELECT count(*) FROM t' ],
		'>', \$out, '2>', \$err);
	return "$out$err";
}
is(over_replication(), "1000\n", 'a connection for replication: answered with a lease');
unlink $file;

# Its worker stands still, so it does not learn that somebody else leads.
my $worker = $cluster->ask($leader, 'SELECT worker_pid FROM quorum.status');
kill 'STOP', $worker;
$cluster->wait_for_leader(not => $leader);
for my $what (sort keys %case)
{
	is($session{$what}->ask($case{$what}[1]), undef, "$what: not answered without a lease");
	like($session{$what}->error, qr/does not lead its cluster: read refused/, '... and it says why');
}
like(over_replication(), qr/does not lead its cluster: read refused/, 'a connection for replication: not answered without a lease');
ok(!-s $file, 'nothing of the large object was read');
kill 'CONT', $worker;
$cluster->wait_for_followers;

done_testing();
