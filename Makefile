# SPDX-License-Identifier: Apache-2.0
#
# One Makefile for the whole tree, not recursive. `make help` says what can be asked for.
# Sources are found by wildcard: a new file needs no line here, a new folder of lib/ needs one in lib/layers.

VERSION := 0.2.0

# ---- Paths ----

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
BASHCOMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPLETIONDIR ?= $(PREFIX)/share/zsh/site-functions
FISHCOMPLETIONDIR ?= $(PREFIX)/share/fish/vendor_completions.d
EXAMPLEDIR ?= $(PREFIX)/share/doc/drmq/examples
# systemd looks below /usr/lib and /usr/local/lib.
SYSTEMDDIR ?= $(PREFIX)/lib/systemd
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d

# A build with other flags has a folder of its own, so that switching back and forth costs nothing.
comma := ,
VARIANT := $(if $(SANITIZE),sanitize-$(subst $(comma),-,$(SANITIZE)))$(if $(COVERAGE),coverage)
B := build$(addprefix /,$(VARIANT))

# ---- Flags: ours first, the user's CPPFLAGS, CFLAGS and LDFLAGS last ----

LIBRARIES := libsystemd libprotobuf-c libzstd liblz4 zlib jansson
PROTOC_C ?= protoc-c
PKG_CONFIG ?= pkg-config
OBJCOPY ?= objcopy
PROVE ?= prove
CLANG ?= clang
FUZZ_SECONDS ?= 10
SOAK ?= 60s
SOAK_FIRST ?= 1000000
PROVE_JOBS ?= $(shell nproc)

our_cppflags = -D_GNU_SOURCE -DDRMQ_VERSION='"$(VERSION)"' -Ilib -I$(B)/gen -I. $(PKG_CFLAGS)
our_warnings := -Wall -Wextra -Wmissing-prototypes -Wstrict-prototypes -Wshadow -Wvla -Wformat=2 -Wundef
our_cflags := -std=gnu17 -O2 -g -fvisibility=hidden -fPIC -pthread $(our_warnings)
our_ldflags := -pthread -Wl,--as-needed
libs = $(PKG_LIBS) -lsnappy

ifneq ($(DEVELOPER),)
our_cflags += -Werror
endif
ifneq ($(SANITIZE),)
# Instrumented code makes gcc warn of what is not there.
our_cflags += -Wno-error -Wno-array-bounds
our_cflags += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
our_ldflags += -fsanitize=$(SANITIZE)
endif
ifneq ($(COVERAGE),)
our_cflags += -O0 --coverage
our_ldflags += --coverage
endif

compile = $(CC) $(our_cppflags) $(CPPFLAGS) $(our_cflags) $(CFLAGS) -MMD -MP -c -o $@ $<
compile_planted = $(CC) -DDRMQ_PLANTED_BUGS $(our_cppflags) $(CPPFLAGS) $(our_cflags) $(CFLAGS) -MMD -MP -c -o $@ $<
link = $(CC) $(our_ldflags) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(libs) $(CFLAGS) $(LDFLAGS)

# With V=1 the commands themselves are shown, else a line for each file made.
say = $(if $(V),,@printf '  %-8s %s\n' $(1) $@;)
quiet := $(if $(V),,@)

# ---- Sources ----

proto_src := $(wildcard lib/proto/drmq.proto)
proto_obj := $(proto_src:lib/proto/%.proto=$(B)/obj/gen/proto/%.pb-c.o)
proto_header := $(proto_src:lib/proto/%.proto=$(B)/gen/proto/%.pb-c.h)

objects = $(patsubst %.c,$(B)/obj/%.o,$(1))

