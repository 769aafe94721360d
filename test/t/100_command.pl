# The command pg_quorum: a cluster from nothing, looked at, and told what is wrong with it.
#
# init makes a server in an empty directory, two joins make it three; status, check and uri
# are asked of any member, with the leader, without it, and with nobody left.  Whatever is
# wrong has an exit code of its own, a message, and a hint.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use QuorumByCommand;
use Test::More;
use Time::HiRes qw(time usleep);

# Exit code, standard output and standard error of a run of the command; a reference first is what
# it reads.
sub command { return run_it((ref $_[0] ? shift : ()), 'pg_quorum', @_); }

sub refused
{
	my ($what, $code, $message, @arguments) = @_;
	my ($rc, $out, $err) = command(@arguments);

	is($rc, $code, "$what: exit code $code") or diag($out, $err);
	like($err, $message, "$what: says why");
	like($err, qr/hint: /, "$what: says what to do");
}

# The answer of status --json, once $check likes it.
sub status_when
{
	my ($what, $check, @arguments) = @_;
	my $until = time() + 60;
	my ($rc, $out, $err, $status);

	while (time() < $until)
	{
		($rc, $out, $err) = command('status', '--json', @arguments);
		$status = eval { JSON::PP::decode_json($out) };
		return ($status, $rc) if $status && $check->($status);
		usleep(50_000);
	}
	die "waited in vain for: $what\n$out$err";
}

# A join that gets SIGINT in the middle of the copy: its exit code.
sub interrupted_join
{
	my $begun = directory(4) . '/base';
	my $join = IPC::Run::start([ 'pg_quorum', 'join', place(4), @settings, "\@$token" ], '>', \my $out, '2>', \my $err);
	my $until = time() + 60;

	usleep(2_000) while time() < $until && !-e $begun;
	$join->signal('INT');
	$join->finish;
	return $join->full_result(0) >> 8;
}

sub member { my ($status, $name) = @_; return (grep { $_->{name} eq $name } @{ $status->{members} })[0]; }

# ---- options ---------------------------------------------------------------------

for my $name ('', qw(init join token status check uri switchover remove replace set pause resume force))
{
	my ($rc, $out) = command($name || (), '--help');
	is($rc, 0, "--help $name");
	like($out, qr/Usage:/, "--help $name shows how to use it");
}
refused('unknown subcommand', 4, qr/no subcommand "promote"/, 'promote');
refused('unknown option', 4, qr/unrecognized option/, 'status', '--colour');
refused('password on the command line', 4, qr/can be read by everyone/, 'status', '-d', 'host=/ password=x');
refused('nobody there', 3, qr/no member of a cluster/, 'status', '-h', '127.0.0.1', '-p', $port{4}[0]);
refused('init without an address', 1, qr/address of this node is not known/, 'init', '--initdb', '-D', directory(1));
refused('join without a token', 4, qr/no token given/, 'join', place(2));
refused('join with a token that is none', 4, qr/token is not valid/, 'join', place(2), 'abc');

# ---- three nodes from nothing -------------------------------------------------------

my ($rc, $out, $err) = command('init', '--initdb', place(1), @settings, "--token-file=$token");
is($rc, 0, 'init makes a cluster of one') or BAIL_OUT($out . $err . log_of(1));
is((stat $token)[2] & 07777, 0600, 'the token is readable by its owner only');
is((stat directory(1) . '/pg_quorum.secret')[2] & 07777, 0600, 'and so is the secret');
unlike($out . $err, qr/pgq1\./, 'a token that goes to a file is not printed');

refused('a token cut off', 4, qr/check sum/, 'join', place(2), substr(slurp_file($token), 0, 80));
refused('a bad name', 4, qr/not a valid node name/, 'join', place(2), '--name=N2', "\@$token");
refused('the name of another', 1, qr/named "n1" exists/, 'join', place(2), '--name=n1', "\@$token");
refused('the address of another', 1, qr/exists already: "n1"/, 'join', place(2), "--address=127.0.0.1:$port{1}[1]", "\@$token");
refused('a port in use', 1, qr/is in use/, 'join', place(2), "--port=$port{1}[0]", "\@$token");
refused('a directory in use', 1, qr/is not empty/, 'join', place(2), '-D', directory(1), "\@$token");
ok(!-e directory(2), 'whoever is refused has copied nothing');

