// TEST: smp=1,4 scheme=rcu,mmap_lock linux=same timeout=120
// Every call of an address space with every extreme of its arguments: addresses that are not
// aligned, wild or the kernel's, lengths that are nothing, wrap or leave user space, flags that do
// not exist or contradict each other. The result of each is printed and the same as on Linux; only
// what would take this program's own memory away is left out. A letter is an answer:
//
//     .  it worked       or an errno: I EINVAL  M ENOMEM  F EFAULT  E EEXIST  B EBADF  A EACCES
//     P EPERM  O EOPNOTSUPP  V EOVERFLOW  D ENODEV  G EAGAIN  Y EBUSY  ? another
#include "mm_test.h"
#include <sys/resource.h>

#define ROOM     0x10000000000ul // 8 pages, written to; free above and below
#define ROOM_LEN (8 * PAGE)
#define FREE_END 0x410000000000ul // the program's own is below ROOM or above this
#define USER_TOP 0x7ffffffff000ul

static const unsigned long addrs[] = {
    0,
    1,
    ROOM - PAGE,
    ROOM,
    ROOM + 1,
    ROOM + 2048,
    ROOM + 2 * PAGE,
    ROOM + 7 * PAGE,
    ROOM + ROOM_LEN,
    USER_TOP,
    USER_TOP + PAGE - 1,
    0x800000000000ul,
    0x8000000000000000ul,
    0xffff800000000000ul,
    0xffffffff80000000ul,
    -2 * PAGE,
    -PAGE,
    -1ul,
};
static const unsigned long lens[] = {
    0,
    1,
    PAGE - 1,
    PAGE,
    PAGE + 1,
    3 * PAGE,
    ROOM_LEN,
    ROOM_LEN + 1,
    1ul << 47,
    (1ul << 47) - ROOM,
    1ul << 63,
    (1ul << 63) - 1,
    -ROOM,
    -ROOM - PAGE,
    -ROOM + PAGE,
    -2 * PAGE,
    -PAGE,
    -PAGE + 1,
    -1ul,
};
#define COUNT(a) (sizeof(a) / sizeof(a[0]))

static char line[256];
static unsigned used;

static void note(long r)
{
    static const struct {
        int err;
        char letter;
    } letters[] = {{EINVAL, 'I'}, {ENOMEM, 'M'},    {EFAULT, 'F'}, {EEXIST, 'E'},
                   {EBADF, 'B'},  {EACCES, 'A'},    {EPERM, 'P'},  {EOPNOTSUPP, 'O'},
                   {ENODEV, 'D'}, {EOVERFLOW, 'V'}, {EAGAIN, 'G'}, {EBUSY, 'Y'}};
    char letter = '.';
    if (r == -1) {
        letter = '?';
        for (unsigned i = 0; i < COUNT(letters); i++) {
            letter = letters[i].err == errno ? letters[i].letter : letter;
        }
    }
    MUST(used < sizeof(line) - 1);
    line[used++] = letter;
}

// Print what was noted, under this name.
static void tell(const char *what, unsigned long a, unsigned long b)
{
    printf("%s %#lx %#lx: %.*s\n", what, a, b, (int)used, line);
    used = 0;
}

// The room as it was, whatever a call has made of it.
static void fresh(void)
{
    MUST(munmap((char *)ROOM - 16 * PAGE, 1ul << 30) == 0);
    MUST(mmap((char *)ROOM, ROOM_LEN, RW, ANON | MAP_FIXED, -1, 0) == (char *)ROOM);
    memset((char *)ROOM, 1, ROOM_LEN);
}

// Would a call that changes [addr, addr + len) take the program's own memory?
static int harmful(unsigned long addr, unsigned long len)
{
    unsigned long start = addr & -PAGE, end = (addr + len + PAGE - 1) & -PAGE;
    if (end <= start || end > USER_TOP) {
        return 0; // nothing, or it must be refused
    }
    return start < ROOM - PAGE || end > FREE_END;
}

static void test_munmap(void)
{
    for (unsigned i = 0; i < COUNT(addrs); i++) {
        for (unsigned j = 0; j < COUNT(lens); j++) {
            if (!harmful(addrs[i], lens[j])) {
                fresh();
                note(syscall(SYS_munmap, addrs[i], lens[j]));
            }
        }
        tell("munmap", addrs[i], 0);
    }
}

static void test_mprotect(void)
{
    static const unsigned long prots[] = {
        0, PROT_READ, RW, 8, 16, 0x01000000, 0x02000000, 0x03000000, 1ul << 40, -1ul,
    };
    for (unsigned i = 0; i < COUNT(addrs); i++) {
        for (unsigned k = 0; k < COUNT(prots); k++) {
            // PROT_GROWSDOWN would find the stack.
            unsigned long far = prots[k] & 0x01000000 ? ROOM_LEN + 1 : -1ul;
            for (unsigned j = 0; j < COUNT(lens); j++) {
                if (!harmful(addrs[i], lens[j]) && lens[j] <= far) {
                    fresh();
                    note(syscall(SYS_mprotect, addrs[i], lens[j], prots[k]));
                }
            }
            tell("mprotect", addrs[i], prots[k]);
        }
    }
}

