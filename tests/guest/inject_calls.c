// TEST: smp=1,4 scheme=rcu,mmap_lock timeout=120
// Each allocation of each operation fails in turn: faults, threads, programs, files. The operation
// is refused with the right errno or does without; what was there is intact, the operation works
// when it is tried again, and nothing leaks. Every operation named here must allocate somewhere;
// which places those were is printed. The calls of the address space: mm_inject.c. (Faultline
// only.)
//
// CFLAGS: -Wl,-e,first_of_all
#include "baseline.h"
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define ROOM_PAGES 300ul       // more than a CPU keeps in its list
#define HUGE       (1ul << 30) // what a table of the third level covers

static int inject_fd;
static unsigned fail_at; // the allocation to fail
static char sites[2048]; // that failed during one operation, in all its rounds

// ---- Arming -------------------------------------------------------------------------------------

static void arm(void)
{
    char rule[32];
    int n = snprintf(rule, sizeof(rule), "*:%u", fail_at);
    MUST(write(inject_fd, rule, (size_t)n) == n);
}

// The rule may hit the very call that takes it back.
static void disarm(void)
{
    int tries = 0;
    while (write(inject_fd, "off", 3) != 3) {
        MUST(tries++ < 8);
    }
}

// One system call with the rule in force: its result or -errno.
static long armed(long nr, long a, long b, long c, long d, long e)
{
    arm();
    long r = syscall(nr, a, b, c, d, e, 0);
    int err = errno;
    disarm();
    return r == -1 ? -err : r;
}

