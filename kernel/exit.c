// The end of threads and processes.
//
// A thread ends only by itself, in task_exit(), on its way back to user mode or in a system call,
// so it never holds a lock. Somebody else who wants its end (exit_group, a deadly signal, execve)
// sets `exiting` or `exec_task` in the process and kicks it; signal_deliver() then comes here.
//
//   1. what user mode is told: robust futexes, then *clear_child_tid = 0 and a wake (pthread_join)
//   2. nr_live - 1. Whoever makes it 0 takes what the process owns out of it and gives it back
//   3. the thread's use of the address space ends; a vforked child's parent goes on
//   4. out of the tables; from here nobody can find or signal the thread. The last one makes the
//      process a zombie and tells the parent (kernel/family.c)
//   5. the last thread of process 1: the exit status goes to the host and the machine off
//
// Step 1 needs the address space, so it comes first; its errors are the program's own problem.
// Steps 2 and 3 come before 4, so that who waited for a process finds its pipes closed, its locks
// released and its memory free.
#include <arch/boot.h>
#include <arch/uaccess.h>
#include <fs.h>
#include <hostchan.h>
#include <ipc.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/printk.h>
#include <mm.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>

#include "proc_priv.h"

void task_release_user(struct task_ext *t)
{
    u32 zero = 0;
    u64 addr = t->clear_child_tid;

    if (t->robust_list) {
        futex_exit_robust(t->robust_list, t->tid);
        t->robust_list = 0;
    }
    if (addr) {
        t->clear_child_tid = 0;
        if (arch_copy_to_user((void *)addr, &zero, sizeof(zero)) == 0) {
            // Another process may wait for it: not a private wait.
            futex_wake_user(addr, false, 1);
        }
    }
}

// The current thread is one of those that still use what the process owns; the last of them lets
// go of it. Nobody can find it any more: kernel/look.c looks under the same lock.
static void process_release(struct process *p)
{
    struct files *files = NULL;
    struct fs_ctx *fs = NULL;
    struct file *exe = NULL;
    bool last;

    spin_lock(&p->lock);
    last = --p->nr_live == 0;
    if (last) {
        files = p->files;
        fs = p->fs;
        exe = p->exe;
        p->files = NULL;
        p->fs = NULL;
        p->exe = NULL;
        if (p->mm) {
            usage_leave_mm_locked(p, p->mm);
        }
        p->mm = NULL; // the threads' counts keep it
    }
    spin_unlock(&p->lock);
    if (!last) {
        return;
    }
    itimers_exit(p);
    if (p->sem_undo) {
        sem_exit(p);
    }
    if (files) {
        files_put(files);
    }
    fs_ctx_put(fs);
    if (exe) {
        program_put(exe);
    }
    jobctl_leader_ends();
}

static noreturn_fn void machine_end(int status)
{
    // The status a shell would show.
    int code = status & 0x7f ? 128 + (status & 0x7f) : (status >> 8) & 0xff;

    if (hostchan_present()) {
        hostchan_exit_status(code);
    } else {
        printk("init exited with status %d\n", code);
    }
    arch_poweroff();
}

noreturn_fn void task_exit(int status)
{
    struct thread *self = current_thread();
    struct task_ext *t = self->ext;
    struct process *p = t->proc;
    struct mm *mm = self->mm;
    bool last, is_init = p->is_init;

    task_release_user(t);
    itimers_thread_exit(t);
    process_release(p);
    mm_activate(NULL);
    if (mm) {
        mm_put(mm);
    }
    vfork_release(t);
    task_unpublish(t, status, &last);
    if (last && is_init) {
        machine_end(p->exit_status);
    }
    task_free_current();
    thread_exit_self();
}

// Kick every thread of p but `but`. proc->lock held.
static void kick_others_locked(struct process *p, struct task_ext *but)
{
    struct task_ext *t;

    list_for_each_entry (t, &p->threads, proc_link) {
        if (t != but) {
            signal_kick_locked(t);
        }
    }
    waitq_wake_all(&p->park_wait);
}

void process_doom_locked(struct process *p, int status)
{
    spin_assert_held(&p->lock);
    if (!p->exiting) {
        p->exiting = true;
        p->exit_status = status;
    }
    kick_others_locked(p, NULL);
}

noreturn_fn void process_exit_group(int status)
{
    struct process *p = current_process();

    spin_lock(&p->lock);
    process_doom_locked(p, status);
    spin_unlock(&p->lock);
    task_exit(status);
}

bool thread_kill_pending(void)
{
    struct task_ext *t = current_task();
    struct process *p;
    bool leave;

    if (!t) {
        return false;
    }
    p = t->proc;
    spin_lock(&p->lock);
    leave = p->exiting || (p->exec_task && p->exec_task != t);
    spin_unlock(&p->lock);
    return leave;
}

int process_kill_others(void)
{
    struct task_ext *t = current_task();
    struct process *p = t->proc;
    int err = 0;

    spin_lock(&p->lock);
    if (p->exiting || p->exec_task) {
        spin_unlock(&p->lock);
        return -EAGAIN;
    }
    p->exec_task = t;
    kick_others_locked(p, t);
    spin_unlock(&p->lock);
    // Each of them leaves in bounded time; a signal for us can wait that long.
    waitq_wait(&p->thread_gone, p->nr_threads == 1 || p->exiting);
    spin_lock(&p->lock);
    p->exec_task = NULL;
    if (p->exiting) {
        err = -EAGAIN;
    }
    spin_unlock(&p->lock);
    return err;
}

s64 sys_exit(const u64 *a)
{
    task_exit((int)(a[0] & 0xff) << 8);
}

s64 sys_exit_group(const u64 *a)
{
    process_exit_group((int)(a[0] & 0xff) << 8);
}
