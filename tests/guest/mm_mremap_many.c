// TEST: smp=1,4
// mremap of several mappings with one call (mremap(2), since Linux 6.17; so not beside an older
// Linux). The kselftest of the ladder's rung for the newest one compares the same with it.
#include "mm_test.h"

#define BOTH (MREMAP_MAYMOVE | MREMAP_FIXED)

// From p on:  [ 4 rw ][ 4 r ] 4 free [ 4 of a file ] 4 free
static void lay_out(char *p, int fd)
{
    MUST(mmap(p, 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == p);
    fill(p, 8, 1);
    CHECK_EQ(mprotect(p + 4 * PAGE, 4 * PAGE, PROT_READ), 0);
    MUST(mmap(p + 12 * PAGE, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) == p + 12 * PAGE);
}

static void check_at(char *p)
{
    CHECK_EQ(holds(p, 8, 1), 8);
    CHECK_EQ(touch_write(p + 3 * PAGE, 0), 0);
    CHECK_EQ(touch_write(p + 4 * PAGE, 1), ACCERR);
    CHECK_EQ(holds(p + 12 * PAGE, 4, 2), 4);
}

static void test_all(void)
{
    int fd = temp_file(4, 2);
    char *p = map_nothing(20), *q = map_nothing(20);
    lay_out(p, fd);
    MUST(mmap(q + 8 * PAGE, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == q + 8 * PAGE);
    MUST(mmap(q + 14 * PAGE, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == q + 14 * PAGE);
    fill(q + 8 * PAGE, 2, 3);
    CHECK(mremap(p, 20 * PAGE, 20 * PAGE, BOTH, q) == q);
    check_at(q);
    CHECK_EQ(holds(q + 8 * PAGE, 2, 3), 2); // where the gap is
    CHECK_EQ(touch_read(q + 16 * PAGE), MAPERR);
    CHECK_EQ(maps_lines(p, 20 * PAGE), 0);
    CHECK_EQ(munmap(q, 20 * PAGE), 0);
    close(fd);
    group("all of them");
}

static void test_part(void)
{
    int fd = temp_file(4, 2);
    char *p = map_nothing(20), *q = map_nothing(20);
    lay_out(p, fd);
    CHECK(mremap(p + 2 * PAGE, 12 * PAGE, 12 * PAGE, BOTH, q) == q);
    CHECK_EQ(holds_from(q, 2, 6, 1), 6);
    CHECK_EQ(holds(q + 10 * PAGE, 2, 2), 2);
    CHECK_EQ(maps_lines(q, 20 * PAGE), 3);
    CHECK_EQ(holds(p, 2, 1), 2);
    CHECK_EQ(holds_from(p + 14 * PAGE, 2, 2, 2), 2);
    CHECK_EQ(maps_lines(p, 20 * PAGE), 2);
    CHECK_EQ(munmap(p, 20 * PAGE) | munmap(q, 20 * PAGE), 0);
    close(fd);
    group("parts of the first and the last");
}

static void test_stays(void)
{
    int fd = temp_file(4, 2);
    char *p = map_nothing(20), *q = map_nothing(20);
    lay_out(p, fd);
    CHECK(mremap(p, 16 * PAGE, 16 * PAGE, BOTH | MREMAP_DONTUNMAP, q) == q);
    check_at(q);
    CHECK_EQ(maps_lines(p, 20 * PAGE), 3);
    CHECK(is_zero(p, 8));
    CHECK_EQ(munmap(p, 20 * PAGE) | munmap(q, 20 * PAGE), 0);
    close(fd);
    group("DONTUNMAP");
}

static void test_refused(void)
{
    int fd = temp_file(4, 2);
    char *p = map_nothing(20), *q = map_nothing(20);
    lay_out(p, fd);
    CHECK_ERR((long)mremap(p, 16 * PAGE, 20 * PAGE, BOTH, q), EFAULT); // grows
    CHECK_ERR((long)mremap(p, 16 * PAGE, 12 * PAGE, BOTH, q), EFAULT); // or shrinks
    CHECK_ERR((long)mremap(p, 16 * PAGE, 16 * PAGE, BOTH, p + 8 * PAGE), EINVAL);
    CHECK_ERR((long)mremap(p + 8 * PAGE, 8 * PAGE, 8 * PAGE, BOTH, q), EFAULT); // gap first
    CHECK_ERR((long)mremap(p, 16 * PAGE, 16 * PAGE, BOTH, q + 1), EINVAL);
    check_at(p);
    CHECK_EQ(maps_lines(q, 20 * PAGE), 0);
    CHECK_EQ(munmap(p, 20 * PAGE), 0);
    close(fd);
    group("refused");
}

int main(void)
{
    catch_faults();
    test_all();
    test_part();
    test_stays();
    test_refused();
    return finish();
}