// The site that was refused an allocation, noted in `sites`. 0: none, the operation has no more.
static int site_that_failed(void)
{
    static char text[8192];
    int found = 0;
    knob_read("inject", text, sizeof(text));
    for (char *line = strchr(text, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
        char name[64];
        unsigned long nr, failed;
        MUST(sscanf(line + 1, "%63s %lu %lu", name, &nr, &failed) == 3);
        if (!failed || strcmp(name, "text_write") == 0) { // that is disarm's own
            continue;
        }
        found = 1;
        strcat(name, " ");
        if (!strstr(sites, name)) {
            MUST(strlen(sites) + strlen(name) < sizeof(sites));
            strcat(sites, name);
        }
    }
    return found;
}

// The result is success, or this error and nothing else. True for success.
static int done(long r, int err)
{
    if (r < 0) {
        CHECK_EQ(-r, err);
    }
    return r >= 0;
}

// ---- Faults, as the kernel makes them for MADV_POPULATE and copies -----------------------------

// A place with no page table below the top level near it.
static char *far_from_all(unsigned long nr_pages, int flags, int fd)
{
    char *at = (char *)(0x100000000000ul + 3 * HUGE);
    char *p = mmap(at, nr_pages * PAGE, RW, flags | MAP_FIXED_NOREPLACE, fd, 0);
    MUST(p == at);
    return p;
}

static void populate(char *p, int how)
{
    done(armed(SYS_madvise, (long)p, (long)(ROOM_PAGES * PAGE), how, 0, 0), ENOMEM);
}

static void fault_anon_write(void)
{
    char *p = far_from_all(ROOM_PAGES, ANON, -1);
    populate(p, MADV_POPULATE_WRITE);
    CHECK(is_zero(p, ROOM_PAGES));
    fill(p, ROOM_PAGES, 1);
    CHECK_EQ(holds(p, ROOM_PAGES, 1), ROOM_PAGES);
    CHECK_EQ(munmap(p, ROOM_PAGES * PAGE), 0);
}

static void fault_anon_read(void)
{
    char *p = far_from_all(ROOM_PAGES, ANON, -1);
    populate(p, MADV_POPULATE_READ);
    CHECK(is_zero(p, ROOM_PAGES));
    CHECK_EQ(munmap(p, ROOM_PAGES * PAGE), 0);
}

static void fault_zero_page_write(void)
{
    char *p = far_from_all(ROOM_PAGES, ANON, -1);
    CHECK(is_zero(p, ROOM_PAGES));
    populate(p, MADV_POPULATE_WRITE);
    CHECK(is_zero(p, ROOM_PAGES));
    CHECK_EQ(munmap(p, ROOM_PAGES * PAGE), 0);
}

static void fault_file_hole(void)
{
    int fd = temp_file(0, 0);
    MUST(ftruncate(fd, 1 << 30) == 0); // so long a file has a tree of several levels
    char *p = mmap(NULL, ROOM_PAGES * PAGE, RW, MAP_SHARED, fd, (1 << 30) - ROOM_PAGES * PAGE);
    MUST(p != MAP_FAILED);
    populate(p, MADV_POPULATE_READ);
    CHECK(is_zero(p, ROOM_PAGES));
    fill(p, ROOM_PAGES, 2);
    CHECK_EQ(holds(p, ROOM_PAGES, 2), ROOM_PAGES);
    CHECK_EQ(munmap(p, ROOM_PAGES * PAGE) | close(fd), 0);
}

static void fault_file_cached(void)
{
    int fd = temp_file(ROOM_PAGES, 3);
    char *p = far_from_all(ROOM_PAGES, MAP_SHARED, fd);
    populate(p, MADV_POPULATE_WRITE);
    CHECK_EQ(holds(p, ROOM_PAGES, 3), ROOM_PAGES);
    CHECK_EQ(munmap(p, ROOM_PAGES * PAGE) | close(fd), 0);
}

static void fault_file_copy(void)
{
    int fd = temp_file(ROOM_PAGES, 4);
    char *p = far_from_all(ROOM_PAGES, MAP_PRIVATE, fd), *s = map(PAGE, RW, MAP_SHARED, fd, 0);
    populate(p, MADV_POPULATE_WRITE);
    CHECK_EQ(holds(p, ROOM_PAGES, 4), ROOM_PAGES);
    fill(p, ROOM_PAGES, 5);
    CHECK_EQ(holds(s, 1, 4), 1);
    CHECK_EQ(holds(p, ROOM_PAGES, 5), ROOM_PAGES);
    CHECK_EQ(munmap(p, ROOM_PAGES * PAGE) | munmap(s, PAGE) | close(fd), 0);
}

// What was not copied out is still in the pipe.
static void fault_in_read(void)
{
    int fds[2];
    uint64_t word = 6;
    MUST(pipe(fds) == 0 && write(fds[1], &word, sizeof(word)) == sizeof(word));
    char *p = far_from_all(1, ANON, -1);
    if (!done(armed(SYS_read, fds[0], (long)p, 8, 0, 0), EFAULT)) {
        CHECK_EQ(read(fds[0], p, 8), 8);
    }
    CHECK_EQ(*(uint64_t *)p, 6);
    CHECK_EQ(munmap(p, PAGE) | close(fds[0]) | close(fds[1]), 0);
}

// ---- Threads, signals, the break ----------------------------------------------------------------

static atomic_int ran, child_tid;
static char thread_stack[65536];

static int thread_body(void *arg)
{
    (void)arg;
    ran++;
    return 0;
}

static void new_thread(void)
{
    const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                      CLONE_SYSVSEM | CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID;
    memset(thread_stack, 0, sizeof(thread_stack));
    ran = 0;
    child_tid = -1;
    arm();
    int tid = clone(thread_body, thread_stack + sizeof(thread_stack), flags, NULL, &child_tid, NULL,
                    &child_tid);
    int err = errno;
    disarm();
    if (tid < 0) {
        CHECK(err == ENOMEM || err == EAGAIN);
        CHECK_EQ(ran, 0);
        return;
    }
    for (int now; (now = child_tid) != 0;) {
        syscall(SYS_futex, &child_tid, 0 /* FUTEX_WAIT */, now, NULL, NULL, 0);
    }
    CHECK_EQ(ran, 1);
}

static volatile sig_atomic_t got;

static void on_queued(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    got = info->si_value.sival_int;
}

static void queued_signal(void)
{
    struct sigaction sa = {.sa_sigaction = on_queued, .sa_flags = SA_SIGINFO};
    siginfo_t info = {.si_code = SI_QUEUE, .si_pid = getpid(), .si_value.sival_int = 7};
    sigaction(SIGRTMIN, &sa, NULL);
    got = 0;
    long r = armed(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN, (long)&info, 0, 0);
    CHECK_EQ(got, done(r, EAGAIN) ? 7 : 0);
}

static void grow_break(void)
{
    char *was = sbrk(0);
    long now = armed(SYS_brk, (long)was + (long)(4 * PAGE), 0, 0, 0, 0);
    CHECK(now == (long)was || now == (long)was + (long)(4 * PAGE)); // it says no by not moving
    if (now != (long)was) {
        was[4 * PAGE - 1] = 1;
    }
    MUST(syscall(SYS_brk, was) == (long)was);
}

// ---- Files --------------------------------------------------------------------------------------

static void exists(const char *path, int wanted)
{
    struct stat st;
    CHECK_EQ(stat(path, &st), wanted ? 0 : -1);
}

static void create_file(void)
{
    long fd = armed(SYS_open, (long)"/tmp/inject/new", O_CREAT | O_EXCL | O_RDWR, 0600, 0, 0);
    exists("/tmp/inject/new", done(fd, ENOMEM));
    if (fd >= 0) {
        CHECK_EQ(close((int)fd) | unlink("/tmp/inject/new"), 0);
    }
}

static void open_knob(void)
{
    long fd = armed(SYS_open, (long)"/proc/self/maps", O_RDONLY, 0, 0, 0);
    if (done(fd, ENOMEM)) {
        CHECK_EQ(close((int)fd), 0);
    }
}

static void extend_file(void)
{
    int fd = temp_file(1, 1);
    static char page[PAGE];
    struct stat st;
    memset(page, 8, PAGE);
    long r = armed(SYS_pwrite64, fd, (long)page, PAGE, 1 << 30, 0);
    MUST(fstat(fd, &st) == 0);
    CHECK_EQ(st.st_size, done(r, ENOMEM) ? (1 << 30) + PAGE : PAGE);
    CHECK_EQ(pwrite(fd, page, PAGE, PAGE), PAGE);
    CHECK_EQ(close(fd), 0);
}

static void read_hole(void)
{
    int fd = temp_file(1, 1);
    static char page[PAGE];
    MUST(ftruncate(fd, 1 << 30) == 0);
    memset(page, 8, PAGE);
    long r = armed(SYS_pread64, fd, (long)page, PAGE, 1 << 20, 0);
    CHECK_EQ(page[0], done(r, ENOMEM) ? 0 : 8);
    CHECK_EQ(pread(fd, page, PAGE, 1 << 20), PAGE);
    CHECK_EQ(page[PAGE - 1], 0);
    CHECK_EQ(close(fd), 0);
}

static void allocate_file(void)
{
    int fd = temp_file(1, 1);
    struct stat st;
    long r = armed(SYS_fallocate, fd, 0, 0, 8 * PAGE, 0);
    MUST(fstat(fd, &st) == 0);
    CHECK_EQ(st.st_size, done(r, ENOMEM) ? 8 * PAGE : PAGE);
    CHECK_EQ(fallocate(fd, 0, 0, 8 * PAGE), 0);
    CHECK_EQ(close(fd), 0);
}

// The part of a page that goes, seen through a mapping.
static void shorten_file(void)
{
    int fd = open("/tmp/inject/t", O_CREAT | O_RDWR, 0600);
    MUST(fd >= 0 && ftruncate(fd, 4 * PAGE) == 0);
    char *p = map(4 * PAGE, RW, MAP_SHARED, fd, 0);
    struct stat st;
    fill(p, 4, 1);
    long r = armed(SYS_truncate, (long)"/tmp/inject/t", (long)(2 * PAGE + 100), 0, 0, 0);
    MUST(fstat(fd, &st) == 0);
    if (done(r, ENOMEM)) {
        CHECK_EQ(st.st_size, 2 * PAGE + 100);
        CHECK_EQ(holds(p, 2, 1), 2);
        CHECK_EQ(p[2 * PAGE + 100], 0);
        CHECK_EQ(touch_read(p + 3 * PAGE), BUS);
    } else {
        CHECK_EQ(st.st_size, 4 * PAGE);
        CHECK_EQ(holds(p, 4, 1), 4);
    }
    CHECK_EQ(munmap(p, 4 * PAGE) | close(fd) | unlink("/tmp/inject/t"), 0);
}

static void map_file(void)
{
    int fd = temp_file(4, 1);
    long r = armed(SYS_mmap, 0, (long)(4 * PAGE), RW, MAP_SHARED, fd);
    if (done(r, ENOMEM)) {
        CHECK_EQ(holds((void *)r, 4, 1), 4);
        CHECK_EQ(munmap((void *)r, 4 * PAGE), 0);
    }
    CHECK_EQ(close(fd), 0);
}

static void make_folder(void)
{
    long r = armed(SYS_mkdir, (long)"/tmp/inject/dir", 0755, 0, 0, 0);
    exists("/tmp/inject/dir", done(r, ENOMEM));
    if (r == 0) {
        CHECK_EQ(rmdir("/tmp/inject/dir"), 0);
    }
}

static void rename_file(void)
{
    CHECK_EQ(close(open("/tmp/inject/a", O_CREAT | O_RDWR, 0600)), 0);
    long r = armed(SYS_rename, (long)"/tmp/inject/a", (long)"/tmp/inject/b", 0, 0, 0);
    int moved = done(r, ENOMEM);
    exists("/tmp/inject/a", !moved);
    exists("/tmp/inject/b", moved);
    CHECK_EQ(unlink(moved ? "/tmp/inject/b" : "/tmp/inject/a"), 0);
}

static void link_file(void)
{
    CHECK_EQ(close(open("/tmp/inject/a", O_CREAT | O_RDWR, 0600)), 0);
    long r = armed(SYS_link, (long)"/tmp/inject/a", (long)"/tmp/inject/b", 0, 0, 0);
    exists("/tmp/inject/b", done(r, ENOMEM));
    CHECK_EQ(unlink("/tmp/inject/a") | (r == 0 ? unlink("/tmp/inject/b") : 0), 0);
}

static void symbolic_link(void)
{
    char text[16] = "";
    long r = armed(SYS_symlink, (long)"there", (long)"/tmp/inject/sym", 0, 0, 0);
    if (done(r, ENOMEM)) {
        CHECK_EQ(readlink("/tmp/inject/sym", text, sizeof(text)), 5);
        CHECK_EQ(unlink("/tmp/inject/sym"), 0);
    }
}

static void list_folder(void)
{
    char text[1024];
    int fd = open("/proc", O_RDONLY | O_DIRECTORY);
    MUST(fd >= 0);
    if (!done(armed(SYS_getdents64, fd, (long)text, sizeof(text), 0, 0), ENOMEM)) {
        CHECK(syscall(SYS_getdents64, fd, text, sizeof(text)) > 0);
    }
    CHECK_EQ(close(fd), 0);
}

static void where_we_are(void)
{
    char path[64] = "";
    long r = armed(SYS_getcwd, (long)path, sizeof(path), 0, 0, 0);
    CHECK(strcmp(path, done(r, ENOMEM) ? "/tmp/inject" : "") == 0);
}

static void new_pipe(void)
{
    int fds[2] = {-1, -1};
    if (done(armed(SYS_pipe, (long)fds, 0, 0, 0, 0), ENOMEM)) {
        CHECK_EQ(close(fds[0]) | close(fds[1]), 0);
    }
    CHECK_EQ(dup(0), 4); // no descriptor was lost
    CHECK_EQ(close(4), 0);
}

// In a child, as a table does not shrink.
static void far_descriptor(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        long r = armed(SYS_dup2, 0, 600, 0, 0, 0);
        if (done(r, ENOMEM)) {
            CHECK_EQ(r, 600);
            CHECK_EQ(close(600), 0);
        }
        _exit(finish());
    }
    MUST(waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, 0);
}

