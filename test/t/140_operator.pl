# What an operator asks: pause and resume, another kind and another address of a member, a
# removed node that comes back, and a leader without a majority.
#
# A pause keeps everybody but the last leader from taking over, until it is over; a forced
# node serves alone, and the others follow it when they return.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('operator', nodes => 3);
my ($leader, @others);

sub name { return $_[0]{quorum_name}; }
sub ask { return $cluster->ask(@_) // ''; }
sub column { my ($node, $column) = @_; return ask($node, "SELECT $column FROM quorum.status"); }

# A statement that must be refused with this SQLSTATE and text.
sub refused
{
	my ($node, $sql, $code, $text, $what) = @_;
	my $session = $cluster->session($node);

	is($session->ask($sql, 20), undef, "$what is refused");
	like($session->error, qr/\b$code\b.*$text/s, '... with the reason');
}

# The follower that would take over knows by itself that nobody leads.
sub wait_until_lost
{
	for my $node (@_)
	{
		$cluster->wait_until(name($node) . ' knows no leader', sub {
			return ask($node, 'SELECT quorum.leader() IS NULL') eq 't';
		});
	}
}

# Does nobody of these stand within so many leases?
sub stay_seated
{
	my ($leases, @nodes) = @_;
	return !$cluster->seen_within($leases * $cluster->lease / 1000, sub {
		return grep { $_ ne '' && $_ ne 'follower' } map { column($_, 'role') } @nodes;
	});
}

sub events
{
	my ($node, $event) = @_;
	return ask($node, "SELECT count(*) FROM quorum.history WHERE event = '$event'");
}

sub kind { my ($name) = @_; return ask($cluster->leader, "SELECT kind FROM quorum.members WHERE name = '$name'"); }

sub refresh
{
	$leader = $cluster->leader;
	@others = $cluster->followers;
	return;
}

refresh();
$leader->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)');
$cluster->wait_for_followers;

# ---- pause --------------------------------------------------------------------------

refused($others[0], 'SELECT quorum.pause()', 25006, 'leader of term', 'a pause on a follower');
like(ask($leader, "SELECT quorum.pause('10 min') - now()"), qr/^00:(10:00|09:5)/, 'a pause tells when it ends');
for my $node ($cluster->nodes)
{
	$cluster->wait_until(name($node) . ' knows of the pause', sub {
		return column($node, "paused_until BETWEEN now() + interval '9 min' AND now() + interval '10 min'") eq 't';
	});
}
pass('every node knows of the pause');
is(events($_, 'paused'), 1, name($_) . ' has it in its history, once') for $cluster->nodes;
like(ask($leader, "SELECT reason FROM quorum.members WHERE name = '" . name($others[0]) . "'"),
	qr/^the cluster is paused until \d{4}-/, 'the leader says why nobody else is electable');
is(column($leader, 'electable'), 't', 'the leader itself is');

# A record that the crash tears could not be voted for: others may have more of it.
my $term = column($leader, 'term');
ask($leader, 'SELECT pg_switch_wal()');
$cluster->wait_for_followers;
$cluster->kill_all($leader);
wait_until_lost(@others);
ok(stay_seated(4, @others), 'the leader is lost in a pause, nobody takes over');
like(column($others[0], 'reason'), qr/^the cluster is paused until /, '... and says why');
is(events($others[0], 'pre_vote') + events($others[1], 'pre_vote'), 0, '... nobody even asked');
$cluster->start($leader);
is($cluster->leader, $leader, 'who led takes its place again when it is back');
cmp_ok(column($leader, 'term'), '>', $term, '... in a new term');
isnt(column($leader, 'paused_until'), '', '... and the pause goes on');
$cluster->wait_for_followers;
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (1)'), '... and writes are accepted');

# A switchover is nobody's own decision.
my $target = $others[0];
my $caller = $cluster->session($leader);
$caller->ask("SELECT quorum.switchover('" . name($target) . "')", 20);
is($cluster->wait_for_leader(not => $leader), $target, 'a switchover works in a pause');
refresh();
$cluster->wait_for_followers;

# Resume without a leader.
$cluster->kill_all($leader);
wait_until_lost(@others);
ok(stay_seated(2, @others), 'paused still');
ok(defined $cluster->ask($others[1], 'SELECT quorum.resume()'), 'without a leader any node resumes');
is($cluster->wait_for_leader(not => $leader), $others[1], '... and takes over');
is(column($others[1], 'paused_until'), '', '... and the pause is over');
$cluster->wait_until('the other one knows', sub { return column($others[0], 'paused_until') eq ''; });
$cluster->start($leader);
$cluster->wait_for_followers;
refresh();

