// TEST: smp=1,2,4 scheme=rcu linux=same
/*
 * splice, tee and vmsplice: pipes and files, positions, ends, what waits and what does not, and
 * that no byte is lost or doubled when several take from one pipe. Prints what it sees, which must
 * be what Linux says.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static char buf[1 << 17];

static int file_with(const char *text)
{
    int fd = memfd_create("splice", 0);
    MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    lseek(fd, 0, SEEK_SET);
    return fd;
}

// What comes next out of a pipe is this.
static int next_is(int fd, const char *text)
{
    ssize_t n = read(fd, buf, strlen(text));
    return n == (ssize_t)strlen(text) && memcmp(buf, text, (size_t)n) == 0;
}

static void test_file_to_pipe(void)
{
    int p[2], fd = file_with("0123456789");
    loff_t off = 4;
    MUST(pipe(p) == 0);
    CHECK_EQ(splice(fd, NULL, p[1], NULL, 3, 0), 3);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 3);
    CHECK_EQ(splice(fd, &off, p[1], NULL, 2, SPLICE_F_MOVE), 2);
    CHECK_EQ(off, 6);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 3);
    CHECK(next_is(p[0], "01245"));
    CHECK_EQ(splice(fd, NULL, p[1], NULL, 100, SPLICE_F_MORE), 7); // to the end
    CHECK_EQ(splice(fd, NULL, p[1], NULL, 100, 0), 0);
    CHECK(next_is(p[0], "3456789"));
    off = 100;
    CHECK_EQ(splice(fd, &off, p[1], NULL, 5, 0), 0);
    off = -1;
    CHECK_ERR(splice(fd, &off, p[1], NULL, 5, 0), EINVAL);
    close(p[0]);
    signal(SIGPIPE, SIG_IGN);
    CHECK_ERR(splice(fd, (off = 0, &off), p[1], NULL, 5, 0), EPIPE);
    signal(SIGPIPE, SIG_DFL);
    close(p[1]);
    close(fd);
    group("file to pipe");
}

static void test_pipe_to_file(void)
{
    int p[2], fd = file_with("..........");
    loff_t off = 7;
    MUST(pipe(p) == 0);
    CHECK_EQ(write(p[1], "abcdefgh", 8), 8);
    CHECK_EQ(splice(p[0], NULL, fd, NULL, 3, 0), 3);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 3);
    CHECK_EQ(splice(p[0], NULL, fd, &off, 4, 0), 4);
    CHECK_EQ(off, 11);
    CHECK_EQ(pread(fd, buf, 100, 0), 11);
    CHECK_EQ(memcmp(buf, "abc....defg", 11), 0);
    CHECK(next_is(p[0], "h"));
    CHECK_ERR(splice(p[0], NULL, fd, NULL, 3, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK_EQ(write(p[1], "xy", 2), 2);
    close(p[1]);
    fcntl(fd, F_SETFL, O_APPEND);
    CHECK_ERR(splice(p[0], NULL, fd, NULL, 3, 0), EINVAL);
    fcntl(fd, F_SETFL, 0);
    CHECK_EQ(splice(p[0], NULL, fd, NULL, 30, 0), 2);
    CHECK_EQ(splice(p[0], NULL, fd, NULL, 30, 0), 0); // the end
    close(p[0]);
    close(fd);
    group("pipe to file");
}

static void test_arguments(void)
{
    int p[2], q[2], fd = file_with("text"), fd2 = file_with("more");
    loff_t off = 0;
    MUST(pipe(p) == 0 && pipe(q) == 0);
    CHECK_EQ(splice(99, NULL, 98, NULL, 0, 0), 0);
    CHECK_ERR(splice(fd, NULL, p[1], NULL, 1, 64), EINVAL);
    CHECK_ERR(splice(99, NULL, p[1], NULL, 1, 0), EBADF);
    CHECK_ERR(splice(fd, NULL, 99, NULL, 1, 0), EBADF);
    CHECK_ERR(splice(fd, NULL, p[0], NULL, 1, 0), EBADF);
    CHECK_ERR(splice(p[1], NULL, fd, NULL, 1, 0), EBADF);
    CHECK_ERR(splice(fd, NULL, fd2, NULL, 1, 0), EINVAL);
    CHECK_ERR(splice(p[0], &off, fd, NULL, 1, 0), ESPIPE);
    CHECK_ERR(splice(fd, NULL, p[1], &off, 1, 0), ESPIPE);
    CHECK_ERR(splice(p[0], NULL, p[1], NULL, 1, 0), EINVAL);
    CHECK_ERR(splice(fd, (loff_t *)8, p[1], NULL, 1, 0), EFAULT);
    CHECK_EQ(tee(99, 98, 0, 0), 0);
    CHECK_ERR(tee(p[0], q[1], 1, 64), EINVAL);
    CHECK_ERR(tee(p[0], p[1], 1, 0), EINVAL);
    CHECK_ERR(tee(p[0], fd, 1, 0), EINVAL);
    CHECK_ERR(tee(p[1], q[1], 1, 0), EBADF);
    CHECK_ERR(tee(p[0], q[0], 1, 0), EBADF);
    CHECK_ERR(tee(p[0], q[1], 1, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK_EQ(vmsplice(fd, NULL, 0, 0), 0);
    CHECK_ERR(vmsplice(fd, &(struct iovec){buf, 1}, 1, 0), EBADF);
    CHECK_ERR(vmsplice(p[1], NULL, 0, 64), EINVAL);
    CHECK_EQ(vmsplice(p[1], NULL, 0, 0), 0);
    close(p[0]), close(p[1]), close(q[0]), close(q[1]);
    close(fd), close(fd2);
    group("arguments");
}

static void test_pipes(void)
{
    int p[2], q[2];
    struct pollfd pf;
    MUST(pipe(p) == 0 && pipe(q) == 0);
    pf = (struct pollfd){.fd = p[0], .events = POLLIN};
    CHECK_EQ(write(p[1], "one two", 7), 7);
    CHECK_EQ(tee(p[0], q[1], 100, 0), 7);
    CHECK(next_is(q[0], "one two"));
    CHECK_EQ(tee(p[0], q[1], 3, 0), 3);
    CHECK(next_is(q[0], "one"));
    CHECK_EQ(poll(&pf, 1, 0), 1);
    CHECK_EQ(splice(p[0], NULL, q[1], NULL, 4, 0), 4);
    CHECK(next_is(p[0], "two"));
    CHECK(next_is(q[0], "one "));
    CHECK_ERR(splice(p[0], NULL, q[1], NULL, 4, SPLICE_F_NONBLOCK), EAGAIN);
    // A full target.
    memset(buf, 'f', 65536);
    CHECK_EQ(write(q[1], buf, 65536), 65536);
    CHECK_EQ(write(p[1], "left", 4), 4);
    CHECK_ERR(splice(p[0], NULL, q[1], NULL, 4, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK_ERR(tee(p[0], q[1], 4, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK(next_is(p[0], "left")); // nothing is lost
    close(q[0]);
    CHECK_EQ(write(p[1], "more", 4), 4);
    signal(SIGPIPE, SIG_IGN);
    CHECK_ERR(splice(p[0], NULL, q[1], NULL, 4, 0), EPIPE);
    CHECK_ERR(tee(p[0], q[1], 4, 0), EPIPE);
    signal(SIGPIPE, SIG_DFL);
    CHECK(next_is(p[0], "more"));
    close(p[1]);
    close(q[1]);
    MUST(pipe(q) == 0);
    CHECK_EQ(splice(p[0], NULL, q[1], NULL, 4, 0), 0); // ended
    CHECK_EQ(tee(p[0], q[1], 4, 0), 0);
    close(p[0]), close(q[0]), close(q[1]);
    group("pipe to pipe");
}

static void test_vmsplice(void)
{
    static char out[70000];
    int p[2];
    struct iovec v[2] = {{(void *)"hello ", 6}, {(void *)"world", 5}},
                 r[2] = {{out, 3}, {out + 10, 100}};
    MUST(pipe(p) == 0);
    CHECK_EQ(vmsplice(p[1], v, 2, SPLICE_F_GIFT), 11);
    CHECK_EQ(vmsplice(p[0], r, 2, 0), 11);
    CHECK(memcmp(out, "hel", 3) == 0 && memcmp(out + 10, "lo world", 8) == 0);
    CHECK_ERR(vmsplice(p[0], r, 2, SPLICE_F_NONBLOCK), EAGAIN);
    v[0] = (struct iovec){out, 70000};
    CHECK_EQ(vmsplice(p[1], v, 1, SPLICE_F_NONBLOCK) > 60000, 1);
    CHECK_ERR(vmsplice(p[1], v, 1, SPLICE_F_NONBLOCK), EAGAIN);
    close(p[1]);
    while (read(p[0], buf, sizeof(buf)) > 0) {
    }
    CHECK_EQ(vmsplice(p[0], r, 2, 0), 0);
    close(p[0]);
    MUST(pipe(p) == 0);
    v[0] = (struct iovec){(void *)8, 10};
    CHECK_ERR(vmsplice(p[1], v, 1, 0), EFAULT);
    CHECK_ERR(vmsplice(p[1], v, 1025, 0), EINVAL);
    close(p[0]), close(p[1]);
    group("vmsplice");
}

// Bytes of a known sequence go through three pipes and a file; all must come, once and in order.
#define TOTAL (1 << 20)
static int chain[3][2];

static void *writer(void *arg)
{
    static unsigned char block[10007];
    unsigned at = 0;
    while (at < TOTAL) {
        unsigned n = TOTAL - at < sizeof(block) ? TOTAL - at : (unsigned)sizeof(block);
        for (unsigned i = 0; i < n; i++) {
            block[i] = (unsigned char)((at + i) * 2654435761u >> 24);
        }
        if (write(chain[0][1], block, n) != (ssize_t)n) {
            break;
        }
        at += n;
    }
    close(chain[0][1]);
    return arg;
}

static void *mover(void *arg)
{
    long k = (long)arg;
    unsigned n = 1000;
    while (splice(chain[k][0], NULL, chain[k + 1][1], NULL, n, 0) > 0) {
        n = n * 7 % 90001 + 1;
    }
    close(chain[k + 1][1]);
    return NULL;
}

static void test_chain(void)
{
    pthread_t t[3];
    unsigned at = 0, bad = 0;
    for (int i = 0; i < 3; i++) {
        MUST(pipe(chain[i]) == 0);
    }
    MUST(pthread_create(&t[0], NULL, writer, NULL) == 0);
    MUST(pthread_create(&t[1], NULL, mover, (void *)0) == 0);
    MUST(pthread_create(&t[2], NULL, mover, (void *)1) == 0);
    for (ssize_t n; (n = read(chain[2][0], buf, sizeof(buf))) > 0;) {
        for (ssize_t i = 0; i < n; i++, at++) {
            bad += (unsigned char)buf[i] != (unsigned char)(at * 2654435761u >> 24);
        }
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
        close(chain[i][0]);
    }
    CHECK_EQ(at, TOTAL);
    CHECK_EQ(bad, 0);
    group("a chain");
}

// Readers and splices take from one pipe: each byte goes to one of them.
static atomic_long taken;
static int shared[2], sink[2];

static void *take_read(void *arg)
{
    char some[100];
    for (ssize_t n; (n = read(shared[0], some, sizeof(some))) > 0;) {
        taken += n;
    }
    return arg;
}

static void *take_splice(void *arg)
{
    for (ssize_t n; (n = splice(shared[0], NULL, sink[1], NULL, 3000, 0)) > 0;) {
        taken += n;
        while (n > 0) {
            n -= read(sink[0], (char[3000]){0}, (size_t)n);
        }
    }
    return arg;
}

static void test_shared(void)
{
    pthread_t t[3];
    long put = 0;
    MUST(pipe(shared) == 0 && pipe(sink) == 0);
    for (int i = 0; i < 3; i++) {
        MUST(pthread_create(&t[i], NULL, i ? take_read : take_splice, NULL) == 0);
    }
    for (int i = 0; i < 500; i++) {
        put += write(shared[1], buf, (size_t)(i * 37 % 5000 + 1));
    }
    close(shared[1]);
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
    }
    CHECK_EQ(taken, put);
    group("shared");
}

int main(void)
{
    test_file_to_pipe();
    test_pipe_to_file();
    test_arguments();
    test_pipes();
    test_vmsplice();
    test_chain();
    test_shared();
    return finish();
}
