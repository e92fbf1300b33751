// What the fuzzers of system calls share: the calls there are, what their arguments look like, and
// how one is drawn. The same seed draws the same.
#ifndef SYSFUZZ_H
#define SYSFUZZ_H

#include "mm_test.h"
#include <sys/stat.h>
#include <sys/utsname.h>

struct call {
    const char *name;
    int number[2]; // x86_64, aarch64
};

static const struct call calls[] = {
#define SYSCALL(name, x86_64, aarch64)         {#name, {x86_64, aarch64}},
#define SYSCALL_RESTART(name, x86_64, aarch64) {#name, {x86_64, aarch64}},
#define SYSCALL_ABSENT(name, x86_64, aarch64)  {#name, {x86_64, aarch64}},
#include "../../include/syscalls.def"
};
#define NR_CALLS (sizeof(calls) / sizeof(calls[0]))

// What the arguments of a call are; others get anything. a: an address in the arena or a wild one,
// l: a length that stays in the arena, i: any number, p: any pointer, b: a bad pointer only,
// n: a file's name, f: a descriptor, t: one that may be closed and written, s: a small number.
static const struct {
    const char *name, *args;
} shapes[] = {
    {"mmap", "alsstp"},
    {"munmap", "al"},
    {"mprotect", "als"},
    {"mremap", "allsa"},
    {"madvise", "als"},
    {"mincore", "alp"},
    {"msync", "als"},
    {"mlock", "al"},
    {"mlock2", "als"},
    {"munlock", "al"},
    {"brk", "b"},
    {"read", "fpi"},
    {"write", "tpi"},
    {"readv", "fps"},
    {"writev", "tps"},
    {"close", "t"},
    {"dup2", "tt"},
    {"dup3", "tts"},
    {"futex", "pssppi"},
    {"ppoll", "psbb"},
    {"poll", "pss"},
    {"select", "sppppp"},
    {"pselect6", "sppppb"},
    {"epoll_pwait", "tpssb"},
    {"epoll_pwait2", "tpspb"},
    {"nanosleep", "bp"},
    {"clock_nanosleep", "ssbp"},
    {"rt_sigaction", "ibpi"},
    {"rt_sigtimedwait", "bppi"},
    {"signalfd4", "tpss"},
    {"ftruncate", "ti"},
    {"truncate", "ni"},
    {"fallocate", "tsii"},
    {"pread64", "fpii"},
    {"pwrite64", "tpii"},
    {"preadv", "fpsi"},
    {"pwritev", "tpsi"},
    {"sendfile", "ttpi"},
    {"splice", "tptpii"},
    {"copy_file_range", "tptpii"},
    {"ioctl", "tip"},
    {"fcntl", "tsi"},
    {"lseek", "tis"},
    {"execve", "bpp"},
    {"execveat", "sbppi"},
    {"open", "nii"},
    {"openat", "fnii"},
    {"creat", "ni"},
    {"mkdir", "ni"},
    {"mkdirat", "fni"},
    {"rmdir", "n"},
    {"unlink", "n"},
    {"unlinkat", "fns"},
    {"rename", "nn"},
    {"renameat", "fnfn"},
    {"renameat2", "fnfns"},
    {"link", "nn"},
    {"linkat", "fnfns"},
    {"symlink", "nn"},
    {"symlinkat", "nfn"},
    {"readlink", "npi"},
    {"readlinkat", "fnpi"},
    {"stat", "np"},
    {"lstat", "np"},
    {"newfstatat", "fnpi"},
    {"statx", "fniip"},
    {"statfs", "np"},
    {"access", "ns"},
    {"faccessat", "fns"},
    {"chmod", "ni"},
    {"fchmodat", "fni"},
    {"chdir", "n"},
    {"fchdir", "t"},
    {"getdents64", "fpi"},
    {"mknod", "nii"},
    {"utimensat", "fnps"},
    {"mount", "nnbib"},
    {"memfd_create", "ns"},
    {"getdents", "fpi"},
    {"inotify_add_watch", "tni"},
    {"inotify_rm_watch", "ts"},
    {"tee", "ttis"},
    {"vmsplice", "tpss"},
    {"openat2", "fnpi"},
    {"name_to_handle_at", "fnpps"},
    {"process_vm_readv", "spspss"},
    {"process_vm_writev", "spspss"},
};

// Names that meet often. The longest is longer than any path may be.
static char name_long[5000];
static const char *const names[] = {
    "/tmp/fuzz/a",
    "/tmp/fuzz/b",
    "/tmp/fuzz/d",
    "/tmp/fuzz/d/e",
    "a",
    "d/e",
    "",
    ".",
    "..",
    "/",
    "/proc/self/maps",
    "/proc/self/fd/9",
    "/proc/stat",
    "/dev/null",
    "/proc/faultline/stats",
    "/tmp/fuzz/a/b",
    "/tmp/fuzz",
    "/tmp/fuzz/d/../a",
    "/proc/self",
    name_long,
};

#define ARENA_PAGES 512ul
static char *arena;
static int machine; // column
static inline unsigned long draw(unsigned long *seed)
{
    unsigned long z = (*seed += 0x9e3779b97f4a7c15ul);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ul;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebul;
    return z ^ (z >> 31);
}

