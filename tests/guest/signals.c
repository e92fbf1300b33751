// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=60
// Signals: handlers and their arguments, masks, queues, alternate stacks, faults, interrupted
// calls.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static volatile int got, got_value[8];
static volatile siginfo_t got_info; // handlers run inside calls that "cannot" change it
static volatile uintptr_t got_sp;
static sigjmp_buf back;

static void note(int sig, siginfo_t *info, void *context)
{
    int here;

    (void)context;
    if (got < 8) {
        got_value[got] = sig == SIGRTMIN ? info->si_value.sival_int : sig;
    }
    got++;
    got_info = *info;
    got_sp = (uintptr_t)&here;
}

static void leap(int sig, siginfo_t *info, void *context)
{
    note(sig, info, context);
    siglongjmp(back, 1);
}

static void handle(int sig, void (*fn)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {.sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags};

    CHECK(sigaction(sig, &sa, NULL) == 0);
    got = 0;
}

static void block(int how, int sig)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, sig);
    CHECK(sigprocmask(how, &set, NULL) == 0);
}

static void basic(void)
{
    struct sigaction old;
    sigset_t pending;

    handle(SIGUSR1, note, 0);
    CHECK(raise(SIGUSR1) == 0 && got == 1);
    CHECK(got_info.si_signo == SIGUSR1 && got_info.si_code == SI_TKILL);
    CHECK(got_info.si_pid == getpid());
    CHECK(kill(getpid(), SIGUSR1) == 0 && got == 2 && got_info.si_code == SI_USER);
    block(SIG_BLOCK, SIGUSR1);
    raise(SIGUSR1);
    raise(SIGUSR1);
    CHECK(got == 2);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
    block(SIG_UNBLOCK, SIGUSR1);
    CHECK(got == 3);
    ok("handler and mask");
    handle(SIGUSR1, note, SA_RESETHAND);
    raise(SIGUSR1);
    CHECK(got == 1 && sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
    ok("one-shot handler");
    signal(SIGUSR2, SIG_IGN);
    raise(SIGUSR2);
    raise(SIGCHLD);
    raise(SIGWINCH);
    block(SIG_BLOCK, SIGUSR2);
    raise(SIGUSR2);
    signal(SIGUSR2, SIG_IGN); // forgets what is pending
    block(SIG_UNBLOCK, SIGUSR2);
    ok("ignored signals");
}

static void queue(void)
{
    handle(SIGRTMIN, note, 0);
    block(SIG_BLOCK, SIGRTMIN);
    for (int i = 1; i <= 4; i++) {
        CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}) == 0);
    }
    block(SIG_UNBLOCK, SIGRTMIN);
    CHECK(got == 4);
    printf("queued: %d %d %d %d\n", got_value[0], got_value[1], got_value[2], got_value[3]);
    CHECK(got_info.si_code == SI_QUEUE);
    ok("queue");
}

static int depth;

static void nest(int sig, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    depth++;
    got++;
    if (got < 3) {
        raise(sig);
    }
    printf("depth %d\n", depth);
    depth--;
}

static void nesting(void)
{
    handle(SIGUSR1, nest, SA_NODEFER);
    raise(SIGUSR1);
    CHECK(got == 3);
    handle(SIGUSR1, nest, 0);
    raise(SIGUSR1);
    CHECK(got == 3);
    ok("nesting");
}

static char alt[65536];

static void *deep(void *arg)
{
    stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt)}, old;

    CHECK(sigaltstack(&ss, NULL) == 0);
    handle(SIGUSR1, note, SA_ONSTACK);
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
    CHECK(got == 1 && got_sp > (uintptr_t)alt && got_sp < (uintptr_t)alt + sizeof(alt));
    CHECK(sigaltstack(NULL, &old) == 0 && old.ss_sp == alt && old.ss_flags == 0);
    // The stack pointer leaves the stack: the handler still has one.
    handle(SIGSEGV, leap, SA_ONSTACK);
    if (!sigsetjmp(back, 1)) {
        volatile char *low = (char *)__builtin_frame_address(0);

        for (;;) {
            low -= 4096;
            *low = 1;
        }
    }
    CHECK(got == 1 && got_sp > (uintptr_t)alt && got_sp < (uintptr_t)alt + sizeof(alt));
    ss.ss_size = 100;
    CHECK_ERRNO(sigaltstack(&ss, NULL), ENOMEM);
    ss.ss_flags = 77;
    CHECK_ERRNO(sigaltstack(&ss, NULL), EINVAL);
    ss.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&ss, NULL) == 0);
    return arg;
}

