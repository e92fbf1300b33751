// File locks: flock, and fcntl's record locks of processes and of open files (OFD). See flock(2)
// and fcntl(2), "Advisory record locking".
//
// A lock belongs to an owner: flock's and OFD locks to an open file, the others to a descriptor
// table. flock's locks (always of the whole file) and record locks know nothing of each other. An
// owner never conflicts with itself; a new record lock replaces what the owner had in its range:
//
//     had      rrrrrrrrrrrrrr        wanted  w in the middle
//     becomes  rrrrwwwwwwrrrr        so one call may need two new entries; they are made first
//
// Who must wait sleeps until any lock of the file has gone and looks again. A waiter for a process
// lock notes whom it waits for; following these notes from owner to owner finds deadlocks (EDEADLK;
// as on Linux neither flock nor OFD locks are looked at).
//
// One mutex guards it all: locks of files are rare beside reading and writing them, and a chain of
// waiters crosses files. A file that never had a lock has no `locks` and costs nothing at close.
#include <arch/uaccess.h>
#include <k/assert.h>
#include <k/list.h>
#include <k/string.h>
#include <proc.h>
#include <sched.h>
#include <syscalls.h>
#include "fd_priv.h"

#define LOCK_SH 1
#define LOCK_EX 2
#define LOCK_NB 4
#define LOCK_UN 8

#define F_RDLCK    0
#define F_WRLCK    1
#define F_UNLCK    2
#define CHAIN_MAX  64 // owners a deadlock is followed through
#define OFFSET_MAX ((u64)INT64_MAX)

struct uapi_flock {
    s16 type, whence;
    s64 start, len;
    s32 pid;
};

enum lock_kind { LOCK_WHOLE, LOCK_PROCESS, LOCK_OFD };

struct filelock {
    struct list link; // [M]
    const void *owner;
    enum lock_kind kind;
    bool write;
    s32 pid;        // for F_GETLK
    u64 start, end; // bytes, the last one included: OFFSET_MAX is "to the end, however far"
};

struct inode_locks {    // made with the first lock, goes with the inode
    struct list held;   // [M] struct filelock
    atomic_uint gone;   // [a] counts changes; written under M
    struct waitq waitq; // for a change
};

struct lock_waiter { // on the stack of who waits
    struct list link;
    const void *owner, *blocker;
};

static struct mutex locks_mutex = MUTEX_INIT(locks_mutex, RANK_SLEEP_MISC); // M
static struct list lock_waiters = LIST_INIT(lock_waiters);                  // [M]

static bool kinds_meet(enum lock_kind a, enum lock_kind b)
{
    return (a == LOCK_WHOLE) == (b == LOCK_WHOLE);
}

static bool is_own(const struct filelock *a, const struct filelock *b)
{
    return kinds_meet(a->kind, b->kind) && a->owner == b->owner;
}

static struct filelock *conflict_find(struct inode_locks *il, const struct filelock *want)
{
    struct filelock *l;
    list_for_each_entry (l, &il->held, link) {
        if (kinds_meet(l->kind, want->kind) && l->owner != want->owner &&
            (l->write || want->write) && l->start <= want->end && want->start <= l->end) {
            return l;
        }
    }
    return NULL;
}

// Cut [start, end] out of l, which overlaps it; spare: for a second piece, NULL again if used.
static void lock_cut(struct filelock *l, u64 start, u64 end, struct filelock **spare,
                     struct list *dead)
{
    bool left = l->start<start, right = l->end> end;
    if (left && right) {
        struct filelock *r = *spare;
        *spare = NULL;
        *r = *l;
        r->start = end + 1;
        list_add_head(&l->link, &r->link);
    }
    if (left) {
        l->end = start - 1;
    } else if (right) {
        l->start = end + 1;
    } else {
        list_del(&l->link);
        list_add_tail(dead, &l->link);
    }
}

// Make the owner's locks in the range what `want` says; unlock: none. Two spares are there.
static void lock_apply(struct inode_locks *il, struct filelock *want, bool unlock,
                       struct filelock *spare[2], struct list *dead)
{
    struct filelock *l, *tmp;
    list_for_each_entry_safe (l, tmp, &il->held, link) {
        bool overlaps = l->start <= want->end && want->start <= l->end;
        bool touches = overlaps || (l->end != OFFSET_MAX && l->end + 1 == want->start) ||
                       (want->end != OFFSET_MAX && want->end + 1 == l->start);
        if (!is_own(l, want)) {
            continue;
        }
        if (!unlock && touches && l->write == want->write) {
            want->start = min(want->start, l->start);
            want->end = max(want->end, l->end);
            list_del(&l->link);
            list_add_tail(dead, &l->link);
        } else if (overlaps) {
            lock_cut(l, want->start, want->end, &spare[1], dead);
        }
    }
    if (!unlock) {
        *spare[0] = *want;
        list_add_tail(&il->held, &spare[0]->link);
        spare[0] = NULL;
    }
}

