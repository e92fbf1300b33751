// prctl: what a process may say about itself. Options of Linux that have no meaning here are
// refused as a Linux built without them does, with one line on the console.
#include <arch/thread.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/string.h>
#include <proc.h>
#include <syscalls.h>
#include <uapi/misc.h>
#include <uapi/prctl.h>

#include "proc_priv.h"

#define CAP_LAST 40

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

static s64 int_to_user(u64 to, int value)
{
    return arch_copy_to_user((void *)to, &value, sizeof(value)) ? -EFAULT : 0;
}

// What belongs to the family tree.
static s64 prctl_family(int option, u64 arg)
{
    struct process *p = current_process();
    s64 r = 0;
    int value;

    if (option == PR_SET_PDEATHSIG && arg > NR_SIGNALS) {
        return -EINVAL;
    }
    spin_lock(&proc_table_lock);
    switch (option) {
    case PR_SET_PDEATHSIG:
        family_set_pdeath_locked(p, (u8)arg);
        break;
    case PR_SET_CHILD_SUBREAPER:
        p->subreaper = arg;
        break;
    default:
        break;
    }
    value = option == PR_GET_PDEATHSIG ? p->pdeath_signal : p->subreaper;
    spin_unlock(&proc_table_lock);
    if (option == PR_GET_PDEATHSIG || option == PR_GET_CHILD_SUBREAPER) {
        r = int_to_user(arg, value);
    }
    return r;
}

static s64 prctl_flag_locked(struct process *p, int option, const u64 *a)
{
    struct proc_flags *f = &p->flags;

    switch (option) {
    case PR_GET_DUMPABLE:
        return f->dumpable;
    case PR_SET_DUMPABLE:
        f->dumpable = a[1] > 1 ? f->dumpable : (u32)a[1];
        return a[1] > 1 ? -EINVAL : 0;
    case PR_GET_NO_NEW_PRIVS:
        return a[1] || a[2] || a[3] || a[4] ? -EINVAL : f->no_new_privs;
    case PR_SET_NO_NEW_PRIVS:
        if (a[1] != 1 || a[2] || a[3] || a[4]) {
            return -EINVAL;
        }
        f->no_new_privs = true;
        return 0;
    case PR_GET_THP_DISABLE:
        return a[1] || a[2] || a[3] || a[4] ? -EINVAL : f->thp_disable;
    case PR_SET_THP_DISABLE:
        if (a[2] || a[3] || a[4]) {
            return -EINVAL;
        }
        f->thp_disable = a[1];
        return 0;
    case PR_GET_TIMERSLACK:
        return (s64)f->timer_slack_ns;
    case PR_SET_TIMERSLACK:
        f->timer_slack_ns = a[1] ? a[1] : 50000;
        return 0;
    default:
        return -EINVAL;
    }
}

static s64 ambient_locked(struct creds *c, u64 what, u64 cap)
{
    u64 bit = cap <= CAP_LAST ? 1ull << cap : 0;

    if (what == PR_CAP_AMBIENT_CLEAR_ALL) {
        c->cap_ambient = 0;
        return cap ? -EINVAL : 0;
    }
    if (!bit) {
        return -EINVAL;
    }
    switch (what) {
    case PR_CAP_AMBIENT_IS_SET:
        return (c->cap_ambient & bit) != 0;
    case PR_CAP_AMBIENT_RAISE:
        if (!(c->cap_permitted & c->cap_inheritable & bit) || (c->securebits & SECBIT_NO_AMBIENT)) {
            return -EPERM;
        }
        c->cap_ambient |= bit;
        return 0;
    case PR_CAP_AMBIENT_LOWER:
        c->cap_ambient &= ~bit;
        return 0;
    default:
        return -EINVAL;
    }
}

