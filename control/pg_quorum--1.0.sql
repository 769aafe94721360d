/* pg_quorum 1.0: views and functions in schema quorum, see docs/sql.md */

\echo Use "CREATE EXTENSION pg_quorum" to load this file. \quit

CREATE SCHEMA quorum;
COMMENT ON SCHEMA quorum IS 'pg_quorum: who leads, who follows, how far behind';

-- ---- functions behind the views ----------------------------------------------------------

CREATE FUNCTION quorum.get_status(
	OUT node_name text, OUT node_id int4, OUT membership text, OUT role text, OUT phase text,
	OUT term int8, OUT leader text, OUT leader_id int4, OUT timeline int8,
	OUT lease_left interval, OUT gate text, OUT sync_need int4, OUT sync_members text[],
	OUT electable bool, OUT reason text, OUT voters int4, OUT quorum int4, OUT member_set text,
	OUT set_committed bool, OUT needs_rewind bool, OUT worker_pid int4)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'pgq_get_status';
COMMENT ON FUNCTION quorum.get_status() IS 'this node; see view quorum.status';

CREATE FUNCTION quorum.get_members(
	OUT node_id int4, OUT name text, OUT kind text, OUT host text, OUT quorum_port int4,
	OUT pg_port int4, OUT role text, OUT is_self bool, OUT reachable bool,
	OUT last_heard interval, OUT priority int4, OUT timeline int8, OUT flush_lsn pg_lsn,
	OUT replay_lsn pg_lsn, OUT lag_bytes int8, OUT lag_interval interval, OUT in_sync_rule bool,
	OUT electable bool, OUT reason text)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 3
AS 'MODULE_PATHNAME', 'pgq_get_members';
COMMENT ON FUNCTION quorum.get_members() IS
	'every member as this node sees it; see view quorum.members';

CREATE FUNCTION quorum.get_stream(
	application_name text, slot_name text, state text,
	OUT node text, OUT acked_term int8, OUT counted bool, OUT why_not text)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'pgq_get_stream';
COMMENT ON FUNCTION quorum.get_stream(text, text, text) IS
	'which member an outgoing stream belongs to, and whether it counts; see quorum.replication';

CREATE FUNCTION quorum.get_upstream(
	OUT node text, OUT acked_term int8, OUT counted bool, OUT why_not text,
	OUT replay_lag interval)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'pgq_get_upstream';
COMMENT ON FUNCTION quorum.get_upstream() IS
	'the stream that comes in to a standby; see view quorum.replication';

CREATE FUNCTION quorum.get_history(
	OUT at timestamptz, OUT event text, OUT term int8, OUT node text, OUT detail text,
	OUT phase_ms float8)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pgq_get_history';
COMMENT ON FUNCTION quorum.get_history() IS
	'what happened on this node; see view quorum.history';

CREATE FUNCTION quorum.get_transport(
	OUT frames_in int8, OUT frames_out int8, OUT rejected_auth int8, OUT rejected_garbage int8,
	OUT rejected_identity int8, OUT dropped_slow int8, OUT timeouts int8)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'pgq_get_transport';
COMMENT ON FUNCTION quorum.get_transport() IS
	'counters of the quorum port; see view quorum.transport';

-- ---- views -------------------------------------------------------------------------------

CREATE VIEW quorum.status AS SELECT * FROM quorum.get_status();
COMMENT ON VIEW quorum.status IS 'this node, one row';
COMMENT ON COLUMN quorum.status.node_name IS 'name of this node';
COMMENT ON COLUMN quorum.status.node_id IS 'its number, never used again for another node';
COMMENT ON COLUMN quorum.status.membership IS
	'member, none, foreign copy, state unreadable, misconfigured, not preloaded';
COMMENT ON COLUMN quorum.status.role IS 'follower, pre_candidate, candidate, leader';
COMMENT ON COLUMN quorum.status.phase IS
	'what PostgreSQL does here: starting, standby, primary';
COMMENT ON COLUMN quorum.status.term IS 'number of the leadership period';
COMMENT ON COLUMN quorum.status.leader IS 'name of the leader this node accepts; null: none known';
COMMENT ON COLUMN quorum.status.leader_id IS 'node id of that leader';
COMMENT ON COLUMN quorum.status.timeline IS 'timeline of this server''s WAL';
COMMENT ON COLUMN quorum.status.lease_left IS
	'leader: how long it may serve unless a majority hears it again';
