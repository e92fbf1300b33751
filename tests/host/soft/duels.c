// Duels: races of two CPUs that the slots of test_fault.c hardly ever meet, because there an
// operation waits for the other of its kind, or because a third CPU must look at the very moment.
// In each round two CPUs do one thing each, all others look on, and CPUs change roles.
//
//     munmap, truncate       R9: truncate finds an entry empty that munmap has not flushed yet.
//                            Once it has returned nobody reads the page.
//     DONTNEED, store        R7: the entry is empty and not flushed yet, a store has it filled
//                            again. Once it is done nobody reads what was there before. (Two
//                            DONTNEEDs, the story's other half, exclude each other here.)
//     fault, truncate        R24: a fault that has asked the size before puts its page into the
//                            cache afterwards. Once truncate has returned none is there.
//     private copy, punch    A page of the file is freed while it is copied, and comes back as a
//                            page of this very file at this very place, with other contents: the
//                            copy would be half of each. A grace period keeps it away that long.
//     store, removal         The MMU sets an entry's dirty bit while munmap, mprotect or mremap is
//                            about to change the entry: who has stored has left the page dirty.
//
// What was rejected: more operations at once on a slot. Its oracle lives by knowing which of them
// was the last.

#include <filemap.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/rcu.h>
#include <mm.h>
#include <page.h>
#include <sched.h>
#include <smp.h>
#include <uapi/mman.h>
#include "slots.h"

#define PLACE       (7ul << 32)
#define PLACE_COPY  (7ul << 32 | 64 * PAGE_SIZE)
#define COPIES      4u
#define COPY_STRIDE 24u // words

struct duel {
    const char *name;
    void (*begin)(u64 round); // one CPU alone
    void (*first)(void);      // one CPU, while
    void (*second)(void);     // another
    void (*look)(void);       // and all others, again and again until both have ended
    void (*end)(void);        // one CPU alone
};

static struct mm *duel_mm;
static const struct duel *duel;
static struct test_file file;
static atomic_ulong generation; // of the file's contents
static atomic_uint nr_ended;
static atomic_bool gone; // what was there must not be seen by an access that begins now

// ---- The file -----------------------------------------------------------------------------------

#define FILE_MAGIC (0xf11eul << 48)

static int duel_read_page(struct mapping *m, struct page *page)
{
    u64 *word = page_addr(page), value = FILE_MAGIC | load_seq(&generation);
    (void)m;
    cond_resched();
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(*word); i++) {
        word[i] = value;
    }
    return 0;
}

// ---- What they do -------------------------------------------------------------------------------

noreturn_fn static void lost(const char *what, u64 value, int err)
{
    panic("%s: %s: value %lx result %d", duel->name, what, (unsigned long)value, err);
}

static void must(const char *what, s64 err)
{
    if (err < 0) {
        lost(what, 0, (int)err);
    }
}

static void map(vaddr_t at, unsigned flags, struct file *f)
{
    must("mmap", mm_mmap(duel_mm, at, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_FIXED | flags, f, 0));
}

static void unmap(vaddr_t at)
{
    must("munmap", mm_munmap(duel_mm, at, PAGE_SIZE));
}

static void some_points(unsigned below)
{
    for (unsigned i = soft_below(below); i > 0; i--) {
        soft_point();
    }
}

static int look_at(vaddr_t at, u64 *value)
{
    int err = soft_load(at, value);
    if (err && err != -EFAULT && err != -EIO) {
        lost("a read fails", *value, err);
    }
    return err;
}

static void map_file(u64 round)
{
    (void)round;
    test_file_resize(&file, PAGE_SIZE);
    map(PLACE, MAP_SHARED, &file.file);
}

static void unmap_place(void)
{
    unmap(PLACE);
}

static void nothing(void)
{
}

// ---- munmap, truncate ---------------------------------------------------------------------------

static void unmap_soon(void)
{
    some_points(300);
    unmap(PLACE);
}

static void truncate_soon(void)
{
    some_points(300);
    test_file_resize(&file, 0);
    store_seq(&gone, true);
}

static void look_for_pages(void)
{
    u64 value = 0;
    bool was = load_seq(&gone);
    if (!look_at(PLACE, &value) && was) {
        lost("a page that was truncated is read", value, 0);
    }
}

// ---- DONTNEED, store ----------------------------------------------------------------------------

enum { OLD = 1, NEW = 2 };

static void map_old(u64 round)
{
    (void)round;
    map(PLACE, MAP_PRIVATE | MAP_ANONYMOUS, NULL);
    must("store", soft_store(PLACE, OLD));
}

static void discard_soon(void)
{
    some_points(300);
    must("madvise", mm_madvise(duel_mm, PLACE, PAGE_SIZE, MADV_DONTNEED));
}

static void store_soon(void)
{
    some_points(400);
    must("store", soft_store(PLACE, NEW));
    store_seq(&gone, true);
    some_points(200);
}

// DONTNEED may come last: then it is 0.
static void look_for_old(void)
{
    u64 value = 0;
    bool was = load_seq(&gone);
    if (!look_at(PLACE, &value) && was && value == OLD) {
        lost("what was there before a store is read after it", value, 0);
    }
}

// ---- fault, truncate ----------------------------------------------------------------------------

static void touch_soon(void)
{
    u64 value = 0;
    some_points(100);
    look_at(PLACE, &value);
}

