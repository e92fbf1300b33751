// TEST: smp=1,2 scheme=rcu
// RWF_NOWAIT: pipes and sockets say EAGAIN where they would wait, a file in memory never does, and
// what cannot promise it says EOPNOTSUPP. (Linux 6.1 says that of all but files on a disk.)
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "test.h"

static ssize_t in(int fd, char *buf, size_t n, off_t pos)
{
    struct iovec v = {buf, n};
    return preadv2(fd, &v, 1, pos, RWF_NOWAIT);
}

static ssize_t out(int fd, const char *buf, size_t n, off_t pos)
{
    struct iovec v = {(char *)buf, n};
    return pwritev2(fd, &v, 1, pos, RWF_NOWAIT);
}

// Both ends block as they are; only the call does not.
static void test_stream(const char *what, int rd, int wr)
{
    static char big[65536], buf[8];
    long all = 0, back = 0;
    ssize_t n;
    CHECK_ERR(in(rd, buf, sizeof(buf), -1), EAGAIN);
    CHECK_EQ(out(wr, "hello", 5, -1), 5);
    CHECK_EQ(in(rd, buf, sizeof(buf), -1), 5);
    CHECK_EQ(memcmp(buf, "hello", 5), 0);
    CHECK_ERR(in(rd, buf, sizeof(buf), 0), ESPIPE);
    while ((n = out(wr, big, 4096, -1)) > 0) {
        all += n;
    }
    CHECK(n == -1 && errno == EAGAIN && all > 4096);
    CHECK(!(fcntl(wr, F_GETFL) & O_NONBLOCK));
    while ((n = in(rd, big, sizeof(big), -1)) > 0) {
        back += n;
    }
    CHECK(n == -1 && errno == EAGAIN);
    CHECK_EQ(back, all);
    close(wr);
    CHECK_EQ(in(rd, buf, sizeof(buf), -1), 0);
    close(rd);
    group(what);
}

static void test_files(void)
{
    char buf[8];
    int fd = open("/tmp/nowait", O_CREAT | O_RDWR, 0600), ev = eventfd(0, 0);
    int slow = open("/slow/data", O_RDONLY);
    CHECK_EQ(out(fd, "hello", 5, 0), 5);
    CHECK_EQ(out(fd, " you", 4, 5), 4);
    CHECK_EQ(in(fd, buf, 5, 2), 5);
    CHECK_EQ(memcmp(buf, "llo y", 5), 0);
    CHECK_EQ(in(fd, buf, 5, 100), 0);
    CHECK_ERR(in(slow, buf, 5, 0), EOPNOTSUPP);
    CHECK_ERR(in(ev, buf, 8, -1), EOPNOTSUPP);
    close(slow), close(ev), close(fd);
    unlink("/tmp/nowait");
    group("files");
}

int main(void)
{
    int fd[2];
    MUST(pipe(fd) == 0);
    test_stream("pipe", fd[0], fd[1]);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
    test_stream("socket", fd[0], fd[1]);
    test_files();
    return finish();
}
