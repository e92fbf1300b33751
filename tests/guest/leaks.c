// TEST: smp=1,4 scheme=rcu timeout=240
// What programs make and drop is gone afterwards: each thing made a thousand times and closed,
// left behind by an exit, or held by children that are killed while they sleep in it. Frames, VMAs
// and open files are back to the last one, kernel objects but for what each CPU keeps, which is
// less than one for each time. (Faultline only: it reads /proc/faultline.)
#define _GNU_SOURCE
#include "race_test.h"
#include "proc_test.h"
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#define TIMES    1000 // each thing is made
#define CHILDREN 300  // killed in each sleep, a litter at a time
#define LITTER   30

// ---- Made and dropped ---------------------------------------------------------------------------

static void send_fds(int to, const int *fds, unsigned n)
{
    char byte = 'x', room[CMSG_SPACE(8 * sizeof(int))] = {0};
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = room,
                       .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    CHECK_EQ(sendmsg(to, &m, 0), 1);
}

// Closed with bytes, and with descriptors, under way; the second pair only holds itself.
static void make_sockets(int i)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    int a[2], b[2], text = open("/proc/self/stat", O_RDONLY);
    MUST(socketpair(AF_UNIX, types[i % 3], 0, a) == 0);
    MUST(socketpair(AF_UNIX, types[i % 3], 0, b) == 0);
    CHECK_EQ(write(a[0], "in flight", 9), 9);
    send_fds(a[1], &text, 1);
    send_fds(a[0], b, 2);
    send_fds(b[0], b, 2);
    send_fds(b[1], a, 2);
    close(a[0]), close(a[1]), close(b[0]), close(b[1]), close(text);
}

static socklen_t name_socket(struct sockaddr_un *name, int i)
{
    *name = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(name->sun_path, sizeof(name->sun_path), "/tmp/leaks.%d", i);
    name->sun_path[0] = i % 2 ? '\0' : '/'; // half of them abstract
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name->sun_path + 1));
}

// A listener goes with connections that nobody has accepted.
static void make_listeners(int i)
{
    struct sockaddr_un name;
    socklen_t len = name_socket(&name, i);
    int s = socket(AF_UNIX, SOCK_STREAM, 0), c[3];
    CHECK_EQ(bind(s, (struct sockaddr *)&name, len), 0);
    CHECK_EQ(listen(s, 5), 0);
    for (int k = 0; k < 3; k++) {
        c[k] = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK_EQ(connect(c[k], (struct sockaddr *)&name, len), 0);
        CHECK_EQ(write(c[k], "x", 1), 1);
    }
    close(accept(s, NULL, NULL));
    close(c[0]), close(s), close(c[1]), close(c[2]);
    unlink(name.sun_path);
}

static void make_epolls(int i)
{
    int e = epoll_create1(0), outer = epoll_create1(0), n = eventfd(1, 0), p[2];
    struct epoll_event ev = {.events = EPOLLIN | (i % 2 ? EPOLLET : EPOLLONESHOT)};
    MUST(pipe(p) == 0);
    CHECK_EQ(epoll_ctl(e, EPOLL_CTL_ADD, n, &ev), 0);
    CHECK_EQ(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev), 0);
    CHECK_EQ(epoll_ctl(outer, EPOLL_CTL_ADD, e, &ev), 0);
    CHECK_EQ(epoll_ctl(outer, EPOLL_CTL_ADD, n, &ev), 0);
    CHECK_EQ(epoll_wait(outer, &ev, 1, 0), 1);
    if (i % 3 == 0) { // the watcher first, the watched first, or what lies between
        close(outer), close(e), close(n);
    } else if (i % 3 == 1) {
        close(n), close(e), close(outer);
    } else {
        close(e), close(n), close(outer);
    }
    close(p[0]), close(p[1]);
}

static void make_timers(int i)
{
    struct itimerspec soon = {{0, 1000000}, {0, 1000000}}, late = {{0, 0}, {1000, 0}};
    struct sigevent quiet = {.sigev_notify = SIGEV_NONE};
    sigset_t set;
    timer_t t;
    int fd = timerfd_create(CLOCK_MONOTONIC, 0), copy = dup(fd), s;
    CHECK_EQ(timerfd_settime(fd, 0, i % 2 ? &soon : &late, NULL), 0);
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &quiet, &t), 0);
    CHECK_EQ(timer_settime(t, 0, i % 2 ? &late : &soon, NULL), 0);
    CHECK_EQ(timer_delete(t), 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    s = signalfd(-1, &set, 0);
    CHECK(s >= 0);
    close(fd), close(copy), close(s);
}

