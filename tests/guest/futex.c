// TEST: smp=1,2,4 scheme=rcu linux=same timeout=60
// The futex call itself: errors, timeouts, wake, requeue, bitset, wake-op, shared words, robust
// mutexes.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define NR 4

static uint32_t word, word2;
static atomic_int sleeping, awake;

static long futex(uint32_t *addr, int op, uint32_t val, const void *timeout, uint32_t *addr2,
                  uint32_t val3)
{
    return syscall(SYS_futex, addr, op, val, timeout, addr2, val3);
}

static void errors(void)
{
    struct timespec bad = {0, 1000000000}, negative = {-1, 0};
    uint32_t *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(hole != MAP_FAILED);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0), EAGAIN);
    CHECK_ERRNO(futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT, 0, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(hole, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(hole, FUTEX_WAIT, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex((uint32_t *)-4096, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT, 0, &bad, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT, 0, &negative, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT, 0, (void *)16, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&word, 99, 0, NULL, NULL, 0), ENOSYS);
    CHECK_ERRNO(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &word2, 5), EAGAIN);
    CHECK_ERRNO(futex(&word, FUTEX_REQUEUE, (uint32_t)-1, (void *)1, &word2, 0), EINVAL);
    CHECK(futex(&word, FUTEX_WAKE, 10, NULL, NULL, 0) == 0);
    // No memory there, for a private futex neither, which needs no mapping.
    CHECK_ERRNO(futex((uint32_t *)0xffffffff81000000ul, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0),
                EFAULT);
    CHECK_ERRNO(futex((uint32_t *)0x7ffffffff000ul, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), EFAULT);
    ok("errors");
}

static double now(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct timespec spec(double t)
{
    return (struct timespec){(time_t)t, (long)((t - (double)(time_t)t) * 1e9)};
}

static void timeouts(void)
{
    struct timespec ts = {0, 20000000};
    double start = now(CLOCK_MONOTONIC);

    CHECK_ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0), ETIMEDOUT);
    CHECK(now(CLOCK_MONOTONIC) - start >= 0.02);
    start = now(CLOCK_MONOTONIC);
    ts = spec(start + 0.03);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET, 0, &ts, NULL, ~0u), ETIMEDOUT);
    CHECK(now(CLOCK_MONOTONIC) - start >= 0.0299);
    start = now(CLOCK_REALTIME);
    ts = spec(start + 0.03);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &ts, NULL, ~0u),
                ETIMEDOUT);
    CHECK(now(CLOCK_REALTIME) - start >= 0.0299);
    ts = (struct timespec){1, 0}; // long ago
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET, 0, &ts, NULL, ~0u), ETIMEDOUT);
    ok("timeouts");
}

static void *wait_word(void *arg)
{
    uint32_t bits = arg ? (uint32_t)(uintptr_t)arg : ~0u;

    atomic_fetch_add(&sleeping, 1);
    CHECK(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, bits) == 0);
    atomic_fetch_add(&awake, 1);
    return NULL;
}

static void start(pthread_t *t, const uintptr_t *bits)
{
    atomic_store(&sleeping, 0);
    atomic_store(&awake, 0);
    for (int i = 0; i < NR; i++) {
        CHECK(pthread_create(&t[i], NULL, wait_word, bits ? (void *)bits[i] : NULL) == 0);
    }
    while (atomic_load(&sleeping) < NR) {
        usleep(1000);
    }
    usleep(50000);
}

// Wakes until all n have been found, for one may have been late to sleep.
static void wake_exactly(uint32_t *addr, int op, uint32_t bits, long n)
{
    for (long woken = 0; woken < n;) {
        long r = futex(addr, op, (uint32_t)(n - woken), NULL, NULL, bits);

        CHECK(r >= 0);
        woken += r;
        usleep(1000);
    }
}

static void join(pthread_t *t)
{
    for (int i = 0; i < NR; i++) {
        CHECK(pthread_join(t[i], NULL) == 0);
    }
}

static void wakes(void)
{
    static const uintptr_t bits[NR] = {1, 2, 1, 2};
    pthread_t t[NR];

    start(t, NULL);
    wake_exactly(&word, FUTEX_WAKE_PRIVATE, 0, 1);
    wake_exactly(&word, FUTEX_WAKE_PRIVATE, 0, NR - 1);
    join(t);
    ok("wake");
    start(t, bits);
    wake_exactly(&word, FUTEX_WAKE_BITSET_PRIVATE, 2, 2);
    CHECK(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 2) == 0);
    wake_exactly(&word, FUTEX_WAKE_BITSET_PRIVATE, 1, 2);
    join(t);
    ok("bitset");
    start(t, NULL);
    CHECK(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &word2, 0) == NR);
    CHECK(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0) == 0);
    wake_exactly(&word2, FUTEX_WAKE_PRIVATE, 0, NR - 1);
    join(t);
    start(t, NULL);
    CHECK(futex(&word, FUTEX_REQUEUE_PRIVATE, 0, (void *)2, &word2, 0) == 2);
    wake_exactly(&word2, FUTEX_WAKE_PRIVATE, 0, 2);
    wake_exactly(&word, FUTEX_WAKE_PRIVATE, 0, NR - 2);
    join(t);
    ok("requeue");
    start(t, NULL);
    word2 = 5;
    // word2 += 3; wake 1 of word; the old value 5 is not > 6: wake none of word2
    CHECK(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)10, &word2,
                FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_GT, 6)) == 1);
    CHECK(word2 == 8);
    word2 = 0;
    // an operation on word2 whose comparison holds, waking both: word2 has nobody
    CHECK(futex(&word2, FUTEX_WAKE_OP_PRIVATE, 1, (void *)10, &word,
                FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0)) == NR - 1);
    join(t);
    ok("wake-op");
}

static uint32_t *one, *two;

static void *wait_two(void *arg)
{
    (void)arg;
    atomic_fetch_add(&sleeping, 1);
    CHECK(futex(two, FUTEX_WAIT, 0, NULL, NULL, 0) == 0);
    return NULL;
}

// One word at two addresses.
static void shared_word(void)
{
    pthread_t t;
    int fd = open("/tmp/word", O_RDWR | O_CREAT | O_TRUNC, 0600);

    CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
    one = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    two = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(one != MAP_FAILED && two != MAP_FAILED && one != two);
    atomic_store(&sleeping, 0);
    CHECK(pthread_create(&t, NULL, wait_two, NULL) == 0);
    wake_exactly(one, FUTEX_WAKE, 0, 1);
    CHECK(pthread_join(t, NULL) == 0);
    ok("shared word");
}

static pthread_mutex_t robust;

static void *die_holding(void *arg)
{
    (void)arg;
    CHECK(pthread_mutex_lock(&robust) == 0);
    return NULL;
}

static void robust_mutex(void)
{
    pthread_mutexattr_t attr;
    pthread_t t;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    CHECK(pthread_mutex_init(&robust, &attr) == 0);
    CHECK(pthread_create(&t, NULL, die_holding, NULL) == 0);
    CHECK(pthread_join(t, NULL) == 0);
    CHECK(pthread_mutex_lock(&robust) == EOWNERDEAD);
    CHECK(pthread_mutex_consistent(&robust) == 0);
    CHECK(pthread_mutex_unlock(&robust) == 0);
    CHECK(pthread_mutex_lock(&robust) == 0);
    ok("robust mutex");
}

int main(void)
{
    errors();
    timeouts();
    wakes();
    shared_word();
    robust_mutex();
    return 0;
}
