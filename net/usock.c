// Unix sockets, 1: their life. See unix(7).
//
//     usock.c     life, shutdown, poll: the file's operations
//     uname.c     addresses: bind, and who is bound where
//     uconnect.c  connect, listen, accept, pairs
//     umsg.c      sending and receiving
//     rights.c    files in messages, and the circles they make
//     sys_*.c     the system calls
//
// A message is written straight into the queue of the socket that will read it, so a socket needs
// one queue, for what came. Streams and packet sockets know each other: a->peer = b, b->peer = a,
// each counted, from connect until one is released; the other keeps its pointer (getpeername still
// works) and sees both its directions shut. A datagram socket's peer is just where send goes.
//
//     FREE --listen--> LISTEN
//     FREE --connect, socketpair, accept's embryo--> CONNECTED
//
// A connection is complete at connect: the listener's embryo, a socket without a file, is
// connected already and can be sent to; accept gives it a file.
//
// s->lock (a spinlock) guards all of this; of two sockets the one at the lower address is locked
// first. User memory is copied outside of it: a sender fills a message before it locks the
// receiver; readers exclude each other by read_lock, so the first message of a queue stays put
// while one copies it out. How much a socket may have waiting is bounded by the sender's SO_SNDBUF
// (streams: bytes at the receiver; datagrams: that, and their number).
#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/assert.h>
#include <k/string.h>
#include <proc.h>
#include "usock.h"

struct usock *usock_new(int type)
{
    struct usock *s = kzalloc(sizeof(*s), GFP_KERNEL);
    if (!s) {
        return NULL;
    }
    store_relaxed(&s->ref, 1);
    s->type = type;
    list_init(&s->rights);
    list_init(&s->flight_link);
    spin_init(&s->lock, RANK_SOCK);
    list_init(&s->queue);
    list_init(&s->embryos);
    list_init(&s->embryo_link);
    list_init(&s->name_link);
    mutex_init(&s->read_lock, RANK_PIPE);
    waitq_init(&s->rd_wait);
    waitq_init(&s->wr_wait);
    store_relaxed(&s->sndbuf, SNDBUF_DEFAULT);
    store_relaxed(&s->rcvbuf, SNDBUF_DEFAULT);
    store_relaxed(&s->lowat, 1);
    usock_list_add(s);
    return s;
}

void usock_put(struct usock *s)
{
    // A loop: a released socket may hold the last reference to its peer, but that one, released
    // too, holds none any more.
    while (s && atomic_fetch_sub(&s->ref, 1) == 1) { // earlier uses happen before the freeing
        struct usock *peer = s->peer;
        assert(list_empty(&s->queue) && list_empty(&s->embryos) && list_empty(&s->rights));
        usock_list_remove(s);
        uname_put(s->name);
        kfree(s);
        s = peer;
    }
}

struct usock *usock_peer_get(struct usock *s)
{
    spin_lock(&s->lock);
    struct usock *peer = s->peer ? usock_get(s->peer) : NULL;
    spin_unlock(&s->lock);
    return peer;
}

void usock_lock_two(struct usock *a, struct usock *b) NO_LOCK_ANALYSIS
{
    if (a == b) {
        spin_lock(&a->lock);
        return;
    }
    spin_lock(a < b ? &a->lock : &b->lock);
    spin_lock_nested(a < b ? &b->lock : &a->lock);
}

void usock_unlock_two(struct usock *a, struct usock *b) NO_LOCK_ANALYSIS
{
    spin_unlock(&a->lock);
    if (a != b) {
        spin_unlock(&b->lock);
    }
}

struct waitq dgram_space = WAITQ_INIT(dgram_space);

static void usock_wake(struct usock *s)
{
    waitq_wake_all(&s->rd_wait);
    waitq_wake_all(&s->wr_wait);
}

bool usock_has_room_locked(const struct usock *s, size_t n, size_t sndbuf)
{
    // What the messages themselves take counts: empty ones would fit without end.
    size_t held = s->bytes + s->nr_queued * sizeof(struct umsg);
    if (s->type == SOCK_STREAM) {
        return held < sndbuf;
    }
    bool many = s->type == SOCK_DGRAM && s->nr_queued > DGRAM_QUEUE;
    return !many && (s->nr_queued == 0 || held + n <= sndbuf);
}

