// TEST: smp=1,2 linux=same
// Calls about memory nodes, protection keys and advice to others, on a machine with one node.
#include "mm_test.h"
#include <linux/mempolicy.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>

static int last_mode;
static unsigned long last_nodes;

static long get_policy(void *addr, unsigned flags)
{
    last_mode = -1;
    last_nodes = 77;
    return syscall(SYS_get_mempolicy, &last_mode, &last_nodes, 64ul, addr, (long)flags);
}

static void test_thread_policy(void)
{
    unsigned long node0 = 1, node1 = 2, none = 0;
    CHECK_EQ(get_policy(NULL, 0), 0);
    CHECK_EQ(last_mode, MPOL_DEFAULT);
    CHECK_EQ(last_nodes, 0);
    CHECK_EQ(syscall(SYS_set_mempolicy, MPOL_BIND, &node0, 64ul), 0);
    CHECK_EQ(get_policy(NULL, 0), 0);
    CHECK_EQ(last_mode, MPOL_BIND);
    CHECK_EQ(last_nodes, 1);
    CHECK_ERR(syscall(SYS_set_mempolicy, MPOL_BIND, &none, 64ul), EINVAL);
    CHECK_ERR(syscall(SYS_set_mempolicy, MPOL_BIND, &node1, 64ul), EINVAL);
    CHECK_ERR(syscall(SYS_set_mempolicy, MPOL_DEFAULT, &node0, 64ul), EINVAL);
    CHECK_ERR(syscall(SYS_set_mempolicy, 100, &node0, 64ul), EINVAL);
    CHECK_ERR(syscall(SYS_set_mempolicy, MPOL_BIND, (void *)8, 64ul), EFAULT);
    CHECK_EQ(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0ul), 0);
    CHECK_EQ(get_policy(NULL, MPOL_F_MEMS_ALLOWED), 0);
    CHECK_EQ(last_nodes, 1);
    group("set_mempolicy, get_mempolicy");
}

static void test_range_policy(void)
{
    unsigned long node0 = 1;
    char *p = map_anon(4);
    CHECK_EQ(syscall(SYS_mbind, p, 4 * PAGE, MPOL_BIND, &node0, 64ul, 0ul), 0);
    CHECK_ERR(syscall(SYS_mbind, p + 1, PAGE, MPOL_BIND, &node0, 64ul, 0ul), EINVAL);
    CHECK_ERR(syscall(SYS_mbind, p, PAGE, MPOL_BIND, &node0, 64ul, 64ul), EINVAL);
    fill(p, 4, 1);
    CHECK_EQ(get_policy(p, MPOL_F_NODE | MPOL_F_ADDR), 0);
    CHECK_EQ(last_mode, 0);
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    CHECK_ERR(syscall(SYS_mbind, p, 4 * PAGE, MPOL_BIND, &node0, 64ul, 0ul), EFAULT);
    CHECK_ERR(get_policy(p, MPOL_F_NODE | MPOL_F_ADDR), EFAULT);
    group("mbind");
}

static void test_move_pages(void)
{
    char *p = map_anon(3);
    void *pages[4] = {p, p + PAGE, p + 2 * PAGE, (void *)PAGE};
    int status[4] = {9, 9, 9, 9};
    fill(p, 1, 1);
    fill(p + 2 * PAGE, 1, 1);
    CHECK_EQ(syscall(SYS_move_pages, 0, 4ul, pages, NULL, status, 0), 0);
    CHECK_EQ(status[0], 0);
    CHECK_EQ(status[1], -EFAULT);
    CHECK_EQ(status[2], 0);
    CHECK_EQ(status[3], -EFAULT);
    CHECK_ERR(syscall(SYS_move_pages, 0, 4ul, pages, NULL, status, 64), EINVAL);
    CHECK_ERR(syscall(SYS_move_pages, 0, 1ul, (void *)8, NULL, status, 0), EFAULT);
    CHECK_ERR(syscall(SYS_move_pages, 1 << 29, 1ul, pages, NULL, status, 0), ESRCH);
    CHECK_EQ(munmap(p, 3 * PAGE), 0);
    group("move_pages");
}

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
    (void)sig;
    alarms++;
}

// A signal does not end the call: move_pages(2) knows no EINTR, and callers do not expect it.
static void test_move_pages_signal(void)
{
    enum { NR = 1 << 16 };
    static void *pages[NR];
    static int status[NR];
    char *p = map_anon(1);
    struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
    fill(p, 1, 1);
    for (int i = 0; i < NR; i++) {
        pages[i] = p;
    }
    signal(SIGALRM, on_alarm);
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
    long wrong = 0;
    while (alarms < 20 && !wrong) {
        status[NR - 1] = 9;
        wrong = syscall(SYS_move_pages, 0, (long)NR, pages, NULL, status, 0) || status[NR - 1];
    }
    CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(munmap(p, PAGE), 0);
    group("move_pages and signals");
}

static void test_keys(void)
{
    char *p = map_anon(1);
    CHECK_ERR(syscall(SYS_pkey_alloc, 1ul, 0ul), EINVAL);
    CHECK_ERR(syscall(SYS_pkey_alloc, 0ul, 8ul), EINVAL);
    CHECK_ERR(syscall(SYS_pkey_free, 3), EINVAL);
    CHECK_EQ(syscall(SYS_pkey_mprotect, p, PAGE, PROT_READ, -1), 0);
    CHECK_ERR(syscall(SYS_pkey_mprotect, p, PAGE, PROT_READ, 15), EINVAL);
    CHECK_EQ(munmap(p, PAGE), 0);
    group("protection keys");
}

static void test_remap(void)
{
    int fd = temp_file(4, 5);
    char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK_EQ(remap_file_pages(p, PAGE, 0, 3, 0), 0);
    CHECK(holds_from(p, 3, 1, 5) == 1);
    CHECK(holds_from(p + PAGE, 1, 3, 5) == 3);
    CHECK_ERR(remap_file_pages(p, PAGE, PROT_READ, 3, 0), EINVAL);
    CHECK_ERR(remap_file_pages(p, 0, 0, 3, 0), EINVAL);
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    CHECK_ERR(remap_file_pages(p, PAGE, 0, 3, 0), EINVAL);
    close(fd);
    group("remap_file_pages");
}

static void test_advice(void)
{
    char *p = map_anon(4);
    struct iovec v = {p, 2 * PAGE};
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    MUST(self >= 0);
    CHECK_EQ(syscall(SYS_process_madvise, self, &v, 1ul, MADV_COLD, 0), 2 * PAGE);
    CHECK_ERR(syscall(SYS_process_madvise, self, &v, 1ul, MADV_DONTNEED, 0), EINVAL);
    CHECK_ERR(syscall(SYS_process_madvise, self, &v, 1ul, MADV_COLD, 1), EINVAL);
    CHECK_ERR(syscall(SYS_process_madvise, -1, &v, 1ul, MADV_COLD, 0), EBADF);
    CHECK_EQ(mlock(p, PAGE), 0);
    CHECK_ERR(madvise(p, PAGE, MADV_COLD), EINVAL);
    CHECK_ERR(madvise(p, PAGE, MADV_PAGEOUT), EINVAL);
    CHECK_ERR(madvise(p, PAGE, 1000), EINVAL);
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    close(self);
    group("advice");
}

int main(void)
{
    catch_faults();
    test_thread_policy();
    test_range_policy();
    test_move_pages();
    test_move_pages_signal();
    test_keys();
    test_remap();
    test_advice();
    return finish();
}
