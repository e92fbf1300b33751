// Processes and user threads: their tables and their life.
//
// A process is what threads share: address space, descriptors, signal actions. A thread is a
// struct thread (the scheduler's) plus a struct task_ext (ours). Three things can be found by
// number, each for kill() and friends: processes by pid, threads by tid.
//
//     task_create -> [private] -> task_publish -> [in the tables] -> task_unpublish -> [private] ->
//     gone
//
// The table lock protects both tables and is outside proc->lock, which protects the list of threads
// and all signal state. Whoever found a thread in a table under the table lock may use it until
// that lock is dropped: a dying thread leaves the tables under the same lock before its memory
// goes. A process lives as long as it has threads or process_get() references.
//
// Rejected: finding threads under RCU. Only kill() looks threads up, and it takes proc->lock
// anyway.
#include <arch/thread.h>
#include <arch/time.h>
#include <k/assert.h>
#include <k/errno.h>
#include <proc.h>
#include <fs.h>
#include <k/string.h>
#include <page.h>
#include <slab.h>

#include "proc_priv.h"

#define TID_MAX (1 << 22)

struct spinlock proc_table_lock = SPINLOCK_INIT(RANK_PROC);
struct process *proc_init_process;
static struct list tid_hash[NUMBER_BUCKETS];         // [H] task_ext.hash_link
static struct list pid_hash[NUMBER_BUCKETS];         // [H] process.hash_link
static struct list processes = LIST_INIT(processes); // [H] process.all_link, by pid
static struct list *newest = &processes;             // [H] the last one put there
static unsigned nr_processes, nr_tasks;              // [H] zombies are among the processes
static u64 nr_started;                               // [H] threads, since boot
static s32 last_number;                              // [H]
static unsigned max_tasks;                           // [I]

static struct kmem_cache *task_cache;

void proc_init(void)
{
    for (unsigned i = 0; i < NUMBER_BUCKETS; i++) {
        list_init(&tid_hash[i]);
        list_init(&pid_hash[i]);
    }
    jobctl_init();
    accounts_init();
    // As Linux: an eighth of memory in kernel stacks.
    max_tasks = (unsigned)min(page_nr_total() / (8 * (KSTACK_SIZE / PAGE_SIZE)), (u64)TID_MAX);
    task_cache = kmem_cache_create("task", sizeof(struct task_ext), 0);
}

static struct list *tid_bucket(s32 tid)
{
    return &tid_hash[(u32)tid % NUMBER_BUCKETS];
}

struct task_ext *task_find_locked(s32 tid)
{
    struct task_ext *t;

    list_for_each_entry (t, tid_bucket(tid), hash_link) {
        if (t->tid == tid) {
            return t;
        }
    }
    return NULL;
}

struct process *process_find_locked(s32 pid)
{
    struct process *p;

    list_for_each_entry (p, &pid_hash[(u32)pid % NUMBER_BUCKETS], hash_link) {
        if (p->pid == pid) {
            return p;
        }
    }
    return NULL;
}

struct process *process_next_locked(struct process *p)
{
    struct list *next = p ? p->all_link.next : processes.next;

    return next == &processes ? NULL : list_entry(next, struct process, all_link);
}

// A number that no thread, process, group or session has; 0: none left.
static s32 number_alloc_locked(void)
{
    for (s32 tries = 0; tries < TID_MAX; tries++) {
        last_number = last_number + 1 < TID_MAX ? last_number + 1 : 2;
        if (!task_find_locked(last_number) && !process_find_locked(last_number) &&
            !jobctl_number_used_locked(last_number)) {
            return last_number;
        }
    }
    return 0;
}

// --- Processes -----------------------------------------------------------------------------------

