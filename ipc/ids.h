// System V IPC: what the three kinds of objects share, a table of them by key and by number.
//
// A number is the slot in the table and, above it, 16 bits of a sequence number: the number of an
// object that is gone is not soon another's, but after 65,536 it may be. Who lets go of the lock
// and comes back by number looks at the sequence number, which is nobody else's. One mutex guards a
// table and the struct ipc_obj part of all that is in it. What the kinds do alike is done here, for
// what differs there is struct ipc_kind.
#ifndef IPC_IDS_H
#define IPC_IDS_H

#include <k/errno.h>
#include <k/lock.h>
#include <k/types.h>
#include <uapi/ipc.h>

#define IPC_SLOT_BITS 15
#define IPC_SLOT_MASK ((1u << IPC_SLOT_BITS) - 1)
#define IPC_DS_MAX    128 // bytes; of any kind's ds

struct ipc_obj {
    s32 key; // [table] IPC_PRIVATE: found by number only
    s32 id;  // [I] once added
    u32 uid, gid, cuid, cgid;
    u32 mode; // [table] permissions
    u64 seq;  // [I] once added: of all that were ever added
};

// What a kind does its own way, always under the lock of its table. ds is the struct that IPC_STAT
// gives and IPC_SET takes; a struct uapi_ipc_perm is its first member.
struct ipc_kind {
    size_t ds_size;
    const char *heading;                         // of its text in /proc/sysvipc
    s64 (*create)(s32 key, u64 size, u32 flags); // the number or errno
    bool (*fits)(struct ipc_obj *o, u64 size);   // is it as large as xxxget asks? NULL: always
    bool (*sweep)(struct ipc_obj *o);            // true: it has ended, and is gone now; NULL: never
    void (*stat)(struct ipc_obj *o, void *ds);   // the permissions are there already
    int (*change)(struct ipc_obj *o, int cmd, const void *ds); // IPC_SET: they follow
    int (*line)(struct ipc_obj *o, char *buf, size_t size);    // as snprintf
};

struct ipc_table {
    struct mutex lock;
    const struct ipc_kind *kind; // [I]
    unsigned max;                // [I] objects there may be
    struct ipc_obj **slot;       // [lock]
    unsigned size, used;         // [lock] slots there are; objects
    u64 seq;                     // [lock] the next one's
};

#define IPC_TABLE_INIT(name, max_, kind_)                                                          \
    {                                                                                              \
        .lock = MUTEX_INIT((name).lock, RANK_IPC), .kind = (kind_), .max = (max_)                  \
    }

s64 ipc_now_s(void); // for the times that objects keep

// All of them: under t->lock.
void ipc_obj_init(struct ipc_obj *o, s32 key, u32 mode); // the current process made it
int ipc_add(struct ipc_table *t, struct ipc_obj *o);     // -ENOSPC, -ENOMEM
void ipc_remove(struct ipc_table *t, struct ipc_obj *o); // its number is nobody's
struct ipc_obj *ipc_find_key(struct ipc_table *t, s32 key);
// -EINVAL: no such object, or no more (-EIDRM is for who was at it when it went: semop(2)).
int ipc_find(struct ipc_table *t, s32 id, struct ipc_obj **out);
// The object in the first slot from *slot on, which becomes its slot; NULL: no more.
struct ipc_obj *ipc_next(struct ipc_table *t, unsigned *slot);
// May the current process read (0444), alter (0222), run (0111) it? -EACCES. sysvipc(7),
// "Resource access permissions".
int ipc_permission(const struct ipc_obj *o, u32 want);
s32 ipc_highest(struct ipc_table *t); // the highest slot in use, 0: none
// By number, or (by_slot) by slot, as the kin of IPC_STAT have it; what has ended is not found.
int ipc_find_any(struct ipc_table *t, s32 id, bool by_slot, struct ipc_obj **out);

// These take the lock.
s64 ipc_get(struct ipc_table *t, s32 key, u64 size, u32 flags); // msgget(2) and its kin
// IPC_STAT; xxx_STAT goes by slot, xxx_STAT_ANY is for all.
#define IPC_BY_SLOT 1u
#define IPC_FOR_ALL 2u
s64 ipc_stat(struct ipc_table *t, s32 id, unsigned how, void *user);
int ipc_change(struct ipc_table *t, s32 id, int cmd, const void *user); // IPC_SET, IPC_RMID, others
// A piece of /proc/sysvipc. *pos: 0, or the slot to go on at and 1; ~0: that was all.
size_t ipc_text(struct ipc_table *t, u64 *pos, char *buf, size_t size);

#endif
