// Watches: who wants to know what happens to an inode, and telling them. fs/inotify.c is how
// programs ask.
//
// What a path of a file pays when nobody watches is one load: inode->notify, two bits.
//
//     NOTIFY_SELF    the inode has marks
//     NOTIFY_CHILD   it is, or was, in a directory that has: the event is for that, too, with the
//                    name of the file in it
//
// NOTIFY_CHILD is set for all that is in a directory when the first mark comes, and for what is
// added to it later; it is only a reason to look. The name is looked for under vfs_lock: the place
// where the file was opened if it still is there, else any watched directory that has it. (A file
// with several names in watched directories is reported with one of them.) A file that was opened
// and has no name any more is reported with the one it was opened by, but to IN_EXCL_UNLINK.
//
// A mark does not keep a file from going. The marks of an inode hold one reference together; who
// drops the last other one of a file without a name finds that out under notify_lock:
//
//     inode_put, NOTIFY_SELF is set                 rm_watch, close of the instance
//     lock; ref - 1                                 lock; take the mark away
//     1 left, and it is the marks'?                 last one: NOTIFY_SELF is cleared
//     IN_DELETE_SELF, IN_IGNORED, no marks          unlock; inode_put of the marks' reference
//     unlock; free it
//
// inode_put that loaded NOTIFY_SELF too early drops its reference without the lock; then who set
// it, and holds one, comes after it.
//
// Nothing is allocated under notify_lock, a leaf that guards marks and queues of all: events are
// made before, as many as there are takers, and those of a going inode with the mark. Rejected: a
// lock per inode and per instance. Without a watch none is taken; with one, files are not hot.
#include <k/assert.h>
#include <k/string.h>
#include "notify_priv.h"

#define EVENT_HEADER 16u // struct inotify_event

struct spinlock notify_lock = SPINLOCK_INIT(RANK_SPIN_MISC);
atomic_uint notify_max_events = 16384, notify_max_groups = 128, notify_max_marks = 65536;
static struct list watched = LIST_INIT(watched); // [notify_lock]
static unsigned nr_marks;                        // [notify_lock]
static atomic_uint last_cookie;

// ---- Events

size_t event_bytes(const struct event *e)
{
    return EVENT_HEADER + (e->len ? align_up(e->len + 1, EVENT_HEADER) : 0);
}

struct event *event_new(u32 mask, u32 cookie, const char *name)
{
    size_t len = name ? strlen(name) : 0;
    struct event *e = kmalloc(sizeof(*e) + len + 1, GFP_KERNEL);
    if (e) {
        *e = (struct event){.mask = mask, .cookie = cookie, .len = (u32)len};
        memcpy(e->name, name ? name : "", len + 1);
    }
    return e;
}

static bool event_same(const struct event *a, const struct event *b)
{
    return a->mask == b->mask && a->wd == b->wd && a->len == b->len && !(a->mask & IN_IGNORED) &&
           strcmp(a->name, b->name) == 0;
}

// e NULL: no memory for it. What is not needed is dead.
static void event_queue_locked(struct watcher_group *g, struct event *e, s32 wd,
                               struct notify_dead *dead)
{
    struct event *last =
        list_empty(&g->events) ? NULL : list_entry(g->events.prev, struct event, link);
    if (e) {
        e->wd = wd;
    }
    if (!e || g->nr_events >= load_relaxed(&notify_max_events)) {
        if (e) {
            list_add_tail(&dead->events, &e->link);
        }
        e = g->overflow; // NULL: the reader will hear of it already
        g->overflow = NULL;
    } else if (last && event_same(last, e)) {
        list_add_tail(&dead->events, &e->link);
        e = NULL;
    }
    if (e) {
        list_add_tail(&g->events, &e->link);
        g->nr_events++;
        g->bytes += event_bytes(e);
        waitq_wake_all_for(&g->wait, POLLIN);
    }
}

// ---- Marks

void notify_dead_init(struct notify_dead *d)
{
    list_init(&d->marks);
    list_init(&d->events);
    list_init(&d->inodes);
}

static void mark_free(struct mark *m)
{
    kfree(m->gone);
    kfree(m->ignored);
    kfree(m);
}

