/*
 * bench_fault.c: page_fault1-3 and prefault: one store in every page of a mapping.
 *
 * Each page is checked without a second fault: the store is the first touch, then a word that
 * nobody stores to is loaded from the same page. Reading first would turn one write fault into a
 * read fault and a write fault.
 */
#include "bench.h"
#include "cycles.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define PIECE_PAGES 256

static inline void page_store(char *page, size_t store_off)
{
    *(volatile unsigned char *)(page + store_off) = STORE_BYTE;
}

static inline uint64_t page_word(const char *page)
{
    return *(const volatile uint64_t *)(page + CHECK_OFF);
}

void fault_loop(struct task *task)
{
    size_t page_size = task->run->page_size;
    size_t nr_pages = task->run->size_bytes / page_size;
    size_t store_off = task_store_off(task);

    while (task_running(task)) {
        char *base = task_map(task);
        size_t page;
        if (base == MAP_FAILED) {
            return;
        }
        for (page = 0; page < nr_pages && task_running(task); page++) {
            char *addr = base + page * page_size;
            page_store(addr, store_off);
            page_check(task, page, page_word(addr), task_page_word(task, page));
            task_count(task, 1);
        }
        if (page > task->nr_stored) {
            task->nr_stored = page;
        }
        if (task_unmap(task, base) != 0) {
            return;
        }
    }
}

/* prefault: one mapping for all, made and unmade by task 0 between two barriers, not timed. */

static char *prefault_map(struct run *run)
{
    char *base = mmap(NULL, run->size_bytes * run->nr_tasks, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        run_fail(run, "mmap of %zu MiB: %s", (run->size_bytes * run->nr_tasks) >> 20,
                 strerror(errno));
        return NULL;
    }
    return base;
}

/* Timed in pieces, so that a short run measures something of a long slice. */
static void prefault_piece(struct task *task, char *slice, size_t page, size_t last)
{
    size_t page_size = task->run->page_size;
    bool measure = task_phase(task) != PHASE_WARMUP;
    uint64_t start = cycles_now();
    size_t nr_pages = last - page;

    for (; page < last; page++) {
        page_store(slice + page * page_size, 0);
        page_check(task, page, page_word(slice + page * page_size), 0);
    }
    if (measure) {
        task->meters[0].ticks += cycles_now() - start;
        task->meters[0].ops += nr_pages;
    }
}

static void prefault_slice(struct task *task, char *slice)
{
    size_t nr_pages = task->run->size_bytes / task->run->page_size;
    bool whole = (task->run->bench->flags & BENCH_WHOLE) != 0;
    size_t page, last;

    for (page = 0; page < nr_pages && (whole || task_running(task)); page = last) {
        last = nr_pages - page < PIECE_PAGES ? nr_pages : page + PIECE_PAGES;
        prefault_piece(task, slice, page, last);
    }
}

void prefault_loop(struct task *task)
{
    struct run *run = task->run;
    size_t len = run->size_bytes;

    for (;;) {
        if (task->id == 0) {
            run->priv = prefault_map(run);
        }
        enum phase phase = barrier_wait(task);
        char *base = run->priv;
        if (phase != PHASE_STOP && base != NULL) {
            prefault_slice(task, base + len * task->id);
            phase = barrier_wait(task);
        }
        if (task->id == 0 && base != NULL && munmap(base, len * run->nr_tasks) != 0) {
            run_fail(run, "munmap: %s", strerror(errno));
        }
        if (phase == PHASE_STOP || base == NULL) {
            return;
        }
    }
}

const struct bench fault_benches[] = {
    {"page_fault1", "pages", "store in each page of an anonymous private mapping", BACK_ANON, 0,
     NULL, fault_loop, NULL},
    {"page_fault2", "pages", "store in each page of a private file mapping", BACK_FILE_PRIVATE, 0,
     NULL, fault_loop, NULL},
    {"page_fault3", "pages", "store in each page of a shared file mapping", BACK_FILE_SHARED, 0,
     NULL, fault_loop, NULL},
    {"prefault", "pages", "threads store in disjoint slices of one anonymous mapping", BACK_ANON,
     BENCH_TIMED, NULL, prefault_loop, NULL},
    {0},
};