static void alternate_stack(void)
{
    pthread_t t;

    CHECK(pthread_create(&t, NULL, deep, NULL) == 0);
    CHECK(pthread_join(t, NULL) == 0);
    ok("alternate stack");
}

#define EXPECT_FAULT(sig, code, address, action)                                                   \
    do {                                                                                           \
        handle(sig, leap, 0);                                                                      \
        if (!sigsetjmp(back, 1)) {                                                                 \
            action;                                                                                \
        }                                                                                          \
        CHECK(got == 1 && got_info.si_signo == (sig) && got_info.si_code == (code));               \
        CHECK((address) == NULL || got_info.si_addr == (address));                                 \
    } while (0)

static void faults(void)
{
    int fd = open("/tmp/fault", O_RDWR | O_CREAT | O_TRUNC, 0600);
    volatile char *file, *hole;
    volatile int zero = 0, one = 1;

    CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
    file = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    hole = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(file != MAP_FAILED && hole != MAP_FAILED && munmap((char *)hole + 4096, 4096) == 0);
    EXPECT_FAULT(SIGSEGV, SEGV_ACCERR, hole + 5, hole[5] = 1);
    EXPECT_FAULT(SIGSEGV, SEGV_MAPERR, hole + 4097, hole[4097] = 1);
    EXPECT_FAULT(SIGSEGV, SEGV_MAPERR, hole + 4098, (void)hole[4098]);
    EXPECT_FAULT(SIGSEGV, SEGV_ACCERR, hole, ((void (*)(void))(uintptr_t)hole)());
    EXPECT_FAULT(SIGBUS, BUS_ADRERR, file + 4099, file[4099] = 1);
    file[4095] = 1;
    ok("faults on memory");
#ifdef __x86_64__
    EXPECT_FAULT(SIGFPE, FPE_INTDIV, NULL, one = one / zero);
    EXPECT_FAULT(SIGILL, ILL_ILLOPN, NULL, __asm__ volatile("ud2"));
    EXPECT_FAULT(SIGTRAP, SI_KERNEL, NULL, __asm__ volatile("int3"));
    EXPECT_FAULT(SIGSEGV, SI_KERNEL, NULL, __asm__ volatile("hlt"));
#endif
    (void)zero;
    (void)one;
    ok("faults of instructions");
    close(fd);
}

// --- Calls that a signal interrupts --------------------------------------------------------------

static int pipe_fds[2];
static pthread_t main_thread;

static void *signal_later(void *arg)
{
    usleep(30000);
    CHECK(pthread_kill(main_thread, SIGUSR1) == 0);
    if (arg) {
        usleep(30000);
        CHECK(write(pipe_fds[1], "x", 1) == 1);
    }
    return NULL;
}

static pthread_t disturb(void (*fn)(int, siginfo_t *, void *), int flags, void *then_write)
{
    pthread_t t;

    if (fn) {
        handle(SIGUSR1, fn, flags);
    } else {
        signal(SIGUSR1, SIG_IGN);
    }
    CHECK(pthread_create(&t, NULL, signal_later, then_write) == 0);
    return t;
}

