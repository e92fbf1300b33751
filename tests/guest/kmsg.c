// TEST: smp=1,2 scheme=rcu
/*
 * /dev/kmsg: records and their form, what is written comes back, places, waiting. (Faultline only:
 * Linux 6.1 keeps but the first few of what user mode writes in a row.)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "test.h"

static char buf[8192];

static int put(const char *text)
{
    int fd = open("/dev/kmsg", O_WRONLY);
    MUST(fd >= 0);
    ssize_t n = write(fd, text, strlen(text));
    close(fd);
    return n == (ssize_t)strlen(text);
}

// Read on until a record has this text; its sequence number, or -1.
static long long find(int fd, const char *text, unsigned long long *usec)
{
    ssize_t n;
    while ((n = read(fd, buf, sizeof(buf) - 1)) > 0 || errno == EPIPE) {
        unsigned prio;
        unsigned long long seq;
        char flag;
        int at = 0;
        if (n <= 0) {
            continue;
        }
        buf[n] = '\0';
        if (!CHECK(sscanf(buf, "%u,%llu,%llu,%c%n", &prio, &seq, usec, &flag, &at) == 4) ||
            !CHECK(flag == '-' || flag == 'c')) {
            return -1;
        }
        char *rest = strchr(buf, ';');
        char *end = rest ? strchr(rest, '\n') : NULL;
        if (!CHECK(end != NULL)) {
            return -1;
        }
        *end = '\0';
        if (strcmp(rest + 1, text) == 0) {
            return (long long)seq;
        }
    }
    return -1;
}

static void test_records(void)
{
    int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
    unsigned long long t1, t2;
    MUST(fd >= 0);
    CHECK(read(fd, buf, sizeof(buf)) > 0); // the first there is
    CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
    while (read(fd, buf, sizeof(buf)) > 0) { // somebody may have said something
    }
    CHECK_EQ(errno, EAGAIN);
    CHECK(put("hello from kmsg.c, first"));
    CHECK(put("<5>second, with a newline\n"));
    CHECK(put("odd: \x01 \\ end"));
    long long a = find(fd, "hello from kmsg.c, first", &t1);
    long long b = find(fd, "second, with a newline", &t2);
    CHECK(a >= 0 && b > a && t2 >= t1);
    CHECK(find(fd, "odd: \\x01 \\x5c end", &t2) > b);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQ(find(fd, "hello from kmsg.c, first", &t2), a); // the same one
    CHECK(t1 == t2);
    CHECK_ERR(read(fd, buf, 4), EINVAL);
    CHECK(find(fd, "second, with a newline", &t2) == -1); // that was it
    CHECK_ERR(lseek(fd, 1, SEEK_SET), ESPIPE);
    CHECK_ERR(lseek(fd, 0, SEEK_CUR), EINVAL);
    CHECK_EQ(lseek(fd, 0, SEEK_DATA), 0);
    close(fd);
    group("records");
}

static void *later(void *arg)
{
    usleep(150000);
    CHECK(put(arg));
    return NULL;
}

static void test_waiting(void)
{
    int fd = open("/dev/kmsg", O_RDONLY);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    unsigned long long t;
    pthread_t th;
    MUST(fd >= 0);
    CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
    MUST(pthread_create(&th, NULL, later, (void *)"read waits") == 0);
    CHECK(find(fd, "read waits", &t) >= 0);
    pthread_join(th, NULL);
    CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
    MUST(pthread_create(&th, NULL, later, (void *)"poll waits") == 0);
    CHECK_EQ(poll(&p, 1, 20000), 1);
    CHECK_EQ(p.revents, POLLIN);
    CHECK(find(fd, "poll waits", &t) >= 0);
    pthread_join(th, NULL);
    close(fd);
    group("waiting");
}

int main(void)
{
    test_records();
    test_waiting();
    return finish();
}
