// Unix sockets, 4: sending and receiving. net/usock.c tells the theory.
//
// A stream's bytes travel in messages of up to CHUNK; reading takes them apart and joins them, but
// never across one that carries files, nor (SO_PASSCRED) from one sender to the next. Datagrams and
// packets are one message each.
#include <arch/uaccess.h>
#include <k/assert.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>
#include "usock.h"

#define CHUNK    16384u
#define OVERHEAD 32u // what Linux wants to be left of SO_SNDBUF

// ---- Messages -----------------------------------------------------------------------------------

void umsg_free(struct umsg *m)
{
    if (m) {
        rights_put(m->rights ? umsg_take_rights(m, false) : NULL);
        uname_put(m->from);
        kfree(m);
    }
}

static int umsg_new(struct usock *s, struct send *d, size_t n, struct umsg **out)
{
    struct umsg *m = kmalloc(sizeof(*m) + n, GFP_KERNEL);
    if (!m) {
        return n > PAGE_SIZE ? -ENOBUFS : -ENOMEM;
    }
    memset(m, 0, sizeof(*m));
    list_init(&m->link);
    m->len = n;
    m->cred = d->cred;
    if (iov_copy(&d->it, m->data, n) < n) {
        kfree(m);
        return -EFAULT;
    }
    spin_lock(&s->lock);
    m->from = uname_get(s->name);
    spin_unlock(&s->lock);
    *out = m;
    return 0;
}

// Into the receiver's queue; it is locked, and rights_mutex held if there are rights.
static void umsg_queue_locked(struct usock *to, struct umsg *m, struct send *d)
{
    m->rights = d->rights;
    d->rights = NULL;
    list_add_tail(&to->queue, &m->link);
    to->nr_queued++;
    to->bytes += m->len;
}

static int send_check_locked(const struct usock *s, const struct usock *to)
{
    if (s->type != SOCK_DGRAM) {
        return to->released || to->rd_shut ? -EPIPE : 0;
    }
    if (to->released) {
        return -ECONNREFUSED;
    }
    if (to->peer && to->peer != s) {
        return -EPERM;
    }
    return to->rd_shut ? -EPIPE : 0;
}

// 0, -EAGAIN: no room, or why not.
static int send_try(struct usock *s, struct usock *to, struct umsg *m, struct send *d)
{
    struct rights *r = d->rights;
    if (r) {
        rights_lock();
    }
    spin_lock(&to->lock);
    int err = send_check_locked(s, to);
    if (!err && !usock_has_room_locked(to, m->len, load_relaxed(&s->sndbuf))) {
        err = -EAGAIN;
    }
    if (!err) {
        umsg_queue_locked(to, m, d);
    }
    spin_unlock(&to->lock);
    if (r) {
        if (!err) {
            rights_sent_locked(to, m, r);
        }
        rights_unlock();
    }
    return err;
}

static bool send_may(struct usock *s, struct usock *to, size_t n)
{
    spin_lock(&to->lock);
    bool may = send_check_locked(s, to) || usock_has_room_locked(to, n, load_relaxed(&s->sndbuf)) ||
               data_race(s->wr_shut);
    spin_unlock(&to->lock);
    return may;
}

static bool usock_wr_shut(struct usock *s)
{
    spin_lock(&s->lock);
    bool shut = s->wr_shut;
    spin_unlock(&s->lock);
    return shut;
}

// Wait until the message is queued. The caller keeps m if this fails.
static int send_wait(struct usock *s, struct usock *to, struct umsg *m, struct send *d,
                     u64 deadline)
{
    for (;;) {
        int err = usock_wr_shut(s) ? -EPIPE : send_try(s, to, m, d);
        if (!err) {
            waitq_wake_all_for(&to->rd_wait, POLLIN);
        }
        if (err != -EAGAIN || d->nonblock) {
            return err;
        }
        err = sock_wait(usock_room_wait(s), deadline, send_may(s, to, m->len));
        if (err) {
            return err;
        }
    }
}

// The peer was released: a datagram socket is unconnected again.
static void dgram_forget_peer(struct usock *s, struct usock *to)
{
    spin_lock(&s->lock);
    bool mine = s->peer == to;
    if (mine) {
        s->peer = NULL;
        s->state = USOCK_FREE;
    }
    spin_unlock(&s->lock);
    if (mine) {
        usock_put(to);
    }
}

