// TEST: smp=1,2,4,8 timeout=120
// R31: writers that break one copy-on-write page at once. Exactly one copy, no store lost, and the
// file stays as it was, also when the kernel itself writes (read into the mapping) while another
// thread throws the copies away (Dirty COW). (Faultline only.)
#include "race_test.h"

#define PAGES 8ul

static char *area;
static int file_fd, other_fd;
static struct meeting gate;
static unsigned nr_rounds;

// All but one add. That one, another each round, has read the page before there was a copy, and
// looks when all have added: its translation must not lead to the old page any more.
static void add_everywhere(unsigned id)
{
    for (unsigned i = 1; i <= nr_rounds; i++) {
        unsigned looks = i % nr_racers;
        unsigned long wrong = 0;
        for (unsigned long p = 0; id == looks && p < PAGES; p++) {
            wrong += ((volatile unsigned long *)(area + p * PAGE))[2] != 0;
        }
        meet(&gate, nr_racers, 3 * i - 2);
        for (unsigned long p = 0; id != looks && p < PAGES; p++) {
            unsigned long at = id % 2 ? PAGES - 1 - p : p;
            atomic_fetch_add((atomic_ulong *)(area + at * PAGE + 16), 1);
            atomic_fetch_add((atomic_ulong *)(area + at * PAGE + 32 + 8 * id), 1);
        }
        meet(&gate, nr_racers, 3 * i - 1);
        if (id == looks) {
            for (unsigned long p = 0; p < PAGES; p++) {
                const volatile unsigned long *w = (const volatile unsigned long *)(area + p * PAGE);
                wrong += w[2] != nr_racers - 1;
                for (unsigned k = 0; k < nr_racers; k++) {
                    wrong += w[4 + k] != (k != looks);
                }
            }
            CHECK_EQ(wrong, 0);
            CHECK_EQ(madvise(area, PAGES * PAGE, MADV_DONTNEED), 0);
            for (unsigned long p = 0; i % 2 && p < PAGES; p++) { // zero pages, file pages mapped
                wrong += *(volatile unsigned long *)(area + p * PAGE + 16) != 0;
            }
            CHECK_EQ(wrong, 0);
        }
        meet(&gate, nr_racers, 3 * i);
    }
}

static void count(int fd)
{
    nr_rounds = rounds(30);
    gate.arrived = 0;
    area = race_room(0);
    map_at(area, PAGES, RW, fd < 0 ? ANON : MAP_PRIVATE, fd, 0);
    race(add_everywhere, nr_racers, NULL);
    audit_quiet();
    CHECK_EQ(munmap(area, PAGES * PAGE), 0);
}

static void count_zero_pages(void)
{
    count(-1);
}

static void count_file_pages(void)
{
    int fd = temp_file(0, 0);
    MUST(ftruncate(fd, PAGES * PAGE) == 0);
    count(fd);
    close(fd);
}

// ---- The kernel writes --------------------------------------------------------------------------

static void read_into(unsigned id)
{
    unsigned seed = id + 1;
    while (racing()) {
        char *p = area + next_random(&seed) % PAGES * PAGE;
        if (id % 2) {
            CHECK_EQ(pread(other_fd, p + 8, 64, 0), 64);
        } else {
            memset(p + 8, 0xee, 64);
        }
    }
}

static void forget_copies(void)
{
    static char text[64];
    for (unsigned i = 0; i < rounds(400); i++) {
        CHECK_EQ(madvise(area, PAGES * PAGE, MADV_DONTNEED), 0);
        for (unsigned long p = i % 3; p < PAGES; p += 3) {
            CHECK_EQ(pread(file_fd, text, 64, (off_t)(p * PAGE + 8)), 64);
            CHECK(text[0] == 0 && memcmp(text, text + 1, 63) == 0);
        }
    }
}

static void test_kernel_writes(void)
{
    file_fd = temp_file(0, 0);
    other_fd = temp_file(1, 0xabcdef);
    MUST(ftruncate(file_fd, PAGES * PAGE) == 0);
    area = race_room(0);
    map_at(area, PAGES, RW, MAP_PRIVATE, file_fd, 0);
    race(read_into, nr_chasers, forget_copies);
    CHECK_EQ(munmap(area, PAGES * PAGE), 0);
    close(file_fd);
    close(other_fd);
}

static const struct race_test tests[] = {
    {"R31", "writers of one zero page", count_zero_pages},
    {"R31", "writers of one file page", count_file_pages},
    {"R31", "the kernel writes, the file stays", test_kernel_writes},
};

RACE_MAIN(tests)