static void dead_free(struct list *dead)
{
    struct filelock *l, *tmp;
    list_for_each_entry_safe (l, tmp, dead, link) {
        list_del(&l->link);
        kfree(l);
    }
}

static void locks_changed(struct inode_locks *il)
{
    fetch_add_seq(&il->gone, 1); // pairs with the look of who is about to wait
    waitq_wake_all(&il->waitq);
}

static struct inode_locks *inode_locks_get(struct inode *i)
{
    struct inode_locks *il = load_acquire(&i->locks), *old = NULL; // pairs with the exchange
    if (il) {
        return il;
    }
    il = kzalloc(sizeof(*il), GFP_KERNEL);
    if (!il) {
        return NULL;
    }
    list_init(&il->held);
    waitq_init(&il->waitq);
    if (!atomic_compare_exchange_strong(&i->locks, &old, il)) { // release: pairs with the load
        kfree(il);
        il = old;
    }
    return il;
}

void inode_locks_free(struct inode *i)
{
    struct inode_locks *il = load_relaxed(&i->locks);
    if (il) {
        assert(list_empty(&il->held));
        kfree(il);
    }
}

// Would waiting for blocker close a circle? M held.
static bool deadlock_locked(const void *owner, const void *blocker)
{
    for (unsigned n = 0; n < CHAIN_MAX; n++) {
        struct lock_waiter *w;
        const void *next = NULL;
        if (blocker == owner) {
            return true;
        }
        list_for_each_entry (w, &lock_waiters, link) {
            if (w->owner == blocker) {
                next = w->blocker;
                break;
            }
        }
        if (!next) {
            return false;
        }
        blocker = next;
    }
    return false;
}

// Wait until something changed at the file. M is held, let go of and taken again.
static int lock_wait(struct inode_locks *il, const struct filelock *want,
                     const struct filelock *blocker)
{
    struct lock_waiter w = {.owner = want->owner, .blocker = blocker->owner};
    if (want->kind == LOCK_PROCESS && deadlock_locked(want->owner, blocker->owner)) {
        return -EDEADLK;
    }
    list_init(&w.link);
    if (want->kind == LOCK_PROCESS) {
        list_add_tail(&lock_waiters, &w.link);
    }
    unsigned gone = load_relaxed(&il->gone);
    mutex_unlock(&locks_mutex);
    int err = waitq_wait_signal(&il->waitq, load_seq(&il->gone) != gone);
    mutex_lock(&locks_mutex);
    list_del(&w.link);
    return err;
}

// Take or give up a lock. -EAGAIN, -EDEADLK, -EINTR, -ENOLCK.
static int lock_set(struct inode *i, struct filelock *want, bool unlock, bool wait)
{
    struct inode_locks *il = inode_locks_get(i);
    struct filelock *spare[2] = {kmalloc(sizeof(*want), GFP_KERNEL),
                                 kmalloc(sizeof(*want), GFP_KERNEL)};
    struct filelock *blocker;
    struct list dead;
    int err = il && spare[0] && spare[1] ? 0 : -ENOLCK;
    list_init(&dead);
    if (err) {
        goto out;
    }
    mutex_lock(&locks_mutex);
    if (want->kind == LOCK_WHOLE && !unlock) { // flock gives up the old one before it waits
        struct filelock *l, *tmp;
        list_for_each_entry_safe (l, tmp, &il->held, link) {
            if (is_own(l, want) && l->write != want->write) {
                list_del(&l->link);
                list_add_tail(&dead, &l->link);
                locks_changed(il);
            }
        }
    }
    while (!err && !unlock && (blocker = conflict_find(il, want)) != NULL) {
        err = wait ? lock_wait(il, want, blocker) : -EAGAIN;
    }
    if (!err) {
        lock_apply(il, want, unlock, spare, &dead);
        locks_changed(il);
    }
    mutex_unlock(&locks_mutex);
out:
    dead_free(&dead);
    kfree(spare[0]);
    kfree(spare[1]);
    return err;
}

// All locks of an owner; record: process locks, else those of an open file.
static void locks_drop(struct inode *i, const void *owner, bool process)
{
    struct inode_locks *il = load_acquire(&i->locks); // pairs with inode_locks_get
    struct filelock *l, *tmp;
    struct list dead;
    if (!il) {
        return;
    }
    list_init(&dead);
    mutex_lock(&locks_mutex);
    list_for_each_entry_safe (l, tmp, &il->held, link) {
        if (l->owner == owner && (l->kind == LOCK_PROCESS) == process) {
            list_del(&l->link);
            list_add_tail(&dead, &l->link);
        }
    }
    if (!list_empty(&dead)) {
        locks_changed(il);
    }
    mutex_unlock(&locks_mutex);
    dead_free(&dead);
}

void locks_file_gone(struct file *f)
{
    locks_drop(f->inode, f, false);
}

