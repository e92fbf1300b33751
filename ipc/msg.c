// System V messages: msgget(2), msgop(2), msgctl(2), svipc(7).
//
// A queue is a list of messages, oldest first, and two wait queues: for room and for messages. Who
// waits holds a reference, looks again under the lock after each wake-up, and finds the queue gone
// (-EIDRM) or goes on; `changes`, which every change of the queue moves, is what it sleeps on. It
// copies from and to user memory without the lock: a message is made before it is queued and taken
// off before it is copied out, as Linux does (one that cannot be copied out is lost there, too).
//
// msg_table.lock guards everything here.
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
#include <uapi/msg.h>
#include "ids.h"

#define MSGMNI 32000
#define MSGMAX 8192
#define MSGMNB 16384

struct msg {
    struct list link;
    s64 type;
    u64 len;
    char text[];
};

struct msg_queue {
    struct ipc_obj obj;
    struct list msgs;
    u64 nr, bytes, max_bytes;
    s64 stime, rtime, ctime;
    s32 lspid, lrpid;
    unsigned ref; // the table's, and who waits
    bool gone;
    struct waitq wait;
    atomic_uint changes; // [a] written under the lock
};

static const struct ipc_kind msg_kind;
static struct ipc_table msg_table = IPC_TABLE_INIT(msg_table, MSGMNI, &msg_kind);

static struct msg_queue *queue_of(struct ipc_obj *o)
{
    return container_of(o, struct msg_queue, obj);
}

static void queue_changed(struct msg_queue *q)
{
    store_seq(&q->changes, load_relaxed(&q->changes) + 1); // pairs with queue_sleep
    waitq_wake_all(&q->wait);
}

static void queue_put(struct msg_queue *q)
{
    if (--q->ref == 0) {
        kfree(q);
    }
}

// Wait for a change, without the lock meanwhile. -EIDRM; -ERESTARTNOHAND. The reference stays.
static int queue_sleep(struct msg_queue *q)
{
    unsigned seen = load_relaxed(&q->changes);
    mutex_unlock(&msg_table.lock);
    int err = waitq_wait_signal(&q->wait, load_seq(&q->changes) != seen);
    mutex_lock(&msg_table.lock);
    return q->gone ? -EIDRM : err ? -ERESTARTNOHAND : 0;
}

static s64 msg_create_locked(s32 key, u64 size, u32 flags)
{
    (void)size;
    struct msg_queue *q = kzalloc(sizeof(*q), GFP_KERNEL);
    if (!q) {
        return -ENOMEM;
    }
    ipc_obj_init(&q->obj, key, flags);
    list_init(&q->msgs);
    waitq_init(&q->wait);
    q->max_bytes = MSGMNB;
    q->ctime = ipc_now_s();
    q->ref = 1;
    int err = ipc_add(&msg_table, &q->obj);
    if (err) {
        kfree(q);
        return err;
    }
    return q->obj.id;
}

s64 sys_msgget(const u64 *a)
{
    return ipc_get(&msg_table, (s32)a[0], 0, (u32)a[1]);
}

// ---- Sending ------------------------------------------------------------------------------------

static int msg_from_user(u64 user, u64 len, struct msg **out)
{
    s64 type;
    if (arch_copy_from_user(&type, (const void *)user, sizeof(type))) {
        return -EFAULT;
    }
    if (type < 1) {
        return -EINVAL;
    }
    struct msg *m = kmalloc(sizeof(*m) + len, GFP_KERNEL);
    if (!m) {
        return -ENOMEM;
    }
    m->type = type;
    m->len = len;
    if (arch_copy_from_user(m->text, (const void *)(user + sizeof(type)), len)) {
        kfree(m);
        return -EFAULT;
    }
    *out = m;
    return 0;
}

