// TEST: smp=1,2 scheme=rcu linux=same
/*
 * Files as programs use them: open flags, positions, descriptors, vectors, stat. Prints what it
 * sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *name_of(long r)
{
    return r < 0 ? strerrorname_np(errno) : "ok";
}

#define SHOW(call)                                                                                 \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long r_ = (long)(call);                                                                    \
        printf("%-56s %ld %s\n", #call, r_, name_of(r_));                                          \
    } while (0)

static void show_open_flags(void)
{
    int fd;
    SHOW(open("a", O_RDONLY));
    SHOW(close(open("a", O_RDWR | O_CREAT | O_EXCL, 0640)));
    SHOW(open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
    SHOW(open("a", O_RDONLY | O_DIRECTORY));
    SHOW(open("a/", O_RDONLY));
    SHOW(open("b/", O_RDWR | O_CREAT, 0600));
    SHOW(open(".", O_WRONLY));
    SHOW(open(".", O_RDWR | O_CREAT, 0600));
    SHOW(open("a/b", O_RDONLY));
    SHOW(open("none/b", O_RDWR | O_CREAT, 0600));
    SHOW(open("", O_RDONLY));
    SHOW(symlink("a", "link"));
    SHOW(open("link", O_RDONLY | O_NOFOLLOW));
    SHOW(open("link", O_RDWR | O_CREAT | O_EXCL, 0600));
    SHOW(symlink("loop", "loop"));
    SHOW(open("loop", O_RDONLY));
    SHOW(symlink("fresh", "dangling"));
    fd = open("dangling", O_RDWR | O_CREAT, 0600);
    printf("create through a link: %d\n", fd >= 0 && access("fresh", F_OK) == 0);
    close(fd);
    fd = open("a", O_PATH);
    SHOW(write(fd, "x", 1));
    SHOW(close(fd));
}

static void show_positions(void)
{
    char buf[64] = "";
    int fd = open("p", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SHOW(write(fd, "0123456789", 10));
    SHOW(lseek(fd, -3, SEEK_END));
    SHOW(read(fd, buf, sizeof(buf)));
    SHOW(read(fd, buf, sizeof(buf)));
    SHOW(lseek(fd, -1, SEEK_SET));
    SHOW(lseek(fd, 100, SEEK_CUR));
    SHOW(lseek(fd, 0, 17));
    SHOW(pwrite(fd, "ab", 2, 20));
    SHOW(pread(fd, buf, sizeof(buf), 8));
    SHOW(memcmp(buf, "89\0\0\0\0\0\0\0\0\0\0ab", 14));
    SHOW(pread(fd, buf, 1, -1));
    SHOW(ftruncate(fd, 5));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(ftruncate(fd, 12));
    SHOW(pread(fd, buf, sizeof(buf), 0));
    SHOW(memcmp(buf, "01234\0\0\0\0\0\0\0", 12));
    SHOW(ftruncate(fd, -1));
    SHOW(fcntl(fd, F_SETFL, O_APPEND));
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(write(fd, "end", 3));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(fsync(fd));
    SHOW(close(fd));
    SHOW(close(fd));
}

static volatile int too_many = 2000, negative = -1;

static void show_vectors(void)
{
    char one[4] = "", two[4] = "";
    struct iovec out[3] = {{"abc", 3}, {NULL, 0}, {"defg", 4}};
    struct iovec in[2] = {{one, 3}, {two, 4}};
    int fd = open("v", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SHOW(writev(fd, out, 3));
    SHOW(preadv(fd, in, 2, 0));
    SHOW(memcmp(one, "abc", 3) || memcmp(two, "defg", 4));
    SHOW(pwritev(fd, out, 1, 7));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(writev(fd, out, too_many));
    SHOW(writev(fd, out, negative));
    SHOW(readv(fd, NULL, 0));
    SHOW(close(fd));
}

static void show_descriptors(void)
{
    struct stat st;
    int fd = open("a", O_RDWR), on = 1;
    SHOW(dup2(fd, 77));
    SHOW(fcntl(77, F_GETFD));
    SHOW(fcntl(77, F_SETFD, FD_CLOEXEC));
    SHOW(fcntl(77, F_GETFD));
    SHOW(fcntl(fd, F_DUPFD_CLOEXEC, 50));
    SHOW(fcntl(50, F_GETFD));
    SHOW(fcntl(fd, F_DUPFD, 1 << 30));
    SHOW(dup3(fd, fd, 0));
    SHOW(dup2(fd, fd) == fd);
    SHOW(dup2(fd, -1));
    SHOW(dup(1000));
    SHOW(ioctl(fd, FIONBIO, &on));
    SHOW(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    SHOW(fcntl(fd, 4711));
    SHOW(isatty(fd));
    SHOW(fstat(77, &st));
    printf("mode %o size %ld nlink %ld blksize %ld\n", st.st_mode, (long)st.st_size,
           (long)st.st_nlink, (long)st.st_blksize);
    SHOW(fstat(-1, &st));
    SHOW(stat("none", &st));
    SHOW(lstat("link", &st));
    printf("link: mode %o size %ld\n", st.st_mode & S_IFMT, (long)st.st_size);
    SHOW(access("a", X_OK));
    SHOW(access("a", 8));
    SHOW(close(50));
    SHOW(close(77));
    SHOW(close(fd));
}

static void show_devices(void)
{
    char buf[32];
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR);
    int full = open("/dev/full", O_RDWR), some = open("/dev/urandom", O_RDONLY);
    memset(buf, 1, sizeof(buf));
    SHOW(read(null, buf, sizeof(buf)));
    SHOW(write(null, buf, sizeof(buf)));
    SHOW(lseek(null, 5, SEEK_SET));
    SHOW(read(zero, buf, sizeof(buf)));
    SHOW(buf[0] | buf[31]);
    SHOW(write(full, buf, 1));
    SHOW(read(some, buf, sizeof(buf)));
    SHOW(open("/dev/none", O_RDONLY));
}

int main(void)
{
    umask(022);
    if (mkdir("/tmp/files", 0700) != 0 || chdir("/tmp/files") != 0) {
        perror("/tmp/files");
        return 1;
    }
    show_open_flags();
    show_positions();
    show_vectors();
    show_descriptors();
    show_devices();
    return 0;
}
