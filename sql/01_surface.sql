-- Everything the extension brings is in schema quorum, and everything has a comment.
CREATE EXTENSION pg_quorum;
SELECT extversion, extrelocatable
FROM pg_extension WHERE extname = 'pg_quorum';

-- The types of the views' rows are listed from 17 on only.
SELECT pg_describe_object(classid, objid, objsubid) AS object
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND classid <> 'pg_type'::regclass
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_quorum')
ORDER BY pg_describe_object(classid, objid, objsubid) COLLATE "C";

SELECT proname, pg_get_function_arguments(oid) AS arguments, provolatile, proparallel, proretset
FROM pg_proc
WHERE pronamespace = 'quorum'::regnamespace AND proname NOT LIKE 'get\_%'
ORDER BY proname COLLATE "C";

SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'quorum'::regnamespace AND a.attnum > 0
ORDER BY c.relname COLLATE "C", a.attnum;

-- Without a comment: nothing.
SELECT p.oid::regprocedure::text AS without_comment
FROM pg_proc p
WHERE pronamespace = 'quorum'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL
UNION ALL
SELECT c.oid::regclass::text
FROM pg_class c
WHERE relnamespace = 'quorum'::regnamespace AND obj_description(c.oid, 'pg_class') IS NULL;
SELECT c.relname, a.attname AS without_comment
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'quorum'::regnamespace AND a.attnum > 0
	AND col_description(c.oid, a.attnum) IS NULL;
SELECT obj_description('quorum'::regnamespace, 'pg_namespace');

-- It goes away without a trace, and comes back.
DROP EXTENSION pg_quorum;
SELECT count(*) FROM pg_namespace WHERE nspname = 'quorum';
CREATE EXTENSION pg_quorum;
