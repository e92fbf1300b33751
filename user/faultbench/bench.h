/*
 * bench.h: what the files of faultbench share.
 *
 * A bench is a row of the table: a loop that every task (a thread pinned to a processor) runs
 * until told to stop, counting as it goes. The harness starts the tasks, releases them together,
 * lets them warm up, samples the counters and stops them. The bench only says what the loop is,
 * what must hold before and after it, and which extra figures it has.
 */
#ifndef FAULTBENCH_BENCH_H
#define FAULTBENCH_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MAX_TASKS   256
#define MAX_METERS  4
#define MAX_METRICS 12
#define MAX_SAMPLES 64

struct options {
    const char *slow_path; /* a file whose faults sleep */
    size_t size_bytes;     /* of the mapping each task works on */
    double seconds;        /* measured, after the warm-up */
    unsigned threads[16];
    unsigned nr_threads;
    bool json;
    bool list;
    char **patterns; /* which benches; none means all */
    int nr_patterns;
};

/* Run-wide stages. The main thread alone moves it forward. */
enum phase { PHASE_WARMUP, PHASE_MEASURE, PHASE_STOP };

/* What a mapping is made of. */
enum backing { BACK_ANON, BACK_FILE_PRIVATE, BACK_FILE_SHARED };

enum bench_flags {
    BENCH_ONE_TASK = 1, /* works on a thing there is one of per process: more threads are n/a */
    BENCH_PLUS_ONE = 2, /* one task (number 0) beside the --threads others */
    BENCH_TIMED = 4,    /* rate from meters[0]: what happens between the timed parts is left out */
    BENCH_WHOLE = 8,    /* of prefault_loop: a pass is finished even if it outlasts the time */
};

struct run;
struct task;

struct bench {
    const char *name;
    const char *unit; /* of one count, plural */
    const char *what; /* one line for --list */
    enum backing backing;
    unsigned flags;
    /* Before the tasks exist: 0, or a failure it reported through run_na() or run_fail(). */
    int (*setup)(struct run *run);
    void (*loop)(struct task *task);
    /* After the tasks are gone: undo setup, check what is left, add metrics. May be NULL. */
    void (*finish)(struct run *run);
};

/* Time spent in one kind of operation, in ticks of cycles.h. */
struct meter {
    uint64_t ticks;
    uint64_t ops;
};

/* Written by its own task only, except `count`, which the main thread reads. */
struct task {
    _Alignas(256) _Atomic uint64_t count;
    _Alignas(256) struct run *run;
    unsigned id;
    struct meter meters[MAX_METERS];
    size_t nr_stored;       /* longest prefix of pages stored to in one pass */
    uint64_t nr_mismatches; /* the first one is kept: */
    size_t bad_page;
    uint64_t bad_got, bad_want;
};

/* All tasks meet; the last to arrive decides for all of them whether there is another round. */
struct barrier {
    _Alignas(256) _Atomic uint32_t arrived;
    _Alignas(256) _Atomic uint32_t round;
    enum phase phase; /* as the last one saw it; published by `round` */
};

struct metric {
    const char *name; /* ends in its unit */
    double value;
};

enum run_status { RUN_OK, RUN_NA, RUN_FAILED };

struct run {
    const struct bench *bench;
    const struct options *opt;
    unsigned nr_threads; /* as asked */
    unsigned nr_tasks;   /* as run */
    size_t page_size;
    size_t size_bytes;

    _Alignas(256) _Atomic int phase;
    _Alignas(256) _Atomic uint32_t nr_ready;
    _Atomic uint32_t gate;
    _Atomic int status; /* enum run_status */
    char why[160];

    struct barrier barrier;
    struct task tasks[MAX_TASKS];
    void *priv; /* the bench's own */

    /* The result. */
    double seconds;
    double ticks_per_ns;
    uint64_t count;
    double rate;
    double samples[MAX_SAMPLES];
    unsigned nr_samples;
    struct metric metrics[MAX_METRICS];
    unsigned nr_metrics;
};

/* harness.c */

/* Runs one bench; the outcome is in *run, also when it failed. */
void run_bench(struct run *run, const struct bench *bench, const struct options *opt,
               unsigned nr_threads);

