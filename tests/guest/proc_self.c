// TEST: smp=1,2 scheme=rcu linux=same
// /proc/self: memory as a file, names, descriptors, totals that follow what the program does; that
// nothing is made in /proc; a process's folder as a pidfd.
#include "mm_test.h"
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

// The number behind `name` in a file of "name value" lines, -1 if it is not there.
static long number(const char *path, const char *name)
{
    char line[256];
    long v = -1;
    FILE *f = fopen(path, "r");
    MUST(f != NULL);
    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, name, strlen(name)) == 0) {
            v = atol(line + strlen(name));
        }
    }
    fclose(f);
    return v;
}

static void test_mem(void)
{
    static char word[] = "before", got[8];
    int fd = open("/proc/self/mem", O_RDWR);
    MUST(fd >= 0);
    CHECK_EQ(pread(fd, got, 7, (off_t)word), 7);
    CHECK(strcmp(got, "before") == 0);
    CHECK_EQ(pwrite(fd, "after!", 7, (off_t)word), 7);
    CHECK(strcmp(word, "after!") == 0);
    CHECK_ERR(pread(fd, got, 1, 4096), EIO);
    close(fd);
    group("mem");
}

static void test_pagemap(void)
{
    unsigned long e[3];
    char *p = map_anon(3);
    int fd = open("/proc/self/pagemap", O_RDONLY);
    MUST(fd >= 0);
    fill(p + PAGE, 1, 1);
    CHECK_EQ(pread(fd, e, sizeof(e), (off_t)((unsigned long)p / PAGE * 8)), (long)sizeof(e));
    CHECK_EQ(e[0] >> 63, 0);
    CHECK_EQ(e[1] >> 63, 1);
    CHECK((e[1] & ((1ul << 55) - 1)) != 0);
    CHECK_EQ(e[1] >> 61 & 1, 0);
    CHECK_EQ(e[1] >> 56 & 1, 1);
    CHECK_EQ(e[2] >> 63, 0);
    CHECK_ERR(pread(fd, e, 4, 0), EINVAL);
    close(fd);
    CHECK_EQ(munmap(p, 3 * PAGE), 0);
    group("pagemap");
}

static void test_totals(void)
{
    long size = number("/proc/self/status", "VmSize:"),
         rss = number("/proc/self/status", "RssAnon:");
    char *p = map_anon(1000);
    CHECK_EQ(number("/proc/self/status", "VmSize:") - size, 4000);
    fill(p, 500, 1);
    // Linux counts in batches of 64 pages.
    CHECK(number("/proc/self/status", "RssAnon:") - rss >= 1700);
    CHECK(number("/proc/self/smaps_rollup", "Private_Dirty:") >= 2000);
    CHECK_EQ(mlock(p, 4 * PAGE), 0);
    CHECK_EQ(number("/proc/self/status", "VmLck:"), 16);
    CHECK_EQ(munmap(p, 1000 * PAGE), 0);
    CHECK_EQ(number("/proc/self/status", "VmSize:") - size, 0);
    group("totals");
}

static void test_names(void)
{
    char text[64] = "", link[64];
    int fd = open("/proc/self/comm", O_RDWR);
    MUST(fd >= 0);
    CHECK_EQ(write(fd, "other name", 10), 10);
    CHECK_EQ(prctl(PR_GET_NAME, text), 0);
    CHECK(strcmp(text, "other name") == 0);
    CHECK_EQ(pread(fd, text, sizeof(text), 0), 11);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    CHECK(readlink(link, text, sizeof(text)) > 0);
    close(fd);
    CHECK_ERR(readlink(link, text, sizeof(text)), ENOENT);
    CHECK_EQ(chdir("/proc"), 0);
    CHECK_EQ(readlink("/proc/self/cwd", text, sizeof(text)), 5);
    CHECK_EQ(number("/proc/self/status", "Threads:"), 1);
    CHECK_EQ(number("/proc/self/status", "Pid:"), getpid());
    group("names");
}

