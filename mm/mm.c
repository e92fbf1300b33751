// The life of an address space.
//
//     mm_create           users 1, refs 1, a root table
//     mm_get / mm_put     users: threads, and whoever works on it from outside
//     last mm_put         every VMA is unmapped like by munmap; the users' reference is dropped
//     mm_drop_ref         refs also counts CPUs that still have the root loaded, lazily (tlb.c):
//                         the last of them lets the root and the struct go, by RCU
//
// Parked faults hold no reference on the mm: the thread that is parked is a user of it.

#include <fs.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/explore.h>
#include <k/printk.h>
#include <k/rcu.h>
#include <k/string.h>
#include <bootinfo.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <rmap.h>
#include <sched.h>
#include <scheme.h>
#include <slab.h>
#include <smp.h>
#include <tlb.h>
#include "mm_priv.h"

_Static_assert(sizeof(struct mm_cpu) * MAX_CPUS <= PAGE_SIZE, "the counters are one page");

#define MMAP_TOP_GAP (1ul << 30) // below the stack: room for it to grow

#define SETTLE_PASSES 10

static struct kmem_cache *mm_cache;

struct mm *current_mm(void)
{
    return current_thread()->mm;
}

struct mm *mm_create(const struct mm_scheme *scheme)
{
    struct mm *mm = kmem_cache_alloc(mm_cache, GFP_KERNEL | GFP_ZERO);
    if (!mm) {
        return NULL;
    }
    struct page *counters = page_alloc(GFP_KERNEL | GFP_ZERO);
    if (!counters) {
        kmem_cache_free(mm_cache, mm);
        return NULL;
    }
    mm->cpu = page_addr(counters);
    mm->scheme = scheme ? scheme : scheme_default();
    mt_init(&mm->vmas, USER_END);
    mutex_init(&mm->edit_lock, RANK_MM_EDIT);
    rwsem_init(&mm->mmap_lock, RANK_MMAP_LOCK);
    mutex_init(&mm->fork_gate, RANK_FORK);
    mm->mmap_top = USER_END - MMAP_TOP_GAP;
    mm->users = 1;
    mm->refs = 1;
    if (pt_create_root(mm)) {
        page_free(counters);
        kmem_cache_free(mm_cache, mm);
        return NULL;
    }
    mm_list_add(mm);
    return mm;
}

static void mm_free_rcu(struct rcu_head *head)
{
    struct mm *mm = container_of(head, struct mm, rcu);
    mm_list_del(mm);
    pt_free_root(mm);
    page_free(virt_to_page(mm->cpu));
    kmem_cache_free(mm_cache, mm);
}

void mm_drop_ref(struct mm *mm)
{
    if (atomic_fetch_sub(&mm->refs, 1) == 1) {
        call_rcu(&mm->rcu, mm_free_rcu);
    }
}

void mm_get(struct mm *mm)
{
    fetch_add_relaxed(&mm->users, 1);
}

// Nobody runs in it any more, so nothing is published and nothing can fail: zap and let go.
// Truncate may still come by through the reverse map until rmap_unlink.
static void mm_unmap_all(struct mm *mm)
{
    struct tlb_batch b;
    struct vma *v = vma_find_first(mm, 0);
    tlb_begin(&b, mm);
    while (v) {
        vaddr_t end = v->end;
        zap_range(mm, v->start, end, ZAP_PRUNE, &b);
        tlb_flush(&b);
        rmap_unlink(v);
        vma_put(v);
        v = vma_find_first(mm, end);
    }
    tlb_end(&b);
    mt_destroy(&mm->vmas);
    tlb_forget(mm);
}

static s64 mm_sum_tables(const struct mm *mm)
{
    s64 sum = 0;
    for (unsigned c = 0; c < MAX_CPUS; c++) {
        sum += mm->cpu[c].nr_tables;
    }
    return sum;
}

void mm_put(struct mm *mm)
{
    if (atomic_fetch_sub(&mm->users, 1) != 1) {
        return;
    }
    mm_unmap_all(mm);
    // The audit of invariants 1 and 2: every table but the root went with the last VMA above it.
    assert(mm_sum_tables(mm) == 1);
    mm_drop_ref(mm);
}

void mm_add_thread(struct mm *mm, struct thread *t)
{
    mm_get(mm);
    t->mm = mm;
    t->mm_home = fetch_add_relaxed(&mm->nr_homes, 1) + 1;
}

