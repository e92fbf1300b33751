// The system calls of signals.
#include <arch/thread.h>
#include <arch/time.h>
#include <arch/trap.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>
#include <uapi/time.h>

#include "proc_priv.h"
#include "time_priv.h"

// --- Sending -------------------------------------------------------------------------------------

static struct ksiginfo info_of_caller(int sig, int code)
{
    return (struct ksiginfo){
        .signo = sig, .code = code, .pid = current_process()->pid, .uid = creds_now().uid};
}

// The next process kill(-pgid) means; pgid 0 (that is, kill(-1)): all but process 1 and the caller.
static struct process *many_next_locked(struct pgrp *g, struct process *p)
{
    if (g) {
        return jobctl_next_member_locked(g, p);
    }
    do {
        p = process_next_locked(p);
    } while (p && (p->is_init || p == current_process()));
    return p;
}

// Is one of them to be sent to? *err: what the call says if none is. Those the caller may not send
// to do not count: kill(-1) says nothing of them, kill(-pgid) EPERM if there are no others.
static bool many_wants_locked(struct process *p, const struct ksiginfo *info, bool group, int *err)
{
    int no = creds_may_signal(p, info->signo);

    *err = no && group && *err ? no : 0;
    return !no;
}

// Send to all of them at one instant, so that none can get away by forking (kernel/fork.c). The
// queue entries are made before, as nothing is allocated under the lock; if there are more
// processes by then, once more. `spare` holds them.
static int many_send_locked(s32 pgid, const struct ksiginfo *info, struct list *spare,
                            unsigned nr_spare, unsigned *nr)
{
    struct pgrp *g = pgid == 0 ? NULL : pgrp_find_locked(pgid);
    struct process *p;

    *nr = 0;
    if (pgid != 0 && !g) {
        return -ESRCH;
    }
    int err = -ESRCH;

    for (p = many_next_locked(g, NULL); p; p = many_next_locked(g, p)) {
        *nr += many_wants_locked(p, info, g, &err);
    }
    if (*nr == 0 || !info->signo) {
        return err;
    }
    if (*nr > nr_spare) {
        return -EAGAIN;
    }
    for (p = many_next_locked(g, NULL); p; p = many_next_locked(g, p)) {
        struct sigqueue *q = list_first(spare, struct sigqueue, link);

        if (!many_wants_locked(p, info, g, &err)) {
            continue;
        }
        if (q) {
            list_del(&q->link);
        }
        p->multi_seq++;
        spin_lock(&p->lock);
        signal_send_locked(p, NULL, info, &q);
        spin_unlock(&p->lock);
        if (q) {
            list_add_tail(spare, &q->link);
        }
    }
    return 0;
}

static int kill_many(s32 pgid, const struct ksiginfo *info)
{
    struct list spare = LIST_INIT(spare);
    struct sigqueue *q, *tmp;
    unsigned nr = 0, nr_spare = 0;
    int err;

    do {
        for (; nr_spare < nr; nr_spare++) {
            q = sigqueue_alloc(); // without memory the signal comes without its siginfo
            if (q) {
                list_add_tail(&spare, &q->link);
            }
        }
        spin_lock(&proc_table_lock);
        err = many_send_locked(pgid, info, &spare, nr_spare, &nr);
        spin_unlock(&proc_table_lock);
    } while (err == -EAGAIN);
    list_for_each_entry_safe (q, tmp, &spare, link) {
        list_del(&q->link);
        sigqueue_free(q);
    }
    return err;
}

// To a process that the caller may send to; signo 0: only ask.
static int process_send(struct process *p, const struct ksiginfo *info)
{
    int err = creds_may_signal(p, info->signo);

    return err || !info->signo ? err : signal_send_process(p, info);
}

// To one thread; tgid 0: of any process. A number that changes hands in between is told by tgid.
static int thread_send(s32 tgid, s32 tid, const struct ksiginfo *info)
{
    struct process *p = process_get_by_tid(tid);
    int err = -ESRCH;

    if (p && (!tgid || p->pid == tgid)) {
        err = creds_may_signal(p, info->signo);
        err = err ? err : task_signal_by_tid(p->pid, tid, info->signo ? info : NULL);
    }
    if (p) {
        process_put(p);
    }
    return err;
}

s64 sys_kill(const u64 *a)
{
    s32 pid = (s32)a[0];
    int sig = (int)a[1], err;
    struct ksiginfo info = info_of_caller(sig, SI_USER);
    struct process *p;

    if (sig < 0 || sig > NR_SIGNALS) {
        return -EINVAL;
    }
    if (pid == INT_MIN) {
        return -ESRCH;
    }
    if (pid <= 0) {
        return kill_many(pid == 0 ? current_process()->pgid : pid == -1 ? 0 : -pid, &info);
    }
    p = pid > 0 ? process_get_by_pid(pid) : NULL;
    if (!p) {
        return -ESRCH;
    }
    err = process_send(p, &info);
    process_put(p);
    return err;
}

