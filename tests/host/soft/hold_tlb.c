// Held while a CPU takes up an address space: see holds.c. D discards a page, L must not read what
// was there.
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
// Loaded, and not announced. A CPU that loads an address space says so first, for it may walk the
// tables as soon as they are loaded:
//
//     L                                           D
//     loads the tables; walks to the page; held
//     for a while                                 DONTNEED: L has not loaded it: no call
//     says that it has; reads the page: what
//     was there before
//
// Interrupts are off there, so L does not wait for D for ever: D may be waiting for L.

#include <k/string.h>
#include <uapi/mman.h>
#include "holds.h"

#define PLACE (9ul << 32)

enum { TAKING_UP = 1, DISCARDED };

static void must_be_discarded(void)
{
    stage_wait(DISCARDED);
    u64 value = hold_load(PLACE);
    if (value) {
        wrong_hold("read after it was discarded", value);
    }
}

static void discarder(u64 round)
{
    (void)round;
    stage_wait(TAKING_UP);
    int err = mm_madvise(hold_mm, PLACE, PAGE_SIZE, MADV_DONTNEED);
    if (err) {
        wrong_hold("madvise fails", (u64)err);
    }
    stage_set(DISCARDED);
}

static void discard_begin(u64 round)
{
    hold_map(PLACE, 2 * PAGE_SIZE, MAP_PRIVATE | MAP_ANONYMOUS, NULL);
    hold_store(PLACE, round);
    hold_store(PLACE + PAGE_SIZE, round); // so that the table stays when the first page goes
}

static void discard_end(void)
{
    hold_unmap(PLACE, 2 * PAGE_SIZE);
}

// ---- Lazy no more -------------------------------------------------------------------------------

static void hold_lazy_cpu(const char *where)
{
    if (strcmp(where, "lazy no more") == 0) {
        stage_tell(TAKING_UP);
        stage_hold(DISCARDED);
    }
}

static void lazy(u64 round)
{
    (void)round;
    mm_activate(NULL);
    mm_activate(hold_mm); // catches up with the generation: from here on only D's change counts
    hold_load(PLACE);
    mm_activate(NULL);
    soft_cpu->at_point = hold_lazy_cpu;
    soft_cpu->keep_stores = true;
    mm_activate(hold_mm);
    soft_cpu->keep_stores = false;
    soft_cpu->at_point = NULL;
    if (stage() < TAKING_UP) { // it was not lazy any more
        stage_set(TAKING_UP);
    }
    must_be_discarded();
}

const struct schedule hold_lazy = {.name = "lazy no more",
                                   .writers_may_wait = true,
                                   .begin = discard_begin,
                                   .nr_parts = 2,
                                   .part = {lazy, discarder},
                                   .end = discard_end};

// ---- Loaded, and not announced ------------------------------------------------------------------

static void hold_loader(const char *where)
{
    if (strcmp(where, "mm loaded") == 0) {
        soft_walk(PLACE);
        stage_set(TAKING_UP);
        stage_hold(DISCARDED);
    }
}

static void loader(u64 round)
{
    (void)round;
    mm_activate(space[1]); // another
    soft_cpu->at_point = hold_loader;
    mm_activate(hold_mm);
    soft_cpu->at_point = NULL;
    must_be_discarded();
}

const struct schedule hold_loaded = {.name = "loaded, and not announced",
                                     .writers_may_wait = true,
                                     .begin = discard_begin,
                                     .nr_parts = 2,
                                     .part = {loader, discarder},
                                     .end = discard_end};
