// TEST: smp=1,4 scheme=rcu linux=same timeout=60
// Unix sockets where something is full: no descriptor for a connection, too many descriptors under
// way, buffers of empty packets, and room that SO_SNDBUF makes.
#define _GNU_SOURCE
#include "proc_test.h"
#include <pthread.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0full"};
#define NAME_LEN (offsetof(struct sockaddr_un, sun_path) + 5)

static void nofile(rlim_t n)
{
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = n;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &r), 0);
}

static void connection_kept(void)
{
    char c;
    int l = socket(AF_UNIX, SOCK_STREAM, 0), a = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_EQ(bind(l, (void *)&name, NAME_LEN), 0);
    CHECK_EQ(listen(l, 5), 0);
    CHECK_EQ(connect(a, (void *)&name, NAME_LEN), 0);
    CHECK_EQ(write(a, "!", 1), 1);
    int top = dup(0);
    nofile((rlim_t)top + 1);
    CHECK_ERR(dup(0), EMFILE);
    CHECK_ERR(accept(l, NULL, NULL), EMFILE);
    CHECK_ERR(accept4(l, NULL, NULL, SOCK_CLOEXEC), EMFILE);
    close(top);
    int fd = accept4(l, NULL, NULL, SOCK_CLOEXEC); // it is still there
    CHECK_EQ(fd, top);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(read(fd, &c, 1), 1);
    close(fd);
    // What fails leaves the descriptor free.
    CHECK_EQ(fcntl(l, F_SETFL, O_NONBLOCK), 0);
    CHECK_ERR(accept(l, NULL, NULL), EAGAIN);
    CHECK_ERR(accept(0, NULL, NULL), ENOTSOCK);
    CHECK_EQ(dup(0), top);
    close(top);
    nofile(1024);
    close(a);
    close(l);
    group("accept without a free descriptor");
}

static void *accept_one(void *arg)
{
    return (void *)(long)accept((int)(long)arg, NULL, NULL);
}

// A descriptor that accept keeps for later is nobody else's, and no file.
static void others_beside_accept(void)
{
    pthread_t t;
    void *got;
    int l = socket(AF_UNIX, SOCK_STREAM, 0), a = socket(AF_UNIX, SOCK_STREAM, 0), n = 0;
    CHECK_EQ(bind(l, (void *)&name, NAME_LEN), 0);
    CHECK_EQ(listen(l, 5), 0);
    int first = dup(0);
    close(first);
    MUST(pthread_create(&t, NULL, accept_one, (void *)(long)l) == 0);
    do { // until it has one
        usleep(1000);
        int fd = dup(0);
        n = fd != first;
        CHECK_ERR(fd != first ? fcntl(first, F_GETFD) : -1, fd != first ? EBADF : errno);
        close(fd);
    } while (!n);
    CHECK_ERR(close(first), EBADF);
    CHECK_ERR(dup2(0, first), EBUSY);
    close(dup(0)); // the next search begins behind it
    pid_t pid = fork();
    if (pid == 0) { // in the child it is free
        _exit(dup(0) == first ? 0 : 1);
    }
    exits_with(pid, 0);
    for (int i = 0; i < 300; i++) { // the table grows
        CHECK(dup(0) > first);
    }
    CHECK_ERR(close(first), EBADF); // the search begins there again
    CHECK(dup(0) > first);
    CHECK_EQ(connect(a, (void *)&name, NAME_LEN), 0);
    pthread_join(t, &got);
    CHECK_EQ((long)got, first);
    CHECK_EQ(fcntl(first, F_GETFD), 0);
    for (int fd = first; fd < first + 310; fd++) {
        close(fd);
    }
    close(a);
    close(l);
    group("what others do while accept waits");
}

static int send_fds(int s, int fd, int nr)
{
    char byte = 'x', control[CMSG_SPACE(64 * sizeof(int))] = {0};
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = CMSG_SPACE((size_t)nr * sizeof(int))};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN((size_t)nr * sizeof(int));
    for (int i = 0; i < nr; i++) {
        memcpy(CMSG_DATA(h) + (size_t)i * sizeof(int), &fd, sizeof(fd));
    }
    return (int)sendmsg(s, &m, MSG_DONTWAIT);
}

#define LIMIT 40

