// Stores while soft-dirty bits are cleared (mm/clear_refs.c). One CPU clears, looks at the words,
// lets the others go on, looks again and then asks pagemap; the others store and load. A word that
// differs between the looks was stored after the clearing, so its page must be soft-dirty. Pages
// that nobody writes must not be. Contents are the only oracle: nobody waits for anybody.
//
// Between the looks rights come and go, and a fork shares the pages, so that the next store faults
// in another way; mm/audit.c looks for entries that let stores pass.
//
// Pins and DONTNEED. A pin for writing marks the entry, and clear_refs leaves the mark while the
// page is pinned. But DONTNEED takes entry and mark away, and a shared page may be mapped again,
// clean, before the store through the pin is made: nobody promises to see that one. So shared
// memory is discarded when nobody has a page of it pinned.

#include <k/assert.h>
#include <k/errno.h>
#include <k/string.h>
#include <mm.h>
#include <page.h>
#include <sched.h>
#include <smp.h>
#include <uapi/mman.h>
#include "slots.h"

#define AREA       (7ul << 32 | 256 * PAGE_SIZE)
#define NR_PAGES   12u
#define READ_PAGES 4u // the last of them are never written
#define CLEARS     12u

static struct mm *of;
static struct test_file file;
static atomic_bool over;
static atomic_bool discarding;
static atomic_uint nr_pins;
static unsigned session;
static const unsigned map_flags[] = {MAP_PRIVATE | MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED};

static int clears_read_page(struct mapping *m, struct page *page)
{
    (void)m;
    memset(page_addr(page), 0, PAGE_SIZE);
    cond_resched();
    return 0;
}

noreturn_fn static void unseen(const char *what, unsigned page, u64 value)
{
    panic("soft-dirty, session %u: %s: page %u, %lx", session, what, page, (unsigned long)value);
}

static void must(const char *what, s64 err)
{
    if (err < 0) {
        unseen(what, 0, (u64)err);
    }
}

static vaddr_t word_addr(unsigned page, unsigned cpu)
{
    return AREA + page * PAGE_SIZE + cpu * 8;
}

// As the kernel stores for /proc/PID/mem.
static int store_pinned(vaddr_t addr, u64 value)
{
    struct page *p;
    fetch_add_seq(&nr_pins, 1); // pairs with discard
    int err = load_seq(&discarding) ? -EACCES : gup_page(of, addr, true, &p);
    if (!err) {
        soft_race_point("pinned");
        store_relaxed((_Atomic u64 *)((char *)page_addr(p) + (addr & ~PAGE_MASK)), value);
        page_put(p);
    }
    fetch_sub_release(&nr_pins, 1); // pairs with discard
    return err;
}

static void store_and_load(unsigned me)
{
    for (u64 n = 1; !load_seq(&over); n++) {
        unsigned page = soft_below(NR_PAGES), how = soft_below(8);
        bool read = page >= NR_PAGES - READ_PAGES || how < 2;
        vaddr_t at = word_addr(page, me);
        u64 value = n;
        int err = read ? soft_load(at, &value) : how == 2 ? store_pinned(at, n) : soft_store(at, n);
        if (err && err != -EACCES) {
            unseen("an access fails", page, (u64)err);
        }
        host_progress();
    }
}

static void look_at_all(u64 words[NR_PAGES][MAX_THREADS])
{
    for (unsigned p = 0; p < NR_PAGES; p++) {
        for (unsigned c = 0; c < nr_cpus; c++) {
            must("a read", soft_load(word_addr(p, c), &words[p][c]));
        }
    }
}

static void disturb(void)
{
    struct mm *child;
    switch (soft_below(4)) {
    case 0:
        must("mprotect", mm_mprotect(of, AREA, NR_PAGES / 2 * PAGE_SIZE, PROT_READ));
        must("mprotect", mm_mprotect(of, AREA, NR_PAGES / 2 * PAGE_SIZE, PROT_READ | PROT_WRITE));
        break;
    case 1:
        must("fork", mm_fork(of, &child));
        mm_put(child);
        break;
    default:
        break;
    }
}

