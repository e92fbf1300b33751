// TEST: smp=1,4 linux=same timeout=240
// Setting the wall clock: what follows it (absolute sleeps, timers, futexes, timerfds, times of
// files), what does not, who may, and what adjtimex tells.
#define _GNU_SOURCE
#include "proc_test.h"
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <time.h>

#ifndef TFD_TIMER_CANCEL_ON_SET
#define TFD_TIMER_CANCEL_ON_SET 2
#endif
#define HOUR 3600

static struct timespec on(clockid_t clock)
{
    struct timespec ts;
    MUST(clock_gettime(clock, &ts) == 0);
    return ts;
}

static struct timespec from_now(clockid_t clock, long sec, long ms)
{
    struct timespec ts = on(clock);
    ts.tv_sec += sec;
    ts.tv_nsec += ms * 1000000;
    ts.tv_sec += ts.tv_nsec / 1000000000;
    ts.tv_nsec %= 1000000000;
    return ts;
}

static void jump(long sec)
{
    struct timespec to = from_now(CLOCK_REALTIME, sec, 0);
    MUST(clock_settime(CLOCK_REALTIME, &to) == 0);
}

static void ms_sleep(long ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&ts, NULL);
}

// Until the process is asleep in a call.
static void asleep_wait(pid_t pid)
{
    char path[64], line[256];
    for (int i = 0; i < 5000; i++) {
        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        FILE *f = fopen(path, "r");
        MUST(f && fgets(line, sizeof(line), f));
        fclose(f);
        char *end = strrchr(line, ')');
        if (end && end[2] == 'S') {
            return;
        }
        ms_sleep(2);
    }
    CHECK(!"asleep");
}

// --- Reading -------------------------------------------------------------------------------------

static long boot_time(void)
{
    char line[4096];
    long t = -1;
    FILE *f = fopen("/proc/stat", "r");
    MUST(f != NULL);
    while (fgets(line, sizeof(line), f)) {
        sscanf(line, "btime %ld", &t);
    }
    fclose(f);
    return t;
}

static void reading(void)
{
    static const int jumps[] = {1000000, -500000, 30 * HOUR};
    for (unsigned i = 0; i < 3; i++) {
        struct timespec wall = on(CLOCK_REALTIME), mono = on(CLOCK_MONOTONIC);
        struct timespec boot = on(CLOCK_BOOTTIME);
        long booted = boot_time();
        jump(jumps[i]);
        struct timeval tv;
        struct stat st;
        long gone = on(CLOCK_REALTIME).tv_sec - wall.tv_sec - jumps[i];
        CHECK(gone >= 0 && gone < 100);
        CHECK(on(CLOCK_MONOTONIC).tv_sec - mono.tv_sec < 100);
        CHECK(on(CLOCK_BOOTTIME).tv_sec - boot.tv_sec < 100);
        CHECK(on(CLOCK_MONOTONIC).tv_sec >= mono.tv_sec);
        CHECK(labs(on(CLOCK_REALTIME_COARSE).tv_sec - on(CLOCK_REALTIME).tv_sec) <= 1);
        MUST(gettimeofday(&tv, NULL) == 0);
        CHECK(labs(tv.tv_sec - on(CLOCK_REALTIME).tv_sec) <= 10);
        CHECK(labs(time(NULL) - tv.tv_sec) <= 10);
        CHECK(labs(boot_time() - booted - jumps[i]) <= 1);
        int fd = open("/tmp/clock_set", O_CREAT | O_RDWR | O_TRUNC, 0600);
        MUST(fd >= 0 && write(fd, "x", 1) == 1 && fstat(fd, &st) == 0);
        CHECK(labs(st.st_mtime - tv.tv_sec) <= 10 && labs(st.st_ctime - tv.tv_sec) <= 10);
        CHECK(futimens(fd, NULL) == 0 && fstat(fd, &st) == 0);
        CHECK(labs(st.st_atime - tv.tv_sec) <= 10);
        close(fd);
    }
    unlink("/tmp/clock_set");
    struct timeval tv;
    MUST(gettimeofday(&tv, NULL) == 0);
    tv.tv_sec -= HOUR;
    CHECK_EQ(settimeofday(&tv, NULL), 0);
    CHECK(labs(time(NULL) - tv.tv_sec) <= 10);
    group("what follows and what does not");
}

// --- Who may, and what ---------------------------------------------------------------------------

