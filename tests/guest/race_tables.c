// TEST: smp=1,2,4,8 timeout=120
// Page tables come and go under faults: R1, R2, R3 and R10. (Faultline only.)
//
// One page here and there in a range that crosses tables of three levels is mapped, touched by all
// CPUs and unmapped again, so that nearly every fault installs tables and nearly every munmap
// detaches them.
//
// R1: a fault installs a table after munmap has passed. The audit's stray tables, the counts.
// R2: an entry is installed after its table was detached. Tables are checked when RCU frees them.
// R3: a table is freed under a walker. Freed tables lead nowhere.
// R10: a table is freed before the shootdown. Old data; and where the kernel models what processors
// remember of tables (EXPLORE=1: mm/walks.c), that no CPU remembers a freed one.
#include "race_test.h"

// Places: beside and across a 512 GiB, a 1 GiB and a 2 MiB boundary.
#define NR_PLACES 8
static char *place[NR_PLACES];

static struct meeting gate;
static unsigned nr_gate_rounds;

static void places_init(void)
{
    char *top = (char *)(0x300000000000ul + (1ul << 39)); // a new entry of the root
    char *gib = top + (3ul << 30), *mib = gib + (9ul << 21);
    char *const at[NR_PLACES] = {top - PAGE, top, gib - PAGE,    gib,
                                 mib - PAGE, mib, mib + TWO_MIB, top + (300ul << 30)};
    memcpy(place, at, sizeof(at));
}

// ---- munmap against faults ----------------------------------------------------------------------

static void touch_places(unsigned id)
{
    unsigned seed = id * 7919 + 1;
    while (racing()) {
        unsigned draw = next_random(&seed);
        unsigned char byte = (unsigned char)(0x80 | id);
        unsigned before = epoch;
        volatile unsigned char *p = (unsigned char *)place[draw % NR_PLACES] + (draw >> 8) % PAGE;
        int what = poke(draw & 0x10000 ? TOUCH_READ : TOUCH_WRITE, p, &byte);
        CHECK(what == 0 || what == MAPERR);
        CHECK(byte == 0 || (byte >= 0x80 && byte < 0x80 + RACERS_MAX));
        if (before == epoch && (before & 1)) {
            CHECK_EQ(what, MAPERR); // unmapped before, during and after the access
        }
    }
}

static void map_and_unmap(void)
{
    unsigned seed = 5;
    for (unsigned i = 0; i < rounds(300); i++) {
        for (unsigned n = 0; n < NR_PLACES; n++) {
            map_at(place[n], 1, RW, ANON, -1, 0);
        }
        breathe();
        for (unsigned n = 0; n < NR_PLACES; n++) { // one by one: their neighbours stay for a while
            char *p = place[(n + i) % NR_PLACES];
            CHECK_EQ(munmap(p, PAGE), 0);
            unsigned char byte;
            CHECK_EQ(poke(TOUCH_READ, (unsigned char *)p, &byte), MAPERR);
        }
        epoch++;
        if (next_random(&seed) % 8 == 0) {
            audit_entries();
        }
        breathe();
        epoch++;
    }
}

// The same with one munmap over everything, tables of all levels at once.
static void map_and_unmap_all(void)
{
    char *low = place[0], *high = place[NR_PLACES - 1] + PAGE;
    for (unsigned i = 0; i < rounds(300); i++) {
        for (unsigned n = 0; n < NR_PLACES; n++) {
            map_at(place[n], 1, RW, ANON, -1, 0);
        }
        place[i % NR_PLACES][8] = (char)0x81;
        CHECK_EQ(munmap(low, (size_t)(high - low)), 0);
        epoch++;
        if (i % 8 == 0) {
            audit_entries();
        }
        breathe();
        epoch++;
    }
}

// Two VMAs under one table: the table goes with one while the other is faulted in.
static void touch_neighbour(unsigned id)
{
    char *p = place[6] + 32 * PAGE;
    while (racing()) {
        unsigned char byte = (unsigned char)(0x80 | id);
        CHECK_EQ(poke(TOUCH_WRITE, (unsigned char *)p + 64 + id, &byte), 0);
    }
}

static void unmap_beside(void)
{
    char *live = place[6] + 32 * PAGE, *beside = place[6] + 128 * PAGE;
    map_at(live, 1, RW, ANON, -1, 0);
    for (unsigned i = 0; i < rounds(500); i++) {
        map_at(beside, 1, RW, ANON, -1, 0);
        CHECK_EQ(madvise(live, PAGE, MADV_DONTNEED), 0);
        CHECK_EQ(munmap(beside, PAGE), 0);
        if (i % 64 == 0) {
            audit_entries();
        }
    }
}

