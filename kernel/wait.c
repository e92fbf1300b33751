// wait4 and waitid: what became of the children.
//
// A look at the child that is asked for, or at all of them in turn: the first one with something to
// tell ends the call. If none has and there is one that still may, the caller sleeps on child_wait
// and looks again after each wake-up; kernel/family.c draws why no news is missed. A process may
// have as many children as there may be processes, and the table lock is everybody's: they are
// looked at a few at a time. What becomes of one that has been passed wakes the caller, who is on
// the queue before the first look.
//
//     told               cleared by              reported as
//     zombie             reaping it              exited, killed
//     stop_report        a look, SIGCONT, end    stopped
//     cont_report        a look, a new stop      continued
//
// WNOWAIT looks and clears nothing. Any thread may wait for any child of the process: __WNOTHREAD
// is accepted and changes nothing (kernel/family.c says why).
#include <arch/uaccess.h>
#include <fs.h>
#include <k/errno.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>
#include <uapi/misc.h>
#include <uapi/time.h>

#include "proc_priv.h"

#define LOOK_BATCH 64 // children looked at at a time

struct wait_request {
    unsigned type;          // P_*
    s32 id;                 // P_PID, P_PGID
    struct process *target; // P_PIDFD: counted
    unsigned options;
};

struct wait_news {
    s32 pid;
    u32 uid;
    int code;   // CLD_*
    int status; // exit code or signal
    int raw;    // as wait4 reports
    struct proc_usage usage;
};

static bool wait_means_locked(const struct wait_request *rq, const struct process *c)
{
    switch (rq->type) {
    case P_PID:
        if (c->pid != rq->id) {
            return false;
        }
        break;
    case P_PGID:
        if (c->pgid != rq->id) {
            return false;
        }
        break;
    case P_PIDFD:
        if (c != rq->target) {
            return false;
        }
        break;
    default:
        break;
    }
    // A "clone" child is one that does not send SIGCHLD.
    return (rq->options & WALL) || !(rq->options & WCLONE) == (c->exit_signal == SIGCHLD);
}

// Its own and that of the children it waited for.
static void news_usage_locked(struct process *c, struct wait_news *n)
{
    process_usage(c, &n->usage);
    usage_add(&n->usage, &c->child_usage);
}

static void news_zombie_locked(struct process *c, struct wait_news *n)
{
    int sig = c->exit_status & 0x7f;

    n->code = sig ? CLD_KILLED : CLD_EXITED;
    n->status = sig ? sig : c->exit_status >> 8 & 0xff;
    n->raw = c->exit_status;
}

// Is there a stop or a continuation to tell?
static bool news_job_locked(const struct wait_request *rq, struct process *c, struct wait_news *n)
{
    bool keep = rq->options & WNOWAIT;
    bool found = true;

    spin_lock(&c->lock);
    if ((rq->options & WSTOPPED) && c->stop_report) {
        n->code = CLD_STOPPED;
        n->status = c->stop_report;
        n->raw = c->stop_report << 8 | 0x7f;
        c->stop_report = keep ? c->stop_report : 0;
    } else if ((rq->options & WCONTINUED) && c->cont_report) {
        n->code = CLD_CONTINUED;
        n->status = SIGCONT;
        n->raw = 0xffff;
        c->cont_report = keep;
    } else {
        found = false;
    }
    spin_unlock(&c->lock);
    return found;
}

static void reap_locked(struct process *self, struct process *c, const struct wait_news *n)
{
    usage_add(&self->child_usage, &n->usage);
    family_reap_locked(c);
}

// What one child has to tell. 1: it is in *n, and *reaped, if set, is to be put. 0: nothing yet.
// -ECHILD: it is not meant.
static int child_look_locked(const struct wait_request *rq, struct process *c, struct wait_news *n,
                             struct process **reaped)
{
    if (!wait_means_locked(rq, c)) {
        return -ECHILD;
    }
    *n = (struct wait_news){.pid = c->pid, .uid = data_race(c->cred.uid)}; // a look
    if (c->zombie && (rq->options & WEXITED)) {
        news_zombie_locked(c, n);
        news_usage_locked(c, n);
        if (!(rq->options & WNOWAIT)) {
            reap_locked(current_process(), c, n);
            *reaped = c;
        }
        return 1;
    }
    if (!c->zombie && news_job_locked(rq, c, n)) {
        news_usage_locked(c, n);
        return 1;
    }
    return 0;
}

// The same of the one child that rq names.
static int named_look_locked(const struct wait_request *rq, struct wait_news *n,
                             struct process **reaped)
{
    struct process *c = rq->type == P_PID ? process_find_locked(rq->id) : rq->target;

    if (!c || c->reaped || c->parent != current_process()) {
        return -ECHILD;
    }
    return child_look_locked(rq, c, n, reaped);
}

// The same of some children: those behind *at, which is counted, or the first ones. *at is where to
// go on, counted, or NULL: there are no more. r: what the children before *at had to tell.
static int some_look_locked(const struct wait_request *rq, struct wait_news *n,
                            struct process **reaped, struct process **at, int r)
{
    struct process *self = current_process(), *c = NULL;
    struct list *link = self->children.next;
    int left = LOOK_BATCH;

