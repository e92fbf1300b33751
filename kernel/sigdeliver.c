// Acting on signals, at the return to user mode.
//
// signal_deliver() takes one signal after the other until none is left that the thread does not
// block: ignore it, let it kill, or build a frame for its handler. With several handlers the frames
// stack up and the last one built runs first, as the masks then allow.
//
// It also ends the system call that a signal interrupted. The handler of the call said how, with
// one of the -ERESTART codes, which the dispatcher moved into task->restart (so that a register
// that rt_sigreturn restored is never mistaken for one):
//
//                       no handler runs     handler, SA_RESTART     handler
//     ERESTARTSYS       start again         start again             -EINTR
//     ERESTARTNOINTR    start again         start again             start again
//     ERESTARTNOHAND    start again         -EINTR                  -EINTR
//     ERESTARTRESUME    start again, with   -EINTR                  -EINTR
//                       its first deadline
//
// A stop parks every thread of the process here, in signal_deliver(): the thread that takes the
// stop signal sets stop_sig and kicks the others; the last one to park makes the stop complete and
// tells the parent. SIGCONT, when it is sent, clears stop_sig and wakes them.
//
//     running --stop signal taken--> stopping --all parked--> stopped
//        ^                              |                        |
//        +------------ SIGCONT sent ----+------------------------+    a deadly signal: they leave
//
// "Start again" sets the instruction pointer back to the system call instruction, before the frame
// is built, so that rt_sigreturn comes out there.
#include <arch/thread.h>
#include <arch/trap.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>

#include "proc_priv.h"

void siginfo_to_user(struct uapi_siginfo *to, const struct ksiginfo *info)
{
    memset(to, 0, sizeof(*to));
    to->si_signo = info->signo;
    to->si_code = info->code;
    if (info->signo == SIGCHLD && info->code > 0 && info->code != SI_KERNEL) {
        to->si_cpid = info->pid;
        to->si_cuid = info->uid;
        to->si_status = info->status;
        to->si_utime = info->utime;
        to->si_stime = info->stime;
    } else if (info->code > 0) {
        to->si_addr = info->addr;
    } else {
        to->si_pid = info->pid;
        to->si_uid = info->uid;
        to->si_value = info->value;
    }
}

// --- The interrupted system call -----------------------------------------------------------------

// sa: the handler about to run, NULL: none ran.
static void restart_finish(struct task_ext *t, struct trapframe *f, const struct sigaction_k *sa)
{
    s64 code = t->restart;

    if (!code) {
        return;
    }
    t->restart = 0;
    if (sa && code != ERESTARTNOINTR && (code != ERESTARTSYS || !(sa->flags & SA_RESTART))) {
        t->resume_deadline_ns = 0;
        trap_set_result(f, -EINTR);
        return;
    }
    trap_restart_syscall(f);
}

// --- The alternate stack -------------------------------------------------------------------------

static bool on_altstack(const struct task_ext *t, u64 sp)
{
    const struct uapi_stack *s = &t->altstack;

    return s->ss_size && sp > s->ss_sp && sp - s->ss_sp <= s->ss_size;
}

void signal_altstack_save(struct uapi_stack *out)
{
    const struct uapi_stack *s = &current_task()->altstack;

    *out = (struct uapi_stack){.ss_sp = s->ss_sp, .ss_flags = s->ss_flags, .ss_size = s->ss_size};
}

void signal_altstack_restore(const struct uapi_stack *in)
{
    struct task_ext *t = current_task();
    u32 mode = in->ss_flags & ~SS_AUTODISARM;

    if (on_altstack(t, trap_sp(current_trapframe()))) {
        return;
    }
    if (mode == SS_DISABLE) {
        t->altstack = (struct uapi_stack){.ss_flags = SS_DISABLE};
    } else if ((mode == 0 || mode == SS_ONSTACK) && in->ss_size >= MINSIGSTKSZ) {
        t->altstack = *in;
        t->altstack.ss_flags &= SS_AUTODISARM;
    }
}

// --- One signal ----------------------------------------------------------------------------------

static noreturn_fn void die(const struct ksiginfo *info, struct trapframe *f)
{
    struct process *p = current_process();

    switch (info->signo) {
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE:
    case SIGTRAP:
        printk_limited("%s[%d]: killed by signal %d, code %d, address %#lx, ip %#lx, sp %#lx\n",
                       current_thread()->name, p->pid, info->signo, info->code, info->addr,
                       trap_ip(f), trap_sp(f));
        break;
    default:
        break;
    }
    process_exit_group(info->signo);
}

static void handler_push(struct task_ext *t, struct trapframe *f, const struct ksiginfo *info,
                         const struct sigaction_k *sa)
{
    u64 old_mask = t->saved_mask_valid ? t->saved_mask : t->blocked;
    u64 mask = t->blocked | sa->mask;
    u64 alt = 0;

    if ((sa->flags & SA_ONSTACK) && t->altstack.ss_size && !on_altstack(t, trap_sp(f))) {
        alt = t->altstack.ss_sp + t->altstack.ss_size;
    }
    // A frame that does not fit the alternate stack must not run over what lies below it.
    u64 lowest = alt || on_altstack(t, trap_sp(f)) ? t->altstack.ss_sp : 0;
    t->resume_deadline_ns = 0; // of a wait in the code the handler interrupts, not of its own
    if (arch_signal_push(f, info->signo, info, sa, old_mask, alt, lowest)) {
        if (info->signo == SIGSEGV) {
            // No stack for the handler of this very signal: nothing but the end is left.
            die(info, f);
        }
        force_signal_fault(SIGSEGV, SI_KERNEL, 0);
        return;
    }
    t->saved_mask_valid = false;
    if (t->altstack.ss_flags & SS_AUTODISARM) {
        t->altstack = (struct uapi_stack){.ss_flags = SS_DISABLE};
    }
    if (!(sa->flags & SA_NODEFER)) {
        mask |= SIG_BIT(info->signo);
    }
    signal_set_mask(mask);
}

