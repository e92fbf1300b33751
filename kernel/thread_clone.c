// New threads: clone and clone3 with the flags that make a thread. A new process (fork, vfork) is
// not supported yet and answers -ENOSYS.
//
// Check, prepare, commit: all flags first; then everything that allocates, on a thread nobody can
// see; then it gets its number, the words user mode asked for are written, and it starts.
#include <arch/thread.h>
#include <arch/trap.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/string.h>
#include <mm.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>
#include <uapi/sched.h>

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
#define OTHER_FLAGS                                                                                \
    (CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED |  \
     CLONE_UNTRACED | CLONE_CHILD_SETTID | CLONE_IO | CLONE_PTRACE)

struct clone_request {
    u64 flags, sp, tls, parent_tid, child_tid;
};

// 0, or why it cannot be done: -EINVAL as Linux says, -ENOSYS for what we lack.
static s64 clone_check(u64 flags)
{
    if ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM)) {
        return -EINVAL;
    }
    if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND)) {
        return -EINVAL;
    }
    if (!(flags & CLONE_THREAD)) {
        return syscall_missing("clone of a process (fork, vfork)", -ENOSYS);
    }
    if ((flags & THREAD_FLAGS) != THREAD_FLAGS) {
        return syscall_missing("clone of a thread with its own files or directory", -ENOSYS);
    }
    if (flags & ~(THREAD_FLAGS | OTHER_FLAGS)) {
        return syscall_missing("clone of a thread with namespaces, pidfd or vfork", -EINVAL);
    }
    return 0;
}

static void task_inherit(struct task_ext *child, const struct clone_request *rq)
{
    struct thread *self = current_thread();

    child->blocked = self->ext->blocked;
    store_relaxed(&child->thread->affinity, load_relaxed(&self->affinity));
    arch_fpu_copy_current(child->thread);
    child->clear_child_tid = rq->flags & CLONE_CHILD_CLEARTID ? rq->child_tid : 0;
    child->thread->mm = self->mm;
    mm_get(self->mm);
}

static s64 clone_thread(const struct clone_request *rq)
{
    struct thread *self = current_thread();
    struct trapframe f = *current_trapframe();
    struct task_ext *child;
    s64 err = clone_check(rq->flags);
    s32 tid;

    if (err) {
        return err;
    }
    child = task_create(self->proc, self->name);
    if (!child) {
        return -ENOMEM;
    }
    task_inherit(child, rq);
    trap_set_result(&f, 0);
    if (rq->sp) {
        trap_set_sp(&f, rq->sp);
    }
    arch_thread_init_user(child->thread, &f);
    err = arch_set_tls(child->thread, rq->flags & CLONE_SETTLS ? rq->tls : arch_get_tls());
    if (err) {
        goto out_free;
    }
    err = task_publish(child);
    if (err) {
        goto out_free;
    }
    tid = child->tid; // once started, the child may be gone at any time
    if (rq->flags & CLONE_PARENT_SETTID) {
        arch_copy_to_user((void *)rq->parent_tid, &tid, sizeof(tid)); // Linux ignores errors, too
    }
    if (rq->flags & CLONE_CHILD_SETTID) {
        arch_copy_to_user((void *)rq->child_tid, &tid, sizeof(tid));
    }
    thread_start(child->thread);
    return tid;

out_free:
    child->thread->mm = NULL;
    mm_put(self->mm);
    task_free(child);
    return err;
}

s64 sys_clone(const u64 *a)
{
    struct clone_request rq = {
        .flags = a[0] & ~CSIGNAL & 0xffffffffull,
        .sp = a[1],
        .parent_tid = a[2],
        .child_tid = a[ARCH_CLONE_CTID_ARG],
        .tls = a[ARCH_CLONE_TLS_ARG],
    };

    return clone_thread(&rq);
}

// The struct may grow: what we do not know must be zero.
static int clone_args_read(u64 from, u64 size, struct uapi_clone_args *args)
{
    u8 rest;

    if (size > PAGE_SIZE) {
        return -E2BIG;
    }
    if (size < CLONE_ARGS_SIZE_MIN) {
        return -EINVAL;
    }
    memset(args, 0, sizeof(*args));
    if (arch_copy_from_user(args, (const void *)from, min(size, (u64)sizeof(*args)))) {
        return -EFAULT;
    }
    for (u64 i = sizeof(*args); i < size; i++) {
        if (arch_copy_from_user(&rest, (const void *)(from + i), 1)) {
            return -EFAULT;
        }
        if (rest) {
            return -E2BIG;
        }
    }
    return 0;
}

s64 sys_clone3(const u64 *a)
{
    struct uapi_clone_args args;
    struct clone_request rq;
    int err = clone_args_read(a[0], a[1], &args);

    if (err) {
        return err;
    }
    if ((args.flags & (CSIGNAL | CLONE_DETACHED)) || args.exit_signal > NR_SIGNALS ||
        ((args.flags & CLONE_THREAD) && args.exit_signal)) {
        return -EINVAL;
    }
    if (!args.stack != !args.stack_size || args.stack + args.stack_size < args.stack) {
        return -EINVAL;
    }
    if (args.set_tid || args.set_tid_size || (args.flags & CLONE_CLEAR_SIGHAND)) {
        return syscall_missing("clone3 with set_tid or CLONE_CLEAR_SIGHAND", -EINVAL);
    }
    rq = (struct clone_request){.flags = args.flags,
                                .sp = args.stack + args.stack_size,
                                .tls = args.tls,
                                .parent_tid = args.parent_tid,
                                .child_tid = args.child_tid};
    return clone_thread(&rq);
}