// A length that is in user space and yet fits nowhere: which of two errors Linux tells first has
// changed with its releases.
#define FITS_NOWHERE ((1ul << 47) - ROOM)

#define FIXED (MAP_FIXED | MAP_FIXED_NOREPLACE)

static void test_mmap(void)
{
    static const unsigned long flags[] = {
        0,
        MAP_SHARED,
        MAP_PRIVATE,
        MAP_SHARED_VALIDATE,
        4,
        MAP_ANONYMOUS,
        MAP_ANONYMOUS | MAP_SHARED,
        MAP_ANONYMOUS | MAP_PRIVATE,
        MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED,
        MAP_ANONYMOUS | MAP_SHARED | MAP_FIXED,
        MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED_NOREPLACE,
        MAP_ANONYMOUS | MAP_SHARED_VALIDATE | 1ul << 30,
        MAP_ANONYMOUS | MAP_PRIVATE | MAP_GROWSDOWN | MAP_FIXED,
        MAP_ANONYMOUS | MAP_SHARED | MAP_GROWSDOWN | MAP_FIXED,
        MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED | 1ul << 31,
    };
    for (unsigned i = 0; i < COUNT(addrs); i++) {
        if (addrs[i] < ROOM - PAGE) {
            continue;
        }
        for (unsigned k = 0; k < COUNT(flags); k++) {
            for (unsigned j = 0; j < COUNT(lens); j++) {
                // (An address of -1 Linux takes for the error -EPERM.)
                if (lens[j] == FITS_NOWHERE || (addrs[i] == -1ul && flags[k] & FIXED) ||
                    ((flags[k] & MAP_FIXED) && harmful(addrs[i], lens[j]))) {
                    continue;
                }
                fresh();
                long r = syscall(SYS_mmap, addrs[i], lens[j], PROT_READ, flags[k], -1, 0);
                note(r);
                if (r != -1) {
                    MUST(munmap((void *)r, lens[j]) == 0);
                }
            }
            tell("mmap", addrs[i], flags[k]);
        }
    }
}

static void test_mmap_file(void)
{
    static const unsigned long offsets[] = {
        0,         1,     PAGE - 1,  PAGE, 1ul << 31,          1ul << 47, 1ul << 62,
        1ul << 63, -PAGE, -2 * PAGE, -1ul, (1ul << 63) - PAGE, 1ul << 51, 1ul << 52,
    };
    int rw = temp_file(2, 1), pair[2];
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", rw);
    int ro = open(path, O_RDONLY), dir = open("/tmp", O_RDONLY);
    int wo = open("/tmp/mm-absurd", O_WRONLY | O_CREAT, 0600);
    MUST(pipe(pair) == 0 && ro >= 0 && dir >= 0 && wo >= 0);
    const int fds[] = {rw, ro, wo, dir, pair[0], -1, 1000};
    for (unsigned f = 0; f < COUNT(fds); f++) {
        for (int shared = 0; shared < 2; shared++) {
            for (unsigned o = 0; o < COUNT(offsets); o++) {
                for (unsigned j = 0; j < COUNT(lens); j++) {
                    if (lens[j] == FITS_NOWHERE) {
                        continue;
                    }
                    long r = syscall(SYS_mmap, 0, lens[j], RW, shared ? MAP_SHARED : MAP_PRIVATE,
                                     fds[f], offsets[o]);
                    note(r);
                    if (r != -1) {
                        MUST(munmap((void *)r, lens[j]) == 0);
                    }
                }
                tell(shared ? "mmap shared file" : "mmap private file", f, offsets[o]);
            }
        }
    }
    for (int i = 0; i < 5; i++) {
        close(fds[i]);
    }
    close(pair[1]);
    unlink("/tmp/mm-absurd");
}

// A move of several mappings, which Linux refuses before 6.17: mm_mremap_many.c.
static int moves_many(unsigned long addr, unsigned long len, unsigned long new_len,
                      unsigned long flags)
{
    char text[512];
    int many = 0;
    if (!(flags & MREMAP_FIXED) || !len || ((len + PAGE - 1) ^ (new_len + PAGE - 1)) & -PAGE) {
        return 0;
    }
    FILE *f = fopen("/proc/self/maps", "r");
    MUST(f != NULL);
    while (fgets(text, sizeof(text), f)) {
        unsigned long start, end;
        many |= sscanf(text, "%lx-%lx", &start, &end) == 2 && start <= addr && addr < end &&
                len > end - addr;
    }
    fclose(f);
    return many;
}

