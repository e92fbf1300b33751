/*
 * mapbench.c: small mappings made, touched and unmade, each step timed by itself.
 *
 *     local     every task has one page of its own, 1 MiB from the next task's, so that two tasks
 *               share a leaf page table and nothing else.
 *     pipeline  a ring. Task i maps and stores to a page, hands it to task i+1, which stores to it
 *               as well and unmaps it.
 *     global    each task maps 16 pages of one region; barrier; all touch all pages in an order
 *               of their own; barrier.
 *
 * A fault that has to allocate the page is told from one that only fills in a translation that is
 * missing here (with page tables shared by all processors that is a walk, and no fault): in
 * `global` every touch is an atomic increment, and whoever finds 0 was first.
 *
 * The addresses are fixed and far from anything mmap picks by itself, so MAP_FIXED hits nothing.
 *
 * The ring's hand-over. A box holds one page. When i has put page k into its box, page k-1 has been
 * taken from it, so page k-2 has been unmapped (a taker unmaps before it takes again). Four slots
 * a task used in turn are thus always free when their turn comes.
 */
#define _GNU_SOURCE
#include "bench.h"
#include "cycles.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAPBENCH_BASE   0x100000000000ull
#define LOCAL_STRIDE    (1ull << 20)
#define PIPELINE_STRIDE (1ull << 21)
#define PIPELINE_SLOTS  4
#define GLOBAL_PAGES    16
#define BOX_SPINS       200

enum { ALLOCATING, FILLING, MAPPING, UNMAPPING };

struct box {
    _Alignas(256) _Atomic uintptr_t page; /* 0: empty */
};

struct mapbench {
    struct box boxes[MAX_TASKS];
    uint32_t order[MAX_TASKS][MAX_TASKS * GLOBAL_PAGES]; /* global: who touches in which order */
};

static int mapbench_setup(struct run *run)
{
    struct mapbench *mb = calloc(1, sizeof(*mb));
    uint64_t seed = 88172645463325252ull;
    unsigned n = run->nr_tasks * GLOBAL_PAGES;

    if (mb == NULL) {
        return run_fail(run, "out of memory");
    }
    for (unsigned task = 0; task < run->nr_tasks; task++) {
        for (uint32_t i = 0; i < n; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            uint32_t j = (uint32_t)(seed % (i + 1));
            mb->order[task][i] = mb->order[task][j];
            mb->order[task][j] = i;
        }
    }
    run->priv = mb;
    return 0;
}

static void mapbench_finish(struct run *run)
{
    free(run->priv);
    run->priv = NULL;
    run_metric_meter(run, ALLOCATING, "allocating_fault_ns", "allocating_fault_cycles");
    run_metric_meter(run, FILLING, "filling_fault_ns", "filling_fault_cycles");
    run_metric_meter(run, MAPPING, "mmap_ns", "mmap_cycles");
    run_metric_meter(run, UNMAPPING, "munmap_ns", "munmap_cycles");
}

/* Adds to the meter only while measuring. */
static void step_done(struct task *task, unsigned meter, uint64_t start)
{
    uint64_t end = cycles_now();
    if (task_phase(task) == PHASE_MEASURE) {
        meter_add(&task->meters[meter], end - start);
    }
}