static int no_rights(void *arg)
{
    struct timespec now = on(CLOCK_REALTIME), bad = {0, 1000000000};
    struct timeval tv = {now.tv_sec, 0};
    struct timezone z = {0, 0}, far = {901, 0};
    struct timex t = {.modes = 0};
    (void)arg;
    MUST(setresuid(1000, 1000, 1000) == 0);
    CHECK_ERR(clock_settime(CLOCK_REALTIME, &now), EPERM);
    CHECK_ERR(clock_settime(CLOCK_REALTIME, &bad), EINVAL);
    CHECK_ERR(syscall(SYS_settimeofday, &tv, NULL), EPERM);
    CHECK_ERR(syscall(SYS_settimeofday, NULL, &z), EPERM);
    CHECK_ERR(syscall(SYS_settimeofday, NULL, &far), EPERM);
    CHECK_ERR(syscall(SYS_settimeofday, NULL, NULL), EPERM);
    CHECK(syscall(SYS_adjtimex, &t) >= 0);
    t.modes = ADJ_MAXERROR;
    CHECK_ERR(syscall(SYS_adjtimex, &t), EPERM);
    t.modes = ADJ_TICK, t.tick = 1;
    CHECK_ERR(syscall(SYS_adjtimex, &t), EPERM);
    t.modes = 0x8001; // ADJ_OFFSET_SINGLESHOT
    CHECK_ERR(syscall(SYS_adjtimex, &t), EPERM);
    t.modes = 0xa001; // ADJ_OFFSET_SS_READ
    CHECK(syscall(SYS_adjtimex, &t) >= 0);
    CHECK_EQ(t.offset, 0);
    return 0;
}

static void rights(void)
{
    static const struct timespec bad[] = {{0, -1}, {0, 1000000000}, {-1, 0},
                                          {0, 0},  {1l << 62, 0},   {9000000000, 0}};
    static const struct timeval badv[] = {{0, -1}, {0, 1000001}, {-1, 0}, {1l << 62, 0}};
    struct timespec now = on(CLOCK_REALTIME);
    struct timeval tv = {now.tv_sec, 0};
    struct timezone far = {901, 0};
    exits_with(child_run(no_rights, NULL), 0);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_ERR(clock_settime(CLOCK_REALTIME, &bad[i]), EINVAL);
    }
    for (unsigned i = 0; i < sizeof(badv) / sizeof(badv[0]); i++) {
        CHECK_ERR(syscall(SYS_settimeofday, &badv[i], NULL), EINVAL);
    }
    CHECK_ERR(clock_settime(CLOCK_MONOTONIC, &now), EINVAL);
    CHECK_ERR(clock_settime(CLOCK_BOOTTIME, &now), EINVAL);
    CHECK_ERR(clock_settime(CLOCK_REALTIME_COARSE, &now), EINVAL);
    CHECK_ERR(clock_settime(77, &now), EINVAL);
    CHECK_ERR(syscall(SYS_clock_settime, CLOCK_PROCESS_CPUTIME_ID, &now), EINVAL);
    clockid_t mine;
    CHECK_EQ(clock_getcpuclockid(getpid(), &mine), 0);
    CHECK_ERR(syscall(SYS_clock_settime, mine, &now), EPERM);
    CHECK_ERR(syscall(SYS_clock_settime, CLOCK_REALTIME, 8), EFAULT);
    CHECK_ERR(syscall(SYS_settimeofday, 8, NULL), EFAULT);
    CHECK_ERR(syscall(SYS_settimeofday, &tv, 8), EFAULT);
    CHECK_ERR(syscall(SYS_settimeofday, &tv, &far), EINVAL);
    CHECK_EQ(syscall(SYS_settimeofday, NULL, NULL), 0);
    CHECK(labs(time(NULL) - now.tv_sec) <= 20);
    group("rights and errors");
}

// The first zone without a time moves the clock; no other does.
static void zone(void)
{
    struct timezone z = {-90, 3}, got;
    struct timeval tv;
    long before = time(NULL);
    CHECK_EQ(syscall(SYS_settimeofday, NULL, &z), 0);
    CHECK(labs(time(NULL) - before + 90 * 60) <= 10);
    CHECK_EQ(syscall(SYS_gettimeofday, &tv, &got), 0);
    CHECK(got.tz_minuteswest == -90 && got.tz_dsttime == 3);
    before = time(NULL);
    z = (struct timezone){60, 0};
    CHECK_EQ(syscall(SYS_settimeofday, NULL, &z), 0);
    CHECK(labs(time(NULL) - before) <= 10);
    MUST(gettimeofday(&tv, NULL) == 0);
    tv.tv_sec += 100;
    z.tz_minuteswest = 0;
    CHECK_EQ(syscall(SYS_settimeofday, &tv, &z), 0);
    CHECK(labs(time(NULL) - before - 100) <= 10);
    CHECK_EQ(syscall(SYS_gettimeofday, NULL, &got), 0);
    CHECK(got.tz_minuteswest == 0 && got.tz_dsttime == 0);
    group("the time zone");
}

