// TEST: smp=1,2,4 scheme=rcu
/*
 * Pipes and poll: every byte arrives in order, small writes stay whole, the ends see each other go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            printf("%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #cond, errno);                    \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define STREAM_BYTES (4u << 20)
#define WRITERS      4
#define RECORDS      2000

struct record {
    uint32_t writer, number;
    char fill[120];
};

static void *stream_writer(void *arg)
{
    int fd = *(int *)arg;
    static unsigned char buf[10000];
    for (unsigned sent = 0; sent < STREAM_BYTES;) {
        size_t n = 1 + sent % sizeof(buf);
        n = n > STREAM_BYTES - sent ? STREAM_BYTES - sent : n;
        for (size_t i = 0; i < n; i++) {
            buf[i] = (unsigned char)((sent + i) * 7);
        }
        CHECK(write(fd, buf, n) == (ssize_t)n);
        sent += (unsigned)n;
    }
    close(fd);
    return NULL;
}

static void check_stream(void)
{
    int fd[2];
    pthread_t t;
    unsigned char buf[7777];
    unsigned got = 0;
    CHECK(pipe(fd) == 0);
    CHECK(pthread_create(&t, NULL, stream_writer, &fd[1]) == 0);
    for (ssize_t n; (n = read(fd[0], buf, sizeof(buf))) > 0; got += (unsigned)n) {
        for (ssize_t i = 0; i < n; i++) {
            CHECK(buf[i] == (unsigned char)((got + (unsigned)i) * 7));
        }
    }
    CHECK(got == STREAM_BYTES);
    pthread_join(t, NULL);
    close(fd[0]);
}

static void *volatile bad_addr = (void *)8;
static int shared[2];

static void *record_writer(void *arg)
{
    struct record r = {.writer = (uint32_t)(uintptr_t)arg};
    memset(r.fill, (int)r.writer, sizeof(r.fill));
    for (r.number = 0; r.number < RECORDS; r.number++) {
        CHECK(write(shared[1], &r, sizeof(r)) == sizeof(r));
    }
    return NULL;
}

static void check_records(void)
{
    pthread_t t[WRITERS];
    uint32_t next[WRITERS] = {0};
    CHECK(pipe2(shared, O_CLOEXEC) == 0);
    for (uintptr_t i = 0; i < WRITERS; i++) {
        CHECK(pthread_create(&t[i], NULL, record_writer, (void *)i) == 0);
    }
    for (unsigned i = 0; i < WRITERS * RECORDS; i++) {
        struct record r;
        for (size_t got = 0; got < sizeof(r);) {
            ssize_t n = read(shared[0], (char *)&r + got, sizeof(r) - got);
            CHECK(n > 0);
            got += (size_t)n;
        }
        CHECK(r.writer < WRITERS && r.number == next[r.writer]++);
        CHECK(r.fill[0] == (char)r.writer && r.fill[119] == (char)r.writer);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(t[i], NULL);
    }
    close(shared[0]);
    close(shared[1]);
}

static void check_ends(void)
{
    int fd[2];
    char buf[4096] = "";
    CHECK(pipe2(fd, O_NONBLOCK) == 0);
    CHECK(read(fd[0], buf, 1) == -1 && errno == EAGAIN);
    size_t total = 0;
    for (ssize_t n; (n = write(fd[1], buf, sizeof(buf))) > 0;) {
        total += (size_t)n;
    }
    CHECK(errno == EAGAIN && total == 65536);
    CHECK(read(fd[0], buf, 100) == 100);
    CHECK(write(fd[1], buf, 200) == -1 && errno == EAGAIN); // whole or not at all
    CHECK(lseek(fd[0], 0, SEEK_SET) == -1 && errno == ESPIPE);
    CHECK(pread(fd[0], buf, 1, 0) == -1 && errno == ESPIPE);
    CHECK(read(fd[1], buf, 1) == -1 && errno == EBADF);
    close(fd[0]);
    signal(SIGPIPE, SIG_IGN);
    CHECK(write(fd[1], buf, 1) == -1 && errno == EPIPE);
    struct pollfd p = {.fd = fd[1], .events = POLLOUT};
    CHECK(poll(&p, 1, 0) == 1 && (p.revents & POLLERR));
    close(fd[1]);
    CHECK(pipe2(fd, 0x40000000) == -1 && errno == EINVAL);
    CHECK(pipe(bad_addr) == -1 && errno == EFAULT);
}

static void *late_writer(void *arg)
{
    usleep(50000);
    CHECK(write(*(int *)arg, "x", 1) == 1);
    return NULL;
}

static atomic_int caught;

static void on_signal(int sig)
{
    (void)sig;
    atomic_fetch_add(&caught, 1);
}

static void *late_killer(void *arg)
{
    usleep(50000);
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return NULL;
}

static void check_poll(void)
{
    int a[2], b[2];
    char c;
    pthread_t t, me = pthread_self();
    CHECK(pipe(a) == 0 && pipe(b) == 0);
    struct pollfd p[4] = {{.fd = a[0], .events = POLLIN},
                          {.fd = b[0], .events = POLLIN},
                          {.fd = -1, .events = POLLIN},
                          {.fd = 999, .events = POLLIN}};
    CHECK(poll(p, 4, 1000) == 1 && p[3].revents == POLLNVAL && p[2].revents == 0);
    CHECK(poll(p, 3, 20) == 0);
    CHECK(pthread_create(&t, NULL, late_writer, &b[1]) == 0);
    CHECK(poll(p, 2, -1) == 1 && p[0].revents == 0 && p[1].revents == POLLIN);
    pthread_join(t, NULL);
    CHECK(read(b[0], &c, 1) == 1 && c == 'x');
    close(b[1]);
    CHECK(poll(p, 2, -1) == 1 && p[1].revents == POLLHUP);

    struct sigaction sa = {.sa_handler = on_signal};
    sigset_t mask, empty;
    sigemptyset(&empty);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
    CHECK(pthread_create(&t, NULL, late_killer, &me) == 0);
    CHECK(poll(p, 1, -1) == -1 && errno == EINTR && caught == 1);
    pthread_join(t, NULL);
    CHECK(pthread_sigmask(SIG_BLOCK, &mask, NULL) == 0);
    pthread_kill(me, SIGUSR1);
    struct timespec ts = {0, 20000000};
    CHECK(ppoll(p, 1, &ts, NULL) == 0 && caught == 1);
    ts = (struct timespec){5, 0};
    CHECK(ppoll(p, 1, &ts, &empty) == -1 && errno == EINTR && caught == 2);
    ts.tv_nsec = -1;
    CHECK(ppoll(p, 1, &ts, NULL) == -1 && errno == EINVAL);
    CHECK(poll(bad_addr, 1, 0) == -1 && errno == EFAULT);
}

int main(void)
{
    check_ends();
    check_stream();
    check_records();
    check_poll();
    puts("ok");
    return 0;
}
