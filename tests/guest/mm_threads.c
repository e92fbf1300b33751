// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=180
// Threads that fault and map in one address space: apart, on the same pages, against each other.
#include "mm_test.h"
#include <pthread.h>
#include <sched.h>

#define THREADS 4

static pthread_barrier_t start_line;
static atomic_int stop;
static atomic_long region; // what the threads share: an address

static void run_threads(void *(*fn)(void *), int n, void *(*beside)(void *))
{
    pthread_t t[16];
    pthread_barrier_init(&start_line, NULL, (unsigned)n);
    stop = 0;
    for (long i = 0; i < n; i++) {
        MUST(pthread_create(&t[i], NULL, fn, (void *)i) == 0);
    }
    if (beside) {
        beside(NULL);
        stop = 1;
    }
    for (int i = 0; i < n; i++) {
        pthread_join(t[i], NULL);
    }
}

// ---- Each its own -------------------------------------------------------------------------------

static void *own_mappings(void *arg)
{
    uint64_t id = (uint64_t)arg + 1;
    pthread_barrier_wait(&start_line);
    for (uint64_t i = 0; i < 30; i++) {
        uint64_t tag = id << 16 | i;
        char *p = map_anon(24);
        CHECK(is_zero(p, 24));
        fill(p, 24, tag);
        CHECK_EQ(mprotect(p + 8 * PAGE, 8 * PAGE, PROT_READ), 0);
        CHECK_EQ(munmap(p, 4 * PAGE), 0);
        CHECK_EQ(holds_from(p + 4 * PAGE, 4, 20, tag), 20);
        CHECK_EQ(touch_write(p + 9 * PAGE, 1), ACCERR);
        char *q = mremap(p + 16 * PAGE, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
        CHECK(q != MAP_FAILED);
        CHECK_EQ(holds_from(q, 16, 8, tag), 8);
        CHECK_EQ(munmap(q, 16 * PAGE), 0);
        CHECK_EQ(munmap(p + 4 * PAGE, 12 * PAGE), 0); // the rest is others' by now
    }
    return NULL;
}

// ---- The same pages at once: no page is lost, none is there twice -------------------------------

#define SHARED_PAGES 256

static void *count_up(void *arg)
{
    unsigned long id = (unsigned long)arg;
    char *p = (char *)region;
    pthread_barrier_wait(&start_line);
    for (unsigned long i = 0; i < SHARED_PAGES; i++) {
        unsigned long page = id % 2 ? SHARED_PAGES - 1 - i : i;
        atomic_fetch_add((atomic_ulong *)(p + page * PAGE + 16), 1);
    }
    return NULL;
}

static void count_on(char *p, unsigned long was, const char *what)
{
    region = (long)p;
    for (int round = 0; round < 5; round++) {
        run_threads(count_up, THREADS, NULL);
        unsigned long wrong = 0;
        for (unsigned long i = 0; i < SHARED_PAGES; i++) {
            wrong += *(unsigned long *)(p + i * PAGE + 16) != was + THREADS;
        }
        CHECK_EQ(wrong, 0);
        if (was == 0) {
            CHECK_EQ(madvise(p, SHARED_PAGES * PAGE, MADV_DONTNEED), 0);
        } else {
            break;
        }
    }
    group(what);
}

static void same_pages(void)
{
    char *p = map_anon(SHARED_PAGES);
    count_on(p, 0, "same pages, anonymous");
    CHECK_EQ(munmap(p, SHARED_PAGES * PAGE), 0);
    for (int round = 0; round < 4; round++) {
        int fd = temp_file(SHARED_PAGES, 0);
        p = map(SHARED_PAGES * PAGE, RW, round % 2 ? MAP_PRIVATE : MAP_SHARED, fd, 0);
        for (unsigned long i = 0; i < SHARED_PAGES; i++) {
            unsigned long seven = 7;
            CHECK_EQ(pwrite(fd, &seven, 8, (off_t)(i * PAGE + 16)), 8);
        }
        region = (long)p;
        run_threads(count_up, THREADS, NULL);
        for (unsigned long i = 0; i < SHARED_PAGES; i++) {
            unsigned long in_file = 0;
            CHECK_EQ(*(unsigned long *)(p + i * PAGE + 16), 7 + THREADS);
            CHECK_EQ(pread(fd, &in_file, 8, (off_t)(i * PAGE + 16)), 8);
            CHECK_EQ(in_file, round % 2 ? 7 : 7 + THREADS);
        }
        CHECK_EQ(munmap(p, SHARED_PAGES * PAGE), 0);
        close(fd);
    }
    group("same pages, files");
}

// ---- Somebody takes the memory away -------------------------------------------------------------

#define TAKEN_PAGES 16

// Every touch succeeds or gives the right signal; what is read was written by somebody.
static void *touch_all_the_time(void *arg)
{
    unsigned char byte = 0, mine = (unsigned char)(0x80 | (uintptr_t)arg);
    unsigned long n = 0;
    char *p = (char *)region;
    pthread_barrier_wait(&start_line);
    while (!stop) {
        char *at = p + n++ % TAKEN_PAGES * PAGE + 100;
        int what = touch(TOUCH_READ, at, &byte);
        CHECK(what == 0 || what == MAPERR || what == ACCERR);
        CHECK(what != 0 || byte == 0 || (byte >= 0x80 && byte < 0x80 + THREADS));
        what = touch_write(at, mine);
        CHECK(what == 0 || what == MAPERR || what == ACCERR);
    }
    return NULL;
}

static void *take_away(void *arg)
{
    char *p = (char *)region;
    const size_t len = TAKEN_PAGES * PAGE;
    for (int i = 0; i < 50; i++) {
        CHECK_EQ(munmap(p, len), 0);
        CHECK_EQ(touch_read(p + i % TAKEN_PAGES * PAGE), MAPERR);
        CHECK(mmap(p, len, PROT_NONE, ANON | MAP_FIXED, -1, 0) == p);
        CHECK_EQ(touch_read(p), ACCERR);
        CHECK_EQ(mprotect(p, len, RW), 0);
        CHECK_EQ(touch_write(p + 8, 1), 0);
        CHECK_EQ(mprotect(p, len, PROT_READ), 0);
        CHECK_EQ(touch_write(p + 8, 1), ACCERR);
        unsigned char before[TAKEN_PAGES], after[TAKEN_PAGES];
        for (int page = 0; page < TAKEN_PAGES; page++) { // read-only now: nothing changes it
            before[page] = (unsigned char)p[page * PAGE + 100];
        }
        sched_yield();
        for (int page = 0; page < TAKEN_PAGES; page++) {
            after[page] = (unsigned char)p[page * PAGE + 100];
        }
        CHECK_EQ(memcmp(before, after, TAKEN_PAGES), 0);
        CHECK_EQ(mprotect(p, len, RW), 0);
    }
    return arg;
}

static void against_writers(void)
{
    char *p = map_nothing(TAKEN_PAGES);
    MUST(mmap(p, TAKEN_PAGES * PAGE, RW, ANON | MAP_FIXED, -1, 0) == p);
    region = (long)p;
    run_threads(touch_all_the_time, THREADS, take_away);
    CHECK_EQ(munmap(p, TAKEN_PAGES * PAGE), 0);
    group("against munmap and mprotect");
}

// ---- DONTNEED: what it forgot never comes back --------------------------------------------------

static atomic_ulong oldest; // values below it have been forgotten

static void *read_no_old_value(void *arg)
{
    volatile unsigned long *w = (volatile unsigned long *)region;
    unsigned long n = 0;
    pthread_barrier_wait(&start_line);
    while (!stop) {
        unsigned long floor = oldest, v = w[n++ % 4 * (PAGE / 8)];
        if (v != 0 && v < floor) {
            CHECK_EQ(v, floor);
            break;
        }
    }
    return arg;
}

static void *write_and_forget(void *arg)
{
    volatile unsigned long *w = (volatile unsigned long *)region;
    for (unsigned long i = 1; i <= 300; i++) {
        for (int page = 0; page < 4; page++) {
            w[page * (PAGE / 8)] = i;
        }
        CHECK_EQ(madvise((void *)region, 4 * PAGE, MADV_DONTNEED), 0);
        oldest = i + 1;
    }
    return arg;
}

static void against_dontneed(void)
{
    char *p = map_anon(4);
    region = (long)p;
    run_threads(read_no_old_value, THREADS - 1, write_and_forget);
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    group("against DONTNEED");
}

// ---- mremap to and fro: no write is lost --------------------------------------------------------

static char *place[2];
static atomic_ulong written[THREADS];

static int bump(volatile unsigned long *w)
{
    int what = sigsetjmp(catch_jump, 1);
    if (what == 0) {
        catching = 1;
        atomic_fetch_add((atomic_ulong *)w, 1);
    }
    catching = 0;
    return what;
}

static void *bump_all_the_time(void *arg)
{
    unsigned long id = (unsigned long)arg, n = 0;
    pthread_barrier_wait(&start_line);
    while (!stop) {
        char *at = place[n++ % 2] + id * PAGE;
        int what = bump((volatile unsigned long *)at);
        CHECK(what == 0 || what == MAPERR);
        written[id] += what == 0;
    }
    return NULL;
}

static int all_have_written(void)
{
    int all = 1;
    for (int i = 0; i < THREADS; i++) {
        all &= written[i] > 0;
    }
    return all;
}

static void *move_to_and_fro(void *arg)
{
    for (int i = 0; i < 60 || i % 2 || !all_have_written(); i++) {
        sched_yield();
        char *from = place[i % 2], *to = place[1 - i % 2];
        CHECK(mremap(from, THREADS * PAGE, THREADS * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) ==
              to);
    }
    return arg;
}

static void against_mremap(void)
{
    place[0] = map_nothing(THREADS);
    place[1] = map_nothing(THREADS);
    MUST(mmap(place[0], THREADS * PAGE, RW, ANON | MAP_FIXED, -1, 0) == place[0]);
    run_threads(bump_all_the_time, THREADS, move_to_and_fro);
    for (unsigned long i = 0; i < THREADS; i++) {
        CHECK_EQ(*(unsigned long *)(place[0] + i * PAGE), written[i]);
    }
    CHECK_EQ(munmap(place[0], THREADS * PAGE), 0);
    group("against mremap");
}

// ---- Truncate against readers and writers of the file -------------------------------------------

static void *touch_file(void *arg)
{
    unsigned char byte = 0;
    unsigned long n = (unsigned long)arg;
    pthread_barrier_wait(&start_line);
    while (!stop) {
        char *at = (char *)region + n++ % TAKEN_PAGES * PAGE;
        int what = n % 3 ? touch(TOUCH_READ, at, &byte) : touch_write(at, 5);
        CHECK(what == 0 || what == BUS);
        CHECK(what != 0 || byte == 0 || byte == 5);
        byte = 0;
    }
    return NULL;
}

static int shrunk_fd;

static void *shrink_and_grow(void *arg)
{
    for (int i = 0; i < 40; i++) {
        CHECK_EQ(ftruncate(shrunk_fd, (i % 4) * PAGE), 0);
        CHECK_EQ(touch_read((char *)region + (i % 4) * PAGE), BUS);
        CHECK_EQ(touch_read((char *)region + (TAKEN_PAGES - 1) * PAGE), BUS);
        CHECK_EQ(ftruncate(shrunk_fd, TAKEN_PAGES * PAGE), 0);
        CHECK_EQ(touch_read((char *)region + (TAKEN_PAGES - 1) * PAGE), 0);
    }
    return arg;
}

static void against_truncate(void)
{
    shrunk_fd = temp_file(0, 0);
    MUST(ftruncate(shrunk_fd, TAKEN_PAGES * PAGE) == 0);
    char *p = map(TAKEN_PAGES * PAGE, RW, MAP_SHARED, shrunk_fd, 0);
    region = (long)p;
    run_threads(touch_file, THREADS - 1, shrink_and_grow);
    CHECK_EQ(munmap(p, TAKEN_PAGES * PAGE), 0);
    close(shrunk_fd);
    group("against truncate");
}

int main(void)
{
    catch_faults();
    run_threads(own_mappings, THREADS, NULL);
    group("each its own");
    same_pages();
    against_writers();
    against_dontneed();
    against_mremap();
    against_truncate();
    return finish();
}
