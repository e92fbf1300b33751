// For tests of permissions: who calls, and what the call said.
#ifndef PERM_TEST_H
#define PERM_TEST_H

#include "proc_test.h"
#include <grp.h>
#include <linux/capability.h>

#define ALL_CAPS (~0ull) // as root's numbers give them

struct who {
    const char *name;
    int real, effective, saved; // users
    int gid, group;             // all three, and a supplementary one; -1: none
    unsigned long long caps;    // permitted and effective
};

// From now on the process, which was root's, is that. For good.
static inline void become(const struct who *w)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    gid_t group = (gid_t)w->group;
    MUST(setgroups(w->group < 0 ? 0 : 1, &group) == 0);
    MUST(setresgid((gid_t)w->gid, (gid_t)w->gid, (gid_t)w->gid) == 0);
    MUST(prctl(PR_SET_KEEPCAPS, 1) == 0);
    MUST(setresuid((uid_t)w->real, (uid_t)w->effective, (uid_t)w->saved) == 0);
    if (w->caps != ALL_CAPS) {
        MUST(syscall(SYS_capget, &h, d) == 0);
        d[0].effective = d[0].permitted = (unsigned)w->caps;
        d[1].effective = d[1].permitted = (unsigned)(w->caps >> 32);
        d[0].inheritable = d[1].inheritable = 0;
        MUST(syscall(SYS_capset, &h, d) == 0);
    }
    MUST(prctl(PR_SET_DUMPABLE, 1) == 0); // the changes took it away
}

// The errno of a call, 0 where it was allowed.
static inline int result(long r)
{
    return r < 0 ? errno : 0;
}

static inline int result_fd(int fd)
{
    int err = result(fd);
    if (fd >= 0) {
        close(fd);
    }
    return err;
}

#endif