static void make_pipes(int i)
{
    static char page[3 * PAGE];
    int p[2];
    MUST(pipe2(p, O_NONBLOCK) == 0);
    fcntl(p[0], F_SETPIPE_SZ, (int)PAGE << i % 5);
    CHECK(write(p[1], page, sizeof(page)) > 0);
    CHECK_EQ(read(p[0], page, 10), 10);
    close(p[i & 1]), close(p[!(i & 1)]);
    MUST(mkfifo("/tmp/leaks.fifo", 0600) == 0);
    int fd = open("/tmp/leaks.fifo", O_RDWR);
    CHECK_EQ(write(fd, page, 100), 100);
    if (i % 2) {
        unlink("/tmp/leaks.fifo"), close(fd);
    } else {
        close(fd), unlink("/tmp/leaks.fifo");
    }
}

static void make_ptys(int i)
{
    char name[64];
    int number = 0, zero = 0, master = open("/dev/ptmx", O_RDWR | O_NOCTTY), slave;
    MUST(master >= 0);
    CHECK_EQ(ioctl(master, TIOCSPTLCK, &zero) | ioctl(master, TIOCGPTN, &number), 0);
    snprintf(name, sizeof(name), "/dev/pts/%d", number);
    slave = open(name, O_RDWR | O_NOCTTY);
    MUST(slave >= 0);
    CHECK_EQ(write(master, "typed\nand not read", 18), 18);
    CHECK_EQ(write(slave, "shown", 5), 5);
    close(i % 2 ? master : slave), close(i % 2 ? slave : master);
}

static void make_locks(int i)
{
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET}, part = all;
    int fd = open("/tmp/leaks.lock", O_RDWR | O_CREAT, 0600);
    int other = open("/tmp/leaks.lock", O_RDWR);
    MUST(fd >= 0 && other >= 0);
    CHECK_EQ(flock(fd, LOCK_SH) | flock(other, LOCK_SH), 0);
    CHECK_EQ(fcntl(fd, F_SETLK, &all), 0);
    part.l_start = 10, part.l_len = 10, part.l_type = F_UNLCK; // now there are two
    CHECK_EQ(fcntl(fd, F_SETLK, &part), 0);
    close(other); // which drops the process's locks
    all.l_len = 5 + i % 3;
    CHECK_EQ(fcntl(fd, F_OFD_SETLK, &all), 0);
    close(fd);
}

static void make_ipc(int i)
{
    struct {
        long type;
        char text[100];
    } m = {1, {0}};
    struct sembuf up = {0, 1, i % 2 ? SEM_UNDO : 0};
    int shm = shmget(IPC_PRIVATE, 3 * PAGE, 0600), sem = semget(IPC_PRIVATE, 3, 0600);
    int msg = msgget(IPC_PRIVATE, 0600);
    char *p = shmat(shm, NULL, 0);
    MUST(p != (void *)-1);
    p[PAGE] = 1;
    CHECK_EQ(semop(sem, &up, 1), 0);
    CHECK_EQ(msgsnd(msg, &m, 100, 0) | msgsnd(msg, &m, 10, 0), 0);
    CHECK_EQ(shmctl(shm, IPC_RMID, NULL), 0);
    CHECK_EQ(shmdt(p), 0);
    CHECK_EQ(semctl(sem, 0, IPC_RMID) | msgctl(msg, IPC_RMID, NULL), 0);
}

static void make_memfds(int i)
{
    int fd = memfd_create("leaks", MFD_ALLOW_SEALING);
    MUST(ftruncate(fd, 4 * PAGE) == 0);
    char *p = map(4 * PAGE, RW, i % 2 ? MAP_SHARED : MAP_PRIVATE, fd, 0);
    p[0] = p[2 * PAGE] = 1;
    CHECK_EQ(write(fd, "x", 1), 1);
    close(fd);
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    CHECK(fd >= 0);
    close(fd);
}

// ---- Left behind: one child makes many, closes none, and ends -----------------------------------

