/*
 * The first process under Linux, for tools/run --linux: it gives a program the same life that
 * Faultline's kernel gives it.
 *
 * The problem: a Linux kernel knows nothing of the host channel (docs/BOOT.md, "The channel"). So
 * this process stands between the program and the second serial port.
 *
 *      program --stdout pipe--> init --DLE 1 bytes--> ttyS1 --> tools/run
 *              --stderr pipe-->      --DLE 2 bytes-->
 *              <--stdin pipe---      <----------------  at most as much as DLE K allowed
 *
 * Linux drops what arrives on a serial port faster than it is read. So the host may only send what
 * we granted: one DLE K stands for GRANT bytes, and the next is given when those have gone into the
 * program's pipe. The buffer below therefore never overflows.
 *
 * The end: the program ends, what is left in its pipes is passed on, its status follows, and the
 * machine powers off. A grandchild that keeps the pipes open does not delay that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define DLE       0x10
#define GRANT     1024
#define ARGS_MAX  4096
#define EXIT_PORT 0xf4
#define EXIT_OFF  0x10

struct relay {
    int chan;
    int sigs;       /* a signalfd that reports SIGCHLD */
    int in, out[2]; /* our ends of the program's streams; -1 when closed */
    int stream;     /* the one the host now expects bytes of, 1 or 2 */
    pid_t child;
    char pending[2 * GRANT]; /* input for the program that its pipe has not taken yet */
    size_t nr_pending;
    size_t nr_granted; /* bytes on the wire that the host may still send */
    bool escape;       /* the last byte from the host was a DLE */
    bool in_ended;
};

static void write_fully(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return;
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
}

static void power_off(int chan)
{
    tcdrain(chan);
    sync();
    reboot(RB_POWER_OFF);
    if (ioperm(EXIT_PORT, 1, 1) == 0) {
        outb(EXIT_OFF, EXIT_PORT);
    }
    for (;;) {
        pause();
    }
}

static void send_status(int chan, int status)
{
    char text[16];
    int len = snprintf(text, sizeof(text), "%cS%d\n", DLE, status);

    write_fully(chan, text, (size_t)len);
}

static int channel_open(void)
{
    const char *path = getenv("chan");
    struct termios tio;
    int fd = open(path ? path : "/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (fd < 0) {
        return -1;
    }
    if (tcgetattr(fd, &tio) == 0) {
        cfmakeraw(&tio);
        tio.c_cflag |= CLOCAL | CREAD;
        cfsetspeed(&tio, B115200);
        tcsetattr(fd, TCSANOW, &tio);
    }
    return fd;
}

/* Reads the strings that tools/run stored; returns NULL if there are none. */
static char **argv_read(void)
{
    static char *argv[ARGS_MAX + 1];
    static char text[1 << 20];
    int fd = open("/.run/argv", O_RDONLY | O_CLOEXEC);
    size_t len = 0, nr = 0;
    ssize_t n;

    if (fd < 0) {
        return NULL;
    }
    while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0) {
        len += (size_t)n;
    }
    close(fd);
    for (size_t at = 0; at < len && nr < ARGS_MAX; at += strlen(text + at) + 1) {
        argv[nr++] = text + at;
    }
    return nr > 0 ? argv : NULL;
}

/* In the child. posix_spawn would not do: glibc's leaves signals 32 and 33 ignored. */
static _Noreturn void program_become(char **argv, int fds[3][2])
{
    static char *env[] = {"HOME=/", "PATH=/bin:/usr/bin:/sbin", "TERM=linux", NULL};
    sigset_t none;

    dup2(fds[0][0], 0);
    dup2(fds[1][1], 1);
    dup2(fds[2][1], 2);
    setsid();
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(argv[0], argv, env);
    _exit(errno == ENOENT ? 127 : 126);
}

/* Starts the program; returns 0, or the status to report instead. */
static int program_start(struct relay *r, char **argv)
{
    int fds[3][2];

    for (int i = 0; i < 3; i++) {
        if (pipe2(fds[i], O_CLOEXEC) < 0) {
            return 126;
        }
    }
    r->child = fork();
    if (r->child == 0) {
        program_become(argv, fds);
    }
    close(fds[0][0]);
    close(fds[1][1]);
    close(fds[2][1]);
    r->in = fds[0][1];
    r->out[0] = fds[1][0];
    r->out[1] = fds[2][0];
    fcntl(r->in, F_SETFL, O_NONBLOCK);
    fcntl(r->out[0], F_SETFL, O_NONBLOCK);
    fcntl(r->out[1], F_SETFL, O_NONBLOCK);
    return r->child > 0 ? 0 : 126;
}

