// A VMA: one stretch of an address space with one set of rules. Immutable once published: to move
// an edge or change a permission a writer publishes other VMAs and retires this one. So a reader
// needs no lock to trust what it reads, only to decide whether the VMA is still alive (invariant
// 1).
//
// Lock letters: see mm.h.
#ifndef VMA_H
#define VMA_H

#include <arch/mmu.h>
#include <k/atomic.h>
#include <k/list.h>
#include <k/rcu.h>
#include <k/types.h>

struct edit;
struct fault;
struct file;
struct mm;
struct page;
struct vma_gap;
struct vma_spec;

enum vma_flag {
    VMA_READ = 1u << 0,
    VMA_WRITE = 1u << 1,
    VMA_EXEC = 1u << 2,
    VMA_SHARED = 1u << 3,
    VMA_MAYWRITE = 1u << 4, // mprotect may add WRITE: private, or shared and opened for writing
    VMA_MAYREAD = 1u << 5,  // mprotect may add READ or EXEC
    VMA_GROWSDOWN = 1u << 6,
    VMA_STACK = 1u << 7,       // the main stack (its name in maps)
    VMA_LOCKED = 1u << 8,      // mlock accounting
    VMA_LOCKONFAULT = 1u << 9, // ... without populating
    VMA_NORESERVE = 1u << 10,
    VMA_DONTFORK = 1u << 11,   // madvise: a child does not get it
    VMA_WIPEONFORK = 1u << 12, // madvise: a child finds zeroes; private and anonymous
    VMA_SOFT_DIRTY = 1u << 13, // new since clear_refs: all of it counts as written
};

#define VMA_ACCESS_FLAGS (VMA_READ | VMA_WRITE | VMA_EXEC)

// A VMA's life. PENDING: in the tree, but the writer is still clearing what was there before; a
// fault that meets it waits for the writer. LIVE: may be installed from. DEAD: replaced or removed;
// set by edit_retire before the first entry is zapped; final.
enum vma_state {
    VMA_LIVE = 0,
    VMA_PENDING,
    VMA_DEAD,
};

struct vma {
    vaddr_t start, end;        // [I] [start, end), page aligned
    u32 flags;                 // [I] enum vma_flag
    atomic_uint state;         // [a] enum vma_state; decisive only under [T]
    struct mm *mm;             // [I]
    const struct vma_ops *ops; // [I] NULL: anonymous
    struct file *file;         // [I] counted; dropped when the VMA is freed
    pte_t entry[2];            // [I] entries without an address: read-only, writable
    u64 pgoff;      // [I] page number in the file of `start`; anonymous: see vma_page_index
    atomic_int ref; // [a] the tree holds 1, each parked fault 1; at 0: RCU-free
    atomic_uint scheme_word; // [s] 0 at first; there as long as the memory is, DEAD or not
    struct list i_mmap_link; // [mapping->i_mmap_lock]
    struct list edit_link; // [E] a writer's list of VMAs to retire or to publish; retired: its own
    struct rcu_head rcu;   // once ref is 0
};
_Static_assert(sizeof(struct vma) == 2 * CACHE_LINE, "two lines");

// Protection bits of an entry of a VMA with these flags; write only where asked.
static inline unsigned vma_prot(u32 flags, bool write)
{
    unsigned prot = PTE_P_USER;
    prot |= flags & VMA_ACCESS_FLAGS ? PTE_P_READ : 0;
    prot |= flags & VMA_EXEC ? PTE_P_EXEC : 0;
    prot |= write && (flags & VMA_WRITE) ? PTE_P_WRITE : 0;
    return prot;
}

// What a mapped file provides. Called by mm/fault.c only.
struct vma_ops {
    // Non-blocking half, inside the RCU section, no lock held: map every cached, up-to-date page
    // around the fault (the window) into f's leaf table under one page-table lock. 0 when the
    // faulting page itself was mapped, -EAGAIN when something moved (start again), -ENOENT when the
    // page is not in the cache (call ->fault).
    int (*map_pages)(struct fault *f);
    // The page of the fault without a lock, up to date, or NULL (call ->fault). Inside the RCU
    // section; the caller re-checks page->mapping under the page-table lock.
    struct page *(*find_page)(struct fault *f);
    // Blocking half: read the page in; no lock, no RCU held; f->vma is counted. 0 with f->page held
    // (one reference). -ERANGE (beyond the end) and -EIO become SIGBUS; -ENOMEM.
    int (*fault)(struct fault *f);
    // First write to a page of a shared mapping; NULL: pages are mapped writable at once. f->page
    // is held; may sleep; 0: the page may be made writable.
    int (*page_mkwrite)(struct fault *f);
};

