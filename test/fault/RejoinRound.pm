# RejoinRound.pm
#	  One round of rejoin_kills.pl: a leader diverges and dies, comes back under fire, and
#	  what came of it is checked.
#
# A round that ends badly dies with the reason; the caller shows the logs.
package RejoinRound;

use strict;
use warnings;
use Digest::MD5 ();
use File::Find ();
use POSIX ();
use Time::HiRes qw(time sleep);
use QuorumNodes;

my $limit = 150;          # seconds until the node must be healthy
my $calm = 60;            # seconds after the last kill until it must be, too
my $kills_max = 3;

# The data directory may be of no use, or of use only to our library.
my %half_written = map { $_ => 1 } qw(parking rewinding rewound);
my @phases = qw(requested parking rewinding rewound placed);
my $typical = 2;          # seconds from a start until the node streams

sub new
{
	my ($class, %self) = @_;
	return bless { %self, kills => [], said => [] }, $class;
}

sub kills { return @{ $_[0]{kills} } }

sub draw { return int(rand($_[0])) }
sub pick { return $_[ draw(scalar @_) ] }

sub run
{
	my ($self) = @_;
	my $cluster = $self->{cluster};

	$cluster->wait_for(60, 'three healthy members', sub { my $l = $self->leader; $l && $cluster->all_stream($l) });
	my $node = $self->{node} = $self->leader;
	printf "round %d of %d, %s of %s", $self->{number}, $self->{of}, $self->{kind}, $node->{name};
	$self->diverge;
	print ": $self->{shape}; ";
	$self->spoil if $self->{kind} eq 'clone';
	$self->own_files_change;
	my $own = $self->own_files;
	my $places = $self->places;
	$self->come_back;
	$self->check_healthy($own);
	die "round $self->{number}: its data were in $places, are in ${\$self->places}\n" if $self->places ne $places;
	printf "%sstreams again after %.1f s, %d start%s\n", @{ $self->{kills} } ? '' : 'nothing killed; ', $self->{back_after},
	  $self->{starts}, $self->{starts} == 1 ? '' : 's';
	return;
}

# The node that serves, if any; $but is not asked.
sub leader
{
	my ($self, $but) = @_;
	for my $node ($self->{cluster}->nodes)
	{
		next if $but && $node == $but || !-e "$node->{dir}/postmaster.pid";
		my ($status, $text) = $self->{cluster}->psql($node, "SELECT role || ' ' || gate FROM quorum.status");
		return $node if $status == 0 && $text =~ /^leader open$/m;
	}
	return;
}

# ---- a leader with WAL that nobody has -------------------------------------------------------

