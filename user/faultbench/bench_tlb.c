/*
 * bench_tlb.c: tlb_flush1-3: store to a page, MADV_DONTNEED it, read it back.
 *
 * The read tells whether the flush happened: a translation left behind shows the old page. What
 * must appear is the file's byte (private file), zero (anonymous), the stored byte (shared file).
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static unsigned char byte_after_dontneed(const struct task *task, size_t page)
{
    switch (task->run->bench->backing) {
    case BACK_FILE_PRIVATE:
        return (unsigned char)file_tag(task->id, page);
    case BACK_FILE_SHARED:
        return STORE_BYTE;
    case BACK_ANON:
        break;
    }
    return 0;
}

static void tlb_loop(struct task *task)
{
    size_t page_size = task->run->page_size;
    size_t nr_pages = task->run->size_bytes / page_size;
    size_t store_off = task_store_off(task);
    char *base = task_map(task);

    if (base == MAP_FAILED) {
        return;
    }
    while (task_running(task)) {
        size_t page;
        for (page = 0; page < nr_pages && task_running(task); page++) {
            char *addr = base + page * page_size;
            volatile unsigned char *byte = (volatile unsigned char *)(addr + store_off);
            *byte = STORE_BYTE;
            if (madvise(addr, page_size, MADV_DONTNEED) != 0) {
                run_fail(task->run, "madvise: %s", strerror(errno));
                return;
            }
            page_check(task, page, *byte, byte_after_dontneed(task, page));
            task_count(task, 1);
        }
        if (page > task->nr_stored) {
            task->nr_stored = page;
        }
    }
    task_unmap(task, base);
}

const struct bench tlb_benches[] = {
    {"tlb_flush1", "pages", "store, MADV_DONTNEED, read back: private file", BACK_FILE_PRIVATE, 0,
     NULL, tlb_loop, NULL},
    {"tlb_flush2", "pages", "store, MADV_DONTNEED, read back: anonymous", BACK_ANON, 0, NULL,
     tlb_loop, NULL},
    {"tlb_flush3", "pages", "store, MADV_DONTNEED, read back: shared file", BACK_FILE_SHARED, 0,
     NULL, tlb_loop, NULL},
    {0},
};
