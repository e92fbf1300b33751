// TEST: smp=1,2,4 scheme=rcu,mmap_lock timeout=120
// Faults that sleep for their page (/slow/data: the word at each place of the file is the place):
// nobody else waits for them, the memory may go meanwhile, errors become SIGBUS. (Faultline only.)
#include "baseline.h"
#include <pthread.h>
#include <sched.h>

#define THREADS 8

static int slow_fd;
static char *area;
static pthread_barrier_t start_line;
static atomic_int stop;
static atomic_ulong next_page;

static int page_right(char *p, unsigned long page)
{
    volatile unsigned long *w = (volatile unsigned long *)p;
    for (unsigned long i = 0; i < PAGE / 8; i++) {
        if (w[i] != page * PAGE + i * 8) {
            return 0;
        }
    }
    return 1;
}

static void start(pthread_t *t, void *(*fn)(void *), int n)
{
    pthread_barrier_init(&start_line, NULL, (unsigned)n);
    stop = 0;
    for (long i = 0; i < n; i++) {
        MUST(pthread_create(&t[i], NULL, fn, (void *)i) == 0);
    }
}
static void join(pthread_t *t, int n)
{
    for (int i = 0; i < n; i++) {
        pthread_join(t[i], NULL);
    }
}

static void forget_pages(void)
{
    MUST(knob_write("slow_drop", "1") == 0);
}

static void test_contents(void)
{
    knob_set("slow_delay_ms", 1);
    area = map(64 * PAGE, PROT_READ, MAP_SHARED, slow_fd, 100 * PAGE);
    for (unsigned long i = 0; i < 64; i++) {
        unsigned long at = i * 37 % 64;
        CHECK(page_right(area + at * PAGE, 100 + at));
    }
    CHECK_EQ(munmap(area, 64 * PAGE), 0);
    area = map(16 * PAGE, RW, MAP_PRIVATE, slow_fd, 200 * PAGE);
    for (unsigned long i = 0; i < 16; i++) {
        area[i * PAGE] = 1; // a copy without reading first
        CHECK_EQ(*(unsigned long *)(area + i * PAGE + 8), (200 + i) * PAGE + 8);
    }
    CHECK_EQ(munmap(area, 16 * PAGE), 0);
    group("contents");
}

// ---- Many want the same page: it is read once ---------------------------------------------------

static void *read_together(void *arg)
{
    for (unsigned long i = 0; i < 24; i++) {
        pthread_barrier_wait(&start_line);
        CHECK(page_right(area + i * PAGE, i));
    }
    return arg;
}

static void test_together(void)
{
    pthread_t t[THREADS];
    forget_pages();
    knob_set("slow_delay_ms", 5);
    area = map(24 * PAGE, PROT_READ, MAP_SHARED, slow_fd, 0);
    long before = knob_get("slow_reads");
    start(t, read_together, THREADS);
    join(t, THREADS);
    CHECK_EQ(knob_get("slow_reads") - before, 24);
    CHECK_EQ(munmap(area, 24 * PAGE), 0);
    group("read in once");
}

// ---- Others make progress -----------------------------------------------------------------------

#define FAR_PAGES 8192ul

static void *read_on(void *arg)
{
    pthread_barrier_wait(&start_line);
    while (!stop) {
        unsigned long page = atomic_fetch_add(&next_page, 1) % FAR_PAGES;
        CHECK(page_right(area + page * PAGE, page));
    }
    return arg;
}

// If a writer waited for the faults that sleep, each of its rounds would see several reads end.
static void test_progress(void)
{
    enum { ROUNDS = 1500 };
    pthread_t t[4];
    forget_pages();
    knob_set("slow_delay_ms", 20);
    knob_set("fault_around", 1);
    area = map(FAR_PAGES * PAGE, PROT_READ, MAP_SHARED, slow_fd, 0);
    next_page = 0;
    start(t, read_on, 4);
    while (next_page < 8) {
        sched_yield();
    }
    unsigned long before = next_page;
    for (int i = 0; i < ROUNDS; i++) {
        char *p = map_anon(4);
        p[PAGE] = 1;
        CHECK_EQ(mprotect(p, PAGE, PROT_READ), 0);
        CHECK_EQ(munmap(p, 4 * PAGE), 0);
    }
    unsigned long reads = next_page - before;
    stop = 1;
    join(t, 4);
    if (!CHECK(reads < ROUNDS)) {
        fprintf(stderr, "%lu pages were read in during %d rounds\n", reads, ROUNDS);
    }
    CHECK_EQ(munmap(area, FAR_PAGES * PAGE), 0);
    knob_set("fault_around", 16);
    group("others make progress");
}

