// Holds: a race that needs one CPU to stand still at one place while others get far. The generator
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
// child. (X would take no fault: B's entry in T is writable. And where a closed table is taken for a
// stale TLB, Y never comes to an end, as F is held.)
//
// Every CPU that is held serves calls, as one that is interrupted again and again would.

#include <k/assert.h>
#include <k/string.h>
#include <mm.h>
#include <pgtable.h>
#include <scheme.h>
#include <smp.h>
#include <uapi/mman.h>
#include "slots.h"

#define PLACE_T  (9ul << 32)
#define PLACE_U  (PLACE_T + pt_span(1))
#define END      (PLACE_U + pt_span(1))
#define A_WORD   0u
#define B_WORD   8u // in bytes
#define ROUNDS   12u
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

static void wait_for(enum stage s)
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

// ---- The parts ----------------------------------------------------------------------------------

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
    store_seq(&stage, B_STORED);
    wait_for(SECOND_INSTANT);
    store_at(PLACE_U + B_WORD, 2 * round);
    store_seq(&stage, Y_STORED);
    wait_for(A_OPENED);
    store_at(PLACE_T + B_WORD, 2 * round);
    store_seq(&stage, X_STORED);
}

// ---- All CPUs -----------------------------------------------------------------------------------

static void begin_round(void)
{
    s64 err = mm_mmap(parent, PLACE_T, END - PLACE_T, PROT_READ | PROT_WRITE,
                      MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, NULL, 0);
    if (err < 0) {
        wrong_hold("mmap fails", (u64)err);
    }
    store_at(PLACE_T + A_WORD, ~0ul);
    store_at(PLACE_U + A_WORD, ~0ul);
    store_seq(&stage, BEGUN);
    host_progress();
}

void run_holds(unsigned me, struct mm *mm)
{
    static void (*const part[NR_PARTS])(u64 round) = {forker, opener, storer};
    // In scheme mmap_lock no fault goes on during a fork.
    if (nr_cpus < NR_PARTS || mm->scheme == &scheme_mmap_lock) {
        return;
    }
    mm_activate(mm);
    for (u64 round = 1; round <= ROUNDS; round++) {
        soft_barrier();
        if (me == 0) {
            parent = mm;
            begin_round();
        }
        soft_barrier();
        unsigned mine = (unsigned)(me + round) % nr_cpus;
        if (mine < NR_PARTS) {
            part[mine](round);
        }
        soft_barrier();
    }
    if (me == 0 && mm_munmap(mm, PLACE_T, END - PLACE_T)) {
        wrong_hold("munmap fails", 0);
    }
    soft_barrier();
}
