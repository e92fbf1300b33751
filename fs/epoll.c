// epoll: a set of files, and the list of those that have something. See epoll(7). The calls are in
// fs/sys_epoll.c.
//
// An epoll holds an item for each (file, descriptor) it watches. The item has watchers on the
// file's wait queues (sched.h); a wake-up there puts it on the ready list and wakes one epoll_wait.
// epoll_wait takes items off the list, asks each file what it has, and tells the caller. An item
// that has nothing (somebody else read it) is just dropped from the list; a level-triggered one
// that had something goes back to its end, to be asked again next time.
//
// Locks, outermost first:
//     graph_lock    fs/epoll_graph.c: what epolls in epolls may look like
//     ep->lock      (sleeps) the items; held while files are asked
//     links_lock    (spins) file->watched, the items of one file
//     q->lock of a watched file, in a wake-up:
//         ep->ready_lock, ep->wait, ep->poll_wait
//
// Epolls in epolls. An inner epoll's wake-up takes the locks of the outer one inside its own;
// asking an inner one takes its ep->lock inside the outer's. Both orders follow the graph, which
// has no circle, so there is no deadlock. The rank checker cannot see the graph: it takes
// RANK_EPOLL and RANK_EPOLL_WAIT for their own inner ranks. (Ranks by an epoll's height, which is
// what was here first, changed under those who held the locks.)
//
// The end of a file. An item holds no reference to its file: closing the last descriptor must end
// the watching (epoll(7), question 6). file_put's last put calls epoll_file_gone, which removes the
// items before release runs. Whoever uses item->file holds ep->lock, under which the item is
// removed, so the file is still there even if its count is 0. An epoll may go at the same time:
// items are unlinked from the file under links_lock before the epoll's memory may go, and
// epoll_file_gone takes a reference to the epoll under that lock.
#include <arch/uaccess.h>
#include <k/assert.h>
#include <page.h>
#include "epoll_priv.h"

#define EPOLL_HOW     (EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET)
#define BUCKETS_FIRST 8u

struct item_pollq {
    struct pollq pollq;
    struct epitem *item;
};

struct spinlock epoll_links_lock = SPINLOCK_INIT(RANK_SPIN_MISC);
atomic_uint epoll_max_items;
static atomic_uint nr_all_items; // of all epolls

// Items take 4 % of the memory at most, epoll(7).
void epoll_init(void)
{
    store_relaxed(
        &epoll_max_items,
        (unsigned)min(page_nr_total() / 25 * PAGE_SIZE / sizeof(struct epitem), (u64)INT32_MAX));
}

void epoll_put(struct epoll *ep)
{
    if (atomic_fetch_sub(&ep->ref, 1) == 1) { // all earlier uses happen before the freeing
        kfree(ep->buckets);
        kfree(ep);
    }
}

// ---- The ready list

// Put it on the list; false: it was there.
static bool item_queue(struct epitem *it)
{
    struct epoll *ep = it->ep;
    unsigned long flags = spin_lock_irq(&ep->ready_lock);
    bool added = !it->queued;
    if (added) {
        it->queued = true;
        list_add_tail(&ep->ready, &it->ready_link);
    }
    spin_unlock_irq(&ep->ready_lock, flags);
    return added;
}

static void epoll_wake(struct epoll *ep)
{
    waitq_wake_one(&ep->wait);
    waitq_wake_all_for(&ep->poll_wait, POLLIN);
}

// A wake-up of the file; its queue is locked.
static bool item_notify(struct watcher *w, unsigned events)
{
    struct epitem *it = container_of(w, struct item_watch, watcher)->item;
    unsigned wanted = load_relaxed(&it->events);
    if (!(wanted & ~EPOLL_HOW) || !(events & wanted)) {
        return false; // spent (EPOLLONESHOT), or of no interest
    }
    item_queue(it);
    epoll_wake(it->ep);
    return true;
}

bool epoll_has_ready(struct epoll *ep)
{
    unsigned long flags = spin_lock_irq(&ep->ready_lock);
    bool has = !list_empty(&ep->ready);
    spin_unlock_irq(&ep->ready_lock, flags);
    return has;
}

