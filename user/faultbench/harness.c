/*
 * harness.c: starts the tasks of a bench, samples their counters, stops them.
 *
 * The problem: measure N threads without being an N+1st that disturbs them. The main thread
 * sleeps; it wakes to read the counters, each on lines of its own, and to move `phase`, the one
 * word all tasks read and nobody else writes.
 *
 *     main:   make tasks ... all ready   open gate   warm-up   MEASURE   sample ...   STOP   join
 *     task:   pin, ready ............... released    loop ......................... leaves loop
 *
 * A sample is (time, sum of counters) taken when the main thread really woke, so a late wake-up
 * stretches the sample and does not bend the rate.
 *
 * Barriers inside a loop are the one place where stopping could hang: a task that saw STOP would
 * leave, and the others wait for it. So the last to arrive reads `phase` for all, and all get its
 * answer. A task that failed never arrives; waiters therefore look at the run's status too.
 */
#define _GNU_SOURCE
#include "bench.h"
#include "cycles.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BARRIER_SPINS 2000
#define SAMPLE_NS     1000000000ull

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void sleep_until(uint64_t deadline_ns)
{
    struct timespec ts = {(time_t)(deadline_ns / 1000000000ull),
                          (long)(deadline_ns % 1000000000ull)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR) {
    }
}

static void futex_wait(_Atomic uint32_t *word, uint32_t seen, const struct timespec *timeout)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, timeout, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static int run_end(struct run *run, int status, const char *fmt, va_list args)
{
    int ok = RUN_OK;
    if (atomic_compare_exchange_strong(&run->status, &ok, status)) {
        vsnprintf(run->why, sizeof(run->why), fmt, args);
    }
    return -1;
}

int run_na(struct run *run, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    run_end(run, RUN_NA, fmt, args);
    va_end(args);
    return -1;
}

int run_fail(struct run *run, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    run_end(run, RUN_FAILED, fmt, args);
    va_end(args);
    return -1;
}

void run_metric(struct run *run, const char *name, double value)
{
    if (run->nr_metrics < MAX_METRICS) {
        run->metrics[run->nr_metrics++] = (struct metric){name, value};
    }
}

static struct meter meter_sum(const struct run *run, unsigned index)
{
    struct meter sum = {0, 0};
    for (unsigned i = 0; i < run->nr_tasks; i++) {
        sum.ticks += run->tasks[i].meters[index].ticks;
        sum.ops += run->tasks[i].meters[index].ops;
    }
    return sum;
}

void run_metric_meter(struct run *run, unsigned index, const char *ns_name, const char *cycles_name)
{
    struct meter sum = meter_sum(run, index);
    if (sum.ops > 0 && run->ticks_per_ns > 0) {
        double cycles = (double)sum.ticks / (double)sum.ops;
        run_metric(run, ns_name, cycles / run->ticks_per_ns);
        run_metric(run, cycles_name, cycles);
    }
}

void task_mismatch(struct task *task, size_t page, uint64_t got, uint64_t want)
{
    if (task->nr_mismatches++ == 0) {
        task->bad_page = page;
        task->bad_got = got;
        task->bad_want = want;
    }
}

enum phase barrier_wait(struct task *task)
{
    struct run *run = task->run;
    struct barrier *b = &run->barrier;
    const struct timespec nap = {0, 100000000};
    uint32_t round = atomic_load(&b->round);

    if (atomic_fetch_add(&b->arrived, 1) + 1 == run->nr_tasks) {
        b->phase = task_phase(task);
        atomic_store(&b->arrived, 0);
        atomic_store(&b->round, round + 1); /* pairs with the loads of round below */
        if (run->nr_tasks > 1) {
            futex_wake_all(&b->round);
        }
        return b->phase;
    }
    for (unsigned spins = 0; atomic_load(&b->round) == round; spins++) {
        if (atomic_load_explicit(&run->status, memory_order_relaxed) != RUN_OK) {
            return PHASE_STOP;
        }
        if (spins < BARRIER_SPINS) {
            cpu_relax();
        } else {
            futex_wait(&b->round, round, &nap);
        }
    }
    return b->phase;
}

static unsigned cpus_list(int *cpus, unsigned max)
{
    cpu_set_t set;
    unsigned n = 0;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        for (int cpu = 0; cpu < CPU_SETSIZE && n < max; cpu++) {
            if (CPU_ISSET(cpu, &set)) {
                cpus[n++] = cpu;
            }
        }
    }
    if (n == 0) {
        cpus[n++] = 0;
    }
    return n;
}

unsigned cpus_allowed(void)
{
    int cpus[MAX_TASKS];
    return cpus_list(cpus, MAX_TASKS);
}

static void task_pin(struct task *task)
{
    int cpus[MAX_TASKS];
    unsigned n = cpus_list(cpus, MAX_TASKS);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpus[task->id % n], &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        run_fail(task->run, "sched_setaffinity: %s", strerror(errno));
    }
}

static void *task_main(void *arg)
{
    struct task *task = arg;
    struct run *run = task->run;

    task_pin(task);
    atomic_fetch_add(&run->nr_ready, 1);
    futex_wake_all(&run->nr_ready);
    while (atomic_load(&run->gate) == 0) {
        futex_wait(&run->gate, 0, NULL);
    }
    run->bench->loop(task);
    return NULL;
}