// A lock stays, and what it locks.
static s64 securebits_set(struct creds *c, u64 bits)
{
    u64 changed = c->securebits ^ bits, locks = c->securebits & SECBITS_LOCKS;

    if (!current_has_cap(CAP_SETPCAP) || (bits & ~(u64)SECBITS_ALL) ||
        (changed & (locks | locks >> 1))) {
        return -EPERM;
    }
    c->securebits = (u32)bits;
    return 0;
}

static s64 keep_caps_set(struct creds *c, u64 keep)
{
    if (keep > 1) {
        return -EINVAL;
    }
    if (c->securebits & SECBIT_LOCK_OF(SECBIT_KEEP_CAPS)) {
        return -EPERM;
    }
    c->securebits = (c->securebits & ~SECBIT_KEEP_CAPS) | (keep ? SECBIT_KEEP_CAPS : 0);
    return 0;
}

static s64 prctl_caps_locked(struct process *p, int option, const u64 *a)
{
    struct creds *c = &p->cred;

    switch (option) {
    case PR_CAPBSET_READ:
        return a[1] > CAP_LAST ? -EINVAL : (s64)(c->cap_bounding >> a[1] & 1);
    case PR_CAPBSET_DROP:
        if (!current_has_cap(CAP_SETPCAP)) {
            return -EPERM;
        }
        c->cap_bounding &= a[1] > CAP_LAST ? ~0ull : ~(1ull << a[1]);
        return a[1] > CAP_LAST ? -EINVAL : 0;
    case PR_GET_SECUREBITS:
        return c->securebits;
    case PR_SET_SECUREBITS:
        return securebits_set(c, a[1]);
    case PR_GET_KEEPCAPS:
        return !!(c->securebits & SECBIT_KEEP_CAPS);
    case PR_SET_KEEPCAPS:
        return keep_caps_set(c, a[1]);
    default:
        return ambient_locked(c, a[1], a[2]);
    }
}

// What to do with a broken page of memory: none is ever reported here.
static s64 mce_kill_set_locked(struct proc_flags *f, const u64 *a)
{
    if (a[3] || a[4] || (a[1] == PR_MCE_KILL_CLEAR && a[2])) {
        return -EINVAL;
    }
    if (a[1] > PR_MCE_KILL_SET || a[2] > PR_MCE_KILL_DEFAULT) {
        return -EINVAL;
    }
    f->mce_kill = a[1] == PR_MCE_KILL_SET ? (u8)(a[2] + 1) : 0;
    return 0;
}

// Does it serve a disk, so that freeing memory must not wait for it? Nothing here waits so.
static s64 io_flusher_set_locked(struct proc_flags *f, const u64 *a)
{
    if (!current_has_cap(CAP_SYS_RESOURCE)) {
        return -EPERM;
    }
    if (a[1] > 1 || a[2] || a[3] || a[4]) {
        return -EINVAL;
    }
    f->io_flusher = a[1];
    return 0;
}

static s64 prctl_kept_locked(struct proc_flags *f, int option, const u64 *a)
{
    bool none = !a[1] && !a[2] && !a[3] && !a[4];

    switch (option) {
    case PR_MCE_KILL:
        return mce_kill_set_locked(f, a);
    case PR_MCE_KILL_GET:
        return !none ? -EINVAL : f->mce_kill ? f->mce_kill - 1 : PR_MCE_KILL_DEFAULT;
    case PR_SET_IO_FLUSHER:
        return io_flusher_set_locked(f, a);
    default: // PR_GET_IO_FLUSHER
        return !current_has_cap(CAP_SYS_RESOURCE) ? -EPERM : !none ? -EINVAL : f->io_flusher;
    }
}

// The processor speculates as it was made to, and nobody can have it otherwise.
static s64 prctl_speculation(int option, const u64 *a)
{
    bool get = option == PR_GET_SPECULATION_CTRL;

    if (a[3] || a[4] || (get && a[2])) {
        return -EINVAL;
    }
    return a[1] >= PR_SPEC_KINDS ? -ENODEV : get ? PR_SPEC_ENABLE : -ENXIO;
}

