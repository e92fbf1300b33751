// What the soft machine needs of the host. Compiled without include/, whose sched.h would be taken
// for the host's.
#include "soft.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct start {
    void (*fn)(unsigned);
    unsigned n;
};

static void *thread_main(void *arg)
{
    struct start *s = arg;
    s->fn(s->n);
    return NULL;
}

void host_run_threads(unsigned n, void (*fn)(unsigned))
{
    pthread_t thread[64];
    struct start start[64];

    for (unsigned i = 0; i < n; i++) {
        start[i] = (struct start){fn, i};
        if (pthread_create(&thread[i], NULL, thread_main, &start[i]) != 0) {
            perror("pthread_create");
            exit(2);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(thread[i], NULL);
    }
}

void host_yield(void)
{
    sched_yield();
}

void host_sleep_us(unsigned us)
{
    struct timespec t = {0, (long)us * 1000};
    nanosleep(&t, NULL);
}

void *host_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    return p;
}

void host_watchdog(unsigned secs)
{
    alarm(secs);
}

unsigned long host_option(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text ? strtoul(text, NULL, 0) : otherwise;
}

uint64_t host_seed(void)
{
    uint64_t seed = host_option("SEED", (unsigned long)time(NULL));
    fprintf(stderr, "# SEED=%llu\n", (unsigned long long)seed);
    return seed;
}
