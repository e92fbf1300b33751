// TEST: smp=1,2,4 scheme=rcu,mmap_lock mem=64M timeout=120
// Threads without end: clone until it says no. It says EAGAIN or ENOMEM, the threads that exist
// work, memory can be had again when they are gone, and nothing is left over. (Faultline only.)
#include "baseline.h"
#include <limits.h>
#include <sched.h>
#include <time.h>

static atomic_int gate, arrived;
#define MOST 100000ul
static char *stacks; // a page each, written to before the thread is made: see main

static int sleeper(void *arg)
{
    (void)arg;
    arrived++;
    while (gate == 0) {
        syscall(SYS_futex, &gate, 0 /* FUTEX_WAIT */, 0, NULL, NULL, 0);
    }
    arrived--;
    syscall(SYS_exit, 0);
    return 0;
}

static void wait_for(int wanted)
{
    while (arrived != wanted) {
        sched_yield();
    }
}

static long nr_threads(void)
{
    char text[2048], *at;
    int fd = open("/proc/self/status", O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    MUST(n > 0);
    close(fd);
    text[n] = '\0';
    at = strstr(text, "\nThreads:");
    MUST(at != NULL);
    return atol(at + 9);
}

// Start threads until there is no more, let all go. How many there were.
static int bomb(void)
{
    const int flags =
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    int n = 0;
    gate = 0;
    while (madvise(stacks + (unsigned long)n * PAGE, PAGE, MADV_POPULATE_WRITE) == 0 &&
           clone(sleeper, stacks + (unsigned long)(n + 1) * PAGE, flags, NULL) != -1) {
        n++;
        MUST(n < (int)MOST);
    }
    CHECK(errno == EAGAIN || errno == ENOMEM);
    wait_for(n);
    char *p = mmap(NULL, 16 * PAGE, RW, ANON, -1, 0); // or ENOMEM, but it comes back
    if (p != MAP_FAILED) {
        CHECK_EQ(munmap(p, 16 * PAGE), 0);
    }
    gate = 1;
    syscall(SYS_futex, &gate, 1 /* FUTEX_WAKE */, INT_MAX, NULL, NULL, 0);
    wait_for(0);
    // Their last instructions, on these stacks, and the kernel's part may take a little longer.
    for (int i = 0; i < 1000 && nr_threads() > 1; i++) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    MUST(nr_threads() == 1);
    CHECK_EQ(madvise(stacks, MOST * PAGE, MADV_DONTNEED), 0);
    return n;
}

int main(void)
{
    catch_faults();
    MUST(mlockall(MCL_CURRENT) == 0); // a fault of the program's own would kill it
    stacks = map(MOST * PAGE, RW, ANON | MAP_NORESERVE, -1, 0);
    char *kept = map_anon(64);
    fill(kept, 64, 2);
    int first = bomb();
    CHECK(first > 50);
    struct baseline was = baseline_first();
    for (int i = 0; i < 3; i++) {
        int n = bomb();
        fprintf(stderr, "%d threads, then %d\n", first, n);
        CHECK(n > first / 2);
    }
    CHECK_EQ(holds(kept, 64, 2), 64);
    group("threads without end");
    baseline_check(&was);
    group("nothing left over");
    return finish();
}