struct uapi_ucred ucred_now(void)
{
    struct creds c = creds_now();
    return (struct uapi_ucred){.pid = current_process()->pid, .uid = c.euid, .gid = c.egid};
}

struct uapi_ucred ucred_sender(void)
{
    struct creds c = creds_now();
    return (struct uapi_ucred){.pid = current_process()->pid, .uid = c.uid, .gid = c.gid};
}

u64 sock_deadline(u64 timeout_ns)
{
    return timeout_ns ? clock_ns() + timeout_ns : TIME_NEVER;
}

// ---- The end ------------------------------------------------------------------------------------

// Tell a connected peer that we are gone. reset: we had not read all it sent.
static void usock_leave_peer(struct usock *s, struct usock *peer, bool reset)
{
    spin_lock(&peer->lock);
    if (s->type != SOCK_DGRAM) {
        peer->rd_shut = peer->wr_shut = true;
        peer->error = reset ? ECONNRESET : peer->error;
    }
    spin_unlock(&peer->lock);
    usock_wake(peer);
}

void usock_abandon(struct usock *s)
{
    struct list queue, embryos;
    struct umsg *m, *m_tmp;
    struct usock *e, *e_tmp;
    list_init(&queue);
    list_init(&embryos);
    usock_unname(s);
    spin_lock(&s->lock);
    s->released = s->rd_shut = s->wr_shut = true;
    bool reset = !list_empty(&s->queue) || !s->file;
    struct usock *peer = s->peer;
    s->peer = NULL;
    list_splice_tail(&queue, &s->queue);
    list_splice_tail(&embryos, &s->embryos);
    s->nr_queued = s->nr_embryos = 0;
    s->bytes = 0;
    spin_unlock(&s->lock);
    usock_wake(s);
    waitq_wake_all(&dgram_space);
    if (peer) {
        usock_leave_peer(s, peer, reset);
        usock_put(peer);
    }
    list_for_each_entry_safe (m, m_tmp, &queue, link) {
        list_del(&m->link);
        umsg_free(m);
        cond_resched();
    }
    list_for_each_entry_safe (e, e_tmp, &embryos, embryo_link) {
        list_del(&e->embryo_link);
        usock_abandon(e); // has none of its own
    }
    usock_put(s);
}

static void usock_release(struct file *f)
{
    struct usock *s = f->private;
    usock_abandon(s);
    rights_released();
}

int usock_shutdown(struct usock *s, int how)
{
    if (how < SHUT_RD || how > SHUT_RDWR) {
        return -EINVAL;
    }
    bool rd = how != SHUT_WR, wr = how != SHUT_RD;
    spin_lock(&s->lock);
    struct usock *peer = s->peer && s->type != SOCK_DGRAM ? usock_get(s->peer) : NULL;
    s->rd_shut |= rd;
    s->wr_shut |= wr;
    spin_unlock(&s->lock);
    usock_wake(s);
    if (peer) {
        spin_lock(&peer->lock);
        peer->rd_shut |= wr;
        peer->wr_shut |= rd;
        spin_unlock(&peer->lock);
        usock_wake(peer);
        usock_put(peer);
    }
    return 0;
}

// ---- The file -----------------------------------------------------------------------------------

static bool usock_may_write(struct usock *s)
{
    struct usock *peer = usock_peer_get(s);
    bool may = true;
    if (peer) {
        spin_lock(&peer->lock);
        may = peer->released || usock_has_room_locked(peer, 1, load_relaxed(&s->sndbuf));
        spin_unlock(&peer->lock);
        usock_put(peer);
    }
    return may;
}

static unsigned usock_poll(struct file *f, struct pollq *pt)
{
    struct usock *s = f->private;
    unsigned events = 0;
    if (pt) {
        poll_wait(pt, &s->rd_wait);
        poll_wait(pt, usock_room_wait(s));
    }
    bool writable = usock_may_write(s);
    spin_lock(&s->lock);
    bool listens = s->state == USOCK_LISTEN;
    events |= s->error ? POLLERR : 0;
    events |= s->rd_shut ? POLLRDHUP | POLLIN | POLLRDNORM : 0;
    events |= s->rd_shut && s->wr_shut ? POLLHUP : 0;
    events |= !list_empty(&s->queue) || !list_empty(&s->embryos) ? POLLIN | POLLRDNORM : 0;
    events |= s->type != SOCK_DGRAM && s->state == USOCK_FREE ? POLLHUP : 0;
    events |= writable && !listens ? POLLOUT | POLLWRNORM | POLLWRBAND : 0;
    spin_unlock(&s->lock);
    return events;
}

