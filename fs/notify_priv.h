// Watches of inodes and the events they queue: fs/notify.c tells the theory, fs/inotify.c has the
// calls.
#ifndef NOTIFY_PRIV_H
#define NOTIFY_PRIV_H

#include <k/list.h>
#include <sched.h>
#include "fs_priv.h"

#define IN_UNMOUNT     0x2000u
#define IN_Q_OVERFLOW  0x4000u
#define IN_IGNORED     0x8000u
#define IN_EXCL_UNLINK 0x04000000u
#define IN_ISDIR       0x40000000u
#define IN_ONESHOT     0x80000000u
#define IN_ALL_EVENTS  0xfffu

// Something that happened, queued for a reader.
struct event {
    struct list link; // [notify_lock]
    s32 wd;
    u32 mask, cookie;
    u32 len; // of the name, without a NUL
    char name[];
};

#define GROUP_BUCKETS 256u // an instance may have all watches there may be: inotify_rm_watch

// An inotify instance. N: notify_lock.
struct watcher_group {
    struct waitq wait;
    struct list events;               // [N]
    unsigned nr_events;               // [N]
    u64 bytes;                        // [N] what reading all of them would give
    struct event *overflow;           // [N] NULL: it is queued
    s32 last_wd;                      // [N]
    struct list marks[GROUP_BUCKETS]; // [N] mark.group_link, by wd
};

// A group watches an inode.
struct mark {
    struct list inode_link, group_link; // [N]
    struct watcher_group *group;        // [I]
    struct inode_marks *on;             // [I]
    s32 wd;                             // [I]
    u32 mask;                           // [N]
    struct event *gone, *ignored;       // [N] made with the mark, for where nothing can be made
};

// All marks of an inode; holds a reference to it.
struct inode_marks {
    struct inode *inode;  // [I]
    struct list marks;    // [N]
    struct list all_link; // [N] of all watched inodes
};

// What is to be freed when the lock is dropped.
struct notify_dead {
    struct list marks, events;
    struct list inodes; // inode_marks.all_link
};

extern struct spinlock notify_lock; // RANK_SPIN_MISC

static inline struct list *group_bucket(struct watcher_group *g, s32 wd)
{
    return &g->marks[(u32)wd % GROUP_BUCKETS];
}

void notify_dead_init(struct notify_dead *d);
void notify_dead_free(struct notify_dead *d); // no lock held; may sleep
// Bytes an event takes in a read.
size_t event_bytes(const struct event *e);
struct event *event_new(u32 mask, u32 cookie, const char *name); // may sleep; NULL: no memory
// Watch i, or change the watch there is: add to its mask instead of setting it, or refuse
// (-EEXIST). The watch's number, -ENOSPC, -ENOMEM.
s64 notify_watch(struct watcher_group *g, struct inode *i, u32 mask, bool add, bool create);
// Take a mark away; tell: IN_IGNORED is queued.
void mark_remove_locked(struct mark *m, bool tell, struct notify_dead *dead);

#endif
