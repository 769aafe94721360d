# QuorumWire.pm
#	One connection to the quorum port of a node, made by hand: for tests that attack it.
#
# It speaks the handshake of src/pg/transport_frame.h when it is given the secret, and
# sends whatever it is told to.  It knows nothing of messages: a payload is bytes.  Only
# modules that come with Perl are used.
#
#	my $wire = QuorumWire->new(host => '127.0.0.1', port => 21001, secret => $secret,
#		cluster_id => $bytes16, system_identifier => $number, node_id => 2, target => 1,
#		uuid => $bytes16);
#	$wire->handshake or die $wire->error;		# or: ->challenge, ->hello, ->welcome one by one
#	$wire->send_frame($payload);				# the counter goes up by itself
#	$wire->send_frame($payload, counter => 7, mac => 'x' x 32, version => 9, type => 9);
#	$wire->send_bytes("\xff" x 100);
#	ok($wire->is_closed_by_node(5));			# waits, with a limit
package QuorumWire;

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

use constant {
	MAGIC => 'pgquorum',
	VERSION => 1,
	FRAME_MESSAGE => 1,
	CHALLENGE_SIZE => 41,
	WELCOME_SIZE => 95,
	MEMBER => 1,
	INVITE => 2,
	FRAME_MIN => 46,
	PAYLOAD_MAX => 8192,
};

# Index is the verdict in a Welcome.
our @VERDICTS = qw(accepted other_cluster other_system other_incarnation other_node
  same_node no_member obsolete);

sub random_bytes { return join '', map { chr int rand 256 } 1 .. $_[0] }

# Connect.  Dies when nobody listens, unless may_fail is set: then returns undef.
sub new
{
	my ($class, %args) = @_;
	my $self = bless {
		host => '127.0.0.1',
		secret => '',
		cluster_id => "\0" x 16,
		system_identifier => 0,
		node_id => 0,
		target => 0,
		uuid => "\0" x 16,
		boot_nonce => 1 + int(rand(2**31)),
		flags => MEMBER,
		timeout => 5,
		%args,
		counter => 0,
		got => '',
	}, $class;

	$self->{socket} = IO::Socket::INET->new(
		PeerHost => $self->{host},
		PeerPort => $self->{port},
		Proto => 'tcp',
		Timeout => $self->{timeout});
	return $self if $self->{socket};
	return if $args{may_fail};
	die "could not connect to $self->{host}:$self->{port}: $!";
}

sub error { return $_[0]{error} }

sub close { my $self = shift; close $self->{socket}; return }

# Exactly $size bytes, or undef: the node closed the connection, or said nothing in time.
sub receive
{
	my ($self, $size) = @_;
	my $limit = time + $self->{timeout};
	my $select = IO::Select->new($self->{socket});

	while (length $self->{got} < $size)
	{
		my $rest = $limit - time;
		if ($rest <= 0)
		{
			$self->{error} = 'no answer';
			return;
		}
		next if !$select->can_read($rest);
		if (!sysread $self->{socket}, $self->{got}, 65536, length $self->{got})
		{
			$self->{error} = 'closed by the node';
			return;
		}
	}
	return substr $self->{got}, 0, $size, '';
}

# False when the node has closed the connection.
sub send_bytes
{
	my ($self, $bytes) = @_;
	my $at = 0;
	local $SIG{PIPE} = 'IGNORE';

	while ($at < length $bytes)
	{
		my $done = syswrite $self->{socket}, $bytes, length($bytes) - $at, $at;
		if (!defined $done)
		{
			$self->{error} = "could not send: $!";
			return 0;
		}
		$at += $done;
	}
	return 1;
}

# Does the node close the connection within so many seconds?
sub is_closed_by_node
{
	my ($self, $seconds) = @_;
	my $limit = time + $seconds;
	my $select = IO::Select->new($self->{socket});

	while ((my $rest = $limit - time) > 0)
	{
		next if !$select->can_read($rest);
		return 1 if !sysread $self->{socket}, my $ignored, 65536;
	}
	return 0;
}

# ---- handshake, step by step ------------------------------------------------

# Read the Challenge; keeps the node's nonce.
sub challenge
{
	my ($self) = @_;
	my $bytes = $self->receive(CHALLENGE_SIZE) // return 0;
	my ($magic, $version, $nonce) = unpack 'a8 C a32', $bytes;

	if ($magic ne MAGIC || $version != VERSION)
	{
		$self->{error} = 'not a Challenge';
		return 0;
	}
	$self->{acceptor_nonce} = $nonce;
	return 1;
}

# The bytes of a Hello.  Every field can be overridden by name, also magic, version, mac.
sub hello_bytes
{
	my ($self, %change) = @_;
	my %field = (%$self, magic => MAGIC, version => VERSION, %change);

	$self->{dialler_nonce} = $field{nonce} // random_bytes(32);
	my $bytes = pack 'a8 C C L< a16 Q< L< a16 Q< a32', @field{qw(magic version flags target
		  cluster_id system_identifier node_id uuid boot_nonce)}, $self->{dialler_nonce};
	my $mac = $field{mac} // hmac_sha256("pg_quorum hello\0" . $self->nonces . $bytes,
		$field{secret});
	return $bytes . $mac;
}

sub nonces { my $self = shift; return $self->{acceptor_nonce} . $self->{dialler_nonce} }

sub hello { my ($self, %change) = @_; return $self->send_bytes($self->hello_bytes(%change)) }

# Read the Welcome; sets verdict (a word), peer (what the node says it is) and the key.
sub welcome
{
	my ($self) = @_;
	my $bytes = $self->receive(WELCOME_SIZE) // return 0;
	my $content = substr $bytes, 0, WELCOME_SIZE - 32;
	my ($magic, $version, $flags, $verdict, @who) = unpack 'a8 C C C a16 Q< L< a16 Q<', $content;

	if ($magic ne MAGIC || $version != VERSION)
	{
		$self->{error} = 'not a Welcome';
		return 0;
	}
	if (substr($bytes, -32) ne
		hmac_sha256("pg_quorum welcome\0" . $self->nonces . $content, $self->{secret}))
	{
		$self->{error} = 'the node does not know the secret';
		return 0;
	}
	$self->{verdict} = $VERDICTS[$verdict] // "verdict $verdict";
	@{ $self->{peer} }{qw(cluster_id system_identifier node_id uuid boot_nonce)} = @who;
	$self->{peer}{member} = $flags & MEMBER;
	$self->{key} = hmac_sha256("pg_quorum session\0" . $self->nonces
		  . pack('L< L<', $self->{node_id}, $self->{target}), $self->{secret});
	return 1 if $self->{verdict} eq 'accepted';
	$self->{error} = "refused: $self->{verdict}";
	return 0;
}

sub handshake { my $self = shift; return $self->challenge && $self->hello && $self->welcome }

# ---- frames -----------------------------------------------------------------

# The bytes of the next frame; counter, version, type, length, key and mac can be overridden.
sub frame_bytes
{
	my ($self, $payload, %change) = @_;
	my %field = (
		version => VERSION,
		type => FRAME_MESSAGE,
		length => FRAME_MIN - 4 + length $payload,
		key => $self->{key},
		%change);

	$field{counter} //= ++$self->{counter};
	my $bytes = pack('L< C C Q<', @field{qw(length version type counter)}) . $payload;
	return $bytes . ($field{mac} // hmac_sha256($bytes, $field{key}));
}

sub send_frame
{
	my ($self, $payload, %change) = @_;
	return $self->send_bytes($self->frame_bytes($payload, %change));
}

1;
