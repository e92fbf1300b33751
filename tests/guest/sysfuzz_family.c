// TEST: smp=1,2,4 scheme=rcu,mmap_lock timeout=180
// TEST: args="1 40"
// The calls that sysfuzz leaves out because they end the program, start another, or stop it: fork,
// vfork, clone and clone3 with any flags, execve, exit, kill and its kin, waits, sessions and
// groups, mixed with all the others, in families that are made to be killed. (Faultline only.)
//
//     sysfuzz_family SEED FAMILIES
//
//     process 1 -- fork -> founders (each a session of its own) -- any call -> anything
//         and after a moment: kill(-1, SIGKILL) until nobody but process 1 is left
//
// Process 1 judges and is out of reach: kill(-1) spares it, no number that a family draws for a
// process is 1, and founders have left its session and group. A family is bounded by a count of
// births that it shares with its judge; each member makes a few calls and ends. What a member does
// to its own memory, its stack included (clone without a stack, vfork), is its own affair. That all
// die of SIGKILL, wherever they sleep, and that the kernel is sound at the end, is asked for.
#include "sysfuzz.h"
#include <dirent.h>
#include <ftw.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

#define FOUNDERS    4
#define BIRTHS      60 // in a family, the founders not counted
#define CALLS       60 // of a founder
#define CALLS_CHILD 15
#define STACKS      8
#define STACK_SIZE  (64ul << 10)

static struct shared {
    atomic_ulong births, calls;
} * shared;
static char *stacks; // STACKS of them
static pid_t last_child;

// Not even here: they end the machine, or take away what the next family stands on.
static const char *const left_out[] = {
    "reboot", "mount", "umount2", "pivot_root", "chroot", "setns", "ptrace", "syslog",
};

// Drawn as often as all the others together.
static const char *const family_calls[] = {
    "fork",
    "vfork",
    "clone",
    "clone3",
    "clone",
    "clone3",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "kill",
    "tkill",
    "tgkill",
    "wait4",
    "waitid",
    "rt_sigqueueinfo",
    "pidfd_open",
    "rt_sigaction",
    "setsid",
    "setpgid",
    "rt_sigprocmask",
    "rt_sigsuspend",
    "pause",
    "pidfd_send_signal",
    "setitimer",
    "timer_create",
    "unshare",
    "futex",
    "set_robust_list",
};

// Which arguments are numbers of processes or threads, as bits.
static const struct {
    const char *name;
    unsigned which;
} pid_arguments[] = {
    {"kill", 1},
    {"tkill", 1},
    {"tgkill", 3},
    {"rt_sigqueueinfo", 1},
    {"rt_tgsigqueueinfo", 3},
    {"pidfd_open", 1},
    {"prlimit64", 1},
    {"sched_setaffinity", 1},
    {"sched_setscheduler", 1},
    {"sched_setparam", 1},
    {"sched_setattr", 1},
    {"setpgid", 3},
    {"process_vm_readv", 1},
    {"process_vm_writev", 1},
    {"migrate_pages", 1},
    {"move_pages", 1},
    {"setpriority", 2},
    {"ioprio_set", 2},
    {"kcmp", 3},
    {"wait4", 1},
    {"waitid", 2},
};

static const struct call *call_of(const char *name)
{
    for (unsigned i = 0; i < NR_CALLS; i++) {
        if (strcmp(calls[i].name, name) == 0) {
            return &calls[i];
        }
    }
    return NULL;
}

