#!/usr/bin/perl
# man.pl
#	The manual page of the command, made from docs/command.md: perl docs/man.pl VERSION < docs/command.md
#
# It knows the Markdown that this page uses: headings, paragraphs, code, tables, links.
use strict;
use warnings;

my ($version) = @ARGV;
my (@paragraph, @code, @table);
my $in_code = 0;

# Text as roff wants it.
sub plain
{
	my ($text) = @_;
	$text =~ s/\\/\\e/g;
	$text =~ s/-/\\-/g;
	$text =~ s/^([.'])/\\&$1/;
	return $text;
}

# Links lose their address, code and bold become bold.
sub inline
{
	my ($text) = @_;
	$text =~ s/\[([^\]]*)\]\([^)]*\)/$1/g;
	my @parts = split /(`[^`]*`|\*\*[^*]*\*\*)/, $text;
	return join '', map { /^`(.*)`$/ || /^\*\*(.*)\*\*$/ ? '\fB' . plain($1) . '\fR' : plain($_) } @parts;
}

sub flush
{
	print ".PP\n", inline(join ' ', @paragraph), "\n" if @paragraph;
	if (@table)
	{
		# The first row is a heading, the second one the line below it.
		for my $row (@table[ 2 .. $#table ])
		{
			my @cells = map { s/^\s+|\s+$//gr } split /(?<!\\)\|/, $row =~ s/^\s*\|//r =~ s/\|\s*$//r;
			my $last = @cells > 1 ? pop @cells : '';
			print ".TP\n", join('  ', map { inline($_) } grep { length } @cells), "\n", inline($last) || '\&', "\n";
		}
	}
	@paragraph = @table = ();
}

binmode STDIN, ':encoding(UTF-8)';
binmode STDOUT, ':encoding(UTF-8)';
print qq{.TH PG_QUORUM 1 "" "pg_quorum $version" "PostgreSQL servers that elect"\n};
print ".SH NAME\npg_quorum \\- a cluster of PostgreSQL servers that elect: make it, look at it, change it\n";
print ".SH SYNOPSIS\n\\fBpg_quorum\\fR \\fISUBCOMMAND\\fR [\\fIOPTION\\fR]...\n.SH DESCRIPTION\n";

while (my $line = <STDIN>)
{
	chomp $line;
	if ($line =~ /^```/)
	{
		flush();
		print $in_code ? ".fi\n.RE\n" : ".PP\n.RS 4\n.nf\n";
		$in_code = !$in_code;
	}
	elsif ($in_code) { print plain($line), "\n" }
	elsif ($line =~ /^# /) { flush() }
	elsif ($line =~ /^## (.*)/) { flush(); print '.SH ', plain(uc $1), "\n" }
	elsif ($line =~ /^#+ (.*)/) { flush(); print '.SS ', plain($1), "\n" }
	elsif ($line =~ /^\|/) { flush() if @paragraph; push @table, $line }
	elsif ($line =~ /^\s*$/) { flush() }
	else { flush() if @table; push @paragraph, $line }
}
flush();