static void poll_many(void)
{
    struct pollfd p[100];
    for (int i = 0; i < 100; i++) {
        p[i] = (struct pollfd){.fd = inject_fd, .events = POLLIN};
    }
    done(armed(SYS_poll, (long)p, 100, 0, 0, 0), ENOMEM);
}

static void write_vector(void)
{
    struct iovec v[100];
    int fd = temp_file(0, 0);
    for (int i = 0; i < 100; i++) {
        v[i] = (struct iovec){"x", 1};
    }
    long r = armed(SYS_writev, fd, (long)v, 100, 0, 0);
    done(r, ENOMEM);
    CHECK_EQ(lseek(fd, 0, SEEK_END), r < 0 ? 0 : r);
    CHECK_EQ(close(fd), 0);
}

// ---- Programs -----------------------------------------------------------------------------------

// The program starts itself again and again, each time with a later allocation failing; what it
// knows goes along in its arguments. The rule must not outlive execve, for the C library may do
// what it likes at its start, so the new program's very first instructions take it back. (It
// inherits the descriptor. The first program of all has none: EBADF.)
__asm__(".globl first_of_all\n"
        "first_of_all:\n"
        "    mov $1, %eax\n" // write(3, "off", 3)
        "    mov $3, %edi\n"
        "    lea 1f(%rip), %rsi\n"
        "    mov $3, %edx\n"
        "    syscall\n"
        "    cmp $-12, %rax\n" // the rule hit the call itself
        "    je first_of_all\n"
        "    xor %edx, %edx\n" // no function to be called at exit
        "    jmp _start\n"
        "1:  .ascii \"off\"\n");