static void test_mremap(void)
{
    static const unsigned long new_lens[] = {
        0, 1, 3 * PAGE, ROOM_LEN, 16 * PAGE, 1ul << 47, -PAGE, -1ul,
    };
    static const unsigned long flags[] = {
        0, MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_MAYMOVE | MREMAP_FIXED, 4, 5, 7, 8, -1ul,
    };
    static const unsigned long news[] = {
        ROOM + 100 * PAGE, ROOM + 100 * PAGE + 1, ROOM + PAGE, USER_TOP, -PAGE,
    };
    for (unsigned i = 0; i < COUNT(addrs); i += i < 8 ? 1 : 3) {
        for (unsigned k = 0; k < COUNT(flags); k++) {
            for (unsigned n = 0; n < COUNT(news); n++) {
                for (unsigned j = 0; j < COUNT(lens); j++) {
                    for (unsigned l = 0; l < COUNT(new_lens); l++) {
                        if (harmful(addrs[i], lens[j]) || used > 240) {
                            continue;
                        }
                        fresh();
                        if (moves_many(addrs[i], lens[j], new_lens[l], flags[k])) {
                            continue;
                        }
                        long r =
                            syscall(SYS_mremap, addrs[i], lens[j], new_lens[l], flags[k], news[n]);
                        note(r);
                        if (r != -1) {
                            munmap((void *)r, new_lens[l]);
                        }
                    }
                }
                if (k < 2 || k > 6) {
                    n = COUNT(news); // no matter where it would go
                }
                tell("mremap", addrs[i], flags[k] << 8 | n % COUNT(news));
            }
        }
    }
}

// len, cut where user space ends, if it gets there.
static unsigned long min_end(unsigned long addr, unsigned long len)
{
    return addr < USER_TOP && len > USER_TOP - addr && addr + len > addr ? USER_TOP - addr : len;
}

static void test_madvise(void)
{
    static const unsigned long advice[] = {
        MADV_NORMAL,
        MADV_RANDOM,
        MADV_SEQUENTIAL,
        MADV_WILLNEED,
        MADV_DONTNEED,
        5,
        6,
        7,
        MADV_FREE,
        MADV_REMOVE,
        MADV_DONTFORK,
        MADV_DOFORK,
        MADV_DONTDUMP,
        MADV_DODUMP,
        MADV_COLD,
        MADV_PAGEOUT,
        MADV_WIPEONFORK,
        MADV_KEEPONFORK,
        22,
        23,
        24,
        99,
        1ul << 31,
        -1ul,
    };
    for (unsigned i = 0; i < COUNT(addrs); i++) {
        for (unsigned k = 0; k < COUNT(advice); k++) {
            for (unsigned j = 0; j < COUNT(lens); j++) {
                // It goes on behind holes and does not mind where user space ends.
                if (!harmful(addrs[i], min_end(addrs[i], lens[j]))) {
                    fresh();
                    note(syscall(SYS_madvise, addrs[i], lens[j], advice[k]));
                }
            }
            tell("madvise", addrs[i], advice[k]);
        }
    }
}

static void test_sync_and_residence(void)
{
    static unsigned char vec[64];
    unsigned char *const vecs[] = {vec, NULL, (unsigned char *)USER_TOP, (unsigned char *)-PAGE};
    for (unsigned i = 0; i < COUNT(addrs); i++) {
        for (unsigned long flags = 0; flags < 10; flags++) {
            for (unsigned j = 0; j < COUNT(lens); j++) {
                fresh();
                note(syscall(SYS_msync, addrs[i], lens[j], flags == 9 ? -1ul : flags));
            }
            tell("msync", addrs[i], flags);
        }
        for (unsigned v = 0; v < COUNT(vecs); v++) {
            for (unsigned j = 0; j < COUNT(lens); j++) {
                fresh();
                note(syscall(SYS_mincore, addrs[i], lens[j], vecs[v]));
            }
            tell("mincore", addrs[i], v);
        }
    }
}

static void test_locks(void)
{
    for (unsigned i = 0; i < COUNT(addrs); i++) {
        for (unsigned j = 0; j < COUNT(lens); j++) {
            if (!harmful(addrs[i], lens[j])) {
                fresh();
                note(syscall(SYS_mlock, addrs[i], lens[j]));
                note(syscall(SYS_munlock, addrs[i], lens[j]));
                note(syscall(SYS_mlock2, addrs[i], lens[j], MLOCK_ONFAULT));
                note(syscall(SYS_mlock2, addrs[i], lens[j], 2));
            }
        }
        tell("mlock", addrs[i], 0);
    }
    for (long flags = 0; flags < 10; flags++) {
        if (flags != MCL_FUTURE && flags != (MCL_FUTURE | MCL_CURRENT)) {
            note(syscall(SYS_mlockall, flags == 9 ? -1 : flags));
        }
    }
    note(munlockall());
    tell("mlockall", 0, 0);
}

// It says no by not moving.
static void test_brk(void)
{
    char *now = sbrk(0);
    for (unsigned i = 0; i < COUNT(addrs); i++) {
        if (addrs[i] < ROOM || addrs[i] >= USER_TOP) {
            note((char *)syscall(SYS_brk, addrs[i]) == now ? 0 : -1);
        }
    }
    tell("brk", 0, 0);
}

int main(void)
{
    static char buffer[65536];
    setvbuf(stdout, buffer, _IOLBF, sizeof(buffer));
    catch_faults();
    test_munmap();
    test_mprotect();
    test_mmap();
    test_mmap_file();
    test_mremap();
    test_madvise();
    test_sync_and_residence();
    test_locks();
    test_brk();
    fresh();
    group("absurd arguments");
    return finish();
}
