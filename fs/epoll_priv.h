// What the files of epoll share: the sets (fs/epoll.c, which tells the theory) and what they may
// look like when they watch each other (fs/epoll_graph.c).
#ifndef EPOLL_PRIV_H
#define EPOLL_PRIV_H

#include <arch/abi.h>
#include <k/list.h>
#include <k/lock.h>
#include <sched.h>
#include "fs_priv.h"

struct epoll_event {
    u32 events;
    u64 data;
} ARCH_EPOLL_PACKED;

struct epoll {
    atomic_int ref;             // the open file, and epoll_file_gone's
    struct mutex lock;          // RANK_EPOLL
    struct list *buckets;       // [lock] items by file and descriptor
    unsigned nr_buckets;        // [lock] a power of two
    unsigned nr_items;          // [lock]
    struct file *file;          // [I] not counted: itself
    u64 seen;                   // [graph_lock] the last look downwards that came by
    struct spinlock ready_lock; // RANK_EPOLL_WAIT
    struct list ready;          // [ready_lock]
    struct waitq wait;          // epoll_wait
    struct waitq poll_wait;     // who polls this epoll
};

struct item_watch {
    struct watcher watcher;
    struct epitem *item;
    struct waitq *q; // NULL: not used
};

struct epitem {
    struct list hash_link;  // [ep->lock]
    struct epoll *ep;       // [I]
    struct file *file;      // [I] not counted; see above
    int fd;                 // [I]
    struct epitem *next;    // [links_lock] of the same file: file->watched and on
    struct epitem *prev;    // [links_lock] NULL: file->watched is this one
    atomic_uint events;     // [a] wanted; written under ep->lock
    u64 data;               // [ep->lock]
    bool queued;            // [ready_lock] on the ready list, or on its way through epoll_collect
    struct list ready_link; // [ready_lock]
    unsigned nr_watches;    // [ep->lock]
    struct item_watch watch[QUEUES_PER_FILE];
};

extern struct spinlock epoll_links_lock;
extern const struct file_ops epoll_fops;

static inline bool is_epoll(const struct file *f)
{
    return f->ops == &epoll_fops;
}

// ---- epoll_graph.c

// Around the adding of an item that must not meet another one.
void epoll_graph_lock(void);
void epoll_graph_unlock(void);
// Before ep begins to watch inner; graph locked. -ELOOP: inner watches ep already, if not directly.
int epoll_circle_check(struct epoll *ep, struct epoll *inner);
// The item is in its epoll, whose lock is held, and with its file, but not told of anything yet.
// May it stay? -ELOOP, -EINVAL: no; -EAGAIN: come again with the graph locked.
int epoll_ways_check(struct epitem *it, bool graph_locked);

#endif