static int send_many(void *arg)
{
    int s[2], t[2];
    char byte;
    (void)arg;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 &&
         socketpair(AF_UNIX, SOCK_STREAM, 0, t) == 0);
    CHECK_EQ(setresuid(4711, 4711, 4711), 0);
    nofile(LIMIT);
    // One message may go beyond it: 41 are under way then.
    for (int i = 0; i < LIMIT; i++) {
        CHECK_EQ(send_fds(s[0], 0, 1), 1);
    }
    CHECK_EQ(send_fds(s[0], 0, 1), 1);
    CHECK_ERR(send_fds(s[0], 0, 1), ETOOMANYREFS);
    CHECK_ERR(send_fds(t[0], 0, 1), ETOOMANYREFS);
    CHECK_ERR(send_fds(s[0], 99, 1), EBADF);
    CHECK_EQ(write(s[0], "y", 1), 1);
    pid_t pid = fork();
    if (pid == 0) { // the user's, not the process's
        CHECK_ERR(send_fds(t[0], 0, 1), ETOOMANYREFS);
        _exit(finish());
    }
    exits_with(pid, 0);
    CHECK_EQ(recv(s[1], &byte, 1, 0), 1); // its files go with it
    CHECK_EQ(send_fds(t[0], 0, 30), 1);
    CHECK_ERR(send_fds(t[0], 0, 1), ETOOMANYREFS);
    close(s[0]);
    close(s[1]);
    for (int i = 0; i < 5000 && send_fds(t[0], 0, 1) != 1;
         i++) { // a moment later, on either kernel
        usleep(1000);
    }
    CHECK_EQ(send_fds(t[0], 0, 1), 1);
    return finish();
}

static void under_way(void)
{
    int s[2];
    exits_with(child_run(send_many, NULL), 0);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    nofile(LIMIT);
    for (int i = 0; i < LIMIT + 20; i++) { // root may
        CHECK_EQ(send_fds(s[0], 0, 1), 1);
    }
    nofile(1024);
    close(s[0]);
    close(s[1]);
    group("descriptors under way");
}

static void empty_packets(void)
{
    const int types[] = {SOCK_SEQPACKET, SOCK_DGRAM};
    for (int k = 0; k < 2; k++) {
        int s[2], n = 0, got = 0;
        char c;
        MUST(socketpair(AF_UNIX, types[k], 0, s) == 0);
        CHECK_ERR(recv(s[1], &c, 1, MSG_DONTWAIT), EAGAIN);
        while (send(s[0], &c, 0, MSG_DONTWAIT) == 0) {
            n++;
        }
        CHECK_EQ(errno, EAGAIN);
        CHECK(n > 0 && n < 100000);
        while (recv(s[1], &c, 1, MSG_DONTWAIT) == 0) {
            got++;
        }
        CHECK_EQ(errno, EAGAIN);
        CHECK_EQ(got, n);
        close(s[0]);
        close(s[1]);
    }
    group("empty packets");
}

static void *send_one(void *arg)
{
    char big[1000] = "";
    return (void *)send((int)(long)arg, big, sizeof(big), 0);
}

static void more_room(void)
{
    const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
    for (int k = 0; k < 3; k++) {
        int s[2], size = 1, n = 0;
        char big[1000] = "";
        void *sent;
        pthread_t t;
        MUST(socketpair(AF_UNIX, types[k], 0, s) == 0);
        CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
        while (send(s[0], big, sizeof(big), MSG_DONTWAIT) > 0) {
            n++;
        }
        CHECK(n > 0 && n < 10);
        MUST(pthread_create(&t, NULL, send_one, (void *)(long)s[0]) == 0);
        usleep(50000); // so that it waits
        size = 100000;
        CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
        pthread_join(t, &sent);
        CHECK_EQ((long)sent, sizeof(big));
        close(s[0]);
        close(s[1]);
    }
    group("SO_SNDBUF makes room");
}

// An address of no length is none: to whom the socket is connected.
static void no_address(void)
{
    int s[2];
    char c;
    struct mmsghdr m[2];
    struct iovec v = {&c, 1};
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
    CHECK_EQ(sendto(s[0], "x", 1, 0, (void *)&name, 0), 1);
    CHECK_EQ(recv(s[1], &c, 1, 0), 1);
    CHECK_ERR(sendto(s[0], "x", 1, 0, (void *)&name, (socklen_t)-1), EINVAL);
    struct msghdr none = {.msg_name = &name, .msg_iov = &v, .msg_iovlen = 1};
    CHECK_EQ(sendmsg(s[0], &none, 0), 1);
    int lone = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK_ERR(sendto(lone, "x", 1, 0, (void *)&name, 0), ENOTCONN);
    close(lone);
    memset(m, 0, sizeof(m));
    m[0].msg_hdr = m[1].msg_hdr = none;
    CHECK_EQ(recvmmsg(s[1], m, 2, MSG_WAITFORONE, &(struct timespec){100, 0}), 1);
    CHECK_ERR(recvmmsg(s[1], m, 2, MSG_DONTWAIT, &(struct timespec){0, 1000000000}), EINVAL);
    CHECK_ERR(recvmmsg(s[1], m, 2, MSG_DONTWAIT, NULL), EAGAIN);
    CHECK_EQ(sendmmsg(s[0], m, 0, 0), 0);
    close(s[0]);
    close(s[1]);
    group("messages without an address");
}

int main(void)
{
    connection_kept();
    others_beside_accept();
    under_way();
    empty_packets();
    more_room();
    no_address();
    return finish();
}
