-- Every setting: who may change it when, in which unit, within which range.
SELECT current_setting('shared_preload_libraries') LIKE '%pg_quorum%' AS preloaded \gset
\if :preloaded
\else
\quit
\endif
SELECT name, vartype, unit, context, min_val, max_val, boot_val
FROM pg_settings WHERE name LIKE 'quorum.%' ORDER BY name COLLATE "C";
SELECT name FROM pg_settings WHERE name LIKE 'quorum.%' AND short_desc IS NULL;

-- The connection options may hold a password.
CREATE ROLE regress_quorum_any;
SET ROLE regress_quorum_any;
SELECT name FROM pg_settings WHERE name IN ('quorum.conninfo', 'quorum.lease_duration');
RESET ROLE;
DROP ROLE regress_quorum_any;

-- Not for sessions, not out of range, not made up.
SET quorum.lease_duration = '1s';
SET quorum.allow_local_commit = on;
ALTER SYSTEM SET quorum.priority = 256;
SET quorum.no_such_setting = 1;
