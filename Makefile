# pg_quorum: build, install, tests.
#
#   sudo make drill                 three servers, a writer, a killed leader: see a failover happen
#   sudo make test                  every test; the last line says how many passed and failed
#   make && sudo make install       what every PGXS extension has; PG_CONFIG=… picks the installation
#   make installcheck               the SQL tests against a running server
#
#   core  unit  scenarios  sim      the consensus core alone, no PostgreSQL needed
#   tidy                            layout, who may include whom, sizes
#   bench                           throughput and idle cost beside plain PostgreSQL
#
# drill: FAULT=kill|killall|freeze|switchover  ROUNDS=n  NODES=n      sim: SEEDS=n [SECONDS=n] or SEED=n [LOG=full]

PG_CONFIG ?= pg_config
CC = gcc
export PG_CONFIG

all:

MODULE_big = pg_quorum
CORE_SRC = $(sort $(wildcard src/core/*.c))
PG_SRC = $(sort $(wildcard src/pg/*.c))
SRC_HEADERS = $(sort $(wildcard src/core/*.h src/pg/*.h))
OBJS = $(CORE_SRC:.c=.o) $(PG_SRC:.c=.o)

EXTENSION = control/pg_quorum
DATA = $(sort $(wildcard control/pg_quorum--*.sql))
REGRESS = $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))

PG_CPPFLAGS = -Isrc/core -Isrc/pg
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
BIN_VERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" control/pg_quorum.control)

all: build/bin/pg_quorum
build/bin/pg_quorum: $(BIN_OBJS)
	$(CC) $(CFLAGS) $^ $(LDFLAGS) $(LDFLAGS_EX) -L$(pkglibdir) -lpgfeutils -lpgcommon -lpgport $(libpq) -lm -o $@
build/bin/%.o: src/bin/%.c $(wildcard src/bin/*.h) build/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -DFRONTEND -DPGQ_COMMAND_VERSION='"$(BIN_VERSION)"' $(CPPFLAGS) -I$(includedir) -c -o $@ $<

install: install-bin
install-bin: build/bin/pg_quorum
	$(MKDIR_P) '$(DESTDIR)$(bindir)'
	$(INSTALL_PROGRAM) $< '$(DESTDIR)$(bindir)/pg_quorum'
uninstall: uninstall-bin
uninstall-bin:
	rm -f '$(DESTDIR)$(bindir)/pg_quorum'
.PHONY: install-bin uninstall-bin
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

build/sim/quorum_sim: $(SIM_SRC) $(SIM_HEADERS) $(CORE_SRC) $(SRC_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -Itest/sim -o $@ $(SIM_SRC) $(CORE_SRC)

build/sim/quorum_scenario: $(wildcard test/scenarios/*.c) $(SIM_SRC) $(SIM_HEADERS) $(CORE_SRC) $(SRC_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -Itest/sim -o $@ $(wildcard test/scenarios/*.c) $(filter-out test/sim/main.c,$(SIM_SRC)) $(CORE_SRC)

tidy:
	@test/tidy.sh

# ---- real servers -------------------------------------------------------------------------

# What is missing is installed first; only a fresh make then sees it.  MAKEFLAGS hands
# PG_CONFIG, FAULT and the like on.
FAULT ?= kill
ROUNDS ?= 3
NODES ?= 3
BINDIR = $(shell $(PG_CONFIG) --bindir)

drill bench test: %: deps
	@$(MAKE) --no-print-directory $*-run

deps:
	@test/install-deps.sh

writer: build/drill/writer
build/drill/writer: test/drill/writer.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -I$$($(PG_CONFIG) --includedir) -o $@ $< -L$$($(PG_CONFIG) --libdir) -lpq

installed:
	@echo "building and installing pg_quorum for $$($(PG_CONFIG) --version)"
	@mkdir -p build
	@$(MAKE) -s --no-print-directory all writer >build/make.log 2>&1 && $(MAKE) -s --no-print-directory install >>build/make.log 2>&1 \
	 || { cat build/make.log; exit 1; }

drill-run: installed
	@perl test/drill/drill.pl --bindir "$(BINDIR)" --writer build/drill/writer --fault "$(FAULT)" --rounds "$(ROUNDS)" --nodes "$(NODES)"

bench-run: installed
	@perl test/drill/bench.pl --bindir "$(BINDIR)"

test-run:
	@perl test/run.pl

.PHONY: all core unit unit-build sim sim-build scenarios scenarios-build tidy drill bench test deps \
	writer installed drill-run bench-run test-run FORCE
