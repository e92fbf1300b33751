// TEST: smp=1,2 linux=same
// RLIMIT_MEMLOCK holds for who lacks CAP_IPC_LOCK, and for nobody else.
#include "mm_test.h"
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static void drop_capabilities(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    MUST(syscall(SYS_capset, &head, none) == 0);
}

static void limit(unsigned long nr_pages)
{
    struct rlimit r = {nr_pages * PAGE, 8 * PAGE};
    MUST(setrlimit(RLIMIT_MEMLOCK, &r) == 0);
}

int main(void)
{
    char *p = map_anon(16);
    catch_faults();
    limit(4);
    CHECK_EQ(mlock(p, 16 * PAGE), 0);
    CHECK_EQ(munlock(p, 16 * PAGE), 0);
    group("with the capability there is no limit");

    drop_capabilities();
    CHECK_EQ(mlock(p, 4 * PAGE), 0);
    CHECK_ERR(mlock(p + 4 * PAGE, PAGE), ENOMEM);
    CHECK_EQ(mlock(p, 4 * PAGE), 0); // they are locked already
    CHECK_EQ(munlock(p, PAGE), 0);
    CHECK_EQ(mlock(p + 4 * PAGE, PAGE), 0);
    CHECK_ERR(mlock(p, PAGE), ENOMEM);
    CHECK(mmap(NULL, PAGE, RW, ANON | MAP_LOCKED, -1, 0) == MAP_FAILED && errno == EAGAIN);
    CHECK_ERR(mlockall(MCL_CURRENT), ENOMEM);
    CHECK_EQ(munlock(p, 16 * PAGE), 0);
    group("without it there is");

    CHECK_EQ(mlockall(MCL_FUTURE), 0);
    char *q = mmap(NULL, 3 * PAGE, RW, ANON, -1, 0);
    CHECK(q != MAP_FAILED);
    CHECK(mmap(NULL, 2 * PAGE, RW, ANON, -1, 0) == MAP_FAILED && errno == EAGAIN);
    CHECK(mremap(q, 3 * PAGE, 5 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EAGAIN);
    CHECK_EQ(munlockall(), 0);
    group("mlockall");

    limit(0);
    CHECK_ERR(mlock(p, PAGE), EPERM);
    CHECK_ERR(mlockall(MCL_CURRENT), EPERM);
    CHECK_EQ(munlock(p, PAGE), 0);
    group("a limit of nothing");
    return finish();
}
