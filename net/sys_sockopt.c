// System calls of sockets, 3: options. socket(7), unix(7).
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <syscalls.h>
#include <uapi/time.h>
#include "sys_net.h"

// The options that are a flag and nothing else.
static atomic_bool *flag_of(struct usock *s, int option)
{
    switch (option) {
    case SO_PASSCRED:
        return &s->passcred;
    case SO_REUSEADDR:
        return &s->reuse;
    case SO_KEEPALIVE:
        return &s->keepalive;
    case SO_BROADCAST:
        return &s->broadcast;
    case SO_OOBINLINE:
        return &s->oobinline;
    default:
        return NULL;
    }
}

static s64 set_timeout(_Atomic u64 *to, u64 user, u32 len)
{
    struct uapi_timeval tv;
    if (len < sizeof(tv)) {
        return -EINVAL;
    }
    if (arch_copy_from_user(&tv, (const void *)user, sizeof(tv))) {
        return -EFAULT;
    }
    if (tv.tv_usec < 0 || tv.tv_usec >= 1000000) {
        return -EDOM;
    }
    bool far = tv.tv_sec < 0 || tv.tv_sec > INT32_MAX;
    u64 ns = (u64)tv.tv_sec * NSEC_PER_SEC + (u64)tv.tv_usec * NSEC_PER_USEC;
    // Linux takes a negative time for none at all: the call fails at once.
    store_relaxed(to, tv.tv_sec < 0 ? 1 : far ? 0 : ns);
    return 0;
}

static s64 set_linger(struct usock *s, u64 user, u32 len)
{
    s32 l[2];
    if (len < sizeof(l)) {
        return -EINVAL;
    }
    if (arch_copy_from_user(l, (const void *)user, sizeof(l))) {
        return -EFAULT;
    }
    store_relaxed(&s->linger_on, l[0] != 0); // closing waits for nothing here
    store_relaxed(&s->linger_s, l[1]);
    return 0;
}

// What socket(7) has for the privileged only.
static int option_permission(int option, s32 v)
{
    bool admin = current_has_cap(CAP_NET_ADMIN);
    switch (option) {
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE:
        return admin ? 0 : -EPERM;
    case SO_PRIORITY:
        return (v >= 0 && v <= 6) || admin || current_has_cap(CAP_NET_RAW) ? 0 : -EPERM;
    case SO_DEBUG:
        return !v || admin ? 0 : -EACCES;
    default:
        return 0;
    }
}

