// System calls of sockets, 2: messages. sendmsg(2), recvmsg(2), cmsg(3), unix(7).
#include <arch/mmu.h>
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>
#include <uapi/time.h>
#include <arch/time.h>
#include "../kernel/time_priv.h"
#include "sys_net.h"

#define CONTROL_MAX 20480u
#define MMSG_MAX    1024u
#define CMSG_ALIGN  8u

// The pieces of a message. sendmsg(2) has another errno for too many of them.
static int msg_iov_read(const struct uapi_msghdr *msg, struct uapi_iovec **out)
{
    return msg->iovlen > UIO_MAXIOV ? -EMSGSIZE : iov_read_own(msg->iov, msg->iovlen, out);
}

// ---- What comes with a message ------------------------------------------------------------------

// May the sender say that it is u? Receivers decide by it who may what, so it is one of those it
// is, or capabilities allow more (unix(7), SCM_CREDENTIALS). -EINVAL, -EPERM; -ESRCH: nobody is.
static int claim_permission(const struct uapi_ucred *u)
{
    struct creds c = creds_now();
    bool uid_ok = u->uid == c.uid || u->uid == c.euid || u->uid == c.suid;
    bool gid_ok = u->gid == c.gid || u->gid == c.egid || u->gid == c.sgid;
    if (u->uid == ~0u || u->gid == ~0u) {
        return -EINVAL;
    }
    if ((u->pid != current_process()->pid && !current_has_cap(CAP_SYS_ADMIN)) ||
        (!uid_ok && !current_has_cap(CAP_SETUID)) || (!gid_ok && !current_has_cap(CAP_SETGID))) {
        return -EPERM;
    }
    struct process *p = process_get_by_tid(u->pid);
    if (p) {
        process_put(p);
    }
    return p ? 0 : -ESRCH;
}

static int control_one(const struct uapi_cmsghdr *h, const void *data, size_t n, struct send *d)
{
    if (h->level != SOL_SOCKET) {
        return 0; // somebody else's
    }
    if (h->type == SCM_RIGHTS) {
        unsigned nr = (unsigned)(n / sizeof(s32));
        if (nr > SCM_MAX_FD || d->rights) {
            return -EINVAL;
        }
        return nr ? rights_new(data, nr, &d->rights) : 0;
    }
    if (h->type == SCM_CREDENTIALS) {
        if (n != sizeof(d->cred)) {
            return -EINVAL;
        }
        memcpy(&d->cred, data, sizeof(d->cred));
        return claim_permission(&d->cred);
    }
    return -EINVAL;
}

static int control_read(const struct uapi_msghdr *msg, struct send *d)
{
    size_t size = msg->controllen, at = 0;
    if (size > CONTROL_MAX) {
        return -ENOBUFS;
    }
    u8 *buf = kmalloc(size, GFP_KERNEL);
    int err = buf ? 0 : -ENOMEM;
    if (!err && arch_copy_from_user(buf, (const void *)msg->control, size)) {
        err = -EFAULT;
    }
    while (!err && size - at >= sizeof(struct uapi_cmsghdr)) {
        struct uapi_cmsghdr h;
        memcpy(&h, buf + at, sizeof(h));
        if (h.len < sizeof(h) || h.len > size - at) {
            err = -EINVAL;
            break;
        }
        err = control_one(&h, buf + at + sizeof(h), h.len - sizeof(h), d);
        at = min(at + align_up((size_t)h.len, (size_t)CMSG_ALIGN), size);
    }
    kfree(buf);
    return err;
}

// One control message for the receiver; cut, or left out, if there is no room.
struct control_out {
    u64 user, room, used;
    u32 flags; // MSG_CTRUNC
};

static int control_put(struct control_out *c, int type, const void *data, size_t n)
{
    struct uapi_cmsghdr h = {.len = sizeof(h) + n, .level = SOL_SOCKET, .type = type};
    if (c->room - c->used < sizeof(h)) {
        c->flags |= MSG_CTRUNC;
        return 0;
    }
    if (h.len > c->room - c->used) {
        c->flags |= MSG_CTRUNC;
        h.len = c->room - c->used;
    }
    u64 to = c->user + c->used;
    if (arch_copy_to_user((void *)to, &h, sizeof(h)) ||
        arch_copy_to_user((void *)(to + sizeof(h)), data, h.len - sizeof(h))) {
        return -EFAULT;
    }
    c->used = min(c->used + align_up(h.len, (u64)CMSG_ALIGN), c->room);
    return 0;
}

