// Sessions and their terminals: include/jobctl.h has the contract, kernel/jobctl.c the groups.
//
// The link between a session and its terminal goes when the terminal hangs up, when the leader
// gives it up or ends, or when another session steals it. Each of these clears both directions
// under the table lock, so a terminal never points at a session that is gone, and a session never
// at a terminal whose memory is: job_tty_drop() comes before that is freed.
//
// Who is told is POSIX's general idea in Linux's words (setsid(2), credentials(7), and tried out):
//
//     what happens                       leader             foreground group
//     the line hangs up                  SIGHUP, SIGCONT    the same when the leader ends
//     the leader gives it up             -                  SIGHUP, SIGCONT
//     the leader ends, a pty             -                  SIGHUP
//     the leader ends, another device    -                  SIGHUP; and the line hangs up: what is
//                                                           open of it reads its end
//
// Whether stopped groups are continued is the orphans' affair, who become so by the same end.
#include <k/assert.h>
#include <k/errno.h>
#include <proc.h>
#include <signal.h>

#include "jobctl_priv.h"

static void pgrp_set_locked(struct pgrp **at, struct pgrp *g)
{
    struct pgrp *old = *at;

    if (g) {
        g->ref++;
    }
    *at = g;
    if (old) {
        pgrp_put_locked(old);
    }
}

// Both directions are cleared.
static void detach_locked(struct job_tty *j)
{
    if (j->session) {
        j->session->tty = NULL;
        j->session = NULL;
    }
    pgrp_set_locked(&j->fg, NULL);
}

static void fg_tell_locked(struct pgrp *fg, bool and_continue)
{
    if (fg) {
        pgrp_signal_locked(fg, SIGHUP);
    }
    if (fg && and_continue) {
        pgrp_signal_locked(fg, SIGCONT);
    }
}

static struct session *own_session_locked(void)
{
    return current_process()->pgrp->session;
}

static bool leads_session(const struct process *p)
{
    return p->pgrp && p->pgrp->session->id == p->pid;
}

int job_tty_acquire(struct job_tty *j, bool steal)
{
    struct process *p = current_process();
    struct session *s;
    int err = -EPERM;

    spin_lock(&proc_table_lock);
    s = own_session_locked();
    if (leads_session(p) && s->tty == j) {
        err = 0;
    } else if (leads_session(p) && !s->tty && (!j->session || steal)) {
        detach_locked(j);
        j->session = s;
        s->tty = j;
        pgrp_set_locked(&j->fg, p->pgrp);
        err = 0;
    }
    spin_unlock(&proc_table_lock);
    return err;
}

int job_tty_release(struct job_tty *j)
{
    int err = -ENOTTY;

    spin_lock(&proc_table_lock);
    if (own_session_locked()->tty == j) {
        // A member that is not the leader only loses its own way to the terminal on Linux. Here
        // the terminal belongs to the session as a whole, and stays.
        if (leads_session(current_process())) {
            fg_tell_locked(j->fg, true);
            detach_locked(j);
        }
        err = 0;
    }
    spin_unlock(&proc_table_lock);
    return err;
}

static void leader_tell_locked(struct session *s, int sig)
{
    struct process *leader = process_find_locked(s->id);
    struct ksiginfo info = {.signo = sig, .code = SI_KERNEL};
    struct sigqueue *none = NULL;

    if (leader) {
        spin_lock(&leader->lock);
        signal_send_locked(leader, NULL, &info, &none);
        spin_unlock(&leader->lock);
    }
}

void job_tty_hangup(struct job_tty *j, bool leader_gone)
{
    spin_lock(&proc_table_lock);
    if (leader_gone && j->session == own_session_locked()) { // nobody has stolen it meanwhile
        fg_tell_locked(j->fg, false);
    } else if (j->session) {
        leader_tell_locked(j->session, SIGHUP);
        leader_tell_locked(j->session, SIGCONT);
        pgrp_set_locked(&j->session->hung_fg, j->fg);
    }
    detach_locked(j);
    spin_unlock(&proc_table_lock);
}

