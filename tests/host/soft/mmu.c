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

#define TLB_SIZE    64u
#define UPPER_SIZE  8u
#define BUFFER_SIZE 6u
#define RECENT      16u

struct translation {
    vaddr_t page; // ~0: none
    paddr_t frame;
    bool writable, dirty;
};
struct upper { // which leaf table covers this stretch
    vaddr_t base;
    paddr_t table;
};

static _Thread_local struct translation tlb[TLB_SIZE];
static _Thread_local struct upper upper[UPPER_SIZE];
static _Thread_local paddr_t loaded_root; // 0: the kernel's tables, which map no user address
static _Thread_local vaddr_t recent[RECENT];

// ---- The store buffer ---------------------------------------------------------------------------

_Thread_local unsigned soft_nr_buffered;
static _Thread_local struct {
    struct pte_slot *slot;
    struct spinlock *lock; // or this
    u64 value;
} buffer[BUFFER_SIZE];

static void slot_check(u64 v)
{
    u64 known = PTE_ADDR | (PTE_TABLE * 2 - 1);
    if ((v & ~known) || (v & PTE_ADDR) >> PAGE_SHIFT >= page_map_end) {
        panic("read as a page-table entry: %lx", (unsigned long)v);
    }
}

void soft_drain_slow(void)
{
    for (unsigned i = 0; i < soft_nr_buffered; i++) {
        if (buffer[i].lock) {
            // Pairs with spin_trylock.
            atomic_store_explicit(&buffer[i].lock->held, 0, memory_order_release);
        } else {
            atomic_store_explicit(&buffer[i].slot->v, buffer[i].value, memory_order_release);
        }
    }
    soft_nr_buffered = 0;
}

void soft_fence(void)
{
    static atomic_uint everybody; // what ThreadSanitizer understands of a fence
    soft_drain();
    atomic_fetch_add_explicit(&everybody, 1, memory_order_seq_cst);
}

static void buffer_add(struct pte_slot *slot, struct spinlock *lock, u64 value)
{
    if (soft_nr_buffered == BUFFER_SIZE) {
        soft_drain();
    }
    buffer[soft_nr_buffered].slot = slot;
    buffer[soft_nr_buffered].lock = lock;
    buffer[soft_nr_buffered++].value = value;
    if (soft_random() % 4) {
        soft_drain();
    }
}

bool soft_buffer_has(const void *where)
{
    for (unsigned i = 0; i < soft_nr_buffered; i++) {
        if (buffer[i].lock == where || buffer[i].slot == where) {
            return true;
        }
    }
    return false;
}

void soft_buffer_unlock(struct spinlock *l)
{
    buffer_add(NULL, l, 0);
}

// The CPU sees its own stores before others do.
static bool buffer_forward(struct pte_slot *s, u64 *v)
{
    for (unsigned i = soft_nr_buffered; i-- > 0;) {
        if (buffer[i].slot == s) {
            *v = buffer[i].value;
            return true;
        }
    }
    return false;
}

pte_t pte_read(struct pte_slot *s)
{
    u64 v;
    soft_point();
    if (!buffer_forward(s, &v)) {
        v = atomic_load_explicit(&s->v, memory_order_acquire);
    }
    slot_check(v);
    return (pte_t){v};
}

pte_t pte_read_seq(struct pte_slot *s)
{
    u64 v;
    soft_point();
    if (!buffer_forward(s, &v)) {
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
    buffer_add(s, NULL, e.v);
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

static struct translation *tlb_at(vaddr_t addr)
{
    return &tlb[(addr >> PAGE_SHIFT) % TLB_SIZE];
}

static void upper_flush(void)
{
    for (unsigned i = 0; i < UPPER_SIZE; i++) {
        upper[i].base = ~0ul;
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
    for (unsigned i = 0; i < TLB_SIZE; i++) {
        tlb[i].page = ~0ul;
    }
    upper_flush();
}

void mmu_load(paddr_t root)
{
    loaded_root = root;
    mmu_flush_all();
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

static bool walk_to_leaf_table(vaddr_t addr, paddr_t *table)
{
    vaddr_t base = align_down(addr, pt_span(1));
    struct upper *u = &upper[(addr / pt_span(1)) % UPPER_SIZE];
    if (u->base == base) {
        *table = u->table;
        return true;
    }
    *table = loaded_root;
    for (unsigned level = PT_TOP; level > 0; level--) {
        u64 v = walk_read(*table, addr, level);
        if (!v) {
            return false;
        }
        *table = v & PTE_ADDR;
    }
    *u = (struct upper){base, *table};
    return true;
}

// Fill the TLB for this access; false: the access faults.
static bool walk(vaddr_t addr, bool write)
{
    paddr_t table;
    if (!loaded_root || !walk_to_leaf_table(addr, &table)) {
        return false;
    }
    struct pte_slot *s = (struct pte_slot *)phys_to_virt(table) + pt_index(addr, 0);
    u64 v = walk_read(table, addr, 0);
    for (;;) {
        if (!(v & PTE_PRESENT) || (write && !(v & PTE_WRITE))) {
            return false;
        }
        u64 new = v | PTE_ACCESSED | (write ? PTE_DIRTY : 0);
        if (new == v || atomic_compare_exchange_strong(&s->v, &v, new)) {
            v = new;
            break;
        }
        slot_check(v);
    }
    *tlb_at(addr) = (struct translation){.page = page_align_down(addr),
                                         .frame = v & PTE_ADDR,
                                         .writable = v & PTE_WRITE,
                                         .dirty = v & PTE_DIRTY};
    return true;
}

void soft_speculate(void)
{
    soft_drain();
    walk(recent[soft_random() % RECENT], false);
}

static _Atomic u64 *translate(vaddr_t addr, bool write)
{
    struct translation *t = tlb_at(addr);
    if (t->page != page_align_down(addr) || (write && !(t->writable && t->dirty))) {
        if (!walk(addr, write)) {
            return NULL;
        }
    }
    return (_Atomic u64 *)phys_to_virt(t->frame + (addr & ~PAGE_MASK & ~7ul));
}

static int access_word(vaddr_t addr, bool write, u64 *value)
{
    recent[soft_random() % RECENT] = addr;
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
        to[i] = atomic_load_explicit(&from[i], memory_order_relaxed);
    }
}
