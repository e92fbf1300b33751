// What the files of mm/ share and nobody else needs.
#ifndef MM_PRIV_H
#define MM_PRIV_H

#include <fault.h>
#include <k/percpu.h>
#include <mm.h>

// anon.c: a fault on an entry that is not empty.
int fault_present(struct fault *f);

// stack.c: a VMA_GROWSDOWN VMA above addr may be extended to it: true when that was done (or
// another thread did it), so that the fault should look again. Sleeps.
bool stack_grow(struct mm *mm, vaddr_t addr);

// gup.c: fault in [start, end); errors of mm_fault. Holes end it with -ENOMEM.
int mm_populate(struct mm *mm, vaddr_t start, vaddr_t end, bool write_private);

// fork.c: a fault could not go on, perhaps for a fork: wait for the instant, or copy the table of
// addr in the fork's place. Sleeps.
void fork_settle(struct mm *mm, vaddr_t addr, unsigned access);

// Counters of this CPU in mm (no sleep between taking the pointer and using it).
static inline struct mm_cpu *mm_this_cpu(struct mm *mm)
{
    return &mm->cpu[cpu_id()];
}

// counters.c: what held faults up on this CPU. Written by its CPU alone, off the fast path.
struct fault_counts {
    _Atomic u64 again;   // faults that took more than one pass
    _Atomic u64 mkwrite; // passes that ended to ask ->page_mkwrite
    _Atomic u64 refill;  // ... for want of a page
    _Atomic u64 writer;  // ... to wait for a writer
    _Atomic u64 moved;   // ... because something changed meanwhile
    _Atomic u64 failed;  // faults that became an error
} cache_aligned;
DECLARE_PER_CPU(struct fault_counts, fault_counts);
#define fault_count(what)                                                                          \
    do {                                                                                           \
        _Atomic u64 *at_ = &this_cpu(fault_counts).what;                                           \
        store_relaxed(at_, load_relaxed(at_) + 1);                                                 \
    } while (0)
void counters_init(void);
// For the sums: a new address space; one whose counters are about to go.
void mm_list_add(struct mm *mm);
void mm_list_del(struct mm *mm);

// The flags of a VMA for PROT_* bits.
u32 vma_flags_from_prot(unsigned prot);

// audit.c: knobs for tests. A table that RCU frees is handed to pt_audit_table_freed when
// pt_audit_freed is set.
void audit_init(void);
extern atomic_bool pt_audit_freed;
void pt_audit_table_freed(struct page *table);

// A writer's frame: plan_init and edit_enter, edit_leave.
int edit_begin(struct edit *e, struct mm *mm);
void edit_end(struct edit *e);
// The hole of a committed edit: zap what was mapped there, flush, detach empty tables.
void edit_zap_hole(struct edit *e);
// cut + ready + commit + zap + finish: unmap [start, end). The edit lock is held. 0 or -ENOMEM.
int unmap_locked(struct mm *mm, vaddr_t start, vaddr_t end);
// The current thread's number among those that mm_add_thread has brought to mm; 0 for others, the
// first one among them. See mm_find_gap.
unsigned mm_home(struct mm *mm);
// Where a mapping of len bytes goes that may go anywhere. The edit lock is held. 0 or -ENOMEM.
int mm_find_gap(struct mm *mm, u64 len, struct vma_gap *gap);
// cut + add + ready + commit + zap + finish: publish `what`, replacing what is there.
int map_locked(struct mm *mm, const struct vma_spec *what);
// mprotect.c: put change(e, arg) in the place of each entry e of [start, end), under the locks of
// the tables, as often as the MMU interferes. What has changed is noted in the batch, which the
// caller ends. The edit lock is held.
typedef pte_t change_entry(pte_t e, u32 arg);
void change_entries(struct mm *mm, vaddr_t start, vaddr_t end, change_entry *change, u32 arg,
                    struct tlb_batch *b);
// May another n pages be mapped (limits, overcommit, VMA count)? 0 or -ENOMEM; -EAGAIN: not locked,
// as flags want. mm_may_replace leaves RLIMIT_AS and RLIMIT_DATA out, mm_within_limits asks only
// for them. The edit lock is held.
int mm_may_map(struct mm *mm, u64 nr_pages, u32 flags);
int mm_may_replace(struct mm *mm, u64 nr_pages, u32 flags);
bool mm_within_limits(struct mm *mm, u64 nr_pages, u32 flags);
// RLIMIT_DATA bounds the heap by itself, too, and not only with all else that is private.
bool mm_heap_within_limits(struct mm *mm, vaddr_t brk);
// What RLIMIT_DATA and VmData count: private writable memory that is not a stack.
static inline bool vma_flags_are_data(u32 flags)
{
    return (flags & (VMA_WRITE | VMA_SHARED | VMA_GROWSDOWN)) == VMA_WRITE;
}
// May the current process have another n pages of mm locked (RLIMIT_MEMLOCK, CAP_IPC_LOCK)?
bool mm_may_lock(struct mm *mm, u64 nr_pages);
// Replace the flags of [start, end), which lies inside v: publishes up to three VMAs. The entries
// are the caller's affair. 0 or -ENOMEM.
int vma_set_flags(struct mm *mm, struct vma *v, vaddr_t start, vaddr_t end, u32 flags);
// Those of all of v, in VMA_SOFT_DIRTY alone: neighbours that could not be joined still cannot.
int vma_replace(struct mm *mm, struct vma *v, u32 flags);

#endif