static int step_map(struct task *task, uintptr_t addr, size_t len)
{
    uint64_t start = cycles_now();
    void *got = mmap((void *)addr, len, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    step_done(task, MAPPING, start);
    if (got != (void *)addr) {
        return run_fail(task->run, "mmap: %s", strerror(errno));
    }
    return 0;
}

static int step_unmap(struct task *task, uintptr_t addr, size_t len)
{
    uint64_t start = cycles_now();
    int err = munmap((void *)addr, len);
    step_done(task, UNMAPPING, start);
    if (err != 0) {
        return run_fail(task->run, "munmap: %s", strerror(errno));
    }
    return 0;
}

/* The store is the first touch: checks come after it, outside the timed part. */
static void step_touch(struct task *task, unsigned meter, uintptr_t addr, uint64_t value)
{
    uint64_t start = cycles_now();
    *(volatile uint64_t *)addr = value;
    step_done(task, meter, start);
}

static void local_loop(struct task *task)
{
    size_t len = task->run->page_size;
    uintptr_t page = MAPBENCH_BASE + LOCAL_STRIDE * task->id;

    while (task_running(task)) {
        if (step_map(task, page, len) != 0) {
            return;
        }
        step_touch(task, ALLOCATING, page, STORE_BYTE);
        page_check(task, 0, ((volatile uint64_t *)page)[1], 0);
        if (step_unmap(task, page, len) != 0) {
            return;
        }
        task_count(task, 1);
    }
}

static void box_pause(unsigned spins)
{
    if (spins < BOX_SPINS) {
        cpu_relax();
    } else {
        sched_yield();
    }
}

/* Both: false if the run ended first. */
static bool box_put(struct task *task, struct box *box, uintptr_t page)
{
    for (unsigned spins = 0; atomic_load(&box->page) != 0; spins++) {
        if (!task_running(task)) {
            return false;
        }
        box_pause(spins);
    }
    atomic_store(&box->page, page); /* pairs with box_take */
    return true;
}

static bool box_take(struct task *task, struct box *box, uintptr_t *page)
{
    for (unsigned spins = 0; (*page = atomic_load(&box->page)) == 0; spins++) {
        if (!task_running(task)) {
            return false;
        }
        box_pause(spins);
    }
    atomic_store(&box->page, 0); /* pairs with box_put */
    return true;
}

static void pipeline_loop(struct task *task)
{
    struct run *run = task->run;
    struct mapbench *mb = run->priv;
    size_t len = run->page_size;
    uintptr_t own = MAPBENCH_BASE + PIPELINE_STRIDE * task->id;
    unsigned left = (task->id + run->nr_tasks - 1) % run->nr_tasks;
    uintptr_t page;

    for (uint64_t k = 0; task_running(task); k++) {
        uintptr_t slot = own + (k % PIPELINE_SLOTS) * len;
        if (step_map(task, slot, len) != 0) {
            return;
        }
        step_touch(task, ALLOCATING, slot, slot);
        page_check(task, 0, ((volatile uint64_t *)slot)[1], 0);
        if (!box_put(task, &mb->boxes[task->id], slot) ||
            !box_take(task, &mb->boxes[left], &page)) {
            break;
        }
        step_touch(task, FILLING, page + 16, STORE_BYTE);
        page_check(task, 0, *(volatile uint64_t *)page, page); /* what the neighbour stored */
        if (step_unmap(task, page, len) != 0) {
            return;
        }
        task_count(task, 1);
    }
}

/* Pages handed over but not taken when the run ended. */
static void pipeline_finish(struct run *run)
{
    for (unsigned i = 0; i < run->nr_tasks; i++) {
        munmap((void *)(MAPBENCH_BASE + PIPELINE_STRIDE * i), PIPELINE_SLOTS * run->page_size);
    }
    mapbench_finish(run);
}

static void global_touch_all(struct task *task)
{
    struct run *run = task->run;
    struct mapbench *mb = run->priv;
    unsigned n = run->nr_tasks * GLOBAL_PAGES;

    for (unsigned i = 0; i < n; i++) {
        uintptr_t page = MAPBENCH_BASE + mb->order[task->id][i] * run->page_size;
        uint64_t start = cycles_now();
        uint64_t before = atomic_fetch_add((_Atomic uint64_t *)page, 1);
        step_done(task, before == 0 ? ALLOCATING : FILLING, start);
    }
    task_count(task, n);
}

static void global_loop(struct task *task)
{
    struct run *run = task->run;
    size_t len = GLOBAL_PAGES * run->page_size;
    uintptr_t own = MAPBENCH_BASE + len * task->id;
    enum phase phase;

    do {
        if (step_map(task, own, len) != 0 || barrier_wait(task) == PHASE_STOP) {
            break;
        }
        global_touch_all(task);
        phase = barrier_wait(task);
        for (unsigned i = 0; i < GLOBAL_PAGES; i++) {
            uint64_t got = *(volatile uint64_t *)(own + i * run->page_size);
            page_check(task, i, got, run->nr_tasks);
        }
        if (step_unmap(task, own, len) != 0) {
            return;
        }
    } while (phase != PHASE_STOP);
    munmap((void *)own, len);
}

const struct bench mapbench_benches[] = {
    {"mapbench_local", "pages", "map, touch, unmap a page of one's own", BACK_ANON, 0,
     mapbench_setup, local_loop, mapbench_finish},
    {"mapbench_pipeline", "pages", "map and touch; touch and unmap the neighbour's", BACK_ANON, 0,
     mapbench_setup, pipeline_loop, pipeline_finish},
    {"mapbench_global", "touches", "map a part, touch all of a common region", BACK_ANON, 0,
     mapbench_setup, global_loop, mapbench_finish},
    {0},
};