static void compare(u64 before[NR_PAGES][MAX_THREADS], u64 after[NR_PAGES][MAX_THREADS])
{
    u64 map[NR_PAGES];
    must("pagemap", mm_pagemap(of, AREA, map, NR_PAGES));
    for (unsigned p = 0; p < NR_PAGES; p++) {
        bool dirty = map[p] & PAGEMAP_SOFT_DIRTY;
        if (!dirty && memcmp(before[p], after[p], nr_cpus * sizeof(u64)) != 0) {
            unseen("a store went unseen", p, map[p]);
        }
        if (dirty && p >= NR_PAGES - READ_PAGES) {
            unseen("a page that nobody wrote is soft-dirty", p, map[p]);
        }
    }
}

static void discard(void)
{
    if (map_flags[session % array_size(map_flags)] & MAP_SHARED) {
        store_seq(&discarding, true);
        while (load_seq(&nr_pins)) {
            soft_wait();
        }
    }
    must("madvise", mm_madvise(of, AREA, NR_PAGES * PAGE_SIZE, MADV_DONTNEED));
    store_seq(&discarding, false);
}

static void clear_and_compare(void)
{
    static u64 before[NR_PAGES][MAX_THREADS], after[NR_PAGES][MAX_THREADS];
    char text[256];
    for (unsigned i = 0; i < CLEARS; i++) {
        if (soft_below(4) == 0) {
            discard();
        }
        must("clear_refs", mm_clear_refs(of, MM_CLEAR_SOFT_DIRTY));
        look_at_all(before);
        disturb();
        for (unsigned turns = soft_below(30); turns; turns--) {
            soft_wait();
            soft_safe_point();
        }
        look_at_all(after);
        compare(before, after);
        host_progress();
    }
    soft_knob_read("audit", text, sizeof(text));
    if (strncmp(text, "wrong 0\n", 8) != 0) {
        panic("audit while soft-dirty bits are cleared:\n%s", text);
    }
}

// What is stored through a pin from before the clearing counts as well.
static void store_by_old_pin(void)
{
    struct page *p;
    u64 map;
    must("a pin", gup_page(of, AREA, true, &p));
    must("clear_refs", mm_clear_refs(of, MM_CLEAR_SOFT_DIRTY));
    store_relaxed((_Atomic u64 *)page_addr(p), 1);
    page_put(p);
    must("pagemap", mm_pagemap(of, AREA, &map, 1));
    if (!(map & PAGEMAP_SOFT_DIRTY)) {
        unseen("a store through a pin went unseen", 0, map);
    }
}

static void session_begin(void)
{
    unsigned flags = map_flags[session % array_size(map_flags)];
    must("mmap", mm_mmap(of, AREA, NR_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_FIXED | flags,
                         flags & MAP_ANONYMOUS ? NULL : &file.file, 0));
    store_by_old_pin();
    store_seq(&over, false);
}

void run_clears(unsigned me, struct mm *mm, unsigned long sessions)
{
    static bool stop;
    if (nr_cpus < 2) {
        return;
    }
    if (me == 0) {
        of = mm;
        test_file_create(&file, clears_read_page, NR_PAGES * PAGE_SIZE);
    }
    mm_activate(mm);
    for (unsigned long n = 0; n < sessions; n++) {
        soft_barrier();
        if (me == 0) {
            stop = host_time_is_up();
            session = (unsigned)n;
            session_begin();
        }
        soft_barrier();
        if (stop) {
            break;
        }
        if (me == n % nr_cpus) {
            clear_and_compare();
            store_seq(&over, true);
        } else {
            store_and_load(me);
        }
    }
    soft_barrier();
    if (me == 0) {
        must("munmap", mm_munmap(mm, AREA, NR_PAGES * PAGE_SIZE));
        test_file_destroy(&file);
    }
    soft_barrier();
}
