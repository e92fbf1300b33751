// TEST: smp=2 scheme=rcu,mmap_lock linux=same timeout=120
// A hundred thousand mappings of one page, none of which can be joined with the next.
#include "mm_test.h"

#define LOTS 100000ul

static void allow_lots(void)
{
    int fd = open("/proc/sys/vm/max_map_count", O_WRONLY); // Faultline has none and needs none
    if (fd >= 0) {
        MUST(write(fd, "200000", 6) == 6);
        close(fd);
    }
}

static int prot_of(unsigned long i)
{
    return i % 2 ? PROT_READ : RW;
}

static void map_at(char *room, unsigned long i)
{
    char *at = room + i * PAGE;
    MUST(mmap(at, PAGE, prot_of(i), ANON | MAP_FIXED, -1, 0) == at);
}

int main(void)
{
    catch_faults();
    allow_lots();
    char *room = map(LOTS * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    for (unsigned long i = 0; i < LOTS; i++) {
        map_at(room, i * 7919 % LOTS); // in no order; 7919 is prime
    }
    group("map");

    for (unsigned long i = 0; i < LOTS; i += 97) {
        CHECK_EQ(touch_write(room + i * PAGE, (unsigned char)i), i % 2 ? ACCERR : 0);
    }
    for (unsigned long i = 0; i < LOTS; i += 97) {
        CHECK_EQ((unsigned char)room[i * PAGE], i % 2 ? 0 : (unsigned char)i);
    }
    CHECK_EQ(maps_lines(room, LOTS * PAGE), LOTS);
    group("touch");

    for (unsigned long i = 0; i < LOTS; i += 2) {
        MUST(munmap(room + i * PAGE, PAGE) == 0);
    }
    CHECK_EQ(touch_read(room + 5000 * PAGE), MAPERR);
    CHECK_EQ(touch_read(room + 5001 * PAGE), 0);
    CHECK_EQ(maps_lines(room, LOTS * PAGE), LOTS / 2);
    // Holes of one page are no place for two.
    char *two = mmap(room + 1000 * PAGE, 2 * PAGE, RW, ANON, -1, 0);
    CHECK(two != MAP_FAILED && (two < room || two >= room + LOTS * PAGE));
    CHECK_EQ(munmap(two, 2 * PAGE), 0);
    group("unmap every other");

    for (unsigned long i = 0; i < LOTS; i += 2) {
        map_at(room, i);
    }
    CHECK_EQ(mprotect(room, LOTS * PAGE, PROT_READ), 0); // Linux 6.1 joins only some of them
    CHECK_EQ(touch_write(room, 1), ACCERR);
    CHECK_EQ(touch_read(room + (LOTS - 1) * PAGE), 0);
    MUST(mmap(room, LOTS * PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0) == room);
    CHECK_EQ(maps_lines(room, LOTS * PAGE), 1);
    CHECK_EQ(touch_write(room, 1), ACCERR);
    group("one of them all");

    CHECK_EQ(munmap(room, LOTS * PAGE), 0);
    CHECK_EQ(maps_lines(room, LOTS * PAGE), 0);
    group("unmap");
    return finish();
}
