// SOURCES: tests/host/shim/machine.c tests/host/shim/lock.c tests/host/shim/rcu_oracle.c
// SOURCES: tests/host/shim/string.c
// SOURCES: mm/page.c mm/buddy.c mm/bootmem.c mm/slab.c mm/kmalloc.c mm/inject.c
//
// Slab caches and kmalloc: four CPUs, 64 MiB.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <k/rcu.h>
#include <k/string.h>
#include <page.h>
#include <slab.h>
#include "shim/machine.h"

#define NR_CPUS 4

static struct kmem_cache *cache_a, *cache_b, *cache_big;

static int machine_up(void **state)
{
    (void)state;
    host_machine_init(64ul << 20, NR_CPUS);
    page_init();
    slab_init();
    cache_a = kmem_cache_create("a", 40, 0);
    cache_b = kmem_cache_create("b", 200, 64);
    cache_big = kmem_cache_create("big", 4000, 0);
    return 0;
}

// Every CPU passes a safe point after a request; then nothing may be missing.
static void give_all_back(void)
{
    rcu_barrier();
    for (unsigned round = 0; round < 2; round++) { // depots hold what later CPUs bring
        for (unsigned cpu = 0; cpu < NR_CPUS; cpu++) {
            host_cpu_enter(cpu);
            page_drain_this_cpu();
        }
    }
    host_cpu_enter(0);
    assert_int_equal(slab_nr_used(), 0);
    assert_int_equal(page_nr_free(), page_nr_total());
}

static void fill(void *obj, size_t size, unsigned seed)
{
    memset(obj, (int)(seed & 0xff), size);
}

static void check(void *obj, size_t size, unsigned seed)
{
    const unsigned char *b = obj;
    for (size_t i = 0; i < size; i++) {
        if (b[i] != (seed & 0xff)) {
            abort();
        }
    }
}

#define MANY 5000
static void *objs[MANY];

static void cache_cycle(struct kmem_cache *c, size_t size, size_t align, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        objs[i] = kmem_cache_alloc(c, GFP_KERNEL);
        assert_non_null(objs[i]);
        assert_int_equal((uintptr_t)objs[i] % align, 0);
        fill(objs[i], size, i);
    }
    assert_int_equal(kmem_cache_nr_used(c), n);
    for (unsigned i = 0; i < n; i++) {
        check(objs[i], size, i);
        kmem_cache_free(c, objs[i]);
    }
    assert_int_equal(kmem_cache_nr_used(c), 0);
}

static void test_caches(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        cache_cycle(cache_a, 40, 8, MANY);
        cache_cycle(cache_b, 200, 64, MANY);
        cache_cycle(cache_big, 4000, 8, MANY / 4);
    }
    kmem_cache_free(cache_a, NULL);
    give_all_back();
}

static void test_zero(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        char *p = kmem_cache_alloc(cache_b, GFP_KERNEL);
        memset(p, 0xff, 200);
        kmem_cache_free(cache_b, p);
        p = kmem_cache_alloc(cache_b, GFP_KERNEL | GFP_ZERO);
        for (unsigned j = 0; j < 200; j++) {
            assert_int_equal(p[j], 0);
        }
        kmem_cache_free(cache_b, p);
    }
    give_all_back();
}

static void test_kmalloc(void **state)
{
    (void)state;
    unsigned n = 0;

    for (size_t size = 0; size <= 3 * PAGE_SIZE; size += 7, n++) {
        objs[n] = kmalloc(size, GFP_KERNEL);
        assert_non_null(objs[n]);
        fill(objs[n], size, n);
    }
    for (unsigned i = 0; i < n; i++) {
        check(objs[i], i * 7, i);
        kfree(objs[i]);
    }
    char *p = kzalloc(KMALLOC_MAX, GFP_KERNEL);
    assert_non_null(p);
    assert_int_equal(p[0] | p[KMALLOC_MAX - 1], 0);
    kfree(p);
    assert_null(kmalloc(KMALLOC_MAX + 1, GFP_KERNEL));
    kfree(NULL);
    give_all_back();
}