    if (*at && (*at)->reaped) { // by another thread: nobody knows where it was
        r = -ECHILD;
    } else if (*at) {
        link = (*at)->sibling.next;
    }
    for (*at = NULL; link != &self->children; link = link->next) {
        if (left-- == 0) {
            process_get(c);
            *at = c;
            break;
        }
        c = list_entry(link, struct process, sibling);
        int told = child_look_locked(rq, c, n, reaped);
        if (told > 0) {
            return told;
        }
        r = max(r, told);
    }
    return r;
}

// 1: found, in *n. 0: not yet. -ECHILD: there is none to wait for.
static int wait_look(const struct wait_request *rq, struct wait_news *n)
{
    bool named = rq->type == P_PID || rq->type == P_PIDFD;
    struct process *at = NULL, *before, *reaped = NULL;
    int r = -ECHILD;

    do {
        before = at;
        spin_lock(&proc_table_lock);
        r = named ? named_look_locked(rq, n, &reaped) : some_look_locked(rq, n, &reaped, &at, r);
        spin_unlock(&proc_table_lock);
        if (before) {
            process_put(before);
        }
    } while (at); // no cond_resched: the caller is marked as asleep
    if (reaped) {
        process_put(reaped);
    }
    return r;
}

// 1: *n says what. 0: nothing, and WNOHANG. Or errno.
static int wait_for(const struct wait_request *rq, struct wait_news *n)
{
    struct waitq *q = &current_process()->child_wait;
    struct waiter w = {0};
    int r;

    for (;;) {
        waitq_prepare(q, &w, THREAD_SLEEPING);
        r = wait_look(rq, n);
        if (r || (rq->options & WNOHANG)) {
            break;
        }
        if (thread_signal_pending()) {
            r = -ERESTARTSYS;
            break;
        }
        schedule();
    }
    waitq_finish(q, &w);
    return r;
}

static int news_usage_write(u64 to, const struct wait_news *n)
{
    struct uapi_rusage u;

    rusage_fill(&u, &n->usage);
    return arch_copy_to_user((void *)to, &u, sizeof(u)) ? -EFAULT : 0;
}

s64 sys_wait4(const u64 *a)
{
    s32 pid = (s32)a[0];
    unsigned options = (unsigned)a[2];
    struct wait_request rq = {.type = P_ALL, .options = options | WEXITED};
    struct wait_news n;
    int r;

    if (options & ~(unsigned)(WNOHANG | WSTOPPED | WCONTINUED | WNOTHREAD | WCLONE | WALL)) {
        return -EINVAL;
    }
    if (pid == INT_MIN) {
        return -ESRCH;
    }
    if (pid != -1) {
        rq.type = pid > 0 ? P_PID : P_PGID;
        rq.id = pid > 0 ? pid : pid == 0 ? current_process()->pgid : -pid;
    }
    r = wait_for(&rq, &n);
    if (r <= 0) {
        return r;
    }
    if (a[1] && arch_copy_to_user((void *)a[1], &n.raw, sizeof(n.raw))) {
        return -EFAULT;
    }
    return a[3] && news_usage_write(a[3], &n) ? -EFAULT : n.pid;
}

// Which children waitid means. -EINVAL, -EBADF.
static int waitid_target(unsigned type, s32 id, struct wait_request *rq)
{
    u32 flags;
    int err = 0;

    switch (type) {
    case P_ALL:
        return 0;
    case P_PID:
        return id > 0 ? 0 : -EINVAL;
    case P_PGID:
        rq->id = id ? id : current_process()->pgid;
        return id >= 0 ? 0 : -EINVAL;
    case P_PIDFD:
        err = id < 0 ? -EINVAL : pidfd_process(id, &rq->target, &flags);
        if (!err && (flags & O_NONBLOCK)) {
            rq->options |= WNOHANG;
        }
        return err;
    default:
        return -EINVAL;
    }
}

// The part of siginfo_t that waitid defines.
static int news_info_write(u64 to, const struct wait_news *n, bool found)
{
    struct {
        s32 signo, err, code, pad, pid;
        u32 uid;
        s32 status;
    } u = {0};

    if (found) {
        u.signo = SIGCHLD;
        u.code = n->code;
        u.pid = n->pid;
        u.uid = n->uid;
        u.status = n->status;
    }
    return to && arch_copy_to_user((void *)to, &u, sizeof(u)) ? -EFAULT : 0;
}

// 1: *n is what happened; 0: nothing has yet; or errno.
static int waitid_news(const u64 *a, struct wait_news *n)
{
    unsigned type = (unsigned)a[0], options = (unsigned)a[3];
    struct wait_request rq = {.type = type, .id = (s32)a[1], .options = options};
    int r;

    if (options & ~(unsigned)(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | WNOTHREAD |
                              WCLONE | WALL) ||
        !(options & (WEXITED | WSTOPPED | WCONTINUED))) {
        return -EINVAL;
    }
    r = waitid_target(type, (s32)a[1], &rq);
    if (r) {
        return r;
    }
    r = wait_for(&rq, n);
    if (rq.target) {
        process_put(rq.target);
    }
    if (r == 0 && !(options & WNOHANG)) {
        return -EAGAIN; // a pidfd with O_NONBLOCK
    }
    return r;
}

// The caller's siginfo is cleared by a wait that tells nothing, one that fails included.
s64 sys_waitid(const u64 *a)
{
    struct wait_news n;
    int r = waitid_news(a, &n);

    if (r > 0 && a[4] && news_usage_write(a[4], &n)) {
        return -EFAULT;
    }
    int err = news_info_write(a[2], &n, r > 0);
    return err ? err : min(r, 0);
}
