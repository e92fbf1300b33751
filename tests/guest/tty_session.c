// TEST: smp=1,2 scheme=rcu linux=same
// Sessions and their terminals: who hears of it when the leader ends, when it gives its terminal up
// and when the line goes; what /proc and the master say; and reads that do not wait.
//
//     this process (master) --- leader (setsid, slave) --- worker (a group of its own, foreground)
#define _GNU_SOURCE
#include "test.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define ROUNDS 2000

static int master;
static char slave_name[32];

// What one process does when another says so: a byte each way.
struct line {
    int fd[2][2];
};
static struct line to_leader, to_worker;

static void line_make(struct line *l)
{
    MUST(pipe(l->fd[0]) == 0 && pipe(l->fd[1]) == 0);
}

static void line_close(struct line *l)
{
    for (int i = 0; i < 4; i++) {
        close(l->fd[i / 2][i % 2]);
    }
}

static void say(int fd)
{
    MUST(write(fd, "x", 1) == 1);
}

static void hear(int fd)
{
    char c;
    MUST(read(fd, &c, 1) == 1);
}

// In the parent: let the other take its next step, and wait for its end.
static void step(struct line *l)
{
    say(l->fd[0][1]);
    hear(l->fd[1][0]);
}

// In the other: the step is done, wait for the next.
static void next(struct line *l)
{
    say(l->fd[1][1]);
    hear(l->fd[0][0]);
}

static void open_master(void)
{
    master = posix_openpt(O_RDWR | O_NOCTTY);
    MUST(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    MUST(ptsname_r(master, slave_name, sizeof(slave_name)) == 0);
}

// SIGHUP and SIGCONT are blocked everywhere: what came is what is pending.
static int came(void)
{
    sigset_t set;
    struct timespec none = {0, 0};
    MUST(sigpending(&set) == 0);
    int r = (sigismember(&set, SIGHUP) ? 1 : 0) | (sigismember(&set, SIGCONT) ? 2 : 0);
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCONT);
    while (sigtimedwait(&set, NULL, &none) > 0) {
    }
    return r;
}

static void stat_tty(int *tty_nr, int *tpgid)
{
    char buf[512], *p;
    FILE *f = fopen("/proc/self/stat", "r");
    MUST(f && fgets(buf, sizeof(buf), f) && (p = strrchr(buf, ')')));
    fclose(f);
    MUST(sscanf(p + 1, " %*c %*d %*d %*d %d %d", tty_nr, tpgid) == 2);
}

static void has_terminal(int slave, pid_t fg)
{
    int tty_nr, tpgid, tty = open("/dev/tty", O_RDWR);
    struct stat st;
    CHECK(tty >= 0);
    close(tty);
    stat_tty(&tty_nr, &tpgid);
    MUST(fstat(slave, &st) == 0);
    CHECK_EQ(major(st.st_rdev), 136);
    CHECK_EQ(tty_nr, (int)((major(st.st_rdev) << 8) | minor(st.st_rdev)));
    CHECK_EQ(tpgid, fg);
    CHECK_EQ(tcgetpgrp(slave), fg);
}

static void has_none(int slave)
{
    int tty_nr, tpgid;
    CHECK_ERR(open("/dev/tty", O_RDWR), ENXIO);
    stat_tty(&tty_nr, &tpgid);
    CHECK_EQ(tty_nr, 0);
    CHECK_EQ(tpgid, -1);
    CHECK_EQ(tcgetpgrp(slave), -1);
}

static void line_is_dead(int slave)
{
    char c;
    struct termios t;
    struct pollfd p = {.fd = slave, .events = POLLIN};
    CHECK_EQ(read(slave, &c, 1), 0);
    CHECK_ERR(write(slave, "x", 1), EIO);
    CHECK_ERR(tcgetattr(slave, &t), EIO);
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK(p.revents & POLLHUP);
}

enum end { LEADER_EXITS, MASTER_CLOSES, LEADER_LETS_GO, HANG_UP };

static void worker(enum end how, int slave)
{
    say(to_worker.fd[1][1]);
    hear(to_worker.fd[0][0]);
    has_terminal(slave, getpid());
    CHECK_EQ(came(), 0);
    next(&to_worker);
    if (how == LEADER_EXITS) {
        CHECK_EQ(came(), 1);
        has_none(slave);
        CHECK_EQ(write(slave, "still", 5), 5);
    } else if (how == LEADER_LETS_GO) {
        CHECK_EQ(came(), 3);
        has_none(slave);
    } else {
        CHECK_EQ(came(), 0);
        has_none(slave);
        line_is_dead(slave);
        if (how == HANG_UP) {
            int again = open(slave_name, O_RDWR | O_NOCTTY);
            CHECK_EQ(write(again, "again", 5), 5);
        }
    }
    next(&to_worker);
    CHECK_EQ(came(), how == LEADER_LETS_GO || how == LEADER_EXITS ? 0 : 3);
    _exit(finish());
}

static void leader(enum end how)
{
    MUST(setsid() == getpid());
    int slave = open(slave_name, O_RDWR);
    MUST(slave >= 0);
    has_terminal(slave, getpid());
    signal(SIGTTOU, SIG_IGN);
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        MUST(setpgid(0, 0) == 0 && tcsetpgrp(slave, getpid()) == 0);
        close(master);
        worker(how, slave);
    }
    next(&to_leader);
    has_terminal(slave, pid);
    close(master);
    next(&to_leader);
    if (how == LEADER_LETS_GO) {
        CHECK_EQ(ioctl(slave, TIOCNOTTY), 0);
        CHECK_EQ(came(), 0);
        has_none(slave);
    } else if (how == MASTER_CLOSES) {
        CHECK_EQ(came(), 3);
        has_none(slave);
        line_is_dead(slave);
    } else if (how == HANG_UP) {
        CHECK_EQ(vhangup(), 0);
        CHECK_EQ(came(), 3);
        has_none(slave);
    }
    next(&to_leader);
    _exit(finish());
}

