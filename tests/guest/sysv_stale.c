// TEST: smp=2 scheme=rcu linux=same
// The numbers of System V objects that are gone: EINVAL for who comes with one, also when its slot
// is another's by then. (EIDRM, for who was there when it went: sysv_sem.c, sysv_msg.c.) And
// GETALL and SETALL, which come to a set more than once.
#define _GNU_SOURCE
#include "test.h"
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

static void semaphores(void)
{
    struct sembuf op = {0, 1, 0};
    struct semid_ds d = {0};
    unsigned short v[4] = {0};
    union semun u = {.buf = &d}, w = {.array = v};
    int old = semget(IPC_PRIVATE, 2, 0600);
    CHECK_EQ(semctl(old, 0, IPC_RMID), 0);
    int id = semget(IPC_PRIVATE, 4, 0600);
    for (int k = 0; k < 2; k++) { // with another in its slot, and without
        CHECK_ERR(semop(old, &op, 1), EINVAL);
        CHECK_ERR(semctl(old, 0, GETVAL), EINVAL);
        CHECK_ERR(semctl(old, 0, SETVAL, (union semun){.val = 1}), EINVAL);
        CHECK_ERR(semctl(old, 0, SETVAL, (union semun){.val = 32768}), ERANGE);
        CHECK_ERR(semctl(old, 0, GETALL, w), EINVAL);
        CHECK_ERR(semctl(old, 0, SETALL, w), EINVAL);
        CHECK_ERR(semctl(old, 0, IPC_STAT, u), EINVAL);
        CHECK_ERR(semctl(old, 0, IPC_SET, u), EINVAL);
        CHECK_ERR(semctl(old, 0, IPC_RMID), EINVAL);
        if (k == 0) {
            CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
        }
    }
    group("semaphores that are gone");
}

static void messages(void)
{
    struct {
        long type;
        char text[8];
    } m = {1, ""};
    struct msqid_ds d = {0};
    int old = msgget(IPC_PRIVATE, 0600);
    CHECK_EQ(msgctl(old, IPC_RMID, NULL), 0);
    int id = msgget(IPC_PRIVATE, 0600);
    for (int k = 0; k < 2; k++) {
        CHECK_ERR(msgsnd(old, &m, 8, 0), EINVAL);
        CHECK_ERR(msgrcv(old, &m, 8, 0, IPC_NOWAIT), EINVAL);
        CHECK_ERR(msgctl(old, IPC_STAT, &d), EINVAL);
        CHECK_ERR(msgctl(old, IPC_SET, &d), EINVAL);
        CHECK_ERR(msgctl(old, IPC_RMID, NULL), EINVAL);
        if (k == 0) {
            CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
        }
    }
    group("queues that are gone");
}

static void segments(void)
{
    struct shmid_ds d = {0};
    int old = shmget(IPC_PRIVATE, 4096, 0600);
    CHECK_EQ(shmctl(old, IPC_RMID, NULL), 0);
    int id = shmget(IPC_PRIVATE, 4096, 0600);
    for (int k = 0; k < 2; k++) {
        CHECK(shmat(old, NULL, 0) == (void *)-1 && errno == EINVAL);
        CHECK_ERR(shmctl(old, IPC_STAT, &d), EINVAL);
        CHECK_ERR(shmctl(old, IPC_SET, &d), EINVAL);
        CHECK_ERR(shmctl(old, IPC_RMID, NULL), EINVAL);
        if (k == 0) {
            CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
        }
    }
    group("segments that are gone");
}

#define VALUES 300

static void all_values(void)
{
    static unsigned short in[VALUES], out[VALUES];
    union semun u = {.array = in}, w = {.array = out}, bad = {.array = (void *)8};
    int id = semget(IPC_PRIVATE, VALUES, 0600);
    for (int i = 0; i < VALUES; i++) {
        in[i] = (unsigned short)(i * 109);
    }
    CHECK_EQ(semctl(id, 0, SETALL, u), 0);
    CHECK_EQ(semctl(id, 0, GETALL, w), 0);
    CHECK(memcmp(in, out, sizeof(in)) == 0);
    CHECK_ERR(semctl(id, 0, GETALL, bad), EFAULT);
    CHECK_ERR(semctl(id, 0, SETALL, bad), EFAULT);
    in[0] = 1;
    in[VALUES - 1] = 32768;
    CHECK_ERR(semctl(id, 0, SETALL, u), ERANGE); // all or none
    CHECK_EQ(semctl(id, 0, GETVAL), 0);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
    group("GETALL and SETALL");
}

static atomic_int stop;

static void *remover(void *arg)
{
    (void)arg;
    while (!stop) { // the set goes at any time, and its slot becomes that of a larger one
        int id = semget(4711, 3, IPC_CREAT | 0600);
        semctl(id, 0, IPC_RMID);
        id = semget(4711, VALUES, IPC_CREAT | 0600);
        semctl(id, 0, IPC_RMID);
    }
    return NULL;
}

static void going(void)
{
    unsigned short v[VALUES + 1];
    union semun w = {.array = v};
    pthread_t t;
    unsigned wrong = 0;
    MUST(pthread_create(&t, NULL, remover, NULL) == 0);
    for (int i = 0; i < 20000; i++) {
        memset(v, i & 1 ? 0 : 0xff, sizeof(v));
        int r = semctl(semget(4711, 0, 0), 0, i & 1 ? SETALL : GETALL, w);
        wrong += r && errno != EINVAL && errno != EIDRM && errno != ENOENT;
        wrong += v[VALUES] != (i & 1 ? 0 : 0xffff);
    }
    stop = 1;
    pthread_join(t, NULL);
    CHECK_EQ(wrong, 0);
    group("sets that go meanwhile");
}

int main(void)
{
    semaphores();
    messages();
    segments();
    all_values();
    going();
    return finish();
}
