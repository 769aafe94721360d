# A rolling upgrade: nodes of two minor versions in one cluster, and back again.
#
# The second library is built from the same source with -DQUORUM_NEXT_MINOR (make next): it
# appends a field wherever a minor version may, in messages, members and state, and says one
# message that this version does not know.  Each version has an installation of its own.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use QuorumState;
use PostgreSQL::Test::Utils;
use Test::More;

my $library = $ENV{QUORUM_NEXT_LIBRARY} // "$FindBin::RealBin/../../build/next/pg_quorum.so";
plan skip_all => "there is no $library: make next" unless -f $library;

my %dir = map { chomp(my $value = `pg_config --$_`); $_ => $value } qw(bindir pkglibdir sharedir);
my $old_path = $dir{bindir} =~ s{/bin$}{}r;
my $next_root = PostgreSQL::Test::Utils::tempdir('next');
my $next_path = "$next_root$old_path";

# PostgreSQL finds its libraries and files beside the program that runs.
for my $part (values %dir)
{
	system('mkdir', '-p', "$next_root$part") == 0 or die;
	system('cp', '-R', "$part/.", "$next_root$part") == 0 or die "cannot copy $part";
}
system('cp', $library, "$next_root$dir{pkglibdir}/pg_quorum.so") == 0 or die;

my $cluster = QuorumCluster->new('upgrade', nodes => 3);
my ($first, $second, $third) = $cluster->nodes;
my $rows = 0;

# The format version that a node writes.
sub state_version { return QuorumState::of($_[0])->{format}; }

# Everybody streams, commits count, and nobody has sent what somebody could not read.
sub works
{
	my ($what) = @_;
	my $leader = $cluster->wait_for_leader;

	$cluster->wait_for_followers;
	$rows++;
	ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (1)'), "$what: the cluster accepts writes");
	my @garbage = map { $cluster->ask($_, 'SELECT rejected_garbage FROM quorum.transport') } $cluster->nodes;
	is_deeply(\@garbage, [ map { 0 } @garbage ], "$what: every node reads every message");
	return $leader;
}

sub replace_library
{
	my ($node, $path) = @_;

	$node->stop('fast');
	$node->{_install_path} = $path;
	$node->start;
}

sub kill_leader
{
	my ($what) = @_;
	my $old = works($what);
	my $term = $cluster->ask($old, 'SELECT term FROM quorum.status');

	$cluster->kill_postmaster($old);
	my $new = $cluster->wait_for_leader(not => $old);
	cmp_ok($cluster->ask($new, 'SELECT term FROM quorum.status'), '>', $term, "$what: another node leads");
	$cluster->start($old);
	works("$what, the old leader is back");
	return ($old, $new);
}

sub switch_to
{
	my ($what, $target) = @_;
	my $leader = $cluster->wait_for_leader;

	return if $leader == $target;
	$cluster->wait_for_followers;
	$cluster->ask($leader, "SELECT quorum.switchover('$target->{quorum_name}')", timeout => 30);
	$cluster->wait_until("$what: $target->{quorum_name} leads", sub { $cluster->wait_for_leader == $target });
	pass("$what: switchover");
	works("$what, after the switchover");
}

# ---- the library, node by node ---------------------------------------------------

$first->safe_psql('postgres', 'CREATE TABLE t (id int)');
works('one version');
is(state_version($third), '3.0', 'the state has this version');

replace_library($third, $next_path);
like($cluster->ask($third, 'SELECT quorum.library_version()'), qr/protocol 3\.1/, 'a node says which library it runs');
like($cluster->ask($first, 'SELECT quorum.library_version()'), qr/protocol 3\.0/, '... as do those with the old one');
works('one new node');
switch_to('one new node leads two old ones', $third);
is(state_version($third), '3.1', 'it writes the state of its version');
kill_leader('one new node leads two old ones');
kill_leader('an old or the new node');

