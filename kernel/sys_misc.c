// Small system calls: who am I, what machine is this, limits, names, the end.
#include <arch/boot.h>
#include <arch/thread.h>
#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/string.h>
#include <page.h>
#include <proc.h>
#include <syscalls.h>
#include <uapi/misc.h>
#include <uapi/time.h>

// --- Identity: one user, root; one process, leader of its own group and session
// --------------------

s64 sys_getpid(const u64 *a)
{
    (void)a;
    return current_process()->pid;
}

s64 sys_gettid(const u64 *a)
{
    (void)a;
    return current_task()->tid;
}

s64 sys_getppid(const u64 *a)
{
    (void)a;
    return current_process()->ppid;
}

static bool is_self(u64 pid)
{
    return (s32)pid == 0 || (s32)pid == current_process()->pid;
}

s64 sys_getpgid(const u64 *a)
{
    return is_self(a[0]) ? current_process()->pgid : -ESRCH;
}

s64 sys_getpgrp(const u64 *a)
{
    (void)a;
    return current_process()->pgid;
}

s64 sys_getsid(const u64 *a)
{
    return is_self(a[0]) ? current_process()->sid : -ESRCH;
}

s64 sys_setsid(const u64 *a)
{
    (void)a;
    return -EPERM; // already the leader
}

s64 sys_setpgid(const u64 *a)
{
    return is_self(a[0]) ? -EPERM : -ESRCH; // a session leader stays where it is
}

s64 sys_getuid(const u64 *a)
{
    (void)a;
    return 0;
}

s64 sys_geteuid(const u64 *a)
{
    (void)a;
    return 0;
}

s64 sys_getgid(const u64 *a)
{
    (void)a;
    return 0;
}

s64 sys_getegid(const u64 *a)
{
    (void)a;
    return 0;
}

s64 sys_getresuid(const u64 *a)
{
    u32 root = 0;

    for (int i = 0; i < 3; i++) {
        if (arch_copy_to_user((void *)a[i], &root, sizeof(root))) {
            return -EFAULT;
        }
    }
    return 0;
}

s64 sys_getresgid(const u64 *a)
{
    return sys_getresuid(a);
}

s64 sys_getgroups(const u64 *a)
{
    return (int)a[0] < 0 ? -EINVAL : 0; // none
}

s64 sys_set_tid_address(const u64 *a)
{
    current_task()->clear_child_tid = a[0];
    return current_task()->tid;
}

// There are no child processes yet.
s64 sys_wait4(const u64 *a)
{
    (void)a;
    return -ECHILD;
}

// --- The machine ---------------------------------------------------------------------------------

s64 sys_uname(const u64 *a)
{
    struct uapi_utsname u = {
        .sysname = "Linux", // the ABI we speak: programs and their libraries look here
        .nodename = "faultline",
        .release = "6.1.0-faultline",
        .version = "#1 SMP Faultline",
        .machine = ARCH_PLATFORM,
        .domainname = "(none)",
    };

    return arch_copy_to_user((void *)a[0], &u, sizeof(u)) ? -EFAULT : 0;
}

s64 sys_sysinfo(const u64 *a)
{
    unsigned long load[3];

    loadavg_get(load);
    struct uapi_sysinfo s = {
        .loads = {load[0] << 5, load[1] << 5, load[2] << 5}, // in 1/65536
        .uptime = (s64)(clock_ns() / NSEC_PER_SEC),
        .totalram = page_nr_total() * PAGE_SIZE,
        .freeram = page_nr_free() * PAGE_SIZE,
        .procs = (u16)min(task_count(), 65535u),
        .mem_unit = 1,
    };

    return arch_copy_to_user((void *)a[0], &s, sizeof(s)) ? -EFAULT : 0;
}

s64 sys_getrandom(const u64 *a)
{
    u64 to = a[0], len = min(a[1], (u64)INT_MAX), done = 0;
    u8 buf[256];

    if (a[2] & ~(u64)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) ||
        (a[2] & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE)) {
        return -EINVAL;
    }
    while (done < len) {
        size_t n = min(len - done, (u64)sizeof(buf));

        random_bytes(buf, n);
        if (arch_copy_to_user((void *)(to + done), buf, n)) {
            break;
        }
        done += n;
        if (done < len && thread_signal_pending()) {
            break;
        }
        cond_resched();
    }
    memset(buf, 0, sizeof(buf));
    compiler_barrier();
    return done || !len ? (s64)done : -EFAULT;
}

