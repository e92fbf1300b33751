// TEST: smp=1,4 scheme=rcu timeout=120
// While GETALL and SETALL wait for user memory, other semaphores go on: two such calls wait for two
// pages of a slow file at the same time, and a third set is used beside them. And the set itself
// may go, and its number, after 65,536 others, be that of a larger one: that is none of SETALL's.
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

static char *map; // of a file whose every page takes a while

static void beside(void)
{
    struct sembuf up = {0, 1, 0};
    int id = semget(IPC_PRIVATE, 4, 0600);
    struct call c[2] = {
        {semget(IPC_PRIVATE, 4, 0600), SETALL, (void *)(map + 0x10000), 0},
        {semget(IPC_PRIVATE, 4, 0600), GETALL, (void *)(map + 0x80000), 0},
    };
    pthread_t t[2];
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
}

#define NUMBERS 65536 // of the sets that one slot has in turn
#define MANY    20000

static int set_new(int nr)
{
    int id = semget(IPC_PRIVATE, nr, 0600);
    MUST(id >= 0);
    return id;
}

// Sets come and go, `nr` of them: how long that took, in ms.
static long others(int nr)
{
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < nr; i++) {
        MUST(semctl(set_new(1), 0, IPC_RMID) == 0);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
}

static void *set_all(void *arg)
{
    struct call *c = arg;
    union semun u = {.array = c->values};
    CHECK_ERR(semctl(c->id, 0, c->cmd, u), EIDRM);
    return NULL;
}

static void again(void)
{
    static unsigned short sevens[MANY], now[MANY];
    union semun u = {.array = sevens}, w = {.array = now};
    char delay[32];
    pthread_t t;
    snprintf(delay, sizeof(delay), "%ld", 2000 + others(4096) * (2 * NUMBERS / 4096));
    knob_set("/proc/faultline/slow_delay_ms", delay);
    struct call c = {set_new(2), SETALL, (void *)(map + 0xc0000), 0};
    long before = reads();
    MUST(pthread_create(&t, NULL, set_all, &c) == 0);
    while (reads() == before) {
        usleep(1000);
    }
    MUST(semctl(c.id, 0, IPC_RMID) == 0);
    others(NUMBERS - 1);
    int id = set_new(MANY);
    CHECK_EQ(id, c.id);
    for (int i = 0; i < MANY; i++) {
        sevens[i] = 7;
    }
    CHECK_EQ(semctl(id, 0, SETALL, u), 0);
    pthread_join(t, NULL);
    CHECK_EQ(semctl(id, 0, GETALL, w), 0);
    CHECK(memcmp(now, sevens, sizeof(now)) == 0);
    group("a number that comes again");
}

int main(void)
{
    int data = open("/slow/data", O_RDWR);
    map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, data, 0);
    MUST(data >= 0 && map != MAP_FAILED);
    beside();
    again();
    return finish();
}
