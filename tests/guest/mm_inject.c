// TEST: smp=1,2,4 scheme=rcu,mmap_lock timeout=120
// Each allocation of each call that changes the address space fails in turn: the call says ENOMEM
// and nothing has changed; nothing leaks. (Faultline only.)
#include "baseline.h"

#define PAGES 12ul

static char *room, *area; // area: 12 pages inside room

static void inject(const char *site, unsigned n)
{
    char rule[64];
    snprintf(rule, sizeof(rule), "%s:%u", site, n);
    MUST(knob_write("inject", rule) == 0);
}

// The rule may hit the very call that takes it back.
static void inject_off(void)
{
    int tries = 0;
    while (knob_write("inject", "off") != 0) {
        MUST(tries++ < 8);
    }
}

// Has the rule hit the call, and not just the one that took it back?
static int has_hit(void)
{
    static char text[8192];
    knob_read("inject", text, sizeof(text));
    for (char *line = strchr(text, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
        char name[64];
        unsigned long nr, failed;
        MUST(sscanf(line + 1, "%63s %lu %lu", name, &nr, &failed) == 3);
        if (failed && strcmp(name, "text_write") != 0) {
            return 1;
        }
    }
    return 0;
}

// ---- The calls: true when it succeeded, false for ENOMEM ----------------------------------------

static int result(long r)
{
    CHECK(r != -1 || errno == ENOMEM);
    return r != -1;
}
static int do_mmap(void)
{
    return result((long)mmap(area + 4 * PAGE, 4 * PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0));
}
static int do_mmap_shared(void)
{
    return result(
        (long)mmap(area + 4 * PAGE, 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}
static int do_munmap(void)
{
    return result(munmap(area + 4 * PAGE, 4 * PAGE));
}
static int do_mprotect(void)
{
    return result(mprotect(area + 4 * PAGE, 4 * PAGE, PROT_READ));
}
static int do_mremap_grow(void)
{
    return result((long)mremap(area, PAGES * PAGE, 2 * PAGES * PAGE, 0));
}
static int do_mremap_move(void)
{
    return result((long)mremap(area + 4 * PAGE, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                               room + 600 * PAGE));
}
static int do_mremap_keep(void)
{
    char *p = mremap(area, PAGES * PAGE, PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    if (p != MAP_FAILED) {
        CHECK_EQ(holds(p, PAGES, 1), PAGES);
        munmap(p, PAGES * PAGE);
    }
    return result((long)p);
}
static int do_mremap_shrink(void)
{
    return result((long)mremap(area, PAGES * PAGE, 5 * PAGE, 0));
}
static int do_mlock(void)
{
    return result(mlock(area + 4 * PAGE, 4 * PAGE));
}

// ---- Each with each allocation failing ----------------------------------------------------------

static void fresh(void)
{
    munmap(room, 1024 * PAGE);
    area = room + 100 * PAGE;
    MUST(mmap(area, PAGES * PAGE, RW, ANON | MAP_FIXED, -1, 0) == area);
    fill(area, PAGES, 1);
}

static void unchanged(void)
{
    CHECK_EQ(holds(area, PAGES, 1), PAGES);
    CHECK_EQ(maps_lines(room, 1024 * PAGE), 1);
    CHECK_EQ(touch_write(area + 5 * PAGE, (unsigned char)area[5 * PAGE]), 0);
}

static void each_allocation(int (*call)(void), const char *site, const char *what, int must_fail)
{
    char name[100];
    unsigned n, failed = 0;
    // A call may do without what it did not get (and ask elsewhere): its success is not the end.
    for (n = 1;; n++) {
        fresh();
        inject(site, n);
        int ok = call();
        inject_off();
        if (!has_hit()) {
            CHECK(ok);
            break;
        }
        if (!ok) {
            failed++;
            unchanged();
        }
    }
    CHECK(!must_fail || failed > 0);
    snprintf(name, sizeof(name), "%s, %s", what, site);
    group(name);
}

static void each_call(const char *site, int must_fail)
{
    each_allocation(do_mmap, site, "mmap", must_fail);
    each_allocation(do_mmap_shared, site, "mmap, shared", must_fail);
    each_allocation(do_munmap, site, "munmap", must_fail);
    each_allocation(do_mprotect, site, "mprotect", must_fail);
    each_allocation(do_mremap_grow, site, "mremap, growing", must_fail);
    each_allocation(do_mremap_move, site, "mremap, moving", must_fail);
    each_allocation(do_mremap_keep, site, "mremap, source kept", must_fail);
    each_allocation(do_mremap_shrink, site, "mremap, shrinking", 0); // needs a VMA only
    each_allocation(do_mlock, site, "mlock", must_fail);
}

// Every third VMA cannot be had: calls fail at random, the address space stays sound.
static void test_every_third(void)
{
    unsigned refused = 0, seed = 1;
    munmap(room, 1024 * PAGE);
    MUST(knob_write("inject", "vma_draft:every:3") == 0);
    for (unsigned i = 0; i < 3000; i++) {
        seed = seed * 1664525 + 1013904223;
        char *p = room + (seed >> 10) % 1000 * PAGE;
        size_t len = (1 + (seed >> 22) % 20) * PAGE;
        long r = i % 3 == 0   ? munmap(p, len)
                 : i % 3 == 1 ? (long)mmap(p, len, RW, ANON | MAP_FIXED, -1, 0)
                              : mprotect(p, len, i % 2 ? PROT_READ : RW);
        CHECK(r != -1 || errno == ENOMEM);
        refused += r == -1;
    }
    inject_off();
    CHECK(refused > 0);
    CHECK_EQ(munmap(room, 1024 * PAGE), 0);
    CHECK_EQ(maps_lines(room, 1024 * PAGE), 0);
    group("every third");
}

static void test_rules(void)
{
    CHECK_ERR(knob_write("inject", "vma_draft"), EINVAL);
    CHECK_ERR(knob_write("inject", "vma_draft:0"), EINVAL);
    CHECK_ERR(knob_write("inject", "vma_draft:every:"), EINVAL);
    CHECK_ERR(knob_write("inject", ":1"), EINVAL);
    inject_off();
    group("rules");
}

int main(void)
{
    catch_faults();
    room = map_nothing(1024);
    test_rules();
    test_every_third();
    struct baseline was = baseline_first();
    each_call("vma_draft", 1);
    each_call("mt_prepare", 0); // the tree keeps nodes, so that this may never be asked
    each_call("*", 1);
    test_every_third();
    munmap(room, 1024 * PAGE);
    baseline_check(&was);
    group("nothing left over");
    return finish();
}
