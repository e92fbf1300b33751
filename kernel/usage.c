// What a process has used: getrusage, wait4 and the fields of /proc/PID/stat.
//
// Times and switches belong to threads; a thread that ends leaves them in its process. Faults and
// resident pages belong to address spaces, which count them on each CPU anyway, so that the fault
// path need not count them a second time for a process or a thread:
//
//     faults of a process = past.faults + (those of its address space now - faults_before)
//
// execve and the end add the parentheses to `past`. faults_before is what the address space had
// counted when the process came to it: 0, but for a child of vfork, or of clone with CLONE_VM,
// which begins in its parent's. Such a pair counts the faults it shares twice, once for each;
// vfork's parent waits, so there are none but the child's.
//
// The peak of resident pages is the most that anybody has seen by looking; the end and execve look.
//
// A process may have as many threads as there are, and p->lock is wanted for each signal to it and
// each end of a thread, so they are added up a few at a time. Who does that is on a list of the
// process's (p->walks), and a thread that ends sees to it that it is neither missed, nor counted
// twice, nor where somebody goes on:
//
//     adding up                                a thread ends (p->lock throughout)
//     sum = dead; last = the youngest          dead += its times
//     some of `threads`, the oldest first;     not yet passed, and not younger than last:
//     passed = the order of the last of them       the walk's sum += its times
//     p->lock dropped, and taken again         the next one of the walk: that is the one behind it
//
// Threads that join meanwhile are too young. Two sums, one after the other, are in that order: what
// a thread has used only grows, and each thread of the first sum is in the second.
//
// Rejected: reading the list under RCU with a second look at a number, as Linux does: it goes
// through all threads again when one has ended, and threads would have to be freed by RCU. A sum
// for each CPU that the switch of threads adds to: a store more at each of them.
//
// Rejected: a counter in each thread, a second store for each fault; the difference of the CPU's
// counters between two switches, which an address space's counters do not have per CPU and thread.
#include <arch/cpu.h>
#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/string.h>
#include <mm.h>
#include <proc.h>
#include <syscalls.h>
#include <uapi/misc.h>
#include <uapi/time.h>

#include "proc_priv.h"

void usage_add(struct proc_usage *sum, const struct proc_usage *more)
{
    sum->user_ns += more->user_ns;
    sum->kernel_ns += more->kernel_ns;
    sum->minor_faults += more->minor_faults;
    sum->major_faults += more->major_faults;
    sum->switches_asked += more->switches_asked;
    sum->switches_forced += more->switches_forced;
    sum->peak_rss = max(sum->peak_rss, more->peak_rss);
}

// What of mm is p's goes into *u.
static void usage_of_mm(const struct process *p, struct mm *mm, struct proc_usage *u)
{
    struct mm_usage now;

    mm_counts_get(mm, &now);
    u64 faults = now.faults - min(p->faults_before, now.faults);
    u64 major = now.parks - min(p->parks_before, now.parks);
    u->minor_faults += faults - min(major, faults);
    u->major_faults += major;
    u->peak_rss = max(u->peak_rss, now.peak_rss);
}

void usage_begin(struct process *p, struct mm *mm)
{
    struct mm_usage now;

    mm_counts_get(mm, &now);
    p->faults_before = now.faults;
    p->parks_before = now.parks;
}

void usage_leave_mm_locked(struct process *p, struct mm *mm)
{
    spin_assert_held(&p->lock);
    usage_of_mm(p, mm, &p->past);
    p->faults_before = 0;
    p->parks_before = 0;
}

// --- The threads of a process --------------------------------------------------------------------

#define WALK_BATCH 64 // threads added at a time

// Somebody adds the threads up; on his stack.
struct usage_walk {
    struct list link;       // [P] of process.walks
    struct list *next;      // [P] where to go on
    u64 passed, last;       // [P] orders: of the last one added, and of the last one to be
    struct thread_sums sum; // [P]
};

static void sums_add(struct thread_sums *s, struct thread *t)
{
    s->runtime_ns += thread_runtime_ns(t);
    s->ticks[0] += load_relaxed(&t->ticks_user);
    s->ticks[1] += load_relaxed(&t->ticks_kernel);
    s->switches_asked += load_relaxed(&t->switches_asked);
    s->switches_forced += load_relaxed(&t->switches_forced);
}

void usage_leave_thread_locked(struct task_ext *t)
{
    struct process *p = t->proc;
    struct usage_walk *w;

    spin_assert_held(&p->lock);
    sums_add(&p->dead, t->thread);
    list_for_each_entry (w, &p->walks, link) {
        if (t->order > w->passed && t->order <= w->last) {
            sums_add(&w->sum, t->thread);
        }
        if (w->next == &t->proc_link) {
            w->next = t->proc_link.next;
        }
    }
}

