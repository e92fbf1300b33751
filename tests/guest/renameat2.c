// TEST: smp=1,2 scheme=rcu linux=same
/*
 * renameat2's flags, files without a name (O_TMPFILE) and how they get one, CLOSE_RANGE_UNSHARE,
 * RWF_APPEND, name_to_handle_at. Prints what it sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define TOP "/tmp/renameat2"

static void make_file(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static const char *text_of(const char *path)
{
    static char buf[64];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
    close(fd);
    buf[n < 0 ? 0 : n] = '\0';
    return n < 0 ? "(none)" : buf;
}

static int is_text(const char *path, const char *text)
{
    return strcmp(text_of(path), text) == 0;
}

static nlink_t links(const char *path)
{
    struct stat st;
    return lstat(path, &st) ? 0 : st.st_nlink;
}

static int swap(const char *a, const char *b)
{
    return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

static void test_exchange(void)
{
    char cwd[128];
    MUST(mkdir("d1", 0755) == 0 && mkdir("d1/sub", 0755) == 0 && mkdir("d2", 0755) == 0);
    make_file("a", "file a");
    make_file("d2/b", "file b");
    CHECK_EQ(swap("a", "d2/b"), 0);
    CHECK(is_text("a", "file b") && is_text("d2/b", "file a"));
    CHECK_EQ(swap("a", "a"), 0);
    CHECK_ERR(swap("a", "none"), ENOENT);
    CHECK_ERR(swap("none", "a"), ENOENT);
    CHECK_EQ(links("d1"), 3);
    CHECK_EQ(links("d2"), 2);
    CHECK_EQ(swap("d1/sub", "d2/b"), 0); // a directory and a file
    CHECK_EQ(links("d1"), 2);
    CHECK_EQ(links("d2"), 3);
    CHECK(is_text("d1/sub", "file a"));
    CHECK_EQ(chdir("d2/b"), 0);
    CHECK(getcwd(cwd, sizeof(cwd)) && strcmp(cwd, TOP "/d2/b") == 0);
    CHECK_EQ(chdir(".."), 0);
    CHECK(getcwd(cwd, sizeof(cwd)) && strcmp(cwd, TOP "/d2") == 0);
    CHECK_EQ(chdir(".."), 0);
    CHECK_EQ(swap("d1", "d2"), 0);
    CHECK_EQ(links("d1"), 3);
    CHECK_ERR(swap("d1", "d1/b"), EINVAL); // one within the other, either way
    CHECK_ERR(swap("d1/b", "d1"), EINVAL);
    CHECK_ERR(swap("a/", "d2/sub"), ENOTDIR);
    CHECK_ERR(swap("d1", "a/"), ENOTDIR);
    CHECK_EQ(swap("d1/", "a"), 0);
    CHECK_EQ(symlink("nowhere", "link"), 0);
    CHECK_EQ(swap("link", "d1"), 0); // the link itself
    CHECK(is_text("link", "file b"));
    CHECK_ERR(renameat2(AT_FDCWD, "link", AT_FDCWD, "a", RENAME_EXCHANGE | RENAME_NOREPLACE),
              EINVAL);
    CHECK_ERR(renameat2(AT_FDCWD, "link", AT_FDCWD, "a", RENAME_EXCHANGE | RENAME_WHITEOUT),
              EINVAL);
    CHECK_ERR(renameat2(AT_FDCWD, "link", AT_FDCWD, "a", 8), EINVAL);
    CHECK_ERR(renameat2(AT_FDCWD, "link", AT_FDCWD, "a", RENAME_NOREPLACE), EEXIST);
    group("exchange");
}

static void test_whiteout(void)
{
    struct stat st;
    make_file("w", "white");
    make_file("v", "victim");
    CHECK_EQ(renameat2(AT_FDCWD, "w", AT_FDCWD, "v", RENAME_WHITEOUT), 0);
    CHECK(is_text("v", "white"));
    CHECK_EQ(stat("w", &st), 0);
    CHECK(S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0) && (st.st_mode & 07777) == 0);
    CHECK_EQ(st.st_nlink, 1);
    CHECK_ERR(open("w", O_RDONLY), ENXIO);
    CHECK_EQ(mkdir("wd", 0755), 0);
    CHECK_EQ(renameat2(AT_FDCWD, "wd", AT_FDCWD, "wd2", RENAME_WHITEOUT | RENAME_NOREPLACE), 0);
    CHECK_EQ(unlink("wd"), 0);
    CHECK_EQ(unlink("w"), 0);
    CHECK_EQ(rmdir("wd2"), 0);
    group("whiteout");
}

static void test_tmpfile(void)
{
    char proc[64], name[128];
    struct stat st;
    ssize_t n;
    int fd = open(".", O_TMPFILE | O_RDWR, 0640);
    MUST(fd >= 0);
    CHECK_EQ(write(fd, "no name", 7), 7);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK(S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0640);
    CHECK_EQ(st.st_nlink, 0);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    n = readlink(proc, name, sizeof(name) - 1);
    name[n < 0 ? 0 : n] = '\0';
    CHECK(strncmp(name, TOP "/#", strlen(TOP) + 2) == 0 && strstr(name, " (deleted)"));
    CHECK_EQ(linkat(AT_FDCWD, proc, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0);
    CHECK(is_text("named", "no name"));
    CHECK_EQ(links("named"), 1);
    CHECK_EQ(linkat(fd, "", AT_FDCWD, "again", AT_EMPTY_PATH), 0);
    CHECK_EQ(links("again"), 2);
    CHECK_ERR(linkat(fd, "", AT_FDCWD, "again", AT_EMPTY_PATH), EEXIST);
    CHECK_ERR(linkat(fd, "", AT_FDCWD, "third", 0), ENOENT);
    CHECK_EQ(unlink("named"), 0);
    CHECK_EQ(unlink("again"), 0);
    CHECK_ERR(linkat(fd, "", AT_FDCWD, "third", AT_EMPTY_PATH), ENOENT); // it had names
    close(fd);
    fd = open(".", O_TMPFILE | O_WRONLY, 0600);
    CHECK_EQ(linkat(fd, "", AT_FDCWD, "third", AT_EMPTY_PATH), 0);
    close(fd);
    CHECK_EQ(unlink("third"), 0);
    fd = open(".", O_TMPFILE | O_EXCL | O_RDWR, 0600); // never
    CHECK(fd >= 0);
    CHECK_ERR(linkat(fd, "", AT_FDCWD, "third", AT_EMPTY_PATH), ENOENT);
    close(fd);
    CHECK_ERR(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
    CHECK_ERR(open(".", O_TMPFILE | O_RDWR | O_CREAT, 0600), EINVAL);
    CHECK_ERR(open(".", (O_TMPFILE & ~O_DIRECTORY) | O_RDWR, 0600), EINVAL);
    CHECK_ERR(open("v", O_TMPFILE | O_RDWR, 0600), ENOTDIR);
    CHECK_ERR(open("none", O_TMPFILE | O_RDWR, 0600), ENOENT);
    CHECK_ERR(open("/proc", O_TMPFILE | O_RDWR, 0600), EOPNOTSUPP);
    fd = open("/proc/self", O_PATH);
    CHECK_ERR(linkat(fd, "", AT_FDCWD, "third", AT_EMPTY_PATH), EXDEV);
    close(fd);
    CHECK_ERR(linkat(AT_FDCWD, "", AT_FDCWD, "third", AT_EMPTY_PATH), EPERM); // a directory
    CHECK_ERR(linkat(99, "", AT_FDCWD, "third", AT_EMPTY_PATH), EBADF);
    group("O_TMPFILE");
}

static int shares_files(void *arg)
{
    int fd = *(int *)arg;
    if (syscall(SYS_close_range, fd, fd, CLOSE_RANGE_UNSHARE)) {
        return 1;
    }
    return fcntl(fd, F_GETFD) == -1 && errno == EBADF ? 0 : 2;
}

static void test_close_range(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    int fd = dup(0), status;
    pid_t pid = clone(shares_files, stack + sizeof(stack), CLONE_FILES | SIGCHLD, &fd);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(fcntl(fd, F_GETFD), 0); // ours is open still
    CHECK_EQ(syscall(SYS_close_range, fd, fd, CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC), 0);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    group("close_range");
}

static void test_append(void)
{
    struct iovec v[2] = {{(void *)"AB", 2}, {(void *)"CD", 2}};
    int fd = open("append", O_CREAT | O_RDWR, 0644);
    CHECK_EQ(write(fd, "0123456789", 10), 10);
    CHECK_EQ(lseek(fd, 2, SEEK_SET), 2);
    CHECK_EQ(pwritev2(fd, v, 2, 1, RWF_APPEND), 4); // wherever that says
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 2);
    CHECK(is_text("append", "0123456789ABCD"));
    CHECK_EQ(pwritev2(fd, v, 1, -1, RWF_APPEND | RWF_SYNC), 2);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 16);
    CHECK_EQ(pwritev2(fd, v, 1, 0, 0), 2);
    CHECK(is_text("append", "AB23456789ABCDAB"));
    CHECK_EQ(lseek(fd, 4, SEEK_SET), 4);
    v[0].iov_base = (void *)8;
    CHECK_ERR(pwritev2(fd, v, 1, -1, RWF_APPEND), EFAULT);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 4);
    CHECK_ERR(pwritev2(fd, v, 1, 0, 1 << 20), EOPNOTSUPP);
    close(fd);
    group("RWF_APPEND");
}

static void test_handle(void)
{
    struct {
        unsigned bytes;
        int type;
        char f[128];
    } h = {.bytes = sizeof(h.f)};
    int id;
    CHECK_ERR(syscall(SYS_name_to_handle_at, AT_FDCWD, "/proc/version", &h, &id, 0), EOPNOTSUPP);
    CHECK_ERR(syscall(SYS_name_to_handle_at, AT_FDCWD, "/proc/none", &h, &id, 0), ENOENT);
    CHECK_ERR(syscall(SYS_name_to_handle_at, AT_FDCWD, "/proc", &h, &id, 0x8000), EINVAL);
    group("name_to_handle_at");
}

int main(void)
{
    MUST(mkdir(TOP, 0755) == 0);
    MUST(mount("none", TOP, "tmpfs", 0, NULL) == 0); // whatever the machine has below
    MUST(chdir(TOP) == 0);
    test_exchange();
    test_whiteout();
    test_tmpfile();
    test_close_range();
    test_append();
    test_handle();
    return finish();
}
