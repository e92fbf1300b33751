// TEST: smp=2 scheme=rcu linux=same
// SCM_CREDENTIALS: who may say that a message is whose. A line has for each user the errno of each
// claim; what is allowed arrives as it was said. And who says nothing is its real user, while who
// connects is its effective one, also while another thread changes it. And the options that are not
// for everybody.
#define _GNU_SOURCE
#include "perm_test.h"
#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct who users[] = {
    {"root", 0, 0, 0, 0, -1, ALL_CAPS},
    {"root without", 0, 0, 0, 0, -1, 0},
    {"user", 1000, 1001, 1002, 1000, -1, 0},
    {"admin", 1000, 1000, 1000, 1000, -1, 1ull << CAP_SYS_ADMIN},
    {"setuid", 1000, 1000, 1000, 1000, -1, 1ull << CAP_SETUID},
    {"net", 1000, 1000, 1000, 1000, -1, 1ull << CAP_NET_ADMIN},
    {"setgid", 1000, 1000, 1000, 1000, -1, 1ull << CAP_SETGID},
};

enum { MINE, PARENT, NOBODY };
static const struct {
    int whose;
    uid_t uid;
    gid_t gid;
} claims[] = {{MINE, 0, 0},       {MINE, 1000, 1000},   {MINE, 1001, 1000},  {MINE, 1002, 1000},
              {MINE, 1003, 1000}, {MINE, 1000, 0},      {PARENT, 0, 0},      {PARENT, 1000, 1000},
              {NOBODY, 0, 0},     {NOBODY, 1000, 1000}, {MINE, -1u, 1000},   {MINE, 1000, -1u},
              {MINE, 0, 1000},    {PARENT, 1000, 0},    {PARENT, 1003, 1000}};
#define NR_CLAIMS (int)(sizeof(claims) / sizeof(claims[0]))

union control {
    struct cmsghdr h;
    char room[CMSG_SPACE(sizeof(struct ucred))];
};

static int claim(int *pair, const struct ucred *u)
{
    union control c = {.h = {CMSG_LEN(sizeof(*u)), SOL_SOCKET, SCM_CREDENTIALS}}, got;
    struct iovec v = {(char[1]){'x'}, 1};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)};
    memcpy(CMSG_DATA(&c.h), u, sizeof(*u));
    if (sendmsg(pair[0], &m, 0) < 0) {
        return errno;
    }
    m.msg_control = &got;
    m.msg_controllen = sizeof(got);
    CHECK_EQ(recvmsg(pair[1], &m, 0), 1);
    CHECK_EQ(m.msg_controllen, sizeof(got));
    CHECK_EQ(got.h.cmsg_type, SCM_CREDENTIALS);
    CHECK(memcmp(CMSG_DATA(&got.h), u, sizeof(*u)) == 0);
    return 0;
}

static int claims_of(void *arg)
{
    const struct who *w = arg;
    int pair[2], on = 1;
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    MUST(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0);
    become(w);
    printf("%s:", w->name);
    for (int i = 0; i < NR_CLAIMS; i++) {
        struct ucred u = {claims[i].whose == MINE     ? getpid()
                          : claims[i].whose == PARENT ? getppid()
                                                      : 4194303,
                          claims[i].uid, claims[i].gid};
        printf(" %d", claim(pair, &u));
    }
    printf("\n");
    fflush(stdout);
    return 0;
}

static int options_of(void *arg)
{
    static const struct {
        int option, v;
    } o[] = {{SO_SNDBUFFORCE, 9000}, {SO_RCVBUFFORCE, 9000}, {SO_SNDBUF, 9000}, {SO_PRIORITY, 6},
             {SO_PRIORITY, 7},       {SO_PRIORITY, -1},      {SO_DEBUG, 0},     {SO_DEBUG, 1}};
    const struct who *w = arg;
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    become(w);
    printf("%s, options:", w->name);
    for (unsigned i = 0; i < sizeof(o) / sizeof(o[0]); i++) {
        printf(" %d", result(setsockopt(s, SOL_SOCKET, o[i].option, &o[i].v, sizeof(o[i].v))));
    }
    printf("\n");
    fflush(stdout);
    return 0;
}

