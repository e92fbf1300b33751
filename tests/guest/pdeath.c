// TEST: smp=1,2,4 scheme=rcu linux=same
// PR_SET_PDEATHSIG: which thread's end tells which child, how often, and that no other is told.
#define _GNU_SOURCE
#include "proc_test.h"
#include <pthread.h>
#include <sys/mman.h>

static atomic_int *told, *grandchild; // shared by all processes

static void on_usr1(int sig)
{
    (void)sig;
    ++*told;
}

static void told_until(int n)
{
    while (*told < n) {
        usleep(1000);
    }
    usleep(20000); // long enough for one too many to come, on most days
    CHECK_EQ(*told, n);
}

static void become_subreaper(void)
{
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
}

// --- One child, from thread to thread and from parent to parent ----------------------------------

static struct gate asks, asked, leave[2];

static int child(void *arg)
{
    (void)arg;
    signal(SIGUSR1, on_usr1);
    *grandchild = getpid();
    gate_wait(&asks);
    MUST(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
    gate_pass(&asked);
    for (;;) {
        pause();
    }
}

static void *makes_it(void *arg)
{
    *(pid_t *)arg = child_run(child, NULL);
    return NULL;
}

static void *stays(void *arg)
{
    gate_wait(arg);
    syscall(SYS_exit, 0); // not the libc's end of the last thread, which is the process's
    return NULL;
}

// Three threads, the first of which did not make the child, end one after the other.
static int parent(void *arg)
{
    pthread_t maker, other;
    pid_t pid;
    (void)arg;
    MUST(pthread_create(&maker, NULL, makes_it, &pid) == 0);
    pthread_join(maker, NULL);
    threads_until(1);
    MUST(pthread_create(&other, NULL, stays, &leave[1]) == 0);
    gate_pass(&asks);
    gate_wait(&leave[0]);
    syscall(SYS_exit, 0);
    return 1;
}

static int grandparent(void *arg)
{
    become_subreaper();
    pid_t pid = child_run(parent, NULL);
    gate_wait(&asked);
    told_until(0);
    gate_pass(&leave[0]); // the first thread
    told_until(1);
    gate_pass(&leave[1]); // and the last: its process
    exits_with(pid, 0);
    told_until(2);
    (void)arg;
    return 0;
}

static void handed_on(void)
{
    int status;
    *told = 0;
    gate_make(&asks);
    gate_make(&asked);
    gate_make(&leave[0]);
    gate_make(&leave[1]);
    exits_with(child_run(grandparent, NULL), 0);
    told_until(3);
    CHECK_EQ(waitpid(-1, &status, WNOHANG), 0); // it is ours now
    gate_close(&asks);
    gate_close(&asked);
    gate_close(&leave[0]);
    gate_close(&leave[1]);
    kill(*grandchild, SIGTERM);
    CHECK_EQ(wait(&status), *grandchild);
    CHECK_EQ(status, SIGTERM);
    group("handed on");
}

// --- Many, of which some asked -------------------------------------------------------------------

#define MANY 90

static pid_t many[MANY];

static void *makes_many(void *arg)
{
    for (int i = 0; i < MANY; i++) {
        struct gate g;
        gate_make(&g);
        many[i] = fork();
        MUST(many[i] >= 0);
        if (many[i] == 0) {
            prctl(PR_SET_PDEATHSIG, i % 3 ? SIGKILL : 0);
            prctl(PR_SET_PDEATHSIG, i % 3 == 1 ? SIGKILL : 0);
            gate_pass(&g);
            sleep_forever(NULL);
        }
        gate_wait(&g);
        gate_close(&g);
    }
    kill(many[1], SIGKILL); // ends before the thread does
    dies_of(many[1], SIGKILL);
    return arg;
}

static void some_of_many(void)
{
    pthread_t t;
    int status, wrong = 0;
    MUST(pthread_create(&t, NULL, makes_many, NULL) == 0);
    pthread_join(t, NULL);
    for (int i = 4; i < MANY; i += 3) {
        dies_of(many[i], SIGKILL);
    }
    for (int i = 0; i < MANY; i++) {
        if (i % 3 != 1) {
            wrong += waitpid(many[i], &status, WNOHANG) != 0;
            kill(many[i], SIGTERM);
            dies_of(many[i], SIGTERM);
        }
    }
    CHECK_EQ(wrong, 0);
    CHECK_ERR(wait(&status), ECHILD);
    group("some of many");
}

// --- Threads end while children are made and ask -------------------------------------------------

#define THREADS 4
#define EACH    4
#define ROUNDS  12

static int asks_late(void *arg)
{
    pid_t before = *(pid_t *)arg;
    MUST(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    if (getppid() == before) {
        sleep_forever(NULL);
    }
    raise(SIGKILL); // too late for that parent
    return 1;
}

static void *makes_some(void *arg)
{
    pid_t me = getpid();
    for (int i = 0; i < EACH; i++) {
        child_run(asks_late, &me);
    }
    return arg;
}

static int many_threads(void *arg)
{
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++) {
        MUST(pthread_create(&t[i], NULL, makes_some, NULL) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
    }
    if (arg) {
        execl("/proc/self/exe", "pdeath", "fine", NULL);
    }
    return 33;
}

// Whatever came first, none stays behind when the parent has ended.
static void at_once(void)
{
    int status, wrong = 0, n = 0;
    for (int i = 0; i < ROUNDS; i++) {
        exits_with(child_run(many_threads, i & 1 ? &n : NULL), 33);
        for (n = 0; wait(&status) > 0; n++) {
            wrong += status != SIGKILL;
        }
        wrong += n != THREADS * EACH;
    }
    CHECK_EQ(wrong, 0);
    group("at once");
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        return 33;
    }
    told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(told != MAP_FAILED);
    grandchild = told + 1;
    become_subreaper();
    handed_on();
    some_of_many();
    at_once();
    return finish();
}