static int leave_behind(void *arg)
{
    struct epoll_event ev = {.events = EPOLLIN};
    struct itimerspec soon = {{0, 1000000}, {0, 1000000}};
    int p[2], s[2], e = epoll_create1(0), fd;
    (void)arg;
    for (int i = 0; i < 100; i++) {
        MUST(pipe(p) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
        CHECK_EQ(write(p[1], "left", 4), 4);
        send_fds(s[0], s, 2);
        send_fds(s[0], &e, 1);
        epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev);
        epoll_ctl(e, EPOLL_CTL_ADD, s[1], &ev);
        fd = timerfd_create(CLOCK_MONOTONIC, 0);
        timerfd_settime(fd, 0, &soon, NULL);
        epoll_ctl(e, EPOLL_CTL_ADD, fd, &ev);
    }
    fd = open("/tmp/leaks.lock", O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < 100; i++) {
        struct flock one = {.l_type = F_RDLCK, .l_start = 2 * i, .l_len = 1};
        CHECK_EQ(fcntl(fd, i % 2 ? F_SETLK : F_OFD_SETLK, &one), 0);
    }
    return 0;
}

static void make_and_leave(int i)
{
    if (i % 100 == 0) {
        exits_with(child_run(leave_behind, NULL), 0);
    }
}

// ---- Killed while asleep ------------------------------------------------------------------------

static int sem_zero, msg_empty, msg_full, lock_held, busy_listener, full_pipe[2], empty[2];

static int sleep_pipe(void *arg)
{
    char c[2 * PAGE] = {0};
    return (long)arg & 1 ? (int)read(empty[0], c, 1) : (int)write(full_pipe[1], c, sizeof(c));
}

static int sleep_socket(void *arg)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "/tmp/leaks.busy"};
    int s[2];
    char c;
    if ((long)arg & 1) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        return connect(fd, (struct sockaddr *)&name, sizeof(name));
    }
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
    send_fds(s[0], s, 2);
    return (int)(recv(s[0], &c, 1, 0) + accept(busy_listener, NULL, NULL));
}

static int sleep_epoll(void *arg)
{
    struct epoll_event ev = {.events = EPOLLIN};
    struct pollfd p[2] = {{empty[0], POLLIN, 0}, {full_pipe[1], POLLOUT, 0}};
    fd_set set;
    int e = epoll_create1(0), n = eventfd(0, 0);
    switch ((long)arg % 4) {
    case 0:
        epoll_ctl(e, EPOLL_CTL_ADD, empty[0], &ev);
        epoll_ctl(e, EPOLL_CTL_ADD, n, &ev);
        return epoll_wait(e, &ev, 1, -1);
    case 1:
        return poll(p, 2, -1);
    case 2:
        FD_ZERO(&set);
        FD_SET(empty[0], &set);
        return select(empty[0] + 1, &set, NULL, NULL, NULL);
    default:
        return (int)read(n, &ev, 8);
    }
}

static int sleep_timer(void *arg)
{
    struct itimerspec late = {{0, 0}, {1000, 0}};
    char b[8];
    sigset_t set;
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    timerfd_settime(fd, 0, &late, NULL);
    switch ((long)arg % 3) {
    case 0:
        return (int)read(fd, b, 8);
    case 1:
        return nanosleep(&late.it_value, NULL);
    default:
        return sigwaitinfo(&set, NULL);
    }
}

static int sleep_lock(void *arg)
{
    struct flock all = {.l_type = F_WRLCK};
    int fd = open("/tmp/leaks.held", O_RDWR);
    switch ((long)arg % 3) {
    case 0:
        return flock(fd, LOCK_EX);
    case 1:
        return fcntl(fd, F_SETLKW, &all);
    default:
        return fcntl(fd, F_OFD_SETLKW, &all);
    }
}

static int sleep_ipc(void *arg)
{
    struct sembuf more[2] = {{1, 1, SEM_UNDO}, {0, -1, SEM_UNDO}};
    char m[4096] = {1};
    switch ((long)arg % 3) {
    case 0:
        return semop(sem_zero, more, 2);
    case 1:
        return (int)msgrcv(msg_empty, m, 100, 0, 0);
    default:
        return msgsnd(msg_full, m, 4000, 0);
    }
}

static int sleep_tty(void *arg)
{
    char c;
    int zero = 0, number, master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    char name[64];
    setsid();
    ioctl(master, TIOCSPTLCK, &zero);
    ioctl(master, TIOCGPTN, &number);
    snprintf(name, sizeof(name), "/dev/pts/%d", number);
    int slave = open(name, O_RDWR); // the session's terminal
    return (int)read((long)arg & 1 ? slave : master, &c, 1);
}

static int sleep_process(void *arg)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == 1) {
            _exit(0);
        }
        pause();
    }
    return (long)arg & 1 ? waitpid(pid, NULL, 0)
                         : (int)syscall(SYS_waitid, P_PID, pid, NULL, WEXITED | WNOWAIT, NULL);
}