// Nothing is made in /proc, and nothing can be: each call says that the name is not there.
static void test_making(void)
{
    char text[64];
    int fd = open("/proc", O_RDONLY), link_fd = open("/proc/self", O_PATH | O_NOFOLLOW);
    MUST(fd >= 0 && link_fd >= 0);
    CHECK_ERR(link("/proc/version", "/proc/x"), ENOENT);
    CHECK_ERR(link("/proc/version", "/proc/self/x"), ENOENT);
    CHECK_ERR(link("/proc/version", "/proc/uptime"), EEXIST);
    CHECK_ERR(link("/proc/version", "/x"), EXDEV);
    CHECK_ERR(link("/dev/null", "/proc/sys/x"), ENOENT);
    CHECK_ERR(symlink("x", "/proc/x"), ENOENT);
    CHECK_ERR(mkdir("/proc/self/x", 0700), ENOENT);
    CHECK_ERR(mknod("/proc/x", 0100600, 0), ENOENT);
    CHECK_ERR(open("/proc/x", O_CREAT | O_RDWR, 0600), ENOENT);
    CHECK_ERR(open("/proc/self/x", O_CREAT | O_RDWR, 0600), ENOENT);
    CHECK_ERR(rename("/proc/version", "/proc/x"), ENOENT);
    CHECK_ERR(unlink("/proc/version"), EPERM);
    CHECK_ERR(readlinkat(fd, "", text, sizeof(text)), ENOENT); // not EINVAL: it names nothing
    CHECK_ERR(readlinkat(AT_FDCWD, "", text, sizeof(text)), ENOENT);
    CHECK_ERR(readlinkat(fd, "version", text, sizeof(text)), EINVAL);
    CHECK(readlinkat(link_fd, "", text, sizeof(text)) > 0);
    close(fd);
    close(link_fd);
    group("nothing is made");
}

static long signal_by(int fd, int sig)
{
    return syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
}

// A process's folder stands for it as a pidfd does, but only for signals.
static void test_folder_is_pidfd(void)
{
    char name[64];
    int status;
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        pause();
        _exit(0);
    }
    snprintf(name, sizeof(name), "/proc/%d", pid);
    int fd = open(name, O_RDONLY | O_DIRECTORY), path = open(name, O_PATH);
    snprintf(name, sizeof(name), "/proc/%d/task/%d", pid, pid);
    int task = open(name, O_RDONLY), top = open("/proc", O_RDONLY);
    snprintf(name, sizeof(name), "/proc/%d/status", pid);
    int file = open(name, O_RDONLY);
    MUST(fd >= 0 && path >= 0 && task >= 0 && top >= 0 && file >= 0);
    CHECK_EQ(signal_by(fd, 0), 0);
    CHECK_ERR(signal_by(path, 0), EBADF);
    CHECK_ERR(signal_by(task, 0), EBADF);
    CHECK_ERR(signal_by(top, 0), EBADF);
    CHECK_ERR(signal_by(file, 0), EBADF);
    CHECK_ERR(signal_by(fd, 65), EINVAL);
    CHECK_ERR(syscall(SYS_pidfd_getfd, fd, 0, 0), EBADF);
    CHECK_EQ(signal_by(fd, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, SIGKILL);
    CHECK_ERR(signal_by(fd, 0), ESRCH);
    int fds[] = {fd, path, task, top, file};
    for (int i = 0; i < 5; i++) {
        close(fds[i]);
    }
    group("the folder as a pidfd");
}

// What a machine without disks says of them, so that vmstat -d says "none" and not "no such file".
static void test_no_disks(void)
{
    int fd = open("/proc/diskstats", O_RDONLY);
    MUST(fd >= 0);
    char c;
    CHECK_EQ(read(fd, &c, 1), 0);
    close(fd);
    group("no disks");
}

int main(void)
{
    catch_faults();
    test_mem();
    test_pagemap();
    test_totals();
    test_names();
    test_making();
    test_folder_is_pidfd();
    test_no_disks();
    return finish();
}
