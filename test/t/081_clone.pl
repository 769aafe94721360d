# What a rewind cannot bring back is cloned: into place, beside the node's own files, and
# where this node has its tablespaces and its WAL, whatever the leader's paths are.  A copy may lack
# what the node had acknowledged: it does not vote before it has caught up with its leader (S8).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumRejoin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $places = PostgreSQL::Test::Utils::tempdir();
my $cluster = QuorumCluster->new('clone', nodes => 1, conf => "min_wal_size = 32MB");
my $first = $cluster->leader;
my $serial = 0;

mkdir "$places/$_" for 'side_n1', 'side_n2', 'side_n3', 'wal_n2', 'wal_n3';
$first->safe_psql('postgres', "CREATE TABLESPACE side LOCATION '$places/side_n1'");
$first->safe_psql('postgres', 'CREATE TABLE t (id int, filler text)');
$first->safe_psql('postgres', 'CREATE TABLE s (id int, filler text) TABLESPACE side');
$first->safe_psql('postgres', "INSERT INTO s SELECT i, repeat('s', 200) FROM generate_series(1, 5000) i");

# A member with its tablespace and its WAL in places of its own.
sub join_apart
{
	my ($number) = @_;
	my $node = PostgreSQL::Test::Cluster->new("clone_n$number");

	PostgreSQL::Test::Utils::system_or_bail($first->installed_command('pg_basebackup'), '-D', $node->data_dir, '-R', '-N',
		'--checkpoint=fast', '-d', $first->connstr('postgres'), "--waldir=$places/wal_n$number/wal",
		"--tablespace-mapping=$places/side_n1=$places/side_n$number");
	$cluster->_configure($node, $number);
	push @{ $cluster->{nodes} }, $node;
	$cluster->start($node);
	$first->safe_psql('postgres', "SELECT quorum.add_member('n$number', '127.0.0.1:$node->{quorum_port}')");
	return $node;
}

my $n2 = join_apart(2);
my $n3 = join_apart(3);
$cluster->wait_for_followers;

# n2 leads, flushes WAL that nobody has, and dies; $spoil: without the WAL that a rewind needs
# ('WAL'), or without the history of its timeline.
sub diverge
{
	my ($spoil) = @_;

	$serial++;
	while ($cluster->leader != $n2)
	{
		$cluster->wait_for_followers;
		$cluster->ask($cluster->leader, "SELECT quorum.switchover('n2')", timeout => 20);
	}
	$cluster->wait_for_followers;
	my @writers = $cluster->write_alone($n2, "INSERT INTO t SELECT -$serial, repeat('x', 100) FROM generate_series(1, 2000)",
		"UPDATE s SET id = -$serial WHERE id % 3 = 0");
	my $redo = '';
	if ($spoil)
	{
		$cluster->ask($n2, $_, timeout => 30) for 'SELECT pg_switch_wal()', 'CHECKPOINT';
		$redo = $cluster->ask($n2, 'SELECT redo_wal_file FROM pg_control_checkpoint()');
	}
	$cluster->kill_all($n2);
	$cluster->wait_for_leader(not => $n2);
	for my $file (glob($n2->data_dir . '/pg_wal/*'))
	{
		unlink $file if $spoil eq 'WAL' && $file =~ m{/[0-9A-F]{8}([0-9A-F]{16})$} && $1 lt substr($redo, 8);
	}
	if ($spoil eq 'history')
	{
		my ($newest) = reverse sort glob($n2->data_dir . '/pg_wal/*.history');
		open(my $out, '>', $newest) or die "$newest: $!";
		print $out "# pg_quorum: no leader in this term\n";
		close $out;
	}
	return $cluster->log_size($n2);
}

sub log_since { return $cluster->log_since($n2, $_[0]) }

# Where it has its data, and what lies there that is not its data.
sub places
{
	my $data = $n2->data_dir;
	my ($tablespace) = glob("$data/pg_tblspc/*");

	return {
		tablespace => readlink $tablespace,
		wal => readlink "$data/pg_wal",
		'in the tablespace' => [ grep { !/^\./ } PostgreSQL::Test::Utils::slurp_dir("$places/side_n2") ],
		'beside the WAL' => [ sort grep { /^pgsql_tmp/ } PostgreSQL::Test::Utils::slurp_dir("$places/wal_n2/wal") ],
		own => [ map { "$_: " . PostgreSQL::Test::Utils::slurp_file($_) } glob("$data/own/* $data/*.conf $data/*.secret") ]
	};
}