// --- Sleeps --------------------------------------------------------------------------------------

enum sleep_kind { WALL_AT, MONO_AT, WALL_FOR, FUTEX_WALL, FUTEX_MONO, WALL_SOON };

struct sleeper {
    enum sleep_kind kind;
    int cpu;
};

// Ends with 0 when its hour is over.
static int sleeper(void *arg)
{
    const struct sleeper *s = arg;
    struct timespec wall = from_now(CLOCK_REALTIME, HOUR, 0);
    struct timespec mono = from_now(CLOCK_MONOTONIC, HOUR, 0), hour = {HOUR, 0};
    int word = 0;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)s->cpu, &set);
    MUST(sched_setaffinity(0, sizeof(set), &set) == 0);
    switch (s->kind) {
    case WALL_AT:
        return clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &wall, NULL);
    case MONO_AT:
        return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &mono, NULL);
    case WALL_FOR:
        return clock_nanosleep(CLOCK_REALTIME, 0, &hour, NULL);
    case WALL_SOON:
        wall = from_now(CLOCK_REALTIME, 0, 1000);
        return clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &wall, NULL);
    case FUTEX_WALL:
        CHECK_ERR(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &wall,
                          NULL, ~0u),
                  ETIMEDOUT);
        return 0;
    case FUTEX_MONO:
        CHECK_ERR(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &mono, NULL, ~0u), ETIMEDOUT);
        return 0;
    }
    return 1;
}

static pid_t sleeper_start(enum sleep_kind kind, int cpu)
{
    struct sleeper s = {kind, cpu};
    pid_t pid = child_run(sleeper, &s);
    asleep_wait(pid);
    return pid;
}

static void sleeper_goes_on(pid_t pid)
{
    int status;
    CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
    kill(pid, SIGKILL);
    dies_of(pid, SIGKILL);
}

static void sleeps(void)
{
    int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    pid_t at[64], futex[64], mono[3];
    MUST(cpus > 0 && cpus <= 64);
    for (int c = 0; c < cpus; c++) {
        at[c] = sleeper_start(WALL_AT, c);
        futex[c] = sleeper_start(FUTEX_WALL, c);
    }
    mono[0] = sleeper_start(MONO_AT, cpus - 1);
    mono[1] = sleeper_start(WALL_FOR, 0);
    mono[2] = sleeper_start(FUTEX_MONO, 0);
    jump(HOUR + 1);
    for (int c = 0; c < cpus; c++) {
        exits_with(at[c], 0);
        exits_with(futex[c], 0);
    }
    ms_sleep(50);
    for (int i = 0; i < 3; i++) {
        sleeper_goes_on(mono[i]);
    }
    group("sleepers wake when the clock is set past their time");

    pid_t soon = sleeper_start(WALL_SOON, 0);
    jump(-HOUR);
    ms_sleep(1500);
    int status;
    CHECK_EQ(waitpid(soon, &status, WNOHANG), 0);
    jump(HOUR);
    exits_with(soon, 0);
    group("and sleep on when it is set back");
}

// --- POSIX timers --------------------------------------------------------------------------------

static timer_t timer_make(int sig)
{
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig};
    timer_t t;
    MUST(timer_create(CLOCK_REALTIME, &e, &t) == 0);
    return t;
}

static int signal_wait(int sig, long ms, siginfo_t *info)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, sig);
    int r;
    do {
        r = sigtimedwait(&set, info, &ts);
    } while (r < 0 && errno == EINTR);
    return r;
}

