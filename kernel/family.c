// Parents and children: who is told of an end, who waits, who inherits.
//
//     running --last thread ends--> zombie --wait, or nobody wants to know--> reaped
//
// A zombie has given back all it owned; what is left is the struct process, its numbers and its
// place in the tree, which a parent may ask for. Everything here is under the table lock (H): the
// tree, who is a zombie, who is reaped. The lock of one process (P) at a time is taken inside it.
//
//     child's last thread                        parent in wait4
//     H: zombie = true                           queue on child_wait, state SLEEPING
//        SIGCHLD to the parent (P of parent)     H: look at the children: no zombie
//        wake child_wait                         schedule()
//
// Whoever takes H second sees the other's work, so no end is missed.
//
// A process whose parent ends is given to the nearest living ancestor that asked for that
// (PR_SET_CHILD_SUBREAPER), else to process 1. When process 1 is no init but a program that the
// user named (`run=`), it does not know of these children: the kernel reaps them, as an init would.
//
// Times: a parent's "children" are those it waited for, with theirs. Children reaped by nobody are
// counted nowhere, as on Linux.
//
// A child that asked for a signal at its parent's end (PR_SET_PDEATHSIG) means the end of a thread:
// the one that made it; once that is gone, a living one of the parent's; once that has ended as a
// process, one of the new parent's. It is on the list of this thread, so that the end of a thread
// looks at those whom it tells and not at all children:
//
//     child makes the call               thread t of the parent ends
//     H: t or another living thread?     H: t leaves the tables
//        onto its list                      its list: told, each onto another thread's list
//
// Nobody joins the list of a thread that has left the tables, so the list is empty when t is freed.
//
// Rejected: children per thread, as Linux has them for __WNOTHREAD: the flag is accepted, and all
// children of the process are looked at.
#include <k/assert.h>
#include <k/errno.h>
#include <proc.h>
#include <signal.h>
#include <uapi/time.h>

#include "proc_priv.h"

void family_join_locked(struct process *p, struct process *parent)
{
    spin_assert_held(&proc_table_lock);
    p->parent = parent;
    list_add_tail(&parent->children, &p->sibling);
    jobctl_join_locked(p, current_process());
    spin_lock(&p->lock);
    p->ppid = parent->pid;
    spin_unlock(&p->lock);
}

// --- Telling the parent --------------------------------------------------------------------------

static void child_info(struct process *p, int code, struct ksiginfo *info)
{
    u64 user_ns, kernel_ns, tick_ns = NSEC_PER_SEC / USER_HZ;
    int sig = p->exit_status & 0x7f;

    process_times(p, &user_ns, &kernel_ns);
    *info = (struct ksiginfo){.signo = SIGCHLD,
                              .code = code,
                              .pid = p->pid,
                              .uid = data_race(p->cred.uid), // a look
                              .utime = (s64)(user_ns / tick_ns),
                              .stime = (s64)(kernel_ns / tick_ns)};
    switch (code) {
    case CLD_STOPPED:
        info->status = p->stop_sig ? p->stop_sig : SIGSTOP; // a SIGCONT may be ahead of us
        break;
    case CLD_CONTINUED:
        info->status = SIGCONT;
        break;
    default:
        info->code = sig ? CLD_KILLED : CLD_EXITED;
        info->status = sig ? sig : p->exit_status >> 8 & 0xff;
        break;
    }
}

static void parent_signal_locked(struct process *parent, const struct ksiginfo *info,
                                 struct sigqueue **q)
{
    spin_lock(&parent->lock);
    signal_send_locked(parent, NULL, info, q);
    spin_unlock(&parent->lock);
}

// What the parent does with SIGCHLD. Its execve may replace the actions: only under its lock.
static struct sigaction_k parent_action_locked(struct process *parent)
{
    struct sigaction_k sa;

    spin_lock(&parent->lock);
    sa = sigaction_get(parent, SIGCHLD);
    spin_unlock(&parent->lock);
    return sa;
}

void family_tell_locked(struct process *p, int code, struct sigqueue **q)
{
    struct process *parent = p->parent;
    struct ksiginfo info;

    spin_assert_held(&proc_table_lock);
    if (!parent) {
        return;
    }
    child_info(p, code, &info);
    if (!(parent_action_locked(parent).flags & SA_NOCLDSTOP)) {
        parent_signal_locked(parent, &info, q);
    }
    waitq_wake_all(&parent->child_wait);
}

void family_tell(struct process *p, int code)
{
    struct sigqueue *q = sigqueue_alloc();

    spin_lock(&proc_table_lock);
    if (!p->zombie) {
        family_tell_locked(p, code, &q);
    }
    spin_unlock(&proc_table_lock);
    sigqueue_free(q);
}

bool process_has_ended(struct process *p)
{
    bool ended;

    spin_lock(&proc_table_lock);
    ended = p->zombie;
    spin_unlock(&proc_table_lock);
    return ended;
}

bool process_is_reaped(struct process *p)
{
    bool reaped;

    spin_lock(&proc_table_lock);
    reaped = p->reaped;
    spin_unlock(&proc_table_lock);
    return reaped;
}

// --- The end -------------------------------------------------------------------------------------

