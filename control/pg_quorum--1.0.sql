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
	OUT set_committed bool, OUT needs_rewind bool, OUT worker_pid int4,
	OUT paused_until timestamptz)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'pgq_get_status';
COMMENT ON FUNCTION quorum.get_status() IS 'this node; see view quorum.status';

CREATE FUNCTION quorum.get_members(
	OUT node_id int4, OUT name text, OUT kind text, OUT host text, OUT quorum_port int4,
	OUT pg_port int4, OUT role text, OUT is_self bool, OUT reachable bool,
	OUT last_heard interval, OUT priority int4, OUT timeline int8, OUT flush_lsn pg_lsn,
	OUT replay_lsn pg_lsn, OUT lag_bytes int8, OUT lag_interval interval, OUT in_sync_rule bool,
	OUT left_out bool, OUT wal_status text, OUT safe_wal_size int8, OUT electable bool,
	OUT reason text)
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

CREATE FUNCTION quorum.get_rollbacks(
	OUT id text, OUT at timestamptz, OUT from_timeline int8, OUT from_lsn pg_lsn,
	OUT to_timeline int8, OUT to_lsn pg_lsn, OUT bytes int8, OUT leader text, OUT term int8,
	OUT commits int8, OUT relations text[])
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10
AS 'MODULE_PATHNAME', 'pgq_get_rollbacks';
COMMENT ON FUNCTION quorum.get_rollbacks() IS
	'what rewinds took out of the log of this node; see view quorum.rollbacks';

CREATE FUNCTION quorum.get_rollback_transactions(
	id text, OUT xid int8, OUT outcome text, OUT at timestamptz, OUT lsn pg_lsn,
	OUT tablespace oid, OUT database oid, OUT filenode oid, OUT inserted int8, OUT updated int8,
	OUT deleted int8)
RETURNS SETOF record
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pgq_get_rollback_transactions';
COMMENT ON FUNCTION quorum.get_rollback_transactions(text) IS
	'transactions that a rewind took out, relations by number; see quorum.rollback_transactions';