/* Number of processors this process may use. */
unsigned cpus_allowed(void);

/* Marks the run as impossible here, or as failed. The first caller's words stay. Return -1. */
int run_na(struct run *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int run_fail(struct run *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void run_metric(struct run *run, const char *name, double value);

/* Adds NAME_ns and NAME_cycles for meter `index` summed over the tasks; nothing if it never ran. */
void run_metric_meter(struct run *run, unsigned index, const char *ns_name,
                      const char *cycles_name);

/* Notes that `page` held something else than it should. */
void task_mismatch(struct task *task, size_t page, uint64_t got, uint64_t want);

/* Waits for all tasks. Every task gets the same answer; PHASE_STOP also when the run failed. */
enum phase barrier_wait(struct task *task);

static inline enum phase task_phase(const struct task *task)
{
    return (enum phase)atomic_load_explicit(&task->run->phase, memory_order_relaxed);
}

static inline bool task_running(const struct task *task)
{
    return task_phase(task) != PHASE_STOP;
}

/* Only the task itself stores to its counter, so no read-modify-write is needed. */
static inline void task_count(struct task *task, uint64_t n)
{
    uint64_t old = atomic_load_explicit(&task->count, memory_order_relaxed);
    atomic_store_explicit(&task->count, old + n, memory_order_relaxed);
}

static inline void page_check(struct task *task, size_t page, uint64_t got, uint64_t want)
{
    if (__builtin_expect(got != want, 0)) {
        task_mismatch(task, page, got, want);
    }
}

static inline void meter_add(struct meter *meter, uint64_t ticks)
{
    meter->ticks += ticks;
    meter->ops++;
}

/* file.c: one file a task, made once and kept, each page of it full of words that name it. */

#define STORE_BYTE        0xa5
#define PRIVATE_STORE_OFF 0  /* where private mappings are stored to */
#define CHECK_OFF         8  /* never stored to */
#define SHARED_STORE_OFF  16 /* where shared mappings are stored to */

static inline uint64_t file_tag(unsigned id, size_t page)
{
    return (uint64_t)page << 16 | (uint64_t)(id & 0xff) << 8 | 0x17;
}

/* Makes the files of all tasks, if the bench works on files. 0, or -1 after run_fail(). */
int files_setup(struct run *run);

/* Reads the files back: private stores must not have reached them, shared ones must have. */
void files_verify(struct run *run);

/* Maps the whole size of a task, as its bench's backing says. MAP_FAILED after run_fail(). */
void *task_map(struct task *task);
int task_unmap(struct task *task, void *addr);

/* What the word at CHECK_OFF of a page of such a mapping reads. */
static inline uint64_t task_page_word(const struct task *task, size_t page)
{
    return task->run->bench->backing == BACK_ANON ? 0 : file_tag(task->id, page);
}

static inline size_t task_store_off(const struct task *task)
{
    return task->run->bench->backing == BACK_FILE_SHARED ? SHARED_STORE_OFF : PRIVATE_STORE_OFF;
}

/* slow.c: memory whose first touch takes milliseconds. */

#define SLOW_DELAY_MS 5

struct slow {
    char *base;
    size_t nr_pages;
    const char *kind; /* "file" or "userfaultfd" */
    bool is_file;
    struct uffd_server *server;
};

/* 0, or -1 after run_na(). */
int slow_open(struct slow *slow, struct run *run);
void slow_close(struct slow *slow, struct run *run);

/* options.c */

/* Fills *opt, or prints what is wrong and exits with 2. */
void options_parse(struct options *opt, int argc, char **argv);
bool options_match(const struct options *opt, const char *name);

/* report.c */
void report_list(const struct bench *const *benches);
void report_head(const struct options *opt);
void report_start(const struct options *opt, const struct bench *bench, unsigned nr_threads);
void report_run(const struct options *opt, const struct run *run);

/* Loops that several benches run: bench_fault.c, bench_map.c. */
void fault_loop(struct task *task);
void prefault_loop(struct task *task);
void mmap_loop(struct task *task);

/* The benches, each array ends with an entry without a name. */
extern const struct bench fault_benches[], map_benches[], tlb_benches[], mapbench_benches[],
    latency_benches[], size_benches[];

#endif
