-- A running primary becomes the leader of a cluster of one, without a restart.
SELECT current_setting('shared_preload_libraries') LIKE '%pg_quorum%'
	AND current_setting('fsync')::bool AS preloaded \gset
\if :preloaded
\else
\quit
\endif
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_quorum;
RESET client_min_messages;
SELECT quorum.bootstrap();

\x on
SELECT node_name, node_id, membership, role, phase, term = timeline AS term_is_timeline, leader,
	leader_id, lease_left > '0' AND lease_left <= current_setting('quorum.lease_duration')::interval
		AS lease_is_within_bounds,
	gate, sync_need, sync_members, electable, reason, voters, quorum, set_committed,
	needs_rewind, worker_pid IS NOT NULL AS worker_runs
FROM quorum.status;
SELECT node_id, name, kind, host, pg_port = current_setting('port')::int AS port_is_mine, role,
	is_self, reachable, last_heard, priority, lag_bytes, lag_interval, in_sync_rule, electable,
	reason
FROM quorum.members;
\x off
SELECT * FROM quorum.replication;
SELECT quorum.is_leader(), quorum.leader(), quorum.lag(), quorum.lag_interval();
SELECT quorum.lag('n1'), quorum.lag_interval('n1');
SELECT quorum.lag('n2');

-- It serves.
CREATE TABLE served (i int);
INSERT INTO served VALUES (1);
SELECT * FROM served;
DROP TABLE served;
SELECT event, term IS NOT NULL AS has_term FROM quorum.history WHERE event = 'gate_open';

-- Once is enough; names and addresses are unique.
SELECT quorum.bootstrap();
SELECT quorum.add_member('n1', 'localhost:6543');
SELECT quorum.add_member('n2', '127.0.0.21:21499');