static void timers(void)
{
    struct itimerspec s = {{0, 0}, from_now(CLOCK_REALTIME, HOUR, 0)}, got;
    sigset_t all;
    siginfo_t info;
    sigfillset(&all);
    MUST(sigprocmask(SIG_BLOCK, &all, NULL) == 0);
    timer_t at = timer_make(SIGUSR1), in = timer_make(SIGUSR2), every = timer_make(SIGRTMIN);
    CHECK_EQ(timer_settime(at, TIMER_ABSTIME, &s, NULL), 0);
    s.it_interval.tv_sec = 1;
    CHECK_EQ(timer_settime(every, TIMER_ABSTIME, &s, NULL), 0);
    s = (struct itimerspec){{0, 0}, {HOUR, 0}};
    CHECK_EQ(timer_settime(in, 0, &s, NULL), 0);
    jump(2 * HOUR);
    CHECK_EQ(signal_wait(SIGUSR1, 60000, &info), SIGUSR1);
    CHECK_EQ(signal_wait(SIGRTMIN, 60000, &info), SIGRTMIN);
    CHECK(info.si_overrun >= HOUR - 2 && info.si_overrun <= HOUR + 100);
    CHECK_EQ(timer_gettime(in, &got), 0);
    CHECK(got.it_value.tv_sec > HOUR - 100);
    CHECK_EQ(signal_wait(SIGUSR2, 50, &info), -1);
    jump(-2 * HOUR);
    CHECK_EQ(timer_gettime(every, &got), 0);
    CHECK(got.it_value.tv_sec >= 2 * HOUR - 100 && got.it_interval.tv_sec == 1);
    CHECK_EQ(timer_gettime(in, &got), 0);
    CHECK(got.it_value.tv_sec > HOUR - 100 && got.it_value.tv_sec <= HOUR);
    // From a time to a distance: it no longer follows.
    s = (struct itimerspec){{0, 0}, {HOUR, 0}};
    CHECK_EQ(timer_settime(every, 0, &s, NULL), 0);
    while (signal_wait(SIGRTMIN, 0, &info) > 0) {
    }
    jump(2 * HOUR);
    CHECK_EQ(signal_wait(SIGRTMIN, 50, &info), -1);
    timer_delete(at);
    timer_delete(in);
    timer_delete(every);
    sigprocmask(SIG_UNBLOCK, &all, NULL);
    group("POSIX timers");
}

// --- timerfd -------------------------------------------------------------------------------------

static int tfd_set(int fd, int flags, struct timespec value, long interval)
{
    struct itimerspec s = {{interval, 0}, value};
    return timerfd_settime(fd, flags, &s, NULL);
}

static int readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms);
}

static long tfd_read(int fd)
{
    uint64_t n = 0;
    return read(fd, &n, sizeof(n)) == sizeof(n) ? (long)n : -1;
}

static void timerfds(void)
{
    struct timespec hour = {HOUR, 0};
    int at = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK),
        every = timerfd_create(CLOCK_REALTIME, 0);
    int in = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
    int mono = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    MUST(at >= 0 && every >= 0 && in >= 0 && mono >= 0);
    CHECK_EQ(tfd_set(at, TFD_TIMER_ABSTIME, from_now(CLOCK_REALTIME, HOUR, 0), 0), 0);
    CHECK_EQ(tfd_set(every, TFD_TIMER_ABSTIME, from_now(CLOCK_REALTIME, HOUR, 0), 1), 0);
    // No watcher of the clock: not absolute, or another clock.
    CHECK_EQ(tfd_set(in, TFD_TIMER_CANCEL_ON_SET, hour, 0), 0);
    CHECK_EQ(tfd_set(mono, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
                     from_now(CLOCK_MONOTONIC, HOUR, 0), 0),
             0);
    jump(2 * HOUR);
    CHECK_EQ(readable(at, 60000), 1);
    CHECK_EQ(tfd_read(at), 1);
    long n = tfd_read(every);
    CHECK(n >= HOUR - 2 && n <= HOUR + 100);
    CHECK_EQ(readable(in, 50), 0);
    CHECK_EQ(readable(mono, 0), 0);
    CHECK_ERR(tfd_read(in), EAGAIN);
    CHECK_ERR(tfd_read(mono), EAGAIN);
    close(in);
    close(mono);
    close(every);
    close(at);
    group("timerfd");
}

static int cancelled_reader(void *arg)
{
    CHECK_ERR(tfd_read(*(int *)arg), ECANCELED);
    return 0;
}

static void cancelling(void)
{
    const int flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
    int fd = timerfd_create(CLOCK_REALTIME, 0);
    MUST(fd >= 0);
    CHECK_EQ(tfd_set(fd, flags, from_now(CLOCK_REALTIME, 10 * HOUR, 0), 0), 0);
    CHECK_EQ(readable(fd, 0), 0);
    pid_t pid = child_run(cancelled_reader, &fd);
    asleep_wait(pid);
    jump(1);
    exits_with(pid, 0);
    CHECK_EQ(readable(fd, 0), 0);
    jump(-1);
    CHECK_EQ(readable(fd, 0), 1);
    CHECK_ERR(tfd_read(fd), ECANCELED);
    CHECK_EQ(readable(fd, 0), 0);
    jump(1);
    CHECK_ERR(tfd_set(fd, flags, from_now(CLOCK_REALTIME, HOUR, 0), 0), ECANCELED);
    CHECK_EQ(readable(fd, 0), 0);
    jump(2 * HOUR); // both at once: the setting is what is told
    CHECK_EQ(readable(fd, 0), 1);
    CHECK_ERR(tfd_read(fd), ECANCELED);
    CHECK_EQ(tfd_set(fd, TFD_TIMER_ABSTIME, from_now(CLOCK_REALTIME, HOUR, 0), 0), 0);
    jump(1);
    CHECK_EQ(readable(fd, 50), 0);
    jump(HOUR);
    CHECK_EQ(tfd_read(fd), 1);
    close(fd);
    group("TFD_TIMER_CANCEL_ON_SET");
}

