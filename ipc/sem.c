// System V semaphores: semget(2), semop(2), semctl(2), svipc(7).
//
// A set is an array of values. semop's operations are done all or none, one after the other in
// what the others have left. Who cannot go on queues in the set with its operations, and whoever
// changes a value does the operations of those that have become possible, oldest first, before it
// lets go of the lock; a waiter finds its call done. So no waiter has to race for what it was
// woken for, and nobody is woken in vain.
//
//     waiter: WAITING, queued --- somebody: operations done, off the queue ---> 0
//                             --- the set is removed                       ---> -EIDRM
//                             --- signal, timeout: it takes itself off     ---> -EINTR, -EAGAIN
//
// The waiter lives on its thread's stack and takes the lock before it goes, so whoever woke it has
// let go of it by then.
//
// SEM_UNDO. A process has for each set it used it on what is to be added to each value at its end:
// struct sem_undo, on a list of the set and on one of the process. It is made before the
// operations are tried, when failing is still possible. Linux has such lists for each thread that
// was not made with CLONE_SYSVSEM; ours are the process's, which is what pthread_create asks for.
//
// sem_table.lock guards everything here. Sets are small and operations short; a lock for each set
// was left out until somebody measures that it matters.
#include <arch/time.h>
#include <arch/uaccess.h>
#include <ipc.h>
#include <k/atomic.h>
#include <k/list.h>
#include <k/printk.h>
#include <k/string.h>
#include <proc.h>
#include <sched.h>
#include <signal.h>
#include <slab.h>
#include <syscalls.h>
#include <uapi/sem.h>
#include <uapi/time.h>
#include "../kernel/time_priv.h"
#include "ids.h"

#define SEMMNI 32000
#define SEMMSL 32000
#define SEMMNS 1024000000
#define SEMOPM 500
#define SEMVMX 32767
#define SEMAEM 32767

enum { WAITING = 1 }; // sem_wait.result: not yet

struct sem {
    s32 value, pid;
};

struct sem_set {
    struct ipc_obj obj;
    s64 otime, ctime;
    struct list waiters; // sem_wait.link, oldest first
    struct list undos;   // sem_undo.set_link
    unsigned nr;         // [I]
    struct sem sem[];
};

struct sem_undo {
    struct list set_link;
    struct sem_undo *next; // of the process
    struct process *proc;
    struct sem_set *set;
    s16 adjust[];
};

struct sem_wait {
    struct list link;
    struct waitq q;
    const struct uapi_sembuf *ops;
    unsigned nr_ops;
    const struct uapi_sembuf *stuck; // the operation that has to wait
    struct sem_undo *undo;
    s32 pid;
    atomic_int result;
};

static const struct ipc_kind sem_kind;
static struct ipc_table sem_table = IPC_TABLE_INIT(sem_table, SEMMNI, &sem_kind);

static struct sem_set *set_of(struct ipc_obj *o)
{
    return container_of(o, struct sem_set, obj);
}

// ---- Operations ---------------------------------------------------------------------------------

static void ops_revert(struct sem_set *s, const struct sem_wait *w, unsigned nr)
{
    while (nr-- > 0) {
        s->sem[w->ops[nr].num].value -= w->ops[nr].op;
        if (w->ops[nr].flags & SEM_UNDO) {
            w->undo->adjust[w->ops[nr].num] += w->ops[nr].op;
        }
    }
}

// One operation: 0, WAITING, or -ERANGE.
static int op_do(struct sem_set *s, const struct sem_wait *w, const struct uapi_sembuf *o)
{
    s32 value = s->sem[o->num].value;
    if (o->op == 0) {
        return value ? WAITING : 0;
    }
    if (value + o->op < 0) {
        return WAITING;
    }
    if (value + o->op > SEMVMX) {
        return -ERANGE;
    }
    if (o->flags & SEM_UNDO) {
        s32 adjust = w->undo->adjust[o->num] - o->op;
        if (adjust < -SEMAEM - 1 || adjust > SEMAEM) {
            return -ERANGE;
        }
        w->undo->adjust[o->num] = (s16)adjust;
    }
    s->sem[o->num].value = value + o->op;
    return 0;
}