static void item_pollq_queue(struct pollq *pt, struct waitq *q)
{
    struct epitem *it = container_of(pt, struct item_pollq, pollq)->item;
    assert(it->nr_watches < QUEUES_PER_FILE);
    struct item_watch *w = &it->watch[it->nr_watches++];
    w->item = it;
    w->q = q;
    w->watcher.fn = item_notify;
    w->watcher.exclusive = load_relaxed(&it->events) & EPOLLEXCLUSIVE;
    waitq_watch(q, &w->watcher);
}

static unsigned item_poll(struct epitem *it)
{
    return file_poll(it->file, NULL) & load_relaxed(&it->events) & ~EPOLL_HOW;
}

// The first of `from`, which is what was on the ready list; from here on a wake-up queues it again.
static struct epitem *ready_take(struct epoll *ep, struct list *from)
{
    unsigned long flags = spin_lock_irq(&ep->ready_lock);
    struct epitem *it = list_first(from, struct epitem, ready_link);
    if (it) {
        list_del(&it->ready_link);
        it->queued = false;
    }
    spin_unlock_irq(&ep->ready_lock, flags);
    return it;
}

static void ready_splice(struct epoll *ep, struct list *to, struct list *from)
{
    unsigned long flags = spin_lock_irq(&ep->ready_lock);
    list_splice_tail(to, from);
    spin_unlock_irq(&ep->ready_lock, flags);
}

s64 epoll_collect(struct epoll *ep, u64 user, unsigned max_events)
{
    struct list todo, again;
    struct epitem *it;
    s64 n = 0;
    list_init(&todo);
    list_init(&again);
    mutex_lock(&ep->lock);
    ready_splice(ep, &todo, &ep->ready);
    while (n < max_events && (it = ready_take(ep, &todo))) {
        cond_resched();
        unsigned wanted = load_relaxed(&it->events);
        struct epoll_event ev = {.events = item_poll(it), .data = it->data};
        if (!ev.events) {
            continue;
        }
        if (arch_copy_to_user((struct epoll_event *)user + n, &ev, sizeof(ev))) {
            item_queue(it);
            n = n ? n : -EFAULT;
            break;
        }
        n++;
        if (wanted & EPOLLONESHOT) {
            store_relaxed(&it->events, wanted & EPOLL_HOW);
        } else if (!(wanted & EPOLLET)) {
            item_queue(it); // at the end: its turn comes after the others
        }
    }
    ready_splice(ep, &again, &todo); // not looked at: they stay in front
    ready_splice(ep, &again, &ep->ready);
    ready_splice(ep, &ep->ready, &again);
    mutex_unlock(&ep->lock);
    if (n > 0 && epoll_has_ready(ep)) {
        waitq_wake_one(&ep->wait); // others may have some, too
    }
    return n;
}

static unsigned epoll_poll(struct file *f, struct pollq *pt)
{
    struct epoll *ep = f->private;
    struct list todo, again;
    struct epitem *it;
    unsigned events = 0;
    if (pt) {
        poll_wait(pt, &ep->poll_wait);
    }
    list_init(&todo);
    list_init(&again);
    mutex_lock(&ep->lock);
    ready_splice(ep, &todo, &ep->ready);
    while (!events && (it = ready_take(ep, &todo))) {
        cond_resched();
        if (item_poll(it)) {
            item_queue(it);
            events = POLLIN | POLLRDNORM;
        }
    }
    ready_splice(ep, &again, &todo);
    ready_splice(ep, &again, &ep->ready);
    ready_splice(ep, &ep->ready, &again);
    mutex_unlock(&ep->lock);
    return events;
}

// ---- Items

static struct list *item_bucket(const struct epoll *ep, const struct file *f, int fd)
{
    u64 h = ((u64)(uintptr_t)f >> 6) * 0x9e3779b97f4a7c15ull + (u64)(unsigned)fd * 0x85ebca6bu;
    return &ep->buckets[(h >> 32) & (ep->nr_buckets - 1)];
}

