// System V IPC: tables of objects, and what the calls of all kinds do alike. See ids.h.
#include <arch/uaccess.h>
#include <k/printk.h>
#include <k/string.h>
#include <proc.h>
#include <sched.h>
#include <slab.h>
#include "ids.h"

void ipc_obj_init(struct ipc_obj *o, s32 key, u32 mode)
{
    struct process *p = current_process();
    o->key = key;
    o->mode = mode & 0777;
    spin_lock(&p->lock);
    o->uid = o->cuid = p->cred.euid;
    o->gid = o->cgid = p->cred.egid;
    spin_unlock(&p->lock);
}

static bool asker_owns(const struct ipc_obj *o, const struct creds *c)
{
    return c->euid == o->uid || c->euid == o->cuid;
}

static bool asker_in_group(const struct creds *c, u32 gid)
{
    return c->fsgid == gid || current_in_group(gid);
}

int ipc_permission(const struct ipc_obj *o, u32 want)
{
    struct creds c = creds_now();
    u32 bits = o->mode;
    want = (want >> 6 | want >> 3 | want) & 7;
    if (asker_owns(o, &c)) {
        bits >>= 6;
    } else if (asker_in_group(&c, o->gid) || asker_in_group(&c, o->cgid)) {
        bits >>= 3;
    }
    return !(want & ~bits) || current_has_cap(CAP_IPC_OWNER) ? 0 : -EACCES;
}

// IPC_SET and IPC_RMID are the owner's and the maker's, and so is SHM_LOCK.
static int change_permission(const struct ipc_obj *o, int cmd)
{
    struct creds c = creds_now();
    bool ordinary = cmd == IPC_SET || cmd == IPC_RMID;
    bool may = asker_owns(o, &c) || current_has_cap(ordinary ? CAP_SYS_ADMIN : CAP_IPC_LOCK);
    return may ? 0 : -EPERM;
}

static int table_grow(struct ipc_table *t)
{
    unsigned size = min(t->size ? 2 * t->size : 16, t->max);
    struct ipc_obj **slot = kzalloc(size * sizeof(struct ipc_obj *), GFP_KERNEL);
    if (!slot) {
        return -ENOMEM;
    }
    if (t->slot) {
        memcpy(slot, t->slot, t->size * sizeof(struct ipc_obj *));
    }
    kfree(t->slot);
    t->slot = slot;
    t->size = size;
    return 0;
}

int ipc_add(struct ipc_table *t, struct ipc_obj *o)
{
    unsigned n = 0;
    if (t->used >= t->max) {
        return -ENOSPC;
    }
    int err = t->used == t->size ? table_grow(t) : 0;
    if (err) {
        return err;
    }
    while (t->slot[n]) {
        n++;
    }
    o->seq = t->seq++;
    o->id = (s32)((u32)(u16)o->seq << IPC_SLOT_BITS | n);
    t->slot[n] = o;
    t->used++;
    return 0;
}

void ipc_remove(struct ipc_table *t, struct ipc_obj *o)
{
    t->slot[(u32)o->id & IPC_SLOT_MASK] = NULL;
    if (--t->used == 0) { // leave no memory behind
        kfree(t->slot);
        t->slot = NULL;
        t->size = 0;
    }
}

struct ipc_obj *ipc_next(struct ipc_table *t, unsigned *slot)
{
    for (; *slot < t->size; ++*slot) {
        if (t->slot[*slot]) {
            return t->slot[*slot];
        }
    }
    return NULL;
}

struct ipc_obj *ipc_find_key(struct ipc_table *t, s32 key)
{
    struct ipc_obj *o;
    for (unsigned n = 0; (o = ipc_next(t, &n)); n++) {
        if (o->key == key) {
            return o;
        }
    }
    return NULL;
}

int ipc_find(struct ipc_table *t, s32 id, struct ipc_obj **out)
{
    unsigned n = (u32)id & IPC_SLOT_MASK;
    if (id < 0 || n >= t->size || !t->slot[n]) {
        return -EINVAL;
    }
    *out = t->slot[n];
    return (*out)->id == id ? 0 : -EINVAL;
}

int ipc_find_any(struct ipc_table *t, s32 id, bool by_slot, struct ipc_obj **out)
{
    int err = 0;
    if (!by_slot) {
        err = ipc_find(t, id, out);
    } else if (id < 0 || (u32)id >= t->size || !t->slot[id]) {
        err = -EINVAL;
    } else {
        *out = t->slot[id];
    }
    return !err && t->kind->sweep && t->kind->sweep(*out) ? -EINVAL : err;
}

