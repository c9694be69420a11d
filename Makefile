# SPDX-License-Identifier: Apache-2.0
#
# One Makefile, not recursive. `make help` lists the targets.
# Variables: CC=gcc|clang  SAN=address,undefined  V=1  PREFIX=  DESTDIR=

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
V ?= 0
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),@:,@printf '  %-6s %s\n' '$(1)' '$(2)')

comma := ,
variant := $(if $(SAN),$(notdir $(CC))-$(subst $(comma),-,$(SAN)),$(if $(filter gcc,$(notdir $(CC))),default,$(notdir $(CC))))
B := build/$(variant)
GEN := build/gen

# ------------------------------------------------------------------ flags
WARN := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wformat=2 -Werror
ifneq ($(findstring clang,$(CC)),clang)
# snprintf() into a field of fixed size cuts what is too long: meant so.
WARN += -Wjump-misses-init -Wno-format-truncation
endif
# Each probed: an older or other compiler goes without.
probe = $(shell printf 'int main(void){return 0;}' | $(CC) $(1) -Werror -x c - -o /dev/null 2>/dev/null && echo '$(1)')
HARDEN := $(call probe,-fstack-protector-strong) $(call probe,-fstack-clash-protection) \
	$(call probe,-fcf-protection=full) $(call probe,-ftrivial-auto-var-init=zero) \
	-fno-strict-overflow -fno-delete-null-pointer-checks
