// Looking at other processes: what /proc shows and other calls need of a process that is not the
// caller's own.
//
// The danger is a process that changes while it is looked at: exec replaces the address space and
// the program, exit lets go of everything.
//
//     look                                  exec, or the last thread's exit
//     p->lock; mm = p->mm; mm_get; unlock   p->lock; p->mm = new; unlock; mm_put(old)
//                                           p->lock; nr_threads = 0; unlock; mm_put, files_put ...
//
// Whoever comes second under p->lock sees what the first one did: a reference is taken from what is
// still there, or there is nothing to take. So every pointer that others may follow changes under
// p->lock, and what goes with the last thread goes after nr_threads became 0 under it.
#include <fs.h>
#include <k/errno.h>
#include <k/string.h>
#include <mm.h>
#include <proc.h>
#include <slab.h>

#include "proc_priv.h"

struct mm *process_get_mm(struct process *p)
{
    struct mm *mm = NULL;

    spin_lock(&p->lock);
    if (p->nr_threads && p->mm) {
        mm = p->mm;
        mm_get(mm);
    }
    spin_unlock(&p->lock);
    return mm;
}

struct files *process_get_files(struct process *p)
{
    struct files *f = NULL;

    spin_lock(&p->lock);
    if (p->nr_threads && p->files) {
        f = files_get(p->files);
    }
    spin_unlock(&p->lock);
    return f;
}

struct file *process_get_file(struct process *p, int fd)
{
    struct file *f = NULL;

    spin_lock(&p->lock);
    if (p->nr_threads && p->files) {
        f = files_get_file(p->files, fd);
    }
    spin_unlock(&p->lock);
    return f;
}

int process_next_file(struct process *p, int fd, struct file **out)
{
    int r;

    *out = NULL;
    do {
        spin_lock(&p->lock);
        r = p->nr_threads && p->files ? files_next(p->files, &fd, out) : -1;
        spin_unlock(&p->lock);
        cond_resched();
    } while (r == 0);
    return r > 0 ? fd : -1;
}

struct file *process_get_exe(struct process *p)
{
    struct file *f = NULL;

    spin_lock(&p->lock);
    if (p->nr_threads && p->exe) {
        f = file_get(p->exe);
    }
    spin_unlock(&p->lock);
    return f;
}

struct fs_ctx *process_get_fs(struct process *p)
{
    struct fs_ctx *c;

    spin_lock(&p->lock);
    c = p->fs;
    if (c) {
        fetch_add_relaxed(&c->ref, 1);
    }
    spin_unlock(&p->lock);
    return c;
}

struct inode *process_get_dir(struct process *p, bool root)
{
    struct fs_ctx *c = process_get_fs(p);
    struct inode *dir;

    if (!c) {
        return NULL;
    }
    mutex_lock(&c->lock);
    dir = root ? c->root : c->cwd;
    dir = dir ? inode_get(dir) : vfs_root_get();
    mutex_unlock(&c->lock);
    fs_ctx_put(c);
    return dir;
}

// ns split in the proportion of the ticks; all user time while there were none.
static void time_split(u64 ns, u64 user, u64 kernel, u64 *user_ns, u64 *kernel_ns)
{
    u64 ticks = user + kernel;

    *kernel_ns = ticks ? ns / ticks * kernel : 0;
    *user_ns = ns - *kernel_ns;
}

void times_split(const struct thread_sums *sums, u64 *user_ns, u64 *kernel_ns)
{
    time_split(sums->runtime_ns, sums->ticks[0], sums->ticks[1], user_ns, kernel_ns);
}

void process_times(struct process *p, u64 *user_ns, u64 *kernel_ns)
{
    struct thread_sums sums;

    process_threads_sum(p, &sums);
    times_split(&sums, user_ns, kernel_ns);
}

void thread_times(struct thread *t, u64 *user_ns, u64 *kernel_ns)
{
    time_split(thread_runtime_ns(t), load_relaxed(&t->ticks_user), load_relaxed(&t->ticks_kernel),
               user_ns, kernel_ns);
}

