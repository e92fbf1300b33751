// TEST: smp=1,2,4,8 timeout=120
// Look-ups while VMAs are split, merged, replaced and grown: R11, R12, R21, R22. (Faultline only.)
#include "race_test.h"

#define PAGES 64ul

static char *area;

// ---- R12: an address that is always mapped is always found --------------------------------------

static void always_there(unsigned id)
{
    unsigned seed = id + 5;
    while (racing()) {
        unsigned draw = next_random(&seed);
        unsigned char byte = 0;
        int what = poke(draw % 64 ? TOUCH_READ : TOUCH_WRITE,
                        (unsigned char *)area + (draw >> 1) % PAGES * PAGE + 8, &byte);
        CHECK_EQ(what, 0);
        CHECK_EQ(byte, 0);
        for (unsigned i = 0; i < 8; i++) { // a call that looks the VMA up and takes no lock
            char *p = area + next_random(&seed) % PAGES * PAGE;
            CHECK_EQ(syscall(SYS_futex, p, 1 /* FUTEX_WAKE */, 1, NULL, NULL, 0), 0);
        }
    }
}

// Pieces get other rights and the same again, memory around comes and goes: pivots move.
static void split_and_merge(void)
{
    unsigned seed = 9;
    for (unsigned i = 0; i < rounds(120); i++) {
        unsigned long first = next_random(&seed) % PAGES, n = 1 + next_random(&seed) % 8;
        n = first + n > PAGES ? PAGES - first : n;
        CHECK_EQ(mprotect(area + first * PAGE, n * PAGE, RW | (i % 2 ? PROT_EXEC : 0)), 0);
        if (i % 4 == 0) {
            CHECK_EQ(mprotect(area, PAGES * PAGE, RW), 0);
        }
        if (i % 3 == 0) { // neighbours that join on both sides, and go
            map_at(area - 4 * PAGE, 4, RW, ANON, -1, 0);
            map_at(area + PAGES * PAGE, 4, RW, ANON, -1, 0);
            CHECK_EQ(munmap(area - 4 * PAGE, 3 * PAGE), 0);
            CHECK_EQ(munmap(area - PAGE, PAGE), 0);
            CHECK_EQ(munmap(area + PAGES * PAGE, 4 * PAGE), 0);
        }
        if (i % 8 == 0) {
            map_at(area + first * PAGE, 1, RW, ANON, -1, 0); // replaced: never a gap
        }
        CHECK_EQ(madvise(area, PAGES * PAGE, MADV_DONTNEED), 0); // so that they fault again
        if (i % 32 == 0) {
            audit_entries();
        }
        breathe();
    }
}

// ---- R21: first touch while VMAs merge and split: every store stays -----------------------------

static void first_touch(unsigned id)
{
    while (racing()) {
        unsigned before = epoch; // odd while the driver throws the memory away
        for (unsigned long p = id; p < PAGES && before == epoch; p += nr_chasers) {
            volatile unsigned long *w = (volatile unsigned long *)(area + p * PAGE) + 1;
            unsigned long v = p % 8 ? 0 : *w; // a read first makes the store replace an entry
            CHECK(v == 0 || v == p + 1);
            *w = p + 1;
            v = *w;
            CHECK(v == p + 1 || (v == 0 && ((before & 1) || epoch != before)));
        }
    }
}

static void merge_storm(void)
{
    unsigned seed = 17;
    for (unsigned i = 0; i < rounds(40); i++) {
        for (unsigned k = 0; k < 8; k++) {
            unsigned long first = next_random(&seed) % PAGES, n = 1 + next_random(&seed) % 9;
            n = first + n > PAGES ? PAGES - first : n;
            char *p = area + first * PAGE;
            CHECK_EQ(k % 3 ? mprotect(p, n * PAGE, RW | (k % 2 ? PROT_EXEC : 0))
                           : mlock2(p, n * PAGE, MLOCK_ONFAULT),
                     0);
        }
        CHECK_EQ(munlock(area, PAGES * PAGE), 0);
        CHECK_EQ(mprotect(area, PAGES * PAGE, RW), 0);
        CHECK_EQ(maps_lines(area, PAGES * PAGE), 1); // all joined again
        unsigned long wrong = 0;
        for (unsigned long p = 0; p < PAGES; p++) {
            unsigned long v = ((volatile unsigned long *)(area + p * PAGE))[1];
            wrong += v != 0 && v != p + 1;
        }
        CHECK_EQ(wrong, 0);
        audit_entries(); // a first touch decided by a VMA that was joined into another
        epoch++;
        CHECK_EQ(madvise(area, PAGES * PAGE, MADV_DONTNEED), 0);
        epoch++;
    }
}

// ---- R22: a new VMA is seen whole or not at all -------------------------------------------------

#define FEW 16ul
static int file_fd[2];

enum content { NOTHING, ZEROES, FILE_A, FILE_B, NR_CONTENTS };
static atomic_uint content; // what is mapped while the epoch is odd

static void see_whole(unsigned id)
{
    unsigned seed = id + 23;
    while (racing()) {
        unsigned long p = next_random(&seed) % FEW, word = ~0ul;
        unsigned before = epoch, c = content;
        volatile unsigned long *w = (volatile unsigned long *)(area + p * PAGE) + 3;
        int what = poke_word(TOUCH_READ, w, &word);
        unsigned long in_a = 1ul << 32 | (p * PAGE / 8 + 3), in_b = in_a + (1ul << 32);
        CHECK(what == 0 || what == MAPERR);
        CHECK(what != 0 || word == 0 || word == in_a || word == in_b);
        if (before == epoch && (before & 1)) {
            unsigned long wanted[] = {0, 0, in_a, in_b};
            CHECK_EQ(what, c == NOTHING ? MAPERR : 0);
            CHECK(c == NOTHING || word == wanted[c]);
        }
    }
}