void job_tty_drop(struct job_tty *j)
{
    spin_lock(&proc_table_lock);
    detach_locked(j);
    spin_unlock(&proc_table_lock);
}

void jobctl_leader_ends(void)
{
    struct process *p = current_process();
    struct job_tty *j;
    struct session *s;

    if (p->sid != p->pid) { // only the process itself changes that
        return;
    }
    spin_lock(&proc_table_lock);
    s = own_session_locked();
    j = s->tty;
    if (j && j->leader_gone) {
        j->get(j);
        spin_unlock(&proc_table_lock);
        j->leader_gone(j);
        spin_lock(&proc_table_lock);
    }
    if (s->tty) { // nobody but us could give the session another one
        fg_tell_locked(s->tty->fg, false);
        detach_locked(s->tty);
    }
    fg_tell_locked(s->hung_fg, true);
    pgrp_set_locked(&s->hung_fg, NULL);
    spin_unlock(&proc_table_lock);
}

struct job_tty *job_tty_current(void)
{
    struct job_tty *j;

    spin_lock(&proc_table_lock);
    j = own_session_locked()->tty;
    if (j) {
        j->get(j);
    }
    spin_unlock(&proc_table_lock);
    return j;
}

bool job_tty_mine(struct job_tty *j)
{
    bool mine;

    spin_lock(&proc_table_lock);
    mine = own_session_locked()->tty == j;
    spin_unlock(&proc_table_lock);
    return mine;
}

static bool signal_is_held(struct process *p, int sig)
{
    return sigaction_get(p, sig).handler == SIG_IGN || (current_task()->blocked & SIG_BIT(sig));
}

int job_tty_may(struct job_tty *j, int sig)
{
    struct process *p = current_process();
    int err = 0;

    spin_lock(&proc_table_lock);
    if (p->pgrp->session->tty != j || p->pgrp == j->fg) {
        goto out_unlock;
    }
    if (signal_is_held(p, sig)) {
        err = sig == SIGTTIN ? -EIO : 0;
    } else if (jobctl_orphaned_locked(p)) {
        err = -EIO;
    } else {
        pgrp_signal_locked(p->pgrp, sig);
        err = -ERESTARTSYS;
    }
out_unlock:
    spin_unlock(&proc_table_lock);
    return err;
}

void job_tty_signal(struct job_tty *j, int sig)
{
    spin_lock(&proc_table_lock);
    if (j->fg) {
        pgrp_signal_locked(j->fg, sig);
    }
    spin_unlock(&proc_table_lock);
}

s32 job_tty_fg(struct job_tty *j, bool any)
{
    s32 r = -ENOTTY;

    spin_lock(&proc_table_lock);
    if (any || own_session_locked()->tty == j) {
        r = j->fg ? j->fg->id : 0;
    }
    spin_unlock(&proc_table_lock);
    return r;
}

int job_tty_set_fg(struct job_tty *j, s32 pgid)
{
    struct pgrp *g;
    int err = 0;

    spin_lock(&proc_table_lock);
    g = pgrp_find_locked(pgid);
    if (own_session_locked()->tty != j) {
        err = -ENOTTY;
    } else if (pgid < 0) {
        err = -EINVAL;
    } else if (!g) {
        err = -ESRCH;
    } else if (g->session != j->session) {
        err = -EPERM;
    } else {
        pgrp_set_locked(&j->fg, g);
    }
    spin_unlock(&proc_table_lock);
    return err;
}

s32 job_tty_sid(struct job_tty *j, bool any)
{
    s32 r = -ENOTTY;

    spin_lock(&proc_table_lock);
    if (j->session && (any || own_session_locked() == j->session)) {
        r = j->session->id;
    }
    spin_unlock(&proc_table_lock);
    return r;
}

void job_tty_look(const struct process *p, u64 *rdev, s32 *fg)
{
    const struct job_tty *j;

    spin_lock(&proc_table_lock);
    j = p->pgrp ? p->pgrp->session->tty : NULL;
    *rdev = j ? j->rdev : 0;
    *fg = !j ? -1 : j->fg ? j->fg->id : 0;
    spin_unlock(&proc_table_lock);
}