sub is_healthy
{
	my ($what, $before) = @_;

	$cluster->wait_for_followers($n2);
	my $sums = 'SELECT (SELECT count(*) FROM t), count(*), sum(id) FROM s';
	my $sum = $cluster->ask($cluster->leader, $sums);
	$cluster->wait_for_replay($n2);
	is($cluster->ask($n2, $sums), $sum, "$what: it holds what the leader holds");
	$cluster->wait_until('the end of the rewind', sub { return !-e QuorumRejoin::journal($n2) });
	is_deeply(places(), $before, "$what: everything is where it was, and its own files are what they were");
}

mkdir $n2->data_dir . '/own';
PostgreSQL::Test::Utils::append_to_file($n2->data_dir . '/own/notes', "not the server's\n");

# ---- a rewind with tablespaces and linked WAL ----------------------------------------

my $offset = diverge('');
my $before = places();
is($before->{tablespace}, "$places/side_n2", 'it has a tablespace elsewhere');
is($before->{wal}, "$places/wal_n2/wal", 'and its WAL');
$cluster->start($n2);
is_healthy('a rewind', $before);
like(log_since($offset), qr/pg_rewind: Done/, 'a rewind: it was one');

# ---- a clone -----------------------------------------------------------------------------

$offset = diverge('WAL');
$before = places();
$cluster->start($n2);
is_healthy('a clone', $before);
unlike(log_since($offset), qr/was not rewound/, 'a clone: no second attempt is made that cannot help');
like(log_since($offset), qr/could not find previous WAL record/, 'a clone: a rewind was not possible');
like(log_since($offset), qr/cloning n\d/, 'a clone: it was one');
my @kept = glob($n2->data_dir . '/pg_quorum/pgsql_tmp.rollback/*/list');
ok(scalar(@kept) >= 2, 'a clone: what is gone is kept aside');

# ---- a copy, and no leader -----------------------------------------------------------------

# Killed when the copy is in its place, and started again when the leader does not answer.
diverge('WAL');
my $killer = QuorumRejoin::kill_when($cluster, $n2, QuorumRejoin::in_phase('placed'), sub { $cluster->postmaster_pid($_[0]) });
$offset = $cluster->log_size($n2);
$before = places();
$n2->start(fail_ok => 1);
ok(QuorumRejoin::killed($killer), 'a clone: it dies before it streams');
$cluster->kill_all($n2);
my $frozen = $cluster->leader;
my ($awake) = grep { $_ != $frozen && $_ != $n2 } $cluster->nodes;
my $awake_from = $cluster->log_size($awake);
$cluster->freeze($frozen);
$cluster->start($n2);
is($cluster->seen_within(4 * $cluster->lease / 1000, sub { $cluster->log_since($awake, $awake_from) =~ /elected leader of term/ }), undef,
	'who was cloned helps nobody to lead before it has what its leader has');
like($cluster->log_since($awake, $awake_from), qr/pre-vote for term/, '... though it is asked');
like(log_since($offset), qr/cloning n\d/, '... and was cloned');
$cluster->thaw($frozen);
is_healthy('a clone without a leader', $before);

# ---- nothing to compare ----------------------------------------------------------------------

# A leader that is a copy itself has no histories of before, and says so in their place: whoever
# was rewound from it has them no more.
$offset = diverge('history');
$before = places();
$cluster->start($n2);
is_healthy('no history', $before);
like(log_since($offset), qr/needs a new copy of the leader's data: 1 rewind failed: the histories of the two logs cannot be compared/,
	'no history: it is cloned, after one look');

# ---- not allowed ---------------------------------------------------------------------------

$offset = diverge('WAL');
$n2->append_conf('postgresql.conf', "quorum.auto_clone = off\n");
$before = places();
$cluster->start($n2);
$cluster->wait_until('a reason', sub {
	return ($cluster->ask($n2, 'SELECT reason FROM quorum.status') // '') =~ /needs a clone.*could not find previous WAL record.*auto_clone is off/;
});
pass('auto_clone = off: quorum.status says what it needs and why');
like(log_since($offset), qr/LOG:  quorum: no rewind: needs a clone: .*auto_clone is off/, '... and so does the log');
is($cluster->ask($n2, 'SELECT pg_is_in_recovery()'), 't', '... and it can be read from');
my $pid = $cluster->postmaster_pid($n2);
sub restarts { return scalar(() = log_since($offset) =~ /restarting in place/g) }
is(restarts(), 1, '... after one restart');
# For as long as three rewinds would take that fail one after the other.
is($cluster->seen_within(8, sub { restarts() > 1 }), undef, '... and no other one');

$n2->append_conf('postgresql.conf', "quorum.auto_clone = on\n");
$before = places();
$n2->reload;
is_healthy('allowed later', $before);
is($cluster->postmaster_pid($n2), $pid, 'allowed later: under the same pid');

done_testing();