void notify_dead_free(struct notify_dead *d)
{
    struct mark *m, *mt;
    struct event *e, *et;
    struct inode_marks *im, *it;
    list_for_each_entry_safe (m, mt, &d->marks, group_link) {
        mark_free(m);
        cond_resched();
    }
    list_for_each_entry_safe (e, et, &d->events, link) {
        kfree(e);
        cond_resched();
    }
    list_for_each_entry_safe (im, it, &d->inodes, all_link) {
        inode_put(im->inode);
        kfree(im);
        cond_resched();
    }
}

void mark_remove_locked(struct mark *m, bool tell, struct notify_dead *dead)
{
    struct inode_marks *on = m->on;
    if (tell) {
        event_queue_locked(m->group, m->ignored, m->wd, dead);
        m->ignored = NULL;
    }
    list_del(&m->inode_link);
    list_del(&m->group_link);
    list_add_tail(&dead->marks, &m->group_link);
    nr_marks--;
    if (list_empty(&on->marks)) {
        on->inode->marks = NULL;
        atomic_fetch_and(&on->inode->notify, ~NOTIFY_SELF); // pairs with inode_unref
        list_del(&on->all_link);
        list_add_tail(&dead->inodes, &on->all_link);
    }
}

static struct mark *mark_find_locked(struct watcher_group *g, const struct inode *i)
{
    struct mark *m;
    if (i->marks) {
        list_for_each_entry (m, &i->marks->marks, inode_link) {
            if (m->group == g) {
                return m;
            }
        }
    }
    return NULL;
}

static s64 mark_change_locked(struct mark *m, u32 mask, bool add, bool create)
{
    if (create) {
        return -EEXIST;
    }
    m->mask = add ? m->mask | mask : mask;
    return m->wd;
}

static s64 mark_add_locked(struct watcher_group *g, struct inode *i, struct mark *m,
                           struct inode_marks **spare)
{
    if (nr_marks >= load_relaxed(&notify_max_marks) || g->last_wd == INT32_MAX) {
        return -ENOSPC;
    }
    if (!i->marks) {
        i->marks = *spare;
        *spare = NULL;
        i->marks->inode = inode_get(i);
        list_add_tail(&watched, &i->marks->all_link);
        atomic_fetch_or(&i->notify, NOTIFY_SELF); // pairs with inode_unref, by the drawing above
    }
    nr_marks++;
    m->on = i->marks;
    m->group = g;
    m->wd = ++g->last_wd;
    list_add_tail(&i->marks->marks, &m->inode_link);
    list_add_tail(group_bucket(g, m->wd), &m->group_link);
    return m->wd;
}

static struct mark *mark_new(u32 mask)
{
    struct mark *m = kzalloc(sizeof(*m), GFP_KERNEL);
    if (m) {
        m->mask = mask;
        m->gone = event_new(0, 0, NULL);
        m->ignored = event_new(IN_IGNORED, 0, NULL);
    }
    if (m && (!m->gone || !m->ignored)) {
        mark_free(m);
        m = NULL;
    }
    return m;
}

s64 notify_watch(struct watcher_group *g, struct inode *i, u32 mask, bool add, bool create)
{
    struct mark *m = mark_new(mask), *old;
    struct inode_marks *on = kzalloc(sizeof(*on), GFP_KERNEL);
    s64 r = -ENOMEM;
    if (!m || !on) {
        goto out;
    }
    list_init(&on->marks);
    mutex_lock(&vfs_lock); // what is in the directory stays, and is flagged
    spin_lock(&notify_lock);
    old = mark_find_locked(g, i);
    r = old ? mark_change_locked(old, mask, add, create) : mark_add_locked(g, i, m, &on);
    spin_unlock(&notify_lock);
    if (r > 0 && !old) {
        m = NULL;
        ramdir_flag_children(i);
    }
    mutex_unlock(&vfs_lock);
out:
    if (m) {
        mark_free(m);
    }
    kfree(on);
    return r;
}

// ---- Telling

