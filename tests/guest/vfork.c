// TEST: linux=same
// vfork and clone with CLONE_VM|CLONE_VFORK: the parent waits until the child has called execve or
// ended; posix_spawn on top of it; clone's own flags on a process.
#define _GNU_SOURCE
#include "test.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int shared;
static char stack[65536] __attribute__((aligned(16)));

static int status_of(pid_t pid)
{
    int status = -1;
    MUST(waitpid(pid, &status, 0) == pid);
    return status;
}

static void vfork_exit(void)
{
    shared = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        shared = 7;
        _exit(3);
    }
    CHECK_EQ(shared, 7); // same memory, and it ran before us
    int status = status_of(pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    CHECK_ERR(waitpid(pid, NULL, 0), ECHILD);
    group("vfork, then exit");
}

static void vfork_exec(const char *self)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execl(self, self, "exit", "5", NULL);
        _exit(99);
    }
    int status = status_of(pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5);
    pid = vfork();
    if (pid == 0) {
        execl("/no/such/program", "x", NULL);
        _exit(errno == ENOENT ? 11 : 12);
    }
    status = status_of(pid);
    CHECK_EQ(WEXITSTATUS(status), 11);
    group("vfork, then execve");
}

static void spawn_pipe(char *self)
{
    int fds[2], status;
    char text[64] = "";
    char *argv[] = {self, "say", "hello from a child", NULL};
    char *env[] = {"A=b", NULL};
    pid_t pid;
    posix_spawn_file_actions_t actions;
    MUST(pipe2(fds, O_CLOEXEC) == 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    CHECK_EQ(posix_spawn(&pid, self, &actions, NULL, argv, env), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    CHECK_EQ(read(fds[0], text, sizeof(text)), 19);
    CHECK_EQ(strcmp(text, "hello from a child\n"), 0);
    CHECK_EQ(read(fds[0], text, sizeof(text)), 0); // the child held the only other end
    close(fds[0]);
    status = status_of(pid);
    CHECK_EQ(status, 0);
    argv[0] = "/nowhere";
    CHECK_EQ(posix_spawn(&pid, argv[0], NULL, NULL, argv, env), ENOENT);
    group("posix_spawn with a pipe");
}

static int say_seven(void *arg)
{
    shared = *(int *)arg;
    return 9;
}

static void clone_vm(void)
{
    int value = 21;
    shared = 0;
    pid_t pid = clone(say_seven, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &value);
    MUST(pid > 0);
    CHECK_EQ(shared, 21);
    int status = status_of(pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);

    // No signal at the end: only __WALL or __WCLONE find it.
    pid = clone(say_seven, stack + sizeof(stack), CLONE_VM | CLONE_VFORK, &value);
    MUST(pid > 0);
    CHECK_ERR(waitpid(pid, &status, 0), ECHILD);
    CHECK_EQ(waitpid(pid, &status, __WCLONE), pid);
    pid = clone(say_seven, stack + sizeof(stack), CLONE_VM | CLONE_VFORK, &value);
    CHECK_EQ(waitpid(-1, &status, __WALL), pid);
    group("clone that shares memory");
}

static volatile int handled;
static void on_usr1(int sig)
{
    handled = sig;
}

static int set_things(void *arg)
{
    (void)arg;
    signal(SIGUSR1, on_usr1);
    return chdir("/tmp") || umask(0) != 022 || close(100);
}

// What is shared and what is copied. The calls of the child are seen by us with the flag only.
static void clone_sharing(void)
{
    char cwd[64];
    MUST(chdir("/") == 0);
    umask(022);
    MUST(dup2(1, 100) == 100);
    signal(SIGUSR1, SIG_IGN);
    pid_t pid = clone(set_things, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
    CHECK_EQ(status_of(pid), 0);
    CHECK_EQ(strcmp(getcwd(cwd, sizeof(cwd)), "/"), 0);
    CHECK_EQ(umask(022), 022);
    CHECK_EQ(dup2(100, 101), 101);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(handled, 0);

    pid = clone(set_things, stack + sizeof(stack),
                CLONE_VM | CLONE_VFORK | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | SIGCHLD, NULL);
    CHECK_EQ(status_of(pid), 0);
    CHECK_EQ(strcmp(getcwd(cwd, sizeof(cwd)), "/tmp"), 0);
    CHECK_EQ(umask(022), 0);
    CHECK_ERR(dup2(100, 101), EBADF);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(handled, SIGUSR1);
    signal(SIGUSR1, SIG_DFL);
    group("CLONE_FS, CLONE_FILES, CLONE_SIGHAND");
}

static void clone_words(void)
{
    pid_t parent_tid = 0;
    static pid_t child_tid;
    int status;
    child_tid = 1;
    pid_t pid = clone(say_seven, stack + sizeof(stack),
                      CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
                      &(int){1}, &parent_tid, NULL, &child_tid);
    CHECK_EQ(parent_tid, pid);
    CHECK_EQ(child_tid, 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    group("the words clone writes");
}

static void clone_errors(void)
{
    CHECK_ERR(syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0), EINVAL);
    CHECK_ERR(syscall(SYS_clone, CLONE_THREAD | CLONE_VM, 0, 0, 0, 0), EINVAL);
    CHECK_ERR(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID, 0, 0, 0, 0), EINVAL);
    CHECK_ERR(syscall(SYS_clone3, NULL, 8), EINVAL);
    CHECK_ERR(syscall(SYS_clone3, NULL, 1 << 20), E2BIG);
    group("flags that make no sense");
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "exit") == 0) {
        return atoi(argv[2]);
    }
    if (argc == 3 && strcmp(argv[1], "say") == 0) {
        puts(argv[2]);
        return strcmp(getenv("A"), "b");
    }
    vfork_exit();
    vfork_exec(argv[0]);
    spawn_pipe(argv[0]);
    clone_vm();
    clone_sharing();
    clone_words();
    clone_errors();
    return finish();
}
