// Address spaces: what the rest of the kernel may do with one. The fault path is in fault.h, VMAs
// in vma.h, the locking schemes in scheme.h.
//
// Lock letters of the mm headers: I immutable, a atomic, r read under RCU, E edit lock (the
// writers' lock of the address space), T page-table lock, s owned by the scheme, c this CPU's own
// line.
#ifndef MM_H
#define MM_H

#include <arch/mmu.h>
#include <arch/trap.h>
#include <k/atomic.h>
#include <k/list.h>
#include <k/lock.h>
#include <k/rcu.h>
#include <k/types.h>
#include <maple.h>

struct file;
struct inode;
struct mm_scheme;
struct page;
struct trapframe;

// Counters of one CPU in one address space: a line each, so that no fault shares one (invariant 9).
struct mm_cpu {
    s64 nr_anon, nr_file; // pages mapped (may go negative on one CPU; the sum is right)
    u64 faults;           // handled here
    u64 retries;          // passes beyond the first
    u64 parks;            // blocking ->fault calls
    s64 nr_tables;        // page-table pages, the root included (sum over CPUs)
    u64 pad[2];
} cache_aligned;

// How far a fork of this address space is (mm/fork.c).
enum fork_phase {
    FORK_NONE = 0,
    FORK_PROTECT, // leaf tables are being closed to writes, then flushed: writers wait
    FORK_COPY,    // the instant has passed; tables are copied one by one and opened again
};

struct mm {
    struct maple_tree vmas;       // [r,E] see mm_tree(); its last line goes on below
    u64 nr_vmas;                  // [E]
    u64 total_pages, peak_pages;  // [E] pages of address space; the most there were
    u64 data_pages, locked_pages; // [E] private writable ones; mlocked ones
    vaddr_t brk;                  // [E]
    u32 lock_future;              // [E] mlockall(MCL_FUTURE): VMA flags of new mappings

    // Faults read this line; nobody writes it once the program runs.
    paddr_t root cache_aligned;     // [I] top-level table; see mm_root()
    const struct mm_scheme *scheme; // [I]
    struct mm_cpu *cpu;             // [I] MAX_CPUS entries, one page
    vaddr_t brk_start;              // [I] after exec
    vaddr_t mmap_top;               // [I] free areas are sought downwards from here
    vaddr_t stack_top;              // [I]

    // [s] Writers, one at a time; "the edit lock" of these headers is the one that the scheme uses.
    struct mutex edit_lock cache_aligned;
    struct rwsem mmap_lock cache_aligned; // [s] scheme mmap_lock only
    struct list all_link;                 // [mms_lock in mm/counters.c]
    atomic_ulong peak_rss;                // [a] pages, as far as mm_usage_get saw them

    // A fork under way, whose caller holds the edit lock.
    atomic_uint fork_phase cache_aligned; // [a] enum fork_phase
    atomic_int fork_error;                // [a] it has failed: tables are opened, not copied
    struct mm *fork_child;                // [E] stays while a table is closed (its lock held)
    struct mutex fork_gate;               // held during FORK_PROTECT

    atomic_ulong cpus cache_aligned; // [a] CPUs that may hold translations; see mm_cpus()
    atomic_ulong tlb_gen;            // [a] bumped before each shootdown
    atomic_int users;                // [a] threads and transient users; the last one tears down
    atomic_int refs;        // [a] 1 for all users + lazy CPUs; the struct and root live until 0
    atomic_int tlb_pending; // [a] zaps that have cleared entries and not yet flushed
    atomic_uint nr_homes;   // [a] threads that mm_add_thread has given a home
    struct rcu_head rcu;    // once refs is 0
};

// Where an address lives (one small function each: arenas will answer per top-level slot).
static inline struct maple_tree *mm_tree(struct mm *mm, vaddr_t addr)
{
    (void)addr;
    return &mm->vmas;
}
static inline paddr_t mm_root(struct mm *mm, vaddr_t addr)
{
    (void)addr;
    return mm->root;
}

