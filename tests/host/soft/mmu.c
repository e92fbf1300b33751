// The soft machine's MMU and store buffer.
//
// A translation is {page, frame, writable, dirty}. The CPU's own accesses and its walks are
// instructions: between asking the TLB and touching RAM no interrupt is served, though the host may
// well stop the thread there. So whoever waits for this CPU's answer to a shootdown waits for the
// access, too, exactly as on hardware; whoever does not wait is seen to reuse the page.

#include <arch/mmu.h>
#include <fault.h>
#include <k/assert.h>
#include <k/lock.h>
#include <k/percpu.h>
#include <k/rcu.h>
#include <k/string.h>
#include <page.h>
#include <pgtable.h>

// ---- The store buffer ---------------------------------------------------------------------------

static void slot_check(u64 v)
{
    u64 known = PTE_ADDR | (PTE_SOFT * 2 - 1);
    if ((v & ~known) || (v & PTE_ADDR) >> PAGE_SHIFT >= page_map_end) {
        panic("read as a page-table entry: %lx", (unsigned long)v);
    }
}

static void store_now(const struct soft_store *s)
{
    switch (s->size_bytes) {
    case 1:
        atomic_store_explicit((_Atomic u8 *)s->where, (u8)s->value, memory_order_release);
        break;
    case 2:
        atomic_store_explicit((_Atomic u16 *)s->where, (u16)s->value, memory_order_release);
        break;
    case 4:
        atomic_store_explicit((_Atomic u32 *)s->where, (u32)s->value, memory_order_release);
        break;
    default:
        assert(s->size_bytes == 8);
        atomic_store_explicit((_Atomic u64 *)s->where, s->value, memory_order_release);
        break;
    }
}

void soft_drain_slow(void)
{
    for (unsigned i = 0; i < soft_cpu->nr_buffered; i++) {
        store_now(&soft_cpu->buffer[i]);
    }
    soft_cpu->nr_buffered = 0;
}

void soft_fence(void)
{
    static atomic_uint everybody; // what ThreadSanitizer understands of a fence
    soft_drain();
    atomic_fetch_add_explicit(&everybody, 1, memory_order_seq_cst);
}

// One store in four begins to wait, and then the later ones wait with it.
void soft_buffer(void *where, unsigned size_bytes, u64 value)
{
    struct soft_store s = {where, size_bytes, value};
    if (soft_cpu->nr_buffered == SOFT_BUFFER) {
        soft_drain();
    }
    if (soft_cpu->nr_buffered == 0 && !soft_cpu->keep_stores && soft_random() % 4) {
        store_now(&s);
    } else {
        soft_cpu->buffer[soft_cpu->nr_buffered++] = s;
    }
}

bool soft_buffer_has(const void *where)
{
    u64 ignored;
    return soft_forward(where, &ignored);
}

bool soft_forward_slow(const void *where, u64 *value)
{
    for (unsigned i = soft_cpu->nr_buffered; i-- > 0;) {
        if (soft_cpu->buffer[i].where == where) {
            *value = soft_cpu->buffer[i].value;
            return true;
        }
    }
    return false;
}

pte_t pte_read(struct pte_slot *s)
{
    u64 v;
    soft_point();
    if (!soft_forward(&s->v, &v)) {
        v = atomic_load_explicit(&s->v, memory_order_acquire);
    }
    slot_check(v);
    return (pte_t){v};
}

pte_t pte_read_seq(struct pte_slot *s)
{
    u64 v;
    soft_point();
    if (!soft_forward(&s->v, &v)) {
        v = atomic_load_explicit(&s->v, memory_order_seq_cst);
    }
    slot_check(v);
    return (pte_t){v};
}

void pte_write(struct pte_slot *s, pte_t e)
{
    if ((e.v & PTE_ADDR) >> PAGE_SHIFT >= page_map_end) { // mm/audit.c, into a table that is free
        soft_drain();
        atomic_store_explicit(&s->v, e.v, memory_order_release);
        return;
    }
    soft_buffer(&s->v, sizeof(s->v), e.v);
    soft_point();
}

void pte_write_seq(struct pte_slot *s, pte_t e)
{
    soft_drain();
    soft_point();
    atomic_store_explicit(&s->v, e.v, memory_order_seq_cst);
    soft_point();
}

pte_t pte_exchange(struct pte_slot *s, pte_t e)
{
    soft_drain();
    soft_point();
    u64 v = atomic_exchange_explicit(&s->v, e.v, memory_order_seq_cst);
    slot_check(v);
    return (pte_t){v};
}

bool pte_cas(struct pte_slot *s, pte_t old, pte_t new)
{
    soft_drain();
    soft_point();
    return atomic_compare_exchange_strong_explicit(&s->v, &old.v, new.v, memory_order_seq_cst,
                                                   memory_order_seq_cst);
}

// ---- TLB and walker -----------------------------------------------------------------------------

static struct soft_translation *tlb_at(vaddr_t addr)
{
    return &soft_cpu->tlb[(addr >> PAGE_SHIFT) % SOFT_TLB];
}

static void upper_flush(void)
{
    for (unsigned i = 0; i < SOFT_UPPER; i++) {
        soft_cpu->upper[i].base = ~0ul;
    }
}

void mmu_flush_page(vaddr_t addr)
{
    soft_drain();
    if (tlb_at(addr)->page == page_align_down(addr)) {
        tlb_at(addr)->page = ~0ul;
    }
    upper_flush();
}

