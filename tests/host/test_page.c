// SOURCES: tests/host/shim/machine.c tests/host/shim/lock.c tests/host/shim/rcu_oracle.c
// SOURCES: tests/host/shim/string.c
// SOURCES: mm/page.c mm/buddy.c mm/bootmem.c mm/slab.c mm/kmalloc.c mm/inject.c
//
// The page allocator: four CPUs, 64 MiB.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <bootinfo.h>
#include <k/errno.h>
#include <k/rcu.h>
#include <k/string.h>
#include <page.h>
#include "shim/machine.h"

#define RAM      (64ul << 20)
#define NR_CPUS  4
#define NR_PAGES (RAM >> PAGE_SHIFT)

static u64 nr_boot_pages; // taken before page_init

static int machine_up(void **state)
{
    (void)state;
    host_machine_init(RAM, NR_CPUS);
    paddr_t a = boot_alloc(100, 64), b = boot_alloc(3 * PAGE_SIZE, 1 << 21);
    assert_true(a >= PAGE_SIZE && a % 64 == 0);
    assert_true(b % (1 << 21) == 0 && b != 0);
    nr_boot_pages = 1 + 3;
    page_init();
    slab_init();
    return 0;
}

static void give_all_back(void)
{
    rcu_barrier();
    for (unsigned cpu = 0; cpu < NR_CPUS; cpu++) {
        host_cpu_enter(cpu);
        page_drain_this_cpu();
    }
    host_cpu_enter(0);
    assert_int_equal(page_nr_free(), page_nr_total());
}

// All of RAM but page 0, the hole (16), the reserved image (4) and page (1), boot_alloc, the
// map.
static void test_total(void **state)
{
    (void)state;
    u64 map_pages = NR_PAGES * sizeof(struct page) / PAGE_SIZE;
    u64 expect = NR_PAGES - 1 - 16 - 4 - 1 - nr_boot_pages - map_pages;

    // page_map may share its first and last page with boot_alloc's crumbs.
    assert_in_range(page_nr_total(), expect - 1, expect + 1);
    assert_int_equal(page_nr_free(), page_nr_total());
    assert_int_equal(page_map_end, NR_PAGES);
    assert_true(load_relaxed(&pfn_to_page(0)->flags) & PG_RESERVED);
    assert_true(load_relaxed(&pfn_to_page(NR_PAGES / 2)->flags) & PG_RESERVED);
    assert_true(load_relaxed(&pfn_to_page(256)->flags) & PG_RESERVED);
}

static struct page *held[NR_PAGES];

static void test_exhaust_and_merge(void **state)
{
    (void)state;
    unsigned n = 0, blocks = 0;
    struct page *p;

    while ((p = page_alloc_order(PAGE_MAX_ORDER, GFP_NOWAIT)) != NULL) {
        held[blocks++] = p;
    }
    for (unsigned i = 0; i < blocks; i++) {
        page_free_order(held[i], PAGE_MAX_ORDER);
    }
    while ((p = page_alloc(GFP_NOWAIT)) != NULL) {
        assert_int_equal(load_relaxed(&p->ref), 1);
        assert_int_equal(load_relaxed(&p->flags), 0);
        store_relaxed(&p->ref, 77); // given out twice would show
        store_relaxed(&p->flags, PG_DIRTY);
        *(u64 *)page_addr(p) = n;
        held[n++] = p;
    }
    assert_int_equal(n, page_nr_total());
    assert_int_equal(page_nr_free(), 0);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(*(u64 *)page_addr(held[i]), i);
        store_relaxed(&held[i]->ref, 1);
        page_free(held[i]);
    }
    give_all_back();
    // Everything has merged again: as many of the largest blocks as at first.
    unsigned again = 0;
    while ((p = page_alloc_order(PAGE_MAX_ORDER, GFP_NOWAIT)) != NULL) {
        held[again++] = p;
    }
    assert_int_equal(again, blocks);
    for (unsigned i = 0; i < again; i++) {
        page_free_order(held[i], PAGE_MAX_ORDER);
    }
    give_all_back();
}