static s64 usock_ioctl(struct file *f, unsigned cmd, u64 arg)
{
    struct usock *s = f->private;
    s32 n = 0;
    if (cmd != FIONREAD && cmd != SIOCOUTQ) {
        return -ENOTTY;
    }
    struct usock *of = cmd == FIONREAD ? usock_get(s) : usock_peer_get(s);
    if (of) {
        spin_lock(&of->lock);
        struct umsg *first = list_first(&of->queue, struct umsg, link);
        bool listens = of->state == USOCK_LISTEN;
        bool one = cmd == FIONREAD && s->type == SOCK_DGRAM;
        n = (s32)(one && first ? first->len : of->bytes);
        spin_unlock(&of->lock);
        usock_put(of);
        if (listens) {
            return -EINVAL;
        }
    }
    return arch_copy_to_user((void *)arg, &n, sizeof(n)) ? -EFAULT : 0;
}

static ssize_t usock_readv(struct file *f, const struct uapi_iovec *v, u64 nr, bool nowait)
{
    struct recv m = {.it = iov_iter_of(v, nr, IOV_TO_USER),
                     .nonblock = nowait || (load_relaxed(&f->flags) & O_NONBLOCK)};
    if (m.it.left == 0) {
        return 0;
    }
    ssize_t r = usock_recv(f->private, &m);
    uname_put(m.from);
    rights_put(m.rights); // nobody to give them to
    return r;
}

static ssize_t usock_writev(struct file *f, const struct uapi_iovec *v, u64 nr, bool nowait)
{
    struct send m = {.it = iov_iter_of(v, nr, IOV_FROM_USER),
                     .cred = ucred_sender(),
                     .nonblock = nowait || (load_relaxed(&f->flags) & O_NONBLOCK)};
    return usock_send(f->private, &m);
}

static ssize_t usock_read(struct file *f, void *buf, size_t n, u64 *pos)
{
    struct uapi_iovec v = {.base = (u64)buf, .len = n};
    (void)pos;
    return usock_readv(f, &v, 1, false);
}

static ssize_t usock_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
    struct uapi_iovec v = {.base = (u64)buf, .len = n};
    (void)pos;
    return usock_writev(f, &v, 1, false);
}

static ssize_t usock_write_kernel(struct file *f, const void *buf, size_t n, u64 *pos)
{
    struct uapi_iovec v = {.base = (u64)buf, .len = n};
    struct send m = {.it = iov_iter_of(&v, 1, IOV_FROM_KERNEL),
                     .cred = ucred_sender(),
                     .nonblock = load_relaxed(&f->flags) & O_NONBLOCK};
    (void)pos;
    return usock_send(f->private, &m);
}

const struct file_ops usock_fops = {
    .write_kernel = usock_write_kernel,
    .read = usock_read,
    .write = usock_write,
    .readv = usock_readv,
    .writev = usock_writev,
    .poll = usock_poll,
    .ioctl = usock_ioctl,
    .release = usock_release,
    .stream = true,
};

int usock_file(struct usock *s, u32 flags, struct file **out)
{
    int err = sock_file_open(&usock_fops, O_RDWR | (flags & SOCK_NONBLOCK), s, out);
    if (err) {
        usock_abandon(s);
        return err;
    }
    spin_lock(&s->lock);
    s->file = *out;
    spin_unlock(&s->lock);
    return 0;
}

int usock_install(struct usock *s, u32 flags)
{
    struct file *f;
    int err = usock_file(s, flags, &f);
    return err ? err : fd_install(f, flags & SOCK_CLOEXEC);
}

int usock_of_fd(int fd, struct file **f, struct usock **s)
{
    *f = fd_get(fd);
    if (!*f) {
        return -EBADF;
    }
    if ((*f)->ops != &usock_fops) {
        file_put(*f);
        return -ENOTSOCK;
    }
    *s = (*f)->private;
    return 0;
}
