// TEST: smp=1,2,4 scheme=rcu linux=same
// F_SEAL_WRITE against a mapping that is being made: one of the two fails, whoever comes second.
// The one is later by a little each round, and then the other.
#define _GNU_SOURCE
#include "test.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS 400
#define SIZE   4096

static atomic_int fd, turn;
static int sealed;

static void wait_turn(int n)
{
    while (turn != n) {
        sched_yield();
    }
}

static void linger(int n)
{
    for (volatile int k = 0; k < n % 100 * 10; k++) {
    }
}

static void *sealer(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        wait_turn(2 * i + 1);
        linger(i & 1 ? i : 0);
        sealed = fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE);
        CHECK(sealed == 0 || errno == EBUSY);
        turn++;
    }
    return NULL;
}

int main(void)
{
    pthread_t t;
    bool wrote = true;
    MUST(pthread_create(&t, NULL, sealer, NULL) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        fd = memfd_create("sealed", MFD_ALLOW_SEALING);
        MUST(fd >= 0 && ftruncate(fd, SIZE) == 0);
        turn++;
        linger(i & 1 ? 0 : i);
        char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(p != MAP_FAILED || errno == EPERM);
        wait_turn(2 * i + 2);
        CHECK_EQ((p != MAP_FAILED) + (sealed == 0), 1);
        if (p != MAP_FAILED) {
            *p = 1;
            MUST(munmap(p, SIZE) == 0);
            CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
        }
        wrote &= write(fd, "x", 1) == 1;
        close(fd);
    }
    pthread_join(t, NULL);
    CHECK(!wrote);
    group("a seal and a mapping at the same time");
    return finish();
}