// Out of memory: NULL, nothing lost, and frees work without memory for a magazine.
static void test_exhaust(void **state)
{
    (void)state;
    void *list = NULL, *obj;
    struct page *pages = NULL, *p;
    unsigned nr = 0;

    while ((p = page_alloc(GFP_NOWAIT)) != NULL) {
        p->private = (u64)(uintptr_t)pages;
        pages = p;
    }
    assert_null(kmem_cache_alloc(cache_a, GFP_NOWAIT));
    assert_null(kmem_cache_alloc(cache_a, GFP_KERNEL));
    for (unsigned i = 0; i < 3; i++) {
        p = pages;
        pages = (struct page *)(uintptr_t)p->private;
        page_free(p);
    }
    while ((obj = kmem_cache_alloc(cache_a, GFP_KERNEL)) != NULL) {
        *(void **)obj = list;
        list = obj;
        nr++;
    }
    assert_true(nr >= PAGE_SIZE / 40);
    assert_int_equal(kmem_cache_nr_used(cache_a), nr);
    while (list) {
        obj = list;
        list = *(void **)obj;
        kmem_cache_free(cache_a, obj);
    }
    while (pages) {
        p = pages;
        pages = (struct page *)(uintptr_t)p->private;
        page_free(p);
    }
    give_all_back();
}

static void test_inject(void **state)
{
    (void)state;
    assert_int_equal(inject_set("test_inject:2"), 0);
    void *a = kmem_cache_alloc(cache_a, GFP_KERNEL);
    assert_non_null(a);
    assert_null(kmalloc(10, GFP_KERNEL));
    kmem_cache_free(cache_a, a);
    // "*" counts what callers ask for, not the slabs and magazines below.
    assert_int_equal(inject_set("*:3"), 0);
    for (unsigned i = 1; i <= 5; i++) {
        objs[i] = kmalloc(700, GFP_KERNEL);
        assert_true(!objs[i] == (i == 3));
        kfree(objs[i]);
    }
    assert_int_equal(inject_set("off"), 0);
    give_all_back();
}

// Threads pass objects of mixed sizes to one another and free what others allocated.
#define BOARD 512
struct parcel {
    u32 size;
    unsigned seed;
    char body[];
};
static _Atomic(struct parcel *) board[BOARD];

static void parcel_free(struct parcel *o)
{
    check(o->body, o->size - sizeof(*o), o->seed);
    kfree(o);
}

static void stress_cpu(unsigned cpu)
{
    unsigned seed = cpu + 1;

    for (unsigned i = 0; i < 50000; i++) {
        unsigned r = (unsigned)rand_r(&seed);
        u32 size = (u32)sizeof(struct parcel) + (r % 64 == 0 ? r / 64 % 6000 : r / 64 % 300);
        struct parcel *o = kmalloc(size, r & 1 ? GFP_KERNEL : GFP_NOWAIT);
        if (o) {
            o->size = size;
            o->seed = r >> 3;
            fill(o->body, size - sizeof(*o), o->seed);
        }
        o = atomic_exchange(&board[(r >> 9) % BOARD], o);
        if (o) {
            parcel_free(o);
        }
        if (r % 4096 == 0) {
            page_drain_all();
        }
        host_safe_point();
    }
}

static void test_stress(void **state)
{
    (void)state;
    host_cpus_run(stress_cpu);
    for (unsigned i = 0; i < BOARD; i++) {
        struct parcel *o = atomic_exchange(&board[i], NULL);
        if (o) {
            parcel_free(o);
        }
    }
    give_all_back();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_caches),  cmocka_unit_test(test_zero),
        cmocka_unit_test(test_kmalloc), cmocka_unit_test(test_exhaust),
        cmocka_unit_test(test_inject),  cmocka_unit_test(test_stress),
    };
    return cmocka_run_group_tests_name("slab", tests, machine_up, NULL);
}
