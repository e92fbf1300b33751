// TEST: smp=1,2,4 scheme=rcu,mmap_lock linux=same timeout=120
// Bad arguments: a table of calls with what they return. The output is compared with Linux's, so
// that it need not be written down here; addresses are given by name.
#include "mm_test.h"

#define TOP       0x00fffffffffff000ul // beyond every user address, with five levels of tables too
#define KERNEL    0xffff888000000000ul
#define WILD      0x0123456789abc000ul // not canonical
#define HUGE_LEN  (1ul << 46)
#define NEVER_LEN (~0ul)

static char *area;    // 16 pages: 0-7 anonymous, 8 a hole, 9-11 read-only, 12-15 shared file
static char *nothing; // 16 pages of nothing
static int file_rw, file_ro, file_wo, pipe_fd[2], dir_fd;

static const char *errno_name(int e)
{
    static const struct {
        int value;
        const char *name;
    } names[] = {
        {EINVAL, "EINVAL"},         {ENOMEM, "ENOMEM"},   {EBADF, "EBADF"},
        {EACCES, "EACCES"},         {ENODEV, "ENODEV"},   {EPERM, "EPERM"},
        {EFAULT, "EFAULT"},         {EEXIST, "EEXIST"},   {EAGAIN, "EAGAIN"},
        {EBUSY, "EBUSY"},           {ENOSYS, "ENOSYS"},   {EOVERFLOW, "EOVERFLOW"},
        {EOPNOTSUPP, "EOPNOTSUPP"}, {ETXTBSY, "ETXTBSY"}, {EIO, "EIO"},
        {ENXIO, "ENXIO"},
    };
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].value == e) {
            return names[i].name;
        }
    }
    return "another error";
}

// An address is not printed: "ok" stands for every result that is not an error.
static void show(const char *call, long result)
{
    printf("%-58s %s\n", call, result == -1 ? errno_name(errno) : "ok");
}

