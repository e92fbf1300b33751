// TEST: smp=1,2,4,8 timeout=240
// fork while other threads store, fault, map and unmap (R20), fork that fails half way and exit
// with faults in flight (R26). (Faultline only.)
//
//     parent    ladder [ p0 p1 ... p699 ]      clock [ n ]      stairs [ . . . . . . . . . ]
//
// Writers climb the ladder: in round k a writer stores k into its own word of every page, in an
// order of its own. So at any instant the words along that order read k ... k, k-1 ... k-1; a child
// that finds anything else was not given one instant. Beside it goes what the clock said: no word
// may be later than the child's clock, whoever wrote it. A word in the parent that is not what its
// writer left there is a lost store. The stairs are pages nobody has touched, some in leaf tables
// of their own: n is written before n + 1.
#include "race_test.h"
#include <sys/wait.h>

#define LADDER_PAGES 700ul // two leaf tables
#define STAIRS       400ul

static char *ladder;
static atomic_ulong *clock_word;
static unsigned short order[RACERS_MAX][LADDER_PAGES];
static unsigned nr_writers;

// Words of a ladder page: 0.. are the rounds of the writers, 8.. what the clock said to them.
static volatile unsigned long *word_of(unsigned long page, unsigned word)
{
    return (volatile unsigned long *)(ladder + page * PAGE) + word;
}

static unsigned long clock_next(void)
{
    return atomic_fetch_add(clock_word, 1) + 1;
}

static unsigned long ladder_wrong(void)
{
    unsigned long wrong = 0, now = *clock_word;
    for (unsigned id = 0; id < nr_writers; id++) {
        unsigned long first = *word_of(order[id][0], id), before = first;
        for (unsigned i = 0; i < LADDER_PAGES; i++) {
            unsigned long k = *word_of(order[id][i], id);
            wrong += k > before || k + 1 < first;
            before = k;
            wrong += *word_of(order[id][i], 8 + id) > now;
        }
    }
    return wrong;
}

static unsigned long ladder_sum(void)
{
    unsigned long sum = *clock_word;
    for (unsigned long p = 0; p < LADDER_PAGES; p++) {
        for (unsigned w = 0; w < 16; w++) {
            sum = sum * 3 + *word_of(p, w);
        }
    }
    return sum;
}

static pid_t child_begin(void)
{
    fflush(stdout);
    pid_t pid = fork();
    MUST(pid >= 0);
    return pid;
}

