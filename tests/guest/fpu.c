// TEST: smp=1,2,4 scheme=rcu linux=same timeout=60
//
// The registers of the FPU, SSE and AVX belong to the thread: other threads on the same processor,
// system calls, faults and signal handlers leave them alone; a child of fork starts with its
// parent's, a program with fresh ones, and a signal handler, too, with the mode words fresh. What a
// handler writes into its frame is what the interrupted code finds.
#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

#define REGS    16
#define THREADS 6

static int have_avx;

struct state {
    uint64_t reg[REGS][4]; // ymm0-15; without AVX the low halves are looked at
    uint64_t x87[4];       // doubles pushed on the x87 stack
    uint32_t mxcsr;
    uint16_t control; // x87
};

__attribute__((target("avx"))) static void load_ymm(const struct state *s)
{
    __asm__ volatile("vmovdqu 0(%0), %%ymm0; vmovdqu 32(%0), %%ymm1; vmovdqu 64(%0), %%ymm2;"
                     "vmovdqu 96(%0), %%ymm3; vmovdqu 128(%0), %%ymm4; vmovdqu 160(%0), %%ymm5;"
                     "vmovdqu 192(%0), %%ymm6; vmovdqu 224(%0), %%ymm7; vmovdqu 256(%0), %%ymm8;"
                     "vmovdqu 288(%0), %%ymm9; vmovdqu 320(%0), %%ymm10; vmovdqu 352(%0), %%ymm11;"
                     "vmovdqu 384(%0), %%ymm12; vmovdqu 416(%0), %%ymm13; vmovdqu 448(%0), %%ymm14;"
                     "vmovdqu 480(%0), %%ymm15"
                     :
                     : "r"(s->reg)
                     : "memory");
}
__attribute__((target("avx"))) static void save_ymm(struct state *s)
{
    __asm__ volatile("vmovdqu %%ymm0, 0(%0); vmovdqu %%ymm1, 32(%0); vmovdqu %%ymm2, 64(%0);"
                     "vmovdqu %%ymm3, 96(%0); vmovdqu %%ymm4, 128(%0); vmovdqu %%ymm5, 160(%0);"
                     "vmovdqu %%ymm6, 192(%0); vmovdqu %%ymm7, 224(%0); vmovdqu %%ymm8, 256(%0);"
                     "vmovdqu %%ymm9, 288(%0); vmovdqu %%ymm10, 320(%0); vmovdqu %%ymm11, 352(%0);"
                     "vmovdqu %%ymm12, 384(%0); vmovdqu %%ymm13, 416(%0); vmovdqu %%ymm14, 448(%0);"
                     "vmovdqu %%ymm15, 480(%0)"
                     :
                     : "r"(s->reg)
                     : "memory");
}
static void load_xmm(const struct state *s)
{
    __asm__ volatile("movdqu 0(%0), %%xmm0; movdqu 32(%0), %%xmm1; movdqu 64(%0), %%xmm2;"
                     "movdqu 96(%0), %%xmm3; movdqu 128(%0), %%xmm4; movdqu 160(%0), %%xmm5;"
                     "movdqu 192(%0), %%xmm6; movdqu 224(%0), %%xmm7; movdqu 256(%0), %%xmm8;"
                     "movdqu 288(%0), %%xmm9; movdqu 320(%0), %%xmm10; movdqu 352(%0), %%xmm11;"
                     "movdqu 384(%0), %%xmm12; movdqu 416(%0), %%xmm13; movdqu 448(%0), %%xmm14;"
                     "movdqu 480(%0), %%xmm15"
                     :
                     : "r"(s->reg)
                     : "memory");
}
static void save_xmm(struct state *s)
{
    __asm__ volatile("movdqu %%xmm0, 0(%0); movdqu %%xmm1, 32(%0); movdqu %%xmm2, 64(%0);"
                     "movdqu %%xmm3, 96(%0); movdqu %%xmm4, 128(%0); movdqu %%xmm5, 160(%0);"
                     "movdqu %%xmm6, 192(%0); movdqu %%xmm7, 224(%0); movdqu %%xmm8, 256(%0);"
                     "movdqu %%xmm9, 288(%0); movdqu %%xmm10, 320(%0); movdqu %%xmm11, 352(%0);"
                     "movdqu %%xmm12, 384(%0); movdqu %%xmm13, 416(%0); movdqu %%xmm14, 448(%0);"
                     "movdqu %%xmm15, 480(%0)"
                     :
                     : "r"(s->reg)
                     : "memory");
}

