// Holds: races that need one CPU to stand still at one place while others get far. The generator
// would hardly ever draw that, so the schedule is written down: each CPU has its part, and a hook
// that the kernel's yield points call (soft_cpu->at_point) holds it where the part says.
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

#include <k/assert.h>
#include <k/string.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <scheme.h>
#include <smp.h>
#include <uapi/mman.h>
#include "slots.h"

#define PLACE_T  (9ul << 32)
#define PLACE_U  (PLACE_T + pt_span(1))
#define PLACE_V  (PLACE_U + pt_span(1))
#define END      (PLACE_V + pt_span(1))
#define A_WORD   0u
#define B_WORD   8u // in bytes
#define ROUNDS   20u
#define NR_PARTS 3u

enum stage {
    BEGUN,
    FIRST_INSTANT,
    A_COPIED,
    B_STORED,
    SECOND_INSTANT,
    Y_STORED,
    A_OPENED,
    X_STORED
};

static struct mm *parent;
static atomic_uint stage;
static unsigned nr_forks;

noreturn_fn static void wrong_hold(const char *what, u64 value)
{
    panic("holds: %s: %lx", what, (unsigned long)value);
}

// For the schedule that is about a store buffer: no point, and the buffer stays as it is.
static void stage_is(unsigned s)
{
    atomic_store_explicit(&stage, s, memory_order_seq_cst);
}

static void wait_for(unsigned s)
{
    while (load_seq(&stage) < s) {
        soft_wait();
    }
}

static void store_at(vaddr_t addr, u64 value)
{
    int err = soft_store(addr, value);
    if (err) {
        wrong_hold("a store fails", (u64)err);
    }
}

static void child_has(vaddr_t addr, u64 expected)
{
    u64 value = 0;
    int err = soft_load(addr, &value);
    if (err || value != expected) {
        wrong_hold("stored after the instant, and the child has it", value);
    }
}

static void store_pinned(vaddr_t addr, u64 value)
{
    struct page *page;
    int err = gup_page(parent, addr, true, &page);
    if (err) {
        wrong_hold("a pin fails", (u64)err);
    }
    atomic_store_explicit((_Atomic u64 *)((char *)page_addr(page) + (addr & ~PAGE_MASK)), value,
                          memory_order_relaxed);
    page_put(page);
}

static struct mm *fork_parent(void)
{
    struct mm *child;
    nr_forks++;
    int err = mm_fork(parent, &child);
    if (err) {
        wrong_hold("fork fails", (u64)err);
    }
    return child;
}

// ---- Opened too late, pinned after the instant --------------------------------------------------

static void hold_forker(const char *where)
{
    unsigned now = load_seq(&stage);
    if (strcmp(where, "fork copy") != 0) {
        return;
    }
    if (nr_forks == 1 && now == BEGUN) {
        store_seq(&stage, FIRST_INSTANT);
        wait_for(B_STORED);
    } else if (nr_forks == 2 && now == B_STORED) {
        store_seq(&stage, SECOND_INSTANT);
        wait_for(X_STORED);
    }
}

static void hold_opener(const char *where)
{
    unsigned now = load_seq(&stage);
    if (now == FIRST_INSTANT && strcmp(where, "fork open") == 0) {
        store_seq(&stage, A_COPIED);
        wait_for(Y_STORED);
    } else if (now == Y_STORED) { // it has opened what it wanted to, and tries its store again
        store_seq(&stage, A_OPENED);
        wait_for(X_STORED);
    }
}

static void forker(u64 round)
{
    nr_forks = 0;
    soft_cpu->at_point = hold_forker;
    struct mm *first = fork_parent();
    struct mm *second = fork_parent();
    soft_cpu->at_point = NULL;
    mm_put(first);
    mm_activate(second);
    child_has(PLACE_U + B_WORD, 0);
    child_has(PLACE_T + B_WORD, round);
    child_has(PLACE_V + B_WORD, round);
    mm_activate(parent);
    mm_put(second);
}

