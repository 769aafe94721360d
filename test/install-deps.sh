#!/bin/sh
# install-deps.sh
#	Installs what the build and the tests need on Debian and its relatives: the
#	distribution's own PostgreSQL, a compiler, a few Perl modules.  Asks nothing, does
#	nothing when everything is there, and never makes or starts a database cluster.
set -eu

pg_config=${PG_CONFIG:-pg_config}
packages=

say() { echo "install-deps: $*"; }
fail() { say "$*" >&2; exit 1; }
need() { case " $packages " in *" $1 "*) ;; *) packages="$packages $1" ;; esac; }

# ---- what is missing ----------------------------------------------------------------------

# The PostgreSQL that pg_config names, or else the distribution's.
version=$("$pg_config" --version 2>/dev/null | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p') || true
pgxs=$("$pg_config" --pgxs 2>/dev/null) || true
bindir=$("$pg_config" --bindir 2>/dev/null) || true

have_tool() { command -v "$1" >/dev/null 2>&1; }
have_perl() { perl "-M$1" -e 1 2>/dev/null; }
have_headers() { echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1; }

have_tool gcc && have_tool nm || need gcc
have_tool gcc && have_headers || need libc6-dev
have_tool perl && have_tool prove && have_perl TAP::Parser || need perl
have_tool perl && have_perl IPC::Run || need libipc-run-perl
[ -n "$version" ] && [ -e "$pgxs" ] && [ -e "$("$pg_config" --includedir-server)/postgres.h" ] || need server-dev
[ -n "$version" ] && [ -e "$("$pg_config" --includedir)/libpq-fe.h" ] || need libpq-dev
for program in postgres initdb pg_ctl pg_basebackup pgbench psql; do
	[ -n "$bindir" ] && [ -x "$bindir/$program" ] || need server
done

# A drill that cuts links makes hosts of network namespaces, which only root can.
have_admin_tool() { have_tool "$1" || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }
case ${FAULT:-}:$(id -u) in
	partition:0 | all:0)
		have_admin_tool nft || need nftables
		have_admin_tool ip || need iproute2 ;;
esac

[ -n "$packages" ] || exit 0
[ -z "${INSTALL_DEPS_AGAIN:-}" ] || fail "still missing after the installation:$packages"

# ---- how to get it ------------------------------------------------------------------------

have_tool apt-get || fail "missing here:$packages (server = PostgreSQL with pgbench, server-dev = its headers and PGXS);" \
	"this script can install them on Debian and its relatives only"
[ "$(id -u)" = 0 ] || fail "missing:$packages; run this with sudo once"
[ "$pg_config" = pg_config ] || [ -n "$version" ] || fail "PG_CONFIG=$pg_config does not exist"
case $bindir in
	'' | /usr/lib/postgresql/*) ;;
	*) fail "missing:$packages; PG_CONFIG names a PostgreSQL in $bindir that is no package: complete it yourself" ;;
esac

export DEBIAN_FRONTEND=noninteractive
quietly() { "$@" >"$log" 2>&1 || { cat "$log" >&2; fail "failed: $*"; }; }
log=$(mktemp)
conf=/etc/postgresql-common/createcluster.conf
saved=
restore() { [ -z "$saved" ] || { cat "$saved" >"$conf"; rm -f "$saved"; saved=; }; rm -f "$log"; }
trap restore EXIT
trap 'exit 1' INT TERM HUP

quietly apt-get update
[ -n "$version" ] && [ -e "/usr/share/doc/postgresql-client-$version" ] ||
	version=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*postgresql-\([0-9][0-9]*\)$/\1/p' | head -1)
[ -n "$version" ] || fail "no package postgresql is known to apt-get"
list=
for package in $packages; do
	case $package in
		server) list="$list postgresql-$version" ;;
		server-dev) list="$list postgresql-server-dev-$version" ;;
		*) list="$list $package" ;;
	esac
done
say "installing$list"

# A package postgresql-NN makes and starts a cluster "main" unless told not to beforehand.
case $list in *" postgresql-$version"*)
	quietly apt-get install -y --no-install-recommends postgresql-common
	saved=$(mktemp)
	cat "$conf" >"$saved"
	echo 'create_main_cluster = off' >>"$conf" ;;
esac
# shellcheck disable=SC2086
quietly apt-get install -y --no-install-recommends $list
say "done"
restore
INSTALL_DEPS_AGAIN=1 exec "$0"
