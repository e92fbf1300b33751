// TEST: smp=1,2,4 scheme=rcu linux=same
/*
 * System V semaphores: values and limits, operations that are all or nothing, who waits and what
 * ends it, SEM_UNDO, and processes that pass a semaphore around.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

static void *volatile bad_addr = (void *)8;
static key_t key;

static int op(int id, int num, int n, int flags)
{
    struct sembuf b = {.sem_num = (unsigned short)num, .sem_op = (short)n, .sem_flg = (short)flags};
    return semop(id, &b, 1);
}

static int value(int id, int num)
{
    return semctl(id, num, GETVAL);
}

static void until(int id, int num, int cmd, int wanted)
{
    while (semctl(id, num, cmd) != wanted) {
        usleep(1000);
    }
}

static void test_get(void)
{
    struct semid_ds d;
    int id = semget(key, 3, IPC_CREAT | IPC_EXCL | 0640);
    MUST(id >= 0);
    CHECK_EQ(semget(key, 3, 0), id);
    CHECK_EQ(semget(key, 0, 0), id);
    CHECK_ERR(semget(key, 4, 0), EINVAL);
    CHECK_ERR(semget(key, 3, IPC_CREAT | IPC_EXCL), EEXIST);
    CHECK_ERR(semget(key + 1, 3, 0), ENOENT);
    CHECK_ERR(semget(key + 1, 0, IPC_CREAT), EINVAL);
    CHECK_ERR(semget(key + 1, -1, IPC_CREAT), EINVAL);
    CHECK_ERR(semget(key + 1, 32001, IPC_CREAT), EINVAL);
    memset(&d, 0xff, sizeof(d));
    CHECK_EQ(semctl(id, 0, IPC_STAT, &d), 0);
    CHECK_EQ(d.sem_perm.__key, key);
    CHECK_EQ(d.sem_perm.mode, 0640);
    CHECK_EQ(d.sem_nsems, 3);
    CHECK_EQ(d.sem_otime, 0);
    CHECK(d.sem_ctime != 0);
    CHECK_EQ(value(id, 2), 0);
    CHECK_EQ(semctl(id, 1, SETVAL, 32767), 0);
    CHECK_EQ(value(id, 1), 32767);
    CHECK_EQ(semctl(id, 1, GETPID), getpid());
    CHECK_ERR(semctl(id, 1, SETVAL, 32768), ERANGE);
    CHECK_ERR(semctl(id, 1, SETVAL, -1), ERANGE);
    CHECK_ERR(semctl(id, 3, GETVAL), EINVAL);
    CHECK_ERR(semctl(id, -1, GETVAL), EINVAL);
    CHECK_ERR(semctl(id, 0, 99), EINVAL);
    unsigned short v[3] = {1, 2, 3}, w[3] = {0};
    CHECK_EQ(semctl(id, 0, SETALL, v), 0);
    CHECK_EQ(semctl(id, 0, GETALL, w), 0);
    CHECK(memcmp(v, w, sizeof(v)) == 0);
    v[1] = 40000;
    CHECK_ERR(semctl(id, 0, SETALL, v), ERANGE);
    CHECK_ERR(semctl(id, 0, SETALL, bad_addr), EFAULT);
    CHECK_EQ(value(id, 0), 1);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
    CHECK(value(id, 0) == -1 && (errno == EINVAL || errno == EIDRM));
    group("get, values, remove");
}

static void test_ops(void)
{
    int id = semget(IPC_PRIVATE, 3, 0600);
    struct semid_ds d;
    MUST(id >= 0);
    struct sembuf both[] = {{0, 5, 0}, {1, -1, IPC_NOWAIT}};
    CHECK_ERR(semop(id, both, 2), EAGAIN);
    CHECK_EQ(value(id, 0), 0); // all or nothing
    CHECK_EQ(semctl(id, 0, GETPID), 0);
    struct sembuf turn[] = {{0, 2, 0}, {0, -2, IPC_NOWAIT}, {0, 0, IPC_NOWAIT}, {2, 7, 0}};
    CHECK_EQ(semop(id, turn, 4), 0); // each in what the others have left
    CHECK_EQ(value(id, 0), 0);
    CHECK_EQ(value(id, 2), 7);
    CHECK(semctl(id, 0, IPC_STAT, &d) == 0 && d.sem_otime != 0);
    CHECK_ERR(op(id, 2, 0, IPC_NOWAIT), EAGAIN);
    CHECK_ERR(op(id, 2, 32767, 0), ERANGE);
    CHECK_ERR(op(id, 3, 1, 0), EFBIG);
    CHECK_ERR(semop(id, both, 0), EINVAL);
    CHECK_ERR(semop(-1, both, 1), EINVAL);
    CHECK_ERR(semop(id, bad_addr, 1), EFAULT);
    struct sembuf many[501];
    memset(many, 0, sizeof(many));
    CHECK_ERR(semop(id, many, 501), E2BIG);
    CHECK_EQ(semop(id, many, 500), 0);
    struct timespec t = {0, 1000000}, wrong = {0, -1};
    struct sembuf take = {0, -1, 0};
    CHECK_ERR(semtimedop(id, &take, 1, &t), EAGAIN);
    CHECK_ERR(semtimedop(id, &take, 1, &wrong), EINVAL);
    CHECK_EQ(semctl(id, 0, GETNCNT), 0);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
    group("operations");
}

static void on_signal(int sig)
{
    (void)sig;
}

// A child that waits with these operations; it ends with the errno.
static pid_t waiter(int id, struct sembuf *ops, int nr)
{
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
        sigaction(SIGUSR1, &sa, NULL);
        _exit(semop(id, ops, (size_t)nr) ? errno : 0);
    }
    return pid;
}

static int end_of(pid_t pid)
{
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_wait(void)
{
    int id = semget(IPC_PRIVATE, 2, 0600);
    struct sembuf take3[] = {{0, -3, 0}}, zero[] = {{1, 0, 0}}, pass[] = {{0, -1, 0}, {1, -1, 0}};
    MUST(id >= 0);
    pid_t p = waiter(id, take3, 1);
    until(id, 0, GETNCNT, 1);
    CHECK_EQ(semctl(id, 0, GETZCNT), 0);
    CHECK_EQ(op(id, 0, 2, 0), 0);
    CHECK_EQ(value(id, 0), 2);
    CHECK_EQ(op(id, 0, 2, 0), 0);
    CHECK_EQ(end_of(p), 0);
    CHECK_EQ(value(id, 0), 1);
    CHECK_EQ(semctl(id, 0, GETPID), p);

    CHECK_EQ(semctl(id, 1, SETVAL, 2), 0);
    p = waiter(id, zero, 1);
    until(id, 1, GETZCNT, 1);
    CHECK_EQ(semctl(id, 1, SETVAL, 0), 0);
    CHECK_EQ(end_of(p), 0);

    // One that has become possible makes another possible.
    p = waiter(id, pass, 2);
    until(id, 1, GETNCNT, 1);
    CHECK_EQ(value(id, 0), 1); // nothing is taken in advance
    struct sembuf relay[] = {{0, -5, 0}, {1, 1, 0}, {0, 1, 0}};
    pid_t q = waiter(id, relay, 3);
    until(id, 0, GETNCNT, 1);
    CHECK_EQ(op(id, 0, 5, 0), 0);
    CHECK_EQ(end_of(q), 0);
    CHECK_EQ(end_of(p), 0);
    CHECK_EQ(value(id, 0), 1);
    CHECK_EQ(value(id, 1), 0);

    p = waiter(id, take3, 1);
    until(id, 0, GETNCNT, 1);
    CHECK_EQ(kill(p, SIGUSR1), 0);
    CHECK_EQ(end_of(p), EINTR); // whatever SA_RESTART says
    CHECK_EQ(semctl(id, 0, GETNCNT), 0);
    p = waiter(id, take3, 1);
    until(id, 0, GETNCNT, 1);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
    CHECK_EQ(end_of(p), EIDRM);
    group("waiting, signals, removal");
}

static void test_undo(void)
{
    int id = semget(IPC_PRIVATE, 2, 0600);
    MUST(id >= 0);
    CHECK_EQ(semctl(id, 0, SETVAL, 5), 0);
    pid_t p = fork();
    if (p == 0) {
        int bad = op(id, 0, -3, SEM_UNDO) || op(id, 1, 4, SEM_UNDO) || op(id, 1, 1, 0);
        _exit(bad || value(id, 0) != 2);
    }
    CHECK_EQ(end_of(p), 0);
    CHECK_EQ(value(id, 0), 5);
    CHECK_EQ(value(id, 1), 1);
    CHECK_EQ(semctl(id, 0, GETPID), p);

    // A holder that is killed lets who waits go on; not below zero; SETVAL forgets.
    struct sembuf take5[] = {{0, -5, 0}};
    p = fork();
    if (p == 0) {
        op(id, 0, -5, SEM_UNDO);
        for (;;) {
            pause();
        }
    }
    while (value(id, 0) != 0) {
        usleep(1000);
    }
    pid_t q = waiter(id, take5, 1);
    until(id, 0, GETNCNT, 1);
    CHECK_EQ(kill(p, SIGKILL), 0);
    CHECK_EQ(end_of(p), -1);
    CHECK_EQ(end_of(q), 0);
    CHECK_EQ(value(id, 0), 0);
    p = fork();
    if (p == 0) {
        _exit(op(id, 1, 3, SEM_UNDO) || op(id, 1, -4, 0) || op(id, 0, 3, SEM_UNDO) ||
              semctl(id, 0, SETVAL, 9));
    }
    CHECK_EQ(end_of(p), 0);
    CHECK_EQ(value(id, 1), 0);
    CHECK_EQ(value(id, 0), 9);
    p = fork();
    if (p == 0) { // a set that goes before its users
        _exit(op(id, 0, -1, SEM_UNDO) || semctl(id, 0, IPC_RMID));
    }
    CHECK_EQ(end_of(p), 0);
    group("undo");
}

#define TURNS 300

// A mutex of one value, and a ring that three children pass a token around.
static void test_ring(void)
{
    int id = semget(IPC_PRIVATE, 4, 0600);
    pid_t p[3];
    MUST(id >= 0);
    CHECK_EQ(semctl(id, 3, SETVAL, 1), 0);
    for (int i = 0; i < 3; i++) {
        p[i] = fork();
        if (p[i] == 0) {
            int bad = 0;
            for (int k = 0; k < TURNS; k++) {
                bad |= op(id, i, -1, 0) || op(id, 3, -1, SEM_UNDO) || value(id, 3) != 0;
                bad |= op(id, 3, 1, SEM_UNDO) || op(id, (i + 1) % 3, 1, 0);
            }
            _exit(bad);
        }
    }
    CHECK_EQ(op(id, 0, 1, 0), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(end_of(p[i]), 0);
    }
    CHECK_EQ(value(id, 0), 1);
    CHECK_EQ(value(id, 1) + value(id, 2), 0);
    CHECK_EQ(value(id, 3), 1);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
    group("a token around a ring");
}

static void test_proc(void)
{
    char line[512];
    int id = semget(key, 6, IPC_CREAT | 0604), seen = 0;
    FILE *f = fopen("/proc/sysvipc/sem", "r");
    MUST(id >= 0 && f);
    while (fgets(line, sizeof(line), f)) {
        int k, i;
        unsigned mode, nr;
        if (sscanf(line, "%d %d %o %u", &k, &i, &mode, &nr) == 4 && i == id) {
            seen += k == key && mode == 0604 && nr == 6;
        }
    }
    fclose(f);
    CHECK_EQ(seen, 1);
    struct seminfo info;
    union semun u = {.buf = (void *)&info};
    CHECK(semctl(0, 0, SEM_INFO, u) >= 0 && info.semusz >= 1 && info.semaem >= 6);
    CHECK(semctl(0, 0, IPC_INFO, u) >= 0 && info.semvmx == 32767);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
    group("/proc/sysvipc/sem and what ipcs asks");
}

int main(void)
{
    key = 0x46000000 | getpid();
    test_get();
    test_ops();
    test_wait();
    test_undo();
    test_ring();
    test_proc();
    return finish();
}
