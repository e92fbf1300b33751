/*
 * size.c: vmas_fault, vmas_mmap, touch: the same work in a small and in a large address space.
 *
 * How a tree of mappings, page tables and free lists grow shows only as a curve: each bench stands
 * here once for every size.
 *
 *     vmas_fault_N   page_fault1 while N other mappings exist
 *     vmas_mmap_N    mmap1 while N other mappings exist
 *     touch_SIZE     prefault, the threads' slices together SIZE; a pass is never cut short
 *
 * The N mappings are made by cutting holes of a page into a reservation that the kernel placed, so
 * they lie where it looks first, and every search for room has to get past N holes too small:
 *
 *     [page] hole [page] hole ... [page] hole | what the tasks map
 *
 * They may only be read: nothing that the tasks map can merge with them.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#define LIMIT_PATH   "/proc/sys/vm/max_map_count"
#define LIMIT_SPARE  1000          /* mappings besides ours */
#define MEMORY_SPARE (64ull << 20) /* for page tables and everything else */

struct vmas {
    char *base;
    size_t nr, len;
    unsigned long limit; /* of mappings, as it was; 0 if it was not changed */
};

static unsigned long limit_read(void)
{
    unsigned long limit = 0;
    FILE *file = fopen(LIMIT_PATH, "r");

    if (file != NULL) {
        if (fscanf(file, "%lu", &limit) != 1) {
            limit = 0;
        }
        fclose(file);
    }
    return limit;
}

static bool limit_write(unsigned long limit)
{
    FILE *file = fopen(LIMIT_PATH, "w");

    if (file == NULL) {
        return false;
    }
    bool ok = fprintf(file, "%lu\n", limit) > 0;
    return fclose(file) == 0 && ok;
}

static int limit_raise(struct run *run, struct vmas *v)
{
    unsigned long limit = limit_read();

    if (limit >= v->nr + LIMIT_SPARE) {
        return 0;
    }
    if (!limit_write(v->nr + LIMIT_SPARE)) {
        return run_na(run, "at most %lu mappings, and " LIMIT_PATH " cannot be written", limit);
    }
    v->limit = limit;
    return 0;
}

static int vmas_cut(struct run *run, struct vmas *v)
{
    v->base = mmap(NULL, v->len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (v->base == MAP_FAILED) {
        return run_fail(run, "mmap of %zu MiB: %s", v->len >> 20, strerror(errno));
    }
    for (size_t i = 0; i < v->nr; i++) {
        if (munmap(v->base + (2 * i + 1) * run->page_size, run->page_size) != 0) {
            return run_fail(run, "munmap of hole %zu: %s", i, strerror(errno));
        }
    }
    return 0;
}

/* Some of them are still there and read as zeroes; then all are unmapped. */
static void vmas_finish(struct run *run)
{
    struct vmas *v = run->priv;

    for (size_t i = 0; i < v->nr && run->status == RUN_OK; i += 1 + v->nr / 64) {
        uint64_t got = *(volatile uint64_t *)(v->base + 2 * i * run->page_size);
        if (got != 0) {
            run_fail(run, "mapping %zu holds %#llx, expected 0", i, (unsigned long long)got);
        }
    }
    if (v->base != MAP_FAILED && munmap(v->base, v->len) != 0) {
        run_fail(run, "munmap of %zu mappings: %s", v->nr, strerror(errno));
    }
    if (v->limit != 0) {
        limit_write(v->limit);
    }
    free(v);
    run->priv = NULL;
}

static int vmas_setup(struct run *run, size_t nr)
{
    struct vmas *v = calloc(1, sizeof(*v));

    if (v == NULL) {
        return run_fail(run, "out of memory");
    }
    *v = (struct vmas){.base = MAP_FAILED, .nr = nr, .len = 2 * nr * run->page_size};
    run->priv = v;
    if (limit_raise(run, v) != 0 || vmas_cut(run, v) != 0) {
        vmas_finish(run);
        return -1;
    }
    return 0;
}

static int vmas_10_setup(struct run *run)
{
    return vmas_setup(run, 10);
}

static int vmas_1000_setup(struct run *run)
{
    return vmas_setup(run, 1000);
}

static int vmas_100000_setup(struct run *run)
{
    return vmas_setup(run, 100000);
}

static int touch_setup(struct run *run, uint64_t bytes)
{
    struct sysinfo info;

    if (sysinfo(&info) != 0) {
        return run_fail(run, "sysinfo: %s", strerror(errno));
    }
    uint64_t free_bytes = (uint64_t)info.freeram * info.mem_unit;
    if (free_bytes < bytes + bytes / 256 + MEMORY_SPARE) {
        return run_na(run, "%llu MiB of memory are free", (unsigned long long)free_bytes >> 20);
    }
    run->size_bytes = bytes / run->nr_tasks / run->page_size * run->page_size;
    return 0;
}

static int touch_16m_setup(struct run *run)
{
    return touch_setup(run, 16ull << 20);
}

static int touch_128m_setup(struct run *run)
{
    return touch_setup(run, 128ull << 20);
}

static int touch_1g_setup(struct run *run)
{
    return touch_setup(run, 1ull << 30);
}

static int touch_8g_setup(struct run *run)
{
    return touch_setup(run, 8ull << 30);
}

#define TOUCH_FLAGS (BENCH_TIMED | BENCH_WHOLE)

const struct bench size_benches[] = {
    {"vmas_fault_10", "pages", "page_fault1 while 10 other mappings exist", BACK_ANON, 0,
     vmas_10_setup, fault_loop, vmas_finish},
    {"vmas_fault_1000", "pages", "the same with 1,000", BACK_ANON, 0, vmas_1000_setup, fault_loop,
     vmas_finish},
    {"vmas_fault_100000", "pages", "the same with 100,000", BACK_ANON, 0, vmas_100000_setup,
     fault_loop, vmas_finish},
    {"vmas_mmap_10", "mappings", "mmap1 while 10 other mappings exist", BACK_ANON, 0, vmas_10_setup,
     mmap_loop, vmas_finish},
    {"vmas_mmap_1000", "mappings", "the same with 1,000", BACK_ANON, 0, vmas_1000_setup, mmap_loop,
     vmas_finish},
    {"vmas_mmap_100000", "mappings", "the same with 100,000", BACK_ANON, 0, vmas_100000_setup,
     mmap_loop, vmas_finish},
    {"touch_16M", "pages", "prefault of 16 MiB by all threads together", BACK_ANON, TOUCH_FLAGS,
     touch_16m_setup, prefault_loop, NULL},
    {"touch_128M", "pages", "the same with 128 MiB", BACK_ANON, TOUCH_FLAGS, touch_128m_setup,
     prefault_loop, NULL},
    {"touch_1G", "pages", "the same with 1 GiB", BACK_ANON, TOUCH_FLAGS, touch_1g_setup,
     prefault_loop, NULL},
    {"touch_8G", "pages", "the same with 8 GiB", BACK_ANON, TOUCH_FLAGS, touch_8g_setup,
     prefault_loop, NULL},
    {0},
};
