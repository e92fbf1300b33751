// System calls: epoll_create, epoll_ctl, epoll_wait and their variants. See epoll(7); fs/epoll.c
// has the sets.
#include <arch/time.h>
#include <arch/uaccess.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>
#include "epoll_priv.h"
#include "poll_priv.h"

#define EXCLUSIVE_OK (POLLIN | POLLOUT | EPOLL_ALWAYS | EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLET)
#define EVENTS_MAX   (INT32_MAX / sizeof(struct epoll_event))

static s64 do_epoll_create(u32 flags)
{
    struct file *f;
    if (flags & ~(u32)O_CLOEXEC) {
        return -EINVAL;
    }
    struct epoll *ep = epoll_new();
    if (!ep) {
        return -ENOMEM;
    }
    int err = anon_file_open("anon_inode:[eventpoll]", &epoll_fops, O_RDWR, ep, &f);
    if (err) {
        epoll_put(ep);
        return err;
    }
    ep->file = f;
    return fd_install(f, flags);
}

s64 sys_epoll_create(const u64 *a)
{
    return (s32)a[0] <= 0 ? -EINVAL : do_epoll_create(0);
}

s64 sys_epoll_create1(const u64 *a)
{
    return do_epoll_create((u32)a[0]);
}

static int epoll_ctl_check(const struct file *epf, int op, const struct file *f,
                           const struct epoll_event *ev)
{
    if (!f->ops->poll) {
        return -EPERM; // always ready: nothing to wait for
    }
    if (f == epf || !is_epoll(epf)) {
        return -EINVAL;
    }
    if (op != EPOLL_CTL_DEL && (ev->events & EPOLLEXCLUSIVE)) {
        if (op == EPOLL_CTL_MOD || is_epoll(f) || (ev->events & ~EXCLUSIVE_OK)) {
            return -EINVAL;
        }
    }
    return op >= EPOLL_CTL_ADD && op <= EPOLL_CTL_MOD ? 0 : -EINVAL;
}

s64 sys_epoll_ctl(const u64 *a)
{
    int op = (int)a[1], fd = (int)a[2];
    struct epoll_event ev = {0};
    if (op != EPOLL_CTL_DEL && arch_copy_from_user(&ev, (const void *)a[3], sizeof(ev))) {
        return -EFAULT;
    }
    struct file *epf = fd_get((int)a[0]), *f = epf ? fd_get(fd) : NULL;
    s64 r = -EBADF;
    if (f) {
        r = epoll_ctl_check(epf, op, f, &ev);
        if (!r) {
            r = epoll_change(epf->private, op, f, fd, &ev);
        }
        file_put(f);
    }
    if (epf) {
        file_put(epf);
    }
    return r;
}

static s64 epoll_wait_until(struct epoll *ep, u64 user, unsigned max_events, u64 deadline)
{
    for (;;) {
        s64 n = epoll_collect(ep, user, max_events);
        if (n || deadline == 0) {
            return n;
        }
        struct waiter w = {0};
        int r = 1;
        while (r > 0) {
            waitq_prepare(&ep->wait, &w, THREAD_SLEEPING);
            if (epoll_has_ready(ep)) {
                break;
            }
            r = thread_signal_pending() ? -EINTR : schedule_until(deadline);
        }
        waitq_finish(&ep->wait, &w);
        if (r <= 0) {
            n = epoll_collect(ep, user, max_events);
            return n ? n : r;
        }
    }
}

static s64 do_epoll_wait(int fd, u64 user, s32 max_events, u64 deadline)
{
    if (max_events <= 0 || (u64)max_events > EVENTS_MAX) {
        return -EINVAL;
    }
    struct file *f = fd_get(fd);
    if (!f) {
        return -EBADF;
    }
    s64 r = -EINVAL;
    if (is_epoll(f)) {
        r = epoll_wait_until(f->private, user, (unsigned)max_events, deadline);
    }
    file_put(f);
    // The time that is left is not kept anywhere, so only an endless wait can start again.
    return r == -EINTR && deadline == TIME_NEVER ? -ERESTARTNOHAND : r;
}

static u64 deadline_of_ms(s32 ms)
{
    return ms < 0 ? TIME_NEVER : poll_deadline_in((u64)ms * 1000000);
}

s64 sys_epoll_wait(const u64 *a)
{
    return do_epoll_wait((int)a[0], a[1], (s32)a[2], deadline_of_ms((s32)a[3]));
}

s64 sys_epoll_pwait(const u64 *a)
{
    int err = signal_mask_swap_user(a[4], a[5]);
    return err ? err : do_epoll_wait((int)a[0], a[1], (s32)a[2], deadline_of_ms((s32)a[3]));
}

s64 sys_epoll_pwait2(const u64 *a)
{
    u64 deadline;
    int err = poll_deadline_user(a[3], &deadline);
    if (!err) {
        err = signal_mask_swap_user(a[4], a[5]);
    }
    return err ? err : do_epoll_wait((int)a[0], a[1], (s32)a[2], deadline);
}
