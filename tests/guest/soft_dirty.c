// TEST: smp=1,2 linux=same
// Which pages were written since clear_refs was told to forget (Linux's soft-dirty.rst), and what
// else pagemap says of a page (pagemap.rst).
#include "mm_test.h"
#include <linux/capability.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define PFN        ((1ul << 55) - 1)
#define SOFT_DIRTY (1ul << 55)
#define EXCLUSIVE  (1ul << 56)
#define FILE_PAGE  (1ul << 61)
#define PRESENT    (1ul << 63)

static unsigned long word_of(const volatile void *p)
{
    unsigned long word = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY);
    MUST(fd >= 0);
    MUST(pread(fd, &word, 8, (off_t)((unsigned long)p / PAGE * 8)) == 8);
    close(fd);
    return word;
}

static unsigned long flags_of(const volatile void *p)
{
    return word_of(p) & ~PFN;
}

// Pages of [p, p + n) that are soft-dirty, a bit each.
static unsigned long dirty(const char *p, unsigned n)
{
    unsigned long mask = 0;
    for (unsigned i = 0; i < n; i++) {
        mask |= (unsigned long)((word_of(p + i * PAGE) & SOFT_DIRTY) != 0) << i;
    }
    return mask;
}

static void clear_refs(const char *what)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY);
    MUST(fd >= 0);
    CHECK_EQ(write(fd, what, strlen(what)), (long)strlen(what));
    close(fd);
}

// The line of smaps that starts with this word, of the mapping that holds p, less the word.
static void smaps_line(const void *p, const char *word, char *out, size_t size)
{
    char line[512];
    int here = 0;
    FILE *f = fopen("/proc/self/smaps", "r");
    MUST(f != NULL);
    out[0] = '\0';
    while (fgets(line, sizeof(line), f)) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            here = start <= (unsigned long)p && (unsigned long)p < end;
        } else if (here && strncmp(line, word, strlen(word)) == 0) {
            snprintf(out, size, "%s", line + strlen(word));
        }
    }
    fclose(f);
    MUST(out[0]);
}

static int has_sd(const void *p)
{
    char flags[256];
    smaps_line(p, "VmFlags:", flags, sizeof(flags));
    return strstr(flags, " sd") != NULL;
}

static long referenced(const void *p)
{
    char kb[64];
    smaps_line(p, "Referenced:", kb, sizeof(kb));
    return atol(kb);
}

// A byte of each of these pages is read.
static void look(const volatile char *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        (void)p[i * PAGE];
    }
}

static void test_anonymous(void)
{
    char *p = map_anon(8);
    CHECK_EQ(dirty(p, 8), 0xff); // new
    CHECK(has_sd(p));
    fill(p, 4, 1);
    look(p + 4 * PAGE, 2);
    clear_refs("4");
    CHECK_EQ(dirty(p, 8), 0);
    CHECK(!has_sd(p));
    look(p, 8);
    CHECK_EQ(dirty(p, 8), 0);
    CHECK_EQ(holds(p, 4, 1), 4);
    p[1 * PAGE] = 1;
    p[5 * PAGE] = 1; // over the zero page
    CHECK_EQ(dirty(p, 8), 0x22);
    p[1 * PAGE] = 2;
    clear_refs("4\n");
    CHECK_EQ(dirty(p, 8), 0);
    p[1 * PAGE] = 3;
    p[7 * PAGE] = 3;
    CHECK_EQ(dirty(p, 8), 0x82);
    CHECK_EQ(p[PAGE], 3);
    CHECK_EQ(munmap(p, 8 * PAGE), 0);
    group("anonymous memory");
}

static void test_file(int flags, const char *name)
{
    int fd = temp_file(16, 2);
    char *p = map(16 * PAGE, RW, flags, fd, 0);
    look(p, 16);
    p[0] = 1;
    clear_refs("4");
    CHECK_EQ(dirty(p, 16), 0);
    look(p, 16);
    p[3 * PAGE] = 1;
    CHECK_EQ(dirty(p, 16), 0x8);
    CHECK_EQ(madvise(p, 16 * PAGE, MADV_DONTNEED), 0);
    look(p, 1); // and those around it
    CHECK_EQ(dirty(p, 16) & ~0x8ul, 0);
    p[4 * PAGE] = 1;
    p[5 * PAGE] = 1;
    CHECK_EQ(dirty(p, 16) & ~0x8ul, 0x30);
    clear_refs("4");
    CHECK_EQ(dirty(p, 16), 0);
    p[5 * PAGE] = 2;
    CHECK_EQ(dirty(p, 16), 0x20);
    CHECK_EQ(munmap(p, 16 * PAGE), 0);
    close(fd);
    group(name);
}

