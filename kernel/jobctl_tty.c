// Sessions and their terminals: include/jobctl.h has the contract, kernel/jobctl.c the groups.
//
// The link between a session and its terminal goes when the terminal hangs up, when the leader
// gives it up or ends, or when another session steals it. Each of these clears both directions
// under the table lock, so a terminal never points at a session that is gone, and a session never
// at a terminal whose memory is: job_tty_drop() comes before that is freed.
//
// When the leader ends, the foreground group is sent SIGHUP and SIGCONT, and the terminal is free
// for a new session. Linux also hangs the line up, so that what others still hold open of it
// fails; here it goes on working for them.
#include <k/assert.h>
#include <k/errno.h>
#include <proc.h>
#include <signal.h>

#include "jobctl_priv.h"

static void fg_set_locked(struct job_tty *j, struct pgrp *g)
{
    struct pgrp *old = j->fg;

    if (g) {
        g->ref++;
    }
    j->fg = g;
    if (old) {
        pgrp_put_locked(old);
    }
}

// Both directions are cleared. tell: the foreground group hears of it.
static void detach_locked(struct job_tty *j, bool tell)
{
    struct pgrp *fg = j->fg;

    if (j->session) {
        j->session->tty = NULL;
        j->session = NULL;
    }
    if (fg && tell) {
        pgrp_signal_locked(fg, SIGHUP);
        pgrp_signal_locked(fg, SIGCONT);
    }
    fg_set_locked(j, NULL);
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
        detach_locked(j, false);
        j->session = s;
        s->tty = j;
        fg_set_locked(j, p->pgrp);
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
            detach_locked(j, true);
        }
        err = 0;
    }
    spin_unlock(&proc_table_lock);
    return err;
}

void job_tty_hangup(struct job_tty *j)
{
    struct process *leader;

    spin_lock(&proc_table_lock);
    leader = j->session ? process_find_locked(j->session->id) : NULL;
    if (leader && leader->pgrp && leader->pgrp != j->fg) {
        for (int i = 0; i < 2; i++) {
            struct ksiginfo info = {.signo = i ? SIGCONT : SIGHUP, .code = SI_KERNEL};
            struct sigqueue *none = NULL;

            spin_lock(&leader->lock);
            signal_send_locked(leader, NULL, &info, &none);
            spin_unlock(&leader->lock);
        }
    }
    detach_locked(j, true);
    spin_unlock(&proc_table_lock);
}

void job_tty_drop(struct job_tty *j)
{
    spin_lock(&proc_table_lock);
    detach_locked(j, false);
    spin_unlock(&proc_table_lock);
}

void jobctl_leader_ended_locked(struct process *p)
{
    struct session *s = p->pgrp->session;

    spin_assert_held(&proc_table_lock);
    if (s->id == p->pid && s->tty) {
        detach_locked(s->tty, true);
    }
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

s32 job_tty_fg(struct job_tty *j)
{
    s32 r = -ENOTTY;

    spin_lock(&proc_table_lock);
    if (own_session_locked()->tty == j) {
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
        fg_set_locked(j, g);
    }
    spin_unlock(&proc_table_lock);
    return err;
}

s32 job_tty_sid(struct job_tty *j)
{
    s32 r = -ENOTTY;

    spin_lock(&proc_table_lock);
    if (j->session && own_session_locked() == j->session) {
        r = j->session->id;
    }
    spin_unlock(&proc_table_lock);
    return r;
}
