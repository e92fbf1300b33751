// Epolls that watch epolls: what one event may cost.
//
// An event of a file goes up all ways from epoll to epoll, with interrupts off. Where many epolls
// watch many epolls there are as many ways as products of their numbers: five layers of 100 make
// 10^8. So the ways are counted before one is added, and there are at most as many as Linux allows:
// from a file up to an epoll that nobody watches
//
//      file <- epoll                                          as many as there are
//      file <- epoll <- epoll                                  500
//      file <- epoll <- epoll <- epoll                         100
//      file <- epoll <- epoll <- epoll <- epoll                 50
//      file <- epoll <- epoll <- epoll <- epoll <- epoll        10
//
// and no longer ones: -EINVAL. An epoll with nothing in it counts as if it had a file (it may get
// one), except that five epolls may stand above it and not four: -ELOOP, as epoll_ctl(2) has it.
//
// The same limits bound the look itself, which goes up the same ways: it stops at the first one
// that is too many. Downwards (whose ways become more?) it goes to each epoll once.
//
// graph_lock is held by whoever adds an epoll to an epoll, or a file to an epoll that is watched.
// That it is not watched is seen under ep->lock and links_lock:
//
//      adds a file to ep                       lets another epoll watch ep
//      ep->lock
//        its item into ep                      links_lock: an item with ep's file
//        links_lock: is ep watched?            ep->lock: look at all items of ep
//
// Whichever comes second sees the other, and counts.
//
// Rejected: going to each epoll once per event. One that two ways lead to has two items to be
// queued, and who is told of the first may have come and gone before the second is.
#include "epoll_priv.h"

#define ABOVE_FILE  4u // epolls above the one that watches a file
#define ABOVE_EPOLL 5u // and above one that may be empty

static struct mutex graph_lock = MUTEX_INIT(graph_lock, RANK_EPOLL_GRAPH);
static u64 look_number; // [graph_lock]

struct ways {
    unsigned height_max;          // no more epolls than these above the first
    unsigned nr[ABOVE_EPOLL + 1]; // by that number
};

static const unsigned ways_max[ABOVE_EPOLL + 1] = {~0u, 500, 100, 50, 10, 10};

void epoll_graph_lock(void)
{
    mutex_lock(&graph_lock);
}

void epoll_graph_unlock(void)
{
    mutex_unlock(&graph_lock);
}

static struct epitem *watched_by(const struct file *f)
{
    return load_relaxed(&f->watched);
}

// links_lock held. Count the ways up that begin with one of the items; height: of their epolls.
static int ways_count_locked(struct ways *w, const struct epitem *it, unsigned height)
{
    int err = 0;
    for (; it && !err; it = it->next) {
        const struct epitem *above = watched_by(it->ep->file);
        if (height > w->height_max) {
            err = -ELOOP;
        } else if (above) {
            err = ways_count_locked(w, above, height + 1);
        } else if (++w->nr[height] > ways_max[height]) {
            err = -EINVAL;
        }
    }
    return err;
}

static int file_check(const struct file *f)
{
    struct ways w = {.height_max = ABOVE_FILE};
    spin_lock(&epoll_links_lock);
    int err = ways_count_locked(&w, watched_by(f), 0);
    spin_unlock(&epoll_links_lock);
    return err ? -EINVAL : 0;
}

// Of an epoll and all it watches; each is looked at once.
static int below_check(struct epoll *ep)
{
    struct ways w = {.height_max = ABOVE_EPOLL};
    struct epitem *it;
    if (ep->seen == look_number) {
        return 0;
    }
    ep->seen = look_number;
    spin_lock(&epoll_links_lock);
    int err = ways_count_locked(&w, watched_by(ep->file), 1);
    spin_unlock(&epoll_links_lock);
    mutex_lock(&ep->lock);
    for (unsigned i = 0; !err && i < ep->nr_buckets; i++) {
        list_for_each_entry (it, &ep->buckets[i], hash_link) {
            err = err                  ? err
                  : is_epoll(it->file) ? below_check(it->file->private)
                                       : file_check(it->file);
            cond_resched();
        }
    }
    mutex_unlock(&ep->lock);
    return err;
}

// links_lock held.
static bool is_above_locked(const struct epoll *ep, const struct epoll *wanted)
{
    bool found = ep == wanted;
    for (struct epitem *it = watched_by(ep->file); it && !found; it = it->next) {
        found = is_above_locked(it->ep, wanted);
    }
    return found;
}

int epoll_circle_check(struct epoll *ep, struct epoll *inner)
{
    mutex_assert_held(&graph_lock);
    spin_lock(&epoll_links_lock);
    bool circle = is_above_locked(ep, inner);
    spin_unlock(&epoll_links_lock);
    return circle ? -ELOOP : 0;
}

int epoll_ways_check(struct epitem *it, bool graph_locked)
{
    spin_lock(&epoll_links_lock);
    bool watched = watched_by(it->ep->file);
    spin_unlock(&epoll_links_lock);
    if (is_epoll(it->file)) {
        look_number++;
        return below_check(it->file->private);
    }
    if (!watched) {
        return 0;
    }
    return graph_locked ? file_check(it->file) : -EAGAIN;
}
