// TEST: smp=2 scheme=rcu linux=same timeout=180
// What setuid, setreuid, setresuid, setfsuid and their twins for groups make of every state, by
// root and by others: the numbers, the capabilities, whether the process may be dumped. A line is
// the sum of all calls of a kind in a state; with an argument
// each is shown.
#define _GNU_SOURCE
#include "proc_test.h"
#include <linux/capability.h>
#include <stdint.h>
#include <sys/mman.h>

static const struct {
    const char *name;
    long nr[2]; // for users, for groups
    int args;
} calls[] = {
    {"set", {SYS_setuid, SYS_setgid}, 1},
    {"setre", {SYS_setreuid, SYS_setregid}, 2},
    {"setres", {SYS_setresuid, SYS_setresgid}, 3},
    {"setfs", {SYS_setfsuid, SYS_setfsgid}, 1},
};
static const int states[][3] = {{0, 0, 0}, {0, 0, 1}, {0, 1, 0}, {1, 0, 0},
                                {0, 1, 1}, {1, 1, 0}, {1, 2, 3}};
static const int values[] = {-1, 0, 1, 7};
static int all;

struct result {
    int r, err, id[3], fs, dumpable;
    unsigned cap[4];
};
static struct result *shared;

static void look(int groups, struct result *out)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    syscall(groups ? SYS_getresgid : SYS_getresuid, &out->id[0], &out->id[1], &out->id[2]);
    out->dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    syscall(SYS_capget, &h, d);
    for (int i = 0; i < 2; i++) {
        out->cap[2 * i] = d[i].effective;
        out->cap[2 * i + 1] = d[i].permitted;
    }
    out->fs = (int)syscall(groups ? SYS_setfsgid : SYS_setfsuid, -1);
}

// In a child: from root to the state, as user 0 or 5; then the call.
static int one_call(int groups, int user, const int *state, int call, const int *arg)
{
    if (groups) {
        MUST(syscall(SYS_setresgid, state[0], state[1], state[2]) == 0);
        MUST(syscall(SYS_setresuid, user, user, user) == 0);
    } else {
        MUST(syscall(SYS_setresuid, state[0], state[1], state[2]) == 0);
    }
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    errno = 0;
    shared->r = (int)syscall(calls[call].nr[groups], arg[0], arg[1], arg[2]);
    shared->err = errno;
    look(groups, shared);
    return 0;
}

static uint64_t mix(uint64_t sum, const struct result *r)
{
    const unsigned char *p = (const void *)r;
    for (size_t i = 0; i < sizeof(*r); i++) {
        sum = (sum ^ p[i]) * 0x100000001b3;
    }
    return sum;
}

static void show(const int *arg)
{
    const struct result *r = shared;
    printf("  %d %d %d: %d %d, %d %d %d fs %d, dumpable %d, %x%08x %x%08x\n", arg[0], arg[1],
           arg[2], r->r, r->err, r->id[0], r->id[1], r->id[2], r->fs, r->dumpable, r->cap[2],
           r->cap[0], r->cap[3], r->cap[1]);
}

static void all_calls(int groups, int user, const int *state, int call)
{
    uint64_t sum = 0xcbf29ce484222325;
    int nr = (int)(sizeof(values) / sizeof(values[0])), n = 1;
    for (int i = 0; i < calls[call].args; i++) {
        n *= nr;
    }
    for (int i = 0; i < n; i++) {
        int arg[3] = {values[i % nr], values[i / nr % nr], values[i / nr / nr % nr]};
        if (calls[call].args == 3 && i % 3) {
            continue; // a third of them will do
        }
        pid_t pid = fork();
        if (pid == 0) {
            _exit(one_call(groups, user, state, call, arg));
        }
        exits_with(pid, 0);
        sum = mix(sum, shared);
        if (all) {
            show(arg);
        }
    }
    printf("%s%cid from %d %d %d by %d: %016lx\n", calls[call].name, groups ? 'g' : 'u', state[0],
           state[1], state[2], user, (unsigned long)sum);
}

int main(int argc, char **argv)
{
    (void)argv;
    all = argc > 1;
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(shared != MAP_FAILED);
    for (unsigned s = 0; s < sizeof(states) / sizeof(states[0]); s++) {
        for (int call = 0; call < 4; call++) {
            all_calls(0, 0, states[s], call);
            if (s == 0 || s >= 5) {
                all_calls(1, 0, states[s], call);
                all_calls(1, 5, states[s], call);
            }
        }
    }
    group("all of them");
    return finish();
}