// All or nothing: 0; WAITING, w->stuck says for what; -EAGAIN, -ERANGE.
static int ops_do(struct sem_set *s, struct sem_wait *w)
{
    for (unsigned i = 0; i < w->nr_ops; i++) {
        int r = op_do(s, w, &w->ops[i]);
        if (r) {
            ops_revert(s, w, i);
            w->stuck = &w->ops[i];
            return r == WAITING && (w->ops[i].flags & IPC_NOWAIT) ? -EAGAIN : r;
        }
    }
    for (unsigned i = 0; i < w->nr_ops; i++) {
        s->sem[w->ops[i].num].pid = w->pid;
    }
    s->otime = ipc_now_s();
    return 0;
}

static void wait_end(struct sem_wait *w, int result)
{
    list_del(&w->link);
    store_seq(&w->result, result); // pairs with the look of the waiter, which is about to sleep
    waitq_wake_all(&w->q);
}

// A value has changed: do what has become possible, until nothing more does.
static void set_changed(struct sem_set *s)
{
    struct sem_wait *w, *tmp;
    bool again = true;
    while (again) {
        again = false;
        list_for_each_entry_safe (w, tmp, &s->waiters, link) {
            int r = ops_do(s, w);
            cond_resched(); // the list stands still: sem_table.lock is held
            if (r != WAITING) {
                wait_end(w, r);
                again |= r == 0;
            }
        }
    }
}

// ---- Undo ---------------------------------------------------------------------------------------

static struct sem_undo *undo_get(struct sem_set *s)
{
    struct process *p = current_process();
    struct sem_undo *u;
    list_for_each_entry (u, &s->undos, set_link) {
        if (u->proc == p) {
            return u;
        }
    }
    u = kzalloc(sizeof(*u) + s->nr * sizeof(u->adjust[0]), GFP_KERNEL);
    if (u) {
        u->proc = p;
        u->set = s;
        u->next = p->sem_undo;
        p->sem_undo = u;
        list_add_tail(&s->undos, &u->set_link);
    }
    return u;
}

static void undo_free(struct sem_undo *u)
{
    struct sem_undo **at = &u->proc->sem_undo;
    while (*at != u) {
        at = &(*at)->next;
    }
    *at = u->next;
    list_del(&u->set_link);
    kfree(u);
}

static void undo_apply(struct sem_undo *u)
{
    struct sem_set *s = u->set;
    for (unsigned i = 0; i < s->nr; i++) {
        if (u->adjust[i]) {
            s->sem[i].value = min(max(s->sem[i].value + u->adjust[i], 0), SEMVMX);
            s->sem[i].pid = u->proc->pid;
        }
    }
    s->otime = ipc_now_s();
}

void sem_exit(struct process *p)
{
    mutex_lock(&sem_table.lock);
    while (p->sem_undo) {
        struct sem_set *s = p->sem_undo->set;
        undo_apply(p->sem_undo);
        undo_free(p->sem_undo);
        set_changed(s);
        cond_resched(); // there may be as many as there are sets, and as long ones
    }
    mutex_unlock(&sem_table.lock);
}

// ---- semget, semop ------------------------------------------------------------------------------

static s64 sem_create_locked(s32 key, u64 nr, u32 flags)
{
    if (nr == 0) {
        return -EINVAL;
    }
    struct sem_set *s = kzalloc(sizeof(*s) + nr * sizeof(s->sem[0]), GFP_KERNEL);
    if (!s) {
        return -ENOMEM;
    }
    ipc_obj_init(&s->obj, key, flags);
    list_init(&s->waiters);
    list_init(&s->undos);
    s->nr = (unsigned)nr;
    s->ctime = ipc_now_s();
    int err = ipc_add(&sem_table, &s->obj);
    if (err) {
        kfree(s);
        return err;
    }
    return s->obj.id;
}

static bool sem_fits(struct ipc_obj *o, u64 nr)
{
    return set_of(o)->nr >= nr;
}

s64 sys_semget(const u64 *a)
{
    s32 nr = (s32)a[1];
    return nr < 0 || nr > SEMMSL ? -EINVAL : ipc_get(&sem_table, (s32)a[0], (u64)nr, (u32)a[2]);
}

