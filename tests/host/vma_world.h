// The world around mm/vma.c and mm/mmap.c in their host tests: fake files, a reverse map that only
// counts, a zap that only checks, a scheme that watches each retirement; and the oracle, one cell a
// page, that says what the address space must be.
//
// `have` is what is mapped now, `want` what must be mapped once the call under test is done. While
// it runs, every publication in the tree, every retirement and every zap is checked against the
// two.
#ifndef VMA_WORLD_H
#define VMA_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fs.h>
#include <k/errno.h>
#include <k/rcu.h>
#include <mm.h>
#include <page.h>
#include <rmap.h>
#include <scheme.h>
#include <shim.h>
#include <tlb.h>
#include <vma.h>
#include "../../mm/mm_priv.h"

#define NR_CELLS 900u // pages; more than three stack guard gaps
#define BASE     MMAP_MIN_ADDR
#define NR_FILES 3u

struct cell {
    u32 flags; // 0: nothing is mapped here (what is mapped has VMA_MAYREAD at least)
    struct file *file;
    u64 pgoff;
};

struct space {
    struct cell cell[NR_CELLS];
};

extern struct mm mm;
extern struct space have, want;
extern struct file files[NR_FILES];
extern u64 rnd;

static inline vaddr_t addr_of(unsigned cell)
{
    return BASE + (u64)cell * PAGE_SIZE;
}
static inline unsigned cell_of(vaddr_t addr)
{
    return (unsigned)((addr - BASE) >> PAGE_SHIFT);
}
static inline unsigned random_below(unsigned n)
{
    return (unsigned)(shim_random(&rnd) % n);
}

// An empty address space below `top`; the end: everything unmapped, nothing leaked.
void world_begin(u64 seed, unsigned top_cell);
void world_end(void);

// Set `want` to `have` with [from, to) changed. The file's page of `from` is pgoff.
void want_map(unsigned from, unsigned to, u32 flags, struct file *file, u64 pgoff);
void want_unmap(unsigned from, unsigned to);
void want_flags(unsigned from, unsigned to, u32 flags);

// Run `call`, an expression with a result of 0 or errno, often first with each of its allocations
// failing in turn (nothing may change then), then for good; check all that there is to check.
#define step(call)                                                                                 \
    do {                                                                                           \
        long err_;                                                                                 \
        for (unsigned long n_ = 1;; n_++) {                                                        \
            step_begin(n_);                                                                        \
            err_ = (long)(call);                                                                   \
            if (!step_failed(err_)) {                                                              \
                break;                                                                             \
            }                                                                                      \
        }                                                                                          \
        step_end(err_);                                                                            \
    } while (0)
void step_begin(unsigned long fail_nth);
bool step_failed(long err); // an allocation failed: checks that nothing has happened
void step_end(long err);    // err must be 0; `have` is `want` now

// The tree, its VMAs and all counters are exactly what `have` says.
void world_check(void);

// A fault that sleeps: holds a count on the VMA at this cell, if any. All are let go by world_end.
void world_park(unsigned cell);
void world_unpark(void); // one of them

// Shared memory without a file: the file that the next such mmap will make.
struct file *world_next_shmem(void);

// A commit outside of step(): note what is mapped before it.
void world_snapshot(void);

// The VMAs as text, a letter a page (see letters in vma_world.c), '.' for a hole and '|' between
// two VMAs that touch.
void world_draw(unsigned nr_cells, char *out);
// What the letter at this cell stands for; false: '.'.
bool world_letter(char letter, unsigned cell, struct cell *out);

#endif
