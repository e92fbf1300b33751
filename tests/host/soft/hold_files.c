// Held while something happens to a file that is mapped: see holds.c.
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
//
// Let go while it is read (invariant 6). A fault waits for a page to be read in, and the mapping
// goes meanwhile. The fault has counted its VMA, and the VMA the file:
//
//     R                                           U
//     fault: the page is not there; counts the
//     VMA; ->read_page; held                      munmap; a grace period later what has no count
//     who keeps the file?                         is gone
//
// Moved past truncate (invariant 10). A private copy goes with its page of the file, but while
// mremap moves it, it is in no table:
//
//     M                                           T
//     takes the copy out of its table; held       truncates the file: no entry to clear
//     puts it in at its new address
//
// So mremap holds i_mmap_lock, which truncate walks under; M is not held until T is done, which
// waits for M.
//
// Not flushed yet (R9). munmap has cleared an entry and is about to shoot down the translation that
// T has:
//
//     M                                           T
//     munmap: entry = none; held before the
//     shootdown                                   truncates the file: the entry is empty, but
//                                                 munmap is not done: shoots down itself
//                                                 reads: no page
//
// Found before clear_refs. A read fault has found a VMA that lets it map pages of a shared file
// writable, and clear_refs wants to hear of each store from now on:
//
//     S                                           C
//     read fault: VMA soft-dirty; held            clear_refs: another VMA in its place, the old one
//                                                 dead; the entry is empty
//     goes on: the VMA is dead, starts again
//     stores: faults, and leaves its mark

#include <k/errno.h>
#include <k/string.h>
#include <page.h>
#include <pgtable.h>
#include <sched.h>
#include <uapi/mman.h>
#include "holds.h"

#define PLACE       (9ul << 32)
#define PLACE_MOVED (PLACE + pt_span(1))

static struct test_file file;
static atomic_ulong contents; // of each word of the file
static unsigned reader;       // the CPU that has it read in and is to be held, plus 1

static void hold_reader(void);

static int read_contents(struct mapping *m, struct page *page)
{
    u64 *word = page_addr(page), value = load_seq(&contents);
    (void)m;
    if (reader == soft_cpu->id + 1) {
        hold_reader();
    }
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(*word); i++) {
        word[i] = value;
    }
    return 0;
}

