// The system calls of priorities: nice values and those of I/O.
//
// Both belong to a thread, come from the thread that makes it, survive execve, and are kept, shown
// and refused by Linux's rules. Nothing acts on them: the scheduler goes round robin, and there is
// no I/O to order. So a program that asks to be nice may go on, and one that looks sees what was
// asked.
//
// The calls name one thread, all of a process group, or all of a user; the last two are looks at
// one process after the other and promise nothing about those that begin or end meanwhile.
#include <k/errno.h>
#include <proc.h>
#include <syscalls.h>

#include "proc_priv.h"

#define IOPRIO_CLASS_SHIFT 13
#define IOPRIO_NR_LEVELS   8
enum ioprio_class { IOPRIO_NONE, IOPRIO_RT, IOPRIO_BE, IOPRIO_IDLE };

enum whose { WHOSE_PROCESS, WHOSE_PGRP, WHOSE_USER }; // as getpriority has it; ioprio_get: + 1

void task_visit(struct task_visit *v, s32 tid)
{
    struct task_ext *t;

    spin_lock(&proc_table_lock);
    t = tid ? task_find_locked(tid) : current_task();
    if (t) {
        spin_lock(&t->proc->lock);
        v->one(v, t);
        spin_unlock(&t->proc->lock);
    }
    spin_unlock(&proc_table_lock);
}

static void visit_process(struct task_visit *v, struct process *p, enum whose whose, u32 who)
{
    struct task_ext *t;

    spin_lock(&p->lock);
    if (whose == WHOSE_PGRP ? p->pgid == (s32)who : p->cred.uid == who) {
        list_for_each_entry (t, &p->threads, proc_link) {
            v->one(v, t);
        }
    }
    spin_unlock(&p->lock);
}

static s64 visit_all(struct task_visit *v, enum whose whose, s32 who)
{
    struct process *self = current_process();

    v->result = -ESRCH;
    if (whose == WHOSE_PROCESS) {
        task_visit(v, who);
        return v->result;
    }
    if (!who) {
        who = whose == WHOSE_PGRP ? self->pgid : (s32)creds_now().uid;
    }
    for (s32 pid = 0; (pid = process_next_pid(pid)) != 0;) {
        struct process *p = process_get_by_pid(pid);
        if (p) {
            visit_process(v, p, whose, (u32)who);
            process_put(p);
        }
        cond_resched();
    }
    return v->result;
}

// --- Nice values ---------------------------------------------------------------------------------

static void nice_get_one(struct task_visit *v, struct task_ext *t)
{
    v->result = max(v->result, (s64)(20 - t->nice));
}

bool task_may_be_nice_locked(const struct task_ext *t, int nice)
{
    return (u64)(20 - nice) <= t->proc->rlimit[RLIMIT_NICE].cur || current_has_cap(CAP_SYS_NICE);
}

static void nice_set_one(struct task_visit *v, struct task_ext *t)
{
    if (!creds_own_locked(t->proc)) {
        v->result = -EPERM;
    } else if (v->value < t->nice && !task_may_be_nice_locked(t, v->value)) {
        v->result = -EACCES;
    } else if (!creds_reach_locked(t->proc)) {
        v->result = -EPERM;
    } else {
        t->nice = (s8)v->value;
        v->result = v->result == -ESRCH ? 0 : v->result;
    }
}

// 20 minus the nice value, the highest of those meant.
s64 sys_getpriority(const u64 *a)
{
    struct task_visit v = {.one = nice_get_one};

    return (u32)a[0] > WHOSE_USER ? -EINVAL : visit_all(&v, (enum whose)a[0], (s32)a[1]);
}

s64 sys_setpriority(const u64 *a)
{
    struct task_visit v = {.one = nice_set_one, .value = min(max((int)a[2], NICE_MIN), NICE_MAX)};

    return (u32)a[0] > WHOSE_USER ? -EINVAL : visit_all(&v, (enum whose)a[0], (s32)a[1]);
}

// --- I/O -----------------------------------------------------------------------------------------

static void ioprio_get_one(struct task_visit *v, struct task_ext *t)
{
    s64 mine = t->ioprio;

    v->result = v->result < 0 ? mine : min(v->result, mine);
}

static void ioprio_set_one(struct task_visit *v, struct task_ext *t)
{
    const struct creds *me = &current_process()->cred;
    u32 uid = t->proc->cred.uid;

    // Looks, as t's process is locked and ours cannot be, too.
    bool own = uid == data_race(me->euid) || uid == data_race(me->uid);
    own = own || current_has_cap(CAP_SYS_NICE);
    if (!own || !creds_reach_locked(t->proc)) {
        v->result = -EPERM;
    } else {
        t->ioprio = (u16)v->value;
        v->result = v->result == -ESRCH ? 0 : v->result;
    }
}

// All but a level in the class "none" goes: the bits above the level are hints.
static int ioprio_check(int value)
{
    switch (value >> IOPRIO_CLASS_SHIFT) {
    case IOPRIO_RT:
        return current_has_cap(CAP_SYS_ADMIN) || current_has_cap(CAP_SYS_NICE) ? 0 : -EPERM;
    case IOPRIO_BE:
    case IOPRIO_IDLE:
        return 0;
    case IOPRIO_NONE:
        return value & (IOPRIO_NR_LEVELS - 1) ? -EINVAL : 0;
    default:
        return -EINVAL;
    }
}

s64 sys_ioprio_get(const u64 *a)
{
    struct task_visit v = {.one = ioprio_get_one};
    u32 whose = (u32)a[0] - 1;

    return whose > WHOSE_USER ? -EINVAL : visit_all(&v, (enum whose)whose, (s32)a[1]);
}

s64 sys_ioprio_set(const u64 *a)
{
    struct task_visit v = {.one = ioprio_set_one, .value = (int)a[2]};
    u32 whose = (u32)a[0] - 1;
    int err = ioprio_check(v.value);

    if (err) {
        return err;
    }
    return whose > WHOSE_USER ? -EINVAL : visit_all(&v, (enum whose)whose, (s32)a[1]);
}
