// TLB shootdown and which CPU has which address space loaded.
//
// The problem. After an entry is cleared, other CPUs may go on using the translation they have
// cached until they are told. Pages must not be reused before that. Telling costs an interrupt, so
// only CPUs that may hold translations are told.
//
// Who may hold translations. mm->cpus has a bit for each CPU on which the mm is loaded.
//
//     CPU that loads mm                      CPU that shoots
//     set the bit          (seq_cst RMW)     clear the entry (under the table lock)
//     load the root: flushes, walks anew     full barrier; read mm->cpus
//
// Either the shooter sees the bit, or the loader's walks come after the entry was cleared.
//
// Lazy CPUs. A thread that blocks mostly comes back, so a CPU going idle (or to a kernel thread)
// keeps the tables loaded and only says so. It touches no user address until it leaves that state.
//
//     CPU that leaves lazy                   CPU that shoots
//     lazy = false         (seq_cst)         mm->tlb_gen++   (seq_cst)
//     mm->tlb_gen == mine? (seq_cst)         lazy?           (seq_cst)  yes: no interrupt
//
// Store buffering again, all four seq_cst: one sees the other, and a CPU that finds the generation
// changed flushes everything. When tables were unlinked lazy CPUs are interrupted all the same: a
// speculative walk through a freed table could read anything. A lazy CPU that is interrupted
// changes to the kernel's own tables, so that it is not asked again (`gone`); it keeps its
// reference until the next switch, because an interrupt handler must not free.
//
// mm->tlb_pending counts batches between the first cleared entry and the flush. munmap may drop a
// table lock in that time, because the VMA is dead and the writer holds the range: nobody installs
// there. But truncate may come by, find the entry empty and free the page. It asks tlb_settle
// first.
//
// A struct mm lives until the last CPU has unloaded it (mm->refs: 1 for all users, 1 a CPU).

#include <arch/mmu.h>
#include <k/assert.h>
#include <k/explore.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <sched.h>
#include <smp.h>
#include <tlb.h>

struct tlb_cpu {
    _Atomic(struct mm *) mm; // loaded here, or NULL: the kernel's tables; this CPU's own business
    atomic_bool lazy;        // loaded, but nobody runs in it
    bool gone;               // lazy, and the kernel's tables are loaded in its stead
    u64 gen;                 // mm->tlb_gen this CPU has caught up with
} cache_aligned;

static DEFINE_PER_CPU(struct tlb_cpu, tlb_cpu);

#define FLUSH_PAGES_MAX 32 // beyond this many pages one full flush is cheaper

struct mm *tlb_loaded_mm(void)
{
    return load_relaxed(&this_cpu(tlb_cpu).mm);
}

// Make mm's tables those of this CPU.
static void tlb_enter(struct tlb_cpu *t, struct mm *mm, unsigned cpu)
{
    fetch_or_seq(&mm->cpus, 1ul << cpu); // pairs with tlb_shoot
    t->gen = load_seq(&mm->tlb_gen);
    store_relaxed(&t->mm, mm);
    t->gone = false;
    store_seq(&t->lazy, false);
    mmu_load(mm_root(mm, 0));
    yield_point("mm loaded");
    walks_forget();
}

static void tlb_change(struct tlb_cpu *t, struct mm *next, unsigned cpu)
{
    struct mm *prev = load_relaxed(&t->mm);
    bool gone = t->gone;
    fetch_add_relaxed(&next->refs, 1);
    tlb_enter(t, next, cpu);
    if (prev) {
        if (!gone) {
            fetch_and_seq(&prev->cpus, ~(1ul << cpu)); // flushed; pairs with tlb_shoot
        }
        mm_drop_ref(prev);
    }
}

void mm_switch(struct mm *next, unsigned cpu)
{
    struct tlb_cpu *t = &per_cpu(tlb_cpu, cpu);
    if (!next) {
        if (load_relaxed(&t->mm) && !load_relaxed(&t->lazy)) {
            store_seq(&t->lazy, true); // after our last user access; pairs with tlb_shoot
        }
        return;
    }
    if (load_relaxed(&t->mm) != next) {
        tlb_change(t, next, cpu);
    } else if (t->gone) {
        tlb_enter(t, next, cpu);
    } else if (load_relaxed(&t->lazy)) {
        store_seq(&t->lazy, false);         // pairs with tlb_shoot
        u64 gen = load_seq(&next->tlb_gen); // pairs with tlb_shoot
        yield_point("lazy no more");
        if (gen != t->gen) {
            t->gen = gen;
            mmu_flush_all();
            walks_forget();
        }
    }
}

// Nobody uses mm any more: let the CPUs that have it loaded, lazily, go to the kernel's tables, and
// drop their references for them (an interrupt handler must not).
struct forget {
    struct mm *mm;
    atomic_uint nr;
};

static void tlb_forget_here(void *arg)
{
    struct forget *f = arg;
    unsigned long flags = irq_save();
    struct tlb_cpu *t = &this_cpu(tlb_cpu);
    if (load_relaxed(&t->mm) == f->mm) {
        mmu_load(mmu_kernel_root());
        walks_forget();
        fetch_and_seq(&f->mm->cpus, ~(1ul << cpu_id()));
        store_relaxed(&t->mm, NULL);
        t->gone = false;
        store_seq(&t->lazy, false);
        fetch_add_seq(&f->nr, 1); // pairs with tlb_forget
    }
    irq_restore(flags);
}