// 'm': by sendmsg; 'w': by write.
static void told(int type, int how)
{
    int pair[2], on = 1;
    union control got;
    char byte;
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    MUST(socketpair(AF_UNIX, type, 0, pair) == 0);
    MUST(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0);
    CHECK_EQ(how == 'm' ? sendmsg(pair[0], &m, 0) : write(pair[0], "x", 1), 1);
    m.msg_control = &got;
    m.msg_controllen = sizeof(got);
    CHECK_EQ(recvmsg(pair[1], &m, 0), 1);
    struct ucred u;
    memcpy(&u, CMSG_DATA(&got.h), sizeof(u));
    printf(" %d %d %d,", u.pid == getpid(), u.uid, u.gid);
    close(pair[0]);
    close(pair[1]);
}

static int silent(void *arg)
{
    struct ucred u;
    socklen_t n = sizeof(u);
    int pair[2];
    MUST(setresgid(1000, 1001, 1002) == 0);
    MUST(setresuid(1000, 1001, 1002) == 0);
    printf("told:");
    told(SOCK_STREAM, 'm');
    told(SOCK_STREAM, 'w');
    told(SOCK_DGRAM, 'm');
    told(SOCK_SEQPACKET, 'w');
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK_EQ(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &u, &n), 0);
    printf(" peer %d %d %d\n", u.pid == getpid(), u.uid, u.gid);
    fflush(stdout);
    (void)arg;
    return 0;
}

static atomic_int stop;

// Root's numbers and others, back and forth, but never user 1001 with group 0. By the calls
// themselves, which on Linux are about this thread only.
static void *changer(void *arg)
{
    while (!stop) {
        CHECK_EQ(syscall(SYS_setresgid, -1, 1001, -1), 0);
        CHECK_EQ(syscall(SYS_setresuid, 1000, 1001, -1), 0);
        CHECK_EQ(syscall(SYS_setresuid, 0, 0, -1), 0);
        CHECK_EQ(syscall(SYS_setresgid, -1, 0, -1), 0);
    }
    return arg;
}

static int peer_possible(int s)
{
    struct ucred u;
    socklen_t n = sizeof(u);
    CHECK_EQ(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &u, &n), 0);
    return u.uid == 0 || (u.uid == 1001 && u.gid == 1001);
}

// A file in a message is charged to the user.
static void send_file(int *pair)
{
    union control c = {.h = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec v = {(char[1]){'x'}, 1};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = &c,
                       .msg_controllen = CMSG_SPACE(sizeof(int))};
    memcpy(CMSG_DATA(&c.h), &pair[0], sizeof(int));
    CHECK_EQ(sendmsg(pair[0], &m, 0), 1);
}

static void while_changing(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0changing"};
    socklen_t len = offsetof(struct sockaddr_un, sun_path) + 9;
    int pair[2], l = socket(AF_UNIX, SOCK_STREAM, 0), wrong = 0;
    pthread_t t;
    MUST(bind(l, (void *)&name, len) == 0);
    MUST(pthread_create(&t, NULL, changer, NULL) == 0);
    for (int i = 0; i < 800; i++) {
        MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        wrong += !peer_possible(pair[0]);
        send_file(pair);
        close(pair[0]);
        close(pair[1]);
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        MUST(listen(l, 1) == 0 && connect(s, (void *)&name, len) == 0);
        int a = accept(l, NULL, NULL);
        wrong += !peer_possible(s) || !peer_possible(a);
        close(a);
        close(s);
    }
    stop = 1;
    pthread_join(t, NULL);
    close(l);
    CHECK_EQ(wrong, 0);
    group("who changes meanwhile");
}

int main(void)
{
    for (unsigned i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
        fflush(stdout);
        CHECK_EQ(child_wait(child_run(claims_of, &users[i])), 0);
        CHECK_EQ(child_wait(child_run(options_of, &users[i])), 0);
    }
    group("claims and options");
    fflush(stdout);
    CHECK_EQ(child_wait(child_run(silent, NULL)), 0);
    group("who says nothing");
    while_changing();
    return finish();
}
