/*
 * latency.c: how long a writer of the address space takes while threads sleep in their faults.
 *
 * Task 0 is the writer: it loops mmap/munmap (latency_mmap) or mprotect (latency_mprotect) and
 * notes how long each turn took. The --threads others walk through slow memory (slow.c), so at
 * nearly every moment each of them waits for its page. A kernel that keeps the address space
 * locked over the wait shows its delay in the writer's figures.
 *
 * Times go into a histogram of 16 buckets per power of two: the error is at most 1/16, and a store
 * costs the same however long the run is.
 */
#define _GNU_SOURCE
#include "bench.h"
#include "cycles.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SUB_BITS   4
#define NR_BUCKETS (64 << SUB_BITS)
#define WAITS      1 /* meter of the waiters */
#define NR_PROT    16

struct latency {
    struct slow slow;
    uint64_t buckets[NR_BUCKETS]; /* the writer's */
    uint64_t nr, max_ticks;
};

static unsigned bucket_of(uint64_t ticks)
{
    if (ticks < (1u << SUB_BITS)) {
        return (unsigned)ticks;
    }
    unsigned top = 63u - (unsigned)__builtin_clzll(ticks);
    unsigned sub = (unsigned)(ticks >> (top - SUB_BITS)) & ((1u << SUB_BITS) - 1);
    return ((top - SUB_BITS + 1) << SUB_BITS) + sub;
}

/* The middle of a bucket. */
static double bucket_ticks(unsigned bucket)
{
    if (bucket < (1u << SUB_BITS)) {
        return bucket;
    }
    unsigned shift = (bucket >> SUB_BITS) - 1;
    uint64_t low = (uint64_t)((1u << SUB_BITS) + (bucket & ((1u << SUB_BITS) - 1))) << shift;
    return (double)low + (double)(1ull << shift) / 2;
}

static double quantile_ticks(const struct latency *lat, double q)
{
    uint64_t seen = 0;
    for (unsigned b = 0; b < NR_BUCKETS; b++) {
        seen += lat->buckets[b];
        if (seen > 0 && (double)seen >= q * (double)lat->nr) {
            double ticks = bucket_ticks(b);
            return ticks < (double)lat->max_ticks ? ticks : (double)lat->max_ticks;
        }
    }
    return (double)lat->max_ticks;
}

static void latency_note(struct task *task, struct latency *lat, uint64_t ticks)
{
    if (task_phase(task) == PHASE_MEASURE) {
        lat->buckets[bucket_of(ticks)]++;
        lat->nr++;
        lat->max_ticks = ticks > lat->max_ticks ? ticks : lat->max_ticks;
    }
    task_count(task, 1);
}

static int latency_setup(struct run *run)
{
    struct latency *lat = calloc(1, sizeof(*lat));
    if (lat == NULL) {
        return run_fail(run, "out of memory");
    }
    if (slow_open(&lat->slow, run) != 0) {
        free(lat);
        return -1;
    }
    run->priv = lat;
    return 0;
}

static void latency_finish(struct run *run)
{
    struct latency *lat = run->priv;
    double ticks_per_us = run->ticks_per_ns * 1000;
    struct meter waits = {0, 0};

    slow_close(&lat->slow, run);
    for (unsigned i = 1; i < run->nr_tasks; i++) {
        waits.ticks += run->tasks[i].meters[WAITS].ticks;
        waits.ops += run->tasks[i].meters[WAITS].ops;
    }
    double wait_us = waits.ops > 0 ? (double)waits.ticks / (double)waits.ops / ticks_per_us : 0;
    if (waits.ops == 0 || wait_us < 1000) {
        run_na(run, "a fault on the slow %s took %.0f us: nobody waited", lat->slow.kind, wait_us);
    }
    if (ticks_per_us > 0 && lat->nr > 0) {
        run_metric(run, "median_us", quantile_ticks(lat, 0.5) / ticks_per_us);
        run_metric(run, "p99_us", quantile_ticks(lat, 0.99) / ticks_per_us);
        run_metric(run, "max_us", (double)lat->max_ticks / ticks_per_us);
        run_metric(run, "faults_waited", (double)waits.ops);
        run_metric(run, "fault_wait_us", wait_us);
    }
    free(lat);
    run->priv = NULL;
}

/*
 * Waiter number w of n reads pages w, w+n, ... A read of a page seen before would not wait, so at
 * the end of the memory its pages are dropped; a file may have cached them, which the average
 * wait then tells.
 */
static void waiter_loop(struct task *task)
{
    struct run *run = task->run;
    struct slow *slow = &((struct latency *)run->priv)->slow;
    size_t n = run->nr_threads;

    while (task_running(task)) {
        for (size_t page = task->id - 1; page < slow->nr_pages && task_running(task); page += n) {
            char *addr = slow->base + page * run->page_size;
            uint64_t start = cycles_now();
            uint64_t got = *(volatile uint64_t *)(addr + CHECK_OFF);
            meter_add(&task->meters[WAITS], cycles_now() - start);
            if (!slow->is_file) {
                page_check(task, page, got, 0);
            }
            madvise(addr, run->page_size, MADV_DONTNEED);
        }
    }
}

static void mmap_writer(struct task *task, struct latency *lat)
{
    size_t len = task->run->page_size;
    while (task_running(task)) {
        uint64_t start = cycles_now();
        void *page = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED || munmap(page, len) != 0) {
            run_fail(task->run, "mmap or munmap: %s", strerror(errno));
            return;
        }
        latency_note(task, lat, cycles_now() - start);
    }
}

static void mprotect_writer(struct task *task, struct latency *lat)
{
    size_t len = NR_PROT * task->run->page_size;
    char *base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        run_fail(task->run, "mmap: %s", strerror(errno));
        return;
    }
    memset(base, STORE_BYTE, len);
    for (size_t turn = 0; task_running(task); turn++) {
        int prot = turn % 2 == 0 ? PROT_READ : PROT_READ | PROT_WRITE;
        uint64_t start = cycles_now();
        if (mprotect(base, len, prot) != 0) {
            run_fail(task->run, "mprotect: %s", strerror(errno));
            break;
        }
        latency_note(task, lat, cycles_now() - start);
        size_t page = turn / 2 % NR_PROT;
        page_check(task, page, *(volatile unsigned char *)(base + page * task->run->page_size),
                   STORE_BYTE);
    }
    munmap(base, len);
}

static void latency_mmap_loop(struct task *task)
{
    if (task->id == 0) {
        mmap_writer(task, task->run->priv);
    } else {
        waiter_loop(task);
    }
}

static void latency_mprotect_loop(struct task *task)
{
    if (task->id == 0) {
        mprotect_writer(task, task->run->priv);
    } else {
        waiter_loop(task);
    }
}

const struct bench latency_benches[] = {
    {"latency_mmap", "turns", "mmap and munmap while the threads wait in slow faults", BACK_ANON,
     BENCH_PLUS_ONE, latency_setup, latency_mmap_loop, latency_finish},
    {"latency_mprotect", "turns", "mprotect while the threads wait in slow faults", BACK_ANON,
     BENCH_PLUS_ONE, latency_setup, latency_mprotect_loop, latency_finish},
    {0},
};
