# MutantList.pm
#	  The list of mutants: what each takes out of the sources, and which suite has to notice.
#
# A file *.txt of this directory is a section:
#
#	= title
#	== name: the protection that is taken out
#	@ file [function]       the next lines change this file, or this function of it only
#	-old text               lines of the old text, which must be there exactly once
#	+new text               lines of what stands there instead; none = nothing
#	> suite [words] [: what the suite says when it fails]      cheapest first
#
# Text is what follows the sign, from and to anywhere in a line.  A line that begins with #,
# or is empty, says nothing.
#
# The file "seconds" tells how long each suite ran until it noticed; run.pl --record writes it.
package MutantList;

use strict;
use warnings;

my @fast = qw(unit scenario sim model);
my %known = map { $_ => 1 } @fast, qw(tap torture);

# Rules whose loss lost commits or made two leaders in other systems: none may be without a mutant.
my @indispensable = qw(A4 D1 M4 R5 R25 S1 S2 S3 S5 S6 S7 S8 V1 V2 V3 V7 V8 V9);

sub fast_suites { return @fast }

# Every mutant: { name, hole, section, edits => [{ file, function, old, new }], kills => [...] }.
sub read_all
{
	my ($dir) = @_;
	my (@mutants, %seen);

	for my $path (sort glob("$dir/*.txt"))
	{
		push @mutants, read_section($path);
	}
	for my $mutant (@mutants)
	{
		die "$mutant->{at}: a second mutant of the name $mutant->{name}\n" if $seen{ $mutant->{name} }++;
		die "$mutant->{at}: nobody has to notice $mutant->{name}\n" if !@{ $mutant->{kills} };
	}
	die "$dir: no mutants\n" if !@mutants;

	my $seconds = read_seconds("$dir/seconds");
	for my $mutant (@mutants)
	{
		$_->{seconds} = delete $seconds->{"$mutant->{name}\t$_->{call}"} for @{ $mutant->{kills} };
	}
	$mutants[0]{stray} = [ sort keys %$seconds ];
	return @mutants;
}

