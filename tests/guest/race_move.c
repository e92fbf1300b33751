// TEST: smp=1,2,4,8 timeout=120
// Memory that mremap moves under threads that use it: R5 and R6. (Faultline only.)
#include "race_test.h"

#define BLOCKS 2ul  // of 2 MiB
#define USED   12ul // pages of each block that hold something

static char *side[2];

static unsigned long page_of(unsigned long n)
{
    return n / USED * 512 + n % USED * 43;
}
#define NR_USED (BLOCKS * USED)

// ---- R5: faults and reads at both places while whole tables move --------------------------------

// Pages: a tag that never changes, and a counter for each thread.
static unsigned long counted[RACERS_MAX][NR_USED];

static int add_one(volatile unsigned long *w)
{
    int what = sigsetjmp(catch_jump, 0);
    if (what == 0) {
        catching = 1;
        atomic_fetch_add((atomic_ulong *)w, 1);
    }
    catching = 0;
    return what;
}

static void use_both(unsigned id)
{
    unsigned seed = id + 11;
    while (racing()) {
        unsigned draw = next_random(&seed);
        unsigned long n = (draw >> 4) % NR_USED, tag = 0;
        volatile unsigned long *w = (volatile unsigned long *)(side[draw & 1] + page_of(n) * PAGE);
        int what = poke_word(TOUCH_READ, w, &tag);
        CHECK(what == MAPERR || (what == 0 && tag == 0x5a5a0000 + n));
        what = add_one(w + 1 + id);
        CHECK(what == 0 || what == MAPERR);
        counted[id][n] += what == 0;
    }
}

static void move_blocks(void)
{
    const size_t len = BLOCKS * TWO_MIB;
    unsigned i = 0;
    while (i < rounds(200) || i % 2) {
        char *from = side[i % 2], *to = side[1 - i % 2];
        CHECK(mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
        if (++i % 16 == 0) {
            audit_entries();
        }
        breathe();
    }
}

static void test_moved_tables(void)
{
    map_at(side[0], BLOCKS * 512, RW, ANON, -1, 0);
    memset(counted, 0, sizeof(counted));
    for (unsigned long n = 0; n < NR_USED; n++) {
        *(unsigned long *)(side[0] + page_of(n) * PAGE) = 0x5a5a0000 + n;
    }
    race(use_both, nr_chasers, move_blocks);
    for (unsigned long n = 0; n < NR_USED; n++) {
        unsigned long *w = (unsigned long *)(side[0] + page_of(n) * PAGE);
        CHECK_EQ(w[0], 0x5a5a0000 + n);
        for (unsigned id = 0; id < nr_chasers; id++) {
            CHECK_EQ(w[1 + id], counted[id][n]);
        }
    }
    CHECK_EQ(munmap(side[0], BLOCKS * TWO_MIB), 0);
}

// ---- R6: a store through the old address after the move -----------------------------------------

#define FEW 4ul

static void store_at_old(unsigned id)
{
    unsigned long n = id;
    while (racing()) {
        unsigned char byte = (unsigned char)++n;
        int what = poke(TOUCH_WRITE, (unsigned char *)side[0] + n % FEW * PAGE + 128 + id, &byte);
        CHECK(what == 0 || what == MAPERR);
    }
}

static unsigned long sum_pages(const char *p)
{
    const volatile unsigned char *at = (const volatile unsigned char *)p;
    unsigned long sum = 0;
    for (unsigned long page = 0; page < FEW; page++) {
        for (unsigned i = 0; i < RACERS_MAX; i++) {
            sum = sum * 31 + at[page * PAGE + 128 + i];
        }
    }
    return sum;
}

static void move_and_look(void)
{
    const size_t len = FEW * PAGE;
    for (unsigned i = 0; i < rounds(250); i++) {
        map_at(side[0], FEW, RW, ANON, -1, 0);
        breathe();
        CHECK(mremap(side[0], len, len, MREMAP_MAYMOVE | MREMAP_FIXED, side[1]) == side[1]);
        unsigned long was = sum_pages(side[1]);
        for (int k = 0; k < 3; k++) { // nobody knows the new address
            breathe();
            CHECK_EQ(sum_pages(side[1]), was);
        }
        CHECK_EQ(munmap(side[1], len), 0);
        // The freed pages come back as somebody's memory: stores must not reach them either.
        map_at(side[1], 16, RW, ANON, -1, 0);
        for (int k = 0; k < 16; k++) {
            side[1][(unsigned long)k * PAGE] = 0;
        }
        breathe();
        CHECK(is_zero(side[1], 16));
        CHECK_EQ(munmap(side[1], 16 * PAGE), 0);
    }
}

static void test_old_address(void)
{
    race(store_at_old, nr_chasers, move_and_look);
}

static const struct race_test tests[] = {
    {"R5", "faults while mremap moves 2 MiB", test_moved_tables},
    {"R6", "a store through the old address", test_old_address},
};

int main(int argc, char **argv)
{
    side[0] = race_room(0) + 8 * TWO_MIB;
    side[1] = race_room(1) + 8 * TWO_MIB;
    return race_main(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
