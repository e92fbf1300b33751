// Held in the middle of a fault: see holds.c.
//
// Copied from a page that has gone (invariant 8). The cache owns the page that a private write
// copies, and RCU keeps it from being freed, not from leaving the file:
//
//     C                                           T
//     private write, the entry is empty:
//     copies the file's page; held                truncates the file to nothing: no entry to clear;
//                                                 extends it: other contents
//     goes on: the page is not the file's any
//     more, so it starts again
//
// With that copy installed C would read what was in the file before it was truncated.

#include <k/string.h>
#include <page.h>
#include <uapi/mman.h>
#include "holds.h"

#define PLACE (9ul << 32)

static struct test_file file;
static atomic_ulong contents; // of each word of the file

static int read_contents(struct mapping *m, struct page *page)
{
    u64 *word = page_addr(page), value = load_seq(&contents);
    (void)m;
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(*word); i++) {
        word[i] = value;
    }
    return 0;
}

// ---- Copied from a page that has gone -----------------------------------------------------------

enum { COPIED = 1, TRUNCATED };

static void hold_copier(const char *where)
{
    if (stage() < COPIED && strcmp(where, "fault lock") == 0) {
        stage_set(COPIED);
        stage_wait(TRUNCATED);
    }
}

static void copier(u64 round)
{
    soft_cpu->at_point = hold_copier;
    hold_store(PLACE, ~0ul);
    soft_cpu->at_point = NULL;
    u64 value = hold_load(PLACE + sizeof(value));
    if (value != 2 * round) {
        wrong_hold("copied from a page that was truncated before", value);
    }
}

static void truncater(u64 round)
{
    stage_wait(COPIED);
    test_file_resize(&file, 0);
    store_seq(&contents, 2 * round);
    test_file_resize(&file, PAGE_SIZE);
    stage_set(TRUNCATED);
}

static void copy_begin(u64 round)
{
    struct page *page;
    store_seq(&contents, 2 * round - 1);
    test_file_create(&file, read_contents, PAGE_SIZE);
    hold_map(PLACE, PAGE_SIZE, MAP_PRIVATE, &file.file);
    int err = mapping_read_page(&file.inode.mapping, 0, &page);
    if (err) {
        wrong_hold("the file cannot be read", (u64)err);
    }
    page_put(page);
}

static void copy_end(void)
{
    hold_unmap(PLACE, PAGE_SIZE);
    test_file_destroy(&file);
}

const struct schedule hold_copy = {.name = "copied from a page that has gone",
                                   .under_mmap_lock = true,
                                   .begin = copy_begin,
                                   .nr_parts = 2,
                                   .part = {copier, truncater},
                                   .end = copy_end};
