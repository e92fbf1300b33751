// TEST: smp=2 scheme=rcu linux=same timeout=120
// What a process may do to another, by who both are: signals of all calls, its files, memory and
// descriptors by /proc, pidfd and process_vm_readv, its processors, policy and nice value; to the
// kernel's log; and to System V objects, by their modes. A line
// has the errno of each call, which must be what Linux says. Last, that an open /proc/PID/mem is
// not a way into the next program.
#define _GNU_SOURCE
#include "perm_test.h"
#include <sched.h>
#include <stdint.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define OWNER 1000

static const struct who whos[] = {
    {"root", 0, 0, 0, 0, -1, ALL_CAPS},
    {"root without", 0, 0, 0, 0, -1, 0},
    {"owner", OWNER, OWNER, OWNER, OWNER, -1, 0},
    {"real", OWNER, 2000, 2000, 2000, -1, 0},
    {"effective", 2000, OWNER, 2000, 2000, -1, 0},
    {"saved", 2001, 2001, OWNER, 2000, -1, 0},
    {"other", 2000, 2000, 2000, 2000, -1, 0},
    {"group", 2000, 2000, 2000, OWNER, -1, 0},
    {"supplementary", 2000, 2000, 2000, 2000, OWNER, 0},
    {"kill", 2000, 2000, 2000, 2000, -1, 1ull << CAP_KILL},
    {"ptrace", 2000, 2000, 2000, 2000, -1, 1ull << CAP_SYS_PTRACE},
    {"ipc", 2000, 2000, 2000, 2000, -1, 1ull << CAP_IPC_OWNER},
    {"admin", 2000, 2000, 2000, 2000, -1, 1ull << CAP_SYS_ADMIN},
    {"nice", 2000, 2000, 2000, 2000, -1, 1ull << CAP_SYS_NICE},
    {"syslog", 2000, 2000, 2000, 2000, -1, 1ull << CAP_SYSLOG},
};
#define NR_WHOS (int)(sizeof(whos) / sizeof(whos[0]))
enum { PLAIN, UNDUMPABLE, SESSION, NR_KINDS };
static const char *const kinds[] = {"", ", not dumpable", ", own session"};

static int *results;

static void results_print(const char *a, const char *b, const char *c, int nr)
{
    printf("%s, %s%s:", a, b, c);
    for (int i = 0; i < nr; i++) {
        printf(" %d", results[i]);
    }
    printf("\n");
}

// ---- Processes ----------------------------------------------------------------------------------

static pid_t victim_start(const struct who *w, int kind)
{
    struct gate ready;
    sigset_t all;
    gate_make(&ready);
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        if (kind == SESSION) {
            MUST(setsid() > 0);
        }
        become(w);
        MUST(prctl(PR_SET_DUMPABLE, kind != UNDUMPABLE) == 0);
        gate_pass(&ready);
        sleep_forever(NULL);
    }
    gate_wait(&ready);
    gate_close(&ready);
    return pid;
}

static int pid_open(pid_t pid, const char *name, int flags)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    return result_fd(open(path, flags));
}

static int pid_readlink(pid_t pid, const char *name)
{
    char path[64], to[256];
    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    return result(readlink(path, to, sizeof(to)));
}

static int pid_owner(pid_t pid, const char *name)
{
    struct stat st;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    return stat(path, &st) ? -errno : (int)st.st_uid * 10000 + (int)(st.st_mode & 07777);
}

static int pidfd_do(pid_t pid, int getfd)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0), err;
    MUST(fd >= 0);
    err = getfd ? result_fd((int)syscall(SYS_pidfd_getfd, fd, 0, 0))
                : result(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, NULL, 0));
    close(fd);
    return err;
}

static int pid_read(pid_t pid)
{
    char here;
    struct iovec l = {&here, 1}, r = {&results, 1};
    return result(process_vm_readv(pid, &l, 1, &r, 1, 0));
}

