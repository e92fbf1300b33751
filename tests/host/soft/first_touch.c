// First touch: every other CPU maps a page where there is no page table yet and unmaps it again;
// its neighbour touches the page at that very time. So tables are installed while munmap looks for
// them, the empty slot of mm/pgtable.c. Rounds have addresses of their own as far as possible, so
// that a table left behind stays until the audit.

#include <k/assert.h>
#include <k/errno.h>
#include <mm.h>
#include <pgtable.h>
#include <uapi/mman.h>
#include "slots.h"

static struct first_touch {
    atomic_ulong round;
} cache_aligned first_touch[MAX_CPUS / 2];

static vaddr_t first_address(unsigned pair, u64 round)
{
    u64 place = round % 64, base = 32 + pair * 16; // in top-level entries, 16 a pair
    switch (round % 3) {
    case 0:
        return (base + place / 4) * pt_span(3) + place % 4 * pt_span(2);
    case 1:
        return base * pt_span(3) + (8 + place) * pt_span(2);
    default:
        return base * pt_span(3) + pt_span(2) * 100 + place * pt_span(1);
    }
}

static void first_touch_map(struct first_touch *f, unsigned pair, unsigned long rounds)
{
    for (u64 round = 1; round <= rounds && !host_time_is_up(); round++) {
        vaddr_t addr = first_address(pair, round);
        u64 value;
        s64 err = mm_mmap(current_mm(), addr, PAGE_SIZE, PROT_READ | PROT_WRITE,
                          MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);
        store_seq(&f->round, round);
        host_progress();
        for (unsigned i = soft_below(200); i > 0; i--) {
            soft_point();
        }
        if (err < 0 || mm_munmap(current_mm(), addr, PAGE_SIZE)) {
            panic("first touch: mmap or munmap fails");
        }
        if (soft_load(addr, &value) != -EFAULT) {
            panic("first touch: %lx is accessible after munmap", (unsigned long)addr);
        }
    }
    store_seq(&f->round, ~0ull);
}

static void first_touch_touch(struct first_touch *f, unsigned pair)
{
    u64 round, done = 0, value;
    while ((round = load_seq(&f->round)) != ~0ull) {
        if (round != done) {
            int err = soft_below(2) ? soft_store(first_address(pair, round), 1)
                                    : soft_load(first_address(pair, round), &value);
            if (err && err != -EFAULT) {
                panic("first touch: %d", err);
            }
            done = round;
        }
        soft_safe_point();
        host_yield();
    }
}

void run_first_touch(unsigned me, struct mm *mm, unsigned long rounds)
{
    struct first_touch *f = &first_touch[me / 2];
    mm_activate(mm);
    if (me % 2 == 0) {
        store_seq(&f->round, 0);
    }
    soft_barrier();
    if (me % 2 == 0) {
        first_touch_map(f, me / 2, rounds);
    } else {
        first_touch_touch(f, me / 2);
    }
    soft_barrier();
}