static void test_orders(void **state)
{
    (void)state;
    for (unsigned order = 0; order <= PAGE_MAX_ORDER; order++) {
        struct page *p = page_alloc_order(order, GFP_KERNEL | GFP_ZERO);
        assert_non_null(p);
        assert_int_equal(page_to_pfn(p) % (1ul << order), 0);
        assert_int_equal(p->order, order);
        char *b = page_addr(p);
        assert_ptr_equal(virt_to_page(b + (PAGE_SIZE << order) - 1), p + (1 << order) - 1);
        for (size_t i = 0; i < PAGE_SIZE << order; i += 64) {
            assert_int_equal(b[i], 0);
        }
        memset(b, 0xff, PAGE_SIZE << order);
        page_free_order(p, order);
    }
    assert_null(page_alloc_order(PAGE_MAX_ORDER + 1, GFP_KERNEL));
    give_all_back();
}

static void test_take_local(void **state)
{
    (void)state;
    assert_null(page_take_local()); // drained before
    assert_int_equal(page_refill(), 0);
    struct page *p = page_take_local();
    assert_non_null(p);
    assert_int_equal(load_relaxed(&p->ref), 1);
    // The last freed is the next taken: it is warm.
    page_free(p);
    assert_ptr_equal(page_take_local(), p);
    page_free(p);
    give_all_back();
}

static void test_references(void **state)
{
    (void)state;
    struct page *p = page_alloc(GFP_KERNEL);
    u64 nr_free = page_nr_free();

    assert_true(page_tryget(p));
    page_get(p);
    page_put(p);
    page_put(p);
    assert_int_equal(page_nr_free(), nr_free);
    page_put(p); // anonymous: free at once
    assert_int_equal(page_nr_free(), nr_free + 1);
    assert_false(page_tryget(p));

    p = page_alloc(GFP_KERNEL);
    store_relaxed(&p->flags, PG_FILE);
    store_relaxed(&p->mapping, (struct mapping *)p);
    page_put(p); // file: after a grace period, readable until then
    assert_int_equal(page_nr_free(), nr_free);
    assert_ptr_equal(load_relaxed(&p->mapping), p);
    assert_int_equal(load_relaxed(&p->flags) & PG_FILE, PG_FILE);
    rcu_barrier();
    assert_int_equal(page_nr_free(), nr_free + 1);
    give_all_back();
}

// What RCU and other CPUs hold back is found before GFP_KERNEL gives up; GFP_NOWAIT does not look.
static void test_reclaim(void **state)
{
    (void)state;
    unsigned n = 0;
    struct page *p;

    while ((p = page_alloc(GFP_NOWAIT)) != NULL) {
        held[n++] = p;
    }
    assert_null(page_alloc(GFP_KERNEL));
    assert_int_equal(page_refill(), -ENOMEM);
    page_free_rcu(held[--n]);
    assert_null(page_alloc(GFP_NOWAIT));
    p = page_alloc(GFP_KERNEL);
    assert_non_null(p);
    held[n++] = p;

    host_cpu_enter(1);
    page_free(held[--n]);
    host_cpu_enter(0);
    assert_null(page_alloc(GFP_KERNEL)); // CPU 1 was asked, but has not passed a safe point
    host_cpu_enter(1);
    host_safe_point();
    host_cpu_enter(0);
    p = page_alloc(GFP_NOWAIT);
    assert_non_null(p);
    held[n++] = p;
    while (n > 0) {
        page_free(held[--n]);
    }
    give_all_back();
}

static void test_add_range(void **state)
{
    (void)state;
    u64 total = page_nr_total();

    page_add_range(1 << 20, (1 << 20) + 12345); // the image: 3 whole pages
    assert_int_equal(page_nr_total(), total + 3);
    page_add_range(1 << 20, (1 << 20) + 12345); // no longer reserved
    assert_int_equal(page_nr_total(), total + 3);
    give_all_back();
}

static struct page *alloc_here(void)
{
    struct page *p = page_alloc(GFP_KERNEL);
    if (p) {
        page_free(p);
    }
    return p;
}