static void map_end(void)
{
    hold_unmap(PLACE, PAGE_SIZE);
    test_file_destroy(&file);
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

static void map_begin(u64 round)
{
    store_seq(&contents, 2 * round - 1);
    test_file_create(&file, read_contents, PAGE_SIZE);
    hold_map(PLACE, PAGE_SIZE, MAP_PRIVATE, &file.file);
}

static void read_in(void)
{
    struct page *page;
    int err = mapping_read_page(&file.inode.mapping, 0, &page);
    if (err) {
        wrong_hold("the file cannot be read", (u64)err);
    }
    page_put(page);
}

static void copy_begin(u64 round)
{
    map_begin(round);
    read_in();
}

static void shared_begin(u64 round)
{
    map_begin(round);
    hold_map(PLACE, PAGE_SIZE, MAP_SHARED, &file.file);
    read_in();
}

const struct schedule hold_copy = {.name = "copied from a page that has gone",
                                   .writers_may_wait = true,
                                   .begin = copy_begin,
                                   .nr_parts = 2,
                                   .part = {copier, truncater},
                                   .end = map_end};

// ---- Let go while it is read --------------------------------------------------------------------

enum { READING = 1, UNMAPPED };

static void hold_reader(void)
{
    stage_set(READING);
    while (stage() < UNMAPPED) {
        schedule();
    }
    if (load_acquire(&file.file.ref) == 1) {
        wrong_hold("nobody keeps the file that is read", 0);
    }
}

static void parker(u64 round)
{
    u64 value;
    (void)round;
    reader = soft_cpu->id + 1;
    int err = soft_load(PLACE, &value);
    reader = 0;
    if (err != -EFAULT) {
        wrong_hold("accessible after munmap", (u64)err);
    }
}

static void unmapper(u64 round)
{
    (void)round;
    stage_wait(READING);
    hold_unmap(PLACE, PAGE_SIZE);
    soft_settle();
    stage_set(UNMAPPED);
}

const struct schedule hold_park = {.name = "let go while it is read",
                                   .writers_may_wait = true,
                                   .begin = map_begin,
                                   .nr_parts = 2,
                                   .part = {parker, unmapper},
                                   .end = map_end};

// ---- Moved past truncate ------------------------------------------------------------------------

enum { TAKEN = 1, GONE };

static void hold_mover(const char *where)
{
    if (stage() < TAKEN && strcmp(where, "move") == 0) {
        stage_set(TAKEN);
        stage_hold(GONE);
    }
}

static void mover(u64 round)
{
    u64 value;
    hold_store(PLACE, round); // a copy
    soft_cpu->at_point = hold_mover;
    s64 at =
        mm_mremap(hold_mm, PLACE, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, PLACE_MOVED);
    soft_cpu->at_point = NULL;
    if (at < 0) {
        wrong_hold("mremap fails", (u64)at);
    }
    stage_wait(GONE);
    int err = soft_load(PLACE_MOVED, &value);
    if (err != -EIO) {
        wrong_hold("a copy of a page that was truncated is read", (u64)err);
    }
}

static void remover(u64 round)
{
    (void)round;
    stage_wait(TAKEN);
    test_file_resize(&file, 0);
    stage_set(GONE);
}

static void move_end(void)
{
    hold_unmap(PLACE_MOVED, PAGE_SIZE);
    test_file_destroy(&file);
}

const struct schedule hold_move = {.name = "moved past truncate",
                                   .writers_may_wait = true,
                                   .begin = map_begin,
                                   .nr_parts = 2,
                                   .part = {mover, remover},
                                   .end = move_end};

// ---- Not flushed yet ----------------------------------------------------------------------------

enum { TRANSLATED = 1, CLEARED, READ };

static void hold_flusher(const char *where)
{
    if (stage() < CLEARED && strcmp(where, "flush") == 0) {
        stage_set(CLEARED);
        stage_hold(READ);
    }
}

static void flusher(u64 round)
{
    (void)round;
    stage_wait(TRANSLATED);
    soft_cpu->at_point = hold_flusher;
    hold_unmap(PLACE, PAGE_SIZE);
    soft_cpu->at_point = NULL;
}

static void settler(u64 round)
{
    u64 value;
    (void)round;
    hold_load(PLACE);
    stage_set(TRANSLATED);
    stage_wait(CLEARED);
    test_file_resize(&file, 0);
    if (!soft_load(PLACE, &value)) {
        wrong_hold("a page that was truncated is read", value);
    }
    stage_set(READ);
}

const struct schedule hold_flush = {.name = "not flushed yet",
                                    .writers_may_wait = true,
                                    .begin = shared_begin,
                                    .nr_parts = 2,
                                    .part = {flusher, settler},
                                    .end = map_end};

// ---- Found before clear_refs --------------------------------------------------------------------

enum { FOUND = 1, FORGOTTEN };

static void hold_finder(const char *where)
{
    if (stage() < FOUND && strcmp(where, "fault lock") == 0) {
        stage_set(FOUND);
        stage_wait(FORGOTTEN);
    }
}

static void finder(u64 round)
{
    u64 map = 0;
    soft_cpu->at_point = hold_finder;
    hold_load(PLACE);
    soft_cpu->at_point = NULL;
    hold_store(PLACE, round);
    int err = mm_pagemap(hold_mm, PLACE, &map, 1);
    if (err || !(map & PAGEMAP_SOFT_DIRTY)) {
        wrong_hold("a store after clear_refs went unseen", map);
    }
}

static void clearer(u64 round)
{
    (void)round;
    stage_wait(FOUND);
    int err = mm_clear_refs(hold_mm, MM_CLEAR_SOFT_DIRTY);
    if (err) {
        wrong_hold("clear_refs fails", (u64)err);
    }
    stage_set(FORGOTTEN);
}

// mmap_lock keeps clear_refs out while a fault is there.
const struct schedule hold_clear = {.name = "found before clear_refs",
                                    .begin = shared_begin,
                                    .nr_parts = 2,
                                    .part = {finder, clearer},
                                    .end = map_end};
