// TEST: smp=1,2,4 scheme=rcu linux=same
// How large a pipe is, what it holds when that changes, and writes that stay together: the bytes
// are a running number, so that one that is lost, doubled or moved is seen.
//
//     4096    | 8 KiB ring, head and tail in one page |    65536 and back
#include "mm_test.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_FILE "/proc/sys/fs/pipe-max-size"

static uint8_t out_buf[1 << 20], in_buf[1 << 20];
static uint64_t sent, got;

static uint8_t byte_at(uint64_t n)
{
    return (uint8_t)(n * 131 + (n >> 8) * 7);
}

static long put(int fd, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out_buf[i] = byte_at(sent + i);
    }
    ssize_t r = write(fd, out_buf, n);
    sent += r > 0 ? (uint64_t)r : 0;
    return r;
}

static long take(int fd, size_t n)
{
    ssize_t r = read(fd, in_buf, n);
    for (ssize_t i = 0; i < r; i++) {
        if (in_buf[i] != byte_at(got + (uint64_t)i)) {
            CHECK_EQ(in_buf[i], byte_at(got + (uint64_t)i));
            break;
        }
    }
    got += r > 0 ? (uint64_t)r : 0;
    return r;
}

static void sizes(void)
{
    int fd[2];
    MUST(pipe2(fd, O_NONBLOCK) == 0);
    CHECK_EQ(fcntl(fd[0], F_GETPIPE_SZ), 65536);
    CHECK_EQ(fcntl(fd[0], F_SETPIPE_SZ, 0), 4096);
    CHECK_EQ(fcntl(fd[1], F_SETPIPE_SZ, 4097), 8192);
    CHECK_EQ(fcntl(fd[0], F_GETPIPE_SZ), 8192);
    CHECK_EQ(put(fd[1], 100000), 8192);
    CHECK_ERR(put(fd[1], 1), EAGAIN);
    CHECK_ERR(fcntl(fd[1], F_SETPIPE_SZ, 4096), EBUSY);
    CHECK_EQ(fcntl(fd[1], F_SETPIPE_SZ, 1 << 20), 1 << 20);
    CHECK_EQ(put(fd[1], 1 << 20), (1 << 20) - 8192);
    CHECK_EQ(take(fd[0], 1 << 20), 1 << 20);
    CHECK_EQ(fcntl(fd[1], F_SETPIPE_SZ, 4096), 4096);
    CHECK_ERR(fcntl(0x7fff, F_GETPIPE_SZ), EBADF);
    close(fd[0]);
    close(fd[1]);
    int file = open("/dev/null", O_RDWR);
    CHECK_ERR(fcntl(file, F_GETPIPE_SZ), EBADF);
    CHECK_ERR(fcntl(file, F_SETPIPE_SZ, 4096), EBADF);
    close(file);
    group("sizes");
}

// Every place of the tail in a page, and sizes up and down with bytes in the pipe.
static void changes(void)
{
    int fd[2];
    MUST(pipe2(fd, O_NONBLOCK) == 0);
    sent = got = 0;
    unsigned seed = 12345;
    for (int i = 0; i < 3000; i++) {
        seed = seed * 1103515245 + 12345;
        unsigned how = seed >> 16 & 7, n = seed >> 8 & 0x3fff;
        if (how < 3) {
            put(fd[1], n + 1);
        } else if (how < 6) {
            take(fd[0], n + 1);
        } else {
            fcntl(fd[0], F_SETPIPE_SZ, 4096 << (n & 3)); // EBUSY is an answer
        }
        CHECK(sent >= got && sent - got <= (uint64_t)fcntl(fd[0], F_GETPIPE_SZ));
    }
    while (take(fd[0], 5000) > 0) {
    }
    CHECK_EQ(got, sent);
    CHECK(sent > 1000000);
    close(fd[0]);
    close(fd[1]);
    group("changes of size with bytes in it");
}