static bool mark_wants(const struct mark *m, u32 event, bool nameless)
{
    return (m->mask & event & IN_ALL_EVENTS) && !(nameless && (m->mask & IN_EXCL_UNLINK));
}

static unsigned takers_locked(const struct inode *i, u32 event, bool nameless)
{
    struct mark *m;
    unsigned n = 0;
    if (i->marks) {
        list_for_each_entry (m, &i->marks->marks, inode_link) {
            n += mark_wants(m, event, nameless);
        }
    }
    return n;
}

static struct event *spare_take(struct list *spare)
{
    struct event *e = list_first(spare, struct event, link);
    if (e) {
        list_del(&e->link);
    }
    return e;
}

static void deliver_locked(struct inode *i, u32 event, bool nameless, struct list *spare,
                           struct notify_dead *dead)
{
    struct mark *m, *tmp;
    if (!i->marks) {
        return;
    }
    list_for_each_entry_safe (m, tmp, &i->marks->marks, inode_link) {
        if (!mark_wants(m, event, nameless)) {
            continue;
        }
        bool last = m->mask & IN_ONESHOT;
        event_queue_locked(m->group, spare_take(spare), m->wd, dead);
        if (last) {
            bool more = i->marks->marks.prev != &m->inode_link;
            mark_remove_locked(m, true, dead);
            if (!more) {
                return; // maybe i->marks is gone
            }
        }
    }
}

// To those who watch i. The caller holds a reference to it.
static void notify_post(struct inode *i, u32 event, u32 cookie, const char *name, bool nameless)
{
    struct list spare = LIST_INIT(spare);
    struct notify_dead dead;
    unsigned have = 0, want;
    bool poor = false;
    notify_dead_init(&dead);
    for (;;) {
        spin_lock(&notify_lock);
        want = takers_locked(i, event, nameless);
        if (want <= have || poor) {
            break;
        }
        spin_unlock(&notify_lock);
        for (; have < want && !poor; have++) {
            struct event *e = event_new(event, cookie, name);
            if (e) {
                list_add_tail(&spare, &e->link);
            }
            poor = !e;
        }
    }
    deliver_locked(i, event, nameless, &spare, &dead);
    spin_unlock(&notify_lock);
    list_splice_tail(&dead.events, &spare);
    notify_dead_free(&dead);
}

// The watched inode behind `at`, which moves on, counted; NULL: there is none.
static struct inode *watched_next(struct inode_marks *at)
{
    struct inode *i = NULL;
    spin_lock(&notify_lock);
    if (at->all_link.next != &watched) {
        struct inode_marks *on = list_entry(at->all_link.next, struct inode_marks, all_link);
        list_del(&at->all_link);
        list_add_head(&on->all_link, &at->all_link);
        i = inode_get(on->inode);
    }
    spin_unlock(&notify_lock);
    return i;
}

// A watched directory that has i, counted, and its name there. Namespace locked, so that the names
// stay and that nobody else goes through the list. There may be as many names to look at as memory
// holds: the spinlock is held from one directory to the next only, and what goes on in the list
// meanwhile goes on around `at`.
static struct inode *watched_parent_locked(const struct inode *i, char *name)
{
    struct inode_marks at;
    struct inode *dir;
    spin_lock(&notify_lock);
    list_add_head(&watched, &at.all_link);
    spin_unlock(&notify_lock);
    while ((dir = watched_next(&at)) != NULL && !ramdir_name_of(dir, i, name)) {
        inode_put(dir);
        cond_resched();
    }
    spin_lock(&notify_lock);
    list_del(&at.all_link);
    spin_unlock(&notify_lock);
    return dir;
}

