// TEST: smp=1,2 scheme=rcu linux=same
// SEEK_DATA and SEEK_HOLE: what copies sparse files asks them. The file, in pages (D has a page):
//
//     0    1    2  ...  100  101  102  ...  1 << 20  ...  1 << 40
//     D    D    .    .   D    D    .    .   D        .    . (five bytes)
//
// And that files here cannot be cloned, which `cp --reflink=auto` asks before it copies.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#define PAGE 4096l
#define FAR  (PAGE << 20)
#define SIZE ((PAGE << 40) + 5)

static void put(int fd, off_t at, size_t n)
{
    static char text[3 * PAGE];
    CHECK(n <= sizeof(text) && pwrite(fd, text, n, at) == (ssize_t)n);
}

static void seeks(int fd)
{
    CHECK_EQ(lseek(fd, 0, SEEK_DATA), 0);
    CHECK_EQ(lseek(fd, 0, SEEK_HOLE), 2 * PAGE);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 2 * PAGE); // the position moves
    CHECK_EQ(lseek(fd, PAGE + 7, SEEK_DATA), PAGE + 7);
    CHECK_EQ(lseek(fd, PAGE + 7, SEEK_HOLE), 2 * PAGE);
    CHECK_EQ(lseek(fd, 2 * PAGE, SEEK_DATA), 100 * PAGE);
    CHECK_EQ(lseek(fd, 2 * PAGE + 9, SEEK_DATA), 100 * PAGE);
    CHECK_EQ(lseek(fd, 2 * PAGE + 9, SEEK_HOLE), 2 * PAGE + 9);
    CHECK_EQ(lseek(fd, 100 * PAGE, SEEK_HOLE), 102 * PAGE);
    CHECK_EQ(lseek(fd, 102 * PAGE, SEEK_DATA), FAR);
    CHECK_EQ(lseek(fd, FAR, SEEK_HOLE), FAR + PAGE);
    CHECK_ERR(lseek(fd, FAR + PAGE, SEEK_DATA), ENXIO); // nothing up to the end
    CHECK_EQ(lseek(fd, FAR + PAGE, SEEK_HOLE), FAR + PAGE);
    CHECK_EQ(lseek(fd, SIZE - 1, SEEK_HOLE), SIZE - 1);
    CHECK_ERR(lseek(fd, SIZE, SEEK_HOLE), ENXIO);
    CHECK_ERR(lseek(fd, SIZE, SEEK_DATA), ENXIO);
    CHECK_ERR(lseek(fd, -1, SEEK_DATA), ENXIO);
    group("seeks");
}

// The last page is data up to the end of the file, which is a hole.
static void ends(int fd)
{
    CHECK(ftruncate(fd, FAR + 10) == 0);
    CHECK_EQ(lseek(fd, FAR + 3, SEEK_DATA), FAR + 3);
    CHECK_EQ(lseek(fd, FAR + 3, SEEK_HOLE), FAR + 10);
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, 100 * PAGE) == 0);
    CHECK_EQ(lseek(fd, 0, SEEK_HOLE), PAGE);
    CHECK_EQ(lseek(fd, PAGE, SEEK_DATA), 101 * PAGE);
    CHECK(ftruncate(fd, 0) == 0);
    CHECK_ERR(lseek(fd, 0, SEEK_DATA), ENXIO);
    CHECK(ftruncate(fd, SIZE) == 0);
    CHECK_ERR(lseek(fd, 0, SEEK_DATA), ENXIO);
    CHECK_EQ(lseek(fd, 12345, SEEK_HOLE), 12345);
    group("the end");
}

// What a mapping has written is data.
static void mapped(int fd)
{
    char *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 16 * PAGE);
    CHECK(p != MAP_FAILED);
    p[3 * PAGE] = 1;
    CHECK_EQ(lseek(fd, 0, SEEK_DATA), 19 * PAGE);
    CHECK_EQ(lseek(fd, 19 * PAGE, SEEK_HOLE), 20 * PAGE);
    CHECK(munmap(p, 8 * PAGE) == 0);
    group("mapped");
}

static void others(void)
{
    int pipe_fd[2], fd = open("/", O_RDONLY);
    CHECK(pipe(pipe_fd) == 0 && fd >= 0);
    CHECK_ERR(lseek(pipe_fd[0], 0, SEEK_DATA), ESPIPE);
    CHECK_ERR(lseek(fd, 0, SEEK_HOLE), EINVAL);
    close(fd);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    group("others");
}

static void clones(int fd)
{
    struct file_clone_range range = {.src_fd = fd};
    int to = memfd_create("to", 0), root = open("/", O_RDONLY);
    int reader = open("/proc/self/exe", O_RDONLY);
    CHECK(to >= 0 && root >= 0 && reader >= 0);
    CHECK_ERR(ioctl(to, FICLONE, fd), EOPNOTSUPP);
    CHECK_ERR(ioctl(to, FICLONERANGE, &range), EOPNOTSUPP);
    CHECK_ERR(ioctl(to, FICLONERANGE, NULL), EFAULT);
    CHECK_ERR(ioctl(to, FICLONE, 999), EBADF);
    CHECK_ERR(ioctl(to, FICLONE, reader), EXDEV);
    CHECK_ERR(ioctl(reader, FICLONE, root), EISDIR);
    CHECK_ERR(ioctl(reader, FICLONE, reader), EBADF);
    close(to);
    close(root);
    close(reader);
    group("clones");
}

int main(void)
{
    int fd = memfd_create("holes", 0);
    CHECK(fd >= 0);
    put(fd, 0, PAGE + 1);
    put(fd, 100 * PAGE + 5, PAGE);
    put(fd, FAR, 1);
    CHECK(ftruncate(fd, SIZE) == 0);
    seeks(fd);
    ends(fd);
    mapped(fd);
    others();
    clones(fd);
    return finish();
}
