// TEST: smp=1,2,4 scheme=rcu linux=same
/*
 * mount, umount2, remount and chroot, with /proc/self/mountinfo read after each. Prints what it
 * sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define TOP "/tmp/mounts"
#define M   TOP "/m"

// The fields of the last mount at this place; how many there are.
static struct {
    int id, parent;
    char flags[128], type[32], source[64], super[256];
} seen;

static int look(const char *where)
{
    char line[1024], path[256];
    int n = 0;
    FILE *f = fopen("/proc/self/mountinfo", "r");
    MUST(f != NULL);
    while (fgets(line, sizeof(line), f)) {
        char *rest = strstr(line, " - ");
        int id, parent;
        char flags[128];
        if (rest && sscanf(line, "%d %d %*s %*s %255s %127s", &id, &parent, path, flags) == 4 &&
            strcmp(path, where) == 0) {
            n++;
            seen.id = id;
            seen.parent = parent;
            strcpy(seen.flags, flags);
            sscanf(rest, " - %31s %63s %255s", seen.type, seen.source, seen.super);
        }
    }
    fclose(f);
    return n;
}

static int exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static int touch(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    if (fd >= 0) {
        close(fd);
    }
    return fd < 0 ? -1 : 0;
}

static void test_umount(void)
{
    int id, fd;
    struct stat st;
    MUST(touch(M "/under") == 0);
    CHECK_EQ(look(M), 0);
    CHECK_EQ(mount("what ever", M, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=750"), 0);
    CHECK_EQ(look(M), 1);
    CHECK_EQ(strcmp(seen.type, "tmpfs"), 0);
    CHECK_EQ(strcmp(seen.source, "what\\040ever"), 0);
    CHECK_EQ(strcmp(seen.flags, "rw,nosuid,noexec,relatime"), 0);
    id = seen.id;
    CHECK_EQ(look(TOP), 1);
    CHECK_EQ(stat(M, &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0750);
    CHECK(!exists(M "/under"));
    CHECK_EQ(mkdir(M "/d", 0755), 0);
    CHECK_EQ(mkdir(M "/d/e", 0755), 0);
    CHECK_EQ(touch(M "/d/f"), 0);
    CHECK_EQ(link(M "/d/f", M "/d/e/g"), 0);
    CHECK_EQ(symlink("f", M "/d/l"), 0);
    CHECK_EQ(mkfifo(M "/d/p", 0644), 0);
    CHECK_ERR(rmdir(M), EBUSY);
    CHECK_ERR(rename(M, TOP "/n"), EBUSY);
    // On top of it another one.
    CHECK_EQ(mount("none", M, "tmpfs", 0, NULL), 0);
    CHECK_EQ(look(M), 2);
    CHECK_EQ(seen.parent, id);
    CHECK(!exists(M "/d"));
    CHECK_EQ(umount(M), 0);
    CHECK(exists(M "/d/e/g"));
    CHECK_EQ(look(M), 1);
    // In use: a file, one without a name, a directory, a mapping, a mount.
    fd = open(M "/d/f", O_RDONLY);
    CHECK_ERR(umount(M), EBUSY);
    close(fd);
    fd = open(M, O_TMPFILE | O_RDWR, 0600);
    CHECK_ERR(umount(M), EBUSY);
    CHECK_EQ(ftruncate(fd, 4096), 0);
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    CHECK(map != MAP_FAILED && (*map = 1));
    CHECK_ERR(umount(M), EBUSY);
    munmap(map, 4096);
    CHECK_EQ(chdir(M "/d/e"), 0);
    CHECK_ERR(umount(M), EBUSY);
    CHECK_EQ(chdir(TOP), 0);
    CHECK_EQ(mount("none", M "/d/e", "tmpfs", 0, NULL), 0);
    CHECK_ERR(umount(M), EBUSY);
    CHECK_EQ(umount(M "/d/e"), 0);
    CHECK_ERR(umount(M "/d"), EINVAL);
    CHECK_ERR(umount(M "/d/f"), EINVAL);
    CHECK_ERR(umount(M "/none"), ENOENT);
    CHECK_ERR(umount2(M, 64), EINVAL);
    CHECK_ERR(umount2(M, MNT_EXPIRE | MNT_FORCE), EINVAL);
    CHECK_EQ(symlink("m", "link"), 0);
    CHECK_ERR(umount2("link", UMOUNT_NOFOLLOW), EINVAL);
    CHECK_EQ(umount2("link", 0), 0);
    CHECK_EQ(look(M), 0);
    CHECK(exists(M "/under"));
    CHECK_ERR(umount(M), EINVAL);
    group("umount");
}

static void test_detach(void)
{
    char cwd[256];
    int fd;
    CHECK_EQ(mount("none", M, "tmpfs", 0, NULL), 0);
    CHECK_EQ(mkdir(M "/sub", 0755), 0);
    CHECK_EQ(mkdir(M "/dir", 0755), 0);
    CHECK_EQ(mount("none", M "/sub", "tmpfs", 0, NULL), 0);
    fd = open(M "/file", O_CREAT | O_RDWR, 0644);
    CHECK_EQ(chdir(M "/dir"), 0);
    CHECK_EQ(umount2(M, MNT_DETACH), 0);
    CHECK_EQ(look(M), 0);
    CHECK_EQ(look(M "/sub"), 0);
    CHECK(exists(M "/under"));
    CHECK_EQ(write(fd, "alive", 5), 5); // it goes on for who is there
    CHECK_EQ(touch("new"), 0);
    CHECK(exists("../file") && exists("../dir/new") && exists("../../../file"));
    CHECK_EQ(chdir(".."), 0);
    CHECK_EQ(mount("none", ".", "tmpfs", 0, NULL), -1); // the errno depends on the version
    CHECK_ERR(umount("."), EINVAL);
    errno = 0;
    CHECK(getcwd(cwd, sizeof(cwd)) == NULL && errno == ENOENT);
    CHECK_EQ(chdir(TOP), 0);
    close(fd);
    CHECK_EQ(mount("none", M, "tmpfs", 0, NULL), 0);
    CHECK_EQ(umount2(M, MNT_DETACH), 0);
    group("detach");
}

// So many that going through them for each one, or worse, would take minutes.
static void test_nested(void)
{
    enum { DEPTH = 4000 };
    CHECK_EQ(mount("none", M, "tmpfs", 0, NULL), 0);
    CHECK_EQ(chdir(M), 0);
    for (int i = 0; i < DEPTH; i++) {
        MUST(mkdir("d", 0755) == 0);
        MUST(mount("none", "d", "tmpfs", 0, NULL) == 0);
        MUST(chdir("d") == 0);
    }
    CHECK_ERR(umount(M), EBUSY);
    CHECK_EQ(touch("deep"), 0);
    CHECK_EQ(umount2(M, MNT_DETACH), 0);
    CHECK_EQ(look(M), 0);
    CHECK(exists("deep") && exists("../deep")); // each is a tree of its own now
    CHECK_EQ(chdir(TOP), 0);
    CHECK(exists(M "/under"));
    group("nested");
}

static void test_readonly(void)
{
    struct stat st;
    int fd;
    CHECK_EQ(mount("none", M, "tmpfs", 0, NULL), 0);
    CHECK_EQ(mkdir(M "/d", 0755), 0);
    fd = open(M "/f", O_CREAT | O_RDWR, 0644);
    CHECK_ERR(mount("none", M, NULL, MS_REMOUNT | MS_RDONLY, NULL), EBUSY);
    CHECK_EQ(look(M), 1);
    CHECK_EQ(strcmp(seen.flags, "rw,relatime"), 0);
    close(fd);
    CHECK_EQ(mount("none", M, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    CHECK_EQ(look(M), 1);
    CHECK_EQ(strcmp(seen.flags, "ro,relatime"), 0);
    CHECK_EQ(strncmp(seen.super, "ro", 2), 0);
    CHECK_ERR(open(M "/f", O_RDWR), EROFS);
    CHECK_ERR(open(M "/f", O_RDONLY | O_TRUNC), EROFS);
    CHECK_ERR(open(M "/g", O_RDONLY | O_CREAT, 0644), EROFS);
    CHECK_ERR(open(M, O_TMPFILE | O_RDWR, 0644), EROFS);
    fd = open(M "/f", O_RDONLY);
    CHECK(fd >= 0);
    CHECK_ERR(fchmod(fd, 0600), EROFS);
    CHECK_ERR(futimens(fd, NULL), EROFS);
    close(fd);
    CHECK_ERR(mkdir(M "/e", 0755), EROFS);
    CHECK_ERR(mkdir(M "/d", 0755), EEXIST);
    CHECK_ERR(rmdir(M "/d"), EROFS);
    CHECK_ERR(unlink(M "/f"), EROFS);
    CHECK_ERR(rename(M "/f", M "/g"), EROFS);
    CHECK_ERR(link(M "/f", M "/g"), EROFS);
    CHECK_ERR(symlink("f", M "/g"), EROFS);
    CHECK_ERR(chmod(M "/f", 0600), EROFS);
    CHECK_ERR(chown(M "/f", 1, 1), EROFS);
    CHECK_ERR(truncate(M "/f", 1), EROFS);
    CHECK_ERR(access(M "/f", W_OK), EROFS);
    CHECK_EQ(access(M "/f", R_OK), 0);
    CHECK_EQ(mount("none", M, NULL, MS_REMOUNT | MS_NOATIME, NULL), 0);
    CHECK_EQ(look(M), 1);
    CHECK_EQ(strcmp(seen.flags, "rw,noatime"), 0);
    CHECK_EQ(touch(M "/g"), 0);
    CHECK_EQ(stat(M "/g", &st), 0);
    CHECK_ERR(mount("none", M "/d", NULL, MS_REMOUNT, NULL), EINVAL);
    CHECK_EQ(umount(M), 0);
    CHECK_EQ(mount("none", M, "tmpfs", MS_RDONLY, NULL), 0);
    CHECK_ERR(mkdir(M "/d", 0755), EROFS);
    CHECK_EQ(umount(M), 0);
    group("read-only");
}

static void test_options(void)
{
    static char page[4096];
    struct statfs s;
    struct stat st;
    int fd, n = 0;
    CHECK_EQ(mount("none", M, "tmpfs", 0, "size=64k,mode=0711,uid=5,gid=6"), 0);
    CHECK_EQ(stat(M, &st), 0);
    CHECK(st.st_uid == 5 && st.st_gid == 6 && (st.st_mode & 07777) == 0711);
    CHECK_EQ(statfs(M, &s), 0);
    CHECK_EQ(s.f_blocks * (unsigned long)s.f_bsize, 65536);
    CHECK_EQ(look(M), 1);
    CHECK(strstr(seen.super, "size=64k") != NULL);
    fd = open(M "/f", O_CREAT | O_WRONLY, 0644);
    while (n < 20 && write(fd, page, sizeof(page)) == (ssize_t)sizeof(page)) {
        n++;
    }
    CHECK_EQ(n, 16);
    CHECK_EQ(errno, ENOSPC);
    CHECK_EQ(mount("none", M, NULL, MS_REMOUNT, "size=128k"), 0);
    CHECK_EQ(write(fd, page, sizeof(page)), (ssize_t)sizeof(page));
    close(fd);
    CHECK_EQ(umount(M), 0);
    CHECK_ERR(mount("none", M, "tmpfs", 0, "size=x"), EINVAL);
    CHECK_ERR(mount("none", M, "tmpfs", 0, "nosuchoption=1"), EINVAL);
    CHECK_ERR(mount("none", M, "nosuchfs", 0, NULL), ENODEV);
    CHECK_ERR(mount("none", M, NULL, 0, NULL), EINVAL);
    CHECK_ERR(mount("none", M "/under", "tmpfs", 0, NULL), ENOTDIR);
    CHECK_ERR(mount("none", M "/none", "tmpfs", 0, NULL), ENOENT);
    CHECK_ERR(mount("none", (char *)8, "tmpfs", 0, NULL), EFAULT);
    group("options");
}

static void test_proc(void)
{
    char self[32], pid[32];
    ssize_t n;
    CHECK_EQ(mount("proc", M, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), 0);
    CHECK_EQ(look(M), 1);
    CHECK_EQ(strcmp(seen.type, "proc"), 0);
    CHECK_EQ(strcmp(seen.flags, "rw,nosuid,nodev,noexec,relatime"), 0);
    n = readlink(M "/self", self, sizeof(self) - 1);
    self[n < 0 ? 0 : n] = '\0';
    snprintf(pid, sizeof(pid), "%d", getpid());
    CHECK_EQ(strcmp(self, pid), 0);
    CHECK(exists(M "/self/status") && exists(M "/meminfo") && exists(M "/1/stat"));
    int fd = open(M "/self/status", O_RDONLY);
    CHECK_ERR(umount(M), EBUSY);
    close(fd);
    CHECK_EQ(umount(M), 0);
    CHECK(exists("/proc/self/status"));
    CHECK_EQ(mount("sysfs", M, "sysfs", 0, NULL), 0);
    CHECK(exists(M "/devices/system/cpu/online"));
    CHECK_EQ(umount(M), 0);
    group("another /proc");
}

// In a root of its own.
static int in_jail(int outside)
{
    char path[256], fd_path[64];
    unsigned before = checks_failed;
    ssize_t n;
    CHECK_EQ(chroot(M), 0);
    // The directory is still the old one, and outside.
    n = readlink("/proc/self/cwd", path, sizeof(path));
    CHECK_EQ(n, -1); // no /proc in here
    CHECK(exists("m/jail"));
    CHECK_EQ(chdir("/"), 0);
    CHECK(getcwd(path, sizeof(path)) && strcmp(path, "/") == 0);
    CHECK(exists("/jail") && exists("jail") && exists("../jail") && exists("/../../jail"));
    CHECK(!exists("/tmp"));
    CHECK(exists("abslink")); // "/jail"
    CHECK_EQ(mkdir("/proc", 0755), 0);
    CHECK_EQ(mkdir("/sub", 0755), 0);
    CHECK_EQ(mount("proc", "/proc", "proc", 0, NULL), 0);
    CHECK_EQ(look("/proc"), 1);
    CHECK_EQ(look("/"), 1); // M is a mount
    CHECK_EQ(look(M), 0);
    CHECK_EQ(look("/tmp"), 0);
    n = readlink("/proc/self/root", path, sizeof(path) - 1);
    path[n < 0 ? 0 : n] = '\0';
    CHECK_EQ(strcmp(path, "/"), 0);
    CHECK_EQ(chdir("/sub"), 0);
    n = readlink("/proc/self/cwd", path, sizeof(path) - 1);
    path[n < 0 ? 0 : n] = '\0';
    CHECK_EQ(strcmp(path, "/sub"), 0);
    int fd = open("/jail", O_RDONLY);
    snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", fd);
    n = readlink(fd_path, path, sizeof(path) - 1);
    path[n < 0 ? 0 : n] = '\0';
    CHECK_EQ(strcmp(path, "/jail"), 0);
    close(fd);
    CHECK_ERR(chroot("/none"), ENOENT);
    CHECK_ERR(chroot("/jail"), ENOTDIR);
    CHECK_EQ(chroot("/sub"), 0); // deeper
    CHECK(!exists("/jail"));
    CHECK_EQ(fchdir(outside), 0); // as everybody knows
    CHECK_EQ(chroot("."), 0);
    CHECK(exists("/m/jail"));
    CHECK_EQ(umount("/m/proc"), 0);
    return checks_failed != before;
}

static void test_chroot(void)
{
    int status, outside = open(TOP, O_RDONLY | O_DIRECTORY);
    CHECK_EQ(mount("none", M, "tmpfs", 0, NULL), 0);
    CHECK_EQ(touch(M "/jail"), 0);
    CHECK_EQ(symlink("/jail", M "/abslink"), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(in_jail(outside));
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(outside);
    CHECK(exists("/proc/self") && exists(M "/jail")); // our root is what it was
    CHECK_EQ(umount(M), 0);
    group("chroot");
}

static atomic_int stop;

// Opens and closes in what is mounted and unmounted.
static void *visitor(void *arg)
{
    while (!stop) {
        touch(M "/race");
        unlink(M "/race");
        if (chdir(M) == 0) {
            (void)!chdir("/");
        }
        exists(M "/d/../d/../race");
    }
    return arg;
}

static void test_race(void)
{
    pthread_t t[3];
    long done = 0, busy = 0;
    for (int i = 0; i < 3; i++) {
        MUST(pthread_create(&t[i], NULL, visitor, NULL) == 0);
    }
    for (int i = 0; i < 300; i++) {
        MUST(mount("none", M, "tmpfs", 0, NULL) == 0);
        mkdir(M "/d", 0755);
        while (umount2(M, i % 3 == 2 ? MNT_DETACH : 0)) {
            CHECK_EQ(errno, EBUSY);
            busy++;
            sched_yield();
        }
        done++;
    }
    stop = 1;
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
    }
    CHECK_EQ(done, 300);
    CHECK_EQ(look(M), 0);
    CHECK_EQ(chdir(TOP), 0);
    group("while somebody looks");
}

int main(void)
{
    MUST(mkdir(TOP, 0755) == 0);
    MUST(mount("none", TOP, "tmpfs", 0, NULL) == 0);
    MUST(mkdir(M, 0755) == 0);
    MUST(chdir(TOP) == 0);
    test_umount();
    test_detach();
    test_nested();
    test_readonly();
    test_options();
    test_proc();
    test_chroot();
    test_race();
    MUST(chdir("/") == 0);
    CHECK_EQ(umount(TOP), 0);
    return finish();
}
