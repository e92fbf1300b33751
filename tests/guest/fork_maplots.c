// TEST: smp=1,2 scheme=rcu,mmap_lock linux=same timeout=120
// fork of a process with ten thousand mappings: close together, and 2 MiB apart, which is a page
// table for each that is touched. The child needs no more tables than there is to share.
#include "mm_test.h"
#include <sys/wait.h>

#define LOTS    10000ul
#define TWO_MIB (512 * PAGE)
#define FULL    8ul // of those apart: in so many a page is written

// Close together: every other one read-only, so that none can be joined. Apart: a gap after each.
static char *close_by, *apart;

static char *apart_at(unsigned long i)
{
    return apart + i * TWO_MIB;
}

static void map_lots(void)
{
    close_by = map(LOTS * PAGE, RW, ANON, -1, 0);
    for (unsigned long i = 1; i < LOTS; i += 2) {
        MUST(mprotect(close_by + i * PAGE, PAGE, PROT_READ) == 0);
    }
    char *room = map((LOTS + 1) * TWO_MIB, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    apart = (char *)(((uintptr_t)room + TWO_MIB - 1) / TWO_MIB * TWO_MIB);
    for (unsigned long i = 0; i < LOTS; i++) {
        MUST(mprotect(apart_at(i), 3 * PAGE, RW) == 0);
    }
}

static void fill_some(void)
{
    for (unsigned long i = 0; i < LOTS; i += 10) {
        close_by[i * PAGE] = (char)(i / 10);
    }
    for (unsigned long i = 0; i < LOTS; i += 7) {
        MUST(*(volatile char *)apart_at(i) == 0); // a table with nothing to share
    }
    for (unsigned long i = 0; i < FULL; i++) {
        *apart_at(i * (LOTS / FULL)) = (char)(i + 1);
    }
}

static unsigned long wrong_words(void)
{
    unsigned long wrong = 0;
    for (unsigned long i = 0; i < LOTS; i++) {
        wrong += close_by[i * PAGE] != (i % 10 ? 0 : (char)(i / 10));
    }
    for (unsigned long i = 0; i < LOTS; i++) {
        char is = i % (LOTS / FULL) ? 0 : (char)(i / (LOTS / FULL) + 1);
        wrong += *(volatile char *)apart_at(i) != is;
    }
    return wrong;
}

// Page tables of this process; 0 where nobody tells.
static long my_tables(void)
{
    return access("/proc/faultline/stats", R_OK) ? 0 : stat_get("tables");
}

static long tables_of_a_child(void)
{
    int fds[2], status = -1;
    long n = -1;
    MUST(pipe(fds) == 0);
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        n = my_tables();
        _exit(write(fds[1], &n, sizeof(n)) != sizeof(n));
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(read(fds[0], &n, sizeof(n)), sizeof(n));
    close(fds[0]);
    close(fds[1]);
    return n;
}

static void child_looks_and_writes(void)
{
    int status = -1;
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        CHECK_EQ(maps_lines(close_by, LOTS * PAGE), LOTS);
        CHECK_EQ(maps_lines(apart, LOTS * TWO_MIB), 2 * LOTS);
        CHECK_EQ(wrong_words(), 0);
        for (unsigned long i = 0; i < LOTS; i += 2) {
            close_by[i * PAGE] = 99;
            *apart_at(i) = 99;
        }
        CHECK_EQ(touch_write(close_by + PAGE, 1), ACCERR);
        CHECK_EQ(touch_write(apart + 3 * PAGE, 1), ACCERR);
        _exit(checks_failed != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(wrong_words(), 0);
}

int main(void)
{
    catch_faults();
    long before = tables_of_a_child();
    map_lots();
    fill_some();
    group("map");

    // One for each 2 MiB that are close together, and one of the next level; two for each that is
    // apart and written; one of the level above.
    long most = (long)(LOTS / 512 + 2) + 1 + 2 * (long)FULL + 1;
    long more = tables_of_a_child() - before;
    if (!CHECK(more <= most)) {
        fprintf(stderr, "the child has %ld tables more than before, not %ld\n", more, most);
    }
    CHECK(my_tables() == 0 || my_tables() > (long)(LOTS / 7));
    group("page tables of a child");

    child_looks_and_writes();
    group("what the child finds and what it writes");
    return finish();
}
