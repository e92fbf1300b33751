// TEST: smp=1,2 scheme=rcu linux=same
// /proc/self: memory as a file, names, descriptors, totals that follow what the program does.
#include "mm_test.h"
#include <sys/prctl.h>

// The number behind `name` in a file of "name value" lines, -1 if it is not there.
static long number(const char *path, const char *name)
{
    char line[256];
    long v = -1;
    FILE *f = fopen(path, "r");
    MUST(f != NULL);
    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, name, strlen(name)) == 0) {
            v = atol(line + strlen(name));
        }
    }
    fclose(f);
    return v;
}

static void test_mem(void)
{
    static char word[] = "before", got[8];
    int fd = open("/proc/self/mem", O_RDWR);
    MUST(fd >= 0);
    CHECK_EQ(pread(fd, got, 7, (off_t)word), 7);
    CHECK(strcmp(got, "before") == 0);
    CHECK_EQ(pwrite(fd, "after!", 7, (off_t)word), 7);
    CHECK(strcmp(word, "after!") == 0);
    CHECK_ERR(pread(fd, got, 1, 4096), EIO);
    close(fd);
    group("mem");
}

static void test_pagemap(void)
{
    unsigned long e[3];
    char *p = map_anon(3);
    int fd = open("/proc/self/pagemap", O_RDONLY);
    MUST(fd >= 0);
    fill(p + PAGE, 1, 1);
    CHECK_EQ(pread(fd, e, sizeof(e), (off_t)((unsigned long)p / PAGE * 8)), (long)sizeof(e));
    CHECK_EQ(e[0] >> 63, 0);
    CHECK_EQ(e[1] >> 63, 1);
    CHECK((e[1] & ((1ul << 55) - 1)) != 0);
    CHECK_EQ(e[1] >> 61 & 1, 0);
    CHECK_EQ(e[1] >> 56 & 1, 1);
    CHECK_EQ(e[2] >> 63, 0);
    CHECK_ERR(pread(fd, e, 4, 0), EINVAL);
    close(fd);
    CHECK_EQ(munmap(p, 3 * PAGE), 0);
    group("pagemap");
}

static void test_totals(void)
{
    long size = number("/proc/self/status", "VmSize:"),
         rss = number("/proc/self/status", "RssAnon:");
    char *p = map_anon(1000);
    CHECK_EQ(number("/proc/self/status", "VmSize:") - size, 4000);
    fill(p, 500, 1);
    // Linux counts in batches of 64 pages.
    CHECK(number("/proc/self/status", "RssAnon:") - rss >= 1700);
    CHECK(number("/proc/self/smaps_rollup", "Private_Dirty:") >= 2000);
    CHECK_EQ(mlock(p, 4 * PAGE), 0);
    CHECK_EQ(number("/proc/self/status", "VmLck:"), 16);
    CHECK_EQ(munmap(p, 1000 * PAGE), 0);
    CHECK_EQ(number("/proc/self/status", "VmSize:") - size, 0);
    group("totals");
}

static void test_names(void)
{
    char text[64] = "", link[64];
    int fd = open("/proc/self/comm", O_RDWR);
    MUST(fd >= 0);
    CHECK_EQ(write(fd, "other name", 10), 10);
    CHECK_EQ(prctl(PR_GET_NAME, text), 0);
    CHECK(strcmp(text, "other name") == 0);
    CHECK_EQ(pread(fd, text, sizeof(text), 0), 11);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    CHECK(readlink(link, text, sizeof(text)) > 0);
    close(fd);
    CHECK_ERR(readlink(link, text, sizeof(text)), ENOENT);
    CHECK_EQ(chdir("/proc"), 0);
    CHECK_EQ(readlink("/proc/self/cwd", text, sizeof(text)), 5);
    CHECK_EQ(number("/proc/self/status", "Threads:"), 1);
    CHECK_EQ(number("/proc/self/status", "Pid:"), getpid());
    group("names");
}

int main(void)
{
    catch_faults();
    test_mem();
    test_pagemap();
    test_totals();
    test_names();
    return finish();
}
