// System calls of sockets, 1: making, naming, connecting, options of life. The only family is
// AF_UNIX.
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>
#include "sys_net.h"

static int type_check(int family, u32 type, int protocol)
{
    if (type & ~(u32)(SOCK_TYPE_MASK | SOCK_NONBLOCK | SOCK_CLOEXEC)) {
        return -EINVAL;
    }
    if (family != AF_UNIX) {
        return -EAFNOSUPPORT;
    }
    if (protocol && protocol != AF_UNIX) {
        return -EPROTONOSUPPORT;
    }
    switch (type & SOCK_TYPE_MASK) {
    case SOCK_STREAM:
    case SOCK_SEQPACKET:
    case SOCK_DGRAM:
        return (int)(type & SOCK_TYPE_MASK);
    case SOCK_RAW:
        return SOCK_DGRAM;
    default:
        return -ESOCKTNOSUPPORT;
    }
}

s64 sys_socket(const u64 *a)
{
    u32 flags = (u32)a[1];
    int type = type_check((int)a[0], flags, (int)a[2]);
    if (type < 0) {
        return type;
    }
    struct usock *s = usock_new(type);
    return s ? usock_install(s, flags) : -ENOMEM;
}

s64 sys_socketpair(const u64 *a)
{
    u32 flags = (u32)a[1];
    int type = type_check((int)a[0], flags, (int)a[2]);
    s32 fd[2];
    if (type < 0) {
        return type;
    }
    struct usock *x = usock_new(type), *y = usock_new(type);
    if (!x || !y) {
        usock_put(x);
        usock_put(y);
        return -ENOMEM;
    }
    usock_pair(x, y);
    fd[0] = usock_install(x, flags);
    if (fd[0] < 0) {
        usock_abandon(y);
        return fd[0];
    }
    fd[1] = usock_install(y, flags);
    if (fd[1] < 0) {
        fd_close(fd[0]);
        return fd[1];
    }
    if (arch_copy_to_user((void *)a[3], fd, sizeof(fd))) {
        fd_close(fd[0]);
        fd_close(fd[1]);
        return -EFAULT;
    }
    return 0;
}

s64 socket_call(const u64 *a, socket_fn fn)
{
    struct usock *s;
    struct file *f;
    s64 r = usock_of_fd((int)a[0], &f, &s);
    if (!r) {
        r = fn(f, s, a);
        file_put(f);
    }
    return r;
}

// ---- Addresses ----------------------------------------------------------------------------------

int sockaddr_read(u64 user, s32 len, struct uapi_sockaddr_un *sa)
{
    memset(sa, 0, sizeof(*sa));
    if (len < 0 || len > 128) { // struct sockaddr_storage
        return -EINVAL;
    }
    if (arch_copy_from_user(sa, (const void *)user, min((size_t)len, sizeof(*sa)))) {
        return -EFAULT;
    }
    return 0;
}

int sockaddr_write(const struct uname *n, u64 user, u64 user_len)
{
    struct uapi_sockaddr_un sa;
    u32 len = uname_show(n, &sa);
    s32 room;
    if (arch_copy_from_user(&room, (const void *)user_len, sizeof(room))) {
        return -EFAULT;
    }
    if (room < 0) {
        return -EINVAL;
    }
    // One byte more than sockaddr_un has: the NUL of the longest path.
    u8 bytes[sizeof(sa) + 1] = {0};
    memcpy(bytes, &sa, sizeof(sa));
    if (arch_copy_to_user((void *)user, bytes, min((u32)room, len)) ||
        arch_copy_to_user((void *)user_len, &len, sizeof(len))) {
        return -EFAULT;
    }
    return 0;
}

static s64 bind_on(struct file *f, struct usock *s, const u64 *a)
{
    struct uapi_sockaddr_un sa;
    int err = sockaddr_read(a[1], (s32)a[2], &sa);
    (void)f;
    return err ? err : usock_bind(s, &sa, (s32)a[2]);
}

s64 sys_bind(const u64 *a)
{
    return socket_call(a, bind_on);
}

static s64 connect_on(struct file *f, struct usock *s, const u64 *a)
{
    struct uapi_sockaddr_un sa;
    int err = sockaddr_read(a[1], (s32)a[2], &sa);
    return err ? err : usock_connect(s, &sa, (s32)a[2], load_relaxed(&f->flags) & O_NONBLOCK);
}

s64 sys_connect(const u64 *a)
{
    return socket_call(a, connect_on);
}

static s64 listen_on(struct file *f, struct usock *s, const u64 *a)
{
    (void)f;
    return usock_listen(s, (int)a[1]);
}

s64 sys_listen(const u64 *a)
{
    return socket_call(a, listen_on);
}

// The name of s to the user.
static int name_to_user(struct usock *s, u64 user, u64 user_len)
{
    spin_lock(&s->lock);
    struct uname *n = uname_get(s->name);
    spin_unlock(&s->lock);
    int err = sockaddr_write(n, user, user_len);
    uname_put(n);
    return err;
}

// The same for its peer. -ENOTCONN.
static int peer_to_user(struct usock *s, u64 user, u64 user_len)
{
    struct usock *peer = usock_peer_get(s);
    if (!peer) {
        return -ENOTCONN;
    }
    int err = name_to_user(peer, user, user_len);
    usock_put(peer);
    return err;
}

// a[3]: flags. The descriptor comes first: a connection that is taken off the listener's queue and
// finds no room would be lost (accept(2): EMFILE leaves it there).
static s64 accept_on(struct file *f, struct usock *s, const u64 *a)
{
    u32 flags = (u32)a[3];
    struct file *made = NULL;
    struct usock *e;
    int fd = fd_reserve();
    if (fd < 0) {
        return fd;
    }
    int err = usock_accept(s, load_relaxed(&f->flags) & O_NONBLOCK, &e);
    if (!err) {
        err = usock_file(e, flags, &made);
    }
    if (!err && a[1]) {
        err = peer_to_user(made->private, a[1], a[2]);
        if (err) {
            file_put(made);
        }
    }
    fd_fill(fd, err ? NULL : made, flags & SOCK_CLOEXEC);
    return err ? err : fd;
}

s64 sys_accept(const u64 *a)
{
    u64 with_flags[] = {a[0], a[1], a[2], 0};
    return socket_call(with_flags, accept_on);
}

s64 sys_accept4(const u64 *a)
{
    return (u32)a[3] & ~(u32)(SOCK_NONBLOCK | SOCK_CLOEXEC) ? -EINVAL : socket_call(a, accept_on);
}

static s64 shutdown_on(struct file *f, struct usock *s, const u64 *a)
{
    (void)f;
    return usock_shutdown(s, (int)a[1]);
}

s64 sys_shutdown(const u64 *a)
{
    return socket_call(a, shutdown_on);
}

static s64 name_on(struct file *f, struct usock *s, const u64 *a)
{
    (void)f;
    return name_to_user(s, a[1], a[2]);
}

s64 sys_getsockname(const u64 *a)
{
    return socket_call(a, name_on);
}

static s64 peer_on(struct file *f, struct usock *s, const u64 *a)
{
    (void)f;
    return peer_to_user(s, a[1], a[2]);
}

s64 sys_getpeername(const u64 *a)
{
    return socket_call(a, peer_on);
}
