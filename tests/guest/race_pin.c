// TEST: smp=1,2,4,8 timeout=120
// fork while the kernel holds pages of the parent and writes to them (R31). (Faultline only.)
//
//     pwrite to /proc/self/mem        fork                          another thread
//     holds page P
//                                     gives P to the child (bad)
//                                                                   stores to P: gets a copy, P'
//     writes to P: the child's, and
//     missing in P'
#include "race_test.h"
#include <sys/wait.h>

#define PIN_PAGES 8ul
#define PIN_WORDS 504ul // of each page; the last eight are for those who store

static int mem_fd; // /proc/self/mem: the kernel holds each page while it writes to it

static volatile unsigned long *pin_word(unsigned long page, unsigned long word)
{
    return (volatile unsigned long *)(race_room(0) + page * PAGE) + word;
}

// Both must find again what they have written. The stores see to it that the parent's page is
// replaced in the middle of a write, should fork have given that page to the child.
static void pin_or_store(unsigned id)
{
    unsigned long wrong = 0, words[PIN_WORDS];
    for (unsigned long k = 1; racing(); k++) {
        unsigned long page = k % PIN_PAGES;
        if (id) {
            wrong += *pin_word(page, PIN_WORDS + id) != (k < PIN_PAGES ? 0 : k - PIN_PAGES);
            *pin_word(page, PIN_WORDS + id) = k;
            continue;
        }
        for (unsigned long i = 0; i < PIN_WORDS; i++) {
            words[i] = k;
        }
        off_t at = (off_t)(uintptr_t)pin_word(page, 0);
        wrong += pwrite(mem_fd, words, sizeof(words), at) != sizeof(words);
        for (unsigned long i = 0; i < PIN_WORDS; i++) {
            wrong += *pin_word(page, i) != k;
        }
    }
    CHECK_EQ(wrong, 0);
}

static unsigned long pin_sum(void)
{
    unsigned long sum = 0;
    for (unsigned long i = 0; i < PIN_PAGES * PAGE / 8; i++) {
        sum = sum * 3 + *pin_word(0, i);
    }
    return sum;
}

static void fork_pinned(void)
{
    for (unsigned i = 0; i < rounds(80); i++) {
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0) {
            unsigned long was = pin_sum(), wrong = 0;
            for (unsigned n = 0; n < 20; n++) {
                sched_yield();
                wrong += pin_sum() != was;
            }
            _exit(wrong != 0);
        }
        breathe();
        int status = -1;
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, 0);
        audit_entries();
    }
}

static void test_pinned(void)
{
    map_at(race_room(0), PIN_PAGES, RW, ANON, -1, 0);
    mem_fd = open("/proc/self/mem", O_RDWR);
    MUST(mem_fd >= 0);
    race(pin_or_store, nr_chasers, fork_pinned);
    close(mem_fd);
    audit_quiet();
    CHECK_EQ(munmap(race_room(0), PIN_PAGES * PAGE), 0);
}

static const struct race_test tests[] = {
    {"R31", "fork while pages are pinned for writing", test_pinned},
};

RACE_MAIN(tests)
