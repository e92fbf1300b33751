// TEST: smp=1,2,4 scheme=rcu linux=same
/*
 * inotify: which events come, in which order and with which names, for all that can happen to a
 * file and a directory; coalescing, overflow, limits, removal of watches. Prints the events, which
 * must be those of Linux.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define TOP "/tmp/inotify"

// Out of the compiler's sight.
static void *volatile bad_addr = (void *)8;

static int in;
static unsigned last_cookie;
static int old_limit;

static const char *names_of(unsigned mask)
{
    static char text[256];
    static const struct {
        unsigned bit;
        const char *name;
    } bits[] = {{IN_ACCESS, "ACCESS "},
                {IN_MODIFY, "MODIFY "},
                {IN_ATTRIB, "ATTRIB "},
                {IN_CLOSE_WRITE, "CLOSE_WRITE "},
                {IN_CLOSE_NOWRITE, "CLOSE_NOWRITE "},
                {IN_OPEN, "OPEN "},
                {IN_MOVED_FROM, "MOVED_FROM "},
                {IN_MOVED_TO, "MOVED_TO "},
                {IN_CREATE, "CREATE "},
                {IN_DELETE, "DELETE "},
                {IN_DELETE_SELF, "DELETE_SELF "},
                {IN_MOVE_SELF, "MOVE_SELF "},
                {IN_UNMOUNT, "UNMOUNT "},
                {IN_Q_OVERFLOW, "Q_OVERFLOW "},
                {IN_IGNORED, "IGNORED "},
                {IN_ISDIR, "ISDIR "}};
    text[0] = '\0';
    for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        if (mask & bits[i].bit) {
            strcat(text, bits[i].name);
        }
    }
    return text;
}

// All that is in the queue, a line each.
static void show(const char *what)
{
    static char buf[65536] __attribute__((aligned(8)));
    ssize_t n;
    printf("%s:\n", what);
    while ((n = read(in, buf, sizeof(buf))) > 0) {
        for (char *p = buf; p < buf + n;) {
            struct inotify_event *e = (struct inotify_event *)p;
            printf("  wd %d %s%s", e->wd, names_of(e->mask), e->len ? e->name : "");
            if (e->mask & IN_MOVED_FROM) {
                last_cookie = e->cookie;
                CHECK(e->cookie != 0);
            } else if (e->mask & IN_MOVED_TO) {
                printf(" %s", e->cookie == last_cookie ? "(same cookie)" : "(another cookie)");
            } else {
                CHECK_EQ(e->cookie, 0);
            }
            CHECK(e->len % 16 == 0);
            printf("\n");
            p += sizeof(*e) + e->len;
        }
    }
    CHECK_ERR(n, EAGAIN);
    fflush(stdout);
}

static void start(void)
{
    in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    MUST(in >= 0);
}

static int make(const char *path)
{
    int fd = open(path, O_CREAT | O_RDWR, 0644);
    MUST(fd >= 0);
    return fd;
}

static void test_arguments(void)
{
    int null = open("/dev/null", O_RDONLY);
    CHECK_ERR(inotify_init1(1), EINVAL);
    start();
    CHECK_EQ(fcntl(in, F_GETFD), FD_CLOEXEC);
    CHECK_ERR(inotify_add_watch(in, ".", 0), EINVAL);
    CHECK_ERR(inotify_add_watch(in, ".", 1 << 20), EINVAL);
    CHECK_ERR(inotify_add_watch(99, ".", IN_OPEN), EBADF);
    CHECK_ERR(inotify_add_watch(null, ".", IN_OPEN), EINVAL);
    CHECK_ERR(inotify_add_watch(in, "none", IN_OPEN), ENOENT);
    CHECK_ERR(inotify_add_watch(in, bad_addr, IN_OPEN), EFAULT);
    CHECK_ERR(inotify_add_watch(in, ".", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE), EINVAL);
    close(make("f"));
    CHECK_ERR(inotify_add_watch(in, "f", IN_OPEN | IN_ONLYDIR), ENOTDIR);
    CHECK_EQ(inotify_add_watch(in, "f", IN_OPEN), 1);
    CHECK_EQ(inotify_add_watch(in, "f", IN_ACCESS), 1); // the same one
    CHECK_ERR(inotify_add_watch(in, "f", IN_OPEN | IN_MASK_CREATE), EEXIST);
    CHECK_EQ(inotify_add_watch(in, ".", IN_OPEN), 2);
    CHECK_ERR(inotify_rm_watch(in, 7), EINVAL);
    CHECK_ERR(inotify_rm_watch(99, 1), EBADF);
    CHECK_ERR(inotify_rm_watch(null, 1), EINVAL);
    CHECK_EQ(inotify_rm_watch(in, 1), 0);
    CHECK_ERR(inotify_rm_watch(in, 1), EINVAL);
    CHECK_EQ(inotify_add_watch(in, "f", IN_OPEN), 3); // numbers are not used again
    CHECK_ERR(write(in, "x", 1), EBADF);
    show("removed");
    unlink("f");
    close(in);
    close(null);
    group("arguments");
}

static void test_file(void)
{
    char c;
    int fd = make("f"), other;
    start();
    CHECK_EQ(inotify_add_watch(in, "f", IN_ALL_EVENTS), 1);
    (void)!write(fd, "hello", 5);
    (void)!write(fd, "", 0);
    lseek(fd, 0, SEEK_SET);
    (void)!read(fd, &c, 1);
    (void)!pread(fd, &c, 1, 100); // nothing there
    close(fd);
    show("write, read, close");
    fd = open("f", O_RDONLY);
    fchmod(fd, 0600);
    fchown(fd, 1, 1);
    close(fd);
    show("open, chmod, chown, close");
    truncate("f", 3);
    fd = open("f", O_WRONLY | O_TRUNC);
    ftruncate(fd, 10);
    close(fd);
    show("truncate");
    struct timespec both[2] = {{1, 0}, {2, 0}}, access_only[2] = {{5, 0}, {0, UTIME_OMIT}};
    struct timespec modify_only[2] = {{0, UTIME_OMIT}, {5, 0}};
    utimensat(AT_FDCWD, "f", both, 0);
    utimensat(AT_FDCWD, "f", access_only, 0);
    utimensat(AT_FDCWD, "f", modify_only, 0);
    show("times");
    link("f", "g");
    rename("f", "h");
    unlink("g");
    show("link, rename, unlink of the other name");
    fd = make("to");
    other = open("h", O_RDONLY);
    sendfile(fd, other, NULL, 100);
    close(fd);
    close(other);
    show("sendfile");
    close(open("h", O_PATH));
    unlink("h");
    show("unlink");
    CHECK_ERR(inotify_rm_watch(in, 1), EINVAL);
    unlink("to");
    close(in);
    group("a file");
}

static void test_dir(void)
{
    int fd;
    char buf[1024];
    start();
    CHECK_EQ(mkdir("d", 0755), 0);
    close(make("d/old"));
    CHECK_EQ(inotify_add_watch(in, "d", IN_ALL_EVENTS), 1);
    fd = make("d/new");
    (void)!write(fd, "x", 1);
    close(fd);
    show("create");
    close(open("d/old", O_RDONLY));
    chmod("d/old", 0600);
    show("what was there");
    mkdir("d/sub", 0755);
    symlink("x", "d/link");
    mkfifo("d/fifo", 0644);
    link("d/old", "d/hard");
    show("other kinds");
    chmod("d/sub", 0700);
    fd = open("d/sub", O_RDONLY | O_DIRECTORY);
    close(fd);
    fd = open("d", O_RDONLY | O_DIRECTORY);
    (void)!getdents64(fd, buf, sizeof(buf));
    close(fd);
    show("directories");
    rename("d/new", "d/newer");
    rename("d/newer", "moved-out");
    rename("moved-out", "d/in");
    rename("d/in", "d/old"); // replaces it
    rename("d/sub", "d/sub2");
    show("rename");
    renameat2(AT_FDCWD, "d/fifo", AT_FDCWD, "d/sub2", RENAME_EXCHANGE);
    show("exchange");
    unlink("d/hard");
    unlink("d/link");
    unlink("d/sub2");
    rmdir("d/fifo");
    show("unlink");
    fd = open("d/old", O_RDWR);
    rename("d/old", "d/later");
    (void)!write(fd, "x", 1);
    close(fd);
    show("renamed while open");
    fd = open("d/later", O_RDWR);
    unlink("d/later");
    (void)!write(fd, "x", 1);
    close(fd);
    show("removed while open");
    chmod("d", 0700);
    rename("d", "e");
    rmdir("e");
    show("the directory itself");
    close(in);
    group("a directory");
}

static void test_self_and_dir(void)
{
    int fd;
    start();
    mkdir("d", 0755);
    close(make("d/f"));
    CHECK_EQ(inotify_add_watch(in, "d", IN_OPEN | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF), 1);
    CHECK_EQ(inotify_add_watch(in, "d/f", IN_OPEN | IN_ATTRIB | IN_DELETE_SELF), 2);
    close(open("d/f", O_RDONLY));
    show("both watched");
    fd = open("d/f", O_RDONLY);
    unlink("d/f");
    show("unlink while open");
    close(fd);
    show("and closed");
    fd = make("d/x");
    CHECK_EQ(inotify_add_watch(in, "d", IN_ALL_EVENTS | IN_EXCL_UNLINK), 1);
    unlink("d/x");
    (void)!write(fd, "x", 1);
    close(fd);
    show("excl unlink");
    rmdir("d");
    show("rmdir");
    close(in);
    group("both");
}

static void test_modes(void)
{
    int fd = make("f"), n = 0, k;
    start();
    CHECK_EQ(inotify_add_watch(in, "f", IN_MODIFY), 1);
    for (int i = 0; i < 5; i++) {
        (void)!write(fd, "x", 1); // equal ones are one
    }
    CHECK_EQ(ioctl(in, FIONREAD, &n), 0);
    CHECK_EQ(n, 16);
    show("five writes");
    CHECK_EQ(inotify_add_watch(in, "f", IN_ATTRIB | IN_MASK_ADD), 1);
    for (int i = 0; i < 2; i++) {
        (void)!write(fd, "x", 1);
        fchmod(fd, 0600);
    }
    show("mask add");
    CHECK_EQ(inotify_add_watch(in, "f", IN_ATTRIB), 1);
    (void)!write(fd, "x", 1);
    show("mask set");
    CHECK_EQ(inotify_add_watch(in, "f", IN_MODIFY | IN_ONESHOT), 1);
    (void)!write(fd, "x", 1);
    (void)!write(fd, "x", 1);
    show("oneshot");
    symlink("f", "l");
    k = inotify_add_watch(in, "l", IN_ATTRIB | IN_DONT_FOLLOW);
    CHECK_EQ(k, 2);
    fchmod(fd, 0644);
    unlink("l");
    show("a link itself");
    unlink("f");
    close(fd);
    close(in);
    group("modes");
}

static void test_read(void)
{
    char buf[64];
    struct inotify_event *e = (struct inotify_event *)buf;
    struct epoll_event ev = {.events = EPOLLIN}, got;
    int ep = epoll_create1(0);
    start();
    CHECK_EQ(inotify_add_watch(in, ".", IN_CREATE | IN_DELETE), 1);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, in, &ev), 0);
    CHECK_EQ(epoll_wait(ep, &got, 1, 0), 0);
    close(make("name-of-20-bytes...."));
    close(make("s"));
    CHECK_EQ(epoll_wait(ep, &got, 1, 0), 1);
    CHECK_ERR(read(in, buf, 10), EINVAL);
    CHECK_ERR(read(in, buf, 47), EINVAL);
    CHECK_EQ(read(in, buf, 64), 48); // whole ones: the next has 32
    CHECK_EQ(e->len, 32);
    CHECK_EQ(read(in, buf, 64), 32);
    CHECK_EQ(e->len, 16);
    CHECK_EQ(epoll_wait(ep, &got, 1, 0), 0);
    unlink("s");
    CHECK_ERR(read(in, bad_addr, 64), EFAULT);
    CHECK_ERR(read(in, buf, 64), EAGAIN); // it is gone
    unlink("name-of-20-bytes....");
    close(ep);
    close(in);
    group("reading");
}

static void set_limit(const char *name, int to)
{
    char path[100], text[20];
    snprintf(path, sizeof(path), "/proc/sys/fs/inotify/%s", name);
    int fd = open(path, O_RDWR);
    MUST(fd >= 0);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    old_limit = atoi(text);
    snprintf(text, sizeof(text), "%d\n", to);
    MUST(pwrite(fd, text, strlen(text), 0) == (ssize_t)strlen(text));
    close(fd);
}

static void test_limits(void)
{
    int fd = make("f"), many[200], n, was;
    set_limit("max_queued_events", 4);
    was = old_limit;
    CHECK_EQ(was, 16384);
    start();
    set_limit("max_queued_events", was);
    CHECK_EQ(inotify_add_watch(in, "f", IN_MODIFY | IN_ATTRIB), 1);
    close(in);
    set_limit("max_user_instances", 3);
    was = old_limit;
    for (n = 0; n < 200 && (many[n] = inotify_init()) >= 0; n++) {
    }
    CHECK_EQ(errno, EMFILE);
    CHECK(n <= 3);
    while (n > 0) {
        close(many[--n]);
    }
    set_limit("max_user_instances", was);
    start();
    CHECK_EQ(inotify_add_watch(in, "f", IN_MODIFY), 1);
    set_limit("max_user_watches", 1);
    was = old_limit;
    CHECK_EQ(inotify_add_watch(in, "f", IN_MODIFY), 1);
    CHECK_ERR(inotify_add_watch(in, ".", IN_MODIFY), ENOSPC);
    set_limit("max_user_watches", was);
    close(in);
    close(fd);
    unlink("f");
    group("limits");
}

static void test_overflow(void)
{
    static char buf[1 << 20] __attribute__((aligned(8)));
    int fd = make("f"), events = 0, overflows = 0, after = 0;
    ssize_t n;
    start();
    CHECK_EQ(inotify_add_watch(in, "f", IN_MODIFY | IN_ATTRIB), 1);
    for (int i = 0; i < 10000; i++) {
        (void)!write(fd, "x", 1);
        fchmod(fd, 0600);
    }
    while ((n = read(in, buf, sizeof(buf))) > 0) {
        for (char *p = buf; p < buf + n;) {
            struct inotify_event *e = (struct inotify_event *)p;
            events++;
            overflows += (e->mask & IN_Q_OVERFLOW) && e->wd == -1;
            after += overflows && !(e->mask & IN_Q_OVERFLOW);
            p += sizeof(*e) + e->len;
        }
    }
    CHECK_EQ(events, 16385);
    CHECK_EQ(overflows, 1);
    CHECK_EQ(after, 0);
    fchmod(fd, 0600);
    show("after the overflow");
    close(fd);
    unlink("f");
    close(in);
    group("overflow");
}

#define WRITERS 3
#define RING    50

static int ring[WRITERS][RING];
static atomic_int writing;

static void *ring_writer(void *arg)
{
    int *fd = ring[(long)arg];
    for (int i = 0; i < 30000; i++) {
        fchmod(fd[i % RING], 0600);
    }
    writing--;
    return NULL;
}

// Each writer goes round its files, so it can be seen what is missing. With room for one event the
// one after IN_Q_OVERFLOW comes when that has been read, and what is lost behind it is told anew.
static void test_overflow_race(void)
{
    static char buf[4096] __attribute__((aligned(8)));
    int last[WRITERS] = {-1, -1, -1}, silent = 0, was;
    pthread_t t[WRITERS];
    ssize_t n;
    set_limit("max_queued_events", 1);
    was = old_limit;
    start();
    for (int i = 0; i < WRITERS * RING; i++) {
        int fd = make("ring");
        CHECK_EQ(inotify_add_watch(in, "ring", IN_ATTRIB), i + 1);
        unlink("ring");
        ring[i / RING][i % RING] = fd;
    }
    while (read(in, buf, sizeof(buf)) > 0) { // of the unlinks
    }
    writing = WRITERS;
    for (long i = 0; i < WRITERS; i++) {
        MUST(pthread_create(&t[i], NULL, ring_writer, (void *)i) == 0);
    }
    do {
        while ((n = read(in, buf, sizeof(buf))) > 0) {
            for (char *p = buf; p < buf + n; p += sizeof(struct inotify_event)) {
                struct inotify_event *e = (struct inotify_event *)p;
                int w = (e->wd - 1) / RING, k = (e->wd - 1) % RING;
                if (e->mask & IN_Q_OVERFLOW) {
                    memset(last, 0xff, sizeof(last));
                    continue;
                }
                silent += last[w] >= 0 && k != (last[w] + 1) % RING;
                last[w] = k;
            }
        }
    } while (writing);
    CHECK_EQ(silent, 0);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(t[i], NULL);
    }
    set_limit("max_queued_events", was);
    close(in);
    for (int i = 0; i < WRITERS * RING; i++) {
        close(ring[i / RING][i % RING]);
    }
    group("overflow while it is read");
}

static void test_unmount(void)
{
    start();
    mkdir("m", 0755);
    MUST(mount("none", "m", "tmpfs", 0, NULL) == 0);
    close(make("m/f"));
    CHECK_EQ(inotify_add_watch(in, "m/f", IN_OPEN), 1);
    CHECK_EQ(umount("m"), 0);
    show("unmounted");
    rmdir("m");
    close(in);
    group("unmount");
}

static atomic_int stop;

static void *busy(void *arg)
{
    char name[16], other[16];
    snprintf(name, sizeof(name), "r%ld", (long)arg);
    snprintf(other, sizeof(other), "r%ld", (long)arg ^ 1);
    while (!stop) {
        int fd = open(name, O_CREAT | O_RDWR, 0644);
        (void)!write(fd, "x", 1);
        rename(name, other);
        close(fd);
        unlink(other);
    }
    return NULL;
}

// Watches come and go while files do.
static void test_race(void)
{
    static char buf[65536];
    pthread_t t[4];
    for (long i = 0; i < 4; i++) {
        MUST(pthread_create(&t[i], NULL, busy, (void *)i) == 0);
    }
    for (int i = 0; i < 1000; i++) {
        int n = inotify_init1(IN_NONBLOCK), wd[5];
        MUST(n >= 0);
        for (int k = 0; k < 5; k++) {
            char name[16];
            snprintf(name, sizeof(name), "r%d", k);
            wd[k] = inotify_add_watch(n, k == 4 ? "." : name, IN_ALL_EVENTS);
        }
        if (i % 8 == 0) {
            sched_yield(); // on one CPU to four threads, for 10 ms each
        }
        while (read(n, buf, sizeof(buf)) > 0 && i % 2) {
        }
        for (int k = i % 3; k < 5; k++) {
            inotify_rm_watch(n, wd[k]);
        }
        close(n);
    }
    stop = 1;
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        char name[16];
        snprintf(name, sizeof(name), "r%d", i);
        unlink(name);
    }
    group("while files come and go");
}

// Other directories become watched and no longer watched while the one that the file is in is told
// of each event.
static void *watch_others(void *arg)
{
    unsigned seed = (unsigned)(long)arg, wd[8] = {0};
    char name[8];
    int fd = inotify_init1(IN_NONBLOCK);
    MUST(fd >= 0);
    while (!stop) {
        unsigned i = rand_r(&seed) % 8;
        snprintf(name, sizeof(name), "o%u", i);
        if (wd[i]) {
            inotify_rm_watch(fd, (int)wd[i]);
            wd[i] = 0;
        } else {
            wd[i] = (unsigned)inotify_add_watch(fd, name, IN_CREATE);
        }
    }
    close(fd);
    return NULL;
}

static void test_search(void)
{
    pthread_t t[2];
    char name[8], buf[4096] __attribute__((aligned(8)));
    struct inotify_event *e = (struct inotify_event *)buf;
    int wrong = 0;
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "o%d", i);
        MUST(mkdir(name, 0755) == 0);
    }
    MUST(mkdir("keep", 0755) == 0);
    close(make("keep/f"));
    stop = 0;
    for (long i = 0; i < 2; i++) {
        MUST(pthread_create(&t[i], NULL, watch_others, (void *)(i + 1)) == 0);
    }
    usleep(10000); // so that others come before it in any list
    start();
    CHECK_EQ(inotify_add_watch(in, "keep", IN_ATTRIB), 1);
    for (int i = 0; i < 1000; i++) {
        chmod("keep/f", 0600);
        ssize_t n = read(in, buf, sizeof(buf));
        wrong += n != sizeof(*e) + 16 || e->wd != 1 || e->mask != IN_ATTRIB || strcmp(e->name, "f");
    }
    CHECK_EQ(wrong, 0);
    stop = 1;
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
    }
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "o%d", i);
        rmdir(name);
    }
    unlink("keep/f");
    rmdir("keep");
    close(in);
    group("search");
}

int main(void)
{
    MUST(mkdir(TOP, 0755) == 0);
    MUST(mount("none", TOP, "tmpfs", 0, NULL) == 0);
    MUST(chdir(TOP) == 0);
    test_arguments();
    test_file();
    test_dir();
    test_self_and_dir();
    test_modes();
    test_read();
    test_limits();
    test_overflow();
    test_overflow_race();
    test_unmount();
    test_race();
    test_search();
    MUST(chdir("/") == 0);
    CHECK_EQ(umount(TOP), 0);
    return finish();
}