s32 ipc_highest(struct ipc_table *t)
{
    s32 highest = 0;
    for (unsigned n = 0; ipc_next(t, &n); n++) {
        highest = (s32)n;
    }
    return highest;
}

s64 ipc_now_s(void)
{
    return (s64)(wall_ns() / 1000000000u);
}

// ---- What the calls of all kinds have in common -------------------------------------------------

s64 ipc_get(struct ipc_table *t, s32 key, u64 size, u32 flags)
{
    s64 r;
    mutex_lock(&t->lock);
    struct ipc_obj *o = key == IPC_PRIVATE ? NULL : ipc_find_key(t, key);
    if (o && (flags & IPC_CREAT) && (flags & IPC_EXCL)) {
        r = -EEXIST;
    } else if (o) {
        r = t->kind->fits && !t->kind->fits(o, size) ? -EINVAL : ipc_permission(o, flags);
        r = r ? r : o->id;
    } else if (key != IPC_PRIVATE && !(flags & IPC_CREAT)) {
        r = -ENOENT;
    } else {
        r = t->kind->create(key, size, flags);
    }
    mutex_unlock(&t->lock);
    return r;
}

// Room for any kind's ds.
union ipc_ds {
    struct uapi_ipc_perm perm;
    u64 words[IPC_DS_MAX / sizeof(u64)];
};

static void perm_out(const struct ipc_obj *o, struct uapi_ipc_perm *p)
{
    *p = (struct uapi_ipc_perm){.key = o->key,
                                .uid = o->uid,
                                .gid = o->gid,
                                .cuid = o->cuid,
                                .cgid = o->cgid,
                                .mode = o->mode,
                                .seq = (u16)o->seq};
}

s64 ipc_stat(struct ipc_table *t, s32 id, unsigned how, void *user)
{
    union ipc_ds ds = {.words = {0}};
    struct ipc_obj *o;
    mutex_lock(&t->lock);
    bool by_slot = how & IPC_BY_SLOT;
    s64 r = ipc_find_any(t, id, by_slot, &o);
    if (!r && !(how & IPC_FOR_ALL)) {
        r = ipc_permission(o, 0444);
    }
    if (!r) {
        perm_out(o, &ds.perm);
        t->kind->stat(o, &ds);
        r = by_slot ? o->id : 0;
    }
    mutex_unlock(&t->lock);
    return r >= 0 && arch_copy_to_user(user, &ds, t->kind->ds_size) ? -EFAULT : r;
}

int ipc_change(struct ipc_table *t, s32 id, int cmd, const void *user)
{
    union ipc_ds ds;
    struct ipc_obj *o;
    if (cmd == IPC_SET && arch_copy_from_user(&ds, user, t->kind->ds_size)) {
        return -EFAULT;
    }
    mutex_lock(&t->lock);
    int err = ipc_find_any(t, id, false, &o);
    err = err ? err : change_permission(o, cmd);
    if (!err && cmd == IPC_SET && (ds.perm.uid == ~0u || ds.perm.gid == ~0u)) {
        err = -EINVAL; // nobody's numbers
    }
    if (!err) {
        err = t->kind->change(o, cmd, &ds); // IPC_RMID: o may be freed
    }
    if (!err && cmd == IPC_SET) {
        o->uid = ds.perm.uid;
        o->gid = ds.perm.gid;
        o->mode = (o->mode & ~0777u) | (ds.perm.mode & 0777);
    }
    mutex_unlock(&t->lock);
    return err;
}

size_t ipc_text(struct ipc_table *t, u64 *pos, char *buf, size_t size)
{
    size_t used = 0;
    struct ipc_obj *o;
    if (*pos == 0) {
        used = (size_t)snprintf(buf, size, "%s", t->kind->heading);
        *pos = 1;
    }
    unsigned n = (unsigned)*pos - 1;
    mutex_lock(&t->lock);
    for (; (o = ipc_next(t, &n)); n++) {
        if (t->kind->sweep && t->kind->sweep(o)) {
            continue;
        }
        int some = t->kind->line(o, buf + used, size - used);
        if (some < 0 || (size_t)some >= size - used) {
            break;
        }
        used += (size_t)some;
    }
    *pos = o ? n + 1 : ~0ull;
    mutex_unlock(&t->lock);
    return used;
}