void mm_init(void); // boot: caches, zero page, scheme choice (mm.scheme=NAME), knobs

// An empty address space under the named scheme (NULL: the boot default). NULL: no memory.
struct mm *mm_create(const struct mm_scheme *scheme);
// fork: a child with the parent's mappings, whose private pages both share until one of them
// writes. What the child finds is what the parent's memory held at one instant during the call;
// the parent's other threads go on. MADV_DONTFORK and MADV_WIPEONFORK are honoured; memory locks
// are not inherited, mlockall's neither (fork(2), mlock(2)). The child has one user, the caller,
// who gives it to a thread or lets go with mm_put; scheme, brk and stack are the parent's. 0;
// -ENOMEM, and the parent is as it was. The caller is a user of the parent and holds no lock.
// Sleeps. mm/fork.c
int mm_fork(struct mm *parent, struct mm **out);
void mm_get(struct mm *mm); // one more user
// t, which has not started, becomes one more thread of mm, a user: it maps below a top of its own
// (mm_find_gap).
void mm_add_thread(struct mm *mm, struct thread *t);
void mm_put(struct mm *mm); // the last user unmaps everything (sleeps)
// The scheduler's hook: interrupts off; NULL means a thread without an address space.
void mm_switch(struct mm *next, unsigned cpu);
// exec and exit: make mm (or NULL) the current thread's address space now.
void mm_activate(struct mm *mm);

struct mm *current_mm(void);

// Memory system calls (mmap.c and friends). Arguments as in the Linux ABI; negative errno or
// result.
s64 mm_mmap(struct mm *mm, vaddr_t addr, u64 len, unsigned prot, unsigned flags, struct file *file,
            u64 off_bytes);
s64 mm_munmap(struct mm *mm, vaddr_t addr, u64 len);
// shmdt: unmap what is left of a file's mapping that once began at addr, a file with these
// operations (which tell attachments from other mappings). -EINVAL: there is none; -ENOMEM. *file:
// that file, counted.
struct file_ops;
int mm_detach(struct mm *mm, vaddr_t addr, const struct file_ops *ops, struct file **file);
s64 mm_mprotect(struct mm *mm, vaddr_t addr, u64 len, unsigned prot);
s64 mm_mremap(struct mm *mm, vaddr_t old, u64 old_len, u64 new_len, unsigned flags,
              vaddr_t new_addr);
s64 mm_brk(struct mm *mm, vaddr_t brk);
s64 mm_madvise(struct mm *mm, vaddr_t addr, u64 len, int advice);
s64 mm_mincore(struct mm *mm, vaddr_t addr, u64 len, u8 *user_vec);
s64 mm_msync(struct mm *mm, vaddr_t addr, u64 len, int flags);
s64 mm_mlock(struct mm *mm, vaddr_t addr, u64 len, unsigned flags); // MLOCK_ONFAULT in flags
s64 mm_munlock(struct mm *mm, vaddr_t addr, u64 len);
s64 mm_mlockall(struct mm *mm, int flags);
s64 mm_munlockall(struct mm *mm);

// exec: map a stretch of a file or anonymous zeroes at a fixed address in a mm nobody else uses
// yet; flags are MAP_* bits. 0 or errno.
int mm_map_fixed(struct mm *mm, vaddr_t addr, u64 len, unsigned prot, unsigned flags,
                 struct file *file, u64 off_bytes);
// The growing stack: [top - initial, top), may grow down to the limit. 0 or errno.
int mm_map_stack(struct mm *mm, vaddr_t top, u64 initial_len);
void mm_set_brk_start(struct mm *mm, vaddr_t brk);

// Copy to/from an address space that need not be the current one (exec's argument strings, wait
// status of another process...). Bytes NOT copied. Sleeps; no mm lock held.
size_t mm_copy_to(struct mm *mm, vaddr_t dst, const void *src, size_t n);
size_t mm_copy_from(struct mm *mm, void *dst, vaddr_t src, size_t n);

