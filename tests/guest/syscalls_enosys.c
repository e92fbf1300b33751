// TEST: smp=1 scheme=rcu linux=same timeout=60
// Calls nobody has answer ENOSYS, bad arguments the right errors, and nothing falls over.
#define _GNU_SOURCE
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void unknown(void)
{
    CHECK_ERRNO(syscall(9999), ENOSYS);
    CHECK_ERRNO(syscall(-1), ENOSYS);
    CHECK_ERRNO(syscall(511, -1, -1, -1, -1, -1, -1), ENOSYS);
    ok("unknown calls");
}

static void identity(void)
{
    char name[17] = "";
    struct utsname u;

    CHECK(getpid() == getpgid(0) || getpid() > 0);
    CHECK(syscall(SYS_gettid) == getpid());
    CHECK(getuid() == 0 && geteuid() == 0 && getgid() == 0 && getegid() == 0);
    CHECK(uname(&u) == 0 && strcmp(u.sysname, "Linux") == 0);
    CHECK(prctl(PR_SET_NAME, "a name that is too long") == 0);
    CHECK(prctl(PR_GET_NAME, name) == 0);
    printf("%s\n", name);
    CHECK_ERRNO(prctl(12345, 0, 0, 0, 0), EINVAL);
    CHECK_ERRNO(waitpid(-1, NULL, 0), ECHILD);
    ok("identity");
}

static void limits(void)
{
    struct rlimit r = {100, 50};

    CHECK_ERRNO(setrlimit(RLIMIT_NOFILE, &r), EINVAL);
    CHECK_ERRNO(syscall(SYS_prlimit64, 0, 99, NULL, NULL), EINVAL);
    CHECK_ERRNO(syscall(SYS_prlimit64, 0, RLIMIT_STACK, NULL, (void *)8), EFAULT);
    CHECK(getrlimit(RLIMIT_STACK, &r) == 0 && r.rlim_cur == 8 << 20);
    ok("limits");
}

static void random_bytes(void)
{
    static unsigned char a[5000], b[5000];
    int same = 0;

    CHECK(syscall(SYS_getrandom, a, sizeof(a), 0) == sizeof(a));
    CHECK(syscall(SYS_getrandom, b, sizeof(b), 0) == sizeof(b));
    for (unsigned i = 0; i < sizeof(a); i++) {
        same += a[i] == b[i];
    }
    CHECK(same < 100);
    CHECK_ERRNO(syscall(SYS_getrandom, a, 1, 0x100), EINVAL);
    CHECK_ERRNO(syscall(SYS_getrandom, (void *)8, 8, 0), EFAULT);
    ok("getrandom");
}

static void signals(void)
{
    CHECK_ERRNO(syscall(SYS_kill, getpid(), 65), EINVAL);
    CHECK_ERRNO(syscall(SYS_kill, 4000000, 0), ESRCH);
    CHECK_ERRNO(syscall(SYS_tgkill, getpid(), 4000000, 0), ESRCH);
    CHECK_ERRNO(syscall(SYS_tgkill, getpid(), -1, 0), EINVAL);
    CHECK(kill(getpid(), 0) == 0);
    CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGKILL, (char[64]){0}, NULL, 8), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigprocmask, 77, (char[8]){0}, NULL, 8), EINVAL);
    ok("signal arguments");
}

int main(void)
{
    unknown();
    identity();
    limits();
    random_bytes();
    signals();
    return 0;
}
