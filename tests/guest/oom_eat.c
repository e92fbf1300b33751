// TEST: smp=1,2,4 scheme=rcu,mmap_lock mem=32M timeout=60
// Programs that write to more memory than there is, one alone and one with four threads: each is
// killed, the console says so, other processes do not notice, and all its memory comes back.
// (Faultline only.)
#include "baseline.h"
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#define PART (8ul << 20) // more than a whole could not be mapped; parts can

static atomic_int *shared; // [0]: bystanders may end, [1]: they are ready

static void *eat(void *arg)
{
    (void)arg;
    for (int i = 0; i < 16; i++) {
        char *p = mmap(NULL, PART, RW, ANON, -1, 0);
        for (unsigned long at = 0; p != MAP_FAILED && at < PART; at += PAGE) {
            p[at] = 1;
        }
    }
    return NULL;
}

static int eater(int nr_threads)
{
    pthread_t t;
    for (int i = 1; i < nr_threads; i++) {
        if (pthread_create(&t, NULL, eat, NULL)) {
            break;
        }
    }
    eat(NULL);
    return 1; // there is no such memory
}

// Has touched all it will touch before it says it is ready.
static int bystander(void)
{
    char *p = map_anon(64);
    fill(p, 64, 7);
    shared[1]++;
    do {
        if (holds(p, 64, 7) != 64) {
            return 2;
        }
        sched_yield();
    } while (shared[0] == 0);
    return 0;
}

static pid_t start(int (*body)(int), int arg, int (*other)(void))
{
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        _exit(body ? body(arg) : other());
    }
    return pid;
}

static void meal(int nr_threads)
{
    int status;
    shared[0] = shared[1] = 0;
    pid_t calm = start(NULL, 0, bystander);
    while (shared[1] != 1) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    pid_t greedy = start(eater, nr_threads, NULL);
    MUST(waitpid(greedy, &status, 0) == greedy);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    shared[0] = 1;
    MUST(waitpid(calm, &status, 0) == calm);
    CHECK_EQ(status, 0);
}

int main(void)
{
    catch_faults();
    shared = (atomic_int *)map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared[0] = 0;
    MUST(mlockall(MCL_CURRENT) == 0); // a fault of this one could be the one that kills
    meal(1);
    struct baseline was = baseline_first();
    meal(1);
    group("alone");
    meal(4);
    group("four threads");
    baseline_check(&was);
    group("nothing left over");
    return finish();
}