static void session(enum end how, const char *title)
{
    char buf[64];
    int status = -1;
    pid_t worker_pid = 0;
    line_make(&to_leader);
    line_make(&to_worker);
    open_master();
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        leader(how);
    }
    hear(to_leader.fd[1][0]);
    hear(to_worker.fd[1][0]);
    // The master may ask about a session that is not its own; the slave may not.
    int slave = open(slave_name, O_RDWR | O_NOCTTY), sid = 0;
    worker_pid = tcgetpgrp(master);
    CHECK(worker_pid > 0 && worker_pid != pid);
    CHECK_EQ(ioctl(master, TIOCGSID, &sid), 0);
    CHECK_EQ(sid, pid);
    CHECK_ERR(tcgetpgrp(slave), ENOTTY);
    CHECK_ERR(ioctl(slave, TIOCGSID, &sid), ENOTTY);
    CHECK_ERR(tcsetpgrp(master, worker_pid), ENOTTY);
    close(slave);
    step(&to_worker);
    step(&to_leader);
    if (how == MASTER_CLOSES) {
        close(master);
    }
    step(&to_leader);
    if (how == LEADER_EXITS) {
        say(to_leader.fd[0][1]);
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(tcgetpgrp(master), 0);
        CHECK_ERR(ioctl(master, TIOCGSID, &sid), ENOTTY);
    }
    step(&to_worker);
    if (how == LEADER_EXITS) {
        CHECK_EQ(read(master, buf, sizeof(buf)), 5);
    } else {
        say(to_leader.fd[0][1]);
        CHECK_EQ(waitpid(pid, &status, 0), pid);
    }
    CHECK_EQ(status, 0);
    say(to_worker.fd[0][1]);
    status = -1;
    CHECK_EQ(waitpid(worker_pid, &status, 0), worker_pid);
    CHECK_EQ(status, 0);
    if (how != MASTER_CLOSES) {
        close(master);
    }
    line_close(&to_leader);
    line_close(&to_worker);
    group(title);
}

// Without ICANON and with VMIN 0 a read that would not wait is no failure.
static void impatient(void)
{
    struct termios t;
    char c;
    open_master();
    int slave = open(slave_name, O_RDWR | O_NOCTTY | O_NONBLOCK);
    MUST(slave >= 0 && tcgetattr(slave, &t) == 0);
    CHECK_ERR(read(slave, &c, 1), EAGAIN);
    t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    t.c_cc[VMIN] = 0;
    t.c_cc[VTIME] = 0;
    CHECK_EQ(tcsetattr(slave, TCSANOW, &t), 0);
    CHECK_EQ(read(slave, &c, 1), 0);
    t.c_cc[VTIME] = 1;
    CHECK_EQ(tcsetattr(slave, TCSANOW, &t), 0);
    CHECK_ERR(read(slave, &c, 1), EAGAIN);
    t.c_cc[VMIN] = 1;
    CHECK_EQ(tcsetattr(slave, TCSANOW, &t), 0);
    CHECK_ERR(read(slave, &c, 1), EAGAIN);
    close(slave);
    close(master);
    group("reads that do not wait");
}

static atomic_int spare, turn;

static void wait_turn(int n)
{
    while (turn != n) {
        sched_yield();
    }
}

static void *closer(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        wait_turn(2 * i + 1);
        // An open takes longer than a close: meet it at each place.
        for (volatile int k = 0; k < i % 100 * 30; k++) {
        }
        close(spare);
        turn++;
    }
    return NULL;
}

static short master_sees(void)
{
    struct pollfd p = {.fd = master, .events = POLLIN};
    MUST(poll(&p, 1, 0) >= 0);
    return p.revents;
}

// One thread closes the last slave while another opens one: it is open afterwards.
static void last_and_first(void)
{
    pthread_t t;
    char c;
    open_master();
    CHECK_EQ(fcntl(master, F_SETFL, O_NONBLOCK), 0);
    CHECK_EQ(master_sees(), 0);
    CHECK_ERR(read(master, &c, 1), EAGAIN);
    spare = open(slave_name, O_RDWR | O_NOCTTY);
    MUST(spare >= 0 && pthread_create(&t, NULL, closer, NULL) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        turn++;
        int fd = open(slave_name, O_RDWR | O_NOCTTY);
        wait_turn(2 * i + 2);
        MUST(fd >= 0);
        CHECK_EQ(master_sees(), 0);
        CHECK_ERR(read(master, &c, 1), EAGAIN);
        spare = fd;
    }
    pthread_join(t, NULL);
    close(spare);
    CHECK_EQ(master_sees(), POLLHUP);
    CHECK_ERR(read(master, &c, 1), EIO);
    // An open that fails changes nothing.
    int lock = 1;
    CHECK_EQ(ioctl(master, TIOCSPTLCK, &lock), 0);
    CHECK_ERR(open(slave_name, O_RDWR | O_NOCTTY), EIO);
    CHECK_EQ(master_sees(), POLLHUP);
    close(master);
    group("the last close and the first open");
}

int main(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCONT);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    session(LEADER_EXITS, "the leader ends");
    session(MASTER_CLOSES, "the master is closed");
    session(LEADER_LETS_GO, "the leader lets go");
    session(HANG_UP, "vhangup");
    impatient();
    last_and_first();
    return finish();
}
