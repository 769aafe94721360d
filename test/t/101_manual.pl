# What --help tells, the manual and the manual page tell as well: every subcommand, every
# option of each, every exit code.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $manual_file = (grep { -f } "$FindBin::RealBin/../../docs/command.md", "$FindBin::RealBin/../../command.md")[0];
chomp(my $mandir = `pg_config --mandir`);
my $page_file = "$mandir/man1/pg_quorum.1";

$ENV{LC_ALL} = 'C';
ok(defined $manual_file, 'the manual is there') or BAIL_OUT('no docs/command.md');
ok(-f $page_file, 'the manual page is installed') or BAIL_OUT("no $page_file");
my $manual = slurp_file($manual_file);
my $page = slurp_file($page_file) =~ s/\\f[BR]//gr =~ s/\\-/-/gr =~ s/\\e/\\/gr =~ s/\\&//gr;

sub help { my $text = `pg_quorum @_ --help`; return $text; }

# Options as they begin a line of --help: "  -y, --yes  …".
sub options { return $_[0] =~ /^ +((?:-\w, )?--[a-z][a-z-]*)/mg; }

# The table of options: name => its subcommands.
my %of;
my ($table) = $manual =~ /^## Options\n(.*)/ms;
for my $row (grep { /^\| `-/ } split /\n/, $table)
{
	my (undef, $names, $subcommands) = split /\|/, $row;
	for my $name ($names =~ /(--?[A-Za-z][a-z-]*)/g)
	{
		$of{$name}{$_} = 1 for $subcommands =~ /(\w+)/g;
	}
}

my $overview = help();
my @subcommands = $overview =~ /^  ([a-z]+) {2,}\S/mg;
cmp_ok(scalar @subcommands, '>', 10, 'the overview names the subcommands');
for my $subcommand (@subcommands)
{
	my $text = help($subcommand);
	my $asks = $text =~ /^Where to connect/m;
	my %has;

	like($manual, qr/^\|[^|]*`$subcommand`[^|]*\|/m, "$subcommand: the manual has it");
	like($page, qr/^\.TP\n[^\n]*\b$subcommand\b/m, "$subcommand: the manual page has it");
	$has{$_} = 1 for map { split /, / } options($text);
	ok(%has, "$subcommand: --help has options");
	my @missing = grep { !$of{$_}{$subcommand} && !($asks && $of{$_}{all}) } sort keys %has;
	is_deeply(\@missing, [], "$subcommand: the manual has every option");
	@missing = grep { $page !~ /(?<![\w-])\Q$_\E(?![\w-])/ } sort keys %has;
	is_deeply(\@missing, [], "$subcommand: the manual page has every option");

	# What the manual promises is there, and is accepted: an unknown option is said to be one.
	my @promised = grep { $of{$_}{$subcommand} } sort keys %of;
	@missing = grep { !$has{$_} } @promised;
	is_deeply(\@missing, [], "$subcommand: --help has every option of the manual");
}
my @codes = $overview =~ /^  (\d+) {2,}/mg;
cmp_ok(scalar @codes, '>', 4, 'the overview names the exit codes');
for my $code (@codes)
{
	like($manual, qr/^\| $code \|/m, "exit code $code: the manual has it");
	like($page, qr/^\.TP\n$code\n/m, "exit code $code: the manual page has it");
}

SKIP:
{
	skip 'there is no man to format the page', 1 if system('man --version >/dev/null 2>&1') != 0;
	is(`man --warnings -E UTF-8 -l $page_file 2>&1 >/dev/null`, '', 'the manual page is formatted without a warning');
}

done_testing();