// ---- The mapping goes while faults sleep in it --------------------------------------------------

static atomic_int got_data, got_signal;
static int allowed_signal;
static int zero_allowed;

static void *read_vanishing(void *arg)
{
    unsigned long page = (unsigned long)arg;
    unsigned char byte[1];
    pthread_barrier_wait(&start_line);
    int what = touch(TOUCH_READ, area + page * PAGE + 1, byte); // byte 1 of the word: page << 4
    if (what == 0) {
        CHECK(byte[0] == (unsigned char)(page << 4) || (zero_allowed && byte[0] == 0));
        got_data++;
    } else {
        CHECK_EQ(what, allowed_signal);
        got_signal++;
    }
    return NULL;
}

static void (*const take[])(void);

static void test_vanishing(unsigned how, int signal, int zero, const char *what)
{
    pthread_t t[THREADS];
    for (int round = 0; round < 4; round++) {
        forget_pages();
        knob_set("slow_delay_ms", 30);
        area = map(THREADS * PAGE, PROT_READ, MAP_SHARED, slow_fd, 0);
        allowed_signal = signal;
        zero_allowed = zero;
        got_data = got_signal = 0;
        long before = knob_get("slow_reads");
        start(t, read_vanishing, THREADS);
        while (knob_get("slow_reads") - before < 1 + round) { // some of them sleep by now
            sched_yield();
        }
        take[how]();
        join(t, THREADS);
        CHECK_EQ(got_data + got_signal, THREADS);
        munmap(area, THREADS * PAGE);
    }
    group(what);
}

static void take_unmap(void)
{
    CHECK_EQ(munmap(area, THREADS * PAGE), 0);
}
static void take_protect(void)
{
    CHECK_EQ(mprotect(area, THREADS * PAGE, PROT_NONE), 0);
}
static void take_replace(void)
{
    CHECK(mmap(area, THREADS * PAGE, RW, ANON | MAP_FIXED, -1, 0) == area);
}
static void take_pages(void)
{
    forget_pages(); // the pages, not the mapping: they are read again
}
static void (*const take[])(void) = {take_unmap, take_protect, take_replace, take_pages};

// ---- Errors -------------------------------------------------------------------------------------

static void test_errors(void)
{
    forget_pages();
    knob_set("slow_delay_ms", 1);
    knob_set("slow_fail_every", 2);
    area = map(32 * PAGE, PROT_READ, MAP_SHARED, slow_fd, 0);
    int good = 0, bad = 0;
    for (unsigned long i = 0; i < 32; i++) {
        int what = touch_read(area + i * PAGE);
        CHECK(what == 0 || what == BUS);
        good += what == 0;
        bad += what == BUS;
    }
    CHECK_EQ(good, 16);
    CHECK_EQ(bad, 16);
    forget_pages();
    knob_set("slow_fail_every", 1);
    unsigned long word;
    CHECK_ERR(pread(slow_fd, &word, 8, 8 * PAGE), EIO);
    CHECK_EQ(touch_read(area + 9 * PAGE), BUS);
    CHECK_ERR(madvise(area, 4 * PAGE, MADV_POPULATE_READ), EFAULT);
    int fd = temp_file(1, 1);
    CHECK_ERR(pwrite(fd, area + 9 * PAGE, 8, 0), EFAULT); // a buffer that is not to be had
    close(fd);
    knob_set("slow_fail_every", 0);
    for (unsigned long i = 0; i < 32; i++) { // an error does not stick
        CHECK(page_right(area + i * PAGE, i));
    }
    CHECK_EQ(munmap(area, 32 * PAGE), 0);
    group("errors");
}

