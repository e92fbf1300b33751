// TEST: smp=1,4 scheme=rcu timeout=60
// While GETALL and SETALL wait for user memory, other semaphores go on: two such calls wait for two
// pages of a slow file at the same time, and a third set is used beside them.
#define _GNU_SOURCE
#include "test.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <unistd.h>

union semun {
    int val;
    unsigned short *array;
};

struct call {
    int id, cmd;
    unsigned short *values;
    atomic_int done;
};

static void knob_set(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static long reads(void)
{
    char buf[32] = "";
    int fd = open("/proc/faultline/slow_reads", O_RDONLY);
    MUST(fd >= 0 && read(fd, buf, sizeof(buf) - 1) > 0);
    close(fd);
    return atol(buf);
}

static void *run(void *arg)
{
    struct call *c = arg;
    union semun u = {.array = c->values};
    CHECK_EQ(semctl(c->id, 0, c->cmd, u), 0);
    c->done = 1;
    return NULL;
}

int main(void)
{
    struct sembuf up = {0, 1, 0};
    int data = open("/slow/data", O_RDWR), id = semget(IPC_PRIVATE, 4, 0600);
    char *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, data, 0);
    struct call c[2] = {
        {semget(IPC_PRIVATE, 4, 0600), SETALL, (void *)(map + 0x10000), 0},
        {semget(IPC_PRIVATE, 4, 0600), GETALL, (void *)(map + 0x80000), 0},
    };
    pthread_t t[2];
    MUST(data >= 0 && map != MAP_FAILED);
    knob_set("/proc/faultline/slow_delay_ms", "5000");
    long before = reads();
    for (int i = 0; i < 2; i++) {
        MUST(pthread_create(&t[i], NULL, run, &c[i]) == 0);
    }
    while (reads() < before + 2) {
        usleep(1000);
    }
    CHECK_EQ(semop(id, &up, 1), 0);
    CHECK_EQ(semctl(c[0].id, 0, GETVAL), 0);
    CHECK(!c[0].done && !c[1].done);
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
    }
    CHECK_EQ(semctl(c[0].id, 1, GETVAL), 1); // the third byte of the number at 0x10000
    CHECK_EQ(c[1].values[0] + c[1].values[3], 0);
    group("semaphores beside slow memory");
    return finish();
}