-- Its name, where this database has it; else its numbers, as the WAL has them.
CREATE FUNCTION quorum.relation_of(tablespace oid, database oid, filenode oid) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED
AS $$
	SELECT coalesce(
		CASE WHEN database OPERATOR(pg_catalog.=) 0 OR database OPERATOR(pg_catalog.=)
				(SELECT d.oid FROM pg_catalog.pg_database d
				 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
			THEN pg_catalog.pg_filenode_relation(tablespace, filenode)::pg_catalog.regclass::text END,
		pg_catalog.format('%s/%s/%s', tablespace, database, filenode))
$$;
COMMENT ON FUNCTION quorum.relation_of(oid, oid, oid) IS
	'name of a relation the WAL tells by number; the numbers where this database does not know it';

CREATE FUNCTION quorum.get_findings(
	OUT severity text, OUT topic text, OUT what text, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 20
AS 'MODULE_PATHNAME', 'pgq_get_findings';
COMMENT ON FUNCTION quorum.get_findings() IS
	'what is found without a query; see quorum.check()';

CREATE FUNCTION quorum.get_addresses(host text) RETURNS text[]
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pgq_get_addresses';
COMMENT ON FUNCTION quorum.get_addresses(text) IS
	'addresses of a host as this server resolves it; null: it cannot';

CREATE FUNCTION quorum.get_stream_role() RETURNS text
LANGUAGE C VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pgq_get_stream_role';
COMMENT ON FUNCTION quorum.get_stream_role() IS
	'role that members stream as, when quorum.conninfo is the same everywhere';

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
COMMENT ON COLUMN quorum.status.paused_until IS
	'nobody takes over by itself before; null: not paused';

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
COMMENT ON COLUMN quorum.members.left_out IS
	'commits go on without it, it cannot lead until it has caught up';
COMMENT ON COLUMN quorum.members.wal_status IS
	'WAL kept here for it: reserved, unreserved (may go at the next checkpoint), lost (it needs a '
	'clone); null: no slot';
COMMENT ON COLUMN quorum.members.safe_wal_size IS
	'bytes that can be written before that WAL is in danger; null: no limit';
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
	l.slot_name::text AS slot_name,
	l.wal_status,
	l.safe_wal_size
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
	w.slot_name,
	NULL,
	NULL
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
COMMENT ON COLUMN quorum.replication.wal_status IS
	'to: is the WAL that the slot keeps still there, as PostgreSQL has it; null: no slot';
COMMENT ON COLUMN quorum.replication.safe_wal_size IS
	'to: bytes that can be written before the slot is in danger of losing its WAL; null: no limit';

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

CREATE VIEW quorum.rollbacks AS
SELECT r.id, r.at, r.from_timeline, r.from_lsn, r.to_timeline, r.to_lsn, r.bytes, r.leader, r.term,
	r.commits,
	CASE WHEN r.relations IS NOT NULL THEN
		ARRAY(SELECT quorum.relation_of(
				pg_catalog.split_part(n, '/', 1)::oid, pg_catalog.split_part(n, '/', 2)::oid,
				pg_catalog.split_part(n, '/', 3)::oid)
			FROM pg_catalog.unnest(r.relations) n) END AS relations
FROM quorum.get_rollbacks() r
ORDER BY r.id;
COMMENT ON VIEW quorum.rollbacks IS
	'what rewinds and clones took out of the log of this node, oldest first; one row each';
COMMENT ON COLUMN quorum.rollbacks.id IS
	'name of its directory below pg_quorum/pgsql_tmp.rollback in the data directory';
COMMENT ON COLUMN quorum.rollbacks.at IS 'when the rewind was asked for';
COMMENT ON COLUMN quorum.rollbacks.from_timeline IS 'timeline at the fork';
COMMENT ON COLUMN quorum.rollbacks.from_lsn IS 'where this node''s log left the leader''s';
COMMENT ON COLUMN quorum.rollbacks.to_timeline IS 'timeline at the end of what was taken out';
COMMENT ON COLUMN quorum.rollbacks.to_lsn IS 'end of what was taken out';
COMMENT ON COLUMN quorum.rollbacks.bytes IS 'size of what is kept of it, bytes';
COMMENT ON COLUMN quorum.rollbacks.leader IS 'leader that the node was rewound against';
COMMENT ON COLUMN quorum.rollbacks.term IS 'term of that leader';
COMMENT ON COLUMN quorum.rollbacks.commits IS
	'transactions whose commit was taken out, none of them acknowledged; null: not known';
COMMENT ON COLUMN quorum.rollbacks.relations IS
	'relations they touched, at most 100; numbers where this database does not know the name';

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

CREATE FUNCTION quorum.library_version() RETURNS text
LANGUAGE C STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pgq_library_version';
COMMENT ON FUNCTION quorum.library_version() IS
	'release and protocol of the library that runs on this node';

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

CREATE FUNCTION quorum.rollback_transactions(
	id text, OUT xid int8, OUT outcome text, OUT at timestamptz, OUT lsn pg_lsn, OUT relation text,
	OUT inserted int8, OUT updated int8, OUT deleted int8)
RETURNS SETOF record
LANGUAGE sql STRICT VOLATILE PARALLEL RESTRICTED
AS $$
	SELECT t.xid, t.outcome, t.at, t.lsn, quorum.relation_of(t.tablespace, t.database, t.filenode),
		t.inserted, t.updated, t.deleted
	FROM quorum.get_rollback_transactions($1) t
$$;
COMMENT ON FUNCTION quorum.rollback_transactions(text) IS
	'transactions that a rewind took out: a row for each relation they touched, with rows inserted, '
	'updated and deleted as far as the WAL tells; outcome: commit, rollback, prepare, unfinished';

-- The first line of pg_hba.conf that fits decides.  Whether a stream will use TLS is not known
-- here: lines for it count.
CREATE FUNCTION quorum.check(
	OUT severity text, OUT topic text, OUT what text, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 30
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
WITH role AS MATERIALIZED (
	SELECT quorum.get_stream_role() AS name
), others AS MATERIALIZED (
	SELECT m.name, m.host, quorum.get_addresses(m.host) AS addresses
	FROM quorum.get_members() m WHERE NOT m.is_self AND m.kind <> 'witness'
), visits AS MATERIALIZED (
	SELECT o.name, o.host, a.address, d.database, (
		SELECT h.auth_method FROM pg_hba_file_rules h
		WHERE h.error IS NULL AND h.type <> 'local'
			AND (d.database = ANY (h.database) OR d.database <> 'replication' AND 'all' = ANY (h.database))
			AND EXISTS (SELECT FROM unnest(h.user_name) u WHERE u IN ('all', r.name)
				OR u LIKE '+%' AND EXISTS (SELECT FROM pg_roles g JOIN pg_roles s ON s.rolname = r.name
					WHERE g.rolname = substr(u, 2) AND pg_has_role(s.oid, g.oid, 'MEMBER'))
				OR u LIKE '/%' AND r.name ~ substr(u, 2))
			AND CASE
				WHEN h.netmask IS NOT NULL THEN family(a.address::inet) = family(h.address::inet)
					AND (a.address::inet & h.netmask::inet) = (h.address::inet & h.netmask::inet)
				ELSE h.address IN ('all', 'samehost', 'samenet', o.host)
					OR h.address LIKE '.%' AND right(o.host, length(h.address)) = h.address END
		ORDER BY coalesce((to_jsonb(h) ->> 'rule_number')::int, h.line_number) LIMIT 1) AS method
	FROM others o CROSS JOIN role r CROSS JOIN LATERAL unnest(o.addresses) a(address)
		CROSS JOIN (VALUES ('replication'), ('postgres')) d(database)
	WHERE r.name IS NOT NULL
)
SELECT * FROM quorum.get_findings()
UNION ALL
SELECT 'warning', 'versions', format('extension pg_quorum is of version %s, the library of %s',
		installed_version, default_version),
	NULL, 'ALTER EXTENSION pg_quorum UPDATE on the leader.'
FROM pg_available_extensions
WHERE name = 'pg_quorum' AND installed_version <> default_version
UNION ALL
SELECT 'warning', 'settings', 'some settings are in force only after a restart',
	string_agg(name, ', ' ORDER BY name), 'Restart this server.'
FROM pg_settings WHERE pending_restart HAVING count(*) > 0
UNION ALL
SELECT 'warning', 'settings', format('line %s of "%s" cannot be used', sourceline, sourcefile),
	error, 'Mend it, and reload.'
FROM pg_file_settings WHERE error IS NOT NULL AND error <> 'setting could not be applied'
UNION ALL
SELECT 'warning', 'access', format('line %s of pg_hba.conf cannot be used', line_number), error,
	'Mend it, and reload: until then the lines before the last change are in force.'
FROM pg_hba_file_rules WHERE error IS NOT NULL
UNION ALL
SELECT 'warning', 'collations', format('the collation of database "%s" has another version than when it was made', datname),
	format('It was %s, it is %s.', datcollversion, pg_database_collation_actual_version(oid)),
	'REINDEX the database, then ALTER DATABASE … REFRESH COLLATION VERSION; use the same operating system on every node.'
FROM pg_database WHERE datcollversion <> pg_database_collation_actual_version(oid)
UNION ALL
SELECT 'warning', 'slots', format('logical slot "%s" does not survive a change of the leader', slot_name),
	'Its subscriber may also be sent commits that the next leader does not have.',
	'On PostgreSQL 17 or later make it with failover = true, and set sync_replication_slots on every member.'
FROM pg_replication_slots s
WHERE slot_type = 'logical' AND NOT temporary AND NOT pg_is_in_recovery()
	AND NOT coalesce((to_jsonb(s) ->> 'failover')::bool, false)
UNION ALL
SELECT 'warning', 'clocks', format('the clocks of this node and of its leader differ by %s s',
		round(extract(epoch FROM last_msg_receipt_time - last_msg_send_time))),
	NULL, 'Run a time service. No lease depends on it, only logs, histories and pauses do.'
FROM pg_stat_wal_receiver
WHERE abs(extract(epoch FROM last_msg_receipt_time - last_msg_send_time)) > 5
UNION ALL
SELECT 'warning', 'clocks', format('the clock of %s is ahead by at least %s s', application_name,
		round(extract(epoch FROM reply_time - clock_timestamp()))),
	NULL, 'Run a time service. No lease depends on it, only logs, histories and pauses do.'
FROM pg_stat_replication WHERE reply_time > clock_timestamp() + interval '5 s'
UNION ALL
SELECT 'error', 'access', format('role "%s" cannot stream', r.name),
	CASE WHEN s.oid IS NULL THEN 'There is no such role.' ELSE 'It lacks LOGIN, or REPLICATION.' END,
	'CREATE or ALTER ROLE … LOGIN REPLICATION on the leader, or name another role in quorum.conninfo.'
FROM role r LEFT JOIN pg_roles s ON s.rolname = r.name
WHERE r.name IS NOT NULL AND EXISTS (SELECT FROM others)
	AND NOT coalesce(s.rolcanlogin AND (s.rolreplication OR s.rolsuper), false)
UNION ALL
SELECT 'warning', 'access', format('the host of %s is not known to this server', name),
	host, 'Mend the name service: it is asked at every failover.'
FROM others WHERE addresses IS NULL
UNION ALL
SELECT CASE WHEN coalesce(method, 'reject') <> 'reject' THEN 'ok'
		WHEN database = 'replication' THEN 'error' ELSE 'warning' END,
	'access',
	CASE WHEN coalesce(method, 'reject') <> 'reject' THEN format('pg_hba.conf lets %s stream from here', v.name)
		WHEN database = 'replication' THEN format('pg_hba.conf does not let %s stream from here', v.name)
		ELSE format('pg_hba.conf does not let %s into database postgres, so it cannot rewind against this node', v.name) END,
	format('Database %s, role "%s", address %s: %s.', database, r.name, address,
		coalesce(method, 'no line fits')),
	CASE WHEN coalesce(method, 'reject') = 'reject' THEN
		format('Add to pg_hba.conf, and reload: host %s %s %s scram-sha-256', database, r.name,
			address || CASE family(address::inet) WHEN 4 THEN '/32' ELSE '/128' END) END
FROM visits v CROSS JOIN role r
WHERE database = 'replication' OR coalesce(method, 'reject') = 'reject'
$$;
COMMENT ON FUNCTION quorum.check() IS
	'would a failover work now, who would win, what is wrong, as this node sees it; severity is ok, '
	'warning or error';

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

CREATE FUNCTION quorum.set_member_kind(name text, kind text, timeout interval DEFAULT '60s')
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pgq_set_member_kind';
COMMENT ON FUNCTION quorum.set_member_kind(text, text, interval) IS
	'on the leader: a voter becomes a learner, or a learner a voter; not the leader itself';

CREATE FUNCTION quorum.set_member_address(
	name text, address text, timeout interval DEFAULT '60s')
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pgq_set_member_address';
COMMENT ON FUNCTION quorum.set_member_address(text, text, interval) IS
	'on the leader: where the others find a member from now on; its quorum.address says the same';

CREATE FUNCTION quorum.pause(duration interval DEFAULT '1 hour') RETURNS timestamptz
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pgq_pause';
COMMENT ON FUNCTION quorum.pause(interval) IS
	'on the leader: nobody takes over by itself for a while; returns when the pause ends';

CREATE FUNCTION quorum.resume() RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pgq_resume';
COMMENT ON FUNCTION quorum.resume() IS
	'end a pause: on the leader for all; where no leader is known this node may take over';

CREATE FUNCTION quorum.force(confirm text, timeout interval DEFAULT '60s') RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pgq_force';
COMMENT ON FUNCTION quorum.force(text, interval) IS
	'this node leads without a majority, others follow when they return; data may be lost';

-- ---- privileges --------------------------------------------------------------------------

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA quorum FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA quorum FROM PUBLIC;
GRANT USAGE ON SCHEMA quorum TO pg_monitor;
GRANT SELECT ON quorum.status, quorum.members, quorum.replication, quorum.history,
	quorum.transport, quorum.rollbacks TO pg_monitor;
GRANT EXECUTE ON FUNCTION quorum.get_status(), quorum.get_members(),
	quorum.get_stream(text, text, text), quorum.get_upstream(), quorum.get_history(),
	quorum.get_transport(), quorum.is_leader(), quorum.leader(), quorum.library_version(),
	quorum.lag(text),
	quorum.lag_interval(text), quorum.get_rollbacks(), quorum.get_rollback_transactions(text),
	quorum.relation_of(oid, oid, oid), quorum.rollback_transactions(text), quorum.get_findings(),
	quorum.get_stream_role(), quorum.check() TO pg_monitor;