# Resume on the leader, and the end of a pause.
ask($leader, "SELECT quorum.pause('1 hour')");
ok(defined $cluster->ask($leader, 'SELECT quorum.resume()'), 'the leader resumes');
is(column($leader, 'paused_until'), '', '... at once');
my $until = ask($leader, "SELECT extract(epoch FROM quorum.pause('6 s'))");
$cluster->kill_all($leader);
my $new = $cluster->wait_for_leader(not => $leader, limit => 30);
pass('at its end somebody takes over by itself');
cmp_ok(ask($new, "SELECT extract(epoch FROM max(at)) FROM quorum.history WHERE event = 'candidate'"), '>=', $until,
	'... not before');
is(events($new, 'resumed'), events($new, 'paused'), '... and every pause has its end in the history');
$cluster->start($leader);
$cluster->wait_for_followers;
refresh();

# ---- another kind -------------------------------------------------------------------

my ($one, $two) = @others;
refused($leader, "SELECT quorum.set_member_kind('" . name($leader) . "', 'learner')", 55006, 'switchover', 'the leader as a learner');
refused($leader, "SELECT quorum.set_member_kind('nobody', 'learner')", 42704, 'The members are', 'nobody as a learner');
refused($leader, "SELECT quorum.add_member('w', '127.0.0.1:1', 'arbiter')", 22023, 'voter, learner or witness', 'an arbiter');
ok(defined $cluster->ask($leader, "SELECT quorum.set_member_kind('" . name($one) . "', 'learner')", timeout => 30),
	'a voter becomes a learner');
is(kind(name($one)), 'learner', '... and is one');
is(column($leader, "voters || ' ' || sync_need"), '2 1', '... commits wait for the other voter');
# The address of a member, written in another way: that one is no guest.
refused($leader, "SELECT quorum.add_member('w', 'localhost:$two->{quorum_port}', 'witness', '5 s')", 55000, 'nobody answered|not done yet|goes on',
	'a witness where a member answers');
$cluster->wait_until('... is not invited any more', sub { return ask($leader, "SELECT count(*) FROM quorum.members") eq '3'; }, 60);
is(column($two, "role || ' ' || electable"), 'follower true', '... and the member there has stayed one');
$cluster->kill_all($one);
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (2)'), '... not for the learner');
$cluster->start($one);
$cluster->wait_until('the learner streams', sub {
	return ask($leader, "SELECT count(*) FROM quorum.replication WHERE direction = 'to' AND node = '" . name($one) . "'") eq '1';
});
ok(defined $cluster->ask($leader, "SELECT quorum.set_member_kind('" . name($one) . "', 'voter')", timeout => 30),
	'it becomes a voter again');
is(kind(name($one)), 'voter', '... and is one');
is(events($leader, 'member_learner'), 1, '... the history has it');
$cluster->wait_for_followers;

# ---- another address ----------------------------------------------------------------

my $port = PostgreSQL::Test::Cluster::get_free_port();
refused($leader, "SELECT quorum.set_member_address('" . name($leader) . "', '127.0.0.1:$port')", 55006, 'switchover', 'another address of the leader');
refused($leader, "SELECT quorum.set_member_address('" . name($one) . "', '127.0.0.1:$two->{quorum_port}')", 42710, 'exists already',
	'the address of another member');
$one->append_conf('postgresql.conf', "quorum.address = '127.0.0.1:$port'");
$one->stop('fast');
$cluster->start($one);
$cluster->wait_until('it says that it is not where the others look', sub {
	return column($one, 'reason') =~ /quorum.address is 127.0.0.1:$port, but the cluster looks for this node at /;
});
pass('a node says that it is not where the others look for it');
is(ask($leader, "SELECT quorum.set_member_address('" . name($one) . "', '127.0.0.1:$port')", timeout => 30), '', 'its address is changed');
is(ask($leader, "SELECT host || ':' || quorum_port FROM quorum.members WHERE name = '" . name($one) . "'"), "127.0.0.1:$port", '... in the set');
$cluster->wait_for_followers;
$cluster->wait_until('it hears the leader there', sub { return column($one, 'leader') eq name($leader) && column($one, 'reason') eq ''; });
pass('... and the leader talks to it there');
$one->{quorum_port} = $port;

# ---- invited again ------------------------------------------------------------------