static void state_make(struct state *s, unsigned seed)
{
    memset(s, 0, sizeof(*s));
    for (unsigned i = 0; i < REGS; i++) {
        for (unsigned w = 0; w < (have_avx ? 4 : 2); w++) {
            s->reg[i][w] = 0x0101010101010101ul * (seed + 1) + (i << 8 | w);
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        double d = seed * 100 + i + 0.5;
        memcpy(&s->x87[i], &d, sizeof(d));
    }
    s->mxcsr = 0x1f80 | (seed % 4) << 13;              // rounding
    s->control = (uint16_t)(0x37f | (seed % 4) << 10); // rounding
}

// Nothing between load and save may use the vector registers but what is tested: `between` is
// called with them live, so it must be a bare system call or memory access.
#define WITH_STATE(s, got, between)                                                                \
    do {                                                                                           \
        __asm__ volatile("fninit; fldcw %0; ldmxcsr %1; fldl %2; fldl %3; fldl %4; fldl %5"        \
                         :                                                                         \
                         : "m"((s)->control), "m"((s)->mxcsr), "m"((s)->x87[0]), "m"((s)->x87[1]), \
                           "m"((s)->x87[2]), "m"((s)->x87[3]));                                    \
        have_avx ? load_ymm(s) : load_xmm(s);                                                      \
        between;                                                                                   \
        have_avx ? save_ymm(got) : save_xmm(got);                                                  \
        __asm__ volatile("fstpl %3; fstpl %2; fstpl %1; fstpl %0; fnstcw %4; stmxcsr %5"           \
                         : "=m"((got)->x87[0]), "=m"((got)->x87[1]), "=m"((got)->x87[2]),          \
                           "=m"((got)->x87[3]), "=m"((got)->control), "=m"((got)->mxcsr));         \
        uint32_t usual_ = 0x1f80;                                                                  \
        __asm__ volatile("fninit; ldmxcsr %0" : : "m"(usual_));                                    \
    } while (0)

static inline long bare_syscall(long nr, long a, long b)
{
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
    return r;
}

static int same(const struct state *a, const struct state *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

// ---- Threads ------------------------------------------------------------------------------------

static void *thread_main(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    struct state s, got = {0};
    for (unsigned n = 0; n < 300; n++) {
        state_make(&s, seed + n * THREADS);
        WITH_STATE(&s, &got, {
            for (int i = 0; i < 3; i++) {
                bare_syscall(24, 0, 0); // sched_yield
            }
        });
        CHECK(same(&s, &got));
    }
    // Not by system calls, too: the tick takes the processor away.
    for (unsigned n = 0; n < 8; n++) {
        state_make(&s, seed + n * THREADS);
        WITH_STATE(&s, &got, {
            for (volatile long i = 0; i < 3000000; i++) {
            }
        });
        CHECK(same(&s, &got));
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t thread[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&thread[i], NULL, thread_main, (void *)i) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(thread[i], NULL) == 0);
    }
    ok("threads keep their registers");
}

// ---- Faults, fork -------------------------------------------------------------------------------

static void test_fault(void)
{
    struct state s, got = {0};
    volatile char *p =
        mmap(NULL, 64 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    state_make(&s, 7);
    WITH_STATE(&s, &got, {
        for (int i = 0; i < 64; i++) {
            p[i << 12] = 1;
        }
    });
    CHECK(same(&s, &got));
    ok("page faults leave them alone");
}

static void test_fork(void)
{
    struct state s, got = {0};
    long pid;
    int status;
    state_make(&s, 9);
    WITH_STATE(&s, &got, { pid = bare_syscall(57, 0, 0); });
    if (pid == 0) {
        _exit(same(&s, &got) ? 0 : 1);
    }
    CHECK(pid > 0 && same(&s, &got));
    CHECK(waitpid((pid_t)pid, &status, 0) == pid && status == 0);
    ok("a child starts with its parent's");
}

// ---- Signals ------------------------------------------------------------------------------------

static volatile uint32_t handler_mxcsr;
static volatile uint16_t handler_control;
static int change_frame;

static void handler(int sig, siginfo_t *info, void *context)
{
    struct state other;
    uint32_t mxcsr;
    uint16_t control;
    __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(control));
    handler_mxcsr = mxcsr;
    handler_control = control;
    (void)sig, (void)info;
    if (change_frame) {
        ucontext_t *u = context;
        u->uc_mcontext.fpregs->_xmm[3].element[0] = 0xfeedbeef;
    }
    state_make(&other, 99); // and spoil all of them
    have_avx ? load_ymm(&other) : load_xmm(&other);
    uint32_t odd = 0x1f80 | 1 << 15;
    __asm__ volatile("fninit; fldpi; fldpi; ldmxcsr %0" : : "m"(odd));
}

static void test_signal(void)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    struct state s, got = {0};
    CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
    long pid = getpid();
    state_make(&s, 3); // both mode words unusual
    WITH_STATE(&s, &got, { bare_syscall(62, pid, SIGUSR1); });
    CHECK(same(&s, &got));
    CHECK(handler_control == 0x37f && handler_mxcsr == 0x1f80);
    ok("a handler gets fresh modes, and leaves no trace");

    change_frame = 1;
    WITH_STATE(&s, &got, { bare_syscall(62, pid, SIGUSR1); });
    s.reg[3][0] = (s.reg[3][0] & 0xffffffff00000000ul) | 0xfeedbeef;
    CHECK(same(&s, &got));
    ok("what a handler writes into its frame is found");
}

// ---- execve -------------------------------------------------------------------------------------

static void test_exec(char *self)
{
    struct state s, got = {0};
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        char *argv[] = {self, "fresh", NULL};
        state_make(&s, 3);
        WITH_STATE(&s, &got, {
            long r;
            __asm__ volatile("syscall"
                             : "=a"(r)
                             : "a"(59l), "D"(self), "S"(argv), "d"(0l)
                             : "rcx", "r11", "memory");
        });
        _exit(2);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    ok("a program starts with fresh modes");
}

int main(int argc, char **argv)
{
    unsigned a, b, c, d;
    uint32_t mxcsr;
    uint16_t control;
    __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(control));
    (void)argv;
    if (argc > 1) {
        return mxcsr == 0x1f80 && control == 0x37f ? 0 : 1;
    }
    have_avx = __get_cpuid(1, &a, &b, &c, &d) && (c >> 27 & 1) && (c >> 28 & 1);
    printf("AVX: %s\n", have_avx ? "yes" : "no");
    test_threads();
    test_fault();
    test_fork();
    test_signal();
    test_exec("/proc/self/exe");
    return 0;
}
