// TEST: smp=1,2 scheme=rcu linux=same
/*
 * flock, record locks of processes and of open files, and what of a file can be sealed, copied,
 * given away and dated. Prints what it sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#include "test.h"

static char path[] = "/tmp/filelocks.XXXXXX";

static int lock(int fd, int cmd, short type, off_t start, off_t len)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, cmd, &l);
}

static void test_flock(int fd)
{
    int other = open(path, O_RDWR);
    CHECK_EQ(flock(fd, LOCK_SH), 0);
    CHECK_EQ(flock(other, LOCK_SH | LOCK_NB), 0);
    CHECK_ERR(flock(fd, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    CHECK_EQ(flock(other, LOCK_UN), 0);
    CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
    CHECK_ERR(flock(other, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    int same = dup(fd);
    CHECK_EQ(flock(same, LOCK_SH | LOCK_NB), 0); // one open file: one lock
    CHECK_EQ(flock(other, LOCK_SH | LOCK_NB), 0);
    CHECK_EQ(flock(same, LOCK_UN), 0);
    close(same);
    CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB) == 0, 0);
    close(other); // and its lock with it
    CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
    CHECK_EQ(flock(fd, LOCK_UN), 0);
    CHECK_ERR(flock(fd, 0), EINVAL);
    CHECK_ERR(flock(999, LOCK_SH), EBADF);
    group("flock");
}

// What a child may lock of [start, start + len).
static int child_can(short type, off_t start, off_t len)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, O_RDWR);
        _exit(lock(fd, F_SETLK, type, start, len) ? 1 : 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status) == 0;
}

static void test_records(int fd)
{
    CHECK_EQ(lock(fd, F_SETLK, F_RDLCK, 0, 100), 0);
    CHECK_EQ(child_can(F_RDLCK, 0, 100), 1);
    CHECK_EQ(child_can(F_WRLCK, 99, 1), 0);
    CHECK_EQ(child_can(F_WRLCK, 100, 1), 1);
    CHECK_EQ(lock(fd, F_SETLK, F_WRLCK, 40, 20), 0); // three pieces
    CHECK_EQ(child_can(F_RDLCK, 0, 40), 1);
    CHECK_EQ(child_can(F_RDLCK, 40, 1), 0);
    CHECK_EQ(child_can(F_RDLCK, 60, 40), 1);
    CHECK_EQ(lock(fd, F_SETLK, F_UNLCK, 50, 1), 0);
    CHECK_EQ(child_can(F_WRLCK, 50, 1), 1);
    CHECK_EQ(child_can(F_WRLCK, 49, 1), 0);
    CHECK_EQ(child_can(F_WRLCK, 51, 1), 0);
    CHECK_EQ(lock(fd, F_SETLK, F_WRLCK, 200, 0), 0); // to the end
    CHECK_EQ(child_can(F_RDLCK, 1 << 30, 1), 0);
    struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int bad = fcntl(fd, F_GETLK, &l) != 0 || l.l_type != F_WRLCK || l.l_start != 40 ||
                  l.l_len != 10 || l.l_pid != getppid();
        _exit(bad); // the child has the descriptor, and not the locks
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    int other = open(path, O_RDONLY);
    CHECK_ERR(lock(other, F_SETLK, F_WRLCK, 0, 1), EBADF);
    close(other); // any descriptor's closing ends them all
    CHECK_EQ(child_can(F_WRLCK, 0, 0), 1);
    l.l_type = 77;
    CHECK_ERR(fcntl(fd, F_SETLK, &l), EINVAL);
    l = (struct flock){.l_type = F_RDLCK, .l_whence = 9};
    CHECK_ERR(fcntl(fd, F_SETLK, &l), EINVAL);
    CHECK_ERR(lock(fd, F_SETLK, F_RDLCK, -1, 1), EINVAL);
    CHECK_ERR(lock(fd, F_SETLK, F_RDLCK, 5, -10), EINVAL);
    CHECK_EQ(lock(fd, F_SETLK, F_RDLCK, 5, -5), 0);
    CHECK_EQ(child_can(F_WRLCK, 5, 1), 1);
    CHECK_EQ(child_can(F_WRLCK, 4, 1), 0);
    CHECK_EQ(lock(fd, F_SETLK, F_UNLCK, 0, 0), 0);
    group("record locks");
}

static void test_waiting(int fd)
{
    int status, p[2];
    char c;
    MUST(pipe(p) == 0);
    CHECK_EQ(lock(fd, F_SETLK, F_WRLCK, 0, 1), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (lock(fd, F_SETLK, F_WRLCK, 10, 1) || write(p[1], "r", 1) != 1) {
            _exit(1);
        }
        int r = lock(fd, F_SETLKW, F_WRLCK, 0, 1); // until the parent gives up
        _exit(r ? 2 : 0);
    }
    CHECK_EQ(read(p[0], &c, 1), 1);
    usleep(200000);
    CHECK_ERR(lock(fd, F_SETLKW, F_WRLCK, 10, 1), EDEADLK);
    CHECK_EQ(lock(fd, F_SETLK, F_UNLCK, 0, 1), 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(lock(fd, F_SETLKW, F_WRLCK, 0, 0), 0); // the child's went with it
    CHECK_EQ(lock(fd, F_SETLK, F_UNLCK, 0, 0), 0);
    // Locks of open files.
    int other = open(path, O_RDWR);
    CHECK_EQ(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10), 0);
    CHECK_ERR(lock(other, F_OFD_SETLK, F_RDLCK, 5, 1), EAGAIN);
    CHECK_ERR(lock(other, F_SETLK, F_RDLCK, 5, 1), EAGAIN);
    CHECK_EQ(lock(other, F_OFD_SETLK, F_RDLCK, 10, 1), 0);
    close(other);
    CHECK_EQ(lock(fd, F_OFD_SETLK, F_UNLCK, 0, 0), 0);
    close(p[0]);
    close(p[1]);
    group("waiting for locks");
}

static void test_memfd(void)
{
    int fd = memfd_create("name", MFD_CLOEXEC | MFD_ALLOW_SEALING), plain = memfd_create("", 0);
    MUST(fd >= 0 && plain >= 0);
    CHECK_EQ(fcntl(plain, F_GET_SEALS), F_SEAL_SEAL);
    CHECK_ERR(fcntl(plain, F_ADD_SEALS, F_SEAL_GROW), EPERM);
    CHECK_EQ(fcntl(fd, F_GET_SEALS), 0);
    CHECK_EQ(write(fd, "0123456789", 10), 10);
    CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK), 0);
    CHECK_ERR(ftruncate(fd, 20), EPERM);
    CHECK_ERR(ftruncate(fd, 5), EPERM);
    CHECK_ERR(pwrite(fd, "abc", 3, 9), EPERM);
    CHECK_EQ(pwrite(fd, "abc", 3, 7), 3);
    char *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    MUST(m != MAP_FAILED);
    CHECK_ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
    munmap(m, 4096);
    CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    CHECK_EQ(errno, EPERM);
    CHECK_ERR(pwrite(fd, "x", 1, 0), EPERM);
    m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(m != MAP_FAILED && memcmp(m, "0123456abc", 10) == 0);
    munmap(m, 4096);
    CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
    CHECK_ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), EPERM);
    CHECK_ERR(fcntl(0, F_GET_SEALS), EINVAL);
    CHECK_ERR(memfd_create("x", 0x1000), EINVAL);
    close(fd);
    close(plain);
    group("memfd and seals");
}

static void test_copies(int fd)
{
    static char buf[200000], back[200000];
    int s[2], p[2], to = memfd_create("to", 0);
    for (size_t i = 0; i < sizeof(buf); i++) {
        buf[i] = (char)(i * 7 >> 2);
    }
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && pipe(p) == 0);
    CHECK_EQ(ftruncate(fd, 0), 0);
    CHECK_EQ(pwrite(fd, buf, sizeof(buf), 0), sizeof(buf));
    off_t at = 100;
    CHECK_EQ(sendfile(p[1], fd, &at, 1000), 1000);
    CHECK_EQ(at, 1100);
    CHECK_EQ(read(p[0], back, 2000), 1000);
    CHECK(memcmp(back, buf + 100, 1000) == 0);
    at = 50;
    CHECK_EQ(sendfile(s[0], fd, &at, 100000), 100000);
    CHECK_EQ(recv(s[1], back, 100000, MSG_WAITALL), 100000);
    CHECK(memcmp(back, buf + 50, 100000) == 0);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQ(sendfile(to, fd, NULL, 1 << 20), sizeof(buf));
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), sizeof(buf));
    CHECK_EQ(lseek(to, 0, SEEK_CUR), sizeof(buf));
    CHECK_EQ(pread(to, back, sizeof(back), 0), sizeof(back));
    CHECK(memcmp(back, buf, sizeof(buf)) == 0);
    at = 1 << 20;
    CHECK_EQ(sendfile(to, fd, &at, 10), 0);
    CHECK_ERR(sendfile(to, p[0], NULL, 10), EINVAL);
    CHECK_ERR(sendfile(p[0], fd, &at, 10), EBADF);
    loff_t in = 10, out = 0;
    CHECK_ERR(copy_file_range(fd, &in, to, &out, 500, 0), EXDEV);
    close(to);
    static char other[] = "/tmp/filelocks.XXXXXX";
    to = mkstemp(other);
    unlink(other);
    CHECK_EQ(copy_file_range(fd, &in, to, &out, 500, 0), 500);
    CHECK_EQ(in, 510);
    CHECK_EQ(out, 500);
    CHECK_EQ(pread(to, back, 500, 0), 500);
    CHECK(memcmp(back, buf + 10, 500) == 0);
    in = 0;
    out = 100;
    CHECK_ERR(copy_file_range(fd, &in, fd, &out, 500, 0), EINVAL);
    for (int i = 0; i < 2; i++) {
        close(s[i]);
        close(p[i]);
    }
    close(to);
    group("sendfile, copy_file_range");
}

static void test_attributes(int fd)
{
    struct stat st;
    struct timespec ts[2] = {{1000, 5}, {0, UTIME_OMIT}};
    CHECK_EQ(fchown(fd, 12, 34), 0);
    CHECK_EQ(chown(path, (uid_t)-1, 35), 0);
    CHECK(fstat(fd, &st) == 0 && st.st_uid == 12 && st.st_gid == 35);
    CHECK_EQ(fchmod(fd, 06755), 0);
    CHECK_EQ(chown(path, 0, 0), 0);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0755);
    CHECK_ERR(chown("/nowhere", 0, 0), ENOENT);
    time_t mtime = st.st_mtime;
    CHECK_EQ(futimens(fd, ts), 0);
    CHECK(fstat(fd, &st) == 0 && st.st_atim.tv_sec == 1000 && st.st_atim.tv_nsec == 5);
    CHECK_EQ(st.st_mtime, mtime);
    struct timeval tv[2] = {{7, 8}, {9, 10}};
    CHECK_EQ(utimes(path, tv), 0);
    CHECK(fstat(fd, &st) == 0 && st.st_mtim.tv_sec == 9 && st.st_mtim.tv_nsec == 10000);
    struct utimbuf ub = {3, 4};
    CHECK_EQ(utime(path, &ub), 0);
    CHECK(fstat(fd, &st) == 0 && st.st_atime == 3 && st.st_mtime == 4);
    ts[0].tv_nsec = 1000000000;
    CHECK_ERR(futimens(fd, ts), EINVAL);
    CHECK_EQ(utimensat(AT_FDCWD, path, NULL, 0), 0);
    CHECK(fstat(fd, &st) == 0 && st.st_mtime > 1000);
    group("owners and times");
}

static void *fifo_writer(void *arg)
{
    int fd = open(arg, O_WRONLY); // waits for the reader
    CHECK_EQ(write(fd, "through", 7), 7);
    close(fd);
    return NULL;
}

static void test_fifo(void)
{
    static char name[] = "/tmp/filelocks.fifo";
    char buf[16];
    struct stat st;
    pthread_t t;
    unlink(name);
    CHECK_EQ(mkfifo(name, 0600), 0);
    CHECK_ERR(mkfifo(name, 0600), EEXIST);
    CHECK(stat(name, &st) == 0 && S_ISFIFO(st.st_mode));
    CHECK_ERR(open(name, O_WRONLY | O_NONBLOCK), ENXIO);
    pthread_create(&t, NULL, fifo_writer, name);
    int fd = open(name, O_RDONLY);
    MUST(fd >= 0);
    CHECK_EQ(read(fd, buf, sizeof(buf)), 7);
    CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
    pthread_join(t, NULL);
    close(fd);
    fd = open(name, O_RDONLY | O_NONBLOCK);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_EQ(poll(&p, 1, 0), 0); // nobody has written yet
    CHECK_EQ(read(fd, buf, 1), 0);
    int w = open(name, O_WRONLY | O_NONBLOCK);
    CHECK_ERR(read(fd, buf, 1), EAGAIN);
    CHECK_EQ(write(w, "left", 4), 4);
    close(w);
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK_EQ(p.revents, POLLIN | POLLHUP);
    close(fd);
    fd = open(name, O_RDWR | O_NONBLOCK);
    CHECK_ERR(read(fd, buf, 1), EAGAIN); // what was left is gone
    close(fd);
    CHECK_EQ(unlink(name), 0);
    group("named pipes");
}

int main(void)
{
    int fd = mkstemp(path);
    MUST(fd >= 0);
    test_flock(fd);
    test_records(fd);
    test_waiting(fd);
    test_memfd();
    test_copies(fd);
    test_attributes(fd);
    test_fifo();
    close(fd);
    unlink(path);
    return finish();
}