static void process_limits_init(struct process *p)
{
    for (unsigned i = 0; i < RLIM_NLIMITS; i++) {
        p->rlimit[i] = (struct uapi_rlimit){RLIM_INFINITY, RLIM_INFINITY};
    }
    p->rlimit[RLIMIT_STACK].cur = 8ull << 20;
    p->rlimit[RLIMIT_CORE].cur = 0;
    p->rlimit[RLIMIT_NOFILE] = (struct uapi_rlimit){1024, 4096};
    p->rlimit[RLIMIT_MEMLOCK] = (struct uapi_rlimit){8ull << 20, 8ull << 20};
    p->rlimit[RLIMIT_SIGPENDING] = (struct uapi_rlimit){1024, 1024};
    p->rlimit[RLIMIT_NPROC] = (struct uapi_rlimit){TID_MAX, TID_MAX};
    p->rlimit[RLIMIT_MSGQUEUE] = (struct uapi_rlimit){819200, 819200};
    p->rlimit[RLIMIT_NICE] = p->rlimit[RLIMIT_RTPRIO] = (struct uapi_rlimit){0, 0};
}

struct process *process_create(void)
{
    struct process *p = kzalloc(sizeof(*p), GFP_KERNEL);

    if (!p) {
        return NULL;
    }
    store_relaxed(&p->ref, 1);
    spin_init(&p->lock, RANK_SIGNAL);
    list_init(&p->threads);
    list_init(&p->walks);
    list_init(&p->all_link);
    list_init(&p->hash_link);
    list_init(&p->children);
    list_init(&p->sibling);
    list_init(&p->mourn_link);
    list_init(&p->pgrp_link);
    waitq_init(&p->thread_gone);
    waitq_init(&p->child_wait);
    waitq_init(&p->end_wait);
    waitq_init(&p->signal_wait);
    waitq_init(&p->park_wait);
    signal_pending_init(&p->shared);
    process_limits_init(p);
    creds_init(&p->cred);
    p->flags = (struct proc_flags){.dumpable = 1, .timer_slack_ns = 50000};
    p->start_ns = clock_ns();
    return p;
}

void process_get(struct process *p)
{
    fetch_add_relaxed(&p->ref, 1);
}

void process_put(struct process *p)
{
    // Acquire and release: whoever frees sees all that the others did before they let go.
    if (atomic_fetch_sub(&p->ref, 1) == 1) {
        sighand_put(p->sighand);
        itimers_free(p->timers);
        cred_groups_put(p->cred.groups);
        account_put(p->account);
        kfree(p);
    }
}

struct process *process_get_by_pid(s32 pid)
{
    struct process *p;

    spin_lock(&proc_table_lock);
    p = process_find_locked(pid);
    if (p) {
        process_get(p);
    }
    spin_unlock(&proc_table_lock);
    return p;
}

struct process *process_get_by_tid(s32 tid)
{
    struct process *p;
    struct task_ext *t;

    spin_lock(&proc_table_lock);
    t = task_find_locked(tid);
    p = t ? t->proc : process_find_locked(tid);
    if (p) {
        process_get(p);
    }
    spin_unlock(&proc_table_lock);
    return p;
}

s32 process_next_pid(s32 after)
{
    struct process *p;
    s32 next;

    spin_lock(&proc_table_lock);
    p = process_find_locked(after); // it may have gone
    do {
        p = process_next_locked(p);
    } while (p && p->pid <= after);
    next = p ? p->pid : 0;
    spin_unlock(&proc_table_lock);
    return next;
}

s32 process_last_number(void)
{
    spin_lock(&proc_table_lock);
    s32 n = last_number;
    spin_unlock(&proc_table_lock);
    return n;
}

u64 process_forks(void)
{
    spin_lock(&proc_table_lock);
    u64 n = nr_started;
    spin_unlock(&proc_table_lock);
    return n;
}

unsigned process_count(void)
{
    return nr_processes;
}

unsigned task_count(void)
{
    return nr_tasks;
}

u64 process_rlimit(unsigned which)
{
    return data_race(current_process()->rlimit[which].cur); // prlimit may be changing it
}

// --- Threads -------------------------------------------------------------------------------------

struct task_ext *task_create(struct process *proc, const char *name)
{
    struct task_ext *task = kmem_cache_alloc(task_cache, GFP_KERNEL | GFP_ZERO);
    struct thread *t;

