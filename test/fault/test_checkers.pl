#!/usr/bin/perl
# test_checkers.pl
#	  Can each checker of torture.pl fail?  Histories as they should be, and one for each thing
#	  that must not be there; no server.
use strict;
use warnings;
use FindBin ();
use lib $FindBin::RealBin, "$FindBin::RealBin/../perl";
use File::Temp ();
use Test::More;
use TortureCheck;
use TortureFiles;
use TortureLog;
use TortureNemesis;
use TorturePower;
use TortureRegister;

# ---- histories of clients --------------------------------------------------------------------

# What is found in lines of clients (a leading s: of a standby) and this end.
sub judged
{
	my ($lines, %there) = @_;
	my $check = TortureCheck->new;
	$check->final(lists => {}, total => 0, numbers => {}, ledger => {}, registers => {}, %there);
	$check->parse(s/^s //r, /^s / ? 1 : 0) for @$lines;
	$check->check;
	return join ' ', sort keys %{ $check->{count} };
}

sub fine { my ($name, @history) = @_; return is(judged(@history), '', "nothing wrong: $name") }
sub found { my ($kinds, $name, @history) = @_; return is(judged(@history), $kinds, "$kinds: $name") }

fine('nothing at all', []);
fine('one of each kind', [
	'0 10 ok 0 5432 3 list a:1:11 a:2:21', '5 20 ok 2 5432 3 list r:1:11 a:1:12 r:1:11,12 r:2:21 a:2:22', '30 40 ok 1 5432 3 list r:1:11,12 r:2:21,22',
	'50 60 failed 1 5432 3 list a:1:13 r:1:11,12,13', '50 70 unknown 0 5432 3 list a:1:14', '50 70 unknown 0 5432 3 list a:1:15 a:2:25',
	's 80 90 ok 1 5433 0 list r:1: r:2:', '0 9 ok 0 5432 3 ledger l:1 l:2', '0 9 failed 0 5432 3 ledger l:3', '0 9 unknown 0 5432 3 ledger l:4 l:5',
	'0 9 ok 0 5432 3 bank t:1:2:3', '0 9 ok 1 5432 3 bank sum:0', '0 9 ok 0 5432 3 seq n:1', '20 29 failed 0 5432 3 seq n:2', '30 40 unknown 0 5432 3 seq n:3',
	'0 9 ok 0 5432 3 register W:1:5', '10 19 ok 0 5432 3 register R:1:5' ],
	lists => { 1 => [ 11, 12, 15 ], 2 => [ 21, 22, 25 ] }, ledger => { 1 => 1, 2 => 1 }, numbers => { 1 => 1 }, registers => { 1 => 5 });
fine('a line that was cut off with its client', ['0 10 o']);

found('lost', 'an acknowledged value', ['0 10 ok 0 1 3 list a:1:11'], lists => {});
found('lost', 'half of an unknown transaction', ['0 10 unknown 0 1 3 list a:1:11 a:1:12'], lists => { 1 => [11] });
found('lost', 'an acknowledged id', ['0 10 ok 0 1 3 ledger l:1 l:2'], ledger => { 1 => 1 });
found('lost', 'half of an unknown transaction of the ledger', ['0 10 unknown 0 1 3 ledger l:1 l:2'], ledger => { 1 => 1 });
found('lost', 'an acknowledged number', ['0 10 ok 0 1 3 seq n:7']);
found('lost', 'a prepared transaction', ['0 10 unknown 0 1 3 bank t:1:2:3 p:gone']);
found('duplicate', 'a value', ['0 10 ok 0 1 3 list a:1:11'], lists => { 1 => [ 11, 11 ] });
found('duplicate', 'an id', ['0 10 ok 0 1 3 ledger l:1'], ledger => { 1 => 2 });
found('seq', 'a number handed out twice', [ '0 10 ok 0 1 3 seq n:7', '20 30 ok 0 1 4 seq n:7' ], numbers => { 7 => 1 });
found('bank', 'a total that was read', ['0 10 ok 1 1 3 bank sum:-3']);
found('bank', 'the total in the end', [], total => 4);

found('vanished', 'a value that was read', [ '0 10 unknown 0 1 3 list a:1:11', '20 30 ok 0 1 3 list r:1:11' ]);
found('vanished', 'on a standby', [ '0 10 unknown 0 1 3 list a:1:11', 's 20 30 ok 0 1 0 list r:1:11' ]);
found('vanished', 'read by who failed later', [ '0 10 unknown 0 1 3 list a:1:11', '20 30 failed 0 1 3 list r:1:11' ]);
found('vanished', 'another order', [ '0 10 ok 0 1 3 list a:1:11', '0 10 ok 0 1 3 list a:1:12', '0 10 ok 0 1 3 list r:1:12,11' ], lists => { 1 => [ 11, 12 ] });
found('stale', 'acknowledged before the read began', [ '0 10 ok 0 1 3 list a:1:11', '20 30 ok 0 1 3 list r:1:' ], lists => { 1 => [11] });
fine('acknowledged when the read began', [ '0 10 ok 0 1 3 list a:1:11', '10 30 ok 0 1 3 list r:1:' ], lists => { 1 => [11] });
fine('a standby may be behind', [ '0 10 ok 0 1 3 list a:1:11', 's 20 30 ok 1 1 0 list r:1:' ], lists => { 1 => [11] });

found('G0', 'two orders of writes', [ '0 90 ok 0 1 3 list a:1:11 a:2:21', '0 90 ok 0 1 3 list a:1:12 a:2:22' ], lists => { 1 => [ 11, 12 ], 2 => [ 22, 21 ] });
found('G1a', 'a refused transaction is there', ['0 10 failed 0 1 3 list a:1:11'], lists => { 1 => [11] });
found('G1a', 'a refused transaction of the ledger is there', ['0 10 failed 0 1 3 ledger l:1'], ledger => { 1 => 1 });
found('G1a', 'a refused transaction was read', [ '0 10 failed 0 1 3 list a:1:11', '0 30 ok 0 1 3 list r:1:11' ]);
found('G1b', 'half of a transaction was read', [ '0 90 ok 0 1 3 list a:1:11 a:1:12', '0 90 ok 0 1 3 list r:1:11' ], lists => { 1 => [ 11, 12 ] });
found('G1c', 'each has read from the other', [ '0 90 ok 0 1 3 list a:1:11 r:2:21', '0 90 ok 0 1 3 list a:2:21 r:1:11' ], lists => { 1 => [11], 2 => [21] });
found('G1c', 'by way of others, one of them unknown', [ '0 90 ok 0 1 3 list a:1:11 r:3:32,31', '0 90 ok 0 1 3 list a:2:21 r:1:11', '0 90 unknown 0 1 3 list a:3:31', '0 90 ok 0 1 3 list a:3:32 r:2:21' ],
	lists => { 1 => [11], 2 => [21], 3 => [ 32, 31 ] });
found('real-time', 'acknowledged first, committed last', [ '0 10 ok 0 1 3 list a:1:11', '20 30 ok 0 1 3 list a:1:12' ], lists => { 1 => [ 12, 11 ] });
fine('both at once', [ '0 10 ok 0 1 3 list a:1:11', '10 30 ok 0 1 3 list a:1:12' ], lists => { 1 => [ 12, 11 ] });
fine('unknown first, committed last', [ '0 10 unknown 0 1 3 list a:1:11', '20 30 ok 0 1 3 list a:1:12' ], lists => { 1 => [ 12, 11 ] });

my @skewed_read = ('0 90 ok 0 1 3 list a:1:11 a:2:21', '0 90 ok LEVEL 1 3 list r:1: r:2:21');
found('G-single', 'a snapshot with half of a transaction', [ map { s/LEVEL/1/r } @skewed_read ], lists => { 1 => [11], 2 => [21] });
found('G-single', 'so for a serializable one', [ map { s/LEVEL/2/r } @skewed_read ], lists => { 1 => [11], 2 => [21] });
found('G-single', 'and on a standby', [ map { s/LEVEL/1/r =~ s/^(.*r:1:)/s $1/r } @skewed_read ], lists => { 1 => [11], 2 => [21] });
fine('read committed has a snapshot for each statement', [ map { s/LEVEL/0/r } @skewed_read ], lists => { 1 => [11], 2 => [21] });
found('G-single', 'the later of two in real time, not the earlier', [ '0 90 ok 1 1 3 list r:1: r:3:31', '10 20 ok 0 1 3 list a:1:11', '30 40 ok 0 1 3 list a:3:31' ],
	lists => { 1 => [11], 3 => [31] });
fine('the earlier of two in real time, not the later', [ '0 90 ok 1 1 3 list r:1:11 r:3:', '10 20 ok 0 1 3 list a:1:11', '30 40 ok 0 1 3 list a:3:31' ],
	lists => { 1 => [11], 3 => [31] });

my @skewed_write = ('0 90 ok LEVEL 1 3 list r:1: a:2:21', '0 90 ok LEVEL 1 3 list r:2: a:1:11');
found('G2-item', 'each has overwritten what the other has read', [ map { s/LEVEL/2/r } @skewed_write ], lists => { 1 => [11], 2 => [21] });
fine('repeatable read does not see it', [ map { s/LEVEL/1/r } @skewed_write ], lists => { 1 => [11], 2 => [21] });
found('G2-real-time', 'one of them acknowledged before', [ '50 100 ok 2 1 3 list r:1:', '0 100 ok 2 1 3 list a:1:11 r:2:', '10 20 ok 2 1 3 list a:2:21' ],
	lists => { 1 => [11], 2 => [21] });

# ---- registers -------------------------------------------------------------------------------

# start end what values, "-" for an end: no answer
sub operations
{
	return map {
		my ($start, $end, $what, @values) = split / /;
		my %op = (start => $start, end => $end eq '-' ? undef : $end, what => $what, line => $_);
		$what eq 'C' ? @op{qw(old new result)} = @values : ($op{value} = $values[0] // '');
		\%op;
	} @_;
}

sub verdict { my ($want, $name, @operations) = @_; my ($is) = TortureRegister::linearizable(operations(@operations)); return is($is, $want, "register, $want: $name") }

verdict('yes', 'nothing');
verdict('yes', 'one after the other', '0 9 R', '10 19 W 5', '20 29 R 5', '30 39 C 5 6 1', '40 49 C 5 7 0', '50 59 R 6');
verdict('yes', 'at the same time, either order', '0 9 W 5', '0 9 W 6', '10 19 R 5');
verdict('yes', 'an unknown write, seen late', '0 9 W 5', '10 - W 6', '20 29 R 5', '30 39 R 6');
verdict('yes', 'an unknown write, never seen', '0 9 W 5', '10 - W 6', '20 29 R 5', '30 39 R 5');
verdict('yes', 'an unknown exchange, seen', '0 9 W 5', '10 - C 5 6', '20 29 R 6');
verdict('no', 'an acknowledged write is not read', '0 9 W 5', '10 19 R');
verdict('no', 'back to what was before', '0 9 W 5', '10 - W 6', '20 29 R 6', '30 39 R 5');
verdict('no', 'two have exchanged the same value', '0 9 W 5', '10 19 C 5 6 1', '10 19 C 5 7 1');
verdict('no', 'an exchange found another value where there was this one', '0 9 W 5', '10 19 C 5 6 0');
verdict('no', 'an unknown exchange had nothing to exchange', '0 9 W 5', '10 - C 4 6', '20 29 R 6');
verdict('no', 'read before it was written', '0 9 R 5', '10 19 W 5');
{
	local $TortureRegister::steps_max = 20;
	verdict('undecided', 'too many at once', (map { "0 99 W $_" } 1 .. 9), '100 109 R 10');
	my $check = TortureCheck->new;
	$check->parse($_) for (map { "0 99 ok 0 1 3 register W:1:$_" } 1 .. 9), '0 9 ok 0 1 3 register W:2:5';
	$check->final(total => 0, registers => { 1 => 10, 2 => 5 });
	$check->check;
	is("$check->{undecided} of $check->{registers_judged}", '1 of 2', 'register: what is undecided is counted');
}
found('register', 'what is there in the end is not what was written', [ '0 9 ok 0 1 3 register W:1:5' ], registers => { 1 => 4 });
found('register', 'nothing is there in the end', [ '0 9 ok 0 1 3 register W:1:5' ]);
found('register', 'a refused write is there', [ '0 9 failed 0 1 3 register W:1:5', '10 19 ok 0 1 3 register R:1:5' ], registers => { 1 => 5 });
fine('an exchange without an answer', [ '0 9 ok 0 1 3 register W:1:5', '10 19 unknown 0 1 3 register C:1:5:6:' ], registers => { 1 => 6 });

# The search against all orders of small histories drawn by chance.
sub every_order
{
	my ($state, @left) = @_;
	return 1 if !grep { defined $_->{end} } @left;
	for my $i (0 .. $#left)
	{
		my $one = $left[$i];
		next if grep { defined $_->{end} && $_->{end} < $one->{start} } @left;
		my $next = TortureRegister::after($state, $one) // next;
		return 1 if every_order($next, @left[ grep { $_ != $i } 0 .. $#left ]);
	}
	return 0;
}

my $seed = $ENV{SEED} // time() % 1_000_000;
my ($rounds, $wrong, %verdicts) = (2000, 0);
srand $seed;
for (1 .. $rounds)
{
	my @drawn = operations(map {
		my ($start, $value, $old) = map { int rand $_ } 30, 3, 3;
		my $end = rand() < 0.2 ? '-' : $start + int rand 12;
		my $what = (qw(R W C))[ rand 3 ];
		"$start $end " . ($what eq 'C' ? "C $old $value " . int rand 2 : "$what $value");
	} 1 .. 6);
	my ($is) = TortureRegister::linearizable(@drawn);
	$verdicts{$is}++;
	$wrong++ if $is ne (every_order('', @drawn) ? 'yes' : 'no');
}
is($wrong, 0, "register: $rounds histories of seed $seed judged as by trying every order");
cmp_ok($verdicts{$_} // 0, '>', 20, "... of which some are: $_") for qw(yes no);

# ---- logs ------------------------------------------------------------------------------------

my @log = ('1795269131.301 LOG:  quorum: candidate in term 2', '1795269131.305 LOG:  quorum: elected leader of term 2',
	'1795269131.447 LOG:  quorum: promoted to timeline 2', '1795269131.493 LOG:  quorum: gate open in term 2',
	'1795269136.669 LOG:  quorum: gate closed in term 2', '1795269139.234 LOG:  quorum: voted for n3 (3) in term 4',
	'1795269139.261 LOG:  quorum: leader is n3 (3) in term 4', '1795269139.300 LOG:  checkpoint starting: force');

sub of_terms
{
	my (%logs) = @_;
	my %found;
	TortureLog::check_terms({ map { my $node = $_; $node => [ map { TortureLog::parse($_) } @{ $logs{$node} } ] } keys %logs }, sub { $found{ $_[0] }++ });
	return join ' ', sort keys %found;
}

is(scalar(grep { TortureLog::parse($_) } @log), 6, 'log: every line that has a term or a vote is read');
is_deeply(TortureLog::check_terms({ n2 => [ map { TortureLog::parse($_) } @log ] }, sub { die "@_\n" }), { 2 => [ 1795269131.493, 'n2' ] },
	'log: when which gate was open');
is(of_terms(n2 => \@log, n3 => ['1795269139.255 LOG:  quorum: elected leader of term 4']), '', 'nothing wrong: two leaders, one after the other');
is(of_terms(n2 => \@log, n3 => ['1795269139.255 LOG:  quorum: gate open in term 2']), 'two leaders', 'two leaders: two gates in a term');
is(of_terms(n2 => \@log, n1 => ['1795269139.255 LOG:  quorum: elected leader of term 4']), 'two leaders', 'two leaders: one says so of another one');
is(of_terms(n2 => [ @log[ 5, 0 ] ]), 'falling term', 'falling term: a candidate in an old one');
is(of_terms(n2 => [ $log[0], '1795269131.400 LOG:  quorum: voted for n1 (1) in term 2' ]), 'two votes', 'two votes: for itself, and for another');
is(of_terms(n2 => [ $log[5], '1795269139.400 LOG:  quorum: voted for n1 (1) in term 4' ]), 'two votes', 'two votes: for two others');

is(of_terms(n2 => [ $log[5], '1795269139.300 LOG:  quorum: invited as node 5, joining', '1795269139.400 LOG:  quorum: voted for n1 (1) in term 4' ]), '',
	'nothing wrong: another member of the same name');
is(of_terms(w => [ map { "2026-11-21 13:52:1$_.000 UTC witness[17] LOG:  quorum: voted for n$_ ($_) in term 2" } 1, 2 ]), 'two votes', 'two votes: of a witness');

# ---- changes of leader -----------------------------------------------------------------------

# Lines of each node: "elected leader of term 2" and the like.
sub changes_of
{
	my (%logs) = @_;
	my (%events, %courses);
	for my $node (keys %logs)
	{
		my @lines = map { "1795269139.255 LOG:  quorum: $_" } @{ $logs{$node} };
		$events{$node} = [ map { TortureLog::parse($_) } @lines ];
		$courses{$node} = [ map { TortureLog::parse_course($_) } @lines ];
	}
	my $is = TortureLog::count_changes(\%events, \%courses);
	return join ' ', (map { "$_=$is->{$_}" } qw(failovers switchovers moved rewound cloned joined)),
	  map { "[$_]=$is->{why}{$_}" } sort keys %{ $is->{why} };
}

my @leads = map { my $term = $_; [ "elected leader of term $term", "gate open in term $term" ] } 0 .. 9;
is(changes_of(n1 => [ $leads[1][1] ]), 'failovers=0 switchovers=0 moved=0 rewound=0 cloned=0 joined=0', 'changes: whoever leads first is no change');
is(changes_of(n1 => [ @{ $leads[1] }, 'resigned from term 1: postmaster died' ], n2 => [ 'leader n1 (1) of term 1 lost: resigned', @{ $leads[3] } ]),
	'failovers=1 switchovers=0 moved=1 rewound=0 cloned=0 joined=0 [postmaster died]=1', 'changes: one of a leader that says that it dies');
is(changes_of(n1 => [ $leads[1][1] ], n2 => [ 'leader n1 (1) of term 1 lost: silent for one lease', @{ $leads[2] } ]),
	'failovers=1 switchovers=0 moved=1 rewound=0 cloned=0 joined=0 [silent for one lease]=1', 'changes: of one that others miss');
is(changes_of(n1 => [ $leads[1][1], @{ $leads[2] } ]), 'failovers=1 switchovers=0 moved=0 rewound=0 cloned=0 joined=0 [it says nothing]=1',
	'changes: the same node, elected again');
is(changes_of(n1 => [ $leads[1][1], 'resigned from term 1: handed over' ], n2 => [ @{ $leads[2] } ]),
	'failovers=0 switchovers=1 moved=1 rewound=0 cloned=0 joined=0', 'changes: what was asked for is no failover');
is(changes_of(n1 => [ $leads[1][1] ], n2 => [ $leads[2][0] ], n3 => [ @{ $leads[3] } ]),
	'failovers=1 switchovers=0 moved=1 rewound=0 cloned=0 joined=0 [it says nothing]=1', 'changes: who was elected and never served is none');
is(changes_of(n1 => [ $leads[1][1] ], n2 => [ $leads[2][1] ]), 'failovers=0 switchovers=0 moved=0 rewound=0 cloned=0 joined=0',
	'changes: a gate without an election is none');
is(changes_of(n1 => [ $leads[1][1], $leads[1][1] ]), 'failovers=0 switchovers=0 moved=0 rewound=0 cloned=0 joined=0', 'changes: a gate that opens again is none');
is(changes_of(n1 => [ 'rewound and following in term 5, 1285 ms', 'cloned and following in term 6, 14200 ms', 'rewound and following in term 7, 9 ms',
			'invited as node 5, joining' ]), 'failovers=0 switchovers=0 moved=0 rewound=2 cloned=1 joined=1', 'changes: who came back, and how');

sub of_gates
{
	my ($gates, @lines) = @_;
	my $check = TortureCheck->new;
	$check->parse($_) for @lines;
	TortureLog::check_gates($gates, $check->{transactions}, $check->finder);
	return join ' ', sort keys %{ $check->{count} };
}

my @served = ('100 110 ok 0 1 3 bank sum:0', '300 310 ok 0 2 4 bank sum:0');
is(of_gates({ 3 => 90, 4 => 290 }, @served), '', 'nothing wrong: one gate after the other');
is(of_gates({ 3 => 90, 4 => 290 }, @served, '280 320 ok 0 1 3 bank sum:0'), '', 'nothing wrong: what began before may answer later');
is(of_gates({ 3 => 90, 4 => 290 }, @served, '290 299 ok 0 1 3 bank sum:0'), '', 'nothing wrong: at the same instant');
is(of_gates({ 3 => 90, 4 => 290 }, @served, '291 299 ok 0 1 3 bank sum:0'), 'gates overlap', 'gates overlap: by the log of the later leader');
is(of_gates({ 3 => 90 }, @served, '311 320 ok 0 1 3 bank sum:0'), 'gates overlap', 'gates overlap: by what the later leader has answered');
is(of_gates({ 3 => 90, 4 => 290 }, @served, '291 299 failed 0 1 3 bank sum:0', '291 299 unknown 0 1 3 bank sum:0'), '', 'nothing wrong: who is refused was not served');

# ---- files -----------------------------------------------------------------------------------

my $dir = File::Temp->newdir;
my %wal = map { $_ => "$dir/$_" } qw(n1 n2 n3);

sub put
{
	my ($node, $name, $text) = @_;
	open(my $out, '>:raw', "$wal{$node}/$name") or die "$name: $!\n";
	print $out $text;
	close $out or die "$name: $!\n";
	return;
}

my %switches;
sub of_wal
{
	my (%ends) = @_;
	my @found;
	my $compared = TortureFiles::check_wal(\%wal, \%ends, \%switches, sub { push @found, "@_" });
	return wantarray ? (join('; ', @found), $compared) : join '; ', @found;
}

mkdir $_ or die "$_: $!\n" for values %wal;
my $segment = '00000002000000010000000A';
my $start = TortureFiles::position('1/A000000');
my $bytes = join '', map { chr($_ % 251) } 1 .. 3000;
put('n1', $segment, $bytes . 'older things');
put('n2', $segment, substr($bytes, 0, 2000) . 'recycled' x 300);
put('n3', '00000003000000010000000A', 'of another timeline' x 200);
my %ends = (n1 => { 2 => $start + 3000 }, n2 => { 2 => $start + 2000 }, n3 => { 3 => $start + 3000 });
is_deeply([ of_wal(%ends) ], [ '', 2000 ], 'nothing wrong: the same WAL as far as both have it');
is(of_wal(%ends, n2 => { 2 => $start + 2001 }), 'WAL differs 00000002000000010000000A of n2 and n1, timeline 2 at 1/A0007D0, compared to 1/A0007D1', 'WAL differs: in its last byte');
substr($bytes, 1000, 1) = '!';
put('n2', $segment, $bytes);
like(of_wal(%ends), qr{WAL differs .* at 1/A0003E8}, 'WAL differs: in the middle');
put('n3', $segment, $bytes);
is_deeply([ of_wal(n2 => $ends{n2}, n3 => { 2 => $start + 3 * 16 * 1024 * 1024 }) ], [ '', 2000 ], 'nothing wrong: the end is in a later segment');
is_deeply([ of_wal(n1 => $ends{n1}) ], [ '', 0 ], 'nothing wrong: nobody else has it');
%switches = (2 => [ TortureFiles::switches('rmgr: XLOG        len (rec/tot):     24/    24, tx:          0, lsn: 1/A0003D0, prev 1/A000350, desc: SWITCH ') ]);
is_deeply([ of_wal(%ends) ], [ '', 1000 ], 'nothing wrong: the difference is behind a switch to the next segment');
%switches = (2 => [ $start + 1001, $start - 1 ]);
like(of_wal(%ends), qr{WAL differs .* at 1/A0003E8}, 'WAL differs: in the record that switches');
%switches = ();

is_deeply(TortureFiles::pieces($wal{n3}), { 2 => $start, 3 => $start }, 'WAL: one piece for each timeline');
put('n3', '000000020000000100000005', '');
put('n3', '00000002000000010000000B', '');
is_deeply(TortureFiles::pieces($wal{n3}), { 2 => $start, 3 => $start }, 'WAL: what is left of an older piece does not count');
my $error = 'pg_waldump: error: error in WAL record at 1/A000100: ';
is(TortureFiles::lsn(TortureFiles::end_of_wal($_->[0])), $_->[1], "WAL ends: $_->[2]")
  for [ $error . 'invalid record length at 1/A000128: wanted 24, got 0', '1/A000128', 'no more records' ],
  [ $error . 'record with incorrect prev-link 0/12 at 1/A000130', '1/A000130', 'an older record' ],
  [ $error . 'unexpected pageaddr 1/2000000 in log segment 00000002000000010000000A, offset 8192', '1/A000100', 'an older page' ],
  [ 'pg_waldump: error: could not find file "00000002000000010000000B": No such file or directory', '1/B000000', 'no more files' ],
  [ 'pg_waldump: error: could not find a valid record after 1/A000000', '1/A000000', 'nothing' ];
ok(!eval { TortureFiles::end_of_wal('all is well'); 1 }, 'WAL: an answer that nobody understands is no end');

sub of_histories
{
	my @found;
	my $compared = TortureFiles::check_histories(\%wal, sub { push @found, "@_" });
	return join '; ', "$compared compared", @found;
}

put($_, '00000003.history', "1\t0/507C038\tno recovery target specified\n") for qw(n1 n2);
put('n3', '00000003.history', "# pg_quorum: no leader in term 3\n");
is(of_histories(), '1 compared', 'nothing wrong: the same histories, and a placeholder');
put('n3', '00000003.history', "1\t0/507C040\tno recovery target specified\n");
is(of_histories(), '2 compared; history files differ 00000003.history of n3 is not that of n1', 'history files differ: in a position');

# ---- a power cut -----------------------------------------------------------------------------

# What shim.c writes down, by hand: kind, offset and size of the file, bytes.
my $host = { dir => "$dir/host", undo => "$dir/host.undo" };
sub undone_of
{
	my ($path, @undo) = @_;
	my @status = stat $path;
	open(my $out, '>>:raw', "$host->{undo}/$status[0]-$status[1]") or die "$path: $!\n";
	print $out map { pack('q4', @$_[ 0 .. 2 ], length $_->[3]) . $_->[3] } @undo;
	close $out or die "$path: $!\n";
	return;
}

sub text_of { my ($path) = @_; open(my $in, '<:raw', $path) or return 'not there'; local $/; return <$in> // '' }

mkdir $_ or die "$_: $!\n" for $host->{dir}, $host->{undo}, my $pg_wal = "$host->{dir}/pg_wal", my $state = "$host->{dir}/pg_quorum";
$wal{host} = $pg_wal;
put('host', 'synced', 'abcdefgh');
put('host', 'written', 'aXXYYfgh and more');
undone_of("$pg_wal/written", [ 1, 1, 8, 'bc' ], [ 1, 2, 8, 'Xd' ], [ 1, 4, 8, 'e' ], [ 1, 8, 8, '' ]);
is_deeply([ TorturePower::undo($host) ], [ 14, 0 ], 'power cut: what was written since the last fsync is lost');
is(text_of("$pg_wal/$_->[0]"), $_->[1], "power cut: $_->[0] is as it was") for [ written => 'abcdefgh' ], [ synced => 'abcdefgh' ];
is_deeply([ TorturePower::undo($host) ], [ 0, 0 ], 'power cut: nothing is lost twice');

$wal{host} = $state;
put('host', 'state', 'new');
$wal{host} = $host->{undo};
put('host', 'kept-1.000000001', 'old');
undone_of($state, [ 2, 0, 0, "$state/state.tmp\0$state/state\0$host->{undo}/kept-1.000000001" ]);
is_deeply([ TorturePower::undo($host) ], [ 0, 1 ], 'power cut: a rename that was not fsynced is lost');
is(text_of("$state/$_->[0]"), $_->[1], "power cut: $_->[0] is as before the rename") for [ state => 'old' ], [ 'state.tmp' => 'new' ];
$wal{host} = $state;
put('host', 'half', 'abc');
undone_of("$state/half", [ 1, 0, 3, 'xyz' ]);
open(my $half, '>>:raw', (glob("$host->{undo}/*-*"))[0]) or die "half: $!\n";
print $half pack('q4', 1, 0, 3, 99) . 'not all of it';
close $half;
is_deeply([ TorturePower::undo($host), text_of("$state/half") ], [ 3, 0, 'xyz' ], 'power cut: half an entry was followed by no write');

# ---- who is alive ----------------------------------------------------------------------------

# Numbers of processes come again: one that a killed server had may be somebody else's.
my $server = { dir => "$dir/server" };
my $nemesis = bless { cluster => bless {}, 'QuorumNodes' }, 'TortureNemesis';
mkdir $server->{dir} or die "$server->{dir}: $!\n";
$wal{host} = $server->{dir};
put('host', 'postmaster.pid', "$$\n");
is($nemesis->alive($server), undef, 'a lock that names a process of somebody else: the server is dead');
chdir $server->{dir} or die "chdir: $!\n";
is($nemesis->alive($server), $$, 'one that names its own: it is alive');
chdir '/';

done_testing();
