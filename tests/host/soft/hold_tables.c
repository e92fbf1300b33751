// Held while tables or entries are looked for that a fault installs: see holds.c.
//
// A table in the store buffer (invariant 2). A fault installs a leaf table and asks then whether
// its VMA is live. If the slot waits in its store buffer meanwhile both miss each other:
//
//     F                                           U
//     slot = table (buffered); locks it;
//     VMA live? yes; held                         munmap: VMA dead; slot empty: nothing to zap
//     entry = page                                returns
//
// What is unmapped is there afterwards. (The kernel's store of a table is seq_cst: U finds the
// table and waits for its lock.)
//
// A table that fork did not close (R20). Fork says that it closes tables, and no leaf table comes
// after that. U has no tables; T has, behind it, and is not closed yet:
//
//     F                                           W
//     phase = PROTECT; no table at U; held        stores X to U, for which a leaf table is missing
//                                                 stores Y to T
//     closes T; the instant; copies T
//
// W must not get its table at U before the instant: the child would have Y without X, although X
// came first. (So the kernel's W waits, and F does not wait for it.) Nor may the phase wait in F's
// store buffer while it looks.
//
// Stored before the zap. A mapping that may be written takes the place of one that may not, whose
// entries are still to be cleared:
//
//     M                                           S
//     mmap(MAP_FIXED): new VMA; held              store: the old VMA would not have let it, so it
//                                                 is a store to the new memory
//     clears all entries; returns
//
// The store must not be lost. (The new VMA is PENDING, and S waits for M.)
//
// Freed under a fault (invariant 4). A fault that has read an entry of the topmost table goes on to
// the table below, whatever becomes of that:
//
//     F                                           U
//     reads the entry; held                       munmap: nothing is left below: detaches the
//                                                 tables, shoots them down, gives them to RCU
//     reads in the table: no entry
//
// (F is in an RCU section, so what it reads there is neither poison nor somebody else's.)
//
// Moved into a table that is gone (invariant 3). The table that mremap moves a page to is empty,
// and a fault beside it that fails prunes it:
//
//     M                                           F
//     takes the page; finds the other table; held
//                                                 fault: no VMA; the table is empty: detaches it
//     locks the table: detached; walks again

#include <k/errno.h>
#include <pgtable.h>
#include <uapi/mman.h>
#include "holds.h"

// Below all other memory, so that fork comes here first: on its way to another VMA it would empty
// its store buffer.
#define PLACE_U pt_span(2)
#define PLACE_T (PLACE_U + pt_span(2))
#define END     (PLACE_T + pt_span(1))
#define ALONE   (3ul << 39) // in that entry of the topmost table
#define ANON    (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

// ---- A table in the store buffer ----------------------------------------------------------------

enum { LIVE = 1, UNMAPPED };

static void hold_installer(const char *where)
{
    if (stage_begins(LIVE, where, "fault locked")) {
        stage_hold(UNMAPPED);
    }
}

static void installer(u64 round)
{
    u64 value;
    soft_cpu->at_point = hold_installer;
    soft_cpu->keep_stores = true;
    int err = soft_store(PLACE_T, round);
    soft_cpu->keep_stores = false;
    soft_cpu->at_point = NULL;
    if (err && err != -EFAULT) {
        wrong_hold("a store fails", (u64)err);
    }
    stage_wait(UNMAPPED);
    err = soft_load(PLACE_T, &value);
    if (err != -EFAULT) {
        wrong_hold("accessible after munmap", (u64)err);
    }
}

static void unmapper(u64 round)
{
    (void)round;
    stage_wait(LIVE);
    hold_unmap(PLACE_T, PAGE_SIZE);
    stage_set(UNMAPPED);
}

// The tables above are there: one table is missing, and few stores wait.
static void table_begin(u64 round)
{
    hold_map(PLACE_T, 2 * pt_span(1), ANON, NULL);
    hold_store(PLACE_T + pt_span(1), round);
}

static void table_end(void)
{
    hold_unmap(PLACE_T, 2 * pt_span(1));
}

// mmap_lock keeps munmap out while a fault is there.
const struct schedule hold_table = {.name = "a table in the store buffer",
                                    .begin = table_begin,
                                    .nr_parts = 2,
                                    .part = {installer, unmapper},
                                    .end = table_end};

// ---- A table that fork did not close ------------------------------------------------------------

#define W_WORD 8u // in bytes

enum { LOOKING = 1, STORED };

static void hold_closer(const char *where)
{
    if (stage_begins(LOOKING, where, "fork find")) {
        stage_hold(STORED);
    }
}

static void closer(u64 round)
{
    (void)round;
    soft_cpu->at_point = hold_closer;
    soft_cpu->keep_stores = true;
    struct mm *child = hold_fork();
    soft_cpu->keep_stores = false;
    soft_cpu->at_point = NULL;
    mm_activate(child);
    u64 x = hold_load(PLACE_U + W_WORD), y = hold_load(PLACE_T + W_WORD);
    if (y && !x) {
        wrong_hold("the child has a store, and not the one before it", y);
    }
    mm_activate(hold_mm);
    mm_put(child);
}