static struct epitem *item_find_locked(struct epoll *ep, const struct file *f, int fd)
{
    struct list *b = item_bucket(ep, f, fd);
    struct epitem *it;
    list_for_each_entry (it, b, hash_link) {
        if (it->file == f && it->fd == fd) {
            return it;
        }
    }
    return NULL;
}

static struct list *buckets_new(unsigned nr)
{
    struct list *b = kmalloc(nr * sizeof(*b), GFP_KERNEL);
    for (unsigned i = 0; b && i < nr; i++) {
        list_init(&b[i]);
    }
    return b;
}

// Twice the buckets; without memory long chains do.
static void epoll_grow_locked(struct epoll *ep)
{
    struct list *old = ep->buckets, *b = buckets_new(2 * ep->nr_buckets);
    unsigned nr_old = ep->nr_buckets;
    struct epitem *it, *tmp;
    if (!b) {
        return;
    }
    ep->buckets = b;
    ep->nr_buckets *= 2;
    for (unsigned i = 0; i < nr_old; i++) {
        list_for_each_entry_safe (it, tmp, &old[i], hash_link) {
            list_del(&it->hash_link);
            list_add_tail(item_bucket(ep, it->file, it->fd), &it->hash_link);
        }
    }
    kfree(old);
}

static void item_link(struct epitem *it)
{
    spin_lock(&epoll_links_lock);
    it->next = load_relaxed(&it->file->watched);
    if (it->next) {
        it->next->prev = it;
    }
    store_relaxed(&it->file->watched, it);
    spin_unlock(&epoll_links_lock);
}

static void item_unlink(struct epitem *it)
{
    spin_lock(&epoll_links_lock);
    if (it->prev) {
        it->prev->next = it->next;
    } else {
        store_relaxed(&it->file->watched, it->next);
    }
    if (it->next) {
        it->next->prev = it->prev;
    }
    spin_unlock(&epoll_links_lock);
}

static void item_remove_locked(struct epitem *it)
{
    struct epoll *ep = it->ep;
    for (unsigned i = 0; i < it->nr_watches; i++) {
        waitq_unwatch(it->watch[i].q, &it->watch[i].watcher);
    }
    unsigned long flags = spin_lock_irq(&ep->ready_lock);
    if (it->queued) {
        list_del(&it->ready_link);
    }
    spin_unlock_irq(&ep->ready_lock, flags);
    list_del(&it->hash_link);
    ep->nr_items--;
    fetch_add_relaxed(&nr_all_items, (unsigned)-1);
    item_unlink(it);
    kfree(it);
}

static int item_add_locked(struct epoll *ep, struct file *f, int fd, const struct epoll_event *ev,
                           bool graph_locked)
{
    int err = item_find_locked(ep, f, fd) ? -EEXIST : 0;
    if (!err && is_epoll(f)) {
        err = epoll_circle_check(ep, f->private);
    }
    if (err) {
        return err;
    }
    struct epitem *it = kzalloc(sizeof(*it), GFP_KERNEL);
    if (!it) {
        return -ENOMEM;
    }
    if (fetch_add_relaxed(&nr_all_items, 1) >= load_relaxed(&epoll_max_items)) {
        fetch_add_relaxed(&nr_all_items, (unsigned)-1);
        kfree(it);
        return -ENOSPC;
    }
    if (ep->nr_items >= 2 * ep->nr_buckets) {
        epoll_grow_locked(ep);
    }
    it->ep = ep;
    it->file = f;
    it->fd = fd;
    it->data = ev->data;
    store_relaxed(&it->events, ev->events | EPOLL_ALWAYS);
    list_add_tail(item_bucket(ep, f, fd), &it->hash_link);
    ep->nr_items++;
    item_link(it);
    err = epoll_ways_check(it, graph_locked);
    if (err) {
        item_remove_locked(it);
        return err;
    }
    struct item_pollq pq = {.pollq.queue = item_pollq_queue, .item = it};
    if (f->ops->poll(f, &pq.pollq) & load_relaxed(&it->events) & ~EPOLL_HOW) {
        item_queue(it);
        epoll_wake(ep);
    }
    return 0;
}