static int send_locked(s32 id, struct msg *m, u32 flags)
{
    struct ipc_obj *o;
    int err = ipc_find(&msg_table, id, &o);
    err = err ? err : ipc_permission(o, 0222);
    if (err) {
        return err;
    }
    struct msg_queue *q = queue_of(o);
    q->ref++;
    while (!err && (q->bytes + m->len > q->max_bytes || q->nr + 1 > q->max_bytes)) {
        err = flags & IPC_NOWAIT ? -EAGAIN : queue_sleep(q);
    }
    if (!err) {
        list_add_tail(&q->msgs, &m->link);
        q->nr++;
        q->bytes += m->len;
        q->stime = ipc_now_s();
        q->lspid = current_process()->pid;
        queue_changed(q);
    }
    queue_put(q);
    return err;
}

s64 sys_msgsnd(const u64 *a)
{
    struct msg *m;
    if ((s64)a[2] < 0 || a[2] > MSGMAX || (s32)a[0] < 0) {
        return -EINVAL;
    }
    int err = msg_from_user(a[1], a[2], &m);
    if (err) {
        return err;
    }
    mutex_lock(&msg_table.lock);
    err = send_locked((s32)a[0], m, (u32)a[3]);
    mutex_unlock(&msg_table.lock);
    if (err) {
        kfree(m);
    }
    return err;
}

// ---- Receiving ----------------------------------------------------------------------------------

// type 0: the first; > 0: the first of that type (MSG_EXCEPT: of another); < 0: the first of the
// lowest type up to -type.
static struct msg *queue_pick(struct msg_queue *q, s64 type, bool except)
{
    struct msg *m, *best = NULL;
    s64 most = type == -0x7fffffffffffffff - 1 ? 0x7fffffffffffffff : -type;
    list_for_each_entry (m, &q->msgs, link) {
        if (type == 0 || (type > 0 && (m->type == type) != except)) {
            return m;
        }
        if (type < 0 && m->type <= most && (!best || m->type < best->type)) {
            best = m;
        }
        cond_resched(); // the list stands still: msg_table.lock is held
    }
    return best;
}

static int receive_locked(s32 id, u64 size, s64 type, u32 flags, struct msg **out)
{
    struct ipc_obj *o;
    struct msg *m;
    int err = ipc_find(&msg_table, id, &o);
    err = err ? err : ipc_permission(o, 0444);
    if (err) {
        return err;
    }
    struct msg_queue *q = queue_of(o);
    q->ref++;
    while (!err && !(m = queue_pick(q, type, flags & MSG_EXCEPT))) {
        err = flags & IPC_NOWAIT ? -ENOMSG : queue_sleep(q);
    }
    if (!err && m->len > size && !(flags & MSG_NOERROR)) {
        err = -E2BIG;
    }
    if (!err) {
        list_del(&m->link);
        q->nr--;
        q->bytes -= m->len;
        q->rtime = ipc_now_s();
        q->lrpid = current_process()->pid;
        queue_changed(q);
        *out = m;
    }
    queue_put(q);
    return err;
}

s64 sys_msgrcv(const u64 *a)
{
    u64 user = a[1], size = a[2];
    struct msg *m;
    if ((s32)a[0] < 0 || (s64)size < 0) {
        return -EINVAL;
    }
    if (a[4] & MSG_COPY) {
        return syscall_missing("msgrcv: MSG_COPY", -ENOSYS);
    }
    mutex_lock(&msg_table.lock);
    s64 r = receive_locked((s32)a[0], size, (s64)a[3], (u32)a[4], &m);
    mutex_unlock(&msg_table.lock);
    if (r) {
        return r;
    }
    r = (s64)min(size, m->len);
    if (arch_copy_to_user((void *)user, &m->type, sizeof(m->type)) ||
        arch_copy_to_user((void *)(user + sizeof(m->type)), m->text, (size_t)r)) {
        r = -EFAULT;
    }
    kfree(m);
    return r;
}

// ---- msgctl -------------------------------------------------------------------------------------

static void queue_remove(struct msg_queue *q)
{
    struct msg *m, *tmp;
    list_for_each_entry_safe (m, tmp, &q->msgs, link) {
        list_del(&m->link);
        kfree(m);
        cond_resched(); // IPC_SET may have made it any number
    }
    ipc_remove(&msg_table, &q->obj);
    q->gone = true;
    queue_changed(q);
    queue_put(q);
}

