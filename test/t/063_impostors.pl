# Nobody but a member acknowledges in its name (V2, H53, K1-K3).
#
# Whoever may connect for replication can use the slot of a member that is down, or a
# member's name: pg_receivewal, pg_basebackup, subscriptions.  None of them shows that it
# knows the secret of the cluster, so none is counted, and none keeps the member out.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('impostors', nodes => 3);
my $leader = $cluster->leader;
my ($second, $third) = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

my ($second_name, $third_name) = map { $cluster->ask($leader,
	"SELECT 'quorum_' || node_id FROM quorum.members WHERE name = '$_->{quorum_name}'") } $second, $third;

# What a program says that is refused; who is let in would stream without end.
sub said_by
{
	my ($out, $err) = ('', '');
	my $program = IPC::Run::start(\@_, '>', \$out, '2>', \$err, IPC::Run::timeout(30));

	eval { $program->finish; 1 } or do { $program->kill_kill; return (0, 'let in') };
	return ($program->result != 0, $err);
}

# ---- names ------------------------------------------------------------------------

my $directory = PostgreSQL::Test::Utils::tempdir();
my $refused = qr/stream in the name of node \d+ of the cluster refused/;
my $connstr = $leader->connstr;
for my $case (
	[ 'pg_receivewal', 'pg_receivewal', '-D', $directory, '--no-loop', '-d', "$connstr application_name=$second_name" ],
	[ 'pg_basebackup', 'pg_basebackup', '-D', "$directory/copy", '-d', "$connstr application_name=$second_name" ],
	[ 'a subscription', 'psql', '-XAt', '-d', "$connstr dbname=postgres replication=database application_name=$second_name",
		'-c', 'IDENTIFY_SYSTEM' ])
{
	my ($what, @command) = @$case;
	my ($failed, $err) = said_by(@command);

	ok($failed, "$what under the name of a member ends");
	like($err, $refused, '... and is told why');
}
is($leader->safe_psql('postgres', 'SELECT count(*) FROM t', connstr => "$connstr application_name=$second_name"), '0',
	'a session that is no stream may have any name');

# The name is taken where nobody looks before the stream begins; that it is not a member's is
# found later, and until then it is not counted.
my $size = $cluster->log_size($leader);
my ($out, $err) = ('', '');
sub smuggle
{
	my ($name, @options) = @_;
	local $ENV{PGOPTIONS} = '-c application_name=' . $name =~ s/_/\\_/r;
	local $ENV{PGAPPNAME} = '';

	return IPC::Run::start([ 'pg_receivewal', '-D', $directory, '--synchronous', '-d', $connstr, @options ],
		'>', \$out, '2>', \$err);
}

my $impostor = smuggle($second_name, '--no-loop');
$cluster->wait_for_log($leader, qr/ending walsender \d+: it streams in the name of a member/, $size);
pass('a name that was smuggled in is found');
$impostor->finish;
is($cluster->ask($leader, "SELECT count(*) FROM pg_stat_replication WHERE application_name = '$second_name'"), '1',
	'... and its stream ended');

# ---- the slot of a member that is down ----------------------------------------------

my $proof = $cluster->ask($third,
	q{SELECT substring(conninfo FROM 'quorum.stream_proof=[0-9a-f.]+') FROM pg_stat_wal_receiver});
like($proof, qr/^quorum\.stream_proof=\d+\.\d+\.[0-9a-f]{64}$/, 'a member shows a proof');
$third->stop('fast');
my $receiver = $cluster->ask($second, 'SELECT pid FROM pg_stat_wal_receiver');
kill 'STOP', $receiver;

my $writer = $cluster->session($leader);
$writer->send('INSERT INTO t VALUES (1)');
my $lsn = $cluster->wait_until('the insert is in the WAL', sub {
	return $cluster->ask($leader, "SELECT pg_current_wal_flush_lsn() FROM pg_stat_activity "
		. "WHERE query LIKE 'INSERT INTO t VALUES (1)%' AND wait_event = 'SyncRep'");
});
is($cluster->ask($leader, 'SELECT count(*) FROM t'), '0', 'a commit waits');

# It has the name, too, so PostgreSQL's own wait ends; it comes back whenever it is ended.
$size = $cluster->log_size($leader);
$impostor = smuggle($third_name, '-S', $third_name);
my $row = $cluster->wait_until('the impostor acknowledges the insert', sub {
	return $cluster->ask($leader, "SELECT r.counted || ', ' || r.why_not FROM pg_stat_replication s "
		. "JOIN pg_replication_slots l ON l.active_pid = s.pid JOIN quorum.replication r ON r.pid = s.pid "
		. "WHERE l.slot_name = '$third_name' AND s.flush_lsn >= '$lsn'");
});
$cluster->wait_until("PostgreSQL's own wait is over", sub { $cluster->ask($leader, 'SELECT count(*) FROM t') eq '1' });
ok(!$writer->finished(0.5), 'who holds the slot of a member releases no commit');
is($row, 'false, did not prove to be this member', '... as quorum.replication says');
$cluster->wait_for_log($leader, qr/ending walsender \d+: it streams in the name of a member/, $size);
pass('it is ended');

# ---- proofs ----------------------------------------------------------------------

sub show
{
	my ($text) = @_;
	local $ENV{PGOPTIONS} = "-c $text";

	my (undef, $said) = said_by('pg_receivewal', '-D', $directory, '--no-loop', '-S', $third_name, '-d', $connstr);
	return $said;
}

like(show($proof), qr/Its proof has been used before/, 'a proof is good once');
like(show($proof =~ s/\.\d+\./.99999./r), qr/Its proof was made for another leader/, '... and for one number');
like(show($proof =~ s/=\d+/=77/r), qr/That node has not been heard/, '... of a node that is known');
like(show('quorum.stream_proof=3.x'), qr/Its proof has another form/, 'what is no proof is none');

$cluster->start($third);
$cluster->wait_for_followers($third);
pass('the member gets its slot back from whoever comes again and again');
ok($writer->finished(20), '... and releases the commit');
is($writer->error, '', '... without an error');
kill 'CONT', $receiver;
$impostor->signal('TERM');
$impostor->finish;
$cluster->wait_for_followers;

# ---- another life --------------------------------------------------------------------

# Numbers begin anew with each life, so a number alone tells nothing.
$proof = $cluster->ask($third,
	q{SELECT substring(conninfo FROM 'quorum.stream_proof=[0-9a-f.]+') FROM pg_stat_wal_receiver});
$third->restart;
$cluster->wait_for_followers;
like(show($proof), qr/Its proof was made for another leader, by an earlier life/,
	'nor one of an earlier life');

done_testing();