void family_reap_locked(struct process *p)
{
    spin_assert_held(&proc_table_lock);
    assert(p->zombie && !p->reaped && list_empty(&p->mourn_link));
    list_del(&p->sibling);
    jobctl_leave_locked(p);
    process_remove_locked(p);
}

// Tell the parent of a zombie; true: nobody will wait for it.
static bool zombie_tell_locked(struct process *p, struct sigqueue **q)
{
    struct process *parent = p->parent;
    struct sigaction_k sa = parent_action_locked(parent);
    bool unwanted =
        p->exit_signal == SIGCHLD && (sa.handler == SIG_IGN || (sa.flags & SA_NOCLDWAIT));
    struct ksiginfo info;

    // clone takes any number; one that is no signal says nothing.
    if (p->exit_signal && p->exit_signal <= NR_SIGNALS && !(unwanted && sa.handler == SIG_IGN)) {
        child_info(p, CLD_EXITED, &info);
        info.signo = p->exit_signal;
        parent_signal_locked(parent, &info, q);
    }
    waitq_wake_all(&parent->child_wait);
    return unwanted;
}

// Zombies of which nobody wants to know leave the tables. The reference is dropped by the caller.
static bool zombie_settle_locked(struct process *p, struct sigqueue **q)
{
    if (zombie_tell_locked(p, q)) {
        family_reap_locked(p);
        return true;
    }
    return false;
}

// Who inherits the children of p; it is alive, or process 1.
static struct process *reaper_locked(const struct process *p)
{
    struct process *a;

    for (a = p->parent; a; a = a->parent) {
        if (a->subreaper && !a->zombie) {
            return a;
        }
    }
    return proc_init_process;
}

static void child_pdeath_locked(struct process *c)
{
    struct ksiginfo info = {.signo = c->pdeath_signal, .code = SI_USER, .pid = c->parent->pid};
    struct sigqueue *none = NULL;

    spin_lock(&c->lock);
    signal_send_locked(c, NULL, &info, &none);
    spin_unlock(&c->lock);
}

// The thread whose end c is told of: the one that made it, or a living one of the parent's instead.
static struct task_ext *parent_task_locked(const struct process *c)
{
    struct task_ext *t = c->parent_tid ? task_find_locked(c->parent_tid) : NULL;

    return t && t->proc == c->parent ? t
                                     : list_first(&c->parent->threads, struct task_ext, proc_link);
}

static void mourn_locked(struct process *c)
{
    struct task_ext *t = parent_task_locked(c);

    list_del(&c->mourn_link);
    if (t) {
        c->parent_tid = t->tid;
        list_add_tail(&t->mourners, &c->mourn_link);
    }
}

void family_set_pdeath_locked(struct process *p, u8 sig)
{
    spin_assert_held(&proc_table_lock);
    p->pdeath_signal = sig;
    if (sig && p->parent) {
        mourn_locked(p);
    } else {
        list_del(&p->mourn_link);
    }
}

void family_forget_pdeath(struct process *p)
{
    spin_lock(&proc_table_lock);
    family_set_pdeath_locked(p, 0);
    spin_unlock(&proc_table_lock);
}

// Those that were told go on to mourn the next one; when there is none they are about to be given
// away, which finds them one.
void family_thread_left_locked(struct task_ext *t)
{
    struct process *c, *tmp;

    spin_assert_held(&proc_table_lock);
    list_for_each_entry_safe (c, tmp, &t->mourners, mourn_link) {
        child_pdeath_locked(c);
        mourn_locked(c);
    }
}

static void child_give_away_locked(struct process *c, struct process *to)
{
    struct sigqueue *none = NULL;
    bool stray = to->is_program && !to->subreaper; // as a subreaper it knows of them

    list_del(&c->sibling);
    list_add_tail(&to->children, &c->sibling);
    c->parent = to;
    c->parent_tid = 0;
    if (c->pdeath_signal && !c->zombie) {
        mourn_locked(c);
    }
    c->exit_signal = SIGCHLD;
    spin_lock(&c->lock);
    c->ppid = to->pid;
    spin_unlock(&c->lock);
    c->stray = stray;
    if (!c->zombie) {
        return;
    }
    if (stray) {
        family_reap_locked(c);
        waitq_wake_all(&to->child_wait); // who waits for any child may have none left
    } else if (!zombie_settle_locked(c, &none)) {
        return;
    }
    process_put(c);
}

static void orphans_locked(struct process *p)
{
    struct process *to = reaper_locked(p), *c, *tmp;
    struct list *before = to->children.prev;

    list_for_each_entry_safe (c, tmp, &p->children, sibling) {
        child_give_away_locked(c, to);
    }
    jobctl_orphans_locked(to, before, p);
}

void family_process_ended_locked(struct process *p, struct sigqueue **q)
{
    spin_assert_held(&proc_table_lock);
    p->zombie = true;
    list_del(&p->mourn_link);
    waitq_wake_all(&p->end_wait);
    if (p == proc_init_process) {
        return; // the machine ends
    }
    orphans_locked(p);
    jobctl_ended_locked(p, p->parent);
    if (p->stray) {
        family_reap_locked(p);
        waitq_wake_all(&p->parent->child_wait); // as above
    } else if (!zombie_settle_locked(p, q)) {
        return;
    }
    process_put(p); // not the last one: the ending thread has its own
}
