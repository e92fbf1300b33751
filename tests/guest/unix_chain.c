// TEST: smp=1,4 scheme=rcu timeout=120
// A long chain of unix sockets, each in a message to the next: all are let go of when the last
// descriptor is closed, and so are circles beside it, and one in a full queue. (Linux refuses
// chains of more than four.)
#define _GNU_SOURCE
#include "test.h"
#include <sys/socket.h>
#include <unistd.h>

#define CHAIN   5000
#define CIRCLES 1000

static int sockets(void)
{
    char line[256];
    int n = -1; // the heading
    FILE *f = fopen("/proc/net/unix", "r");
    MUST(f != NULL);
    while (fgets(line, sizeof(line), f)) {
        n++;
    }
    fclose(f);
    return n;
}

static void send_fd(int to, int fd)
{
    char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec v = {&byte, 1};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &fd, sizeof(fd));
    MUST(sendmsg(to, &m, 0) == 1);
}

static void until(int n)
{
    while (sockets() != n) {
        usleep(100000);
    }
}

// The one end of each pair has the last pair's other end in its queue.
static void chain(void)
{
    int s[2], last = -1, before = sockets();
    for (int i = 0; i < CHAIN; i++) {
        MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
        if (last >= 0) {
            send_fd(s[0], last);
            close(last);
        }
        close(s[0]);
        last = s[1];
    }
    CHECK(sockets() >= before + CHAIN);
    close(last);
    until(before);
    group("a long chain");
}

static void circles(void)
{
    int s[2], live[2], before = sockets();
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, live) == 0);
    send_fd(live[0], 0);
    for (int i = 0; i < CIRCLES; i++) {
        MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
        send_fd(s[0], s[1]);
        send_fd(s[1], s[0]);
        close(s[0]);
        close(s[1]);
    }
    // However many are under way, so many releases are enough.
    for (int i = 0; i < CIRCLES; i++) {
        close(socket(AF_UNIX, SOCK_STREAM, 0));
    }
    until(before + 2);
    close(live[0]);
    close(live[1]);
    until(before);
    group("circles");
}

// Messages without files before and behind those that a circle hangs on, and others with files that
// were read before.
static void long_queue(void)
{
    int s[2], before = sockets();
    char control[CMSG_SPACE(sizeof(int))], byte;
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    send_fd(s[0], 0);
    send_fd(s[0], s[1]);
    for (int i = 0; i < 2; i++) {
        m.msg_controllen = sizeof(control);
        CHECK_EQ(recvmsg(s[1], &m, 0), 1);
        int fd;
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
        close(fd);
    }
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(write(s[0], "x", 1), 1);
    }
    send_fd(s[0], s[0]);
    send_fd(s[0], s[1]);
    send_fd(s[1], s[0]);
    while (send(s[0], "x", 1, MSG_DONTWAIT) == 1) {
    }
    CHECK_EQ(errno, EAGAIN);
    close(s[0]);
    close(s[1]);
    close(socket(AF_UNIX, SOCK_STREAM, 0)); // closing one is when the others are looked for
    until(before);
    group("a circle in a long queue");
}

int main(void)
{
    chain();
    circles();
    long_queue();
    return finish();
}
