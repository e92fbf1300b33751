// TEST: smp=1,2 scheme=rcu,mmap_lock mem=32M timeout=120
// A machine of 32 MiB that runs out in every way a call can report: the call says ENOMEM (or the
// like), what was there is intact, and when the memory is given back all works as before.
// (Faultline only.)
#include "baseline.h"
#include <pthread.h>

static char *kept;

static void sound(void)
{
    CHECK_EQ(holds(kept, 32, 1), 32);
    char *p = map_anon(64);
    fill(p, 64, 2);
    CHECK_EQ(holds(p, 64, 2), 64);
    CHECK_EQ(munmap(p, 64 * PAGE), 0);
}

// The writes are the kernel's, in the name of this process.
static void test_pages(void)
{
    const size_t len = 16ul << 20;
    char *part[4];
    int failed = 0;
    for (int i = 0; i < 4; i++) {
        part[i] = map(len, RW, ANON, -1, 0); // one below the other
        CHECK(i == 0 || part[i] == part[i - 1] - len);
        int r = madvise(part[i], len, MADV_POPULATE_WRITE);
        CHECK(r == 0 || errno == ENOMEM);
        failed += r != 0;
    }
    CHECK(failed > 0);
    CHECK_EQ(holds(kept, 32, 1), 32);
    // All of what joined: to cut a piece out would take a VMA, and there is no memory for it.
    CHECK_EQ(munmap(part[3], 4 * len), 0);
    sound();
    group("pages");
}

// A page each 2 MiB: most of the memory becomes tables.
static void test_tables(void)
{
    const size_t len = 64ul << 30;
    char *p = map(len, RW, ANON | MAP_NORESERVE, -1, 0);
    int failed = 0;
    for (size_t at = 0; at < len && !failed; at += 512 * PAGE) {
        failed = madvise(p + at, PAGE, MADV_POPULATE_WRITE) != 0;
        CHECK(!failed || errno == ENOMEM);
    }
    CHECK(failed);
    CHECK_EQ(munmap(p, len), 0);
    sound();
    group("page tables");
}

static void test_file(void)
{
    static char block[65536];
    int fd = temp_file(0, 0);
    ssize_t n;
    size_t all = 0;
    while ((n = write(fd, block, sizeof(block))) > 0) {
        all += (size_t)n;
        MUST(all < 64ul << 20);
    }
    CHECK(n == -1 && (errno == ENOMEM || errno == ENOSPC));
    CHECK_EQ(holds(kept, 32, 1), 32);
    CHECK_EQ(ftruncate(fd, 0), 0);
    close(fd);
    sound();
    group("a file");
}

static void *wait_for_end(void *arg)
{
    pthread_barrier_wait(arg);
    return NULL;
}

// VMAs of one page that cannot join.
static void test_mappings(void)
{
    const unsigned long most = 200000;
    unsigned long n = 0;
    char *room = map_nothing(2 * most);
    while (n < most && mmap(room + 2 * n * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0) != MAP_FAILED) {
        n++;
    }
    CHECK(n < most);
    CHECK_EQ(errno, ENOMEM);
    // Unmapping everything takes no new VMA.
    CHECK_EQ(munmap(room - PAGE, (2 * most + 2) * PAGE), 0); // its guards too
    CHECK_EQ(maps_lines(room, 2 * most * PAGE), 0);
    sound();
    group("mappings");
}

static void test_threads(void)
{
    pthread_barrier_t *end = (pthread_barrier_t *)map_anon(1);
    static pthread_t t[4000];
    pthread_attr_t attr;
    unsigned n = 0;
    int e = 0;
    char *stacks = map(4000 * 4 * PAGE, RW, ANON | MAP_NORESERVE, -1, 0);
    pthread_barrier_init(end, NULL, 2);
    pthread_attr_init(&attr);
    // Two wait at the barrier and go; so at most one is asleep in it at a time.
    for (n = 0; n < 100 && !e; n++) {
        pthread_attr_setstack(&attr, stacks + (unsigned long)n * 4 * PAGE, 4 * PAGE);
        e = pthread_create(&t[n], &attr, wait_for_end, end);
    }
    CHECK(e == 0 || e == EAGAIN || e == ENOMEM);
    n -= e != 0;
    if (n % 2) {
        pthread_barrier_wait(end);
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(t[i], NULL);
    }
    CHECK_EQ(munmap(stacks, 4000 * 4 * PAGE) | munmap(end, PAGE), 0);
    sound();
    group("threads");
}

static void all(void)
{
    test_pages();
    test_tables();
    test_file();
    test_mappings();
    test_threads();
}

int main(void)
{
    static char buffer[4096];
    setvbuf(stdout, buffer, _IOLBF, sizeof(buffer));
    MUST(mlockall(MCL_CURRENT) == 0); // a fault of the program's own would kill it
    kept = map(32 * PAGE, RW | PROT_EXEC, ANON, -1, 0); // joins nothing
    fill(kept, 32, 1);
    all(); // what the caches and the library keep
    struct baseline was = baseline_first();
    all();
    baseline_check(&was);
    group("nothing left over");
    return finish();
}