void locks_fd_closed(struct files *t, struct file *f)
{
    locks_drop(f->inode, t, true);
}

// ---- The calls ----------------------------------------------------------------------------------

s64 sys_flock(const u64 *a)
{
    int op = (int)a[1], what = op & ~LOCK_NB;
    if (what != LOCK_SH && what != LOCK_EX && what != LOCK_UN) {
        return -EINVAL;
    }
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    struct filelock want = {.owner = f,
                            .kind = LOCK_WHOLE,
                            .write = what == LOCK_EX,
                            .pid = current_process()->pid,
                            .end = OFFSET_MAX};
    int err = lock_set(f->inode, &want, what == LOCK_UN, !(op & LOCK_NB));
    file_put(f);
    return err;
}

// The range of a struct flock, from where the file is now.
static int lock_range(struct file *f, const struct uapi_flock *u, struct filelock *l)
{
    s64 base, start, end;
    switch (u->whence) {
    case SEEK_SET:
        base = 0;
        break;
    case SEEK_CUR:
        mutex_lock(&f->pos_lock);
        base = (s64)f->pos;
        mutex_unlock(&f->pos_lock);
        break;
    case SEEK_END:
        base = (s64)load_relaxed(&f->inode->mapping.size_bytes);
        break;
    default:
        return -EINVAL;
    }
    if (__builtin_add_overflow(base, u->start, &start)) {
        return -EOVERFLOW;
    }
    if (start < 0) {
        return -EINVAL;
    }
    end = INT64_MAX;
    if (u->len > 0 && __builtin_add_overflow(start, u->len - 1, &end)) {
        return -EOVERFLOW;
    }
    if (u->len < 0) { // the bytes before start
        end = start - 1;
        start += u->len;
        if (start < 0) {
            return -EINVAL;
        }
    }
    l->start = (u64)start;
    l->end = (u64)end;
    return 0;
}

static int lock_from_user(struct file *f, const struct uapi_flock *u, bool ofd, struct filelock *l)
{
    if (u->type < F_RDLCK || u->type > F_UNLCK || (ofd && u->pid)) {
        return -EINVAL;
    }
    *l = (struct filelock){.owner = ofd ? (const void *)f : current_process()->files,
                           .kind = ofd ? LOCK_OFD : LOCK_PROCESS,
                           .write = u->type == F_WRLCK,
                           .pid = ofd ? -1 : current_process()->pid};
    return lock_range(f, u, l);
}

static int lock_get(struct file *f, struct uapi_flock *u, bool ofd)
{
    struct filelock want, *l = NULL;
    int err = u->type == F_UNLCK && !ofd ? -EINVAL : lock_from_user(f, u, ofd, &want);
    if (err) {
        return err;
    }
    struct inode_locks *il = load_acquire(&f->inode->locks); // pairs with inode_locks_get
    mutex_lock(&locks_mutex);
    l = il ? conflict_find(il, &want) : NULL;
    u->type = F_UNLCK;
    if (l) {
        *u = (struct uapi_flock){.type = l->write ? F_WRLCK : F_RDLCK,
                                 .whence = SEEK_SET,
                                 .start = (s64)l->start,
                                 .len = l->end == OFFSET_MAX ? 0 : (s64)(l->end - l->start + 1),
                                 .pid = l->pid};
    }
    mutex_unlock(&locks_mutex);
    return 0;
}

static bool lock_mode_ok(struct file *f, int type)
{
    unsigned mode = load_relaxed(&f->flags) & O_ACCMODE;
    return type == F_UNLCK || mode == O_RDWR || mode == (type == F_WRLCK ? O_WRONLY : O_RDONLY);
}

s64 file_fcntl_lock(struct file *f, int fd, unsigned cmd, u64 user)
{
    bool ofd = cmd >= F_OFD_GETLK, wait = cmd == F_SETLKW || cmd == F_OFD_SETLKW;
    struct filelock want;
    struct uapi_flock u;
    if (arch_copy_from_user(&u, (const void *)user, sizeof(u))) {
        return -EFAULT;
    }
    if (cmd == F_GETLK || cmd == F_OFD_GETLK) {
        int err = lock_get(f, &u, ofd);
        return err ? err : arch_copy_to_user((void *)user, &u, sizeof(u)) ? -EFAULT : 0;
    }
    int err = lock_from_user(f, &u, ofd, &want);
    if (err) {
        return err;
    }
    if (!lock_mode_ok(f, u.type)) {
        return -EBADF;
    }
    err = lock_set(f->inode, &want, u.type == F_UNLCK, wait);
    if (!err && !ofd && u.type != F_UNLCK) {
        // Closed meanwhile by another thread: its release may have come before the lock.
        struct file *now = fd_get(fd);
        if (now != f) {
            locks_fd_closed(current_process()->files, f);
            err = -EBADF;
        }
        if (now) {
            file_put(now);
        }
    }
    return err;
}