static void child_end(pid_t pid)
{
    int status = -1;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

// ---- R20: threads count -------------------------------------------------------------------------

static void climb(unsigned id)
{
    unsigned long lost = 0;
    for (unsigned long k = 1; racing(); k++) {
        for (unsigned i = 0; i < LADDER_PAGES; i++) {
            lost += *word_of(order[id][i], id) != k - 1;
            *word_of(order[id][i], id) = k;
            *word_of(order[id][i], 8 + id) = clock_next();
        }
    }
    CHECK_EQ(lost, 0);
}

// The child: one instant, which does not change any more, and whose pages are its own.
static void child_looks(unsigned i)
{
    unsigned long wrong = ladder_wrong(), was = ladder_sum();
    audit_quiet();
    wrong += checks_failed;
    if (i % 4 == 1) { // a fork of a fork, while both parents write
        pid_t pid = fork();
        if (pid == 0) {
            _exit(ladder_wrong() != 0 || ladder_sum() != was);
        }
        memset(ladder + LADDER_PAGES / 2 * PAGE, 0x55, LADDER_PAGES / 4 * PAGE);
        int status = -1;
        wrong += waitpid(pid, &status, 0) != pid || status != 0;
    } else {
        wrong += ladder_sum() != was;
    }
    for (unsigned long p = i % 3; i % 2 && p < LADDER_PAGES; p += 3) {
        memset(ladder + p * PAGE, 0xff, 128);
    }
    _exit(wrong != 0);
}

static void fork_and_fork(void)
{
    for (unsigned i = 0; i < rounds(40); i++) {
        pid_t first = child_begin();
        if (first == 0) {
            child_looks(i);
        }
        breathe();
        if (i % 2) {
            pid_t second = child_begin();
            if (second == 0) {
                child_looks(i + 1);
            }
            child_end(second);
        }
        child_end(first);
        audit_entries();
    }
}

static void order_pages(unsigned id)
{
    unsigned seed = 77 + id;
    for (unsigned i = 0; i < LADDER_PAGES; i++) {
        unsigned j = next_random(&seed) % (i + 1);
        order[id][i] = order[id][j];
        order[id][j] = (unsigned short)i;
    }
}

static void climbing(int fd)
{
    ladder = race_room(0) + TWO_MIB - 100 * PAGE;
    clock_word = (atomic_ulong *)(race_room(1) + 5 * PAGE);
    nr_writers = nr_chasers;
    for (unsigned id = 0; id < nr_writers; id++) {
        order_pages(id);
    }
    map_at(ladder, LADDER_PAGES, RW, fd < 0 ? ANON : MAP_PRIVATE, fd, 0);
    map_at((char *)clock_word, 1, RW, ANON, -1, 0);
    race(climb, nr_writers, fork_and_fork);
    CHECK_EQ(ladder_wrong(), 0);
    audit_quiet();
    CHECK_EQ(munmap(ladder, LADDER_PAGES * PAGE), 0);
    CHECK_EQ(munmap(clock_word, PAGE), 0);
}

static void test_count(void)
{
    climbing(-1);
}

static void test_count_file(void)
{
    int fd = temp_file(0, 0);
    MUST(ftruncate(fd, LADDER_PAGES * PAGE) == 0);
    climbing(fd);
    close(fd);
}

// ---- R20: threads touch new memory --------------------------------------------------------------

static _Atomic(char *) stairs;

// Every fourth has a leaf table to itself; the others share two.
static volatile unsigned long *stair(char *at, unsigned long n)
{
    return (volatile unsigned long *)(at + (n % 4 == 3 ? (2 + n / 4) * TWO_MIB : n * 2 * PAGE));
}

static void walk_up(unsigned id)
{
    char *done = NULL;
    while (racing()) {
        char *at = stairs;
        if (at == done || id) {
            for (unsigned w = 0; w < 64; w++) { // others keep the clock's page hot
                clock_next();
            }
            continue;
        }
        for (unsigned long n = 0; n < STAIRS; n++) {
            *stair(at, n) = clock_next();
        }
        done = at;
    }
}

static unsigned long stairs_wrong(char *at)
{
    unsigned long wrong = 0, before = 0, now = *clock_word;
    int ended = 0;
    for (unsigned long n = 0; n < STAIRS; n++) {
        unsigned long is = *stair(at, n);
        wrong += is > now || (is && (ended || is <= before));
        ended |= is == 0;
        before = is;
    }
    return wrong;
}

static void fork_on_the_stairs(void)
{
    for (unsigned i = 0; i < rounds(60); i++) {
        char *at = race_room(2 + i % 2);
        map_at(at, (2 + STAIRS / 4) * 512, RW, ANON | MAP_NORESERVE, -1, 0);
        at[511 * PAGE] = 1; // the first of the shared tables is there
        stairs = at;
        for (volatile unsigned turns = 0; turns < i * 64; turns++) {
        }
        pid_t pid = child_begin();
        if (pid == 0) {
            _exit(stairs_wrong(at) != 0);
        }
        child_end(pid);
        while (*stair(at, STAIRS - 1) == 0) {
            sched_yield();
        }
        CHECK_EQ(stairs_wrong(at), 0);
        audit_entries();
        CHECK_EQ(munmap(at, (2 + STAIRS / 4) * TWO_MIB), 0);
    }
}

static void test_stairs(void)
{
    clock_word = (atomic_ulong *)(race_room(1) + 5 * PAGE);
    map_at((char *)clock_word, 1, RW, ANON, -1, 0);
    stairs = NULL;
    race(walk_up, 2, fork_on_the_stairs);
    CHECK_EQ(munmap(clock_word, PAGE), 0);
}

// ---- R20: threads map, move and protect ---------------------------------------------------------

#define STORM_PAGES 640ul

static void storm(unsigned id)
{
    char *at = race_room(2 + 2 * id), *to = race_room(3 + 2 * id) + 7 * PAGE;
    unsigned long stamp = (id + 1) * 0x100000001ul, wrong = 0;
    while (racing()) {
        map_at(at, STORM_PAGES, RW, ANON, -1, 0);
        for (unsigned long p = 0; p < STORM_PAGES; p += 1 + p % 5) {
            *(volatile unsigned long *)(at + p * PAGE) = stamp;
        }
        wrong += mprotect(at + 100 * PAGE, 50 * PAGE, PROT_READ) != 0;
        wrong += mprotect(at + 120 * PAGE, 10 * PAGE, RW) != 0;
        wrong += mremap(at + 200 * PAGE, 300 * PAGE, 300 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                        to) != to;
        wrong += madvise(at, 50 * PAGE, MADV_DONTNEED) != 0;
        for (unsigned long p = 0; p < STORM_PAGES; p += 1 + p % 5) {
            char *is = p < 200 || p >= 500 ? at + p * PAGE : to + (p - 200) * PAGE;
            wrong += *(volatile unsigned long *)is != (p < 50 ? 0 : stamp);
            if (p < 100 || p >= 150) {
                *(volatile unsigned long *)is = stamp;
            }
        }
        wrong += munmap(at, STORM_PAGES * PAGE) != 0 || munmap(to, 300 * PAGE) != 0;
    }
    CHECK_EQ(wrong, 0);
}

static unsigned long storms_wrong(void)
{
    unsigned long wrong = 0, is, stamp;
    for (unsigned id = 0; id < nr_chasers; id++) {
        stamp = (id + 1) * 0x100000001ul;
        for (unsigned long p = 0; p < STORM_PAGES; p++) {
            char *at[2] = {race_room(2 + 2 * id) + p * PAGE, race_room(3 + 2 * id) + p * PAGE};
            for (unsigned k = 0; k < 2; k++) {
                if (poke_word(TOUCH_READ, (volatile unsigned long *)at[k], &is) == 0) {
                    wrong += is != 0 && is != stamp;
                    is = stamp + 1;
                    poke_word(TOUCH_WRITE, (volatile unsigned long *)at[k], &is);
                }
            }
        }
    }
    return wrong;
}

static void fork_in_the_storm(void)
{
    for (unsigned i = 0; i < rounds(40); i++) {
        pid_t pid = child_begin();
        if (pid == 0) {
            _exit(storms_wrong() != 0);
        }
        if (i % 4 == 0) {
            audit_entries();
        }
        child_end(pid);
        breathe();
    }
}

static void test_storm(void)
{
    race(storm, nr_chasers, fork_in_the_storm);
}

// ---- R26: fork that fails -----------------------------------------------------------------------

#define FAIL_PAGES 1100ul

// The rule may hit the very call that takes it back.
static void inject_off(void)
{
    while (knob_write("inject", "off")) {
    }
}

static unsigned long marks_wrong(const char *at, int write)
{
    unsigned long wrong = 0;
    for (unsigned long p = 0; p < FAIL_PAGES; p += 7) {
        volatile unsigned long *w = (volatile unsigned long *)(at + p * PAGE);
        wrong += *w != p + 1;
        *w = write ? p + 1 : *w;
    }
    return wrong;
}

static pid_t fork_without(const char *rule)
{
    fflush(stdout);
    MUST(knob_write("inject", rule) == 0);
    pid_t pid = fork();
    if (pid != 0) {
        int e = errno;
        inject_off();
        CHECK(pid > 0 || e == ENOMEM || e == EAGAIN);
    }
    return pid;
}

static void each_allocation(char *at, const char *site)
{
    char rule[64];
    unsigned worked = 0, failed = 0;
    for (unsigned n = 1; worked < 8 && n < 400; n++) {
        snprintf(rule, sizeof(rule), "%s:%u", site, n);
        pid_t pid = fork_without(rule);
        if (pid == 0) {
            _exit(marks_wrong(at, n % 2) != 0);
        }
        if (pid > 0) {
            // The child may have met the rule itself: then it was killed for want of memory.
            int status = -1;
            CHECK_EQ(waitpid(pid, &status, 0), pid);
            CHECK(status == 0 || status == SIGKILL);
        }
        failed += pid < 0;
        worked = pid > 0 ? worked + 1 : 0;
        CHECK_EQ(marks_wrong(at, n % 3 == 0), 0);
        if (n % 8 == 0) {
            audit_quiet();
        }
    }
    CHECK(failed > 0 && worked == 8);
}

static void test_fail(void)
{
    char *at = race_room(0) + TWO_MIB - 5 * PAGE;
    map_at(at, FAIL_PAGES, RW, ANON, -1, 0);
    for (unsigned long p = 0; p < FAIL_PAGES; p += 7) {
        *(volatile unsigned long *)(at + p * PAGE) = p + 1;
    }
    MUST(mprotect(at + 50 * PAGE, 30 * PAGE, PROT_READ) == 0);
    MUST(mprotect(at + 50 * PAGE, 10 * PAGE, RW) == 0);
    MUST(mprotect(at + 60 * PAGE, 20 * PAGE, RW) == 0);
    each_allocation(at, "*");
    each_allocation(at, "vma_draft");
    audit_quiet();
    CHECK_EQ(munmap(at, FAIL_PAGES * PAGE), 0);
}

// ---- R26: exit with faults in flight ------------------------------------------------------------

static void *write_for_ever(void *arg)
{
    for (unsigned long i = 0;; i++) {
        *word_of(i * 17 % LADDER_PAGES, (unsigned)(uintptr_t)arg) = i;
    }
    return NULL;
}

static atomic_uint *orphans; // shared: what they found wrong, how many are done, how many there are

static void child_exits(unsigned i)
{
    static char stack[3][16384] __attribute__((aligned(4096)));
    for (unsigned k = 0; k < 3; k++) {
        pthread_t t;
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setstack(&attr, stack[k], sizeof(stack[k]));
        if (pthread_create(&t, &attr, write_for_ever, (void *)(uintptr_t)k)) {
            _exit(2);
        }
    }
    for (volatile unsigned turns = 0; turns < i * 300; turns++) {
    }
    pid_t pid = i % 3 == 0 ? fork() : 1;
    if (pid == 0) {
        orphans[0] += *word_of(1, 9) != 77;
        orphans[1]++;
        _exit(0);
    }
    orphans[2] += pid > 0 && i % 3 == 0;
    _exit(*word_of(LADDER_PAGES - 1, 9) != 77);
}

static void test_exit(void)
{
    ladder = race_room(0) + TWO_MIB - 100 * PAGE;
    map_at(ladder, LADDER_PAGES, RW, ANON, -1, 0);
    orphans = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(orphans != MAP_FAILED);
    for (unsigned i = 0; i < rounds(30); i++) {
        for (unsigned long p = i % 2; p < LADDER_PAGES; p++) {
            *word_of(p, 9) = 77;
        }
        pid_t a = child_begin();
        if (a == 0) {
            child_exits(i);
        }
        pid_t b = child_begin();
        if (b == 0) {
            child_exits(i + 1);
        }
        for (unsigned long p = 0; p < LADDER_PAGES; p += 2) {
            *word_of(p, 0) = i;
        }
        child_end(a);
        child_end(b);
        while (orphans[1] != orphans[2]) {
            sched_yield();
        }
        unsigned long wrong = orphans[0];
        for (unsigned long p = 0; p < LADDER_PAGES; p++) {
            wrong += p % 2 == 0 && *word_of(p, 0) != i;
            wrong += (p || i % 2 == 0) && *word_of(p, 9) != 77;
        }
        CHECK_EQ(wrong, 0);
    }
    while (waitpid(-1, NULL, 0) > 0) { // as /init this program is the orphans' parent
    }
    audit_quiet();
    CHECK_EQ(munmap(orphans, PAGE), 0);
    CHECK_EQ(munmap(ladder, LADDER_PAGES * PAGE), 0);
}

static const struct race_test tests[] = {
    {"R20", "fork while threads count", test_count},
    {"R20", "fork while threads count in private copies of a file", test_count_file},
    {"R20", "fork while threads touch new memory", test_stairs},
    {"R20", "fork while threads map, move and protect", test_storm},
    {"R26", "fork with each allocation failing", test_fail},
    {"R26", "exit with faults in flight", test_exit},
};

RACE_MAIN(tests)