static void limit(void)
{
    char text[32] = "";
    int fd[2], status, knob = open(MAX_FILE, O_RDWR);
    MUST(knob >= 0 && pipe(fd) == 0);
    CHECK_EQ(read(knob, text, sizeof(text) - 1), 8);
    CHECK_EQ(strcmp(text, "1048576\n"), 0);
    CHECK_EQ(pwrite(knob, "100000\n", 7, 0), 7);
    memset(text, 0, sizeof(text));
    CHECK(pread(knob, text, sizeof(text) - 1, 0) > 0);
    CHECK_EQ(strcmp(text, "131072\n"), 0);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK_EQ(fcntl(fd[0], F_SETPIPE_SZ, 262144), 262144); // root may
        CHECK_EQ(fcntl(fd[0], F_SETPIPE_SZ, 4096), 4096);
        CHECK_EQ(setresuid(1000, 1000, 1000), 0);
        CHECK_EQ(fcntl(fd[0], F_SETPIPE_SZ, 131072), 131072);
        CHECK_ERR(fcntl(fd[0], F_SETPIPE_SZ, 131073), EPERM);
        CHECK_EQ(fcntl(fd[0], F_SETPIPE_SZ, 4096), 4096);
        _exit(finish());
    }
    MUST(waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(pwrite(knob, "1048576\n", 8, 0), 8);
    close(knob);
    close(fd[0]);
    close(fd[1]);
    group("/proc/sys/fs/pipe-max-size");
}

// A record in eight pieces, of one number; the sum of the lengths is PIPE_BUF.
#define RECORDS 400
#define WRITERS 3
static int shared[2];

static void *record_writer(void *arg)
{
    char piece[8][512];
    struct iovec v[8];
    for (int i = 0; i < 8; i++) {
        memset(piece[i], (int)(intptr_t)arg, sizeof(piece[i]));
        v[i] = (struct iovec){piece[i], sizeof(piece[i])};
    }
    for (int i = 0; i < RECORDS; i++) {
        CHECK_EQ(writev(shared[1], v, 8), 4096);
    }
    return NULL;
}

static void records(void)
{
    pthread_t t[WRITERS];
    static char r[4096];
    MUST(pipe(shared) == 0);
    CHECK_EQ(fcntl(shared[1], F_SETPIPE_SZ, 8192), 8192);
    for (intptr_t i = 0; i < WRITERS; i++) {
        MUST(pthread_create(&t[i], NULL, record_writer, (void *)(i + 1)) == 0);
    }
    for (int i = 0; i < WRITERS * RECORDS; i++) {
        for (size_t n = 0; n < sizeof(r);) {
            // In pieces, so that the room is hardly ever that for a whole record.
            size_t piece = sizeof(r) - n < 1000 ? sizeof(r) - n : 1000;
            ssize_t some = read(shared[0], r + n, piece);
            MUST(some > 0);
            n += (size_t)some;
        }
        unsigned other = 0;
        for (size_t n = 1; n < sizeof(r); n++) {
            other += r[n] != r[0];
        }
        CHECK_EQ(other, 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(t[i], NULL);
    }
    close(shared[0]);
    close(shared[1]);
    group("a writev of PIPE_BUF bytes is one write");
}

static void vectors(void)
{
    int fd[2];
    char a[4] = "abc", b[4] = "def", c[8] = "";
    struct iovec out[3] = {{a, 3}, {NULL, 0}, {b, 3}}, in[2] = {{c, 2}, {c + 2, 5}};
    MUST(pipe2(fd, O_NONBLOCK) == 0);
    CHECK_EQ(writev(fd[1], out, 3), 6);
    CHECK_EQ(readv(fd[0], in, 2), 6);
    CHECK_EQ(memcmp(c, "abcdef", 6), 0);
    CHECK_ERR(readv(fd[0], in, 2), EAGAIN);
    CHECK_EQ(writev(fd[1], out, 0), 0);
    out[1] = (struct iovec){NO_ADDRESS, 1};
    out[0].iov_len = 0;
    CHECK_ERR(writev(fd[1], out, 3), EFAULT);
    CHECK_ERR(read(fd[0], c, 1), EAGAIN);
    close(fd[0]);
    close(fd[1]);
    group("vectors");
}

// Pipes nobody has written to take next to nothing.
static long free_kib(void)
{
    char text[4096], *at;
    int fd = open("/proc/meminfo", O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    at = strstr(text, "MemFree:");
    return at ? atol(at + 8) : -1;
}

static void idle(void)
{
    static int fd[400][2];
    long before = free_kib();
    for (int i = 0; i < 400; i++) {
        MUST(pipe(fd[i]) == 0);
    }
    long used = before - free_kib(); // a buffer of 64 KiB each would be 25,600
    fprintf(stderr, "400 pipes: %ld KiB\n", used);
    CHECK(before > 0 && used < 6400);
    for (int i = 0; i < 400; i++) {
        close(fd[i][0]);
        close(fd[i][1]);
    }
    group("idle pipes");
}

int main(void)
{
    sizes();
    changes();
    limit();
    records();
    vectors();
    idle();
    return finish();
}
