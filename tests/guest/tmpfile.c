// TEST: smp=1,2 scheme=rcu linux=same
// Files without a name (O_TMPFILE): what /proc shows of them, whose watches hear of them, the ways
// to give them a name, and what they and the ways to them keep from being unmounted.
#define _GNU_SOURCE
#include <ctype.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define M "/tmp/tmpfile"

// The link of a descriptor, with # for numbers.
static const char *link_of(int fd)
{
    static char text[256];
    char name[64], raw[200], *to = text;
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, raw, sizeof(raw) - 1);
    raw[n < 0 ? 0 : n] = '\0';
    for (char *p = raw; *p; p++) {
        if (!isdigit(*p)) {
            *to++ = *p;
        } else if (to[-1] != 'N') {
            *to++ = 'N';
        }
    }
    *to = '\0';
    return text;
}

static int open_again(int fd, int flags)
{
    char name[64];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    return open(name, flags);
}

static int same_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

static void test_links(void)
{
    struct stat st;
    char name[64];
    int fd = open(M "/d", O_TMPFILE | O_RDWR, 0640), again, named;
    MUST(fd >= 0);
    printf("%s\n", link_of(fd));
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK(st.st_nlink == 0 && (st.st_mode & 07777) == 0640);
    CHECK_EQ(write(fd, "text", 4), 4);
    again = open_again(fd, O_RDONLY);
    CHECK(again >= 0 && same_file(fd, again));
    printf("%s\n", link_of(again));
    close(again);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    CHECK_ERR(link(name, M "/d/none"), EXDEV); // the link itself
    CHECK_EQ(linkat(AT_FDCWD, name, AT_FDCWD, M "/d/one", AT_SYMLINK_FOLLOW), 0);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_nlink, 1);
    printf("%s\n", link_of(fd));
    CHECK_EQ(linkat(fd, "", AT_FDCWD, M "/two", AT_EMPTY_PATH), 0);
    CHECK_ERR(linkat(fd, "", AT_FDCWD, M "/two", AT_EMPTY_PATH), EEXIST);
    named = open(M "/two", O_RDONLY);
    CHECK(same_file(fd, named));
    printf("%s\n", link_of(named));
    again = open_again(named, O_RDWR);
    printf("%s\n", link_of(again));
    close(again);
    close(named);
    CHECK_EQ(unlink(M "/two"), 0);
    CHECK_EQ(unlink(M "/d/one"), 0);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_nlink, 0);
    CHECK_ERR(linkat(fd, "", AT_FDCWD, M "/two", AT_EMPTY_PATH), ENOENT); // once is enough
    close(fd);
    fd = open(M "/d", O_TMPFILE | O_EXCL | O_RDWR, 0600);
    CHECK_ERR(linkat(fd, "", AT_FDCWD, M "/two", AT_EMPTY_PATH), ENOENT);
    close(fd);
    CHECK_ERR(open(M "/two", O_RDONLY), ENOENT);
    group("names");
}

// A directory that is open, again by its link.
static void test_dirs(void)
{
    int dir = open(M "/d", O_RDONLY), again = open_again(dir, O_RDONLY | O_DIRECTORY);
    CHECK(again >= 0 && same_file(dir, again));
    printf("%s\n", link_of(again));
    close(again);
    char name[64];
    snprintf(name, sizeof(name), "/proc/self/fd/%d/new", dir);
    int fd = open(name, O_CREAT | O_RDWR, 0600);
    printf("%s\n", link_of(fd));
    close(fd);
    CHECK_EQ(unlink(M "/d/new"), 0);
    close(dir);
    group("directories");
}

static void show_events(int in)
{
    static char buf[4096] __attribute__((aligned(8)));
    ssize_t n = read(in, buf, sizeof(buf));
    for (char *p = buf; p < buf + n;) {
        struct inotify_event *e = (struct inotify_event *)p;
        printf("  wd %d mask %x %.1s\n", e->wd, e->mask, e->len ? e->name : "");
        p += sizeof(*e) + e->len;
    }
}

static void test_watches(void)
{
    int in = inotify_init1(IN_NONBLOCK);
    CHECK_EQ(inotify_add_watch(in, M, IN_ALL_EVENTS), 1);
    CHECK_EQ(inotify_add_watch(in, M "/d", IN_ALL_EVENTS), 2);
    int fd = open(M "/d", O_TMPFILE | O_RDWR, 0600);
    CHECK_EQ(write(fd, "text", 4), 4);
    close(fd);
    show_events(in);
    close(in);
    group("watches");
}

static void test_busy(void)
{
    CHECK_EQ(mkdir(M "/m", 0755), 0);
    CHECK_EQ(mount("none", M "/m", "tmpfs", 0, NULL), 0);
    int fd = open(M "/m", O_TMPFILE | O_RDWR, 0600);
    CHECK_ERR(umount(M "/m"), EBUSY);
    close(fd);
    CHECK_EQ(umount(M "/m"), 0);
    // What led to a file is let go of.
    CHECK_EQ(mount("proc", M "/m", "proc", 0, NULL), 0);
    fd = open(M "/d", O_TMPFILE | O_RDWR, 0600);
    char name[64];
    snprintf(name, sizeof(name), M "/m/self/fd/%d", fd);
    int again = open(name, O_RDWR);
    CHECK(again >= 0 && same_file(fd, again));
    CHECK_EQ(umount(M "/m"), 0);
    close(again);
    close(fd);
    group("busy");
}

// Who may search everything may name what is open as a descriptor; to others it names nothing. They
// go by /proc.
static void test_right(void)
{
    char name[64];
    pid_t pid = fork();
    int status;
    MUST(pid >= 0);
    if (pid == 0) {
        MUST(chmod(M, 0777) == 0 && setuid(1000) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
        int fd = open(M, O_TMPFILE | O_RDWR, 0600);
        MUST(fd >= 0);
        CHECK_ERR(linkat(fd, "", AT_FDCWD, M "/mine", AT_EMPTY_PATH), ENOENT);
        CHECK_ERR(linkat(99, "", AT_FDCWD, M "/mine", AT_EMPTY_PATH), ENOENT);
        CHECK_ERR(linkat(AT_FDCWD, M "/none", AT_FDCWD, M "/mine", AT_EMPTY_PATH), ENOENT);
        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        CHECK_EQ(linkat(AT_FDCWD, name, AT_FDCWD, M "/mine", AT_SYMLINK_FOLLOW), 0);
        CHECK_ERR(linkat(AT_FDCWD, M "/mine", AT_FDCWD, M "/other", AT_EMPTY_PATH), ENOENT);
        CHECK_EQ(unlink(M "/mine"), 0);
        _exit(finish());
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    group("who may");
}

int main(void)
{
    MUST(mkdir(M, 0700) == 0);
    MUST(mount("none", M, "tmpfs", 0, NULL) == 0);
    MUST(mkdir(M "/d", 0755) == 0);
    test_links();
    test_dirs();
    test_watches();
    test_busy();
    test_right();
    CHECK_EQ(umount(M), 0);
    return finish();
}