// Try, and queue if it has to wait.
static int sem_begin(s32 id, struct sem_wait *w)
{
    struct ipc_obj *o;
    bool undo = false, alters = false;
    int err = ipc_find(&sem_table, id, &o);
    if (err) {
        return err;
    }
    struct sem_set *s = set_of(o);
    for (unsigned i = 0; i < w->nr_ops; i++) {
        if (w->ops[i].num >= s->nr) {
            return -EFBIG;
        }
        undo |= w->ops[i].flags & SEM_UNDO;
        alters |= w->ops[i].op != 0;
    }
    err = ipc_permission(o, alters ? 0222 : 0444);
    if (err) {
        return err;
    }
    w->undo = undo ? undo_get(s) : NULL;
    if (undo && !w->undo) {
        return -ENOMEM;
    }
    int r = ops_do(s, w);
    if (r == 0) {
        set_changed(s);
    } else if (r == WAITING) {
        list_add_tail(&s->waiters, &w->link);
    }
    return r;
}

// 0: somebody has ended the wait; -EINTR; -EAGAIN: too late.
static int sem_sleep(struct sem_wait *w, u64 deadline_ns)
{
    struct waiter sleeper = {0};
    int r = 0;
    for (;;) {
        waitq_prepare(&w->q, &sleeper, THREAD_SLEEPING);
        if (load_seq(&w->result) != WAITING || r) { // pairs with wait_end
            break;
        }
        if (thread_signal_pending()) {
            r = -EINTR;
            break;
        }
        r = schedule_until(deadline_ns) == 0 ? -EAGAIN : 0;
    }
    waitq_finish(&w->q, &sleeper);
    return r;
}

static s64 sem_operate(s32 id, const struct uapi_sembuf *ops, unsigned nr, u64 deadline_ns)
{
    struct sem_wait w = {.ops = ops, .nr_ops = nr, .pid = current_process()->pid};
    waitq_init(&w.q);
    store_relaxed(&w.result, WAITING);
    mutex_lock(&sem_table.lock);
    int r = sem_begin(id, &w);
    mutex_unlock(&sem_table.lock);
    if (r != WAITING) {
        return r;
    }
    r = sem_sleep(&w, deadline_ns);
    mutex_lock(&sem_table.lock);
    if (load_relaxed(&w.result) == WAITING) {
        list_del(&w.link);
    } else {
        r = load_relaxed(&w.result);
    }
    mutex_unlock(&sem_table.lock);
    return r;
}

static s64 do_semop(s32 id, const void *user, u32 nr, u64 timeout)
{
    u64 deadline_ns = TIME_NEVER;
    if (nr < 1 || id < 0) {
        return -EINVAL;
    }
    if (nr > SEMOPM) {
        return -E2BIG;
    }
    struct uapi_sembuf *ops = kmalloc(nr * sizeof(*ops), GFP_KERNEL);
    if (!ops) {
        return -ENOMEM;
    }
    s64 r = arch_copy_from_user(ops, user, nr * sizeof(*ops)) ? -EFAULT : 0;
    if (!r && timeout) {
        r = deadline_from_user(timeout, CLOCK_MONOTONIC, false, &deadline_ns);
    }
    if (!r) {
        r = sem_operate(id, ops, nr, deadline_ns);
    }
    kfree(ops);
    return r;
}

s64 sys_semop(const u64 *a)
{
    return do_semop((s32)a[0], (const void *)a[1], (u32)a[2], 0);
}

s64 sys_semtimedop(const u64 *a)
{
    return do_semop((s32)a[0], (const void *)a[1], (u32)a[2], a[3]);
}

// ---- semctl -------------------------------------------------------------------------------------

static void sem_remove(struct sem_set *s)
{
    struct sem_wait *w, *wtmp;
    struct sem_undo *u, *utmp;
    list_for_each_entry_safe (w, wtmp, &s->waiters, link) {
        wait_end(w, -EIDRM);
    }
    list_for_each_entry_safe (u, utmp, &s->undos, set_link) {
        undo_free(u);
    }
    ipc_remove(&sem_table, &s->obj);
    kfree(s);
}

static s64 sem_info(int cmd, void *user)
{
    struct uapi_seminfo i = {.semmap = SEMMNS,
                             .semmni = SEMMNI,
                             .semmns = SEMMNS,
                             .semmnu = SEMMNS,
                             .semmsl = SEMMSL,
                             .semopm = SEMOPM,
                             .semume = SEMOPM,
                             .semusz = 20,
                             .semvmx = SEMVMX,
                             .semaem = SEMAEM};
    struct ipc_obj *o;
    mutex_lock(&sem_table.lock);
    if (cmd == SEM_INFO) {
        i.semusz = (s32)sem_table.used;
        i.semaem = 0;
        for (unsigned n = 0; (o = ipc_next(&sem_table, &n)); n++) {
            i.semaem += (s32)set_of(o)->nr;
        }
    }
    s32 highest = ipc_highest(&sem_table);
    mutex_unlock(&sem_table.lock);
    return arch_copy_to_user(user, &i, sizeof(i)) ? -EFAULT : highest;
}

