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
// Inserted beyond the end (R24). A fault has its page read in while truncate removes the pages that
// are there:
//
//     R                                           T
//     the file is long enough: a new page; held
//                                                 size = 0; removes all pages: none
//     the size, under the lock: too late
//
// Held after the last reference. Whoever finds a page of the file in an RCU section tries to hold
// it, and the cache may have let go of it meanwhile:
//
//     R                                           T
//     finds the page; held                        truncates the file: the last reference goes,
//                                                 RCU is to free the page
//     a reference? none left: no page
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
//
// Stored in between. munmap, mprotect and mremap read an entry and change it in one step. With two
// the MMU comes in between, and nobody hears that the page is dirty:
//
//     M                                           S
//     reads the entry: clean; held
//                                                 stores: the MMU sets the entry dirty
//     another entry, clean
//
// (Only a twin has a point there. The kernel's M is not held, and S's store fails.)

#include <k/errno.h>
#include <page.h>
#include <pgtable.h>
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
    if (stage_begins(COPIED, where, "fault lock")) {
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
    stage_sleep(UNMAPPED);
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

// ---- Inserted beyond the end, held after the last reference -------------------------------------

enum { LOOKED = 1, EMPTIED };

static void must_be_empty(void)
{
    struct page *page = mapping_find_get(&file.inode.mapping, 0);
    if (page) {
        wrong_hold("a page beyond the end is in the cache", load_relaxed(&page->flags));
    }
}

static void hold_inserter(const char *where)
{
    if (stage_begins(LOOKED, where, "page insert")) {
        stage_wait(EMPTIED);
    }
}

static void inserter(u64 round)
{
    u64 value;
    (void)round;
    soft_cpu->at_point = hold_inserter;
    int err = soft_load(PLACE, &value);
    soft_cpu->at_point = NULL;
    if (err != -EIO) {
        wrong_hold("a page beyond the end is read", (u64)err);
    }
    must_be_empty();
}

static void emptier(u64 round)
{
    (void)round;
    stage_wait(LOOKED);
    test_file_resize(&file, 0);
    stage_set(EMPTIED);
}

const struct schedule hold_insert = {.name = "inserted beyond the end",
                                     .writers_may_wait = true,
                                     .begin = map_begin,
                                     .nr_parts = 2,
                                     .part = {inserter, emptier},
                                     .end = map_end};

static void hold_holder(const char *where)
{
    if (stage_begins(LOOKED, where, "page found")) {
        stage_wait(EMPTIED);
    }
}

static void holder(u64 round)
{
    (void)round;
    soft_cpu->at_point = hold_holder;
    must_be_empty();
    soft_cpu->at_point = NULL;
}

const struct schedule hold_tryget = {.name = "held after the last reference",
                                     .writers_may_wait = true,
                                     .begin = copy_begin,
                                     .nr_parts = 2,
                                     .part = {holder, emptier},
                                     .end = map_end};

// ---- Moved past truncate ------------------------------------------------------------------------

enum { TAKEN = 1, GONE };

static void hold_mover(const char *where)
{
    if (stage_begins(TAKEN, where, "move")) {
        stage_hold(GONE);
    }
}

static void mover(u64 round)
{
    u64 value;
    hold_store(PLACE, round); // a copy
    soft_cpu->at_point = hold_mover;
    hold_move_page(PLACE, PLACE_MOVED);
    soft_cpu->at_point = NULL;
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
    if (stage_begins(CLEARED, where, "flush")) {
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
    if (stage_begins(FOUND, where, "fault lock")) {
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

// ---- Stored in between --------------------------------------------------------------------------

enum { BETWEEN = 1, STORED };

static bool stored;

static void hold_changer(const char *where)
{
    if (stage_begins(BETWEEN, where, "dirty")) {
        stage_hold(STORED);
    }
}

static void changer(u64 round)
{
    hold_load(PLACE); // writable, and not dirty
    soft_cpu->at_point = hold_changer;
    if (round % 3 == 0) {
        hold_unmap(PLACE, PAGE_SIZE);
    } else if (round % 3 == 1) {
        hold_protect(PLACE, PAGE_SIZE, PROT_READ);
    } else {
        hold_move_page(PLACE, PLACE_MOVED);
    }
    soft_cpu->at_point = NULL;
    if (stage() < BETWEEN) {
        stage_set(BETWEEN);
    }
}

static void dirtier(u64 round)
{
    stage_wait(BETWEEN);
    int err = soft_store(PLACE, round);
    if (err && err != -EFAULT && err != -EACCES) {
        wrong_hold("a store fails", (u64)err);
    }
    stored = !err;
    stage_set(STORED);
}

static void between_end(void)
{
    hold_unmap(PLACE, PAGE_SIZE);
    hold_unmap(PLACE_MOVED, PAGE_SIZE);
    struct page *page = mapping_find_get(&file.inode.mapping, 0);
    if (!page || (stored && !(load_relaxed(&page->flags) & PG_DIRTY))) {
        wrong_hold("a store has left its page clean", page ? load_relaxed(&page->flags) : 0);
    }
    page_put(page);
    test_file_destroy(&file);
}

const struct schedule hold_between = {.name = "stored in between",
                                      .writers_may_wait = true,
                                      .begin = shared_begin,
                                      .nr_parts = 2,
                                      .part = {changer, dirtier},
                                      .end = between_end};