// --- adjtimex ------------------------------------------------------------------------------------

static int adjust(struct timex *t, unsigned modes)
{
    t->modes = modes;
    return (int)syscall(SYS_adjtimex, t);
}

static void adjusting(void)
{
    struct timex t = {.modes = 0};
    jump(0);
    CHECK_EQ(adjust(&t, 0), TIME_ERROR);
    CHECK(t.status == STA_UNSYNC && t.maxerror == 16000000 && t.esterror == 16000000);
    CHECK(t.tick == 10000 && t.precision == 1 && t.tolerance == 500 << 16 && t.freq == 0);
    CHECK(labs(t.time.tv_sec - time(NULL)) <= 10 && t.time.tv_usec < 1000000);
    t.status = 0, t.maxerror = 1000, t.esterror = 2000;
    CHECK_EQ(adjust(&t, ADJ_STATUS | ADJ_MAXERROR | ADJ_ESTERROR | ADJ_NANO), TIME_OK);
    CHECK(t.status == STA_NANO && t.maxerror >= 1000 && t.esterror == 2000);
    CHECK_EQ(adjust(&t, ADJ_MICRO), TIME_OK);
    CHECK_EQ(t.status, 0);
    t.constant = 37;
    CHECK_EQ(adjust(&t, ADJ_TAI), TIME_OK);
    CHECK_EQ(t.tai, 37);
    t.constant = -1;
    CHECK_EQ(adjust(&t, ADJ_TAI), TIME_OK);
    CHECK_EQ(t.tai, 37);
    t.constant = 3;
    CHECK_EQ(adjust(&t, ADJ_TIMECONST), TIME_OK);
    CHECK_EQ(t.constant, 7);
    t.freq = 0, t.tick = 10000, t.offset = 0;
    CHECK_EQ(adjust(&t, ADJ_FREQUENCY | ADJ_TICK | ADJ_OFFSET), TIME_OK);
    t.tick = 8999;
    CHECK_ERR(adjust(&t, ADJ_TICK), EINVAL);
    CHECK_ERR(adjust(&t, 0x8000), EINVAL);
    CHECK_ERR(syscall(SYS_adjtimex, 8), EFAULT);

    long before = time(NULL);
    t.time = (struct timeval){-100, 500000};
    CHECK_EQ(adjust(&t, ADJ_SETOFFSET), TIME_ERROR); // whoever moves it knows better, or says so
    CHECK(labs(time(NULL) - before + 100) <= 10);
    CHECK(t.status == STA_UNSYNC && t.maxerror == 16000000);
    t.time = (struct timeval){100, 999999999};
    CHECK_ERR(adjust(&t, ADJ_SETOFFSET), EINVAL);
    CHECK_EQ(adjust(&t, ADJ_SETOFFSET | ADJ_NANO), TIME_ERROR);
    CHECK(labs(time(NULL) - before) <= 10);
    CHECK_EQ(adjust(&t, ADJ_MICRO), TIME_ERROR);
    t.time = (struct timeval){-(1l << 40), 0};
    CHECK_ERR(adjust(&t, ADJ_SETOFFSET), EINVAL);
    t.time = (struct timeval){1l << 62, 0};
    CHECK_ERR(adjust(&t, ADJ_SETOFFSET), EINVAL);
    CHECK(labs(time(NULL) - before) <= 10);
    group("adjtimex");

    t.modes = 0;
    CHECK_EQ(syscall(SYS_clock_adjtime, CLOCK_REALTIME, &t), TIME_ERROR);
    CHECK_ERR(syscall(SYS_clock_adjtime, CLOCK_MONOTONIC, &t), EOPNOTSUPP);
    CHECK_ERR(syscall(SYS_clock_adjtime, 77, &t), EINVAL);
    group("clock_adjtime");
}

int main(void)
{
    struct timespec start = {1700000000, 0};
    zone(); // before any other does
    CHECK_EQ(clock_settime(CLOCK_REALTIME, &start), 0);
    reading();
    rights();
    sleeps();
    timers();
    timerfds();
    cancelling();
    adjusting();
    return finish();
}
