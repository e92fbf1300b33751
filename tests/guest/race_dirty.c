// TEST: smp=1,2,4,8 timeout=120
// R36: stores while another thread has soft-dirty bits cleared. (Faultline only.)
//
// The oracle is what memory holds. The driver clears, looks at the words, waits a little, looks at
// them again, and then reads pagemap. What differs between the looks was stored after the clearing
// and before the reading, so its page must be soft-dirty. Pages that are only read must not be.
// Meanwhile the process forks, rights come and go, and pages are thrown away, so that stores go
// through every kind of fault: first touch, the zero page, a shared page, one of a file, stale
// rights.
#include "race_test.h"
#include <sys/wait.h>

#define PAGES      24ul // of each kind, of which
#define READ_PAGES 8ul  // the last are never written
#define SOFT_DIRTY (1ul << 55)

static char *area;
static int clear_fd, pagemap_fd, may_fork;
static atomic_ulong nr_stores;

static volatile unsigned long *word_of(unsigned long page, unsigned id)
{
    return (volatile unsigned long *)(area + page * PAGE) + id;
}

// Every thread has a word in each page.
static void store_and_load(unsigned id)
{
    unsigned seed = id + 7;
    unsigned long n = 0;
    while (racing()) {
        unsigned draw = next_random(&seed);
        unsigned long page = draw % PAGES, word = ++n;
        if (page < PAGES - READ_PAGES && draw / PAGES % 4) {
            nr_stores += poke_word(TOUCH_WRITE, word_of(page, id), &word) == 0;
        } else {
            poke_word(TOUCH_READ, word_of(page, id), &word);
        }
    }
}

// Until some thread has begun and ended a store.
static void await_stores(void)
{
    unsigned long was = nr_stores;
    while (nr_stores <= was + nr_chasers) {
        sched_yield();
    }
}

static void look_at_all(unsigned long words[PAGES][RACERS_MAX])
{
    for (unsigned long p = 0; p < PAGES; p++) {
        for (unsigned id = 0; id < RACERS_MAX; id++) {
            words[p][id] = *word_of(p, id);
        }
    }
}

// What makes the next stores fault in another way.
static void disturb(unsigned i)
{
    switch (i % 4) {
    case 1:
        CHECK_EQ(mprotect(area, PAGES / 2 * PAGE, PROT_READ), 0);
        CHECK_EQ(mprotect(area, PAGES / 2 * PAGE, RW), 0);
        break;
    case 2:
        if (may_fork && i % 16 == 2) {
            pid_t pid = fork();
            if (pid == 0) {
                _exit(0);
            }
            MUST(waitpid(pid, NULL, 0) == pid);
        }
        break;
    default:
        break;
    }
}

static void clear_and_compare(void)
{
    static unsigned long before[PAGES][RACERS_MAX], after[PAGES][RACERS_MAX], map[PAGES];
    unsigned long missed = 0, changed = 0, too_many = 0;
    unsigned n = rounds(160);
    for (unsigned i = 0; i < n; i++) {
        if (i % 8 == 7) {
            CHECK_EQ(madvise(area, PAGES * PAGE, MADV_DONTNEED), 0);
        }
        MUST(pwrite(clear_fd, "4", 1, 0) == 1);
        look_at_all(before);
        disturb(i);
        await_stores();
        look_at_all(after);
        MUST(pread(pagemap_fd, map, sizeof(map), (off_t)((unsigned long)area / PAGE * 8)) ==
             sizeof(map));
        for (unsigned long p = 0; p < PAGES; p++) {
            int differs = memcmp(before[p], after[p], sizeof(before[p])) != 0;
            int dirty = (map[p] & SOFT_DIRTY) != 0;
            changed += differs;
            missed += differs && !dirty;
            too_many += dirty && p >= PAGES - READ_PAGES;
        }
        if (i % 16 == 0) {
            audit_entries();
        }
    }
    CHECK_EQ(missed, 0);
    CHECK_EQ(too_many, 0);
    CHECK(changed >= n);
}

static void store_and_clear(int flags, int fd)
{
    area = race_room(0);
    clear_fd = open("/proc/self/clear_refs", O_WRONLY);
    pagemap_fd = open("/proc/self/pagemap", O_RDONLY);
    MUST(clear_fd >= 0 && pagemap_fd >= 0);
    map_at(area, PAGES, RW, flags, fd, 0);
    race(store_and_load, nr_chasers, clear_and_compare);
    audit_quiet();
    CHECK_EQ(munmap(area, PAGES * PAGE), 0);
    close(clear_fd);
    close(pagemap_fd);
}

static void test_anonymous(void)
{
    may_fork = 1;
    store_and_clear(ANON, -1);
}

static void test_private_file(void)
{
    int fd = temp_file(PAGES, 1);
    may_fork = 1;
    store_and_clear(MAP_PRIVATE, fd);
    close(fd);
}

static void test_shared_file(void)
{
    int fd = temp_file(PAGES, 1);
    may_fork = 0;
    store_and_clear(MAP_SHARED, fd);
    close(fd);
}

static const struct race_test tests[] = {
    {"R36", "stores while soft-dirty bits are cleared", test_anonymous},
    {"R36", "the same, over a file's pages", test_private_file},
    {"R36", "the same, in shared pages", test_shared_file},
};

RACE_MAIN(tests)
