#!/bin/sh
# servers.sh
#	The tests on real clusters with a library, a command and a witness that are sanitized.
#	servers.sh [NUMBER...]: those tests of test/t, "sql" for those of sql; all without.  Run as root.
#
# They run on a copy of the installation that PG_CONFIG names.  Is that server itself built with
# AddressSanitizer (docs/fuzzing.md), then nothing else is needed; a server of a distribution gets
# a program that loads the runtime first (patchelf): else the runtime would be in every program
# of a test.  Findings are in the logs of the servers and in build/servers/reports; a test that
# fails, or one of those, is a failure.
set -eu
cd "$(dirname "$0")/../.."
here=$PWD
pg_config=${PG_CONFIG:-pg_config}
work=$here/build/servers
user=${SANITIZE_USER:-postgres}
flags='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -Wno-error'

# what a program takes, its end gives back
export ASAN_OPTIONS=detect_leaks=0

[ "$(id -u)" = 0 ] || { echo "servers.sh: run this as root" >&2; exit 1; }
if nm -D "$("$pg_config" --bindir)/postgres" 2>/dev/null | grep -q __asan_init; then
	sanitized=1
	parts='bindir libdir includedir sharedir'
else
	sanitized=
	parts='bindir pkglibdir sharedir pkgincludedir'
	command -v patchelf >/dev/null || { echo "servers.sh: patchelf is missing" >&2; exit 1; }
fi

# A report of the runtime, or of a server with assertions.  What UBSan says of PostgreSQL's own
# files is not ours.
finding='AddressSanitizer|((^|[^/])src/(bin|core|net|pg|witness)|/server)/[^ ]*: runtime error:'
finding="$finding|TRAP: |detected write past chunk end|problem in (alloc set|Generation|slab)|(reference|refcount|memory|file) leak:"

# ---- a copy of the installation: PostgreSQL finds its files beside its programs ----------------

root=$(mktemp -d /tmp/pg_quorum-sanitize.XXXXXX)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT TERM HUP
chmod 755 "$root"
for part in $parts; do
	dir=$("$pg_config" --$part)
	mkdir -p "$root$dir"
	cp -RL "$dir/." "$root$dir"
done
pgxs=$("$pg_config" --pgxs)
bindir=$root$("$pg_config" --bindir)
copy=$bindir/pg_config
mkdir -p "$work/reports"
rm -f "$work"/reports/*

# The runtime comes first in a server that knows nothing of it.  What it breaks there in the C
# library's locks of message catalogues and locales: calls that these tests do without.
load_runtime()
{
	cat >"$root/plain.c" <<'PLAIN'
char *bindtextdomain(const char *d, const char *n) { (void) d; return (char *) n; }
char *bind_textdomain_codeset(const char *d, const char *n) { (void) d; return (char *) n; }
char *textdomain(const char *d) { return (char *) d; }
char *gettext(const char *m) { return (char *) m; }
char *dgettext(const char *d, const char *m) { (void) d; return (char *) m; }
char *dcgettext(const char *d, const char *m, int c) { (void) d; (void) c; return (char *) m; }
char *ngettext(const char *a, const char *b, unsigned long n) { return (char *) (n == 1 ? a : b); }
char *dngettext(const char *d, const char *a, const char *b, unsigned long n)
{ (void) d; return (char *) (n == 1 ? a : b); }
void freelocale(void *l) { (void) l; }
PLAIN
	gcc -shared -fPIC -fno-builtin -w -o "$root/plain.so" "$root/plain.c"
	for library in "$root/plain.so" libubsan.so.1 libasan.so.8; do
		patchelf --add-needed "$library" "$bindir/postgres"
	done
}
[ "$sanitized" ] || load_runtime

# ---- the sanitized build, beside the other one -------------------------------------------------

mkdir -p "$root/source"
cp -R Makefile control docs expected sql src test "$root/source"
find "$root/source" -name '*.o' -delete
chmod -R a+rX "$root"
( cd "$root/source" && PG_CONFIG=$copy make -s COPT="$flags" all next install ) >"$work/build.log" 2>&1 ||
	{ tail -40 "$work/build.log"; exit 1; }

# ---- the tests ---------------------------------------------------------------------------------

test_perl=$root$(dirname "$(dirname "$pgxs")")/test/perl
[ -d "$test_perl" ] || test_perl=$(dirname "$(dirname "$pgxs")")/test/perl
regress=${test_perl%/perl}/regress/pg_regress
mkdir "$root/reports"
chmod 777 "$root/reports"

# as_user <command>: in the environment of a test, whose directory is $dir
as_user()
{
	setpriv --reuid "$user" --regid "$user" --init-groups env -i HOME="$dir" LC_ALL=C \
		PATH="$bindir:/usr/local/bin:/usr/bin:/bin" TESTDIR="$dir" TESTDATADIR="$dir/data" TESTLOGDIR="$dir/log" \
		PGPORT=65432 PG_CONFIG="$copy" PG_REGRESS="$regress" PG_TEST_TIMEOUT_DEFAULT=360 \
		QUORUM_NEXT_LIBRARY="$root/source/build/next/pg_quorum.so" \
		ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=0:verify_asan_link_order=0:abort_on_error=1:log_path=$root/reports/report" \
		UBSAN_OPTIONS=print_stacktrace=1 "$@"
}

# As run.pl: on a server with fsync, which one that pg_regress makes is not.
sql_tests()
{
	as_user sh -euc '
		cd "$HOME"
		source=$1
		shift
		initdb -D data -k -A trust -U postgres --locale=C -E UTF8 >initdb.log
		cat "$source/test/regress.conf" >>data/postgresql.conf
		pg_ctl -D data -w -t 120 -l server.log -o "-k $HOME -h 127.0.0.1 -p 65433" start >/dev/null
		status=0
		"$PG_REGRESS" --inputdir="$source" --outputdir="$HOME" --bindir="$(dirname "$(command -v psql)")" --host="$HOME" \
			--port=65433 --user=postgres --dbname=contrib_regression "$@" || status=$?
		cat regression.diffs 2>/dev/null || true
		pg_ctl -D data -m immediate stop >/dev/null
		exit $status' sh "$root/source" $(cd sql && ls | sed 's/\.sql$//')
}

bad=0
for number in ${*:-sql $(cd test/t && ls | sed 's/_.*//')}; do
	name=$number
	[ "$number" = sql ] || name=$(basename "$(ls "$root"/source/test/t/"$number"*.pl | head -1)" .pl)
	dir=$root/$name
	mkdir "$dir"
	chown "$user" "$dir"
	status=0
	if [ "$number" = sql ]; then
		sql_tests >"$work/$name.log" 2>&1 || status=$?
	else
		as_user perl "-I$test_perl" "-I$root/source/test/perl" "$root/source/test/t/$name.pl" >"$work/$name.log" 2>&1 || status=$?
	fi
	found=$(grep -rlaE "$finding" "$dir" "$root"/reports 2>/dev/null || true)
	for file in $found; do cp "$file" "$work/reports/$name-$(basename "$file")"; done
	if [ $status -ne 0 ] || [ -n "$found" ]; then bad=$((bad + 1)); fi
	echo "$name: exit $status, $(grep -cE '^ok|^test .* ok ' "$work/$name.log" || true) passed," \
		"$(grep -cE '^not ok|^test .* FAILED' "$work/$name.log" || true) failed, $(echo "$found" | grep -c . || true) reports"
	rm -rf "$dir" "$root"/reports/*
done
exit $((bad > 0))