COMMENT ON COLUMN quorum.status.gate IS
	'open: this node serves as leader; closed: it does not';
COMMENT ON COLUMN quorum.status.sync_need IS
	'leader: how many of sync_members must hold a commit before it is acknowledged';
COMMENT ON COLUMN quorum.status.sync_members IS 'leader: members whose acknowledgements count';
COMMENT ON COLUMN quorum.status.electable IS 'could this node become leader now';
COMMENT ON COLUMN quorum.status.reason IS
	'what is wrong, or why this node is not electable; null: nothing';
COMMENT ON COLUMN quorum.status.voters IS 'number of members that vote';
COMMENT ON COLUMN quorum.status.quorum IS 'how many votes elect a leader';
COMMENT ON COLUMN quorum.status.member_set IS 'term.version of the member set known here';
COMMENT ON COLUMN quorum.status.set_committed IS
	'leader: the member set is stored by a majority';
COMMENT ON COLUMN quorum.status.needs_rewind IS
	'this node has WAL that the leader does not have, so it cannot follow';
COMMENT ON COLUMN quorum.status.worker_pid IS 'process id of the worker; null: not running';

CREATE VIEW quorum.members AS SELECT * FROM quorum.get_members();
COMMENT ON VIEW quorum.members IS 'every member of the cluster as this node sees it';
COMMENT ON COLUMN quorum.members.node_id IS 'number of the member, never used again';
COMMENT ON COLUMN quorum.members.name IS 'name of the member';
COMMENT ON COLUMN quorum.members.kind IS
	'voter: votes, has data; witness: votes, has no data; learner: has data, does not vote';
COMMENT ON COLUMN quorum.members.host IS 'host of both its ports';
COMMENT ON COLUMN quorum.members.quorum_port IS 'port of its worker';
COMMENT ON COLUMN quorum.members.pg_port IS 'port of its PostgreSQL; null: not yet known';
COMMENT ON COLUMN quorum.members.role IS
	'leader or follower; for this node also pre_candidate, candidate; null: not known';
COMMENT ON COLUMN quorum.members.is_self IS 'this row is the node you are connected to';
COMMENT ON COLUMN quorum.members.reachable IS
	'heard within one lease, directly or through the leader';
COMMENT ON COLUMN quorum.members.last_heard IS 'time since it was last heard; null: never, or self';
COMMENT ON COLUMN quorum.members.priority IS 'its quorum.priority; null: not yet known';
COMMENT ON COLUMN quorum.members.timeline IS 'timeline of the end of its log';
COMMENT ON COLUMN quorum.members.flush_lsn IS 'end of its log on disk, as last heard';
COMMENT ON COLUMN quorum.members.replay_lsn IS 'end of what it has replayed, as last heard; null: a primary';
COMMENT ON COLUMN quorum.members.lag_bytes IS
	'WAL of the leader that it has not replayed, bytes; null: not known';
COMMENT ON COLUMN quorum.members.lag_interval IS
	'the same as time; null: not known here';
COMMENT ON COLUMN quorum.members.in_sync_rule IS
	'its acknowledgements count for commits; null unless this node leads';
COMMENT ON COLUMN quorum.members.electable IS 'could it become leader, as far as known here';
COMMENT ON COLUMN quorum.members.reason IS 'why it is not electable; null: it is';

-- Unknown stays null: greatest(0, null) would make it 0.
CREATE VIEW quorum.replication AS
SELECT 'to'::text AS direction,
	coalesce(s.node, r.application_name) AS node,
	coalesce(pg_catalog.host(r.client_addr), 'local') AS address,
	r.pid,
	r.state,
	r.sync_state,
	CASE WHEN e.lsn OPERATOR(pg_catalog.<) r.write_lsn THEN 0
		ELSE (e.lsn OPERATOR(pg_catalog.-) r.write_lsn)::int8 END AS write_lag_bytes,
	CASE WHEN e.lsn OPERATOR(pg_catalog.<) r.flush_lsn THEN 0
		ELSE (e.lsn OPERATOR(pg_catalog.-) r.flush_lsn)::int8 END AS flush_lag_bytes,
	CASE WHEN e.lsn OPERATOR(pg_catalog.<) r.replay_lsn THEN 0
		ELSE (e.lsn OPERATOR(pg_catalog.-) r.replay_lsn)::int8 END AS replay_lag_bytes,
	r.write_lag,
	r.flush_lag,
	r.replay_lag,
	s.acked_term,
	s.counted,
	s.why_not,
	l.slot_name::text AS slot_name
