// TEST: timeout=180
// After processes of all kinds have come and gone, nothing of them is left: frames, tables, VMAs,
// files. And a fork bomb ends at a limit or at the end of memory, and the system goes on.
// (Faultline only: it reads /proc/faultline.)
#define _GNU_SOURCE
#include "race_test.h"
#include "proc_test.h"
#include <sched.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <time.h>

static const char *self;

static int touch_and_exit(void *arg)
{
    char *p = map(64 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fill(p, 64, 1);
    open("/tmp", O_RDONLY);
    chdir("/tmp");
    return *(int *)arg;
}

static int killed_while_busy(void *arg)
{
    struct itimerval it = {{0, 1000}, {0, 1000}};
    timer_t t;
    (void)arg;
    signal(SIGALRM, SIG_IGN);
    setitimer(ITIMER_REAL, &it, NULL);
    timer_create(CLOCK_MONOTONIC, NULL, &t);
    for (;;) {
        raise(SIGALRM);
    }
    return 0;
}

static int leave_orphans(void *arg)
{
    for (int i = 0; i < 4; i++) {
        child_run(touch_and_exit, arg);
    }
    return 0;
}

static void spawn(char *const argv[])
{
    pid_t pid;
    CHECK_EQ(posix_spawn(&pid, self, NULL, NULL, argv, environ), 0);
    exits_with(pid, 0);
}

static void all_kinds(void)
{
    int code = 3, status;
    char *argv[] = {(char *)(size_t)self, (char *)(size_t) "nothing", NULL};
    for (int i = 0; i < 15; i++) {
        exits_with(child_run(touch_and_exit, &code), 3);
        pid_t pid = child_run(killed_while_busy, NULL);
        usleep(2000);
        kill(pid, SIGSTOP);
        CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
        kill(pid, SIGKILL);
        dies_of(pid, SIGKILL);
        exits_with(child_run(leave_orphans, &code), 0);
        spawn(argv);
        pid = fork();
        if (pid == 0) {
            setsid();
            execv(self, argv);
            _exit(1);
        }
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);
        CHECK(fd >= 0);
        exits_with(pid, 0);
        close(fd);
    }
}

// Orphans end when they like.
static void settled(void)
{
    struct sysinfo s;
    do {
        usleep(1000);
        MUST(sysinfo(&s) == 0);
    } while (s.procs > 1); // threads of all processes: only this one
}

static int bomb(void *arg)
{
    struct rlimit r = {30, 30};
    int n = 0, *limited = arg;
    signal(SIGCHLD, SIG_IGN);
    setpgid(0, 0);
    if (*limited) {
        setrlimit(RLIMIT_NPROC, &r);
        CHECK_EQ(setuid(1000), 0);
    }
    for (;;) {
        pid_t pid = fork();
        if (pid < 0) {
            break;
        }
        if (pid == 0) {
            sleep_forever(NULL);
        }
        n++;
    }
    CHECK(errno == EAGAIN || errno == ENOMEM);
    CHECK_EQ(errno == EAGAIN || !*limited, 1);
    CHECK(*limited ? n == 29 : n > 30);
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    while (wait(NULL) > 0 || errno != ECHILD) {
    }
    return 0;
}

static void bombs(void)
{
    for (int limited = 1; limited >= 0; limited--) {
        exits_with(child_run(bomb, &limited), 0);
    }
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1 && strcmp(argv[1], "nothing") == 0) {
        return 0;
    }
    nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    all_kinds(); // the first time the library and the caches take what they keep
    settled();
    struct baseline was = baseline_now();
    for (int i = 0; i < 3; i++) {
        all_kinds();
    }
    settled();
    baseline_check(&was);
    group("nothing is left");
    bombs();
    settled();
    was = baseline_now();
    bombs();
    settled();
    baseline_check(&was);
    group("fork bombs");
    return finish();
}