void mmu_flush_all(void)
{
    soft_drain();
    for (unsigned i = 0; i < SOFT_TLB; i++) {
        soft_cpu->tlb[i].page = ~0ul;
    }
    upper_flush();
}

void mmu_load(paddr_t root)
{
    soft_cpu->loaded_root = root;
    mmu_flush_all();
}

u64 mmu_nr_kernel_tables(void)
{
    return 0;
}

paddr_t mmu_kernel_root(void)
{
    return 0;
}

void mmu_init_root(void *root)
{
    (void)root;
}

// The walker sees memory, not this CPU's buffer: what is buffered is older than the walk.
static u64 walk_read(paddr_t table, vaddr_t addr, unsigned level)
{
    struct pte_slot *s = (struct pte_slot *)phys_to_virt(table) + pt_index(addr, level);
    u64 v = atomic_load_explicit(&s->v, memory_order_acquire);
    slot_check(v);
    if (level > 0 && v && (!(v & PTE_TABLE) || !(v & PTE_PRESENT))) {
        panic("walk of %lx: %lx is no table", (unsigned long)addr, (unsigned long)v);
    }
    if (level == 0 && (v & PTE_TABLE)) {
        panic("walk of %lx: %lx is a table", (unsigned long)addr, (unsigned long)v);
    }
    return v;
}

static struct soft_upper *walk_to_leaf_table(vaddr_t addr)
{
    struct soft_upper *cached = &soft_cpu->upper[(addr / pt_span(1)) % SOFT_UPPER];
    struct soft_upper u = {align_down(addr, pt_span(1)), soft_cpu->loaded_root, true};
    if (cached->base == u.base) {
        return cached;
    }
    for (unsigned level = PT_TOP; level > 0; level--) {
        u64 v = walk_read(u.table, addr, level);
        if (!v) {
            return NULL;
        }
        u.table = v & PTE_ADDR;
        u.writable = u.writable && (v & PTE_WRITE);
    }
    *cached = u;
    return cached;
}

// Fill the TLB for this access; false: the access faults.
static bool walk(vaddr_t addr, bool write)
{
    struct soft_upper *u = soft_cpu->loaded_root ? walk_to_leaf_table(addr) : NULL;
    if (!u || (write && !u->writable)) {
        return false;
    }
    struct pte_slot *s = (struct pte_slot *)phys_to_virt(u->table) + pt_index(addr, 0);
    u64 v = walk_read(u->table, addr, 0);
    for (;;) {
        if (!(v & PTE_PRESENT) || (write && !(v & PTE_WRITE))) {
            return false;
        }
        u64 new = v | PTE_ACCESSED | (write ? PTE_DIRTY : 0);
        // explicit: no point inside an instruction
        if (new == v || atomic_compare_exchange_strong_explicit(
                            &s->v, &v, new, memory_order_seq_cst, memory_order_seq_cst)) {
            v = new;
            break;
        }
        slot_check(v);
    }
    *tlb_at(addr) = (struct soft_translation){.page = page_align_down(addr),
                                              .frame = v & PTE_ADDR,
                                              .writable = u->writable && (v & PTE_WRITE),
                                              .dirty = v & PTE_DIRTY};
    return true;
}

void soft_walk(u64 addr)
{
    soft_drain();
    walk(addr, false);
}

void soft_speculate(void)
{
    soft_walk(soft_cpu->recent[soft_random() % SOFT_RECENT]);
}

static _Atomic u64 *translate(vaddr_t addr, bool write)
{
    struct soft_translation *t = tlb_at(addr);
    if (t->page != page_align_down(addr) || (write && !(t->writable && t->dirty))) {
        if (!walk(addr, write)) {
            return NULL;
        }
    }
    return (_Atomic u64 *)phys_to_virt(t->frame + (addr & ~PAGE_MASK & ~7ul));
}

static int access_word(vaddr_t addr, bool write, u64 *value)
{
    soft_cpu->recent[soft_random() % SOFT_RECENT] = addr;
    for (;;) {
        soft_safe_point();
        _Atomic u64 *word = translate(addr, write);
        if (word) {
            if (soft_random() % 64 == 0) {
                host_yield(); // still in the instruction
            }
            if (write) {
                atomic_store_explicit(word, *value, memory_order_relaxed);
            } else {
                *value = atomic_load_explicit(word, memory_order_relaxed);
            }
            return 0;
        }
        int err = mm_fault(current_mm(), addr, write ? FAULT_WRITE : FAULT_READ);
        if (err) {
            return err;
        }
    }
}

int soft_load(u64 addr, u64 *value)
{
    return access_word(addr, false, value);
}

int soft_store(u64 addr, u64 value)
{
    return access_word(addr, true, &value);
}

// ---- Pages --------------------------------------------------------------------------------------

void mem_clear_page(void *page)
{
    memset(page, 0, PAGE_SIZE);
}

// The program may write the source meanwhile.
void mem_copy_page(void *dst, const void *src)
{
    const _Atomic u64 *from = src;
    u64 *to = dst;
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(*to); i++) {
        if (i == PAGE_SIZE / sizeof(*to) / 2) {
            soft_race_point("copy page"); // it takes long
        }
        to[i] = atomic_load_explicit(&from[i], memory_order_relaxed);
    }
}
