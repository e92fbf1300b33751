// TEST: smp=1,2 scheme=rcu,mmap_lock timeout=120
// The window of pages that one fault on a cached file maps: how many faults a walk over 512 pages
// takes for each setting. (Faultline only.)
#include "mm_test.h"

#define PAGES 512ul

static char *aligned; // 2 MiB of room at a multiple of 2 MiB, one leaf table

static void find_room(void)
{
    char *room = map_nothing(2 * PAGES);
    aligned = (char *)(((uintptr_t)room + PAGES * PAGE - 1) & ~(PAGES * PAGE - 1));
}

static unsigned long walk(char *p, unsigned long nr_pages)
{
    unsigned long sum = 0;
    for (unsigned long i = 0; i < nr_pages; i++) {
        sum += *(volatile unsigned long *)(p + i * PAGE);
    }
    return sum;
}

// Faults that reading `nr` pages from page `first` of the file takes, mapped at `at`.
static long faults_of(int fd, char *at, unsigned long first, unsigned long nr, int prot, int flags)
{
    MUST(mmap(at, nr * PAGE, prot, flags | MAP_FIXED, fd, (off_t)(first * PAGE)) == at);
    long before = stat_get("faults");
    walk(at, nr);
    long faults = stat_get("faults") - before;
    CHECK_EQ(holds_from(at, first, nr, 1), nr);
    MUST(munmap(at, nr * PAGE) == 0);
    return faults;
}

static void test_window(int fd, long window)
{
    char name[64];
    knob_set("fault_around", window);
    CHECK_EQ(knob_get("fault_around"), window);
    stat_get("faults"); // what it touches itself is there
    long faults = faults_of(fd, aligned, 0, PAGES, PROT_READ, MAP_SHARED);
    CHECK_EQ(faults, (long)PAGES / window);
    CHECK_EQ(faults_of(fd, aligned, 0, PAGES, RW, MAP_PRIVATE), (long)PAGES / window);
    CHECK_EQ(faults_of(fd, aligned, 0, PAGES, RW, MAP_SHARED), (long)PAGES / window);
    // Not from a bound of the window on: it is cut to the mapping.
    long windows = window == 1 ? 16 : window == 16 ? 2 : 1;
    CHECK_EQ(faults_of(fd, aligned + 8 * PAGE, 8, 16, PROT_READ, MAP_SHARED), windows);
    CHECK_EQ(faults_of(fd, aligned + 8 * PAGE, 100, 16, PROT_READ, MAP_SHARED), windows);
    snprintf(name, sizeof(name), "window of %ld: %ld faults", window, faults);
    group(name);
}

// A private copy is one page, whatever the window; the others around it come by reading.
static void test_copies(int fd)
{
    knob_set("fault_around", 16);
    MUST(mmap(aligned, PAGES * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0) == aligned);
    long before = stat_get("faults");
    for (unsigned long i = 0; i < 32; i++) {
        *(volatile char *)(aligned + i * PAGE) = 1;
    }
    CHECK_EQ(stat_get("faults") - before, 32);
    MUST(munmap(aligned, PAGES * PAGE) == 0);
    group("copies");
}

// The window maps what is cached, and reads nothing in.
static void test_holes(void)
{
    int fd = temp_file(0, 0);
    MUST(ftruncate(fd, PAGES * PAGE) == 0);
    knob_set("fault_around", 16);
    MUST(mmap(aligned, 16 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == aligned);
    long before = stat_get("faults");
    walk(aligned, 16);
    CHECK_EQ(stat_get("faults") - before, 16);
    MUST(munmap(aligned, 16 * PAGE) == 0);
    close(fd);
    group("holes");
}

int main(void)
{
    catch_faults();
    find_room();
    int fd = temp_file(PAGES, 1);
    test_window(fd, 1); // also brings in what this program touches first
    test_window(fd, 16);
    test_window(fd, 512);
    test_copies(fd);
    test_holes();
    CHECK_ERR(knob_write("fault_around", "2"), EINVAL);
    CHECK_ERR(knob_write("fault_around", "x"), EINVAL);
    CHECK_EQ(knob_get("fault_around"), 16);
    group("settings");
    return finish();
}
