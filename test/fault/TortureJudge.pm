# TortureJudge.pm
#	  Asks the servers, when all is quiet, what there is, stops them, looks into their files, and
#	  has all of it held against what clients were told.
package TortureJudge;

use strict;
use warnings;
use QuorumNodes;
use Time::HiRes ();
use TortureCheck;
use TortureFiles;
use TortureLog;

my @tables = qw(lists ledger registers accounts drawn);
my $settle_limit = 60;    # seconds
my $stop_limit = 60;
my $clock_at_start;       # what CLOCK_REALTIME is ahead of CLOCK_MONOTONIC

sub clock_ahead { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_REALTIME()) - Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# What clients write to.  The ledger has no key: nothing keeps an id from being there twice.
sub make_tables
{
	my ($cluster, $leader) = @_;
	$clock_at_start = clock_ahead();
	$cluster->query($leader, $_) for 'CREATE TABLE lists (key bigint PRIMARY KEY, vals text NOT NULL)',
	  'CREATE TABLE ledger (id bigint NOT NULL)',
	  'CREATE INDEX ON ledger (id)',
	  'CREATE TABLE registers (key bigint PRIMARY KEY, value bigint NOT NULL)',
	  'CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL)',
	  'INSERT INTO accounts SELECT i, 0 FROM generate_series(0, 7) AS i',
	  'CREATE TABLE drawn (n bigint PRIMARY KEY)', 'CREATE SEQUENCE numbers', 'CREATE EXTENSION amcheck';
	return;
}

