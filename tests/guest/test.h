// Checks for guest tests. A failed check prints where and what on stderr and the test goes on; the
// exit status is 1 in the end. Standard output is one line a group and must be the same on Linux:
// no addresses, no times.
//
//     CHECK(p != NULL);
//     CHECK_EQ(close(fd), 0);
//     CHECK_ERR(close(fd), EBADF);      -1 and this errno
//     group("close twice");             prints "ok close twice", or "FAILED close twice"
//     return finish();
#ifndef TEST_H
#define TEST_H

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_uint checks_failed, checks_failed_before;

#define CHECK(cond)        check_true(!!(cond), __FILE__, __LINE__, #cond)
#define CHECK_EQ(a, b)     check_equal((long long)(a), (long long)(b), __FILE__, __LINE__, #a, #b)
#define CHECK_ERR(call, e) check_errno((long long)(call), (e), __FILE__, __LINE__, #call)
// The test makes no sense without it: end at once.
#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!CHECK(cond)) {                                                                        \
            fprintf(stderr, "cannot go on\n");                                                     \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static inline int check_true(int ok, const char *file, int line, const char *what)
{
    if (!ok) {
        int e = errno;
        fprintf(stderr, "%s:%d: not so: %s (errno %d, %s)\n", file, line, what, e, strerror(e));
        checks_failed++;
    }
    return ok;
}

static inline int check_equal(long long a, long long b, const char *file, int line,
                              const char *what, const char *wanted)
{
    if (a != b) {
        int e = errno;
        fprintf(stderr, "%s:%d: %s is %lld (%#llx), not %s = %lld (errno %d)\n", file, line, what,
                a, (unsigned long long)a, wanted, b, e);
        checks_failed++;
    }
    return a == b;
}

static inline int check_errno(long long got, int wanted, const char *file, int line,
                              const char *what)
{
    int e = errno;
    if (got != -1 || e != wanted) {
        fprintf(stderr, "%s:%d: %s is %lld, errno %d (%s); not -1 and %d (%s)\n", file, line, what,
                got, got == -1 ? e : 0, strerror(got == -1 ? e : 0), wanted, strerror(wanted));
        checks_failed++;
        return 0;
    }
    return 1;
}

static inline void group(const char *name)
{
    unsigned now = checks_failed;
    printf("%s %s\n", now == checks_failed_before ? "ok" : "FAILED", name);
    fflush(stdout);
    checks_failed_before = now;
}

static inline int finish(void)
{
    return checks_failed != 0;
}

#endif
