#!/bin/sh
# tidy.sh
#	The style rules that a machine can check: layout, who may include whom, sizes, words.
#	Prints TAP.  A rule that nobody checks is not a rule.
set -u
cd "$(dirname "$0")/.." || exit 1
LC_ALL=C
export LC_ALL

# Functions over 70 lines, files over 600: "file function lines" or "file - lines".  They may
# only shrink: once below the limit, or below the number here, the line must go or follow.
exceptions='
'

# Who may include whom in src/pg: a file sees its own layer and those above it in this list.
# A name stands for name.c, name.h and name_*.[ch], unless one of them has a place of its own:
# shmem.c and stream.c serve what is built upon them, so they see more than their headers.
layers='
compat walhold shmem.h
guc conninfo proof slots ledger history autoconf syncnames logical timeline stream.h walfiles walread walcopy logend relaunch notify host files
promote restart follow fence stream_gap stream_fit replay health read_level commit_level walsync consistent journal parking program source outside rollback clone foreign rewind
shmem.c stream.c facts sqlrow sqllag sqlreason sqlrollback
engine sqlfuncs sqlcheck sqladmin
join
worker
pg_quorum
'

# Likewise in src/net, which server and witness share.
net_layers='
clock report
host.h
clock.c report.c state story transport
invitation
'
# What it may include of PostgreSQL: all of it is in libpgcommon and libpgport, too.
net_includes='common/file_perm.h common/hmac.h common/pg_prng.h port/pg_crc32c.h'

top_level='LICENSE Makefile README.md control docs expected sql src test'
core_includes='stdbool.h stddef.h stdint.h string.h stdarg.h limits.h inttypes.h'

count=0
failed=0

# check <name> <what is wrong, one per line; empty = nothing>
check()
{
	count=$((count + 1))
	if [ -z "$2" ]; then
		echo "ok $count - $1"
	else
		failed=$((failed + 1))
		echo "not ok $count - $1"
		echo "$2" | sed 's/^/#   /'
	fi
}

sources=$(find src test -name '*.[ch]' | sort)

# ---- layout -------------------------------------------------------------------------------

if git rev-parse --git-dir >/dev/null 2>&1; then
	check 'the top level holds what it should and nothing else' \
		"$(git ls-files | sed 's,/.*,,' | grep -v '^\.' | sort -u | grep -vxE "$(echo $top_level | tr ' ' '|')")"
fi

check 'every source file says first what it is' \
	"$(for file in $sources; do head -3 "$file" | awk -v name="$(basename "$file")" '
		NR == 1 && $0 != "/*" || NR == 2 && $0 != " * " name || NR == 3 && $0 !~ /^ \*\t  / { bad = 1 }
		END { exit bad }' || echo "$file"; done)"

# Headers that belong to a source file have no row.  Those of src/core are in words of their own.
check 'docs/architecture.md has a row for every file of src: its name, and the sentence that it begins with' \
	"$(find src -name '*.[ch]' | sort | while read -r file; do
		test "${file%.h}" != "$file" && test -e "${file%.h}.c" || echo "$file"; done | xargs awk '
		FNR == 1 { name = FILENAME; sub(/.*\//, "", name); row = ""; head = 1 }
		FNR > 2 && head && /^ \*\/?$/ { head = 0; if (FILENAME !~ /^src\/core/) print "| " name " |" row " |" }
		FNR > 2 && head { sub(/^ \*[ \t]*/, ""); row = row " " $0 }' | grep -vxFf docs/architecture.md
	for file in src/core/*.[ch]; do
		test "${file%.h}" != "$file" && test -e "${file%.h}.c" && continue
		grep -qE "^\|.*[ |]${file##*/}[ ,|]" docs/architecture.md || echo "$file"; done)"

# ---- who may include whom -----------------------------------------------------------------

check 'the core includes only itself and freestanding C' \
	"$(grep -n '#include' src/core/*.[ch] | grep -vE '#include "quorum_[a-z]+\.h"' |
		grep -vE "#include <($(echo $core_includes | tr ' ' '|'))>")"

check 'simulator, scenarios and unit tests include no part of the shell' \
	"$(find test/sim test/core test/scenarios -name '*.[ch]' -exec grep -nE '#include .*(postgres|shmem|src/pg|pg/)' {} + 2>/dev/null)"

check 'PG_VERSION_NUM stands in compat.h only' "$(grep -n PG_VERSION_NUM src/core/* src/net/* src/pg/* | grep -v '^src/pg/compat.h:')"

check 'pg_noreturn (compat.h) instead of pg_attribute_noreturn(), which 18 does not know' \
	"$(grep -n pg_attribute_noreturn src/*/* test/*/*.[ch] | grep -v '^src/pg/compat.h:')"

check 'restart without a mode: 15 ignores one, 17 takes it for half of an option' \
	"$(grep -nE -e '->restart\([^)]' test/t/*.pl)"

