// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=120
// madvise: what forgets contents, what brings pages in, what is refused.
#include "mm_test.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

static int resident(char *p, unsigned long nr_pages)
{
    unsigned char vec[64];
    int n = 0;
    MUST(nr_pages <= sizeof(vec));
    MUST(mincore(p, nr_pages * PAGE, vec) == 0);
    for (unsigned long i = 0; i < nr_pages; i++) {
        n += vec[i] & 1;
    }
    return n;
}

static void test_dontneed(void)
{
    char *p = map_anon(16);
    fill(p, 16, 1);
    CHECK_EQ(madvise(p + 4 * PAGE, 8 * PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(holds(p, 4, 1), 4);
    CHECK(is_zero(p + 4 * PAGE, 8));
    CHECK_EQ(holds_from(p + 12 * PAGE, 12, 4, 1), 4);
    fill(p, 16, 2);
    CHECK_EQ(madvise(p, 16 * PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(resident(p, 16), 0);
    CHECK(is_zero(p, 16));
    CHECK_EQ(munmap(p, 16 * PAGE), 0);
    // Read-only and inaccessible memory forgets as well.
    p = map_anon(4);
    fill(p, 4, 3);
    CHECK_EQ(mprotect(p, 2 * PAGE, PROT_READ), 0);
    CHECK_EQ(mprotect(p + 2 * PAGE, 2 * PAGE, PROT_NONE), 0);
    CHECK_EQ(madvise(p, 4 * PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(mprotect(p, 4 * PAGE, RW), 0);
    CHECK(is_zero(p, 4));
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    group("DONTNEED, anonymous");
}

static void test_dontneed_files(void)
{
    int fd = temp_file(8, 4);
    char *p = map(8 * PAGE, RW, MAP_PRIVATE, fd, 0), *s = map(8 * PAGE, RW, MAP_SHARED, fd, 0);
    fill(p, 8, 5);
    CHECK_EQ(holds(p, 8, 5), 8);
    CHECK_EQ(madvise(p + 2 * PAGE, 4 * PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(holds(p, 2, 5), 2);
    CHECK_EQ(holds_from(p + 2 * PAGE, 2, 4, 4), 4); // the file's own again
    CHECK_EQ(holds_from(p + 6 * PAGE, 6, 2, 5), 2);
    fill(s, 8, 6);
    CHECK_EQ(madvise(s, 8 * PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(holds(s, 8, 6), 8); // the file remembers
    CHECK_EQ(munmap(p, 8 * PAGE) | munmap(s, 8 * PAGE), 0);
    close(fd);
    group("DONTNEED, files");
}

static void test_remove(void)
{
    int fd = temp_file(8, 7);
    char *s = map(8 * PAGE, RW, MAP_SHARED, fd, 0), *p = map(8 * PAGE, RW, MAP_PRIVATE, fd, 0);
    CHECK_EQ(holds(p, 8, 7), 8);
    p[3 * PAGE] = 33; // copied
    CHECK_EQ(madvise(s + 2 * PAGE, 3 * PAGE, MADV_REMOVE), 0);
    CHECK_EQ(holds(s, 2, 7), 2);
    CHECK(is_zero(s + 2 * PAGE, 3));
    CHECK_EQ(holds_from(s + 5 * PAGE, 5, 3, 7), 3);
    CHECK_EQ(p[3 * PAGE], 33); // a copy is nobody's but its owner's
    CHECK(is_zero(p + 2 * PAGE, 1));
    CHECK_EQ(lseek(fd, 0, SEEK_END), 8 * PAGE);
    CHECK_ERR(madvise(p, PAGE, MADV_REMOVE), EACCES);
    char *a = map_anon(1);
    CHECK_ERR(madvise(a, PAGE, MADV_REMOVE), EINVAL);
    char *m = map(4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fill(m, 4, 8);
    CHECK_EQ(madvise(m + PAGE, PAGE, MADV_REMOVE), 0);
    CHECK(is_zero(m + PAGE, 1));
    CHECK_EQ(holds(m, 1, 8), 1);
    CHECK_EQ(holds_from(m + 2 * PAGE, 2, 2, 8), 2);
    CHECK_EQ(munmap(p, 8 * PAGE) | munmap(s, 8 * PAGE) | munmap(a, PAGE) | munmap(m, 4 * PAGE), 0);
    close(fd);
    group("REMOVE");
}

static void test_populate(void)
{
    char *p = map_anon(16);
    CHECK_EQ(madvise(p, 8 * PAGE, MADV_POPULATE_WRITE), 0);
    CHECK_EQ(resident(p, 16), 8);
    CHECK(is_zero(p, 8));
    fill(p, 8, 9);
    CHECK_EQ(madvise(p, 16 * PAGE, MADV_POPULATE_READ), 0);
    CHECK_EQ(resident(p, 16), 16);
    CHECK_EQ(madvise(p, 16 * PAGE, MADV_POPULATE_WRITE), 0);
    CHECK_EQ(holds(p, 8, 9), 8);
    CHECK(is_zero(p + 8 * PAGE, 8));
    CHECK_EQ(mprotect(p, PAGE, PROT_READ), 0);
    CHECK_EQ(madvise(p, PAGE, MADV_POPULATE_READ), 0);
    CHECK_ERR(madvise(p, PAGE, MADV_POPULATE_WRITE), EINVAL);
    CHECK_EQ(mprotect(p, PAGE, PROT_NONE), 0);
    CHECK_ERR(madvise(p, PAGE, MADV_POPULATE_READ), EINVAL);
    CHECK_EQ(munmap(p + 4 * PAGE, PAGE), 0);
    CHECK_ERR(madvise(p + PAGE, 8 * PAGE, MADV_POPULATE_READ), ENOMEM);
    CHECK_EQ(munmap(p, 16 * PAGE), 0);
    int fd = temp_file(4, 1);
    p = map(8 * PAGE, RW, MAP_SHARED, fd, 0);
    CHECK_EQ(madvise(p, 4 * PAGE, MADV_POPULATE_WRITE), 0);
    CHECK_EQ(holds(p, 4, 1), 4);
    CHECK_ERR(madvise(p, 8 * PAGE, MADV_POPULATE_READ), EFAULT); // beyond the end: SIGBUS
    CHECK_EQ(munmap(p, 8 * PAGE), 0);
    close(fd);
    group("POPULATE");
}

static void test_free(void)
{
    char *p = map_anon(4);
    fill(p, 4, 2);
    CHECK_EQ(madvise(p, 4 * PAGE, MADV_FREE), 0);
    for (unsigned i = 0; i < 4; i++) { // old or zero until it is written again
        unsigned long w = *(volatile unsigned long *)(p + i * PAGE + 8);
        CHECK(w == 0 || w == (2ul << 32 | (i * PAGE / 8 + 1)));
    }
    fill(p, 4, 3);
    CHECK_EQ(holds(p, 4, 3), 4);
    int fd = temp_file(1, 1);
    char *f = map(PAGE, RW, MAP_PRIVATE, fd, 0);
    CHECK_ERR(madvise(f, PAGE, MADV_FREE), EINVAL); // anonymous memory only
    CHECK_EQ(munmap(p, 4 * PAGE) | munmap(f, PAGE), 0);
    close(fd);
    group("FREE");
}

static void test_hints(void)
{
    static const int hints[] = {MADV_NORMAL,   MADV_RANDOM,     MADV_SEQUENTIAL, MADV_WILLNEED,
                                MADV_DONTFORK, MADV_DOFORK,     MADV_DONTDUMP,   MADV_DODUMP,
                                MADV_COLD,     MADV_WIPEONFORK, MADV_KEEPONFORK};
    char *p = map_anon(8);
    fill(p, 8, 4);
    for (unsigned i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        CHECK_EQ(madvise(p, 8 * PAGE, hints[i]), 0);
        CHECK_EQ(madvise(p, 0, hints[i]), 0);
    }
    CHECK_EQ(holds(p, 8, 4), 8);
    // A hole: told at the end, the rest is done.
    CHECK_EQ(munmap(p + 3 * PAGE, PAGE), 0);
    CHECK_ERR(madvise(p, 8 * PAGE, MADV_DONTNEED), ENOMEM);
    CHECK(is_zero(p, 3));
    CHECK(is_zero(p + 4 * PAGE, 4));
    CHECK_ERR(madvise(p, 8 * PAGE, MADV_NORMAL), ENOMEM);
    CHECK_EQ(munmap(p, 8 * PAGE), 0);
    group("hints and holes");
}

static void test_locked(void)
{
    char *p = map_anon(4);
    fill(p, 4, 5);
    CHECK_EQ(mlock(p, 2 * PAGE), 0);
    CHECK_ERR(madvise(p, 4 * PAGE, MADV_DONTNEED), EINVAL);
    CHECK_EQ(holds(p, 4, 5), 4);
    CHECK_ERR(madvise(p, PAGE, MADV_FREE), EINVAL);
    CHECK_EQ(munlock(p, 4 * PAGE), 0);
    CHECK_EQ(madvise(p, 4 * PAGE, MADV_DONTNEED), 0);
    CHECK(is_zero(p, 4));
    CHECK_EQ(mlock(p, 4 * PAGE), 0);
    CHECK_EQ(resident(p, 4), 4);
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    group("locked memory");
}

int main(void)
{
    catch_faults();
    test_dontneed();
    test_dontneed_files();
    test_remove();
    test_populate();
    test_free();
    test_hints();
    test_locked();
    return finish();
}
