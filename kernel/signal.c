// Signals: sending them, and the state they wait in. Acting on them is sigdeliver.c.
//
// A signal waits in the `pending` of one thread (tgkill, faults) or in the `shared` of a process
// (kill). Only the thread itself takes signals, always on its way back to user mode, so a handler's
// frame is built on its own stack by itself. All that a sender does is: under proc->lock note the
// signal, choose a thread that wants it, and kick that thread.
//
//     sender                                  target about to sleep
//     pending |= bit                          state = SLEEPING
//     sig_work = true        (seq_cst)        full barrier
//     thread_notify: look at state            look at sig_work
//     SLEEPING: wake it                       true: do not sleep
//
// One of the two sees the other's store, so no wake-up is lost. A thread in user mode on another
// CPU is interrupted; the way back from that interrupt sees sig_work. sig_work may be true for
// nothing (somebody else took a shared signal): then the wait ends, sigdeliver.c finds nothing, and
// the system call starts again.
//
// A shared signal is for any one thread that does not block it. When the chosen thread blocks it or
// dies before it took it, signal_retarget_locked() kicks another.
//
// Two kinds act when they are sent, whatever the receiver does with them. SIGCONT takes back every
// stop, pending or in effect, and a stop signal every pending SIGCONT. And a signal that can only
// kill dooms the process at once: a wait that only such a signal may end (vfork) ends, and a
// stopped process dies.
//
// A fault's signal must not need memory: its siginfo lives in the task (`fault`), not in the queue.
// Locks: proc->lock protects all of it; `blocked` is written by its own thread only, under the
// lock. The actions are under sighand->lock, inside it: processes may share them (CLONE_SIGHAND).
#include <arch/uaccess.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>
#include <slab.h>

#include "proc_priv.h"

#define UNBLOCKABLE (SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP))
#define SYNCHRONOUS                                                                                \
    (SIG_BIT(SIGSEGV) | SIG_BIT(SIGBUS) | SIG_BIT(SIGILL) | SIG_BIT(SIGTRAP) | SIG_BIT(SIGFPE) |   \
     SIG_BIT(SIGSYS))

static struct kmem_cache *sigqueue_cache;

void signal_init(void)
{
    sigqueue_cache = kmem_cache_create("sigqueue", sizeof(struct sigqueue), 0);
}

struct sigqueue *sigqueue_alloc(void)
{
    struct sigqueue *q = kmem_cache_alloc(sigqueue_cache, GFP_KERNEL);

    if (q) {
        q->timer = NULL;
    }
    return q;
}

void sigqueue_free(struct sigqueue *q)
{
    kmem_cache_free(sigqueue_cache, q);
}

void signal_pending_init(struct sigpending *p)
{
    p->set = 0;
    list_init(&p->queue);
}

// Take q off its list and give back its place in RLIMIT_SIGPENDING.
static void sigqueue_leave_locked(struct process *p, struct sigqueue *q, bool taken)
{
    list_del(&q->link);
    if (q->timer) {
        itimers_signal_gone_locked(q, taken);
    } else {
        p->nr_sigqueue--;
    }
    sigqueue_free(q);
}

void signal_pending_flush(struct process *proc, struct sigpending *p)
{
    struct sigqueue *q, *tmp;

    spin_assert_held(&proc->lock);
    p->set = 0;
    list_for_each_entry_safe (q, tmp, &p->queue, link) {
        sigqueue_leave_locked(proc, q, false);
    }
}

static void pending_discard(struct process *p, struct sigpending *from, int sig)
{
    struct sigqueue *q, *tmp;

    from->set &= ~SIG_BIT(sig);
    list_for_each_entry_safe (q, tmp, &from->queue, link) {
        if (q->info.signo == sig) {
            sigqueue_leave_locked(p, q, false);
        }
    }
}

void signal_discard_locked(struct process *p, int sig)
{
    struct task_ext *t;

    spin_assert_held(&p->lock);
    pending_discard(p, &p->shared, sig);
    list_for_each_entry (t, &p->threads, proc_link) {
        pending_discard(p, &t->pending, sig);
    }
}

bool signal_default_ignored(int sig)
{
    switch (sig) {
    case SIGCHLD:
    case SIGCONT:
    case SIGURG:
    case SIGWINCH:
        return true;
    default:
        return false;
    }
}