#define SHOW(nr, ...) show(#nr "(" #__VA_ARGS__ ")", syscall(SYS_##nr, __VA_ARGS__))
// The same where success maps something: it is taken away again.
#define SHOW_MAP(len, ...)                                                                         \
    do {                                                                                           \
        long at_ = syscall(SYS_mmap, __VA_ARGS__);                                                 \
        show("mmap(" #__VA_ARGS__ ")", at_);                                                       \
        if (at_ != -1) {                                                                           \
            munmap((void *)at_, len);                                                              \
        }                                                                                          \
    } while (0)

static void show_mmap_lengths(void)
{
    SHOW_MAP(PAGE, 0, 0, RW, ANON, -1, 0);
    SHOW_MAP(PAGE, 0, NEVER_LEN, RW, ANON, -1, 0);
    SHOW_MAP(PAGE, 0, NEVER_LEN - 4094, RW, ANON, -1, 0);
    SHOW_MAP(PAGE, 0, 1ul << 63, RW, ANON, -1, 0);
    SHOW_MAP(PAGE, 0, TOP, RW, ANON | MAP_NORESERVE, -1, 0);
    SHOW_MAP(PAGE, 0, TOP + PAGE, RW, ANON | MAP_NORESERVE, -1, 0);
    SHOW_MAP(HUGE_LEN, 0, HUGE_LEN, RW, ANON, -1, 0);
    SHOW_MAP(HUGE_LEN, 0, HUGE_LEN, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    SHOW_MAP(PAGE, 0, 1, RW, ANON, -1, 0);
}

static void show_mmap_flags(void)
{
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_ANONYMOUS, -1, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_ANONYMOUS | MAP_SHARED, -1, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_ANONYMOUS | MAP_SHARED_VALIDATE, -1, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_ANONYMOUS | 4, -1, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_ANONYMOUS | MAP_PRIVATE | 0x8, -1, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW | 0x40, ANON, -1, 0);
    SHOW_MAP(PAGE, 0, PAGE, 0xfffffff8u, ANON, -1, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, ANON, -1, 1);
    SHOW_MAP(PAGE, 0, PAGE, RW, ANON, -1, 3 * PAGE);
    SHOW_MAP(PAGE, 0, PAGE, RW, ANON | 1ul << 25, -1, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_SHARED_VALIDATE, file_rw, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_SHARED_VALIDATE | 1ul << 25, file_rw, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_SHARED_VALIDATE | MAP_SYNC, file_rw, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, ANON | MAP_GROWSDOWN, -1, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_PRIVATE | MAP_GROWSDOWN, file_rw, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, ANON | MAP_STACK | MAP_NORESERVE | MAP_DENYWRITE, -1, 0);
}

static void show_mmap_places(void)
{
    SHOW_MAP(PAGE, PAGE, PAGE, RW, ANON, -1, 0);
    SHOW_MAP(PAGE, nothing + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0);
    SHOW_MAP(PAGE, nothing + 1, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    SHOW_MAP(PAGE, area, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    SHOW_MAP(PAGE, TOP, PAGE, RW, ANON | MAP_FIXED, -1, 0);
    SHOW_MAP(PAGE, TOP - PAGE, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
    SHOW_MAP(PAGE, TOP + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0);
    SHOW_MAP(PAGE, KERNEL, PAGE, RW, ANON | MAP_FIXED, -1, 0);
    SHOW_MAP(PAGE, KERNEL, PAGE, RW, ANON, -1, 0);
    SHOW_MAP(PAGE, WILD, PAGE, RW, ANON | MAP_FIXED, -1, 0);
    SHOW_MAP(PAGE, WILD, PAGE, RW, ANON, -1, 0);
    SHOW_MAP(PAGE, ~0ul, PAGE, RW, ANON, -1, 0);
    SHOW_MAP(PAGE, ~0ul << 12, PAGE, RW, ANON | MAP_FIXED, -1, 0);
}

static void show_mmap_files(void)
{
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_PRIVATE, -1, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_PRIVATE, 999, 0);
    SHOW_MAP(PAGE, 0, 0, RW, MAP_PRIVATE, 999, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, 0, 999, 0);
    SHOW_MAP(PAGE, 0, PAGE, PROT_READ, 0, file_rw, 0);
    SHOW_MAP(PAGE, 0, PAGE, PROT_READ, MAP_PRIVATE, pipe_fd[0], 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_SHARED, pipe_fd[0], 0);
    SHOW_MAP(PAGE, 0, PAGE, PROT_READ, MAP_PRIVATE, dir_fd, 0);
    SHOW_MAP(PAGE, 0, PAGE, PROT_READ, MAP_SHARED, file_ro, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_SHARED, file_ro, 0);
    SHOW_MAP(PAGE, 0, PAGE, RW, MAP_PRIVATE, file_ro, 0);
    SHOW_MAP(PAGE, 0, PAGE, PROT_READ, MAP_PRIVATE, file_wo, 0);
    SHOW_MAP(PAGE, 0, PAGE, PROT_WRITE, MAP_SHARED, file_wo, 0);
    SHOW_MAP(PAGE, 0, PAGE, PROT_NONE, MAP_SHARED, file_wo, 0);
    SHOW_MAP(PAGE, 0, PAGE, PROT_READ, MAP_PRIVATE, file_rw, 1);
    SHOW_MAP(PAGE, 0, PAGE, PROT_READ, MAP_PRIVATE, file_rw, 1ul << 40);
    SHOW_MAP(PAGE, 0, PAGE, PROT_READ, MAP_PRIVATE, file_rw, 1ul << 63);
    SHOW_MAP(PAGE, 0, PAGE, PROT_READ, MAP_PRIVATE, file_rw, (1ul << 63) - PAGE);
    SHOW_MAP(PAGE, 0, PAGE, PROT_READ, MAP_PRIVATE, file_rw, ~0ul << 12);
    SHOW_MAP(PAGE, 0, 2 * PAGE, PROT_READ, MAP_PRIVATE, file_rw, ~0ul << 12);
}

static void show_munmap(void)
{
    SHOW(munmap, area + 1, PAGE);
    SHOW(munmap, area, 0);
    SHOW(munmap, area, NEVER_LEN);
    SHOW(munmap, area, 1ul << 63);
    SHOW(munmap, nothing, PAGE);
    SHOW(munmap, 0, PAGE);
    SHOW(munmap, TOP, PAGE);
    SHOW(munmap, TOP - PAGE, 2 * PAGE);
    SHOW(munmap, KERNEL, PAGE);
    SHOW(munmap, WILD, PAGE);
    SHOW(munmap, ~0ul, PAGE);
    SHOW(munmap, ~0ul << 12, PAGE);
}

static void show_mprotect(void)
{
    SHOW(mprotect, area + 1, PAGE, PROT_READ);
    SHOW(mprotect, area + 1, 0, PROT_READ);
    SHOW(mprotect, area, 0, PROT_READ);
    SHOW(mprotect, area, 0, 0x40);
    SHOW(mprotect, area, PAGE, 0x40);
    SHOW(mprotect, area, PAGE, 8);
    SHOW(mprotect, area, PAGE, RW | PROT_GROWSDOWN);
    SHOW(mprotect, area, PAGE, RW | PROT_GROWSUP);
    SHOW(mprotect, area, PAGE, RW | PROT_GROWSUP | PROT_GROWSDOWN);
    SHOW(mprotect, area, 0, RW | PROT_GROWSUP | PROT_GROWSDOWN);
    SHOW(mprotect, nothing, PAGE, RW);
    SHOW(mprotect, nothing, PAGE, RW | PROT_GROWSDOWN);
    SHOW(mprotect, area + 7 * PAGE, 2 * PAGE, RW);
    SHOW(mprotect, area, NEVER_LEN, RW);
    SHOW(mprotect, area, NEVER_LEN - 4094, RW);
    SHOW(mprotect, area, 1ul << 63, RW);
    SHOW(mprotect, area + 12 * PAGE, PAGE, RW);
    SHOW(mprotect, 0, PAGE, RW);
    SHOW(mprotect, TOP, PAGE, RW);
    SHOW(mprotect, KERNEL, PAGE, RW);
    SHOW(mprotect, WILD, PAGE, RW);
    SHOW(mprotect, ~0ul << 12, PAGE, RW);
    SHOW(mprotect, area, PAGE, RW);
}

#define MAYMOVE   MREMAP_MAYMOVE
#define FIXED     MREMAP_FIXED
#define DONTUNMAP MREMAP_DONTUNMAP

static void show_mremap(void)
{
    SHOW(mremap, area + 1, PAGE, PAGE, 0, 0);
    SHOW(mremap, area, PAGE, 0, 0, 0);
    SHOW(mremap, area, PAGE, 0, MAYMOVE, 0);
    SHOW(mremap, area, 0, PAGE, 0, 0);
    SHOW(mremap, area, 0, PAGE, MAYMOVE, 0);
    SHOW(mremap, area, PAGE, PAGE, 8, 0);
    SHOW(mremap, area, PAGE, PAGE, 0x100, 0);
    SHOW(mremap, area, PAGE, PAGE, FIXED, nothing);
    SHOW(mremap, area, PAGE, PAGE, DONTUNMAP, 0);
    SHOW(mremap, area, PAGE, 2 * PAGE, MAYMOVE | DONTUNMAP, 0);
    SHOW(mremap, area, 2 * PAGE, PAGE, MAYMOVE | DONTUNMAP, 0);
    SHOW(mremap, area, PAGE, PAGE, MAYMOVE | DONTUNMAP, 1);
    SHOW(mremap, area, PAGE, PAGE, MAYMOVE | FIXED, nothing + 1);
    SHOW(mremap, area, 4 * PAGE, 4 * PAGE, MAYMOVE | FIXED, area + 2 * PAGE);
    SHOW(mremap, area + 2 * PAGE, 4 * PAGE, 4 * PAGE, MAYMOVE | FIXED, area);
    SHOW(mremap, area, PAGE, PAGE, MAYMOVE | FIXED, area);
    SHOW(mremap, area, PAGE, PAGE, MAYMOVE | FIXED, TOP);
    SHOW(mremap, area, PAGE, PAGE, MAYMOVE | FIXED, KERNEL);
    SHOW(mremap, area, PAGE, NEVER_LEN, MAYMOVE, 0);
    SHOW(mremap, area, PAGE, TOP + PAGE, MAYMOVE, 0);
    SHOW(mremap, area, PAGE, TOP, MAYMOVE, 0);
    SHOW(mremap, area, PAGE, HUGE_LEN, MAYMOVE, 0);
    SHOW(mremap, area, PAGE, HUGE_LEN, 0, 0);
    SHOW(mremap, area, PAGE, 2 * PAGE, 0, 0);
    SHOW(mremap, nothing, PAGE, 2 * PAGE, MAYMOVE, 0);
    SHOW(mremap, nothing, PAGE, PAGE, 0, 0);
    SHOW(mremap, nothing, 2 * PAGE, PAGE, 0, 0);
    SHOW(mremap, area + 6 * PAGE, 4 * PAGE, 8 * PAGE, MAYMOVE, 0);
    SHOW(mremap, 0, PAGE, PAGE, 0, 0);
    SHOW(mremap, TOP, PAGE, PAGE, 0, 0);
    SHOW(mremap, KERNEL, PAGE, 2 * PAGE, MAYMOVE, 0);
    SHOW(mremap, WILD, PAGE, 2 * PAGE, MAYMOVE, 0);
    SHOW(mremap, ~0ul << 12, PAGE, 2 * PAGE, MAYMOVE, 0);
}

static void show_madvise(void)
{
    SHOW(madvise, area + 1, PAGE, MADV_NORMAL);
    SHOW(madvise, area + 1, 0, MADV_NORMAL);
    SHOW(madvise, area, 0, 12345);
    SHOW(madvise, area, PAGE, 12345);
    SHOW(madvise, area, PAGE, -1);
    SHOW(madvise, area, PAGE, 5);
    SHOW(madvise, nothing, PAGE, MADV_NORMAL);
    SHOW(madvise, nothing, PAGE, MADV_DONTNEED);
    SHOW(madvise, nothing, PAGE, MADV_REMOVE);
    SHOW(madvise, nothing, PAGE, MADV_POPULATE_READ);
    SHOW(madvise, nothing, 0, MADV_DONTNEED);
    SHOW(madvise, area, NEVER_LEN, MADV_DONTNEED);
    SHOW(madvise, area, NEVER_LEN - 4094, MADV_DONTNEED);
    SHOW(madvise, area + 7 * PAGE, 2 * PAGE, MADV_DONTNEED);
    SHOW(madvise, area + 7 * PAGE, 2 * PAGE, MADV_WILLNEED);
    SHOW(madvise, area + 9 * PAGE, PAGE, MADV_POPULATE_WRITE);
    SHOW(madvise, area, PAGE, MADV_REMOVE);
    SHOW(madvise, area + 12 * PAGE, PAGE, MADV_FREE);
    SHOW(madvise, area + 13 * PAGE, PAGE, MADV_REMOVE);
    SHOW(madvise, TOP, PAGE, MADV_DONTNEED);
    SHOW(madvise, KERNEL, PAGE, MADV_DONTNEED);
    SHOW(madvise, WILD, PAGE, MADV_NORMAL);
    SHOW(madvise, ~0ul << 12, PAGE, MADV_NORMAL);
    SHOW(madvise, 0, PAGE, MADV_NORMAL);
}

static void show_mincore(void)
{
    static unsigned char vec[64];
    SHOW(mincore, area + 1, PAGE, vec);
    SHOW(mincore, area + 1, 0, vec);
    SHOW(mincore, area, 0, NULL);
    SHOW(mincore, area, PAGE, NULL);
    SHOW(mincore, area, PAGE, KERNEL);
    SHOW(mincore, area, PAGE, area + 9 * PAGE);
    SHOW(mincore, nothing, PAGE, vec);
    SHOW(mincore, nothing, PAGE, NULL);
    SHOW(mincore, area + 7 * PAGE, 2 * PAGE, vec);
    SHOW(mincore, area, NEVER_LEN, vec);
    SHOW(mincore, TOP, PAGE, vec);
    SHOW(mincore, KERNEL, PAGE, vec);
    SHOW(mincore, KERNEL, 0, vec);
    SHOW(mincore, WILD, PAGE, vec);
    SHOW(mincore, area, PAGE, vec);
}

static void show_msync(void)
{
    SHOW(msync, area + 1, PAGE, MS_SYNC);
    SHOW(msync, area, PAGE, 0);
    SHOW(msync, area, PAGE, MS_SYNC | MS_ASYNC);
    SHOW(msync, area, PAGE, 8);
    SHOW(msync, area, 0, MS_SYNC);
    SHOW(msync, area, 0, MS_SYNC | MS_ASYNC);
    SHOW(msync, nothing, PAGE, MS_SYNC);
    SHOW(msync, nothing, PAGE, MS_ASYNC);
    SHOW(msync, area + 7 * PAGE, 2 * PAGE, MS_SYNC);
    SHOW(msync, area + 12 * PAGE, 4 * PAGE, MS_SYNC);
    SHOW(msync, area, NEVER_LEN, MS_SYNC);
    SHOW(msync, area, NEVER_LEN - 4094, MS_SYNC);
    SHOW(msync, KERNEL, PAGE, MS_SYNC);
    SHOW(msync, WILD, PAGE, MS_SYNC);
    SHOW(msync, ~0ul << 12, PAGE, MS_SYNC);
    SHOW(mlock, area, PAGE);
    SHOW(msync, area, PAGE, MS_INVALIDATE);
    SHOW(munlock, area, PAGE);
    SHOW(msync, area, PAGE, MS_INVALIDATE);
}

static void show_mlock(void)
{
    SHOW(mlock, area + 1, PAGE);
    SHOW(mlock, area, 0);
    SHOW(mlock, nothing, 0);
    SHOW(mlock, nothing, PAGE);
    SHOW(mlock, area + 7 * PAGE, 2 * PAGE);
    SHOW(mlock, KERNEL, PAGE);
    SHOW(mlock, area, NEVER_LEN);
    SHOW(munlock, nothing, PAGE);
    SHOW(munlock, area, 16 * PAGE);
    SHOW(munlock, area, NEVER_LEN);
    SHOW(munlock, ~0ul << 12, 2 * PAGE);
    SHOW(mlock2, area, PAGE, 2);
    SHOW(mlock2, area, PAGE, 1);
    SHOW(mlock2, area, 0, 2);
    SHOW(munlock, area, 8 * PAGE);
    SHOW(mlockall, 0);
    SHOW(mlockall, 8);
    SHOW(mlockall, MCL_ONFAULT);
    SHOW(munlockall, 0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    catch_faults();
    nothing = map_nothing(16);
    area = map_nothing(16);
    char name[] = "/tmp/mm-errno-XXXXXX";
    file_rw = mkstemp(name);
    MUST(file_rw >= 0 && ftruncate(file_rw, 16 * PAGE) == 0);
    file_ro = open(name, O_RDONLY);
    file_wo = open(name, O_WRONLY);
    dir_fd = open("/tmp", O_RDONLY | O_DIRECTORY);
    MUST(file_ro >= 0 && file_wo >= 0 && dir_fd >= 0 && pipe(pipe_fd) == 0);
    unlink(name);
    MUST(mmap(area, 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == area);
    MUST(mmap(area + 9 * PAGE, 3 * PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0) != MAP_FAILED);
    MUST(mmap(area + 12 * PAGE, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, file_ro, 0) !=
         MAP_FAILED);
    show_mmap_lengths();
    show_mmap_flags();
    show_mmap_places();
    show_mmap_files();
    show_munmap();
    show_mprotect();
    show_mremap();
    show_madvise();
    show_mincore();
    show_msync();
    show_mlock();
    CHECK(maps_lines(nothing, 16 * PAGE) == 0); // nothing slipped in
    return finish();
}
