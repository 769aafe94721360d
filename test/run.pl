#!/usr/bin/perl
# run.pl
#	  Every test in one go, cheapest first, and one line at the end: N passed, N failed.
#
# What needs no server runs as the caller (root, mostly: it installs); servers run as an
# unprivileged user in a workspace of their own.  Started by `make test`.
use strict;
use warnings;
use feature 'state';
use FindBin ();
use lib "$FindBin::RealBin/perl";
use QuorumNodes;
use TAP::Parser;
use Time::HiRes qw(time);

my $source = "$FindBin::RealBin/..";
chdir $source or die "$source: $!\n";
my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
my $make = $ENV{MAKE} || 'make';
my $sim_seeds = 2000;
my @torture = ('--seed', 5, '--minutes', 0.3);

my ($passed, $failed, $skipped) = (0, 0, 0);
my @failures;
my $workspace;
my $started = time();
$| = 1;
$SIG{$_} = sub { print "\ninterrupted\n"; exit 130 } for qw(INT TERM HUP);

sub pg_config { my $value = `$pg_config --$_[0]`; chomp $value; return $value }

# ---- the kinds of suites -------------------------------------------------------------------

sub heading { printf "\n== %s\n", $_[0] }

sub count
{
	my ($name, $ok, $bad, $skip) = @_;
	$passed += $ok;
	$failed += $bad;
	$skipped += $skip // 0;
	push @failures, $name if $bad;
	return $bad;
}

# A suite without tests is a mistake, not a success.
sub some
{
	my ($what, @files) = @_;
	if (!@files)
	{
		print "not ok - there are no $what\n";
		count("no $what", 0, 1);
	}
	return @files;
}

# A command that is one test by itself.
sub command
{
	my ($name, @command) = @_;
	my $begin = time();
	my $pid = open(my $out, '-|') // die "fork: $!\n";
	if ($pid == 0)
	{
		open(STDERR, '>&', \*STDOUT);
		{ no warnings 'exec'; exec { $command[0] } @command }
		print "cannot run $command[0]: $!\n";
		POSIX::_exit(127);
	}
	my @lines = <$out>;
	close $out;
	my $bad = $? != 0;
	splice @lines, 0, @lines - ($bad ? 200 : 3) if @lines > ($bad ? 200 : 3);
	print map { "   $_" } @lines;
	printf "%s - %s (%.0f s)\n", $bad ? 'not ok' : 'ok', $name, time() - $begin;
	count($name, !$bad, $bad ? 1 : 0);
	return !$bad;
}

# A program that prints TAP; what it says beside is shown when something failed.
sub tap
{
	my ($name, @command) = @_;
	my $begin = time();
	my $parser = TAP::Parser->new({ exec => \@command, merge => 1 });
	my (@said, $ok, $bad, $skip);
	($ok, $bad, $skip) = (0, 0, 0);

	while (my $result = $parser->next)
	{
		push @said, $result->raw;
		next if !$result->is_test;
		if ($result->has_skip) { $skip++; print '   skipped: ', $result->explanation, "\n" }
		elsif ($result->is_ok) { $ok++ }
		else { $bad++; print '   ', $result->raw, "\n" }
	}
	my $reason = $parser->skip_all;
	print "   skipped: $reason\n" if $reason;
	my @why = $parser->parse_errors;
	push @why, 'exit status ' . $parser->exit if $parser->exit && !$bad;
	push @why, 'said nothing' if !@said;
	$bad ||= 1 if @why;
	if ($bad)
	{
		splice @said, 0, @said - 120 if @said > 120;
		print map { "   | $_\n" } @said;
		print map { "   $_\n" } @why;
	}
	printf "%s - %s: %d passed%s%s (%.0f s)\n", $bad ? 'not ok' : 'ok', $name, $ok, $bad ? ", $bad failed" : '',
	  $skip || $reason ? ', ' . ($skip || 'all') . ' skipped' : '', time() - $begin;
	return count($name, $ok, $bad, $reason ? 1 : $skip);
}

