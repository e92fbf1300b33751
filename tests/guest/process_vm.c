// TEST: smp=1,2,4 scheme=rcu linux=same
/*
 * process_vm_readv and process_vm_writev: pieces that do not match, limits, what is moved up to a
 * bad address, whose memory may be touched. Prints what it sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define PAGE 4096ul

static long vm_read(pid_t pid, struct iovec *l, unsigned long nl, struct iovec *r, unsigned long nr,
                    unsigned long flags)
{
    return syscall(SYS_process_vm_readv, pid, l, nl, r, nr, flags);
}

static long vm_write(pid_t pid, struct iovec *l, unsigned long nl, struct iovec *r,
                     unsigned long nr, unsigned long flags)
{
    return syscall(SYS_process_vm_writev, pid, l, nl, r, nr, flags);
}

// One piece on each side.
static long get(pid_t pid, void *to, void *from, size_t n)
{
    struct iovec l = {to, n}, r = {from, n};
    return vm_read(pid, &l, 1, &r, 1, 0);
}

static long put(pid_t pid, void *to, void *from, size_t n)
{
    struct iovec l = {from, n}, r = {to, n};
    return vm_write(pid, &l, 1, &r, 1, 0);
}

// A child that runs fn and then waits to be killed; what it made is there when this returns.
static pid_t child_with(void (*fn)(void))
{
    int p[2];
    char c;
    MUST(pipe(p) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(p[0]);
        fn();
        (void)!write(p[1], "", 1);
        for (;;) {
            pause();
        }
    }
    close(p[1]);
    MUST(pid > 0 && read(p[0], &c, 1) == 1);
    close(p[0]);
    return pid;
}

static void child_end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static char *area; // eight pages; the fourth has no access, the sixth is read-only

static void area_fill(void)
{
    for (unsigned i = 0; i < 8 * PAGE; i++) {
        if (i / PAGE != 3 && i / PAGE != 5) {
            area[i] = (char)(i * 7 + i / PAGE);
        }
    }
}

static char want(unsigned i)
{
    return (char)(i * 7 + i / PAGE);
}

static void test_pieces(void)
{
    static char buf[3 * PAGE];
    pid_t pid = child_with(area_fill);
    struct iovec l[4] = {{buf, 5}, {buf + 5, 0}, {buf + 5, PAGE}, {buf + PAGE + 5, 2000}};
    struct iovec r[3] = {{area + 10, 3000}, {NULL, 0}, {area + PAGE - 1, 2 * PAGE}};
    memset(area, 0, PAGE);
    CHECK_EQ(vm_read(pid, l, 4, r, 3, 0), PAGE + 2005);
    for (unsigned i = 0; i < PAGE + 2005; i++) {
        unsigned at = i < 3000 ? 10 + i : (unsigned)PAGE - 1 + i - 3000;
        if (buf[i] != want(at)) {
            CHECK_EQ(buf[i], want(at));
            break;
        }
    }
    CHECK_EQ(area[10], 0); // ours is another one
    CHECK_EQ(get(pid, buf, area, 3 * PAGE), 3 * PAGE);
    // Three of its pages end before one that may not be read.
    CHECK_EQ(get(pid, buf, area + PAGE + 100, 3 * PAGE), 2 * PAGE - 100);
    CHECK_EQ(buf[0], want(PAGE + 100));
    CHECK_ERR(get(pid, buf, area + 3 * PAGE, 10), EFAULT);
    // To write, and find it again.
    memset(buf, 'x', sizeof(buf));
    CHECK_EQ(put(pid, area + PAGE - 3, buf, PAGE + 6), PAGE + 6);
    memset(buf, 'y', sizeof(buf));
    CHECK_EQ(get(pid, buf, area + PAGE - 4, PAGE + 8), PAGE + 8);
    CHECK_EQ(buf[0], want(PAGE - 4));
    CHECK(buf[1] == 'x' && buf[PAGE + 6] == 'x');
    CHECK_EQ(buf[PAGE + 7], want(2 * PAGE + 3));
    CHECK_EQ(put(pid, area + 4 * PAGE, buf, 2 * PAGE), PAGE);
    CHECK_ERR(put(pid, area + 5 * PAGE, buf, 8), EFAULT); // read-only
    CHECK_EQ(get(pid, buf, area + 5 * PAGE, 8), 8);
    child_end(pid);
    group("pieces");
}

static void test_arguments(void)
{
    static struct iovec many[1025];
    char buf[16], other[16] = "fifteen letters";
    struct iovec l = {buf, 16}, r = {other, 16}, bad = {buf, (size_t)-1}, none = {buf, 0};
    struct iovec far = {(void *)0xffff800000000000, 16}, hole = {(void *)8, 16};
    struct iovec two[2] = {{buf, 8}, {(void *)8, 8}};
    pid_t me = getpid();
    CHECK_EQ(vm_read(me, &l, 1, &r, 1, 0), 16);
    CHECK_EQ(strcmp(buf, other), 0);
    CHECK_ERR(vm_read(me, &l, 1, &r, 1, 1), EINVAL);
    CHECK_ERR(vm_read(me, many, 1025, &r, 1, 0), EINVAL);
    CHECK_ERR(vm_read(me, &l, 1, many, 1025, 0), EINVAL);
    for (int i = 0; i < 1024; i++) {
        many[i] = (struct iovec){other + i % 16, i < 1000 ? 0 : 1};
    }
    CHECK_EQ(vm_read(me, &l, 1, many, 1024, 0), 16);
    CHECK_EQ(buf[0], other[1000 % 16]);
    CHECK_ERR(vm_read(me, (struct iovec *)8, 1, &r, 1, 0), EFAULT);
    CHECK_ERR(vm_read(me, &l, 1, (struct iovec *)8, 1, 0), EFAULT);
    CHECK_ERR(vm_read(me, &bad, 1, &r, 1, 0), EINVAL);
    CHECK_ERR(vm_read(me, &l, 1, &bad, 1, 0), EINVAL);
    CHECK_ERR(vm_read(me, &far, 1, &r, 1, 0), EFAULT);
    CHECK_ERR(vm_read(me, &l, 1, &far, 1, 0), EFAULT);
    CHECK_ERR(vm_read(me, &hole, 1, &r, 1, 0), EFAULT);
    CHECK_ERR(vm_read(me, &l, 1, &hole, 1, 0), EFAULT);
    CHECK_EQ(vm_read(me, two, 2, &r, 1, 0), 8); // up to the bad one
    CHECK_EQ(vm_read(me, &l, 1, two, 2, 0), 8);
    // Nothing to do is no error, whoever it is for.
    CHECK_EQ(vm_read(me, NULL, 0, &r, 1, 0), 0);
    CHECK_EQ(vm_read(me, &l, 1, NULL, 0, 0), 0);
    CHECK_EQ(vm_read(1 << 30, &none, 1, (struct iovec *)8, 1, 0), 0);
    CHECK_EQ(vm_read(1 << 30, &l, 1, &none, 1, 0), 0);
    CHECK_ERR(vm_read(1 << 30, &l, 1, &r, 1, 0), ESRCH);
    CHECK_ERR(vm_read(0, &l, 1, &r, 1, 0), ESRCH);
    CHECK_ERR(vm_read(-1, &l, 1, &r, 1, 0), ESRCH);
    group("arguments");
}

static void nothing(void)
{
}

static void become_user(void)
{
    MUST(setgid(1000) == 0 && setuid(1000) == 0);
}

static void become_open_user(void)
{
    become_user();
    MUST(prctl(PR_SET_DUMPABLE, 1) == 0);
}

// What a user with no capability sees of others.
static int as_user(pid_t root, pid_t closed, pid_t open)
{
    char c;
    become_user();
    CHECK_EQ(get(getpid(), &c, area, 1), 1); // itself always
    CHECK_ERR(get(root, &c, area, 1), EPERM);
    CHECK_ERR(put(root, area, &c, 1), EPERM);
    CHECK_ERR(get(closed, &c, area, 1), EPERM); // it was root once
    CHECK_EQ(get(open, &c, area, 1), 1);
    CHECK_EQ(put(open, area, &c, 1), 1);
    return (int)checks_failed;
}

static void test_permission(void)
{
    pid_t root = child_with(nothing), closed = child_with(become_user);
    pid_t open = child_with(become_open_user), user;
    int status;
    char c;
    CHECK_EQ(get(closed, &c, area, 1), 1); // root may
    CHECK_EQ(get(open, &c, area, 1), 1);
    fflush(stdout);
    user = fork();
    if (user == 0) {
        _exit(as_user(root, closed, open));
    }
    CHECK_EQ(waitpid(user, &status, 0), user);
    CHECK_EQ(status, 0);
    child_end(root);
    child_end(closed);
    child_end(open);
    group("permission");
}

static void *tid_of(void *arg)
{
    *(atomic_int *)arg = gettid();
    pause();
    return NULL;
}

static void test_who(void)
{
    static atomic_int tid;
    pthread_t t;
    pid_t zombie = fork();
    char c = 0;
    if (zombie == 0) {
        _exit(0);
    }
    siginfo_t info;
    waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT);
    CHECK_ERR(get(zombie, &c, area, 1), ESRCH);
    waitpid(zombie, NULL, 0);
    CHECK_ERR(get(zombie, &c, area, 1), ESRCH);
    pthread_create(&t, NULL, tid_of, &tid);
    while (!tid) {
        sched_yield();
    }
    area[0] = 'T';
    CHECK_EQ(get(tid, &c, area, 1), 1); // a thread's number does
    CHECK_EQ(c, 'T');
    group("threads and zombies");
}

// Pages that fork shares are the writer's own: the others keep what they had.
static void test_fork(void)
{
    char c = 'N', old;
    area[7 * PAGE] = 'O';
    pid_t a = child_with(nothing), b = child_with(nothing);
    CHECK_EQ(put(a, area + 7 * PAGE, &c, 1), 1);
    CHECK_EQ(get(a, &old, area + 7 * PAGE, 1), 1);
    CHECK_EQ(old, 'N');
    CHECK_EQ(get(b, &old, area + 7 * PAGE, 1), 1);
    CHECK_EQ(old, 'O');
    CHECK_EQ(area[7 * PAGE], 'O');
    child_end(a);
    child_end(b);
    group("fork");
}

// A process that ends or becomes another program meanwhile.
static void test_goes(void)
{
    static char buf[8 * PAGE];
    for (int i = 0; i < 20; i++) {
        pid_t pid = child_with(area_fill);
        long r;
        kill(pid, i % 2 ? SIGKILL : SIGTERM);
        while ((r = get(pid, buf, area, 3 * PAGE)) == 3 * (long)PAGE) {
        }
        CHECK_ERR(r, ESRCH);
        waitpid(pid, NULL, 0);
    }
    group("the end of a process");
}

int main(void)
{
    area = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(area != MAP_FAILED);
    MUST(mprotect(area + 3 * PAGE, PAGE, PROT_NONE) == 0);
    MUST(mprotect(area + 5 * PAGE, PAGE, PROT_READ) == 0);
    test_pieces();
    test_arguments();
    test_permission();
    test_fork();
    test_goes();
    test_who();
    return finish();
}