static void test_kernel_writes(void)
{
    int fd = temp_file(4, 3);
    char *p = map_anon(4), byte = 1;
    fill(p, 4, 1);
    clear_refs("4");
    CHECK_EQ(pread(fd, p + PAGE, 100, 0), 100);
    CHECK_EQ(dirty(p, 4), 0x2);
    struct iovec from = {&byte, 1}, to = {p + 2 * PAGE, 1};
    CHECK_EQ(process_vm_writev(getpid(), &from, 1, &to, 1, 0), 1);
    CHECK_EQ(dirty(p, 4), 0x6);
    clear_refs("4");
    CHECK_EQ(pwrite(fd, p, 2 * PAGE, 0), 2 * (long)PAGE); // only read
    CHECK_EQ(dirty(p, 4), 0);
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    close(fd);
    group("the kernel writes");
}

static void test_protect(void)
{
    char *p = map_anon(4);
    fill(p, 4, 1);
    clear_refs("4");
    CHECK_EQ(mprotect(p, 4 * PAGE, PROT_READ), 0);
    CHECK_EQ(mprotect(p, 4 * PAGE, RW), 0);
    CHECK_EQ(dirty(p, 4), 0);
    p[2 * PAGE] = 1;
    CHECK_EQ(dirty(p, 4), 0x4);
    CHECK_EQ(mprotect(p, 4 * PAGE, PROT_NONE), 0);
    CHECK_EQ(dirty(p, 4), 0x4);
    clear_refs("4");
    CHECK_EQ(dirty(p, 4), 0);
    CHECK_EQ(mprotect(p, 4 * PAGE, RW), 0);
    p[3 * PAGE] = 1;
    CHECK_EQ(dirty(p, 4), 0x8);
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    group("mprotect");
}

static void test_new_ones(void)
{
    char *room = map_nothing(16), *p = room + PAGE;
    MUST(mmap(p, 4 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == p);
    fill(p, 4, 1);
    clear_refs("4");
    MUST(mmap(p, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0) == p); // what was here is gone
    CHECK_EQ(dirty(p, 4), 0x1);
    CHECK(has_sd(p) && !has_sd(p + PAGE));
    MUST(mmap(p + 4 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0) == p + 4 * PAGE); // joined
    CHECK_EQ(maps_lines(p + PAGE, 4 * PAGE), 1);
    CHECK_EQ(dirty(p + PAGE, 4), 0xf);
    clear_refs("4");
    CHECK_EQ(dirty(p, 5), 0);
    CHECK_EQ(maps_lines(p + PAGE, 4 * PAGE), 1);
    p[2 * PAGE] = 1;
    CHECK_EQ(dirty(p, 5), 0x4);
    char *heap = sbrk(2 * PAGE);
    MUST(heap != (void *)-1);
    clear_refs("4");
    char *more = sbrk(PAGE);
    CHECK_EQ(word_of(more) & SOFT_DIRTY, SOFT_DIRTY);
    CHECK_EQ(munmap(room, 16 * PAGE), 0);
    group("new mappings");
}

static void test_move(void)
{
    char *p = map_anon(4), *room = map_nothing(8);
    fill(p, 4, 1);
    clear_refs("4");
    CHECK(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room) == room);
    CHECK_EQ(dirty(room, 4), 0xf);
    CHECK_EQ(holds(room, 4, 1), 4);
    CHECK_EQ(munmap(room, 4 * PAGE), 0);
    group("mremap");
}

// The child's status is the mask; 1 and 100 are for a child that could not look, or that failed.
static unsigned long in_child(unsigned long (*fn)(char *p), char *p)
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int mask = (int)fn(p);
        _exit(checks_failed ? 100 : mask);
    }
    MUST(waitpid(pid, &status, 0) == pid);
    MUST(WIFEXITED(status));
    return (unsigned long)WEXITSTATUS(status);
}

static unsigned long child_looks(char *p)
{
    return dirty(p, 4);
}

static unsigned long child_writes(char *p)
{
    clear_refs("4");
    p[3 * PAGE] = 1;
    return dirty(p, 4);
}

static void test_fork(void)
{
    char *p = map_anon(4);
    fill(p, 4, 1);
    clear_refs("4");
    p[PAGE] = 1;
    CHECK_EQ(in_child(child_looks, p), 0x2);
    CHECK_EQ(dirty(p, 4), 0x2);
    CHECK_EQ(in_child(child_writes, p), 0x8);
    CHECK_EQ(dirty(p, 4), 0x2);
    clear_refs("4");
    CHECK_EQ(dirty(p, 4), 0);
    p[2 * PAGE] = 1;
    p[1 * PAGE] = 1;
    CHECK_EQ(dirty(p, 4), 0x6);
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    group("fork");
}