// Pin the page behind addr, made accessible first (for writing: a private copy is made). 0 with
// *out held (page_put), or an error of mm_fault. Sleeps.
int gup_page(struct mm *mm, vaddr_t addr, bool write, struct page **out);

// The identity of the physical location behind a user address, for shared futexes: for a shared
// file page (mapping->id, page index, offset); for private memory (mm, address). -EFAULT: nothing
// is mapped there, or nothing that may be accessed.
struct mm_key {
    const void *object;
    u64 index;
    u32 offset;
    u32 shared;
};
int mm_futex_key(struct mm *mm, vaddr_t addr, bool process_private, struct mm_key *key);

// Text of /proc/PID/maps (and its totals) into a kernel buffer, page by page: see fs/procfs.c.
// Appends lines for VMAs that start at or after *pos, as many as fit, and advances *pos (to ~0 at
// the end). Returns bytes written.
size_t mm_maps_text(struct mm *mm, u64 *pos, char *buf, size_t size);

// The same of smaps, a piece as long as one VMA at least (2 KiB are enough but for long paths), and
// of smaps_rollup. Sleep; take the edit lock a VMA at a time.
size_t mm_smaps_text(struct mm *mm, u64 *pos, char *buf, size_t size);
size_t mm_smaps_rollup_text(struct mm *mm, char *buf, size_t size);

// The words of /proc/PID/pagemap of nr pages from addr on, as Linux's
// Documentation/admin-guide/mm/pagemap.rst has them (nothing is swapped). A store that was over
// before the call and that no mm_clear_refs has made forgotten shows. 0 or errno. Sleeps.
#define PAGEMAP_PFN        ((1ull << 55) - 1) // not for everybody's eyes
#define PAGEMAP_SOFT_DIRTY (1ull << 55)
#define PAGEMAP_EXCLUSIVE  (1ull << 56)
#define PAGEMAP_FILE       (1ull << 61)
#define PAGEMAP_PRESENT    (1ull << 63)
int mm_pagemap(struct mm *mm, vaddr_t addr, u64 *out, unsigned nr);

// What is written to /proc/PID/clear_refs (proc(5), soft-dirty.rst): forget the accessed bits of
// all pages, of mappings without and with a file; that pages were written. Any store that is made
// after the return shows again, one made before and not yet seen may show or not. 0; -ENOMEM, and a
// part of it is done. Sleeps; takes the edit lock. mm/clear_refs.c
enum mm_clear {
    MM_CLEAR_ACCESSED = 1,
    MM_CLEAR_ACCESSED_ANON,
    MM_CLEAR_ACCESSED_FILE,
    MM_CLEAR_SOFT_DIRTY,
};
int mm_clear_refs(struct mm *mm, enum mm_clear what);

// Totals in pages, and the counters summed over CPUs.
struct mm_usage {
    u64 total, data, stack, locked; // of the address space
    u64 exec, lib;                  // executable files: the program's own, others
    u64 peak_total, peak_rss;       // the most so far; rss: as far as anybody looked
    s64 anon, file, tables;         // mapped now; page-table pages
    u64 faults, parks;
};
void mm_usage_get(struct mm *mm, const struct inode *exe, struct mm_usage *u);
// Of these only anon, file, tables, faults, parks and peak_rss; the others are 0. Walks nothing,
// does not sleep.
void mm_counts_get(struct mm *mm, struct mm_usage *u);
void mm_usage_forget_peak(struct mm *mm); // of rss

// Faults since boot, in all address spaces, those that are gone included (mm/counters.c).
struct mm_totals {
    u64 faults, retries, parks;
};
void mm_totals_get(struct mm_totals *out);
// Text of the counters of one address space, a line per CPU. Bytes written.
size_t mm_counters_text(const struct mm *mm, char *buf, size_t size);

// The most VMAs an address space may have.
extern unsigned long mm_max_map_count;

// Fault-around window in pages: 1 (off), 16 or 512; other values -EINVAL.
int mm_set_fault_around(unsigned nr_pages);
unsigned mm_fault_around(void);

#endif
