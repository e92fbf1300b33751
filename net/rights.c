// Unix sockets, 5: files in messages (SCM_RIGHTS), and the circles they make.
//
// A message holds references to its files. When it is thrown away they are let go of by the
// kernel thread of file_put_later, never in place: a file may be a socket whose queue holds a
// socket whose queue ..., deeper than a kernel stack.
//
// Circles. A socket can be sent to itself, or two to each other; when their descriptors are closed,
// the messages keep the files and the files the messages. The collector finds them. It looks at the
// sockets in flight (in some message):
//
//     candidates    all references to its file come from messages: no descriptor, no call
//     outside       references from messages that are not in a candidate's queue
//     reachable     candidates with outside > 0, and what is in their queues, and so on
//     the rest      is garbage: its messages lose their files
//
// It is right because the picture stands still: messages get and lose files under rights_mutex,
// and a candidate's file gets no new reference but out of a message. (A file loses references at
// any time; then it is found next time.) A socket lists what came with files for itself, under that
// mutex: its queue, which is under a spinlock, may have thousands of messages without.
//
// The collector looks at all sockets in flight, so it must not run for each event: a chain of ten
// thousand sockets, each in a message to the next, is let go of one by one. It runs when a socket's
// file is released and few are in flight; with more of them, when the thread that lets go of files
// has nothing left to do, once for all releases until then. And it runs before a message is made
// when twice as many are in flight as the last time left there: who makes circles only, and
// releases nothing, does not fill the memory with them.
//
// How many files may be under way is bounded for each user (unix(7), ETOOMANYREFS), because a
// program can close its descriptors of them: RLIMIT_NOFILE alone would not bound it. A message may
// go beyond the limit; the next one may not be made. Linux exempts CAP_SYS_RESOURCE and
// CAP_SYS_ADMIN, and so do we.
#include <k/assert.h>
#include <k/string.h>
#include <proc.h>
#include "usock.h"

#define FEW 64 // sockets in flight: looked at at once

static struct mutex rights_mutex = MUTEX_INIT(rights_mutex, RANK_SLEEP_MISC);
static struct list inflight = LIST_INIT(inflight); // [G] usock.flight_link
static struct list users = LIST_INIT(users);       // [G] flight_user.link
static atomic_uint nr_inflight;                    // [a] sockets in it, written under G
static atomic_uint collect_at = 1000;              // [a] so many are worth a look

void rights_lock(void)
{
    mutex_lock(&rights_mutex);
}

void rights_unlock(void)
{
    mutex_unlock(&rights_mutex);
}

// A user with files under way.
struct flight_user {
    struct list link; // [G]
    u32 uid;          // [I]
    u64 nr;           // [G] files; at 0 it goes
};

// That of uid, made if need be; NULL: no memory.
static struct flight_user *flight_user_locked(u32 uid)
{
    struct flight_user *u;
    list_for_each_entry (u, &users, link) {
        if (u->uid == uid) {
            return u;
        }
    }
    u = kzalloc(sizeof(*u), GFP_KERNEL);
    if (u) {
        u->uid = uid;
        list_add_tail(&users, &u->link);
    }
    return u;
}

static void flight_leave(struct flight_user *u, unsigned nr)
{
    rights_lock();
    u->nr -= nr;
    if (u->nr == 0) {
        list_del(&u->link);
        kfree(u);
    }
    rights_unlock();
}

// Charge the current user with the files of r, or say why not.
static int flight_enter(struct rights *r)
{
    bool free = current_has_cap(CAP_SYS_RESOURCE) || current_has_cap(CAP_SYS_ADMIN);
    u64 limit = process_rlimit(RLIMIT_NOFILE);
    u32 uid = creds_now().uid;
    int err = 0;
    rights_lock();
    struct flight_user *u = flight_user_locked(uid);
    if (!u) {
        err = -ENOMEM;
    } else if (u->nr > limit && !free) {
        err = -ETOOMANYREFS;
    } else {
        u->nr += r->nr;
        r->user = u;
    }
    rights_unlock();
    return err;
}

static struct rights *rights_alloc(unsigned nr)
{
    struct rights *r = kzalloc(sizeof(*r) + nr * sizeof(r->file[0]), GFP_KERNEL);
    if (r) {
        list_init(&r->link);
    }
    return r;
}

static void collect(void);

// A hint, not a limit: two at once may both collect.
static void collect_if_many(void)
{
    if (load_relaxed(&nr_inflight) >= load_relaxed(&collect_at)) {
        collect();
        store_relaxed(&collect_at, 2 * load_relaxed(&nr_inflight) + 1000);
    }
}

void rights_released(void)
{
    unsigned nr = load_relaxed(&nr_inflight);
    if (nr > FEW) {
        file_put_then(collect);
    } else if (nr) {
        collect();
    }
}

int rights_new(const s32 *fds, unsigned nr, struct rights **out)
{
    collect_if_many();
    struct rights *r = rights_alloc(nr);
    if (!r) {
        return -ENOMEM;
    }
    for (; r->nr < nr; r->nr++) {
        r->file[r->nr] = fd_get_path(fds[r->nr]);
        if (!r->file[r->nr]) {
            rights_put(r);
            return -EBADF;
        }
    }
    int err = flight_enter(r);
    if (err) {
        rights_put(r);
        return err;
    }
    *out = r;
    return 0;
}

void rights_put(struct rights *r)
{
    if (r && r->user) {
        flight_leave(r->user, r->nr);
    }
    for (unsigned i = 0; r && i < r->nr; i++) {
        file_put_later(r->file[i]);
    }
    kfree(r);
}