# pg_regress: "test x ... ok" until 15, "ok 1 - x" since 16.
sub regress
{
	my ($name, $server_log, @command) = @_;
	my ($ok, $bad) = (0, 0);
	my $begin = time();
	my ($status, $text) = QuorumNodes::run(@command);

	for (split /\n/, $text)
	{
		if (/^(?:test|\s+)\s*\S+\s+\.\.\. ok\b/ || /^ok \d+/) { $ok++ }
		elsif (/\.\.\. FAILED/ || /^not ok \d+/) { $bad++; print "   $_\n" }
	}
	if ($status != 0 || $bad)
	{
		$bad ||= 1;
		print map { "   | $_\n" } split /\n/, $text;
		my @diffs = QuorumNodes::read_lines("$workspace/regress/regression.diffs");
		splice @diffs, 300 if @diffs > 300;
		print "   --- regression.diffs\n", map { "   | $_\n" } @diffs;
		show_end($server_log, 60);
	}
	printf "%s - %s: %d passed%s (%.0f s)\n", $bad ? 'not ok' : 'ok', $name, $ok, $bad ? ", $bad failed" : '', time() - $begin;
	return count($name, $ok, $bad);
}

# ---- the suites ----------------------------------------------------------------------------

sub without_server
{
	my @quiet = ($make, '-s', '--no-print-directory');

	heading('rules of style, purity of the core, build without warnings');
	tap('tidy', 'test/tidy.sh');
	command('the core is pure', @quiet, 'core');
	my $installed = command('builds without warnings', @quiet, 'WERROR=1', 'all')
	  && command('installs', @quiet, 'WERROR=1', 'install');

	heading('the core alone');
	if (command('unit tests build', @quiet, 'unit-build'))
	{
		tap($_, $_) for map { s{.*/(.*)\.c$}{build/core-tests/$1}r } some('unit tests', sort glob('test/core/test_*.c'));
	}
	if (command('scenarios build', @quiet, 'scenarios-build'))
	{
		my @scenarios = some('scenarios', sort glob('test/scenarios/*.txt'));
		tap('scenarios', 'build/sim/quorum_scenario', @scenarios) if @scenarios;
	}
	command('simulator builds', @quiet, 'sim-build')
	  && command("simulator, $sim_seeds seeds", 'build/sim/quorum_sim', '--seeds', $sim_seeds, '--base', 1);
	sanitized(@quiet);
	if (command('model builds', @quiet, 'model-build'))
	{
		command("model, every state of the scope $_", 'build/model/quorum_model', '--scope', $_) for qw(quick clocks);
	}

	heading('what judges a torture');
	tap('checkers, each with what it must find', 'perl', 'test/fault/test_checkers.pl');
	return $installed;
}

# As root, before the others give up their rights.
sub short_torture
{
	heading('hosts of their own, under faults');
	if (defined(my $why = QuorumNet::missing()))
	{
		print "skipped: torture: $why\n";
		$skipped++;
		return;
	}
	command('the programs of the torture build', $make, '-s', '--no-print-directory', 'writer')
	  && command("torture @torture", $^X, 'test/fault/torture.pl', '--bindir', pg_config('bindir'), '--client', 'build/fault/client',
		'--relay', 'build/fault/relay', '--shim', 'build/fault/shim.so', @torture);
	return;
}

# Once more with the sanitizers, and every decoder fed with what it should refuse.
sub sanitized
{
	my @quiet = @_;
	my $dir = 'build/sanitize';
	local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';

	heading('the core and every decoder, sanitized');
	if (command('builds with sanitizers', @quiet, '-j2', 'sanitize-build', 'fuzz-build'))
	{
		tap("$_, sanitized", "$dir/unit/$_") for map { m{.*/(.*)\.c$} } some('unit tests', sort glob('test/core/test_*.c'));
		tap('scenarios, sanitized', "$dir/quorum_scenario", sort glob('test/scenarios/*.txt'));
		command('simulator, 150 seeds, sanitized', "$dir/quorum_sim", '--seeds', 150);
		for my $target (map { m{fuzz_(.*)\.c$} } some('fuzz targets', sort glob('test/fuzz/fuzz_*.c')))
		{
			command("decoder $target", "build/fuzz/check/fuzz_$target", '--runs', 5000);
		}
	}
}

