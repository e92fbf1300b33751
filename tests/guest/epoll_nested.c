// TEST: smp=1,2,4 scheme=rcu linux=same
// Epolls that watch epolls: how many ways up an event may have, that a change of the graph is
// forgotten when it is taken back, and changes while others ask and wake.
//
//     file <- a <- 500 others       file <- a <- 10 b <- 10 c each
#define _GNU_SOURCE
#include "test.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define MANY   501
#define ROUNDS 2000

static int add(int outer, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN};
    return epoll_ctl(outer, EPOLL_CTL_ADD, fd, &ev);
}

static int del(int outer, int fd)
{
    return epoll_ctl(outer, EPOLL_CTL_DEL, fd, NULL);
}

static int has(int fd)
{
    struct epoll_event ev;
    return epoll_wait(fd, &ev, 1, 0);
}

static int new_epoll(void)
{
    int fd = epoll_create1(0);
    MUST(fd >= 0);
    return fd;
}

static void no_position(void)
{
    uint64_t v = 1;
    struct iovec piece = {&v, 8};
    sigset_t none;
    sigemptyset(&none);
    int fd[4] = {eventfd(1, EFD_NONBLOCK), timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK),
                 signalfd(-1, &none, SFD_NONBLOCK), new_epoll()};
    for (int i = 0; i < 4; i++) {
        MUST(fd[i] >= 0);
        CHECK_ERR(pread(fd[i], &v, 8, 0), ESPIPE);
        CHECK_ERR(pwrite(fd[i], &v, 8, 0), ESPIPE);
        CHECK_ERR(preadv(fd[i], &piece, 1, 0), ESPIPE);
        CHECK_ERR(pwritev(fd[i], &piece, 1, 0), ESPIPE);
        CHECK_EQ(lseek(fd[i], 100, SEEK_SET), 0);
        CHECK_EQ(lseek(fd[i], 0, SEEK_CUR), 0);
        close(fd[i]);
    }
    group("no position");
}

static void wide(void)
{
    static int outer[MANY];
    int e = eventfd(0, EFD_NONBLOCK), a = new_epoll(), x = new_epoll(), y = new_epoll();
    MUST(e >= 0);
    CHECK_EQ(add(a, e), 0);
    for (int i = 0; i < MANY; i++) {
        outer[i] = new_epoll();
        if (i < MANY - 1) {
            CHECK_EQ(add(outer[i], a), 0);
        }
    }
    CHECK_ERR(add(outer[MANY - 1], a), EINVAL);
    CHECK_ERR(del(outer[MANY - 1], a), ENOENT);
    // The same file by another way: the ways are the file's.
    CHECK_EQ(add(y, x), 0);
    CHECK_ERR(add(x, e), EINVAL);
    CHECK_EQ(del(outer[7], a), 0);
    CHECK_EQ(add(x, e), 0);
    CHECK_ERR(add(outer[7], a), EINVAL);
    CHECK_EQ(eventfd_write(e, 1), 0);
    CHECK_EQ(has(outer[0]), 1);
    CHECK_EQ(has(outer[MANY - 2]), 1);
    CHECK_EQ(has(outer[7]), 0);
    CHECK_EQ(has(y), 1);
    for (int i = 0; i < MANY; i++) {
        close(outer[i]);
    }
    CHECK_EQ(add(y, a), 0);
    close(e);
    close(a);
    close(x);
    close(y);
    group("many above one");
}

// A file that very many items watch: what one of them costs must not depend on the others.
static void crowd(void)
{
    enum { EPOLLS = 128, NAMES = 512 };
    static int ep[EPOLLS], name[NAMES];
    int e = eventfd(0, EFD_NONBLOCK);
    MUST(e >= 0);
    for (int i = 0; i < NAMES; i++) {
        name[i] = dup(e);
        MUST(name[i] >= 0);
    }
    for (int i = 0; i < EPOLLS; i++) {
        ep[i] = new_epoll();
        for (int j = 0; j < NAMES; j++) {
            MUST(add(ep[i], name[j]) == 0);
        }
    }
    for (int i = 0; i < EPOLLS; i += 2) { // the first to come is the last in the file's list
        for (int j = 0; j < NAMES; j += 3) {
            MUST(del(ep[i], name[j]) == 0);
        }
        CHECK_ERR(del(ep[i], name[0]), ENOENT);
    }
    CHECK_EQ(eventfd_write(e, 1), 0);
    for (int i = 0; i < EPOLLS - 1; i++) {
        CHECK_EQ(has(ep[i]), 1);
        close(ep[i]);
    }
    close(e);
    for (int j = 0; j < NAMES; j++) {
        close(name[j]);
    }
    CHECK_EQ(has(ep[EPOLLS - 1]), 0); // the file is gone
    close(ep[EPOLLS - 1]);
    group("a crowd");
}