// NULL: no socket.
static struct usock *file_usock(const struct file *f)
{
    return f->ops == &usock_fops ? f->private : NULL;
}

void rights_sent_locked(struct usock *s, struct umsg *m, struct rights *r)
{
    mutex_assert_held(&rights_mutex);
    r->msg = m;
    list_add_tail(&s->rights, &r->link);
    for (unsigned i = 0; i < r->nr; i++) {
        struct usock *t = file_usock(r->file[i]);
        if (t && t->inflight++ == 0) {
            list_add_tail(&inflight, &t->flight_link);
            fetch_add_relaxed(&nr_inflight, 1);
        }
    }
}

// No more: neither in its message nor in a list.
static void rights_taken_locked(struct rights *r)
{
    mutex_assert_held(&rights_mutex);
    r->msg->rights = NULL;
    r->msg = NULL;
    list_del(&r->link);
    for (unsigned i = 0; i < r->nr; i++) {
        struct usock *s = file_usock(r->file[i]);
        if (s && --s->inflight == 0) {
            list_del(&s->flight_link);
            fetch_add_relaxed(&nr_inflight, (unsigned)-1);
        }
    }
}

struct rights *umsg_take_rights(struct umsg *m, bool peek)
{
    rights_lock();
    struct rights *r = m->rights;
    if (r && peek) {
        struct rights *copy = rights_alloc(r->nr);
        for (unsigned i = 0; copy && i < r->nr; i++) {
            copy->file[copy->nr++] = file_get(r->file[i]);
        }
        r = copy;
    } else if (r) {
        rights_taken_locked(r);
    }
    rights_unlock();
    return r;
}

// ---- The collector ------------------------------------------------------------------------------

// Call fn for each candidate in the messages of s.
static void rights_each(struct usock *s, void (*fn)(struct usock *, struct list *),
                        struct list *arg)
{
    struct rights *r;
    list_for_each_entry (r, &s->rights, link) {
        for (unsigned i = 0; i < r->nr; i++) {
            struct usock *t = file_usock(r->file[i]);
            if (t && t->candidate) {
                fn(t, arg);
            }
        }
        cond_resched();
    }
}

// The embryo behind e (dropped; NULL: the first) of a listener, counted. Nobody accepts from a
// candidate, so its list only grows at the end.
static struct usock *embryo_next(struct usock *s, struct usock *e)
{
    spin_lock(&s->lock);
    struct list *next = e ? e->embryo_link.next : s->embryos.next;
    struct usock *n = next == &s->embryos ? NULL : list_entry(next, struct usock, embryo_link);
    if (n) {
        usock_get(n);
    }
    spin_unlock(&s->lock);
    usock_put(e);
    return n;
}

// The same for s, which is or was a candidate, and for its embryos.
static void queue_each(struct usock *s, void (*fn)(struct usock *, struct list *), struct list *arg)
{
    rights_each(s, fn, arg);
    for (struct usock *e = embryo_next(s, NULL); e; e = embryo_next(s, e)) {
        rights_each(e, fn, arg);
        cond_resched();
    }
}

static void seen_inside(struct usock *t, struct list *arg)
{
    (void)arg;
    t->outside--;
}

static void seen_reachable(struct usock *t, struct list *work)
{
    t->candidate = false;
    list_del(&t->flight_link);
    list_add_tail(work, &t->flight_link);
}

// Garbage loses the files in its messages.
static void usock_strip(struct usock *s, struct list *dead)
{
    list_splice_tail(dead, &s->rights);
    for (struct usock *e = embryo_next(s, NULL); e; e = embryo_next(s, e)) {
        list_splice_tail(dead, &e->rights);
        cond_resched();
    }
}

static void collect_locked(struct list *dead)
{
    struct list cands, work, done, stripped;
    struct usock *s, *tmp;
    struct rights *r, *r_tmp;
    list_init(&cands);
    list_init(&work);
    list_init(&done);
    list_init(&stripped);
    list_for_each_entry_safe (s, tmp, &inflight, flight_link) {
        s->outside = s->inflight;
        s->candidate = (unsigned)load_relaxed(&s->file->ref) == s->inflight;
        list_del(&s->flight_link);
        list_add_tail(s->candidate ? &cands : &done, &s->flight_link);
        cond_resched(); // the lists stand still: rights_mutex is held
    }
    list_for_each_entry (s, &cands, flight_link) {
        queue_each(s, seen_inside, NULL);
        cond_resched();
    }
    list_for_each_entry_safe (s, tmp, &cands, flight_link) {
        if (s->outside) {
            seen_reachable(s, &work);
        }
        cond_resched();
    }
    while ((s = list_first(&work, struct usock, flight_link)) != NULL) {
        queue_each(s, seen_reachable, &work);
        cond_resched();
        list_del(&s->flight_link);
        list_add_tail(&done, &s->flight_link);
    }
    list_for_each_entry (s, &cands, flight_link) {
        s->candidate = false;
        usock_strip(s, &stripped);
        cond_resched();
    }
    list_splice_tail(&inflight, &done);
    list_splice_tail(&inflight, &cands);
    list_for_each_entry_safe (r, r_tmp, &stripped, link) {
        rights_taken_locked(r); // the files are still counted: nobody goes here
        list_add_tail(dead, &r->link);
        cond_resched();
    }
}

static void collect(void)
{
    struct list dead;
    struct rights *r, *tmp;
    list_init(&dead);
    rights_lock();
    collect_locked(&dead);
    rights_unlock();
    list_for_each_entry_safe (r, tmp, &dead, link) {
        list_del(&r->link);
        rights_put(r);
        cond_resched();
    }
}
