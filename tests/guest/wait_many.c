// TEST: smp=2,4 scheme=rcu linux=same
// Threads look through many children for one that has stopped, while another reaps these children.
//
// Who looks at a few at a time has to remember where it was, and that child may be the next to be
// reaped. The children are reaped from the youngest to the oldest: so none moves to another place
// before its turn comes, and wherever the lookers rest, the child there is reaped at some time.
#define _GNU_SOURCE
#include "proc_test.h"
#include <pthread.h>

#define CHILDREN 300
#define ROUNDS   25

static int nr_lookers; // as many CPUs as there are beside ours
static atomic_bool look, over;
static atomic_int nr_stops, nr_looks;
static _Atomic pid_t stopped;

static void *looker(void *arg)
{
    siginfo_t i;
    while (!over) {
        if (!look) {
            usleep(1000);
            continue;
        }
        i.si_pid = 0;
        int r = waitid(P_ALL, 0, &i, WSTOPPED | WNOHANG);
        if (r < 0) {
            CHECK_EQ(errno, ECHILD);
        } else if (i.si_pid) {
            CHECK_EQ(i.si_pid, stopped);
            nr_stops++;
        }
        nr_looks++;
    }
    return arg;
}

static void until(atomic_int *what, int n)
{
    while (*what < n) {
        usleep(1000);
    }
}

// Children with one in their midst that stays, and is found when it stops.
static void one_round(void)
{
    pid_t pid[CHILDREN];
    int stops = nr_stops;
    for (int i = 0; i < CHILDREN; i++) {
        pid[i] = vfork();
        MUST(pid[i] >= 0);
        if (pid[i] == 0) {
            _exit(i & 0x7f);
        }
        if (i == CHILDREN / 2) {
            stopped = child_run(sleep_forever, NULL);
        }
    }
    look = 1;
    until(&nr_looks, nr_looks + 2 * nr_lookers); // they are among them
    for (int i = CHILDREN; i-- > 0;) {
        exits_with(pid[i], i & 0x7f);
    }
    CHECK_EQ(nr_stops, stops);
    kill(stopped, SIGSTOP);
    until(&nr_stops, stops + 1);
    until(&nr_looks, nr_looks + 2 * nr_lookers);
    CHECK_EQ(nr_stops, stops + 1); // told once
    look = 0;
    kill(stopped, SIGKILL);
    dies_of(stopped, SIGKILL);
}

int main(void)
{
    pthread_t t[7];
    nr_lookers = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
    MUST(nr_lookers >= 1 && nr_lookers <= 7);
    for (int i = 0; i < nr_lookers; i++) {
        MUST(pthread_create(&t[i], NULL, looker, NULL) == 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        one_round();
    }
    over = 1;
    for (int i = 0; i < nr_lookers; i++) {
        pthread_join(t[i], NULL);
    }
    CHECK_ERR(wait(NULL), ECHILD);
    group("a place among many children");
    return finish();
}