static s64 thread_kill(s32 tgid, s32 tid, int sig)
{
    struct ksiginfo info = info_of_caller(sig, SI_TKILL);

    if (sig < 0 || sig > NR_SIGNALS || tid <= 0) {
        return -EINVAL;
    }
    return thread_send(tgid, tid, &info);
}

s64 sys_tkill(const u64 *a)
{
    return thread_kill(0, (s32)a[0], (int)a[1]);
}

s64 sys_tgkill(const u64 *a)
{
    return (s32)a[0] <= 0 ? -EINVAL : thread_kill((s32)a[0], (s32)a[1], (int)a[2]);
}

// The siginfo of sigqueue().
static int siginfo_from_user(u64 from, int sig, struct ksiginfo *info)
{
    struct uapi_siginfo u;

    if (arch_copy_from_user(&u, (const void *)from, sizeof(u))) {
        return -EFAULT;
    }
    if (sig < 0 || sig > NR_SIGNALS) {
        return -EINVAL;
    }
    *info = (struct ksiginfo){
        .signo = sig, .code = u.si_code, .pid = u.si_pid, .uid = u.si_uid, .value = u.si_value};
    return 0;
}

// Only si_code below zero, so that nobody passes for the kernel; to itself a process may send what
// it likes (rt_sigqueueinfo(2)).
static bool siginfo_is_forged(const struct ksiginfo *info, s32 tgid)
{
    return (info->code >= 0 || info->code == SI_TKILL) && tgid != current_process()->pid;
}

int signal_from_user(struct process *p, int sig, u64 from)
{
    struct ksiginfo info = info_of_caller(sig, SI_USER);
    int err = 0;

    if (sig < 0 || sig > NR_SIGNALS) {
        return -EINVAL;
    }
    if (from) {
        err = siginfo_from_user(from, sig, &info);
    }
    if (!err && from && siginfo_is_forged(&info, p->pid)) {
        err = -EPERM;
    }
    return err ? err : process_send(p, &info);
}

s64 sys_rt_sigqueueinfo(const u64 *a)
{
    int sig = (int)a[1];
    struct ksiginfo info;
    struct process *p;
    int err = siginfo_from_user(a[2], sig, &info);

    if (err) {
        return err;
    }
    if (siginfo_is_forged(&info, (s32)a[0])) {
        return -EPERM;
    }
    p = (s32)a[0] > 0 ? process_get_by_pid((s32)a[0]) : NULL;
    if (!p) {
        return -ESRCH;
    }
    err = process_send(p, &info);
    process_put(p);
    return err;
}

s64 sys_rt_tgsigqueueinfo(const u64 *a)
{
    int sig = (int)a[2];
    struct ksiginfo info;
    int err = siginfo_from_user(a[3], sig, &info);

    if (err) {
        return err;
    }
    if (siginfo_is_forged(&info, (s32)a[0])) {
        return -EPERM;
    }
    if ((s32)a[0] <= 0 || (s32)a[1] <= 0) {
        return -EINVAL;
    }
    return thread_send((s32)a[0], (s32)a[1], &info);
}

// --- Actions and masks ---------------------------------------------------------------------------

s64 sys_rt_sigaction(const u64 *a)
{
    int sig = (int)a[0];
    struct process *p = current_process();
    struct sigaction_k sa = {0}, old;

    if (a[3] != sizeof(u64) || sig < 1 || sig > NR_SIGNALS) {
        return -EINVAL;
    }
    if (a[1] && arch_copy_from_user(&sa, (const void *)a[1], sizeof(sa))) {
        return -EFAULT;
    }
    if (a[1] && (sig == SIGKILL || sig == SIGSTOP)) {
        return -EINVAL;
    }
    sa.mask &= ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
    spin_lock(&p->lock);
    spin_lock(&p->sighand->lock);
    old = p->sighand->action[sig - 1];
    if (a[1]) {
        p->sighand->action[sig - 1] = sa;
    }
    spin_unlock(&p->sighand->lock);
    if (a[1]) {
        if (sa.handler == SIG_IGN || (sa.handler == SIG_DFL && signal_default_ignored(sig))) {
            signal_discard_locked(p, sig);
        }
    }
    spin_unlock(&p->lock);
    if (a[2] && arch_copy_to_user((void *)a[2], &old, sizeof(old))) {
        return -EFAULT;
    }
    return 0;
}

s64 sys_rt_sigprocmask(const u64 *a)
{
    u64 old = current_task()->blocked;
    u64 set;

    if (a[3] != sizeof(u64)) {
        return -EINVAL;
    }
    if (a[1]) {
        if (arch_copy_from_user(&set, (const void *)a[1], sizeof(set))) {
            return -EFAULT;
        }
        switch ((int)a[0]) {
        case SIG_BLOCK:
            signal_set_mask(old | set);
            break;
        case SIG_UNBLOCK:
            signal_set_mask(old & ~set);
            break;
        case SIG_SETMASK:
            signal_set_mask(set);
            break;
        default:
            return -EINVAL;
        }
    }
    if (a[2] && arch_copy_to_user((void *)a[2], &old, sizeof(old))) {
        return -EFAULT;
    }
    return 0;
}

