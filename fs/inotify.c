// inotify: the instances that programs watch files with. See inotify(7); fs/notify.c has the
// watches themselves.
//
// An instance is a queue of events in the order they came. An event that equals the last one in
// the queue is dropped, as in inotify(7). A queue that is full, or an event there was no memory
// for, shows as one IN_Q_OVERFLOW, which is made with the instance. It may be queued again from the
// moment on when it is taken from the queue: what is lost after that the reader does not know yet.
#include <arch/uaccess.h>
#include <k/explore.h>
#include <k/string.h>
#include <proc.h>
#include <syscalls.h>
#include "notify_priv.h"

#define IN_ONLYDIR     0x01000000u
#define IN_DONT_FOLLOW 0x02000000u
#define IN_MASK_CREATE 0x10000000u
#define IN_MASK_ADD    0x20000000u
#define IN_KNOWN                                                                                   \
    (IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW |       \
     IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ISDIR | IN_ONESHOT)

#define RELEASE_BATCH 64 // watches taken away at a time

struct uapi_inotify_event {
    s32 wd;
    u32 mask, cookie, len;
    char name[align_up(NAME_MAX_LEN + 1, 16)];
};

static atomic_uint nr_groups;

// The first event if it fits: NULL and *too_small, or NULL: none.
static struct event *event_take(struct watcher_group *g, size_t room, bool *too_small)
{
    spin_lock(&notify_lock);
    struct event *e = list_first(&g->events, struct event, link);
    *too_small = e && event_bytes(e) > room;
    if (e && !*too_small) {
        list_del(&e->link);
        g->nr_events--;
        g->bytes -= event_bytes(e);
        g->overflow = e->mask & IN_Q_OVERFLOW ? e : g->overflow;
    } else {
        e = NULL;
    }
    spin_unlock(&notify_lock);
    return e;
}

static int event_give(struct event *e, void *to)
{
    struct uapi_inotify_event u = {.wd = e->wd, .mask = e->mask, .cookie = e->cookie};
    size_t n = event_bytes(e);
    u.len = (u32)(n - offsetof(struct uapi_inotify_event, name));
    memcpy(u.name, e->name, e->len);
    if (!(e->mask & IN_Q_OVERFLOW)) { // that one is the instance's, and never changes
        kfree(e);
    }
    return arch_copy_to_user(to, &u, n) ? -EFAULT : 0;
}

static bool group_has_events(struct watcher_group *g)
{
    spin_lock(&notify_lock);
    bool has = !list_empty(&g->events);
    spin_unlock(&notify_lock);
    return has;
}

static ssize_t inotify_read(struct file *f, void *buf, size_t n, u64 *pos)
{
    struct watcher_group *g = f->private;
    size_t done = 0;
    (void)pos;
    for (;;) {
        bool too_small;
        struct event *e = event_take(g, n - done, &too_small);
        if (e) {
            yield_point("inotify: an event is taken");
            size_t size = event_bytes(e);
            if (event_give(e, (char *)buf + done)) {
                return -EFAULT;
            }
            done += size;
            cond_resched();
            continue;
        }
        if (done || too_small) {
            return done ? (ssize_t)done : -EINVAL;
        }
        if (load_relaxed(&f->flags) & O_NONBLOCK) {
            return -EAGAIN;
        }
        int err = waitq_wait_signal(&g->wait, group_has_events(g));
        if (err) {
            return err;
        }
    }
}

static unsigned inotify_poll(struct file *f, struct pollq *pt)
{
    struct watcher_group *g = f->private;
    if (pt) {
        poll_wait(pt, &g->wait);
    }
    return group_has_events(g) ? POLLIN | POLLRDNORM : 0;
}

static s64 inotify_ioctl(struct file *f, unsigned cmd, u64 arg)
{
    struct watcher_group *g = f->private;
    if (cmd != FIONREAD) {
        return -ENOTTY;
    }
    spin_lock(&notify_lock);
    s32 n = (s32)g->bytes;
    spin_unlock(&notify_lock);
    return arch_copy_to_user((void *)arg, &n, sizeof(n)) ? -EFAULT : 0;
}

static void group_free(void *group)
{
    struct watcher_group *g = group;
    kfree(g->overflow);
    kfree(g);
    fetch_add_relaxed(&nr_groups, (unsigned)-1);
}