bool signal_default_stops(int sig)
{
    return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

struct sigaction_k sigaction_get(struct process *p, int sig)
{
    struct sighand *h = p->sighand;
    struct sigaction_k sa;

    spin_lock(&h->lock);
    sa = h->action[sig - 1];
    spin_unlock(&h->lock);
    return sa;
}

// --- Sending -------------------------------------------------------------------------------------

static bool task_wants(const struct task_ext *t, int sig)
{
    return !(t->blocked & SIG_BIT(sig)) || (t->sig_wait & SIG_BIT(sig));
}

void signal_kick_locked(struct task_ext *t)
{
    store_seq(&t->sig_work, true); /* pairs with thread_set_state() and the look that follows it */
    thread_notify(t->thread);
}

// Kick one thread that wants the shared signal; none: it stays pending until one unblocks it.
static void shared_kick_locked(struct process *p, int sig)
{
    struct task_ext *t;

    list_for_each_entry (t, &p->threads, proc_link) {
        if (task_wants(t, sig)) {
            signal_kick_locked(t);
            return;
        }
    }
}

// Process 1 takes no signal it has no handler for, if it is an init: its end is the machine's.
static bool signal_is_immune(const struct process *p)
{
    return p->is_init && !p->is_program;
}

// Would it be dropped? Not while the thread blocks it: the action may change before it unblocks.
static bool signal_ignored(struct process *p, const struct task_ext *t, int sig)
{
    u64 handler;

    if ((t->blocked | t->sig_wait) & SIG_BIT(sig)) {
        return false;
    }
    handler = sigaction_get(p, sig).handler;
    return handler == SIG_IGN ||
           (handler == SIG_DFL && (signal_default_ignored(sig) || signal_is_immune(p)));
}

// Does it end the process without anybody having a say? Then the thread that would take it does
// not block it, nor wait for it. A fault's signal goes another way, for its line on the console.
static bool signal_is_deadly(struct process *p, const struct task_ext *to, int sig)
{
    struct task_ext *t;

    if (signal_is_immune(p) || sigaction_get(p, sig).handler != SIG_DFL ||
        signal_default_ignored(sig) || signal_default_stops(sig)) {
        return false;
    }
    list_for_each_entry (t, &p->threads, proc_link) {
        if ((!to || t == to) && (t->sig_wait & SIG_BIT(sig))) {
            return false;
        }
    }
    list_for_each_entry (t, &p->threads, proc_link) {
        if ((!to || t == to) && !(t->blocked & SIG_BIT(sig))) {
            return true;
        }
    }
    return false;
}

// What SIGCONT and the stop signals do to each other, see above.
static void signal_job_control_locked(struct process *p, int sig)
{
    if (signal_default_stops(sig)) {
        signal_discard_locked(p, SIGCONT);
    } else if (sig == SIGCONT) {
        signal_discard_locked(p, SIGSTOP);
        signal_discard_locked(p, SIGTSTP);
        signal_discard_locked(p, SIGTTIN);
        signal_discard_locked(p, SIGTTOU);
        p->stop_dequeued = false;
        if (p->stopped) {
            p->cont_report = p->cont_notify = true;
        }
        p->stopped = false;
        p->stop_report = 0;
        if (p->stop_sig) {
            p->stop_sig = 0;
            waitq_wake_all(&p->park_wait);
        }
    }
}

int signal_send_locked(struct process *p, struct task_ext *to, const struct ksiginfo *info,
                       struct sigqueue **q)
{
    struct sigpending *pending = to ? &to->pending : &p->shared;
    struct task_ext *probe = to ? to : list_first(&p->threads, struct task_ext, proc_link);
    int sig = info->signo;

    spin_assert_held(&p->lock);
    if (!probe || p->exiting) {
        return 0;
    }
    signal_job_control_locked(p, sig);
    if (signal_ignored(p, probe, sig)) {
        return 0;
    }
    if (signal_is_deadly(p, to, sig)) {
        process_doom_locked(p, sig);
        return 0;
    }
    if (sig < SIGRTMIN && (pending->set & SIG_BIT(sig))) {
        return 0; // these do not queue
    }
    if (*q && ((*q)->timer || p->nr_sigqueue < p->rlimit[RLIMIT_SIGPENDING].cur)) {
        p->nr_sigqueue += !(*q)->timer;
        (*q)->info = *info;
        list_add_tail(&pending->queue, &(*q)->link);
        *q = NULL;
    } else if (sig >= SIGRTMIN && info->code != SI_USER) {
        return -EAGAIN;
    }
    pending->set |= SIG_BIT(sig);
    if (!to) {
        shared_kick_locked(p, sig);
    } else if (task_wants(to, sig)) {
        signal_kick_locked(to);
    }
    waitq_wake_all(&p->signal_wait);
    return 0;
}

static int signal_send(struct process *p, struct task_ext *to, const struct ksiginfo *info)
{
    struct sigqueue *q = sigqueue_alloc();
    int err;

    spin_lock(&p->lock);
    err = signal_send_locked(p, to, info, &q);
    spin_unlock(&p->lock);
    sigqueue_free(q);
    return err;
}

int signal_send_thread(struct task_ext *to, const struct ksiginfo *info)
{
    return signal_send(to->proc, to, info);
}

int signal_send_process(struct process *to, const struct ksiginfo *info)
{
    return signal_send(to, NULL, info);
}

void signal_send_self(int sig)
{
    struct ksiginfo info = {.signo = sig, .code = SI_USER, .pid = current_process()->pid};

    signal_send_thread(current_task(), &info);
}

void force_signal_fault(int sig, int code, u64 addr)
{
    struct task_ext *t = current_task();
    struct process *p;
    struct sigaction_k *sa;

    if (!t) {
        panic("kernel thread %s: signal %d at %#lx", current_thread()->name, sig, addr);
    }
    p = t->proc;
    spin_lock(&p->lock);
    spin_lock(&p->sighand->lock);
    sa = &p->sighand->action[sig - 1];
    if ((t->blocked & SIG_BIT(sig)) || sa->handler == SIG_IGN) {
        sa->handler = SIG_DFL;
        t->blocked &= ~SIG_BIT(sig);
    }
    spin_unlock(&p->sighand->lock);
    t->fault = (struct ksiginfo){.signo = sig, .code = code, .addr = addr};
    t->fault_sig = sig;
    store_relaxed(&t->sig_work, true); // looked at by this thread only
    spin_unlock(&p->lock);
}

// --- The receiver's state ------------------------------------------------------------------------

bool thread_signal_pending(void)
{
    struct task_ext *t = current_task();

    return t && load_seq(&t->sig_work); /* pairs with signal_kick_locked */
}

bool signal_work_pending(void)
{
    struct task_ext *t = current_task();

    return t && (load_seq(&t->sig_work) || t->saved_mask_valid || t->restart);
}

void signal_recalc_locked(struct task_ext *t)
{
    struct process *p = t->proc;
    bool leave = p->exiting || (p->exec_task && p->exec_task != t);

    spin_assert_held(&p->lock);
    store_relaxed(&t->sig_work, leave || t->fault_sig || p->stop_sig ||
                                    ((t->pending.set | p->shared.set) & ~t->blocked));
}

void signal_retarget_locked(struct task_ext *task, u64 lost)
{
    struct process *p = task->proc;
    u64 left = p->shared.set & lost;
    struct task_ext *t;

    spin_assert_held(&p->lock);
    list_for_each_entry (t, &p->threads, proc_link) {
        u64 takes = left & (~t->blocked | t->sig_wait);

        if (t != task && takes) {
            signal_kick_locked(t);
            left &= ~takes;
        }
    }
}

void signal_set_mask(u64 mask)
{
    struct task_ext *t = current_task();
    struct process *p = t->proc;
    u64 lost;

    mask &= ~UNBLOCKABLE;
    if (mask == t->blocked) {
        return;
    }
    spin_lock(&p->lock);
    lost = mask & ~t->blocked;
    t->blocked = mask;
    if (p->shared.set & lost) {
        signal_retarget_locked(t, lost);
    }
    signal_recalc_locked(t);
    spin_unlock(&p->lock);
}

int signal_mask_swap_user(u64 user_mask, u64 size)
{
    struct task_ext *t = current_task();
    u64 mask, old = t->blocked;

    if (!user_mask) {
        return 0;
    }
    if (size != sizeof(mask)) {
        return -EINVAL;
    }
    if (arch_copy_from_user(&mask, (const void *)user_mask, sizeof(mask))) {
        return -EFAULT;
    }
    signal_set_mask(mask);
    if (!t->saved_mask_valid) {
        t->saved_mask = old;
        t->saved_mask_valid = true;
    }
    return 0;
}

// --- Taking one ----------------------------------------------------------------------------------

static int pending_take_locked(struct process *p, struct sigpending *from, u64 signals,
                               struct ksiginfo *info)
{
    u64 set = from->set & signals;
    struct sigqueue *q, *tmp, *first = NULL;
    bool more = false;
    int sig;

    if (!set) {
        return 0;
    }
    if (set & SYNCHRONOUS) {
        set &= SYNCHRONOUS;
    }
    sig = __builtin_ctzll(set) + 1;
    list_for_each_entry_safe (q, tmp, &from->queue, link) {
        if (q->info.signo != sig) {
            continue;
        }
        if (first) {
            more = true;
            break;
        }
        first = q;
    }
    *info = (struct ksiginfo){.signo = sig, .code = SI_USER};
    if (first) {
        *info = first->info;
        sigqueue_leave_locked(p, first, true);
    }
    if (!more) {
        from->set &= ~SIG_BIT(sig);
    }
    return sig;
}

int signal_dequeue_locked(struct task_ext *t, u64 signals, struct ksiginfo *info)
{
    struct process *p = t->proc;
    int sig;

    spin_assert_held(&p->lock);
    if (t->fault_sig) {
        *info = t->fault;
        sig = t->fault_sig;
        t->fault_sig = 0;
        return sig;
    }
    sig = pending_take_locked(p, &t->pending, signals, info);
    return sig ? sig : pending_take_locked(p, &p->shared, signals, info);
}

void signal_reset_for_exec(struct process *p)
{
    struct task_ext *t = current_task();

    spin_lock(&p->lock);
    spin_lock(&p->sighand->lock);
    for (int i = 0; i < NR_SIGNALS; i++) {
        struct sigaction_k *sa = &p->sighand->action[i];

        *sa = (struct sigaction_k){.handler = sa->handler == SIG_IGN ? SIG_IGN : SIG_DFL};
    }
    spin_unlock(&p->sighand->lock);
    signal_recalc_locked(t);
    spin_unlock(&p->lock);
    t->altstack = (struct uapi_stack){.ss_flags = SS_DISABLE};
}
