# Members in the layout of pg_createcluster: configuration in one place, data in another,
# started and stopped by pg_ctlcluster, shown by pg_lsclusters.
#
# The root of the configuration is one of this test; nothing is made in /etc or /var/lib.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

chomp(my $bindir = `pg_config --bindir`);
my ($version) = `pg_config --version` =~ /PostgreSQL (\d+)/;
plan skip_all => 'there is no postgresql-common' unless -x '/usr/bin/pg_createcluster';
plan skip_all => "pg_ctlcluster starts /usr/lib/postgresql/$version/bin, not $bindir"
  unless $bindir eq "/usr/lib/postgresql/$version/bin";

my $base = PostgreSQL::Test::Utils::tempdir();
my $sockets = PostgreSQL::Test::Utils::tempdir_short();
my %port = map { $_ => [ map { PostgreSQL::Test::Cluster::get_free_port() } 1, 2 ] } 1 .. 3;
my $token = "$base/token";

delete @ENV{ grep { /^PG(DATA|HOST|PORT|USER|DATABASE|PASS|SERVICE|_QUORUM)/ } keys %ENV };
$ENV{LC_ALL} = 'C';
$ENV{PG_CLUSTER_CONF_ROOT} = "$base/etc";
mkdir "$base/etc";

sub run_it
{
	my (@command) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run(\@command, '<', '/dev/null', '>', \$out, '2>', \$err, IPC::Run::timeout(180));
	return ($? >> 8, $out, $err);
}

sub name_of { return "q${$}n$_[0]"; }
sub data { return "$base/data$_[0]"; }
sub etc { return "$base/etc/$version/" . name_of($_[0]); }
sub log_file { return "$base/log$_[0]"; }

sub works
{
	my ($what, @command) = @_;
	my ($rc, $out, $err) = run_it(@command);

	is($rc, 0, $what) or diag("@command\n$out$err");
	return $out;
}

sub ctl { my ($number, $action, @more) = @_; return works("pg_ctlcluster $action n$number" , 'pg_ctlcluster', @more, $version, name_of($number), $action); }

sub ask
{
	my ($number, $sql) = @_;
	my ($rc, $out) = run_it('psql', '-XAtq', '-h', $sockets, '-p', $port{$number}[0], '-d', 'postgres', '-c', $sql);
	chomp $out;
	return $rc == 0 ? $out : undef;
}

sub wait_until
{
	my ($what, $check) = @_;
	my $until = time() + 60;

	while (time() < $until)
	{
		return pass($what) if $check->();
		usleep(50_000);
	}
	fail("waited in vain for: $what");
	die "waited in vain for: $what\n";
}

