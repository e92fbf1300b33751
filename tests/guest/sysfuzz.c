// TEST: smp=1,2,4 scheme=rcu,mmap_lock timeout=120
// TEST: args="1 1500"
// Every system call with nonsense: wild pointers, absurd lengths, wrong descriptors, from several
// threads at once, with memory calls in between. Nothing is asked of the answers; the kernel must
// live, and in the end memory, files and threads must work. (Faultline only.)
//
//     sysfuzz SEED CALLS         CALLS a thread; for hours: make fuzz SECONDS=...
//
// What would end or change this program itself is kept from it: calls that exit or never come back
// are left out, addresses that are unmapped or protected lie in an arena of this test or are wild
// (kernel, non-canonical, never mapped). Files are those of a few names. A thread wakes the others
// by a signal, so that no call blocks for long; a call that takes longest is named at the end, and
// one that does not come back is named and fails the test.
#include "sysfuzz.h"
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <time.h>

// Never made: they end the program, start another, stop it for good, or take away what the C
// library and this test stand on.
static const char *const left_out[] = {
    "exit",
    "exit_group",
    "reboot",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "rt_sigreturn",
    "kill",
    "tkill",
    "tgkill",
    "rt_sigqueueinfo",
    "pidfd_send_signal",
    "rt_tgsigqueueinfo",
    "rt_sigsuspend",
    "set_tid_address",
    "sigaltstack",
    "setrlimit",
    "prlimit64",
    "mlockall",
    "arch_prctl",
    "rt_sigprocmask",
    "close_range",
    "setitimer",
    "alarm",
    "timer_create",
    "setuid",
    "setreuid",
    "setresuid",
    "unshare",
    "setns",
    "ptrace",
    "pivot_root",
    "chroot",
    "umount2",
    "shmat",
};

static unsigned long nr_calls_each;
static atomic_int running;
static _Atomic(const char *) now_in[8]; // the call each thread is making
static unsigned long now_with[8][6];
static atomic_ulong nr_made;
static struct timespec since[8]; // when each thread's call began
static struct longest {
    const char *name;
    double ms;
    unsigned long with[6];
} longest[8];

static int is_left_out(const char *name)
{
    for (unsigned i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++) {
        if (strcmp(left_out[i], name) == 0) {
            return 1;
        }
    }
    return 0;
}

static double ms_since(const struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - t->tv_sec) * 1e3 + (double)(now.tv_nsec - t->tv_nsec) / 1e6;
}

static void make_call(const struct call *c, unsigned long *seed, unsigned id)
{
    unsigned long *a = now_with[id];
    const char *shape = shape_of(c->name);
    size_t len = strlen(shape);
    for (unsigned i = 0; i < 6; i++) {
        char kind = i < len ? shape[i] : '?';
        a[i] = argument(kind == '?' ? "pisbp"[draw(seed) % 5] : kind, seed);
    }
    restrain(c->name, a, seed);
    clock_gettime(CLOCK_MONOTONIC, &since[id]);
    now_in[id] = c->name;
    syscall(c->number[machine], a[0], a[1], a[2], a[3], a[4], a[5]);
    double ms = ms_since(&since[id]);
    if (ms > longest[id].ms) {
        longest[id].ms = ms;
        longest[id].name = c->name;
        memcpy(longest[id].with, a, sizeof(longest[id].with));
    }
}

// Half of the calls are memory calls.
static const struct call *pick(unsigned long *seed)
{
    for (;;) {
        const struct call *c = &calls[draw(seed) % NR_CALLS];
        if (draw(seed) % 2) {
            do {
                c = &calls[draw(seed) % NR_CALLS];
            } while (shape_of(c->name)[0] != 'a');
        }
        if (c->number[machine] >= 0 && !is_left_out(c->name)) {
            return c;
        }
    }
}

static void on_wake(int sig)
{
    (void)sig;
}

// Touch the arena too, so that there is something in it.
static void touch_arena(unsigned long *seed)
{
    unsigned char byte = (unsigned char)draw(seed);
    volatile char *p = (volatile char *)arena_address(seed);
    int what = sigsetjmp(catch_jump, 1);
    if (what == 0) {
        catching = 1;
        if (byte & 1) {
            *p = (char)byte;
        } else {
            byte = (unsigned char)*p;
        }
    }
    catching = 0;
}