# Until the last transaction of a client that has gone is over: one that waits for a quorum is
# not seen on the leader yet, while standbys show it.
sub settle
{
	my ($cluster, $leader) = @_;
	$cluster->wait_for($settle_limit, "the last transactions on $leader->{name} end", sub {
		return $cluster->query($leader, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'torture'") eq '0';
	});
	return;
}

# clients: [{ file, standby }]; shifted: { name of a node whose clock was moved => 1 }.
# Every server is stopped when this is done.
sub judge
{
	my ($cluster, $leader, %with) = @_;
	my $check = TortureCheck->new;

	read_what_is_there($cluster, $check, $leader);
	for my $client (@{ $with{clients} })
	{
		$check->parse($_, $client->{standby}) for QuorumNodes::read_lines($client->{file});
	}
	$check->check;
	check_logs($cluster, $check, $with{shifted});
	my $end = compare_nodes($cluster, $check, $leader);
	stop_servers($cluster, $leader);
	compare_files($cluster, $check, $leader, $end);
	printf "judged: %d registers (%d undecided), %d MB of WAL and %d histories compared\n", $check->{registers_judged},
	  $check->{undecided}, $check->{wal_compared} / 1e6, $check->{histories_compared};
	return $check;
}

sub rows { my ($cluster, $node, $sql) = @_; return map { [ split /\|/, $_, -1 ] } split /\n/, $cluster->query($node, $sql) }

sub read_what_is_there
{
	my ($cluster, $check, $leader) = @_;
	my %ledger;
	$ledger{ $_->[0] }++ for rows($cluster, $leader, 'SELECT id FROM ledger');
	$check->final(
		lists => { map { $_->[0] => [ split /,/, $_->[1] ] } rows($cluster, $leader, 'SELECT key, vals FROM lists') },
		total => $cluster->query($leader, 'SELECT sum(balance) FROM accounts'),
		numbers => { map { $_->[0] => 1 } rows($cluster, $leader, 'SELECT n FROM drawn') },
		ledger => \%ledger,
		registers => { map { @$_ } rows($cluster, $leader, 'SELECT key, value FROM registers') });
	return;
}

# ---- what the servers said -------------------------------------------------------------------

sub check_logs
{
	my ($cluster, $check, $shifted) = @_;
	my (%events, %courses, %gates);
	for my $node ($cluster->nodes, $cluster->{witness} // ())
	{
		for (QuorumNodes::read_lines($node->{log}))
		{
			my $event = TortureLog::parse($_);
			push @{ $events{ $node->{name} } }, $event if $event;
			my $course = TortureLog::parse_course($_);
			push @{ $courses{ $node->{name} } }, $course if $course;
			$check->find('broken invariant', "$node->{name}: $_") if /broken invariant|TRAP:|terminated by signal 11/;
		}
	}
	my $gates = TortureLog::check_terms(\%events, $check->finder);
	$check->{terms} = keys %$gates;
	$check->{changes} = TortureLog::count_changes(\%events, \%courses);

	# Logs have milliseconds of CLOCK_REALTIME, clients microseconds of CLOCK_MONOTONIC.
	my $ahead = clock_ahead();
	my $doubt = abs($ahead - $clock_at_start) + 0.001;
	for my $term (keys %$gates)
	{
		my ($at, $node) = @{ $gates->{$term} };
		$gates{$term} = ($at - $ahead + $doubt) * 1e6 if !$shifted->{$node};
	}
	TortureLog::check_gates(\%gates, $check->{transactions}, $check->finder);
	return;
}

# ---- what each node has ----------------------------------------------------------------------

# Every index against its table, tables against themselves.
my @amchecks = (
	"SELECT bt_index_check(c.oid, true) FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid
	 WHERE c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree') AND c.relkind = 'i' AND c.relpersistence = 'p' AND indisvalid",
	map { "SELECT * FROM verify_heapam('$_')" } @tables);

# The same rows and the same dump everywhere; returns up to where all of them have the log.
sub compare_nodes
{
	my ($cluster, $check, $leader) = @_;
	my $end = $cluster->query($leader, 'SELECT pg_current_wal_flush_lsn()');
	my $digest = join ' UNION ALL ', map { "SELECT '$_', count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM $_ AS t" } @tables;
	my $expected = $cluster->query($leader, $digest);
	my $dump = dump_of($cluster, $leader);

	for my $node ($cluster->nodes)
	{
		$cluster->wait_for(60, "$node->{name} has replayed everything", sub {
			$node == $leader || $cluster->query($node, "SELECT pg_last_wal_replay_lsn() >= '$end'::pg_lsn") eq 't';
		});
		$check->find('nodes differ', $node->{name}) if $cluster->query($node, $digest) ne $expected;
		$check->find('dumps differ', $node->{name}) if $node != $leader && dump_of($cluster, $node) ne $dump;

		# what a new leader would hand out next was not handed out yet
		my $numbers = $cluster->query($node, 'SELECT last_value >= coalesce(max(n), 0) FROM numbers, drawn GROUP BY last_value');
		$check->find('seq', "$node->{name} is behind with its sequence") if $numbers ne 't' && $numbers ne '';
		for my $sql (@amchecks)
		{
			my ($status, $text) = $cluster->psql($node, $sql);
			$check->find('amcheck', "$node->{name}: $text") if $status != 0 || $text =~ /\S/;
		}
	}
	return TortureFiles::position($end);
}

# Without sequences: a standby has them as after a crash, up to 32 numbers ahead.
sub dump_of
{
	my ($cluster, $node) = @_;
	my ($status, $text) = QuorumNodes::run($cluster->bin('pg_dump'), '-h', $node->{host}, '-p', $node->{port}, '-U', 'postgres', 'postgres');
	die "pg_dump of $node->{name}: $text\n" if $status != 0;
	return join "\n", grep { !/^SELECT pg_catalog\.setval\(/ && !/^\\(un)?restrict / } split /\n/, $text;
}

# ---- what is on disk -------------------------------------------------------------------------

# Who follows first: who led must not see a successor.
sub stop_servers
{
	my ($cluster, $leader) = @_;
	my @nodes = ((grep { $_ != $leader } $cluster->nodes), $leader);
	kill 'INT', grep { defined } map { $cluster->postmaster_pid($_) } @nodes;
	for my $node (@nodes)
	{
		$cluster->wait_for($stop_limit, "$node->{name} stops", sub {
			QuorumNodes::reap();
			return !-e "$node->{dir}/postmaster.pid" && !$cluster->pids($node);
		});
	}
	return;
}

sub compare_files
{
	my ($cluster, $check, $leader, $end) = @_;
	my %wal = map { $_->{name} => "$_->{dir}/pg_wal" } $cluster->nodes;
	my (%ends, %switches);

	for my $node ($cluster->nodes)
	{
		my ($status, $text) = QuorumNodes::run($cluster->bin('pg_checksums'), '--check', '-D', $node->{dir});
		$check->find('checksums', "$node->{name}: $text") if $status != 0;
		my $pieces = TortureFiles::pieces($wal{ $node->{name} });
		for my $tli (keys %$pieces)
		{
			($status, $text) = QuorumNodes::run($cluster->bin('pg_waldump'), '-r', 'XLOG', '-p', $wal{ $node->{name} }, '-t', $tli, '-s',
				TortureFiles::lsn($pieces->{$tli}));
			$ends{ $node->{name} }{$tli} = TortureFiles::end_of_wal($text);
			push @{ $switches{$tli} }, TortureFiles::switches($text);
		}
		my ($newest) = sort { $b <=> $a } keys %$pieces;
		$check->find('WAL ends too early', "$node->{name} at " . TortureFiles::lsn($ends{ $node->{name} }{$newest}) . ', all had it up to ' . TortureFiles::lsn($end))
		  if $ends{ $node->{name} }{$newest} < $end;
	}
	$check->{wal_compared} = TortureFiles::check_wal(\%wal, \%ends, \%switches, $check->finder);
	$check->{histories_compared} = TortureFiles::check_histories(\%wal, $check->finder);
	return;
}

1;
