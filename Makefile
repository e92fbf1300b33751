# Faultline: one Makefile for everything. `make help` lists the targets; V=1 shows the commands.

ARCH  ?= x86_64
DEBUG ?= 0
SAN   ?=
EXPLORE ?= 0
CPUS  ?= 2
MEM   ?= 1G
V     ?= 0

# EXPLORE=1: yield points (kernel/explore.c), and all that DEBUG=1 checks.
VARIANT := $(if $(filter 1,$(EXPLORE)),-explore,$(if $(filter 1,$(DEBUG)),-debug))$(addprefix -,$(SAN))
O ?= build/$(ARCH)$(VARIANT)
# One name for a folder in here, however it was given: what the compiler writes down about headers
# (.d) holds for the names of this make only.
OUT := $(patsubst $(CURDIR)/%,%,$(abspath $(O)))
OBJ := $(OUT)/obj

ifeq ($(wildcard arch/$(ARCH)/kernel.ld),)
$(error ARCH=$(ARCH): there is no such port yet)
endif

ifeq ($(origin CC),default)
CC := gcc
endif

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n'
endif

# Below another make, its -j rules: to set our own would be warned of at each step.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: FORCE all kernel user tests host-tests run test check fuzz qemu qemu-gdb gdb iso usb shell \
        compare coherence profile explore help clean setup format print-flags setup-build \
        setup-qemu setup-iso setup-host-tests setup-model setup-fuzz setup-lint setup-gdb \
        setup-shell setup-bochs
.DEFAULT_GOAL := all

# --- The kernel ---------------------------------------------------------------------------------

# WERROR=0 for a compiler that warns of more than the one this is written with (gcc 12).
WERROR ?= 1
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
        $(if $(filter 1,$(WERROR)),-Werror)
CFLAGS_x86_64 := -mno-red-zone -mgeneral-regs-only -mcmodel=kernel -fcf-protection=none

KERNEL_CPPFLAGS := -Iinclude -Iarch/$(ARCH)/include $(if $(filter 1,$(DEBUG) $(EXPLORE)),-DCONFIG_DEBUG=1) \
        $(if $(filter 1,$(EXPLORE)),-DCONFIG_EXPLORE=1)
KERNEL_CFLAGS := -std=gnu17 -ffreestanding -fno-pic -fno-pie -O2 -g $(WARN) -fno-strict-aliasing \
        -fno-stack-protector -fno-omit-frame-pointer -fno-asynchronous-unwind-tables \
        -ffile-prefix-map=$(CURDIR)/= $(CFLAGS_$(ARCH))
KERNEL_LDFLAGS := -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none \
        -T arch/$(ARCH)/kernel.ld

# SAN=NAME: kernel/san/NAME.c and its helper in arch/ are what the compiler's checks call; they are
# not checked themselves.
SAN_NAMES := ubsan kasan kcsan
ifneq ($(filter-out $(SAN_NAMES),$(SAN)),)
$(error SAN=$(SAN): one of $(SAN_NAMES))
endif
KASAN_OFFSET_x86_64 := 0xdfffe00000000000
SAN_CFLAGS_ubsan := -fsanitize=undefined -fno-sanitize=object-size -fno-sanitize-recover=all
SAN_CFLAGS_kasan := -fsanitize=kernel-address -fasan-shadow-offset=$(KASAN_OFFSET_$(ARCH)) \
        --param asan-stack=1 --param asan-globals=1 \
        --param asan-instrumentation-with-call-threshold=0
SAN_CFLAGS_kcsan := -fsanitize=thread --param tsan-distinguish-volatile=1 \
        --param tsan-instrument-func-entry-exit=0 -Wno-tsan
SAN_CPPFLAGS_ubsan := -DCONFIG_UBSAN=1
SAN_CPPFLAGS_kasan := -DCONFIG_KASAN=1 -DKASAN_SHADOW_OFFSET=$(KASAN_OFFSET_$(ARCH))ul
SAN_CPPFLAGS_kcsan := -DCONFIG_KCSAN=1
KERNEL_CPPFLAGS += $(SAN_CPPFLAGS_$(SAN))
SAN_CFLAGS := $(SAN_CFLAGS_$(SAN))
SAN_RUNTIME := $(if $(SAN),$(wildcard kernel/san/$(SAN).c arch/$(ARCH)/san/$(SAN).c))

