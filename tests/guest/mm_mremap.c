// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=120
// mremap: shrink, grow, move, with contents, across the bounds of page tables.
#include "mm_test.h"

#define TABLE (512 * PAGE) // what one leaf table covers

static void test_in_place(void)
{
    char *room = map_nothing(64);
    char *p = mmap(room, 16 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
    fill(p, 16, 1);
    CHECK(mremap(p, 16 * PAGE, 8 * PAGE, 0) == p);
    CHECK_EQ(touch_read(p + 8 * PAGE), MAPERR);
    CHECK_EQ(holds(p, 8, 1), 8);
    CHECK(mremap(p, 8 * PAGE, 32 * PAGE, 0) == p); // room enough above
    CHECK_EQ(holds(p, 8, 1), 8);
    CHECK(is_zero(p + 8 * PAGE, 24));
    CHECK_EQ(touch_read(p + 32 * PAGE), MAPERR);
    CHECK(mremap(p, 32 * PAGE, 32 * PAGE, 0) == p);
    CHECK(mremap(p, 32 * PAGE - 5, 32 * PAGE, 0) == p);           // lengths are rounded
    CHECK_ERR((long)mremap(p, 32 * PAGE, 128 * PAGE, 0), ENOMEM); // the way is barred
    CHECK_EQ(holds(p, 8, 1), 8);
    CHECK_ERR((long)mremap(p, 8 * PAGE, 16 * PAGE, 0), ENOMEM); // in the middle: no room
    CHECK_EQ(munmap(room, 64 * PAGE), 0);
    group("in place");
}

static void test_move(void)
{
    char *room = map_nothing(32);
    char *p = mmap(room, 32 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
    fill(p, 32, 2);
    char *q = mremap(p, 32 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    MUST(q != MAP_FAILED);
    CHECK(q != p);
    CHECK_EQ(holds(q, 32, 2), 32);
    CHECK(is_zero(q + 32 * PAGE, 32));
    CHECK_EQ(touch_read(p), MAPERR);
    CHECK_EQ(touch_read(p + 31 * PAGE), MAPERR);
    fill(q, 64, 3);
    CHECK_EQ(holds(q, 64, 3), 64);
    // Part of it: the rest stays where it is.
    char *r = mremap(q + 8 * PAGE, 4 * PAGE, 1024 * PAGE, MREMAP_MAYMOVE);
    MUST(r != MAP_FAILED);
    CHECK_EQ(holds_from(r, 8, 4, 3), 4);
    CHECK_EQ(touch_read(q + 8 * PAGE), MAPERR);
    CHECK_EQ(holds(q, 8, 3), 8);
    CHECK_EQ(holds_from(q + 12 * PAGE, 12, 52, 3), 52);
    CHECK_EQ(munmap(q, 64 * PAGE) | munmap(r, 1024 * PAGE), 0);
    group("move");
}

static void test_fixed(void)
{
    char *room = map_nothing(64), *p = map_anon(16);
    fill(p, 16, 4);
    char *over = mmap(room, 24 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
    fill(over, 24, 5);
    CHECK(mremap(p, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 4 * PAGE) ==
          room + 4 * PAGE);
    CHECK_EQ(holds(over, 4, 5), 4);
    CHECK_EQ(holds(over + 4 * PAGE, 16, 4), 16);
    CHECK_EQ(holds_from(over + 20 * PAGE, 20, 4, 5), 4);
    CHECK_EQ(touch_read(p), MAPERR);
    // Shorter on the way, then longer.
    CHECK(mremap(over + 4 * PAGE, 16 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                 room + 40 * PAGE) == room + 40 * PAGE);
    CHECK_EQ(holds(room + 40 * PAGE, 8, 4), 8);
    CHECK_EQ(touch_read(room + 48 * PAGE), MAPERR);
    CHECK_EQ(touch_read(over + 12 * PAGE), MAPERR);
    CHECK(mremap(room + 40 * PAGE, 8 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                 room + 4 * PAGE) == room + 4 * PAGE);
    CHECK_EQ(holds(room + 4 * PAGE, 8, 4), 8);
    CHECK(is_zero(room + 12 * PAGE, 4));
    CHECK_EQ(munmap(room, 64 * PAGE), 0);
    group("fixed");
}

static void test_dontunmap(void)
{
    char *p = map_anon(16);
    fill(p, 16, 6);
    char *q = mremap(p, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    MUST(q != MAP_FAILED);
    CHECK(q != p);
    CHECK_EQ(holds(q, 16, 6), 16);
    CHECK(is_zero(p, 16)); // still mapped, empty
    fill(p, 16, 7);
    CHECK_EQ(holds(q, 16, 6), 16);
    CHECK_EQ(holds(p, 16, 7), 16);
    char *r = mremap(p + 4 * PAGE, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    MUST(r != MAP_FAILED);
    CHECK_EQ(holds_from(r, 4, 4, 7), 4);
    CHECK_EQ(holds(p, 4, 7), 4);
    CHECK(is_zero(p + 4 * PAGE, 4));
    CHECK_EQ(holds_from(p + 8 * PAGE, 8, 8, 7), 8);
    CHECK_EQ(munmap(p, 16 * PAGE) | munmap(q, 16 * PAGE) | munmap(r, 4 * PAGE), 0);
    group("source kept");
}

// Different places within a table, runs over several, holes, much of it.
static void test_tables(void)
{
    static const unsigned long shift[] = {0, 1, 100, 511};
    for (unsigned i = 0; i < 4; i++) {
        unsigned long nr = 1300;
        char *room = map_nothing(6 * 512), *p = map_nothing(6 * 512);
        char *from = (char *)(((uintptr_t)p + TABLE - 1) & ~(TABLE - 1)) + 500 * PAGE;
        char *to = (char *)(((uintptr_t)room + TABLE - 1) & ~(TABLE - 1)) + shift[i] * PAGE;
        MUST(mmap(from, nr * PAGE, RW, ANON | MAP_FIXED, -1, 0) == from);
        for (unsigned long n = 0; n < nr; n++) {
            if (n < 20 || n % 7 == 0) { // holes between
                *(unsigned long *)(from + n * PAGE + 8) = n + 1;
            }
        }
        CHECK(mremap(from, nr * PAGE, nr * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
        for (unsigned long n = 0; n < nr; n++) {
            CHECK_EQ(*(unsigned long *)(to + n * PAGE + 8), n < 20 || n % 7 == 0 ? n + 1 : 0);
        }
        CHECK_EQ(touch_read(from), MAPERR);
        CHECK_EQ(touch_read(from + (nr - 1) * PAGE), MAPERR);
        CHECK_EQ(munmap(room, 6 * TABLE) | munmap(p, 6 * TABLE), 0);
    }
    group("across page tables");
}

static void test_files(void)
{
    int fd = temp_file(32, 8);
    char *p = map(16 * PAGE, RW, MAP_PRIVATE, fd, 4 * PAGE);
    CHECK_EQ(holds_from(p, 4, 16, 8), 16);
    p[3 * PAGE] = 99; // a copy moves, the others are the file's
    char *q = mremap(p, 16 * PAGE, 24 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map_nothing(64));
    MUST(q != MAP_FAILED);
    CHECK_EQ(q[3 * PAGE], 99);
    CHECK_EQ(holds_from(q, 4, 3, 8), 3);
    CHECK_EQ(holds_from(q + 4 * PAGE, 8, 20, 8), 20); // grown into the file
    CHECK_EQ(touch_read(p), MAPERR);
    CHECK_EQ(munmap(q, 24 * PAGE), 0);
    char *s = map(16 * PAGE, RW, MAP_SHARED, fd, 0);
    s[5 * PAGE] = 55;
    char *t = mremap(s + 4 * PAGE, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE); // in the middle: moves
    MUST(t != MAP_FAILED);
    CHECK_EQ(t[PAGE], 55);
    t[2 * PAGE] = 66;
    char byte = 0;
    CHECK_EQ(pread(fd, &byte, 1, 6 * PAGE), 1);
    CHECK_EQ(byte, 66);
    CHECK_EQ(touch_read(s + 4 * PAGE), MAPERR);
    CHECK_EQ(holds(s, 4, 8), 4);
    char *twice = mremap(s, 0, 4 * PAGE, MREMAP_MAYMOVE); // a second mapping of the same
    MUST(twice != MAP_FAILED);
    twice[7] = 77;
    CHECK_EQ(s[7], 77);
    CHECK_EQ(munmap(s, 16 * PAGE) | munmap(t, 8 * PAGE) | munmap(twice, 4 * PAGE), 0);
    close(fd);
    group("files");
}

static void test_protection_moves(void)
{
    char *p = map_anon(8);
    fill(p, 8, 9);
    CHECK_EQ(mprotect(p, 8 * PAGE, PROT_READ), 0);
    char *q = mremap(p, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map_nothing(16));
    MUST(q != MAP_FAILED);
    CHECK_EQ(holds(q, 8, 9), 8);
    CHECK_EQ(touch_write(q, 1), ACCERR);
    CHECK_EQ(touch_write(q + 12 * PAGE, 1), ACCERR);
    CHECK_EQ(mprotect(q, 16 * PAGE, PROT_NONE), 0);
    p = mremap(q, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map_nothing(16));
    MUST(p != MAP_FAILED);
    CHECK_EQ(touch_read(p), ACCERR);
    CHECK_EQ(mprotect(p, 16 * PAGE, RW), 0);
    CHECK_EQ(holds(p, 8, 9), 8);
    CHECK_EQ(munmap(p, 16 * PAGE), 0);
    group("protection");
}

int main(void)
{
    catch_faults();
    test_in_place();
    test_move();
    test_fixed();
    test_dontunmap();
    test_tables();
    test_files();
    test_protection_moves();
    return finish();
}