    if (!task) {
        return NULL;
    }
    t = thread_alloc(name);
    if (!t) {
        goto out_free_task;
    }
    if (arch_fpu_alloc(t)) {
        goto out_free_thread;
    }
    task->thread = t;
    task->proc = proc;
    list_init(&task->hash_link);
    list_init(&task->proc_link);
    list_init(&task->mourners);
    signal_pending_init(&task->pending);
    task->altstack.ss_flags = SS_DISABLE;
    if (current_task()) {
        task->nice = current_task()->nice; // a look, as good as the moment it is at
        task->policy = current_task()->policy;
        task->ioprio = current_task()->ioprio;
        if (current_task()->reset_on_fork) {
            task->nice = max(task->nice, (s8)0);
        }
    }
    t->proc = proc;
    t->ext = task;
    process_get(proc);
    return task;

out_free_thread:
    thread_free(t);
out_free_task:
    kmem_cache_free(task_cache, task);
    return NULL;
}

void task_free(struct task_ext *task)
{
    struct thread *t = task->thread;
    struct process *p = task->proc;

    t->ext = NULL;
    t->proc = NULL;
    thread_free(t);
    kmem_cache_free(task_cache, task);
    process_put(p);
}

void task_free_current(void)
{
    struct thread *t = current_thread();
    struct task_ext *task = t->ext;
    struct process *p = t->proc;

    t->ext = NULL;
    t->proc = NULL;
    kmem_cache_free(task_cache, task);
    process_put(p);
}

static bool too_many_locked(const struct process *p)
{
    return nr_tasks >= max_tasks || nr_processes >= max_tasks || // zombies are no tasks any more
           account_is_full(p);
}

// Make room in the tables for the first thread of a process, or another one.
static int task_number_locked(struct task_ext *task)
{
    struct process *p = task->proc;

    if (p->exiting || p->exec_task || too_many_locked(p)) {
        return -EAGAIN;
    }
    task->tid = number_alloc_locked();
    if (!task->tid) {
        return -EAGAIN;
    }
    if (current_process()) {
        store_relaxed(&current_process()->nproc_exceeded, false); // as on Linux: there is room
    }
    return 0;
}

static void task_add_locked(struct task_ext *task)
{
    struct process *p = task->proc;

    list_add_tail(tid_bucket(task->tid), &task->hash_link);
    p->tids_mixed |= !list_empty(&p->threads) &&
                     list_entry(p->threads.prev, struct task_ext, proc_link)->tid > task->tid;
    list_add_tail(&p->threads, &task->proc_link);
    task->order = ++p->nr_joined;
    p->nr_threads++;
    p->nr_live++;
    account_charge_locked(p);
    nr_tasks++;
    nr_started++;
    signal_recalc_locked(task);
}

int task_publish(struct task_ext *task)
{
    struct process *p = task->proc;
    int err;

    spin_lock(&proc_table_lock);
    spin_lock(&p->lock);
    err = task_number_locked(task);
    if (!err) {
        task_add_locked(task);
    }
    spin_unlock(&p->lock);
    spin_unlock(&proc_table_lock);
    return err;
}

// Into the list, which is in the order of numbers. They are given in that order, so the place is
// behind the one put there last, but when they begin again.
static void process_list_locked(struct process *p)
{
    struct list *at = newest;

    while (at != &processes && list_entry(at, struct process, all_link)->pid > p->pid) {
        at = at->prev;
    }
    while (at->next != &processes && list_entry(at->next, struct process, all_link)->pid < p->pid) {
        at = at->next;
    }
    list_insert_between(&p->all_link, at, at->next);
    newest = &p->all_link;
}

int process_publish(struct task_ext *task, bool sibling, u64 multi_seq)
{
    struct process *p = task->proc, *self = current_process();
    int err;

    spin_lock(&proc_table_lock);
    if (self && self->multi_seq != multi_seq) {
        err = -ERESTARTNOINTR;
        goto out_unlock;
    }
    err = task_number_locked(task);
    if (err) {
        goto out_unlock;
    }
    p->pid = task->tid;
    process_get(p); // the tables' reference, until it is reaped
    process_list_locked(p);
    list_add_tail(&pid_hash[(u32)p->pid % NUMBER_BUCKETS], &p->hash_link);
    nr_processes++;
    if (self) {
        p->exit_signal = sibling ? self->exit_signal : p->exit_signal;
        p->stray = sibling && self->stray;
        family_join_locked(p, sibling ? self->parent : self);
    } else {
        proc_init_process = p;
        jobctl_first_locked(p);
    }
    spin_lock(&p->lock);
    task_add_locked(task);
    spin_unlock(&p->lock);
out_unlock:
    spin_unlock(&proc_table_lock);
    return err;
}