static int try_all(pid_t pid)
{
    siginfo_t info = {.si_code = SI_QUEUE};
    int *r = results;
    *r++ = result(kill(pid, 0));
    *r++ = result(kill(pid, SIGUSR1));
    *r++ = result(kill(pid, SIGCONT));
    *r++ = result(syscall(SYS_tgkill, pid, pid, 0));
    *r++ = result(syscall(SYS_tgkill, pid, pid, SIGUSR1));
    *r++ = result(syscall(SYS_tkill, pid, SIGUSR1));
    *r++ = result(syscall(SYS_tkill, pid, SIGCONT));
    *r++ = result(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info));
    *r++ = result(syscall(SYS_rt_tgsigqueueinfo, pid, pid, SIGUSR1, &info));
    *r++ = pidfd_do(pid, 0);
    *r++ = pidfd_do(pid, 1);
    *r++ = pid_read(pid);
    *r++ = pid_open(pid, "mem", O_RDWR);
    *r++ = pid_open(pid, "maps", O_RDONLY);
    *r++ = pid_open(pid, "smaps", O_RDONLY);
    *r++ = pid_open(pid, "environ", O_RDONLY);
    *r++ = pid_open(pid, "auxv", O_RDONLY);
    *r++ = pid_open(pid, "pagemap", O_RDONLY);
    *r++ = pid_open(pid, "status", O_RDONLY);
    *r++ = pid_open(pid, "cmdline", O_RDONLY);
    *r++ = pid_open(pid, "comm", O_RDWR);
    *r++ = pid_open(pid, "fd", O_RDONLY | O_DIRECTORY);
    *r++ = pid_open(pid, "fd/0", O_PATH);
    *r++ = pid_open(pid, "cwd", O_PATH);
    *r++ = pid_open(pid, "task", O_RDONLY);
    *r++ = pid_readlink(pid, "exe");
    *r++ = pid_readlink(pid, "cwd");
    *r++ = pid_readlink(pid, "root");
    *r++ = pid_readlink(pid, "fd/0");
    *r++ = pid_owner(pid, "");
    *r++ = pid_owner(pid, "fd");
    *r++ = pid_owner(pid, "maps");
    *r++ = pid_owner(pid, "environ");
    return (int)(r - results);
}

static void procs_by(const struct who *w, const struct who *v, int kind)
{
    pid_t victim = victim_start(v, kind), pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        become(w);
        _exit(try_all(victim));
    }
    int nr = child_wait(pid) >> 8;
    CHECK_EQ(nr, 33);
    results_print(w->name, v->name, kinds[kind], nr);
    kill(victim, SIGKILL);
    child_wait(victim);
}

static int set_policy(pid_t pid, int policy)
{
    struct sched_param p = {0};
    return result(syscall(SYS_sched_setscheduler, pid, policy, &p));
}

static int set_nice(pid_t pid, int nice)
{
    struct {
        unsigned size, policy;
        unsigned long flags;
        int nice;
        unsigned priority;
        unsigned long deadline[3];
    } a = {.size = sizeof(a), .nice = nice};
    return result(syscall(SYS_sched_setattr, pid, &a, 0));
}

static int try_scheduling(pid_t pid)
{
    struct sched_param p = {0}, high = {1};
    unsigned long cpus = 1, none = 0;
    int *r = results;
    *r++ = result(syscall(SYS_sched_setaffinity, pid, sizeof(cpus), &cpus));
    *r++ = result(syscall(SYS_sched_setaffinity, pid, sizeof(cpus), &none));
    *r++ = result(syscall(SYS_sched_getaffinity, pid, sizeof(cpus), &cpus));
    *r++ = set_policy(pid, SCHED_BATCH);
    *r++ = (int)syscall(SYS_sched_getscheduler, pid);
    *r++ = result(syscall(SYS_sched_setparam, pid, &p));
    *r++ = result(syscall(SYS_sched_setparam, pid, &high));
    *r++ = set_policy(pid, SCHED_FIFO); // its priority is missing
    *r++ = set_policy(pid, SCHED_IDLE);
    *r++ = set_policy(pid, SCHED_OTHER);
    *r++ = set_policy(pid, SCHED_OTHER | SCHED_RESET_ON_FORK);
    *r++ = set_policy(pid, SCHED_OTHER);
    *r++ = (int)syscall(SYS_sched_getscheduler, pid);
    *r++ = set_nice(pid, 5);
    *r++ = set_nice(pid, 4);
    *r++ = set_nice(pid, 40);
    *r++ = result(setpriority(PRIO_PROCESS, (id_t)pid, 7));
    *r++ = result(setpriority(PRIO_PROCESS, (id_t)pid, -7));
    *r++ = getpriority(PRIO_PROCESS, (id_t)pid);
    *r++ = result(syscall(SYS_ioprio_set, 1, pid, 2 << 13 | 4));
    return (int)(r - results);
}

