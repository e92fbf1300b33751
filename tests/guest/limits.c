// TEST: smp=1,2,4 scheme=rcu linux=same
// Resource limits bind: each is tried in a process of its own, just below and just above.
#include "mm_test.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1ul << 20)

static void limit(int which, rlim_t cur)
{
    struct rlimit r;
    MUST(getrlimit(which, &r) == 0);
    r.rlim_cur = cur;
    CHECK_EQ(setrlimit(which, &r), 0);
}

// Pages the process has, from /proc: field 0 all, 5 data and stack.
static unsigned long statm(int field)
{
    char text[256] = "", *at = text;
    int fd = open("/proc/self/statm", O_RDONLY);
    MUST(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    for (; field; field--) {
        at = strchr(at, ' ') + 1;
    }
    return strtoul(at, NULL, 10);
}

static void address_space(void)
{
    char *p = map(4 * MIB, RW, ANON, -1, 0);
    limit(RLIMIT_AS, statm(0) * PAGE + 8 * MIB);
    CHECK(mmap(NULL, 9 * MIB, PROT_NONE, ANON, -1, 0) == MAP_FAILED && errno == ENOMEM);
    char *q = mmap(NULL, 7 * MIB, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    CHECK(q != MAP_FAILED);
    CHECK(mmap(q, 7 * MIB, RW, ANON | MAP_FIXED, -1, 0) == q); // in its place
    CHECK(mremap(p, 4 * MIB, 6 * MIB, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
    CHECK_EQ(munmap(q, 7 * MIB), 0);
    CHECK(mremap(p, 4 * MIB, 6 * MIB, MREMAP_MAYMOVE) != MAP_FAILED);
}

static void data(void)
{
    limit(RLIMIT_DATA, statm(5) * PAGE + 4 * MIB);
    CHECK(mmap(NULL, 8 * MIB, RW, ANON, -1, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(mmap(NULL, 8 * MIB, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    char *p = mmap(NULL, 8 * MIB, PROT_READ, ANON, -1, 0);
    CHECK(p != MAP_FAILED);
    CHECK_ERR(mprotect(p, 8 * MIB, RW), ENOMEM);
    CHECK_EQ(mprotect(p, 2 * MIB, RW), 0);
    char *end = sbrk(0);
    CHECK((char *)syscall(SYS_brk, end + 16 * MIB) == end);
    limit(RLIMIT_DATA, 0);
    CHECK((char *)syscall(SYS_brk, end + PAGE) == end);
}

static volatile sig_atomic_t xfsz;

static void on_xfsz(int sig)
{
    (void)sig;
    xfsz++;
}

static void file_size(void)
{
    char page[PAGE] = "";
    int fd = temp_file(0, 0);
    signal(SIGXFSZ, on_xfsz);
    limit(RLIMIT_FSIZE, 6000);
    CHECK_EQ(write(fd, page, PAGE), PAGE);
    CHECK_EQ(write(fd, page, PAGE), 6000 - (long)PAGE);
    CHECK_EQ(xfsz, 0);
    CHECK_ERR(write(fd, page, 1), EFBIG);
    CHECK_EQ(xfsz, 1);
    CHECK_EQ(write(fd, page, 0), 0);
    CHECK_ERR(pwrite(fd, page, 1, 100000), EFBIG);
    CHECK_EQ(xfsz, 2);
    CHECK_EQ(pwrite(fd, page, 10, 5000), 10);
    CHECK_ERR(ftruncate(fd, 6001), EFBIG);
    CHECK_EQ(xfsz, 3);
    CHECK_EQ(ftruncate(fd, 5000), 0);
    CHECK_EQ(ftruncate(fd, 6000), 0);
    CHECK_ERR(fallocate(fd, 0, 0, 7000), EFBIG);
    CHECK_EQ(xfsz, 4);
    CHECK_EQ(lseek(fd, 0, SEEK_END), 6000);
    int to[2];
    MUST(pipe(to) == 0);
    limit(RLIMIT_FSIZE, 0);
    CHECK_EQ(write(to[1], page, 10), 10); // files only
    signal(SIGXFSZ, SIG_DFL);
    (void)!write(fd, page, 1);
    CHECK(!"the signal ends the process");
}

static void stack_use(volatile char *above)
{
    volatile char here[16 * 1024];
    here[0] = here[sizeof(here) - 1] = 1;
    if (above - here < (long)MIB) {
        stack_use(above);
    }
    here[1] = 2; // no tail call
}

static void stack(void)
{
    volatile char here;
    limit(RLIMIT_STACK, 512 * 1024);
    limit(RLIMIT_CORE, 0);
    stack_use(&here);
    CHECK(!"the stack is larger than it may be");
}

static void files(void)
{
    limit(RLIMIT_NOFILE, 20);
    int fd, last = -1;
    while ((fd = dup(1)) >= 0) {
        last = fd;
    }
    CHECK_EQ(errno, EMFILE);
    CHECK_EQ(last, 19);
    CHECK_ERR(dup2(1, 20), EBADF);
    CHECK_ERR(fcntl(1, F_DUPFD, 20), EINVAL);
    int two[2];
    CHECK_ERR(pipe(two), EMFILE);
}

static void processes(void)
{
    limit(RLIMIT_NPROC, 1);
    CHECK_EQ(setresuid(12345, 12345, 12345), 0);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    CHECK_ERR(pid, EAGAIN);
}

static void cpu_time(void)
{
    limit(RLIMIT_CPU, 1);
    for (volatile unsigned i = 0;; i++) {
    }
}

// Who may set what, of whom.
static void rights(void)
{
    struct rlimit r = {100, 200}, old;
    pid_t parent = getppid();
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &r), 0);
    r.rlim_max = 300;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &r), 0); // root may raise it
    r = (struct rlimit){5, 4};
    CHECK_ERR(setrlimit(RLIMIT_CORE, &r), EINVAL);
    r = (struct rlimit){0, (1ul << 20) + 1};
    CHECK_ERR(setrlimit(RLIMIT_NOFILE, &r), EPERM);
    CHECK_ERR(prlimit(parent, 99, NULL, &old), EINVAL);
    CHECK_EQ(prlimit(parent, RLIMIT_CORE, NULL, &old), 0);
    CHECK_EQ(setresgid(77, 77, 77), 0);
    CHECK_EQ(setresuid(77, 77, 77), 0);
    CHECK_ERR(prlimit(parent, RLIMIT_CORE, NULL, &old), EPERM);
    CHECK_EQ(prlimit(0, RLIMIT_NOFILE, NULL, &old), 0);
    CHECK(old.rlim_cur == 100 && old.rlim_max == 300);
    r = (struct rlimit){300, 300};
    CHECK_EQ(prlimit(getpid(), RLIMIT_NOFILE, &r, &old), 0);
    r.rlim_max = 301;
    CHECK_ERR(setrlimit(RLIMIT_NOFILE, &r), EPERM);
    r = (struct rlimit){10, 10};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &r), 0);
}

// The wait status that doing it in a child comes to.
static void try_it(const char *what, void (*it)(void), int wanted)
{
    int status;
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        it();
        _exit(finish());
    }
    MUST(waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, wanted);
    group(what);
}

int main(void)
{
    try_it("RLIMIT_AS", address_space, 0);
    try_it("RLIMIT_DATA", data, 0);
    try_it("RLIMIT_FSIZE", file_size, SIGXFSZ);
    try_it("RLIMIT_STACK and no core", stack, SIGSEGV);
    try_it("RLIMIT_NOFILE", files, 0);
    try_it("RLIMIT_NPROC", processes, 0);
    try_it("RLIMIT_CPU", cpu_time, SIGXCPU);
    try_it("rights", rights, 0);
    return finish();
}