static bool walk_some_locked(const struct process *p, struct usage_walk *w)
{
    for (int left = WALK_BATCH; left > 0; left--) {
        struct task_ext *t = list_entry(w->next, struct task_ext, proc_link);

        if (w->next == &p->threads || t->order > w->last) {
            return true;
        }
        sums_add(&w->sum, t->thread);
        w->passed = t->order;
        w->next = t->proc_link.next;
    }
    return false;
}

void process_threads_sum(struct process *p, struct thread_sums *out)
{
    struct usage_walk w = {0};

    spin_lock(&p->lock);
    w.sum = p->dead;
    w.next = p->threads.next;
    w.last = p->nr_joined;
    list_add_tail(&p->walks, &w.link);
    while (!walk_some_locked(p, &w)) {
        spin_unlock(&p->lock);
        cpu_relax(); // the lock is no queue: who waits for it needs a moment to find it free
        spin_lock(&p->lock);
    }
    list_del(&w.link);
    spin_unlock(&p->lock);
    *out = w.sum;
}

u64 process_runtime_ns(struct process *p)
{
    struct thread_sums sums;

    process_threads_sum(p, &sums);
    return sums.runtime_ns;
}

// All but the times and switches, which belong to threads.
static void memory_usage(struct process *p, struct proc_usage *out)
{
    spin_lock(&p->lock);
    *out = p->past;
    if (p->mm) {
        usage_of_mm(p, p->mm, out); // whoever leaves it takes it away under this lock first
    }
    spin_unlock(&p->lock);
}

void process_usage(struct process *p, struct proc_usage *out)
{
    struct thread_sums sums;

    process_threads_sum(p, &sums);
    memory_usage(p, out);
    times_split(&sums, &out->user_ns, &out->kernel_ns);
    out->switches_asked = sums.switches_asked;
    out->switches_forced = sums.switches_forced;
}

// Of the current thread; its faults cannot be told from the others' of its address space.
static void thread_usage(struct process *p, struct proc_usage *out)
{
    struct thread *t = current_thread();

    memory_usage(p, out);
    thread_times(t, &out->user_ns, &out->kernel_ns);
    out->switches_asked = load_relaxed(&t->switches_asked);
    out->switches_forced = load_relaxed(&t->switches_forced);
}

static void children_usage(struct process *p, struct proc_usage *out)
{
    spin_lock(&proc_table_lock);
    *out = p->child_usage;
    spin_unlock(&proc_table_lock);
}

void rusage_fill(struct uapi_rusage *r, const struct proc_usage *u)
{
    memset(r, 0, sizeof(*r));
    r->utime_sec = (s64)(u->user_ns / NSEC_PER_SEC);
    r->utime_usec = (s64)(u->user_ns % NSEC_PER_SEC / NSEC_PER_USEC);
    r->stime_sec = (s64)(u->kernel_ns / NSEC_PER_SEC);
    r->stime_usec = (s64)(u->kernel_ns % NSEC_PER_SEC / NSEC_PER_USEC);
    r->maxrss = (s64)(u->peak_rss * (PAGE_SIZE >> 10));
    r->minflt = (s64)u->minor_faults;
    r->majflt = (s64)u->major_faults;
    r->nvcsw = (s64)u->switches_asked;
    r->nivcsw = (s64)u->switches_forced;
}

s64 sys_getrusage(const u64 *a)
{
    struct process *p = current_process();
    struct proc_usage u;
    struct uapi_rusage r;

    switch ((int)a[0]) {
    case RUSAGE_SELF:
        process_usage(p, &u);
        break;
    case RUSAGE_THREAD:
        thread_usage(p, &u);
        break;
    case RUSAGE_CHILDREN:
        children_usage(p, &u);
        break;
    default:
        return -EINVAL;
    }
    rusage_fill(&r, &u);
    return arch_copy_to_user((void *)a[1], &r, sizeof(r)) ? -EFAULT : 0;
}

s64 sys_times(const u64 *a)
{
    struct process *p = current_process();
    u64 user_ns, kernel_ns, tick_ns = NSEC_PER_SEC / USER_HZ;
    struct proc_usage children;
    struct uapi_tms tms;

    process_times(p, &user_ns, &kernel_ns);
    tms.tms_utime = (s64)(user_ns / tick_ns);
    tms.tms_stime = (s64)(kernel_ns / tick_ns);
    children_usage(p, &children);
    tms.tms_cutime = (s64)(children.user_ns / tick_ns);
    tms.tms_cstime = (s64)(children.kernel_ns / tick_ns);
    if (a[0] && arch_copy_to_user((void *)a[0], &tms, sizeof(tms))) {
        return -EFAULT;
    }
    return (s64)(clock_ns() / tick_ns);
}