// The page number in the file. For anonymous memory the number the address had when first mapped,
// so that pieces that were moved apart are not joined by mistake.
static inline u64 vma_page_index(const struct vma *v, vaddr_t addr)
{
    return v->pgoff + ((addr - v->start) >> PAGE_SHIFT);
}

void vma_cache_init(void); // boot

// Take a reference, in an RCU section; false: the last one is gone.
bool vma_tryget(struct vma *v);
// Drop a reference; with the last one the VMA and its hold on the file go after a grace period.
// Thread context, any lock below RANK_RCU may be held.
void vma_put(struct vma *v);
long vma_nr_used(void); // for leak tests

// A VMA of mm like *s but without a place, so that little is left to do under the edit lock; NULL:
// no memory. Counts the file. Sleeps.
struct vma *vma_draft(struct mm *mm, const struct vma_spec *s);
void vma_draft_free(struct vma *draft); // one that was not used, or NULL

// ---- Writers: plan, then commit (mm/vma.c). Under the edit lock of e->mm, but the release. ------
//
//     vma_plan_cut(e, start, end)     everything in [start, end) is to go; what sticks out on
//                                     either side is published again, as a remnant
//     vma_plan_add(e, &what)          publish this in the hole, joined with equal neighbours
//     vma_plan_replace(e, v, flags)   instead of both: v with other flags, joined with nobody
//     vma_plan_fill(e, &what, &gap)   both, for a stretch that vma_find_gap has found free: looks
//                                     nothing up again
//     vma_plan_ready(e)               allocate: the last step that can fail
//     vma_commit(e)                   publish, then retire; a full barrier on return
//     ... the caller zaps [e->start, e->end) and flushes ...
//     vma_commit_finish(e)            pending VMAs go live, retired ones leave the reverse map
//     vma_commit_release(e)           let go of retired VMAs and spare nodes; no lock is needed
//   or vma_plan_abort(e)              instead of vma_commit: nothing has happened

struct vma_spec {
    vaddr_t start, end;
    u32 flags;
    struct file *file; // a reference is taken
    const struct vma_ops *ops;
    u64 pgoff;
    bool pending;       // publish as VMA_PENDING until vma_commit_finish
    struct vma **draft; // of vma_draft, to be used and then taken away; NULL: none
    bool writer_comes;  // rmap_writer_came is owed to the file's mapping
};

void vma_plan_init(struct edit *e, struct mm *mm);
int vma_plan_cut(struct edit *e, vaddr_t start, vaddr_t end);
int vma_plan_add(struct edit *e, const struct vma_spec *what);
int vma_plan_replace(struct edit *e, struct vma *v, u32 flags);
int vma_plan_fill(struct edit *e, const struct vma_spec *what, const struct vma_gap *gap);
int vma_plan_ready(struct edit *e);
void vma_plan_abort(struct edit *e);
void vma_commit(struct edit *e);
void vma_commit_live(struct edit *e); // part of finish; earlier where the caller must
void vma_commit_finish(struct edit *e);
void vma_commit_release(struct edit *e); // also after vma_plan_abort, and twice

// fork: give `to`, which no thread uses yet, a VMA like v of an address space whose edit lock is
// held. It is not locked: mlock(2). 0 or -ENOMEM. Sleeps.
int vma_fork(const struct vma *v, struct mm *to);

// Could b directly after a be one VMA with it? Soft-dirty they need not agree about: what is joined
// is if either was.
bool vma_can_merge(const struct vma_spec *a, const struct vma_spec *b);
void vma_to_spec(const struct vma *v, struct vma_spec *out);

// Lookups for writers (edit lock held).
struct vma *vma_find(struct mm *mm, vaddr_t addr);       // holds addr, or NULL
struct vma *vma_find_first(struct mm *mm, vaddr_t addr); // first that ends after addr, or NULL
struct vma *vma_find_prev(struct mm *mm, vaddr_t addr);  // last that starts before addr, or NULL

// A free stretch, and the VMAs that end where it starts and start where it ends, or NULL.
struct vma_gap {
    vaddr_t start;
    struct vma *prev, *next;
};

// The highest free stretch of len bytes below top. Leaves the guard gap below a growing stack. 0 or
// -ENOMEM.
int vma_find_gap(struct mm *mm, vaddr_t top, u64 len, struct vma_gap *out);

#define STACK_GUARD_GAP (256 * PAGE_SIZE)
#define MMAP_MIN_ADDR   (16 * PAGE_SIZE)

#endif