// ---- The first write to a page of a shared mapping is announced ---------------------------------

static void *write_together(void *arg)
{
    for (unsigned long i = 0; i < 8; i++) {
        pthread_barrier_wait(&start_line);
        atomic_fetch_add((atomic_ulong *)(area + i * PAGE + 64), 1);
    }
    return arg;
}

static void test_notify(void)
{
    forget_pages();
    knob_set("slow_delay_ms", 1);
    area = map(16 * PAGE, RW, MAP_SHARED, slow_fd, 0);
    for (unsigned long i = 0; i < 16; i++) {
        CHECK(page_right(area + i * PAGE, i));
    }
    long before = knob_get("slow_mkwrites");
    area[3 * PAGE + 1] = 77;
    CHECK_EQ(knob_get("slow_mkwrites") - before, 1);
    area[3 * PAGE + 2] = 78;
    CHECK_EQ(knob_get("slow_mkwrites") - before, 1); // once
    char byte = 0;
    CHECK_EQ(pread(slow_fd, &byte, 1, 3 * PAGE + 1), 1);
    CHECK_EQ(byte, 77);
    // mprotect to and fro gives no right to write unannounced.
    CHECK_EQ(mprotect(area, 16 * PAGE, PROT_READ), 0);
    CHECK_EQ(mprotect(area, 16 * PAGE, RW), 0);
    before = knob_get("slow_mkwrites");
    area[4 * PAGE] = 1;
    CHECK_EQ(knob_get("slow_mkwrites") - before, 1);
    // Writing to a page that is not there: read in, then announced.
    forget_pages();
    before = knob_get("slow_mkwrites");
    area[5 * PAGE + 1] = 5;
    CHECK_EQ(knob_get("slow_mkwrites") - before, 1);
    CHECK_EQ(*(unsigned long *)(area + 5 * PAGE + 8), 5 * PAGE + 8);
    // Refused: SIGBUS, and the page is as it was.
    knob_set("slow_mkwrite_fail_every", 1);
    CHECK_EQ(touch_write(area + 6 * PAGE, 1), BUS);
    knob_set("slow_mkwrite_fail_every", 0);
    CHECK(page_right(area + 6 * PAGE, 6));
    CHECK_EQ(touch_write(area + 6 * PAGE, 1), 0);
    // A private copy concerns nobody.
    char *p = map(4 * PAGE, RW, MAP_PRIVATE, slow_fd, 8 * PAGE);
    before = knob_get("slow_mkwrites");
    p[0] = 1;
    CHECK_EQ(knob_get("slow_mkwrites") - before, 0);
    CHECK_EQ(munmap(p, 4 * PAGE) | munmap(area, 16 * PAGE), 0);
    group("write notify");

    pthread_t t[THREADS];
    forget_pages();
    knob_set("slow_delay_ms", 3);
    area = map(8 * PAGE, RW, MAP_SHARED, slow_fd, 0);
    start(t, write_together, THREADS);
    join(t, THREADS);
    for (unsigned long i = 0; i < 8; i++) {
        CHECK_EQ(*(unsigned long *)(area + i * PAGE + 64), i * PAGE + 64 + THREADS);
    }
    CHECK_EQ(munmap(area, 8 * PAGE), 0);
    forget_pages();
    group("written together");
}

int main(void)
{
    catch_faults();
    slow_fd = open("/slow/data", O_RDWR);
    MUST(slow_fd >= 0);
    struct baseline was = baseline_first();
    test_contents();
    test_together();
    test_progress();
    test_vanishing(0, MAPERR, 0, "unmapped while faults sleep");
    test_vanishing(1, ACCERR, 0, "protected while faults sleep");
    test_vanishing(2, 0, 1, "replaced while faults sleep");
    test_vanishing(3, 0, 0, "pages dropped while faults sleep");
    test_errors();
    test_notify();
    knob_set("slow_delay_ms", 5);
    forget_pages();
    baseline_check(&was);
    CHECK(baseline_now().own_vmas <= was.own_vmas + 2 * THREADS + 16); // the library keeps stacks
    close(slow_fd);
    group("nothing left over");
    return finish();
}