static void replace_all_the_time(void)
{
    unsigned seed = 41;
    for (unsigned i = 0; i < rounds(400); i++) {
        content = next_random(&seed) % NR_CONTENTS;
        switch (content) {
        case NOTHING:
            CHECK_EQ(munmap(area, FEW * PAGE), 0);
            break;
        case ZEROES:
            map_at(area, FEW, RW, ANON, -1, 0);
            break;
        default:
            map_at(area, FEW, PROT_READ, i % 2 ? MAP_SHARED : MAP_PRIVATE,
                   file_fd[content - FILE_A], 0);
            break;
        }
        epoch++;
        breathe();
        if (i % 32 == 0) {
            audit_entries();
        }
        epoch++;
    }
}

// A store that the new mapping allowed, and the old one did not, is not lost.
static void store_new(unsigned id)
{
    unsigned long v = 0;
    unsigned seed = id;
    while (racing()) {
        unsigned before = epoch;
        unsigned long word = ++v, got = 0;
        volatile unsigned long *w =
            (volatile unsigned long *)(area + next_random(&seed) % FEW * PAGE) + 8 + id;
        int what = poke_word(TOUCH_WRITE, w, &word);
        CHECK(what == 0 || what == ACCERR);
        for (int i = 0; i < 20 && what == 0; i++) {
            what = poke_word(TOUCH_READ, w, &got);
            if (epoch == before && before % 2 == 0) {
                CHECK_EQ(got, word);
            }
        }
    }
}

static void replace_by_writable(void)
{
    for (unsigned i = 0; i < rounds(300); i++) {
        map_at(area, FEW, RW, ANON, -1, 0);
        breathe();
        epoch++;
        map_at(area, FEW, PROT_READ, MAP_PRIVATE, file_fd[0], 0);
        breathe();
        epoch++;
    }
}

// ---- R11: stacks that grow towards one another --------------------------------------------------

#define STACK_PAGES 48ul

static void grow_and_look(unsigned id)
{
    unsigned seed = id + 31;
    while (racing()) {
        unsigned draw = next_random(&seed);
        unsigned char byte = 7;
        volatile unsigned char *p = (unsigned char *)area + draw % STACK_PAGES * PAGE + 100;
        int what = poke(draw & 0x1000 ? TOUCH_READ : TOUCH_WRITE, p, &byte);
        CHECK(what == 0 || what == MAPERR);
        CHECK(what != 0 || byte == 0 || byte == 7);
    }
}

static void map_stacks(void)
{
    const int flags = ANON | MAP_GROWSDOWN;
    char *top = area + (STACK_PAGES - 1) * PAGE, *mid = area + STACK_PAGES / 2 * PAGE;
    for (unsigned i = 0; i < rounds(80); i++) {
        map_at(mid, 1, RW, flags, -1, 0);
        map_at(top, 1, RW, flags, -1, 0);
        for (unsigned long k = 1; k < STACK_PAGES / 2 - 1; k++) { // until the gap is gone
            top[-(long)(k * PAGE) + 200] = 1;
            mid[-(long)(k * PAGE) + 200] = 1;
        }
        unsigned long sum = 0;
        for (unsigned long k = 1; k < STACK_PAGES / 2 - 1; k++) {
            sum += (unsigned long)top[-(long)(k * PAGE) + 200];
        }
        CHECK_EQ(sum, STACK_PAGES / 2 - 2);
        if (i % 16 == 0) {
            audit_entries();
        }
        CHECK_EQ(munmap(area - 8 * PAGE, (STACK_PAGES + 8) * PAGE), 0);
    }
}

static void test_always_there(void)
{
    map_at(area, PAGES, RW, ANON, -1, 0);
    race(always_there, nr_chasers, split_and_merge);
    CHECK_EQ(munmap(area, PAGES * PAGE), 0);
}

static void test_first_touch(void)
{
    map_at(area, PAGES, RW, ANON, -1, 0);
    race(first_touch, nr_chasers, merge_storm);
    CHECK_EQ(munmap(area, PAGES * PAGE), 0);
}

static void test_whole(void)
{
    file_fd[0] = temp_file(FEW, 1);
    file_fd[1] = temp_file(FEW, 2);
    race(see_whole, nr_chasers, replace_all_the_time);
    map_at(area, FEW, PROT_READ, MAP_PRIVATE, file_fd[0], 0);
    race(store_new, nr_chasers, replace_by_writable);
    CHECK_EQ(munmap(area, FEW * PAGE), 0);
    close(file_fd[0]);
    close(file_fd[1]);
}

static void test_stacks(void)
{
    race(grow_and_look, nr_chasers, map_stacks);
    CHECK_EQ(munmap(area, PAGES * PAGE), 0);
}

static const struct race_test tests[] = {
    {"R12", "a mapped address is always found", test_always_there},
    {"R21", "first touch while VMAs merge", test_first_touch},
    {"R22", "a new VMA is seen whole", test_whole},
    {"R11", "stacks grow until the gap is gone", test_stacks},
};

int main(int argc, char **argv)
{
    area = race_room(2) + 512 * PAGE - PAGES / 2 * PAGE; // two leaf tables
    return race_main(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
