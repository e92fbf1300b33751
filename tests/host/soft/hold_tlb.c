// Held while a CPU takes up an address space: see holds.c.
//
// Lazy no more. A CPU that takes an address space up again which it has kept lazily says so, and
// then asks whether it has missed a shootdown. If the store waits in its store buffer both miss
// each other:
//
//     L                                           D
//     lazy = false (buffered); generation? the
//     old one; held for a while                   DONTNEED of a page that L has translated:
//                                                 generation++; L is lazy: no call
//     reads the page: what was there before
//
// Interrupts are off there, so that L does not wait for D: D may be waiting for L.

#include <k/string.h>
#include <uapi/mman.h>
#include "holds.h"

#define PLACE (9ul << 32)

#define LAZY_TURNS 400u

enum { LEAVING = 1, DISCARDED };

static void hold_taker(const char *where)
{
    if (strcmp(where, "lazy no more") == 0) {
        stage_tell(LEAVING);
        for (unsigned n = 0; n < LAZY_TURNS; n++) {
            host_yield();
        }
    }
}

static void lazy(u64 round)
{
    (void)round;
    mm_activate(NULL);
    mm_activate(hold_mm); // catches up with the generation: from here on only D's change counts
    hold_load(PLACE);
    mm_activate(NULL);
    soft_cpu->at_point = hold_taker;
    mm_activate(hold_mm);
    soft_cpu->at_point = NULL;
    if (stage() < LEAVING) { // it was not lazy any more
        stage_set(LEAVING);
    }
    stage_wait(DISCARDED);
    u64 value = hold_load(PLACE);
    if (value) {
        wrong_hold("read after it was discarded", value);
    }
}

static void discarder(u64 round)
{
    (void)round;
    stage_wait(LEAVING);
    int err = mm_madvise(hold_mm, PLACE, PAGE_SIZE, MADV_DONTNEED);
    if (err) {
        wrong_hold("madvise fails", (u64)err);
    }
    stage_set(DISCARDED);
}

static void lazy_begin(u64 round)
{
    hold_map(PLACE, 2 * PAGE_SIZE, MAP_PRIVATE | MAP_ANONYMOUS, NULL);
    hold_store(PLACE, round);
    hold_store(PLACE + PAGE_SIZE, round); // so that the table stays when the first page goes
}

static void lazy_end(void)
{
    hold_unmap(PLACE, 2 * PAGE_SIZE);
}

const struct schedule hold_lazy = {.name = "lazy no more",
                                   .under_mmap_lock = true,
                                   .begin = lazy_begin,
                                   .nr_parts = 2,
                                   .part = {lazy, discarder},
                                   .end = lazy_end};
