/*
 * bench_map.c: mmap1-2, malloc1-2, brk1-2: address space made and unmade, not touched.
 *
 * A loop that touches nothing has nothing to check, so each bench looks once before it starts:
 * what it maps must show the file's words, or zeroes, also where memory was used and given back.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SMALL_BYTES 1024

static int mmap_setup(struct run *run)
{
    for (unsigned i = 0; i < run->nr_tasks; i++) {
        struct task probe = {.run = run, .id = i};
        size_t nr_pages = run->size_bytes / run->page_size;
        char *base = task_map(&probe);
        if (base == MAP_FAILED) {
            return -1;
        }
        for (size_t page = 0; page < nr_pages; page += 1 + nr_pages / 64) {
            uint64_t got = *(volatile uint64_t *)(base + page * run->page_size + CHECK_OFF);
            uint64_t want = task_page_word(&probe, page);
            if (got != want) {
                run_fail(run, "page %zu holds %#llx, expected %#llx", page, (unsigned long long)got,
                         (unsigned long long)want);
            }
        }
        if (task_unmap(&probe, base) != 0) {
            return -1;
        }
    }
    return run->status == RUN_OK ? 0 : -1;
}

void mmap_loop(struct task *task)
{
    while (task_running(task)) {
        void *base = task_map(task);
        if (base == MAP_FAILED || task_unmap(task, base) != 0) {
            return;
        }
        task_count(task, 1);
    }
}

/*
 * The library adapts: after a large block is freed, blocks of that size come from a heap that
 * keeps them, and the kernel is no longer asked. Setting the thresholds turns that off: the large
 * block is always a mapping of its own, and a heap is never trimmed under the small one.
 */
static int malloc_setup(struct run *run)
{
    if (mallopt(M_MMAP_THRESHOLD, 128 * 1024) != 1 || mallopt(M_TRIM_THRESHOLD, 1 << 30) != 1) {
        return run_fail(run, "mallopt refused");
    }
    return 0;
}

static void malloc_run(struct task *task, size_t len)
{
    while (task_running(task)) {
        char *p = malloc(len);
        if (p == NULL) {
            run_fail(task->run, "malloc of %zu bytes: %s", len, strerror(errno));
            return;
        }
        __asm__ volatile("" : "+r"(p) : : "memory"); /* else the pair is optimised away */
        free(p);
        task_count(task, 1);
    }
}

static void malloc1_loop(struct task *task)
{
    malloc_run(task, task->run->size_bytes);
}

static void malloc2_loop(struct task *task)
{
    malloc_run(task, SMALL_BYTES);
}

/* The system call itself: it answers the new break, or the old one if it failed. */
static uintptr_t brk_set(uintptr_t addr)
{
    return (uintptr_t)syscall(SYS_brk, addr);
}

/* Grow, use, shrink, grow again: the page must come back as zeroes. */
static int brk_setup(struct run *run)
{
    uintptr_t old = brk_set(0);
    uintptr_t page = (old + run->page_size - 1) & ~(run->page_size - 1);

    for (int pass = 0; pass < 2; pass++) {
        if (brk_set(page + run->page_size) != page + run->page_size) {
            return run_fail(run, "brk did not grow by a page");
        }
        volatile uint64_t *word = (volatile uint64_t *)page;
        if (*word != 0) {
            return run_fail(run, "page 0 holds %#llx, expected 0", (unsigned long long)*word);
        }
        *word = STORE_BYTE;
        if (brk_set(old) != old) {
            return run_fail(run, "brk did not shrink by a page");
        }
    }
    return 0;
}

static void brk_run(struct task *task, size_t kept_bytes)
{
    size_t page_size = task->run->page_size;
    uintptr_t old = brk_set(0);
    uintptr_t low = ((old + page_size - 1) & ~(page_size - 1)) + kept_bytes;

    if (brk_set(low) != low) {
        run_fail(task->run, "brk to the start failed");
        return;
    }
    while (task_running(task)) {
        if (brk_set(low + page_size) != low + page_size || brk_set(low) != low) {
            run_fail(task->run, "brk failed in the loop");
            break;
        }
        task_count(task, 1);
    }
    brk_set(old);
}

static void brk1_loop(struct task *task)
{
    brk_run(task, 0);
}

static void brk2_loop(struct task *task)
{
    brk_run(task, task->run->page_size);
}

const struct bench map_benches[] = {
    {"mmap1", "mappings", "map and unmap, anonymous, untouched", BACK_ANON, 0, mmap_setup,
     mmap_loop, NULL},
    {"mmap2", "mappings", "map and unmap, private file, untouched", BACK_FILE_PRIVATE, 0,
     mmap_setup, mmap_loop, NULL},
    {"malloc1", "blocks", "malloc and free the whole size, untouched", BACK_ANON, 0, malloc_setup,
     malloc1_loop, NULL},
    {"malloc2", "blocks", "malloc and free 1 KiB, untouched", BACK_ANON, 0, malloc_setup,
     malloc2_loop, NULL},
    {"brk1", "cycles", "grow and shrink the break by a page", BACK_ANON, BENCH_ONE_TASK, brk_setup,
     brk1_loop, NULL},
    {"brk2", "cycles", "the same with one page always kept", BACK_ANON, BENCH_ONE_TASK, brk_setup,
     brk2_loop, NULL},
    {0},
};
