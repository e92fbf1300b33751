// TEST: smp=1,2,4,8 timeout=120 linux=same
//
// Threads come and go by the hundred: each kernel stack is mapped where others have been, on every
// CPU (arch/x86_64/kstack.c). A CPU that still had the old translation would run on a page that is
// somebody else's by then. So each thread takes some pages; and nothing is unmapped here, for that
// would have the CPUs forget all they know.
#include "mm_test.h"
#include <pthread.h>
#include <sched.h>

#define WAVES   100
#define THREADS 12
#define PAGES   6

static pthread_barrier_t all_here;
static atomic_int sum;
static char stack[THREADS][64 * 1024] __attribute__((aligned(4096)));
static char own[WAVES][THREADS][PAGES * PAGE] __attribute__((aligned(4096)));
static int wave;

static void *visit(void *arg)
{
    char *p = own[wave][(long)arg];
    fill(p, PAGES, 3);
    pthread_barrier_wait(&all_here); // each sleeps and wakes up, where there is a CPU for it
    for (int i = 0; i < 8; i++) {
        sched_yield();
    }
    usleep(100);
    CHECK_EQ(holds(p, PAGES, 3), PAGES);
    sum += (int)(long)arg;
    return NULL;
}

int main(void)
{
    pthread_t t[THREADS];
    for (wave = 0; wave < WAVES; wave++) {
        MUST(pthread_barrier_init(&all_here, NULL, THREADS) == 0);
        for (long i = 0; i < THREADS; i++) {
            pthread_attr_t attr;
            pthread_attr_init(&attr);
            MUST(pthread_attr_setstack(&attr, stack[i], sizeof(stack[i])) == 0);
            MUST(pthread_create(&t[i], &attr, visit, (void *)i) == 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(t[i], NULL);
        }
        pthread_barrier_destroy(&all_here);
    }
    CHECK_EQ(sum, WAVES * THREADS * (THREADS - 1) / 2);
    group("threads come and go");
    return finish();
}