static int item_change_locked(struct epitem *it, const struct epoll_event *ev)
{
    if (load_relaxed(&it->events) & EPOLLEXCLUSIVE) {
        return -EINVAL;
    }
    it->data = ev->data;
    // Before the look at the file: who makes something true after it sees what is wanted now.
    store_seq(&it->events, ev->events | EPOLL_ALWAYS); // pairs with item_notify, by the file's lock
    if (item_poll(it)) {
        item_queue(it);
        epoll_wake(it->ep);
    }
    return 0;
}

void epoll_file_gone(struct file *f)
{
    for (;;) {
        spin_lock(&epoll_links_lock);
        struct epitem *it = load_relaxed(&f->watched);
        struct epoll *ep = it ? it->ep : NULL;
        if (ep) {
            fetch_add_relaxed(&ep->ref, 1);
        }
        spin_unlock(&epoll_links_lock);
        if (!ep) {
            return;
        }
        mutex_lock(&ep->lock);
        spin_lock(&epoll_links_lock); // has the epoll removed it meanwhile?
        struct epitem *p = load_relaxed(&f->watched);
        while (p && p->ep != ep) {
            p = p->next;
        }
        spin_unlock(&epoll_links_lock);
        if (p) {
            item_remove_locked(p);
        }
        mutex_unlock(&ep->lock);
        epoll_put(ep);
    }
}

static int epoll_add(struct epoll *ep, struct file *f, int fd, const struct epoll_event *ev)
{
    int err = -EAGAIN;
    for (bool graph = is_epoll(f); err == -EAGAIN; graph = true) {
        if (graph) {
            epoll_graph_lock();
        }
        mutex_lock(&ep->lock);
        err = item_add_locked(ep, f, fd, ev, graph);
        mutex_unlock(&ep->lock);
        if (graph) {
            epoll_graph_unlock();
        }
    }
    return err;
}

int epoll_change(struct epoll *ep, int op, struct file *f, int fd, const struct epoll_event *ev)
{
    int err = 0;
    if (op == EPOLL_CTL_ADD) {
        return epoll_add(ep, f, fd, ev);
    }
    mutex_lock(&ep->lock);
    struct epitem *it = item_find_locked(ep, f, fd);
    if (!it) {
        err = -ENOENT;
    } else if (op == EPOLL_CTL_MOD) {
        err = item_change_locked(it, ev);
    } else {
        item_remove_locked(it);
    }
    mutex_unlock(&ep->lock);
    return err;
}

// ---- The beginning and the end

static void epoll_release(struct file *f)
{
    struct epoll *ep = f->private;
    mutex_lock(&ep->lock);
    for (unsigned i = 0; i < ep->nr_buckets; i++) {
        struct epitem *it, *tmp;
        list_for_each_entry_safe (it, tmp, &ep->buckets[i], hash_link) {
            item_remove_locked(it);
        }
        cond_resched();
    }
    mutex_unlock(&ep->lock);
    epoll_put(ep);
}

const struct file_ops epoll_fops = {
    .poll = epoll_poll,
    .release = epoll_release,
    .stream = true,
    .seek_stays = true,
};

struct epoll *epoll_new(void)
{
    struct epoll *ep = kzalloc(sizeof(*ep), GFP_KERNEL);
    struct list *b = ep ? buckets_new(BUCKETS_FIRST) : NULL;
    if (!b) {
        kfree(ep);
        return NULL;
    }
    store_relaxed(&ep->ref, 1);
    ep->buckets = b;
    ep->nr_buckets = BUCKETS_FIRST;
    mutex_init(&ep->lock, RANK_EPOLL);
    spin_init(&ep->ready_lock, RANK_EPOLL_WAIT);
    list_init(&ep->ready);
    waitq_init(&ep->wait);
    waitq_init(&ep->poll_wait);
    ep->wait.lock.rank = ep->poll_wait.lock.rank = RANK_EPOLL_WAIT;
    return ep;
}
