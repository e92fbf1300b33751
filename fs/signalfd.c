// signalfd: signals that wait for the reader's process or thread, read like a file. See
// signalfd(2).
//
// The file holds nothing but a set: a read takes from whatever process reads, poll looks at
// whatever process polls, also after a fork. So the queue that pollers wait in is the process's
// (signal_wait: woken whenever a signal becomes pending), and one file may have watchers in the
// queues of several processes.
//
// Those queues must outlive the watchers. A poller is a thread of the process whose queue it is in;
// but an epoll's watcher stays until the epoll or this file goes, maybe after the process has
// ended. So the file keeps a reference to each process that polled it, until its release: the
// watchers are gone by then (epoll_file_gone). A process that has ended and whose queue nobody
// watches is let go of when another one comes, so that an inherited file does not collect them. (It
// keeps the struct process only; memory, descriptors and number of the process are long gone.)
//
//     no cycle: process -> descriptors -> file -> struct process; the descriptors are closed at the
//     end of the process's last thread, not when the struct is freed.
//
// A read does not use sig_wait as rt_sigtimedwait does: a signal that the caller does not block is
// not kept from its handler, nor from killing, by somebody who reads.
//
// Locks: `lock` the list; the set is one atomic word; what is pending is under process->lock.
// Rejected: a queue in the sighand, as Linux has it; whom a signal is for is decided in the
// process.
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>

#include "../kernel/proc_priv.h"
#include "fs_priv.h"

struct watched_process {
    struct list link;
    struct process *proc; // counted
};

struct signalfd {
    _Atomic u64 set;   // [a] SIG_BITs
    struct mutex lock; // RANK_SLEEP_MISC
    struct list procs; // [lock] watched_process
};

struct signalfd_siginfo {
    u32 signo;
    s32 errno_, code;
    u32 pid, uid;
    s32 fd;
    u32 tid, band, overrun, trapno;
    s32 status, int_;
    u64 ptr, utime, stime, addr;
    u16 addr_lsb, pad_;
    s32 syscall;
    u64 call_addr;
    u32 arch;
    u8 room_[28];
};
_Static_assert(sizeof(struct signalfd_siginfo) == 128, "struct signalfd_siginfo");

static void info_to_signalfd(struct signalfd_siginfo *to, const struct ksiginfo *info)
{
    memset(to, 0, sizeof(*to));
    to->signo = (u32)info->signo;
    to->code = info->code;
    if (info->code == SI_TIMER) {
        to->tid = (u32)info->pid;
        to->overrun = info->uid;
    } else if (info->code <= 0 || info->signo == SIGCHLD) {
        to->pid = (u32)info->pid;
        to->uid = info->uid;
    }
    if (info->code < 0 && info->code != SI_TKILL) {
        to->ptr = info->value;
        to->int_ = (s32)info->value;
    } else if (info->signo == SIGCHLD && info->code > 0) {
        to->status = info->status;
        to->utime = (u64)info->utime;
        to->stime = (u64)info->stime;
    } else if (info->code > 0 && info->code != SI_KERNEL) {
        to->addr = info->addr;
    }
}

// The next signal of the set: its number, or 0. Callers may be about to sleep: no sleeping lock.
static int signalfd_take(struct signalfd *s, struct ksiginfo *info)
{
    struct task_ext *t = current_task();
    spin_lock(&t->proc->lock);
    int sig = signal_dequeue_locked(t, load_relaxed(&s->set), info);
    if (sig) {
        signal_recalc_locked(t);
    }
    spin_unlock(&t->proc->lock);
    return sig;
}

static ssize_t signalfd_read(struct file *f, void *buf, size_t n, u64 *pos)
{
    struct signalfd *s = f->private;
    struct signalfd_siginfo *to = buf;
    size_t room = n / sizeof(*to), done = 0;
    (void)pos;
    if (room == 0) {
        return -EINVAL;
    }
    while (done < room) {
        struct signalfd_siginfo out;
        struct ksiginfo info;
        int sig = signalfd_take(s, &info), err = 0;
        if (!sig && done) {
            break;
        }
        if (!sig && (load_relaxed(&f->flags) & O_NONBLOCK)) {
            return -EAGAIN;
        }
        if (!sig) {
            err = waitq_wait_signal(&current_process()->signal_wait,
                                    (sig = signalfd_take(s, &info)) != 0);
        }
        if (err) {
            return err;
        }
        info_to_signalfd(&out, &info);
        if (arch_copy_to_user(to + done, &out, sizeof(out))) {
            return done ? (ssize_t)(done * sizeof(*to)) : -EFAULT;
        }
        done++;
        cond_resched();
    }
    return (ssize_t)(done * sizeof(*to));
}

