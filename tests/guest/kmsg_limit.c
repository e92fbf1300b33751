// TEST: smp=1,2 scheme=rcu linux=same
// A flood of /dev/kmsg: an open file takes few lines at a time and says how many it left out; the
// next one takes some again. And who reads the log with syslog(2) is woken by a line.
#define _GNU_SOURCE
#include "test.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/klog.h>
#include <unistd.h>

#define LINES 1000

static char buf[8192];

static void put(int fd, const char *text)
{
    CHECK_EQ(write(fd, text, strlen(text)), (long)strlen(text));
}

// Of the records from here on: those with this text, and the sum of what lines were left out.
static void count(int fd, const char *text, unsigned *nr, unsigned *lost)
{
    ssize_t n;
    *nr = *lost = 0;
    while ((n = read(fd, buf, sizeof(buf) - 1)) > 0 || errno == EPIPE) {
        unsigned some;
        if (n <= 0) {
            continue;
        }
        buf[n] = '\0';
        char *said = strstr(buf, "kmsg_limit: ");
        *nr += strstr(buf, text) != NULL;
        if (said && strstr(said, "suppressed") && sscanf(said, "kmsg_limit: %u", &some) == 1) {
            *lost += some;
        }
    }
    CHECK_EQ(errno, EAGAIN);
}

static void flood(void)
{
    int in = open("/dev/kmsg", O_RDONLY | O_NONBLOCK), out = open("/dev/kmsg", O_WRONLY);
    unsigned nr, lost;
    MUST(in >= 0 && out >= 0);
    CHECK_EQ(lseek(in, 0, SEEK_END), 0);
    for (int i = 0; i < LINES; i++) {
        put(out, "a line of a flood\n");
    }
    CHECK_ERR(write(out, buf, 5000), EINVAL);
    CHECK_EQ(close(out), 0);
    count(in, "a line of a flood", &nr, &lost);
    CHECK(nr >= 10);
    CHECK(lost > 0);
    CHECK_EQ(nr + lost, LINES);
    out = open("/dev/kmsg", O_WRONLY);
    MUST(out >= 0);
    put(out, "another one\n");
    CHECK_EQ(close(out), 0);
    count(in, "another one", &nr, &lost);
    CHECK_EQ(nr, 1);
    CHECK_EQ(lost, 0);
    close(in);
    group("a flood of lines");
}

static void *later(void *arg)
{
    usleep(100000);
    int out = open("/dev/kmsg", O_WRONLY);
    MUST(out >= 0);
    put(out, arg);
    close(out);
    return NULL;
}

static void woken(void)
{
    pthread_t th;
    int n = 0;
    while (klogctl(9, NULL, 0) > 0) { // what is unread, until there is nothing
        MUST(klogctl(2, buf, sizeof(buf)) > 0);
    }
    MUST(pthread_create(&th, NULL, later, (void *)"for syslog\n") == 0);
    do {
        n = klogctl(2, buf, sizeof(buf) - 1);
        MUST(n > 0);
        buf[n] = '\0';
    } while (!strstr(buf, "for syslog"));
    pthread_join(th, NULL);
    group("syslog waits");
}

static void watched(void)
{
    int in = open("/dev/kmsg", O_RDONLY | O_NONBLOCK), ep = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN};
    unsigned nr, lost;
    pthread_t th;
    MUST(in >= 0 && ep >= 0);
    CHECK_EQ(lseek(in, 0, SEEK_END), 0);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, in, &ev), 0);
    MUST(pthread_create(&th, NULL, later, (void *)"for epoll\n") == 0);
    do {
        CHECK_EQ(epoll_wait(ep, &ev, 1, -1), 1);
        count(in, "for epoll", &nr, &lost);
    } while (nr == 0);
    CHECK_EQ(nr, 1);
    pthread_join(th, NULL);
    close(ep);
    close(in);
    group("epoll waits");
}

int main(void)
{
    flood();
    woken();
    watched();
    return finish();
}