sub diverge
{
	my ($self) = @_;
	my ($cluster, $node) = @$self{qw(cluster node)};
	my $rows = 10 ** (1 + draw(4));
	my $every = pick(2, 10, 1000);
	my $checkpoint = $self->{kind} eq 'clone' || draw(2);

	$self->{shape} = "$rows rows, every ${every}th page row" . ($checkpoint ? ', a checkpoint' : '');
	my @senders = split /\n/, $cluster->query($node, 'SELECT pid FROM pg_stat_replication');
	kill 'STOP', @senders;
	my @statements = ("INSERT INTO junk SELECT $self->{number}, repeat('x', 100) FROM generate_series(1, $rows)",
		"UPDATE pages SET changed = -$self->{number} WHERE id % $every = 0", "CREATE TABLE gone_$self->{number} AS SELECT * FROM junk");
	for my $sql (@statements)
	{
		my $pid = fork() // die "fork: $!\n";
		if ($pid == 0)
		{
			$cluster->psql($node, $sql);
			POSIX::_exit(0);
		}
		push @{ $self->{clients} }, $pid;
	}
	$cluster->wait_for(30, 'WAL that only the old leader has', sub {
		my ($status, $text) = $cluster->psql($node, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query ~ 'junk|pages|gone'");
		return $status == 0 && $text >= @statements;
	});
	if ($self->{kind} eq 'clone')
	{
		$cluster->query($node, 'SELECT pg_switch_wal()');
	}
	$cluster->query($node, 'CHECKPOINT') if $checkpoint;
	$self->{redo} = $cluster->query($node, 'SELECT redo_wal_file FROM pg_control_checkpoint()');
	$self->kill_node;
	waitpid($_, 0) for @{ delete $self->{clients} };

	$cluster->wait_for(60, 'another node leads', sub { $self->{successor} = $self->leader($node) });
	my $set = pick('changed', "filler = repeat('y', " . (1 + draw(500)) . '), changed');
	$cluster->query($self->{successor}, "UPDATE pages SET $set = $self->{number} WHERE id % " . pick(3, 50) . ' = 0');
	$cluster->query($self->{successor}, "CREATE TABLE new_$self->{number} AS SELECT * FROM pages LIMIT " . 10 ** draw(5));
	return;
}

# Without the WAL in which the logs parted no rewind is possible.
sub spoil
{
	my ($self) = @_;
	for my $file (glob("$self->{node}{dir}/pg_wal/*"))
	{
		my ($name) = $file =~ m{/([0-9A-F]{24})$} or next;
		unlink $file if substr($name, 8) lt substr($self->{redo}, 8);
	}
	return;
}

# ---- its own files ---------------------------------------------------------------------------

sub own_files_change
{
	my ($self) = @_;
	my $dir = $self->{node}{dir};

	mkdir "$dir/$_" for 'own', 'own/deep', 'log', '.hidden dir';
	QuorumNodes::write_file("$dir/$_", '>>', "round $self->{number} of $self->{node}{name}\n")
	  for 'own/notes', 'own/deep/file', 'log/old.log', '.hidden dir/a file', 'a file of its own', 'server.crt', 'server.key', 'root.crt';
	QuorumNodes::write_file("$dir/$_", '>>', "# round $self->{number}\n")
	  for qw(postgresql.conf postgresql.auto.conf pg_hba.conf pg_ident.conf servers.conf);
	chmod 0600, "$dir/server.key";
	symlink '/somewhere/else', "$dir/a link";
	return;
}

# Everything but PostgreSQL's data and what a running server makes.
sub own_files
{
	my ($self) = @_;
	my $dir = $self->{node}{dir};
	my %own;
	my $theirs = qr{^(?:base|global|pg_[a-z_]+|postmaster\.(?:pid|opts)|standby\.signal|backup_label(?:\.old)?|tablespace_map(?:\.old)?|backup_manifest|current_logfiles)(?:/|$)};

	File::Find::find({ no_chdir => 1, wanted => sub {
		return if $_ eq $dir;
		my $name = substr($_, length($dir) + 1);
		if ($name =~ $theirs)
		{
			$File::Find::prune = 1;
			return;
		}
		my @stat = lstat $_;
		$own{$name} = sprintf('%o ', $stat[2]) . (-l $_ ? readlink $_ : -d $_ ? 'directory' : content($_));
	} }, $dir);
	return \%own;
}

# Where it has data outside of its directory, and what of ours lies there.
sub places
{
	my ($self) = @_;
	my ($dir, $name) = ($self->{node}{dir}, "$self->{workspace}/$self->{node}{name}");
	return join ' ', map({ readlink($_) // '-' } "$dir/pg_wal", glob "$dir/pg_tblspc/*"), glob "$name.side/* $name.wal/pgsql_tmp*";
}

sub content
{
	open(my $in, '<', $_[0]) or return "unreadable: $!";
	local $/;
	return Digest::MD5::md5_hex(<$in>);
}

# ---- it comes back ---------------------------------------------------------------------------

sub phase
{
	my ($self) = @_;
	my ($line) = grep { /^phase / } QuorumNodes::read_lines("$self->{node}{dir}/pg_quorum/pgsql_tmp.rewind/journal");
	return $line ? substr($line, 6) : '';
}

sub launch
{
	my ($self) = @_;
	my ($cluster, $node) = @$self{qw(cluster node)};

	defined(my $pid = fork()) or die "fork: $!\n";
	if ($pid == 0)
	{
		POSIX::setsid();
		chdir $self->{workspace};
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>>', $node->{log});
		open(STDERR, '>&', \*STDOUT);
		{ no warnings 'exec'; exec $cluster->bin('postgres'), '-D', $node->{dir} }
		POSIX::_exit(127);
	}
	$self->{postmaster} = $pid;
	$self->{starts}++;
	$self->{started_at} = time();
	$self->plan_kill if $self->{kills_left} > 0;
	return;
}

# When the next kill is due: after some time, or some time after a phase was seen.
sub plan_kill
{
	my ($self) = @_;
	my $clone = $self->{kind} eq 'clone';
	my $first = !@{ $self->{kills} };

	# The first one hits the rewind or the clone itself; others may hit the server that follows.
	my $phase = $first && $clone ? pick(qw(needs-clone needs-clone needs-clone rewound))
	  : $first ? pick(qw(requested parking rewinding rewinding rewinding rewound))
	  : draw(3) ? pick(@phases, $clone ? ('needs-clone') x 3 : 'rewinding') : undef;
	$self->{plan} = {
		victim => pick($first ? qw(postmaster program node) : qw(postmaster program node startup)),
		phase => $phase,
		wait => rand(!defined $phase ? $typical : $phase eq 'needs-clone' ? 0.8 : $phase eq 'rewinding' ? 0.4 : 0.02)
	};
	return;
}

sub come_back
{
	my ($self) = @_;
	my $cluster = $self->{cluster};
	my $began = time();
	my $next_look = 0;

	$self->{kills_left} = 1 + draw($kills_max);
	$self->{quiet_since} = $began;
	$self->launch;
	while (1)
	{
		my $now = time();
		die "round $self->{number}: not healthy after $limit s\n" if $now - $began > $limit;
		die "round $self->{number}: not healthy $calm s after the last kill\n" if $now - $self->{quiet_since} > $calm;
		if (waitpid($self->{postmaster}, POSIX::WNOHANG) == $self->{postmaster})
		{
			$self->{ended} = $?;
			$self->check_start_without_library if draw(2) == 0;
			die "round $self->{number}: started $self->{starts} times in vain\n" if $self->{starts} > 40;
			sleep 0.1 if $now - $self->{started_at} < 0.2;
			$self->launch;
		}
		$self->check_half_written;
		$self->kill_if_due;
		if ($now >= $next_look)
		{
			$next_look = $now + 0.2;
			last if $self->phase eq '' && $self->streams;
		}
		sleep 0.002;
	}
	$typical = 0.7 * $typical + 0.3 * (time() - $self->{started_at}) if !@{ $self->{kills} };
	$self->{back_after} = time() - $self->{started_at};
	return;
}

sub streams
{
	my ($self) = @_;
	my $leader = $self->leader($self->{node}) or return;
	my ($status, $text) = $self->{cluster}->psql($leader,
		"SELECT count(*) FROM quorum.replication WHERE direction = 'to' AND node = '$self->{node}{name}' AND counted");
	return $status == 0 && $text =~ /^1$/m;
}

sub kill_if_due
{
	my ($self) = @_;
	my $plan = $self->{plan} or return;
	my $now = time();

	if (defined $plan->{phase})
	{
		$plan->{at} //= $now + $plan->{wait} if $self->phase eq $plan->{phase};
		return if !defined $plan->{at};
	}
	else { $plan->{at} //= $self->{started_at} + $plan->{wait} }
	return if $now < $plan->{at};

	my $phase = $self->phase;
	if ($phase eq '')
	{
		# Too early, or too late: only what hits counts.
		$self->{plan} = undef if $now - $self->{started_at} > 5;
		return;
	}
	my $what = $self->strike($plan->{victim}) or return;
	push @{ $self->{kills} }, "$what in $phase";
	print "$what killed in $phase; ";
	$self->{kills_left}--;
	$self->{quiet_since} = $now;
	$self->{plan} = undef;
	$self->plan_kill if $self->{kills_left} > 0;
	return;
}

# Returns what was killed, if anything.
sub strike
{
	my ($self, $victim) = @_;
	my $dir = $self->{node}{dir};

	if ($victim eq 'node')
	{
		$self->kill_node;
		return 'everything';
	}
	if ($victim eq 'postmaster')
	{
		kill 'KILL', $self->{postmaster};
		return 'the postmaster';
	}
	my $wanted = $victim eq 'startup' ? qr/^postgres: (?:\w+: )?startup / : qr{/(pg_rewind|psql|pg_basebackup|pg_verifybackup|pg_waldump)\0};
	for my $pid ($self->{cluster}->pids($self->{node}))
	{
		open(my $in, '<', "/proc/$pid/cmdline") or next;
		local $/;
		my $line = <$in> // '';
		next if $line !~ $wanted;
		my $name = $victim eq 'startup' ? 'the startup process' : $1;
		return $name if kill 'KILL', $pid;
	}
	return;
}

sub kill_node
{
	my ($self) = @_;
	my ($cluster, $node) = @$self{qw(cluster node)};
	my $postmaster = $cluster->postmaster_pid($node);
	QuorumNodes::note_segments($cluster->pids($node));
	$cluster->signal_all($node, 'STOP');
	$cluster->signal_all($node, 'KILL');
	$cluster->wait_for(30, "the processes of $node->{name} end", sub {
		# a zombie would be taken for a running server by the next one; come_back() reaps its own
		QuorumNodes::reap() if !$self->{postmaster};
		return !$cluster->pids($node) && ($self->{postmaster} || !kill 0, $postmaster);
	}, sub { sleep 0.005 });
	return;
}

# ---- what must never be ----------------------------------------------------------------------

# Recovery runs, and the journal says that the data are half written, before and after.
sub check_half_written
{
	my ($self) = @_;
	return if time() < ($self->{look_again} // 0);
	$self->{look_again} = time() + 0.02;
	my $before = $self->phase;
	return if !$half_written{$before};
	for my $pid ($self->{cluster}->pids($self->{node}))
	{
		open(my $in, '<', "/proc/$pid/cmdline") or next;
		my $line = <$in> // '';
		next if $line !~ /^postgres: (?:\w+: )?(startup|checkpointer|walreceiver) / || $self->phase ne $before;

		# what a killed postmaster left is not this start's
		my $parent = parent_of($pid);
		die "round $self->{number}: $1 runs in phase $before\n" if $parent == $self->{postmaster} && $self->phase eq $before;
	}
	return;
}

sub parent_of
{
	open(my $in, '<', "/proc/$_[0]/stat") or return 0;
	return (<$in> // '') =~ /\) \S (\d+)/ ? $1 : 0;
}

# Neither does one without our library, as long as the WAL is aside.
sub check_start_without_library
{
	my ($self) = @_;
	my ($cluster, $node) = @$self{qw(cluster node)};
	my $phase = $self->phase;

	return if $phase eq '' || -e "$node->{dir}/pg_wal" || -l "$node->{dir}/pg_wal" || $cluster->pids($node);
	my ($status, $text) = QuorumNodes::run('timeout', '-s', 'KILL', '10', $cluster->bin('postgres'), '-D', $node->{dir},
		'-c', 'shared_preload_libraries=');
	die "round $self->{number}: a server without the library started in phase $phase\n$text" if $text =~ /ready to accept|entering standby|redo starts/ || $status == 0;
	print 'started in vain without the library; ';
	return;
}

sub check_healthy
{
	my ($self, $own) = @_;
	my ($cluster, $node) = @$self{qw(cluster node)};
	my $leader = $self->leader($node) // die "round $self->{number}: nobody leads\n";
	my $what = "round $self->{number}, $node->{name}";
	my %acked = %{ $self->{acknowledged}->() };

	my $now = $self->own_files;
	for my $name (sort keys %{ { %$own, %$now } })
	{
		die "$what: its file \"$name\" was " . ($own->{$name} // 'not there') . ', is ' . ($now->{$name} // 'not there') . "\n"
		  if ($own->{$name} // '') ne ($now->{$name} // '');
	}
	my $lsn = $cluster->query($leader, 'SELECT pg_current_wal_flush_lsn()');
	$cluster->wait_for(60, "$what replays", sub {
		my ($status, $text) = $cluster->psql($node, "SELECT pg_last_wal_replay_lsn() >= '$lsn'");
		return $status == 0 && $text =~ /^t$/m;
	});
	my %there = map { $_ => 1 } split /\n/, $cluster->query($node, 'SELECT id FROM drill');
	my @missing = grep { !$there{$_} } keys %acked;
	die "$what: it lacks " . @missing . " acknowledged rows\n" if @missing;
	my $sums = 'SELECT (SELECT count(*) FROM junk), (SELECT md5(string_agg(p::text, chr(10) ORDER BY id)) FROM pages p)';
	my ($here, $there) = map { $cluster->query($_, $sums) } $node, $leader;
	die "$what: holds $here, the leader $there\n" if $here ne $there;
	my @left = grep { !m{/lock$} } glob("$node->{dir}/pg_quorum/pgsql_tmp.rewind/*");
	die "$what: left behind: @left\n" if @left;
	die "$what: is no member\n" if $cluster->query($node, 'SELECT membership FROM quorum.status') ne 'member';
	$cluster->query($leader, "DROP TABLE IF EXISTS new_$self->{number}");
	return;
}

1;
