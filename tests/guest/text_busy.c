// TEST: smp=1,4 scheme=rcu linux=same timeout=60
// A file is written or run, not both: ETXTBSY from open, truncate and execve (open(2), execve(2)).
#define _GNU_SOURCE
#include "proc_test.h"
#include <sys/mman.h>
#include <sys/stat.h>

static const char *self;
static struct gate go;

static void copy(const char *from, const char *to)
{
    static char buf[1 << 16];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    ssize_t n;
    MUST(in >= 0 && out >= 0);
    while ((n = read(in, buf, sizeof(buf))) > 0) {
        MUST(write(out, buf, (size_t)n) == n);
    }
    close(in);
    close(out);
}

// A process that runs the program until the gate is closed: its standard input.
static pid_t start(const char *path, const char *how)
{
    struct gate ready;
    char c;
    gate_make(&ready);
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        dup2(go.rd, 0);
        dup2(ready.wr, 1);
        close(go.wr);
        execl(path, path, how, NULL);
        _exit(99);
    }
    close(ready.wr);
    CHECK_EQ(read(ready.rd, &c, 1), 1); // it runs
    close(ready.rd);
    return pid;
}

// Of the program started: tell, and wait.
static int runs(void)
{
    char c;
    CHECK_EQ(write(1, "r", 1), 1);
    close(1);
    CHECK_EQ(read(0, &c, 1), 0);
    return 5;
}

static void cannot_write(const char *path)
{
    CHECK_ERR(open(path, O_WRONLY), ETXTBSY);
    CHECK_ERR(open(path, O_RDWR), ETXTBSY);
    CHECK_ERR(open(path, O_WRONLY | O_TRUNC), ETXTBSY);
    CHECK_ERR(open(path, O_RDONLY | O_TRUNC), ETXTBSY);
    CHECK_ERR(open(path, O_RDWR | O_CREAT, 0600), ETXTBSY);
    CHECK_ERR(truncate(path, 10), ETXTBSY);
}

static void can_write(const char *path)
{
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0);
    CHECK_EQ(close(fd), 0);
}

static void being_run(void)
{
    struct stat st;
    gate_make(&go);
    copy(self, "/tmp/prog");
    can_write("/tmp/prog");
    pid_t pid = start("/tmp/prog", "run");
    cannot_write("/tmp/prog");
    CHECK(stat("/tmp/prog", &st) == 0 && st.st_size > 1000);
    int fd = open("/tmp/prog", O_RDONLY); // what does not write is allowed
    CHECK(fd >= 0);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
    close(fd);
    CHECK_EQ(chmod("/tmp/prog", 0700), 0);
    CHECK_EQ(link("/tmp/prog", "/tmp/prog2"), 0);
    cannot_write("/tmp/prog2"); // the file, not the name
    CHECK_EQ(rename("/tmp/prog", "/tmp/prog3"), 0);
    cannot_write("/tmp/prog3");
    CHECK_EQ(unlink("/tmp/prog2"), 0);
    gate_close(&go);
    exits_with(pid, 5);
    can_write("/tmp/prog3"); // as soon as it has been waited for
    CHECK_EQ(truncate("/tmp/prog3", 10), 0);
    CHECK_EQ(unlink("/tmp/prog3"), 0);
    group("a program that runs");
}

// fork runs it, too, until the last one has ended or become another program.
static void by_several(void)
{
    gate_make(&go);
    copy(self, "/tmp/prog");
    pid_t pid = start("/tmp/prog", "fork");
    cannot_write("/tmp/prog");
    gate_close(&go);
    exits_with(pid, 6);
    can_write("/tmp/prog");
    for (int i = 0; i < 20; i++) {
        gate_make(&go);
        pid = start("/tmp/prog", i & 1 ? "run" : "exec");
        if (i & 1) {
            cannot_write("/tmp/prog");
        } else {
            can_write("/tmp/prog"); // it has become self
        }
        gate_close(&go);
        exits_with(pid, 5);
        can_write("/tmp/prog");
    }
    unlink("/tmp/prog");
    group("forked, and replaced");
}

static int exec_error(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl(path, path, "quick", NULL);
        _exit(errno);
    }
    return child_wait(pid) >> 8;
}

static void being_written(void)
{
    copy(self, "/tmp/prog");
    int fd = open("/tmp/prog", O_WRONLY), more = open("/tmp/prog", O_RDWR);
    CHECK_EQ(exec_error("/tmp/prog"), ETXTBSY);
    close(fd);
    CHECK_EQ(exec_error("/tmp/prog"), ETXTBSY);
    close(more);
    CHECK_EQ(exec_error("/tmp/prog"), 7 + 100);
    fd = open("/tmp/prog", O_WRONLY);
    CHECK_EQ(chmod("/tmp/prog", 0600), 0);
    CHECK_EQ(exec_error("/tmp/prog"), EACCES); // that comes first
    CHECK_EQ(chmod("/tmp/prog", 0700), 0);
    close(fd);
    for (int i = 0; i < 3; i++) { // what failed has left nothing
        CHECK_EQ(exec_error("/tmp/prog"), 7 + 100);
        can_write("/tmp/prog");
    }
    unlink("/tmp/prog");
    group("a program that is being written");
}

static void scripts(void)
{
    static const char text[] = "#!/tmp/prog quick\n";
    copy(self, "/tmp/prog");
    int fd = open("/tmp/script", O_RDWR | O_CREAT, 0755);
    CHECK_EQ(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    CHECK_EQ(exec_error("/tmp/script"), ETXTBSY);
    close(fd);
    CHECK_EQ(exec_error("/tmp/script"), 7 + 100);
    fd = open("/tmp/prog", O_WRONLY);
    CHECK_EQ(exec_error("/tmp/script"), ETXTBSY);
    close(fd);
    fd = open("/tmp/script", O_WRONLY | O_TRUNC);
    CHECK_EQ(write(fd, "#!/nonexistent\n", 15), 15);
    close(fd);
    CHECK_EQ(exec_error("/tmp/script"), ENOENT);
    can_write("/tmp/script");
    can_write("/tmp/prog");
    unlink("/tmp/script");
    unlink("/tmp/prog");
    group("scripts");
}

// A memfd is written and then run, through the descriptor it was made with.
static void nameless(void)
{
    static char buf[1 << 16];
    char path[64];
    int in = open(self, O_RDONLY), fd = memfd_create("prog", 0);
    ssize_t n;
    while ((n = read(in, buf, sizeof(buf))) > 0) {
        MUST(write(fd, buf, (size_t)n) == n);
    }
    close(in);
    sprintf(path, "/proc/self/fd/%d", fd);
    CHECK_EQ(exec_error(path), 7 + 100);
    int again = open(path, O_RDWR);
    CHECK(again >= 0);
    CHECK_EQ(exec_error(path), ETXTBSY);
    close(again);
    CHECK_EQ(exec_error(path), 7 + 100);
    close(fd);
    group("a memfd");
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "quick") == 0) {
        return 7 + 100;
    }
    if (argc > 1 && strcmp(argv[1], "exec") == 0) {
        execl("/bin/text_busy", "text_busy", "run", NULL);
    }
    if (argc > 1 && strcmp(argv[1], "fork") == 0) {
        pid_t pid = fork();
        if (pid == 0) {
            _exit(runs());
        }
        return child_wait(pid) == 5 << 8 ? 6 : 1;
    }
    if (argc > 1) {
        return runs();
    }
    self = "/bin/text_busy";
    mkdir("/tmp", 0777);
    being_run();
    by_several();
    being_written();
    scripts();
    nameless();
    return finish();
}