static void layers(void)
{
    int e = eventfd(0, EFD_NONBLOCK), a = new_epoll(), b[10], c[11];
    MUST(e >= 0);
    CHECK_EQ(add(a, e), 0);
    for (int i = 0; i < 10; i++) {
        b[i] = new_epoll();
        CHECK_EQ(add(b[i], a), 0);
    }
    for (int k = 0; k < 11; k++) {
        c[k] = new_epoll();
        for (int i = 0; i < 10; i++) {
            if (k < 10) {
                CHECK_EQ(add(c[k], b[i]), 0);
            } else {
                CHECK_ERR(add(c[k], b[i]), EINVAL);
            }
        }
    }
    CHECK_EQ(eventfd_write(e, 1), 0);
    CHECK_EQ(has(c[9]), 1);
    CHECK_EQ(has(c[10]), 0);
    for (int i = 0; i < 10; i++) {
        close(b[i]);
    }
    CHECK_EQ(has(c[9]), 0);
    for (int k = 0; k < 11; k++) {
        close(c[k]);
    }
    close(a);
    close(e);
    group("two layers above one");
}

static void deep(void)
{
    int e = eventfd(1, EFD_NONBLOCK), ep[6];
    MUST(e >= 0);
    for (int i = 0; i < 6; i++) {
        ep[i] = new_epoll();
    }
    CHECK_EQ(add(ep[0], e), 0);
    for (int i = 1; i < 5; i++) {
        CHECK_EQ(add(ep[i], ep[i - 1]), 0);
    }
    CHECK_EQ(has(ep[4]), 1);
    CHECK_EQ(add(ep[5], ep[4]), -1);
    CHECK(errno == EINVAL || errno == ELOOP);
    CHECK_ERR(add(ep[0], ep[4]), ELOOP);
    // Taken apart, nothing of it is left: the other way round it is as good.
    CHECK_EQ(del(ep[0], e), 0);
    for (int i = 1; i < 5; i++) {
        CHECK_EQ(del(ep[i], ep[i - 1]), 0);
    }
    CHECK_EQ(add(ep[4], e), 0);
    for (int i = 1; i < 5; i++) {
        CHECK_EQ(add(ep[i - 1], ep[i]), 0);
    }
    CHECK_EQ(has(ep[0]), 1);
    CHECK_EQ(has(ep[1]), 1);
    for (int i = 0; i < 6; i++) {
        close(ep[i]);
    }
    close(e);
    group("how deep, and once more");
}

// One thread asks and one wakes while two change who watches whom.
static int shared_e, shared[4];
static atomic_bool enough;

static void *asker(void *arg)
{
    (void)arg;
    while (!enough) {
        for (int i = 0; i < 4; i++) {
            struct pollfd p = {.fd = shared[i], .events = POLLIN};
            CHECK(poll(&p, 1, 0) >= 0);
            CHECK(has(shared[i]) >= 0);
        }
    }
    return NULL;
}

static void *waker(void *arg)
{
    (void)arg;
    while (!enough) {
        eventfd_t v;
        CHECK_EQ(eventfd_write(shared_e, 1), 0);
        eventfd_read(shared_e, &v);
    }
    return NULL;
}

// Up the chain one way, then the other; the two of them meet in the middle.
static void *changer(void *arg)
{
    int up = arg != NULL;
    for (int n = 0; n < ROUNDS; n++) {
        for (int i = 0; i < 3; i++) {
            int outer = shared[up ? i + 1 : i], inner = shared[up ? i : i + 1];
            if (add(outer, inner)) {
                CHECK(errno == ELOOP || errno == EEXIST);
            }
        }
        for (int i = 0; i < 3; i++) {
            int outer = shared[up ? i + 1 : i], inner = shared[up ? i : i + 1];
            if (del(outer, inner)) {
                CHECK_EQ(errno, ENOENT);
            }
        }
        int end = shared[up ? 0 : 3];
        CHECK(add(end, shared_e) == 0 || errno == EEXIST);
        CHECK(del(end, shared_e) == 0);
    }
    return NULL;
}

static void changes(void)
{
    pthread_t t[4];
    shared_e = eventfd(0, EFD_NONBLOCK);
    for (int i = 0; i < 4; i++) {
        shared[i] = new_epoll();
    }
    MUST(add(shared[1], shared_e) == 0 && add(shared[2], shared_e) == 0);
    MUST(pthread_create(&t[0], NULL, asker, NULL) == 0);
    MUST(pthread_create(&t[1], NULL, waker, NULL) == 0);
    MUST(pthread_create(&t[2], NULL, changer, NULL) == 0);
    MUST(pthread_create(&t[3], NULL, changer, &t) == 0);
    pthread_join(t[2], NULL);
    pthread_join(t[3], NULL);
    enough = true;
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    CHECK_EQ(add(shared[3], shared[2]), 0);
    CHECK_EQ(eventfd_write(shared_e, 1), 0);
    CHECK_EQ(has(shared[3]), 1);
    CHECK_EQ(has(shared[1]), 1);
    for (int i = 0; i < 4; i++) {
        close(shared[i]);
    }
    close(shared_e);
    group("changes while others ask and wake");
}

int main(void)
{
    no_position();
    wide();
    crowd();
    layers();
    deep();
    changes();
    return finish();
}
