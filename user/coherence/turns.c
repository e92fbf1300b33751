/*
 * turns.c: threads that never run at the same time.
 *
 * The problem: which lines two CPUs pass to and fro must not depend on how fast each of them
 * happens to be. On a free-running emulator it would: with two host processors, eight virtual ones
 * run in slices, and a lock that eight CPUs would fight for is taken a hundred times by one.
 *
 * The idea: a ring. Thread i does its k-th operation after thread i-1 did its k-th, and hands the
 * turn over with a futex. Everything the hand-over costs lies outside the counted window:
 *
 *     wait for my turn | settle | BEGIN operation END | wake the next
 *
 * The one who handed over is still on its way to sleep when the next thread wakes up. `settle`
 * spins for that long, so that in the window every other CPU is idle, every time.
 *
 * All goes around the ring, also setup and teardown, so that each thread's memory is its own CPU's.
 * When the turn is back at thread 0, everybody has done the step before: there it starts and ends
 * the batches.
 */
#define _GNU_SOURCE
#include "coherence.h"

#include "mark.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SETTLE_LOOPS 20000

static struct worker workers[MAX_THREADS];

static void settle(void)
{
    for (volatile unsigned i = 0; i < SETTLE_LOOPS; i++) {
    }
}

static void turn_wait(struct worker *w)
{
    while (atomic_load(&w->turn) == 0) {
        syscall(SYS_futex, &w->turn, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    }
    atomic_store(&w->turn, 0);
    if (w->next != w) {
        settle();
    }
}

static void turn_give(struct worker *w)
{
    atomic_store(&w->turn, 1);
    syscall(SYS_futex, &w->turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void batch_run(struct worker *w, bool warm)
{
    const struct operation *op = w->run->op;
    int err;

    turn_wait(w);
    err = op->setup(w);
    w->err = w->err ? w->err : err;
    turn_give(w->next);
    for (unsigned k = 0; k < op->nr_steps; k++) {
        turn_wait(w);
        if (k == 0 && w->id == 0) {
            if (warm) {
                mark(MARK_BATCH_WARM);
            } else {
                mark(MARK_BATCH);
            }
        }
        if (!w->err) {
            mark(MARK_BEGIN);
            op->step(w, k);
            mark(MARK_END);
        }
        turn_give(w->next);
    }
    turn_wait(w);
    if (w->id == 0) {
        mark(MARK_BATCH_END);
    }
    op->teardown(w);
    turn_give(w->next);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(w->id, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        w->err = errno;
    }
    for (unsigned b = 0; b < w->run->nr_warm + w->run->nr_batches; b++) {
        batch_run(w, b < w->run->nr_warm);
    }
    return NULL;
}

int run_in_turns(const struct run *run)
{
    pthread_t threads[MAX_THREADS];
    int err = 0;

    mark(MARK_RUN);
    for (unsigned i = 0; i < run->nr_threads; i++) {
        workers[i] =
            (struct worker){.id = i, .run = run, .next = &workers[(i + 1) % run->nr_threads]};
    }
    for (unsigned i = 0; i < run->nr_threads; i++) {
        if (pthread_create(&threads[i], NULL, worker_main, &workers[i]) != 0) {
            /* Those that wait for their turn cannot be told: main ends the process. */
            return EAGAIN;
        }
    }
    turn_give(&workers[0]);
    for (unsigned i = 0; i < run->nr_threads; i++) {
        pthread_join(threads[i], NULL);
        err = err ? err : workers[i].err;
    }
    mark(MARK_RUN_END);
    return err;
}