// Whom a datagram or packet is for: counted.
static int send_target(struct usock *s, const struct send *d, struct usock **to)
{
    struct uname *n;
    if (s->type == SOCK_DGRAM && d->to) {
        int err = uname_parse(d->to, d->to_len, &n);
        if (err) {
            return err;
        }
        err = usock_find(n, to);
        uname_put(n);
        if (!err && (*to)->type != s->type) {
            usock_put(*to);
            err = -EPROTOTYPE;
        }
        return err;
    }
    *to = usock_peer_get(s);
    return *to ? 0 : -ENOTCONN;
}

static ssize_t send_packet(struct usock *s, struct send *d, u64 deadline)
{
    size_t n = d->it.left;
    struct umsg *m;
    struct usock *to;
    int err = send_target(s, d, &to);
    if (err) {
        return err;
    }
    if (s->type == SOCK_DGRAM && load_relaxed(&s->passcred)) {
        err = usock_autobind(s);
    }
    if (!err) {
        err = n + OVERHEAD > load_relaxed(&s->sndbuf) ? -EMSGSIZE : umsg_new(s, d, n, &m);
    }
    if (!err) {
        err = send_wait(s, to, m, d, deadline);
        if (err) {
            umsg_free(m);
        }
        if (err == -ECONNREFUSED) {
            dgram_forget_peer(s, to);
        }
    }
    usock_put(to);
    return err ? err : (ssize_t)n;
}

static ssize_t send_stream(struct usock *s, struct send *d, u64 deadline)
{
    struct usock *to = usock_peer_get(s);
    size_t done = 0;
    int err = 0;
    if (d->to || !to) {
        usock_put(to);
        return !d->to ? -ENOTCONN : to ? -EISCONN : -EOPNOTSUPP;
    }
    while (!err && d->it.left) {
        struct umsg *m;
        size_t n = min(d->it.left, (size_t)CHUNK);
        err = usock_wr_shut(s) ? -EPIPE : umsg_new(s, d, n, &m);
        if (err) {
            break;
        }
        err = send_wait(s, to, m, d, deadline);
        if (err) {
            umsg_free(m);
        } else {
            done += n;
        }
        cond_resched();
    }
    usock_put(to);
    return done ? (ssize_t)done : err;
}

ssize_t usock_send(struct usock *s, struct send *d)
{
    u64 deadline = sock_deadline(load_relaxed(&s->snd_timeout_ns));
    if (d->flags & MSG_OOB) {
        return -EOPNOTSUPP;
    }
    d->nonblock |= (d->flags & MSG_DONTWAIT) != 0;
    ssize_t r = s->type == SOCK_STREAM ? send_stream(s, d, deadline) : send_packet(s, d, deadline);
    if (r == -EPIPE && s->type != SOCK_DGRAM && !(d->flags & MSG_NOSIGNAL)) {
        signal_send_self(SIGPIPE);
    }
    return r;
}

// ---- Receiving ----------------------------------------------------------------------------------

static bool recv_may(struct usock *s)
{
    spin_lock(&s->lock);
    bool may = !list_empty(&s->queue) || s->rd_shut || s->error;
    spin_unlock(&s->lock);
    return may;
}

// The message behind `after` (NULL: the first). None: *err is -EAGAIN, 1 at the end, or an error.
static struct umsg *recv_next(struct usock *s, struct umsg *after, int *err)
{
    spin_lock(&s->lock);
    struct list *next = after ? after->link.next : s->queue.next;
    struct umsg *m = next == &s->queue ? NULL : list_entry(next, struct umsg, link);
    *err = 0;
    if (!m) {
        *err = s->error ? -s->error : s->rd_shut ? 1 : -EAGAIN;
    }
    spin_unlock(&s->lock);
    return m;
}

// The call returns err of recv_next: an error is told once, the end is 0.
static int recv_failed(struct usock *s, int err)
{
    if (err < 0 && err != -EAGAIN) {
        spin_lock(&s->lock);
        s->error = 0;
        spin_unlock(&s->lock);
    }
    return min(err, 0);
}

// n bytes of the first message were taken; all of it: it goes.
static void recv_consume(struct usock *s, struct umsg *m, size_t n, bool all)
{
    spin_lock(&s->lock);
    m->off += n;
    s->bytes -= all ? m->len - (m->off - n) : n;
    if (all) {
        list_del(&m->link);
        s->nr_queued--;
    }
    struct usock *peer = s->peer && s->type != SOCK_DGRAM ? usock_get(s->peer) : NULL;
    spin_unlock(&s->lock);
    if (all) {
        umsg_free(m);
    }
    if (peer) {
        waitq_wake_all_for(&peer->wr_wait, POLLOUT);
        usock_put(peer);
    } else {
        waitq_wake_all_for(&dgram_space, POLLOUT);
    }
}