static void truncate_and_look(void)
{
    some_points(100);
    test_file_resize(&file, 0);
    for (unsigned i = 0; i < 4; i++) {
        rcu_read_lock();
        bool there = mapping_find_rcu(&file.inode.mapping, 0);
        rcu_read_unlock();
        if (there) {
            lost("a page beyond the end is in the cache", 0, 0);
        }
        some_points(100);
        soft_safe_point();
    }
}

// ---- private copy, punch ------------------------------------------------------------------------

static void map_both(u64 round)
{
    map_file(round);
    map(PLACE_COPY, MAP_PRIVATE, &file.file);
}

static void unmap_both(void)
{
    unmap(PLACE);
    unmap(PLACE_COPY);
}

// A copy, once it is there, is private: what happens to the file later does not change it.
static void copy_and_compare(void)
{
    for (unsigned i = 0; i < COPIES; i++) {
        u64 value = 0, all = 0;
        must("store", soft_store(PLACE_COPY, i));
        for (unsigned w = 1; w < PAGE_SIZE / sizeof(value); w += COPY_STRIDE) {
            must("load", soft_load(PLACE_COPY + w * sizeof(value), &value));
            all = all ? all : value;
            if (value != all || (value & FILE_MAGIC) != FILE_MAGIC) {
                lost("half of a copy is of another page", value, 0);
            }
        }
        must("madvise", mm_madvise(duel_mm, PLACE_COPY, PAGE_SIZE, MADV_DONTNEED));
        some_points(100);
    }
}

static void punch_and_renew(void)
{
    while (load_seq(&nr_ended) == 0) {
        u64 value = 0;
        test_file_punch(&file, 0, PAGE_SIZE);
        fetch_add_seq(&generation, 1);
        must("load", soft_load(PLACE, &value));
        some_points(100);
        host_progress();
    }
}

// ---- store, removal -----------------------------------------------------------------------------

static unsigned removal; // which one
static bool stored;

static void map_clean(u64 round)
{
    u64 value = 0;
    removal = (unsigned)round % 3;
    stored = false;
    map_file(round);
    must("load", soft_load(PLACE, &value)); // writable, and not dirty
}

static void store_if_can(void)
{
    some_points(200);
    int err = soft_store(PLACE, NEW);
    if (err && err != -EFAULT && err != -EACCES) {
        lost("a store fails", 0, err);
    }
    stored = !err;
}

static void remove_soon(void)
{
    some_points(200);
    if (removal == 0) {
        unmap(PLACE);
    } else if (removal == 1) {
        must("mprotect", mm_mprotect(duel_mm, PLACE, PAGE_SIZE, PROT_READ));
    } else {
        must("mremap", mm_mremap(duel_mm, PLACE, PAGE_SIZE, PAGE_SIZE,
                                 MREMAP_MAYMOVE | MREMAP_FIXED, PLACE_COPY));
    }
}

static void must_be_dirty(void)
{
    unmap_both();
    struct page *page = mapping_find_get(&file.inode.mapping, 0);
    if (!page || (stored && !(load_relaxed(&page->flags) & PG_DIRTY))) {
        lost("a store has left its page clean", removal, 0);
    }
    page_put(page);
    test_file_resize(&file, 0); // the next round's page is a clean one
}

// ---- All of them --------------------------------------------------------------------------------

static const struct duel duels[] = {
    {"munmap against truncate", map_file, unmap_soon, truncate_soon, look_for_pages, nothing},
    {"DONTNEED against a store", map_old, discard_soon, store_soon, look_for_old, unmap_place},
    {"fault against truncate", map_file, touch_soon, truncate_and_look, nothing, unmap_place},
    {"copy against punch", map_both, copy_and_compare, punch_and_renew, nothing, unmap_both},
    {"store against removal", map_clean, store_if_can, remove_soon, nothing, must_be_dirty},
};

static void fight(unsigned role)
{
    if (role < 2) {
        (role == 0 ? duel->first : duel->second)();
        fetch_add_seq(&nr_ended, 1);
        return;
    }
    while (load_seq(&nr_ended) < 2) {
        duel->look();
        soft_safe_point();
        host_yield();
    }
}

static void run_duel(unsigned me, unsigned long rounds)
{
    static bool stop;
    for (unsigned long round = 1; round <= rounds; round++) {
        soft_barrier();
        if (me == 0) {
            stop = host_time_is_up();
            store_seq(&nr_ended, 0);
            store_seq(&gone, false);
            duel->begin(round);
            host_progress();
        }
        soft_barrier();
        if (stop) {
            round = rounds;
        } else {
            fight((unsigned)(me + round) % nr_cpus);
        }
        soft_barrier();
        if (me == 0) {
            duel->end();
        }
    }
}

void run_duels(unsigned me, struct mm *mm, unsigned long rounds)
{
    if (nr_cpus < 2) {
        return;
    }
    mm_activate(mm);
    if (me == 0) {
        duel_mm = mm;
        test_file_create(&file, duel_read_page, 0);
    }
    for (unsigned i = 0; i < array_size(duels); i++) {
        soft_barrier();
        if (me == 0) {
            duel = &duels[i];
        }
        run_duel(me, rounds);
    }
    soft_barrier();
    if (me == 0) {
        test_file_destroy(&file);
    }
    soft_barrier();
}
