// TEST: smp=1,2,4 scheme=rcu,mmap_lock
/*
 * slowfs: reads and faults sleep, fail when told to, and see the pattern; threads that fault on
 * different pages sleep side by side; a dropped page is read again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE    4096ul
#define THREADS 8
#define KNOB(n) "/proc/faultline/" n

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            printf("%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #cond, errno);                    \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static void knob_set(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static long knob_get(const char *path)
{
    char buf[32] = "";
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    CHECK(read(fd, buf, sizeof(buf) - 1) > 0);
    close(fd);
    return atol(buf);
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static volatile uint64_t *map;
static int data;

static void *fault_one(void *arg)
{
    uint64_t at = (uint64_t)(uintptr_t)arg * 64 * PAGE + 8;
    CHECK(map[at / 8] == at);
    return NULL;
}

static void check_faults(void)
{
    pthread_t t[THREADS];
    knob_set(KNOB("slow_delay_ms"), "100\n");
    knob_set(KNOB("slow_drop"), "1");
    long before = knob_get(KNOB("slow_reads"));
    uint64_t start = now_ms();
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&t[i], NULL, fault_one, (void *)i) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
    }
    uint64_t took = now_ms() - start;
    CHECK(took >= 100 && took < THREADS * 100);
    CHECK(knob_get(KNOB("slow_reads")) == before + THREADS); // each page once
    for (uintptr_t i = 0; i < THREADS; i++) {
        fault_one((void *)i);
    }
    CHECK(knob_get(KNOB("slow_reads")) == before + THREADS); // cached now
    knob_set(KNOB("slow_drop"), "1");
    fault_one((void *)1);
    CHECK(knob_get(KNOB("slow_reads")) == before + THREADS + 1);
}

// Many threads want the same page: one reads it.
static void check_same_page(void)
{
    pthread_t t[THREADS];
    knob_set(KNOB("slow_drop"), "1");
    long before = knob_get(KNOB("slow_reads"));
    for (unsigned i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&t[i], NULL, fault_one, (void *)3) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
    }
    CHECK(knob_get(KNOB("slow_reads")) == before + 1);
}

static sigjmp_buf back;
static volatile void *bus_addr;

static void on_bus(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    bus_addr = info->si_addr;
    siglongjmp(back, 1);
}

static void check_failures(void)
{
    struct sigaction sa = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    uint64_t word;
    CHECK(sigaction(SIGBUS, &sa, NULL) == 0);
    knob_set(KNOB("slow_delay_ms"), "1");
    knob_set(KNOB("slow_drop"), "1");
    knob_set(KNOB("slow_fail_every"), "1");
    volatile uint64_t *p = &map[10 * PAGE / 8];
    if (sigsetjmp(back, 1) == 0) {
        (void)*p;
        CHECK(!"a failing fault returned");
    }
    CHECK(bus_addr == (volatile void *)p);
    CHECK(pread(data, &word, 8, 0) == -1 && errno == EIO);
    knob_set(KNOB("slow_fail_every"), "0");
    CHECK(*p == 10 * PAGE); // the failure is not remembered
    CHECK(pread(data, &word, 8, 24) == 8 && word == 24);
    CHECK(open(KNOB("slow_reads"), O_WRONLY) == -1 && errno == EACCES);
    int fd = open(KNOB("slow_delay_ms"), O_WRONLY);
    CHECK(write(fd, "fast", 4) == -1 && errno == EINVAL);
    close(fd);
}

static void check_writes(void)
{
    int fd = open("/slow/mine", O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0 && ftruncate(fd, 4 * (off_t)PAGE) == 0);
    volatile uint64_t *m = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(m != MAP_FAILED);
    CHECK(m[2 * PAGE / 8] == 2 * PAGE);
    long before = knob_get(KNOB("slow_mkwrites"));
    m[2 * PAGE / 8] = 1;
    CHECK(knob_get(KNOB("slow_mkwrites")) == before + 1);
    uint64_t word;
    CHECK(pread(fd, &word, 8, 2 * (off_t)PAGE) == 8 && word == 1);
    knob_set(KNOB("slow_mkwrite_fail_every"), "1");
    if (sigsetjmp(back, 1) == 0) {
        m[3 * PAGE / 8] = 1;
        CHECK(!"a failing first write returned");
    }
    knob_set(KNOB("slow_mkwrite_fail_every"), "0");
    m[3 * PAGE / 8] = 5;
    knob_set(KNOB("slow_drop"), "1");
    CHECK(m[3 * PAGE / 8] == 3 * PAGE); // the disk knows nothing of it
    CHECK(munmap((void *)m, 4 * PAGE) == 0 && close(fd) == 0);
    CHECK(unlink("/slow/mine") == 0);
}

int main(void)
{
    struct stat st;
    data = open("/slow/data", O_RDONLY);
    CHECK(data >= 0 && fstat(data, &st) == 0 && st.st_size == 64l << 20);
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, data, 0);
    CHECK(map != MAP_FAILED);
    check_faults();
    check_same_page();
    check_failures();
    check_writes();
    puts("ok");
    return 0;
}
