// Process groups and sessions.
//
// A group is counted by its members (zombies too, until they are reaped) and by the terminal whose
// foreground it is; a session by its groups. As long as one lives its number is not given to a new
// process, so a number that user mode holds never means somebody else's group.
//
//     session 7 --- group 7:  7 the shell (leads both)      the terminal: session 7, foreground 12
//               \-- group 12: 12, 13  (cat | wc)
//
// A group is orphaned when no member has a parent in another group of the same session: then there
// is nobody who could continue it. POSIX wants that such a group is not stopped from the keyboard,
// and that one which becomes orphaned with stopped members is sent SIGHUP and SIGCONT.
//
// All of it is under the table lock (H), with the link to the terminal (kernel/jobctl_tty.c). The
// numbers p->pgid and p->sid repeat what p->pgrp says, for those who only hold p->lock.
#include <k/assert.h>
#include <k/errno.h>
#include <proc.h>
#include <signal.h>
#include <slab.h>
#include <syscalls.h>

#include "jobctl_priv.h"

static struct list pgrp_hash[NUMBER_BUCKETS];    // [H] pgrp.hash_link
static struct list session_hash[NUMBER_BUCKETS]; // [H] session.hash_link
static struct pgrp first_pgrp;                   // of process 1
static struct session first_session;

void jobctl_init(void)
{
    for (unsigned i = 0; i < NUMBER_BUCKETS; i++) {
        list_init(&pgrp_hash[i]);
        list_init(&session_hash[i]);
    }
}

struct pgrp *pgrp_find_locked(s32 id)
{
    struct pgrp *g;

    spin_assert_held(&proc_table_lock);
    list_for_each_entry (g, &pgrp_hash[(u32)id % NUMBER_BUCKETS], hash_link) {
        if (g->id == id) {
            return g;
        }
    }
    return NULL;
}

static struct session *session_find_locked(s32 id)
{
    struct session *s;

    list_for_each_entry (s, &session_hash[(u32)id % NUMBER_BUCKETS], hash_link) {
        if (s->id == id) {
            return s;
        }
    }
    return NULL;
}

bool jobctl_number_used_locked(s32 n)
{
    return pgrp_find_locked(n) || session_find_locked(n);
}

// --- Members -------------------------------------------------------------------------------------

static void session_init_locked(struct session *s, s32 id)
{
    s->id = id;
    s->ref = 0;
    s->tty = NULL;
    s->hung_fg = NULL;
    list_add_tail(&session_hash[(u32)id % NUMBER_BUCKETS], &s->hash_link);
}

static void pgrp_init_locked(struct pgrp *g, s32 id, struct session *s)
{
    g->id = id;
    g->ref = 0;
    g->session = s;
    s->ref++;
    list_init(&g->members);
    list_add_tail(&pgrp_hash[(u32)id % NUMBER_BUCKETS], &g->hash_link);
}

void pgrp_put_locked(struct pgrp *g)
{
    struct session *s = g->session;

    if (--g->ref) {
        return;
    }
    list_del(&g->hash_link);
    if (g != &first_pgrp) {
        kfree(g);
    }
    if (--s->ref == 0) {
        list_del(&s->hash_link);
        assert(!s->tty && !s->hung_fg); // the leader's end has taken them away
        if (s != &first_session) {
            kfree(s);
        }
    }
}

static void member_add_locked(struct pgrp *g, struct process *p)
{
    g->ref++;
    p->pgrp = g;
    list_add_tail(&g->members, &p->pgrp_link);
    spin_lock(&p->lock);
    p->pgid = g->id;
    p->sid = g->session->id;
    spin_unlock(&p->lock);
}

static void member_move_locked(struct pgrp *g, struct process *p)
{
    struct pgrp *old = p->pgrp;

    list_del(&p->pgrp_link);
    member_add_locked(g, p);
    pgrp_put_locked(old);
}

void jobctl_first_locked(struct process *p)
{
    session_init_locked(&first_session, p->pid);
    pgrp_init_locked(&first_pgrp, p->pid, &first_session);
    member_add_locked(&first_pgrp, p);
}

void jobctl_join_locked(struct process *p, const struct process *as)
{
    member_add_locked(as->pgrp, p);
}

// The numbers stay as they are, for who still looks.
void jobctl_leave_locked(struct process *p)
{
    list_del(&p->pgrp_link);
    pgrp_put_locked(p->pgrp);
    p->pgrp = NULL;
}

struct process *jobctl_next_member_locked(struct pgrp *g, struct process *p)
{
    struct list *next = p ? p->pgrp_link.next : g->members.next;

    return next == &g->members ? NULL : list_entry(next, struct process, pgrp_link);
}

// --- Orphaned groups -----------------------------------------------------------------------------

static bool pgrp_orphaned_locked(const struct pgrp *g)
{
    struct process *p;

    list_for_each_entry (p, &g->members, pgrp_link) {
        const struct process *parent = p->parent;

        if (p->zombie || p->stray || !parent || (parent->is_init && !parent->is_program)) {
            continue;
        }
        if (parent->pgrp != g && parent->pgrp && parent->pgrp->session == g->session) {
            return false;
        }
    }
    return true;
}

bool jobctl_orphaned_locked(struct process *p)
{
    spin_assert_held(&proc_table_lock);
    return !p->pgrp || pgrp_orphaned_locked(p->pgrp);
}

