// For the programs in this folder: say what holds, stop at the first thing that does not.
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            int errno_ = errno;                                                                    \
            printf("FAILED: %s (%s:%d, errno %d %s)\n", #cond, __FILE__, __LINE__, errno_,         \
                   strerror(errno_));                                                              \
            fflush(stdout);                                                                        \
            _Exit(1);                                                                              \
        }                                                                                          \
    } while (0)

// The call fails with this errno.
#define CHECK_ERRNO(call, err)                                                                     \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long r_ = (long)(call);                                                                    \
        if (r_ != -1 || errno != (err)) {                                                          \
            printf("FAILED: %s is %ld, errno %d %s, expected %s (%s:%d)\n", #call, r_, errno,      \
                   strerror(errno), #err, __FILE__, __LINE__);                                     \
            fflush(stdout);                                                                        \
            _Exit(1);                                                                              \
        }                                                                                          \
    } while (0)

// Name what works now.
static inline void ok(const char *what)
{
    printf("ok %s\n", what);
    fflush(stdout);
}

#endif
