# rules.mk: what is built with the sanitizers of the compiler, and run.  docs/fuzzing.md
#
#   make sanitize [SEEDS=150]              unit tests, scenarios, simulator; no server needed
#   make fuzz-check [RUNS=n] [SEED=n]      every decoder, seeds and random mutations of them
#   make fuzz [TARGET=name] [SECONDS=600]  the same with clang's libFuzzer, led by coverage
#   make sanitize-servers [TESTS='010 020']   the tests on real clusters, library and programs sanitized

# A finding ends the program: it is never one line among others.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

# ---- the core and its tests ---------------------------------------------------------------

ASAN_DIR = build/sanitize
ASAN_CFLAGS = $(TEST_CFLAGS) $(SANITIZE)
ASAN_CORE = $(CORE_SRC:src/%.c=$(ASAN_DIR)/%.o)
ASAN_SIM = $(SIM_SRC:test/%.c=$(ASAN_DIR)/%.o)
ASAN_SCENARIO = $(patsubst test/%.c,$(ASAN_DIR)/%.o,$(wildcard test/scenarios/*.c))
ASAN_UNIT = $(UNIT_TESTS:build/core-tests/%=$(ASAN_DIR)/unit/%)

sanitize-build: $(ASAN_UNIT) $(ASAN_DIR)/quorum_sim $(ASAN_DIR)/quorum_scenario
sanitize: sanitize-build
	prove $(ASAN_UNIT)
	prove --exec $(ASAN_DIR)/quorum_scenario $(SCENARIOS)
	$(ASAN_DIR)/quorum_sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),150))

$(ASAN_DIR)/core/%.o: src/core/%.c $(SRC_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(ASAN_CFLAGS) -c -o $@ $<
$(ASAN_DIR)/sim/%.o: test/sim/%.c $(SIM_HEADERS) $(SRC_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(ASAN_CFLAGS) -Itest/sim -c -o $@ $<
$(ASAN_DIR)/scenarios/%.o: test/scenarios/%.c $(SIM_HEADERS) $(SRC_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(ASAN_CFLAGS) -Itest/sim -c -o $@ $<
$(ASAN_DIR)/quorum_sim: $(ASAN_SIM) $(ASAN_CORE)
	$(CC) $(ASAN_CFLAGS) -o $@ $^
$(ASAN_DIR)/quorum_scenario: $(ASAN_SCENARIO) $(filter-out %/main.o,$(ASAN_SIM)) $(ASAN_CORE)
	$(CC) $(ASAN_CFLAGS) -o $@ $^
$(ASAN_DIR)/unit/%: test/core/%.c $(UNIT_HELPERS) $(ASAN_CORE) $(SRC_HEADERS) $(wildcard test/core/*.h)
	@mkdir -p $(@D)
	$(CC) $(ASAN_CFLAGS) -Itest/core -o $@ $< $(UNIT_HELPERS) $(ASAN_CORE)

# ---- decoders -----------------------------------------------------------------------------

# What each target is made of, beside itself and its driver.  Parts: see the rules below.
FUZZ_NET = $(NET_SRC:src/%.c=%)
FUZZ_PARTS_message = core/quorum_message fuzz/samples
FUZZ_PARTS_state = core/quorum_message net/report fuzz/samples fuzz/host
FUZZ_PARTS_invitation = core/quorum_message core/quorum_members net/invitation net/report fuzz/samples fuzz/host
FUZZ_PARTS_transport = core/quorum_message core/quorum_members $(filter net/transport%,$(FUZZ_NET)) net/report \
	fuzz/samples fuzz/host fuzz/network
FUZZ_PARTS_secrets = net/transport_frame net/report fuzz/host
FUZZ_PARTS_token = fuzz/memory fuzz/host
FUZZ_PARTS_witness = witness/config bin/options fuzz/memory fuzz/host
FUZZ_PARTS_journal = fuzz/server fuzz/server_never
FUZZ_PARTS_history = fuzz/server fuzz/server_never
FUZZ_PARTS_rollback = fuzz/server fuzz/server_never
FUZZ_PARTS_conninfo = fuzz/server fuzz/server_never
FUZZ_PARTS_proof = fuzz/server fuzz/server_never
FUZZ_PARTS_settings = fuzz/server fuzz/server_never bin/options fuzz/memory fuzz/host
FUZZ_SERVER = journal history rollback conninfo proof settings
FUZZ_TARGETS = message state invitation transport secrets token witness $(FUZZ_SERVER)

# The linker leads these calls to the target or to memory.c.
FUZZ_WRAP_transport = recv send connect getaddrinfo freeaddrinfo pg_strong_random pthread_create
FUZZ_WRAP_token = exit free
FUZZ_WRAP_witness = exit free
FUZZ_WRAP_settings = exit free

# In each of them.
FUZZ_PARTS = fuzz/driver fuzz/strings

FUZZ_CFLAGS = -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -Wno-unused-function -fno-strict-aliasing $(SANITIZE) \
	-Isrc/core -Isrc/net -Isrc/pg -Isrc/witness -Itest/fuzz $(addprefix -isystem ,$(FUZZ_INCLUDES)) -DPGQ_VERSION='"$(BIN_VERSION)"' \
	-DUSE_ASSERT_CHECKING
FUZZ_INCLUDES = $(shell $(PG_CONFIG) --includedir-server) $(shell $(PG_CONFIG) --pkgincludedir)/internal \
	$(shell $(PG_CONFIG) --includedir)
FUZZ_LIBS = -L$(shell $(PG_CONFIG) --pkglibdir) -L$(shell $(PG_CONFIG) --libdir) -lpq -lpgcommon -lpgport -lcrypto -lm
FUZZ_HEADERS = $(SRC_HEADERS) $(wildcard src/bin/*.h src/witness/*.h test/fuzz/*.h)

# Parts of the server are compiled as such.
FUZZ_SIDE = -DFRONTEND

# fuzz_engine <directory> <compiler> <flags>: every part, and every target, for one engine.
define fuzz_engine
build/fuzz/$(1)/core/%.o: src/core/%.c $$(FUZZ_HEADERS)
	@mkdir -p $$(@D)
	$(2) $$(FUZZ_CFLAGS) $(3) -c -o $$@ $$<
build/fuzz/$(1)/fuzz/%.o: test/fuzz/%.c $$(FUZZ_HEADERS) $$(NET_SRC) $$(PG_SRC) $$(wildcard src/bin/*.c)
	@mkdir -p $$(@D)
	$(2) $$(FUZZ_CFLAGS) $(3) $$(FUZZ_SIDE) -c -o $$@ $$<
build/fuzz/$(1)/%.o: src/%.c $$(FUZZ_HEADERS)
	@mkdir -p $$(@D)
	$(2) $$(FUZZ_CFLAGS) $(3) -DFRONTEND -c -o $$@ $$<
$(patsubst %,build/fuzz/$(1)/fuzz/fuzz_%.o,$(FUZZ_SERVER)) build/fuzz/$(1)/fuzz/server.o: FUZZ_SIDE =
$(foreach target,$(FUZZ_TARGETS),$(call fuzz_target,$(1),$(2),$(3),$(target)))
endef
define fuzz_target
build/fuzz/$(1)/fuzz_$(4): $(patsubst %,build/fuzz/$(1)/%.o,fuzz/fuzz_$(4) $(FUZZ_PARTS) $(FUZZ_PARTS_$(4)))
	$(2) $$(FUZZ_CFLAGS) $(3) $(if $(filter clang,$(2)),-fsanitize=fuzzer) -o $$@ $$^ $(addprefix -Wl$(comma)--wrap=,$(FUZZ_WRAP_$(4))) $$(FUZZ_LIBS)

endef
comma = ,
$(eval $(call fuzz_engine,check,$(CC),))
$(eval $(call fuzz_engine,guided,clang,-fsanitize=fuzzer-no-link -DFUZZ_LIBFUZZER -Wno-ignored-attributes))

# leaks are for memory.c to see: what the command takes, its end gives back
FUZZ_CHECKS = $(FUZZ_TARGETS:%=build/fuzz/check/fuzz_%)
fuzz-build: $(FUZZ_CHECKS)
fuzz-check: fuzz-build
	@set -e; for target in $(if $(TARGET),build/fuzz/check/fuzz_$(TARGET),$(FUZZ_CHECKS)); do \
		ASAN_OPTIONS=detect_leaks=0 $$target $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)); done

# One after the other; what is found stays in build/fuzz/found, the corpus in build/fuzz/corpus.
FUZZ_GUIDED = $(if $(TARGET),$(TARGET),$(FUZZ_TARGETS))
fuzz: $(foreach target,$(FUZZ_GUIDED),build/fuzz/check/fuzz_$(target) build/fuzz/guided/fuzz_$(target))
	@set -e; mkdir -p build/fuzz/found build/fuzz/corpus; for name in $(FUZZ_GUIDED); do \
		build/fuzz/check/fuzz_$$name --write build/fuzz/corpus/$$name; \
		nice build/fuzz/guided/fuzz_$$name -max_total_time=$(or $(SECONDS),600) -max_len=16384 -timeout=10 -rss_limit_mb=2048 \
			-detect_leaks=0 -artifact_prefix=$(CURDIR)/build/fuzz/found/$$name- -print_final_stats=1 $(CURDIR)/build/fuzz/corpus/$$name \
			>build/fuzz/$$name.log 2>&1 || { tail -60 build/fuzz/$$name.log; exit 1; }; \
		echo "$$name: $$(sed -n 's/.*\(cov: [0-9]* ft: [0-9]*\).*/\1/p' build/fuzz/$$name.log | tail -1)," \
			"$$(sed -n 's/^stat::number_of_executed_units: //p' build/fuzz/$$name.log) executions"; done

# Needs root, and patchelf.
sanitize-servers:
	@test/fuzz/servers.sh $(TESTS)

.PHONY: sanitize sanitize-build sanitize-servers fuzz fuzz-build fuzz-check