# check_layers <directory> <layers>
check_layers()
{
	echo "$2" | awk -v dir="$1" '
		FNR == NR && FILENAME == "-" { for (i = 1; i <= NF; i++) layer[$i] = NR; next }
		function layer_of(name,   stem)
		{
			sub(/.*\//, "", name)
			if (name in layer) return layer[name]
			sub(/\.[ch]$/, "", name)
			if (name in layer) return layer[name]
			stem = name; sub(/_.*/, "", stem)
			return (stem in layer) ? layer[stem] : 0
		}
		FNR == 1 { own = layer_of(FILENAME); if (!own) print FILENAME ": has no layer in test/tidy.sh" }
		/^#include "/ {
			split($0, part, "\""); name = part[2]
			if (name ~ /\// || system("test -e " dir "/" name) != 0) next
			if (own && layer_of(name) > own) print FILENAME ":" FNR ": " $0
		}' - "$1"/*.[ch]
}

check 'every file of the shell has a layer, and includes nothing of a later one' \
	"$(check_layers src/pg "$layers"; check_layers src/net "$net_layers")"

check 'what server and witness share includes nothing that only one of them has' \
	"$(grep -n '#include "' src/net/*.[ch] | grep -vE '"(\.\./core/quorum_[a-z]+\.h|[a-z_]+\.h)"' |
		grep -vE "\"($(echo $net_includes | tr ' ' '|'))\""
	grep -n '#include "[a-z_]*\.h"' src/net/*.[ch] | while IFS='"' read -r before name after; do
		test -e "src/net/$name" || echo "$before$name"; done |
		grep -vE '^src/net/host\.h:[0-9]+:#include postgres(_fe)?\.h')"

check 'the shell uses the public headers of the core only' \
	"$(grep -nE '#include "quorum_(internal|assert|invariants|peer|lease|election|emit|leader)\.h"' src/net/*.[ch] src/pg/*.[ch])"

# ---- sizes --------------------------------------------------------------------------------

check 'functions have at most 70 lines, files 600' \
	"$(echo "$exceptions" | awk '
		FILENAME == "-" { if (NF == 3) allowed[$1 " " $2] = $3; next }
		function judge(name, lines, limit)
		{
			if (name in allowed)
			{
				seen[name] = 1
				if (lines <= limit || lines < allowed[name]) print name ": " lines " lines, lower or remove its exception"
				else if (lines > allowed[name]) print name ": " lines " lines, its exception says " allowed[name]
			}
			else if (lines > limit) print name ": " lines " lines"
		}
		FNR == 1 { if (file != "") judge(file " -", last, 600); file = FILENAME; start = 0 }
		{ last = FNR }
		/^[a-zA-Z_].*\(/ && !/;$/ { title = $0; sub(/\(.*/, "", title); sub(/.*[ *]/, "", title) }
		/^\{/ { start = FNR }
		/^\}$/ { if (start) judge(FILENAME " " title, FNR - start + 1, 70); start = 0 }
		END { judge(file " -", last, 600); for (name in allowed) if (!(name in seen)) print name ": not there any more" }' - $sources)"

# A message to people stays in one piece, so that it can be searched for.
check 'lines have at most 100 columns, strings not counted' \
	"$(for file in $(find src -name '*.[ch]'); do expand -t4 "$file" | awk -v file="$file" '
		{ gsub(/"([^"\\]|\\.)*"/, "\"\"") }
		length($0) > 100 { print file ":" NR ": " length($0) }'; done)"

# ---- mutants ------------------------------------------------------------------------------

check 'every mutant of test/mutants can still be made, and docs/mutants.md is their list' "$(perl test/mutants/run.pl --check 2>&1)"

# ---- words --------------------------------------------------------------------------------

check 'nothing is left to be done in a comment' "$(grep -nE '\b(FIXME|TODO|XXX)\b' $sources)"

# Whoever reads a number in a comment must be able to look it up.  G2-item and the like are
# names of anomalies.
check 'every rule that is cited stands in docs/protocol.md or docs/hazards.md, once, and every hazard is cited' \
	"$(find src test sql docs README.md -type f \( -name '*.[ch]' -o -name '*.p[lm]' -o -name '*.sh' -o -name '*.txt' \
		-o -name '*.sql' -o -name '*.md' -o -name '*.mk' \) | sort | xargs awk '
		pass == 1 && /^(- |[|] )[A-Z][1-9][0-9]* / {
			if ($2 in home) print FILENAME ":" FNR ": " $2 " is defined in " home[$2] ", too"
			home[$2] = FILENAME; rule[FILENAME, FNR] = $2; letters[substr($2, 1, 1)] = 1
		}
		function cite(number)
		{
			if (!(number in home)) print FILENAME ":" FNR ": " number " is defined nowhere"
			if (FILENAME != "docs/hazards.md") cited[number] = 1
		}
		pass == 2 {
			rest = " " $0
			while (match(rest, /[^A-Za-z0-9_.\/][A-Z][1-9][0-9]*/))
			{
				letter = substr(rest, RSTART + 1, 1)
				number = substr(rest, RSTART + 2, RLENGTH - 2)
				rest = substr(rest, RSTART + RLENGTH)
				if (!(letter in letters) || rest ~ /^([A-Za-z_]|-[a-z])/ || (FILENAME, FNR) in rule && rule[FILENAME, FNR] == letter number)
					continue
				cite(letter number)
				if (match(rest, /^-[A-Z][1-9][0-9]*/) && substr(rest, 2, 1) == letter)
					for (last = substr(rest, 3, RLENGTH - 2) + 0; ++number < last; ) cite(letter number)
			}
		}
		END { for (number in home) if (home[number] == "docs/hazards.md" && !(number in cited)) print number " of docs/hazards.md is cited nowhere" }
		' pass=1 docs/protocol.md docs/hazards.md pass=2)"

check 'every setting is in docs/configuration.md' \
	"$(grep -oE '"quorum\.[a-z_]+"' src/pg/guc.c 2>/dev/null | tr -d '"' | sort -u | while read -r setting; do
		grep -q "$setting" docs/configuration.md 2>/dev/null || echo "$setting"; done)"

echo "1..$count"
exit $((failed > 0))
