# Some host tests once more, by other compilers and sanitizers: $(OUT)/host-VARIANT/test_NAME. Part
# of the Makefile; $(OUT)/host/ itself is gcc with ASan and UBSan.

VARIANTS := clang tsan gcc-tsan
# One thread has no races: test_maple is of no use under ThreadSanitizer.
VARIANT_PROGS := $(OUT)/host-clang/test_maple $(VARIANTS:%=$(OUT)/host-%/test_maple_rcu)
VARIANT_CC_clang := clang -fsanitize=address,undefined -fno-sanitize-recover=all
VARIANT_CC_tsan := clang -fsanitize=thread
VARIANT_CC_gcc-tsan := $(CC) -fsanitize=thread -Wno-tsan

# $(1): the variant
define variant_build
$(OBJ)/host-$(1)/%.c.o: %.c Makefile tests/host/variants.mk | setup-host-tests
	$$(say) HOSTCC $$<
	$$(compile_begin)
	$$(Q)$$(VARIANT_CC_$(1)) -std=gnu17 -O1 -g $$(WARN) -fno-omit-frame-pointer \
	        $$(HOST_CPPFLAGS) -MMD -MP -c -o $$@ $$< && $$(compile_end)
endef

# $(1): the variant, $(2): the test
define variant_test
$(OUT)/host-$(1)/$(2): $(patsubst %,$(OBJ)/host-$(1)/%.o,tests/host/$(2).c \
        $(call host_sources,tests/host/$(2).c))
	$$(say) HOSTLD $$@
	@mkdir -p $$(@D)
	$$(Q)$$(VARIANT_CC_$(1)) -pthread -o $$@ $$^ -lcmocka
endef

$(foreach v,$(VARIANTS),$(eval $(call variant_build,$(v))))
$(foreach v,$(VARIANTS),$(foreach test,test_maple test_maple_rcu,$(eval $(call variant_test,$(v),$(test)))))

-include $(shell test -d $(OBJ)/host-clang && find $(VARIANTS:%=$(OBJ)/host-%) -name '*.d')
