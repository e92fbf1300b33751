// For the race_*.c tests: threads on stacks of their own that chase one another, and what must be
// as before once they are done.
//
// The shape of a race: chasers touch memory in a loop; the driver, which is the main thread, does a
// fixed number of rounds and then stops them. An `epoch` tells chasers what holds: the driver makes
// it odd after the call under test has returned and even before it starts the next. A chaser that
// reads the same odd epoch before and after its access has made it entirely after the call.
#ifndef RACE_TEST_H
#define RACE_TEST_H

#include "baseline.h"
#include <pthread.h>
#include <sched.h>

#define RACERS_MAX 8
#define TWO_MIB    (512 * PAGE)

static atomic_uint epoch;
static atomic_int stop_racing;
static unsigned nr_chasers; // beside the driver: 2 to 5
static unsigned nr_racers;  // threads that meet: 3 or 4
static long nr_cpus;
static int race_rehearsal; // see race_perform
static int faults_wait;    // the scheme is mmap_lock
static unsigned fewer_rounds = 1, more_rounds = 1;

static char racer_stack[RACERS_MAX][64 * 1024] __attribute__((aligned(4096)));

struct racer {
    void (*fn)(unsigned id);
    unsigned id;
};

static void *racer_main(void *arg)
{
    const struct racer *r = arg;
    r->fn(r->id);
    return NULL;
}

// fn(0), fn(1) ... in threads, and driver here. The chasers are told to stop when it returns.
static inline void race(void (*fn)(unsigned id), unsigned n, void (*driver)(void))
{
    static struct racer racers[RACERS_MAX];
    pthread_t t[RACERS_MAX];
    stop_racing = 0;
    epoch = 0;
    for (unsigned i = 0; i < n; i++) {
        pthread_attr_t attr;
        racers[i] = (struct racer){fn, i};
        pthread_attr_init(&attr);
        MUST(pthread_attr_setstack(&attr, racer_stack[i], sizeof(racer_stack[i])) == 0);
        MUST(pthread_create(&t[i], &attr, racer_main, &racers[i]) == 0);
        pthread_attr_destroy(&attr);
    }
    if (driver) {
        driver();
        stop_racing = 1;
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(t[i], NULL);
    }
}

static inline unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

// Everybody waits for everybody, `n` threads, without system calls that would tidy up TLBs. The
// rounds of one meeting place must be numbered 1, 2 ...
struct meeting {
    atomic_uint arrived;
};
static inline void meet(struct meeting *m, unsigned n, unsigned round)
{
    atomic_fetch_add(&m->arrived, 1);
    for (unsigned turns = 0; m->arrived < n * round; turns++) {
        if (turns > 20) {
            sched_yield();
        }
    }
}

// A chaser's loop condition. It takes a breath each time, or all would only wait for one lock. On
// one CPU it gives way now and then: a race there is a switch in the right place, and a chaser that
// keeps its 10 ms to itself makes few.
static inline int racing(void)
{
    static _Thread_local unsigned n;
    if (nr_cpus == 1) {
        if (n++ % 8 == 0) {
            sched_yield();
        }
        return !stop_racing;
    }
    for (volatile int turns = 0; turns < 150; turns++) {
    }
    return !stop_racing;
}

// The driver lets the chasers run.
static inline void breathe(void)
{
    static unsigned n;
    if (nr_cpus == 1 || n++ % 16 == 0) {
        sched_yield();
        return;
    }
    for (volatile int turns = 0; turns < 2000; turns++) {
    }
}

// Like touch(), without the two system calls for the signal mask.
static inline int poke(enum touch how, volatile unsigned char *p, unsigned char *byte)
{
    int what = sigsetjmp(catch_jump, 0);
    if (what == 0) {
        catching = 1;
        if (how == TOUCH_READ) {
            *byte = *p;
        } else {
            *p = *byte;
        }
    }
    catching = 0;
    return what;
}
static inline int poke_word(enum touch how, volatile unsigned long *p, unsigned long *word)
{
    int what = sigsetjmp(catch_jump, 0);
    if (what == 0) {
        catching = 1;
        if (how == TOUCH_READ) {
            *word = *p;
        } else {
            *p = *word;
        }
    }
    catching = 0;
    return what;
}

// One number of /proc/faultline/audit; see mm/audit.c. Reading it does the audit.
static inline long audit_word(const char *text, const char *word)
{
    const char *p = strstr(text, word);
    MUST(p != NULL);
    return atol(p + strlen(word));
}

// Every entry agrees with its VMA. Exact while others fault, but for truncate.
static inline int audit_entries(void)
{
    char text[256];
    knob_read("audit", text, sizeof(text));
    return CHECK_EQ(audit_word(text, "wrong "), 0);
}

