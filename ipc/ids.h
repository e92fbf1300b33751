// System V IPC: what the three kinds of objects share, a table of them by key and by number.
//
// A number is the slot in the table and, above it, a sequence number: the number of an object that
// is gone is not soon another's. One mutex guards a table and the struct ipc_obj part of all that
// is in it.
#ifndef IPC_IDS_H
#define IPC_IDS_H

#include <k/errno.h>
#include <k/lock.h>
#include <k/types.h>
#include <uapi/ipc.h>

#define IPC_SLOT_BITS 15
#define IPC_SLOT_MASK ((1u << IPC_SLOT_BITS) - 1)

struct ipc_obj {
    s32 key; // [table] IPC_PRIVATE: found by number only
    s32 id;  // [I] once added
    u32 uid, gid, cuid, cgid;
    u32 mode; // [table] permissions
    u32 seq;  // [I]
};

struct ipc_table {
    struct mutex lock;
    unsigned max;          // [I] objects there may be
    struct ipc_obj **slot; // [lock]
    unsigned size, used;   // [lock] slots there are; objects
    u32 seq;               // [lock]
};

#define IPC_TABLE_INIT(name, max_)                                                                 \
    {                                                                                              \
        .lock = MUTEX_INIT((name).lock, RANK_IPC), .max = (max_)                                   \
    }

// All of them: under t->lock.
void ipc_obj_init(struct ipc_obj *o, s32 key, u32 mode); // the current process made it
int ipc_add(struct ipc_table *t, struct ipc_obj *o);     // -ENOSPC, -ENOMEM
void ipc_remove(struct ipc_table *t, struct ipc_obj *o); // its number is nobody's
struct ipc_obj *ipc_find_key(struct ipc_table *t, s32 key);
// -EINVAL: no such object, or no more (-EIDRM is for who was at it when it went: semop(2)).
int ipc_find(struct ipc_table *t, s32 id, struct ipc_obj **out);
// The object in the first slot from *slot on, which becomes its slot; NULL: no more.
struct ipc_obj *ipc_next(struct ipc_table *t, unsigned *slot);
s32 ipc_highest(struct ipc_table *t); // the highest slot in use, 0: none
// The object that IPC_STAT and its kin mean: by number, or (by_slot) by slot.
int ipc_find_any(struct ipc_table *t, s32 id, bool by_slot, struct ipc_obj **out);
void ipc_perm_out(const struct ipc_obj *o, struct uapi_ipc_perm *p);
void ipc_perm_set(struct ipc_obj *o, const struct uapi_ipc_perm *p); // IPC_SET

#endif
