// TEST: smp=2 scheme=rcu linux=same timeout=60
// What execve ends and what it keeps of what prctl and membarrier have set. The program starts
// itself again.
#define _GNU_SOURCE
#include "proc_test.h"
#include <linux/membarrier.h>

static long barrier(int cmd)
{
    return syscall(SYS_membarrier, cmd, 0, 0);
}

static void before(const char *self)
{
    CHECK_EQ(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_NAME, "another", 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_TIMERSLACK, 12345, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_ERR(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED), EPERM);
    CHECK_EQ(barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED), 0);
    CHECK_EQ(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED), 0);
    CHECK_EQ(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0), 1);
    CHECK_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    execl("/nonexistent", "x", NULL); // one that fails ends nothing
    CHECK_EQ(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0), 1);
    CHECK_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    CHECK_EQ(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED), 0);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK_EQ(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED), 0);
        CHECK_EQ(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0), 1);
        CHECK_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
        _exit(finish());
    }
    exits_with(pid, 0);
    group("before");
    MUST(!finish()); // the count does not outlive the program
    execl(self, self, "after", NULL);
}

static void after(void)
{
    int value = 0;
    CHECK_EQ(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
    CHECK_ERR(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED), EPERM);
    group("ended by execve");
    CHECK_EQ(prctl(PR_GET_PDEATHSIG, &value, 0, 0, 0), 0);
    CHECK_EQ(value, SIGUSR1);
    CHECK_EQ(prctl(PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0), 0);
    CHECK_EQ(value, 1);
    CHECK_EQ(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), 12345);
    CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    group("kept by execve");
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        before(argv[0]);
        CHECK(!"execve came back");
    } else {
        after();
    }
    return finish();
}
