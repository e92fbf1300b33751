// TEST: smp=1,2,4 scheme=rcu,mmap_lock timeout=120
// TEST: args="1 1500"
// Every system call with nonsense: wild pointers, absurd lengths, wrong descriptors, from several
// threads at once, with memory calls in between. Nothing is asked of the answers; the kernel must
// live, and in the end memory, files and threads must work. (Faultline only.)
//
//     sysfuzz SEED CALLS         CALLS a thread; for hours: make fuzz SECONDS=...
//
// What would end or change this program itself is kept from it: calls that exit or never come back
// are left out, addresses that are unmapped or protected lie in an arena of this test or are wild
// (kernel, non-canonical, never mapped). Files are those of a few names. A thread wakes the others
// by a signal, so that no call blocks for long; a call that takes longest is named at the end, and
// one that does not come back is named and fails the test.
#include "mm_test.h"
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>

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

// Never made: they end the program, start another, stop it for good, or take away what the C
// library and this test stand on.
static const char *const left_out[] = {
    "exit",
    "exit_group",
    "reboot",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "rt_sigreturn",
    "kill",
    "tkill",
    "tgkill",
    "rt_sigqueueinfo",
    "pidfd_send_signal",
    "rt_tgsigqueueinfo",
    "rt_sigsuspend",
    "set_tid_address",
    "sigaltstack",
    "setrlimit",
    "prlimit64",
    "mlockall",
    "arch_prctl",
    "rt_sigprocmask",
    "close_range",
    "setitimer",
    "alarm",
    "timer_create",
    "setuid",
    "setreuid",
    "setresuid",
    "unshare",
    "setns",
    "ptrace",
    "pivot_root",
    "chroot",
    "umount2",
    "shmat",
};

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
    {"getdents", "fpi"},
    {"getdents64", "fpi"},
    {"mknod", "nii"},
    {"utimensat", "fnps"},
    {"mount", "nnbib"},
    {"memfd_create", "ns"},
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
static unsigned long nr_calls_each;
static atomic_int running;
static _Atomic(const char *) now_in[8]; // the call each thread is making
static unsigned long now_with[8][6];
static atomic_ulong nr_made;
static struct timespec since[8]; // when each thread's call began
static struct longest {
    const char *name;
    double ms;
    unsigned long with[6];
} longest[8];

static unsigned long draw(unsigned long *seed)
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

static unsigned long argument(char kind, unsigned long *seed)
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

static int is_left_out(const char *name)
{
    for (unsigned i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++) {
        if (strcmp(left_out[i], name) == 0) {
            return 1;
        }
    }
    return 0;
}

// Keep a memory call in the arena, unless it is refused for good reason, and a file small.
static void restrain(const char *name, unsigned long *a, unsigned long *seed)
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

static double ms_since(const struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - t->tv_sec) * 1e3 + (double)(now.tv_nsec - t->tv_nsec) / 1e6;
}

static void make_call(const struct call *c, unsigned long *seed, unsigned id)
{
    unsigned long *a = now_with[id];
    const char *shape = shape_of(c->name);
    size_t len = strlen(shape);
    for (unsigned i = 0; i < 6; i++) {
        char kind = i < len ? shape[i] : '?';
        a[i] = argument(kind == '?' ? "pisbp"[draw(seed) % 5] : kind, seed);
    }
    restrain(c->name, a, seed);
    clock_gettime(CLOCK_MONOTONIC, &since[id]);
    now_in[id] = c->name;
    syscall(c->number[machine], a[0], a[1], a[2], a[3], a[4], a[5]);
    double ms = ms_since(&since[id]);
    if (ms > longest[id].ms) {
        longest[id].ms = ms;
        longest[id].name = c->name;
        memcpy(longest[id].with, a, sizeof(longest[id].with));
    }
}

// Half of the calls are memory calls.
static const struct call *pick(unsigned long *seed)
{
    for (;;) {
        const struct call *c = &calls[draw(seed) % NR_CALLS];
        if (draw(seed) % 2) {
            do {
                c = &calls[draw(seed) % NR_CALLS];
            } while (shape_of(c->name)[0] != 'a');
        }
        if (c->number[machine] >= 0 && !is_left_out(c->name)) {
            return c;
        }
    }
}

static void on_wake(int sig)
{
    (void)sig;
}

// Touch the arena too, so that there is something in it.
static void touch_arena(unsigned long *seed)
{
    unsigned char byte = (unsigned char)draw(seed);
    volatile char *p = (volatile char *)arena_address(seed);
    int what = sigsetjmp(catch_jump, 1);
    if (what == 0) {
        catching = 1;
        if (byte & 1) {
            *p = (char)byte;
        } else {
            byte = (unsigned char)*p;
        }
    }
    catching = 0;
}