# A member that comes while the versions are mixed: the set and the invitation travel both ways.
switch_to('an old node leads', $first);
my $fourth = $cluster->join_node;
$cluster->wait_until('four voters', sub {
	($cluster->ask($cluster->wait_for_leader, "SELECT count(*) FROM quorum.members WHERE kind = 'voter'") // 0) == 4 });
works('an old node has invited');
switch_to('the new node leads', $third);
$cluster->wait_until('the fourth leaves', sub {
	defined $cluster->ask($cluster->wait_for_leader, "SELECT quorum.remove_member('n4')") });
$fourth->stop('immediate');
pop @{ $cluster->{nodes} };
my $fifth = $cluster->copy_of_leader(5);
$fifth->{_install_path} = $old_path;
push @{ $cluster->{nodes} }, $fifth;
$fifth->start;
my $leader = $cluster->wait_for_leader;
ok(defined $cluster->ask($leader, "SELECT quorum.add_member('n5', '127.0.0.1:$fifth->{quorum_port}')", timeout => 30),
	'a new node invites an old one') or diag($cluster->{last_error});
works('a new node has invited');

replace_library($second, $next_path);
works('two new nodes');
kill_leader('two new nodes');
$fifth->stop('fast');
$fifth->{_install_path} = $next_path;
$fifth->start;
replace_library($first, $next_path);
works('all new');
is_deeply([ map { $cluster->ask($_, 'SELECT quorum.library_version()') =~ /protocol (\d\.\d)/ } $cluster->nodes ], [ ('3.1') x 4 ],
	'all four have the new library');
kill_leader('all new');

# ---- and back ----------------------------------------------------------------------

is(state_version($second), '3.1', 'the state is of the new version');
replace_library($second, $old_path);
is($cluster->ask($second, 'SELECT membership FROM quorum.status'), 'member', 'an older library reads it');
works('one node is back');
switch_to('one node is back', $second);
is(state_version($second), '3.0', 'and writes its own');
replace_library($_, $old_path) for $first, $third, $fifth;
works('all are back');
is($cluster->ask($second, 'SELECT count(*) FROM t'), $rows, 'no acknowledged row is lost');

# ---- the SQL objects ----------------------------------------------------------------

# A version 1.1 whose function has a column more, and one of which nothing has changed.
my $share = "$next_root$dir{sharedir}/extension";
my $old_share = "$dir{sharedir}/extension";
my $control = slurp_file("$share/pg_quorum.control");
is(scalar(() = $control =~ s/default_version = '1\.0'/default_version = '1.1'/), 1, 'a control file of 1.1');
open(my $out, '>', "$share/pg_quorum.control") or die;
print $out $control;
close $out;
open($out, '>', "$share/pg_quorum--1.0--1.1.sql") or die;
print $out <<'EOS';
\echo Use "ALTER EXTENSION pg_quorum UPDATE" to load this file. \quit
DROP VIEW quorum.transport;
DROP FUNCTION quorum.get_transport();
CREATE FUNCTION quorum.get_transport(
	OUT frames_in int8, OUT frames_out int8, OUT rejected_auth int8, OUT rejected_garbage int8,
	OUT rejected_identity int8, OUT dropped_slow int8, OUT timeouts int8, OUT news int8)
RETURNS SETOF record LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'pgq_get_transport';
CREATE VIEW quorum.transport AS SELECT * FROM quorum.get_transport();
CREATE FUNCTION quorum.get_old_transport(OUT frames_in int8, OUT frames_out int8)
RETURNS SETOF record LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'pgq_get_transport';
CREATE FUNCTION quorum.news() RETURNS int4 LANGUAGE C AS 'MODULE_PATHNAME', 'pgq_news';
EOS
close $out;

sub extension { return $cluster->ask($_[0], "SELECT extversion FROM pg_extension WHERE extname = 'pg_quorum'") }

switch_to('SQL objects', $first);
ok(!defined $cluster->ask($first, 'ALTER EXTENSION pg_quorum UPDATE TO \'1.1\''), 'no update to a version that is not installed');
like($cluster->{last_error}, qr/no update path/, '... it says so');
replace_library($third, $next_path);
switch_to('SQL objects', $third);
is(extension($third), '1.0', 'a new library alone changes no SQL object');
ok(!defined $cluster->ask($third, 'ALTER EXTENSION pg_quorum UPDATE'), 'objects that the library does not have');
like($cluster->{last_error}, qr/could not find function "pgq_news"/, '... it says so');
is(extension($third), '1.0', '... and nothing is changed');

my $script = slurp_file("$share/pg_quorum--1.0--1.1.sql") =~ s/^CREATE FUNCTION quorum.news.*\n//mr;
open($out, '>', "$share/pg_quorum--1.0--1.1.sql") or die;
print $out $script;
close $out;
ok(defined $cluster->ask($third, 'ALTER EXTENSION pg_quorum UPDATE'), 'ALTER EXTENSION pg_quorum UPDATE')
  or diag($cluster->{last_error});
is(extension($third), '1.1', '... in place');
$cluster->wait_until('the others have it', sub { (extension($first) // '') eq '1.1' });
for my $node ($first, $third)
{
	ok(!defined $cluster->ask($node, 'SELECT * FROM quorum.transport'),
		"$node->{quorum_name}: objects that are newer than the library");
	like($cluster->{last_error}, qr/older than the SQL objects.*HINT/s, '... it says so, with a hint');
	ok(defined $cluster->ask($node, 'SELECT * FROM quorum.get_old_transport()'),
		"$node->{quorum_name}: objects that are older than the library work");
	ok(defined $cluster->ask($node, 'SELECT * FROM quorum.status'), '... as do those that have not changed');
}

done_testing();
