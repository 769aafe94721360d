-- On a server that is no member of a cluster everything answers, and claims nothing.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_quorum;
RESET client_min_messages;
\x on
SELECT membership, node_id, role, phase, term, leader, leader_id, timeline > 0 AS has_timeline,
	lease_left, gate, sync_need, sync_members, electable, voters, quorum, member_set,
	set_committed, needs_rewind, paused_until
FROM quorum.status;
\x off
SELECT * FROM quorum.members;
SELECT * FROM quorum.replication;
SELECT * FROM quorum.history;
SELECT rejected_auth, rejected_garbage, rejected_identity, dropped_slow FROM quorum.transport;
SELECT quorum.is_leader(), quorum.leader(), quorum.lag(), quorum.lag_interval();
SELECT quorum.add_member('n2', 'localhost:6543');
SELECT quorum.add_member('n2', 'localhost:6543', 'witness');
SELECT quorum.set_member_kind('n2', 'learner');
SELECT quorum.set_member_address('n2', 'localhost:6543');
SELECT quorum.pause();
SELECT quorum.resume();
SELECT quorum.force('n1');

-- It is an ordinary server: writes need nobody.
CREATE TABLE ordinary (i int);
INSERT INTO ordinary VALUES (1);
SELECT * FROM ordinary;
DROP TABLE ordinary;
