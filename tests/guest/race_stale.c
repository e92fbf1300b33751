// TEST: smp=1,2,4,8 timeout=120
// Translations that outlive what they came from: R7, R8, R34. (Faultline only.)
//
// Threads meet, all load a translation, all make the same call at once, and each looks right after
// its own call has returned: another thread's call may have cleared the entry and not yet flushed
// (R7, R8). R34 is a fault that looked at the rights before mprotect and installs after it.
#include "race_test.h"

#define PAGES 4ul

static char *area;
static struct meeting gate;
static unsigned nr_rounds;

static volatile unsigned long *word_of(unsigned long page)
{
    return (volatile unsigned long *)(area + page * PAGE);
}

// ---- R7 -----------------------------------------------------------------------------------------

static void forget_together(unsigned id)
{
    for (unsigned i = 1; i <= nr_rounds; i++) {
        if (id == i % nr_racers) {
            for (unsigned long p = 0; p < PAGES; p++) {
                *word_of(p) = i;
            }
        }
        meet(&gate, nr_racers, 3 * i - 2);
        for (unsigned long p = 0; p < PAGES; p++) {
            CHECK_EQ(*word_of(p), i);
        }
        meet(&gate, nr_racers, 3 * i - 1);
        CHECK_EQ(madvise(area, PAGES * PAGE, MADV_DONTNEED), 0);
        unsigned long old = 0;
        for (unsigned long p = 0; p < PAGES; p++) {
            old += *word_of(p) != 0;
        }
        CHECK_EQ(old, 0);
        meet(&gate, nr_racers, 3 * i);
    }
}

// A fault may fill an entry as soon as the table is unlocked: nobody may then still read the page
// that was there before.
static atomic_ulong published;

static void write_or_read(unsigned id)
{
    unsigned long v = 0;
    while (racing()) {
        if (id == 0) {
            v++;
            *word_of(v % 2) = v;
            published = v;
        } else {
            unsigned long p = published, x = *word_of(p % 2);
            if (x != 0 && x < p) {
                CHECK_EQ(x, p);
            }
        }
    }
}

static void forget_often(void)
{
    for (unsigned i = 0; i < rounds(600); i++) {
        CHECK_EQ(madvise(area, PAGES * PAGE, MADV_DONTNEED), 0);
        for (volatile int turns = 0; turns < 300; turns++) {
        }
    }
}

// ---- R8 -----------------------------------------------------------------------------------------

static void protect_together(unsigned id)
{
    for (unsigned i = 1; i <= nr_rounds; i++) {
        if (id == 0) {
            CHECK_EQ(mprotect(area, PAGES * PAGE, RW), 0);
        }
        meet(&gate, nr_racers, 3 * i - 2);
        for (unsigned long p = 0; p < PAGES; p++) {
            word_of(p)[1 + id] = i;
        }
        meet(&gate, nr_racers, 3 * i - 1);
        if (id == 1) { // and somebody's batch that flushes later
            CHECK_EQ(munmap(race_room(1), PAGE), 0);
        }
        CHECK_EQ(mprotect(area, PAGES * PAGE, PROT_READ), 0);
        unsigned long stored = 0, bad = ~0ul;
        for (unsigned long p = 0; p < PAGES; p++) {
            stored += poke_word(TOUCH_WRITE, word_of(p) + 1 + id, &bad) != ACCERR;
        }
        CHECK_EQ(stored, 0);
        meet(&gate, nr_racers, 3 * i);
    }
}

// ---- R34 ----------------------------------------------------------------------------------------

static void store_always(unsigned id)
{
    unsigned seed = id + 3;
    while (racing()) {
        unsigned draw = next_random(&seed);
        unsigned char byte = 1;
        unsigned before = epoch;
        int what = poke(TOUCH_WRITE, (unsigned char *)area + draw % PAGES * PAGE + 64 + id, &byte);
        unsigned after = epoch;
        CHECK(what == 0 || what == ACCERR);
        if (before == after && (before & 1)) {
            CHECK_EQ(what, ACCERR);
        }
        if (before == after && before % 4 == 2) {
            CHECK_EQ(what, 0);
        }
    }
}

// Epoch modulo 4: 1 read-only, 2 writable, 0 changing.
static void take_rights(void)
{
    for (unsigned i = 0; i < rounds(250); i++) {
        CHECK_EQ(madvise(area, PAGES * PAGE, MADV_DONTNEED), 0); // they are faulting just now
        CHECK_EQ(mprotect(area, PAGES * PAGE, PROT_READ), 0);
        epoch++; // 1
        unsigned char sum[2] = {0, 0};
        for (int k = 0; k < 2; k++) {
            for (unsigned long b = 0; b < PAGES * RACERS_MAX; b++) {
                sum[k] += (unsigned char)area[b / RACERS_MAX * PAGE + 64 + b % RACERS_MAX];
            }
            breathe();
        }
        CHECK_EQ(sum[0], sum[1]);
        if (i % 16 == 0) {
            audit_entries();
        }
        CHECK_EQ(madvise(area, PAGES * PAGE, MADV_DONTNEED), 0); // faults again, not only upgrades
        epoch += 3;                                              // 0
        CHECK_EQ(mprotect(area, PAGES * PAGE, RW), 0);
        epoch += 2; // 2
        breathe();
        epoch += 2; // 0
    }
}

static void in_area(void (*fn)(unsigned id), unsigned n, void (*driver)(void))
{
    area = race_room(0) + 4 * PAGE;
    nr_rounds = rounds(40);
    gate.arrived = 0;
    map_at(area, PAGES, RW, ANON, -1, 0);
    race(fn, n, driver);
    audit_quiet();
    CHECK_EQ(munmap(area, PAGES * PAGE), 0);
}

static void test_forget_together(void)
{
    in_area(forget_together, nr_racers, NULL);
}

static void test_new_page(void)
{
    published = 0; // before there are readers: the rehearsal's last number is none of theirs
    in_area(write_or_read, nr_chasers, forget_often);
}

static void test_protect(void)
{
    in_area(protect_together, nr_racers, NULL);
}

static void test_rights(void)
{
    in_area(store_always, nr_chasers, take_rights);
}

static const struct race_test tests[] = {
    {"R7", "DONTNEED finds empty what is not flushed", test_forget_together},
    {"R7", "a new page beside an old translation", test_new_page},
    {"R8", "a store after mprotect returned", test_protect},
    {"R34", "rights looked at before, installed after mprotect", test_rights},
};

RACE_MAIN(tests)
