// TEST: smp=1,2,4,8 timeout=120
// Faults on files against truncate, punching, and VMAs that end in the fault-around window: R24,
// R15, R32. (Faultline only.)
#include "race_test.h"

#define PAGES 48ul

static char *area;
static int file_fd;

// ---- R24 ----------------------------------------------------------------------------------------

static atomic_ulong file_pages; // while the epoch is odd

static void touch_file(unsigned id)
{
    unsigned seed = id + 3;
    while (racing()) {
        unsigned draw = next_random(&seed);
        unsigned long p = draw % PAGES, n = file_pages;
        unsigned char byte = 9;
        unsigned before = epoch;
        int what = poke(draw & 0x10000 ? TOUCH_READ : TOUCH_WRITE,
                        (unsigned char *)area + p * PAGE + 50, &byte);
        CHECK(what == 0 || what == BUS);
        CHECK(what != 0 || byte == 0 || byte == 9);
        if (n == file_pages && before == epoch && (before & 1)) {
            CHECK_EQ(what, p < n ? 0 : BUS);
        }
    }
}

static void resize_file(void)
{
    unsigned seed = 3;
    for (unsigned i = 0; i < rounds(300); i++) {
        unsigned long n = i % 2 ? PAGES : next_random(&seed) % PAGES;
        file_pages = n;
        CHECK_EQ(ftruncate(file_fd, (off_t)(n * PAGE)), 0);
        epoch++;
        breathe();
        if (n < PAGES) {
            unsigned char byte;
            CHECK_EQ(poke(TOUCH_READ, (unsigned char *)area + n * PAGE, &byte), BUS);
        }
        epoch++;
    }
}

static void test_truncate(int flags, const char *window)
{
    MUST(knob_write("fault_around", window) == 0);
    file_fd = temp_file(0, 0);
    MUST(ftruncate(file_fd, PAGES * PAGE) == 0);
    map_at(area, PAGES, RW, flags, file_fd, 0);
    race(touch_file, nr_chasers, resize_file);
    audit_quiet();
    CHECK_EQ(munmap(area, PAGES * PAGE), 0);
    close(file_fd);
    MUST(knob_write("fault_around", "16") == 0);
}

static void test_truncate_shared(void)
{
    test_truncate(MAP_SHARED, "16");
}

static void test_truncate_private(void)
{
    test_truncate(MAP_PRIVATE, "512");
}

// What was punched reads as zero once the call has returned.
static void read_holes(unsigned id)
{
    unsigned seed = id + 3;
    while (racing()) {
        unsigned long word = 1;
        unsigned before = epoch;
        volatile unsigned long *w =
            (volatile unsigned long *)(area + next_random(&seed) % PAGES * PAGE);
        CHECK_EQ(poke_word(TOUCH_READ, w, &word), 0);
        if (before == epoch && (before & 1)) {
            CHECK_EQ(word, 0);
        }
    }
}

static void punch_holes(void)
{
    for (unsigned long i = 1; i <= rounds(150); i++) {
        for (unsigned long p = 0; p < PAGES; p++) {
            CHECK_EQ(pwrite(file_fd, &i, sizeof(i), (off_t)(p * PAGE)), sizeof(i));
        }
        breathe();
        CHECK_EQ(fallocate(file_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGES * PAGE),
                 0);
        epoch++;
        breathe();
        epoch++;
    }
}

static void test_punch(void)
{
    file_fd = temp_file(PAGES, 0);
    map_at(area, PAGES, PROT_READ, MAP_SHARED, file_fd, 0);
    race(read_holes, nr_chasers, punch_holes);
    audit_quiet();
    CHECK_EQ(munmap(area, PAGES * PAGE), 0);
    close(file_fd);
}

// ---- R32 and R15: the window must stop where the VMA does ---------------------------------------

// Page p of the area shows page p of the file, or page p + PAGES of it, or nothing, or zeroes.
static void read_pieces(unsigned id)
{
    unsigned seed = id + 3;
    while (racing()) {
        unsigned long p = next_random(&seed) % PAGES, word = 0, words = PAGE / 8;
        volatile unsigned long *w = (volatile unsigned long *)(area + p * PAGE) + 5;
        int what = poke_word(TOUCH_READ, w, &word);
        CHECK(what == 0 || what == MAPERR || what == ACCERR);
        CHECK(what != 0 || word == 0 || word == (7ul << 32 | (p * words + 5)) ||
              word == (7ul << 32 | ((p + PAGES) * words + 5)));
    }
}

static void piece(unsigned *seed, unsigned how)
{
    unsigned long first = next_random(seed) % PAGES, n = 1 + next_random(seed) % 12;
    n = first + n > PAGES ? PAGES - first : n;
    char *p = area + first * PAGE;
    switch (how) {
    case 0:
        CHECK_EQ(munmap(p, n * PAGE), 0);
        break;
    case 1:
        map_at(p, n, PROT_READ, MAP_SHARED, file_fd, (off_t)((first + PAGES) * PAGE));
        break;
    case 2:
        map_at(p, n, PROT_READ, ANON, -1, 0);
        break;
    case 3:
        CHECK(mprotect(p, n * PAGE, PROT_NONE) == 0 || errno == ENOMEM);
        break;
    default:
        map_at(area, PAGES, PROT_READ, how % 2 ? MAP_SHARED : MAP_PRIVATE, file_fd, 0);
        break;
    }
}

static void cut_pieces(void)
{
    unsigned seed = 13;
    for (unsigned i = 0; i < rounds(500); i++) {
        piece(&seed, i % 6);
        breathe();
        if (i % 16 == 5) {
            audit_entries();
        }
    }
}

// The same VMAs freed and taken again at once: a fault that holds a freed one (its RCU head lies in
// it) must find it dead before it believes its edges.
static void cut_and_reuse(void)
{
    unsigned seed = 29;
    for (unsigned i = 0; i < rounds(500); i++) {
        map_at(area, PAGES, PROT_READ, MAP_SHARED, file_fd, 0);
        for (unsigned k = 0; k < 6; k++) {
            unsigned long p = next_random(&seed) % PAGES;
            CHECK_EQ(munmap(area + p * PAGE, PAGE), 0);
        }
        CHECK_EQ(munmap(area, PAGES * PAGE), 0);
        map_at(area + i % PAGES * PAGE, 1, PROT_READ, MAP_SHARED, file_fd,
               (off_t)((i % PAGES + PAGES) * PAGE));
        breathe();
        if (i % 16 == 5) {
            audit_entries();
        }
    }
}

static void test_pieces(void (*driver)(void))
{
    MUST(knob_write("fault_around", "512") == 0);
    file_fd = temp_file(2 * PAGES, 7);
    race(read_pieces, nr_chasers, driver);
    audit_quiet();
    CHECK_EQ(munmap(area, PAGES * PAGE), 0);
    close(file_fd);
    MUST(knob_write("fault_around", "16") == 0);
}

static void test_window(void)
{
    test_pieces(cut_pieces);
}

static void test_reuse(void)
{
    test_pieces(cut_and_reuse);
}

static const struct race_test tests[] = {
    {"R24", "truncate against faults, shared", test_truncate_shared},
    {"R24", "truncate against faults, private, window 512", test_truncate_private},
    {"R24", "punch against faults", test_punch},
    {"R32", "the window and the VMA's end", test_window},
    {"R15", "a dead VMA is dead before its edges are", test_reuse},
};

int main(int argc, char **argv)
{
    area = race_room(3) + 16 * PAGE; // within one leaf table, so that windows are large
    return race_main(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
