# MutantSuites.pm
#	  One place where mutants are built and given to suites: a copy of the tree, and of PostgreSQL.
#
# What needs no server is compiled file by file: objects of the unchanged sources are shared,
# so a mutant costs one compilation and a link.
package MutantSuites;

use strict;
use warnings;
use Fcntl ();
use File::Path qw(make_path remove_tree);
use IO::Select ();
use MutantList;
use POSIX ();
use QuorumNodes;
use Time::HiRes qw(time sleep);

my %limit = (unit => 60, scenario => 60, sim => 400, model => 900, tap => 900, build => 600);

# Waits of the tests on real servers: short, for most mutants die of one that is in vain.
my $patience = 60;

# objects: the objects of the unchanged tree; pg: what pg_config says, undef = no servers.
sub new
{
	my ($class, %place) = @_;
	my $self = bless {%place}, $class;

	make_path("$self->{dir}/tmp");
	if ("$self->{dir}/tree" ne $self->{tree})
	{
		system('cp', '-a', $self->{tree}, "$self->{dir}/tree") == 0 or die "cannot copy $self->{tree}\n";
		$self->{tree} = "$self->{dir}/tree";
	}
	return $self;
}

# ---- commands -----------------------------------------------------------------------------

# Run a command in a group of its own until it ends, $seconds are over, or $enough says so of
# a line.  (exit status or undef, lines)
sub watch
{
	my ($self, $seconds, $enough, @command) = @_;
	my ($until, $rest, @lines, $stopped) = (time() + $seconds, '');

	pipe(my $read, my $write) or die "pipe: $!\n";
	defined(my $pid = fork()) or die "fork: $!\n";
	if ($pid == 0)
	{
		setpgrp(0, 0);
		chdir $self->{tree};
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>&', $write) && open(STDERR, '>&', $write);
		{ no warnings 'exec'; exec { $command[0] } @command }
		print "cannot run $command[0]: $!\n";
		POSIX::_exit(126);
	}
	close $write;
	my $select = IO::Select->new($read);
	while (!$stopped)
	{
		last if $until <= time();
		next if !$select->can_read($until - time());
		my $got = sysread($read, $rest, 65536, length $rest);
		last if !$got;
		while ($rest =~ s/^([^\n]*)\n//)
		{
			push @lines, $1;
			$stopped = 1 if $enough && $enough->($1);
		}
	}
	push @lines, $rest if $rest ne '';
	my $over = $stopped || $until <= time();
	$self->_end($pid) if $over;
	waitpid($pid, 0);
	my $status = $?;
	return ($over ? undef : ($status & 127) ? 128 + ($status & 127) : $status >> 8, @lines);
}

# A test that is told to end stops its servers itself; then nobody is left.
sub _end
{
	my ($self, $pid) = @_;
	my $until = time() + 20;

	kill 'TERM', $pid;
	sleep 0.05 while time() < $until && waitpid($pid, POSIX::WNOHANG()) == 0;
	kill 'KILL', -$pid;
}

# Whatever a test left behind: frozen servers, workers of a killed postmaster.
sub sweep
{
	my ($self) = @_;
	my $dir = "$self->{dir}/tap";
	my @shm_ids;

	for my $file (glob("$dir/*/pgdata/postmaster.pid $dir/*/*/pgdata/postmaster.pid"))
	{
		my @lines = QuorumNodes::read_lines($file);
		push @shm_ids, $1 if ($lines[6] // '') =~ /\d+\s+(\d+)/;
	}
	my @pids = QuorumNodes::pids_below($dir);
	QuorumNodes::note_segments(@pids) if @pids;
	while (@pids)
	{
		kill 'KILL', @pids;
		sleep 0.05;
		@pids = QuorumNodes::pids_below($dir);
	}
	shmctl($_, 0, 0) for @shm_ids;    # 0 = IPC_RMID
	remove_tree($dir, "$self->{dir}/tmp");
	make_path("$self->{dir}/tmp");
}

sub checked
{
	my ($self, @command) = @_;
	my ($status, @lines) = $self->watch($limit{build}, undef, @command);
	die join("\n", (grep { /error|rror:/ } @lines)[0 .. 5] ? grep { /rror/ } @lines : @lines) . "\ndoes not build\n"
	  if !defined $status || $status != 0;
}

# ---- what needs no server -----------------------------------------------------------------

my %include = ('test/sim' => '-Itest/sim', 'test/scenarios' => '-Itest/sim', 'test/model' => '-Itest/model', 'test/core' => '-Itest/core');

# Objects of these sources in $into, made when they are not there.
sub objects
{
	my ($self, $into, @sources) = @_;
	my $cc = $ENV{CC} || 'gcc';
	my ($rules, @objects) = ('');

	for my $source (@sources)
	{
		my ($directory) = $source =~ m{(.*)/};
		my $object = "$into/" . ($source =~ s{/}{-}gr =~ s/\.c$/.o/r);
		my $include = $include{$directory} // '';
		push @objects, $object;
		next if -e $object;
		$rules .= "$object:\n\t\@$cc -std=gnu11 -D_GNU_SOURCE -O2 -g -w -Isrc/core $include -c -o \$@ $source\n";
	}
	if ($rules ne '')
	{
		make_path($into);
		QuorumNodes::write_file("$into/rules", '>', 'all: ' . join(' ', @objects) . "\n$rules");
		$self->checked('make', '-s', '-j2', '-f', "$into/rules", 'all');
	}
	return @objects;
}

sub sources
{
	my ($self, $directory, $but) = @_;
	return grep { !defined $but || $_ !~ $but } map { s{^\Q$self->{tree}/}{}r } sort glob("$self->{tree}/$directory/*.c");
}

sub sources_of
{
	my ($self, $kind, $word) = @_;
	return ($self->sources('src/core'), $self->sources('test/sim')) if $kind eq 'sim';
	return ($self->sources('src/core'), $self->sources('test/sim', qr{/main\.c$}), $self->sources('test/scenarios')) if $kind eq 'scenario';
	return ($self->sources('src/core'), $self->sources('test/model')) if $kind eq 'model';
	return ($self->sources('src/core'), $self->sources('test/core', qr{/test_}), "test/core/test_$word.c");
}

# The program of a suite, with the changed files of the mutant in it.
sub program
{
	my ($self, $kind, $word) = @_;
	my @sources = $self->sources_of($kind, $word);
	my %changed = map { $_ => 1 } keys %{ $self->{changed} // {} };
	my $all = grep { /\.h$/ } keys %changed;
	my @own = grep { $all || $changed{$_} } @sources;
	my @shared = grep { !$all && !$changed{$_} } @sources;
	my $name = $kind . ($kind eq 'unit' ? "-$word" : '');
	my $program = (@own ? "$self->{dir}/mutant" : $self->{objects}) . "/$name";

	return $program if -e $program;
	my @objects = ($self->objects($self->{objects}, @shared), $self->objects("$self->{dir}/mutant", @own));
	$self->checked($ENV{CC} || 'gcc', '-o', $program, @objects);
	return $program;
}

# Every object and program that the given suites need, of the unchanged tree.
sub build_shared
{
	my ($self, @kills) = @_;
	$self->program($_->{kind}, $_->{words}[0]) for grep { $_->{kind} ne 'tap' && $_->{kind} ne 'torture' } @kills;
}

# ---- real servers -------------------------------------------------------------------------

sub make { my ($self, @what) = @_; return $self->checked($self->{make}, '-s', '--no-print-directory', "PG_CONFIG=$self->{pg_config}", @what) }

# A PostgreSQL of our own to install into: it finds its parts relative to its programs.
sub copy_postgresql
{
	my ($self) = @_;
	my $pg = $self->{pg} or die "no PostgreSQL\n";
	my $root = "$self->{dir}/pg";

	for my $directory (@$pg{qw(bindir pkglibdir sharedir includedir includedir-server)}, ($pg->{pgxs} =~ s{/src/makefiles/pgxs\.mk$}{}r))
	{
		next if -e "$root$directory";
		make_path("$root$directory" =~ s{/[^/]*$}{}r);
		system('cp', '-RL', $directory, "$root$directory") == 0 or die "cannot copy $directory\n";
	}
	$self->{bindir} = "$root$pg->{bindir}";
	$self->{pg_config} = "$self->{bindir}/pg_config";
	$self->{pgxs} = "$root$pg->{pgxs}";
	chomp(my $told = `$self->{pg_config} --pkglibdir`);
	die "the PostgreSQL of $pg->{bindir} cannot be moved: its copy still uses $told\n" if index($told, $root) != 0;
}

# Build and install what differs from what is installed.
sub install
{
	my ($self) = @_;
	my $want = join ' ', map { "$_ " . length($self->{changed}{$_}[1]) } sort grep { m{^(src|control)/} } keys %{ $self->{changed} // {} };

	$want = "$self->{number} $want" if $want ne '';
	return if defined $self->{installed} && $self->{installed} eq $want;
	$self->copy_postgresql if !$self->{pg_config};
	$self->{installed} = undef;
	$self->make('-j2', 'all', 'next', 'writer');
	$self->make('install');
	$self->{installed} = $want;
}

sub tap_command
{
	my ($self, $word) = @_;
	my ($program) = glob("$self->{tree}/test/t/${word}_*.pl");
	my $pg_test = $self->{pgxs} =~ s{/makefiles/pgxs\.mk$}{/test}r;
	my $dir = "$self->{dir}/tap";
	make_path($dir);
	my %env = (HOME => $dir, LC_ALL => 'C', PATH => "$self->{bindir}:$ENV{PATH}", PERL5LIB => "$pg_test/perl:$self->{tree}/test/perl",
		PG_REGRESS => "$pg_test/regress/pg_regress", PG_TEST_TIMEOUT_DEFAULT => $patience, PGPORT => 65432, PG_CONFIG => $self->{pg_config},
		QUORUM_NEXT_LIBRARY => "$self->{tree}/build/next/pg_quorum.so", TMPDIR => "$self->{dir}/tmp",
		TESTDIR => $dir, TESTDATADIR => "$dir/data", TESTLOGDIR => "$dir/log");
	return ('env', '-i', map({ "$_=$env{$_}" } sort keys %env), 'perl', $program);
}

# ---- one suite ----------------------------------------------------------------------------

sub number_of { my ($kill, $name, $default) = @_; my ($value) = map { /^\Q$name\E=(.*)/ } @{ $kill->{words} }; return $value // $default }

sub command_of
{
	my ($self, $kill) = @_;
	my ($kind, $word) = ($kill->{kind}, $kill->{words}[0]);
	my $break = number_of($kill, 'break');
	my @break = defined $break ? ('--break', $break) : ();

	return $self->program('unit', $word) if $kind eq 'unit';
	return ($self->program('scenario'), "test/scenarios/$word.txt") if $kind eq 'scenario';
	return ($self->program('sim'), '--jobs', $self->{changed} || defined $break ? 1 : 2, '--seeds', number_of($kill, 'seeds', 2000), '--base', number_of($kill, 'base', 1), @break)
	  if $kind eq 'sim';
	return ($self->program('model'), map({ ('--set', $_) } grep { !/^break=/ } @{ $kill->{words} }), @break,
		'--set', 'seconds=' . ($self->{changed} || $break ? 600 : 5)) if $kind eq 'model';
	if ($kind eq 'tap')
	{
		$self->install;
		return $self->tap_command($word);
	}
	die "no torture here: it makes network namespaces, so it wants root\n" if !$self->{root};
	$self->install;
	return ($self->{tree}, "PG_CONFIG=$self->{pg_config}", 'SEED=' . number_of($kill, 'seed', 1), 'MINUTES=' . number_of($kill, 'minutes', 1),
		'PACE=' . number_of($kill, 'pace', 0));
}

# By somebody who is root; one at a time.  (exit status, lines)
sub torture
{
	my ($self, @words) = @_;
	my ($head, $said) = ('', '');

	open(my $lock, '>', $self->{lock}) or die "$self->{lock}: $!\n";
	flock($lock, Fcntl::LOCK_EX()) or die "$self->{lock}: $!\n";
	syswrite($self->{root}, "@words\n");
	sysread($self->{root}, $head, 8 - length $head, length $head) or die "torture: no answer\n" while length $head < 8;
	my ($status, $length) = unpack 'NN', $head;
	sysread($self->{root}, $said, $length - length $said, length $said) or die "torture: half an answer\n" while length $said < $length;
	return ($status, split /\n/, $said);
}

# A failure as the list wants it: an assertion, a test that is not ok, a last word.
sub is_sign { my ($line, $says) = @_; return $line !~ /^\s*ok\b/ && index($line, $says) >= 0 }

# (verdict, seconds, last words): passes, dies (as the list says), fails (otherwise), error.
sub judge
{
	my ($self, $kill) = @_;
	my $says = $kill->{says};
	my @command = eval { $self->command_of($kill) };
	return ('error', 0, $@ =~ s/\s+$//r) if !@command;
	my $begin = time();
	my $sign;

	# A test that is not ok will not get better; the rest of it need not run.
	my $enough = $kill->{kind} ne 'tap' ? undef : sub {
		my ($line) = @_;
		return 0 if $line !~ /^\s*not ok\b/ || $line =~ /# TODO/;
		return defined $says && is_sign($line, $says);
	};
	my ($status, @lines) = $kill->{kind} eq 'torture' ? $self->torture(@command) : $self->watch($limit{ $kill->{kind} }, $enough, @command);
	my $seconds = time() - $begin;
	$self->sweep if $kill->{kind} eq 'tap';
	$self->keep($kill, @lines);
	($sign) = grep { is_sign($_, $says) } @lines if defined $says;
	return ('dies', $seconds, $sign) if defined $sign && (!defined $status || $status != 0);
	my ($last) = grep { /^\s*not ok|in vain|^BROKEN|SAFETY|LIVENESS|CRASH|^Bail/ } @lines;
	$last //= $lines[-1] // 'said nothing';
	return ('fails', $seconds, 'no end') if !defined $status;
	return ('passes', $seconds, $last) if $status == 0 || ($kill->{kind} eq 'model' && $status == 2);
	return ('error', $seconds, $last) if $status == 126 || ($status == 1 && $kill->{kind} =~ /^(sim|model)$/);
	return (defined $says ? 'fails' : 'dies', $seconds, $last);
}

# What a suite said, for whoever wants to know why.
sub keep
{
	my ($self, $kill, @lines) = @_;
	my $name = join '-', $self->{mutant} // 'unchanged', $kill->{kind}, map { s/\W+/_/gr } @{ $kill->{words} };
	make_path($self->{logs});
	QuorumNodes::write_file("$self->{logs}/$name", '>', join("\n", @lines) . "\n");
}

# ---- one mutant ---------------------------------------------------------------------------

sub write_files
{
	my ($self, $which) = @_;
	for my $file (keys %{ $self->{changed} })
	{
		open(my $out, '>', "$self->{tree}/$file") or die "$file: $!\n";
		print $out $self->{changed}{$file}[$which];
		close $out or die "$file: $!\n";
	}
}

sub take_out
{
	my ($self, $mutant) = @_;
	$self->{changed} = MutantList::changed_files($mutant, $self->{tree});
	$self->{mutant} = $mutant->{name};
	$self->{number}++;
	$self->write_files(1);
}

sub put_back
{
	my ($self) = @_;
	$self->write_files(0);
	delete @$self{qw(changed mutant)};
	remove_tree("$self->{dir}/mutant");
}

1;
