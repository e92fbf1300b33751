// TEST: smp=2 scheme=rcu linux=same
// Rules about users that creds.c does not come to: what SECBIT_NO_SETUID_FIXUP leaves to who stops
// being root, the order groups are told in, numbers that are nobody's, what a thread's number
// finds, and who may read the kernel's log and change how it is shown.
#define _GNU_SOURCE
#include "perm_test.h"
#include <linux/securebits.h>
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/klog.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>

static unsigned caps(unsigned permitted)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    MUST(syscall(SYS_capget, &h, d) == 0);
    return permitted ? d[0].permitted : d[0].effective;
}

static int fixup(void *arg)
{
    (void)arg;
    unsigned all = caps(1);
    CHECK_EQ(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP), 0);
    CHECK_EQ(prctl(PR_GET_SECUREBITS), SECBIT_NO_SETUID_FIXUP);
    CHECK_EQ(syscall(SYS_setfsuid, 5), 0);
    CHECK_EQ(caps(0), all);
    CHECK_EQ(syscall(SYS_setresuid, 5, 0, 6), 0);
    CHECK_EQ(caps(0), all);
    CHECK_EQ(syscall(SYS_setresuid, 5, 6, 7), 0);
    CHECK_EQ(caps(0), all);
    CHECK_EQ(caps(1), all);
    CHECK_EQ(syscall(SYS_setresuid, 0, 0, 0), 0); // by capability, which is still there
    CHECK_EQ(prctl(PR_SET_SECUREBITS, 0), 0);
    CHECK_EQ(syscall(SYS_setresuid, 5, 6, 7), 0);
    CHECK_EQ(caps(1), 0);
    return 0;
}

static void groups(void)
{
    static const gid_t in[] = {70000, 3, 9, 3, 0, 5}, out[] = {0, 3, 3, 5, 9, 70000};
    gid_t now[8], none[] = {4, (gid_t)-1};
    CHECK_EQ(setgroups(6, in), 0);
    CHECK_EQ(getgroups(8, now), 6);
    CHECK(memcmp(now, out, sizeof(out)) == 0);
    CHECK_ERR(setgroups(2, none), EINVAL);
    CHECK_EQ(getgroups(8, now), 6);
    CHECK_EQ(setgroups(0, NULL), 0);
    group("groups");
}

static void nobody(void)
{
    struct msqid_ds m;
    struct shmid_ds s;
    struct semid_ds e;
    int id = msgget(IPC_PRIVATE, 0600);
    CHECK_EQ(msgctl(id, IPC_STAT, &m), 0);
    m.msg_perm.uid = (uid_t)-1;
    CHECK_ERR(msgctl(id, IPC_SET, &m), EINVAL);
    m.msg_perm.uid = 1;
    m.msg_perm.gid = (gid_t)-1;
    CHECK_ERR(msgctl(id, IPC_SET, &m), EINVAL);
    CHECK_EQ(msgctl(id, IPC_STAT, &m), 0);
    CHECK_EQ(m.msg_perm.uid, 0);
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
    id = shmget(IPC_PRIVATE, 4096, 0600);
    CHECK_EQ(shmctl(id, IPC_STAT, &s), 0);
    s.shm_perm.gid = (gid_t)-1;
    CHECK_ERR(shmctl(id, IPC_SET, &s), EINVAL);
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
    id = semget(IPC_PRIVATE, 1, 0600);
    CHECK_EQ(semctl(id, 0, IPC_STAT, &e), 0);
    e.sem_perm.uid = (uid_t)-1;
    CHECK_ERR(semctl(id, 0, IPC_SET, &e), EINVAL);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
    group("numbers that are nobody's");
}

static void *own_caps(void *arg)
{
    struct rlimit limit;
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, gettid()};
    struct __user_cap_data_struct d[2];
    CHECK_EQ(syscall(SYS_capget, &h, d), 0);
    CHECK_EQ(d[0].permitted, caps(1));
    CHECK_EQ(prlimit(gettid(), RLIMIT_CORE, NULL, &limit), 0);
    return arg;
}

static struct who users[] = {
    {"root", 0, 0, 0, 0, -1, ALL_CAPS},
    {"root without", 0, 0, 0, 0, -1, 0},
    {"user", 1000, 1000, 1000, 1000, -1, 0},
    {"syslog", 1000, 1000, 1000, 1000, -1, 1ull << CAP_SYSLOG},
};

static int log_of(void *arg)
{
    static char buf[4096];
    const struct who *w = arg;
    become(w);
    printf("%s:", w->name);
    for (int what = 0; what < 12; what++) {
        if (what != 2 && what != 4 && what != 5) { // not: wait, clear
            printf(" %d", result(klogctl(what, buf, what == 8 ? 7 : sizeof(buf))));
        }
    }
    printf(", kmsg %d %d\n", result_fd(open("/dev/kmsg", O_RDONLY)),
           result_fd(open("/dev/kmsg", O_WRONLY)));
    fflush(stdout);
    return 0;
}

int main(void)
{
    pthread_t t;
    CHECK_EQ(child_wait(child_run(fixup, NULL)), 0);
    group("SECBIT_NO_SETUID_FIXUP");
    groups();
    nobody();
    MUST(pthread_create(&t, NULL, own_caps, NULL) == 0);
    pthread_join(t, NULL);
    group("a process by its thread");
    for (int i = 0; i < 4; i++) {
        fflush(stdout);
        CHECK_EQ(child_wait(child_run(log_of, &users[i])), 0);
    }
    group("the log");
    return finish();
}
