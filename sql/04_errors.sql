-- Wrong arguments are refused with a SQLSTATE that says which kind, and with a hint.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_quorum;
RESET client_min_messages;

SELECT quorum.bootstrap(NULL);
SELECT quorum.bootstrap('0');
SELECT quorum.bootstrap('31 days');
SELECT quorum.add_member(NULL, 'localhost:6543');
SELECT quorum.add_member('', 'localhost:6543');
SELECT quorum.add_member('N2', 'localhost:6543');
SELECT quorum.add_member(repeat('n', 64), 'localhost:6543');
SELECT quorum.add_member('n2', 'localhost');
SELECT quorum.add_member('n2', 'localhost:0');
SELECT quorum.add_member('n2', 'localhost:65536');
SELECT quorum.add_member('n2', 'localhost:65x');
SELECT quorum.add_member('n2', ':6543');
SELECT quorum.add_member('n2', '::1:6543');
SELECT quorum.add_member('n2', 'host name:6543');
SELECT quorum.add_member('n2', repeat('h', 128) || ':6543');
SELECT quorum.add_member('n2', 'localhost:6543', 'arbiter');
SELECT quorum.add_member('n2', 'localhost:6543', timeout => '-1s');
SELECT quorum.set_member_kind(NULL, 'voter');
SELECT quorum.set_member_kind('n2', NULL);
SELECT quorum.set_member_kind('n2', 'witness');
SELECT quorum.set_member_kind('n2', 'learner', '0');
SELECT quorum.set_member_address(NULL, 'localhost:6543');
SELECT quorum.set_member_address('n2', 'localhost');
SELECT quorum.set_member_address('n2', 'localhost:6543', NULL);
SELECT quorum.pause(NULL);
SELECT quorum.pause('0');
SELECT quorum.pause('-1 hour');
SELECT quorum.pause('1 day 1 second');
SELECT quorum.pause('1 month');
SELECT quorum.pause('2 days -47 hours');
SELECT quorum.force(NULL);
SELECT quorum.force('n1', '0');
SELECT quorum.lag('nobody');
SELECT quorum.lag_interval('nobody');

-- The same, as SQLSTATE.
CREATE FUNCTION pg_temp.sqlstate_of(statement text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN
	EXECUTE statement;
	RETURN '00000';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END$$;
SELECT statement, pg_temp.sqlstate_of(statement) FROM (VALUES
	('SELECT quorum.bootstrap(NULL)'),
	('SELECT quorum.bootstrap(''0'')'),
	('SELECT quorum.add_member(''N2'', ''localhost:6543'')'),
	('SELECT quorum.add_member(''n2'', ''localhost'')'),
	('SELECT quorum.add_member(''n2'', ''localhost:6543'', ''arbiter'')'),
	('SELECT quorum.set_member_kind(''n2'', NULL)'),
	('SELECT quorum.set_member_kind(''n2'', ''witness'')'),
	('SELECT quorum.set_member_address(''n2'', ''localhost'')'),
	('SELECT quorum.pause(NULL)'),
	('SELECT quorum.pause(''25 hours'')'),
	('SELECT quorum.resume()'),
	('SELECT quorum.force(NULL)'),
	('SELECT quorum.force(''n1'')'),
	('SELECT quorum.lag(''nobody'')')) AS s(statement);