// Make sure that the file keeps the current process. false: no memory.
static bool signalfd_keep_process(struct signalfd *s)
{
    struct process *p = current_process();
    struct watched_process *w, *tmp, *new;
    struct list gone = LIST_INIT(gone);
    bool found = false;
    mutex_lock(&s->lock);
    list_for_each_entry_safe (w, tmp, &s->procs, link) {
        found |= w->proc == p;
        // An ended process polls no more, so a queue that is empty now stays so.
        if (process_has_ended(w->proc) && !waitq_has_watchers(&w->proc->signal_wait)) {
            list_del(&w->link);
            list_add_tail(&gone, &w->link);
        }
    }
    if (!found) {
        new = kmalloc(sizeof(*new), GFP_KERNEL);
        if (new) {
            process_get(p);
            new->proc = p;
            list_add_tail(&s->procs, &new->link);
            found = true;
        }
    }
    mutex_unlock(&s->lock);
    list_for_each_entry_safe (w, tmp, &gone, link) {
        process_put(w->proc);
        kfree(w);
    }
    return found;
}

static unsigned signalfd_poll(struct file *f, struct pollq *pt)
{
    struct signalfd *s = f->private;
    struct task_ext *t = current_task();
    if (pt) {
        if (!signalfd_keep_process(s)) {
            return POLLERR;
        }
        poll_wait(pt, &t->proc->signal_wait);
    }
    spin_lock(&t->proc->lock);
    u64 pending = t->pending.set | t->proc->shared.set;
    spin_unlock(&t->proc->lock);
    return pending & load_relaxed(&s->set) ? POLLIN : 0;
}

static void signalfd_release(struct file *f)
{
    struct signalfd *s = f->private;
    struct watched_process *w, *tmp;
    list_for_each_entry_safe (w, tmp, &s->procs, link) {
        process_put(w->proc);
        kfree(w);
    }
    kfree(s);
}

static const struct file_ops signalfd_fops = {
    .read = signalfd_read,
    .poll = signalfd_poll,
    .release = signalfd_release,
    .stream = true,
    .seek_stays = true,
};

static s64 signalfd_new(u64 set, u32 flags)
{
    struct signalfd *s = kzalloc(sizeof(*s), GFP_KERNEL);
    if (!s) {
        return -ENOMEM;
    }
    store_relaxed(&s->set, set);
    mutex_init(&s->lock, RANK_SLEEP_MISC);
    list_init(&s->procs);
    return anon_fd_open("anon_inode:[signalfd]", &signalfd_fops, O_RDWR | flags, s, kfree);
}

static s64 do_signalfd(int fd, u64 user, u64 size, u32 flags)
{
    u64 set;
    if (size != sizeof(set)) {
        return -EINVAL;
    }
    if (arch_copy_from_user(&set, (const void *)user, sizeof(set))) {
        return -EFAULT;
    }
    if (flags & ~(u32)(O_CLOEXEC | O_NONBLOCK)) {
        return -EINVAL;
    }
    set &= ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
    if (fd == -1) {
        return signalfd_new(set, flags);
    }
    struct file *f = fd_get(fd);
    if (!f) {
        return -EBADF;
    }
    s64 r = -EINVAL;
    if (f->ops == &signalfd_fops) {
        struct signalfd *s = f->private;
        store_seq(&s->set, set); // before the wake-up: its reader looks at what is wanted now
        waitq_wake_all_for(&current_process()->signal_wait, POLLIN);
        r = fd;
    }
    file_put(f);
    return r;
}

s64 sys_signalfd(const u64 *a)
{
    return do_signalfd((int)a[0], a[1], a[2], 0);
}

s64 sys_signalfd4(const u64 *a)
{
    return do_signalfd((int)a[0], a[1], a[2], (u32)a[3]);
}
