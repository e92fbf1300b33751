// Self-tests inside the kernel, run by the boot argument ktest=1 (all) or ktest=PREFIX before the
// first process starts. Each prints "ktest NAME ok" or "ktest NAME FAILED" and a failure panics.
//
//     KTEST(list_splice)
//     {
//         KTEST_CHECK(list_empty(&l));
//     }
#ifndef KTEST_H
#define KTEST_H

#include <k/types.h>

struct ktest {
    const char *name;
    void (*fn)(void);
};

#define KTEST(name_)                                                                               \
    NO_LOCK_ANALYSIS static void ktest_##name_(void);                                              \
    static const struct ktest ktest_entry_##name_                                                  \
        __attribute__((section(".ktests"), used)) = {#name_, ktest_##name_};                       \
    static void ktest_##name_(void)

// Note a failure and go on, so that a test can end its threads.
#define KTEST_CHECK(cond)                                                                          \
    do {                                                                                           \
        if (unlikely(!(cond))) {                                                                   \
            ktest_fail(#cond, __FILE__, __LINE__);                                                 \
        }                                                                                          \
    } while (0)

void ktest_fail(const char *what, const char *file, int line);

// Run the tests whose name starts with prefix. May sleep.
void ktest_run(const char *prefix);

// kernel/provoke.c: break the rule that panic=NAME on the command line names. Boot, may sleep.
void provoke_from_command_line(void);

#endif