static void sem_stat(struct ipc_obj *o, void *ds)
{
    struct uapi_semid_ds *d = ds;
    d->otime = set_of(o)->otime;
    d->ctime = set_of(o)->ctime;
    d->nsems = set_of(o)->nr;
}

static int sem_change(struct ipc_obj *o, int cmd, const void *ds)
{
    (void)ds;
    if (cmd == IPC_RMID) {
        sem_remove(set_of(o));
    } else {
        set_of(o)->ctime = ipc_now_s();
    }
    return 0;
}

// How many wait for a value to become zero, or to grow.
static s64 nr_waiting(struct sem_set *s, unsigned num, bool zero)
{
    struct sem_wait *w;
    s64 nr = 0;
    list_for_each_entry (w, &s->waiters, link) {
        nr += w->stuck->num == num && (w->stuck->op == 0) == zero;
    }
    return nr;
}

static void set_value(struct sem_set *s, unsigned num, s32 value)
{
    struct sem_undo *u;
    list_for_each_entry (u, &s->undos, set_link) {
        u->adjust[num] = 0;
    }
    s->sem[num].value = value;
    s->sem[num].pid = current_process()->pid;
    s->ctime = ipc_now_s();
}

// The commands about one value; SETVAL's has been checked.
static s64 sem_one(struct sem_set *s, unsigned num, int cmd, s32 value)
{
    if (num >= s->nr) {
        return -EINVAL;
    }
    switch (cmd) {
    case GETVAL:
        return s->sem[num].value;
    case GETPID:
        return s->sem[num].pid;
    case GETNCNT:
    case GETZCNT:
        return nr_waiting(s, num, cmd == GETZCNT);
    default:
        set_value(s, num, value);
        set_changed(s);
        return 0;
    }
}

// GETALL and SETALL allocate and touch user memory without the lock, which everybody's semaphores
// share. So they come to the set twice: first for its size, and with what it may be asked for...
struct set_seen {
    s32 id;
    u64 seq;
    unsigned nr;
};

static int set_look(struct set_seen *seen, u32 want)
{
    struct ipc_obj *o;
    mutex_lock(&sem_table.lock);
    int err = ipc_find(&sem_table, seen->id, &o);
    err = err ? err : ipc_permission(o, want);
    if (!err) {
        seen->seq = o->seq;
        seen->nr = set_of(o)->nr;
    }
    mutex_unlock(&sem_table.lock);
    return err;
}

// ... and again, locked, for the same set. By now the number may be another's, with another size
// and another owner:
//
//     SETALL                          others
//     its size, may it: 2, yes
//     values: waits for a slow page   IPC_RMID; 65,535 sets come and go
//                                     semget of 32,000 in the same slot: the same number
//     32,000 values from room for 2
//
// -EIDRM.
static int set_again_locked(const struct set_seen *seen, struct sem_set **out)
{
    struct ipc_obj *o;
    if (ipc_find(&sem_table, seen->id, &o) || o->seq != seen->seq) {
        return -EIDRM;
    }
    *out = set_of(o);
    return 0;
}

static int values_read(const struct set_seen *seen, u16 *values)
{
    struct sem_set *s;
    mutex_lock(&sem_table.lock);
    int err = set_again_locked(seen, &s);
    for (unsigned i = 0; !err && i < seen->nr; i++) {
        values[i] = (u16)s->sem[i].value;
    }
    mutex_unlock(&sem_table.lock);
    return err;
}

static void set_values(struct sem_set *s, const u16 *values)
{
    struct sem_undo *u;
    s32 pid = current_process()->pid;
    list_for_each_entry (u, &s->undos, set_link) {
        memset(u->adjust, 0, s->nr * sizeof(u->adjust[0]));
        cond_resched(); // the list stands still: sem_table.lock is held
    }
    for (unsigned i = 0; i < s->nr; i++) {
        s->sem[i] = (struct sem){values[i], pid};
    }
    s->ctime = ipc_now_s();
    set_changed(s);
}