static void interrupted(void)
{
    struct timespec ts = {5, 0}, left = {0, 0};
    sigset_t set;
    pthread_t t;
    char c;

    main_thread = pthread_self();
    CHECK(pipe(pipe_fds) == 0);
    t = disturb(note, 0, NULL);
    CHECK_ERRNO(read(pipe_fds[0], &c, 1), EINTR);
    CHECK(got == 1 && pthread_join(t, NULL) == 0);
    t = disturb(note, SA_RESTART, &c);
    CHECK(read(pipe_fds[0], &c, 1) == 1 && got == 1);
    CHECK(pthread_join(t, NULL) == 0);
    t = disturb(NULL, 0, &c);
    CHECK(read(pipe_fds[0], &c, 1) == 1 && pthread_join(t, NULL) == 0);
    ok("read");
    t = disturb(note, SA_RESTART, NULL);
    CHECK_ERRNO(nanosleep(&ts, &left), EINTR);
    CHECK(got == 1 && left.tv_sec == 4 && pthread_join(t, NULL) == 0);
    ok("nanosleep");
    t = disturb(note, SA_RESTART, NULL);
    CHECK_ERRNO(pause(), EINTR);
    CHECK(pthread_join(t, NULL) == 0);
    ok("pause");
    block(SIG_BLOCK, SIGUSR1);
    t = disturb(note, 0, NULL);
    sigemptyset(&set);
    CHECK_ERRNO(sigsuspend(&set), EINTR);
    CHECK(got == 1 && pthread_join(t, NULL) == 0);
    CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && sigismember(&set, SIGUSR1));
    ok("sigsuspend");
    t = disturb(note, 0, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(sigwaitinfo(&set, NULL) == SIGUSR1 && got == 0 && pthread_join(t, NULL) == 0);
    ts = (struct timespec){0, 10000000};
    CHECK_ERRNO(sigtimedwait(&set, NULL, &ts), EAGAIN);
    block(SIG_UNBLOCK, SIGUSR1);
    ok("sigtimedwait");
}

// --- A thread that never enters the kernel -------------------------------------------------------

static atomic_int spinning, stop;

static void stop_spinning(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    (void)context;
    atomic_store(&stop, 1);
}

static void *spin(void *arg)
{
    double x = 1.5, y = 0;

    atomic_store(&spinning, 1);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        y = y * 0.5 + x;
    }
    CHECK(y > 1.4 && y < 3.1); // the handler's frame kept the floating point registers
    return arg;
}

static void busy_thread(void)
{
    pthread_t t;

    handle(SIGUSR2, stop_spinning, 0);
    for (int i = 0; i < 20; i++) {
        atomic_store(&spinning, 0);
        atomic_store(&stop, 0);
        CHECK(pthread_create(&t, NULL, spin, NULL) == 0);
        while (!atomic_load(&spinning)) {
            usleep(100);
        }
        CHECK(pthread_kill(t, SIGUSR2) == 0);
        CHECK(pthread_join(t, NULL) == 0);
    }
    ok("a busy thread");
}

// --- A signal for the process goes to a thread that wants it -------------------------------------

static atomic_int taker;

static void take(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    (void)context;
    atomic_store(&taker, (int)syscall(SYS_gettid));
}

static void *wait_taken(void *arg)
{
    atomic_store(&spinning, (int)syscall(SYS_gettid));
    while (!atomic_load(&taker)) {
        usleep(1000);
    }
    return arg;
}

static void directed(void)
{
    pthread_t t;

    handle(SIGUSR2, take, 0);
    atomic_store(&spinning, 0);
    CHECK(pthread_create(&t, NULL, wait_taken, NULL) == 0);
    while (!atomic_load(&spinning)) {
        usleep(100);
    }
    block(SIG_BLOCK, SIGUSR2);
    CHECK(kill(getpid(), SIGUSR2) == 0);
    CHECK(pthread_join(t, NULL) == 0);
    CHECK(atomic_load(&taker) == atomic_load(&spinning));
    block(SIG_UNBLOCK, SIGUSR2);
    ok("a signal for the process");
}

int main(void)
{
    basic();
    queue();
    nesting();
    alternate_stack();
    faults();
    interrupted();
    busy_thread();
    directed();
    return 0;
}