static void *fuzz(void *arg)
{
    unsigned long seed = (unsigned long)arg;
    unsigned id = (unsigned)(seed % 1000);
    sigset_t usable;
    sigemptyset(&usable);
    for (unsigned long i = 0; i < nr_calls_each; i++) {
        make_call(pick(&seed), &seed, id);
        nr_made++;
        pthread_sigmask(SIG_SETMASK, &usable, NULL);
        touch_arena(&seed);
        if (i % 64 == 0) {
            (void)!mmap(arena, ARENA_PAGES * PAGE, RW, ANON | MAP_FIXED, -1, 0);
        }
    }
    running--;
    return NULL;
}

static void tell_call(unsigned id, const char *what, const char *name, const unsigned long *a,
                      double ms)
{
    fprintf(stderr, "thread %u: %s %s(%#lx, %#lx, %#lx, %#lx, %#lx, %#lx), %.0f ms\n", id, what,
            name, a[0], a[1], a[2], a[3], a[4], a[5], ms);
}

// Wake all that sleep, until they are done. One that makes no call end in a minute although it is
// woken 500 times a second does not listen.
static void wake_threads(pthread_t *t, unsigned n)
{
    while (running > 0) {
        nanosleep(&(struct timespec){0, 2000000}, NULL);
        for (unsigned i = 0; i < n; i++) {
            double ms = now_in[i] ? ms_since(&since[i]) : 0;
            if (ms > 60e3 && running == (int)n) {
                tell_call(i, "stuck in", now_in[i], now_with[i], ms);
                _exit(1);
            }
            pthread_kill(t[i], SIGUSR1);
        }
    }
}

static void fuzz_threads(unsigned long seed, unsigned n)
{
    pthread_t t[8];
    struct sigaction wake = {.sa_handler = on_wake};
    sigaction(SIGUSR1, &wake, NULL);
    memset(now_in, 0, sizeof(now_in));
    memset(longest, 0, sizeof(longest));
    running = (int)n;
    for (unsigned long i = 0; i < n; i++) {
        MUST(pthread_create(&t[i], NULL, fuzz, (void *)(seed * 1000 + i)) == 0);
    }
    wake_threads(t, n);
    for (unsigned i = 0; i < n; i++) {
        pthread_join(t[i], NULL);
        tell_call(i, "longest", longest[i].name, longest[i].with, longest[i].ms);
    }
}

// ---- Afterwards ---------------------------------------------------------------------------------

static void *add_up(void *arg)
{
    unsigned long *p = arg, sum = 0;
    for (unsigned long i = 0; i < 64; i++) {
        p[i * PAGE / 8] = i;
        sum += p[i * PAGE / 8];
    }
    return (void *)sum;
}

static void still_sound(void)
{
    pthread_t t[4];
    void *sum;
    CHECK_EQ(chdir("/"), 0);
    umask(022);
    for (int fd = 3; fd < 1024; fd++) {
        close(fd);
    }
    int fd = temp_file(20, 4);
    char *s = map(20 * PAGE, RW, MAP_SHARED, fd, 0), *p = map(20 * PAGE, RW, MAP_PRIVATE, fd, 0);
    CHECK_EQ(holds(s, 20, 4), 20);
    fill(p, 10, 5);
    CHECK_EQ(holds(s, 20, 4), 20);
    CHECK_EQ(holds(p, 10, 5), 10);
    CHECK_EQ(munmap(s, 20 * PAGE) | munmap(p, 20 * PAGE) | close(fd), 0);
    for (int i = 0; i < 4; i++) {
        MUST(pthread_create(&t[i], NULL, add_up, map_anon(64)) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &sum);
        CHECK_EQ((unsigned long)sum, 63 * 64 / 2);
    }
    char text[256];
    knob_read("audit", text, sizeof(text));
    CHECK(strncmp(text, "wrong 0\n", 8) == 0);
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
    MUST(dup2(open("/dev/null", O_RDWR), 14) == 14);
    MUST(dup2(open("b", O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK, 0644), 15) == 15);
}

int main(int argc, char **argv)
{
    struct utsname name;
    unsigned long seed = argc > 1 ? strtoul(argv[1], NULL, 0) : 1;
    nr_calls_each = argc > 2 ? strtoul(argv[2], NULL, 0) : 1500;
    memset(name_long, 'x', sizeof(name_long) - 1);
    catch_faults();
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    MUST(uname(&name) == 0);
    machine = strcmp(name.machine, "aarch64") == 0;
    char *room = map((ARENA_PAGES + 1024) * PAGE, PROT_NONE, ANON, -1, 0);
    arena = room + 512 * PAGE;
    MUST(mmap(arena, ARENA_PAGES * PAGE, RW, ANON | MAP_FIXED, -1, 0) == arena);
    prepare_files();
    fprintf(stderr, "seed %lu, %lu calls a thread\n", seed, nr_calls_each);
    fuzz_threads(seed, 1);
    group("one thread");
    fuzz_threads(seed + 1, 4);
    group("four threads");
    still_sound();
    group("still sound");
    return finish();
}