// Who may trace it beside its ancestors, in case that is all who may. It is not: there is no
// ptrace, and looking into memory asks who both are.
static s64 prctl_ptracer(s32 pid)
{
    struct process *p;

    if (pid == 0 || pid == -1) {
        return 0;
    }
    p = pid > 0 ? process_get_by_pid(pid) : NULL;
    if (p) {
        process_put(p);
    }
    return p ? 0 : -EINVAL;
}

// What can only have one value here.
static s64 prctl_constant(int option, const u64 *a)
{
    switch (option) {
    case PR_GET_TIMING:
    case PR_GET_SECCOMP: // mode 0: none
        return 0;
    case PR_SET_TIMING:
        return a[1] ? -EINVAL : 0;
    case PR_GET_TSC:
        return int_to_user(a[1], PR_TSC_ENABLE);
    case PR_SET_TSC:
        return a[1] == PR_TSC_ENABLE ? 0 : syscall_missing("prctl: switching rdtsc off", -EINVAL);
    case PR_PERF_EVENTS_DISABLE: // there are none
    case PR_PERF_EVENTS_ENABLE:
        return 0;
    case PR_GET_SPECULATION_CTRL:
    case PR_SET_SPECULATION_CTRL:
        return prctl_speculation(option, a);
    case PR_SET_MM: // for who restores a process from a file
        return current_has_cap(CAP_SYS_RESOURCE) ? syscall_missing("prctl: PR_SET_MM", -EINVAL)
                                                 : -EPERM;
    case PR_SET_PTRACER:
        return prctl_ptracer((s32)a[1]);
    case PR_SET_VMA:
        return -EINVAL; // a Linux without CONFIG_ANON_VMA_NAME; the C library asks often
    default:
        return syscall_missing("prctl: this option", -EINVAL);
    }
}

s64 sys_prctl(const u64 *a)
{
    struct process *p = current_process();
    int option = (int)a[0];
    s64 r;

    switch (option) {
    case PR_SET_NAME:
        return name_set(a[1]);
    case PR_GET_NAME:
        return arch_copy_to_user((void *)a[1], current_thread()->name, 16) ? -EFAULT : 0;
    case PR_GET_TID_ADDRESS:
        return arch_copy_to_user((void *)a[1], &current_task()->clear_child_tid, 8) ? -EFAULT : 0;
    case PR_SET_PDEATHSIG:
    case PR_GET_PDEATHSIG:
    case PR_SET_CHILD_SUBREAPER:
    case PR_GET_CHILD_SUBREAPER:
        return prctl_family(option, a[1]);
    case PR_GET_DUMPABLE:
    case PR_SET_DUMPABLE:
    case PR_GET_NO_NEW_PRIVS:
    case PR_SET_NO_NEW_PRIVS:
    case PR_GET_THP_DISABLE:
    case PR_SET_THP_DISABLE:
    case PR_GET_TIMERSLACK:
    case PR_SET_TIMERSLACK:
        spin_lock(&p->lock);
        r = prctl_flag_locked(p, option, a);
        spin_unlock(&p->lock);
        return r;
    case PR_MCE_KILL:
    case PR_MCE_KILL_GET:
    case PR_SET_IO_FLUSHER:
    case PR_GET_IO_FLUSHER:
        spin_lock(&p->lock);
        r = prctl_kept_locked(&p->flags, option, a);
        spin_unlock(&p->lock);
        return r;
    case PR_CAPBSET_READ:
    case PR_CAPBSET_DROP:
    case PR_GET_KEEPCAPS:
    case PR_SET_KEEPCAPS:
    case PR_GET_SECUREBITS:
    case PR_SET_SECUREBITS:
    case PR_CAP_AMBIENT:
        spin_lock(&p->lock);
        r = prctl_caps_locked(p, option, a);
        spin_unlock(&p->lock);
        return r;
    default:
        return prctl_constant(option, a);
    }
}
