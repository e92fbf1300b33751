// The slots of test_fault.c: what they are, what may be found in them.
//
// What a word may hold. Word t of a page is written by CPU t only, with slot, page, writer, era and
// a number. So a value that comes from elsewhere is recognised: a poisoned page, another slot's
// page, a page that should be gone.
//
// Eras. An operation that discards contents (munmap of private memory, DONTNEED, truncate...) first
// moves era_next of the pages on, waits for the accesses under way to end, and then acts: all that
// was written with an older era is older than the operation, and must not be seen by an access that
// begins after it has returned, when era_oldest moves on. Operations that keep contents (mprotect,
// mremap, unmapping shared memory) do not touch the eras. As long as the era stays, what one CPU
// has written is what every CPU reads, or something newer.
//
// Stable and in between. seq is odd during an operation, file_seq during one on the file. An access
// that saw the same even numbers before and after must succeed or fail exactly as the slot's state
// says: what is unmapped, or has moved, gives -EFAULT, a write to what was made read-only -EACCES,
// a page behind the end of the file -EIO, and all else succeeds. Meanwhile an access may get either
// result, but no -EFAULT where the operation does not unmap.
#ifndef SLOTS_H
#define SLOTS_H

#include <filemap.h>
#include <fs.h>
#include <k/types.h>
#include <mm.h>
#include <soft.h>

#define MAX_THREADS 8u
#define NR_SLOTS    16u
#define SLOT_PAGES  8u
#define NR_SPACES   2u

enum kind { ANON, PRIVATE_FILE, SHARED_FILE, NOTIFY_FILE, NR_KINDS };
enum by { BY_MAP, BY_FILE }; // the two kinds of operations, each excluding its own

struct slot {
    unsigned id;
    enum kind kind;
    unsigned space;                     // which address space it lives in
    vaddr_t home[2], alias[2];          // alias: in the other space, [0] shared, [1] private
    atomic_uint busy[2], alias_busy;    // an operation is under way
    atomic_uint seq[2];                 // odd meanwhile
    atomic_bool unmaps;                 // ... and it unmaps
    atomic_uint where;                  // which home
    atomic_uint nr_pages;               // of the file: behind them is nothing
    atomic_uint prot[SLOT_PAGES];       // PROT_*; 0: unmapped
    atomic_uint erasing[2][SLOT_PAGES]; // operations under way that discard
    atomic_uint era_next[SLOT_PAGES];   // what writers write
    atomic_uint era_oldest[SLOT_PAGES]; // what readers may find
    struct file file;
    struct inode inode;
};

struct swarm { // what a run does most; drawn anew for each
    unsigned first, nr_slots;
    unsigned operations; // bit mask of enum operation
    unsigned operate_in; // one operation in so many steps
    unsigned fork_in;    // the same for forks; 0: none
};

extern struct slot slots[NR_SLOTS];
extern struct mm *space[NR_SPACES];
extern struct swarm swarm;
extern atomic_ulong nr_accesses, nr_operations;

// What this CPU is accessing: a number that changes with each access, 0 for none.
extern struct under_way {
    atomic_ulong what;
} cache_aligned under_way[MAX_THREADS];

// ---- accesses.c ---------------------------------------------------------------------------------
#define VALUE_FILE 0xa5ul // what read_page fills in
u64 value_make(u64 magic, const struct slot *s, unsigned page, unsigned writer, unsigned era,
               u64 number);
noreturn_fn void wrong(const struct slot *s, unsigned page, const char *what, u64 value, int err);
void use_space(unsigned n);
void access(unsigned me, struct slot *s, unsigned page, bool write);
// Pinned, by a CPU that need not run in the address space, and read through the kernel's mapping.
void access_pinned(unsigned me, struct slot *s, unsigned page);
// Fork a space, and see what the child has of its slots.
void access_child(unsigned space);
void accesses_reset(unsigned slot);

// ---- operations.c -------------------------------------------------------------------------------
enum operation {
    OP_MAP,
    OP_UNMAP,
    OP_READ_ONLY,
    OP_WRITABLE,
    OP_DISCARD,
    OP_MOVE,
    OP_PUNCH,
    OP_RESIZE,
    OP_ALIAS,
    NR_OPERATIONS
};
// One of the swarm's that the slot knows, unless one of its kind is under way.
void operate(unsigned me, struct slot *s);
void slot_map(struct slot *s); // all of it, and its aliases

// ---- files.c ------------------------------------------------------------------------------------
struct test_file {
    struct file file;
    struct inode inode;
    struct mapping_ops ops;
};
void test_file_create(struct test_file *t, int (*read_page)(struct mapping *, struct page *),
                      u64 size);
void test_file_resize(struct test_file *t, u64 size);
void test_file_punch(struct test_file *t, u64 start, u64 end);
// Nothing maps it any more.
void test_file_destroy(struct test_file *t);

// ---- All CPUs, in mm: first_touch.c, duels.c, forks.c, holds.c, clears.c ------------------------
void run_first_touch(unsigned me, struct mm *mm, unsigned long rounds);
void run_duels(unsigned me, struct mm *mm, unsigned long rounds);
void run_forks(unsigned me, struct mm *mm, unsigned long sessions);
void run_holds(unsigned me, struct mm *mm);
void run_clears(unsigned me, struct mm *mm, unsigned long sessions);
// What the knob "audit" says of a space in which nobody faults and nothing is wrong.
#define AUDIT_QUIET "wrong 0\nstray_tables 0\nanon_off 0\nfile_off 0\ntables_off 0\n"

#endif