static s64 set_int(struct usock *s, int option, s32 v)
{
    atomic_bool *flag = flag_of(s, option);
    int err = option_permission(option, v);
    if (err) {
        return err;
    }
    if (flag) {
        store_relaxed(flag, v != 0);
        return 0;
    }
    u32 twice = min((u32)v, SNDBUF_MAX / 2) * 2; // socket(7): the kernel doubles it
    switch (option) {
    case SO_SNDBUF:
    case SO_SNDBUFFORCE:
        store_relaxed(&s->sndbuf, max(twice, SNDBUF_MIN));
        waitq_wake_all_for(usock_room_wait(s), POLLOUT);
        return 0;
    case SO_RCVBUF:
    case SO_RCVBUFFORCE:
        store_relaxed(&s->rcvbuf, max(twice, RCVBUF_MIN));
        return 0;
    case SO_RCVLOWAT:
        store_relaxed(&s->lowat, v > 0 ? (u32)v : v == 0 ? 1u : (u32)INT32_MAX);
        return 0;
    case SO_PRIORITY:
        store_relaxed(&s->priority, (u32)v);
        return 0;
    case SO_DEBUG:
    case SO_DONTROUTE:
    case SO_TIMESTAMP_OLD:
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

s64 sys_setsockopt(const u64 *a)
{
    int option = (int)a[2];
    u32 len = (u32)a[4];
    struct usock *s;
    struct file *f;
    s32 v;
    s64 r = usock_of_fd((int)a[0], &f, &s);
    if (r) {
        return r;
    }
    if ((s32)len < 0) {
        r = -EINVAL;
    } else if ((int)a[1] != SOL_SOCKET) {
        r = -EOPNOTSUPP;
    } else if (option == SO_LINGER) {
        r = set_linger(s, a[3], len);
    } else if (option == SO_RCVTIMEO_OLD || option == SO_RCVTIMEO_NEW) {
        r = set_timeout(&s->rcv_timeout_ns, a[3], len);
    } else if (option == SO_SNDTIMEO_OLD || option == SO_SNDTIMEO_NEW) {
        r = set_timeout(&s->snd_timeout_ns, a[3], len);
    } else if (len < sizeof(v)) {
        r = -EINVAL;
    } else {
        r = arch_copy_from_user(&v, (const void *)a[3], sizeof(v)) ? -EFAULT
                                                                   : set_int(s, option, v);
    }
    file_put(f);
    return r;
}

static s32 take_error(struct usock *s)
{
    spin_lock(&s->lock);
    s32 v = s->error;
    s->error = 0;
    spin_unlock(&s->lock);
    return v;
}

static bool get_int(struct usock *s, int option, s32 *v)
{
    atomic_bool *flag = flag_of(s, option);
    if (flag) {
        *v = load_relaxed(flag);
        return true;
    }
    switch (option) {
    case SO_TYPE:
        *v = s->type;
        return true;
    case SO_DOMAIN:
        *v = AF_UNIX;
        return true;
    case SO_PROTOCOL:
    case SO_DEBUG:
    case SO_DONTROUTE:
    case SO_REUSEPORT:
    case SO_TIMESTAMP_OLD:
        *v = 0;
        return true;
    case SO_ERROR:
        *v = take_error(s);
        return true;
    case SO_SNDBUF:
        *v = (s32)load_relaxed(&s->sndbuf);
        return true;
    case SO_RCVBUF:
        *v = (s32)load_relaxed(&s->rcvbuf);
        return true;
    case SO_RCVLOWAT:
        *v = (s32)load_relaxed(&s->lowat);
        return true;
    case SO_SNDLOWAT:
        *v = 1;
        return true;
    case SO_PRIORITY:
        *v = (s32)load_relaxed(&s->priority);
        return true;
    case SO_ACCEPTCONN:
        spin_lock(&s->lock);
        *v = s->state == USOCK_LISTEN;
        spin_unlock(&s->lock);
        return true;
    default:
        return false;
    }
}

// The value into buf; its size, or -ENOPROTOOPT.
static s64 get_option(struct usock *s, int option, void *buf)
{
    if (get_int(s, option, buf)) {
        return sizeof(s32);
    }
    switch (option) {
    case SO_PEERCRED:
        spin_lock(&s->lock);
        struct uapi_ucred c = s->peer_cred;
        bool none = s->state != USOCK_CONNECTED && !c.pid;
        spin_unlock(&s->lock);
        if (none) {
            c.uid = c.gid = ~0u;
        }
        memcpy(buf, &c, sizeof(c));
        return sizeof(c);
    case SO_LINGER: {
        s32 l[2] = {load_relaxed(&s->linger_on), load_relaxed(&s->linger_s)};
        memcpy(buf, l, sizeof(l));
        return sizeof(l);
    }
    case SO_RCVTIMEO_OLD:
    case SO_RCVTIMEO_NEW:
    case SO_SNDTIMEO_OLD:
    case SO_SNDTIMEO_NEW: {
        bool rcv = option == SO_RCVTIMEO_OLD || option == SO_RCVTIMEO_NEW;
        u64 ns = load_relaxed(rcv ? &s->rcv_timeout_ns : &s->snd_timeout_ns);
        struct uapi_timeval tv = {(s64)(ns / NSEC_PER_SEC),
                                  (s64)(ns % NSEC_PER_SEC / NSEC_PER_USEC)};
        memcpy(buf, &tv, sizeof(tv));
        return sizeof(tv);
    }
    case SO_COOKIE: {
        u64 cookie = s->file ? s->file->inode->ino : 0;
        memcpy(buf, &cookie, sizeof(cookie));
        return sizeof(cookie);
    }
    default:
        return -ENOPROTOOPT;
    }
}

s64 sys_getsockopt(const u64 *a)
{
    struct usock *s;
    struct file *f;
    u8 buf[32] __attribute__((aligned(8)));
    s32 room;
    s64 r = usock_of_fd((int)a[0], &f, &s);
    if (r) {
        return r;
    }
    if (arch_copy_from_user(&room, (const void *)a[4], sizeof(room))) {
        r = -EFAULT;
    } else if (room < 0) {
        r = -EINVAL;
    } else if ((int)a[1] != SOL_SOCKET) {
        r = -EOPNOTSUPP;
    } else {
        r = get_option(s, (int)a[2], buf);
    }
    file_put(f);
    if (r < 0) {
        return r;
    }
    s32 len = min(room, (s32)r);
    return arch_copy_to_user((void *)a[3], buf, (size_t)len) ||
                   arch_copy_to_user((void *)a[4], &len, sizeof(len))
               ? -EFAULT
               : 0;
}
