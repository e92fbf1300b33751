// TEST: smp=2 scheme=rcu,mmap_lock linux=same
/*
 * File system calls with bad arguments: each answers what Linux answers, and nothing happens. Also
 * many threads that open, write and close at once, so that a table that grows is read meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

// Not constants, or the compiler warns.
static void *volatile bad_addr = (void *)8, *volatile high_addr = (void *)0xffff800000001000ul;
static volatile size_t too_long = -1ul;
#define BAD  bad_addr
#define HIGH high_addr

static const char *name_of(long r)
{
    return r < 0 ? strerrorname_np(errno) : "ok";
}

#define SHOW(call)                                                                                 \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long r_ = (long)(call);                                                                    \
        printf("%-60s %s\n", #call, name_of(r_));                                                  \
    } while (0)

static void show_pointers(int fd)
{
    SHOW(open(BAD, O_RDONLY));
    SHOW(open(HIGH, O_RDONLY));
    SHOW(read(fd, BAD, 10));
    SHOW(read(fd, HIGH, 10));
    SHOW(write(fd, BAD, 10));
    SHOW(write(fd, HIGH, 10));
    SHOW(write(fd, "x", too_long));
    SHOW(pread(fd, BAD, 10, 0));
    SHOW(readv(fd, BAD, 1));
    SHOW(stat("f", BAD));
    SHOW(stat(BAD, BAD));
    SHOW(fstat(fd, HIGH));
    SHOW(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x7ff, BAD));
    SHOW(syscall(SYS_getcwd, BAD, 100));
    SHOW(syscall(SYS_getcwd, BAD, 1));
    SHOW(readlink("l", BAD, 10));
    SHOW(mkdir(BAD, 0700));
    SHOW(unlink(BAD));
    SHOW(rename("f", BAD));
    SHOW(rename(BAD, "f"));
    SHOW(symlink(BAD, "x"));
    SHOW(chdir(BAD));
    SHOW(statfs("f", BAD));
    SHOW(poll(BAD, 1, 0));
    SHOW(syscall(SYS_getdents64, open(".", O_RDONLY), BAD, 1000));
    SHOW(syscall(SYS_getdents64, open(".", O_RDONLY), BAD, 1));
    SHOW(syscall(SYS_getdents64, fd, BAD, 1000));
}

static void show_descriptors(int fd)
{
    int rd = open("f", O_RDONLY), wr = open("f", O_WRONLY), dir = open(".", O_RDONLY);
    char c = 'c';
    SHOW(read(-1, &c, 1));
    SHOW(read(1 << 30, &c, 1));
    SHOW(write(rd, &c, 1));
    SHOW(read(wr, &c, 1));
    SHOW(read(dir, &c, 1));
    SHOW(write(dir, &c, 1));
    SHOW(ftruncate(rd, 0));
    SHOW(ftruncate(dir, 0));
    SHOW(ftruncate(-1, 0));
    SHOW(truncate(".", 0));
    SHOW(truncate("none", 0));
    SHOW(truncate("f", -1));
    SHOW(fallocate(rd, 0, 0, 1));
    SHOW(fallocate(wr, 0x100000, 0, 1));
    SHOW(lseek(-1, 0, SEEK_SET));
    SHOW(openat(fd, "x", O_RDONLY));
    SHOW(openat(-5, "x", O_RDONLY));
    SHOW(openat(-5, "/tmp", O_RDONLY) >= 0 ? 0 : -1);
    SHOW(unlinkat(AT_FDCWD, "f", 1));
    SHOW(unlinkat(dir, "none", 0));
    SHOW(fstatat(dir, "f", &(struct stat){0}, 0x40000));
    SHOW(fstatat(fd, "", &(struct stat){0}, AT_EMPTY_PATH));
    SHOW(fstatat(fd, "", &(struct stat){0}, 0));
    SHOW(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x80000000u, &(char[256]){0}));
    SHOW(fchdir(fd));
    SHOW(fchdir(-1));
    SHOW(readlink("f", &c, 0));
    SHOW(renameat2(AT_FDCWD, "f", AT_FDCWD, "g", 0x100));
    SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED, dir, 0) == MAP_FAILED ? -1 : 0);
    SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED, wr, 0) == MAP_FAILED ? -1 : 0);
    SHOW(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, rd, 0) == MAP_FAILED ? -1 : 0);
    SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED, -1, 0) == MAP_FAILED ? -1 : 0);
}

static void *opener(void *arg)
{
    int fds[40];
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 40; i++) {
            fds[i] = open("f", O_RDWR);
            if (fds[i] < 0 || pwrite(fds[i], "y", 1, 0) != 1) {
                return arg;
            }
        }
        for (int i = 0; i < 40; i++) {
            if (close(fds[i]) != 0) {
                return arg;
            }
        }
    }
    return NULL;
}

static void show_threads(void)
{
    pthread_t t[4];
    void *r;
    int bad = 0;
    for (int i = 0; i < 4; i++) {
        pthread_create(&t[i], NULL, opener, &bad);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &r);
        bad += r != NULL;
    }
    printf("threads that failed: %d\n", bad);
    int n = 0;
    while (open("f", O_RDONLY) >= 0) {
        n++;
    }
    printf("then %s, many: %d\n", strerrorname_np(errno), n > 900);
}

int main(void)
{
    if (mkdir("/tmp/bad", 0700) != 0 || chdir("/tmp/bad") != 0) {
        perror("/tmp/bad");
        return 1;
    }
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    symlink("f", "l");
    (void)!write(fd, "0123456789", 10);
    lseek(fd, 0, SEEK_SET);
    show_pointers(fd);
    show_descriptors(fd);
    show_threads();
    return 0;
}
