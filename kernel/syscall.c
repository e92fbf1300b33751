// The system call table: filled once from syscalls.def for this CPU's numbers, then only read.
//
// A number without a handler goes to the architecture (arch_prctl), then to the log: each unknown
// call is named once on the console, so that a program that fails here tells us what it needs.
// Numbers no Linux has are logged once, all together.
#include <arch/thread.h>
#include <arch/trap.h>
#include <arch/uaccess.h>
#include <k/atomic.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>
#include <strace.h>
#include <syscalls.h>

#define NR_MAX 512

typedef s64 (*syscall_fn)(const u64 *a);

struct syscall_def {
    const char *name;
    syscall_fn fn; // NULL: absent
    s16 nr;        // -1: this CPU has none
    bool restart;
};

static const struct syscall_def defs[] = {
#define SYSCALL(name, x86, a64)         {#name, sys_##name, ARCH_SYSCALL_NR(x86, a64), false},
#define SYSCALL_RESTART(name, x86, a64) {#name, sys_##name, ARCH_SYSCALL_NR(x86, a64), true},
#define SYSCALL_ABSENT(name, x86, a64)  {#name, NULL, ARCH_SYSCALL_NR(x86, a64), false},
#include <syscalls.def>
};

static syscall_fn table[NR_MAX];       // [I] after syscall_init
static u8 restart[NR_MAX];             // [I] after syscall_init: -EINTR means start again
static atomic_bool logged[NR_MAX + 1]; // the last: all numbers that name no call

void syscall_init(void)
{
    for (unsigned i = 0; i < array_size(defs); i++) {
        const struct syscall_def *d = &defs[i];

        if (d->nr >= 0 && d->nr < NR_MAX && d->fn) {
            table[d->nr] = d->fn;
            restart[d->nr] = d->restart;
        }
    }
}

const char *syscall_name(u64 nr)
{
    for (unsigned i = 0; i < array_size(defs); i++) {
        if (defs[i].nr >= 0 && (u64)defs[i].nr == nr) {
            return defs[i].name;
        }
    }
    return NULL;
}

int user_struct_read(void *to, u64 to_size, u64 user, u64 size)
{
    u8 rest;

    memset(to, 0, to_size);
    if (arch_copy_from_user(to, (const void *)user, min(size, to_size))) {
        return -EFAULT;
    }
    for (u64 i = to_size; i < size; i++) {
        if (arch_copy_from_user(&rest, (const void *)(user + i), 1)) {
            return -EFAULT;
        }
        if (rest) {
            return -E2BIG;
        }
    }
    return 0;
}

static cold s64 syscall_unknown(u64 nr, struct trapframe *f)
{
    const char *name = syscall_name(nr);
    s64 r = arch_syscall(nr, f);

    if (r != -ENOSYS) {
        return r;
    }
    if (!atomic_exchange(&logged[name ? nr : NR_MAX], true)) {
        if (name) {
            printk("%s: system call %s (%lu) is not implemented\n", current_thread()->name, name,
                   nr);
        } else {
            printk("%s: there is no system call %lu\n", current_thread()->name, nr);
        }
    }
    return -ENOSYS;
}

// The result asks for a new start: remember how, for signal_deliver().
static cold s64 syscall_interrupted(u64 nr, s64 r)
{
    if (r == -ENORESTART) {
        return -EINTR;
    }
    if (r == -EINTR) {
        if (!restart[nr]) {
            return r;
        }
        r = -ERESTARTSYS;
    }
    current_task()->restart = -r;
    return -EINTR;
}

static bool is_restart(s64 r)
{
    return r == -EINTR || r == -ERESTARTSYS || r == -ERESTARTNOINTR || r == -ERESTARTNOHAND ||
           r == -ERESTARTRESUME || r == -ENORESTART;
}

static s64 syscall_run(u32 nr, const u64 *a, struct trapframe *f)
{
    s64 r;

    if (likely(nr < NR_MAX && table[nr])) {
        r = table[nr](a);
        if (unlikely(is_restart(r))) {
            // A call that put another register file in place is not the one that ends here.
            r = trap_in_syscall(f) ? syscall_interrupted(nr, r) : r;
        }
    } else {
        r = syscall_unknown(nr, f);
    }
    return r;
}

// The same with a line on the console.
static cold s64 syscall_run_traced(u32 nr, const u64 *a, struct trapframe *f)
{
    struct strace_state *s = strace_enter(nr, a);
    s64 r = syscall_run(nr, a, f);

    if (s) {
        strace_leave(s, r);
    }
    return r;
}

void syscall_dispatch(struct trapframe *f)
{
    u32 nr = (u32)trap_syscall_nr(f); // as on Linux, the upper half does not count
    u64 a[6];

    for (unsigned i = 0; i < 6; i++) {
        a[i] = trap_syscall_arg(f, i);
    }
    trap_set_result(f, likely(!load_relaxed(&strace_any)) ? syscall_run(nr, a, f)
                                                          : syscall_run_traced(nr, a, f));
}
