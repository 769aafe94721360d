
=head1 NAME

QuorumCluster - a pg_quorum cluster of real servers for TAP tests

=head1 SYNOPSIS

  my $cluster = QuorumCluster->new('drill', nodes => 3);
  my $old = $cluster->leader;
  $cluster->kill_postmaster($old);
  my $new = $cluster->wait_for_leader(not => $old);

Waits are for conditions, with a limit; nothing sleeps in the hope that something
has happened.  When a test fails, the end of every server log is printed.

=cut

package QuorumCluster;

use strict;
use warnings;

use Carp;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use QuorumProcesses;
use QuorumSession;
use QuorumWitness;
use Test::More;
use Time::HiRes qw(time usleep);

my $secret = 'a secret that only the tests of this cluster know';
my @clusters;

# Milliseconds; short enough for fast tests, long enough for two busy cores.
my $default_lease = 1000;

sub new
{
	my ($class, $name, %options) = @_;
	my $self = bless {
		name => $name,
		nodes => [],
		lease => $options{lease} // $default_lease,
		initdb => $options{initdb} // [],
		conf => $options{conf} // '',
		host => $options{host} // '127.0.0.1',
	}, $class;
	push @clusters, $self;

	$self->_found;
	$self->join_node for 2 .. ($options{nodes} // 3);
	$self->join_witness if $options{witness};
	return $self;
}

sub lease { return $_[0]{lease}; }
sub nodes { return @{ $_[0]{nodes} }; }
sub node { return $_[0]{nodes}[ $_[1] - 1 ]; }

sub witness { return $_[0]{witness}; }

sub secret { return $secret; }

# Settings of one member; the rest comes from the node it was copied from.
sub _configure
{
	my ($self, $node, $number) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();

	$node->{quorum_name} = "n$number";
	$node->{quorum_port} = $port;
	PostgreSQL::Test::Utils::append_to_file($node->data_dir . '/postgresql.conf', qq{
quorum.node_name = 'n$number'
quorum.address = '$self->{host}:$port'
port = @{[ $node->port ]}
});
	$self->write_secret($node, $secret);
}

sub write_secret
{
	my ($self, $node, $text) = @_;
	my $file = $node->data_dir . '/pg_quorum.secret';

	unlink $file;
	open(my $fh, '>', $file) or croak "$file: $!";
	chmod 0600, $fh;
	print $fh "$text\n";
	close $fh;
}

sub _found
{
	my ($self) = @_;
	my $node = PostgreSQL::Test::Cluster->new("$self->{name}_n1");

	$node->init(allows_streaming => 1, extra => [ '--data-checksums', @{ $self->{initdb} } ]);
	$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_quorum'
listen_addresses = '127.0.0.1'
fsync = on
full_page_writes = on
restart_after_crash = on
log_min_messages = log
log_line_prefix = '%m %b[%p] %q%a '
log_statement = none
log_replication_commands = off
shared_buffers = 16MB
max_wal_senders = 12
max_replication_slots = 12
quorum.lease_duration = $self->{lease}
$self->{conf}
});
	$self->_configure($node, 1);
	push @{ $self->{nodes} }, $node;
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION pg_quorum');
	$node->safe_psql('postgres', 'SELECT quorum.bootstrap()');
	$self->wait_for_leader;
}

# A copy of the leader's data directory, as a standby that belongs to nobody yet.
sub copy_of_leader
{
	my ($self, $number) = @_;
	my $leader = $self->wait_for_leader;
	my $node = PostgreSQL::Test::Cluster->new("$self->{name}_n$number");
	my $backup = "for_n$number";

	$leader->backup($backup);
	$node->init_from_backup($leader, $backup, has_streaming => 1);
	# init_from_backup keeps the port line of the source last; ours must win.
	$self->_configure($node, $number);
	return $node;
}

sub join_node
{
	my ($self) = @_;
	my $number = 1 + scalar @{ $self->{nodes} };
	my $node = $self->copy_of_leader($number);

	push @{ $self->{nodes} }, $node;
	$node->start;
	my $leader = $self->wait_for_leader;
	$leader->safe_psql('postgres',
		"SELECT quorum.add_member('n$number', '$self->{host}:$node->{quorum_port}')");
	return $node;
}

# A witness that belongs to nobody yet.
sub new_witness
{
	my ($self, $name) = @_;
	my $first = $self->node(1);
	my $witness = QuorumWitness->new(
		command => $first->config_data('--bindir') . '/pg_quorum',
		directory => $first->basedir . "/$name",
		name => $name,
		port => PostgreSQL::Test::Cluster::get_free_port(),
		secret => $secret,
		lease => $self->{lease});

	push @{ $self->{witnesses} }, $witness;
	return $witness;
}

