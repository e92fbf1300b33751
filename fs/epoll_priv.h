// What the files of epoll share: the sets (fs/epoll.c, which tells the theory), the calls
// (fs/sys_epoll.c), and what sets may look like that watch each other (fs/epoll_graph.c).
#ifndef EPOLL_PRIV_H
#define EPOLL_PRIV_H

#include <arch/abi.h>
#include <k/list.h>
#include <k/lock.h>
#include <sched.h>
#include "fs_priv.h"

#define EPOLL_CTL_ADD 1
#define EPOLL_CTL_DEL 2
#define EPOLL_CTL_MOD 3

#define EPOLLEXCLUSIVE (1u << 28)
#define EPOLLWAKEUP    (1u << 29)
#define EPOLLONESHOT   (1u << 30)
#define EPOLLET        (1u << 31)
#define EPOLL_ALWAYS   (POLLERR | POLLHUP)

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

// ---- epoll.c

struct epoll *epoll_new(void); // with one reference; NULL: no memory
void epoll_put(struct epoll *ep);
// epoll_ctl(2), the arguments checked. -EEXIST, -ENOENT, -ENOMEM, -ENOSPC, -ELOOP, -EINVAL. Sleeps.
int epoll_change(struct epoll *ep, int op, struct file *f, int fd, const struct epoll_event *ev);
bool epoll_has_ready(struct epoll *ep); // something was woken for it; maybe it has nothing now
// What is ready, into user memory; number of events or -EFAULT. Sleeps.
s64 epoll_collect(struct epoll *ep, u64 user, unsigned max_events);

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