// Leave if the process, or an execve in another thread, wants that. proc->lock held; dropped if so.
static void leave_if_told_locked(struct task_ext *t)
{
    struct process *p = t->proc;

    if (p->exiting || (p->exec_task && p->exec_task != t)) {
        int status = p->exit_status;

        spin_unlock(&p->lock);
        task_exit(status);
    }
}

// --- Stop and continue ---------------------------------------------------------------------------

bool stop_complete_locked(struct process *p)
{
    if (!p->stop_sig || p->stopped || p->exiting || !p->nr_threads ||
        p->nr_parked < p->nr_threads) {
        return false;
    }
    p->stopped = true;
    p->stop_report = p->stop_sig;
    p->cont_report = false;
    return true;
}

static bool park_is_over(struct process *p, struct task_ext *t)
{
    bool over;

    spin_lock(&p->lock);
    over = !p->stop_sig || p->exiting || (p->exec_task && p->exec_task != t);
    spin_unlock(&p->lock);
    return over;
}

// Be stopped. proc->lock held; dropped. The first one to go on tells the parent of the SIGCONT.
static void park_locked(struct task_ext *t)
{
    struct process *p = t->proc;
    bool tell;

    p->nr_parked++;
    t->parked = true;
    tell = stop_complete_locked(p);
    spin_unlock(&p->lock);
    if (tell) {
        family_tell(p, CLD_STOPPED);
    }
    waitq_wait(&p->park_wait, park_is_over(p, t));
    spin_lock(&p->lock);
    p->nr_parked--;
    t->parked = false;
    tell = p->cont_notify && !p->exiting;
    p->cont_notify = false;
    spin_unlock(&p->lock);
    if (tell) {
        family_tell(p, CLD_CONTINUED);
    }
}

// A stop signal without a handler was taken. proc->lock held; dropped.
static void stop_begin_locked(struct task_ext *t, int sig)
{
    struct process *p = t->proc;
    struct task_ext *other;

    if (sig != SIGSTOP) {
        bool orphaned;

        p->stop_dequeued = true;
        spin_unlock(&p->lock);
        orphaned = jobctl_orphaned(p);
        spin_lock(&p->lock);
        if (orphaned || !p->stop_dequeued) { // a SIGCONT came in between
            spin_unlock(&p->lock);
            return;
        }
        p->stop_dequeued = false;
    }
    if (!p->stop_sig) {
        p->stop_sig = (u8)sig;
    }
    list_for_each_entry (other, &p->threads, proc_link) {
        if (other != t) {
            signal_kick_locked(other);
        }
    }
    spin_unlock(&p->lock); // the caller comes by here again and parks
}

// --- Taking them one after the other -------------------------------------------------------------

// The action of the signal just taken. One whose default is that nothing happens: SIG_IGN.
static struct sigaction_k action_take_locked(struct process *p, int sig)
{
    struct sigaction_k sa;

    spin_lock(&p->sighand->lock);
    sa = p->sighand->action[sig - 1];
    if (sa.handler > SIG_IGN && (sa.flags & SA_RESETHAND)) {
        p->sighand->action[sig - 1].handler = SIG_DFL;
    }
    spin_unlock(&p->sighand->lock);
    if (sa.handler == SIG_DFL && signal_default_ignored(sig)) {
        sa.handler = SIG_IGN;
    }
    return sa;
}

// proc->lock held; dropped.
static void signal_act_locked(struct task_ext *t, struct trapframe *f, const struct ksiginfo *info,
                              bool forced)
{
    struct process *p = t->proc;
    struct sigaction_k sa = action_take_locked(p, info->signo);
    bool immune = p->is_init && !p->is_program && !forced;

    if (sa.handler == SIG_DFL && !immune && signal_default_stops(info->signo)) {
        stop_begin_locked(t, info->signo);
        return;
    }
    spin_unlock(&p->lock);
    if (sa.handler > SIG_IGN) {
        restart_finish(t, f, &sa);
        handler_push(t, f, info, &sa);
    } else if (sa.handler == SIG_DFL && !immune) {
        die(info, f);
    }
}

void signal_deliver(struct trapframe *f)
{
    struct task_ext *t = current_task();
    struct process *p;

    if (!t) {
        return;
    }
    p = t->proc;
    for (;;) {
        struct ksiginfo info;
        bool forced;

        spin_lock(&p->lock);
        leave_if_told_locked(t);
        if (p->stop_sig) {
            park_locked(t);
            continue;
        }
        forced = t->fault_sig;
        if (!signal_dequeue_locked(t, ~t->blocked, &info)) {
            signal_recalc_locked(t);
            spin_unlock(&p->lock);
            break;
        }
        signal_act_locked(t, f, &info, forced);
    }
    restart_finish(t, f, NULL);
    if (t->saved_mask_valid) {
        t->saved_mask_valid = false;
        signal_set_mask(t->saved_mask); // what it unblocks raises sig_work: the caller comes back
    }
}