FROM pg_catalog.pg_stat_replication r
	LEFT JOIN pg_catalog.pg_replication_slots l ON l.active_pid OPERATOR(pg_catalog.=) r.pid
	CROSS JOIN LATERAL
		(SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
			THEN greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
			ELSE pg_catalog.pg_current_wal_flush_lsn() END) e(lsn)
	CROSS JOIN LATERAL quorum.get_stream(r.application_name, l.slot_name::text, r.state) s
UNION ALL
SELECT 'from',
	coalesce(u.node, w.sender_host OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) w.sender_port),
	w.sender_host,
	w.pid,
	w.status,
	NULL,
	CASE WHEN w.latest_end_lsn OPERATOR(pg_catalog.<) w.written_lsn THEN 0
		ELSE (w.latest_end_lsn OPERATOR(pg_catalog.-) w.written_lsn)::int8 END,
	CASE WHEN w.latest_end_lsn OPERATOR(pg_catalog.<) w.flushed_lsn THEN 0
		ELSE (w.latest_end_lsn OPERATOR(pg_catalog.-) w.flushed_lsn)::int8 END,
	CASE WHEN w.latest_end_lsn OPERATOR(pg_catalog.<) pg_catalog.pg_last_wal_replay_lsn() THEN 0
		ELSE (w.latest_end_lsn OPERATOR(pg_catalog.-) pg_catalog.pg_last_wal_replay_lsn())::int8 END,
	NULL,
	NULL,
	u.replay_lag,
	u.acked_term,
	u.counted,
	u.why_not,
	w.slot_name
FROM quorum.get_upstream() u
	LEFT JOIN pg_catalog.pg_stat_wal_receiver w ON w.pid IS NOT NULL;
COMMENT ON VIEW quorum.replication IS
	'every stream of WAL from and to this server; works on any primary or standby';
COMMENT ON COLUMN quorum.replication.direction IS
	'to: this server sends; from: this server receives';
COMMENT ON COLUMN quorum.replication.node IS
	'name of the member at the other end, else its application_name (to) or host:port (from)';
COMMENT ON COLUMN quorum.replication.address IS 'address of the other end; local: a Unix socket';
COMMENT ON COLUMN quorum.replication.pid IS
	'process id of the walsender (to) or walreceiver (from) here; null: no stream';
COMMENT ON COLUMN quorum.replication.state IS
	'state of the walsender or walreceiver, as PostgreSQL has it';
COMMENT ON COLUMN quorum.replication.sync_state IS
	'to: async, potential, sync, quorum, as PostgreSQL has it';
COMMENT ON COLUMN quorum.replication.write_lag_bytes IS 'WAL not yet written there, bytes';
COMMENT ON COLUMN quorum.replication.flush_lag_bytes IS 'WAL not yet flushed there, bytes';
COMMENT ON COLUMN quorum.replication.replay_lag_bytes IS 'WAL not yet replayed there, bytes';
COMMENT ON COLUMN quorum.replication.write_lag IS
	'to: time from the flush here to the news that it is written there; null: nothing new';
COMMENT ON COLUMN quorum.replication.flush_lag IS
	'to: time from the flush here to the news that it is flushed there; null: nothing new';
COMMENT ON COLUMN quorum.replication.replay_lag IS
	'to: time from the flush here to the news that it is replayed there; from: how long WAL waits '
	'for replay here';
COMMENT ON COLUMN quorum.replication.acked_term IS
	'members: term whose WAL is acknowledged on this stream; null: none';
COMMENT ON COLUMN quorum.replication.counted IS
	'acknowledgements on this stream count in the quorum for commits';
COMMENT ON COLUMN quorum.replication.why_not IS 'why they do not count; null: they do';
COMMENT ON COLUMN quorum.replication.slot_name IS 'replication slot of the stream; null: none';

CREATE VIEW quorum.history AS SELECT * FROM quorum.get_history();
COMMENT ON VIEW quorum.history IS
	'what happened on this node, oldest first: elections, promotions, changes; survives restarts';
