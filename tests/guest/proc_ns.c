// TEST: smp=1 scheme=rcu linux=same
/*
 * getdents, the older of two; /proc/PID/ns, /proc/net/unix. Prints what it sees, which must be what
 * Linux says.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

struct old_dirent {
    unsigned long ino, off;
    unsigned short reclen;
    char name[];
};

// Out of the compiler's sight.
static void *volatile bad_addr = (void *)8;

static void test_getdents(void)
{
#ifdef SYS_getdents
    static char buf[2000] __attribute__((aligned(8)));
    char dir[] = "/tmp/getdents.XXXXXX", name[64];
    int fd, seen = 0, types = 0, calls = 0;
    unsigned long offs = 0;
    long n;
    MUST(mkdtemp(dir) && chdir(dir) == 0);
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "%.*s", i + 1,
                 "a-name-that-is-longer-than-most-and-shorter-than-some");
        close(open(name, O_CREAT | O_WRONLY, 0644));
    }
    MUST(mkdir("Dir", 0755) == 0 && symlink("x", "Link") == 0);
    fd = open(".", O_RDONLY | O_DIRECTORY);
    while ((n = syscall(SYS_getdents, fd, buf, sizeof(buf))) > 0) {
        calls++;
        for (char *p = buf; p < buf + n;) {
            struct old_dirent *d = (struct old_dirent *)p;
            int type = p[d->reclen - 1];
            struct stat st;
            CHECK_EQ(d->reclen % 8, 0);
            CHECK_EQ(fstatat(fd, d->name, &st, AT_SYMLINK_NOFOLLOW), 0);
            CHECK_EQ(type, IFTODT(st.st_mode));
            CHECK(strcmp(d->name, "..") == 0 || d->ino == st.st_ino);
            seen++;
            types += type;
            offs |= d->off;
            p += d->reclen;
        }
    }
    CHECK_EQ(n, 0);
    CHECK_EQ(seen, 54);
    CHECK_EQ(types, 50 * DT_REG + 3 * DT_DIR + DT_LNK);
    CHECK(calls > 1 && offs != 0);
    lseek(fd, 0, SEEK_SET);
    CHECK_ERR(syscall(SYS_getdents, fd, buf, 8), EINVAL);
    CHECK_ERR(syscall(SYS_getdents, fd, bad_addr, 1000), EFAULT);
    CHECK_ERR(syscall(SYS_getdents, 99, buf, 1000), EBADF);
    CHECK_ERR(syscall(SYS_getdents, 0, buf, 1000), ENOTDIR);
    close(fd);
#endif
    group("getdents");
}

static void test_ns(void)
{
    static const char *const names[] = {
        "cgroup",           "ipc",  "mnt",  "net", "pid",
        "pid_for_children", "time", "user", "uts", "time_for_children"};
    char path[64], mine[64], its[64];
    unsigned long number;
    struct stat st, st1;
    pid_t child = fork();
    if (child == 0) {
        pause();
    }
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
        ssize_t n = readlink(path, mine, sizeof(mine) - 1);
        CHECK(n > 0);
        mine[n > 0 ? n : 0] = '\0';
        char *bracket = strchr(mine, '[');
        CHECK(bracket && sscanf(bracket, "[%lu]", &number) == 1);
        CHECK_EQ(stat(path, &st), 0);
        CHECK_EQ(st.st_ino, number);
        CHECK(S_ISREG(st.st_mode));
        int fd = open(path, O_RDONLY);
        CHECK(fd >= 0 && fstat(fd, &st1) == 0 && st1.st_ino == number && st1.st_dev == st.st_dev);
        close(fd);
        snprintf(path, sizeof(path), "/proc/%d/ns/%s", child, names[i]);
        n = readlink(path, its, sizeof(its) - 1);
        its[n > 0 ? n : 0] = '\0';
        CHECK_EQ(strcmp(mine, its), 0);
        printf("%.*s\n", (int)(bracket - mine), mine);
    }
    kill(child, 9);
    waitpid(child, NULL, 0);
    CHECK_ERR(readlink("/proc/self/ns/none", its, sizeof(its)), ENOENT);
    group("ns");
}

// The line of a socket, found by its inode.
static int socket_line(int fd, char *flags, char *type, char *state, char *path)
{
    char line[512];
    struct stat st;
    FILE *f = fopen("/proc/net/unix", "r");
    int n = 0;
    MUST(f != NULL && fstat(fd, &st) == 0);
    while (fgets(line, sizeof(line), f)) {
        unsigned long ino;
        char fl[16], ty[16], sta[16], pa[256] = "";
        if (sscanf(line, "%*s %*s %*s %15s %15s %15s %lu %255s", fl, ty, sta, &ino, pa) >= 4 &&
            ino == st.st_ino) {
            n++;
            strcpy(flags, fl);
            strcpy(type, ty);
            strcpy(state, sta);
            strcpy(path, pa);
        }
    }
    fclose(f);
    return n;
}

static void show_socket(const char *what, int fd)
{
    char flags[16], type[16], state[16], path[256];
    CHECK_EQ(socket_line(fd, flags, type, state, path), 1);
    printf("%s: %s %s %s %s\n", what, flags, type, state, path);
}

static void test_net(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "/tmp/proc_net.sock"};
    struct sockaddr_un abstract = {.sun_family = AF_UNIX, .sun_path = "\0proc-net"};
    char link[64], a[16], b[16], c[16], d[256];
    int s = socket(AF_UNIX, SOCK_STREAM, 0), p[2], q, g;
    ssize_t n = readlink("/proc/net", link, sizeof(link) - 1);
    link[n > 0 ? n : 0] = '\0';
    CHECK_EQ(strcmp(link, "self/net"), 0);
    show_socket("new", s);
    unlink(name.sun_path);
    CHECK_EQ(bind(s, (struct sockaddr *)&name, sizeof(name)), 0);
    show_socket("bound", s);
    CHECK_EQ(listen(s, 5), 0);
    show_socket("listening", s);
    q = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_EQ(connect(q, (struct sockaddr *)&name, sizeof(name)), 0);
    show_socket("connected", q);
    int t = accept(s, NULL, NULL);
    show_socket("accepted", t);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p), 0);
    show_socket("pair", p[1]);
    g = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK_EQ(bind(g, (struct sockaddr *)&abstract, sizeof(sa_family_t) + 9), 0);
    show_socket("abstract", g);
    close(t), close(q), close(s), close(g), close(p[0]), close(p[1]);
    s = open("/proc/net/unix", O_WRONLY);
    CHECK(s < 0);
    s = dup(0);
    CHECK_EQ(socket_line(s, a, b, c, d), 0);
    close(s);
    unlink(name.sun_path);
    group("net/unix");
}

int main(void)
{
    test_getdents();
    test_ns();
    test_net();
    return finish();
}
