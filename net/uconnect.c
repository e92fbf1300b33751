// Unix sockets, 3: connections. net/usock.c tells the theory.
#include <k/assert.h>
#include <k/string.h>
#include <proc.h>
#include "usock.h"

// Both locked (or not yet reachable): they are each other's peers from now on.
static void connect_locked(struct usock *a, struct usock *b)
{
    a->peer = usock_get(b);
    b->peer = usock_get(a);
    a->state = b->state = USOCK_CONNECTED;
}

int usock_pair(struct usock *a, struct usock *b)
{
    a->cred = b->cred = a->peer_cred = b->peer_cred = ucred_now();
    connect_locked(a, b);
    return 0;
}

int usock_listen(struct usock *s, int backlog)
{
    struct uapi_ucred me = ucred_now();
    int err = 0;
    if (s->type == SOCK_DGRAM) {
        return -EOPNOTSUPP;
    }
    spin_lock(&s->lock);
    if (!s->name || s->state == USOCK_CONNECTED) {
        err = -EINVAL;
    } else {
        s->state = USOCK_LISTEN;
        s->backlog = min((unsigned)backlog, (unsigned)SOMAXCONN);
        s->cred = me;
    }
    spin_unlock(&s->lock);
    waitq_wake_all(&s->wr_wait); // who waits for room among the embryos
    return err;
}

static bool listener_has_room(struct usock *to)
{
    spin_lock(&to->lock);
    bool room = to->nr_embryos <= to->backlog || to->state != USOCK_LISTEN || to->rd_shut;
    spin_unlock(&to->lock);
    return room;
}

// s connects through the embryo e. 0, -EAGAIN: no room; others.
static int connect_try(struct usock *s, struct usock *to, struct usock *e)
{
    struct uapi_ucred me = ucred_now();
    int err = 0;
    usock_lock_two(s, to);
    if (s->state != USOCK_FREE) {
        err = s->state == USOCK_CONNECTED ? -EISCONN : -EINVAL;
    } else if (to->state != USOCK_LISTEN || to->rd_shut) {
        err = -ECONNREFUSED;
    } else if (to->nr_embryos > to->backlog) {
        err = -EAGAIN;
    } else {
        e->name = uname_get(to->name);
        e->cred = to->cred;
        e->peer_cred = s->cred = me;
        s->peer_cred = to->cred;
        store_relaxed(&e->passcred, load_relaxed(&to->passcred));
        connect_locked(s, e);
        list_add_tail(&to->embryos, &e->embryo_link); // the list has e's first reference
        to->nr_embryos++;
    }
    usock_unlock_two(s, to);
    return err;
}

static int connect_stream(struct usock *s, struct usock *to, bool nonblock)
{
    u64 deadline = sock_deadline(load_relaxed(&s->snd_timeout_ns));
    struct usock *e = usock_new(s->type);
    int err = e ? 0 : -ENOMEM;
    while (!err) {
        err = connect_try(s, to, e);
        if (err != -EAGAIN || nonblock) {
            break;
        }
        err = sock_wait(&to->wr_wait, deadline, listener_has_room(to));
    }
    if (err) {
        usock_put(e);
        return err;
    }
    waitq_wake_all_for(&to->rd_wait, POLLIN);
    waitq_wake_all(&s->wr_wait);
    return 0;
}

// A datagram socket's peer is where it sends to; NULL: nowhere.
static int connect_dgram(struct usock *s, struct usock *to)
{
    if (to) {
        usock_lock_two(s, to);
        bool taken = to->peer && to->peer != s; // it talks to somebody else
        usock_unlock_two(s, to);
        if (taken) {
            return -EPERM;
        }
        usock_get(to);
    }
    spin_lock(&s->lock);
    struct usock *old = s->peer;
    s->peer = to;
    s->state = to ? USOCK_CONNECTED : USOCK_FREE;
    spin_unlock(&s->lock);
    usock_put(old);
    waitq_wake_all(&dgram_space);
    return 0;
}

int usock_connect(struct usock *s, const struct uapi_sockaddr_un *sa, s32 len, bool nonblock)
{
    struct uname *n;
    struct usock *to;
    if (s->type == SOCK_DGRAM && len >= (s32)sizeof(sa->family) && sa->family == AF_UNSPEC) {
        return connect_dgram(s, NULL);
    }
    int err = uname_parse(sa, len, &n);
    if (err) {
        return err;
    }
    err = usock_find(n, &to);
    uname_put(n);
    if (err) {
        return err;
    }
    if (to->type != s->type) {
        err = -EPROTOTYPE;
    } else if (load_relaxed(&s->passcred)) {
        err = usock_autobind(s);
    }
    if (!err) {
        err = s->type == SOCK_DGRAM ? connect_dgram(s, to) : connect_stream(s, to, nonblock);
    }
    usock_put(to);
    return err;
}

// -EAGAIN: none there.
static int accept_try(struct usock *s, struct usock **out)
{
    int err = 0;
    spin_lock(&s->lock);
    struct usock *e = list_first(&s->embryos, struct usock, embryo_link);
    if (s->state != USOCK_LISTEN) {
        err = -EINVAL;
    } else if (e) {
        list_del(&e->embryo_link);
        s->nr_embryos--;
        *out = e;
    } else {
        err = s->rd_shut ? -EINVAL : -EAGAIN;
    }
    spin_unlock(&s->lock);
    return err;
}

static bool accept_may(struct usock *s)
{
    spin_lock(&s->lock);
    bool may = !list_empty(&s->embryos) || s->rd_shut || s->state != USOCK_LISTEN;
    spin_unlock(&s->lock);
    return may;
}

int usock_accept(struct usock *s, bool nonblock, struct usock **out)
{
    u64 deadline = sock_deadline(load_relaxed(&s->rcv_timeout_ns));
    if (s->type == SOCK_DGRAM) {
        return -EOPNOTSUPP;
    }
    for (;;) {
        int err = accept_try(s, out);
        if (!err) {
            waitq_wake_all(&s->wr_wait);
        }
        if (err != -EAGAIN || nonblock) {
            return err;
        }
        err = sock_wait(&s->rd_wait, deadline, accept_may(s));
        if (err) {
            return err;
        }
    }
}