// Give the files of r to the current process: as many as there is room for.
static int control_put_rights(struct control_out *c, struct rights *r, bool cloexec)
{
    s32 fds[SCM_MAX_FD];
    u64 room = c->room - c->used, head = sizeof(struct uapi_cmsghdr);
    unsigned fit = room < head ? 0 : (unsigned)min((room - head) / sizeof(s32), (u64)r->nr), nr = 0;
    int err = 0;
    while (nr < fit && !err) {
        int fd = fd_install(file_get(r->file[nr]), cloexec ? O_CLOEXEC : 0);
        if (fd < 0) {
            break;
        }
        fds[nr++] = fd;
    }
    c->flags |= nr < r->nr ? MSG_CTRUNC : 0;
    return nr ? control_put(c, SCM_RIGHTS, fds, nr * sizeof(s32)) : 0;
}

// ---- send ---------------------------------------------------------------------------------------

// Send what the pieces v, msg->iovlen of them, hold: msg says to whom and with what. d has its
// flags.
static s64 send_pieces(struct file *f, struct usock *s, struct send *d, const struct uapi_iovec *v,
                       const struct uapi_msghdr *msg)
{
    struct uapi_sockaddr_un sa;
    s64 r = 0;
    if (msg->name && msg->namelen) {
        r = sockaddr_read(msg->name, msg->namelen, &sa);
        d->to = &sa;
        d->to_len = msg->namelen;
    }
    if (!r && msg->controllen) {
        r = control_read(msg, d);
    }
    if (!r) {
        d->nonblock = load_relaxed(&f->flags) & O_NONBLOCK;
        d->it = iov_iter_of(v, msg->iovlen, IOV_FROM_USER);
        r = usock_send(s, d);
    }
    rights_put(d->rights);
    return r;
}

static s64 send_message(struct file *f, struct usock *s, const struct uapi_msghdr *msg, u32 flags)
{
    struct send d = {.flags = flags, .cred = ucred_sender()};
    struct uapi_iovec *v;
    s64 r = msg_iov_read(msg, &v);
    if (!r) {
        r = send_pieces(f, s, &d, v, msg);
        kfree(v);
    }
    return r;
}

static s64 sendmsg_on(struct file *f, struct usock *s, const u64 *a)
{
    struct uapi_msghdr msg;
    if (arch_copy_from_user(&msg, (const void *)a[1], sizeof(msg))) {
        return -EFAULT;
    }
    return send_message(f, s, &msg, (u32)a[2]);
}

s64 sys_sendmsg(const u64 *a)
{
    return socket_call(a, sendmsg_on);
}

// Of sendto and recvfrom.
static bool buffer_is_user(const u64 *a)
{
    return a[1] <= USER_END && a[2] <= USER_END - a[1];
}

static s64 sendto_on(struct file *f, struct usock *s, const u64 *a)
{
    struct uapi_iovec v = {.base = a[1], .len = min(a[2], (u64)RW_MAX)};
    struct send d = {.flags = (u32)a[3], .cred = ucred_sender()};
    struct uapi_msghdr msg = {.name = a[4], .namelen = (s32)a[5], .iovlen = 1};
    return send_pieces(f, s, &d, &v, &msg);
}

s64 sys_sendto(const u64 *a)
{
    return buffer_is_user(a) ? socket_call(a, sendto_on) : -EFAULT;
}

// One of several messages, at `user`: r is its length, or what went wrong.
static s64 mmsg_length_out(u64 user, s64 r)
{
    u32 len = (u32)r;
    u64 to = user + offsetof(struct uapi_mmsghdr, len);
    return r >= 0 && arch_copy_to_user((void *)to, &len, sizeof(len)) ? -EFAULT : r;
}

static s64 sendmmsg_on(struct file *f, struct usock *s, const u64 *a)
{
    unsigned nr = min((unsigned)a[2], MMSG_MAX), done = 0;
    s64 r = 0;
    for (; done < nr; done++) {
        struct uapi_mmsghdr m;
        u64 user = a[1] + done * sizeof(m);
        r = arch_copy_from_user(&m, (const void *)user, sizeof(m)) ? -EFAULT : 0;
        if (!r) {
            r = mmsg_length_out(user, send_message(f, s, &m.hdr, (u32)a[3]));
        }
        if (r < 0) {
            break;
        }
        cond_resched();
    }
    return done ? (s64)done : r;
}

s64 sys_sendmmsg(const u64 *a)
{
    return socket_call(a, sendmmsg_on);
}

// ---- receive ------------------------------------------------------------------------------------

static s64 recv_results(struct usock *s, struct uapi_msghdr *msg, struct recv *d, s64 r)
{
    struct control_out c = {.user = msg->control, .room = msg->controllen};
    struct uapi_sockaddr_un sa;
    u32 len = s->type == SOCK_DGRAM || d->from ? uname_show(d->from, &sa) : 0;
    int err = 0;
    if (s->type != SOCK_DGRAM || (len && !d->from)) {
        len = 0; // connected, or the sender has no name
    }
    if (msg->name && len) {
        u8 bytes[sizeof(sa) + 1] = {0};
        memcpy(bytes, &sa, sizeof(sa));
        err = arch_copy_to_user((void *)msg->name, bytes, min(len, (u32)max(msg->namelen, 0)));
    }
    msg->namelen = (s32)len;
    if (!err && load_relaxed(&s->passcred) && d->has_cred) {
        err = control_put(&c, SCM_CREDENTIALS, &d->cred, sizeof(d->cred));
    }
    if (!err && d->rights) {
        err = control_put_rights(&c, d->rights, d->flags & MSG_CMSG_CLOEXEC);
    }
    msg->controllen = c.used;
    msg->flags = d->out_flags | c.flags | (d->flags & MSG_CMSG_CLOEXEC);
    return err ? -EFAULT : r;
}

