// TEST: smp=1,2,4,8 timeout=120
//
// Every CPU gives back what it keeps (mm/drain.c), several asking at once: while the others idle,
// run user code without a system call, are busy in the kernel, map and unmap.
#include "baseline.h"
#include <pthread.h>
#include <sched.h>

#define ASKERS 3

static atomic_int stop;
static long nr_cpus;

static void settle(void)
{
    MUST(knob_write("settle", "1") == 0);
}

static void on_cpu(long cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    MUST(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static void *spin(void *arg)
{
    on_cpu((long)arg);
    while (!stop) {
    }
    return NULL;
}

// In the kernel most of the time: the pages of a large range are taken and given back.
static void *work(void *arg)
{
    on_cpu((long)arg);
    while (!stop) {
        char *p = map(512 * PAGE, RW, ANON | MAP_POPULATE, -1, 0);
        MUST(munmap(p, 512 * PAGE) == 0);
    }
    return NULL;
}

static void *change(void *arg)
{
    on_cpu((long)arg);
    while (!stop) {
        char *p = map(4 * PAGE, RW, ANON, -1, 0);
        MUST(mprotect(p + PAGE, PAGE, PROT_READ) == 0);
        MUST(munmap(p, 4 * PAGE) == 0);
    }
    return NULL;
}

static void *ask(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1 + 12 / nr_cpus; i++) {
        settle();
    }
    return NULL;
}

static void ask_beside(void *(*fn)(void *))
{
    pthread_t busy[64], asker[ASKERS];
    stop = 0;
    for (long c = 0; fn && c < nr_cpus; c++) {
        MUST(pthread_create(&busy[c], NULL, fn, (void *)c) == 0);
    }
    for (int i = 0; i < ASKERS; i++) {
        MUST(pthread_create(&asker[i], NULL, ask, NULL) == 0);
    }
    for (int i = 0; i < ASKERS; i++) {
        pthread_join(asker[i], NULL);
    }
    stop = 1;
    for (long c = 0; fn && c < nr_cpus; c++) {
        pthread_join(busy[c], NULL);
    }
}

// Each CPU in turn fills its reserves, and idles from then on.
static void fill_reserves(void)
{
    cpu_set_t all;
    MUST(sched_getaffinity(0, sizeof(all), &all) == 0);
    for (long c = 0; c < nr_cpus; c++) {
        on_cpu(c);
        for (int i = 0; i < 16; i++) {
            char *p = map(64 * PAGE, RW, ANON | MAP_POPULATE, -1, 0);
            MUST(munmap(p, 64 * PAGE) == 0);
        }
    }
    MUST(sched_setaffinity(0, sizeof(all), &all) == 0);
}

static void each(void *(*fn)(void *), const char *name)
{
    ask_beside(fn); // the library keeps stacks
    struct baseline was = baseline_first();
    fill_reserves();
    ask_beside(fn);
    fill_reserves();
    baseline_check(&was);
    group(name);
}

int main(void)
{
    nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    MUST(nr_cpus <= 64);
    each(NULL, "idle CPUs");
    each(spin, "CPUs in user mode");
    each(work, "CPUs in the kernel");
    each(change, "CPUs that map and unmap");
    return finish();
}
