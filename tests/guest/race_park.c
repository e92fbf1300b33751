// TEST: smp=1,2,4,8 timeout=120
// R27: faults that sleep for their page hold a count of their VMA, and every way out gives it back:
// the mapping is taken away, the page cannot be read, the thread is killed by execve or exit.
// (Faultline only.)
//
// The program starts itself anew while its threads sleep in faults; the new image finds the counts
// that an undisturbed new image finds. In the end it exits with faults asleep: a reference that is
// never given back would make it wait until the time is up.
#include "race_test.h"

#define THREADS 8u
#define PAGES   64ul

static char *area;
static int slow_fd;

static void read_slowly(unsigned id)
{
    unsigned seed = id + 3;
    while (racing()) {
        unsigned long p = next_random(&seed) % PAGES, word = 0;
        unsigned long at = p * PAGE + 24;
        int what = poke_word(TOUCH_READ, (volatile unsigned long *)(area + at), &word);
        CHECK(what == 0 || what == MAPERR || what == BUS || what == ACCERR);
        CHECK(what != 0 || word == at || word == 0);
    }
}

static void park_here(void)
{
    long before = knob_get("slow_reads");
    while (knob_get("slow_reads") - before < 3) {
        sched_yield();
        MUST(knob_write("slow_drop", "1") == 0);
    }
}

static void take_away(void)
{
    for (unsigned i = 0; i < 12; i++) {
        map_at(area, PAGES, PROT_READ, MAP_SHARED, slow_fd, 0);
        park_here();
        knob_set("slow_fail_every", i % 3 == 2 ? 2 : 0);
        switch (i % 4) {
        case 0:
            CHECK_EQ(munmap(area, PAGES * PAGE), 0);
            break;
        case 1:
            CHECK_EQ(mprotect(area, PAGES * PAGE, PROT_NONE), 0);
            break;
        case 2:
            map_at(area, PAGES, RW, ANON, -1, 0);
            break;
        default:
            CHECK(mremap(area, PAGES * PAGE, PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                         race_room(7)) == race_room(7));
            CHECK_EQ(munmap(race_room(7), PAGES * PAGE), 0);
            break;
        }
    }
    knob_set("slow_fail_every", 0);
    munmap(area, PAGES * PAGE);
}

static void again(const char *self, const char *stage, const struct baseline *was)
{
    char text[128];
    char *argv[] = {(char *)(uintptr_t)self, (char *)(uintptr_t)stage, text, NULL}, *env[] = {NULL};
    baseline_print(was, text, sizeof(text));
    execve(self, argv, env);
    CHECK(!"execve returned");
    exit(1);
}

static void with_sleepers(void (*then)(const char *), const char *self)
{
    static struct racer racers[THREADS];
    map_at(area, PAGES, PROT_READ, MAP_SHARED, slow_fd, 0);
    stop_racing = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_t t;
        racers[i] = (struct racer){read_slowly, i};
        MUST(pthread_create(&t, NULL, racer_main, &racers[i]) == 0);
    }
    park_here();
    then(self);
}

static struct baseline was;

static void then_exec(const char *self)
{
    again(self, "after", &was);
}

static void then_exit(const char *self)
{
    (void)self;
    race_schedule();
    _exit(finish());
}

static void set_up(void)
{
    race_set_up();
    area = race_room(6);
    slow_fd = open("/slow/data", O_RDWR | O_CLOEXEC);
    MUST(slow_fd >= 0);
    knob_set("slow_delay_ms", 5);
}

// Images: "" prepares; "first" notes the counts of a new image; "after" compares.
int main(int argc, char **argv)
{
    const char *stage = argc > 1 ? argv[1] : "";
    MUST(knob_write("slow_drop", "1") == 0);
    if (strcmp(stage, "after") == 0) {
        MUST(argc > 2);
        baseline_parse(&was, argv[2]);
        baseline_check(&was);
        group("R27 execve with sleeping faults");
        group("R27 exit with sleeping faults (it ends)"); // known by whoever waits for the status
        set_up();
        with_sleepers(then_exit, NULL);
        return 1;
    }
    struct baseline now = baseline_first();
    set_up();
    if (strcmp(stage, "") == 0) {
        again(argv[0], "first", &now);
    }
    was = baseline_first();
    race(read_slowly, THREADS, take_away);
    audit_quiet();
    MUST(knob_write("slow_drop", "1") == 0);
    baseline_check(&was);
    CHECK_EQ(baseline_now().own_vmas, was.own_vmas);
    group("R27 mappings taken from sleeping faults");
    was = now;
    with_sleepers(then_exec, argv[0]);
    return 1;
}