// The same when nobody faults: also the counters, and no table without a VMA.
static inline void audit_quiet(void)
{
    char text[256];
    knob_read("audit", text, sizeof(text));
    CHECK_EQ(audit_word(text, "wrong "), 0);
    CHECK_EQ(audit_word(text, "stray_tables "), 0);
    CHECK_EQ(audit_word(text, "anon_off "), 0);
    CHECK_EQ(audit_word(text, "file_off "), 0);
    CHECK_EQ(audit_word(text, "tables_off "), 0);
}

// ---- The tests of a program ---------------------------------------------------------------------

// Each is one line of output: its race's number (docs/RACES.md has the list), and what is done.
// Arguments of the program pick some: `race_tables R3` is all of R3, `race_tables` everything;
// `race_tables -4` makes a quarter of the rounds, `race_tables +4` four times as many.
struct race_test {
    const char *id, *what;
    void (*run)(void);
};

// Each runs twice: the first time the library and the kernel's caches take what they keep. After
// the second run everything is as before it, to the last object, or the test has failed.
static inline void race_perform(const struct race_test *t)
{
    char name[128];
    race_rehearsal = 1;
    t->run();
    race_rehearsal = 0;
    struct baseline was = baseline_first();
    t->run();
    audit_quiet();
    baseline_check(&was);
    CHECK_EQ(baseline_now().own_vmas, was.own_vmas);
    snprintf(name, sizeof(name), "%s %s", t->id, t->what);
    group(name);
}

static inline int race_picked(const struct race_test *t, int argc, char **argv)
{
    int picked = 0, nr_names = 0;
    for (int i = 1; i < argc; i++) {
        picked |= strcmp(argv[i], t->id) == 0;
        nr_names += argv[i][0] != '-' && argv[i][0] != '+';
    }
    return picked || nr_names == 0;
}

static inline void race_set_up(void)
{
    char text[64];
    knob_read("scheme", text, sizeof(text));
    faults_wait = strstr(text, "[mmap_lock]") != NULL;
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    nr_racers = nr_cpus < 4 ? 3 : 4;
    nr_chasers = nr_cpus < 3 ? 2 : nr_cpus < 8 ? 3 : 5;
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    MUST(knob_write("audit_tables", "1") == 0);
}

// Which schedule this was, where the kernel has yield points; for tests/explore.
static inline void race_schedule(void)
{
    if (access("/proc/faultline/explore", F_OK) == 0) {
        char text[128];
        knob_read("explore", text, sizeof(text));
        fprintf(stderr, "explore: %s", text);
    }
}

static inline int race_main(const struct race_test *tests, unsigned n, int argc, char **argv)
{
    unsigned nr_picked = 0;
    race_set_up();
    for (int i = 1; i < argc; i++) {
        fewer_rounds = argv[i][0] == '-' ? (unsigned)atoi(argv[i] + 1) : fewer_rounds;
        more_rounds = argv[i][0] == '+' ? (unsigned)atoi(argv[i] + 1) : more_rounds;
    }
    MUST(fewer_rounds > 0 && more_rounds > 0);
    for (unsigned i = 0; i < n; i++) {
        if (race_picked(&tests[i], argc, argv)) {
            race_perform(&tests[i]);
            nr_picked++;
        }
    }
    MUST(nr_picked > 0);
    race_schedule();
    return finish();
}
#define RACE_MAIN(tests)                                                                           \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return race_main(tests, sizeof(tests) / sizeof(*(tests)), argc, argv);                     \
    }

// Rounds of a driver: fewer in the rehearsal, and fewer with many CPUs, of which the host has less:
// whoever waits for a lock or an interrupt then waits for the host. And fewer where faults wait for
// writers: each round is a few changes of thread then.
static inline unsigned rounds(unsigned n)
{
    n = nr_cpus == 1 ? n : n * 2 / (unsigned)nr_cpus;
    n = (faults_wait ? n / 2 : n) * more_rounds / fewer_rounds;
    return race_rehearsal ? n / 8 + 1 : n + 1;
}

// Room at fixed places where the library maps nothing, 2 MiB aligned, 1 GiB each.
static inline char *race_room(unsigned n)
{
    return (char *)(0x300000000000ul + ((unsigned long)n << 30));
}

static inline void map_at(char *p, unsigned long nr_pages, int prot, int flags, int fd, off_t off)
{
    MUST(mmap(p, nr_pages * PAGE, prot, flags | MAP_FIXED, fd, off) == p);
}

#endif