(($rc, $out) = command('status', '--token', "\@$token"));
is($rc, 1, 'one node is degraded');
like($out, qr/^ degraded: leader n1/, 'and says so');

($rc, $out, $err) = command('join', place(2), @settings, "\@$token");
is($rc, 0, 'the second joins, the token from a file') or BAIL_OUT($out . $err . log_of(2));
{
	my $text = slurp_file($token);
	($rc, $out, $err) = command(\$text, 'join', place(3), @settings, '-');
	is($rc, 0, 'the third joins, the token from standard input') or BAIL_OUT($out . $err . log_of(3));
}
my $conf = slurp_file(directory(3) . '/postgresql.auto.conf');
like($conf, qr/^quorum\.node_name = 'n3'$/m, 'a copy has its own name');
unlike($conf, qr/'n1'/, 'and nothing of the leader\'s identity');
ok(!-e directory(3) . '/pg_quorum.joining', 'nothing is left of joining');

# ---- looking --------------------------------------------------------------------------

my ($status, $code) = status_when('healthy', sub { $_[0]{status} eq 'healthy' }, '-D', directory(2));
is($code, 0, 'three nodes are healthy');
is($status->{leader}, 'n1', 'status of a follower names the leader');
is_deeply([ sort map { "$_->{name} $_->{kind} $_->{state}" } @{ $status->{members} } ],
	[ 'n1 voter serves', 'n2 voter streams', 'n3 voter streams' ], 'and what each one does');
is_deeply([ sort keys %{ $status->{members}[0] } ],
	[ sort qw(name node_id kind role state answers reachable said_by host port quorum_port version timeline
			lsn lag_bytes lag_seconds last_heard_seconds priority in_sync_rule left_out electable reason) ],
	'the keys of a member are those of the manual');

($rc, $out) = command('check', '-D', directory(3));
is($rc, 0, 'check finds nothing wrong') or diag($out);
like($out, qr/^ok +a failover would work now; n[23] would win/m, 'and says who would win');
is(scalar(() = $out =~ /lets a stream in from this host/g), 3, 'and that streams would be let in');

($rc, $out) = command('token', '-D', directory(2));
is($rc, 0, 'a follower prints the token as well');
my ($second_token) = $out =~ /(pgq1\.\S+)/;
($rc, $out) = command('status', '--token', $second_token);
is($rc, 0, 'with which every member can be asked');

($rc, my $uri) = command('uri', '-D', directory(2), '--user=quorum_replicator');
chomp $uri;
is($uri, "postgresql://quorum_replicator\@127.0.0.1:$port{1}[0],127.0.0.1:$port{2}[0],127.0.0.1:$port{3}[0]"
	. '/postgres?target_session_attrs=read-write&connect_timeout=3', 'the string for applications');
$ENV{PGPASSFILE} = directory(2) . '/pg_quorum.pgpass';
IPC::Run::run([ 'psql', '-XAtq', '-d', $uri, '-c', 'SELECT quorum.is_leader()' ], '>', \$out);
is($out, "t\n", 'leads to the leader');

refused('switchover to nobody', 1, qr/no member "n9"/, 'switchover', '-D', directory(2), '--to=n9');
refused('removing nobody', 1, qr/no member "n9"/, 'remove', '-y', '-D', directory(2), 'n9');

# ---- changing ---------------------------------------------------------------------------