static void next_program(char *self, const struct baseline *was, unsigned n)
{
    char numbers[3][24], before[200];
    snprintf(numbers[0], sizeof(numbers[0]), "%u", n);
    baseline_print(was, before, sizeof(before));
    char *argv[] = {self, "exec", numbers[0], before, sites, NULL};
    char *envp[] = {NULL};
    fail_at = n;
    long r = armed(SYS_execve, (long)self, (long)argv, (long)envp, 0, 0);
    CHECK_EQ(r, -ENOMEM); // else we would not be here
}

static int programs(char **argv)
{
    struct baseline was;
    unsigned n = (unsigned)strtoul(argv[2], NULL, 10);
    strcpy(sites, argv[4]);
    if (n == 0) {
        was = baseline_first();
    } else {
        baseline_parse(&was, argv[3]);
    }
    while (n == 0 || site_that_failed()) {
        MUST(++n < 400);
        next_program(argv[0], &was, n);
    }
    fprintf(stderr, "a new program, %u allocations: %s\n", n - 1, sites);
    CHECK(sites[0] != '\0');
    baseline_check(&was);
    group("a new program");
    return finish();
}

// ---- All ----------------------------------------------------------------------------------------

static void each_allocation(const char *name, void (*operation)(void))
{
    struct baseline was;
    sites[0] = '\0';
    fail_at = 1000000;
    operation(); // what the caches keep
    was = baseline_first();
    for (fail_at = 1; fail_at == 1 || site_that_failed(); fail_at++) {
        MUST(fail_at < 400);
        operation();
    }
    fprintf(stderr, "%s, %u allocations: %s\n", name, fail_at - 2, sites);
    CHECK(sites[0] != '\0');
    baseline_check(&was);
    group(name);
}

