// Held while a fork is under way: see holds.c.
//
// Opened too late. Who has copied a table for a fork opens it to writes afterwards, without having
// held a lock meanwhile. By then that fork may be over and the next one may have closed the table
// again, so pt_open_leaf must ask for PT_FORKING. T and U are two leaf tables.
//
//     A                           F                               B
//                                 fork; the instant; held
//     store to T: copies T; held
//     before it opens T                                           store to T: a copy of his own,
//                                 goes on; the next fork                      writable; opens T
//                                 closes T and U; the instant;
//                                 held                            store Y to U: copies U
//     goes on: T is closed and
//     not copied, so it stays so
//     held                                                        store X to T: faults, copies T
//                                 goes on
//
// The second child must have neither X nor Y. With an entry that A has made to permit writes, X
// goes to the page that the child is about to be given: it has X without Y, two instants in one
// child. (X would take no fault: B's entry in T is writable. For the same reason X never comes to
// an end where a closed table is taken for a stale TLB: F is held, and B does not copy.)
//
// Pinned after the instant. While F is held in its second fork, B also writes through a pin to a
// page of a third table, V, whose entry is B's and writable. Pins from before the instant are not
// divided by it, but this one is: the child must not have the store.
//
// Who is held in these two serves calls, as a CPU that is interrupted again and again would.
//
// Pinned before the fork (R31). Whoever has pinned a page of the parent's means the parent's,
// whatever it stores meanwhile. So fork must not share that page, but copy it. No CPU is held.

#include <page.h>
#include <pgtable.h>
#include <uapi/mman.h>
#include "holds.h"

#define PLACE_T (9ul << 32)
#define PLACE_U (PLACE_T + pt_span(1))
#define PLACE_V (PLACE_U + pt_span(1))
#define END     (PLACE_V + pt_span(1))
#define A_WORD  0u
#define B_WORD  8u // in bytes

enum { FIRST_INSTANT = 1, A_COPIED, B_STORED, SECOND_INSTANT, Y_STORED, A_OPENED, X_STORED };

static void child_has(vaddr_t addr, u64 expected)
{
    u64 value = hold_load(addr);
    if (value != expected) {
        wrong_hold("the child has not what was there at the instant", value);
    }
}

static struct page *pin(vaddr_t addr)
{
    struct page *page;
    int err = gup_page(hold_mm, addr, true, &page);
    if (err) {
        wrong_hold("a pin fails", (u64)err);
    }
    return page;
}

// The pin goes.
static void store_pinned(struct page *page, vaddr_t addr, u64 value)
{
    atomic_store_explicit((_Atomic u64 *)((char *)page_addr(page) + (addr & ~PAGE_MASK)), value,
                          memory_order_relaxed);
    page_put(page);
}

static void hold_first_fork(const char *where)
{
    if (stage_begins(FIRST_INSTANT, where, "fork copy")) {
        stage_wait(B_STORED);
    }
}

static void hold_second_fork(const char *where)
{
    if (stage_begins(SECOND_INSTANT, where, "fork copy")) {
        stage_wait(X_STORED);
    }
}

static void hold_opener(const char *where)
{
    if (stage_begins(A_COPIED, where, "fork open")) {
        stage_wait(Y_STORED);
    } else if (stage() == Y_STORED) { // it has opened what it wanted to, and tries its store again
        stage_set(A_OPENED);
        stage_wait(X_STORED);
    }
}

static void forker(u64 round)
{
    soft_cpu->at_point = hold_first_fork;
    struct mm *first = hold_fork();
    soft_cpu->at_point = hold_second_fork;
    struct mm *second = hold_fork();
    soft_cpu->at_point = NULL;
    mm_put(first);
    mm_activate(second);
    child_has(PLACE_U + B_WORD, 0);
    child_has(PLACE_T + B_WORD, round);
    child_has(PLACE_V + B_WORD, round);
    mm_activate(hold_mm);
    mm_put(second);
}

static void opener(u64 round)
{
    stage_wait(FIRST_INSTANT);
    soft_cpu->at_point = hold_opener;
    hold_store(PLACE_T + A_WORD, round);
    soft_cpu->at_point = NULL;
}

static void storer(u64 round)
{
    stage_wait(A_COPIED);
    hold_store(PLACE_T + B_WORD, round);
    hold_store(PLACE_V + B_WORD, round);
    stage_set(B_STORED);
    stage_wait(SECOND_INSTANT);
    store_pinned(pin(PLACE_V), PLACE_V + B_WORD, 2 * round);
    hold_store(PLACE_U + B_WORD, 2 * round);
    stage_set(Y_STORED);
    stage_wait(A_OPENED);
    hold_store(PLACE_T + B_WORD, 2 * round);
    stage_set(X_STORED);
}

static void forks_begin(u64 round)
{
    (void)round;
    hold_map(PLACE_T, END - PLACE_T, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, NULL);
    hold_store(PLACE_T + A_WORD, ~0ul);
    hold_store(PLACE_U + A_WORD, ~0ul);
    hold_store(PLACE_V + A_WORD, ~0ul);
}

static void forks_end(void)
{
    hold_unmap(PLACE_T, END - PLACE_T);
}

// Under mmap_lock no fault goes on during a fork.
const struct schedule hold_forks = {.name = "two forks",
                                    .begin = forks_begin,
                                    .nr_parts = 3,
                                    .part = {forker, opener, storer},
                                    .end = forks_end};

// ---- Pinned before the fork ---------------------------------------------------------------------

static void pinner(u64 round)
{
    struct page *page = pin(PLACE_T);
    struct mm *child = hold_fork();
    hold_store(PLACE_T + B_WORD, round);
    store_pinned(page, PLACE_T + A_WORD, round);
    u64 value = hold_load(PLACE_T + A_WORD);
    if (value != round) {
        wrong_hold("a store through a pin is lost", value);
    }
    mm_activate(child);
    child_has(PLACE_T + A_WORD, ~0ul);
    child_has(PLACE_T + B_WORD, 0);
    mm_activate(hold_mm);
    mm_put(child);
}

const struct schedule hold_pin = {.name = "pinned before the fork",
                                  .writers_may_wait = true,
                                  .begin = forks_begin,
                                  .nr_parts = 1,
                                  .part = {pinner},
                                  .end = forks_end};