is(interrupted_join(), 130, 'a join that is interrupted says so');
is_deeply([ glob(directory(4) . '/*') ], [], 'and leaves nothing behind');
($rc, $out, $err) = command('join', place(4), @settings, '--kind=learner', "\@$token");
is($rc, 0, 'a learner joins') or diag($out, $err);
($rc, $out, $err) = command('switchover', '-D', directory(3), '--to=n2');
is($rc, 0, 'switchover') or diag($out, $err);
like($out, qr/^n2 leads now instead of n1, after \d+ ms$/m, 'says who leads, after how long');
status_when('n1 and n3 follow', sub { $_[0]{status} eq 'healthy' && $_[0]{leader} eq 'n2' }, '-D', directory(3));
($rc, $out, $err) = command('switchover', '-D', directory(3), '--to=n1');
is($rc, 0, 'and back') or diag($out, $err);
status_when('n2 and n3 follow', sub { $_[0]{status} eq 'healthy' && $_[0]{leader} eq 'n1' }, '-D', directory(3));
refused('removing without a terminal', 1, qr/no terminal to ask/, 'remove', '-D', directory(3), 'n4');
($rc, $out, $err) = command('remove', '--yes', '-D', directory(3), 'n4');
is($rc, 0, 'the learner is removed') or diag($out, $err);
($status) = status_when('three members', sub { @{ $_[0]{members} } == 3 }, '-D', directory(3));
ok(!member($status, 'n4'), 'and gone');

($rc, $out, $err) = command('set', 'n3', '--kind=learner', '-D', directory(3));
is($rc, 0, 'a voter becomes a learner') or diag($out, $err);
($status) = status_when('two voters', sub { $_[0]{voters} == 2 }, '-D', directory(3));
is(member($status, 'n3')->{kind}, 'learner', 'and is shown as one');
is((command('set', 'n3', '--kind=voter', '-D', directory(3)))[0], 0, 'and a voter again');
refused('setting nothing', 4, qr/nothing to set/, 'set', 'n3', '-D', directory(3));
refused('the leader as a learner', 1, qr/leader cannot become a learner/, 'set', 'n1', '--kind=learner', '-D', directory(3));

($rc, $out, $err) = command('pause', '--for=30min', '-D', directory(3));
is($rc, 0, 'a pause') or diag($out, $err);
like($out, qr/^nobody takes over by itself before \d{4}-\d\d-\d\d /, 'tells when it ends');
($status, $code) = status_when('paused', sub { defined $_[0]{paused_until} }, '-D', directory(3));
is($code, 1, 'status finds the cluster degraded then');
like($status->{problems}[0], qr/^paused until \d{4}/, 'and says why');
($rc, $out, $err) = command('resume', '-D', directory(2));
is($rc, 0, 'which resume ends') or diag($out, $err);
status_when('healthy again', sub { $_[0]{status} eq 'healthy' }, '-D', directory(3));
refused('a pause without an end', 1, qr/at most one day/, 'pause', '--for=3d', '-D', directory(3));
refused('forcing a leader beside another', 1, qr/"n1" leads: there is nothing to force/, 'force', 'n2', '-D', directory(2));

# ---- with some of them gone -------------------------------------------------------------

