# pg_quorum: build, install, tests.
#
#   sudo make drill                 three servers, a writer, a killed leader: see a failover happen
#   sudo make test                  every test; the last line says how many passed and failed
#   make && sudo make install       what every PGXS extension has; PG_CONFIG=… picks the installation
#   make installcheck               the SQL tests against a running server
#
#   core  unit  scenarios  sim  model   the consensus core alone, no PostgreSQL needed
#   sanitize  fuzz                  the same sanitized; every decoder fuzzed (docs/fuzzing.md)
#   mutants                         protections taken out of a copy: does a test notice?  ONLY="name …" SUITES=fast JOBS=n ALL=1 LOGS=dir
#   tidy                            layout, who may include whom, sizes
#   torture                         MINUTES of every fault at once, SEED, NODES, WITNESS=1, PACE=1: nothing acknowledged may be missing
#   bench                           cost beside plain PostgreSQL, 20 minutes: CLIENTS="1 8 16" PAIRS=n SECONDS=n of a turn, TMPDIR=where
#   calm                            MINUTES of pgbench without any fault: nobody else may lead; LEASE in milliseconds
#   rejoin-kills                    kill -9 while nodes come back: ROUNDS=n rewinds, CLONES=n clones, SEED=n
#
# drill: FAULT=kill|killall|freeze|partition|switchover|all  ROUNDS=n  NODES=n  WITNESS=1  LOAD=pgbench      sim: SEEDS=n [SECONDS=n] or SEED=n [LOG=full]

PG_CONFIG ?= pg_config
CC = gcc
export PG_CONFIG

all:

MODULE_big = pg_quorum
CORE_SRC = $(sort $(wildcard src/core/*.c))
NET_SRC = $(sort $(wildcard src/net/*.c))
PG_SRC = $(sort $(wildcard src/pg/*.c))
SRC_HEADERS = $(sort $(wildcard src/core/*.h src/net/*.h src/pg/*.h))
OBJS = $(CORE_SRC:.c=.o) $(NET_SRC:.c=.o) $(PG_SRC:.c=.o)

EXTENSION = control/pg_quorum
DATA = $(sort $(wildcard control/pg_quorum--*.sql))
REGRESS = $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))

BIN_VERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" control/pg_quorum.control)
PG_CPPFLAGS = -Isrc/core -Isrc/net -Isrc/pg -DPGQ_VERSION='"$(BIN_VERSION)"'
# Calls within the library go straight there: some of them are made for every statement.
SHLIB_LINK += -Wl,-Bsymbolic-functions
ifeq ($(WERROR),1)
PG_CFLAGS = -Wall -Wextra -Werror
# the server's own headers are not ours to judge
PG_CPPFLAGS += -isystem $(shell $(PG_CONFIG) --includedir-server)
endif
EXTRA_CLEAN = build tmp_check tmp_regress results regression.diffs regression.out log

# No bitcode for the JIT: nothing here is called per row, and clang need not be there.
override with_llvm = no

PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)

# PGXS knows nothing of headers, nor of settings that change between two runs.
$(OBJS): $(SRC_HEADERS) build/flags
build/flags: FORCE
	@mkdir -p build
	@echo '$(PGXS) $(CC) $(CPPFLAGS) $(CFLAGS)' | cmp -s - $@ || echo '$(PGXS) $(CC) $(CPPFLAGS) $(CFLAGS)' > $@

# The command: PGXS makes either a library or a program in one Makefile, so this one is ours.
# From 17 on libpq_pgport means libpq alone.
BIN_SRC = $(sort $(wildcard src/bin/*.c))
BIN_OBJS = $(BIN_SRC:src/bin/%.c=build/bin/%.o)
# The witness is a program of its own: with core and transport, without libpq.
WITNESS_SRC = $(sort $(wildcard src/witness/*.c))
WITNESS_OBJS = $(patsubst src/%.c,build/frontend/%.o,$(CORE_SRC) $(NET_SRC) $(WITNESS_SRC)) \
	$(addprefix build/bin/,options.o token.o whole_files.o)
WITNESS_LIBS = $(filter -lcrypto,$(LIBS))

all: build/bin/pg_quorum build/bin/pg_quorum_witness
build/bin/pg_quorum: $(BIN_OBJS)
	$(CC) $(CFLAGS) $^ $(LDFLAGS) $(LDFLAGS_EX) -L$(pkglibdir) -lpgfeutils -lpgcommon -lpgport $(libpq) -lm -o $@
build/bin/pg_quorum_witness: $(WITNESS_OBJS)
	$(CC) $(CFLAGS) $^ $(LDFLAGS) $(LDFLAGS_EX) -L$(pkglibdir) -lpgcommon -lpgport $(WITNESS_LIBS) -lm -o $@
build/frontend/%.o: src/%.c $(SRC_HEADERS) $(wildcard src/bin/*.h src/witness/*.h) build/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -DFRONTEND $(CPPFLAGS) -I$(includedir) -c -o $@ $<
build/bin/%.o: src/bin/%.c $(wildcard src/bin/*.h) build/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -DFRONTEND $(CPPFLAGS) -I$(includedir) -c -o $@ $<

# What could come next (quorum_message.h), for the test of an upgrade.
NEXT_OBJS = $(OBJS:src/%.o=build/next/%.o)
next: build/next/pg_quorum.so
build/next/pg_quorum.so: $(NEXT_OBJS)
	$(CC) $(CFLAGS) -shared -o $@ $^ $(LDFLAGS)
build/next/%.o: src/%.c $(SRC_HEADERS) build/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -DQUORUM_NEXT_MINOR $(CPPFLAGS) -c -o $@ $<

# The manual page, from the manual.
all: build/pg_quorum.1
build/pg_quorum.1: docs/command.md docs/man.pl control/pg_quorum.control
	@mkdir -p $(@D)
	perl docs/man.pl $(BIN_VERSION) < docs/command.md > $@
install: install-man
install-man: build/pg_quorum.1
	$(MKDIR_P) '$(DESTDIR)$(mandir)/man1'
	$(INSTALL_DATA) $< '$(DESTDIR)$(mandir)/man1/pg_quorum.1'
uninstall: uninstall-man
uninstall-man:
	rm -f '$(DESTDIR)$(mandir)/man1/pg_quorum.1'

install: install-bin
# The unit names the directory of the programs; where units go is for the package to say.
install-bin: build/bin/pg_quorum build/bin/pg_quorum_witness
	$(MKDIR_P) '$(DESTDIR)$(bindir)' '$(DESTDIR)$(datadir)/pg_quorum'
	$(INSTALL_PROGRAM) $^ '$(DESTDIR)$(bindir)'
	sed 's,@bindir@,$(bindir),' src/witness/pg_quorum-witness.service >build/pg_quorum-witness.service
	$(INSTALL_DATA) build/pg_quorum-witness.service '$(DESTDIR)$(datadir)/pg_quorum/pg_quorum-witness.service'
uninstall: uninstall-bin
uninstall-bin:
	rm -f '$(DESTDIR)$(bindir)/pg_quorum' '$(DESTDIR)$(bindir)/pg_quorum_witness'
	rm -rf '$(DESTDIR)$(datadir)/pg_quorum'
.PHONY: install-bin uninstall-bin install-man uninstall-man
else
all install uninstall installcheck:
	@echo "$(PG_CONFIG) does not name a PostgreSQL with PGXS: install postgresql-server-dev-NN (sudo test/install-deps.sh) or set PG_CONFIG" >&2; exit 1
clean:
	rm -rf $(OBJS) $(MODULE_big).so $(EXTRA_CLEAN)
endif

# ---- the core, without PostgreSQL ---------------------------------------------------------

# Purity is a build rule: no include path of the server, no library call but mem*.
CORE_CFLAGS = -std=c11 -ffreestanding -O2 -g -Wall -Wextra -Wconversion -Wshadow -Werror -Isrc/core
CORE_OBJS = $(patsubst src/core/%.c,build/core/%.o,$(CORE_SRC))

core: $(CORE_OBJS)
	@bad=$$(nm -u $^ | awk '/ U /{print $$2}' | sort -u | grep -vxE 'mem(cpy|set|cmp|move)|__stack_chk_fail|quorum_.*' | tr '\n' ' '); \
	 test -z "$$bad" || { echo "core is not pure: $$bad" >&2; exit 1; }
	@echo "core is pure: $(words $(CORE_SRC)) files"

build/core/%.o: src/core/%.c $(SRC_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(CORE_CFLAGS) -c -o $@ $<

# ---- tests of the core --------------------------------------------------------------------

TEST_CFLAGS = -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -Isrc/core

UNIT_HELPERS = $(filter-out test/core/test_%,$(wildcard test/core/*.c))
UNIT_TESTS = $(patsubst test/core/%.c,build/core-tests/%,$(sort $(wildcard test/core/test_*.c)))

unit-build: $(UNIT_TESTS)
unit: unit-build
	prove $(UNIT_TESTS)

build/core-tests/%: test/core/%.c $(UNIT_HELPERS) $(CORE_OBJS) $(SRC_HEADERS) $(wildcard test/core/*.h)
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -Itest/core -o $@ $< $(UNIT_HELPERS) $(CORE_OBJS)

SIM_SRC = $(sort $(wildcard test/sim/*.c))
SIM_HEADERS = $(wildcard test/sim/*.h)
SCENARIOS = $(sort $(wildcard test/scenarios/*.txt))

sim-build: build/sim/quorum_sim
sim: sim-build
	build/sim/quorum_sim $(if $(SEED),--seed $(SEED) $(if $(LOG),--log $(LOG)),--seeds $(or $(SEEDS),200)) $(if $(SECONDS),--seconds $(SECONDS))

scenarios-build: build/sim/quorum_scenario
scenarios: scenarios-build
	prove --exec build/sim/quorum_scenario $(SCENARIOS)

# Seeds are run by the million, where they are built: a third less time.
SIM_CFLAGS = $(TEST_CFLAGS) -O3 -flto=auto \
	$(shell $(CC) -march=native -E -x c /dev/null >/dev/null 2>&1 && echo -march=native)

build/sim/quorum_sim: $(SIM_SRC) $(SIM_HEADERS) $(CORE_SRC) $(SRC_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(SIM_CFLAGS) -Itest/sim -o $@ $(SIM_SRC) $(CORE_SRC)

build/sim/quorum_scenario: $(wildcard test/scenarios/*.c) $(SIM_SRC) $(SIM_HEADERS) $(CORE_SRC) $(SRC_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -Itest/sim -o $@ $(wildcard test/scenarios/*.c) $(filter-out test/sim/main.c,$(SIM_SRC)) $(CORE_SRC)

# SCOPE=name [SET='field=n …']; docs/model.md.  What is not in the scope is not looked at.
MODEL_SRC = $(sort $(wildcard test/model/*.c))

model-build: build/model/quorum_model
model: model-build
	build/model/quorum_model --scope $(or $(SCOPE),quick) $(foreach field,$(SET),--set $(field))

build/model/quorum_model: $(MODEL_SRC) $(wildcard test/model/*.h) $(CORE_SRC) $(SRC_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -Itest/model -o $@ $(MODEL_SRC) $(CORE_SRC)

include test/fuzz/rules.mk

tidy:
	@test/tidy.sh

# Those that want no server: SUITES=fast.  Servers of the others run as an unprivileged user.
mutants:
	@perl test/mutants/run.pl --suites "$(or $(SUITES),all)" $(if $(JOBS),--jobs $(JOBS)) $(if $(ALL),--all) $(if $(LOGS),--logs "$(LOGS)") $(ONLY)

# ---- real servers -------------------------------------------------------------------------

# What is missing is installed first; only a fresh make then sees it.  MAKEFLAGS hands
# PG_CONFIG, FAULT and the like on.
FAULT ?= kill
ROUNDS ?= 3
BINDIR = $(shell $(PG_CONFIG) --bindir)

drill bench calm rejoin-kills torture test: %: deps
	@$(MAKE) --no-print-directory $*-run

deps:
	@FAULT="$(if $(filter torture test,$(MAKECMDGOALS)),all,$(FAULT))" test/install-deps.sh

writer: build/drill/writer build/fault/client build/fault/relay build/fault/shim.so
build/drill/writer: test/drill/writer.c
build/fault/client: $(sort $(wildcard test/fault/client*.c)) $(wildcard test/fault/client*.h)
build/drill/writer build/fault/client:
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -I$$($(PG_CONFIG) --includedir) -o $@ $(filter %.c,$^) -L$$($(PG_CONFIG) --libdir) -lpq

build/fault/relay: test/fault/relay.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $<
build/fault/shim.so: test/fault/shim.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -fPIC -shared -o $@ $< -ldl

installed:
	@echo "building and installing pg_quorum for $$($(PG_CONFIG) --version)"
	@mkdir -p build
	@$(MAKE) -s --no-print-directory all writer >build/make.log 2>&1 && $(MAKE) -s --no-print-directory install >>build/make.log 2>&1 \
	 || { cat build/make.log; exit 1; }

drill-run: installed
	@perl test/drill/drill.pl --bindir "$(BINDIR)" --writer build/drill/writer --fault "$(FAULT)" --rounds "$(ROUNDS)" \
	 $(if $(NODES),--nodes "$(NODES)") $(if $(filter-out 0,$(WITNESS)),--witness) $(if $(LOAD),--load "$(LOAD)")

bench-run: installed build/drill/lease_check.so
	@perl test/drill/bench.pl --bindir "$(BINDIR)" --lease-check build/drill/lease_check.so $(if $(CLIENTS),--clients "$(CLIENTS)") \
	 $(if $(PAIRS),--pairs "$(PAIRS)") $(if $(SECONDS),--seconds "$(SECONDS)")
build/drill/lease_check.so: test/drill/lease_check.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -isystem $$($(PG_CONFIG) --includedir-server) -fPIC -shared -o $@ $<

# No fault at all, for MINUTES: nobody else may lead.
calm-run: installed
	@perl test/drill/calm.pl --bindir "$(BINDIR)" $(if $(MINUTES),--minutes "$(MINUTES)") $(if $(LEASE),--lease "$(LEASE)") \
	 $(if $(NODES),--nodes "$(NODES)")

# kill -9 while an old leader is rewound or cloned.
CLONES ?= $(ROUNDS)
rejoin-kills-run: installed
	@perl test/fault/rejoin_kills.pl --bindir "$(BINDIR)" --writer build/drill/writer --rounds "$(ROUNDS)" --clones "$(CLONES)" \
	 $(if $(SEED),--seed "$(SEED)")

# Everything at once, for some minutes; then what clients were told is held against what is there.
torture-run: installed
	@perl test/fault/torture.pl --bindir "$(BINDIR)" --client build/fault/client --relay build/fault/relay --shim build/fault/shim.so \
	 --minutes "$(or $(MINUTES),1)" $(if $(SEED),--seed "$(SEED)") $(if $(NODES),--nodes "$(NODES)") \
	 $(if $(filter-out 0,$(WITNESS)),--witness) $(if $(filter-out 0,$(PACE)),--pace)

test-run:
	@perl test/run.pl

.PHONY: all core unit unit-build sim sim-build model model-build scenarios scenarios-build tidy mutants drill bench test deps \
	writer next installed drill-run bench-run calm calm-run rejoin-kills rejoin-kills-run torture torture-run test-run FORCE