int main(int argc, char **argv)
{
    inject_fd = 3;
    if (argc > 1) {
        return programs(argv);
    }
    MUST(open("/proc/faultline/inject", O_WRONLY) == inject_fd);
    catch_faults();
    MUST(mlockall(MCL_CURRENT) == 0); // a fault of the program's own could kill it
    MUST(mkdir("/tmp/inject", 0755) == 0);
    each_allocation("fault: anonymous write", fault_anon_write);
    each_allocation("fault: anonymous read", fault_anon_read);
    each_allocation("fault: write over the zero page", fault_zero_page_write);
    each_allocation("fault: a hole of a file", fault_file_hole);
    each_allocation("fault: a cached file", fault_file_cached);
    each_allocation("fault: a private copy", fault_file_copy);
    each_allocation("fault: a buffer of read", fault_in_read);
    each_allocation("a new thread", new_thread);
    each_allocation("a queued signal", queued_signal);
    each_allocation("brk", grow_break);
    each_allocation("create a file", create_file);
    each_allocation("open /proc/self/maps", open_knob);
    each_allocation("write past the end", extend_file);
    each_allocation("read a hole", read_hole);
    each_allocation("fallocate", allocate_file);
    each_allocation("truncate", shorten_file);
    each_allocation("mmap of a file", map_file);
    each_allocation("mkdir", make_folder);
    each_allocation("rename", rename_file);
    each_allocation("link", link_file);
    each_allocation("symlink", symbolic_link);
    each_allocation("getdents", list_folder);
    MUST(chdir("/tmp/inject") == 0);
    each_allocation("getcwd", where_we_are);
    MUST(chdir("/") == 0);
    each_allocation("pipe", new_pipe);
    struct rlimit many = {1 << 16, 1 << 16};
    MUST(setrlimit(RLIMIT_NOFILE, &many) == 0);
    MUST(dup2(0, 300) == 300 && close(300) == 0); // the table is pages, not an object, from here on
    each_allocation("dup2 far up", far_descriptor);
    each_allocation("poll", poll_many);
    each_allocation("writev", write_vector);
    if (finish() != 0) {
        return finish();
    }
    CHECK_EQ(rmdir("/tmp/inject"), 0);
    execl(argv[0], argv[0], "exec", "0", "", "", NULL);
    CHECK(!"it starts itself");
    return finish();
}
