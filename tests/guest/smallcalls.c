// TEST: smp=1,2 scheme=rcu linux=same
/*
 * close_range, creat, preadv2 and pwritev2, and the calls that advise or promise. Prints what it
 * sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "test.h"

static void test_close_range(void)
{
    int fd[8];
    for (int i = 0; i < 8; i++) {
        fd[i] = dup(0);
    }
    CHECK_EQ(syscall(SYS_close_range, fd[2], fd[4], 0), 0);
    CHECK_ERR(fcntl(fd[3], F_GETFD), EBADF);
    CHECK_EQ(fcntl(fd[1], F_GETFD), 0);
    CHECK_EQ(fcntl(fd[5], F_GETFD), 0);
    CHECK_EQ(syscall(SYS_close_range, fd[5], fd[6], 4), 0); // close on exec
    CHECK_EQ(fcntl(fd[5], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(fd[7], F_GETFD), 0);
    CHECK_ERR(syscall(SYS_close_range, 9, 8, 0), EINVAL);
    CHECK_ERR(syscall(SYS_close_range, 9, 10, 64), EINVAL);
    CHECK_EQ(syscall(SYS_close_range, fd[0], ~0u, 0), 0);
    CHECK_ERR(fcntl(fd[7], F_GETFD), EBADF);
    CHECK_EQ(dup(0), fd[0]);
    close(fd[0]);
    group("close_range");
}

static void test_rw(void)
{
    static char path[] = "/tmp/smallcalls.XXXXXX";
    char buf[8];
    struct iovec v[2] = {{"ab", 2}, {"cd", 2}}, w = {buf, sizeof(buf)};
    close(mkstemp(path));
    int fd = creat(path, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(pwritev2(fd, v, 2, -1, 0), 4);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 4);
    CHECK_EQ(pwritev2(fd, v, 2, 2, RWF_DSYNC), 4);
    CHECK_ERR(pwritev2(fd, v, 2, -2, 0), EINVAL);
    CHECK_ERR(preadv2(fd, &w, 1, 0, 0), EBADF);
    CHECK_ERR(readahead(fd, 0, 10), EBADF);
    CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    CHECK_EQ(posix_fadvise(fd, 0, 0, 77), EINVAL);
    CHECK_EQ(syncfs(fd), 0);
    CHECK_EQ(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE), 0);
    CHECK_ERR(sync_file_range(fd, -1, 0, 0), EINVAL);
    sync();
    close(fd);
    fd = open(path, O_RDONLY);
    CHECK_EQ(preadv2(fd, &w, 1, 1, 0), 5);
    CHECK(memcmp(buf, "babcd", 5) == 0);
    CHECK_EQ(readahead(fd, 0, 10), 0);
    close(fd);
    CHECK_ERR(syncfs(fd), EBADF);
    fd = open(path, O_WRONLY | O_TRUNC);
    close(fd);
    unlink(path);
    int p[2];
    CHECK_EQ(pipe(p), 0);
    CHECK_EQ(posix_fadvise(p[0], 0, 0, 0), ESPIPE);
    CHECK_ERR(sync_file_range(p[0], 0, 0, 0), ESPIPE);
    group("vectors and advice");
}

int main(void)
{
    test_close_range();
    test_rw();
    return finish();
}