static void *fuzz(void *arg)
{
    unsigned long seed = (unsigned long)arg;
    unsigned id = (unsigned)(seed % 1000);
    sigset_t usable;
    sigemptyset(&usable);
    for (unsigned long i = 0; i < nr_calls_each; i++) {
        make_call(pick(&seed), &seed, id);
        nr_made++;
        pthread_sigmask(SIG_SETMASK, &usable, NULL);
        touch_arena(&seed);
        if (i % 64 == 0) {
            (void)!mmap(arena, ARENA_PAGES * PAGE, RW, ANON | MAP_FIXED, -1, 0);
        }
    }
    running--;
    return NULL;
}

static void tell_call(unsigned id, const char *what, const char *name, const unsigned long *a,
                      double ms)
{
    fprintf(stderr, "thread %u: %s %s(%#lx, %#lx, %#lx, %#lx, %#lx, %#lx), %.0f ms\n", id, what,
            name, a[0], a[1], a[2], a[3], a[4], a[5], ms);
}

// Wake all that sleep, until they are done. One that makes no call end in a minute although it is
// woken 500 times a second does not listen.
static void wake_threads(pthread_t *t, unsigned n)
{
    while (running > 0) {
        nanosleep(&(struct timespec){0, 2000000}, NULL);
        for (unsigned i = 0; i < n; i++) {
            double ms = now_in[i] ? ms_since(&since[i]) : 0;
            if (ms > 60e3 && running == (int)n) {
                tell_call(i, "stuck in", now_in[i], now_with[i], ms);
                _exit(1);
            }
            pthread_kill(t[i], SIGUSR1);
        }
    }
}

static void fuzz_threads(unsigned long seed, unsigned n)
{
    pthread_t t[8];
    struct sigaction wake = {.sa_handler = on_wake};
    sigaction(SIGUSR1, &wake, NULL);
    memset(now_in, 0, sizeof(now_in));
    memset(longest, 0, sizeof(longest));
    running = (int)n;
    for (unsigned long i = 0; i < n; i++) {
        MUST(pthread_create(&t[i], NULL, fuzz, (void *)(seed * 1000 + i)) == 0);
    }
    wake_threads(t, n);
    for (unsigned i = 0; i < n; i++) {
        pthread_join(t[i], NULL);
        tell_call(i, "longest", longest[i].name, longest[i].with, longest[i].ms);
    }
}

// ---- Afterwards ---------------------------------------------------------------------------------

static void *add_up(void *arg)
{
    unsigned long *p = arg, sum = 0;
    for (unsigned long i = 0; i < 64; i++) {
        p[i * PAGE / 8] = i;
        sum += p[i * PAGE / 8];
    }
    return (void *)sum;
}

static void still_sound(void)
{
    pthread_t t[4];
    void *sum;
    CHECK_EQ(chdir("/"), 0);
    umask(022);
    for (int fd = 3; fd < 1024; fd++) {
        close(fd);
    }
    int fd = temp_file(20, 4);
    char *s = map(20 * PAGE, RW, MAP_SHARED, fd, 0), *p = map(20 * PAGE, RW, MAP_PRIVATE, fd, 0);
    CHECK_EQ(holds(s, 20, 4), 20);
    fill(p, 10, 5);
    CHECK_EQ(holds(s, 20, 4), 20);
    CHECK_EQ(holds(p, 10, 5), 10);
    CHECK_EQ(munmap(s, 20 * PAGE) | munmap(p, 20 * PAGE) | close(fd), 0);
    for (int i = 0; i < 4; i++) {
        MUST(pthread_create(&t[i], NULL, add_up, map_anon(64)) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &sum);
        CHECK_EQ((unsigned long)sum, 63 * 64 / 2);
    }
    char text[256];
    knob_read("audit", text, sizeof(text));
    CHECK(strncmp(text, "wrong 0\n", 8) == 0);
}

int main(int argc, char **argv)
{
    unsigned long seed = argc > 1 ? strtoul(argv[1], NULL, 0) : 1;
    nr_calls_each = argc > 2 ? strtoul(argv[2], NULL, 0) : 1500;
    catch_faults();
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    fuzz_prepare();
    fprintf(stderr, "seed %lu, %lu calls a thread\n", seed, nr_calls_each);
    fuzz_threads(seed, 1);
    group("one thread");
    fuzz_threads(seed + 1, 4);
    group("four threads");
    still_sound();
    group("still sound");
    return finish();
}
