#!/usr/bin/perl
# mutants.pl
#	  Takes protections out of copies of the core, one at a time: each must give a counterexample.
#
# perl test/model/mutants.pl [--seconds N] [NAME...]	prints a table; exit 1 when one survives.
use strict;
use warnings;
use IO::Handle;
use File::Path qw(make_path);
use FindBin ();

chdir "$FindBin::RealBin/../.." or die;
my $seconds = 600;
if (@ARGV && $ARGV[0] eq '--seconds') { shift; $seconds = shift }
my %wanted = map { $_ => 1 } @ARGV;

my $plain = 'net=0 step=500 terms=1 commits=1 crashes=0';
my $crash = 'net=0 step=1000 terms=2 commits=1 crashes=1';
my $witness = 'witness=2 net=0 step=500 terms=1 commits=1 crashes=0';

# name, what, scope, file of src/core, from => to ...
my @mutants = (
	['persist-after-send', 'a vote leaves before it is durable (S1)', 'net=1 step=1000 terms=1 commits=0 crashes=1', 'quorum_drive.c',
		qr/(\tif \(update->persist\)\n.*?\n\t\}\n)(\tfor .*?messages.*?\n\t\}\n)/s, sub { $_[1] . $_[0] }],
	['two-votes', 'one vote per term (S1)', 'net=2 step=1000 terms=1 commits=0', 'quorum_election.c',
		qr/\n\t\t\(node->hard\.vote != QUORUM_NO_NODE && node->hard\.vote != message->from\)/, sub { ' false' },
		qr/\tquorum_assert\(node->hard\.vote == QUORUM_NO_NODE \|\| node->hard\.vote == pending\.candidate\);\n/, sub { '' }],
	['vote-shorter', 'no vote for a shorter log (E3)', $plain, 'quorum_election.c',
		qr/quorum_walpos_compare\(position, node->facts\.position\) < 0/, sub { 'false' }],
	['lsn-only', 'timeline before LSN (P1)', 'net=0 step=1000 terms=2 commits=2', 'quorum_walpos.c',
		qr/\tif \(a\.tli != b\.tli\)\n.*?\n/, sub { '' }],
	['promise', 'the promise to a leader (E3, S7)', $plain, 'quorum_lease.c',
		qr/return node->now\.mono < node->promise_until;/, sub { 'return false;' }],
	['lease-from-receipt', 'a lease counts from its sending (L1)', 'net=1 step=500 terms=1 commits=0', 'quorum_leader.c',
		qr/quorum_lease_end\(message->sent_at,/, sub { 'quorum_lease_end(node->now.boot,' }],
	['no-margin', 'a lease is shorter than a promise (L2)', "$plain slow=0", 'quorum_lease.c',
		qr/ - lease_us \/ 1000 \* 2 \* QUORUM_DRIFT_PERMILLE -\n\t\tQUORUM_LEASE_MARGIN_US/, sub { '' }],
	['boot-hold', 'a promise survives a boot (L3)', 'net=0 step=1000 terms=1 commits=0 crashes=2', 'quorum_lease.c',
		qr/\tnode->boot_hold = true;\n/, sub { "\treturn;\n" }],
	['gate', 'a record of its term before the gate opens (S6)', 'net=0 step=1000 terms=2 commits=1', 'quorum_leader.c',
		qr/ && held >= node->gate_lsn/, sub { '' }],
	['one-ack-less', 'k holders of a commit (S5)', $plain, 'quorum_members.c',
		qr/rule->need = commit_need\(set\);/, sub { 'rule->need = commit_need(set) - 1;' }],
	['vote-unread', 'no vote before local WAL is read (R5)', 'net=0 step=1000 terms=1 commits=1 crashes=1', 'quorum_election.c',
		qr/!log_is_at_rest\(node\)/, sub { 'node->facts.phase == QUORUM_PHASE_PRIMARY' }],
	['vote-recovering', 'no vote after a rewind (S8)', 'start=1 net=0 step=1000 terms=2 commits=0 rewinds=1', 'quorum_election.c',
		qr/ \|\| node->hard\.recovering\)/, sub { ')' }],
	['vote-known-facts', 'the position of a vote is read behind the fence (S2)', 'net=0 step=1000 terms=1 commits=1 lazy=1', 'quorum_election.c',
		qr/(pending_vote\.set_id = message->set_id;\n)\tupdate->facts_wanted = true;/, sub { "$_[0]\tnode->facts.fence_term = node->hard.term;\n\tquorum_election_facts(node, update);" }],
	['leave-out-unstored', 'who is left out counts until that is stored (Y4, M4)', $witness, 'quorum_membership.c',
		qr/(quorum_members_majority\(&node->change\.old\)\))\n\t\treturn;/, sub { "$_[0]\n\t\t(void) update;" }],
	['take-in-unheld', 'everything is held before a member is taken in (Y5, M3)', $witness, 'quorum_membership.c',
		qr/(quorum_rule_held\(node, &rule, node->caught_up_lsn\)\)\n.*?\n)\tquorum_change_start\(node\);/s, sub { "$_[0]\tquorum_set_publish(node, NULL, &node->change.next);" }],
	['take-in-behind', 'who is taken in has caught up (M5, Y5)', $witness, 'quorum_membership.c',
		qr/(quorum_rule_held\(node, &rule, node->caught_up_lsn\)\)\n.*?\n)\tquorum_change_start\(node\);/s, sub { "$_[0]\tquorum_set_publish(node, NULL, &node->change.next);" },
		qr/node->caught_up_lsn == 0 \|\| !quorum_rule_held\(node, &rule, node->caught_up_lsn\)/, sub { '(void) rule, false' },
		'quorum_syncset.c', qr/node->caught_up_lsn != 0 &&\n\t\tpeer->stream_flush >= node->caught_up_lsn/, sub { 'true' }],
	['read-need', 'an election meets every commit (Y3)', 'start=2 nodes=5 witness=4 net=0 step=500 terms=1 commits=0', 'quorum_election.c',
		qr/ && granted_in >= read_need/, sub { '' }, qr/ \|\| granted_in \+ open_in < read_need/, sub { '' }],
	['left-out-stands', 'who is left out does not stand (Y1, Y3)', $witness, 'quorum_standing.c',
		qr/!quorum_members_is_in\(&node->hard\.members, node->hard\.node_id\)\)\n\t\twhy/, sub { "false)\n\t\twhy" },
		'quorum_election.c', qr/!quorum_members_is_in\(&node->hard\.members, candidate\) \|\|\n\t\tquorum_set_id_compare\(set_id, node->hard\.members\.id\) < 0/, sub { 'false' },
		'quorum_invariants.c', qr/\t\tquorum_assert\(quorum_members_is_in\(&hard->members, hard->node_id\)\);\n/, sub { '' }],
	['break:ack-fence', 'no ack behind a fence (S2)', 'net=0 step=1000 terms=1 commits=1', undef],
	['break:state-lost', 'a node keeps its own state (V3)', 'net=0 step=1000 terms=1 commits=1 crashes=1', undef],
	['break:ledger', 'one stream counts for one member (V2)', 'nodes=5 net=0 step=1000 terms=1 commits=1', undef],
	['break:rule', 'a rule for commits counts on a leader only (S5)', $witness, undef],
	['break:gate-check', 'backends look at the lease (S7)', $plain, undef],
);