KERNEL_SRC := $(wildcard kernel/*.c mm/*.c mm/scheme/*.c fs/*.c net/*.c ipc/*.c drivers/*.c \
        arch/$(ARCH)/*.c arch/$(ARCH)/*.S) $(if $(SAN),kernel/san/provoke.c) $(SAN_RUNTIME)
KERNEL_OBJ := $(addprefix $(OBJ)/,$(addsuffix .o,$(KERNEL_SRC)))
KERNEL := $(OUT)/faultline.elf

# --- Programs: each user/*.c, each folder user/NAME/, each tests/guest/*.c is one static ELF -----

USER_CFLAGS := -std=gnu17 -O2 -g $(WARN) -pthread
USER_LDFLAGS := -static -pthread

USER_DIRS := $(patsubst %/,%,$(dir $(wildcard user/*/*.c)))
USER_SRC := $(wildcard user/*.c user/*/*.c)
GUEST_SRC := $(wildcard tests/guest/*.c)
USER_PROGS := $(addprefix $(OUT)/,$(sort $(basename $(wildcard user/*.c)) $(USER_DIRS)))
GUEST_PROGS := $(patsubst tests/guest/%.c,$(OUT)/tests/%,$(GUEST_SRC))
PROG_OBJ := $(addprefix $(OBJ)/,$(addsuffix .o,$(USER_SRC) $(GUEST_SRC)))

# A source may add flags of its own, for compiling and linking: `// CFLAGS: ...` near its top.
own_flags = $(shell sed -n '1,10s,^// CFLAGS:,,p' $(1))

# --- Host tests: kernel sources and cmocka, under the sanitizers --------------------------------

HOST_CPPFLAGS := -Itests/host/shim -Itests/host -Iinclude
HOST_CFLAGS := -std=gnu17 -O1 -g $(WARN) -fno-omit-frame-pointer \
        -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_SRC := $(wildcard tests/host/test_*.c)
HOST_PROGS := $(patsubst tests/host/%.c,$(OUT)/host/%,$(HOST_SRC))
# What `// SOURCES: ...` near the top of a test names.
host_sources = $(shell sed -n '1,10s,^// SOURCES:,,p' $(1))
host_objects = $(patsubst %,$(OBJ)/host/%.o,$(1) $(call host_sources,$(1)))

include tests/host/soft/soft.mk tests/host/variants.mk

# --- Targets ------------------------------------------------------------------------------------

all: kernel user

kernel: $(KERNEL)

user: $(USER_PROGS)

host-tests: $(HOST_PROGS) $(SOFT_PROGS) $(VARIANT_PROGS)

tests: host-tests kernel user $(GUEST_PROGS)

# The main job: build, boot, run the bench on Faultline and on Linux, print both.
run: all setup-qemu
	$(Q)tools/compare --short --kernel $(KERNEL)

compare: all setup-qemu
	$(Q)tools/compare --long --kernel $(KERNEL)

# OPERATION=NAME picks some; more options: tools/coherence --help.
coherence: all setup-qemu
	$(Q)tools/coherence --kernel $(KERNEL) --suite bookworm --suite sid \
	        $(addprefix --operation ,$(OPERATION))

# The same OPERATION; more options: tools/profile --help.
profile: all setup-qemu
	$(Q)tools/profile --kernel $(KERNEL) $(addprefix --operation ,$(OPERATION))

test: tests setup-qemu setup-iso setup-lint setup-model setup-fuzz setup-shell setup-bochs
	$(Q)$(MAKE) --no-print-directory DEBUG=1 O=$(OUT)-debug kernel
	$(Q)$(if $(SAN),,$(MAKE) --no-print-directory EXPLORE=1 O=$(OUT)-explore kernel)
	$(Q)$(foreach name,$(if $(SAN),,$(SAN_NAMES)),$(MAKE) --no-print-directory SAN=$(name) \
	        O=$(OUT)-$(name) kernel &&) true
	$(Q)tests/run --no-build --out $(OUT) $(if $(SAN),--patience 4) \
	        $(or $(PATTERN),$(if $(SAN),guest))

# The race tests under many schedules, SEEDS of them from seed FIRST on; each can be had again. At
# four processors, or as CPUS says.
SEEDS ?= 10
FIRST ?= 1
explore: tests setup-qemu
	$(Q)$(MAKE) --no-print-directory EXPLORE=1 O=$(OUT)-explore kernel
	$(Q)tests/explore --out $(OUT) --smp $(if $(filter file,$(origin CPUS)),4,$(CPUS)) --seeds $(SEEDS) \
	        --first $(FIRST) $(TEST)

# A quarter of the time each: archives, programs (both on the host), system calls, families of
# processes (both in the guest).
SECONDS ?= 900
fuzz: tests setup-qemu setup-fuzz
	$(Q)tests/fuzz/run cpio $$(($(SECONDS) / 4))
	$(Q)tests/fuzz/run elf $$(($(SECONDS) / 4))
	$(Q)tests/fuzz/guest --kernel $(KERNEL) --program $(OUT)/tests/sysfuzz \
	        --seconds $$(($(SECONDS) / 4)) $(if $(SEED),--seed $(SEED))
	$(Q)tests/fuzz/guest --kernel $(KERNEL) --program $(OUT)/tests/sysfuzz_family --calls 100 \
	        --seconds $$(($(SECONDS) / 4)) $(if $(SEED),--seed $(SEED))

check: kernel host-tests setup-lint
	$(Q)tests/run --no-build --out $(OUT) --check

# PROG="FILE ARG..." is the program to run.
RUN := tools/run --kernel $(KERNEL) --smp $(CPUS) --mem $(MEM) --verbose --timeout 0

qemu: all setup-qemu
	$(Q)$(RUN) -- $(PROG)

qemu-gdb: all setup-qemu setup-gdb
	$(Q)$(RUN) --gdb -- $(PROG)

gdb: kernel setup-gdb
	$(Q)gdb -q -ex 'set architecture i386:x86-64' -ex 'target remote localhost:1234' $(KERNEL)

# A shell on the serial console, which is this terminal; SCREEN=1: also on a screen in a window, as
# GRUB starts it. ROOT=FOLDER: another root than busybox's; START: the words that start it.
SCREEN ?= 0
ROOT ?= $(OUT)/shell/root
SHELL_ADD := --add $(ROOT) --add $(OUT)/user/faultbench:/bin/faultbench
START ?= $(if $(filter $(OUT)/shell/root,$(ROOT)),init=/bin/sh -- /etc/start)

shell: all setup-qemu $(if $(filter $(OUT)/shell/root,$(ROOT)),$(OUT)/shell/root/etc/start)
	$(Q)tools/run --console --kernel $(KERNEL) --smp $(CPUS) --mem $(MEM) $(SHELL_ADD) \
	        $(if $(filter 1,$(SCREEN)),--screen --boot iso) --append '$(START)'

$(OUT)/shell/root/etc/start: tools/mkroot | setup-shell
	$(say) ROOT $(OUT)/shell/root
	$(Q)tools/mkroot $(OUT)/shell/root

# For a USB stick: dd if=IMAGE of=/dev/... bs=4M
usb: $(OUT)/faultline-usb.img

$(OUT)/faultline-usb.img: $(KERNEL) $(USER_PROGS) $(OUT)/shell/root/etc/start tools/mkiso | setup-iso
	$(say) USB $@
	$(Q)tools/mkiso --kernel $(KERNEL) $(SHELL_ADD) -o $@ --cmdline '$(START)'

iso: $(OUT)/faultline.iso

$(OUT)/faultline.iso: $(KERNEL) $(USER_PROGS) tools/mkiso tools/run | setup-iso
	$(say) ISO $@
	$(Q)tools/mkiso --kernel $(KERNEL) --add $(OUT)/user:/bin -o $@ \
	        --cmdline 'init=/bin/faultbench -- --threads 1,2 --seconds 1'

setup:
	$(Q)tools/setup

# For tools/check, which compiles headers.
print-flags:
	@echo $(CC) $(KERNEL_CPPFLAGS) $(KERNEL_CFLAGS)

setup-build setup-qemu setup-iso setup-host-tests setup-model setup-fuzz setup-lint setup-gdb \
setup-shell setup-bochs:
	$(Q)tools/setup $(@:setup-%=%)

format: setup-lint
	$(Q)tools/check --list-c | xargs -r clang-format -i

# What was downloaded stays.
clean:
	$(Q)rm -rf $(filter-out build/linux,$(wildcard build/*)) $(OUT)

help:
	@echo 'make            kernel and programs, into $(OUT)/'
	@echo 'make run        the main job: the fault bench on Faultline and on Linux, side by side'
	@echo 'make compare    the same, longer, against two releases of Linux'
	@echo 'make coherence  cache lines that CPUs take from each other, by operation, on the same three'
	@echo 'make profile    where the instructions of a fault go, by kernel function; OPERATION=... picks'
	@echo 'make test       every test; PATTERN=... picks some'
	@echo 'make fuzz       look for inputs that break it, SECONDS=$(SECONDS) long; with any SAN= or DEBUG='
	@echo 'make explore    the race tests, once for each of SEEDS=$(SEEDS) schedules; prints the seed that fails'
	@echo 'make check      lint and host tests only'
	@echo 'make qemu       boot in QEMU, console shown; PROG="FILE ARG..." is the program to run'
	@echo 'make qemu-gdb   the same, waiting for a debugger on port 1234'
	@echo 'make gdb        a debugger for that'
	@echo 'make shell      boot into a shell; SCREEN=1 shows a screen, too'
	@echo 'make usb        an image for a USB stick that boots into that shell under BIOS and UEFI'
	@echo 'make iso        an image that boots under BIOS and UEFI and runs the fault bench'
	@echo 'make kernel, user, tests, host-tests   build just that'
	@echo 'make setup      install all that any target needs'
	@echo 'make format     reformat the sources'
	@echo 'make clean      remove what was built'
	@echo
	@echo 'Variables: CPUS=$(CPUS) MEM=$(MEM) DEBUG=$(DEBUG) V=$(V) O=$(OUT)'
	@echo '           SAN=$(or $(SAN),(one of $(SAN_NAMES)))'
	@echo 'Programs run in a virtual machine through tools/run; see tools/run --help.'

# --- Rules --------------------------------------------------------------------------------------
# setup-* are order-only: they run every time, but nothing is rebuilt because of them.

$(KERNEL_OBJ) $(PROG_OBJ): Makefile | setup-build

# An object is as old as the beginning of its compilation. What is changed in the middle of it, by an
# editor or git, is newer then, and the next make compiles again: an object of the old header beside
# those of the new one would take one field of a struct for another.
compile_begin = @mkdir -p $(@D) && touch $@.began
compile_end = touch -r $@.began $@ && rm $@.began

$(OBJ)/%.S.o: %.S
	$(say) AS $<
	$(compile_begin)
	$(Q)$(CC) $(KERNEL_CPPFLAGS) $(KERNEL_CFLAGS) -D__ASSEMBLY__ -MMD -MP -c -o $@ $< && $(compile_end)

$(SAN_RUNTIME:%=$(OBJ)/%.o): SAN_CFLAGS :=

$(filter %.c.o,$(KERNEL_OBJ)): $(OBJ)/%.c.o: %.c
	$(say) CC $<
	$(compile_begin)
	$(Q)$(CC) $(KERNEL_CPPFLAGS) $(KERNEL_CFLAGS) $(SAN_CFLAGS) -MMD -MP -c -o $@ $< && $(compile_end)

# A source that vanished must relink, too.
$(OUT)/objects: FORCE
	@mkdir -p $(@D)
	@echo '$(KERNEL_OBJ)' | cmp -s - $@ || echo '$(KERNEL_OBJ)' >$@

# First link without, second link with the symbol table; see tools/ksyms.
$(OUT)/faultline.pre.elf: $(KERNEL_OBJ) $(OUT)/objects arch/$(ARCH)/kernel.ld
	$(Q)$(LD) $(KERNEL_LDFLAGS) -o $@ $(KERNEL_OBJ)

$(KERNEL): $(OUT)/faultline.pre.elf tools/ksyms
	$(say) LD $@
	$(Q)nm $< >$(OUT)/pre.nm
	$(Q)tools/ksyms <$(OUT)/pre.nm >$(OBJ)/ksyms.S
	$(Q)$(CC) $(KERNEL_CFLAGS) -c -o $(OBJ)/ksyms.o $(OBJ)/ksyms.S
	$(Q)$(LD) $(KERNEL_LDFLAGS) -o $@ $(KERNEL_OBJ) $(OBJ)/ksyms.o
	$(Q)nm $@ >$(OUT)/faultline.nm
	$(Q)tools/ksyms --check $(OUT)/pre.nm $(OUT)/faultline.nm

$(PROG_OBJ): $(OBJ)/%.c.o: %.c
	$(say) CC $<
	$(compile_begin)
	$(Q)$(CC) $(addprefix -I,$(wildcard $(<D)/$(ARCH))) $(USER_CFLAGS) $(call own_flags,$<) -MMD -MP -c -o $@ $< && $(compile_end)

# Those of user/NAME.c, or of all of user/NAME/.
program_objects = $(filter $(OBJ)/$(1).c.o $(OBJ)/$(1)/%,$(PROG_OBJ))

define link_program
$(say) LINK $@
@mkdir -p $(@D)
$(Q)$(CC) $(USER_LDFLAGS) -o $@ $(filter %.o,$^) $(call own_flags,$(patsubst $(OBJ)/%.o,%,$(filter %.o,$^)))
endef

.SECONDEXPANSION:

$(USER_PROGS): $(OUT)/%: $$(call program_objects,$$*)
	$(link_program)

$(GUEST_PROGS): $(OUT)/tests/%: $(OBJ)/tests/guest/%.c.o
	$(link_program)

$(OBJ)/host/%.c.o: %.c Makefile | setup-host-tests
	$(say) HOSTCC $<
	$(compile_begin)
	$(Q)$(CC) $(HOST_CPPFLAGS) $(HOST_CFLAGS) $(call own_flags,$<) -MMD -MP -c -o $@ $< && $(compile_end)

$(HOST_PROGS): $(OUT)/host/%: $$(call host_objects,tests/host/$$*.c)
	$(say) HOSTLD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_CFLAGS) -pthread -o $@ $^ $(call own_flags,tests/host/$*.c) -lcmocka

-include $(patsubst %.o,%.d,$(KERNEL_OBJ) $(PROG_OBJ))
-include $(shell test -d $(OBJ)/host && find $(OBJ)/host -name '*.d')