static void opener(u64 round)
{
    wait_for(FIRST_INSTANT);
    soft_cpu->at_point = hold_opener;
    store_at(PLACE_T + A_WORD, round);
    soft_cpu->at_point = NULL;
}

static void storer(u64 round)
{
    wait_for(A_COPIED);
    store_at(PLACE_T + B_WORD, round);
    store_at(PLACE_V + B_WORD, round);
    store_seq(&stage, B_STORED);
    wait_for(SECOND_INSTANT);
    store_pinned(PLACE_V + B_WORD, 2 * round);
    store_at(PLACE_U + B_WORD, 2 * round);
    store_seq(&stage, Y_STORED);
    wait_for(A_OPENED);
    store_at(PLACE_T + B_WORD, 2 * round);
    store_seq(&stage, X_STORED);
}

// ---- Lazy no more -------------------------------------------------------------------------------

#define LAZY_TURNS 400u

enum { LEAVING = BEGUN + 1, DISCARDED };

static void hold_lazy(const char *where)
{
    if (strcmp(where, "lazy no more") == 0) {
        stage_is(LEAVING);
        for (unsigned n = 0; n < LAZY_TURNS; n++) {
            host_yield();
        }
    }
}

static void lazy(u64 round)
{
    u64 value = 0;
    (void)round;
    mm_activate(
        NULL); // catches up with the generation: what comes next is not flushed for old ones
    mm_activate(parent);
    if (soft_load(PLACE_T + A_WORD, &value) || !value) {
        wrong_hold("a load fails", value);
    }
    mm_activate(NULL);
    soft_cpu->at_point = hold_lazy;
    mm_activate(parent);
    soft_cpu->at_point = NULL;
    if (load_seq(&stage) < LEAVING) { // it was not lazy any more
        stage_is(LEAVING);
    }
    wait_for(DISCARDED);
    if (soft_load(PLACE_T + A_WORD, &value) || value) {
        wrong_hold("read after it was discarded", value);
    }
}

static void discarder(u64 round)
{
    (void)round;
    wait_for(LEAVING);
    int err = mm_madvise(parent, PLACE_T, PAGE_SIZE, MADV_DONTNEED);
    if (err) {
        wrong_hold("madvise fails", (u64)err);
    }
    stage_is(DISCARDED);
}

// ---- All CPUs -----------------------------------------------------------------------------------

struct schedule {
    unsigned nr_parts;
    void (*part[NR_PARTS])(u64 round);
};

static const struct schedule forks = {3, {forker, opener, storer}};
static const struct schedule lazily = {2, {lazy, discarder}};

static void begin_round(void)
{
    s64 err = mm_mmap(parent, PLACE_T, END - PLACE_T, PROT_READ | PROT_WRITE,
                      MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, NULL, 0);
    if (err < 0) {
        wrong_hold("mmap fails", (u64)err);
    }
    store_at(PLACE_T + A_WORD, ~0ul);
    store_at(PLACE_T + PAGE_SIZE, ~0ul); // so that T stays when its first page goes
    store_at(PLACE_U + A_WORD, ~0ul);
    store_at(PLACE_V + A_WORD, ~0ul);
    store_seq(&stage, BEGUN);
    host_progress();
}

static void run_schedule(unsigned me, const struct schedule *s)
{
    for (u64 round = 1; round <= ROUNDS && nr_cpus >= s->nr_parts; round++) {
        soft_barrier();
        if (me == 0) {
            begin_round();
        }
        soft_barrier();
        unsigned mine = (unsigned)(me + round) % nr_cpus;
        if (mine < s->nr_parts) {
            s->part[mine](round);
        }
        soft_barrier();
    }
}

void run_holds(unsigned me, struct mm *mm)
{
    mm_activate(mm);
    if (me == 0) {
        parent = mm;
        begin_round();
    }
    if (mm->scheme != &scheme_mmap_lock) { // there no fault goes on during a fork
        run_schedule(me, &forks);
    }
    run_schedule(me, &lazily);
    if (me == 0 && mm_munmap(mm, PLACE_T, END - PLACE_T)) {
        wrong_hold("munmap fails", 0);
    }
    soft_barrier();
}