// One munmap against a fault of each other thread; when all are done no table may be left.
static void unmap_once(unsigned id)
{
    unsigned seed = id + 99;
    for (unsigned i = 1; i <= nr_gate_rounds; i++) {
        if (id == 0) {
            map_at(place[7], 1, RW, ANON, -1, 0);
        }
        meet(&gate, nr_racers, 2 * i - 1);
        for (volatile unsigned turns = next_random(&seed) % 400; turns > 0; turns--) {
        }
        if (id == 0) {
            CHECK_EQ(munmap(place[7], PAGE), 0);
        } else {
            unsigned char byte = 1;
            int what = poke(TOUCH_WRITE, (unsigned char *)place[7] + id, &byte);
            CHECK(what == 0 || what == MAPERR);
        }
        meet(&gate, nr_racers, 2 * i);
        if (id == 0) {
            audit_quiet();
        }
    }
}

// ---- Walkers in tables that go ------------------------------------------------------------------

// Walks of all kinds: mincore's, which keeps writers away, a system call's copy from user memory,
// populating, and faults that read.
static void walk_places(unsigned id)
{
    unsigned seed = id + 77;
    static _Thread_local unsigned char vec[4];
    while (racing()) {
        char *p = place[next_random(&seed) % NR_PLACES];
        CHECK(mincore(p, PAGE, vec) == 0 || errno == ENOMEM);
        for (int i = 0; i < 4; i++) {
            unsigned char byte = 0;
            char *q = place[next_random(&seed) % NR_PLACES];
            int what = poke(TOUCH_READ, (unsigned char *)q + 8, &byte);
            CHECK(what == 0 || what == MAPERR);
        }
        CHECK(access(p, F_OK) == -1); // reads a path there: EFAULT, or a name that does not exist
        if (id % 2) {
            CHECK(madvise(p, PAGE, MADV_POPULATE_WRITE) == 0 || errno == ENOMEM);
        }
    }
}

// ---- A table must not go before the translations that came from it ------------------------------

// All CPUs load translations through the tables, one unmaps and maps anew, all look again.
static void look_again(unsigned id)
{
    char *p = place[5];
    for (unsigned i = 1; i <= nr_gate_rounds; i++) {
        meet(&gate, nr_racers, 4 * i - 3);
        if (id == 0) {
            map_at(p, 2, RW, ANON, -1, 0);
            p[0] = 1;
            p[PAGE] = 1;
        }
        meet(&gate, nr_racers, 4 * i - 2);
        CHECK_EQ(*(volatile char *)p + *(volatile char *)(p + PAGE), 2);
        meet(&gate, nr_racers, 4 * i - 1);
        if (id == 0) {
            CHECK_EQ(munmap(p, 2 * PAGE), 0);
            map_at(p, 2, RW, ANON, -1, 0);
        }
        meet(&gate, nr_racers, 4 * i);
        CHECK_EQ(*(volatile char *)p + *(volatile char *)(p + PAGE), 0); // fresh memory
    }
}

static void test_install(void)
{
    race(touch_places, nr_chasers, map_and_unmap);
}

static void test_install_once(void)
{
    gate.arrived = 0;
    nr_gate_rounds = rounds(300);
    race(unmap_once, nr_racers, NULL);
}

static void test_detached(void)
{
    race(touch_places, nr_chasers, map_and_unmap_all);
}

static void test_detached_beside(void)
{
    map_at(place[6] + 32 * PAGE, 1, RW, ANON, -1, 0);
    race(touch_neighbour, nr_chasers, unmap_beside);
    CHECK_EQ(munmap(place[6] + 32 * PAGE, PAGE), 0);
}

static void test_walkers(void)
{
    race(walk_places, nr_chasers, map_and_unmap);
}

static void test_shootdown(void)
{
    gate.arrived = 0;
    nr_gate_rounds = rounds(40);
    race(look_again, nr_racers, NULL);
    CHECK_EQ(munmap(place[5], 2 * PAGE), 0);
}

static const struct race_test tests[] = {
    {"R1", "a table installed behind munmap's back", test_install},
    {"R1", "the same, one munmap against one fault each", test_install_once},
    {"R2", "an entry installed into a detached table", test_detached},
    {"R2", "a table detached beside a neighbour's fault", test_detached_beside},
    {"R3", "a table freed under a walker", test_walkers},
    {"R10", "a table freed before the shootdown", test_shootdown},
};

int main(int argc, char **argv)
{
    places_init();
    return race_main(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
