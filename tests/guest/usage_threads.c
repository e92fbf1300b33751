// TEST: smp=2,4 scheme=rcu linux=same
// What many threads have used is added up while some of them end: nothing is missed, and nothing
// counted twice.
//
// Threads that yield end one after the other, each from another place among many that sleep. A
// thread missed makes the sum less than one before it; a thread counted twice makes the next one
// less. In the end the sums are at least what the threads say of themselves.
#define _GNU_SOURCE
#include "proc_test.h"
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#define THREADS 300
#define ROUNDS  4
#define YIELDS  5

static struct gate leave;
static atomic_int over;
static _Atomic long used_ns, yielded, nr_sums;

static long now(clockid_t which)
{
    struct timespec t;
    MUST(clock_gettime(which, &t) == 0);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *sleeper(void *arg)
{
    struct rusage u;
    for (int i = 0; i < YIELDS; i++) {
        sched_yield();
    }
    gate_wait(&leave);
    MUST(getrusage(RUSAGE_THREAD, &u) == 0);
    yielded += u.ru_nvcsw + u.ru_nivcsw;
    used_ns += now(CLOCK_THREAD_CPUTIME_ID);
    return arg;
}

static long switches(void)
{
    struct rusage u;
    MUST(getrusage(RUSAGE_SELF, &u) == 0);
    return u.ru_nvcsw + u.ru_nivcsw;
}

static void *adder(void *arg)
{
    long ns = 0, nr = 0, less = 0;
    while (!over) {
        long t = now(CLOCK_PROCESS_CPUTIME_ID), n = switches();
        less += t < ns || n < nr;
        ns = t;
        nr = n;
        nr_sums++;
    }
    CHECK_EQ(less, 0);
    return arg;
}

static void one_round(void)
{
    pthread_t t[THREADS];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 32768);
    for (int i = 0; i < THREADS; i++) {
        MUST(pthread_create(&t[i], &attr, sleeper, NULL) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        gate_pass(&leave);
        if (i % 50 == 0) {
            for (long n = nr_sums; nr_sums < n + 1;) {
                sched_yield();
            }
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
    }
}

int main(void)
{
    pthread_t t;
    gate_make(&leave);
    MUST(pthread_create(&t, NULL, adder, NULL) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        one_round();
    }
    over = 1;
    pthread_join(t, NULL);
    CHECK(used_ns > 0 && now(CLOCK_PROCESS_CPUTIME_ID) >= used_ns);
    CHECK(yielded > 0 && switches() >= yielded);
    group("threads that end while they are added up");
    return finish();
}
