// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=120
// mincore: what is in memory.
#include "mm_test.h"

static unsigned char vec[4096];

static int count(char *p, unsigned long nr_pages)
{
    int n = 0;
    memset(vec, 0xee, sizeof(vec));
    MUST(mincore(p, nr_pages * PAGE, vec) == 0);
    for (unsigned long i = 0; i < nr_pages; i++) {
        CHECK(vec[i] <= 1);
        n += vec[i];
    }
    CHECK_EQ(vec[nr_pages], 0xee); // not a byte more
    return n;
}

int main(void)
{
    catch_faults();
    char *p = map_anon(3000);
    CHECK_EQ(count(p, 3000), 0);
    for (unsigned i = 0; i < 3000; i += 3) {
        p[i * PAGE] = 1;
    }
    CHECK_EQ(count(p, 3000), 1000);
    for (unsigned i = 0; i < 3000; i++) {
        CHECK_EQ(vec[i], i % 3 == 0);
    }
    CHECK_EQ(madvise(p, 1500 * PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(count(p, 3000), 500);
    CHECK_EQ(count(p + 1500 * PAGE, 1), 1);
    group("anonymous");

    CHECK_EQ(mincore(p + 1500 * PAGE, 1, vec), 0); // a byte is a page
    CHECK_EQ(vec[0], 1);
    CHECK_EQ(mincore(p, 0, vec), 0);
    CHECK_EQ(munmap(p + 100 * PAGE, PAGE), 0);
    CHECK_ERR(mincore(p, 200 * PAGE, vec), ENOMEM);
    CHECK_EQ(munmap(p, 3000 * PAGE), 0);
    CHECK_ERR(mincore(p, PAGE, vec), ENOMEM);
    group("bounds and holes");

    int fd = temp_file(16, 1);
    p = map(16 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK_EQ(count(p, 16), 16); // in the cache, though never touched here
    CHECK_EQ(ftruncate(fd, 32 * PAGE), 0);
    CHECK_EQ(munmap(p, 16 * PAGE), 0);
    p = map(32 * PAGE, RW, MAP_SHARED, fd, 0);
    CHECK_EQ(count(p, 32), 16);
    p[20 * PAGE] = 1;
    CHECK_EQ(count(p, 32), 17);
    CHECK_EQ(munmap(p, 32 * PAGE), 0);
    close(fd);
    group("file");
    return finish();
}