static bool is_left_out(const char *name)
{
    for (unsigned i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++) {
        if (strcmp(left_out[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const struct call *pick(unsigned long *seed)
{
    for (;;) {
        const struct call *c = &calls[draw(seed) % NR_CALLS];
        if (draw(seed) % 2) {
            c = call_of(
                family_calls[draw(seed) % (sizeof(family_calls) / sizeof(family_calls[0]))]);
        }
        // A member that always ends at once does nothing else.
        bool ends = c && (strcmp(c->name, "exit_group") == 0 || strcmp(c->name, "exit") == 0);
        if (c && c->number[machine] >= 0 && !is_left_out(c->name) && !(ends && draw(seed) % 4)) {
            return c;
        }
    }
}

// Anybody but process 1.
static unsigned long process_number(unsigned long *seed)
{
    unsigned long z = draw(seed);
    switch (z % 8) {
    case 0:
        return 0;
    case 1:
        return (unsigned long)getpid();
    case 2:
        return (unsigned long)-getpgrp();
    case 3:
        return (unsigned long)syscall(SYS_gettid);
    case 4:
        return (z >> 8) % 16 == 0 ? ~0ul : (unsigned long)last_child;
    case 5:
        return 4194304 + (z >> 8) % 4096;
    default:
        return (unsigned long)getpid() + 1 + (z >> 8) % 8;
    }
}

static unsigned long flags_of_clone(unsigned long *seed)
{
    static const unsigned long usual[] = {
        0,
        0,
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_CHILD_CLEARTID,
        CLONE_VM | CLONE_VFORK,
        CLONE_VM,
        CLONE_VM | CLONE_SIGHAND,
        CLONE_FS | CLONE_FILES,
        CLONE_PARENT,
        CLONE_PIDFD,
        CLONE_PARENT_SETTID | CLONE_CHILD_SETTID,
        CLONE_VFORK,
        CLONE_THREAD,
        CLONE_SIGHAND,
    };
    unsigned long z = draw(seed), flags = usual[z / 16 % (sizeof(usual) / sizeof(usual[0]))];
    if (z % 4 == 0) {
        flags ^= 1ul << (8 + (z >> 20) % 26);
    } else if (z % 16 == 1) {
        flags = draw(seed) & 0xffffff00;
    }
    return flags;
}

static void play(unsigned long seed, unsigned nr);

static int newborn(void *arg)
{
    play((unsigned long)arg, CALLS_CHILD);
    syscall(SYS_exit, 0);
    return 0;
}

// What made another one: 0, and we are it; or its number; or an error.
static void born(long r, unsigned long seed)
{
    if (r == 0) {
        play(seed, CALLS_CHILD);
        _exit(0);
    }
    last_child = r > 0 ? (pid_t)r : last_child;
}

static void call_clone(unsigned long *seed)
{
    unsigned long flags = flags_of_clone(seed), z = draw(seed);
    unsigned long signal = z % 4 ? SIGCHLD : (z >> 8) % 70;
    char *stack = stacks + (z >> 16) % STACKS * STACK_SIZE;
    if (flags & CLONE_VM && z % 8) {
        int r = clone(newborn, stack + STACK_SIZE - 256, (int)(flags | signal), (void *)draw(seed),
                      argument('p', seed), NULL, argument('p', seed));
        last_child = r > 0 ? r : last_child;
    } else {
        born(syscall(SYS_clone, flags | signal, 0, argument('p', seed), argument('p', seed),
                     argument('p', seed)),
             draw(seed));
    }
}

static void call_clone3(unsigned long *seed)
{
    struct clone_args c = {.flags = flags_of_clone(seed), .exit_signal = SIGCHLD};
    unsigned long z = draw(seed), size = z % 4 ? sizeof(c) : (z >> 8) % 200;
    c.flags &= z % 8 ? ~(unsigned long)CLONE_VM : ~0ul; // there is no wrapper that gives a stack
    c.exit_signal = z % 8 == 1 ? (z >> 16) % 100 : c.exit_signal;
    c.exit_signal = c.flags & (CLONE_THREAD | CLONE_PARENT) ? 0 : c.exit_signal;
    c.pidfd = argument('p', seed);
    c.parent_tid = argument('p', seed);
    c.child_tid = argument('p', seed);
    c.stack = z % 16 == 2 ? argument('p', seed) : 0;
    c.stack_size = z % 32 == 2 ? number(seed) : 0;
    c.set_tid = z % 64 == 3 ? argument('p', seed) : 0;
    c.set_tid_size = z % 64 == 3 ? number(seed) : 0;
    born(syscall(SYS_clone3, z % 16 == 4 ? argument('p', seed) : (unsigned long)&c, size),
         draw(seed));
}

static void call_exec(unsigned long *seed)
{
    static char *const argv[] = {"sysfuzz_family", "exit", NULL};
    unsigned long z = draw(seed);
    const char *path = z % 2 ? "/proc/self/exe" : (const char *)argument('n', seed);
    syscall(SYS_execve, path, z % 4 ? (unsigned long)argv : argument('p', seed),
            z % 8 ? 0 : argument('p', seed));
}

static bool make_family_call(const struct call *c, unsigned long *seed)
{
    bool birth = strstr(c->name, "fork") || strstr(c->name, "clone") == c->name;
    if (birth && atomic_fetch_add(&shared->births, 1) >= BIRTHS) {
        return true;
    }
    if (strcmp(c->name, "clone") == 0) {
        call_clone(seed);
    } else if (strcmp(c->name, "clone3") == 0) {
        call_clone3(seed);
    } else if (strcmp(c->name, "execve") == 0) {
        call_exec(seed);
    } else if (birth) {
        born(syscall(c->number[machine]), draw(seed)); // vfork: on our stack, if it must
    } else {
        return false;
    }
    return true;
}

static void make_call(const struct call *c, unsigned long *seed)
{
    unsigned long a[6];
    const char *shape = shape_of(c->name);
    size_t len = strlen(shape);
    if (make_family_call(c, seed)) {
        return;
    }
    for (unsigned i = 0; i < 6; i++) {
        char kind = i < len ? shape[i] : '?';
        a[i] = argument(kind == '?' ? "pisbp"[draw(seed) % 5] : kind, seed);
    }
    for (unsigned i = 0; i < sizeof(pid_arguments) / sizeof(pid_arguments[0]); i++) {
        if (strcmp(pid_arguments[i].name, c->name) == 0) {
            a[0] = pid_arguments[i].which & 1 ? process_number(seed) : a[0];
            a[1] = pid_arguments[i].which & 2 ? process_number(seed) : a[1];
        }
    }
    restrain(c->name, a, seed);
    syscall(c->number[machine], a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void play(unsigned long seed, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        make_call(pick(&seed), &seed);
        shared->calls++;
    }
}

// ---- The judge ----------------------------------------------------------------------------------

static int others_left(void)
{
    int n = 0;
    DIR *d = opendir("/proc");
    MUST(d != NULL);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        n += e->d_name[0] >= '0' && e->d_name[0] <= '9' && strcmp(e->d_name, "1") != 0;
    }
    closedir(d);
    return n;
}

static void reap(void)
{
    while (waitpid(-1, NULL, WNOHANG | __WALL) > 0) {
    }
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st, (void)flag;
    return at->level ? remove(path) : 0;
}

// A session of its own. Most signals it does not mind, or it would not live long.
static void found(unsigned long seed)
{
    setsid();
    last_child = getpid();
    for (int sig = 1; sig < 65; sig++) {
        if (draw(&seed) % 8) {
            signal(sig, SIG_IGN);
        }
    }
    play(seed, CALLS);
    _exit(0);
}

static void family(unsigned long seed)
{
    shared->births = 0;
    for (int fd = 3; fd < 64; fd++) {
        close(fd);
    }
    rmdir("/tmp/fuzz/d");
    nftw("/tmp/fuzz", remove_one, 16, FTW_DEPTH | FTW_PHYS);
    CHECK(chdir("/tmp") == 0);
    rmdir("/tmp/fuzz");
    prepare_files();
    for (unsigned long i = 0; i < FOUNDERS; i++) {
        pid_t founder = fork();
        MUST(founder >= 0);
        if (founder == 0) {
            found(seed * FOUNDERS + i);
        }
    }
    for (int i = 0; i < 100 && others_left(); i++) { // a moment; less when all have ended
        usleep(2000);
        reap();
    }
    while (others_left()) { // the test's own limit says when they do not die
        kill(-1, SIGKILL);
        reap();
        usleep(1000);
    }
}

static void still_sound(void)
{
    char text[256];
    CHECK_EQ(chdir("/"), 0);
    char *p = map_anon(100);
    fill(p, 100, 3);
    CHECK_EQ(holds(p, 100, 3), 100);
    knob_read("audit", text, sizeof(text));
    CHECK(strncmp(text, "wrong 0\n", 8) == 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "exit") == 0) {
        return 0;
    }
    unsigned long seed = argc > 1 ? strtoul(argv[1], NULL, 0) : 1;
    unsigned long families = argc > 2 ? strtoul(argv[2], NULL, 0) : 40;
    MUST(getpid() == 1); // kill(-1) is meant for nobody else's
    shared = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    stacks = mmap(NULL, STACKS * STACK_SIZE, RW, ANON, -1, 0);
    MUST(shared != MAP_FAILED && stacks != MAP_FAILED);
    fuzz_prepare();
    fprintf(stderr, "seed %lu, %lu families\n", seed, families);
    for (unsigned long i = 0; i < families; i++) {
        family(seed * 1000003 + i);
    }
    fprintf(stderr, "%lu calls\n", (unsigned long)shared->calls);
    CHECK(shared->calls > families);
    group("families");
    still_sound();
    group("still sound");
    return finish();
}