lib_obj := $(call objects,$(sort $(wildcard lib/*/*.c))) $(proto_obj)
# The daemon's configuration is tested and fuzzed as the core is.
api_obj := $(call objects,$(sort $(wildcard lib/api/*.c)))
core_obj := $(call objects,$(sort $(wildcard drmqd/core/*.c drmqd/config*.c)))
test_obj := $(call objects,$(sort $(wildcard tests/lib/*.c) $(filter-out tests/sim/main.c,$(wildcard tests/sim/*.c))))

private_lib := $(B)/lib/libdrmq-private.a
core_lib := $(B)/lib/libdrmq-core.a
test_lib := $(B)/lib/libdrmq-test.a
shared_lib := $(B)/lib/libdrmq.so $(if $(SANITIZE)$(COVERAGE),,$(B)/lib/libdrmq.a)

# The simulator, and a daemon for the crash tests, can switch on the planted bugs of base/bug.h.
P := $(B)/planted
planted_lib := $(P)/libdrmq-planted.a
planted_obj := $(patsubst $(B)/obj/%,$(P)/obj/%,$(filter-out $(proto_obj),$(lib_obj) $(core_obj) $(test_obj))) $(proto_obj)
planted_daemon := $(if $(wildcard drmqd/main.c),$(P)/bin/drmqd)

tools := $(patsubst %/main.c,%,$(wildcard drmq*/main.c))
programs := $(addprefix $(B)/bin/,$(tools) $(if $(wildcard tests/sim/main.c),drmq-sim))

# A tool's completions are what all tools share, and its own.
C := $(B)/completions
completions := $(tools:%=$(C)/bash/%) $(tools:%=$(C)/zsh/_%) $(tools:%=$(C)/fish/%.fish)

unit_tests := $(patsubst %.c,$(B)/%,$(sort $(wildcard tests/unit/test-*.c)))
fuzz_names := $(patsubst tests/fuzz/fuzz-%.c,%,$(sort $(wildcard tests/fuzz/fuzz-*.c)))
replays := $(addprefix $(B)/tests/fuzz/replay-,$(fuzz_names))
sim_suites := $(sort $(wildcard tests/sim/*.bats))
crash_suites := $(sort $(wildcard tests/crash-*.bats))
tool_suites := $(filter-out $(crash_suites),$(sort $(wildcard tests/*.bats)))
manager := $(B)/tests/manager/manager
benches := $(patsubst tests/bench/%.c,$(B)/bench/%,$(sort $(wildcard tests/bench/*.c)))

# ---- Goals ----

.PHONY: all help clean
.DELETE_ON_ERROR:
.SECONDARY:

all: $(programs) $(private_lib) $(core_lib) $(shared_lib) $(completions)

help:
	@echo 'make                      everything, to build/bin and build/lib'
	@echo 'make run, make stop       install what is missing, build, start a node, pipe a file through it; stop it'
	@echo 'make check                install what is missing, run all tests but the slow ones:'
	@echo '                          check-unit, check-raft, check-sim, check-tools each on their own'
	@echo 'make check-crash          kill -9, power cuts, full disks, against the real daemon'
	@echo 'make check-threads        the library in several threads, under the thread sanitizer'
	@echo 'make check-valgrind       the unit tests under valgrind'
	@echo 'make soak                 the simulator on further seeds, for SOAK=$(SOAK) from SOAK_FIRST=$(SOAK_FIRST) on'
	@echo 'make fuzz                 each fuzz target (FUZZ_TARGETS=) for FUZZ_SECONDS=$(FUZZ_SECONDS), or FUZZ_RUNS= executions (recovery: a thousandth),'
	@echo '                          with clang; FUZZ_SANITIZE=none is for volume'
	@echo 'make COVERAGE=1 coverage  all tests, then what they reach of each file'
	@echo 'make lint, make format    rules of the house; formatting applied'
	@echo 'make bench                what tests/bench holds, to build/bench'
	@echo 'make install              DESTDIR= PREFIX=$(PREFIX)'
	@echo 'V=1 shows commands; DEVELOPER=1 adds -Werror; SANITIZE=address,undefined and COVERAGE=1 build below build/'

clean:
	rm -rf build

# What pkg-config says, asked once. Where a library is missing, the goals that promise to install it do; the others name it.
installing_goals := run check check-unit check-raft check-sim check-tools check-crash check-valgrind coverage fuzz lint soak
ifneq ($(filter-out clean help format stop install-systemd deps-%,$(or $(MAKECMDGOALS),all)),)
include $(B)/packages.mk
endif

$(B)/packages.mk: Makefile tests/lib/deps.sh
	@mkdir -p $(@D)
	$(quiet)tests/lib/deps.sh $(if $(filter $(installing_goals),$(MAKECMDGOALS)),,--only-check) build
	$(quiet){ echo "PKG_CFLAGS := $$($(PKG_CONFIG) --cflags $(LIBRARIES))" && \
	  echo "PKG_LIBS := $$($(PKG_CONFIG) --libs $(LIBRARIES))"; } > $@

# Anything built depends on the flags it was built with.
flags_now = $(CC) $(our_cppflags) $(CPPFLAGS) $(our_cflags) $(CFLAGS) $(our_ldflags) $(LDFLAGS) $(libs)
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(flags_now))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(flags_now))' > $@

.PHONY: FORCE deps-check deps-more
FORCE:

deps-check:
	@tests/lib/deps.sh build check
deps-more:
	@tests/lib/deps.sh build check more

# ---- Rules ----

$(B)/gen/proto/%.pb-c.c $(B)/gen/proto/%.pb-c.h &: lib/proto/%.proto
	@mkdir -p $(B)/gen
	$(call say,PROTOC)$(PROTOC_C) --proto_path=lib --c_out=$(B)/gen $<

$(B)/obj/gen/%.o: $(B)/gen/%.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(compile)

$(B)/obj/%.o: %.c $(B)/flags | $(proto_header)
	@mkdir -p $(@D)
	$(call say,CC)$(compile)

$(P)/obj/%.o: %.c $(B)/flags | $(proto_header)
	@mkdir -p $(@D)
	$(call say,CC)$(compile_planted)

$(private_lib): $(lib_obj)
$(core_lib): $(core_obj)
$(test_lib): $(test_obj)
$(B)/lib/%.a:
	@mkdir -p $(@D)
	$(call say,AR)rm -f $@ && ar rcs $@ $^

# The public functions, and of the rest what they need.
$(B)/lib/libdrmq.so.0: $(api_obj) $(private_lib) lib/libdrmq.sym
	$(call say,LINK)mkdir -p $(@D) && $(CC) -shared $(our_ldflags) -Wl,-soname,$(@F) -Wl,--version-script,lib/libdrmq.sym \
	  -o $@ $(api_obj) $(private_lib) $(libs) $(CFLAGS) $(LDFLAGS)

# The same as one object, whose other names nobody sees.
$(B)/lib/libdrmq.a: $(api_obj) $(private_lib)
	$(call say,AR)$(CC) -r -nostdlib -o $(@:.a=.o) $(api_obj) $(private_lib) && \
	  $(OBJCOPY) --localize-hidden $(@:.a=.o) && rm -f $@ && ar rcs $@ $(@:.a=.o)

$(B)/lib/libdrmq.so: $(B)/lib/libdrmq.so.0
	$(quiet)ln -sf $(<F) $@

# A tool is made of all sources of its folder; the daemon and the simulator link the broker core too.
define tool
$(B)/bin/$(1): $(call objects,$(sort $(wildcard $(1)/*.c))) $(if $(filter drmqd,$(1)),$(core_lib)) $(private_lib)
	@mkdir -p $$(@D)
	$$(call say,LINK)$$(link)
endef
$(foreach t,$(tools),$(eval $(call tool,$(t))))

$(C)/bash/%: lib/cli/completion/common.bash %/completion.bash
	@mkdir -p $(@D)
	$(quiet)cat $^ > $@
$(C)/fish/%.fish: lib/cli/completion/common.fish %/completion.fish
	@mkdir -p $(@D)
	$(quiet)cat $^ > $@
# zsh wants to read what it is for in the first line.
$(C)/zsh/_%: %/completion.zsh lib/cli/completion/common.zsh
	@mkdir -p $(@D)
	$(quiet){ head -n 1 $< && cat lib/cli/completion/common.zsh && tail -n +2 $<; } > $@

$(planted_lib): $(planted_obj)
	$(call say,AR)rm -f $@ && ar rcs $@ $^

$(B)/bin/drmq-sim: $(P)/obj/tests/sim/main.o $(planted_lib)
	@mkdir -p $(@D)
	$(call say,LINK)$(link)

$(P)/bin/drmqd: $(patsubst %.c,$(P)/obj/%.o,$(sort $(wildcard drmqd/*.c))) $(planted_lib)
	@mkdir -p $(@D)
	$(call say,LINK)$(link)

$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(test_lib) $(core_lib) $(private_lib)
	@mkdir -p $(@D)
	$(call say,LINK)$(link)

$(manager): $(B)/obj/tests/manager/main.o $(private_lib)
	@mkdir -p $(@D)
	$(call say,LINK)$(link)

$(B)/tests/fuzz/replay-%: $(B)/obj/tests/fuzz/fuzz-%.o $(B)/obj/tests/fuzz/replay-main.o $(test_lib) $(core_lib) $(private_lib)
	@mkdir -p $(@D)
	$(call say,LINK)$(link)

$(B)/bench/%: $(B)/obj/tests/bench/%.o $(test_lib) $(core_lib) $(private_lib)
	@mkdir -p $(@D)
	$(call say,LINK)$(link)

.PHONY: bench
bench: all $(benches)

# ---- Tests: programs and bats suites alike speak TAP; one prove runs them and prints the totals ----

.PHONY: check check-unit check-raft check-sim check-tools check-crash check-valgrind tests

tests: all $(unit_tests) $(replays) $(planted_daemon) $(manager)

# Suites find what to test in $DRMQ_BUILD, and the tools on the PATH.
test_environment = DRMQ_BUILD='$(abspath $(B))' PATH='$(abspath $(B))/bin':"$$PATH"
# Takes the tests' names; where a folder is still empty there is nothing to run.
run_tests = $(if $(strip $(1)),$(quiet)$(test_environment) $(2) $(PROVE) -j$(PROVE_JOBS) --failures --comments --exec tests/lib/run-test.sh $(PROVE_FLAGS) $(1),@echo 'Nothing to run.')

check: deps-check tests
	$(call run_tests,$(unit_tests) $(replays) $(sim_suites) $(tool_suites))
check-unit: deps-check $(unit_tests) $(replays)
	$(call run_tests,$(unit_tests) $(replays))
check-raft: deps-check $(filter %/test-raft% ,$(unit_tests))
	$(call run_tests,$(filter $(B)/tests/unit/test-raft%,$(unit_tests)))
check-sim: deps-check all
	$(call run_tests,$(sim_suites))
check-tools: deps-check all $(manager)
	$(call run_tests,$(tool_suites))
# The simulator on seeds of its own, for as long as it is told; a seed that fails is printed, and replays.
.PHONY: soak
soak: deps-check all
	$(quiet)$(B)/bin/drmq-sim --first $(SOAK_FIRST) --for $(SOAK)
check-crash: deps-more all $(planted_daemon) $(manager)
	$(call run_tests,$(crash_suites))
# A build of its own, with the thread sanitizer.
.PHONY: check-threads
check-threads:
	$(quiet)$(MAKE) --no-print-directory SANITIZE=thread build/sanitize-thread/tests/unit/test-api-threads
	$(quiet)build/sanitize-thread/tests/unit/test-api-threads
# All but the test of the test harness, which starts itself anew to fail and crash on purpose.
check-valgrind: deps-more $(unit_tests)
	$(call run_tests,$(filter-out %/test-test,$(unit_tests)),DRMQ_TEST_TIMEOUT=600 DRMQ_TEST_WRAPPER='valgrind -q --error-exitcode=99 --leak-check=full')

# `make COVERAGE=1 coverage`: all tests, then the part of each file's lines that they ran, least first.
.PHONY: coverage
coverage: check
	$(if $(COVERAGE),,$(error coverage needs COVERAGE=1))
	$(quiet)find $(B)/obj/lib $(B)/obj/drmq* -name '*.gcda' -exec gcov -n -r -s '$(CURDIR)' {} + 2>/dev/null | \
	  awk -F "[':% ]+" '/^File/ { f = $$2 } /^Lines executed/ && f ~ /[.]c$$/ { printf "%7s%% %s\n", $$3, f; f = "" }' | sort -n

# ---- Fuzzing: objects of their own, by clang, with the planted bugs to switch on ----
# FUZZ_SANITIZE=none is for volume: four to ten times as many executions, and what only the address sanitizer sees goes
# unseen. FUZZ_RUNS counts executions of each target instead of seconds.

FUZZ_SANITIZE ?= address
FUZZ_TARGETS ?= $(fuzz_names)
F := build/fuzz$(if $(filter none,$(FUZZ_SANITIZE)),/fast)
fuzz_flags := -DDRMQ_PLANTED_BUGS -fno-omit-frame-pointer $(if $(filter none,$(FUZZ_SANITIZE)),,-fsanitize=$(FUZZ_SANITIZE))
fuzz_coverage := $(if $(filter none,$(FUZZ_SANITIZE)),-fsanitize-coverage=inline-8bit-counters$(comma)pc-table,-fsanitize=fuzzer-no-link)
fuzz_obj := $(patsubst $(B)/obj/%,$(F)/obj/%,$(lib_obj) $(core_obj) $(test_obj)) $(F)/obj/tests/fuzz/plant.o

$(F)/obj/gen/%.o: $(B)/gen/%.c $(B)/packages.mk
	@mkdir -p $(@D)
	$(call say,CLANG)$(CLANG) $(our_cppflags) $(our_cflags) $(fuzz_flags) $(fuzz_coverage) -MMD -MP -c -o $@ $<
$(F)/obj/%.o: %.c $(B)/packages.mk | $(proto_header)
	@mkdir -p $(@D)
	$(call say,CLANG)$(CLANG) $(our_cppflags) $(our_cflags) $(fuzz_flags) $(fuzz_coverage) -MMD -MP -c -o $@ $<
$(F)/libdrmq-fuzz.a: $(fuzz_obj)
	$(call say,AR)rm -f $@ && ar rcs $@ $^
$(F)/fuzz-%: $(F)/obj/tests/fuzz/fuzz-%.o $(F)/obj/tests/fuzz/plant.o $(F)/libdrmq-fuzz.a
	$(call say,LINK)$(CLANG) $(our_ldflags) $(fuzz_flags) -fsanitize=fuzzer -o $@ $^ $(libs)

.PHONY: fuzz
fuzz: deps-more $(addprefix $(F)/fuzz-,$(FUZZ_TARGETS))
	$(call run_tests,$(addprefix $(F)/fuzz-,$(FUZZ_TARGETS)) $(if $(FUZZ_RUNS),,tests/fuzz/planted.sh),FUZZ_FOLDER='$(F)' FUZZ_SECONDS='$(FUZZ_SECONDS)' FUZZ_RUNS='$(FUZZ_RUNS)')

# ---- Lint: each script of tests/lint holds one rule of the house ----

.PHONY: lint format
sources := $(sort $(wildcard lib/*.h lib/*/*.[ch] drmqd/core/*.[ch] drmq*/*.[ch] man/examples/*.c tests/*/*.[ch]))

lint: deps-more all
	$(call run_tests,$(sort $(wildcard tests/lint/check-*.sh)),CC='$(CC)' LINT_CFLAGS="$(subst ",\",$(our_cppflags) $(our_cflags))")

format:
	$(quiet)clang-format -i $(sources)

# ---- Install and run ----

.PHONY: install install-built install-systemd run stop
install: all install-built install-systemd
	$(if $(DESTDIR),,systemd/apply.sh $(SYSUSERSDIR)/drmq.conf $(TMPFILESDIR)/drmq.conf)

# What is built, without a look at whether it is: what the tests install.
install-built: $(if $(filter install,$(MAKECMDGOALS)),all)
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR)
	$(if $(tools),install $(addprefix $(B)/bin/,$(tools)) $(DESTDIR)$(BINDIR)/)
	install -m 644 $(B)/lib/libdrmq.so.0 $(filter %.a,$(shared_lib)) $(DESTDIR)$(LIBDIR)/
	ln -sf libdrmq.so.0 $(DESTDIR)$(LIBDIR)/libdrmq.so
	install -m 644 lib/drmq.h $(DESTDIR)$(INCLUDEDIR)/
	sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@INCLUDEDIR@|$(INCLUDEDIR)|; s|@VERSION@|$(VERSION)|' \
	  lib/libdrmq.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/libdrmq.pc
	install -d $(DESTDIR)$(EXAMPLEDIR)
	install -m 644 $(wildcard man/examples/*) $(DESTDIR)$(EXAMPLEDIR)/
	for page in $(wildcard man/*.[1-8]); do \
	  install -D -m 644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/} || exit; done
# `man drmq_producer_send` shows the page that has it.
	for page in $(wildcard man/*.3); do \
	  for name in $$(sed -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \(drmq_[a-z0-9_]*\).*/\1/p' $$page); do \
	    [ "man/$$name.3" = $$page ] || echo ".so man3/$${page##*/}" > $(DESTDIR)$(MANDIR)/man3/$$name.3 || exit; \
	  done; done

# Units, user, folders, catalog: nothing of it is built.
install-systemd:
	install -d $(DESTDIR)$(SYSTEMDDIR)/system
	sed 's|@BINDIR@|$(BINDIR)|' systemd/drmqd@.service > $(DESTDIR)$(SYSTEMDDIR)/system/drmqd@.service
	install -m 644 systemd/drmqd@.socket $(DESTDIR)$(SYSTEMDDIR)/system/
	install -d $(DESTDIR)$(BASHCOMPLETIONDIR) $(DESTDIR)$(ZSHCOMPLETIONDIR) $(DESTDIR)$(FISHCOMPLETIONDIR)
	install -m 644 $(tools:%=$(C)/bash/%) $(DESTDIR)$(BASHCOMPLETIONDIR)/
	install -m 644 $(tools:%=$(C)/zsh/_%) $(DESTDIR)$(ZSHCOMPLETIONDIR)/
	install -m 644 $(tools:%=$(C)/fish/%.fish) $(DESTDIR)$(FISHCOMPLETIONDIR)/
	install -d $(DESTDIR)$(EXAMPLEDIR)
	install -m 644 systemd/node.conf systemd/throughput.conf systemd/latency.conf $(DESTDIR)$(EXAMPLEDIR)/
	install -D -m 644 systemd/drmq.catalog $(DESTDIR)$(SYSTEMDDIR)/catalog/drmq.catalog
	install -D -m 644 systemd/drmq-sysusers.conf $(DESTDIR)$(SYSUSERSDIR)/drmq.conf
	install -D -m 644 systemd/drmq-tmpfiles.conf $(DESTDIR)$(TMPFILESDIR)/drmq.conf

run: $(addprefix $(B)/bin/,$(tools))
	$(quiet)tests/lib/deps.sh build
	$(quiet)DRMQ_BUILD='$(abspath $(B))' tests/lib/run-demo.sh

stop:
	$(quiet)tests/lib/run-demo.sh --stop

-include $(shell find $(B)/obj $(P)/obj $(F)/obj -name '*.d' 2>/dev/null)
