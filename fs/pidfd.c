// pidfds: descriptors that stand for a process. They never mean another one, whatever happens to
// its number.
//
// The inode holds a reference to the struct process, which outlives the process itself. Poll says
// POLLIN once it is a zombie, and goes on saying so (pidfd_open(2)).
#include <arch/uaccess.h>
#include <k/errno.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>

#include "../kernel/proc_priv.h"
#include "fd_priv.h"

static unsigned pidfd_poll(struct file *f, struct pollq *pt)
{
    struct process *p = f->inode->private;

    if (pt) {
        poll_wait(pt, &p->end_wait);
    }
    return process_has_ended(p) ? POLLIN | POLLRDNORM : 0;
}

static const struct file_ops pidfd_fops = {.poll = pidfd_poll, .stream = true};

static void pidfd_evict(struct inode *i)
{
    if (i->private) {
        process_put(i->private);
    }
}

static const struct inode_ops pidfd_inode_ops = {.evict = pidfd_evict};
static struct super pidfd_super = {.type = "pidfs", .magic = 0x50494446};

int pidfd_file(struct process *p, u32 flags, struct file **out)
{
    struct inode *i = inode_new(&pidfd_super, S_IFREG | 0600);
    int err;

    if (!i) {
        return -ENOMEM;
    }
    i->ops = &pidfd_inode_ops;
    i->fops = &pidfd_fops;
    err = file_open_inode(i, O_RDWR | flags, NULL, out);
    if (!err) {
        process_get(p);
        i->private = p;
    }
    inode_put(i);
    return err;
}

int pidfd_process(int fd, struct process **out, u32 *flags)
{
    struct file *f = fd_get(fd);
    int err = -EBADF;

    if (!f) {
        return err;
    }
    if (f->ops == &pidfd_fops) {
        *out = f->inode->private;
        process_get(*out);
        if (flags) {
            *flags = load_relaxed(&f->flags);
        }
        err = 0;
    }
    file_put(f);
    return err;
}

s64 sys_pidfd_open(const u64 *a)
{
    s32 pid = (s32)a[0];
    struct process *p;
    struct file *f;
    s64 r;

    if (((u32)a[1] & ~(u32)O_NONBLOCK) || pid <= 0) {
        return -EINVAL;
    }
    p = process_get_by_pid(pid);
    if (!p) {
        // A thread that is not its process's first: Linux before 6.9 says this.
        return task_signal_by_tid(0, pid, NULL) ? -ESRCH : -EINVAL;
    }
    r = pidfd_file(p, (u32)a[1], &f);
    process_put(p);
    return r ? r : fd_install(f, O_CLOEXEC);
}

// A directory /proc/PID is good for signals, too: it was the first pidfd.
static int signal_target(int fd, struct process **out)
{
    struct file *f;
    int err = pidfd_process(fd, out, NULL);

    if (err != -EBADF) {
        return err;
    }
    f = fd_get(fd);
    if (f) {
        err = proc_pid_process(f->inode, out);
        file_put(f);
    }
    return err;
}

// pidfd_send_signal(2): flags must be 0; without a siginfo it is like kill.
s64 sys_pidfd_send_signal(const u64 *a)
{
    struct process *p;
    int err;

    if (a[3]) {
        return -EINVAL;
    }
    err = signal_target((int)a[0], &p);
    if (err) {
        return err;
    }
    err = process_has_ended(p) && process_is_reaped(p) ? -ESRCH
                                                       : signal_from_user(p, (int)a[1], a[2]);
    process_put(p);
    return err;
}

// A descriptor of another process becomes one of ours (pidfd_getfd(2)); close-on-exec.
s64 sys_pidfd_getfd(const u64 *a)
{
    struct process *p;
    struct files *t;
    struct file *f;
    int err;

    if ((u32)a[2]) {
        return -EINVAL;
    }
    err = pidfd_process((int)a[0], &p, NULL);
    if (err) {
        return err;
    }
    err = creds_get_files(p, &t);
    process_put(p);
    if (err) {
        return err;
    }
    f = files_get_file(t, (int)a[1]);
    files_put(t);
    return f ? fd_install(f, O_CLOEXEC) : -EBADF;
}
