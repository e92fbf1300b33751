/*
 * operations.c: what is measured. One operation is one step; the rest prepares it.
 *
 * "Own" memory of thread i lies in a gigabyte of its own, so that threads share no page table
 * below the third level. A batch starts with page tables in place and no page present: `prime`
 * touches each 2 MiB once and gives the pages back. So what is counted is a fault, and not now and
 * then the table that it needs.
 *
 * File operations all map the same pages of one file, each thread at its own place. That is the
 * case that costs a kernel with a count per page or per mapping.
 */
#define _GNU_SOURCE
#include "coherence.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#define ARENA_START  0x100000000000ul
#define ARENA_BYTES  0x40000000ul
#define RW           (PROT_READ | PROT_WRITE)
#define ANON         (MAP_PRIVATE | MAP_ANONYMOUS)
#define WINDOW_OURS  "/proc/faultline/fault_around"
#define WINDOW_LINUX "/sys/kernel/debug/fault_around_bytes"

static int file_fd = -1;

static void store(char *p)
{
    *(volatile char *)p = 1;
}

static void load(char *p)
{
    (void)*(volatile char *)p;
}

static char *arena_of(const struct worker *w)
{
    return (char *)(ARENA_START + w->id * ARENA_BYTES);
}

static int map_at(char *at, size_t len, int prot, int flags, int fd)
{
    char *got = mmap(at, len, prot, flags | MAP_FIXED, fd, 0);
    return got == at ? 0 : errno;
}

/* Page tables in place, no page present. */
static int prime(char *base, size_t len, bool write)
{
    for (size_t at = 0; at < len; at += TABLE) {
        if (write) {
            store(base + at);
        } else {
            load(base + at);
        }
    }
    return madvise(base, len, MADV_DONTNEED) == 0 ? 0 : errno;
}

static void unmap_base(struct worker *w)
{
    munmap(w->base, w->run->op->nr_window == 512 ? FILE_BYTES : TABLE);
}

/* --- Anonymous memory ---------------------------------------------------------------------------
 */

static int setup_anon_own(struct worker *w)
{
    int err;

    w->base = arena_of(w);
    err = map_at(w->base, TABLE, RW, ANON, -1);
    return err ? err : prime(w->base, TABLE, true);
}

/* Thread 0, whose turn is first, maps for all. Each primes its own slice and later unmaps it. */
static int setup_anon_shared(struct worker *w)
{
    int err = 0;

    w->base = (char *)ARENA_START + w->id * TABLE;
    if (w->id == 0) {
        err = map_at(w->base, w->run->nr_threads * TABLE, RW, ANON, -1);
    }
    return err ? err : prime(w->base, TABLE, true);
}

static void step_store(struct worker *w, unsigned k)
{
    store(w->base + k * PAGE);
}

static int setup_anon_read(struct worker *w)
{
    int err;

    w->base = arena_of(w);
    err = map_at(w->base, TABLE, RW, ANON, -1);
    return err ? err : prime(w->base, TABLE, false);
}

static void step_load(struct worker *w, unsigned k)
{
    load(w->base + k * PAGE);
}

/* --- One file ------------------------------------------------------------------------------------
 */

int file_make(void)
{
    static char chunk[65536];
    char path[] = "/tmp/coherence.file";

    file_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file_fd < 0) {
        return errno;
    }
    unlink(path);
    memset(chunk, 'f', sizeof(chunk));
    for (size_t at = 0; at < FILE_BYTES; at += sizeof(chunk)) {
        if (write(file_fd, chunk, sizeof(chunk)) != (ssize_t)sizeof(chunk)) {
            return errno ? errno : EIO;
        }
    }
    return 0;
}

static int knob_write(const char *path, unsigned long value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0) {
        return -1;
    }
    int len = dprintf(fd, "%lu\n", value);
    return close(fd) == 0 && len > 0 ? 0 : -1;
}

bool fault_window_set(unsigned nr_pages)
{
    if (access(WINDOW_OURS, F_OK) == 0) {
        return knob_write(WINDOW_OURS, nr_pages) == 0;
    }
    if (access(WINDOW_LINUX, F_OK) != 0) {
        mount("debug", "/sys/kernel/debug", "debugfs", 0, NULL);
    }
    return knob_write(WINDOW_LINUX, nr_pages * PAGE) == 0;
}

static int setup_file(struct worker *w, int prot, int flags)
{
    size_t len = w->run->op->nr_window == 512 ? FILE_BYTES : TABLE;
    int err;

    w->base = arena_of(w);
    err = map_at(w->base, len, prot, flags, file_fd);
    return err ? err : prime(w->base, len, false);
}

static int setup_read(struct worker *w)
{
    return setup_file(w, PROT_READ, MAP_PRIVATE);
}

