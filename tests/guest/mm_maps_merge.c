// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=120
// What becomes one mapping and what stays apart, as /proc/self/maps has it. All in fresh room with
// inaccessible pages at both ends.
#include "mm_test.h"

static char *room;

static void fresh(void)
{
    room = map_nothing(16);
}
static void at(unsigned page, unsigned n, int prot, int flags, int fd, unsigned off)
{
    CHECK(mmap(room + page * PAGE, n * PAGE, prot, flags | MAP_FIXED, fd, (off_t)(off * PAGE)) ==
          room + page * PAGE);
}
static void anon_at(unsigned page, unsigned n, int prot)
{
    at(page, n, prot, ANON, -1, 0);
}
static void done(int lines, const char *what)
{
    CHECK_EQ(maps_lines(room, 16 * PAGE), lines);
    CHECK_EQ(munmap(room - PAGE, 18 * PAGE), 0);
    group(what);
}

static void test_anon(void)
{
    fresh(), anon_at(0, 4, RW), anon_at(4, 4, RW), done(1, "joins its left neighbour");
    fresh(), anon_at(4, 4, RW), anon_at(0, 4, RW), done(1, "joins its right neighbour");
    fresh(), anon_at(0, 4, RW), anon_at(8, 4, RW), anon_at(4, 4, RW), done(1, "joins both");
    fresh(), anon_at(0, 4, RW), anon_at(4, 4, PROT_READ), done(2, "other rights stay apart");
    fresh(), anon_at(0, 12, RW), anon_at(4, 4, PROT_READ), done(3, "split in three");
    fresh(), anon_at(0, 12, RW), anon_at(4, 4, RW), done(1, "mapped over, alike");
    fresh(), anon_at(0, 4, RW), anon_at(5, 4, RW), done(2, "a hole between");
    fresh(), anon_at(0, 12, RW);
    CHECK_EQ(munmap(room + 4 * PAGE, 4 * PAGE), 0);
    done(2, "a hole made");
}

static void test_protect(void)
{
    fresh(), anon_at(0, 12, RW);
    CHECK_EQ(mprotect(room + 4 * PAGE, 4 * PAGE, PROT_READ), 0);
    done(3, "protected in the middle");
    fresh(), anon_at(0, 12, RW);
    CHECK_EQ(mprotect(room + 4 * PAGE, 4 * PAGE, PROT_READ), 0);
    CHECK_EQ(mprotect(room + 4 * PAGE, 4 * PAGE, RW), 0);
    done(1, "protected and back");
    fresh(), anon_at(0, 12, RW);
    CHECK_EQ(mprotect(room, 4 * PAGE, PROT_READ), 0);
    CHECK_EQ(mprotect(room + 4 * PAGE, 4 * PAGE, PROT_READ), 0);
    done(2, "joins what was protected before");
    fresh(), anon_at(0, 12, RW);
    for (unsigned i = 0; i < 12; i += 2) {
        CHECK_EQ(mprotect(room + i * PAGE, PAGE, PROT_NONE), 0);
    }
    CHECK_EQ(maps_lines(room, 16 * PAGE), 12);
    CHECK_EQ(mprotect(room, 12 * PAGE, PROT_READ), 0);
    done(1, "many become one");
}

static void test_files(void)
{
    int fd = temp_file(16, 1), other = temp_file(16, 1);
    fresh(), at(0, 4, RW, MAP_SHARED, fd, 0), at(4, 4, RW, MAP_SHARED, fd, 4);
    done(1, "file, next pages");
    fresh(), at(0, 4, RW, MAP_SHARED, fd, 0), at(4, 4, RW, MAP_SHARED, fd, 5);
    done(2, "file, other pages");
    fresh(), at(0, 4, RW, MAP_SHARED, fd, 0), at(4, 4, RW, MAP_PRIVATE, fd, 4);
    done(2, "shared and private");
    fresh(), at(0, 4, RW, MAP_PRIVATE, fd, 0), at(4, 4, RW, MAP_PRIVATE, other, 4);
    done(2, "two files");
    fresh(), at(0, 4, RW, MAP_PRIVATE, fd, 0), anon_at(4, 4, RW);
    done(2, "file and anonymous");
    fresh(), at(0, 12, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK_EQ(munmap(room + 4 * PAGE, 4 * PAGE), 0);
    at(4, 4, PROT_READ, MAP_PRIVATE, fd, 4);
    done(1, "file, hole filled");
    close(fd);
    close(other);
    fresh(), at(0, 4, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    at(4, 4, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    done(2, "two shared memories");
}

static void test_lock(void)
{
    fresh(), anon_at(0, 12, RW);
    fill(room, 12, 1); // Linux 6.1 does not join what was touched to what was not
    CHECK_EQ(mlock(room + 4 * PAGE, 4 * PAGE), 0);
    CHECK_EQ(maps_lines(room, 16 * PAGE), 3);
    CHECK_EQ(munlock(room, 12 * PAGE), 0);
    done(1, "locked and unlocked");
}

static void test_remap(void)
{
    fresh(), anon_at(0, 4, RW);
    CHECK(mremap(room, 4 * PAGE, 12 * PAGE, 0) == room);
    CHECK_EQ(maps_lines(room, 16 * PAGE), 1);
    CHECK(mremap(room, 12 * PAGE, 6 * PAGE, 0) == room);
    anon_at(8, 4, RW);
    CHECK(mremap(room, 6 * PAGE, 8 * PAGE, 0) == room);
    done(1, "grown up to its neighbour");
}

int main(void)
{
    catch_faults();
    test_anon();
    test_protect();
    test_files();
    test_lock();
    test_remap();
    return finish();
}
