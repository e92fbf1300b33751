// Small system calls: who am I, what machine is this, limits, names, the end.
#include <arch/thread.h>
#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/string.h>
#include <filemap.h>
#include <page.h>
#include <proc.h>
#include <syscalls.h>
#include <uapi/misc.h>
#include <uapi/time.h>

#include "proc_priv.h"

// --- Identity ------------------------------------------------------------------------------------

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
    struct process *p = current_process();
    s32 ppid;

    (void)a;
    spin_lock(&p->lock);
    ppid = p->ppid;
    spin_unlock(&p->lock);
    return ppid;
}

s64 sys_set_tid_address(const u64 *a)
{
    current_task()->clear_child_tid = a[0];
    return current_task()->tid;
}

// --- The machine ---------------------------------------------------------------------------------

s64 sys_sysinfo(const u64 *a)
{
    unsigned long load[3];

    loadavg_get(load);
    struct uapi_sysinfo s = {
        .loads = {load[0] << 5, load[1] << 5, load[2] << 5}, // in 1/65536
        .uptime = (s64)(clock_ns() / NSEC_PER_SEC),
        .totalram = page_nr_total() * PAGE_SIZE,
        .freeram = page_nr_free() * PAGE_SIZE,
        .sharedram = pagecache_nr_pages() * PAGE_SIZE, // see Shmem in fs/proc_machine.c
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

// --- Limits --------------------------------------------------------------------------------------

// CAP_SYS_RESOURCE: raise hard limits, and touch those of anybody; getrlimit(2). Else all the
// target's numbers must be the caller's real ones. A look: both may change any time, but each as a
// whole.
static bool may_limit(struct process *p)
{
    struct creds me = creds_now();
    const struct creds *c = &p->cred;
    bool same;

    spin_lock(&p->lock);
    same = c->uid == me.uid && c->euid == me.uid && c->suid == me.uid && c->gid == me.gid &&
           c->egid == me.gid && c->sgid == me.gid;
    spin_unlock(&p->lock);
    return same || p == current_process() || current_has_cap(CAP_SYS_RESOURCE);
}

// What user mode asked for in *from (NULL: nothing) is set, and the value before stored in *old.
static int limit_swap(struct process *p, unsigned which, const struct uapi_rlimit *from,
                      struct uapi_rlimit *old)
{
    int err = 0;

    if (from &&
        (from->cur > from->max || (which == RLIMIT_NOFILE && from->max > RLIMIT_NOFILE_MAX))) {
        return from->cur > from->max ? -EINVAL : -EPERM;
    }
    spin_lock(&p->lock);
    *old = p->rlimit[which];
    if (from && from->max > old->max && !current_has_cap(CAP_SYS_RESOURCE)) {
        err = -EPERM;
    } else if (from) {
        p->rlimit[which] = *from;
        if (which == RLIMIT_CPU) {
            store_relaxed(&p->cpu_watch, true);
        }
    }
    spin_unlock(&p->lock);
    return err;
}

// The old value is stored after the new one was read: the buffers may be the same.
static s64 limit_call(struct process *p, u64 which, u64 from, u64 to)
{
    struct uapi_rlimit new, old;
    int err;

    if (which >= RLIM_NLIMITS) {
        return -EINVAL;
    }
    if (from && arch_copy_from_user(&new, (const void *)from, sizeof(new))) {
        return -EFAULT;
    }
    err = limit_swap(p, (unsigned)which, from ? &new : NULL, &old);
    if (!err && to && arch_copy_to_user((void *)to, &old, sizeof(old))) {
        err = -EFAULT;
    }
    return err;
}

s64 sys_getrlimit(const u64 *a)
{
    struct uapi_rlimit r;
    int err =
        a[0] < RLIM_NLIMITS ? limit_swap(current_process(), (unsigned)a[0], NULL, &r) : -EINVAL;

    return err ? err : arch_copy_to_user((void *)a[1], &r, sizeof(r)) ? -EFAULT : 0;
}

s64 sys_setrlimit(const u64 *a)
{
    struct uapi_rlimit r, old;

    if (a[0] >= RLIM_NLIMITS) {
        return -EINVAL;
    }
    if (arch_copy_from_user(&r, (const void *)a[1], sizeof(r))) {
        return -EFAULT;
    }
    return limit_swap(current_process(), (unsigned)a[0], &r, &old);
}

s64 sys_prlimit64(const u64 *a)
{
    s32 pid = (s32)a[0];
    struct process *p = process_get_by_tid(pid ? pid : current_process()->pid);
    s64 r;

    if (!p) {
        return a[1] >= RLIM_NLIMITS ? -EINVAL : -ESRCH;
    }
    r = may_limit(p) ? limit_call(p, (u32)a[1], a[2], a[3]) : -EPERM;
    process_put(p);
    return r;
}