static void look_signals_locked(struct process *p, struct process_look *out)
{
    out->sig_pending = p->shared.set;
    out->sig_ignored = out->sig_caught = 0;
    for (int sig = 1; sig <= NR_SIGNALS; sig++) {
        u64 handler = sigaction_get(p, sig).handler;
        if (handler == SIG_IGN) {
            out->sig_ignored |= SIG_BIT(sig);
        } else if (handler != SIG_DFL) {
            out->sig_caught |= SIG_BIT(sig);
        }
    }
    out->nr_sigqueue = p->nr_sigqueue;
}

void process_look(struct process *p, struct process_look *out)
{
    process_times(p, &out->user_ns, &out->kernel_ns);
    spin_lock(&p->lock);
    out->pid = p->pid;
    out->ppid = p->ppid;
    out->pgid = p->pgid;
    out->sid = p->sid;
    out->nr_threads = p->nr_threads;
    out->exit_status = p->exit_status;
    out->start_ns = p->start_ns;
    memcpy(out->rlimit, p->rlimit, sizeof(out->rlimit));
    out->arg_start = p->arg_start;
    out->arg_end = p->arg_end;
    out->env_start = p->env_start;
    out->env_end = p->env_end;
    out->start_stack = p->start_stack;
    out->child_usage = p->child_usage; // a look, without its lock
    out->umask = p->fs ? load_relaxed(&p->fs->umask) : 0;
    out->cred = p->cred;
    out->cred.groups = NULL;
    out->flags = p->flags;
    look_signals_locked(p, out);
    spin_unlock(&p->lock);
}

static struct task_ext *task_of_locked(struct process *p, s32 tid)
{
    struct task_ext *t;

    list_for_each_entry (t, &p->threads, proc_link) {
        if (tid == 0 || t->tid == tid) {
            return t;
        }
    }
    return NULL;
}

static char task_state(const struct thread *t)
{
    switch (load_relaxed(&t->state)) {
    case THREAD_RUNNABLE:
        return 'R';
    case THREAD_SLEEPING:
        return 'S';
    case THREAD_BLOCKED:
        return 'D';
    default:
        return 'X';
    }
}

static void task_look_locked(struct task_ext *x, struct task_look *out)
{
    struct thread *t = x->thread;

    out->tid = x->tid;
    memcpy(out->name, t->name, sizeof(out->name));
    out->state = x->parked ? 'T' : task_state(t);
    out->cpu = (unsigned)load_relaxed(&t->cpu);
    out->affinity = load_relaxed(&t->affinity);
    thread_times(t, &out->user_ns, &out->kernel_ns);
    out->switches_asked = load_relaxed(&t->switches_asked);
    out->switches_forced = load_relaxed(&t->switches_forced);
    out->nice = x->nice;
    out->sig_pending = x->pending.set;
    out->sig_blocked = x->blocked;
}

bool task_look(struct process *p, s32 tid, struct task_look *out)
{
    spin_lock(&p->lock);
    struct task_ext *x = task_of_locked(p, tid);
    bool zombie = !x && (tid == 0 || tid == p->pid);
    if (x) {
        task_look_locked(x, out);
    } else if (zombie) {
        *out = (struct task_look){.tid = p->pid, .state = 'Z', .affinity = 1};
    }
    spin_unlock(&p->lock);
    return x || zombie;
}

s32 process_next_tid(struct process *p, s32 after)
{
    struct task_ext *t;
    struct list *link;
    s32 best = 0;

    spin_lock(&proc_table_lock);
    spin_lock(&p->lock);
    t = task_find_locked(after); // it may have gone
    link = t && t->proc == p && !p->tids_mixed ? t->proc_link.next : p->threads.next;
    for (; link != &p->threads && !(best && !p->tids_mixed); link = link->next) {
        t = list_entry(link, struct task_ext, proc_link);
        if (t->tid > after && (!best || t->tid < best)) {
            best = t->tid;
        }
    }
    spin_unlock(&p->lock);
    spin_unlock(&proc_table_lock);
    return best;
}

int task_set_name(struct process *p, s32 tid, const char *name)
{
    spin_lock(&p->lock);
    struct task_ext *t = task_of_locked(p, tid);
    if (t) {
        memset(t->thread->name, 0, sizeof(t->thread->name));
        strlcpy(t->thread->name, name, sizeof(t->thread->name));
    }
    spin_unlock(&p->lock);
    return t ? 0 : -ESRCH;
}