COMMENT ON COLUMN quorum.history.at IS 'when, by the clock of this node';
COMMENT ON COLUMN quorum.history.event IS 'what, one of the words in docs/sql.md';
COMMENT ON COLUMN quorum.history.term IS 'the term it is about';
COMMENT ON COLUMN quorum.history.node IS 'the other node it is about';
COMMENT ON COLUMN quorum.history.detail IS 'why, or what exactly';
COMMENT ON COLUMN quorum.history.phase_ms IS
	'milliseconds since the previous event of the same election; null: no election';

CREATE VIEW quorum.transport AS SELECT * FROM quorum.get_transport();
COMMENT ON VIEW quorum.transport IS
	'counters of the quorum port since the server started, one row; null: not preloaded';
COMMENT ON COLUMN quorum.transport.frames_in IS 'frames accepted from other nodes';
COMMENT ON COLUMN quorum.transport.frames_out IS 'frames sent to other nodes';
COMMENT ON COLUMN quorum.transport.rejected_auth IS
	'frames refused: wrong secret, damaged or replayed';
COMMENT ON COLUMN quorum.transport.rejected_garbage IS
	'frames refused: no frames of pg_quorum, or of another version';
COMMENT ON COLUMN quorum.transport.rejected_identity IS
	'connections refused: other cluster, other system, other incarnation of a node';
COMMENT ON COLUMN quorum.transport.dropped_slow IS
	'frames not sent because the other node does not read';
COMMENT ON COLUMN quorum.transport.timeouts IS 'connections given up because they took too long';

-- ---- questions ---------------------------------------------------------------------------

CREATE FUNCTION quorum.is_leader() RETURNS bool
LANGUAGE C VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pgq_is_leader';
COMMENT ON FUNCTION quorum.is_leader() IS
	'does this node lead and serve; false on a server that is no member';

CREATE FUNCTION quorum.leader() RETURNS text
LANGUAGE C VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pgq_leader';
COMMENT ON FUNCTION quorum.leader() IS
	'name of the leader this node accepts; null: none known, or no member';

CREATE FUNCTION quorum.lag(member text DEFAULT NULL) RETURNS int8
LANGUAGE C VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pgq_lag';
COMMENT ON FUNCTION quorum.lag(text) IS
	'bytes of WAL not replayed: of a member or standby; without a name on a standby its own, on a '
	'primary the largest; null: not known';

CREATE FUNCTION quorum.lag_interval(member text DEFAULT NULL) RETURNS interval
LANGUAGE C VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pgq_lag_interval';
COMMENT ON FUNCTION quorum.lag_interval(text) IS
	'the same as quorum.lag(), as time; null: not known';

-- ---- changes -----------------------------------------------------------------------------

CREATE FUNCTION quorum.bootstrap(timeout interval DEFAULT '60s') RETURNS int4
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pgq_bootstrap';
COMMENT ON FUNCTION quorum.bootstrap(interval) IS
	'make this running primary the leader of a new cluster of one; returns its node id';

CREATE FUNCTION quorum.add_member(
	name text, address text, kind text DEFAULT 'voter', timeout interval DEFAULT '60s')
RETURNS int4
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pgq_add_member';
COMMENT ON FUNCTION quorum.add_member(text, text, text, interval) IS
	'on the leader: let a running standby made by pg_basebackup join; returns its node id';

CREATE FUNCTION quorum.remove_member(name text, timeout interval DEFAULT '60s')
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pgq_remove_member';
COMMENT ON FUNCTION quorum.remove_member(text, interval) IS
	'on the leader: a member, dead or alive, leaves the cluster; not the leader itself';

CREATE FUNCTION quorum.switchover(target text DEFAULT NULL, timeout interval DEFAULT '5s')
RETURNS text
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pgq_switchover';
COMMENT ON FUNCTION quorum.switchover(text, interval) IS
	'on the leader: hand its term over to a voter; returns who; this server restarts as a standby';

-- ---- privileges --------------------------------------------------------------------------

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA quorum FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA quorum FROM PUBLIC;
GRANT USAGE ON SCHEMA quorum TO pg_monitor;
GRANT SELECT ON quorum.status, quorum.members, quorum.replication, quorum.history,
	quorum.transport TO pg_monitor;
GRANT EXECUTE ON FUNCTION quorum.get_status(), quorum.get_members(),
	quorum.get_stream(text, text, text), quorum.get_upstream(), quorum.get_history(),
	quorum.get_transport(), quorum.is_leader(), quorum.leader(), quorum.lag(text),
	quorum.lag_interval(text) TO pg_monitor;