static void test_referenced(void)
{
    int fd = temp_file(4, 1);
    char *p = map_anon(4), *q = map(4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    // Linux has no translation shot down for this, so an access soon after may not count.
    int exact = access("/proc/faultline", F_OK) == 0;
    fill(p, 4, 1);
    look(q, 4);
    CHECK_EQ(referenced(p), 16);
    CHECK(referenced(q) > 0);
    clear_refs("2");
    CHECK_EQ(referenced(p), 0);
    CHECK(referenced(q) > 0);
    clear_refs("3");
    CHECK_EQ(referenced(q), 0);
    CHECK_EQ(holds(p, 4, 1), 4);
    CHECK_EQ(holds(q, 4, 1), 4);
    CHECK(!exact || referenced(p) == 16);
    CHECK(!exact || referenced(q) == 16);
    clear_refs("1");
    CHECK_EQ(referenced(p), 0);
    CHECK_EQ(referenced(q), 0);
    p[PAGE] = 1;
    CHECK(!exact || referenced(p) == 4);
    CHECK_EQ(munmap(p, 4 * PAGE) | munmap(q, 4 * PAGE), 0);
    close(fd);
    group("referenced");
}

static unsigned long child_counts(char *p)
{
    return (flags_of(p) & EXCLUSIVE) != 0;
}

static unsigned long child_without_caps(char *p)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    unsigned long mine = 0, early = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY);
    MUST(fd >= 0);
    MUST(syscall(SYS_capget, &head, data) == 0);
    data[0].effective = data[1].effective = 0;
    MUST(syscall(SYS_capset, &head, data) == 0);
    MUST(pread(fd, &early, 8, (off_t)((unsigned long)p / PAGE * 8)) == 8);
    mine = word_of(p);
    return (mine & PRESENT ? 2 : 0) | (mine & PFN ? 4 : 0) | (early & PFN ? 8 : 0);
}

static void test_bits(void)
{
    int fd = temp_file(4, 1);
    char *p = map_anon(4), *q = map(4 * PAGE, RW, MAP_SHARED, fd, 0),
         *r = map(4 * PAGE, RW, MAP_PRIVATE, fd, 0);
    fill(p, 1, 1);
    look(p + PAGE, 1);
    CHECK_EQ(flags_of(p), PRESENT | EXCLUSIVE | SOFT_DIRTY);
    CHECK_EQ(flags_of(p + PAGE) & ~EXCLUSIVE, PRESENT | SOFT_DIRTY); // the zero page
    CHECK_EQ(flags_of(p + 2 * PAGE), SOFT_DIRTY);
    CHECK_EQ(mprotect(p, PAGE, PROT_NONE), 0);
    CHECK_EQ(flags_of(p), PRESENT | EXCLUSIVE | SOFT_DIRTY);
    CHECK_EQ(mprotect(p, PAGE, RW), 0);
    CHECK_EQ(in_child(child_counts, p), 0);
    look(q, 1);
    CHECK_EQ(flags_of(q), PRESENT | EXCLUSIVE | FILE_PAGE | SOFT_DIRTY);
    look(r, 1);
    CHECK_EQ(flags_of(r), PRESENT | FILE_PAGE | SOFT_DIRTY);
    CHECK_EQ(flags_of(q), PRESENT | FILE_PAGE | SOFT_DIRTY);
    r[0] = 1;
    CHECK_EQ(flags_of(r), PRESENT | EXCLUSIVE | SOFT_DIRTY);
    CHECK((word_of(p) & PFN) != 0);
    CHECK_EQ(in_child(child_without_caps, p), 10);
    CHECK_EQ(munmap(p, 4 * PAGE) | munmap(q, 4 * PAGE) | munmap(r, 4 * PAGE), 0);
    CHECK_EQ(flags_of(p), 0);
    close(fd);
    group("bits of pagemap");
}

static void test_errors(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY);
    MUST(fd >= 0);
    CHECK_ERR(write(fd, "0", 1), EINVAL);
    CHECK_ERR(write(fd, "6", 1), EINVAL);
    CHECK_ERR(write(fd, "x", 1), EINVAL);
    CHECK_EQ(write(fd, "5", 1), 1);
    close(fd);
    group("errors");
}

int main(void)
{
    test_anonymous();
    test_file(MAP_PRIVATE, "private mapping of a file");
    test_file(MAP_SHARED, "shared mapping of a file");
    test_kernel_writes();
    test_protect();
    test_new_ones();
    test_move();
    test_fork();
    test_referenced();
    test_bits();
    test_errors();
    return finish();
}
