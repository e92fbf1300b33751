// TEST: smp=1,2,4 scheme=rcu linux=same
/*
 * eventfd, timerfd, epoll and select, one after the other and against each other. Prints what it
 * sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

// Out of the compiler's sight.
static void *volatile bad_addr = (void *)8;
static volatile int minus_one = -1;

static int64_t take(int fd)
{
    uint64_t v;
    return read(fd, &v, sizeof(v)) == sizeof(v) ? (int64_t)v : -errno;
}

static int give(int fd, uint64_t v)
{
    return write(fd, &v, sizeof(v)) == sizeof(v) ? 0 : -errno;
}

static void test_eventfd(void)
{
    int e = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC);
    char small[4];
    struct pollfd p = {.fd = e, .events = POLLIN | POLLOUT};
    MUST(e >= 0);
    CHECK_EQ(fcntl(e, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK_EQ(p.revents, POLLIN | POLLOUT);
    CHECK_EQ(take(e), 3);
    CHECK_EQ(take(e), -EAGAIN);
    CHECK_EQ(give(e, 0xfffffffffffffffe), 0);
    CHECK_EQ(give(e, 1), -EAGAIN);
    CHECK_EQ(give(e, 0), 0);
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK_EQ(p.revents, POLLIN);
    CHECK_EQ(give(e, UINT64_MAX), -EINVAL);
    CHECK_ERR(read(e, small, sizeof(small)), EINVAL);
    CHECK_ERR(write(e, small, sizeof(small)), EINVAL);
    CHECK_EQ((uint64_t)take(e), 0xfffffffffffffffe);
    CHECK_EQ(lseek(e, 5, SEEK_SET), 0);
    CHECK_ERR(eventfd(0, 0x10000000), EINVAL);
    close(e);
    e = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    CHECK_EQ(take(e), 1);
    CHECK_EQ(take(e), 1);
    CHECK_EQ(take(e), -EAGAIN);
    close(e);
    group("eventfd");
}

#define ROUNDS 20000

static void *give_rounds(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(give(*(int *)arg, 1), 0);
    }
    return NULL;
}

static void test_eventfd_threads(void)
{
    int e = eventfd(0, 0);
    pthread_t t[2];
    int64_t sum = 0;
    for (int i = 0; i < 2; i++) {
        MUST(pthread_create(&t[i], NULL, give_rounds, &e) == 0);
    }
    while (sum < 2 * ROUNDS) {
        int64_t v = take(e);
        MUST(v > 0);
        sum += v;
    }
    CHECK_EQ(sum, 2 * ROUNDS);
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
    }
    close(e);
    group("eventfd between threads");
}

static void test_timerfd(void)
{
    struct itimerspec its = {.it_value = {0, 1000000}, .it_interval = {0, 1000000}}, old;
    int t = timerfd_create(CLOCK_MONOTONIC, 0);
    MUST(t >= 0);
    CHECK_EQ(timerfd_settime(t, 0, &its, NULL), 0);
    for (int i = 0; i < 5; i++) {
        CHECK(take(t) >= 1);
    }
    usleep(20000);
    CHECK(take(t) >= 10);
    CHECK_EQ(timerfd_gettime(t, &old), 0);
    CHECK_EQ(old.it_interval.tv_nsec, 1000000);
    its = (struct itimerspec){.it_value = {100, 0}};
    CHECK_EQ(timerfd_settime(t, 0, &its, &old), 0);
    CHECK_EQ(old.it_interval.tv_nsec, 1000000);
    CHECK_EQ(timerfd_gettime(t, &old), 0);
    CHECK(old.it_value.tv_sec == 99 || old.it_value.tv_sec == 100);
    struct pollfd p = {.fd = t, .events = POLLIN};
    CHECK_EQ(poll(&p, 1, 10), 0);
    its = (struct itimerspec){.it_value = {1, 0}}; // long ago
    CHECK_EQ(timerfd_settime(t, TFD_TIMER_ABSTIME, &its, NULL), 0);
    struct timespec up;
    clock_gettime(CLOCK_MONOTONIC, &up);
    CHECK_EQ(poll(&p, 1, 2000), 1);
    CHECK_EQ(take(t), 1);
    CHECK_EQ(timerfd_gettime(t, &old), 0);
    CHECK_EQ(old.it_value.tv_sec + old.it_value.tv_nsec, 0);
    its = (struct itimerspec){.it_value = {0, 1}, .it_interval = {0, 1}}; // a storm, if one lets it
    CHECK_EQ(timerfd_settime(t, 0, &its, NULL), 0);
    usleep(2000);
    CHECK(take(t) > 1000);
    its.it_value.tv_nsec = 1000000000;
    CHECK_ERR(timerfd_settime(t, 0, &its, NULL), EINVAL);
    CHECK_ERR(timerfd_settime(1, 0, &old, NULL), EINVAL);
    CHECK_ERR(timerfd_settime(99, 0, &old, NULL), EBADF);
    CHECK_ERR(timerfd_create(CLOCK_THREAD_CPUTIME_ID, 0), EINVAL);
    CHECK_ERR(timerfd_create(CLOCK_MONOTONIC, 1), EINVAL);
    CHECK_ERR(write(t, &its, 8), EINVAL);
    close(t);
    t = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
    CHECK_EQ(take(t), -EAGAIN);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    its = (struct itimerspec){.it_value = {now.tv_sec + 1, 0}};
    CHECK_EQ(timerfd_settime(t, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &its, NULL), 0);
    p.fd = t;
    CHECK_EQ(poll(&p, 1, 5000), 1);
    CHECK_EQ(take(t), 1);
    close(t);
    group("timerfd");
}

static int ctl(int ep, int op, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event ev = {.events = events, .data.u64 = data};
    return epoll_ctl(ep, op, fd, &ev);
}

// The events of the one descriptor that has any, 0 if none has.
static uint32_t wait_one(int ep, uint64_t *data)
{
    struct epoll_event ev[2];
    int n = epoll_wait(ep, ev, 2, 0);
    CHECK(n == 0 || n == 1);
    if (n == 1 && data) {
        *data = ev[0].data.u64;
    }
    return n == 1 ? ev[0].events : 0;
}

static void test_epoll_modes(void)
{
    int ep = epoll_create1(EPOLL_CLOEXEC), e = eventfd(0, EFD_NONBLOCK);
    uint64_t data = 0;
    MUST(ep >= 0 && e >= 0);
    CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, e, EPOLLIN, 77), 0);
    CHECK_EQ(wait_one(ep, NULL), 0);
    give(e, 1);
    CHECK_EQ(wait_one(ep, &data), EPOLLIN);
    CHECK_EQ(data, 77);
    CHECK_EQ(wait_one(ep, NULL), EPOLLIN);
    take(e);
    CHECK_EQ(wait_one(ep, NULL), 0);
    CHECK_EQ(ctl(ep, EPOLL_CTL_MOD, e, EPOLLIN | EPOLLET, 78), 0);
    give(e, 1);
    CHECK_EQ(wait_one(ep, &data), EPOLLIN);
    CHECK_EQ(data, 78);
    CHECK_EQ(wait_one(ep, NULL), 0);
    give(e, 1);
    CHECK_EQ(wait_one(ep, NULL), EPOLLIN);
    CHECK_EQ(ctl(ep, EPOLL_CTL_MOD, e, EPOLLIN | EPOLLET, 79), 0); // looks again
    CHECK_EQ(wait_one(ep, NULL), EPOLLIN);
    CHECK_EQ(ctl(ep, EPOLL_CTL_MOD, e, EPOLLIN | EPOLLONESHOT, 80), 0);
    CHECK_EQ(wait_one(ep, NULL), EPOLLIN);
    give(e, 1);
    CHECK_EQ(wait_one(ep, NULL), 0);
    CHECK_EQ(ctl(ep, EPOLL_CTL_MOD, e, EPOLLIN | EPOLLOUT, 81), 0);
    CHECK_EQ(wait_one(ep, NULL), EPOLLIN | EPOLLOUT);
    CHECK_EQ(ctl(ep, EPOLL_CTL_DEL, e, 0, 0), 0);
    CHECK_EQ(wait_one(ep, NULL), 0);
    close(e);
    close(ep);
    group("epoll: level, edge, one shot");
}

static void test_epoll_errors(void)
{
    int ep = epoll_create(1), e = eventfd(0, EFD_NONBLOCK), p[2];
    struct epoll_event ev[4];
    char path[] = "/tmp/epoll.XXXXXX";
    int plain = mkstemp(path);
    MUST(ep >= 0 && plain >= 0 && pipe(p) == 0);
    CHECK_ERR(epoll_create(0), EINVAL);
    CHECK_ERR(epoll_create1(1), EINVAL);
    CHECK_ERR(ctl(ep, EPOLL_CTL_ADD, plain, EPOLLIN, 0), EPERM);
    CHECK_ERR(ctl(ep, EPOLL_CTL_ADD, 999, EPOLLIN, 0), EBADF);
    CHECK_ERR(ctl(999, EPOLL_CTL_ADD, e, EPOLLIN, 0), EBADF);
    CHECK_ERR(ctl(e, EPOLL_CTL_ADD, ep, EPOLLIN, 0), EINVAL);
    CHECK_ERR(ctl(ep, EPOLL_CTL_ADD, ep, EPOLLIN, 0), EINVAL);
    CHECK_ERR(ctl(ep, EPOLL_CTL_MOD, e, EPOLLIN, 0), ENOENT);
    CHECK_ERR(ctl(ep, EPOLL_CTL_DEL, e, EPOLLIN, 0), ENOENT);
    CHECK_ERR(ctl(ep, 9, e, EPOLLIN, 0), EINVAL);
    CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, e, EPOLLIN, 0), 0);
    CHECK_ERR(ctl(ep, EPOLL_CTL_ADD, e, EPOLLIN, 0), EEXIST);
    CHECK_ERR(epoll_wait(ep, ev, 0, 0), EINVAL);
    CHECK_ERR(epoll_wait(ep, ev, minus_one, 0), EINVAL);
    CHECK_ERR(epoll_wait(e, ev, 1, 0), EINVAL);
    CHECK_ERR(epoll_wait(999, ev, 1, 0), EBADF);
    give(e, 1);
    CHECK_ERR(epoll_wait(ep, bad_addr, 1, 0), EFAULT);
    CHECK_EQ(wait_one(ep, NULL), EPOLLIN); // not lost
    CHECK_ERR(ctl(ep, EPOLL_CTL_MOD, e, EPOLLIN | EPOLLEXCLUSIVE, 0), EINVAL);
    CHECK_EQ(ctl(ep, EPOLL_CTL_DEL, e, 0, 0), 0);
    CHECK_ERR(ctl(ep, EPOLL_CTL_ADD, e, EPOLLIN | EPOLLONESHOT | EPOLLEXCLUSIVE, 0), EINVAL);
    CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, e, EPOLLIN | EPOLLEXCLUSIVE, 0), 0);
    CHECK_EQ(ctl(ep, EPOLL_CTL_DEL, e, 0, 0), 0);
    // A descriptor and its duplicate are two; closing one of them ends nothing.
    int e2 = dup(e);
    CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, e, EPOLLIN, 1), 0);
    CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, e2, EPOLLIN, 2), 0);
    CHECK_EQ(epoll_wait(ep, ev, 4, 0), 2);
    close(e);
    CHECK_EQ(epoll_wait(ep, ev, 4, 0), 2);
    close(e2);
    CHECK_EQ(epoll_wait(ep, ev, 4, 0), 0);
    // A pipe whose writer goes.
    CHECK_EQ(ctl(ep, EPOLL_CTL_ADD, p[0], 0, 5), 0);
    CHECK_EQ(epoll_wait(ep, ev, 4, 0), 0);
    close(p[1]);
    CHECK_EQ(wait_one(ep, NULL), EPOLLHUP);
    close(p[0]);
    close(plain);
    unlink(path);
    close(ep);
    group("epoll: errors, duplicates, closing");
}

static void test_epoll_nested(void)
{
    int ep[7], e = eventfd(0, EFD_NONBLOCK);
    for (int i = 0; i < 7; i++) {
        ep[i] = epoll_create1(0);
    }
    CHECK_EQ(ctl(ep[0], EPOLL_CTL_ADD, e, EPOLLIN, 0), 0);
    CHECK_EQ(ctl(ep[1], EPOLL_CTL_ADD, ep[0], EPOLLIN, 1), 0);
    CHECK_EQ(ctl(ep[2], EPOLL_CTL_ADD, ep[1], EPOLLIN, 2), 0);
    CHECK_ERR(ctl(ep[0], EPOLL_CTL_ADD, ep[2], EPOLLIN, 2), ELOOP);
    CHECK_ERR(ctl(ep[0], EPOLL_CTL_ADD, ep[1], EPOLLIN, 2), ELOOP);
    CHECK_EQ(wait_one(ep[2], NULL), 0);
    give(e, 1);
    CHECK_EQ(wait_one(ep[2], NULL), EPOLLIN);
    CHECK_EQ(wait_one(ep[1], NULL), EPOLLIN);
    CHECK_EQ(wait_one(ep[0], NULL), EPOLLIN);
    struct pollfd p = {.fd = ep[2], .events = POLLIN};
    CHECK_EQ(poll(&p, 1, 0), 1);
    take(e);
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK_EQ(wait_one(ep[2], NULL), 0);
    give(e, 1);
    CHECK_EQ(poll(&p, 1, 0), 1);
    close(ep[0]);
    CHECK_EQ(poll(&p, 1, 0), 0);
    for (int i = 1; i < 7; i++) {
        close(ep[i]);
    }
    close(e);
    group("epoll in epoll");
}

static int shared_ep, shared_ev;

static void *late_give(void *arg)
{
    (void)arg;
    usleep(30000);
    give(shared_ev, 1);
    return NULL;
}

static void *waiter(void *arg)
{
    struct epoll_event ev;
    CHECK_EQ(epoll_wait(shared_ep, &ev, 1, -1), 1);
    CHECK_EQ(take(shared_ev), 1);
    return arg;
}

static void test_epoll_threads(void)
{
    struct epoll_event ev;
    pthread_t t, many[4];
    shared_ep = epoll_create1(0);
    shared_ev = eventfd(0, EFD_SEMAPHORE);
    ctl(shared_ep, EPOLL_CTL_ADD, shared_ev, EPOLLIN, 0);
    pthread_create(&t, NULL, late_give, NULL);
    CHECK_EQ(epoll_wait(shared_ep, &ev, 1, -1), 1);
    pthread_join(t, NULL);
    take(shared_ev);
    CHECK_EQ(epoll_wait(shared_ep, &ev, 1, 5), 0);
    struct timespec ts = {0, 5000000};
    CHECK_EQ(epoll_pwait2(shared_ep, &ev, 1, &ts, NULL), 0);
    // An event arrives only after the descriptor was added by another thread's wait.
    int late = eventfd(0, 0);
    ctl(shared_ep, EPOLL_CTL_ADD, late, EPOLLIN, 0);
    give(late, 1);
    CHECK_EQ(epoll_wait(shared_ep, &ev, 1, -1), 1);
    close(late);
    for (int i = 0; i < 4; i++) {
        pthread_create(&many[i], NULL, waiter, NULL);
    }
    give(shared_ev, 4);
    for (int i = 0; i < 4; i++) {
        pthread_join(many[i], NULL);
    }
    close(shared_ep);
    close(shared_ev);
    group("epoll between threads");
}

// Watch, close and wait at the same time, for as long as the rounds last.
static void *closer(void *arg)
{
    int ep = *(int *)arg;
    for (int i = 0; i < 3000; i++) {
        int e = eventfd(i & 1, 0);
        if (e >= 0) {
            ctl(ep, EPOLL_CTL_ADD, e, EPOLLIN | (i & 2 ? EPOLLET : 0), 0);
            close(e);
        }
    }
    return NULL;
}

static void test_epoll_close_race(void)
{
    int ep = epoll_create1(0), outer = epoll_create1(0);
    struct epoll_event ev[8];
    pthread_t t[3];
    ctl(outer, EPOLL_CTL_ADD, ep, EPOLLIN, 0);
    for (int i = 0; i < 3; i++) {
        pthread_create(&t[i], NULL, closer, &ep);
    }
    for (int i = 0; i < 3000; i++) {
        CHECK(epoll_wait(outer, ev, 8, 0) >= 0);
        CHECK(epoll_wait(ep, ev, 8, 0) >= 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
    }
    CHECK_EQ(epoll_wait(ep, ev, 8, 0), 0);
    CHECK_EQ(epoll_wait(outer, ev, 8, 0), 0);
    close(ep);
    close(outer);
    group("epoll: closing while it waits");
}

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
    (void)sig;
    caught++;
}

static void test_select(void)
{
    int p[2];
    fd_set r, w;
    struct timeval tv = {0, 0};
    MUST(pipe(p) == 0);
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(p[0], &r);
    FD_SET(p[1], &w);
    CHECK_EQ(select(p[1] + 1, &r, &w, NULL, NULL), 1);
    CHECK(!FD_ISSET(p[0], &r) && FD_ISSET(p[1], &w));
    CHECK_EQ(write(p[1], "x", 1), 1);
    FD_SET(p[0], &r);
    CHECK_EQ(select(p[1] + 1, &r, &w, NULL, &tv), 2);
    tv = (struct timeval){0, 5000};
    FD_ZERO(&w);
    char c;
    CHECK_EQ(read(p[0], &c, 1), 1);
    CHECK_EQ(select(p[0] + 1, &r, NULL, NULL, &tv), 0);
    CHECK(!FD_ISSET(p[0], &r));
    CHECK_EQ(tv.tv_sec + tv.tv_usec, 0);
    close(p[1]);
    FD_SET(p[0], &r);
    CHECK_EQ(select(p[0] + 1, &r, NULL, NULL, NULL), 1); // the end is readable
    FD_SET(p[1], &r);
    CHECK_ERR(select(p[1] + 1, &r, NULL, NULL, NULL), EBADF);
    CHECK_ERR(select(-1, &r, NULL, NULL, NULL), EINVAL);
    tv.tv_sec = -1;
    CHECK_ERR(select(0, NULL, NULL, NULL, &tv), EINVAL);
    CHECK_ERR(select(p[0] + 1, bad_addr, NULL, NULL, NULL), EFAULT);
    sigset_t none, usr1;
    struct timespec ts = {5, 0};
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    signal(SIGUSR1, on_signal);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    raise(SIGUSR1);
    CHECK_ERR(pselect(0, NULL, NULL, NULL, &ts, &none), EINTR);
    CHECK_EQ(caught, 1);
    raise(SIGUSR1);
    int ep = epoll_create1(0);
    struct epoll_event ev;
    CHECK_ERR(epoll_pwait(ep, &ev, 1, 5000, &none), EINTR);
    CHECK_EQ(caught, 2);
    sigprocmask(SIG_UNBLOCK, &usr1, NULL);
    close(ep);
    close(p[0]);
    group("select");
}

int main(void)
{
    test_eventfd();
    test_eventfd_threads();
    test_timerfd();
    test_epoll_modes();
    test_epoll_errors();
    test_epoll_nested();
    test_epoll_threads();
    test_epoll_close_race();
    test_select();
    return finish();
}