void tlb_forget(struct mm *mm)
{
    struct forget f = {.mm = mm};
    u64 mask = 0;
    unsigned c;
    for_each_online_cpu (c) {
        if (per_cpu(tlb_cpu, c).mm == mm) { // nobody loads it anew, so no CPU is missed
            mask |= 1ul << c;
        }
    }
    tlb_forget_here(&f);
    mask &= ~(1ul << cpu_id());
    if (mask) {
        smp_call_mask(mask, tlb_forget_here, &f);
    }
    for (unsigned i = load_seq(&f.nr); i > 0; i--) { // pairs with tlb_forget_here
        mm_drop_ref(mm);
    }
}

struct shot {
    struct mm *mm;
    vaddr_t start, end;
    bool tables;
};

static void tlb_flush_local(const struct shot *s)
{
    if (this_cpu(tlb_cpu).mm != s->mm || this_cpu(tlb_cpu).gone) {
        return; // unloaded since: the switch flushed
    }
    walks_forget();
    if ((s->end - s->start) >> PAGE_SHIFT > FLUSH_PAGES_MAX) {
        mmu_flush_all();
        return;
    }
    for (vaddr_t a = s->start; a < s->end; a += PAGE_SIZE) {
        mmu_flush_page(a);
    }
}

static void tlb_flush_ipi(void *arg)
{
    const struct shot *s = arg;
    struct tlb_cpu *t = &this_cpu(tlb_cpu);
    if (t->mm == s->mm && s->tables && load_relaxed(&t->lazy) && !t->gone) {
        mmu_load(mmu_kernel_root());
        walks_forget();
        t->gone = true;
        fetch_and_seq(&t->mm->cpus, ~(1ul << cpu_id()));
        return;
    }
    tlb_flush_local(s);
}

void tlb_shoot(struct mm *mm, vaddr_t start, vaddr_t end, bool tables)
{
    struct shot s = {mm, start, end, tables};
    unsigned self = cpu_id();

    fetch_add_seq(&mm->tlb_gen, 1); // full barrier after the cleared entries
    u64 mask = load_seq(&mm->cpus); // pairs with tlb_enter
    if (mask & (1ul << self)) {
        tlb_flush_local(&s);
        mask &= ~(1ul << self);
    }
    if (mask && !tables) {
        for (u64 rest = mask; rest; rest &= rest - 1) {
            unsigned c = (unsigned)__builtin_ctzl(rest);
            if (load_seq(&per_cpu(tlb_cpu, c).lazy)) { // pairs with mm_switch
                mask &= ~(1ul << c);
            }
        }
    }
    if (mask) {
        trace_event("shootdown: CPUs, start", mask, start);
        smp_call_mask(mask, tlb_flush_ipi, &s);
    }
}

void tlb_begin(struct tlb_batch *b, struct mm *mm)
{
    b->mm = mm;
    b->start = b->end = 0;
    list_init(&b->pages);
    list_init(&b->tables);
    b->nr_pages = b->nr_tables = b->nr_shared = 0;
    b->pending = false;
}

void tlb_pend(struct tlb_batch *b)
{
    if (!b->pending) {
        b->pending = true;
        fetch_add_seq(&b->mm->tlb_pending, 1); // pairs with tlb_settle, through the table lock
    }
}

void tlb_note(struct tlb_batch *b, vaddr_t addr)
{
    addr = page_align_down(addr);
    if (b->start == b->end) {
        b->start = addr;
        b->end = addr + PAGE_SIZE;
        return;
    }
    b->start = min(b->start, addr);
    b->end = max(b->end, addr + PAGE_SIZE);
}

void tlb_add_page(struct tlb_batch *b, struct page *page)
{
    list_add_tail(&b->pages, &page->list);
    b->nr_pages++;
}

void tlb_add_shared(struct tlb_batch *b, struct page *page)
{
    if (b->nr_shared == array_size(b->shared)) {
        tlb_flush(b);
    }
    b->shared[b->nr_shared++] = page;
}

void tlb_add_table(struct tlb_batch *b, struct page *table)
{
    list_add_tail(&b->tables, &table->list);
    b->nr_tables++;
}

void tlb_flush(struct tlb_batch *b)
{
    struct page *p, *tmp;
    if (b->start == b->end && b->nr_pages + b->nr_shared + b->nr_tables == 0) {
        return; // a batch that never met an entry
    }
    yield_point("flush");
    if (b->start != b->end) {
        tlb_shoot(b->mm, b->start, b->end, b->nr_tables > 0);
        b->start = b->end = 0;
    }
    list_for_each_entry_safe (p, tmp, &b->pages, list) {
        page_free(p);
    }
    list_init(&b->pages);
    for (unsigned i = 0; i < b->nr_shared; i++) {
        page_put(b->shared[i]);
    }
    list_for_each_entry_safe (p, tmp, &b->tables, list) {
        pt_table_free_rcu(p);
    }
    list_init(&b->tables);
    b->nr_pages = b->nr_tables = b->nr_shared = 0;
}

void tlb_end(struct tlb_batch *b)
{
    tlb_flush(b);
    if (b->pending) {
        fetch_sub_release(&b->mm->tlb_pending, 1); // flushed before; pairs with tlb_settle
    }
}

void tlb_settle(struct mm *mm)
{
    if (load_seq(&mm->tlb_pending) != 0) { // pairs with tlb_pend and tlb_end
        tlb_shoot(mm, 0, USER_END, false);
    }
}
