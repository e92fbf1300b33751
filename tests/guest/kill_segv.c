// TEST: smp=1,4 scheme=rcu,mmap_lock linux=same timeout=60 status=139
// A bad access in one thread, no handler: the whole process dies of SIGSEGV.
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "check.h"

static void *crash(void *arg)
{
    volatile uintptr_t address = 16; // the compiler must not know

    usleep(10000);
    printf("crashing\n");
    fflush(stdout);
    *(volatile int *)address = 1;
    return arg;
}

int main(void)
{
    pthread_t t;

    CHECK(pthread_create(&t, NULL, crash, NULL) == 0);
    for (;;) {
        pause();
    }
}
