// Held while a CPU knows what is no longer so: see holds.c. D discards a page, and when it has,
// what was there must not be read any more.
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
// Discarded while lazy. Nobody interrupts a lazy CPU for a page, so it must ask when it is lazy no
// more:
//
//     L                                           D
//     has translated the page; lazy
//                                                 DONTNEED: generation++; L is lazy: no call
//     lazy no more; generation? another: flushes
//     reads the page: nothing
//
// Freed while lazy. But a lazy CPU may walk the tables at any time, also from an upper entry that
// it has cached. So it is interrupted when tables go:
//
//     L                                           U
//     has walked to the page; lazy
//                                                 munmap: the leaf table is detached; L is lazy:
//                                                 it must leave the tables; frees them
//     walks to where the page was
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
// Interrupts are off in the first and in this one, so L does not wait for D for ever: D may be
// waiting for L.
//
// A store before the flush (R7). DONTNEED leaves the VMA, so a fault may fill the entry again at
// once:
//
//     D                            S                            R
//                                                               translates the page
//     DONTNEED: entry = none;
//     unlocks the table; held
//     before it frees the page     stores: another page
//                                                               reads the page: what S stored
//
// So D has shot down R's translation before it unlocks the table.

#include <k/string.h>
#include <uapi/mman.h>
#include "holds.h"

#define PLACE (9ul << 32)

enum { READY = 1, DISCARDED };

// L's last step.
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
    stage_wait(READY);
    hold_discard(PLACE, PAGE_SIZE);
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
    if (stage_begins(READY, where, "lazy no more")) {
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
    if (stage() < READY) { // it was not lazy any more
        stage_set(READY);
    }
    must_be_discarded();
}

const struct schedule hold_lazy = {.name = "lazy no more",
                                   .writers_may_wait = true,
                                   .begin = discard_begin,
                                   .nr_parts = 2,
                                   .part = {lazy, discarder},
                                   .end = discard_end};

// ---- Discarded while lazy, freed while lazy -----------------------------------------------------

static void sleeper(u64 round)
{
    (void)round;
    hold_load(PLACE);
    mm_activate(NULL);
    stage_set(READY);
    stage_wait(DISCARDED);
    mm_activate(hold_mm);
    must_be_discarded();
}

const struct schedule hold_missed = {.name = "discarded while lazy",
                                     .writers_may_wait = true,
                                     .begin = discard_begin,
                                     .nr_parts = 2,
                                     .part = {sleeper, discarder},
                                     .end = discard_end};

static void sleepwalker(u64 round)
{
    (void)round;
    mm_activate(NULL);
    soft_walk(PLACE);
    stage_set(READY);
    stage_sleep(DISCARDED);
    soft_walk(PLACE); // the oracle: into a table that is free
    mm_activate(hold_mm);
}

static void unmapper(u64 round)
{
    (void)round;
    stage_wait(READY);
    discard_end();
    soft_settle();
    stage_set(DISCARDED);
}

const struct schedule hold_freed = {.name = "freed while lazy",
                                    .writers_may_wait = true,
                                    .begin = discard_begin,
                                    .nr_parts = 2,
                                    .part = {sleepwalker, unmapper},
                                    .end = discard_end};

// ---- Loaded, and not announced ------------------------------------------------------------------

static void hold_loader(const char *where)
{
    if (strcmp(where, "mm loaded") == 0) {
        soft_walk(PLACE);
        stage_set(READY);
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

// ---- A store before the flush -------------------------------------------------------------------

enum { TRANSLATED = 1, CLEARED, STORED, READ };

static void hold_flush_late(const char *where)
{
    if (stage_begins(CLEARED, where, "flush")) {
        stage_wait(READ);
    }
}

static void clearer(u64 round)
{
    (void)round;
    stage_wait(TRANSLATED);
    soft_cpu->at_point = hold_flush_late;
    hold_discard(PLACE, PAGE_SIZE);
    soft_cpu->at_point = NULL;
}

static void storer(u64 round)
{
    stage_wait(CLEARED);
    hold_store(PLACE, 2 * round);
    stage_set(STORED);
}

static void reader(u64 round)
{
    hold_load(PLACE);
    stage_set(TRANSLATED);
    stage_wait(STORED);
    u64 value = hold_load(PLACE);
    if (value != 2 * round) {
        wrong_hold("what was there before a store is read after it", value);
    }
    stage_set(READ);
}

// mmap_lock keeps stores that fault out during DONTNEED.
const struct schedule hold_store_first = {.name = "a store before the flush",
                                          .begin = discard_begin,
                                          .nr_parts = 3,
                                          .part = {clearer, storer, reader},
                                          .end = discard_end};