# name and suite => seconds
sub read_seconds
{
	my ($path) = @_;
	return {} if !-e $path;
	return { map { /^([^#\t]+\t[^\t]+)\t([\d.]+)$/ ? ($1 => $2) : () } split /\n/, slurp($path) };
}

# What run.pl printed, into the file: how long the one suite of a row ran until it noticed.
sub record_seconds
{
	my ($dir, $mutants, @lines) = @_;
	my %mutant = map { $_->{name} => $_ } @$mutants;

	for my $line (@lines)
	{
		my ($name, $killed, $seconds) = $line =~ /^\| (\S+) +\| .*? +\| (.*?) +\| +([\d.]+) \|$/ or next;
		for my $kill (@{ ($mutant{$name} // next)->{kills} })
		{
			my $as_told = defined $kill->{says} ? "$kill->{call}: $kill->{says}" : $kill->{call};
			$kill->{seconds} = $seconds if $killed eq $as_told;
		}
	}
	my $text = "# seconds\n#\t  How long a suite ran until it noticed a mutant, as run.pl --record was told.\n";
	for my $mutant (@$mutants)
	{
		$text .= join("\t", $mutant->{name}, @$_{qw(call seconds)}) . "\n" for grep { defined $_->{seconds} } @{ $mutant->{kills} };
	}
	open(my $out, '>', "$dir/seconds") or die "$dir/seconds: $!\n";
	print $out $text;
	close $out or die "$dir/seconds: $!\n";
}

# The rules that a mutant names: (V1, S3) behind what it takes out.
sub rules_of { my ($mutant) = @_; return $mutant->{hole} =~ /\((\w+(?:, \w+)*)\)/ ? split(/, /, $1) : () }

sub read_section
{
	my ($path) = @_;
	my (@mutants, $section, $edit, $after_new);

	open(my $in, '<', $path) or die "$path: $!\n";
	while (my $line = <$in>)
	{
		my $at = "$path:$.";
		chomp $line;
		next if $line =~ /^(#|\s*$)/;
		if ($line =~ /^= (.+)/) { $section = $1 }
		elsif ($line =~ /^== ([a-z0-9-]+): (.+)/)
		{
			push @mutants, { name => $1, hole => $2, section => $section, edits => [], kills => [], at => $at };
			undef $edit;
		}
		elsif ($line =~ /^@ (\S+)(?: (\w+))?$/ && @mutants)
		{
			$edit = { file => $1, function => $2, old => [], new => [], at => $at };
			push @{ $mutants[-1]{edits} }, $edit;
		}
		elsif ($line =~ /^([-+])(.*)/ && $edit)
		{
			# Old text behind new text begins the next change of the same place.
			if ($1 eq '-' && @{ $edit->{new} })
			{
				$edit = { %$edit, old => [], new => [], at => $at };
				push @{ $mutants[-1]{edits} }, $edit;
			}
			push @{ $edit->{ $1 eq '-' ? 'old' : 'new' } }, $2;
		}
		elsif ($line =~ /^> (.+)/ && @mutants) { push @{ $mutants[-1]{kills} }, suite($1, $at) }
		else { die "$at: not understood: $line\n" }
	}
	return @mutants;
}

sub suite
{
	my ($text, $at) = @_;
	my ($call, $says) = split /: /, $text, 2;
	my ($kind, @words) = split ' ', $call;

	die "$at: no suite is called $kind\n" if !$known{$kind};
	return { kind => $kind, words => \@words, says => $says, call => $call };
}

# ---- edits --------------------------------------------------------------------------------

# Where the function of that name begins and how long it is, in the text of a C file.
sub place_of
{
	my ($text, $function) = @_;

	return if $text !~ /^\Q$function\E\(/mg;
	my $begin = pos($text) - length($function) - 1;
	my $end = index($text, "\n}\n", $begin);
	return $end < 0 ? () : ($begin, $end + 3 - $begin);
}

sub change
{
	my ($text, $edit) = @_;
	my ($begin, $length) = $edit->{function} ? place_of($text, $edit->{function}) : (0, length $text);

	die "$edit->{at}: $edit->{file} has no function $edit->{function}\n" if !defined $begin;
	my $part = substr($text, $begin, $length);
	my ($old, $new) = (join("\n", @{ $edit->{old} }), join("\n", @{ $edit->{new} }));
	die "$edit->{at}: nothing to look for\n" if $old eq '';
	my $count = () = $part =~ /\Q$old\E/g;
	die "$edit->{at}: the old text is there $count times, not once, in $edit->{file}\n" if $count != 1;
	die "$edit->{at}: changes nothing\n" if $old eq $new;
	my $where = index($part, $old);
	substr($part, $where, length $old) = $new;
	substr($text, $begin, $length) = $part;
	return $text;
}

sub slurp
{
	my ($path) = @_;
	open(my $in, '<', $path) or die "$path: $!\n";
	local $/;
	return scalar <$in>;
}

# The files of a mutant as they are and as they become: file => [before, after].
sub changed_files
{
	my ($mutant, $tree) = @_;
	my %files;

	for my $edit (@{ $mutant->{edits} })
	{
		my $file = $files{ $edit->{file} } //= do { my $text = slurp("$tree/$edit->{file}"); [ $text, $text ] };
		$file->[1] = change($file->[1], $edit);
	}
	return \%files;
}

# ---- is the list still right? -------------------------------------------------------------

# What is wrong with the list, one line each.
sub complaints
{
	my ($tree, @mutants) = @_;
	my %rules = map { $_ => 1 } map { rules_of($_) } @mutants;
	my @wrong = ((map { "no mutant is left that takes out $_\n" } grep { !$rules{$_} } @indispensable),
		map { "seconds: the list has no such mutant and suite: $_\n" } @{ $mutants[0]{stray} });

	for my $mutant (@mutants)
	{
		eval { changed_files($mutant, $tree); 1 } or push @wrong, $@;
		for my $kill (@{ $mutant->{kills} })
		{
			my ($kind, $word) = ($kill->{kind}, $kill->{words}[0] // '');
			my $file = $kind eq 'unit' ? "test/core/test_$word.c" : $kind eq 'scenario' ? "test/scenarios/$word.txt" : undef;

			if ($kind eq 'tap') { push @wrong, "$mutant->{at}: there is no one test $word\n" if (() = glob("$tree/test/t/${word}_*.pl")) != 1 }
			elsif (defined $file && !-e "$tree/$file") { push @wrong, "$mutant->{at}: there is no $file\n" }
			elsif ($kind eq 'unit' && ($kill->{says} // 'assertion') ne 'assertion' && index(slurp("$tree/$file"), $kill->{says}) < 0)
			{
				push @wrong, "$mutant->{at}: $file does not say: $kill->{says}\n";
			}
		}
		push @wrong, "$mutant->{at}: takes nothing out\n"
		  if !@{ $mutant->{edits} } && grep { !grep { /^break=/ } @{ $_->{words} } } @{ $mutant->{kills} };
	}
	return @wrong;
}

# ---- for people ---------------------------------------------------------------------------

my %title = (unit => 'test_%s', scenario => 'scenario %s', sim => 'simulator%s', model => 'model%s', tap => '%s', torture => 'torture%s');

sub told
{
	my ($kill) = @_;
	my @words = @{ $kill->{words} };
	my $words = join ' ', $kill->{kind} =~ /^(sim|model|torture)$/ ? map({ " `$_`" } join(' ', @words) || ()) : @words;
	my $name = sprintf $title{ $kill->{kind} }, $words;
	my $told = defined $kill->{says} ? "$name: $kill->{says}" : $name;
	return defined $kill->{seconds} ? "$told ($kill->{seconds} s)" : $told;
}

# The list as docs/mutants.md.
sub page
{
	my (@mutants) = @_;
	my $page = <<'EOP';
# Mutants

What notices when a protection is taken out. Written by `perl test/mutants/run.pl --page` from the list in test/mutants, which holds the edits;
`make mutants` repeats every row ([development.md](development.md#what-fails-when-a-protection-is-taken-out)). Of several tests the cheapest stands first.

In parentheses: how long the test ran until it noticed, without the build, when the runner tried it last; on a machine with two cores that were
busy with other work, so on an idle one it is less. Of a test without a time none is kept.

## By rule

EOP
	my %by_rule;
	for my $mutant (@mutants) { push @{ $by_rule{$_} }, $mutant->{name} for rules_of($mutant) }
	$page .= "| rule | mutants |\n|---|---|\n";
	for my $rule (sort { ($a =~ /^(\D+)/)[0] cmp ($b =~ /^(\D+)/)[0] || ($a =~ /(\d+)/)[0] <=> ($b =~ /(\d+)/)[0] } grep { /^[A-Z]+\d+$/ } keys %by_rule)
	{
		$page .= "| $rule | " . join(', ', @{ $by_rule{$rule} }) . " |\n";
	}
	my $section = '';
	for my $mutant (@mutants)
	{
		if ($mutant->{section} ne $section)
		{
			$section = $mutant->{section};
			$page .= "\n## \u$section\n\n| protection | mutant | noticed by |\n|---|---|---|\n";
		}
		my $noticed = join '; ', map { told($_) } @{ $mutant->{kills} };
		$page .= '| ' . join(' | ', map { s/\|/\\|/gr } $mutant->{hole}, $mutant->{name}, $noticed) . " |\n";
	}
	return $page;
}

1;
