// TEST: smp=1,2 scheme=rcu linux=same
/*
 * openat2: the structure, what openat ignores and it does not, and where RESOLVE_* flags keep a
 * path from going. Prints what it sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define TOP           "/tmp/openat2"
#define NO_XDEV       1
#define NO_MAGICLINKS 2
#define NO_SYMLINKS   4
#define BENEATH       8
#define IN_ROOT       16
#define CACHED        32

struct how {
    uint64_t flags, mode, resolve, more;
};

static int top;

static long open_raw(int dir, const char *path, const void *how, size_t size)
{
    return syscall(SYS_openat2, dir, path, how, size);
}

// 0, or the errno.
static int tries(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct how h = {flags, mode, resolve, 0};
    long fd = open_raw(dir, path, &h, 24);
    if (fd >= 0) {
        close((int)fd);
    }
    return fd < 0 ? errno : 0;
}

static int walk(const char *path, uint64_t resolve)
{
    return tries(top, path, O_RDONLY, 0, resolve);
}

static void test_structure(void)
{
    struct how h = {O_RDONLY, 0, 0, 0};
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(page != MAP_FAILED && munmap(page + 4096, 4096) == 0);
    memset(page, 0, 4096);
    CHECK_ERR(open_raw(top, "file", &h, 0), EINVAL);
    CHECK_ERR(open_raw(top, "file", &h, 23), EINVAL);
    CHECK_ERR(open_raw(top, "file", page, 4097), E2BIG);
    CHECK(open_raw(top, "file", page, 4096) >= 0);
    CHECK(open_raw(top, "file", &h, 32) >= 0);
    h.more = 1;
    CHECK_ERR(open_raw(top, "file", &h, 32), E2BIG);
    CHECK_ERR(open_raw(top, "file", page + 4088, 24), EFAULT);
    CHECK_ERR(open_raw(top, "file", (void *)8, 24), EFAULT);
    CHECK_ERR(open_raw(top, (void *)8, &h, 24), EFAULT);
    CHECK_ERR(open_raw(99, "file", &h, 24), EBADF);
    group("structure");
}

static void test_strict(void)
{
    struct stat st;
    CHECK_EQ(tries(top, "file", 1ull << 40, 0, 0), EINVAL);
    CHECK_EQ(tries(top, "file", 1u << 30, 0, 0), EINVAL);
    CHECK_EQ(tries(top, "file", O_RDONLY, 0644, 0), EINVAL);
    CHECK_EQ(tries(top, "new", O_CREAT | O_WRONLY, 010644, 0), EINVAL);
    CHECK_EQ(tries(top, "new", O_CREAT | O_WRONLY, 0604, 0), 0);
    CHECK_EQ(fstatat(top, "new", &st, 0), 0);
    CHECK_EQ(st.st_mode, S_IFREG | 0604);
    CHECK_EQ(tries(top, ".", O_TMPFILE | O_RDWR, 0600, 0), 0);
    CHECK_EQ(tries(top, "file", O_PATH | O_RDWR, 0, 0), EINVAL);
    CHECK_EQ(tries(top, "file", O_PATH | O_CLOEXEC, 0, 0), 0);
    CHECK_EQ(tries(top, "file", O_RDONLY, 0, 64), EINVAL);
    CHECK_EQ(tries(top, "file", O_RDONLY, 0, 1ull << 33), EINVAL);
    CHECK_EQ(tries(top, "file", O_RDONLY, 0, BENEATH | IN_ROOT), EINVAL);
    CHECK_EQ(tries(top, "file", O_RDONLY, 0, CACHED), 0);
    CHECK_EQ(tries(top, "file", O_WRONLY | O_TRUNC, 0, CACHED), EAGAIN);
    CHECK_EQ(tries(top, "other", O_WRONLY | O_CREAT, 0600, CACHED), EAGAIN);
    group("strict");
}

static void test_links(void)
{
    CHECK_EQ(walk("link", 0), 0);
    CHECK_EQ(walk("link", NO_SYMLINKS), ELOOP);
    CHECK_EQ(walk("dirlink/inner", 0), 0);
    CHECK_EQ(walk("dirlink/inner", NO_SYMLINKS), ELOOP);
    CHECK_EQ(walk("dir/inner", NO_SYMLINKS), 0);
    CHECK_EQ(tries(top, "link", O_PATH | O_NOFOLLOW, 0, NO_SYMLINKS), 0); // the link itself
    CHECK_EQ(walk("/proc/self/cwd", NO_SYMLINKS), ELOOP);
    CHECK_EQ(walk("/proc/self/cwd", NO_MAGICLINKS), ELOOP);
    CHECK_EQ(walk("/proc/self/root/tmp", NO_MAGICLINKS), ELOOP);
    CHECK_EQ(walk("/proc/self/status", NO_MAGICLINKS), 0); // self is an ordinary one
    CHECK_EQ(walk("link", NO_MAGICLINKS), 0);
    group("links");
}

static void test_beneath(void)
{
    CHECK_EQ(walk("file", BENEATH), 0);
    CHECK_EQ(walk("dir/../file", BENEATH), 0);
    CHECK_EQ(walk(".", BENEATH), 0);
    CHECK_EQ(walk("..", BENEATH), EXDEV);
    CHECK_EQ(walk("dir/../..", BENEATH), EXDEV);
    CHECK_EQ(walk("/", BENEATH), EXDEV);
    CHECK_EQ(walk(TOP "/file", BENEATH), EXDEV);
    CHECK_EQ(walk("link", BENEATH), 0);
    CHECK_EQ(walk("abslink", BENEATH), EXDEV);
    CHECK_EQ(walk("uplink", BENEATH), EXDEV);
    CHECK_EQ(walk("none", BENEATH), ENOENT);
    CHECK_EQ(tries(AT_FDCWD, "file", O_RDONLY, 0, BENEATH), 0);
    CHECK_EQ(tries(top, "../escaped", O_CREAT | O_WRONLY, 0600, BENEATH), EXDEV);
    group("beneath");
}

static void test_in_root(void)
{
    CHECK_EQ(walk("/file", IN_ROOT), 0);
    CHECK_EQ(walk("../../file", IN_ROOT), 0);
    CHECK_EQ(walk("/..", IN_ROOT), 0);
    CHECK_EQ(walk("rootlink", IN_ROOT), 0); // "/file"
    CHECK_EQ(walk("rootlink", 0), ENOENT);
    CHECK_EQ(walk("abslink", IN_ROOT), ENOENT);
    CHECK_EQ(walk("uplink", IN_ROOT), ENOENT); // "../other-top" stays
    CHECK_EQ(tries(99, "/file", O_RDONLY, 0, IN_ROOT), EBADF);
    CHECK_EQ(tries(99, "/proc", O_RDONLY, 0, 0), 0);
    int proc = open("/proc", O_PATH);
    CHECK_EQ(tries(proc, "self/cwd", O_RDONLY, 0, IN_ROOT), EXDEV);
    CHECK_EQ(tries(proc, "self/cwd", O_RDONLY, 0, BENEATH), EXDEV);
    CHECK_EQ(tries(proc, "self/status", O_RDONLY, 0, BENEATH), 0);
    close(proc);
    group("in root");
}

static void test_xdev(void)
{
    CHECK_EQ(walk("file", NO_XDEV), 0);
    CHECK_EQ(walk("mnt", 0), 0);
    CHECK_EQ(walk("mnt", NO_XDEV), EXDEV);
    CHECK_EQ(walk("..", NO_XDEV), EXDEV);
    CHECK_EQ(walk("dir/..", NO_XDEV), 0);
    CHECK_EQ(walk("abslink", NO_XDEV), EXDEV);
    CHECK_EQ(walk("/", NO_XDEV), 0); // an absolute path begins where it says
    CHECK_EQ(walk(TOP, NO_XDEV), EXDEV);
    CHECK_EQ(walk("/proc", NO_XDEV), EXDEV);
    int proc = open("/proc", O_PATH);
    CHECK_EQ(tries(proc, "self/cwd", O_RDONLY, 0, NO_XDEV), EXDEV);
    CHECK_EQ(tries(proc, "self/status", O_RDONLY, 0, NO_XDEV), 0);
    close(proc);
    group("no xdev");
}

// The start of a walk that something is mounted on by now: "..", back up to it, comes to that.
static void test_covered(void)
{
    char cwd[256];
    int status;
    MUST(mkdir("base", 0755) == 0 && mkdir("base/sub", 0755) == 0);
    int base = open("base", O_PATH | O_DIRECTORY);
    MUST(base >= 0);
    MUST(mount("none", "base", "tmpfs", 0, NULL) == 0);
    close(open("base/mounted", O_CREAT | O_WRONLY, 0644));
    CHECK_EQ(tries(base, "sub", O_PATH, 0, BENEATH), 0);
    CHECK_EQ(tries(base, "sub/../mounted", O_PATH, 0, BENEATH), 0);
    CHECK_EQ(tries(base, "sub/../../file", O_PATH, 0, BENEATH), EXDEV);
    CHECK_EQ(tries(base, "sub/../..", O_PATH, 0, BENEATH), EXDEV);
    CHECK_EQ(tries(base, "sub/../../file", O_PATH, 0, IN_ROOT), ENOENT);
    CHECK_EQ(tries(base, "sub/../../../mounted", O_PATH, 0, IN_ROOT), 0);
    CHECK_EQ(tries(base, "sub/../../file", O_PATH, 0, 0), 0);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK_EQ(fchdir(base), 0);
        CHECK_EQ(chroot("."), 0);
        CHECK_ERR(access("/sub/../../file", F_OK), ENOENT);
        CHECK_EQ(access("/sub/../../mounted", F_OK), 0);
        CHECK_EQ(chdir("/sub/.."), 0);
        CHECK_EQ(access("mounted", F_OK), 0);
        CHECK_ERR(access("../file", F_OK), ENOENT);
        CHECK(getcwd(cwd, sizeof(cwd)) && strcmp(cwd, "/") == 0);
        _exit(checks_failed != 0);
    }
    MUST(waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, 0);
    close(base);
    CHECK_EQ(umount("base"), 0);
    group("covered");
}

int main(void)
{
    MUST(mkdir(TOP, 0755) == 0);
    MUST(mount("none", TOP, "tmpfs", 0, NULL) == 0);
    MUST(chdir(TOP) == 0);
    umask(0);
    top = open(TOP, O_PATH | O_DIRECTORY);
    MUST(top >= 0);
    MUST(mkdir("dir", 0755) == 0 && mkdir("mnt", 0755) == 0);
    MUST(mount("none", "mnt", "tmpfs", 0, NULL) == 0);
    close(open("file", O_CREAT | O_WRONLY, 0644));
    close(open("dir/inner", O_CREAT | O_WRONLY, 0644));
    MUST(symlink("file", "link") == 0 && symlink("dir", "dirlink") == 0);
    MUST(symlink("/file", "rootlink") == 0 && symlink("../other-top", "uplink") == 0);
    MUST(symlink(TOP "/file", "abslink") == 0);
    test_structure();
    test_strict();
    test_links();
    test_beneath();
    test_in_root();
    test_xdev();
    test_covered();
    return finish();
}
