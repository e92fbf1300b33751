# The fault path on the soft machine, twice: $(OUT)/soft/test_fault (ASan, UBSan) and
# $(OUT)/soft-tsan/test_fault (clang, ThreadSanitizer). Part of the Makefile.

SOFT_MM := $(addprefix mm/,fault.c anon.c filemap.c filemap_io.c pagecache.c pgtable.c zap.c tlb.c \
        vma.c mmap.c mprotect.c mremap.c madvise.c rmap.c gup.c mm.c stack.c audit.c fork.c \
        page.c buddy.c bootmem.c \
        maple.c maple_store.c maple_leaf.c maple_path.c maple_gap.c maple_check.c) $(wildcard mm/scheme/*.c)
SOFT_SRC := $(SOFT_MM) $(wildcard tests/host/soft/*.c) tests/host/shim/slab.c
SOFT_CPPFLAGS := -Itests/host/soft/include -Itests/host/soft -Iinclude -Itests/host/shim \
        -DCONFIG_DEBUG=1
SOFT_CFLAGS := -std=gnu17 -O1 -g $(WARN) -fno-omit-frame-pointer
SOFT_CC_soft := $(CC) -fsanitize=address,undefined -fno-sanitize-recover=all
SOFT_CC_soft-tsan := clang -fsanitize=thread -DSOFT_TSAN=1
SOFT_PROGS := $(OUT)/soft/test_fault $(OUT)/soft-tsan/test_fault

soft: $(SOFT_PROGS)

# $(1): the build's name. flags and objects are for tests/host/twins/run.
define soft_rules
$(OBJ)/$(1)/%.c.o: %.c Makefile tests/host/soft/soft.mk | setup-host-tests
	$$(say) SOFTCC $$<
	@mkdir -p $$(@D)
	$$(Q)$$(SOFT_CC_$(1)) $$(SOFT_CFLAGS) $$(if $$(filter %/host.c,$$<),,$$(SOFT_CPPFLAGS)) \
	        -MMD -MP -c -o $$@ $$<

$(OUT)/$(1)/test_fault: $(SOFT_SRC:%=$(OBJ)/$(1)/%.o)
	$$(say) SOFTLD $$@
	@mkdir -p $$(@D)
	@echo '$$(SOFT_CC_$(1)) $$(SOFT_CFLAGS) $$(SOFT_CPPFLAGS)' >$$(@D)/flags
	@echo '$$^' >$$(@D)/objects
	$$(Q)$$(SOFT_CC_$(1)) $$(SOFT_CFLAGS) -pthread -o $$@ $$^
endef

$(foreach build,soft soft-tsan,$(eval $(call soft_rules,$(build))))

-include $(shell test -d $(OBJ)/soft && find $(OBJ)/soft $(OBJ)/soft-tsan -name '*.d')