sub join_witness
{
	my ($self, $name) = @_;
	my $witness = $self->{witness} = $self->new_witness($name // 'w');

	$witness->start or croak "the witness does not start:\n" . $witness->log_since;
	$self->add_witness($witness);
	return $witness;
}

sub add_witness
{
	my ($self, $witness) = @_;

	$self->wait_for_leader->safe_psql('postgres',
		"SELECT quorum.add_member('$witness->{name}', '127.0.0.1:$witness->{port}', kind => 'witness')");
}

# Ask one node without dying: undef when it does not answer.
sub ask
{
	my ($self, $node, $sql, %options) = @_;
	my ($out, $err) = ('', '');
	my $timed_out = 0;

	# A server that goes down right now: psql ends before it has read the statement.
	my $rc = eval {
		$node->psql('postgres', $sql,
			stdout => \$out, stderr => \$err,
			timeout => $options{timeout} // 5, timed_out => \$timed_out,
			on_error_die => 0);
	};
	$self->{last_error} = $timed_out ? 'timed out' : $err || $@;
	return undef if $timed_out || !defined $rc || $rc != 0;
	return $out;
}

sub session
{
	my ($self, $node) = @_;
	return QuorumSession->new($node);
}

# Wait until $check returns something true, and return it.
sub wait_until
{
	my ($self, $what, $check, $limit) = @_;
	my $until = time() + ($limit // 60);

	while (1)
	{
		my $result = $check->();
		return $result if $result;
		last if time() > $until;
		usleep(20_000);
	}
	$self->show_logs;
	diag("waited in vain for: $what");
	croak "waited in vain for: $what";
}

# What must not be: looked for during so many seconds.  What $check saw of it, or undef.
sub seen_within
{
	my ($self, $seconds, $check) = @_;
	my $until = time() + $seconds;

	do
	{
		my $seen = $check->();
		return $seen if $seen;
		usleep(20_000);
	} while (time() < $until);
	return undef;
}

sub _answers
{
	my ($self, $node) = @_;
	return !$node->{frozen} && -f $node->data_dir . '/postmaster.pid';
}

# The node that leads with an open gate; dies when there is none in time.
sub wait_for_leader
{
	my ($self, %options) = @_;

	return $self->wait_until('a leader with an open gate', sub {
		for my $node ($self->nodes)
		{
			next if defined $options{not} && $node == $options{not};
			next unless $self->_answers($node);
			my $gate = $self->ask($node,
				"SELECT role || ' ' || gate FROM quorum.status");
			return $node if defined $gate && $gate eq 'leader open';
		}
		return undef;
	}, $options{limit});
}

sub leader { return $_[0]->wait_for_leader; }

sub followers
{
	my ($self) = @_;
	my $leader = $self->wait_for_leader;
	return grep { $_ != $leader } $self->nodes;
}

# Every given node (default: all) that does not lead acknowledges WAL of the current term.  Who
# leads may change meanwhile (E7).
sub wait_for_followers
{
	my ($self, @nodes) = @_;
	@nodes = $self->nodes unless @nodes;

	return $self->wait_until('followers: ' . join(', ', map { $_->{quorum_name} } @nodes), sub {
		my $leader = $self->wait_for_leader;
		my @others = grep { $_ != $leader } @nodes;
		my $names = join(',', map { "'$_->{quorum_name}'" } @others);
		my $streaming = !@others ? 0 : $self->ask($leader, qq{
			SELECT count(*) FROM quorum.replication
			WHERE direction = 'to' AND node IN ($names) AND counted});
		return defined $streaming && $streaming == @others;
	});
}

# The node has replayed all that the leader has flushed by now.
sub wait_for_replay
{
	my ($self, $node) = @_;
	my $lsn = $self->ask($self->wait_for_leader, 'SELECT pg_current_wal_flush_lsn()') // croak $self->{last_error};

	$self->wait_until("replay of $node->{quorum_name}", sub {
		return ($self->ask($node, "SELECT pg_last_wal_replay_lsn() >= '$lsn'") // '') eq 't';
	});
}

# WAL that only this leader has: its walsenders stand still, its worker keeps the lease, and each
# statement waits for the quorum in a session of its own.  They end with the sessions returned.
sub write_alone
{
	my ($self, $leader, @statements) = @_;
	my @sessions = map { $self->session($leader) } @statements;
	my $pids = join ',', map { $_->ask('SELECT pg_backend_pid()') // croak $_->error } @sessions;

	kill 'STOP', split /\n/, $self->ask($leader, 'SELECT pid FROM pg_stat_replication') // croak $self->{last_error};
	$sessions[$_]->send($statements[$_]) for 0 .. $#statements;
	$self->wait_until('WAL that only the old leader has', sub {
		my $waiting = $self->ask($leader, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid IN ($pids)");
		return defined $waiting && $waiting == @sessions;
	});
	return @sessions;
}

sub postmaster_pid
{
	my ($self, $node) = @_;
	return QuorumProcesses::postmaster_of($node->data_dir);
}

# All processes of a node: the postmaster and its children.
sub processes
{
	my ($self, $node) = @_;
	my $postmaster = $self->postmaster_pid($node) // return;
	return QuorumProcesses::of($postmaster);
}

# (pid, title) of the process of a node whose title fits; nothing when there is none.
sub process
{
	my ($self, $node, $regexp) = @_;
	my $postmaster = $self->postmaster_pid($node) // return;
	return QuorumProcesses::titled($postmaster, $regexp);
}

sub kill_postmaster
{
	my ($self, $node) = @_;
	my $pid = $self->postmaster_pid($node);
	my @children = $self->processes($node);

	kill 'KILL', $pid;
	$self->_gone($node, @children);
}

sub kill_all
{
	my ($self, $node) = @_;
	my @pids = $self->processes($node);

	# Stopped first: nobody sees another one die.
	kill 'STOP', @pids;
	kill 'KILL', @pids;
	$self->_gone($node, @pids);
}

# Wait for the end of the processes, so that the data directory can be started again.
sub _gone
{
	my ($self, $node, @pids) = @_;

	$node->{dead} = 1;
	$self->wait_until('end of killed processes', sub {
		return !grep { QuorumProcesses::runs($_) } @pids;
	});
	unlink $node->data_dir . '/postmaster.pid';
	$node->{_pid} = undef;
}

sub start
{
	my ($self, $node) = @_;
	$node->start;
	$node->{dead} = 0;
}

sub freeze
{
	my ($self, $node) = @_;
	my @pids = $self->processes($node);
	kill 'STOP', @pids;
	$node->{frozen} = \@pids;
}

sub thaw
{
	my ($self, $node) = @_;
	kill 'CONT', @{ $node->{frozen} // [] };
	$node->{frozen} = undef;
}

# What a node has logged since $offset (see log_size).
sub log_since
{
	my ($self, $node, $offset) = @_;
	return PostgreSQL::Test::Utils::slurp_file($node->logfile, $offset // 0);
}

# A text in the node's log since $offset; waits for it.
sub wait_for_log
{
	my ($self, $node, $regexp, $offset) = @_;
	return $self->wait_until("log of $node->{quorum_name}: $regexp", sub {
		return $self->log_since($node, $offset) =~ $regexp;
	});
}

sub log_size
{
	my ($self, $node) = @_;
	return -s $node->logfile;
}

sub show_logs
{
	my ($self) = @_;

	for my $node ($self->nodes)
	{
		my $log = eval { PostgreSQL::Test::Utils::slurp_file($node->logfile) } // '';
		my @lines = split /\n/, $log;
		@lines = @lines[ -60 .. -1 ] if @lines > 60;
		diag("---- $node->{quorum_name}");
		diag($_) for @lines;
	}
	for my $witness (@{ $self->{witnesses} // [] })
	{
		diag("---- $witness->{quorum_name}");
		diag($_) for split /\n/, $witness->log_since;
	}
}

# Nothing of ours may stay.  One node after the other cannot be stopped: those that are
# left elect, and restart in place just when pg_ctl looks for their pid.
END
{
	my $status = $?;
	my @pids;

	for my $cluster (@clusters)
	{
		$cluster->show_logs if !Test::More->builder->is_passing;
		for my $node ($cluster->nodes)
		{
			my @of_node = QuorumProcesses::runs($cluster->postmaster_pid($node) // 0) ? $cluster->processes($node) : ();
			kill 'KILL', @of_node;
			push @pids, @of_node;
			$node->{_pid} = undef;
		}
		$_->kill_all for @{ $cluster->{witnesses} // [] };
	}
	my $until = time() + 30;
	usleep(20_000) while (grep { QuorumProcesses::runs($_) } @pids) && time() < $until;
	$? = $status;
}

$SIG{INT} = $SIG{TERM} = sub { exit 1 };

1;
