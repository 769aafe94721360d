-- Readable by pg_monitor, changing only by a superuser or a role that was granted it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_quorum;
RESET client_min_messages;

-- What PUBLIC may: nothing.
SELECT p.oid::regprocedure
FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE p.pronamespace = 'quorum'::regnamespace AND a.grantee = 0;
SELECT c.oid::regclass
FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
WHERE c.relnamespace = 'quorum'::regnamespace AND a.grantee = 0;
-- What pg_monitor may not: changes.
SELECT proname FROM pg_proc
WHERE pronamespace = 'quorum'::regnamespace AND NOT has_function_privilege('pg_monitor', oid, 'execute')
ORDER BY 1;
SELECT relname FROM pg_class
WHERE relnamespace = 'quorum'::regnamespace AND NOT has_table_privilege('pg_monitor', oid, 'select');

CREATE ROLE regress_quorum_nobody;
CREATE ROLE regress_quorum_monitor IN ROLE pg_monitor;
SET ROLE regress_quorum_nobody;
SELECT count(*) FROM quorum.status;
SELECT quorum.leader();
RESET ROLE;

SET ROLE regress_quorum_monitor;
SELECT count(*) FROM quorum.status;
SELECT count(*) >= 0 AS ok FROM quorum.members;
SELECT count(*) >= 0 AS ok FROM quorum.replication;
SELECT count(*) >= 0 AS ok FROM quorum.history;
SELECT count(*) FROM quorum.transport;
SELECT quorum.leader() IS NULL OR true AS ok;
SELECT quorum.is_leader() IN (true, false) AS ok;
SELECT quorum.lag() IS NULL OR true AS ok;
SELECT quorum.lag_interval() IS NULL OR true AS ok;
SELECT quorum.bootstrap();
SELECT quorum.add_member('n2', 'localhost:1');
RESET ROLE;

-- Granted, it gets as far as the checks of the arguments.
GRANT USAGE ON SCHEMA quorum TO regress_quorum_nobody;
GRANT EXECUTE ON FUNCTION quorum.add_member(text, text, text, interval) TO regress_quorum_nobody;
SET ROLE regress_quorum_nobody;
SELECT quorum.add_member('N2', 'localhost:1');
RESET ROLE;
DROP OWNED BY regress_quorum_nobody;
DROP ROLE regress_quorum_nobody, regress_quorum_monitor;