static void storer(u64 round)
{
    stage_wait(LOOKING);
    hold_store(PLACE_U + W_WORD, round);
    hold_store(PLACE_T + W_WORD, round);
    stage_set(STORED);
}

static void close_begin(u64 round)
{
    hold_map(PLACE_U, END - PLACE_U, ANON, NULL);
    hold_store(PLACE_T, round);
}

static void close_end(void)
{
    hold_unmap(PLACE_U, END - PLACE_U);
}

// Under mmap_lock no fault goes on during a fork.
const struct schedule hold_close = {.name = "a table that fork did not close",
                                    .begin = close_begin,
                                    .nr_parts = 2,
                                    .part = {closer, storer},
                                    .end = close_end};

// ---- Stored before the zap ----------------------------------------------------------------------

enum { PUBLISHED = 1, FILLED, MAPPED };

static void hold_mapper(const char *where)
{
    if (stage_begins(PUBLISHED, where, "retired")) {
        stage_hold(FILLED);
    }
}

static void mapper(u64 round)
{
    (void)round;
    soft_cpu->at_point = hold_mapper;
    hold_map(PLACE_T, PAGE_SIZE, ANON, NULL);
    soft_cpu->at_point = NULL;
    stage_wait(FILLED); // S may have waited for us
    stage_set(MAPPED);
}

static void filler(u64 round)
{
    stage_wait(PUBLISHED);
    hold_store(PLACE_T, round);
    stage_set(FILLED);
    stage_wait(MAPPED);
    u64 value = hold_load(PLACE_T);
    if (value != round) {
        wrong_hold("a store to what was just mapped is lost", value);
    }
}

static void replace_begin(u64 round)
{
    (void)round;
    hold_map(PLACE_T, PAGE_SIZE, ANON, NULL);
    hold_protect(PLACE_T, PAGE_SIZE, PROT_READ);
}

static void replace_end(void)
{
    hold_unmap(PLACE_T, PAGE_SIZE);
}

// mmap_lock keeps faults out while mmap is there.
const struct schedule hold_replace = {.name = "stored before the zap",
                                      .begin = replace_begin,
                                      .nr_parts = 2,
                                      .part = {mapper, filler},
                                      .end = replace_end};

// ---- Freed under a fault ------------------------------------------------------------------------

static void hold_walker(const char *where)
{
    if (stage_begins(LIVE, where, "walk")) {
        stage_wait(UNMAPPED);
    }
}

static void walker(u64 round)
{
    u64 value;
    (void)round;
    soft_cpu->at_point = hold_walker;
    int err = soft_load(ALONE, &value);
    soft_cpu->at_point = NULL;
    if (err != -EFAULT) {
        wrong_hold("accessible after munmap", (u64)err);
    }
}

// The tables are there, the first page is not.
static void walk_begin(u64 round)
{
    hold_map(ALONE, 2 * PAGE_SIZE, ANON, NULL);
    hold_store(ALONE + PAGE_SIZE, round);
}

static void walk_end(void)
{
    hold_unmap(ALONE, 2 * PAGE_SIZE);
}

static void walk_unmapper(u64 round)
{
    (void)round;
    stage_wait(LIVE);
    walk_end();
    stage_set(UNMAPPED);
}

// mmap_lock keeps munmap out while a fault is there.
const struct schedule hold_walk = {.name = "freed under a fault",
                                   .begin = walk_begin,
                                   .nr_parts = 2,
                                   .part = {walker, walk_unmapper},
                                   .end = walk_end};

// ---- Moved into a table that is gone ------------------------------------------------------------

enum { TAKEN = 1, FOUND, PRUNED };

static void hold_mover(const char *where)
{
    if (stage_begins(TAKEN, where, "move")) {
        return; // before that it makes sure that the table is there
    }
    if (stage() == TAKEN && stage_begins(FOUND, where, "move to")) {
        stage_wait(PRUNED);
    }
}

static void mover(u64 round)
{
    soft_cpu->at_point = hold_mover;
    hold_move_page(PLACE_U, PLACE_T);
    soft_cpu->at_point = NULL;
    u64 value = hold_load(PLACE_T);
    if (value != round) {
        wrong_hold("what was moved is not there", value);
    }
}

static void pruner(u64 round)
{
    u64 value;
    (void)round;
    stage_wait(FOUND);
    int err = soft_load(PLACE_T + PAGE_SIZE, &value);
    if (err != -EFAULT) {
        wrong_hold("accessible where nothing is mapped", (u64)err);
    }
    stage_set(PRUNED);
}

static void gone_begin(u64 round)
{
    hold_map(PLACE_U, PAGE_SIZE, ANON, NULL);
    hold_store(PLACE_U, round);
}

static void gone_end(void)
{
    hold_unmap(PLACE_T, PAGE_SIZE);
}

// mmap_lock keeps faults out while mremap is there.
const struct schedule hold_gone = {.name = "moved into a table that is gone",
                                   .begin = gone_begin,
                                   .nr_parts = 2,
                                   .part = {mover, pruner},
                                   .end = gone_end};
