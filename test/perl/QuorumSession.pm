# QuorumSession.pm
#	  A psql that stays connected to a node, for statements that may wait.
#
# ask() returns an answer; send() and finished() are for a statement that may not end; error()
# tells what went wrong.
package QuorumSession;

use strict;
use warnings;

use IO::Handle ();
use IO::Select;
use IPC::Open3;
use Time::HiRes qw(time);

sub new
{
	my ($class, $node) = @_;
	my $self = bless { error => '', buffer => '', serial => 0 }, $class;

	local $ENV{PGOPTIONS} = '';
	$self->{pid} = open3($self->{in}, $self->{out}, undef, $node->installed_command('psql'), '-XAtq',
		'-v', 'VERBOSITY=verbose', '-v', 'ON_ERROR_STOP=0', '-d', $node->connstr('postgres'));
	$self->{in}->autoflush(1);
	return $self;
}

# Every statement is followed by a marker; what comes before it is the answer.
sub send
{
	my ($self, $sql) = @_;
	my $marker = 'done ' . ++$self->{serial};

	local $SIG{PIPE} = 'IGNORE';
	$self->{answer} = undef;
	$self->{error} = '';
	print { $self->{in} } "$sql;\n\\echo $marker\n";
}

# Has the last statement ended, within $limit seconds?  A limit of 0 looks once at what has come.
sub finished
{
	my ($self, $limit) = @_;
	my $until = time() + ($limit // 10);
	my $select = IO::Select->new($self->{out});
	my $marker = 'done ' . $self->{serial};

	while (1)
	{
		if ($self->{buffer} =~ s/^(.*?)^\Q$marker\E\n//ms)
		{
			$self->_answered($1);
			return 1;
		}
		my $rest = $until - time();
		if (!$select->can_read($rest > 0 ? $rest : 0))
		{
			last if $rest <= 0;
			next;    # time is up, or another session has ended: PostgreSQL::Test handles SIGCHLD
		}
		my $read = sysread($self->{out}, $self->{buffer}, 65536, length $self->{buffer});
		next if !defined $read && $!{EINTR};
		if (!$read)
		{
			$self->_answered($self->{buffer} . "FATAL:  connection lost\n");
			return 1;
		}
	}
	return 0;
}

sub _answered
{
	my ($self, $text) = @_;

	if ($text =~ /(ERROR|FATAL|PANIC|error|connection to server was lost)\b/)
	{
		$self->{error} = $text;
		return;
	}

	# What a server that stops says to everybody may come together with the answer.
	$text =~ s/^WARNING:  57P01: .*\n(?:LOCATION: .*\n)?//mg;
	chomp $text;
	$self->{answer} = $text;
}

# The answer to a statement; undef when it failed or did not end in time.
sub ask
{
	my ($self, $sql, $limit) = @_;

	$self->send($sql);
	$self->{error} = 'no answer' unless $self->finished($limit // 10);
	return $self->{answer};
}

sub error { return $_[0]{error}; }

sub DESTROY
{
	my ($self) = @_;
	local ($., $@, $!, $^E, $?);
	return unless $self->{pid};
	close $self->{in};
	kill 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
}

1;