kill_node(1);
($status, $code) = status_when('a new leader', sub { ($_[0]{leader} // 'n1') ne 'n1' && !member($_[0], 'n1')->{reachable} },
	'--token', $second_token);
is($code, 1, 'without the first leader the cluster is degraded');
my $leader = $status->{leader};
my $gone = member($status, 'n1');
is($gone->{state}, 'unreachable', 'the lost one is unreachable');
is($gone->{said_by}, $leader, 'as the new leader says');
($rc, $out) = command('status', '--token', $second_token);
like($out, qr/^ n1\* +- +voter +unreachable/m, 'the table marks who does not speak for itself');
($rc, $out) = command('check', '--token', $second_token);
is($rc, 1, 'check fails');
like($out, qr/^FAIL +n1 is unreachable/m, 'because of it');
($rc, $out) = command('uri', '--token', $second_token);
like($out, qr/^postgresql:\/\/127\.0\.0\.1:$port{substr $leader, 1}[0],/, 'the string begins with the new leader');

# In the place of the lost one, on the host whose server was removed before.
kill_node(4);
refused('replacing the leader', 1, qr/"$leader" leads/, 'replace', $leader, place(4), @settings, '--overwrite', $second_token);
($rc, $out, $err) = command('replace', 'n1', place(4), @settings, '--overwrite', $second_token);
is($rc, 0, 'another node takes its place') or diag($out, $err);
like($out, qr/^n1 is no member any more\n.*^"n4" is a voter now$/ms, 'in one step');
($status, $code) = status_when('healthy with n4', sub { $_[0]{status} eq 'healthy' }, '-D', directory(4));
is(join(',', sort map { $_->{name} } @{ $status->{members} }), 'n2,n3,n4', 'the old one is gone');
is((command('replace', 'n1', place(4), @settings, $second_token))[0], 1, 'once more it is a node that is there already');
is((command('remove', '--yes', '-D', directory(3), 'n4'))[0], 0, 'that one leaves, too');

kill_node(substr $leader, 1);
my ($last) = grep { $_ ne 'n1' && $_ ne $leader } qw(n1 n2 n3);
($status, $code) = status_when('no leader', sub { !defined $_[0]{leader} && !member($_[0], $leader)->{reachable} }, '--token', $second_token);
is($code, 2, 'one of two has no leader');
ok(member($status, $last)->{answers}, 'the last one answers');
refused('switchover without a leader', 2, qr/no leader serves/, 'switchover', '--token', $second_token);

my @super = ('-h', $sockets, '-p', $port{ substr $last, 1 }[0], '-d', 'postgres');
refused('force by a role that may not', 1, qr/may not do that/, \"$last\n", 'force', $last, '--token', $second_token);
refused('force of nobody', 1, qr/no member "n9"/, 'force', 'n9', @super);
($rc, $out, $err) = command(\"yes\n", 'force', $last, @super);
is($rc, 1, 'force without the name is refused');
like($err, qr/not confirmed, nothing was changed/, 'and says so');
($rc, $out, $err) = command(\"$last\n", 'force', $last, @super);
is($rc, 0, 'with the name the last one leads') or diag($out, $err);
like($out, qr/^  $leader is unreachable; its WAL was known to reach [0-9A-F]+\/.*^Every commit that $last does not hold is lost.*^$last leads and serves/ms,
	'and what may be lost was said before');
($status, $code) = status_when('a forced leader', sub { ($_[0]{leader} // '') eq $last }, '--token', $second_token);
is(member($status, $leader)->{kind}, 'learner', 'the other one is a learner');

kill_node(substr $last, 1);
refused('all gone', 3, qr/no member of a cluster/, 'status', '--token', $second_token);

# ---- a server that runs already ---------------------------------------------------------

my $running = PostgreSQL::Test::Cluster->new('running');
my @init = ('init', '-D', $running->data_dir, '--name=r1', "--address=127.0.0.1:$port{5}[1]");
$running->init;
$running->append_conf('postgresql.conf', "fsync = on\nwal_level = replica\nmax_wal_senders = 10\n");
$running->start;
refused('a quorum port in use', 1, qr/is in use/, @init, "--address=127.0.0.1:$port{4}[1]");
refused('changing settings without a terminal', 1, qr/no terminal to ask/, @init);
unlike(slurp_file($running->data_dir . '/postgresql.auto.conf'), qr/quorum/, 'and nothing is changed');
($rc, $out, $err) = command(@init, '--yes');
is($rc, 5, 'settings are written, a restart is needed') or diag($out, $err);
($rc, $out, $err) = command(@init, '--yes', '--restart');
is($rc, 0, 'it restarts, and leads a cluster of one') or diag($out, $err);
like($out, qr/ join .*pgq1\./, 'and tells how others join');
($rc, $out) = command('status', '-D', $running->data_dir);
like($out, qr/^ degraded: leader r1/, 'as its status says');
($rc, $out, $err) = command(@init, '--yes');
is($rc, 0, 'once more does no harm') or diag($out, $err);
like($out, qr/member of a cluster already/, 'and says that it is done');
$running->_update_pid(1);
$running->stop('immediate');

done_testing();
