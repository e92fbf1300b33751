// TEST: smp=1,4 scheme=rcu,mmap_lock linux=same timeout=60 status=42
// exit() in one thread while others wait, sleep and spin: all go, the status is the process's.
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int fds[2];

static void *wait_mutex(void *arg)
{
    pthread_mutex_lock(&mutex);
    return arg;
}

static void *sleep_long(void *arg)
{
    struct timespec ts = {1000, 0};

    nanosleep(&ts, NULL);
    return arg;
}

static void *spin(void *arg)
{
    for (volatile long i = 0;; i++) {
    }
    return arg;
}

static void *wait_pipe(void *arg)
{
    char c;

    CHECK(read(fds[0], &c, 1) == 1);
    return arg;
}

static void *leave(void *arg)
{
    (void)arg;
    usleep(20000);
    printf("leaving\n");
    exit(42);
}

int main(void)
{
    void *(*const all[])(void *) = {wait_mutex, wait_mutex, sleep_long, spin,
                                    spin,       wait_pipe,  leave};
    pthread_t t;

    CHECK(pipe(fds) == 0);
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        CHECK(pthread_create(&t, NULL, all[i], NULL) == 0);
    }
    printf("the first thread is gone\n");
    fflush(stdout);
    pthread_exit(NULL);
}