u64 process_multi_seq(struct process *p)
{
    spin_lock(&proc_table_lock);
    u64 seq = p->multi_seq;
    spin_unlock(&proc_table_lock);
    return seq;
}

void process_remove_locked(struct process *p)
{
    newest = newest == &p->all_link ? newest->prev : newest;
    list_del(&p->all_link);
    list_del(&p->hash_link);
    nr_processes--;
    p->reaped = true;
    spin_lock(&p->lock);
    account_uncharge_locked(p); // its first thread
    assert(p->nr_charged == 0);
    spin_unlock(&p->lock);
}

void task_unpublish(struct task_ext *task, int status, bool *last)
{
    struct process *p = task->proc;
    struct sigqueue *q = sigqueue_alloc(); // for the SIGCHLD; without memory it comes without one
    bool stopped;

    spin_lock(&proc_table_lock);
    spin_lock(&p->lock);
    usage_leave_thread_locked(task);
    list_del(&task->hash_link);
    list_del(&task->proc_link);
    p->nr_threads--;
    nr_tasks--;
    if (task->tid != p->pid) {
        account_uncharge_locked(p);
    }
    signal_retarget_locked(task, ~0ull);
    signal_pending_flush(p, &task->pending);
    // Unless something ended the process as a whole, its status is that of its first thread.
    if (!p->exiting && (task->tid == p->pid || !p->leader_left)) {
        p->exit_status = status;
        p->leader_left |= task->tid == p->pid;
    }
    *last = p->nr_threads == 0;
    if (*last) {
        p->exiting = true;
        signal_pending_flush(p, &p->shared);
    }
    stopped = stop_complete_locked(p); // the others are parked, and this one is no longer awaited
    waitq_wake_all(&p->thread_gone);
    spin_unlock(&p->lock);
    family_thread_left_locked(task);
    if (*last) {
        family_process_ended_locked(p, &q);
    } else if (stopped) {
        family_tell_locked(p, CLD_STOPPED, &q);
    }
    spin_unlock(&proc_table_lock);
    sigqueue_free(q);
}

void task_become_leader(struct task_ext *task)
{
    struct process *p = task->proc;

    spin_lock(&proc_table_lock);
    spin_lock(&p->lock);
    list_del(&task->hash_link);
    if (task->tid != p->pid) {
        account_uncharge_locked(p); // the first thread, which has ended, left its place
    }
    task->tid = p->pid;
    p->did_exec = true;
    p->exit_signal = SIGCHLD; // execve(2)
    list_add_tail(tid_bucket(task->tid), &task->hash_link);
    spin_unlock(&p->lock);
    spin_unlock(&proc_table_lock);
}

// --- Signals by number ---------------------------------------------------------------------------

// The queue entry is allocated before the locks, and what is left of it freed after.
int task_signal_by_tid(s32 tgid, s32 tid, const struct ksiginfo *info)
{
    struct sigqueue *q = info ? sigqueue_alloc() : NULL;
    struct task_ext *t;
    int err = -ESRCH;

    spin_lock(&proc_table_lock);
    t = task_find_locked(tid);
    if (t && (tgid == 0 || t->proc->pid == tgid)) {
        err = 0;
        if (info) {
            spin_lock(&t->proc->lock);
            err = signal_send_locked(t->proc, t, info, &q);
            spin_unlock(&t->proc->lock);
        }
    }
    spin_unlock(&proc_table_lock);
    sigqueue_free(q);
    return err;
}

// --- Affinity by number --------------------------------------------------------------------------

// sched_set_affinity of another thread only marks it and takes the run queue's lock: no sleep.
int task_affinity(s32 tid, u64 *get, const u64 *set)
{
    struct task_ext *t;
    int err = -ESRCH;

    spin_lock(&proc_table_lock);
    t = task_find_locked(tid);
    if (t) {
        err = set && !creds_may_schedule(t->proc) ? -EPERM : set && !*set ? -EINVAL : 0;
        err = set && !err ? sched_set_affinity(t->thread, *set) : err;
        if (get) {
            *get = load_relaxed(&t->thread->affinity);
        }
    }
    spin_unlock(&proc_table_lock);
    return err;
}