s64 sys_rt_sigpending(const u64 *a)
{
    struct task_ext *t = current_task();
    u64 set;

    if (a[1] > sizeof(set)) {
        return -EINVAL;
    }
    spin_lock(&t->proc->lock);
    set = (t->pending.set | t->proc->shared.set) & t->blocked;
    spin_unlock(&t->proc->lock);
    return arch_copy_to_user((void *)a[0], &set, a[1]) ? -EFAULT : 0;
}

s64 sys_rt_sigreturn(const u64 *a)
{
    struct trapframe *f = current_trapframe();
    u64 mask;

    (void)a;
    if (arch_signal_pop(f, &mask)) {
        force_signal_fault(SIGSEGV, SI_KERNEL, 0);
        return 0;
    }
    signal_set_mask(mask);
    return trap_result(f); // what the interrupted code had there
}

s64 sys_sigaltstack(const u64 *a)
{
    struct task_ext *t = current_task();
    u64 sp = trap_sp(current_trapframe());
    struct uapi_stack old = t->altstack, new = {0};
    bool on = old.ss_size && sp > old.ss_sp && sp - old.ss_sp <= old.ss_size;
    u32 mode;

    if (a[0] && arch_copy_from_user(&new, (const void *)a[0], sizeof(new))) {
        return -EFAULT;
    }
    if (a[0]) {
        mode = new.ss_flags & ~SS_AUTODISARM;
        if (on) {
            return -EPERM;
        }
        if (mode != 0 && mode != SS_ONSTACK && mode != SS_DISABLE) {
            return -EINVAL;
        }
        if (mode != SS_DISABLE && new.ss_size < MINSIGSTKSZ) {
            return -ENOMEM;
        }
        new.ss_flags = mode == SS_DISABLE ? SS_DISABLE : new.ss_flags &SS_AUTODISARM;
        if (mode == SS_DISABLE) {
            new.ss_sp = new.ss_size = 0;
        }
        new.pad_ = 0;
        t->altstack = new;
    }
    if (on) {
        old.ss_flags |= SS_ONSTACK;
    }
    if (a[1] && arch_copy_to_user((void *)a[1], &old, sizeof(old))) {
        return -EFAULT;
    }
    return 0;
}

// --- Waiting -------------------------------------------------------------------------------------

// Until a signal is there that the mask lets through.
static s64 signal_sleep(void)
{
    for (;;) {
        thread_set_state(THREAD_SLEEPING);
        if (thread_signal_pending()) {
            break;
        }
        schedule();
    }
    thread_set_state(THREAD_RUNNABLE);
    return -ERESTARTNOHAND;
}

s64 sys_rt_sigsuspend(const u64 *a)
{
    int err = a[0] ? signal_mask_swap_user(a[0], a[1]) : -EFAULT;

    return err ? err : signal_sleep();
}

s64 sys_pause(const u64 *a)
{
    (void)a;
    return signal_sleep();
}

// Takes one of `set`: its number; -EAGAIN at the deadline; -EINTR when another signal is there.
static int signal_wait(u64 set, u64 deadline_ns, struct ksiginfo *info)
{
    struct task_ext *t = current_task();
    struct process *p = t->proc;
    int sig, r = 1;

    for (;;) {
        bool other;

        spin_lock(&p->lock);
        t->sig_wait = set;
        sig = signal_dequeue_locked(t, set, info);
        signal_recalc_locked(t);
        other = load_relaxed(&t->sig_work);
        if (sig || other || r == 0) {
            t->sig_wait = 0;
            spin_unlock(&p->lock);
            return sig ? sig : other ? -EINTR : -EAGAIN;
        }
        spin_unlock(&p->lock);
        thread_set_state(THREAD_SLEEPING);
        // A signal of `set` raises sig_work as well, see task_wants().
        r = thread_signal_pending() ? 1 : schedule_until(deadline_ns);
        thread_set_state(THREAD_RUNNABLE);
    }
}

s64 sys_rt_sigtimedwait(const u64 *a)
{
    u64 set, deadline = TIME_NEVER;
    struct uapi_siginfo u;
    struct ksiginfo info;
    int sig, err;

    if (a[3] != sizeof(set)) {
        return -EINVAL;
    }
    if (arch_copy_from_user(&set, (const void *)a[0], sizeof(set))) {
        return -EFAULT;
    }
    if (a[2]) {
        err = deadline_from_user(a[2], CLOCK_MONOTONIC, false, &deadline);
        if (err) {
            return err;
        }
    }
    set &= ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
    sig = signal_wait(set, deadline, &info);
    if (sig > 0 && a[1]) {
        siginfo_to_user(&u, &info);
        if (arch_copy_to_user((void *)a[1], &u, sizeof(u))) {
            return -EFAULT;
        }
    }
    return sig;
}