// The watched directory that f or i is in, counted, and its name there. Namespace locked.
static struct inode *parent_of_locked(const struct file *f, struct inode *i, char *name,
                                      bool *nameless)
{
    const char *base = f && f->path ? strrchr(f->path, '/') : NULL;
    struct inode *there, *found = NULL;
    if (S_ISDIR(i->mode)) {
        if (!i->name || i->is_root || !i->parent) {
            return NULL;
        }
        strlcpy(name, i->name, NAME_MAX_LEN + 1);
        return inode_get(i->parent);
    }
    if (f && f->dir && base) {
        strlcpy(name, base + 1, NAME_MAX_LEN + 1);
        if (f->dir->ops->evict == ramdir_evict && ramdir_lookup(f->dir, name, &there) == 0) {
            found = there == i ? f->dir : NULL;
            inode_put(there);
        }
        if (found) {
            return inode_get(found);
        }
    }
    found = watched_parent_locked(i, name);
    if (!found && f && f->dir && base && load_relaxed(&i->nlink) == 0) {
        strlcpy(name, base + 1, NAME_MAX_LEN + 1);
        *nameless = true;
        found = inode_get(f->dir);
    }
    return found;
}

static void notify_happened(const struct file *f, struct inode *i, u32 event)
{
    u32 flags = load_relaxed(&i->notify);
    bool nameless = false;
    char name[NAME_MAX_LEN + 1];
    event |= S_ISDIR(i->mode) ? IN_ISDIR : 0;
    if (flags & NOTIFY_CHILD) {
        mutex_lock(&vfs_lock);
        struct inode *dir = parent_of_locked(f, i, name, &nameless);
        mutex_unlock(&vfs_lock);
        if (dir) {
            notify_post(dir, event, 0, name, nameless);
            inode_put(dir);
        }
    }
    if (flags & NOTIFY_SELF) {
        notify_post(i, event, 0, NULL, false);
    }
}

void notify_file_slow(struct file *f, u32 event)
{
    notify_happened(f, f->inode, event);
}

void notify_inode_slow(struct inode *i, u32 event)
{
    notify_happened(NULL, i, event);
}

void notify_self_slow(struct inode *i, u32 event)
{
    bool says = S_ISDIR(i->mode) && event != IN_MOVE_SELF; // that it is a directory
    notify_post(i, event | (says ? IN_ISDIR : 0), 0, NULL, false);
}

void notify_name_slow(struct inode *dir, u32 event, const char *name, bool is_dir, u32 cookie)
{
    notify_post(dir, event | (is_dir ? IN_ISDIR : 0), cookie, name, false);
}

u32 notify_cookie(void)
{
    return fetch_add_relaxed(&last_cookie, 1) + 1;
}

// ---- The end of an inode

// Its marks go, after this event.
static void notify_end_locked(struct inode *i, u32 event, struct notify_dead *dead)
{
    struct inode_marks *on = i->marks;
    struct mark *m;
    while (!list_empty(&on->marks)) {
        m = list_first(&on->marks, struct mark, inode_link);
        if (event == IN_UNMOUNT || (m->mask & event)) {
            m->gone->mask = event;
            event_queue_locked(m->group, m->gone, m->wd, dead);
            m->gone = NULL;
        }
        mark_remove_locked(m, true, dead);
    }
}

bool notify_inode_put(struct inode *i)
{
    struct inode_marks *on = NULL;
    struct notify_dead dead;
    notify_dead_init(&dead);
    spin_lock(&notify_lock);
    int left = atomic_fetch_sub(&i->ref, 1) - 1; // all earlier uses happen before the freeing
    if (left == 1 && i->marks && load_relaxed(&i->nlink) == 0) {
        on = i->marks;
        notify_end_locked(i, IN_DELETE_SELF, &dead);
        list_del(&on->all_link); // its reference is ours now
        left = atomic_fetch_sub(&i->ref, 1) - 1;
    }
    spin_unlock(&notify_lock);
    kfree(on);
    notify_dead_free(&dead);
    return left == 0;
}

// Under the lock, because marks that are being removed give their reference back after it.
bool notify_has_refs(struct inode *i, int n)
{
    spin_lock(&notify_lock);
    bool has = load_acquire(&i->ref) == n + (i->marks ? 1 : 0); /* pairs with inode_put */
    spin_unlock(&notify_lock);
    return has;
}

void notify_unmounted(struct inode *i)
{
    struct notify_dead dead;
    notify_dead_init(&dead);
    spin_lock(&notify_lock);
    if (i->marks) {
        notify_end_locked(i, IN_UNMOUNT, &dead);
    }
    spin_unlock(&notify_lock);
    notify_dead_free(&dead);
}
