// TEST: smp=1,2 scheme=rcu linux=same timeout=120
// Many mounts: on one place, one on the other; beside each other, all of them in /proc; more than
// fs.mount-max lets there be; and on the root of a process that is covered.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define TOP "/tmp/mounts_many"
#define M   TOP "/m"

static int put(const char *text, const char *file)
{
    int fd = open(file, O_WRONLY);
    ssize_t n = write(fd, text, strlen(text));
    close(fd);
    return n == (ssize_t)strlen(text) ? 0 : -1;
}

// Lines of /proc/self/mountinfo with this in them.
static int shown(const char *what)
{
    char line[512];
    int n = 0;
    FILE *f = fopen("/proc/self/mountinfo", "r");
    MUST(f != NULL);
    while (fgets(line, sizeof(line), f)) {
        n += strstr(line, what) != NULL;
    }
    fclose(f);
    return n;
}

static int is_top(int i)
{
    char name[32];
    snprintf(name, sizeof(name), M "/is%d", i);
    return access(name, F_OK) == 0;
}

// Each look-up goes to the last one, and each umount takes that.
static void test_stack(void)
{
    enum { HIGH = 3000 };
    int good = 0, back = 0;
    char name[32];
    for (int i = 0; i < HIGH; i++) {
        MUST(mount("none", M, "tmpfs", 0, NULL) == 0);
        snprintf(name, sizeof(name), M "/is%d", i);
        good += mkdir(name, 0700) == 0 && is_top(i) && access(M "/../m/..", F_OK) == 0;
    }
    CHECK_EQ(good, HIGH);
    CHECK_EQ(shown(" " M " "), HIGH);
    for (int i = HIGH - 1; i >= HIGH / 2; i--) {
        back += is_top(i) && umount(M) == 0;
    }
    CHECK_EQ(back, HIGH / 2);
    // From below those on it: "." is where the process is, but for umount.
    MUST(chdir(M) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(mount("none", M, "tmpfs", 0, NULL), 0);
    }
    CHECK(!is_top(HIGH / 2 - 1));
    CHECK(access("is1499", F_OK) == 0);
    CHECK_EQ(umount("."), 0);
    CHECK_EQ(umount2(".", MNT_DETACH), 0);
    CHECK_EQ(umount(M), 0);
    CHECK(is_top(HIGH / 2 - 1));
    CHECK_ERR(umount("."), EBUSY);
    CHECK_EQ(umount2(".", MNT_DETACH), 0);
    CHECK(is_top(HIGH / 2 - 2));
    CHECK_EQ(access("..", F_OK), 0);
    CHECK_EQ(mkdir("in", 0700), 0);
    CHECK_ERR(mount("none", "in", "tmpfs", 0, NULL), EINVAL); // not mounted itself
    MUST(chdir(TOP) == 0);
    for (int i = HIGH / 2 - 2; i >= 0; i--) {
        back += is_top(i) && umount(M) == 0;
    }
    CHECK_EQ(back, HIGH - 1);
    CHECK_EQ(shown(" " M " "), 0);
    CHECK_ERR(umount(M), EINVAL);
    group("on one place");
}

static void test_beside(void)
{
    enum { MANY = 1000 };
    char name[64];
    int n = 0;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), TOP "/beside%d", i);
        MUST(mkdir(name, 0700) == 0);
        MUST(mount("none", name, "tmpfs", 0, NULL) == 0);
    }
    CHECK_EQ(shown(TOP "/beside"), MANY);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), TOP "/beside%d", i);
        n += umount2(name, i % 2 ? MNT_DETACH : 0) == 0 && rmdir(name) == 0;
    }
    CHECK_EQ(n, MANY);
    group("beside each other");
}

static void test_max(void)
{
    int n = 0, more = 0;
    CHECK_EQ(put("300", "/proc/sys/fs/mount-max"), 0);
    while (n < 400 && mount("none", M, "tmpfs", 0, NULL) == 0) {
        n++;
    }
    CHECK_EQ(errno, ENOSPC);
    CHECK(n > 200 && n < 300);
    CHECK_EQ(umount(M), 0);
    CHECK_EQ(mount("none", M, "tmpfs", 0, NULL), 0);
    CHECK_ERR(mount("none", M, "tmpfs", 0, NULL), ENOSPC);
    CHECK_ERR(mount("none", M "/none", "tmpfs", 0, NULL), ENOENT);
    CHECK_EQ(put("310", "/proc/sys/fs/mount-max"), 0);
    while (more < 400 && mount("none", M, "tmpfs", 0, NULL) == 0) {
        more++;
    }
    CHECK_EQ(more, 10);
    CHECK_EQ(put("100000", "/proc/sys/fs/mount-max"), 0);
    for (int i = n + more; i > 0; i--) {
        CHECK_EQ(umount(M), 0);
    }
    group("fs.mount-max");
}

// "/" is where the process is, covered or not; a mount goes on top of all.
static int in_covered_root(void)
{
    CHECK_EQ(chroot("."), 0);
    CHECK(access("/mine", F_OK) == 0 && access("/../mine", F_OK) == 0);
    CHECK_EQ(mount("none", "/", "tmpfs", 0, NULL), 0);
    CHECK_EQ(mount("none", "/", "tmpfs", 0, NULL), 0);
    CHECK(access("/mine", F_OK) == 0);
    return checks_failed != 0;
}

static void test_root(void)
{
    int status;
    CHECK_EQ(mount("none", M, "tmpfs", 0, NULL), 0);
    CHECK_EQ(mkdir(M "/mine", 0700), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(chdir(M) || in_covered_root());
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(shown(" " M " "), 3);
    CHECK_EQ(access(M "/mine", F_OK), -1);
    CHECK_EQ(umount(M), 0);
    CHECK_EQ(umount(M), 0);
    CHECK_EQ(access(M "/mine", F_OK), 0);
    CHECK_EQ(umount(M), 0);
    group("on a covered root");
}

int main(void)
{
    MUST(mkdir(TOP, 0755) == 0);
    MUST(mount("none", TOP, "tmpfs", 0, NULL) == 0);
    MUST(mkdir(M, 0755) == 0);
    test_stack();
    test_beside();
    test_max();
    test_root();
    MUST(chdir("/") == 0);
    CHECK_EQ(umount(TOP), 0);
    return finish();
}
