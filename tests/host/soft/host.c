// What the soft machine needs of the host. Compiled without include/, whose sched.h would be taken
// for the host's, and without the sanitizers, to which a change of context looks like nothing they
// know: ThreadSanitizer must not take one CPU's turn for an order of its accesses and another's.
//
// In turns: each CPU is a context on the one thread, entered by setcontext, left and entered again
// by the compiler's own setjmp and longjmp: swapcontext is two system calls, and ten times as slow
// under AddressSanitizer. A yield draws who is next among those that do not sleep; time passes by
// one with each turn.
#include "soft.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#if SOFT_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if SOFT_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#define MAX_CPUS    64u
#define STACK_BYTES (512ul << 10)
#define HANG_TURNS  20000000ul
#define HANG_SECS   60u
#define NEXT_MAIN   MAX_CPUS

struct context {
    ucontext_t ucontext;
    const void *stack;
    size_t stack_bytes;
    void *tsan, *asan;
    struct soft_cpu *cpu;
    uint64_t wake;
    void *jump[5];
    bool entered, done;
};

static struct context context[MAX_CPUS + 1]; // the last one: who waits for all CPUs
static unsigned nr_cpus, running = NEXT_MAIN;
static bool threads;
static void (*cpu_fn)(unsigned);
static uint64_t turn, last_progress, turn_random;
static atomic_ulong progress;
static atomic_ulong end_ns;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void hang(void)
{
    fprintf(stderr, "panic: no progress: it hangs\n");
    abort();
}

// ---- In turns -----------------------------------------------------------------------------------

static unsigned draw(unsigned n)
{
    turn_random = turn_random * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(turn_random >> 33) % n;
}

// Of the CPUs that are awake, or the first to wake up.
static unsigned choose(void)
{
    unsigned awake[MAX_CPUS], nr = 0, first = NEXT_MAIN;
    turn++;
    for (unsigned i = 0; i < nr_cpus; i++) {
        if (context[i].done) {
            continue;
        }
        if (context[i].wake <= turn) {
            awake[nr++] = i;
        } else if (first == NEXT_MAIN || context[i].wake < context[first].wake) {
            first = i;
        }
    }
    if (nr == 0 && first != NEXT_MAIN) {
        turn = context[first].wake;
    }
    return nr ? awake[draw(nr)] : first;
}

static __attribute__((noinline, noreturn)) void resume(struct context *c)
{
    if (c->entered) {
        __builtin_longjmp(c->jump, 1);
    }
    c->entered = true;
    setcontext(&c->ucontext);
    abort();
}

static __attribute__((noinline)) void change(unsigned to)
{
    struct context *from = &context[running], *next = &context[to];
    if (from == next) {
        return;
    }
    running = to;
    from->cpu = soft_cpu;
    soft_cpu = next->cpu;
#if SOFT_TSAN
    __tsan_switch_to_fiber(next->tsan, __tsan_switch_to_fiber_no_sync);
#endif
#if SOFT_ASAN
    __sanitizer_start_switch_fiber(&from->asan, next->stack, next->stack_bytes);
#endif
    if (__builtin_setjmp(from->jump) == 0) {
        resume(next);
    }
#if SOFT_ASAN
    __sanitizer_finish_switch_fiber(context[running].asan, NULL, NULL);
#endif
}

static void turn_over(void)
{
    if (turn - last_progress > HANG_TURNS) {
        hang();
    }
    change(choose());
}

static void context_main(void)
{
#if SOFT_ASAN
    const void *stack;
    size_t bytes;
    __sanitizer_finish_switch_fiber(NULL, &stack, &bytes);
    if (!context[NEXT_MAIN].stack) {
        context[NEXT_MAIN].stack = stack;
        context[NEXT_MAIN].stack_bytes = bytes;
    }
#endif
    cpu_fn(running);
    context[running].done = true;
    change(choose());
    abort();
}

static void prepare(struct context *c)
{
    getcontext(&c->ucontext);
    c->stack = c->ucontext.uc_stack.ss_sp = host_map(STACK_BYTES);
    c->stack_bytes = c->ucontext.uc_stack.ss_size = STACK_BYTES;
    c->cpu = soft_cpu; // until it starts itself
    makecontext(&c->ucontext, context_main, 0);
#if SOFT_TSAN
    c->tsan = __tsan_create_fiber(0);
#endif
}

static void run_in_turns(void)
{
    for (unsigned i = 0; i < nr_cpus; i++) {
        prepare(&context[i]);
    }
#if SOFT_TSAN
    context[NEXT_MAIN].tsan = __tsan_get_current_fiber();
#endif
    context[NEXT_MAIN].entered = true;
    change(choose());
}

// ---- At once ------------------------------------------------------------------------------------

static void *thread_main(void *arg)
{
    cpu_fn((unsigned)(uintptr_t)arg);
    return NULL;
}

static void *watch(void *arg)
{
    unsigned long seen = 0;
    for (unsigned secs = 0; secs < HANG_SECS; secs++) {
        unsigned long now = atomic_load(&progress);
        if (now != seen) {
            seen = now;
            secs = 0;
        }
        sleep(1);
    }
    hang();
    return arg;
}

static void run_at_once(void)
{
    pthread_t thread[MAX_CPUS], watcher;
    bool good = pthread_create(&watcher, NULL, watch, NULL) == 0;

    for (uintptr_t i = 0; i < nr_cpus && good; i++) {
        good = pthread_create(&thread[i], NULL, thread_main, (void *)i) == 0;
    }
    if (!good) {
        perror("pthread_create");
        exit(2);
    }
    for (unsigned i = 0; i < nr_cpus; i++) {
        pthread_join(thread[i], NULL);
    }
}

// ---- For the others -----------------------------------------------------------------------------

void host_run_cpus(unsigned n, void (*fn)(unsigned))
{
    nr_cpus = n;
    cpu_fn = fn;
    threads = host_option("THREADS", 0);
    if (threads) {
        run_at_once();
    } else {
        run_in_turns();
    }
}

void host_yield(void)
{
    if (threads) {
        sched_yield();
    } else if (running != NEXT_MAIN) {
        turn_over();
    }
}

void host_sleep(unsigned time)
{
    if (threads) {
        struct timespec t = {0, (long)time * 1000};
        nanosleep(&t, NULL);
    } else if (running != NEXT_MAIN) {
        context[running].wake = turn + time;
        turn_over();
    }
}

void host_progress(void)
{
    if (threads) {
        atomic_fetch_add_explicit(&progress, 1, memory_order_relaxed);
    } else {
        last_progress = turn;
    }
}

void host_set_cpu(struct soft_cpu *c)
{
    soft_cpu = c;
}

void host_start_clock(unsigned percent)
{
    atomic_store(&end_ns, now_ns() + host_option("SECONDS", 3600) * 10000000u * percent);
}

bool host_time_is_up(void)
{
    return threads && now_ns() > atomic_load(&end_ns);
}

void *host_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    return p;
}

unsigned long host_option(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text ? strtoul(text, NULL, 0) : otherwise;
}

uint64_t host_seed(void)
{
    uint64_t seed = host_option("SEED", (unsigned long)time(NULL));
    fprintf(stderr, "# SEED=%llu\n", (unsigned long long)seed);
    turn_random = seed;
    return seed;
}
