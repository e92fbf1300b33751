// TEST: smp=1 scheme=rcu linux=same
// What a program inherits from tools/run: no signal ignored or blocked, three open files, a umask.
// Here the kernel starts it, on Linux user/init. One with SIGPIPE ignored would go on writing what
// nobody reads; yes(1) does, for ever.
#include "test.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

static int line_is(const char *path, const char *wanted)
{
    FILE *file = fopen(path, "r");
    char line[256];
    int found = 0;

    MUST(file != NULL);
    while (!found && fgets(line, sizeof(line), file)) {
        found = strcmp(line, wanted) == 0;
    }
    fclose(file);
    return found;
}

static void check_signals(void)
{
    struct sigaction action;
    sigset_t blocked;

    CHECK_EQ(sigprocmask(SIG_BLOCK, NULL, &blocked), 0);
    for (int sig = 1; sig <= SIGRTMAX; sig++) {
        if (sigaction(sig, NULL, &action) == 0) {
            CHECK(action.sa_handler == SIG_DFL);
        }
        CHECK(sigismember(&blocked, sig) != 1);
    }
    group("signals");
    CHECK(line_is("/proc/self/status", "SigIgn:\t0000000000000000\n"));
    CHECK(line_is("/proc/self/status", "SigBlk:\t0000000000000000\n"));
    group("signals that the C library keeps for itself");
}

static void check_files(void)
{
    for (int fd = 0; fd < 1024; fd++) {
        CHECK_EQ(fcntl(fd, F_GETFD) >= 0, fd < 3);
    }
    group("open files");
    printf("umask %03o\n", (unsigned)umask(0));
}

int main(void)
{
    check_signals();
    check_files();
    return finish();
}
