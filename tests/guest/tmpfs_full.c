// TEST: smp=1,2 scheme=rcu mem=256M
// fallocate of more than the file system may have makes nothing, also where the file is that long
// already; what was there stays.
#include "mm_test.h"
#include <sys/stat.h>

#define MIB (1l << 20)

static long blocks(int fd)
{
    struct stat st;
    MUST(fstat(fd, &st) == 0);
    return st.st_blocks;
}

int main(void)
{
    int fd = memfd_create("full", 0);
    char byte = 0;
    MUST(fd >= 0);
    CHECK_EQ(ftruncate(fd, 1024 * MIB), 0);
    CHECK_EQ(pwrite(fd, "x", 1, 5 * MIB), 1);
    CHECK_EQ(blocks(fd), 8);
    CHECK_ERR(fallocate(fd, 0, 0, 1024 * MIB), ENOSPC);
    CHECK_EQ(blocks(fd), 8);
    CHECK_ERR(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1024 * MIB), ENOSPC);
    CHECK_EQ(blocks(fd), 8);
    CHECK_ERR(fallocate(fd, 0, 512 * MIB, 1024 * MIB), ENOSPC);
    CHECK_EQ(lseek(fd, 0, SEEK_END), 1024 * MIB);
    CHECK_EQ(pread(fd, &byte, 1, 5 * MIB), 1);
    CHECK_EQ(byte, 'x');
    CHECK_EQ(fallocate(fd, 0, 4 * MIB, 2 * MIB), 0);
    CHECK_EQ(blocks(fd), 2 * MIB / 512);
    group("fallocate without room");
    return finish();
}