// rlimit: nice values down to -2 are for all.
static void scheduling_by(const struct who *w, const struct who *v, int rlimit)
{
    struct rlimit before, some = {22, 22};
    MUST(getrlimit(RLIMIT_NICE, &before) == 0);
    MUST(!rlimit || setrlimit(RLIMIT_NICE, &some) == 0);
    pid_t victim = victim_start(v, PLAIN), pid = fork();
    MUST(setrlimit(RLIMIT_NICE, &before) == 0);
    MUST(pid >= 0);
    if (pid == 0) {
        become(w);
        _exit(try_scheduling(victim));
    }
    results_print(w->name, v->name, rlimit ? ", scheduling, rlimit" : ", scheduling",
                  child_wait(pid) >> 8);
    kill(victim, SIGKILL);
    child_wait(victim);
}

static void restrict_log(char yes)
{
    int fd = open("/proc/sys/kernel/dmesg_restrict", O_WRONLY);
    MUST(fd >= 0 && write(fd, &yes, 1) == 1);
    close(fd);
}

static void log_by(const struct who *w, char restricted)
{
    char some[8];
    pid_t pid;
    restrict_log(restricted);
    pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        become(w);
        int *r = results, fd = open("/proc/sys/kernel/dmesg_restrict", O_WRONLY);
        *r++ = fd < 0 ? errno : 0;
        *r++ = result(write(fd, "1", 1));
        for (int action = 0; action < 12; action++) {
            if (action != 2 && action != 5 && action != 6) { // it waits; it empties; the console
                *r++ = result(syscall(SYS_syslog, action, some, 4));
            }
        }
        *r++ = result_fd(open("/dev/kmsg", O_RDONLY | O_NONBLOCK));
        *r++ = result_fd(open("/dev/kmsg", O_RDWR | O_NONBLOCK));
        *r++ = result_fd(open("/dev/kmsg", O_WRONLY | O_NONBLOCK));
        _exit((int)(r - results));
    }
    results_print(w->name, "log", restricted == '1' ? ", restricted" : "", child_wait(pid) >> 8);
}

// A process looks at itself, dumpable or not.
static void self_by(const struct who *w)
{
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        become(w);
        MUST(prctl(PR_SET_DUMPABLE, 0) == 0);
        results[0] = pid_open(getpid(), "fd", O_RDONLY);
        results[1] = pid_open(getpid(), "fd/0", O_PATH);
        results[2] = pid_open(getpid(), "maps", O_RDONLY);
        results[3] = pid_readlink(getpid(), "exe");
        results[4] = result(syscall(SYS_sethostname, "x", -1)); // EINVAL: it may
        results[5] = result(syscall(SYS_setdomainname, "x", -1));
        results[6] = result(syscall(SYS_reboot, 0, 0, 0));
        _exit(0);
    }
    exits_with(pid, 0);
    results_print(w->name, "itself", "", 7);
}

