// TEST: smp=1,4 scheme=rcu linux=same timeout=60
// Thread-local storage: initial values, alignment, isolation, keys with destructors.
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sched.h>

#include "check.h"

#define NR 6

static __thread int zero;
static __thread int seven = 7;
static __thread char aligned[64] __attribute__((aligned(64))) = "initial";
static pthread_key_t key;
static atomic_int destroyed;

static void destroy(void *value)
{
    CHECK(value == &seven);
    atomic_fetch_add(&destroyed, 1);
}

static void *use(void *arg)
{
    long me = (long)arg;
    volatile int *p = &zero;

    CHECK(zero == 0 && seven == 7);
    CHECK((uintptr_t)aligned % 64 == 0 && strcmp(aligned, "initial") == 0);
    CHECK(pthread_getspecific(key) == NULL);
    CHECK(pthread_setspecific(key, &seven) == 0);
    for (int i = 0; i < 200; i++) {
        *p = (int)me * 1000 + i;
        seven += (int)me;
        sched_yield();
        CHECK(*p == (int)me * 1000 + i);
    }
    CHECK(seven == 7 + 200 * (int)me);
    CHECK(pthread_getspecific(key) == &seven);
    return &zero;
}

int main(void)
{
    pthread_t t[NR];
    void *where[NR];

    CHECK(pthread_key_create(&key, destroy) == 0);
    zero = 99;
    for (long i = 0; i < NR; i++) {
        CHECK(pthread_create(&t[i], NULL, use, (void *)i) == 0);
    }
    for (int i = 0; i < NR; i++) {
        CHECK(pthread_join(t[i], &where[i]) == 0);
        CHECK(where[i] != &zero);
    }
    CHECK(zero == 99 && seven == 7);
    CHECK(atomic_load(&destroyed) == NR);
    ok("thread-local storage");
    return 0;
}
