// System V IPC: tables of objects. See ids.h.
#include <k/string.h>
#include <proc.h>
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
    o->seq = t->seq++ & 0xffff;
    o->id = (s32)(o->seq << IPC_SLOT_BITS | n);
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
    if (!by_slot) {
        return ipc_find(t, id, out);
    }
    if (id < 0 || (u32)id >= t->size || !t->slot[id]) {
        return -EINVAL;
    }
    *out = t->slot[id];
    return 0;
}

s32 ipc_highest(struct ipc_table *t)
{
    s32 highest = 0;
    for (unsigned n = 0; ipc_next(t, &n); n++) {
        highest = (s32)n;
    }
    return highest;
}

void ipc_perm_out(const struct ipc_obj *o, struct uapi_ipc_perm *p)
{
    *p = (struct uapi_ipc_perm){.key = o->key,
                                .uid = o->uid,
                                .gid = o->gid,
                                .cuid = o->cuid,
                                .cgid = o->cgid,
                                .mode = o->mode,
                                .seq = (u16)o->seq};
}

void ipc_perm_set(struct ipc_obj *o, const struct uapi_ipc_perm *p)
{
    o->uid = p->uid;
    o->gid = p->gid;
    o->mode = (o->mode & ~0777u) | (p->mode & 0777);
}
