// TEST: smp=2 scheme=rcu linux=same
// What execve makes of user and group numbers, capabilities and the right to look into a process:
// from each state, by root and by others, with keep_caps, securebits, ambient capabilities, less of
// a bounding set, no_new_privs. Prints what the new program sees, which must be what Linux says.
#define _GNU_SOURCE
#include "proc_test.h"
#include <linux/capability.h>
#include <linux/securebits.h>

static const int states[][3] = {{0, 0, 0}, {0, 0, 1}, {0, 1, 0}, {1, 0, 0},
                                {0, 1, 1}, {1, 1, 0}, {1, 1, 1}, {1, 2, 3}};
static const char *const ways[] = {"plain",   "keepcaps", "noroot", "ambient",
                                   "bounded", "given up", "no new", "given up, no new"};

static void caps_get(struct __user_cap_data_struct *d)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    MUST(syscall(SYS_capget, &h, d) == 0);
}

static void caps_set(const struct __user_cap_data_struct *d)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    MUST(syscall(SYS_capset, &h, d) == 0);
}

static void look(void)
{
    struct __user_cap_data_struct d[2];
    int u[3], g[3];
    caps_get(d);
    syscall(SYS_getresuid, &u[0], &u[1], &u[2]);
    syscall(SYS_getresgid, &g[0], &g[1], &g[2]);
    printf("  %d %d %d fs %d, %d %d %d fs %d, dumpable %d, keepcaps %d, bits %x, ", u[0], u[1],
           u[2], (int)syscall(SYS_setfsuid, -1), g[0], g[1], g[2], (int)syscall(SYS_setfsgid, -1),
           prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS), prctl(PR_GET_SECUREBITS));
    printf("%08x %08x %08x\n", d[0].effective, d[0].permitted, d[0].inheritable);
    fflush(stdout);
}

static void prepare(int way)
{
    struct __user_cap_data_struct d[2];
    caps_get(d);
    switch (way) {
    case 1:
        MUST(prctl(PR_SET_KEEPCAPS, 1) == 0);
        break;
    case 2:
        MUST(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT) == 0);
        break;
    case 3:
        d[0].inheritable = 1u << CAP_NET_RAW;
        caps_set(d);
        MUST(prctl(PR_SET_KEEPCAPS, 1) == 0);
        break;
    case 4:
        MUST(prctl(PR_CAPBSET_DROP, CAP_CHOWN) == 0);
        break;
    default:
        break;
    }
}

// After the numbers are set.
static void finish_state(int way)
{
    struct __user_cap_data_struct d[2] = {0};
    if (way == 3) {
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0);
    }
    if (way == 5 || way == 7) {
        caps_set(d);
    }
    if (way >= 6) {
        MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    }
}

static void one(char *self, int way, const int *state, int groups)
{
    printf("%s, %s %d %d %d\n", ways[way], groups ? "groups" : "users", state[0], state[1],
           state[2]);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        prepare(way);
        if (groups) {
            MUST(syscall(SYS_setresgid, state[0], state[1], state[2]) == 0);
        } else {
            MUST(syscall(SYS_setresuid, state[0], state[1], state[2]) == 0);
        }
        finish_state(way);
        execl(self, self, "look", NULL);
        _exit(99);
    }
    exits_with(pid, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        look();
        return 0;
    }
    for (int way = 0; way < 8; way++) {
        for (unsigned s = 0; s < sizeof(states) / sizeof(states[0]); s++) {
            one(argv[0], way, states[s], 0);
        }
        one(argv[0], way, states[2], 1);
        one(argv[0], way, states[7], 1);
    }
    group("all of them");
    return finish();
}
