# What cannot work is refused with a reason, and nothing is lost.
#
# Wrong settings at start, two nodes with one name, a server of another cluster, damaged
# state: the server starts where that is safe, takes no part, and says why.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use QuorumCluster;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = QuorumCluster->new('errors', nodes => 3);
my $leader = $cluster->leader;
my ($follower, $other) = $cluster->followers;

$leader->safe_psql('postgres', 'CREATE TABLE t (id int)');
$cluster->wait_for_followers;

# ---- settings ---------------------------------------------------------------------

append_to_file($follower->data_dir . '/open.secret', $cluster->secret);
chmod 0644, $follower->data_dir . '/open.secret';
for my $case (
	[ 'no name', "quorum.node_name = ''", qr/node_name/ ],
	[ 'bad address', "quorum.address = 'nonsense'", qr/address/ ],
	[ 'short lease', "quorum.heartbeat_interval = 900", qr/lease|heartbeat/ ],
	[ 'fsync', 'fsync = off', qr/fsync/ ],
	[ 'no secret', "quorum.secret_file = '/nonexistent'", qr/secret.*cannot be read/ ],
	[ 'secret that others can read', "quorum.secret_file = 'open.secret'", qr/secret.*open to others/ ])
{
	my ($what, $setting, $reason) = @$case;
	my $conf = $follower->data_dir . '/postgresql.conf';
	my $saved = slurp_file($conf);

	append_to_file($conf, "$setting\n");
	my $size = $cluster->log_size($follower);
	$follower->restart;
	is($cluster->ask($follower, 'SELECT membership || pg_is_in_recovery() FROM quorum.status'),
		'misconfiguredtrue', "$what: the server starts, as a standby, and takes no part");
	like($cluster->ask($follower, 'SELECT reason FROM quorum.status') // '', $reason,
		"$what: it says why");
	$cluster->wait_for_log($follower, qr/takes no part.*?HINT/s, $size);
	pass("$what: with a hint in the log");
	ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (1)'), "$what: the others go on");
	unlink $conf;
	append_to_file($conf, $saved);
	$follower->restart;
	$cluster->wait_for_followers;
}

# ---- names ------------------------------------------------------------------------

my $answer = $cluster->session($leader);
is($answer->ask("SELECT quorum.add_member('$follower->{quorum_name}', '127.0.0.1:1')"), undef,
	'a second node of one name is refused');
like($answer->error, qr/name/, '... with the reason');
is($answer->ask("SELECT quorum.add_member('n9', '127.0.0.1:$follower->{quorum_port}')"), undef,
	'a second node of one address is refused');
like($answer->error, qr/member with the address/, '... with the reason');
is($answer->ask("SELECT quorum.add_member('n9', 'nonsense')"), undef, 'a bad address is refused');
like($answer->error, qr/address/, '... with the reason');

# A copy that waits under another name than it is invited by.
my $copy = $cluster->copy_of_leader(4);
$copy->start;
is($answer->ask("SELECT quorum.add_member('n5', '127.0.0.1:$copy->{quorum_port}')", 60), undef,
	'a server of another name is not invited');
like($answer->error, qr/node_name/, '... and says its name');
is($answer->ask('SELECT count(*) FROM quorum.members'), '3', 'the member set is as it was');
$copy->stop('immediate');

# ---- a server of another system ---------------------------------------------------

my $stranger = PostgreSQL::Test::Cluster->new('errors_stranger');
$stranger->init(allows_streaming => 1, extra => ['--data-checksums']);
$stranger->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_quorum'
listen_addresses = '127.0.0.1'
fsync = on
restart_after_crash = on
});
$cluster->_configure($stranger, 6);
$stranger->start;
is($answer->ask("SELECT quorum.add_member('n6', '127.0.0.1:$stranger->{quorum_port}')", 60), undef,
	'a server of another system is not invited');
like($answer->error, qr/system identifier/, '... and says why');
is($cluster->ask($stranger, 'CREATE EXTENSION pg_quorum; SELECT membership FROM quorum.status'), 'none',
	'it is no member');
ok(defined $cluster->ask($stranger, 'CREATE TABLE t (id int)'), 'and goes on as it was');
$stranger->stop('immediate');

# ---- a follower is no leader ------------------------------------------------------

$answer = $cluster->session($follower);
is($answer->ask("SELECT quorum.add_member('n9', '127.0.0.1:1')"), undef, 'a follower adds nobody');
like($answer->error, qr/\bn\d\b/, '... and names the leader');
is($answer->ask('SELECT quorum.bootstrap()'), undef, 'a member is not bootstrapped again');

# ---- damaged state ----------------------------------------------------------------

my $file = $follower->data_dir . '/pg_quorum/state';
$follower->stop('fast');
my $good = slurp_file($file);
my $bad = $good;
substr($bad, length($bad) / 2, 1) ^= "\x01";
open(my $fh, '+<', $file) or die "$file: $!";
binmode $fh;
print $fh $bad;
close $fh;
$follower->start;
is($cluster->ask($follower, 'SELECT membership || pg_is_in_recovery() FROM quorum.status'),
	'state unreadabletrue', 'damaged state: the server starts as a standby and takes no part');
isnt($cluster->ask($follower, 'SELECT reason FROM quorum.status'), '', '... and says why');
ok(defined $cluster->ask($leader, 'INSERT INTO t VALUES (2)'), '... the others go on');

done_testing();