s64 sys_reboot(const u64 *a)
{
    if ((u32)a[0] != REBOOT_MAGIC1) {
        return -EINVAL;
    }
    switch ((u32)a[2]) {
    case REBOOT_CMD_RESTART:
        arch_reboot();
    case REBOOT_CMD_HALT:
    case REBOOT_CMD_POWER_OFF:
        arch_poweroff();
    case REBOOT_CMD_CAD_ON:
    case REBOOT_CMD_CAD_OFF:
        return 0;
    default:
        return -EINVAL;
    }
}

// --- Limits and usage ----------------------------------------------------------------------------

static s64 limit_get(unsigned which, u64 to)
{
    struct process *p = current_process();
    struct uapi_rlimit r;

    spin_lock(&p->lock);
    r = p->rlimit[which];
    spin_unlock(&p->lock);
    return arch_copy_to_user((void *)to, &r, sizeof(r)) ? -EFAULT : 0;
}

static s64 limit_set(unsigned which, u64 from)
{
    struct process *p = current_process();
    struct uapi_rlimit r;

    if (arch_copy_from_user(&r, (const void *)from, sizeof(r))) {
        return -EFAULT;
    }
    if (r.cur > r.max) {
        return -EINVAL;
    }
    spin_lock(&p->lock);
    p->rlimit[which] = r; // root may raise the hard limit, too
    spin_unlock(&p->lock);
    return 0;
}

s64 sys_getrlimit(const u64 *a)
{
    return a[0] < RLIM_NLIMITS ? limit_get((unsigned)a[0], a[1]) : -EINVAL;
}

s64 sys_setrlimit(const u64 *a)
{
    return a[0] < RLIM_NLIMITS ? limit_set((unsigned)a[0], a[1]) : -EINVAL;
}

// The old value is stored after the new one was read: the buffers may be the same.
s64 sys_prlimit64(const u64 *a)
{
    struct process *p = current_process();
    struct uapi_rlimit old;
    s64 err = 0;

    if (a[1] >= RLIM_NLIMITS) {
        return -EINVAL;
    }
    if (!is_self(a[0])) {
        return -ESRCH;
    }
    spin_lock(&p->lock);
    old = p->rlimit[a[1]];
    spin_unlock(&p->lock);
    if (a[2]) {
        err = limit_set((unsigned)a[1], a[2]);
    }
    if (!err && a[3] && arch_copy_to_user((void *)a[3], &old, sizeof(old))) {
        err = -EFAULT;
    }
    return err;
}

// CPU time, all of it as user time; nothing else is counted.
s64 sys_getrusage(const u64 *a)
{
    struct uapi_rusage r = {0};
    u64 ns;

    switch ((int)a[0]) {
    case RUSAGE_SELF:
        ns = process_runtime_ns(current_process());
        break;
    case RUSAGE_THREAD:
        ns = thread_runtime_ns(current_thread());
        break;
    case RUSAGE_CHILDREN:
        ns = 0;
        break;
    default:
        return -EINVAL;
    }
    r.utime_sec = (s64)(ns / NSEC_PER_SEC);
    r.utime_usec = (s64)(ns % NSEC_PER_SEC / NSEC_PER_USEC);
    return arch_copy_to_user((void *)a[1], &r, sizeof(r)) ? -EFAULT : 0;
}

// --- prctl ---------------------------------------------------------------------------------------

static s64 name_set(u64 from)
{
    char name[16] = {0};
    ssize_t n = arch_strncpy_from_user(name, (const char *)from, sizeof(name) - 1);

    if (n < 0) {
        return n;
    }
    name[sizeof(name) - 1] = '\0';
    return task_set_name(current_process(), current_task()->tid, name);
}

s64 sys_prctl(const u64 *a)
{
    switch ((int)a[0]) {
    case PR_SET_NAME:
        return name_set(a[1]);
    case PR_GET_NAME:
        return arch_copy_to_user((void *)a[1], current_thread()->name, 16) ? -EFAULT : 0;
    case PR_GET_DUMPABLE:
        return 1;
    case PR_SET_DUMPABLE:
        return a[1] > 1 ? -EINVAL : 0;
    case PR_SET_PDEATHSIG:
        return a[1] > 64 ? -EINVAL : 0; // there is no parent that could die
    default:
        return syscall_missing("prctl: this option", -EINVAL);
    }
}