/* Passes on what stream `which` has to say, up to one buffer; false when it is empty or ended. */
static bool relay_output(struct relay *r, int which)
{
    unsigned char in[4096], out[2 * sizeof(in) + 2];
    size_t len = 0;
    ssize_t n = read(r->out[which], in, sizeof(in));

    if (n <= 0) {
        if (n == 0) {
            close(r->out[which]);
            r->out[which] = -1;
        }
        return false;
    }
    if (r->stream != which + 1) {
        r->stream = which + 1;
        out[len++] = DLE;
        out[len++] = (unsigned char)('0' + r->stream);
    }
    for (ssize_t i = 0; i < n; i++) {
        if (in[i] == DLE) {
            out[len++] = DLE;
        }
        out[len++] = in[i];
    }
    write_fully(r->chan, out, len);
    return true;
}

static void input_close(struct relay *r)
{
    if (r->in >= 0) {
        close(r->in);
    }
    r->in = -1;
    r->nr_pending = 0;
}

static void input_grant(struct relay *r)
{
    const char grant[2] = {DLE, 'K'};

    r->nr_granted = GRANT;
    write_fully(r->chan, grant, sizeof(grant));
}

/* Gives the program what is pending; a program that closed its input gets no more. */
static void input_flush(struct relay *r)
{
    if (r->nr_pending > 0 && r->in >= 0) {
        ssize_t n = write(r->in, r->pending, r->nr_pending);

        if (n > 0) {
            r->nr_pending -= (size_t)n;
            memmove(r->pending, r->pending + n, r->nr_pending);
        } else if (n < 0 && errno != EAGAIN) {
            input_close(r);
        }
    }
    if (r->nr_pending == 0 && r->in_ended) {
        input_close(r);
    }
    if (r->nr_pending == 0 && r->nr_granted == 0 && r->in >= 0) {
        input_grant(r);
    }
}

static void relay_input(struct relay *r)
{
    unsigned char in[GRANT];
    ssize_t n = read(r->chan, in, sizeof(in));

    for (ssize_t i = 0; i < n; i++) {
        r->nr_granted -= r->nr_granted > 0;
        if (!r->escape && in[i] == DLE) {
            r->escape = true;
            continue;
        }
        if (r->escape && in[i] == 'E') {
            r->in_ended = true;
        } else if (r->in >= 0 && r->nr_pending < sizeof(r->pending)) {
            r->pending[r->nr_pending++] = (char)in[i];
        }
        r->escape = false;
    }
}

/* Reaps everything; returns the program's status once it ended, -1 before. */
static int reap(struct relay *r)
{
    struct signalfd_siginfo drain;
    int status, result = -1;
    pid_t pid;

    if (read(r->sigs, &drain, sizeof(drain)) < 0) {
        return -1;
    }
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == r->child) {
            result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        }
    }
    return result;
}

static int relay_run(struct relay *r)
{
    for (;;) {
        struct pollfd fds[5] = {
            {.fd = r->chan, .events = POLLIN},
            {.fd = r->sigs, .events = POLLIN},
            {.fd = r->out[0], .events = POLLIN},
            {.fd = r->out[1], .events = POLLIN},
            {.fd = r->nr_pending > 0 ? r->in : -1, .events = POLLOUT},
        };
        int status = -1;

        input_flush(r);
        if (poll(fds, 5, -1) < 0) {
            continue;
        }
        if (fds[0].revents) {
            relay_input(r);
        }
        if (fds[1].revents) {
            status = reap(r);
        }
        for (int which = 0; which < 2; which++) {
            while (r->out[which] >= 0 && (fds[2 + which].revents || status >= 0) &&
                   relay_output(r, which) && status >= 0) {
            }
        }
        if (status >= 0) {
            return status;
        }
    }
}

int main(void)
{
    struct relay r = {.in = -1, .out = {-1, -1}, .stream = 1};
    char **argv;
    sigset_t set;
    int status;

    mount("dev", "/dev", "devtmpfs", 0, NULL);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sys", "/sys", "sysfs", 0, NULL);
    mkdir("/dev/pts", 0755);
    mount("devpts", "/dev/pts", "devpts", 0, NULL);
    mount("tmp", "/tmp", "tmpfs", 0, "mode=1777");
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    r.sigs = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    r.chan = channel_open();
    if (r.chan < 0) {
        power_off(-1);
    }
    input_grant(&r); /* this is also our greeting: the host listens from here on */
    argv = argv_read();
    status = argv ? program_start(&r, argv) : 0;
    if (argv && status == 0) {
        status = relay_run(&r);
    }
    send_status(r.chan, status);
    power_off(r.chan);
}