static void settled(void)
{
    struct sysinfo s;
    do { // orphans end when they like
        usleep(1000);
        MUST(sysinfo(&s) == 0);
    } while (s.procs > 1); // threads of all processes: only this one
}

static void kill_asleep(int (*fn)(void *))
{
    pid_t pid[LITTER];
    for (long i = 0; i < CHILDREN; i += LITTER) {
        for (long k = 0; k < LITTER; k++) {
            pid[k] = child_run(fn, (void *)(i + k));
        }
        usleep(3000 * (i % 3)); // some have not come that far
        for (int k = 0; k < LITTER; k++) {
            kill(pid[k], SIGKILL);
        }
        for (int k = 0; k < LITTER; k++) {
            dies_of(pid[k], SIGKILL);
        }
    }
    settled();
}

// What the sleepers wait at lives as long as the test.
static void prepare_sleeps(void)
{
    static char page[PAGE];
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "/tmp/leaks.busy"};
    struct {
        long type;
        char text[4000];
    } m = {1, {0}};
    struct flock all = {.l_type = F_WRLCK};
    MUST(pipe(empty) == 0 && pipe(full_pipe) == 0);
    fcntl(full_pipe[1], F_SETFL, O_NONBLOCK);
    while (write(full_pipe[1], page, sizeof(page)) > 0) {
    }
    fcntl(full_pipe[1], F_SETFL, 0);
    busy_listener = socket(AF_UNIX, SOCK_STREAM, 0);
    MUST(bind(busy_listener, (struct sockaddr *)&name, sizeof(name)) == 0);
    MUST(listen(busy_listener, 0) == 0);
    MUST(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&name, sizeof(name)) == 0);
    sem_zero = semget(IPC_PRIVATE, 2, 0600);
    msg_empty = msgget(IPC_PRIVATE, 0600);
    msg_full = msgget(IPC_PRIVATE, 0600);
    while (msgsnd(msg_full, &m, 4000, IPC_NOWAIT) == 0) {
    }
    lock_held = open("/tmp/leaks.held", O_RDWR | O_CREAT, 0600);
    MUST(flock(lock_held, LOCK_EX) == 0 && fcntl(lock_held, F_SETLK, &all) == 0);
}

// ---- All of it ----------------------------------------------------------------------------------

static const struct {
    const char *what;
    void (*make)(int i);
    int (*sleep)(void *arg);
} things[] = {
    {"sockets with bytes and descriptors under way", make_sockets, NULL},
    {"listeners", make_listeners, NULL},
    {"epoll", make_epolls, NULL},
    {"timers and signalfd", make_timers, NULL},
    {"pipes and fifos", make_pipes, NULL},
    {"terminals", make_ptys, NULL},
    {"file locks", make_locks, NULL},
    {"System V IPC", make_ipc, NULL},
    {"memfd and pidfd", make_memfds, NULL},
    {"all that an exit leaves", make_and_leave, NULL},
    {"killed in pipes", NULL, sleep_pipe},
    {"killed in sockets", NULL, sleep_socket},
    {"killed in epoll, poll, select", NULL, sleep_epoll},
    {"killed in timers and signals", NULL, sleep_timer},
    {"killed in file locks", NULL, sleep_lock},
    {"killed in System V IPC", NULL, sleep_ipc},
    {"killed in terminals", NULL, sleep_tty},
    {"killed in waits", NULL, sleep_process},
};

static void run(unsigned n, int times)
{
    for (int i = 0; things[n].make && i < times; i++) {
        things[n].make(i);
    }
    if (things[n].make == make_sockets &&
        times == TIMES) { // 4 and a text each: most are gone by now
        CHECK(stat_get("open_files") < 3500);
    }
    if (things[n].sleep) {
        kill_asleep(things[n].sleep);
    }
    close(socket(AF_UNIX, SOCK_STREAM, 0)); // circles of sockets go when the next one does
}

// The first time is for what the library and the caches keep.
static void check(unsigned n)
{
    run(n, 130);
    settled();
    struct baseline was = baseline_first();
    run(n, TIMES);
    baseline_check(&was);
    group(things[n].what);
}

int main(int argc, char **argv)
{
    nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    prepare_sleeps();
    for (unsigned n = 0; n < sizeof(things) / sizeof(things[0]); n++) {
        if (argc < 2 || strstr(things[n].what, argv[1])) {
            check(n);
        }
    }
    CHECK_EQ(semctl(sem_zero, 1, GETVAL), 0); // the killed had not changed it
    return finish();
}
