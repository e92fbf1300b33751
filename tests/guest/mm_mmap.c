// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=120
// mmap and munmap: where mappings land, what is in them, which signal is due where nothing is.
#include "mm_test.h"

static void test_hints(void)
{
    char *room = map_nothing(64);
    char *p = mmap(room + 8 * PAGE, 4 * PAGE, RW, ANON, -1, 0);
    CHECK(p == room + 8 * PAGE); // a free hint is taken
    char *q = mmap(room + 9 * PAGE, 4 * PAGE, RW, ANON, -1, 0);
    CHECK(q != MAP_FAILED && (q + 4 * PAGE <= p || q >= p + 4 * PAGE)); // a taken one is not
    char *r = mmap(room + 20 * PAGE + 123, 3 * PAGE - 5, RW, ANON, -1, 0);
    CHECK(r == room + 20 * PAGE); // rounded
    CHECK_EQ(touch_write(r + 3 * PAGE - 1, 1), 0);
    CHECK_EQ(munmap(q, 4 * PAGE), 0);
    CHECK_EQ(munmap(room, 64 * PAGE), 0);
    group("hints");
}

static void test_fixed(void)
{
    char *p = map_anon(16);
    fill(p, 16, 1);
    CHECK(mmap(p + 4 * PAGE, 4 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == p + 4 * PAGE);
    CHECK(is_zero(p + 4 * PAGE, 4));
    CHECK_EQ(holds(p, 4, 1), 4);
    CHECK_EQ(holds_from(p + 8 * PAGE, 8, 8, 1), 8);
    CHECK_ERR((long)mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    CHECK_ERR((long)mmap(p + 15 * PAGE, 2 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    CHECK_EQ(munmap(p + 8 * PAGE, 2 * PAGE), 0);
    CHECK_ERR((long)mmap(p + 7 * PAGE, 2 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    CHECK(mmap(p + 8 * PAGE, 2 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == p + 8 * PAGE);
    CHECK(is_zero(p + 8 * PAGE, 2));
    CHECK_EQ(holds(p, 4, 1), 4);
    CHECK_EQ(munmap(p, 16 * PAGE), 0);
    group("fixed");
}

static void test_signals(void)
{
    char *p = map_nothing(8);
    CHECK_EQ(touch_read(p), MAPERR);
    CHECK_EQ(touch_write(p + 5, 1), MAPERR);
    CHECK_EQ(touch_exec(p), MAPERR);
    CHECK_EQ(touch_read(NULL), MAPERR);
    CHECK_EQ(touch_write((void *)8, 1), MAPERR);
    CHECK(mmap(p, 3 * PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0) == p);
    CHECK_EQ(touch_read(p + PAGE), ACCERR);
    CHECK_EQ(touch_write(p + PAGE + 7, 1), ACCERR);
    CHECK(mmap(p, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0) == p);
    CHECK_EQ(touch_read(p), 0);
    CHECK_EQ(touch_write(p + 9, 1), ACCERR); // a read-only page that is there
    CHECK(mmap(p, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0) == p);
    CHECK_EQ(touch_write(p + 9, 1), ACCERR); // and one that is not
    CHECK_EQ(touch_read(p + 9), 0);
    CHECK(mmap(p, PAGE, PROT_WRITE, ANON | MAP_FIXED, -1, 0) == p);
    CHECK_EQ(touch_write(p, 3), 0);
    CHECK_EQ(touch_read(p), 0); // writing implies reading
    CHECK_EQ(munmap(p, 8 * PAGE), 0);
    group("signals");
}

static void test_guard_page(void)
{
    char *p = map_anon(5);
    CHECK(mmap(p + 2 * PAGE, PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0) == p + 2 * PAGE);
    CHECK_EQ(touch_write(p + 2 * PAGE - 1, 1), 0);
    CHECK_EQ(touch_write(p + 2 * PAGE, 1), ACCERR);
    CHECK_EQ(touch_write(p + 3 * PAGE - 1, 1), ACCERR);
    CHECK_EQ(touch_write(p + 3 * PAGE, 1), 0);
    CHECK_EQ(munmap(p, 5 * PAGE), 0);
    group("guard page");
}

static void test_munmap_parts(void)
{
    char *p = map_anon(32);
    fill(p, 32, 2);
    CHECK_EQ(munmap(p + 4 * PAGE, 4 * PAGE), 0); // the middle
    CHECK_EQ(touch_read(p + 4 * PAGE - 1), 0);
    CHECK_EQ(touch_read(p + 4 * PAGE), MAPERR);
    CHECK_EQ(touch_read(p + 8 * PAGE - 1), MAPERR);
    CHECK_EQ(touch_read(p + 8 * PAGE), 0);
    CHECK_EQ(munmap(p, PAGE), 0);                 // the left end
    CHECK_EQ(munmap(p + 31 * PAGE, 1), 0);        // the right end; a byte is a page
    CHECK_EQ(munmap(p + 2 * PAGE, 10 * PAGE), 0); // over the hole
    CHECK_EQ(munmap(p + 2 * PAGE, 10 * PAGE), 0); // nothing is there: no error
    CHECK_EQ(touch_read(p), MAPERR);
    CHECK_EQ(holds_from(p + PAGE, 1, 1, 2), 1);
    CHECK_EQ(holds_from(p + 12 * PAGE, 12, 19, 2), 19);
    CHECK_EQ(munmap(p + 14 * PAGE, 2 * PAGE), 0);
    CHECK_EQ(munmap(p + 18 * PAGE, 2 * PAGE), 0);
    CHECK_EQ(munmap(p + 13 * PAGE, 8 * PAGE), 0); // spans three
    CHECK_EQ(holds_from(p + 12 * PAGE, 12, 1, 2), 1);
    CHECK_EQ(touch_read(p + 17 * PAGE), MAPERR);
    CHECK_EQ(holds_from(p + 21 * PAGE, 21, 10, 2), 10);
    CHECK_EQ(munmap(p, 32 * PAGE), 0);
    group("munmap in parts");
}

// Freed pages come back as zeroes, whoever had them.
static void test_zeroed(void)
{
    for (int round = 0; round < 20; round++) {
        char *p = map_anon(256);
        CHECK(is_zero(p, 256));
        fill(p, 256, 0xabcdef);
        CHECK_EQ(munmap(p, 256 * PAGE), 0);
    }
    char *p = map_anon(64); // read first: the zero page; then written
    CHECK(is_zero(p, 64));
    for (unsigned i = 0; i < 64; i += 2) {
        p[i * PAGE + 5] = 1;
    }
    for (unsigned i = 0; i < 64; i++) {
        CHECK_EQ(p[i * PAGE + 5], i % 2 == 0);
        CHECK_EQ(p[i * PAGE + 6], 0);
    }
    CHECK_EQ(munmap(p, 64 * PAGE), 0);
    group("zeroed");
}

static void test_kinds(void)
{
    char *p = map(4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(is_zero(p, 4));
    fill(p, 4, 3);
    CHECK_EQ(holds(p, 4, 3), 4);
    CHECK_EQ(munmap(p + PAGE, PAGE), 0);
    CHECK_EQ(touch_read(p + PAGE), MAPERR);
    CHECK_EQ(holds_from(p + 2 * PAGE, 2, 2, 3), 2);
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    p = map(64 * PAGE, RW, ANON | MAP_POPULATE, -1, 0);
    CHECK(is_zero(p, 64));
    CHECK_EQ(munmap(p, 64 * PAGE), 0);
    p = map(1ul << 40, RW, ANON | MAP_NORESERVE, -1, 0); // a terabyte, hardly used
    for (unsigned long at = 0; at < 1ul << 40; at += 1ul << 35) {
        CHECK_EQ(touch_write(p + at, 7), 0);
    }
    for (unsigned long at = 0; at < 1ul << 40; at += 1ul << 35) {
        CHECK_EQ(p[at], 7);
    }
    CHECK_EQ(munmap(p, 1ul << 40), 0);
    CHECK_EQ(touch_read(p + (1ul << 39)), MAPERR);
    group("shared, populated, huge");
}

int main(void)
{
    catch_faults();
    test_hints();
    test_fixed();
    test_signals();
    test_guard_page();
    test_munmap_parts();
    test_zeroed();
    test_kinds();
    return finish();
}
