// New processes: the part of clone that makes one.
//
// A new process is built where nobody can see it, from copies of what the parent has, or from
// counted references where a flag says that both share it. Then kernel/proc.c publishes it, which
// is the only step that others notice; then it starts. What fails before that leaves nothing.
//
//     flag           with                          without
//     CLONE_VM       the same address space        mm_fork (mm/fork.c)
//     CLONE_FILES    the same descriptor table     a copy of it, the open files are shared
//     CLONE_FS       the same directory and umask  a copy
//     CLONE_SIGHAND  the same signal actions       a copy
//
// vfork: the parent waits until the child has left the address space they share, by execve or at
// its end. Both may be killed meanwhile, so what they share to wait is counted by both.
//
//     parent                                  child
//     SLEEPING on v->wait                     leaves the address space
//     killed: drop the count, go              done = true; wake; drop the count
//
// A signal to a group must reach the new process or the old one before it has made it: a signal
// sent between the copy and the publication would be lost with the new one. So senders count in
// multi_seq of each member, and process_publish() makes the call start again if it moved; one that
// was sent before fork read multi_seq is pending by then and acted on first. Later signals to the
// process alone do not matter: so a fork that takes longer than the interval of a timer
// still gets done.
#include <arch/thread.h>
#include <arch/trap.h>
#include <arch/uaccess.h>
#include <fs.h>
#include <k/errno.h>
#include <k/string.h>
#include <mm.h>
#include <proc.h>
#include <signal.h>
#include <slab.h>
#include <syscalls.h>
#include <uapi/sched.h>

#include "clone_priv.h"

struct vfork {
    atomic_int ref;   // [a] parent and child
    atomic_bool done; // [a]
    struct waitq wait;
};

static void vfork_put(struct vfork *v)
{
    if (atomic_fetch_sub(&v->ref, 1) == 1) { // the last one sees the other's wake-up as done
        kfree(v);
    }
}

void vfork_release(struct task_ext *t)
{
    struct vfork *v = t->vfork;

    if (v) {
        t->vfork = NULL;
        store_release(&v->done, true); /* pairs with vfork_wait */
        waitq_wake_all(&v->wait);
        vfork_put(v);
    }
}

static void vfork_wait(struct vfork *v)
{
    struct waiter w = {0};

    for (;;) {
        waitq_prepare(&v->wait, &w, THREAD_SLEEPING);
        if (load_acquire(&v->done) || thread_kill_pending()) { /* pairs with vfork_release */
            break;
        }
        schedule();
    }
    waitq_finish(&v->wait, &w);
    vfork_put(v);
}

// --- What the child has --------------------------------------------------------------------------

static int copy_shared(struct process *p, struct process *from, u64 flags)
{
    p->fs = flags & CLONE_FS ? fs_ctx_get(from->fs) : fs_ctx_create(from->fs);
    p->sighand = flags & CLONE_SIGHAND ? sighand_get(from->sighand) : sighand_create(from->sighand);
    if (flags & CLONE_FILES) {
        p->files = files_get(from->files);
    } else if (files_copy(from->files, &p->files)) {
        return -ENOMEM;
    }
    return p->fs && p->sighand ? 0 : -ENOMEM;
}

static void sighand_clear(struct sighand *h)
{
    for (int i = 0; i < NR_SIGNALS; i++) {
        if (h->action[i].handler != SIG_IGN) {
            h->action[i] = (struct sigaction_k){.handler = SIG_DFL};
        }
    }
}

// What is copied word by word. The parent's other threads may change it meanwhile.
static void copy_state(struct process *p, struct process *from)
{
    spin_lock(&from->lock);
    memcpy(p->rlimit, from->rlimit, sizeof(p->rlimit));
    p->cred = from->cred;
    cred_groups_get(p->cred.groups);
    p->account = account_get(from->account);
    store_relaxed(&p->nproc_exceeded, load_relaxed(&from->nproc_exceeded));
    p->flags = from->flags;
    store_relaxed(&p->strace, load_relaxed(&from->strace));
    store_relaxed(&p->cpu_watch, p->rlimit[RLIMIT_CPU].cur != RLIM_INFINITY);
    p->exe = from->exe ? program_get(from->exe) : NULL;
    p->arg_start = from->arg_start;
    p->arg_end = from->arg_end;
    p->env_start = from->env_start;
    p->env_end = from->env_end;
    spin_unlock(&from->lock);
}

static void process_discard(struct process *p)
{
    if (p->files) {
        files_put(p->files);
    }
    if (p->exe) {
        program_put(p->exe);
    }
    fs_ctx_put(p->fs);
    process_put(p);
}

static int child_mm(const struct clone_request *rq, struct mm **out)
{
    struct mm *mm = current_mm();

    if (!(rq->flags & CLONE_VM)) {
        return mm_fork(mm, out);
    }
    mm_get(mm);
    *out = mm;
    return 0;
}

static struct process *child_process(const struct clone_request *rq)
{
    struct process *from = current_process();
    struct process *p = process_create();

    if (!p) {
        return NULL;
    }
    copy_state(p, from);
    if (copy_shared(p, from, rq->flags)) {
        process_discard(p);
        return NULL;
    }
    if (rq->flags & CLONE_CLEAR_SIGHAND) {
        sighand_clear(p->sighand);
    }
    store_relaxed(&p->membarrier_registered, load_relaxed(&from->membarrier_registered));
    p->exit_signal = (u8)rq->exit_signal;
    return p;
}

