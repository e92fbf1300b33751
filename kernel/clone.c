// clone and its kin: checking the flags, and new threads. New processes are made in fork.c.
//
// Check, prepare, commit: all flags first; then everything that allocates, on a thread nobody can
// see; then it gets its number, the words user mode asked for are written, and it starts.
//
// A flag that names something Linux has and we lack (namespaces, cgroups) is refused as a Linux
// built without it would, and named once on the console.
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

#include "clone_priv.h"

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
#define OTHER_FLAGS                                                                                \
    (CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED |  \
     CLONE_UNTRACED | CLONE_CHILD_SETTID | CLONE_IO | CLONE_PTRACE)
#define PROCESS_FLAGS                                                                              \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_VFORK | CLONE_PARENT |              \
     CLONE_PIDFD | CLONE_CLEAR_SIGHAND)

// 0, or why it cannot be done: -EINVAL as Linux says, -ENOSYS for what we lack. clone(2), "ERRORS".
static s64 clone_check(const struct clone_request *rq)
{
    u64 flags = rq->flags;

    if ((flags & CLONE_SIGHAND) && (!(flags & CLONE_VM) || (flags & CLONE_CLEAR_SIGHAND))) {
        return -EINVAL;
    }
    if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND)) {
        return -EINVAL;
    }
    if ((flags & CLONE_PIDFD) && (flags & (CLONE_THREAD | CLONE_DETACHED))) {
        return -EINVAL;
    }
    if ((flags & CLONE_PARENT) && current_process()->is_init) {
        return -EINVAL;
    }
    if (!(flags & CLONE_THREAD)) {
        return flags & ~(PROCESS_FLAGS | OTHER_FLAGS)
                   ? syscall_missing("clone of a process with namespaces", -EINVAL)
                   : 0;
    }
    if ((flags & THREAD_FLAGS) != THREAD_FLAGS) {
        return syscall_missing("clone of a thread with its own files or directory", -ENOSYS);
    }
    if (flags & ~(THREAD_FLAGS | OTHER_FLAGS)) {
        return syscall_missing("clone of a thread with namespaces or vfork", -EINVAL);
    }
    return 0;
}

int clone_registers(const struct clone_request *rq, struct task_ext *child)
{
    struct thread *self = current_thread();
    struct trapframe f = *current_trapframe();

    child->blocked = self->ext->blocked;
    store_relaxed(&child->thread->affinity, load_relaxed(&self->affinity));
    arch_fpu_copy_current(child->thread);
    child->clear_child_tid = rq->flags & CLONE_CHILD_CLEARTID ? rq->child_tid : 0;
    trap_set_result(&f, 0);
    if (rq->sp) {
        trap_set_sp(&f, rq->sp);
    }
    arch_thread_init_user(child->thread, &f);
    return arch_set_tls(child->thread, rq->flags & CLONE_SETTLS ? rq->tls : arch_get_tls());
}

static s64 clone_thread(const struct clone_request *rq)
{
    struct thread *self = current_thread();
    struct task_ext *child = task_create(self->proc, self->name);
    s64 err;
    s32 tid;

    if (!child) {
        return -ENOMEM;
    }
    mm_add_thread(self->mm, child->thread);
    err = clone_registers(rq, child);
    if (!err) {
        err = task_publish(child);
    }
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

static s64 clone_run(const struct clone_request *rq)
{
    s64 err = clone_check(rq);

    if (err) {
        return err;
    }
    return rq->flags & CLONE_THREAD ? clone_thread(rq) : clone_process(rq);
}

s64 sys_fork(const u64 *a)
{
    struct clone_request rq = {.exit_signal = SIGCHLD};

    (void)a;
    return clone_run(&rq);
}

s64 sys_vfork(const u64 *a)
{
    struct clone_request rq = {.flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD};

    (void)a;
    return clone_run(&rq);
}

s64 sys_clone(const u64 *a)
{
    struct clone_request rq = {
        .flags = a[0] & ~CSIGNAL & 0xffffffffull,
        .sp = a[1],
        .parent_tid = a[2],
        .pidfd = a[2],
        .child_tid = a[ARCH_CLONE_CTID_ARG],
        .tls = a[ARCH_CLONE_TLS_ARG],
        .exit_signal = (u32)(a[0] & CSIGNAL),
    };

    if (rq.flags & CLONE_THREAD) {
        rq.exit_signal = 0; // a thread sends none, whatever it says
    }
    if ((rq.flags & CLONE_PIDFD) && (rq.flags & CLONE_PARENT_SETTID)) {
        return -EINVAL; // one argument for both
    }
    return clone_run(&rq);
}

// The struct may grow: what we do not know must be zero.
static int clone_args_read(u64 from, u64 size, struct uapi_clone_args *args)
{
    if (size > PAGE_SIZE) {
        return -E2BIG;
    }
    if (size < CLONE_ARGS_SIZE_MIN) {
        return -EINVAL;
    }
    return user_struct_read(args, sizeof(*args), from, size);
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
        ((args.flags & (CLONE_THREAD | CLONE_PARENT)) && args.exit_signal)) {
        return -EINVAL;
    }
    if (!args.stack != !args.stack_size || args.stack + args.stack_size < args.stack) {
        return -EINVAL;
    }
    if (args.flags & CLONE_INTO_CGROUP) {
        return -EBADF; // no descriptor is one of a cgroup
    }
    if (args.set_tid || args.set_tid_size) {
        return syscall_missing("clone3 with set_tid", -EINVAL);
    }
    rq = (struct clone_request){.flags = args.flags,
                                .sp = args.stack + args.stack_size,
                                .tls = args.tls,
                                .parent_tid = args.parent_tid,
                                .child_tid = args.child_tid,
                                .pidfd = args.pidfd,
                                .exit_signal = (u32)args.exit_signal};
    return clone_run(&rq);
}
