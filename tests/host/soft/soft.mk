# Host tests on the soft machine (tests/host/soft/soft.h), each built twice: in $(OUT)/soft by gcc
# with ASan and UBSan, in $(OUT)/soft-tsan by clang with ThreadSanitizer. The first of them also the
# other way round, in $(OUT)/soft-clang and soft-gcc-tsan. Part of the Makefile.
#
#     test_fault        the fault path, over an oracle of RCU
#     test_fault_rcu    the same over kernel/rcu.c
#     test_rcu          kernel/rcu.c itself

# All of mm/ but the allocator of objects, which is tests/host/shim/slab.c, and the system calls.
SOFT_MM := $(filter-out $(addprefix mm/,slab.c kmalloc.c inject.c sys_mm.c), \
        $(wildcard mm/*.c mm/scheme/*.c))
SOFT_MACHINE := $(addprefix tests/host/soft/,cpu.c host.c kernel.c mmu.c) \
                $(addprefix tests/host/shim/,panic.c slab.c)
SOFT_ORACLE := tests/host/soft/rcu.c
SOFT_REAL := kernel/rcu.c tests/host/soft/real_rcu.c
SOFT_FAULT := $(addprefix tests/host/soft/,test_fault.c accesses.c operations.c \
        first_touch.c duels.c forks.c clears.c files.c \
        holds.c hold_files.c hold_forks.c hold_tables.c hold_tlb.c)

SOFT_SRC_test_fault := $(SOFT_MM) $(SOFT_MACHINE) $(SOFT_ORACLE) $(SOFT_FAULT)
SOFT_SRC_test_fault_rcu := $(SOFT_MM) $(SOFT_MACHINE) $(SOFT_REAL) $(SOFT_FAULT)
SOFT_SRC_test_rcu := $(SOFT_MM) $(SOFT_MACHINE) $(SOFT_REAL) tests/host/soft/test_rcu.c

SOFT_CPPFLAGS := -Itests/host/soft/include -Itests/host/soft -Iinclude -Itests/host/shim \
        -DCONFIG_DEBUG=1 -DCONFIG_RCU_CHECK=0
SOFT_CFLAGS := -std=gnu17 -O1 -g $(WARN) -fno-omit-frame-pointer
SOFT_ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all -DSOFT_ASAN=1 -DCONFIG_KASAN=1
SOFT_TSAN := -fsanitize=thread -DSOFT_TSAN=1
SOFT_CC_soft := $(CC) $(SOFT_ASAN)
SOFT_CC_soft-tsan := clang $(SOFT_TSAN)
SOFT_CC_soft-clang := clang $(SOFT_ASAN)
SOFT_CC_soft-gcc-tsan := $(CC) $(SOFT_TSAN) -Wno-tsan
SOFT_BUILDS := soft soft-tsan soft-clang soft-gcc-tsan
SOFT_TESTS := test_fault test_fault_rcu test_rcu
SOFT_PROGS := $(foreach build,soft soft-tsan,$(SOFT_TESTS:%=$(OUT)/$(build)/%)) \
        $(OUT)/soft-clang/test_fault $(OUT)/soft-gcc-tsan/test_fault

# $(1): the build's name. NAME.flags and NAME.objects are for tests/host/twins/run.
define soft_build
$(OBJ)/$(1)/%.c.o: %.c Makefile tests/host/soft/soft.mk | setup-host-tests
	$$(say) SOFTCC $$<
	$$(compile_begin)
	$$(Q)$$(SOFT_CC_$(1)) $$(SOFT_CFLAGS) \
	        $$(if $$(filter %/host.c,$$<),-fno-sanitize=all,$$(SOFT_CPPFLAGS)) \
	        -MMD -MP -c -o $$@ $$< && $$(compile_end)
endef

# $(1): the build, $(2): the test
define soft_test
$(OUT)/$(1)/$(2): $(SOFT_SRC_$(2):%=$(OBJ)/$(1)/%.o)
	$$(say) SOFTLD $$@
	@mkdir -p $$(@D)
	@echo '$$(SOFT_CC_$(1)) $$(SOFT_CFLAGS) $$(SOFT_CPPFLAGS)' >$$@.flags
	@echo '$$^' >$$@.objects
	$$(Q)$$(SOFT_CC_$(1)) $$(SOFT_CFLAGS) -pthread -o $$@ $$^
endef

$(foreach build,$(SOFT_BUILDS),$(eval $(call soft_build,$(build))))
$(foreach build,$(SOFT_BUILDS),$(foreach test,$(SOFT_TESTS),$(eval $(call soft_test,$(build),$(test)))))

-include $(shell test -d $(OBJ)/soft-gcc-tsan && find $(SOFT_BUILDS:%=$(OBJ)/%) -name '*.d')
