// SOURCES: tests/host/shim/machine.c tests/host/shim/lock.c tests/host/shim/rcu_oracle.c
// SOURCES: tests/host/shim/string.c
// SOURCES: mm/inject.c mm/bootmem.c
//
// The allocators as a DEBUG=1 kernel builds them: each misuse must panic, and name the object.
#define CONFIG_DEBUG 1
#include "../../mm/page.c"
#include "../../mm/buddy.c"
#include "../../mm/slab.c"
#include "../../mm/kmalloc.c"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "shim/machine.h"

static struct kmem_cache *cache;

static int machine_up(void **state)
{
    (void)state;
    host_machine_init(16ul << 20, 2);
    page_init();
    slab_init();
    cache = kmem_cache_create("victim", 40, 0);
    return 0;
}

#define assert_panics(text, stmt)                                                                  \
    do {                                                                                           \
        assert_true(host_panics(stmt));                                                            \
        assert_non_null(strstr(host_panic_text, text));                                            \
    } while (0)

static void test_page_double_free(void **state)
{
    (void)state;
    struct page *p = page_alloc(GFP_KERNEL);

    page_free(p);
    assert_panics("double free", page_free(p));
    assert_panics("double free", page_put((store_relaxed(&p->ref, 1), p)));
    page_drain_all();
    store_relaxed(&p->ref, 0);
    assert_panics("double free", page_free(p)); // now inside a merged block

    p = page_alloc_order(2, GFP_KERNEL);
    page_free_order(p, 2);
    assert_panics("double free", page_free_order(p, 2));

    p = page_alloc(GFP_KERNEL);
    page_free_rcu(p);
    assert_panics("double free", page_free_rcu(p));
    rcu_barrier();
}

static void test_page_wild_free(void **state)
{
    (void)state;
    static struct page stray;

    assert_panics("no struct page", page_free(&stray));
    assert_panics("no struct page", page_free((struct page *)((char *)page_map + 8)));
    assert_panics("reserved", page_free(pfn_to_page(0)));
    struct page *p = page_alloc(GFP_KERNEL);
    page_get(p);
    assert_panics("others hold", page_free(p));
    page_put(p);
    page_put(p);
}

static void test_page_write_after_free(void **state)
{
    (void)state;
    struct page *p = page_alloc(GFP_KERNEL);
    char *b = page_addr(p);

    page_free(p);
    b[100] = 0;
    assert_panics("written after", page_take_local());
    memset(b, PAGE_POISON, PAGE_SIZE);
}

static void test_page_debug_injection(void **state)
{
    (void)state;
    assert_int_equal(page_refill(), 0);
    assert_int_equal(inject_set("page_take_local:1"), 0);
    assert_null(page_take_local());
    struct page *p = page_take_local();
    assert_non_null(p);
    page_free(p);
    inject_set("off");
}

static void test_object_misuse(void **state)
{
    (void)state;
    char *a = kmem_cache_alloc(cache, GFP_KERNEL), *k = kmalloc(30, GFP_KERNEL);

    assert_panics("not of this cache", kmem_cache_free(cache, k));
    assert_panics("start of an object", kmem_cache_free(cache, a + 8));
    kmem_cache_free(cache, a);
    assert_panics("double free", kmem_cache_free(cache, a));
    a[20] = 1;
    assert_panics("written after", kmem_cache_alloc(cache, GFP_KERNEL));

    a = kmem_cache_alloc(cache, GFP_KERNEL);
    a[40] = 1; // one behind the end
    assert_panics("overrun", kmem_cache_free(cache, a));
    kfree(k);
    assert_panics("double free", kfree(k));
}

// The same misuse of objects and pages used well.
static void test_no_false_alarm(void **state)
{
    (void)state;
    static void *obj[400];

    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 400; i++) {
            obj[i] = kmalloc(i * 13, round & 1 ? GFP_KERNEL | GFP_ZERO : GFP_KERNEL);
            assert_non_null(obj[i]);
            memset(obj[i], (int)i, i * 13);
        }
        for (unsigned i = 0; i < 400; i++) {
            kfree(obj[i]);
        }
        page_drain_all();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_false_alarm),       cmocka_unit_test(test_page_double_free),
        cmocka_unit_test(test_page_wild_free),       cmocka_unit_test(test_page_write_after_free),
        cmocka_unit_test(test_page_debug_injection), cmocka_unit_test(test_object_misuse),
    };
    return cmocka_run_group_tests_name("alloc_debug", tests, machine_up, NULL);
}
