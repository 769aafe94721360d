# TortureJudge.pm
#	  Asks the servers, when all is quiet, what there is, and has it held against what clients
#	  were told.
package TortureJudge;

use strict;
use warnings;
use QuorumNodes;
use TortureCheck;

my @tables = qw(lists accounts drawn);

# What clients write to.
sub make_tables
{
	my ($cluster, $leader) = @_;
	$cluster->query($leader, $_) for 'CREATE TABLE lists (key bigint PRIMARY KEY, vals text NOT NULL)',
	  'CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL)',
	  'INSERT INTO accounts SELECT i, 0 FROM generate_series(0, 7) AS i',
	  'CREATE TABLE drawn (n bigint PRIMARY KEY)', 'CREATE SEQUENCE numbers', 'CREATE EXTENSION amcheck';
	return;
}

# clients: [{ number, file, standby }]; shifted: { name of a node whose clock was moved => 1 }
sub judge
{
	my ($cluster, $leader, %with) = @_;
	my $check = TortureCheck->new;
	my %lists;

	for (split /\n/, $cluster->query($leader, 'SELECT key, vals FROM lists'))
	{
		my ($key, $values) = split /\|/;
		$lists{$key} = [ split /,/, $values ];
	}
	$check->final(\%lists, $cluster->query($leader, 'SELECT sum(balance) FROM accounts'),
		{ map { $_ => 1 } split /\n/, $cluster->query($leader, 'SELECT n FROM drawn') });
	for my $client (@{ $with{clients} })
	{
		$check->parse($_, $client->{standby}) for QuorumNodes::read_lines($client->{file});
	}
	$check->check;
	compare_nodes($cluster, $check, $leader);
	check_terms($cluster, $check);
	return $check;
}

# The same rows everywhere, indexes that agree with them.
sub compare_nodes
{
	my ($cluster, $check, $leader) = @_;
	my $end = $cluster->query($leader, 'SELECT pg_current_wal_flush_lsn()');
	my $digest = join ' UNION ALL ', map { "SELECT '$_', count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM $_ AS t" } @tables;
	my $expected = $cluster->query($leader, $digest);

	for my $node ($cluster->nodes)
	{
		$cluster->wait_for(60, "$node->{name} has replayed everything", sub {
			$node == $leader || $cluster->query($node, "SELECT pg_last_wal_replay_lsn() >= '$end'::pg_lsn") eq 't';
		});
		$check->find('nodes differ', $node->{name}) if $cluster->query($node, $digest) ne $expected;
		my ($status, $text) = $cluster->psql($node, "SELECT bt_index_check(indexrelid, true) FROM pg_index WHERE indrelid IN ('lists'::regclass, 'accounts'::regclass, 'drawn'::regclass)");
		$check->find('amcheck', "$node->{name}: $text") if $status != 0;
	}
}

# S1, by the servers' own logs: one gate per term.
sub check_terms
{
	my ($cluster, $check) = @_;
	my %opened;
	for my $node ($cluster->nodes)
	{
		for (QuorumNodes::read_lines($node->{log}))
		{
			$opened{$1}{ $node->{name} } = 1 if /quorum: gate open in term (\d+)/;
			$check->find('broken invariant', "$node->{name}: $_") if /broken invariant|TRAP:|terminated by signal 11/;
		}
	}
	for my $term (keys %opened)
	{
		$check->find('two leaders', "term $term: " . join ', ', keys %{ $opened{$term} }) if keys %{ $opened{$term} } > 1;
	}
	$check->{terms} = keys %opened;
}

1;
