// TEST: smp=1,2 scheme=rcu linux=same
// Pipes with a name, and pipes opened a second time: who is seen to go, and what is left.
#define _GNU_SOURCE
#include "test.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char name[] = "/tmp/fifo.test";

static int events(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    MUST(poll(&p, 1, 0) >= 0);
    return p.revents;
}

// A writer that goes is seen by every reader that was there, or that came while the writer was;
// not by one that has never met a writer.
static void readers(void)
{
    char c;
    MUST(mkfifo(name, 0600) == 0);
    int first = open(name, O_RDONLY | O_NONBLOCK);
    MUST(first >= 0);
    CHECK_EQ(events(first), 0);
    CHECK_EQ(read(first, &c, 1), 0);
    int writer = open(name, O_WRONLY | O_NONBLOCK);
    int second = open(name, O_RDONLY | O_NONBLOCK);
    MUST(writer >= 0 && second >= 0);
    CHECK_EQ(events(first), 0);
    CHECK_EQ(events(second), 0);
    CHECK_ERR(read(second, &c, 1), EAGAIN);
    CHECK_EQ(write(writer, "x", 1), 1);
    CHECK_EQ(events(second), POLLIN);
    close(writer);
    CHECK_EQ(events(first), POLLIN | POLLHUP);
    CHECK_EQ(events(second), POLLIN | POLLHUP);
    int third = open(name, O_RDONLY | O_NONBLOCK);
    MUST(third >= 0);
    CHECK_EQ(events(third), POLLIN);
    CHECK_EQ(read(third, &c, 1), 1);
    CHECK_EQ(events(third), 0);
    CHECK_EQ(events(second), POLLHUP);
    close(first);
    close(second);
    close(third);
    CHECK_ERR(open(name, O_WRONLY | O_NONBLOCK), ENXIO);
    group("who has seen a writer sees it go");
}

static void leftovers(void)
{
    char buf[8];
    int both = open(name, O_RDWR);
    MUST(both >= 0);
    CHECK_EQ(write(both, "left", 4), 4);
    int more = open(name, O_RDONLY | O_NONBLOCK);
    MUST(more >= 0);
    close(both);
    CHECK_EQ(read(more, buf, 2), 2);
    close(more);
    more = open(name, O_RDONLY | O_NONBLOCK);
    CHECK_EQ(read(more, buf, 8), 0);
    close(more);
    MUST(unlink(name) == 0);
    group("bytes go with the last end");
}

static int again(int fd, int flags)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, flags);
}

static void nameless(void)
{
    int fd[2];
    char buf[8];
    MUST(pipe(fd) == 0);
    int rd = again(fd[1], O_RDONLY), wr = again(fd[0], O_WRONLY | O_NONBLOCK);
    MUST(rd >= 0 && wr >= 0);
    CHECK_EQ(write(wr, "ab", 2), 2);
    close(fd[1]);
    CHECK_EQ(events(rd), POLLIN);
    close(wr);
    CHECK_EQ(events(rd), POLLIN | POLLHUP);
    CHECK_EQ(read(rd, buf, 8), 2);
    CHECK_EQ(read(rd, buf, 8), 0);
    // Without a name nothing is waited for, and a late reader knows that there was a writer.
    int late = again(fd[0], O_RDONLY);
    MUST(late >= 0);
    CHECK_EQ(events(late), POLLHUP);
    wr = again(late, O_WRONLY);
    MUST(wr >= 0);
    close(rd);
    close(late);
    close(fd[0]);
    CHECK_EQ(events(wr), POLLOUT | POLLERR);
    close(wr);
    group("a pipe's ends opened again");
}

// A piece that cannot be user memory is refused before anything moves.
static void pieces(void)
{
    char a[4] = "abc", b[4] = "def";
    struct iovec v[2] = {{a, 3}, {(void *)-4096l, 3}};
    int fd[2], file = open("/tmp/fifo.file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    MUST(file >= 0 && pipe2(fd, O_NONBLOCK) == 0);
    CHECK_ERR(writev(file, v, 2), EFAULT);
    CHECK_EQ(lseek(file, 0, SEEK_END), 0);
    CHECK_ERR(writev(fd[1], v, 2), EFAULT);
    CHECK_ERR(read(fd[0], b, 1), EAGAIN);
    v[1] = (struct iovec){b, 3};
    CHECK_EQ(writev(fd[1], v, 2), 6);
    v[1].iov_base = (void *)-4096l;
    CHECK_ERR(readv(fd[0], v, 2), EFAULT);
    CHECK_EQ(read(fd[0], a, 4), 4);
    v[1] = (struct iovec){b, (size_t)-1};
    CHECK_ERR(writev(fd[1], v, 2), EINVAL);
    close(fd[0]);
    close(fd[1]);
    close(file);
    unlink("/tmp/fifo.file");
    group("vectors with a bad piece");
}

static void *late_reader(void *arg)
{
    *(int *)arg = open(name, O_RDONLY);
    return NULL;
}

// Each waits for the other; the one that came first may find the other gone already.
static void meeting(void)
{
    pthread_t t;
    char c;
    MUST(mkfifo(name, 0600) == 0);
    for (int i = 0; i < 50; i++) {
        int rd = -1;
        MUST(pthread_create(&t, NULL, late_reader, &rd) == 0);
        int wr = open(name, O_WRONLY);
        MUST(wr >= 0);
        CHECK_EQ(write(wr, "m", 1), 1);
        MUST(pthread_join(t, NULL) == 0 && rd >= 0);
        CHECK_EQ(close(wr), 0);
        CHECK_EQ(events(rd), POLLIN | POLLHUP);
        CHECK_EQ(read(rd, &c, 1), 1);
        CHECK_EQ(read(rd, &c, 1), 0);
        close(rd);
    }
    unlink(name);
    group("opens that wait for each other");
}

int main(void)
{
    readers();
    leftovers();
    nameless();
    pieces();
    meeting();
    return finish();
}
