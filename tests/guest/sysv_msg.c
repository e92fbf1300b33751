// TEST: smp=1,2,4 scheme=rcu linux=same
/*
 * System V messages: types and their order, limits, waiting for room and for messages, removal,
 * and processes that send each other many.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

struct letter {
    long type;
    char text[8192];
};

static void *volatile bad_addr = (void *)8;
static struct letter in, out;
static key_t key;

static int put(int id, long type, size_t len, int flags)
{
    out.type = type;
    memset(out.text, 'a' + (int)(type % 26), len);
    return msgsnd(id, &out, len, flags);
}

static long get(int id, size_t len, long type, int flags)
{
    in.type = 0;
    return msgrcv(id, &in, len, type, flags);
}

static void test_types(void)
{
    struct msqid_ds d;
    int id = msgget(key, IPC_CREAT | IPC_EXCL | 0640);
    MUST(id >= 0);
    CHECK_EQ(msgget(key, 0), id);
    CHECK_ERR(msgget(key, IPC_CREAT | IPC_EXCL), EEXIST);
    CHECK_ERR(msgget(key + 1, 0), ENOENT);
    for (int i = 0; i < 5; i++) {
        static const long types[] = {5, 3, 9, 3, 4};
        CHECK_EQ(put(id, types[i], (size_t)(10 + i), 0), 0);
    }
    CHECK_EQ(msgctl(id, IPC_STAT, &d), 0);
    CHECK_EQ(d.msg_perm.__key, key);
    CHECK_EQ(d.msg_perm.mode, 0640);
    CHECK_EQ(d.msg_qnum, 5);
    CHECK_EQ(d.__msg_cbytes, 60);
    CHECK_EQ(d.msg_qbytes, 16384);
    CHECK_EQ(d.msg_lspid, getpid());
    CHECK_EQ(d.msg_lrpid, 0);
    CHECK_EQ(d.msg_rtime, 0);
    CHECK_ERR(get(id, 100, 7, IPC_NOWAIT), ENOMSG);
    CHECK_ERR(get(id, 100, -2, IPC_NOWAIT), ENOMSG);
    CHECK_EQ(get(id, 100, -4, 0), 11);
    CHECK_EQ(in.type, 3);
    CHECK_EQ(in.text[10], 'd');
    CHECK_EQ(get(id, 100, -4, 0), 13);
    CHECK_EQ(get(id, 100, 5, MSG_EXCEPT), 12);
    CHECK_EQ(in.type, 9);
    CHECK_ERR(get(id, 5, 0, 0), E2BIG);
    CHECK_EQ(get(id, 5, 0, MSG_NOERROR), 5);
    CHECK_EQ(in.type, 5);
    CHECK_EQ(get(id, 100, 0, 0), 14);
    CHECK_EQ(in.type, 4);
    CHECK_ERR(get(id, 100, 0, IPC_NOWAIT), ENOMSG);
    CHECK(msgctl(id, IPC_STAT, &d) == 0 && d.msg_lrpid == getpid() && d.__msg_cbytes == 0);
    CHECK_ERR(put(id, 0, 1, 0), EINVAL);
    CHECK_ERR(put(id, 1, 0, 0) ? 0 : put(id, 1, 8193, 0), EINVAL);
    CHECK_EQ(get(id, 0, 0, 0), 0);
    CHECK_ERR(msgsnd(id, bad_addr, 1, 0), EFAULT);
    CHECK_ERR(msgctl(id, 99, &d), EINVAL);
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
    CHECK(get(id, 0, 0, 0) == -1 && (errno == EINVAL || errno == EIDRM));
    group("types and their order");
}

static int end_of(pid_t pid)
{
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void on_signal(int sig)
{
    (void)sig;
}

// Is the process asleep in its call? Then its end says what ended it.
static void until_asleep(pid_t pid)
{
    char path[64], line[256], state = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    while (state != 'S') {
        FILE *f = fopen(path, "r");
        MUST(f && fgets(line, sizeof(line), f));
        state = strrchr(line, ')')[2];
        fclose(f);
        usleep(1000);
    }
}

static pid_t child(int id, int sends)
{
    pid_t p = fork();
    if (p == 0) {
        struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
        sigaction(SIGUSR1, &sa, NULL);
        _exit((sends ? put(id, 2, 8000, 0) : get(id, 8192, 2, 0)) < 0 ? errno : 0);
    }
    return p;
}

static void test_wait(void)
{
    int id = msgget(IPC_PRIVATE, 0600);
    MUST(id >= 0);
    pid_t p = child(id, 0);
    until_asleep(p);
    CHECK_EQ(put(id, 1, 8000, 0), 0); // not its type
    CHECK_EQ(put(id, 2, 8000, 0), 0);
    CHECK_EQ(end_of(p), 0);
    CHECK_EQ(put(id, 1, 8192, 0), 0);
    CHECK_ERR(put(id, 1, 193, IPC_NOWAIT), EAGAIN);
    p = child(id, 1);
    until_asleep(p);
    CHECK_EQ(get(id, 8192, 1, 0), 8000);
    CHECK_EQ(end_of(p), 0);
    for (int sends = 0; sends < 2; sends++) {
        while (sends == 0 && get(id, 8192, 2, IPC_NOWAIT) > 0) {
        }
        while (sends == 1 && put(id, 1, 8000, IPC_NOWAIT) == 0) {
        }
        p = child(id, sends);
        until_asleep(p);
        CHECK_EQ(kill(p, SIGUSR1), 0);
        CHECK_EQ(end_of(p), EINTR);
    }
    p = child(id, 0);
    pid_t q = child(id, 1);
    until_asleep(p);
    until_asleep(q);
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
    CHECK_EQ(end_of(p), EIDRM);
    CHECK_EQ(end_of(q), EIDRM);
    group("waiting, signals, removal");
}

#define MANY 400

static void test_many(void)
{
    int id = msgget(IPC_PRIVATE, 0600);
    pid_t p[3];
    long sum = 0;
    MUST(id >= 0);
    for (int i = 0; i < 3; i++) {
        p[i] = fork();
        if (p[i] == 0) {
            int bad = 0;
            for (int k = 0; k < MANY; k++) {
                bad |= put(id, i + 1, (size_t)(k % 900), 0) != 0;
            }
            _exit(bad);
        }
    }
    for (int k = 0; k < 3 * MANY; k++) {
        long n = get(id, 8192, 0, 0);
        CHECK(n >= 0 && (n == 0 || in.text[n - 1] == 'a' + in.type));
        sum += n;
    }
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(end_of(p[i]), 0);
    }
    CHECK_EQ(sum, 3l * (MANY * (MANY - 1) / 2));
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
    group("three senders");
}

static void test_proc(void)
{
    char line[512];
    int id = msgget(key, IPC_CREAT | 0604), seen = 0;
    CHECK_EQ(put(id, 1, 77, 0), 0);
    FILE *f = fopen("/proc/sysvipc/msg", "r");
    MUST(id >= 0 && f);
    while (fgets(line, sizeof(line), f)) {
        int k, i;
        unsigned mode, bytes, nr;
        if (sscanf(line, "%d %d %o %u %u", &k, &i, &mode, &bytes, &nr) == 5 && i == id) {
            seen += k == key && mode == 0604 && bytes == 77 && nr == 1;
        }
    }
    fclose(f);
    CHECK_EQ(seen, 1);
    struct msginfo mi;
    CHECK(msgctl(0, MSG_INFO, (void *)&mi) >= 0 && mi.msgpool >= 1 && mi.msgtql >= 77);
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
    group("/proc/sysvipc/msg and what ipcs asks");
}

// msgctl(2): more room than MSGMNB is for CAP_SYS_RESOURCE, and who is refused changes nothing.
static void test_room(void)
{
    int id = msgget(IPC_PRIVATE, 0600);
    struct msqid_ds ds;
    MUST(id >= 0 && msgctl(id, IPC_STAT, &ds) == 0);
    ds.msg_qbytes *= 4;
    CHECK_EQ(msgctl(id, IPC_SET, &ds), 0);
    ds.msg_perm.uid = 1000;
    CHECK_EQ(msgctl(id, IPC_SET, &ds), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        MUST(setuid(1000) == 0);
        ds.msg_perm.mode = 0666;
        CHECK_ERR(msgctl(id, IPC_SET, &ds), EPERM);
        CHECK_EQ(msgctl(id, IPC_STAT, &ds), 0);
        CHECK_EQ(ds.msg_perm.mode, 0600);
        ds.msg_qbytes /= 4;
        CHECK_EQ(msgctl(id, IPC_SET, &ds), 0);
        _exit((int)checks_failed);
    }
    CHECK_EQ(end_of(pid), 0);
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
    group("room");
}

int main(void)
{
    key = 0x46000000 | getpid();
    test_types();
    test_wait();
    test_many();
    test_proc();
    test_room();
    return finish();
}