// msg is kernel memory; its results are written there.
static s64 recv_on(struct file *f, struct usock *s, struct uapi_msghdr *msg, u32 flags)
{
    struct recv d = {.flags = flags, .nonblock = load_relaxed(&f->flags) & O_NONBLOCK};
    struct uapi_iovec *v;
    s64 r = msg_iov_read(msg, &v);
    if (r) {
        return r;
    }
    if (msg->name && msg->namelen < 0) {
        r = -EINVAL;
    }
    if (!r) {
        d.it = iov_iter_of(v, msg->iovlen, IOV_TO_USER);
        r = usock_recv(s, &d);
    }
    if (r >= 0) {
        r = recv_results(s, msg, &d, r);
    }
    uname_put(d.from);
    rights_put(d.rights);
    kfree(v);
    return r;
}

static s64 recv_user(struct file *f, struct usock *s, u64 user, u32 flags)
{
    struct uapi_msghdr msg;
    if (arch_copy_from_user(&msg, (const void *)user, sizeof(msg))) {
        return -EFAULT;
    }
    s64 r = recv_on(f, s, &msg, flags);
    if (r < 0) {
        return r;
    }
    // Not through a pointer to the struct: the program's need not be aligned.
    u64 namelen = user + offsetof(struct uapi_msghdr, namelen);
    u64 controllen = user + offsetof(struct uapi_msghdr, controllen);
    u64 flags_at = user + offsetof(struct uapi_msghdr, flags);
    if (arch_copy_to_user((void *)namelen, &msg.namelen, sizeof(msg.namelen)) ||
        arch_copy_to_user((void *)controllen, &msg.controllen, sizeof(msg.controllen)) ||
        arch_copy_to_user((void *)flags_at, &msg.flags, sizeof(msg.flags))) {
        return -EFAULT;
    }
    return r;
}

static s64 recvmsg_on(struct file *f, struct usock *s, const u64 *a)
{
    return recv_user(f, s, a[1], (u32)a[2]);
}

s64 sys_recvmsg(const u64 *a)
{
    return socket_call(a, recvmsg_on);
}

static s64 recvfrom_on(struct file *f, struct usock *s, const u64 *a)
{
    struct uapi_iovec v = {.base = a[1], .len = min(a[2], (u64)RW_MAX)};
    struct recv d = {.flags = (u32)a[3], .nonblock = load_relaxed(&f->flags) & O_NONBLOCK};
    d.it = iov_iter_of(&v, 1, IOV_TO_USER);
    s64 r = usock_recv(s, &d);
    if (r >= 0 && a[4]) {
        u32 none = 0;
        int err = d.from && s->type == SOCK_DGRAM ? sockaddr_write(d.from, a[4], a[5])
                  : arch_copy_to_user((void *)a[5], &none, sizeof(none)) ? -EFAULT
                                                                         : 0;
        r = err ? err : r;
    }
    uname_put(d.from);
    rights_put(d.rights);
    return r;
}

s64 sys_recvfrom(const u64 *a)
{
    return buffer_is_user(a) ? socket_call(a, recvfrom_on) : -EFAULT;
}

// a[4]: the deadline.
static s64 recvmmsg_on(struct file *f, struct usock *s, const u64 *a)
{
    unsigned nr = min((unsigned)a[2], MMSG_MAX), done = 0;
    u32 flags = (u32)a[3];
    s64 r = 0;
    while (done < nr) {
        u64 user = a[1] + done * sizeof(struct uapi_mmsghdr);
        r = mmsg_length_out(user, recv_user(f, s, user, flags & ~MSG_WAITFORONE));
        if (r < 0) {
            break;
        }
        done++;
        flags |= flags & MSG_WAITFORONE ? MSG_DONTWAIT : 0;
        if (clock_ns() >= a[4]) {
            break;
        }
        cond_resched();
    }
    return done ? (s64)done : r;
}

// A timeout is looked at between messages only, as on Linux (recvmmsg(2), BUGS).
s64 sys_recvmmsg(const u64 *a)
{
    u64 with_deadline[] = {a[0], a[1], a[2], a[3], TIME_NEVER};
    int err = a[4] ? deadline_from_user(a[4], CLOCK_MONOTONIC, false, &with_deadline[4]) : 0;
    return err ? err : socket_call(with_deadline, recvmmsg_on);
}
