// TEST: smp=1,2,4 scheme=rcu linux=same
/*
 * signalfd: what is read for each kind of signal, whose signals a file shows after fork and in
 * threads, poll, epoll, blocking reads. Prints what it sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

typedef struct signalfd_siginfo info_t;

// Out of the compiler's sight.
static void *volatile bad_addr = (void *)8;

static sigset_t set_of(int a, int b)
{
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, a);
    if (b) {
        sigaddset(&s, b);
    }
    return s;
}

// A signalfd for the two, which are blocked.
static int make(int a, int b, int flags)
{
    sigset_t s = set_of(a, b);
    int fd;
    MUST(sigprocmask(SIG_BLOCK, &s, NULL) == 0);
    fd = signalfd(-1, &s, flags);
    MUST(fd >= 0);
    return fd;
}

static int ready(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

static long raw(int fd, const void *set, size_t size, int flags)
{
    return syscall(SYS_signalfd4, fd, set, size, flags);
}

static void test_errors(void)
{
    sigset_t s = set_of(SIGUSR1, 0);
    int null = open("/dev/null", O_RDONLY), fd = make(SIGUSR1, 0, SFD_NONBLOCK | SFD_CLOEXEC);
    char small[127];
    CHECK_ERR(raw(-1, &s, 4, 0), EINVAL);
    CHECK_ERR(raw(-1, &s, 16, 0), EINVAL);
    CHECK_ERR(raw(-1, bad_addr, 8, 0), EFAULT);
    CHECK_ERR(raw(-1, &s, 8, 1), EINVAL);
    CHECK_ERR(raw(77, &s, 8, 0), EBADF);
    CHECK_ERR(raw(null, &s, 8, 0), EINVAL);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    CHECK_ERR(read(fd, small, sizeof(small)), EINVAL);
    CHECK_ERR(read(fd, small, 0), EINVAL);
    CHECK_ERR(write(fd, small, sizeof(small)), EINVAL);
    CHECK_ERR(read(fd, &(info_t){0}, sizeof(info_t)), EAGAIN);
    CHECK_EQ(ready(fd), 0);
    close(null);
    close(fd);
    group("errors");
}

static void test_kinds(void)
{
    int fd = make(SIGUSR1, SIGRTMIN + 1, SFD_NONBLOCK);
    info_t in[8];
    union sigval v = {.sival_int = 4711};
    CHECK_EQ(kill(getpid(), SIGUSR1), 0);
    CHECK_EQ(ready(fd), POLLIN);
    CHECK_EQ(sigqueue(getpid(), SIGRTMIN + 1, v), 0);
    v.sival_int = 4712;
    CHECK_EQ(sigqueue(getpid(), SIGRTMIN + 1, v), 0);
    CHECK_EQ(kill(getpid(), SIGUSR1), 0); // does not queue
    memset(in, 0x55, sizeof(in));
    CHECK_EQ(read(fd, in, 2 * sizeof(in[0]) + 100), 2 * sizeof(in[0])); // whole ones only
    CHECK_EQ(in[0].ssi_signo, SIGUSR1);
    CHECK_EQ(in[0].ssi_code, SI_USER);
    CHECK_EQ(in[0].ssi_pid, getpid());
    CHECK_EQ(in[0].ssi_uid, getuid());
    CHECK_EQ(in[0].ssi_ptr, 0);
    CHECK_EQ(in[0].ssi_int, 0);
    CHECK_EQ(in[1].ssi_signo, SIGRTMIN + 1);
    CHECK_EQ(in[1].ssi_code, SI_QUEUE);
    CHECK_EQ(in[1].ssi_int, 4711);
    CHECK_EQ(in[1].ssi_pid, getpid());
    CHECK_EQ(in[1].ssi_addr, 0);
    CHECK_EQ(in[1].ssi_status, 0);
    CHECK_EQ(read(fd, in, sizeof(in)), sizeof(in[0]));
    CHECK_EQ(in[0].ssi_int, 4712);
    CHECK_ERR(read(fd, in, sizeof(in)), EAGAIN);
    CHECK_EQ(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1), 0);
    CHECK_EQ(read(fd, in, sizeof(in)), sizeof(in[0]));
    CHECK_EQ(in[0].ssi_code, SI_TKILL);
    CHECK_EQ(in[0].ssi_pid, getpid());
    kill(getpid(), SIGUSR1);
    CHECK_ERR(read(fd, bad_addr, sizeof(in[0])), EFAULT);
    CHECK_ERR(read(fd, in, sizeof(in)), EAGAIN); // it was taken
    close(fd);
    group("kinds");
}

static void test_child_and_timer(void)
{
    int fd = make(SIGCHLD, SIGALRM, 0);
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec once = {.it_value.tv_nsec = 1000000};
    timer_t timer;
    info_t in;
    pid_t child = fork();
    if (child == 0) {
        _exit(17);
    }
    CHECK_EQ(read(fd, &in, sizeof(in)), sizeof(in)); // waits
    CHECK_EQ(in.ssi_signo, SIGCHLD);
    CHECK_EQ(in.ssi_code, CLD_EXITED);
    CHECK_EQ(in.ssi_pid, child);
    CHECK_EQ(in.ssi_status, 17);
    CHECK_EQ(in.ssi_addr, 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    ev.sigev_value.sival_int = 99;
    MUST(timer_create(CLOCK_MONOTONIC, &ev, &timer) == 0);
    MUST(timer_settime(timer, 0, &once, NULL) == 0);
    CHECK_EQ(read(fd, &in, sizeof(in)), sizeof(in));
    CHECK_EQ(in.ssi_signo, SIGALRM);
    CHECK_EQ(in.ssi_code, SI_TIMER);
    CHECK_EQ(in.ssi_int, 99);
    CHECK_EQ(in.ssi_overrun, 0);
    CHECK_EQ(in.ssi_pid, 0);
    timer_delete(timer);
    close(fd);
    group("SIGCHLD and timers");
}

static void test_change(void)
{
    int fd = make(SIGUSR1, 0, SFD_NONBLOCK);
    sigset_t s = set_of(SIGUSR2, SIGKILL);
    info_t in;
    sigprocmask(SIG_BLOCK, &s, NULL);
    kill(getpid(), SIGUSR2);
    CHECK_EQ(ready(fd), 0);
    CHECK_EQ(signalfd(fd, &s, 0), fd);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK); // flags are for new ones
    CHECK_EQ(ready(fd), POLLIN);
    CHECK_EQ(read(fd, &in, sizeof(in)), sizeof(in));
    CHECK_EQ(in.ssi_signo, SIGUSR2);
    close(fd);
    group("another set");
}

// The file of a parent shows the child the child's signals, and its epoll the adder's.
static void test_fork(void)
{
    int fd = make(SIGUSR1, 0, SFD_NONBLOCK), ep = epoll_create1(0), status;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = 5}, got;
    info_t in;
    pid_t child;
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
    CHECK_EQ(epoll_wait(ep, &got, 1, 0), 0);
    kill(getpid(), SIGUSR1);
    child = fork();
    if (child == 0) {
        int ok = read(fd, &in, sizeof(in)) == -1 && errno == EAGAIN && ready(fd) == 0;
        kill(getpid(), SIGUSR1);
        ok = ok && ready(fd) == POLLIN && read(fd, &in, sizeof(in)) == sizeof(in);
        ok = ok && in.ssi_pid == (unsigned)getpid();
        // Added here, watched by the parent for as long as the file lives.
        ok = ok && epoll_ctl(ep, EPOLL_CTL_ADD, dup(fd), &e) == 0;
        _exit(ok ? 3 : 4);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(WEXITSTATUS(status), 3);
    CHECK_EQ(epoll_wait(ep, &got, 1, 1000), 1);
    CHECK_EQ(got.data.u32, 5);
    CHECK_EQ(read(fd, &in, sizeof(in)), sizeof(in));
    CHECK_EQ(epoll_wait(ep, &got, 1, 0), 0);
    for (int i = 0; i < 20; i++) { // processes come and go, the file stays
        child = fork();
        if (child == 0) {
            _exit(ready(fd) ? 4 : 3);
        }
        waitpid(child, &status, 0);
        CHECK_EQ(WEXITSTATUS(status), 3);
    }
    close(fd);
    CHECK_EQ(epoll_wait(ep, &got, 1, 0), 0);
    close(ep);
    group("fork");
}

static int thread_fd;
static atomic_int thread_state;

static void *reader(void *arg)
{
    info_t in;
    (void)arg;
    thread_state = gettid();
    CHECK_EQ(read(thread_fd, &in, sizeof(in)), sizeof(in));
    CHECK_EQ(in.ssi_signo, SIGUSR1);
    return NULL;
}

static void *quiet(void *arg)
{
    info_t in;
    CHECK_ERR(read(thread_fd, &in, sizeof(in)), EAGAIN);
    CHECK_EQ(ready(thread_fd), 0);
    return arg;
}

static void test_threads(void)
{
    info_t in;
    pthread_t t;
    thread_fd = make(SIGUSR1, 0, 0);
    for (int to_process = 0; to_process < 2; to_process++) {
        thread_state = 0;
        MUST(pthread_create(&t, NULL, reader, NULL) == 0);
        while (!thread_state) {
            sched_yield();
        }
        usleep(20000);
        if (to_process) {
            kill(getpid(), SIGUSR1);
        } else {
            syscall(SYS_tgkill, getpid(), thread_state, SIGUSR1);
        }
        pthread_join(t, NULL);
    }
    // What was sent to one thread no other one reads.
    fcntl(thread_fd, F_SETFL, O_NONBLOCK);
    syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
    MUST(pthread_create(&t, NULL, quiet, NULL) == 0);
    pthread_join(t, NULL);
    CHECK_EQ(ready(thread_fd), POLLIN);
    CHECK_EQ(read(thread_fd, &in, sizeof(in)), sizeof(in));
    close(thread_fd);
    group("threads");
}

static void *later(void *arg)
{
    usleep(20000);
    kill(getpid(), (int)(long)arg);
    return NULL;
}

static void on_usr2(int sig)
{
    thread_state = sig;
}

static void test_wait(void)
{
    int fd = make(SIGUSR1, SIGRTMIN + 2, 0), ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN | EPOLLET}, got;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct sigaction sa = {.sa_handler = on_usr2};
    sigset_t usr2 = set_of(SIGUSR2, 0);
    pthread_t t;
    info_t in;
    pthread_create(&t, NULL, later, (void *)SIGUSR1);
    CHECK_EQ(poll(&p, 1, 10000), 1);
    pthread_join(t, NULL);
    CHECK_EQ(read(fd, &in, sizeof(in)), sizeof(in));
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
    for (int i = 0; i < 2; i++) { // each one is an edge
        pthread_create(&t, NULL, later, (void *)(long)(SIGRTMIN + 2));
        CHECK_EQ(epoll_wait(ep, &got, 1, 10000), 1);
        pthread_join(t, NULL);
        CHECK_EQ(epoll_wait(ep, &got, 1, 0), 0);
    }
    CHECK_EQ(read(fd, &in, sizeof(in)), sizeof(in));
    CHECK_EQ(read(fd, &in, sizeof(in)), sizeof(in));
    // A handler of another signal interrupts a read.
    sigaction(SIGUSR2, &sa, NULL);
    thread_state = 0;
    sigprocmask(SIG_BLOCK, &usr2, NULL);
    pthread_create(&t, NULL, later, (void *)SIGUSR2); // it inherits the mask
    sigprocmask(SIG_UNBLOCK, &usr2, NULL);
    CHECK_ERR(read(fd, &in, sizeof(in)), EINTR);
    CHECK_EQ(thread_state, SIGUSR2);
    pthread_join(t, NULL);
    close(ep);
    close(fd);
    group("waiting");
}

// What is not blocked is not kept from its action by a reader.
static void test_deadly(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        sigset_t s = set_of(SIGTERM, 0);
        int fd = signalfd(-1, &s, 0);
        info_t in;
        sigprocmask(SIG_UNBLOCK, &s, NULL);
        (void)!read(fd, &in, sizeof(in));
        _exit(1);
    }
    usleep(50000);
    kill(child, SIGTERM);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    group("not blocked");
}

int main(void)
{
    test_errors();
    test_kinds();
    test_child_and_timer();
    test_change();
    test_fork();
    test_threads();
    test_wait();
    test_deadly();
    return finish();
}
