// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=60
// Threads of the C library: start, join, detach, mutex, condition, barrier, many short lives.
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "check.h"

#define NR 8

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t sem;
static long counter, turn;
static atomic_long detached;

static void *count(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    return arg;
}

static void *take_turns(void *arg)
{
    long me = (long)arg;

    for (int round = 0; round < 50; round++) {
        pthread_mutex_lock(&mutex);
        while (turn % NR != me) {
            pthread_cond_wait(&cond, &mutex);
        }
        turn++;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *meet(void *arg)
{
    long serial = 0;

    for (int i = 0; i < 20; i++) {
        serial += pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
    }
    (void)arg;
    return (void *)serial;
}

static void *nothing(void *arg)
{
    return arg;
}

static void *detach(void *arg)
{
    (void)arg;
    atomic_fetch_add(&detached, 1);
    sem_post(&sem);
    return NULL;
}

static long run_all(void *(*fn)(void *))
{
    pthread_t t[NR];
    long sum = 0;

    for (long i = 0; i < NR; i++) {
        CHECK(pthread_create(&t[i], NULL, fn, (void *)i) == 0);
    }
    for (int i = 0; i < NR; i++) {
        void *r;

        CHECK(pthread_join(t[i], &r) == 0);
        sum += (long)r;
    }
    return sum;
}

int main(void)
{
    pthread_t t;
    void *r;

    CHECK(run_all(count) == NR * (NR - 1) / 2);
    CHECK(counter == 2000 * NR);
    ok("mutex and join");
    run_all(take_turns);
    CHECK(turn == 50 * NR);
    ok("condition");
    CHECK(pthread_barrier_init(&barrier, NULL, NR) == 0);
    CHECK(run_all(meet) == 20);
    ok("barrier");
    for (long i = 0; i < 300; i++) {
        CHECK(pthread_create(&t, NULL, nothing, (void *)i) == 0);
        CHECK(pthread_join(t, &r) == 0 && r == (void *)i);
    }
    ok("300 short lives");
    CHECK(sem_init(&sem, 0, 0) == 0);
    for (int i = 0; i < 50; i++) {
        CHECK(pthread_create(&t, NULL, detach, NULL) == 0);
        CHECK(pthread_detach(t) == 0);
    }
    for (int i = 0; i < 50; i++) {
        CHECK(sem_wait(&sem) == 0);
    }
    CHECK(atomic_load(&detached) == 50);
    ok("detached threads");
    return 0;
}
