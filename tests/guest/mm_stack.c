// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=120
// The growing stack: deep recursion, its limit, a guard below what MAP_GROWSDOWN maps.
#include "mm_test.h"
#include <sys/resource.h>

static volatile unsigned long depth_reached;

static __attribute__((noinline)) unsigned long recurse(unsigned long depth)
{
    volatile char frame[2048];
    frame[0] = (char)depth;
    frame[2047] = (char)~depth;
    depth_reached = depth;
    unsigned long sum = depth ? recurse(depth - 1) : 0;
    return frame[0] == (char)depth && frame[2047] == (char)~depth ? sum + 1 : 0;
}

static void test_growth(void)
{
    CHECK_EQ(recurse(100), 101);
    CHECK_EQ(recurse(3000), 3001); // 6 MiB and more
    CHECK_EQ(recurse(3000), 3001);
    group("recursion");
}

// A jump over untouched pages is growth as well, as far as the limit allows.
static void test_jump(void)
{
    volatile char here = 0;
    char *p = (char *)(((uintptr_t)&here & ~(PAGE - 1)) - (6ul << 20));
    CHECK_EQ(touch_write(p, 1), 0);
    CHECK_EQ(touch_read(p + 2 * PAGE), 0);
    CHECK_EQ(touch_write(p - (64ul << 20), 1), MAPERR);
    group("jump");
}

static void test_overflow(void)
{
    stack_t alt = {.ss_size = 64 << 10, .ss_sp = map_anon(16)};
    MUST(sigaltstack(&alt, NULL) == 0);
    for (int round = 0; round < 2; round++) {
        volatile int what = sigsetjmp(catch_jump, 1);
        if (what == 0) {
            catching = 1;
            recurse(1ul << 20);
        }
        catching = 0;
        CHECK_EQ(what, MAPERR);
        unsigned long frames = (1ul << 20) - depth_reached;
        CHECK(frames > 3000); // 8 MiB in frames of 2 KiB and a bit
        CHECK(frames < 4096);
    }
    CHECK_EQ(recurse(1000), 1001); // still good
    group("overflow on an alternate stack");
}

static void test_limit(void)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_STACK, &limit), 0);
    CHECK_EQ(limit.rlim_cur, 8 << 20);
    group("limit");
}

// MAP_GROWSDOWN: touching below extends it, but not into the gap above another mapping.
static void test_growsdown(void)
{
    char *room = map_nothing(1024);
    char *p = room + 900 * PAGE;
    MUST(mmap(p, 4 * PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0) == p);
    CHECK_EQ(touch_write(p, 1), 0);
    CHECK_EQ(touch_write(p - 1, 2), 0);
    CHECK_EQ(touch_write(p - 100 * PAGE, 3), 0);
    CHECK_EQ(touch_read(p - 50 * PAGE), 0);
    CHECK_EQ(p[-1], 2);
    CHECK_EQ(maps_lines(room, 1024 * PAGE), 1);
    MUST(mmap(room + 300 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0) == room + 300 * PAGE);
    CHECK_EQ(touch_write(room + 600 * PAGE, 4), 0);
    CHECK_EQ(touch_write(room + 500 * PAGE, 5), MAPERR); // nearer than 256 pages
    CHECK_EQ(touch_write(room + 301 * PAGE, 5), MAPERR);
    CHECK_EQ(touch_write(room + 560 * PAGE, 6), 0);
    CHECK_EQ(munmap(room, 1024 * PAGE), 0);
    CHECK_EQ(touch_read(p - PAGE), MAPERR);
    group("MAP_GROWSDOWN");
}

int main(void)
{
    struct rlimit limit = {.rlim_cur = 8 << 20, .rlim_max = RLIM_INFINITY};
    setrlimit(RLIMIT_STACK, &limit); // whatever the shell has set
    catch_faults();
    test_growth();
    test_jump();
    test_overflow();
    test_limit();
    test_growsdown();
    return finish();
}