// Groups of two, and of one that may not.
static void groups_by(const struct who *w)
{
    int v[] = {2, 0}, nr = 0;
    pid_t victim[2];
    for (int i = 0; i < 2; i++) {
        victim[i] = victim_start(&whos[v[i]], PLAIN);
        MUST(setpgid(victim[i], victim[0]) == 0);
    }
    for (int round = 0; round < 2; round++) {
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0) {
            become(w);
            results[nr] = result(kill(-victim[0], 0));
            results[nr + 1] = result(kill(-victim[0], SIGUSR1));
            results[nr + 2] = result(kill(-victim[0], SIGCONT));
            results[nr + 3] = result(kill(-1, 0));
            _exit(0);
        }
        exits_with(pid, 0);
        nr += 4;
        if (round == 0) {
            kill(victim[0], SIGKILL);
            child_wait(victim[0]);
        }
    }
    kill(victim[1], SIGKILL);
    child_wait(victim[1]);
    results_print(w->name, "groups", "", nr);
}

// ---- System V -----------------------------------------------------------------------------------

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

struct objects {
    int key, msg, sem, shm;
};

static int try_attach(int id, int flags)
{
    void *p = shmat(id, NULL, flags);
    if (p == (void *)-1) {
        return errno;
    }
    shmdt(p);
    return 0;
}

static int try_ops(int id, short op)
{
    struct sembuf b = {0, op, IPC_NOWAIT};
    return result(semop(id, &b, 1));
}

static int ipc_all(const struct objects *o)
{
    struct {
        long type;
        char text[4];
    } m = {1, "x"};
    unsigned short values[2] = {0, 0};
    struct msqid_ds mq;
    struct semid_ds ss;
    struct shmid_ds sg;
    int *r = results;
    *r++ = result(msgget(o->key, 0));
    *r++ = result(msgget(o->key, 0444));
    *r++ = result(msgget(o->key, 0600));
    *r++ = result(msgget(o->key, IPC_CREAT | 0002));
    *r++ = result(msgsnd(o->msg, &m, 1, IPC_NOWAIT));
    *r++ = result(msgrcv(o->msg, &m, 4, 0, IPC_NOWAIT));
    *r++ = result(msgctl(o->msg, IPC_STAT, &mq));
    *r++ = result(semget(o->key, 2, 0444));
    *r++ = result(semget(o->key, 2, 0222));
    *r++ = try_ops(o->sem, 0);
    *r++ = try_ops(o->sem, 1);
    *r++ = result(semctl(o->sem, 0, GETVAL));
    *r++ = result(semctl(o->sem, 9, GETVAL));
    *r++ = result(semctl(o->sem, 0, SETVAL, (union semun){.val = 0}));
    *r++ = result(semctl(o->sem, 9, SETVAL, (union semun){.val = 0}));
    *r++ = result(semctl(o->sem, 0, GETALL, (union semun){.array = values}));
    *r++ = result(semctl(o->sem, 0, SETALL, (union semun){.array = values}));
    *r++ = result(semctl(o->sem, 0, IPC_STAT, (union semun){.buf = &ss}));
    *r++ = result(shmget(o->key, 1, 0444));
    *r++ = result(shmget(o->key, 1, 0666));
    *r++ = result(shmget(o->key, 1 << 20, 0666));
    *r++ = try_attach(o->shm, SHM_RDONLY);
    *r++ = try_attach(o->shm, 0);
    *r++ = try_attach(o->shm, SHM_RDONLY | SHM_EXEC);
    *r++ = result(shmctl(o->shm, IPC_STAT, &sg));
    *r++ = result(shmctl(o->shm, SHM_LOCK, NULL));
    *r++ = result(shmctl(o->shm, SHM_UNLOCK, NULL));
    sg.shm_perm = (struct ipc_perm){.uid = OWNER, .gid = OWNER, .mode = 0600};
    *r++ = result(shmctl(o->shm, IPC_SET, &sg));
    *r++ = result(shmctl(o->shm, IPC_RMID, NULL));
    *r++ = result(semctl(o->sem, 0, IPC_RMID));
    *r++ = result(msgctl(o->msg, IPC_RMID, NULL));
    return (int)(r - results);
}

