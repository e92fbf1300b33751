// TEST: smp=1,2 scheme=rcu linux=same
// How much can be waited for: poll with many descriptors, epoll within max_user_watches.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define MANY     150000u
#define MAX_FILE "/proc/sys/fs/epoll/max_user_watches"

static void limit_fds(unsigned n)
{
    struct rlimit r = {n, n};
    MUST(setrlimit(RLIMIT_NOFILE, &r) == 0);
}

static void test_poll(void)
{
    static struct pollfd set[MANY + 1];
    int never = eventfd(0, EFD_NONBLOCK), soon[2], status;
    long got = 0;
    MUST(pipe(soon) == 0);
    limit_fds(MANY);
    for (unsigned i = 0; i < MANY; i++) {
        set[i] = (struct pollfd){.fd = never, .events = POLLIN, .revents = -1};
    }
    CHECK_ERR(poll(set, MANY + 1, 0), EINVAL);
    CHECK_EQ(poll(set, MANY, 0), 0);
    for (unsigned i = 0; i < MANY; i++) {
        got += set[i].revents != 0;
    }
    CHECK_EQ(got, 0);
    set[MANY - 1].fd = soon[0];
    set[MANY - 2].fd = -1;
    set[MANY - 3].fd = 1000; // not open
    set[70000].events = POLLOUT;
    CHECK_EQ(poll(set, MANY, 0), 2);
    CHECK(set[70000].revents == POLLOUT && set[MANY - 3].revents == POLLNVAL);
    set[MANY - 3].fd = never;
    set[70000].events = POLLIN;
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        usleep(100000); // likely after the parent sleeps; it holds for any order
        _exit(write(soon[1], "x", 1) != 1);
    }
    CHECK_EQ(poll(set, MANY, -1), 1);
    CHECK_EQ(set[MANY - 1].revents, POLLIN);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(never), close(soon[0]), close(soon[1]);
    group("poll");
}

static unsigned long limit_get(void)
{
    unsigned long n = 0;
    FILE *f = fopen(MAX_FILE, "r");
    MUST(f && fscanf(f, "%lu", &n) == 1);
    fclose(f);
    return n;
}

static void limit_set(unsigned long n)
{
    FILE *f = fopen(MAX_FILE, "w");
    MUST(f && fprintf(f, "%lu", n) > 0);
    CHECK_EQ(fclose(f), 0);
}

static void test_epoll(void)
{
    enum { N = 10 };
    int ep = epoll_create1(0), other = epoll_create1(0), fd[N + 1];
    struct epoll_event ev = {.events = EPOLLIN};
    unsigned long was = limit_get();
    CHECK(was > 10000);
    limit_set(N);
    for (int i = 0; i <= N; i++) {
        fd[i] = eventfd(0, 0);
        if (i < N) {
            CHECK_EQ(epoll_ctl(i % 2 ? ep : other, EPOLL_CTL_ADD, fd[i], &ev), 0);
        }
    }
    CHECK_ERR(epoll_ctl(ep, EPOLL_CTL_ADD, fd[N], &ev), ENOSPC);
    CHECK_ERR(epoll_ctl(ep, EPOLL_CTL_ADD, fd[1], &ev), EEXIST);
    CHECK_ERR(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev), EINVAL);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_MOD, fd[1], &ev), 0);
    CHECK_EQ(epoll_ctl(other, EPOLL_CTL_DEL, fd[0], NULL), 0);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd[N], &ev), 0);
    CHECK_ERR(epoll_ctl(ep, EPOLL_CTL_ADD, fd[0], &ev), ENOSPC);
    close(fd[2]); // is watched no more
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd[0], &ev), 0);
    CHECK_ERR(epoll_ctl(ep, EPOLL_CTL_ADD, fd[4], &ev), ENOSPC);
    close(other); // watched four
    for (int i = 4; i < N; i += 2) {
        CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd[i], &ev), 0);
    }
    limit_set(was);
    for (int i = 0; i <= N; i++) {
        if (i != 2) {
            close(fd[i]);
        }
    }
    CHECK_EQ(epoll_wait(ep, &ev, 1, 0), 0);
    close(ep);
    group("epoll");
}

int main(void)
{
    test_poll();
    test_epoll();
    return finish();
}
