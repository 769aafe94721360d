# A change of the member set is one moment for every commit (V11, R8, H16, H25).
#
# Under load a voter comes and goes.  No commit stands still for longer than 1.5 s because of
# that; and sessions from before the change and from after it need what the set in force
# needs, neither more nor less.  Until those that vote by a set have stored it, that is what the
# set before needed, too (M4); and a set that makes commits need somebody else is in force only
# when that one holds everything (M3).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $stall_limit_ms = 1500;
my $rounds = 3;

# Long enough a lease for members that say nothing for a moment.
my $cluster = QuorumCluster->new('set', nodes => 3, lease => 3000, conf => 'quorum.heartbeat_interval = 100');
my $leader = $cluster->leader;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int, client int)');
$cluster->wait_for_followers;
my $guest = $cluster->copy_of_leader(4);
push @{ $cluster->{nodes} }, $guest;
$cluster->start($guest);

my @early = map { $cluster->session($leader) } 1, 2;
$_->ask('SELECT 1') for @early;

# ---- latency ------------------------------------------------------------------------

my $directory = PostgreSQL::Test::Utils::tempdir();
PostgreSQL::Test::Utils::append_to_file("$directory/insert.sql", "INSERT INTO t VALUES (1, :client_id);\n");
my ($out, $err) = ('', '');
my $load = IPC::Run::start([ $leader->installed_command('pgbench'), '-n', '-c', '4', '-T', '300', '-f', "$directory/insert.sql",
		'-l', "--log-prefix=$directory/log", '-h', $leader->host, '-p', $leader->port, 'postgres' ], '>', \$out, '2>', \$err);

sub rows { return $cluster->ask($leader, 'SELECT count(*) FROM t') // 0 }

# Some more commits of the load: what is measured includes what comes after a change.
sub more_commits
{
	my $from = rows();
	return $cluster->wait_until('commits go on', sub { rows() > $from + 50 });
}

sub set_is
{
	my ($need, $others) = @_;
	return $cluster->wait_until("ANY $need of $others", sub {
		my $names = $cluster->ask($leader, 'SHOW synchronous_standby_names') // '';
		return $names =~ /^ANY $need \((.*)\)$/ && 1 + ($1 =~ tr/,//) == $others;
	});
}

more_commits();
for my $round (1 .. $rounds)
{
	$leader->safe_psql('postgres', "SELECT quorum.add_member('n4', '127.0.0.1:$guest->{quorum_port}')");
	set_is(2, 3);
	more_commits();
	$leader->safe_psql('postgres', q{SELECT quorum.remove_member('n4')});
	set_is(1, 2);
	more_commits();
}
pass("a voter has come and gone $rounds times");
$load->signal('INT');
$load->finish;
unlike($err, qr/aborted|error/i, 'no commit failed');

my ($longest, $commits) = (0, 0);
for my $log (glob "$directory/log*")
{
	for my $line (split /\n/, slurp_file($log))
	{
		my $ms = (split / /, $line)[2] / 1000;
		$longest = $ms if $ms > $longest;
		$commits++;
	}
}
cmp_ok($commits, '>', 100 * $rounds, "there was load ($commits commits)");
cmp_ok($longest, '<', $stall_limit_ms, sprintf('no commit stood still (%.0f ms at most)', $longest));

# ---- every observer -------------------------------------------------------------------

$leader->safe_psql('postgres', "SELECT quorum.add_member('n4', '127.0.0.1:$guest->{quorum_port}')");
set_is(2, 3);
$cluster->wait_for_followers;
my @sessions = (@early, $cluster->session($leader));
my %receiver = map { $_->{quorum_name} => $cluster->ask($_, 'SELECT pid FROM pg_stat_wal_receiver') } $cluster->followers;
kill 'STOP', @receiver{qw(n3 n4)};
$_->send('INSERT INTO t VALUES (2, 0)') for @sessions;
ok(!$sessions[0]->finished(1), 'four voters: one follower is not enough');
ok(!$sessions[$_]->finished(0), "... for no session ($_)") for 1 .. $#sessions;
is($cluster->ask($leader, 'SELECT count(*) FROM t WHERE id = 2'), '0', '... and nothing is visible');
kill 'CONT', $receiver{n3};
ok($sessions[$_]->finished(20) && $sessions[$_]->error eq '', "two are ($_)") for 0 .. $#sessions;

# One of those that stand still leaves: what waited needs one follower from then on.  It has what
# waits, but nobody knows of the new set while the workers of all three say nothing.
kill 'STOP', $receiver{n3};
$_->send('INSERT INTO t VALUES (3, 0)') for @sessions;
ok(!$sessions[0]->finished(0.5), 'again one is not enough');
my ($caller, $busy) = map { $cluster->session($leader) } 1, 2;
$_->ask('SELECT 1') for $caller, $busy;
my @workers = map { $cluster->ask($_, 'SELECT worker_pid FROM quorum.status') } $cluster->followers;
$cluster->wait_until('the leader knows what n2 holds', sub {
	return ($cluster->ask($leader, "SELECT flush_lsn >= pg_current_wal_insert_lsn() FROM quorum.members WHERE name = 'n2'") // '') eq 't';
});
kill 'STOP', @workers;
$caller->send(q{SELECT quorum.remove_member('n4')});
my $until = time() + 1;
my $published = 0;
while (!$published && time() < $until)
{
	# WAL that the leader writes by itself in this moment keeps it from publishing.
	$published = ($cluster->ask($leader, 'SELECT count(*) FROM quorum.members') // '') eq '3';
}
diag('the set is not published in time: what follows looks at the rule of both sets only') if !$published;
$until = time() + 0.5;
my $released = 0;
while (!$released && time() < $until)
{
	# Whoever receives more answers, and what waits is looked at again.
	$busy->ask(q{SELECT pg_logical_emit_message(false, 'test', 'x')}, 1);
	$released = $sessions[0]->finished(0.05);
}
kill 'CONT', @workers;
ok(!$released, 'a set that nobody else has stored releases no commit');
ok($caller->finished(20) && $caller->error eq '', 'when they have stored it the member has left');
ok($sessions[$_]->finished($stall_limit_ms / 1000) && $sessions[$_]->error eq '',
	"with the set of three the follower that has it is enough, at once ($_)") for 0 .. $#sessions;
set_is(1, 2);
for my $number (0 .. $#sessions)
{
	ok(defined $sessions[$number]->ask('INSERT INTO t VALUES (4, 0)'), "three voters: one follower is enough ($number)");
}

# The one that has everything shall leave: commits would need the one that receives nothing.
$caller->send(q{SELECT quorum.remove_member('n2')});
$cluster->wait_until('the rule of both sets, or an answer', sub {
	return ($cluster->ask($leader, 'SHOW synchronous_standby_names') // '') =~ /^ANY 1 \([^,]*\)$/ || $caller->finished(0);
});
$sessions[0]->send('INSERT INTO t VALUES (5, 0)');
ok(!$sessions[0]->finished(0.5), 'while the set changes a commit needs what the next one needs');
$caller->finished(20);
like($caller->error, qr/do not hold all WAL in time/, 'a set whose members do not hold everything is not put in force');
is($cluster->ask($leader, q{SELECT string_agg(name, ' ' ORDER BY name) FROM quorum.members WHERE kind = 'voter'}), 'n1 n2 n3', '... nobody has left');
ok($sessions[0]->finished(20) && $sessions[0]->error eq '', '... and commits need what they needed');
kill 'CONT', @receiver{qw(n3 n4)};

done_testing();