sub with_servers
{
	my $pgxs = pg_config('pgxs');
	my $bindir = pg_config('bindir');
	my $pg_test = $pgxs =~ s{/makefiles/pgxs\.mk$}{/test}r;
	my $major = pg_config('version') =~ /(\d+)/ ? $1 : 0;
	command('the library of an upgrade builds', $make, '-s', '--no-print-directory', 'next') or return;
	command('the drill\'s client builds', $make, '-s', '--no-print-directory', 'writer') or return;
	my @sql = map { m{sql/(.*)\.sql} } some('SQL tests', sort glob('sql/*.sql'));
	my @programs = some('tests on real clusters', sort glob('test/t/*.pl'));

	($workspace) = QuorumNodes::open_workspace('test', grep { -e } qw(sql expected test build/drill/writer build/next/pg_quorum.so docs/command.md));
	chdir $workspace;
	mkdir "$workspace/regress";
	own_port($_) for 'test/regress.conf', glob('sql/*.sql expected/*.out');

	heading("SQL, on a server of PostgreSQL $major");
	# A server of ours: one that pg_regress makes runs without fsync, which no member may.
	my $server = QuorumNodes->new(bindir => $bindir, extension => 0, count => 1, prefix => 'sql',
		settings => join("\n", QuorumNodes::read_lines("$workspace/test/regress.conf")));
	my $running = eval { $server->init_first };
	my $bad = 1;
	if ($running)
	{
		$bad = regress('pg_regress', $running->{log}, "$pg_test/regress/pg_regress", "--inputdir=$workspace", "--outputdir=$workspace/regress",
			"--bindir=$bindir", "--host=$workspace", "--port=$running->{port}", '--user=postgres', '--dbname=contrib_regression', @sql);
	}
	else { print $@; count('the server of the SQL tests starts', 0, 1) }
	$server->destroy if !$bad;

	heading('real clusters');
	$ENV{PATH} = "$bindir:$ENV{PATH}";
	$ENV{PERL5LIB} = "$pg_test/perl:$workspace/test/perl";
	$ENV{PG_REGRESS} = "$pg_test/regress/pg_regress";
	$ENV{PG_TEST_TIMEOUT_DEFAULT} //= 120;
	$ENV{PGPORT} = '65432';
	$ENV{QUORUM_NEXT_LIBRARY} = "$workspace/pg_quorum.so";
	for my $program (@programs)
	{
		my ($name) = $program =~ m{([^/]+)\.pl$};
		mkdir "$workspace/$name";
		$ENV{TESTDIR} = "$workspace/$name";                     # PostgreSQL 15
		$ENV{TESTDATADIR} = "$workspace/$name/data";            # 16 and later
		$ENV{TESTLOGDIR} = "$workspace/$name/log";
		my $bad = tap("test/t/$name.pl", 'perl', "$workspace/$program");
		show_logs($name) if $bad;
	}
}

# The SQL tests name the quorum port of their server: another run on this machine has its own.
sub own_port
{
	my ($file) = @_;
	state $port = (QuorumNodes::free_ports(1))[0];
	my $text = join '', map { s/\b21499\b/$port/gr . "\n" } QuorumNodes::read_lines($file);

	QuorumNodes::write_file($file, '>', $text);
}

sub show_logs
{
	my ($name) = @_;
	show_end($_, 60) for glob("$workspace/$name/tmp_check/log/*"), glob("$workspace/$name/log/*");
}

sub show_end
{
	my ($file, $count) = @_;
	my @lines = QuorumNodes::read_lines($file);
	splice @lines, 0, @lines - $count if @lines > $count;
	print "   --- end of $file\n", map { "   | $_\n" } @lines;
}

if (without_server())
{
	short_torture();
	with_servers();
}
QuorumNodes::close_workspace(!@failures);
print "\nwhat the servers of the failed tests left is in $workspace\n" if @failures && $workspace;
printf "\n%.0f s%s\n", time() - $started, $skipped ? ", $skipped skipped" : '';
print map { "failed: $_\n" } @failures;
print "$passed passed, $failed failed\n";
exit($failed > 0);

END
{
	my $status = $?;
	QuorumNodes::close_workspace(0) if $workspace;
	$? = $status;
}