bool jobctl_orphaned(struct process *p)
{
    bool orphaned;

    spin_lock(&proc_table_lock);
    orphaned = jobctl_orphaned_locked(p);
    spin_unlock(&proc_table_lock);
    return orphaned;
}

void pgrp_signal_locked(struct pgrp *g, int sig)
{
    struct ksiginfo info = {.signo = sig, .code = SI_KERNEL};
    struct sigqueue *none = NULL;
    struct process *p;

    spin_assert_held(&proc_table_lock);
    list_for_each_entry (p, &g->members, pgrp_link) {
        p->multi_seq++;
        spin_lock(&p->lock);
        signal_send_locked(p, NULL, &info, &none);
        spin_unlock(&p->lock);
    }
}

static bool pgrp_has_stopped_locked(const struct pgrp *g)
{
    struct process *p;
    bool stopped = false;

    list_for_each_entry (p, &g->members, pgrp_link) {
        spin_lock(&p->lock);
        stopped |= p->stopped;
        spin_unlock(&p->lock);
    }
    return stopped;
}

void jobctl_ended_locked(struct process *p, struct process *parent)
{
    struct pgrp *g = p->pgrp;

    // Only if the parent was one that kept the group from being an orphan.
    if (g && parent && parent->pgrp && parent->pgrp != g && parent->pgrp->session == g->session &&
        pgrp_orphaned_locked(g) && pgrp_has_stopped_locked(g)) {
        pgrp_signal_locked(g, SIGHUP);
        pgrp_signal_locked(g, SIGCONT);
    }
}

// Each group once: it may have as many members as there are children.
void jobctl_orphans_locked(struct process *to, const struct list *before, struct process *parent)
{
    static u64 looks; // [H]
    const struct list *link;

    looks++;
    for (link = before->next; link != &to->children; link = link->next) {
        struct process *c = list_entry(link, struct process, sibling);

        if (!c->zombie && c->pgrp->look != looks) {
            c->pgrp->look = looks;
            jobctl_ended_locked(c, parent);
        }
    }
}

// --- The calls -----------------------------------------------------------------------------------

// pid 0: the caller. NULL: no such process (a zombie is one).
static struct process *named_locked(s32 pid)
{
    return pid ? process_find_locked(pid) : current_process();
}

s64 sys_getpgid(const u64 *a)
{
    struct process *p;
    s64 r = -ESRCH;

    spin_lock(&proc_table_lock);
    p = named_locked((s32)a[0]);
    if (p) {
        r = p->pgid;
    }
    spin_unlock(&proc_table_lock);
    return r;
}

s64 sys_getpgrp(const u64 *a)
{
    const u64 self[1] = {0};

    (void)a;
    return sys_getpgid(self);
}

s64 sys_getsid(const u64 *a)
{
    struct process *p;
    s64 r = -ESRCH;

    spin_lock(&proc_table_lock);
    p = named_locked((s32)a[0]);
    if (p) {
        r = p->sid;
    }
    spin_unlock(&proc_table_lock);
    return r;
}

s64 sys_setsid(const u64 *a)
{
    struct process *p = current_process();
    struct session *s = kzalloc(sizeof(*s), GFP_KERNEL);
    struct pgrp *g = kzalloc(sizeof(*g), GFP_KERNEL);
    s64 r = -ENOMEM;

    (void)a;
    if (!s || !g) {
        goto out_free;
    }
    r = -EPERM;
    spin_lock(&proc_table_lock);
    if (!jobctl_number_used_locked(p->pid)) { // it leads no group, and none of its number is left
        session_init_locked(s, p->pid);
        pgrp_init_locked(g, p->pid, s);
        member_move_locked(g, p);
        s = NULL;
        g = NULL;
        r = p->pid;
    }
    spin_unlock(&proc_table_lock);
out_free:
    kfree(s);
    kfree(g);
    return r;
}

// May the caller put p into group pgid? *to: the group, NULL: one that is to be made.
static int setpgid_check_locked(struct process *p, s32 pgid, struct pgrp **to)
{
    struct process *self = current_process();

    if (!p || (p != self && p->parent != self)) {
        return -ESRCH;
    }
    if (p != self && p->pgrp->session != self->pgrp->session) {
        return -EPERM;
    }
    if (p != self && p->did_exec) {
        return -EACCES;
    }
    if (p->pgrp->session->id == p->pid) {
        return -EPERM;
    }
    *to = pgrp_find_locked(pgid);
    if (!*to) {
        return pgid == p->pid ? 0 : -EPERM;
    }
    return (*to)->session == p->pgrp->session ? 0 : -EPERM;
}

s64 sys_setpgid(const u64 *a)
{
    s32 pid = (s32)a[0], pgid = (s32)a[1];
    struct pgrp *fresh, *to;
    struct process *p;
    int err;

    if (pgid < 0) {
        return -EINVAL;
    }
    fresh = kzalloc(sizeof(*fresh), GFP_KERNEL);
    if (!fresh) {
        return -ENOMEM;
    }
    spin_lock(&proc_table_lock);
    p = named_locked(pid);
    pgid = pgid || !p ? pgid : p->pid;
    err = setpgid_check_locked(p, pgid, &to);
    if (!err && !to) {
        to = fresh;
        fresh = NULL;
        pgrp_init_locked(to, pgid, p->pgrp->session);
    }
    if (!err && p->pgrp != to) {
        member_move_locked(to, p);
    }
    spin_unlock(&proc_table_lock);
    kfree(fresh);
    return err;
}