static s64 msg_info(int cmd, void *user)
{
    struct uapi_msginfo i = {.msgpool = MSGMNI * MSGMNB / 1024,
                             .msgmap = MSGMNB,
                             .msgmax = MSGMAX,
                             .msgmnb = MSGMNB,
                             .msgmni = MSGMNI,
                             .msgssz = 16,
                             .msgtql = MSGMNB,
                             .msgseg = 0xffff};
    struct ipc_obj *o;
    mutex_lock(&msg_table.lock);
    if (cmd == MSG_INFO) {
        i.msgpool = (s32)msg_table.used;
        i.msgmap = i.msgtql = 0;
        for (unsigned n = 0; (o = ipc_next(&msg_table, &n)); n++) {
            i.msgmap += (s32)queue_of(o)->nr;
            i.msgtql += (s32)queue_of(o)->bytes;
        }
    }
    s32 highest = ipc_highest(&msg_table);
    mutex_unlock(&msg_table.lock);
    return arch_copy_to_user(user, &i, sizeof(i)) ? -EFAULT : highest;
}

static void msg_stat(struct ipc_obj *o, void *ds)
{
    struct uapi_msqid_ds *d = ds;
    struct msg_queue *q = queue_of(o);
    d->stime = q->stime;
    d->rtime = q->rtime;
    d->ctime = q->ctime;
    d->cbytes = q->bytes;
    d->qnum = q->nr;
    d->qbytes = q->max_bytes;
    d->lspid = q->lspid;
    d->lrpid = q->lrpid;
}

static int msg_change(struct ipc_obj *o, int cmd, const void *ds)
{
    const struct uapi_msqid_ds *d = ds;
    struct msg_queue *q = queue_of(o);
    if (cmd == IPC_RMID) {
        queue_remove(q);
        return 0;
    }
    if (d->qbytes > MSGMNB && !current_has_cap(CAP_SYS_RESOURCE)) {
        return -EPERM;
    }
    q->max_bytes = d->qbytes;
    q->ctime = ipc_now_s();
    queue_changed(q); // there may be room now
    return 0;
}

s64 sys_msgctl(const u64 *a)
{
    s32 id = (s32)a[0];
    int cmd = (int)a[1];
    void *user = (void *)a[2];
    if (id < 0 || cmd < 0) {
        return -EINVAL;
    }
    switch (cmd) {
    case IPC_INFO:
    case MSG_INFO:
        return msg_info(cmd, user);
    case IPC_STAT:
        return ipc_stat(&msg_table, id, 0, user);
    case MSG_STAT:
        return ipc_stat(&msg_table, id, IPC_BY_SLOT, user);
    case MSG_STAT_ANY:
        return ipc_stat(&msg_table, id, IPC_BY_SLOT | IPC_FOR_ALL, user);
    case IPC_SET:
    case IPC_RMID:
        return ipc_change(&msg_table, id, cmd, user);
    default:
        return -EINVAL;
    }
}

static int msg_line(struct ipc_obj *o, char *buf, size_t size)
{
    struct msg_queue *q = queue_of(o);
    return snprintf(buf, size,
                    "%10d %10d  %4o  %10lu %10lu %5d %5d %5u %5u %5u %5u %10lu %10lu %10lu\n",
                    o->key, o->id, o->mode, q->bytes, q->nr, q->lspid, q->lrpid, o->uid, o->gid,
                    o->cuid, o->cgid, q->stime, q->rtime, q->ctime);
}

size_t msg_text(u64 *pos, char *buf, size_t size)
{
    return ipc_text(&msg_table, pos, buf, size);
}

_Static_assert(sizeof(struct uapi_msqid_ds) <= IPC_DS_MAX, "ipc/ids.c has room");
static const struct ipc_kind msg_kind = {
    .ds_size = sizeof(struct uapi_msqid_ds),
    .heading = "       key      msqid perms      cbytes       qnum lspid lrpid"
               "   uid   gid  cuid  cgid      stime      rtime      ctime\n",
    .create = msg_create_locked,
    .stat = msg_stat,
    .change = msg_change,
    .line = msg_line,
};
