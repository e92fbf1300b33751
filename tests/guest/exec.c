// TEST: smp=1,4 scheme=rcu,mmap_lock linux=same timeout=60
// execve: arguments, environment, what survives and what does not, from any thread. The program
// starts itself again; its first argument says how far it has come.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

static char *self;

static void *wait_forever(void *arg)
{
    for (;;) {
        pause();
    }
    return arg;
}

static void *spin(void *arg)
{
    for (volatile long i = 0;; i++) {
    }
    return arg;
}

static void *exec_from_thread(void *arg)
{
    char *argv[] = {self, "second", NULL}, *envp[] = {NULL};

    execve(self, argv, envp);
    CHECK(!"execve came back");
    return arg;
}

static void errors(void)
{
    char *argv[] = {"x", NULL};
    static char huge[200 << 10];
    char *big[] = {"x", huge, NULL};

    memset(huge, 'a', sizeof(huge) - 1);
    CHECK_ERRNO(execve("/nonexistent", argv, argv), ENOENT);
    CHECK_ERRNO(execve("", argv, argv), ENOENT);
    CHECK_ERRNO(execve("/tmp", argv, argv), EACCES);
    CHECK_ERRNO(syscall(SYS_execve, 8, argv, argv), EFAULT);
    CHECK_ERRNO(syscall(SYS_execve, self, 8, argv), EFAULT);
    CHECK_ERRNO(execve(self, big, argv), E2BIG);
    ok("errors");
}

// --- The stages ----------------------------------------------------------------------------------

static void first(void)
{
    pthread_t t;

    errors();
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    CHECK(signal(SIGUSR2, (void (*)(int))exit) != SIG_ERR);
    CHECK(dup2(1, 10) == 10 && dup2(1, 11) == 11);
    CHECK(fcntl(11, F_SETFD, FD_CLOEXEC) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&t, NULL, wait_forever, NULL) == 0);
    }
    CHECK(pthread_create(&t, NULL, spin, NULL) == 0);
    CHECK(pthread_create(&t, NULL, exec_from_thread, NULL) == 0);
    wait_forever(NULL);
}

static void second(void)
{
    char *argv[] = {self, "third", "", "an argument", NULL};
    char *envp[] = {"A=1", "EMPTY=", NULL};
    struct sigaction sa;

    CHECK(syscall(SYS_gettid) == getpid());
    CHECK(sigaction(SIGUSR1, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN);
    CHECK(sigaction(SIGUSR2, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL);
    CHECK(fcntl(10, F_GETFD) == 0);
    CHECK_ERRNO(fcntl(11, F_GETFD), EBADF);
    ok("from another thread");
    execve(self, argv, envp);
    CHECK(!"execve came back");
}

static void third(int argc, char **argv)
{
    CHECK(argc == 4 && strcmp(argv[2], "") == 0 && strcmp(argv[3], "an argument") == 0);
    CHECK(strcmp(getenv("A"), "1") == 0 && strcmp(getenv("EMPTY"), "") == 0 && !getenv("PATH"));
    CHECK(getauxval(AT_PAGESZ) == 4096 && getauxval(AT_PHDR) && getauxval(AT_RANDOM));
    CHECK(strcmp((char *)getauxval(AT_EXECFN), self) == 0);
    CHECK(((uintptr_t)argv & 7) == 0);
    ok("arguments and environment");
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc == 1) {
        first();
    } else if (strcmp(argv[1], "second") == 0) {
        second();
    } else {
        third(argc, argv);
    }
    return 0;
}