sub healthy
{
	my ($what, $leader) = @_;
	wait_until("$what: healthy, n$leader leads", sub {
		my ($rc, $out) = run_it('pg_quorum', 'status', '--json', '-D', data(1), '--timeout=3');
		my $status = eval { JSON::PP::decode_json($out) } // {};
		return ($status->{status} // '') eq 'healthy' && $status->{leader} eq "n$leader";
	});
}

sub postmaster
{
	my ($number) = @_;
	my ($pid) = -e data($number) . '/postmaster.pid' ? split /\n/, slurp_file(data($number) . '/postmaster.pid') : ();
	return $pid;
}

# Status as pg_lsclusters shows it.
sub listed
{
	my ($number) = @_;
	my ($rc, $out) = run_it('pg_lsclusters', '-h');
	my ($line) = grep { (split ' ')[1] eq name_of($number) } split /\n/, $out;
	return $line ? (split ' ', $line)[ 2, 3 ] : ();
}

END
{
	my $status = $?;
	if (!Test::More->builder->is_passing)
	{
		for my $number (grep { -e log_file($_) } 1 .. 3)
		{
			my @lines = split /\n/, slurp_file(log_file($number));
			splice @lines, 0, @lines - 40 if @lines > 40;
			diag("---- n$number"), diag($_) for @lines;
		}
	}
	for my $number (1 .. 3)
	{
		my $pid = postmaster($number) // next;
		kill 'QUIT', $pid;
		my $until = time() + 30;
		usleep(20_000) while -e data($number) . '/postmaster.pid' && time() < $until;
	}
	$? = $status;
}

# ---- a cluster, as a newcomer makes it ----------------------------------------------

for my $number (1 .. 3)
{
	works("pg_createcluster n$number", 'pg_createcluster', '-d', data($number), '-s', $sockets, '-l', log_file($number),
		'-p', $port{$number}[0], '--start-conf', 'manual', $version, name_of($number), '--', '--data-checksums');
	open(my $conf, '>>', etc($number) . '/postgresql.conf');
	print $conf "shared_buffers = 16MB\nmax_wal_senders = 12\nquorum.lease_duration = 1000\n";
	close $conf;
}
ctl(1, 'start');
my @address = map { "--address=127.0.0.1:$port{$_}[1]" } 1 .. 3;
works('init finds the configuration, restarts with pg_ctlcluster', 'pg_quorum', 'init', '-D', data(1), '--name=n1', $address[0],
	'--allow=127.0.0.1/32', '--yes', '--restart', "--token-file=$token");
is((listed(1))[1], 'online,recovery', 'pg_lsclusters shows it; every member has a standby.signal');
ok(!-e data(1) . '/server.log' && slurp_file(log_file(1)) =~ /gate open/, 'its log is where Debian wants it');
for my $number (2, 3)
{
	works("join finds configuration and port of n$number", 'pg_quorum', 'join', '-D', data($number), "--name=n$number",
		$address[ $number - 1 ], '--allow=127.0.0.1/32', '--overwrite', "\@$token");
	is_deeply([ listed($number) ], [ $port{$number}[0], 'online,recovery' ], "pg_lsclusters shows n$number");
}
healthy('three members', 1);
is(ask(2, "SHOW config_file"), etc(2) . '/postgresql.conf', 'the configuration of n2 is in its place');

# ---- restarts in place ----------------------------------------------------------------

my %pid = map { $_ => postmaster($_) } 1 .. 3;
works('switchover', 'pg_quorum', 'switchover', '-D', data(2), '--to=n2');
healthy('after a switchover', 2);
is(postmaster(1), $pid{1}, 'n1 has restarted in place');
is(ask(1, 'SHOW config_file'), etc(1) . '/postgresql.conf', '... with the same configuration');
is((listed(1))[1], 'online,recovery', '... and pg_lsclusters shows it');
my $external = ask(1, 'SHOW external_pid_file');
is($external ? (split /\n/, slurp_file($external))[0] : '', $pid{1}, '... as does its pid file for systemd') if $external;

# n2 is deposed with WAL that nobody else has.
ask(2, 'CREATE TABLE t (id int)');
my $configuration = slurp_file(etc(2) . '/postgresql.conf') . slurp_file(etc(2) . '/pg_hba.conf');
my @senders = split /\n/, ask(2, 'SELECT pid FROM pg_stat_replication');
kill 'STOP', @senders;
my $writer = IPC::Run::start([ 'psql', '-Xq', '-h', $sockets, '-p', $port{2}[0], '-d', 'postgres', '-c', 'INSERT INTO t SELECT generate_series(1, 2000)' ],
	'<', '/dev/null', '>', \my $ignored, '2>', \my $ignored_too);
wait_until('WAL that only n2 has', sub { ask(2, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") });
my @all = ($pid{2}, split ' ', slurp_file("/proc/$pid{2}/task/$pid{2}/children"));
my $size = -s log_file(2);
kill 'STOP', @all;
wait_until('another leads', sub { grep { (ask($_, 'SELECT quorum.is_leader()') // '') eq 't' } 1, 3 });
kill 'KILL', @senders;
kill 'CONT', @all;
wait_until('n2 is rewound', sub { slurp_file(log_file(2), $size) =~ /pg_rewind took/ });
$writer->finish;
my ($leader) = grep { (ask($_, 'SELECT quorum.is_leader()') // '') eq 't' } 1, 3;
healthy('after a rewind', $leader);
is(postmaster(2), $pid{2}, 'n2 was rewound in place');
is(slurp_file(etc(2) . '/postgresql.conf') . slurp_file(etc(2) . '/pg_hba.conf'), $configuration, '... its configuration is untouched');
is((listed(2))[1], 'online,recovery', '... and pg_lsclusters shows it');

# ---- stop and start -------------------------------------------------------------------

ctl(2, 'stop');
is((listed(2))[1] =~ s/,recovery//r, 'down', 'pg_lsclusters shows it down');
ctl(2, 'start');
healthy('after stop and start', $leader);
ctl(2, 'restart');
healthy('after a restart', $leader);
ctl(2, 'reload');
ctl($leader, 'restart', '-m', 'fast');
wait_until('somebody leads', sub { grep { (ask($_, 'SELECT quorum.is_leader()') // '') eq 't' } 1 .. 3 });
($leader) = grep { (ask($_, 'SELECT quorum.is_leader()') // '') eq 't' } 1 .. 3;
healthy('after a restart of the leader', $leader);
ctl($_, 'stop', '-m', 'fast') for 1 .. 3;

done_testing();
