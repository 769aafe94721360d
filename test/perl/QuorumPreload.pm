# QuorumPreload.pm
#	  A library between servers and their C library, made of a few lines of C: a disk or a
#	  resolver that fails while a file says so.
package QuorumPreload;

use strict;
use warnings;

use PostgreSQL::Test::Utils ();

# For LD_PRELOAD; undef when there is no compiler to make it.
sub library
{
	my ($name, $code) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir();

	PostgreSQL::Test::Utils::append_to_file("$directory/$name.c", $code);
	my @compile = ('gcc', '-shared', '-fPIC', '-O1', '-o', "$directory/$name.so", "$directory/$name.c", '-ldl');
	return system(@compile) == 0 ? "$directory/$name.so" : undef;
}

1;
