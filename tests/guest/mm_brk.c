// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=120
// brk through the raw system call; the C library's own heap lies below and is left alone.
#include "mm_test.h"

static char *brk_to(char *to)
{
    return (char *)syscall(SYS_brk, to);
}

int main(void)
{
    catch_faults();
    setvbuf(stdout, NULL, _IONBF, 0); // no heap of the library's moves under us
    char *start = brk_to(NULL), *end = start;
    char *base = (char *)(((uintptr_t)start + 2 * PAGE - 1) & ~(PAGE - 1));

    CHECK(brk_to((char *)1) == end); // refused: the present value
    CHECK(brk_to((char *)~0ul) == end);
    CHECK(brk_to((char *)(1ul << 63)) == end);
    group("refused");

    CHECK(brk_to(base + 16 * PAGE) == base + 16 * PAGE);
    CHECK(is_zero(base, 16));
    fill(base, 16, 1);
    CHECK_EQ(touch_write(base + 16 * PAGE - 1, 1), 0);
    fill(base, 16, 1);
    CHECK_EQ(touch_read(base + 16 * PAGE), MAPERR);
    group("grow");

    CHECK(brk_to(base + 4 * PAGE) == base + 4 * PAGE);
    CHECK_EQ(touch_read(base + 4 * PAGE), MAPERR);
    CHECK_EQ(holds(base, 4, 1), 4);
    CHECK(brk_to(base + 16 * PAGE) == base + 16 * PAGE);
    CHECK(is_zero(base + 4 * PAGE, 12)); // zeroes again
    CHECK_EQ(holds(base, 4, 1), 4);
    group("shrink and grow again");

    CHECK(brk_to(base + 4 * PAGE + 100) == base + 4 * PAGE + 100);
    CHECK_EQ(touch_write(base + 5 * PAGE - 1, 1), 0); // its page is there
    CHECK_EQ(touch_read(base + 5 * PAGE), MAPERR);
    CHECK(brk_to(base + 4 * PAGE + 200) == base + 4 * PAGE + 200);
    CHECK_EQ(base[5 * PAGE - 1], 1);
    group("not at a page");

    CHECK(mmap(base + 8 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0) == base + 8 * PAGE);
    CHECK(brk_to(base + 16 * PAGE) == base + 4 * PAGE + 200); // something is in the way
    CHECK(brk_to(base + 8 * PAGE) == base + 4 * PAGE + 200);  // Linux keeps a page free between
    CHECK(brk_to(base + 7 * PAGE + 1) == base + 4 * PAGE + 200);
    CHECK(brk_to(base + 7 * PAGE) == base + 7 * PAGE);
    CHECK_EQ(munmap(base + 8 * PAGE, PAGE), 0);
    CHECK(brk_to(base + 9 * PAGE) == base + 9 * PAGE);
    CHECK(is_zero(base + 8 * PAGE, 1));
    group("something in the way");

    CHECK(brk_to(base + 2048 * PAGE) == base + 2048 * PAGE); // over several page tables
    fill(base, 2048, 9);
    CHECK_EQ(holds(base, 2048, 9), 2048);
    CHECK(brk_to(start) == start);
    CHECK_EQ(touch_read(base), MAPERR);
    group("much, and back");
    return finish();
}