unsigned mm_home(struct mm *mm)
{
    struct thread *self = current_thread();
    return self->mm == mm ? self->mm_home : 0;
}

void mm_activate(struct mm *mm)
{
    unsigned long flags = irq_save();
    struct thread *self = current_thread();
    self->mm = mm;
    self->mm_home = 0;
    mm_switch(mm, cpu_id());
    irq_restore(flags);
}

// ---- Boot --------------------------------------------------------------------------------------

static size_t show_fault_around(char *buf, size_t size)
{
    return (size_t)snprintf(buf, size, "%u\n", mm_fault_around());
}

static int store_fault_around(const char *text)
{
    const char *end;
    u64 n = parse_u64(text, &end);
    return end == text ? -EINVAL : mm_set_fault_around((unsigned)n);
}

static size_t scheme_list(const struct mm_scheme *chosen, char *buf, size_t size)
{
    size_t used = 0;
    for (unsigned i = 0; scheme_nth(i); i++) {
        const struct mm_scheme *s = scheme_nth(i);
        used += (size_t)snprintf(buf + used, size - used, s == chosen ? "[%s] " : "%s ", s->name);
    }
    return used + (size_t)snprintf(buf + used, size - used, "\n");
}

static size_t show_scheme(char *buf, size_t size)
{
    return scheme_list(current_mm() ? current_mm()->scheme : NULL, buf, size);
}

static size_t show_scheme_new(char *buf, size_t size)
{
    return scheme_list(scheme_default(), buf, size);
}

static size_t show_max_map_count(char *buf, size_t size)
{
    return (size_t)snprintf(buf, size, "%lu\n", mm_max_map_count);
}

static int store_max_map_count(const char *text)
{
    const char *end;
    u64 n = parse_u64(text, &end);
    if (end == text || n > 1ul << 30) {
        return -EINVAL;
    }
    mm_max_map_count = n;
    return 0;
}

static size_t show_inject(char *buf, size_t size)
{
    const char *site;
    u64 nr, failed;
    int n = snprintf(buf, size, "%s\n", load_relaxed(&inject_active) ? "on" : "off");
    for (unsigned i = 0; inject_seen_nth(i, &site, &nr, &failed) && (size_t)n < size; i++) {
        n += snprintf(buf + n, size - (size_t)n, "%s %lu %lu\n", site, (unsigned long)nr,
                      (unsigned long)failed);
    }
    return min((size_t)n, size);
}

// Wait until what was freed is counted as free, to the last object: for tests that look for leaks.
// What is let go lets go of more (a VMA of its file, a file of its inode, an inode of pages, each a
// grace period later), so we come again until nothing waits; or SETTLE_PASSES times, for on a
// machine where others work something always does. Reserves come last: callbacks fill them.
static int store_settle(const char *text)
{
    int pass = 0, err;
    (void)text;
    do {
        rcu_barrier();
        err = file_put_settle();
    } while (!err && rcu_nr_waiting() > 0 && ++pass < SETTLE_PASSES);
    page_drain_all();
    return err;
}

static size_t show_nothing(char *buf, size_t size)
{
    (void)buf, (void)size;
    return 0;
}

static void mm_boot_args(void)
{
    char text[128];
    if (boot_arg("mm.fault_around", text, sizeof(text)) && store_fault_around(text)) {
        printk("mm.fault_around=%s: 1, 16 or 512; using %u\n", text, mm_fault_around());
    }
    if (boot_arg("inject", text, sizeof(text)) && inject_set(text)) {
        printk("inject=%s: not understood\n", text);
    }
}

void mm_init(void)
{
    explore_init();
    mm_cache = kmem_cache_create("mm", sizeof(struct mm), 64);
    vma_cache_init();
    pagecache_init();
    anon_init();
    scheme_init();
    mm_boot_args();
    counters_init();
    knob_register("fault_around", show_fault_around, store_fault_around);
    knob_register("scheme", show_scheme, NULL);
    knob_register("scheme_new", show_scheme_new, scheme_set_default);
    knob_register("max_map_count", show_max_map_count, store_max_map_count);
    knob_register("inject", show_inject, inject_set);
    knob_register("settle", show_nothing, store_settle);
    audit_init();
}