/* Creates the tasks and opens the gate once all of them stand before it. */
static unsigned tasks_start(struct run *run, pthread_t *threads)
{
    unsigned n;
    for (n = 0; n < run->nr_tasks; n++) {
        run->tasks[n].run = run;
        run->tasks[n].id = n;
        int err = pthread_create(&threads[n], NULL, task_main, &run->tasks[n]);
        if (err != 0) {
            run_fail(run, "pthread_create: %s", strerror(err));
            atomic_store(&run->phase, PHASE_STOP);
            break;
        }
    }
    uint32_t ready;
    while ((ready = atomic_load(&run->nr_ready)) < n) {
        futex_wait(&run->nr_ready, ready, NULL);
    }
    atomic_store(&run->gate, 1);
    futex_wake_all(&run->gate);
    return n;
}

static uint64_t tasks_count(const struct run *run)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < run->nr_tasks; i++) {
        sum += atomic_load_explicit(&run->tasks[i].count, memory_order_relaxed);
    }
    return sum;
}

static bool run_alive(const struct run *run)
{
    return atomic_load_explicit(&run->status, memory_order_relaxed) == RUN_OK;
}

/* Sleeps through the warm-up and the measured time, a second at most between two looks. */
static void run_sample(struct run *run)
{
    uint64_t measure_ns = (uint64_t)(run->opt->seconds * 1e9);
    uint64_t warmup_ns = measure_ns / 3 < SAMPLE_NS ? measure_ns / 3 : SAMPLE_NS;
    sleep_until(now_ns() + warmup_ns);
    atomic_store(&run->phase, PHASE_MEASURE);

    uint64_t start_ns = now_ns(), start_count = tasks_count(run), start_ticks = cycles_now();
    uint64_t end_ns = start_ns, end_count = start_count, end_ticks = start_ticks;
    while (end_ns - start_ns < measure_ns && run_alive(run)) {
        uint64_t left = start_ns + measure_ns - end_ns;
        uint64_t last_ns = end_ns, last_count = end_count;
        sleep_until(end_ns + (left < 3 * SAMPLE_NS / 2 ? left : SAMPLE_NS));
        end_ns = now_ns();
        end_count = tasks_count(run);
        end_ticks = cycles_now();
        if (run->nr_samples < MAX_SAMPLES) {
            run->samples[run->nr_samples++] =
                (double)(end_count - last_count) * 1e9 / (double)(end_ns - last_ns);
        }
    }
    atomic_store(&run->phase, PHASE_STOP);

    double ns = (double)(end_ns - start_ns);
    run->seconds = ns / 1e9;
    run->count = end_count - start_count;
    run->rate = ns > 0 ? (double)run->count * 1e9 / ns : 0;
    run->ticks_per_ns = ns > 0 ? (double)(end_ticks - start_ticks) / ns : 0;
}

/* The rate of the timed parts alone: each task's own rate, summed. */
static void run_rate_timed(struct run *run)
{
    run->rate = 0;
    run->count = 0;
    for (unsigned i = 0; i < run->nr_tasks; i++) {
        const struct meter *m = &run->tasks[i].meters[0];
        run->count += m->ops;
        if (m->ticks > 0) {
            run->rate += (double)m->ops * run->ticks_per_ns * 1e9 / (double)m->ticks;
        }
    }
    run->nr_samples = 0;
}

static void run_judge(struct run *run)
{
    for (unsigned i = 0; i < run->nr_tasks; i++) {
        const struct task *t = &run->tasks[i];
        if (t->nr_mismatches > 0) {
            run_fail(run, "page %zu holds %#llx, expected %#llx (task %u, %llu such)", t->bad_page,
                     (unsigned long long)t->bad_got, (unsigned long long)t->bad_want, i,
                     (unsigned long long)t->nr_mismatches);
        }
    }
    if (run->rate <= 0) {
        run_fail(run, "no progress in %.2f s", run->seconds);
    }
}

void run_bench(struct run *run, const struct bench *bench, const struct options *opt,
               unsigned nr_threads)
{
    static pthread_t threads[MAX_TASKS];

    memset(run, 0, sizeof(*run));
    run->bench = bench;
    run->opt = opt;
    run->nr_threads = nr_threads;
    run->nr_tasks = nr_threads + ((bench->flags & BENCH_PLUS_ONE) != 0);
    run->page_size = (size_t)sysconf(_SC_PAGESIZE);
    run->size_bytes = opt->size_bytes;
    if ((bench->flags & BENCH_ONE_TASK) != 0 && nr_threads > 1) {
        run_na(run, "the break is one per process, threads would only queue for it");
        return;
    }
    if (files_setup(run) != 0 || (bench->setup != NULL && bench->setup(run) != 0)) {
        return;
    }
    unsigned n = tasks_start(run, threads);
    if (run_alive(run)) {
        run_sample(run);
    }
    atomic_store(&run->phase, PHASE_STOP);
    for (unsigned i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
    if ((bench->flags & BENCH_TIMED) != 0) {
        run_rate_timed(run);
    }
    if (bench->finish != NULL) {
        bench->finish(run);
    }
    files_verify(run);
    run_judge(run);
}