static int child_vfork(const struct clone_request *rq, struct task_ext *child)
{
    struct vfork *v;

    if (!(rq->flags & CLONE_VFORK)) {
        return 0;
    }
    v = kzalloc(sizeof(*v), GFP_KERNEL);
    if (!v) {
        return -ENOMEM;
    }
    store_relaxed(&v->ref, 2);
    waitq_init(&v->wait);
    child->vfork = v;
    return 0;
}

// The first thread of p: a copy of the calling one. 0 with *out, or nothing is left of it.
static int child_task(const struct clone_request *rq, struct process *p, struct task_ext **out)
{
    struct task_ext *self = current_task(), *child = task_create(p, current_thread()->name);
    int err;

    if (!child) {
        return -ENOMEM;
    }
    err = child_vfork(rq, child);
    if (!err) {
        err = clone_registers(rq, child);
    }
    if (!err && (!(rq->flags & CLONE_VM) || (rq->flags & CLONE_VFORK))) {
        child->altstack = self->altstack; // clone(2): kept, unless the child runs beside us in it
    }
    if (!err) {
        err = child_mm(rq, &child->thread->mm);
    }
    if (err) {
        kfree(child->vfork);
        task_free(child);
        return err;
    }
    p->mm = child->thread->mm;
    usage_begin(p, p->mm);
    *out = child;
    return 0;
}

static void child_discard(struct task_ext *child)
{
    struct mm *mm = child->thread->mm;

    child->thread->mm = NULL;
    mm_put(mm);
    kfree(child->vfork);
    task_free(child);
}

// --- unshare -------------------------------------------------------------------------------------

// Own copies of what CLONE_FILES and CLONE_FS made common with other processes. What the threads of
// one process share cannot be taken apart here, so it is for processes with one thread.
s64 sys_unshare(const u64 *a)
{
    struct process *p = current_process();
    struct files *files = NULL;
    struct fs_ctx *fs = NULL;

    if (a[0] & ~(CLONE_FILES | CLONE_FS | CLONE_SYSVSEM)) {
        return syscall_missing("unshare of namespaces, memory or threads", -EINVAL);
    }
    if (p->nr_threads > 1) {
        return syscall_missing("unshare by one of several threads", -EINVAL);
    }
    if ((a[0] & CLONE_FILES) && files_copy(p->files, &files)) {
        return -ENOMEM;
    }
    if (a[0] & CLONE_FS) {
        fs = fs_ctx_create(p->fs);
        if (!fs) {
            if (files) {
                files_put(files);
            }
            return -ENOMEM;
        }
    }
    spin_lock(&p->lock);
    if (files) {
        struct files *old = p->files;

        p->files = files;
        files = old;
    }
    if (fs) {
        struct fs_ctx *old = p->fs;

        p->fs = fs;
        fs = old;
    }
    spin_unlock(&p->lock);
    if (files) {
        files_put(files);
    }
    fs_ctx_put(fs);
    return 0;
}

// --- The call ------------------------------------------------------------------------------------

// The number where user mode wants it: in our memory, and in the child's.
static void ids_write(const struct clone_request *rq, struct task_ext *child, s32 pid)
{
    if (rq->flags & CLONE_PARENT_SETTID) {
        arch_copy_to_user((void *)rq->parent_tid, &pid, sizeof(pid)); // Linux ignores errors, too
    }
    if (rq->flags & CLONE_CHILD_SETTID) {
        mm_copy_to(child->thread->mm, rq->child_tid, &pid, sizeof(pid));
    }
}

static int child_publish(const struct clone_request *rq, struct task_ext *child, u64 multi_seq)
{
    bool sibling = rq->flags & CLONE_PARENT;

    child->proc->parent_tid = sibling ? 0 : current_task()->tid;
    return process_publish(child, sibling, multi_seq);
}

// Everything is there but the number. The pidfd's place in the table is taken, and told, before the
// process is in its own: that cannot be taken back. It is filled after: other threads must reach
// neither a process that never comes to be, nor close the descriptor that we would close again.
static s64 child_start(const struct clone_request *rq, struct task_ext *child, u64 multi_seq)
{
    struct vfork *v = child->vfork;
    struct file *pidfd = NULL;
    int fd = -1, err = 0;
    s32 pid;

    if (rq->flags & CLONE_PIDFD) {
        fd = fd_reserve();
        if (fd < 0) {
            return fd;
        }
        err = arch_copy_to_user((void *)rq->pidfd, &fd, sizeof(fd)) ? -EFAULT : 0;
        err = err ? err : pidfd_file(child->proc, 0, &pidfd);
    }
    if (!err) {
        err = child_publish(rq, child, multi_seq);
    }
    if (err && pidfd) {
        file_put(pidfd);
    }
    if (fd >= 0) {
        fd_fill(fd, err ? NULL : pidfd, O_CLOEXEC);
    }
    if (err) {
        return err;
    }
    pid = child->tid; // once started, the child may be gone at any time
    ids_write(rq, child, pid);
    thread_start(child->thread);
    if (v) {
        vfork_wait(v);
    }
    return pid;
}

s64 clone_process(const struct clone_request *rq)
{
    u64 multi_seq = process_multi_seq(current_process());
    struct process *p;
    struct task_ext *child;
    s64 r;

    // What was sent before that look is waiting now: it is acted on first.
    if (thread_signal_pending()) {
        return -ERESTARTNOINTR;
    }
    p = child_process(rq);
    if (!p) {
        return -ENOMEM;
    }
    r = child_task(rq, p, &child);
    if (r) {
        process_discard(p);
        return r;
    }
    r = child_start(rq, child, multi_seq);
    if (r < 0) {
        child_discard(child);
        process_discard(p);
        return r;
    }
    process_put(p); // process_create's; its thread and the tables have their own
    return r;
}