static unsigned long bad_pointer(unsigned long *seed)
{
    static const unsigned long bad[] = {
        0,
        8,
        4095,
        0x00007ffffffff000ul,
        0x00007ffffffffff8ul,
        0x0000800000000000ul,
        0x8000000000000000ul,
        0xdeadbeefdeadbeeful,
        0xffff800000000000ul,
        0xffff800000100000ul,
        0xffffffff80000000ul,
        0xffffffff80100000ul,
        0xfffffffffffff000ul,
        ~0ul,
        ~7ul,
    };
    unsigned long z = draw(seed);
    return bad[z % (sizeof(bad) / sizeof(bad[0]))] + ((z >> 20) % 4 == 0 ? (z >> 24) % 64 : 0);
}

static unsigned long arena_address(unsigned long *seed)
{
    unsigned long z = draw(seed);
    unsigned long in_page = z & 3 ? 0 : (z & 4 ? PAGE - 1 - (z >> 3) % 16 : (z >> 3) % PAGE);
    return (unsigned long)arena + (z >> 24) % ARENA_PAGES * PAGE + in_page;
}

static unsigned long number(unsigned long *seed)
{
    unsigned long z = draw(seed);
    switch (z % 8) {
    case 0:
        return draw(seed);
    case 1:
        return 1ul << (z >> 8) % 64;
    case 2:
        return (1ul << (z >> 8) % 64) - 1;
    case 3:
        return ~((z >> 8) % 4096);
    case 4:
        return (z >> 8) % 4096 * PAGE;
    default:
        return (z >> 8) % 32;
    }
}

static inline unsigned long argument(char kind, unsigned long *seed)
{
    unsigned long z = draw(seed);
    switch (kind) {
    case 'a':
        return z % 8 ? arena_address(seed) & ~(z & 64 ? 0 : PAGE - 1) : bad_pointer(seed);
    case 'l': // may leave the arena at its end, where the guard is
        return z % 16 ? z / 16 % (64 * PAGE) : ~0ul - z / 16 % (PAGE * 2);
    case 'p':
        return z % 3 ? arena_address(seed) : bad_pointer(seed);
    case 'b':
        return bad_pointer(seed);
    case 'f': // no standard stream
        return z % 4 ? 3 + z / 4 % 8 : ~0ul - z / 4 % 4;
    case 't': // what may be closed and written: only what the fuzz has opened
        return z % 4 ? 8 + z / 4 % 16 : 1000 + z / 4 % 64;
    case 'n':
        return z % 8 ? (unsigned long)names[z / 8 % (sizeof(names) / sizeof(names[0]))]
                     : argument('p', seed);
    case 's':
        return z % 4 ? z / 4 % 256 : number(seed);
    default:
        return number(seed);
    }
}

static const char *shape_of(const char *name)
{
    for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        if (strcmp(shapes[i].name, name) == 0) {
            return shapes[i].args;
        }
    }
    return "??????";
}

// Keep a memory call in the arena, unless it is refused for good reason, and a file small.
static inline void restrain(const char *name, unsigned long *a, unsigned long *seed)
{
    unsigned long start = (unsigned long)arena, end = start + ARENA_PAGES * PAGE;
    if (shape_of(name)[0] == 'a' && a[0] >= start && a[0] < end && a[1] > end - a[0] &&
        a[1] < ~0ul / 2) {
        a[1] = end - a[0];
    }
    if (strcmp(name, "mmap") == 0) {
        a[3] |= MAP_FIXED; // elsewhere it would take room and never give it back
        a[3] &= ~(unsigned long)MAP_POPULATE;
    } else if (strcmp(name, "mremap") == 0) {
        a[2] %= 32 * PAGE;
        a[3] = draw(seed) % 2 ? MREMAP_MAYMOVE | MREMAP_FIXED : 0;
        a[4] = start + draw(seed) % (ARENA_PAGES - 64) * PAGE;
    } else if (strcmp(name, "fallocate") == 0 && a[3] < ~0ul / 2) {
        a[2] %= 1ul << 20; // it would take all memory, as asked
        a[3] %= 1ul << 20;
    } else if (strcmp(name, "fcntl") == 0 && a[1] == F_SETFL) {
        a[2] &= ~(unsigned long)O_ASYNC;
    }
}

// Descriptors of each kind that a call may meet, 8 and on.
static void prepare_files(void)
{
    int pair[2];
    MUST(mkdir("/tmp/fuzz", 0755) == 0 && mkdir("/tmp/fuzz/d", 0755) == 0);
    MUST(chdir("/tmp/fuzz") == 0);
    int fd = open("a", O_RDWR | O_CREAT, 0644);
    MUST(fd >= 0 && write(fd, name_long, sizeof(name_long)) == sizeof(name_long));
    MUST(dup2(fd, 8) == 8 && dup2(fd, 9) == 9);
    MUST(pipe(pair) == 0 && dup2(pair[0], 10) == 10 && dup2(pair[1], 11) == 11);
    MUST(dup2(open("d", O_RDONLY | O_DIRECTORY), 12) == 12);
    MUST(dup2(open("/proc/self/maps", O_RDONLY), 13) == 13);
    MUST(dup2(open("/dev/zero", O_RDWR), 14) == 14); // /dev/null is among the names
    MUST(dup2(open("b", O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK, 0644), 15) == 15);
}

// Everything a call may meet. The current directory is /tmp/fuzz then.
static inline void fuzz_prepare(void)
{
    struct utsname name;
    memset(name_long, 'x', sizeof(name_long) - 1);
    MUST(uname(&name) == 0);
    machine = strcmp(name.machine, "aarch64") == 0;
    char *room = map((ARENA_PAGES + 1024) * PAGE, PROT_NONE, ANON, -1, 0);
    arena = room + 512 * PAGE;
    MUST(mmap(arena, ARENA_PAGES * PAGE, RW, ANON | MAP_FIXED, -1, 0) == arena);
    prepare_files();
}

#endif
