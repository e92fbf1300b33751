// TEST: smp=1,4 scheme=rcu linux=same timeout=60
// clone and clone3 themselves: a thread on a stack of our own, the words they write, their errors.
#define _GNU_SOURCE
#include <linux/sched.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define THREAD                                                                                     \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |            \
     CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID)

static char stack[65536] __attribute__((aligned(64)));
static atomic_int ran;
static volatile pid_t parent_tid, child_tid;
static pid_t seen_tid;

static int child(void *arg)
{
    CHECK(arg == stack);
    seen_tid = child_tid;
    CHECK(syscall(SYS_gettid) == seen_tid && syscall(SYS_getpid) != seen_tid);
    atomic_store(&ran, 1);
    return 0;
}

static void own_stack(void)
{
    for (int i = 0; i < 50; i++) {
        parent_tid = child_tid = -1;
        atomic_store(&ran, 0);
        int tid = clone(child, stack + sizeof(stack), THREAD, stack, &parent_tid, NULL, &child_tid);

        CHECK(tid > 0 && parent_tid == tid);
        while (child_tid != 0) {
            sched_yield();
        }
        CHECK(atomic_load(&ran) && seen_tid == tid);
    }
    ok("clone on a stack of our own");
}

static void errors(void)
{
    struct clone_args args = {.flags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, .exit_signal = 17};
    char big[256] = {0};

    CHECK_ERRNO(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_clone, CLONE_THREAD | CLONE_SIGHAND, 0, 0, 0, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_clone3, &args, sizeof(args)), EINVAL);
    CHECK_ERRNO(syscall(SYS_clone3, &args, 8), EINVAL);
    CHECK_ERRNO(syscall(SYS_clone3, (void *)8, sizeof(args)), EFAULT);
    CHECK_ERRNO(syscall(SYS_clone3, big, 5000), E2BIG);
    big[200] = 1;
    CHECK_ERRNO(syscall(SYS_clone3, big, sizeof(big)), E2BIG);
    args.exit_signal = 0;
    args.stack = (uintptr_t)stack; // without a size
    CHECK_ERRNO(syscall(SYS_clone3, &args, sizeof(args)), EINVAL);
    args.stack = 0;
    args.stack_size = 4096;
    CHECK_ERRNO(syscall(SYS_clone3, &args, sizeof(args)), EINVAL);
    ok("errors");
}

// clone takes what is no signal: the end is told by waking alone, and only to who waits for all
// kinds. clone3 does not.
static void odd_signals(void)
{
    static const int odd[] = {65, 100, 255};
    struct clone_args args = {.exit_signal = 65};
    int status;

    for (int i = 0; i < 3; i++) {
        int pid = (int)syscall(SYS_clone, odd[i], 0, 0, 0, 0);

        if (pid == 0) {
            _exit(3);
        }
        CHECK(pid > 0);
        CHECK_ERRNO(waitpid(pid, &status, 0), ECHILD);
        CHECK(waitpid(pid, &status, __WALL) == pid && status == 3 << 8);
    }
    CHECK_ERRNO(syscall(SYS_clone3, &args, sizeof(args)), EINVAL);
    ok("exit signals that are none");
}

int main(void)
{
    own_stack();
    errors();
    odd_signals();
    return 0;
}