ifeq ($(SAN),)
OPT := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
else
OPT := -O1 -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
CFLAGS ?= -g
ALL_CFLAGS := -std=gnu17 -D_GNU_SOURCE -I. -I$(GEN) $(WARN) $(OPT) $(HARDEN) \
	-DHYB_VERSION='"$(VERSION)"' -fPIE -ffunction-sections -fdata-sections $(CFLAGS)
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections \
	$(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
STATIC_LDFLAGS := $(if $(SAN),$(ALL_LDFLAGS),-static-pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections $(LDFLAGS))

LIBS_COMMON := -ljansson -lpthread
LIBS_HOST := -lvirt -lvirt-qemu -lyaml -lsqlite3 -lcrypto -lnftables -lnl-3 $(LIBS_COMMON)
LIBS_IMAGE := -lisal -lcrypto -lzstd $(LIBS_COMMON)
LIBS_DEVICE := $(LIBS_COMMON)
LIBS_GUEST := -lseccomp $(LIBS_COMMON)

# ---------------------------------------------------------------- sources
src = $(wildcard $(addsuffix /*.c,$(1)))
lib = $(filter-out %/main.c,$(call src,$(1)))
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))

COMMON_SRC := $(call lib,common/base common/varlink common/oci common/tree)
HOST_SRC := $(call lib,$(addprefix host-agent/,manifest model plan state secret volume reconcile tenant image disk virt net guest))
HYBD_SRC := $(call src,host-agent/hybd host-agent/api)
CLI_SRC := $(call src,host-agent/cli)
IMAGE_SRC := $(call src,host-agent/image/convert)
VSOCKD_SRC := $(call src,host-agent/vsockd)
PORTD_SRC := $(call src,host-agent/portd)
FSD_SRC := $(call src,host-agent/fsd)
DHCPD_SRC := $(call src,host-agent/dhcpd)
GUEST_SRC := $(call lib,guest-agent/container guest-agent/sys)
AGENT_SRC := $(call src,guest-agent/init guest-agent/rpc)
RUNTIME_SRC := $(call src,guest-agent/runtime)
ALL_SRC := $(COMMON_SRC) $(HOST_SRC) $(HYBD_SRC) $(CLI_SRC) $(IMAGE_SRC) \
	$(VSOCKD_SRC) $(PORTD_SRC) $(FSD_SRC) $(DHCPD_SRC) $(GUEST_SRC) $(AGENT_SRC) \
	$(RUNTIME_SRC)

IDL_SRC := $(wildcard common/idl/*.varlink)
IDL_C := $(patsubst common/idl/%.varlink,$(GEN)/idl_%.c,$(IDL_SRC))
IDL_OBJ := $(patsubst $(GEN)/%.c,$(B)/obj/gen/%.o,$(IDL_C))

PROGRAMS := hyb hybd hyb-image hyb-vsockd hyb-portd hyb-fsd hyb-dhcpd hyb-agent \
	hyb-runtime
BINS := $(addprefix $(B)/bin/,$(PROGRAMS))

.PHONY: all help deps programs guest examples check check-unit check-san \
	check-guest check-e2e sanitized bench fuzz demo install uninstall tidy format \
	format-check layers sizes clean
.SECONDARY:

all: programs guest examples sizes ## everything: programs, guest kernel, initramfs, example images

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

programs: $(BINS) ## all programs, without the guest

# --------------------------------------------------------------- compiling
$(GEN)/idl_%.c: common/idl/%.varlink
	$(call say,IDL,$<)
	$(Q)mkdir -p $(@D)
	$(Q){ printf '/* Made from $<. */\n#include "common/varlink/call.h"\nconst char idl_%s[] =\n' '$(subst .,_,$*)'; \
		sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/\t"/' -e 's/$$/\\n"/' $<; printf '\t;\n'; } > $@

$(B)/obj/gen/%.o: $(GEN)/%.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Wno-overlength-strings -MMD -MP -c $< -o $@

$(B)/obj/host-agent/net/%.o: ALL_CFLAGS += -isystem /usr/include/libnl3

$(B)/obj/%.o: %.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

-include $(patsubst %.c,$(B)/obj/%.d,$(ALL_SRC) $(wildcard tests/unit/*.c tests/fuzz/*.c tests/guest/*.c tests/bench/*.c))

define archive_rule
$(B)/lib$(1).a: $$(call obj,$(2)) $(3)
	$$(call say,AR,$$@)
	$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(eval $(call archive_rule,common,$(COMMON_SRC),$(IDL_OBJ)))
$(eval $(call archive_rule,host,$(HOST_SRC)))
$(eval $(call archive_rule,guest,$(GUEST_SRC)))
# What tests link besides: the programs' own folders without main().
TESTED_SRC := $(filter-out %/main.c,$(CLI_SRC) $(HYBD_SRC) $(IMAGE_SRC) $(VSOCKD_SRC) $(PORTD_SRC) $(AGENT_SRC) $(RUNTIME_SRC))
$(eval $(call archive_rule,tested,$(TESTED_SRC)))

define program_rule
$(B)/bin/$(1): $$(call obj,$(2)) $(addprefix $(B)/,$(3))
	$$(call say,LD,$$@)
	$(Q)mkdir -p $$(@D)
	$(Q)$$(CC) $(5) -o $$@ $$(call obj,$(2)) -Wl,--start-group $(addprefix $(B)/,$(3)) -Wl,--end-group $(4)
endef
LIBS_CLI := -lyaml $(LIBS_COMMON)
# The reader of hostile tars is the image converter's.
CLI_TAR_SRC := host-agent/image/convert/tar.c host-agent/image/convert/tar_ext.c
$(eval $(call program_rule,hyb,$(CLI_SRC) $(CLI_TAR_SRC),libhost.a libcommon.a,$(LIBS_CLI),$(ALL_LDFLAGS)))
$(eval $(call program_rule,hybd,$(HYBD_SRC),libhost.a libcommon.a,$(LIBS_HOST),$(ALL_LDFLAGS)))
$(eval $(call program_rule,hyb-image,$(IMAGE_SRC),libcommon.a,$(LIBS_IMAGE),$(ALL_LDFLAGS)))
$(eval $(call program_rule,hyb-vsockd,$(VSOCKD_SRC),libcommon.a,$(LIBS_DEVICE),$(STATIC_LDFLAGS)))
$(eval $(call program_rule,hyb-portd,$(PORTD_SRC),libcommon.a,$(LIBS_DEVICE),$(STATIC_LDFLAGS)))
$(eval $(call program_rule,hyb-fsd,$(FSD_SRC),libcommon.a,$(LIBS_DEVICE),$(STATIC_LDFLAGS)))
$(eval $(call program_rule,hyb-dhcpd,$(DHCPD_SRC),libcommon.a,$(LIBS_DEVICE),$(STATIC_LDFLAGS)))
$(eval $(call program_rule,hyb-agent,$(AGENT_SRC),libguest.a libcommon.a,$(LIBS_GUEST),$(STATIC_LDFLAGS)))
$(eval $(call program_rule,hyb-runtime,$(RUNTIME_SRC),libguest.a libcommon.a,$(LIBS_GUEST),$(STATIC_LDFLAGS)))

# ------------------------------------------------------------------- guest
GUEST := build/guest
guest: $(GUEST)/vmlinux $(GUEST)/initramfs.cpio ## the guest's kernel and initramfs

$(GUEST)/vmlinux: $(wildcard kernel-config/*)
	$(call say,KERNEL,$@)
	$(Q)kernel-config/build.sh $(GUEST)

$(GUEST)/hyb-agent: build/default/bin/hyb-agent
	$(Q)mkdir -p $(@D)
	$(Q)strip -s -o $@ $<

$(GUEST)/initramfs.cpio: $(GUEST)/hyb-agent $(wildcard images/guest/*)
	$(call say,CPIO,$@)
	$(Q)images/guest/build.sh $(GUEST)/hyb-agent $@

EXAMPLES := build/images/busybox.tar build/images/nginx.tar
examples: $(EXAMPLES) ## the example OCI images, from Debian packages
build/images/%.tar: $(wildcard images/oci/*)
	$(call say,IMAGE,$@)
	$(Q)mkdir -p $(@D)
	$(Q)images/oci/build.sh $* $@

sizes: programs $(GUEST)/vmlinux $(GUEST)/initramfs.cpio
	@for f in $(GUEST)/hyb-agent $(GUEST)/initramfs.cpio $(GUEST)/vmlinux; do \
		printf '  size   %-28s %9d bytes\n' $$f $$(stat -c %s $$f); done

# ------------------------------------------------------------------- tests
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/tests/%,$(UNIT_SRC))
TEST_LIBS := $(addprefix $(B)/,libtested.a libhost.a libguest.a libcommon.a)

$(B)/tests/test_%: $(B)/obj/tests/unit/test_%.o $(TEST_LIBS)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(TEST_LIBS) -Wl,--end-group $(LIBS_HOST) $(LIBS_IMAGE) $(LIBS_GUEST) -lcmocka

$(B)/tests/bench_%: $(B)/obj/tests/bench/%.o $(TEST_LIBS)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(TEST_LIBS) -Wl,--end-group $(LIBS_HOST) $(LIBS_IMAGE) $(LIBS_GUEST)

# Replays a corpus without libFuzzer, so that any compiler can.
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(B)/tests/%,$(FUZZ_SRC))
$(B)/tests/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/obj/tests/fuzz/replay.o $(TEST_LIBS)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(TEST_LIBS) -Wl,--end-group $(LIBS_HOST) $(LIBS_IMAGE) $(LIBS_GUEST)

# The agent's calls without what would make processes: see the target.
fuzz_wraps := container_create container_start container_pause container_resume \
	container_kill container_exec container_inside disks_find files_remove mkdir fork
$(B)/tests/fuzz_agent_rpc $(B)/tests/libfuzzer_agent_rpc: \
	ALL_LDFLAGS += $(addprefix -Wl$(comma)--wrap=,$(fuzz_wraps))

.PHONY: unit-programs print-build
unit-programs: $(UNIT_BIN) $(FUZZ_BIN)
print-build:
	@echo $(B)

check: all ## everything that must hold: unit, fuzz corpora, guests, end to end
	@tests/run.sh all
check-unit: programs ## unit tests and fuzz corpora: gcc, then gcc and clang with ASan+UBSan
	@tests/run.sh unit
check-guest: all ## the guest's kernel, agent and engine in real VMs
	@tests/run.sh guest
check-e2e: all ## end to end: real deployments in real VMs
	@tests/run.sh e2e
# As the others are beside them: the device and the publisher of ports confine
# themselves more than a sanitizer can bear.
SANITIZED := hyb hybd hyb-image
sanitized: all ## build/sanitized: hyb, hybd, hyb-image with ASan+UBSan, for HYB_VARIANT
	$(Q)$(MAKE) --no-print-directory SAN=address,undefined $(addprefix build/gcc-address-undefined/bin/,$(SANITIZED))
	$(Q)mkdir -p build/sanitized/bin
	$(Q)cp --remove-destination $(filter-out $(addprefix %/,$(SANITIZED)),$(BINS)) \
		$(addprefix build/gcc-address-undefined/bin/,$(SANITIZED)) build/sanitized/bin/
bench: all $(B)/tests/bench_scratch_ready ## figures; BENCH=NAME for one
	@tests/bench/run.sh $(BENCH)
demo: ## set everything up and run the main job (KEEP=1 leaves it running)
	@docs/examples/demo.sh

# Fuzzing proper: make fuzz FUZZ=manifest SECONDS=60 (needs clang).
FUZZ ?=
SECONDS ?= 60
fuzz: ## fuzz one target with libFuzzer: FUZZ=NAME SECONDS=60
	@test -n "$(FUZZ)" || { echo "make fuzz FUZZ=NAME, one of:" $(patsubst tests/fuzz/fuzz_%.c,%,$(FUZZ_SRC)) >&2; exit 2; }
	$(Q)$(MAKE) --no-print-directory CC=clang SAN=address,undefined,fuzzer-no-link build/clang-address-undefined-fuzzer-no-link/tests/libfuzzer_$(FUZZ)
	$(Q)mkdir -p build/fuzz/$(FUZZ)
	build/clang-address-undefined-fuzzer-no-link/tests/libfuzzer_$(FUZZ) -max_total_time=$(SECONDS) -timeout=5 build/fuzz/$(FUZZ) tests/fuzz/corpus/$(FUZZ)
$(B)/tests/libfuzzer_%: $(B)/obj/tests/fuzz/fuzz_%.o $(TEST_LIBS)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $< -Wl,--start-group $(TEST_LIBS) -Wl,--end-group $(LIBS_HOST) $(LIBS_IMAGE) $(LIBS_GUEST)

# ----------------------------------------------------------------- the rest
deps: ## install what is needed (Debian packages)
	@tests/deps.sh

FORMATTED := $(shell find common host-agent guest-agent images tests -name '*.[ch]' 2>/dev/null)
format: ## let clang-format lay out all sources
	$(Q)clang-format -i $(FORMATTED)
format-check:
	$(Q)clang-format --dry-run -Werror $(FORMATTED)
layers: ## includes point down only
	@tests/layers.sh
tidy: ## clang-tidy over all sources
	$(Q)clang-tidy --quiet $(ALL_SRC) -- -std=gnu17 -D_GNU_SOURCE -I. -DHYB_VERSION='""'

MAN := $(patsubst docs/man/%.scd,build/man/%,$(wildcard docs/man/*.scd))
build/man/%: docs/man/%.scd
	$(call say,MAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)SOURCE_DATE_EPOCH=0 scdoc < $< > $@

D := $(DESTDIR)$(PREFIX)
install: all $(MAN) ## install under DESTDIR and PREFIX
	install -d $(D)/bin $(D)/libexec/hyb $(D)/lib/hyb $(D)/share/doc/hyb/examples $(D)/share/doc/hyb/decisions
	install -m 0755 $(B)/bin/hyb $(D)/bin/
	install -m 0755 $(addprefix $(B)/bin/,hybd hyb-image hyb-vsockd hyb-portd hyb-fsd hyb-dhcpd hyb-runtime) $(D)/libexec/hyb/
	install -m 0444 $(GUEST)/vmlinux $(GUEST)/initramfs.cpio kernel-config/cmdline $(D)/lib/hyb/
	install -m 0644 README.md LICENSE docs/*.md $(D)/share/doc/hyb/
	install -m 0644 docs/decisions/*.md $(D)/share/doc/hyb/decisions/
	install -m 0644 docs/examples/*.yaml $(D)/share/doc/hyb/examples/
	for m in $(MAN); do install -D -m 0644 $$m $(D)/share/man/man$${m##*.}/$${m##*/}; done
	install -d $(D)/share/bash-completion/completions $(D)/share/zsh/site-functions $(D)/share/fish/vendor_completions.d
	$(B)/bin/hyb completion bash > $(D)/share/bash-completion/completions/hyb
	$(B)/bin/hyb completion zsh > $(D)/share/zsh/site-functions/_hyb
	$(B)/bin/hyb completion fish > $(D)/share/fish/vendor_completions.d/hyb.fish

uninstall: ## remove what install put there
	rm -rf $(D)/libexec/hyb $(D)/lib/hyb $(D)/share/doc/hyb
	rm -f $(D)/bin/hyb $(D)/share/bash-completion/completions/hyb $(D)/share/zsh/site-functions/_hyb $(D)/share/fish/vendor_completions.d/hyb.fish
	rm -f $(foreach m,$(notdir $(MAN)),$(D)/share/man/man$(subst .,,$(suffix $(m)))/$(m))

clean: ## remove build/ (the kernel stays in the cache)
	rm -rf build
