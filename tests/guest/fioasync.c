// TEST: smp=1 scheme=rcu linux=same
// FIOASYNC: which files take the flag. nginx starts no worker where a socket does not.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

static void takes_it(int fd)
{
    int on = 1, off = 0;
    CHECK_EQ(fcntl(fd, F_GETFL) & O_ASYNC, 0);
    CHECK_EQ(ioctl(fd, FIOASYNC, &on), 0);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_ASYNC, O_ASYNC);
    CHECK_EQ(ioctl(fd, FIOASYNC, &on), 0);
    CHECK_EQ(ioctl(fd, FIOASYNC, &off), 0);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_ASYNC, 0);
    CHECK_ERR(ioctl(fd, FIOASYNC, NULL), EFAULT);
}

static void refuses_it(int fd)
{
    int on = 1, off = 0;
    CHECK_ERR(ioctl(fd, FIOASYNC, &on), ENOTTY);
    CHECK_EQ(ioctl(fd, FIOASYNC, &off), 0);
    CHECK_ERR(ioctl(fd, FIOASYNC, NULL), EFAULT);
}

int main(void)
{
    int pair[2], ends[2], file = memfd_create("file", 0), null = open("/dev/null", O_RDWR);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pipe(ends) == 0);
    MUST(file >= 0 && null >= 0);
    takes_it(pair[0]);
    takes_it(ends[0]);
    group("sockets and pipes");
    refuses_it(file);
    refuses_it(null);
    group("a file");
    return finish();
}