static int setup_private(struct worker *w)
{
    return setup_file(w, RW, MAP_PRIVATE);
}

static int setup_shared(struct worker *w)
{
    return setup_file(w, RW, MAP_SHARED);
}

static void step_read(struct worker *w, unsigned k)
{
    load(w->base + (size_t)k * w->run->op->nr_window * PAGE);
}

/* --- The address space --------------------------------------------------------------------------
 */

static int setup_nothing(struct worker *w)
{
    (void)w;
    return 0;
}

static void teardown_nothing(struct worker *w)
{
    (void)w;
}

static void note_error(struct worker *w, bool failed)
{
    if (failed && !w->err) {
        w->err = errno ? errno : EIO;
    }
}

static void step_mmap(struct worker *w, unsigned k)
{
    char *p = mmap(NULL, PAGE, RW, ANON, -1, 0);

    w->page[k] = p;
    note_error(w, p == MAP_FAILED);
}

static void unmap_pages(struct worker *w)
{
    for (unsigned k = 0; k < w->run->op->nr_steps; k++) {
        munmap(w->page[k], PAGE);
    }
}

/* Mappings of a page each, with a hole after each so that they stay apart. */
static int setup_pages(struct worker *w)
{
    for (unsigned k = 0; k < w->run->op->nr_steps; k++) {
        w->page[k] = arena_of(w) + 2 * k * PAGE;
        int err = map_at(w->page[k], PAGE, RW, ANON, -1);
        if (err) {
            return err;
        }
    }
    return 0;
}

/* The same, used. A page behind them that stays keeps their page table: what is counted is a page's
 * way back, not once a table's. */
static int setup_touched(struct worker *w)
{
    int err = setup_pages(w);

    w->base = arena_of(w) + 2 * w->run->op->nr_steps * PAGE;
    err = err ? err : map_at(w->base, PAGE, RW, ANON, -1);
    for (unsigned k = 0; !err && k < w->run->op->nr_steps; k++) {
        store(w->page[k]);
    }
    if (!err) {
        store(w->base);
    }
    return err;
}

static void unmap_last(struct worker *w)
{
    munmap(w->base, PAGE);
}

static void step_munmap(struct worker *w, unsigned k)
{
    note_error(w, munmap(w->page[k], PAGE) != 0);
}

static void step_mprotect(struct worker *w, unsigned k)
{
    note_error(w, mprotect(w->page[k], PAGE, PROT_READ) != 0);
}

static void map_and_unmap(struct worker *w, size_t len, bool touch)
{
    char *p = mmap(NULL, len, RW, ANON, -1, 0);

    if (p == MAP_FAILED) {
        note_error(w, true);
        return;
    }
    if (touch) {
        store(p);
    }
    note_error(w, munmap(p, len) != 0);
}

static void step_cycle(struct worker *w, unsigned k)
{
    (void)k;
    map_and_unmap(w, PAGE, true);
}

/* What mmap1 of will-it-scale does. */
static void step_cycle_untouched(struct worker *w, unsigned k)
{
    (void)k;
    map_and_unmap(w, 128ul << 20, false);
}

const struct operation operations[] = {
    {"anon", "anonymous write fault, own mapping", 64, 0, setup_anon_own, step_store, unmap_base},
    {"anon_shared", "the same in one mapping, own 2 MiB", 64, 0, setup_anon_shared, step_store,
     unmap_base},
    {"zero", "anonymous read fault, zero page", 64, 0, setup_anon_read, step_load, unmap_base},
    {"file_1", "file read fault, window 1", 64, 1, setup_read, step_read, unmap_base},
    {"file_16", "file read fault, window 16", 32, 16, setup_read, step_read, unmap_base},
    {"file_512", "file read fault, window 512", 8, 512, setup_read, step_read, unmap_base},
    {"cow", "private write fault on the file", 64, 16, setup_private, step_store, unmap_base},
    {"shared", "shared write fault on the file", 64, 16, setup_shared, step_store, unmap_base},
    {"mmap", "mmap of a page", 64, 0, setup_nothing, step_mmap, unmap_pages},
    {"munmap", "munmap of an untouched page", 64, 0, setup_pages, step_munmap, teardown_nothing},
    {"munmap_touched", "munmap of a touched page", 64, 0, setup_touched, step_munmap, unmap_last},
    {"mprotect", "mprotect of an untouched page", 64, 0, setup_pages, step_mprotect, unmap_pages},
    {"cycle", "mmap, touch, munmap", 64, 0, setup_nothing, step_cycle, teardown_nothing},
    {"cycle_untouched", "mmap, munmap of 128 MiB, untouched", 64, 0, setup_nothing,
     step_cycle_untouched, teardown_nothing},
    {NULL, NULL, 0, 0, NULL, NULL, NULL},
};