static int values_write(const struct set_seen *seen, const u16 *values)
{
    struct sem_set *s;
    mutex_lock(&sem_table.lock);
    int err = set_again_locked(seen, &s);
    if (!err) {
        set_values(s, values);
    }
    mutex_unlock(&sem_table.lock);
    return err;
}

static s64 sem_all(s32 id, int cmd, u64 user)
{
    struct set_seen seen = {.id = id};
    int r = set_look(&seen, cmd == SETALL ? 0222 : 0444);
    if (r) {
        return r;
    }
    size_t n = seen.nr * sizeof(u16);
    u16 *values = kmalloc(n, GFP_KERNEL);
    if (!values) {
        return -ENOMEM;
    }
    if (cmd == GETALL) {
        r = values_read(&seen, values);
        r = r ? r : arch_copy_to_user((void *)user, values, n) ? -EFAULT : 0;
    } else {
        r = arch_copy_from_user(values, (const void *)user, n) ? -EFAULT : 0;
        for (unsigned i = 0; !r && i < seen.nr; i++) {
            r = values[i] > SEMVMX ? -ERANGE : 0;
        }
        r = r ? r : values_write(&seen, values);
    }
    kfree(values);
    return r;
}

static s64 sem_command(s32 id, unsigned num, int cmd, s32 value)
{
    struct ipc_obj *o;
    mutex_lock(&sem_table.lock);
    s64 r = ipc_find(&sem_table, id, &o);
    if (!r && cmd == SETVAL && num >= set_of(o)->nr) {
        r = -EINVAL; // before its permission, as on Linux
    }
    r = r ? r : ipc_permission(o, cmd == SETVAL ? 0222 : 0444);
    r = r ? r : sem_one(set_of(o), num, cmd, value);
    mutex_unlock(&sem_table.lock);
    return r;
}

s64 sys_semctl(const u64 *a)
{
    s32 id = (s32)a[0];
    int cmd = (int)a[2];
    if (id < 0) {
        return -EINVAL;
    }
    if (cmd == SETVAL && ((s32)a[3] < 0 || (s32)a[3] > SEMVMX)) {
        return -ERANGE; // Linux looks at the value first, and at the set then
    }
    switch (cmd) {
    case IPC_INFO:
    case SEM_INFO:
        return sem_info(cmd, (void *)a[3]);
    case IPC_STAT:
        return ipc_stat(&sem_table, id, 0, (void *)a[3]);
    case SEM_STAT:
        return ipc_stat(&sem_table, id, IPC_BY_SLOT, (void *)a[3]);
    case SEM_STAT_ANY:
        return ipc_stat(&sem_table, id, IPC_BY_SLOT | IPC_FOR_ALL, (void *)a[3]);
    case IPC_RMID:
    case IPC_SET:
        return ipc_change(&sem_table, id, cmd, (const void *)a[3]);
    case GETVAL:
    case GETPID:
    case GETNCNT:
    case GETZCNT:
    case SETVAL:
        return sem_command(id, (u32)a[1], cmd, (s32)a[3]);
    case GETALL:
    case SETALL:
        return sem_all(id, cmd, a[3]);
    default:
        return -EINVAL;
    }
}

// ---- /proc/sysvipc/sem --------------------------------------------------------------------------

static int sem_line(struct ipc_obj *o, char *buf, size_t size)
{
    struct sem_set *s = set_of(o);
    return snprintf(buf, size, "%10d %10d  %4o %10u %5u %5u %5u %5u %10lu %10lu\n", o->key, o->id,
                    o->mode, s->nr, o->uid, o->gid, o->cuid, o->cgid, s->otime, s->ctime);
}

size_t sem_text(u64 *pos, char *buf, size_t size)
{
    return ipc_text(&sem_table, pos, buf, size);
}

_Static_assert(sizeof(struct uapi_semid_ds) <= IPC_DS_MAX, "ipc/ids.c has room");
static const struct ipc_kind sem_kind = {
    .ds_size = sizeof(struct uapi_semid_ds),
    .heading = "       key      semid perms      nsems   uid   gid  cuid  cgid"
               "      otime      ctime\n",
    .create = sem_create_locked,
    .fits = sem_fits,
    .stat = sem_stat,
    .change = sem_change,
    .line = sem_line,
};
