// TEST: smp=1,2,4 scheme=rcu linux=same
/*
 * Unix sockets: streams, datagrams and packets, names, credentials, files in messages, and the
 * circles these make. Prints what it sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static void *volatile bad_addr = (void *)8;

static socklen_t address(struct sockaddr_un *sa, const char *path, size_t len)
{
    memset(sa, 0, sizeof(*sa));
    sa->sun_family = AF_UNIX;
    memcpy(sa->sun_path, path, len);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static short events_of(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    CHECK(poll(&p, 1, 0) >= 0);
    return p.revents;
}

static void test_families(void)
{
    CHECK_ERR(socket(AF_UNIX, 99, 0), EINVAL);
    CHECK_ERR(socket(AF_UNIX, 7, 0), ESOCKTNOSUPPORT);
    CHECK_ERR(socket(AF_UNIX, SOCK_STREAM, 7), EPROTONOSUPPORT);
    CHECK_ERR(socket(99, SOCK_STREAM, 0), EAFNOSUPPORT);
    CHECK_ERR(bind(0, NULL, 0), ENOTSOCK);
    CHECK_ERR(listen(999, 0), EBADF);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    CHECK(fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode));
    CHECK_EQ(events_of(fd), POLLOUT | POLLHUP);
    CHECK_ERR(listen(fd, 1), EINVAL);
    CHECK_ERR(send(fd, "x", 1, 0), ENOTCONN);
    CHECK_ERR(recv(fd, &st, 1, 0), EINVAL);
    CHECK_ERR(accept(fd, NULL, NULL), EINVAL);
    CHECK_ERR(lseek(fd, 0, SEEK_SET), ESPIPE);
    close(fd);
    group("socket");
}

static void test_stream_pair(void)
{
    int s[2];
    char buf[100];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    CHECK_EQ(events_of(s[0]), POLLOUT);
    CHECK_EQ(write(s[0], "hello", 5), 5);
    CHECK_EQ(write(s[0], "world", 5), 5);
    CHECK_EQ(events_of(s[1]), POLLIN | POLLOUT);
    int n;
    CHECK(ioctl(s[1], FIONREAD, &n) == 0 && n == 10);
    CHECK_EQ(recv(s[1], buf, 3, MSG_PEEK), 3);
    CHECK_EQ(recv(s[1], buf, sizeof(buf), MSG_PEEK), 10);
    CHECK_EQ(read(s[1], buf, 7), 7);
    CHECK(memcmp(buf, "hellowo", 7) == 0);
    struct iovec v[2] = {{buf, 1}, {buf + 10, 50}};
    CHECK_EQ(readv(s[1], v, 2), 3);
    CHECK(buf[0] == 'r' && buf[10] == 'l' && buf[11] == 'd');
    CHECK_ERR(recv(s[1], buf, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_ERR(send(s[0], bad_addr, 1, 0), EFAULT);
    CHECK_EQ(write(s[1], "x", 1), 1);
    CHECK_ERR(recv(s[0], bad_addr, 1, 0), EFAULT);
    CHECK_EQ(recv(s[0], buf, 1, 0), 1); // not lost
    CHECK_EQ(shutdown(s[0], SHUT_WR), 0);
    CHECK_EQ(read(s[1], buf, 1), 0);
    CHECK_EQ(events_of(s[1]), POLLIN | POLLOUT | POLLRDHUP);
    CHECK_EQ(write(s[1], "back", 4), 4);
    CHECK_EQ(read(s[0], buf, 10), 4);
    CHECK_ERR(send(s[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(events_of(s[0]), POLLOUT);
    close(s[1]);
    CHECK_EQ(events_of(s[0]), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    close(s[0]);

    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    CHECK_EQ(write(s[0], "left", 4), 4);
    close(s[1]); // with bytes unread
    CHECK_EQ(events_of(s[0]), POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR);
    CHECK_ERR(recv(s[0], buf, 1, 0), ECONNRESET);
    CHECK_EQ(recv(s[0], buf, 1, 0), 0);
    signal(SIGPIPE, SIG_IGN);
    CHECK_ERR(write(s[0], "x", 1), EPIPE);
    close(s[0]);
    group("a pair of streams");
}

#define TOTAL (3u << 20)

static void *stream_writer(void *arg)
{
    static uint8_t buf[50000];
    int fd = *(int *)arg;
    for (unsigned sent = 0; sent < TOTAL;) {
        size_t n = 1 + sent % sizeof(buf);
        n = n > TOTAL - sent ? TOTAL - sent : n;
        for (size_t i = 0; i < n; i++) {
            buf[i] = (uint8_t)((sent + i) * 13 >> 3);
        }
        CHECK_EQ(send(fd, buf, n, 0), n);
        sent += (unsigned)n;
    }
    shutdown(fd, SHUT_WR);
    return NULL;
}

static void test_stream_bytes(void)
{
    int s[2];
    pthread_t t;
    static uint8_t buf[33333];
    unsigned got = 0, wrong = 0;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    MUST(pthread_create(&t, NULL, stream_writer, &s[0]) == 0);
    for (int round = 0;; round++) {
        ssize_t n = recv(s[1], buf, sizeof(buf), round & 1 ? MSG_WAITALL : 0);
        CHECK(n >= 0);
        CHECK(!(round & 1) || n == (ssize_t)sizeof(buf) || got + n == TOTAL);
        if (n <= 0) {
            break;
        }
        for (ssize_t i = 0; i < n; i++) {
            wrong += buf[i] != (uint8_t)((got + (unsigned)i) * 13 >> 3);
        }
        got += (unsigned)n;
    }
    CHECK_EQ(got, TOTAL);
    CHECK_EQ(wrong, 0);
    pthread_join(t, NULL);
    close(s[0]);
    close(s[1]);
    group("every byte in order");
}

static void test_names(void)
{
    struct sockaddr_un sa, got;
    socklen_t len = address(&sa, "/tmp/unix_sock.test", 20), n;
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), a;
    char buf[16];
    unlink("/tmp/unix_sock.test");
    CHECK_ERR(connect(c, (void *)&sa, len), ENOENT);
    CHECK_EQ(bind(l, (void *)&sa, len), 0);
    struct sockaddr_un other;
    socklen_t other_len = address(&other, "/tmp/unix_sock.other", 21);
    CHECK_ERR(bind(l, (void *)&other, other_len), EINVAL);
    CHECK_ERR(unlink("/tmp/unix_sock.other"), ENOENT);
    CHECK_ERR(bind(c, (void *)&sa, len), EADDRINUSE);
    CHECK_ERR(bind(c, (void *)&sa, 200), EINVAL);
    CHECK_ERR(bind(c, (void *)&sa, 1), EINVAL);
    CHECK_ERR(open("/tmp/unix_sock.test", O_RDWR), ENXIO);
    CHECK_ERR(connect(c, (void *)&sa, len), ECONNREFUSED); // it does not listen
    n = sizeof(got);
    CHECK_EQ(getsockname(l, (void *)&got, &n), 0);
    CHECK_EQ(n, len);
    CHECK(strcmp(got.sun_path, "/tmp/unix_sock.test") == 0);
    n = sizeof(got);
    CHECK_EQ(getsockname(c, (void *)&got, &n), 0);
    CHECK_EQ(n, sizeof(sa_family_t));
    CHECK_EQ(listen(l, 0), 0);
    CHECK_EQ(events_of(l), 0);
    int d = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK_ERR(connect(d, (void *)&sa, len), EPROTOTYPE);
    close(d);
    CHECK_EQ(connect(c, (void *)&sa, len), 0);
    CHECK_EQ(write(c, "early", 5), 5); // before anybody accepts
    CHECK_EQ(events_of(l), POLLIN);
    int c2 = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK_ERR(connect(c2, (void *)&sa, len), EAGAIN); // no room
    n = sizeof(got);
    a = accept4(l, (void *)&got, &n, SOCK_CLOEXEC);
    CHECK(a >= 0 && n == sizeof(sa_family_t));
    CHECK_ERR(connect(c, (void *)&sa, len), EISCONN);
    CHECK_EQ(connect(c2, (void *)&sa, len), 0);
    CHECK_EQ(read(a, buf, sizeof(buf)), 5);
    n = sizeof(got);
    CHECK_EQ(getpeername(c, (void *)&got, &n), 0);
    CHECK(n == len && strcmp(got.sun_path, "/tmp/unix_sock.test") == 0);
    n = sizeof(got);
    CHECK_ERR(getpeername(l, (void *)&got, &n), ENOTCONN);
    struct ucred cr;
    n = sizeof(cr);
    CHECK_EQ(getsockopt(c, SOL_SOCKET, SO_PEERCRED, &cr, &n), 0);
    CHECK(cr.pid == getpid() && cr.uid == 0 && n == sizeof(cr));
    close(l); // with c2 not accepted
    CHECK_ERR(read(c2, buf, 1), ECONNRESET);
    CHECK_EQ(unlink("/tmp/unix_sock.test"), 0);
    close(a);
    CHECK_EQ(read(c, buf, 1), 0);
    close(c);
    close(c2);
    group("names of files");
}

static void test_abstract(void)
{
    struct sockaddr_un sa, got;
    socklen_t len = address(&sa, "\0unix\0sock", 10), n = sizeof(got);
    int l = socket(AF_UNIX, SOCK_SEQPACKET, 0), c = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    CHECK_ERR(connect(c, (void *)&sa, len), ECONNREFUSED);
    CHECK_EQ(bind(l, (void *)&sa, len), 0);
    CHECK_EQ(getsockname(l, (void *)&got, &n), 0);
    CHECK(n == len && memcmp(got.sun_path, "\0unix\0sock", 10) == 0);
    CHECK_EQ(listen(l, 5), 0);
    CHECK_EQ(connect(c, (void *)&sa, len), 0);
    int a = accept(l, NULL, NULL);
    char buf[16];
    struct iovec v = {buf, sizeof(buf)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    CHECK_EQ(send(c, "one", 3, 0), 3);
    CHECK_EQ(send(c, "second", 6, 0), 6);
    CHECK_EQ(recvmsg(a, &m, 0), 3);
    CHECK_EQ(m.msg_flags, 0);
    CHECK_EQ(recv(a, buf, 2, MSG_TRUNC), 6);
    CHECK_EQ(send(c, "", 0, 0), 0);
    CHECK_EQ(recv(a, buf, 2, MSG_DONTWAIT), 0);
    close(c);
    CHECK_EQ(recv(a, buf, 2, 0), 0);
    close(a);
    close(l);
    c = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    CHECK_ERR(connect(c, (void *)&sa, len), ECONNREFUSED);  // the name went with the socket
    CHECK_EQ(bind(c, (void *)&sa, sizeof(sa_family_t)), 0); // any name
    n = sizeof(got);
    CHECK(getsockname(c, (void *)&got, &n) == 0 && n == 8 && got.sun_path[0] == 0);
    close(c);
    group("abstract names, packets");
}

static void test_dgram(void)
{
    struct sockaddr_un sa, sb, got;
    socklen_t la = address(&sa, "\0dg-a", 5), lb = address(&sb, "\0dg-b", 5), n = sizeof(got);
    int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
    int c = socket(AF_UNIX, SOCK_DGRAM, 0), i;
    char buf[64], big[4000] = "";
    CHECK_EQ(bind(a, (void *)&sa, la), 0);
    CHECK_EQ(bind(b, (void *)&sb, lb), 0);
    CHECK_ERR(send(a, "x", 1, 0), ENOTCONN);
    CHECK_EQ(sendto(a, "from a", 6, 0, (void *)&sb, lb), 6);
    CHECK_EQ(sendto(c, big, sizeof(big), 0, (void *)&sb, lb), sizeof(big));
    CHECK_EQ(recvfrom(b, buf, sizeof(buf), 0, (void *)&got, &n), 6);
    CHECK(n == la && memcmp(&got, &sa, la) == 0);
    struct iovec v = {buf, sizeof(buf)};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_name = &got, .msg_namelen = sizeof(got)};
    CHECK_EQ(recvmsg(b, &m, 0), sizeof(buf));
    CHECK_EQ(m.msg_flags, MSG_TRUNC);
    CHECK_EQ(m.msg_namelen, 0); // it has no name
    CHECK_ERR(recv(b, buf, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(connect(a, (void *)&sb, lb), 0);
    for (i = 0; send(a, "q", 1, MSG_DONTWAIT) == 1; i++) {
    }
    CHECK_EQ(errno, EAGAIN);
    CHECK_EQ(i, 11); // net.unix.max_dgram_qlen and one
    CHECK_EQ(events_of(a), 0);
    CHECK_EQ(recv(b, buf, sizeof(buf), 0), 1);
    CHECK_EQ(events_of(a), POLLOUT);
    CHECK_EQ(connect(b, (void *)&sa, la), 0);
    CHECK_ERR(sendto(c, "x", 1, 0, (void *)&sb, lb), EPERM); // b talks to a only
    close(b);
    CHECK_ERR(send(a, "x", 1, 0), ECONNREFUSED);
    CHECK_ERR(send(a, "x", 1, 0), ENOTCONN);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    CHECK_EQ(connect(a, &none, sizeof(none)), 0);
    static char huge[300000];
    CHECK_ERR(sendto(c, huge, sizeof(huge), 0, (void *)&sa, la), EMSGSIZE);
    struct mmsghdr mm[3];
    struct iovec w[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
    memset(mm, 0, sizeof(mm));
    for (i = 0; i < 3; i++) {
        mm[i].msg_hdr =
            (struct msghdr){.msg_name = &sa, .msg_namelen = la, .msg_iov = &w[i], .msg_iovlen = 1};
    }
    CHECK_EQ(sendmmsg(c, mm, 3, 0), 3);
    CHECK_EQ(mm[2].msg_len, 3);
    char in[3][8];
    for (i = 0; i < 3; i++) {
        w[i] = (struct iovec){in[i], 8};
        mm[i].msg_hdr.msg_name = NULL;
    }
    CHECK_EQ(recvmmsg(a, mm, 3, MSG_WAITFORONE, NULL), 3);
    CHECK(mm[0].msg_len == 1 && mm[1].msg_len == 2 && in[2][0] == 'c');
    close(a);
    close(c);
    group("datagrams");
}

// Send one byte with nr descriptors.
static ssize_t send_fds(int s, const int *fd, unsigned nr)
{
    union {
        char room[CMSG_SPACE(16 * sizeof(int))];
        struct cmsghdr align;
    } u;
    char byte = 'f';
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = u.room,
                       .msg_controllen = CMSG_SPACE(nr * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(nr * sizeof(int));
    memcpy(CMSG_DATA(c), fd, nr * sizeof(int));
    return sendmsg(s, &m, 0);
}

// Descriptors that came; flags of the message.
static int recv_fds(int s, int *fd, unsigned room, int flags, int *out)
{
    union {
        char room[CMSG_SPACE(16 * sizeof(int))];
        struct cmsghdr align;
    } u;
    char buf[16];
    struct iovec v = {buf, sizeof(buf)};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = u.room,
                       .msg_controllen = room ? CMSG_LEN(room * sizeof(int)) : 0};
    CHECK(recvmsg(s, &m, flags) > 0);
    *out = m.msg_flags;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_type != SCM_RIGHTS) {
        return 0;
    }
    unsigned nr = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fd, CMSG_DATA(c), nr * sizeof(int));
    return (int)nr;
}

static void test_rights(void)
{
    int s[2], p[2], fd[16], flags;
    char buf[16];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && pipe(p) == 0);
    CHECK_EQ(send_fds(s[0], p, 2), 1);
    CHECK_EQ(write(s[0], "more", 4), 4);
    CHECK_EQ(recv_fds(s[1], fd, 16, MSG_CMSG_CLOEXEC, &flags), 2); // and not the bytes after it
    CHECK_EQ(flags, MSG_CMSG_CLOEXEC);
    CHECK_EQ(fcntl(fd[0], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(recv(s[1], buf, sizeof(buf), 0), 4);
    CHECK_EQ(write(fd[1], "via", 3), 3);
    CHECK_EQ(read(p[0], buf, 16), 3);
    close(fd[0]);
    close(fd[1]);
    CHECK_EQ(send_fds(s[0], p, 2), 1);
    CHECK_EQ(recv_fds(s[1], fd, 1, 0, &flags), 1);
    CHECK_EQ(flags, MSG_CTRUNC);
    close(fd[0]);
    CHECK_EQ(send_fds(s[0], p, 2), 1);
    CHECK_EQ(recv_fds(s[1], fd, 0, 0, &flags), 0);
    CHECK_EQ(flags, MSG_CTRUNC);
    CHECK_EQ(send_fds(s[0], p, 2), 1);
    CHECK_EQ(recv_fds(s[1], fd, 16, MSG_PEEK, &flags), 2);
    close(fd[0]);
    close(fd[1]);
    CHECK_EQ(recv_fds(s[1], fd, 16, 0, &flags), 2);
    close(fd[0]);
    close(fd[1]);
    int bad[2] = {p[0], 999};
    CHECK_ERR(send_fds(s[0], bad, 2), EBADF);
    // The last reference to the pipe's writer is in a message that nobody reads.
    CHECK_EQ(send_fds(s[0], &p[1], 1), 1);
    close(p[1]);
    struct pollfd w = {.fd = p[0], .events = POLLIN};
    CHECK_EQ(poll(&w, 1, 0), 0);
    close(s[1]);
    close(s[0]);
    CHECK_EQ(poll(&w, 1, 5000), 1);
    CHECK_EQ(read(p[0], buf, 1), 0);
    close(p[0]);
    group("files in messages");
}

// A circle of n sockets that hold each other, and the writer of a pipe, is seen to go.
static void circle(int n)
{
    int s[8][2], p[2];
    char c;
    MUST(pipe(p) == 0);
    for (int i = 0; i < n; i++) {
        MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, s[i]) == 0);
    }
    for (int i = 0; i < n; i++) {
        int fd[2] = {s[(i + 1) % n][0], s[(i + 1) % n][1]};
        CHECK_EQ(send_fds(s[i][0], fd, 2), 1);
    }
    CHECK_EQ(send_fds(s[0][1], &p[1], 1), 1);
    close(p[1]);
    for (int i = 0; i < n; i++) {
        close(s[i][0]);
        close(s[i][1]);
    }
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, s[0]) == 0);
    close(s[0][0]);
    close(s[0][1]); // closing one is when the others are looked for
    struct pollfd w = {.fd = p[0], .events = POLLIN};
    CHECK_EQ(poll(&w, 1, 5000), 1);
    CHECK_EQ(read(p[0], &c, 1), 0);
    close(p[0]);
}

static void test_circles(void)
{
    for (int n = 1; n <= 8; n++) {
        circle(n);
    }
    // Still reachable from outside: nothing is lost.
    int a[2], b[2], fd[16], flags;
    char c;
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, a) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, b) == 0);
    CHECK_EQ(write(a[0], "k", 1), 1);
    CHECK_EQ(send_fds(b[0], &a[1], 1), 1);
    CHECK_EQ(send_fds(a[0], &b[0], 1), 1);
    close(a[1]);
    close(a[0]);
    close(b[0]);
    circle(3);
    CHECK_EQ(recv_fds(b[1], fd, 16, 0, &flags), 1);
    CHECK_EQ(read(fd[0], &c, 1), 1);
    CHECK_EQ(c, 'k');
    close(fd[0]);
    close(b[1]);
    // Deeper than a kernel stack.
    int prev = -1, s[2];
    for (int i = 0; i < 1000; i++) {
        MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
        if (prev >= 0) {
            CHECK_EQ(send_fds(s[0], &prev, 1), 1);
            close(prev);
        }
        close(s[0]);
        prev = s[1];
    }
    close(prev);
    group("circles of sockets in messages");
}

static void test_creds(void)
{
    int s[2], on = 1;
    char buf[16];
    union {
        char room[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } u;
    struct iovec v = {buf, sizeof(buf)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = u.room};
    struct ucred cr;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    CHECK_EQ(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
    CHECK_EQ(write(s[0], "me", 2), 2);
    m.msg_controllen = sizeof(u.room);
    CHECK_EQ(recvmsg(s[1], &m, 0), 2);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    MUST(c && c->cmsg_type == SCM_CREDENTIALS);
    memcpy(&cr, CMSG_DATA(c), sizeof(cr));
    CHECK(cr.pid == getpid() && cr.uid == getuid() && cr.gid == getgid());
    close(s[0]);
    close(s[1]);
    group("credentials");
}

static void test_options(void)
{
    int s[2], v;
    socklen_t n = sizeof(v);
    char c;
    struct timeval tv = {0, 20000};
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    CHECK(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &v, &n) == 0 && v == SOCK_STREAM && n == 4);
    CHECK(getsockopt(s[0], SOL_SOCKET, SO_DOMAIN, &v, &n) == 0 && v == AF_UNIX);
    CHECK(getsockopt(s[0], SOL_SOCKET, SO_ERROR, &v, &n) == 0 && v == 0);
    CHECK(getsockopt(s[0], SOL_SOCKET, SO_ACCEPTCONN, &v, &n) == 0 && v == 0);
    CHECK(getsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &v, &n) == 0 && v == 212992);
    v = 10000;
    CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)), 0);
    CHECK(getsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &v, &n) == 0 && v == 20000);
    CHECK_ERR(getsockopt(s[0], SOL_SOCKET, 9999, &v, &n), ENOPROTOOPT);
    CHECK_ERR(setsockopt(s[0], SOL_SOCKET, 9999, &v, sizeof(v)), ENOPROTOOPT);
    CHECK_ERR(setsockopt(s[0], 6, 1, &v, sizeof(v)), EOPNOTSUPP);
    CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
    CHECK_ERR(read(s[0], &c, 1), EAGAIN);
    CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
    static char buf[100000];
    while (write(s[0], buf, sizeof(buf)) > 0) {
    }
    CHECK_EQ(errno, EAGAIN);
    CHECK_EQ(events_of(s[0]), 0);
    struct epoll_event ev = {.events = EPOLLOUT | EPOLLET};
    int ep = epoll_create1(0);
    epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &ev);
    CHECK_EQ(epoll_wait(ep, &ev, 1, 0), 0);
    for (size_t left = 300000; left && recv(s[1], buf, sizeof(buf), MSG_DONTWAIT) > 0;) {
    }
    CHECK_EQ(epoll_wait(ep, &ev, 1, 1000), 1);
    CHECK_EQ(ev.events, EPOLLOUT);
    close(ep);
    close(s[0]);
    close(s[1]);
    group("options");
}

static struct sockaddr_un server_sa;
static socklen_t server_len;

static void *client(void *arg)
{
    char c;
    for (int i = 0; i < 200; i++) {
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK_EQ(connect(s, (void *)&server_sa, server_len), 0);
        c = (char)i;
        CHECK_EQ(write(s, &c, 1), 1);
        CHECK_EQ(read(s, &c, 1), 1);
        CHECK_EQ(c, (char)(i + 1));
        close(s);
    }
    return arg;
}

static void test_server(void)
{
    pthread_t t[3];
    char c;
    int l = socket(AF_UNIX, SOCK_STREAM, 0);
    server_len = address(&server_sa, "\0server", 7);
    CHECK_EQ(bind(l, (void *)&server_sa, server_len), 0);
    CHECK_EQ(listen(l, 1), 0);
    for (int i = 0; i < 3; i++) {
        pthread_create(&t[i], NULL, client, NULL);
    }
    for (int i = 0; i < 600; i++) {
        int s = accept(l, NULL, NULL);
        MUST(s >= 0);
        CHECK_EQ(read(s, &c, 1), 1);
        c++;
        CHECK_EQ(write(s, &c, 1), 1);
        CHECK_EQ(read(s, &c, 1), 0);
        close(s);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
    }
    close(l);
    group("a server and its clients");
}

// What a program passes need not be aligned, nor hold anything.
static void test_unaligned(void)
{
    struct bytes {
        char odd;
        struct pollfd pfd;
        struct msghdr msg;
        struct iovec iov;
        char got;
    } __attribute__((packed)) *b = malloc(sizeof(*b));
    int fd[2];

    MUST(b != NULL && socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0 && write(fd[1], "x", 1) == 1);
    memset(b, 0, sizeof(*b));
    b->pfd.fd = fd[0];
    b->pfd.events = POLLIN;
    CHECK_EQ(syscall(SYS_poll, (char *)b + offsetof(struct bytes, pfd), 1, -1), 1);
    CHECK_EQ(b->pfd.revents, POLLIN);
    b->iov.iov_base = &b->got;
    b->iov.iov_len = 1;
    b->msg.msg_iov = (void *)((char *)b + offsetof(struct bytes, iov));
    b->msg.msg_iovlen = 1;
    b->msg.msg_flags = -1;
    CHECK_EQ(syscall(SYS_recvmsg, fd[0], (char *)b + offsetof(struct bytes, msg), 0), 1);
    CHECK_EQ(b->got, 'x');
    CHECK_EQ(b->msg.msg_flags, 0);
    CHECK_EQ(close(fd[0]) + close(fd[1]), 0);
    free(b);
    group("unaligned");
}

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
    (void)sig;
    alarms++;
}

// SA_RESTART begins a wait anew, but for one that has a time limit.
static void interrupted_waits(void)
{
    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval soon = {.it_value = {0, 50000}};
    struct timeval limit = {1000, 0};
    int s[2];
    char c;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    sigaction(SIGALRM, &sa, NULL);
    CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    setitimer(ITIMER_REAL, &soon, NULL);
    CHECK_ERR(recv(s[0], &c, 1, 0), EINTR);
    setitimer(ITIMER_REAL, &soon, NULL);
    CHECK_ERR(read(s[0], &c, 1), EINTR);
    CHECK_EQ(alarms, 2);
    pid_t pid = fork();
    if (pid == 0) {
        setitimer(ITIMER_REAL, &soon, NULL);
        CHECK_EQ(recv(s[1], &c, 1, 0), 1); // no limit here
        _exit(alarms == 3 && c == 'r' ? 0 : 1);
    }
    usleep(200000);
    CHECK_EQ(send(s[0], "r", 1, 0), 1);
    int status = -1;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(s[0]);
    close(s[1]);
    group("waits that a signal ends");
}

int main(void)
{
    test_families();
    test_unaligned();
    test_stream_pair();
    test_stream_bytes();
    test_names();
    test_abstract();
    test_dgram();
    test_rights();
    test_circles();
    test_creds();
    test_options();
    test_server();
    interrupted_waits();
    return finish();
}