static void ipc_by(const struct who *w, unsigned mode)
{
    static int key = 0x9e0000;
    struct objects o = {.key = ++key};
    char name[16];
    pid_t pid = fork(); // made by OWNER, then given away: the maker keeps the owner's rights
    MUST(pid >= 0);
    if (pid == 0) {
        MUST(setgid(OWNER) == 0 && setuid(OWNER) == 0);
        o.msg = msgget(o.key, IPC_CREAT | (int)mode);
        o.sem = semget(o.key, 2, IPC_CREAT | (int)mode);
        o.shm = shmget(o.key, 4096, IPC_CREAT | (int)mode);
        memcpy(results, &o, sizeof(o));
        _exit(0);
    }
    exits_with(pid, 0);
    memcpy(&o, results, sizeof(o));
    MUST(o.msg >= 0 && o.sem >= 0 && o.shm >= 0);
    pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        become(w);
        _exit(ipc_all(&o));
    }
    int nr = child_wait(pid) >> 8;
    CHECK_EQ(nr, 31);
    snprintf(name, sizeof(name), "ipc %o", mode);
    results_print(w->name, name, "", nr);
    shmctl(o.shm, IPC_RMID, NULL);
    semctl(o.sem, 0, IPC_RMID);
    msgctl(o.msg, IPC_RMID, NULL);
}

// ---- mem and execve -----------------------------------------------------------------------------

static int exec_again(void *arg)
{
    char *argv[] = {(char *)"perm_procs", (char *)"wait", (char *)arg, NULL};
    execve("/proc/self/exe", argv, argv + 3);
    return 1;
}

static void test_mem_exec(void)
{
    char fds[32], path[32], c;
    int up[2], down[2];
    MUST(pipe(up) == 0 && pipe(down) == 0);
    snprintf(fds, sizeof(fds), "%d %d", up[1], down[0]);
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        MUST(read(down[0], &c, 1) == 1);
        _exit(exec_again(fds));
    }
    snprintf(path, sizeof(path), "/proc/%d/mem", pid);
    int fd = open(path, O_RDWR);
    MUST(fd >= 0);
    CHECK_EQ(pread(fd, &c, 1, (off_t)(uintptr_t)&results), 1);
    MUST(write(down[1], "x", 1) == 1 && read(up[0], &c, 1) == 1); // the next program runs
    CHECK(pread(fd, &c, 1, (off_t)(uintptr_t)&results) <= 0);
    CHECK(pwrite(fd, &c, 1, (off_t)(uintptr_t)&results) <= 0);
    close(fd);
    fd = open(path, O_RDWR);
    MUST(fd >= 0);
    CHECK_EQ(pread(fd, &c, 1, (off_t)(uintptr_t)&results), 1);
    close(fd);
    MUST(write(down[1], "x", 1) == 1);
    exits_with(pid, 0);
    group("mem of the program before");
}

int main(int argc, char **argv)
{
    int up, down;
    char c;
    if (argc > 2 && sscanf(argv[2], "%d %d", &up, &down) == 2) {
        return !(write(up, "x", 1) == 1 && read(down, &c, 1) == 1);
    }
    results = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(results != MAP_FAILED);
    mkdir("/proc", 0555);
    for (int w = 0; w < NR_WHOS; w++) {
        procs_by(&whos[w], &whos[2], PLAIN);
        procs_by(&whos[w], &whos[2], UNDUMPABLE);
        procs_by(&whos[w], &whos[2], SESSION);
        procs_by(&whos[w], &whos[0], PLAIN);
        procs_by(&whos[w], &whos[3], PLAIN);
        procs_by(&whos[w], &whos[5], PLAIN);
        for (int rlimit = 0; rlimit < 2; rlimit++) {
            scheduling_by(&whos[w], &whos[2], rlimit);
            scheduling_by(&whos[w], &whos[0], rlimit);
            scheduling_by(&whos[w], &whos[4], rlimit);
        }
        log_by(&whos[w], '0');
        log_by(&whos[w], '1');
        self_by(&whos[w]);
        groups_by(&whos[w]);
        ipc_by(&whos[w], 0666);
        ipc_by(&whos[w], 0600);
        ipc_by(&whos[w], 0040);
        ipc_by(&whos[w], 0026);
        ipc_by(&whos[w], 0755);
    }
    group("processes and objects");
    test_mem_exec();
    return finish();
}
