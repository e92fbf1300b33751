// TEST: smp=2 scheme=rcu linux=same timeout=120
// What prctl says to each of its options, with small arguments, each in a child of its own; and
// what the options keep that change nothing here. Left out is what depends on the processor or on
// the configuration of Linux: seccomp, traps of rdtsc, speculation, dispatch of system calls.
#define _GNU_SOURCE
#include "perm_test.h"

static int is_left_out(int option)
{
    return option == PR_SET_SECCOMP || option == PR_SET_TSC || option == PR_GET_SPECULATION_CTRL ||
           option == PR_SET_SPECULATION_CTRL || option == PR_SET_SYSCALL_USER_DISPATCH;
}

static void show(int option, long a, long b, long c)
{
    errno = 0;
    long r = syscall(SYS_prctl, option, a, b, c, 0);
    printf("%d %ld %ld %ld: %ld %s\n", option, a, b, c, r, r < 0 ? strerrorname_np(errno) : "");
}

static void each_in_a_child(const struct who *w, long a, long b)
{
    for (int option = 0; option < 65; option++) {
        if (is_left_out(option)) {
            continue;
        }
        fflush(stdout);
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0) {
            if (w) {
                become(w);
            }
            show(option, a, b, 0);
            fflush(stdout);
            _exit(0);
        }
        exits_with(pid, 0);
    }
}

static void keep_mce(void)
{
    static const int sets[][3] = {{1, 0, 0}, {1, 1, 0}, {1, 2, 0}, {1, 1, 0}, {1, 3, 0},
                                  {1, 0, 1}, {2, 0, 0}, {0, 1, 0}, {0, 0, 0}, {-1, 0, 0}};
    for (unsigned i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        show(PR_MCE_KILL, sets[i][0], sets[i][1], sets[i][2]);
        show(PR_MCE_KILL_GET, 0, 0, 0);
    }
    show(PR_MCE_KILL_GET, 0, 0, 1);
}

static void keep_flusher(void)
{
    show(PR_SET_IO_FLUSHER, 1, 0, 0);
    show(PR_GET_IO_FLUSHER, 0, 0, 0);
    show(PR_SET_IO_FLUSHER, 2, 0, 0);
    show(PR_GET_IO_FLUSHER, 0, 0, 1);
    show(PR_GET_IO_FLUSHER, 0, 0, 0);
    show(PR_SET_IO_FLUSHER, 0, 0, 0);
    show(PR_GET_IO_FLUSHER, 0, 0, 0);
}

// Speculation is as the processor has it; which kinds there are is not.
static void speculation(void)
{
    CHECK(prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0) >= 0);
    CHECK(prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, 0, 0, 0) >= 0);
    CHECK_ERR(prctl(PR_GET_SPECULATION_CTRL, 3, 0, 0, 0), ENODEV);
    CHECK_ERR(prctl(PR_GET_SPECULATION_CTRL, 0, 1, 0, 0), EINVAL);
    CHECK_ERR(prctl(PR_SET_SPECULATION_CTRL, 3, 0, 0, 0), ENODEV);
    CHECK_ERR(prctl(PR_SET_SPECULATION_CTRL, 0, 0, 1, 0), EINVAL);
    group("speculation");
}

static void ptracer(void)
{
    CHECK_EQ(prctl(PR_SET_PTRACER, getpid(), 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_PTRACER, 0, 0, 0, 0), 0);
    CHECK_ERR(prctl(PR_SET_PTRACER, 4000000, 0, 0, 0), EINVAL);
    CHECK_ERR(prctl(PR_SET_PTRACER, -2, 0, 0, 0), EINVAL);
    group("who may trace");
}

int main(void)
{
    static const struct who user = {"user", 1000, 1000, 1000, 1000, -1, 0};
    each_in_a_child(NULL, 0, 0);
    each_in_a_child(NULL, 0, 1);
    each_in_a_child(NULL, 1, 0);
    each_in_a_child(NULL, 2, 0);
    each_in_a_child(NULL, -1, 0);
    each_in_a_child(&user, 0, 0);
    each_in_a_child(&user, 1, 0);
    keep_mce();
    keep_flusher();
    speculation();
    ptracer();
    return finish();
}