static int recv_state(struct usock *s)
{
    spin_lock(&s->lock);
    enum usock_state state = s->state;
    spin_unlock(&s->lock);
    if (s->type == SOCK_DGRAM || state == USOCK_CONNECTED) {
        return 0;
    }
    return s->type == SOCK_STREAM ? -EINVAL : -ENOTCONN;
}

static ssize_t recv_packet_locked(struct usock *s, struct recv *d, struct umsg *m)
{
    bool peek = d->flags & MSG_PEEK;
    size_t want = min(d->it.left, m->len);
    size_t n = iov_copy(&d->it, m->data, want);
    if (n < want) {
        return -EFAULT; // the datagram stays, unlike on Linux, where it is lost
    }
    d->out_flags |= m->len > n ? MSG_TRUNC : 0;
    d->from = uname_get(m->from);
    d->cred = m->cred;
    d->has_cred = true;
    d->rights = m->rights ? umsg_take_rights(m, peek) : NULL;
    ssize_t r = d->flags & MSG_TRUNC ? (ssize_t)m->len : (ssize_t)n;
    if (!peek) {
        recv_consume(s, m, 0, true);
    }
    return r;
}

static ssize_t recv_packet(struct usock *s, struct recv *d, u64 deadline)
{
    for (;;) {
        int err;
        mutex_lock(&s->read_lock);
        struct umsg *m = recv_next(s, NULL, &err);
        ssize_t r = m ? recv_packet_locked(s, d, m) : err;
        mutex_unlock(&s->read_lock);
        if (m || err != -EAGAIN || d->nonblock) {
            return m ? r : recv_failed(s, err);
        }
        err = sock_wait(&s->rd_wait, deadline, recv_may(s));
        if (err) {
            return err;
        }
    }
}

static bool cred_same(const struct uapi_ucred *a, const struct uapi_ucred *b)
{
    return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

// Take what is there of a stream, at most what is asked for. Bytes, or -EFAULT. *err: why it ended
// early, as recv_next says; 0: enough.
static ssize_t recv_some_locked(struct usock *s, struct recv *d, int *err)
{
    bool peek = d->flags & MSG_PEEK, passcred = load_relaxed(&s->passcred);
    struct umsg *m = NULL;
    size_t done = 0;
    *err = 0;
    while (d->it.left && (m = recv_next(s, peek ? m : NULL, err)) != NULL) {
        if (d->has_cred && passcred && !cred_same(&d->cred, &m->cred)) {
            break;
        }
        size_t want = min(d->it.left, m->len - m->off);
        size_t n = iov_copy(&d->it, m->data + m->off, want);
        if (n == 0) {
            return done ? (ssize_t)done : -EFAULT;
        }
        done += n;
        d->cred = m->cred;
        d->has_cred = true;
        d->rights = m->rights ? umsg_take_rights(m, peek) : NULL;
        bool stop = d->rights || n < want;
        if (!peek) {
            recv_consume(s, m, n, m->off + n == m->len);
        }
        if (stop) {
            break;
        }
        cond_resched();
    }
    return (ssize_t)done;
}

static ssize_t recv_stream(struct usock *s, struct recv *d, u64 deadline)
{
    bool all = (d->flags & MSG_WAITALL) && !(d->flags & MSG_PEEK);
    size_t done = 0;
    for (;;) {
        int err;
        mutex_lock(&s->read_lock);
        ssize_t r = recv_some_locked(s, d, &err);
        mutex_unlock(&s->read_lock);
        done += r > 0 ? (size_t)r : 0;
        if (r < 0 || err != -EAGAIN || d->nonblock || (done && !all)) {
            return done ? (ssize_t)done : r < 0 ? r : recv_failed(s, err);
        }
        err = sock_wait(&s->rd_wait, deadline, recv_may(s));
        if (err) {
            return done ? (ssize_t)done : err;
        }
    }
}

ssize_t usock_recv(struct usock *s, struct recv *d)
{
    u64 deadline = sock_deadline(load_relaxed(&s->rcv_timeout_ns));
    int err = recv_state(s);
    if (err || (d->flags & MSG_OOB)) {
        return err ? err : -EINVAL;
    }
    if (d->flags & MSG_ERRQUEUE) {
        return -EAGAIN;
    }
    d->nonblock |= (d->flags & MSG_DONTWAIT) != 0;
    return s->type == SOCK_STREAM ? recv_stream(s, d, deadline) : recv_packet(s, d, deadline);
}