sub mutate
{
	my ($dir, @edits) = @_;
	my $file;
	while (@edits)
	{
		$file = shift @edits if !ref $edits[0];
		my ($from, $to) = splice @edits, 0, 2;
		my $path = "$dir/core/$file";
		open(my $in, '<', $path) or die "$path: $!\n";
		my $text = do { local $/; <$in> };
		close $in;
		my $count = $text =~ s/$from/$to->($1, $2)/e;
		die "$path: the text of the mutant is not there any more: $from\n" if !$count;
		open(my $out, '>', $path) or die;
		print $out $text;
		close $out;
	}
}

sub build
{
	my ($name, @edits) = @_;
	my $dir = "build/model/mutant-$name";
	return 'build/model/quorum_model' if !defined $edits[0];
	make_path("$dir/core");
	system("cp src/core/*.[ch] $dir/core/") == 0 or die;
	mutate($dir, @edits);
	my $cc = $ENV{CC} || 'gcc';
	system("$cc -std=gnu11 -D_GNU_SOURCE -O2 -g -w -I$dir/core -Itest/model -o $dir/quorum_model test/model/*.c $dir/core/*.c") == 0 or die "$name does not compile\n";
	return "$dir/quorum_model";
}

my $survivors = 0;
printf "| %-20s | %-55s | %-52s | %10s | %5s | %7s | %s |\n", 'taken out', 'protection', 'scope', 'states', 'depth', 'seconds', 'found as';
for my $mutant (@mutants)
{
	my ($name, $what, $scope, @edits) = @$mutant;
	my ($break) = $name =~ /^break:(.*)/;
	next if %wanted && !$wanted{$name};
	my $program = build($name, @edits);
	my @options = map { ('--set', $_) } split(/ /, $scope), "seconds=$seconds";
	push @options, '--break', $break if $break;
	my $out = `nice -n 15 $program @options 2>&1`;
	my ($states, $depth, $time) = $out =~ /: (\d+) states, .* (\d+) deep, ([\d.]+) s/;
	my ($as) = $out =~ /^BROKEN (.*)/m;
	open(my $log, '>', 'build/model/' . ($name =~ s/:/-/r) . '.txt') or die;
	print $log $out;
	close $log;
	$survivors++ if !defined $as;
	printf "| %-20s | %-55s | %-52s | %10s | %5s | %7s | %s |\n", $name, $what, $scope, $states // '-', $depth // '-', $time // '-', $as // 'SURVIVES';
	STDOUT->flush;
}
print $survivors ? "$survivors survive\n" : "every mutant dies\n";
exit($survivors > 0);