# Removed while it was away, with WAL that the others do not have: it was the leader.
my $old = $leader;
my $pid = $cluster->ask($one, 'SELECT pid FROM pg_stat_wal_receiver');
my $pid2 = $cluster->ask($two, 'SELECT pid FROM pg_stat_wal_receiver');
my $writer = $cluster->session($old);
kill 'STOP', $pid, $pid2;
$writer->send('INSERT INTO t VALUES (3)');
$cluster->wait_until('a row that only the leader has', sub {
	return ask($old, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") eq '1';
});
$cluster->kill_all($old);
kill 'CONT', $pid, $pid2;
refresh();
my $old_id = ask($leader, "SELECT node_id FROM quorum.members WHERE name = '" . name($old) . "'");
ok(defined $cluster->ask($leader, "SELECT quorum.remove_member('" . name($old) . "')", timeout => 60), 'who led is removed while it is away');
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (4)'), 'the others go on');
$cluster->start($old);
$cluster->wait_until('it is told so', sub { return column($old, 'reason') =~ /removed from the cluster/; });
my $their_term = column($leader, 'term');
my $address = "127.0.0.1:$old->{quorum_port}";
my $id = ask($leader, "SELECT quorum.add_member('" . name($old) . "', '$address')", timeout => 60);
cmp_ok($id, '>', $old_id, 'it is invited again under a new id');
$cluster->wait_for_followers;
is(kind(name($old)), 'voter', '... and is a voter again');
is(column($old, 'node_id'), $id, '... which it knows');
cmp_ok(column($old, 'term'), '>=', $their_term, '... its term has not gone back');
is(ask($old, 'SELECT string_agg(id::text, \',\' ORDER BY id) FROM t'), '1,2,4', '... and has what the others have');

# Removed while it runs.
my ($third) = grep { $_ != $old } $cluster->followers;
ok(defined $cluster->ask($leader, "SELECT quorum.remove_member('" . name($third) . "')", timeout => 60), 'a running node is removed');
$cluster->wait_until('it is told so, too', sub { return column($third, 'reason') =~ /removed from the cluster/; });
$address = "127.0.0.1:$third->{quorum_port}";
ok(defined $cluster->ask($leader, "SELECT quorum.add_member('" . name($third) . "', '$address')", timeout => 60), '... and invited again');
$cluster->wait_for_followers;
is(kind(name($third)), 'voter', '... as a voter');
refresh();

# ---- force --------------------------------------------------------------------------

refused($leader, "SELECT quorum.force('" . name($leader) . "')", 55000, 'leads already', 'forcing the leader');
refused($others[0], "SELECT quorum.force('" . name($others[0]) . "')", 55000, 'follows a leader', 'forcing who follows');

# The one that is left lacks a row that the two others have acknowledged.
my ($left, $lost) = @others;
$pid = $cluster->ask($left, 'SELECT pid FROM pg_stat_wal_receiver');
kill 'STOP', $pid;
ok(defined $cluster->ask($leader, "CREATE TABLE bulk AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 60000)", timeout => 60),
	'more WAL than a socket holds');
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (5)'), '... and a commit that two of three hold');
# Both at one instant: the two that are left after one death would elect.
$cluster->freeze($_) for $leader, $lost;
$cluster->kill_all($_) for $leader, $lost;
$_->{frozen} = undef for $leader, $lost;
kill 'CONT', $pid;
wait_until_lost($left);
is(column($left, 'leader'), '', 'no majority, no leader');
refused($left, "SELECT quorum.force('yes')", 22023,
	'Known here: "' . name($left) . '" has WAL to [0-9A-F/]+ on timeline \d+ \(this node\); .*heard \d+ s ago.*held WAL to', 'a force without the name');
$term = column($left, 'term');
$cluster->wait_until('force', sub {
	my $done = defined $cluster->ask($left, "SELECT quorum.force('" . name($left) . "')", timeout => 60);
	diag($cluster->{last_error}) unless $done;
	return $done || $cluster->{last_error} !~ /lease/;
});
is(column($left, "role || ' ' || gate"), 'leader open', 'a forced node leads and serves');
cmp_ok(column($left, 'term'), '>', $term + 10, '... in a term that is ahead');
ok(defined $cluster->ask($left, 'INSERT INTO t VALUES (6)'), '... alone');
is(ask($left, 'SELECT string_agg(id::text, \',\' ORDER BY id) FROM t'), '1,2,4,6', '... with the data it has');
is(ask($left, "SELECT string_agg(kind, ',' ORDER BY kind) FROM quorum.members"), 'learner,learner,voter', '... the others are learners');
is(events($left, 'forced'), 1, '... the history has it');

$cluster->start($_) for $leader, $lost;
$cluster->wait_until('the others are voters again', sub {
	return ask($left, "SELECT count(*) FROM quorum.members WHERE kind = 'voter'") eq '3';
}, 120);
$cluster->wait_for_followers($leader, $lost);
is($cluster->leader, $left, 'the others return and follow it');
for my $node ($leader, $lost)
{
	$cluster->wait_until(name($node) . ' has its data', sub {
		return ask($node, 'SELECT string_agg(id::text, \',\' ORDER BY id) FROM t') eq '1,2,4,6';
	});
	pass(name($node) . ' has the data of the forced node');
}
$cluster->kill_all($left);
isnt($cluster->wait_for_leader(not => $left), $left, '... and one of them takes over when it dies');

done_testing();