static void test_inject(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "x",         "x:",  "x:0",  "x:every",
                                      "x:every:", "x:every:0", ":3",  "x:1,", ",x:1",
                                      "x:1;y:2",  "x:1 ",      "x:-1"};
    for (size_t i = 0; i < array_size(bad); i++) {
        assert_int_equal(inject_set(bad[i]), -EINVAL);
        assert_false(inject_active);
    }
    assert_int_equal(inject_set("alloc_here:3,nobody:1"), 0);
    assert_true(inject_active);
    assert_non_null(alloc_here());
    struct page *p = page_alloc(GFP_KERNEL); // another site
    assert_non_null(p);
    page_free(p);
    assert_non_null(alloc_here());
    assert_null(alloc_here());
    assert_non_null(alloc_here());
    assert_int_equal(inject_nr_failed(), 1);
    assert_int_equal(inject_set("*:every:2\n"), 0);
    for (unsigned i = 1; i <= 10; i++) {
        assert_true(!alloc_here() == (i % 2 == 0));
    }
    assert_int_equal(inject_set("x:y"), -EINVAL); // and the old rules stay
    assert_non_null(alloc_here());
    assert_null(alloc_here());
    const char *site = NULL;
    u64 nr = 0, failed = 0;
    assert_true(inject_seen_nth(0, &site, &nr, &failed));
    assert_string_equal(site, "alloc_here");
    assert_true(nr == 12 && failed == 6);
    assert_false(inject_seen_nth(1, &site, &nr, &failed));
    assert_int_equal(inject_set("count\n"), 0);
    assert_false(inject_seen_nth(0, &site, &nr, &failed));
    assert_non_null(alloc_here());
    assert_int_equal(inject_set("off"), 0);
    assert_non_null(alloc_here());
    assert_true(inject_seen_nth(0, &site, &nr, &failed));
    assert_true(nr == 1 && failed == 0);
    assert_false(inject_active);
    give_all_back();
}

// Threads allocate, stamp, pass pages to one another through a board, check the stamp and free.
#define BOARD 64
static _Atomic(struct page *) board[BOARD];

static void stress_free(struct page *p)
{
    u64 *w = page_addr(p);
    unsigned order = (unsigned)w[1];

    if (w[0] != page_to_pfn(p) || w[(PAGE_SIZE << order) / 8 - 1] != page_to_pfn(p)) {
        abort();
    }
    if (order > 0) {
        page_free_order(p, order);
    } else if (w[2] & 1) {
        page_free_rcu(p);
    } else {
        page_put(p);
    }
}

static void stress_cpu(unsigned cpu)
{
    unsigned seed = cpu + 1;

    for (unsigned i = 0; i < 100000; i++) {
        unsigned r = (unsigned)rand_r(&seed);
        unsigned order = r % 16 == 0 ? r / 16 % 6 : 0;
        struct page *p = order ? page_alloc_order(order, GFP_KERNEL) : page_alloc(GFP_KERNEL);
        if (p) {
            u64 *w = page_addr(p);
            w[0] = w[(PAGE_SIZE << order) / 8 - 1] = page_to_pfn(p);
            w[1] = order;
            w[2] = r >> 12;
            p = atomic_exchange(&board[(r >> 8) % BOARD], p);
        }
        if (p) {
            stress_free(p);
        }
        if (r % 512 == 0) {
            rcu_barrier();
        }
        host_safe_point();
    }
}

static void test_stress(void **state)
{
    (void)state;
    host_cpus_run(stress_cpu);
    for (unsigned i = 0; i < BOARD; i++) {
        struct page *p = atomic_exchange(&board[i], NULL);
        if (p) {
            stress_free(p);
        }
    }
    give_all_back();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_total),      cmocka_unit_test(test_exhaust_and_merge),
        cmocka_unit_test(test_orders),     cmocka_unit_test(test_take_local),
        cmocka_unit_test(test_references), cmocka_unit_test(test_reclaim),
        cmocka_unit_test(test_add_range),  cmocka_unit_test(test_inject),
        cmocka_unit_test(test_stress),
    };
    return cmocka_run_group_tests_name("page", tests, machine_up, NULL);
}
