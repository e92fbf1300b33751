// TEST: smp=1,2 scheme=rcu
// A terminal that is no pty hangs up when the leader of its session ends: what others have open of
// it is dead, the device and the console are not. (On the Linux beside us the serial port belongs
// to whoever runs the test.)
#include "test.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define DEVICE "/dev/ttyS0"

static int ready[2], go[2];

static void others(int tty)
{
    char c;
    struct termios t;
    struct pollfd p = {.fd = tty, .events = POLLIN};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    int console = open("/dev/console", O_RDWR);
    MUST(console >= 0 && write(ready[1], "x", 1) == 1);
    // It waits in the read when the line goes, or comes later: the end is the same.
    CHECK_EQ(read(tty, &c, 1), 0);
    MUST(read(go[0], &c, 1) == 1);
    MUST(sigpending(&set) == 0);
    CHECK(sigismember(&set, SIGHUP));
    CHECK_EQ(read(tty, &c, 1), 0);
    CHECK_ERR(write(tty, "x", 1), EIO);
    CHECK_ERR(tcgetattr(tty, &t), EIO);
    CHECK_ERR(tcsetpgrp(tty, getpid()), ENOTTY);
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK(p.revents & POLLHUP);
    CHECK_ERR(open("/dev/tty", O_RDWR), ENXIO);
    CHECK_EQ(tcgetattr(console, &t), 0);
    CHECK_EQ(write(console, "console\n", 8), 8);
    int again = open(DEVICE, O_RDWR | O_NOCTTY);
    CHECK(again >= 0);
    CHECK_EQ(tcgetattr(again, &t), 0);
    CHECK_EQ(write(again, "again\n", 6), 6);
    _exit(finish());
}

static void leader(void)
{
    char c;
    MUST(setsid() == getpid());
    int tty = open(DEVICE, O_RDWR);
    MUST(tty >= 0 && tcgetpgrp(tty) == getpid());
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        others(tty);
    }
    MUST(read(ready[0], &c, 1) == 1);
    _exit(0);
}

int main(void)
{
    int status = -1;
    MUST(pipe(ready) == 0 && pipe(go) == 0);
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0) {
            leader();
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, 0);
        MUST(write(go[1], "x", 1) == 1);
        CHECK(wait(&status) > 0);
        CHECK_EQ(status, 0);
    }
    group("the leader ends, the line hangs up");
    return finish();
}
