
=head1 NAME

QuorumWitness - a witness of a pg_quorum cluster for TAP tests

=head1 SYNOPSIS

  my $witness = QuorumWitness->new(command => 'pg_quorum', directory => $dir,
      name => 'w', port => $port, secret => $text);
  $witness->start;
  $witness->kill_all;

It is a child of the test: killed ones are reaped here.  QuorumCluster makes one with
C<< witness => 1 >> and ends it in the end.

=cut

package QuorumWitness;

use strict;
use warnings;

use Carp;
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(time usleep);

sub new
{
	my ($class, %self) = @_;
	my $self = bless {%self}, $class;

	$self->{quorum_name} = $self->{name};
	$self->{quorum_port} = $self->{port};
	$self->{log} = "$self->{directory}.log";
	$self->_secret;
	return $self;
}

sub _secret
{
	my ($self) = @_;
	my $file = $self->{secret_file} = "$self->{directory}.secret";

	open(my $fh, '>', $file) or croak "$file: $!";
	chmod 0600, $fh;
	print $fh "$self->{secret}\n";
	close $fh;
}

sub data_dir { return $_[0]{directory}; }
sub logfile { return $_[0]{log}; }
sub pid { return $_[0]{pid}; }

sub arguments
{
	my ($self) = @_;
	return ('witness', '-D', $self->{directory}, "--name=$self->{name}",
		"--address=127.0.0.1:$self->{port}", "--secret-file=$self->{secret_file}",
		"--lease-duration=$self->{lease}ms", @{ $self->{more} // [] });
}

# Start it and wait until it has opened its port, or has ended.
sub start
{
	my ($self) = @_;
	my $from = -s $self->{log} // 0;
	my $pid = fork() // croak "fork: $!";

	if ($pid == 0)
	{
		open(STDERR, '>>', $self->{log});
		open(STDOUT, '>&', \*STDERR);
		{ no warnings 'exec'; exec $self->{command}, $self->arguments }
		POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	$self->{frozen} = 0;
	my $until = time() + 30;
	while (time() < $until)
	{
		last if waitpid($pid, WNOHANG) == $pid && ($self->{code} = $? >> 8, $self->{pid} = undef, 1);
		return 1 if $self->log_since($from) =~ /LOG:  quorum: this witness (?:is|takes)/;
		usleep(10_000);
	}
	return 0;
}

sub _signal
{
	my ($self, $signal) = @_;

	return unless defined $self->{pid};
	kill $signal, $self->{pid};
	waitpid $self->{pid}, 0;
	$self->{code} = $? >> 8;
	$self->{pid} = undef;
}

sub kill_all { return $_[0]->_signal('KILL'); }

sub stop
{
	my ($self) = @_;
	$self->_signal('TERM');
	return $self->{code};
}

sub freeze { my ($self) = @_; kill 'STOP', $self->{pid}; $self->{frozen} = 1; }
sub thaw { my ($self) = @_; kill 'CONT', $self->{pid}; $self->{frozen} = 0; }

sub reload { return kill 'HUP', $_[0]{pid}; }

sub log_since
{
	my ($self, $offset) = @_;

	open(my $fh, '<', $self->{log}) or return '';
	seek $fh, $offset // 0, 0;
	local $/;
	return <$fh> // '';
}

sub log_size { return -s $_[0]{log}; }

# What pg_quorum witness --status prints, and its exit code.
sub status
{
	my ($self) = @_;
	my $text = `$self->{command} witness -D $self->{directory} --status 2>&1`;

	return ($text, $? >> 8);
}

# Resident memory in kB.
sub resident
{
	my ($self) = @_;

	open(my $fh, '<', "/proc/$self->{pid}/status") or return;
	while (my $line = <$fh>) { return $1 if $line =~ /^VmRSS:\s+(\d+)/; }
	return;
}

1;
