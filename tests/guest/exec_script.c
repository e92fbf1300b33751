// TEST: smp=1,4 linux=same
// execve of scripts: what the interpreter is given, nesting, what is no script; execveat; limits.
#define _GNU_SOURCE
#include "proc_test.h"
#include <sys/resource.h>
#include <sys/stat.h>

static char *self;

static void file_write(const char *path, const char *text, int mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    MUST(fd >= 0);
    MUST(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    fchmod(fd, (mode_t)mode);
    close(fd);
}

static void script(const char *path, const char *rest)
{
    char text[1024];
    snprintf(text, sizeof(text), "#!%s%s", self, rest);
    file_write(path, text, 0755);
}

// What a program started by path with one more argument sees.
struct run {
    const char *path;
    char *const *argv;
    int fd, flags; // execveat
};

static int run_child(void *arg)
{
    struct run *r = arg;
    char *env[] = {NULL};
    if (r->fd) {
        syscall(SYS_execveat, r->fd, r->path, r->argv, env, r->flags);
    } else {
        execve(r->path, r->argv, env);
    }
    printf("  no: %s\n", strerror(errno));
    fflush(stdout);
    _exit(0);
}

static void run(const char *path)
{
    char *const argv[] = {(char *)(size_t) "zero", (char *)(size_t) "one", NULL};
    struct run r = {.path = path, .argv = argv};
    fflush(stdout);
    exits_with(child_run(run_child, &r), 0);
}

static void run_at(int fd, const char *path, int flags)
{
    char *const argv[] = {(char *)(size_t) "zero", (char *)(size_t) "one", NULL};
    struct run r = {.path = path, .argv = argv, .fd = fd, .flags = flags};
    fflush(stdout);
    exits_with(child_run(run_child, &r), 0);
}

static void first_lines(void)
{
    script("/tmp/plain", "\n");
    run("/tmp/plain");
    script("/tmp/arg", " \t -x  and more \t \nrest\n");
    run("/tmp/arg");
    script("/tmp/end", ""); // no newline at all
    run("/tmp/end");
    file_write("/tmp/none", "#!\n", 0755);
    run("/tmp/none");
    file_write("/tmp/blank", "#!   \n", 0755);
    run("/tmp/blank");
    file_write("/tmp/missing", "#!/no/such/thing\n", 0755);
    run("/tmp/missing");
    file_write("/tmp/text", "echo hello\n", 0755);
    run("/tmp/text");
    file_write("/tmp/empty", "", 0755);
    run("/tmp/empty");
    script("/tmp/mode", "\n");
    chmod("/tmp/mode", 0644);
    run("/tmp/mode");
    file_write("/tmp/onmode", "#!/tmp/mode\n", 0755);
    run("/tmp/onmode");
    run("/tmp");
    char line[400] = "#!/tmp/";
    memset(line + 7, 'a', 300);
    file_write("/tmp/long", line, 0755);
    run("/tmp/long");
    group("first lines");
}

static void nesting(void)
{
    script("/tmp/n1", " deep\n");
    for (int i = 2; i <= 7; i++) {
        char path[16], text[32];
        snprintf(path, sizeof(path), "/tmp/n%d", i);
        snprintf(text, sizeof(text), "#!/tmp/n%d %d\n", i - 1, i);
        file_write(path, text, 0755);
    }
    run("/tmp/n2");
    run("/tmp/n5");
    run("/tmp/n6"); // one too many
    file_write("/tmp/loop", "#!/tmp/loop\n", 0755);
    run("/tmp/loop");
    group("scripts that run scripts");
}

static void at(void)
{
    int dir = open("/tmp", O_RDONLY | O_DIRECTORY);
    int keep = open("/tmp/plain", O_RDONLY), shut = open("/tmp/plain", O_RDONLY | O_CLOEXEC);
    int prog = open(self, O_RDONLY | O_CLOEXEC);
    MUST(dir >= 0 && keep >= 0 && shut >= 0 && prog >= 0);
    dup2(dir, 50);
    dup2(keep, 51);
    run_at(50, "plain", 0);
    run_at(51, "", AT_EMPTY_PATH);
    run_at(shut, "", AT_EMPTY_PATH); // nobody could open it
    run_at(prog, "", AT_EMPTY_PATH); // a program can go without
    run_at(50, "", 0);
    run_at(99, "plain", 0);
    run_at(50, "plain", 0x8000);
    symlink("/tmp/plain", "/tmp/link");
    run_at(50, "link", 0);
    run_at(50, "link", AT_SYMLINK_NOFOLLOW);
    run_at(51, "x", 0);
    close(50);
    close(51);
    close(dir);
    close(keep);
    close(shut);
    close(prog);
    group("execveat");
}

static int big_args(void *arg)
{
    size_t len = *(size_t *)arg, n = 15;
    char *argv[20] = {self, (char *)(size_t) "count"};
    for (size_t i = 2; i < 2 + n; i++) {
        argv[i] = malloc(len + 1);
        MUST(argv[i]);
        memset(argv[i], 'x', len);
        argv[i][len] = '\0';
    }
    execv(self, argv);
    return errno == E2BIG ? 77 : 78;
}

static void limits(void)
{
    struct rlimit r = {8 << 20, 8 << 20}, old;
    size_t len = 131071 - 1;
    getrlimit(RLIMIT_STACK, &old);
    r.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_STACK, &r);
    exits_with(child_run(big_args, &len), 15); // 15 times 128 KiB are below 2 MiB
    len = 131072;                              // one string too long
    exits_with(child_run(big_args, &len), 77);
    r.rlim_cur = 4 << 20; // a quarter of it: 1 MiB
    setrlimit(RLIMIT_STACK, &r);
    len = 100000;
    exits_with(child_run(big_args, &len), 77);
    len = 50000;
    exits_with(child_run(big_args, &len), 15);
    setrlimit(RLIMIT_STACK, &old);
    group("how much fits");
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "count") == 0) {
        return argc - 2;
    }
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    MUST(n > 0);
    path[n] = '\0';
    if (argc > 1) {
        for (int i = 0; i < argc; i++) {
            printf("  %s", strcmp(argv[i], path) ? argv[i] : "SELF");
        }
        printf("\n");
        return 0;
    }
    self = path;
    first_lines();
    nesting();
    at();
    limits();
    return finish();
}
