// TEST: smp=1,4 scheme=rcu linux=same timeout=120
// Many of everything: a process group that loses its parent, /proc's lists of processes, threads
// and descriptors, priorities of a group, a descriptor table that was large once.
#define _GNU_SOURCE
#include "proc_test.h"
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define CHILDREN 200
#define THREADS  100
#define FILES    20000
#define HIGH     200000

static struct shared {
    atomic_int ready, hup, cont, go;
    pid_t pid[CHILDREN];
} * sh;

static void on_signal(int sig)
{
    atomic_fetch_add(sig == SIGHUP ? &sh->hup : &sh->cont, 1);
}

static void until(atomic_int *what, int n)
{
    while (atomic_load(what) < n) {
        usleep(1000);
    }
}

// The names of a folder that are numbers, in its order; how many.
static int numbers(const char *path, long *out, int max)
{
    DIR *d = opendir(path);
    struct dirent *e;
    int n = 0;
    MUST(d != NULL);
    while ((e = readdir(d)) != NULL && n < max) {
        char *end;
        long v = strtol(e->d_name, &end, 10);
        if (*end == '\0') {
            out[n++] = v;
        }
    }
    closedir(d);
    return n;
}

static int count_of(const long *list, int n, long v)
{
    int r = 0;
    for (int i = 0; i < n; i++) {
        r += list[i] == v;
    }
    return r;
}

static int member(void *arg)
{
    (void)arg;
    signal(SIGHUP, on_signal);
    signal(SIGCONT, on_signal);
    atomic_fetch_add(&sh->ready, 1);
    while (pause()) { // until it is killed
    }
    return 0;
}

// In a group of its own, its children in another; ends when told to.
static int parent(void *arg)
{
    (void)arg;
    setpgid(0, 0);
    for (int i = 0; i < CHILDREN; i++) {
        sh->pid[i] = child_run(member, NULL);
        MUST(setpgid(sh->pid[i], sh->pid[0]) == 0);
    }
    until(&sh->ready, CHILDREN);
    MUST(kill(sh->pid[CHILDREN / 2], SIGSTOP) == 0);
    MUST(waitpid(sh->pid[CHILDREN / 2], NULL, WUNTRACED) == sh->pid[CHILDREN / 2]);
    atomic_fetch_add(&sh->ready, 1);
    until(&sh->go, 1);
    return 0;
}

static void listed(void)
{
    static long list[4096];
    int n = numbers("/proc", list, 4096), wrong = 0;
    for (int i = 1; i < n; i++) {
        wrong += list[i] <= list[i - 1];
    }
    for (int i = 0; i < CHILDREN; i++) {
        wrong += count_of(list, n, sh->pid[i]) != 1;
    }
    CHECK_EQ(wrong, 0);
    group("each process is listed once");
}

static void nice_of_group(void)
{
    int wrong = 0;
    CHECK_EQ(setpriority(PRIO_PGRP, (id_t)sh->pid[0], 5), 0);
    CHECK_EQ(getpriority(PRIO_PGRP, (id_t)sh->pid[0]), 5);
    for (int i = 0; i < CHILDREN; i++) {
        wrong += getpriority(PRIO_PROCESS, (id_t)sh->pid[i]) != 5;
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), 0);
    group("the priority of a group");
}

static void group_of_many(void)
{
    pid_t pid = child_run(parent, NULL);
    until(&sh->ready, CHILDREN + 1);
    listed();
    nice_of_group();
    CHECK_EQ(atomic_load(&sh->hup), 0);
    atomic_store(&sh->go, 1);
    exits_with(pid, 0);
    until(&sh->hup, CHILDREN);
    until(&sh->cont, CHILDREN);
    for (int i = 0; i < CHILDREN; i++) {
        MUST(kill(sh->pid[i], SIGTERM) == 0);
    }
    for (int i = 0; i < CHILDREN; i++) {
        while (kill(sh->pid[i], 0) == 0) { // process 1 reaps them, which may be this one
            waitpid(-1, NULL, WNOHANG);
            usleep(1000);
        }
    }
    CHECK_EQ(atomic_load(&sh->hup), CHILDREN);
    CHECK_EQ(atomic_load(&sh->cont), CHILDREN);
    group("a group of many becomes an orphan once");
}

static void *thread(void *arg)
{
    atomic_int *tid = arg;
    atomic_store(tid, (int)syscall(SYS_gettid));
    until(&sh->go, 2);
    return NULL;
}

static void threads(void)
{
    static pthread_t th[THREADS];
    static atomic_int tid[THREADS];
    static long list[THREADS * 2];
    int wrong = 0;
    for (int i = 0; i < THREADS; i++) {
        MUST(pthread_create(&th[i], NULL, thread, &tid[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        until(&tid[i], 1);
    }
    int n = numbers("/proc/self/task", list, THREADS * 2);
    CHECK_EQ(n, THREADS + 1);
    CHECK_EQ(list[0], getpid());
    for (int i = 0; i < THREADS; i++) {
        wrong += count_of(list, n, atomic_load(&tid[i])) != 1;
    }
    CHECK_EQ(wrong, 0);
    atomic_store(&sh->go, 2);
    for (int i = 0; i < THREADS; i++) {
        MUST(pthread_join(th[i], NULL) == 0);
    }
    group("each thread is listed once");
}

static long fds[FILES + 100];

static int fds_in_child(void *arg)
{
    CHECK_EQ(numbers("/proc/self/fd", fds, FILES + 100), (int)(long)arg);
    CHECK_EQ(dup(0), 3);
    CHECK_EQ(dup2(0, HIGH - 1), HIGH - 1); // its table grows anew
    CHECK_EQ(close(HIGH - 1), 0);
    return 0;
}

static void files(void)
{
    struct rlimit r = {HIGH + 1, HIGH + 1};
    int wrong = 0;
    closefrom(3);
    MUST(setrlimit(RLIMIT_NOFILE, &r) == 0);
    for (int i = 0; i < FILES; i++) {
        wrong += dup(0) != 3 + i;
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(numbers("/proc/self/fd", fds, FILES + 100), FILES + 4); // and that of /proc
    for (int i = 0; i < FILES + 3; i++) {
        wrong += fds[i] != i;
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(dup2(0, HIGH), HIGH);
    CHECK_ERR(dup2(0, HIGH + 1), EBADF);
    CHECK_EQ(syscall(SYS_close_range, 3, HIGH - 1, 0), 0);
    CHECK_EQ(fcntl(HIGH, F_GETFD), 0);
    exits_with(child_run(fds_in_child, (void *)5l), 0);
    CHECK_EQ(close(HIGH), 0);
    exits_with(child_run(fds_in_child, (void *)4l), 0);
    CHECK_EQ(fcntl(0, F_DUPFD, HIGH), HIGH);
    CHECK_EQ(syscall(SYS_close_range, 3, ~0u, 0), 0);
    CHECK_ERR(fcntl(HIGH, F_GETFD), EBADF);
    group("a table of many descriptors");
}

int main(void)
{
    sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(sh != MAP_FAILED);
    group_of_many();
    threads();
    files();
    return finish();
}