// Take some of the watches away; false: there are none left. An instance may have all there may be,
// and the lock is everybody's.
static bool release_some(struct list *bucket)
{
    struct notify_dead dead;
    struct mark *m = NULL;
    notify_dead_init(&dead);
    spin_lock(&notify_lock);
    for (int i = 0; i < RELEASE_BATCH && (m = list_first(bucket, struct mark, group_link)); i++) {
        mark_remove_locked(m, false, &dead);
    }
    spin_unlock(&notify_lock);
    notify_dead_free(&dead);
    cond_resched();
    return m != NULL;
}

static void inotify_release(struct file *f)
{
    struct watcher_group *g = f->private;
    struct notify_dead dead;
    for (unsigned i = 0; i < GROUP_BUCKETS; i++) {
        while (release_some(&g->marks[i])) {
        }
    }
    notify_dead_init(&dead);
    list_splice_tail(&dead.events, &g->events); // nobody queues any more
    notify_dead_free(&dead);
    group_free(g);
}

static const struct file_ops inotify_fops = {
    .read = inotify_read,
    .poll = inotify_poll,
    .ioctl = inotify_ioctl,
    .release = inotify_release,
};

static struct watcher_group *group_new(void)
{
    struct watcher_group *g = kzalloc(sizeof(*g), GFP_KERNEL);
    if (!g) {
        return NULL;
    }
    fetch_add_relaxed(&nr_groups, 1);
    waitq_init(&g->wait);
    list_init(&g->events);
    for (unsigned i = 0; i < GROUP_BUCKETS; i++) {
        list_init(&g->marks[i]);
    }
    g->overflow = event_new(IN_Q_OVERFLOW, 0, NULL);
    if (!g->overflow) {
        group_free(g);
        return NULL;
    }
    g->overflow->wd = -1;
    return g;
}

static s64 do_inotify_init(u32 flags)
{
    if (flags & ~(u32)(O_CLOEXEC | O_NONBLOCK)) {
        return -EINVAL;
    }
    if (load_relaxed(&nr_groups) >= load_relaxed(&notify_max_groups)) {
        return -EMFILE;
    }
    struct watcher_group *g = group_new();
    if (!g) {
        return -ENOMEM;
    }
    return anon_fd_open("anon_inode:inotify", &inotify_fops, O_RDONLY | flags, g, group_free);
}

s64 sys_inotify_init(const u64 *a)
{
    (void)a;
    return do_inotify_init(0);
}

s64 sys_inotify_init1(const u64 *a)
{
    return do_inotify_init((u32)a[0]);
}

static s64 watch_path(struct watcher_group *g, u64 path, u32 mask)
{
    struct inode *i;
    s64 r = lookup_at(AT_FDCWD, path, mask & IN_DONT_FOLLOW ? 0 : LOOKUP_FOLLOW, &i);
    if (!r && (r = inode_permission(i, MAY_READ))) {
        inode_put(i);
    }
    if (r) {
        return r;
    }
    if ((mask & IN_ONLYDIR) && !S_ISDIR(i->mode)) {
        r = -ENOTDIR;
    } else {
        r = notify_watch(g, i, mask & (IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT),
                         mask & IN_MASK_ADD, mask & IN_MASK_CREATE);
    }
    inode_put(i);
    return r;
}

s64 sys_inotify_add_watch(const u64 *a)
{
    u32 mask = (u32)a[2];
    if (!(mask & IN_KNOWN) || (mask & ~IN_KNOWN)) {
        return -EINVAL;
    }
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    bool both = (mask & IN_MASK_ADD) && (mask & IN_MASK_CREATE);
    s64 r = both || f->ops != &inotify_fops ? -EINVAL : watch_path(f->private, a[1], mask);
    file_put(f);
    return r;
}

static s64 watch_remove(struct watcher_group *g, s32 wd)
{
    struct notify_dead dead;
    s64 r = -EINVAL;
    struct mark *m;
    notify_dead_init(&dead);
    spin_lock(&notify_lock);
    list_for_each_entry (m, group_bucket(g, wd), group_link) {
        if (m->wd == wd) {
            mark_remove_locked(m, true, &dead);
            r = 0;
            break;
        }
    }
    spin_unlock(&notify_lock);
    notify_dead_free(&dead);
    return r;
}

s64 sys_inotify_rm_watch(const u64 *a)
{
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    s64 r = f->ops == &inotify_fops ? watch_remove(f->private, (s32)a[1]) : -EINVAL;
    file_put(f);
    return r;
}
