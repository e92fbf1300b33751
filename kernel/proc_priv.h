// Between proc.c, exec.c, exit.c and the signal files.
#ifndef KERNEL_PROC_PRIV_H
#define KERNEL_PROC_PRIV_H

#include <proc.h>

struct sigqueue;
struct utimer;

#define NUMBER_BUCKETS 1024

// The table lock, letter H: processes, threads, groups, sessions by number, and the family tree.
extern struct spinlock proc_table_lock; // RANK_PROC
// The thread of this number, under that lock; NULL: none.
struct task_ext *task_find_locked(s32 tid);
extern struct process *proc_init_process; // [I] once published

// --- proc.c

// With the table lock held.
struct process *process_find_locked(s32 pid);
struct process *process_next_locked(struct process *p); // NULL: the first; NULL at the end
void process_remove_locked(struct process *p); // reaped; the tables' reference is the caller's

// Publish the first thread of a process and thereby the process: a child of the calling one, or,
// with CLONE_PARENT, its sibling. Called by a kernel thread: process 1. multi_seq: the calling
// process's when the new one began to be a copy of it; -ERESTARTNOINTR when a signal was sent to a
// group in between, which would miss the new process. Or task_publish's errors.
int process_publish(struct task_ext *task, bool sibling, u64 multi_seq);
u64 process_multi_seq(struct process *p);

// from NULL: a fresh one. NULL: no memory.
struct fs_ctx *fs_ctx_create(struct fs_ctx *from);
struct fs_ctx *fs_ctx_get(struct fs_ctx *c);
struct sighand *sighand_create(struct sighand *from);
struct sighand *sighand_get(struct sighand *h);
void sighand_put(struct sighand *h);

// --- cred.c

void creds_init(struct creds *c);
// p's memory, if the current process may read and write it; mm_put. -ESRCH: p has none any more,
// -EPERM.
int creds_get_mm(struct process *p, struct mm **out);
int creds_get_files(struct process *p, struct files **out); // the same of its files; files_put
// May the current process send sig, or 0, to p? 0 or -EPERM. The table lock may be held.
int creds_may_signal(struct process *p, int sig);
// May the current process say how p's threads are scheduled: sched(7), setpriority(2)? own: p is
// its user's; reach: p has no capability that it lacks. CAP_SYS_NICE stands for both. Locked: p's
// lock is held.
bool creds_may_schedule(struct process *p);
bool creds_may_schedule_locked(struct process *p);
bool creds_own_locked(struct process *p);
bool creds_reach_locked(struct process *p);
struct cred_groups *cred_groups_get(struct cred_groups *g);
void cred_groups_put(struct cred_groups *g); // NULL is allowed; no sleep
// cred_exec.c: what execve of a file that gives these numbers makes of *c. true: the program has
// more than who runs it (AT_SECURE).
bool creds_exec(struct creds *c, const struct exec_ids *file, bool no_new_privs);
// Does somebody else act now, or with more?
bool creds_change(const struct creds *old, const struct creds *c);
// execve makes p, the current process, another program.
void creds_exec_locked(struct process *p, const struct exec_image *img);

// --- account.c: the threads of a user

void accounts_init(void);
// The account of a real user, counted. If there is none yet *spare becomes it; NULL: that was NULL.
// Any lock of a rank below RANK_SPIN_MISC may be held.
struct account *account_of(u32 uid, struct account **spare);
struct account *account_alloc(void);  // for spare; NULL: no memory. May sleep
void account_free(struct account *a); // a spare that was left, or NULL
struct account *account_get(struct account *a);
void account_put(struct account *a); // NULL is allowed; no sleep
// A thread of p has begun, or its place has become free. p->lock held.
void account_charge_locked(struct process *p);
void account_uncharge_locked(struct process *p);
// May p, the current process or its child to be, have no more threads? The table lock is held, and
// p->lock, or p is known to nobody else.
bool account_is_full(const struct process *p);
// p, whose lock is held, becomes another real user's, who uses the reference up. The old account:
// to be put.
struct account *account_move_locked(struct process *p, struct account *to);
// execve by the current process: 0 or -EAGAIN.
int account_exec_check(void);

// --- itimer.c

void itimers_exit(struct process *p);         // the last thread: all timers go
void itimers_exec(struct process *p);         // POSIX timers go, interval timers stay
void itimers_thread_exit(struct task_ext *t); // the current thread: its CPU clock stands
void itimers_free(struct itimers *its);       // NULL is allowed; no timer is left, no sleep
// The signal of a POSIX timer (q->timer) leaves the queue: taken by a thread, or thrown away.
// proc->lock held.
void itimers_signal_gone_locked(struct sigqueue *q, bool taken);

// --- family.c: parents and children. The table lock is held by the caller of all _locked ones.

void family_join_locked(struct process *p, struct process *parent);
void family_thread_left_locked(struct task_ext *t);       // out of the tables: pdeath signals
void family_set_pdeath_locked(struct process *p, u8 sig); // 0: none
void family_forget_pdeath(struct process *p);             // it gets none; takes the table lock
// Zombie: orphans find a new parent, the parent is told (with *q if there is one).
void family_process_ended_locked(struct process *p, struct sigqueue **q);
// CLD_STOPPED or CLD_CONTINUED to p's parent.
void family_tell_locked(struct process *p, int code, struct sigqueue **q);
void family_tell(struct process *p, int code); // the same, taking the lock and memory itself
void family_reap_locked(struct process *p);    // a zombie; the tables' reference is the caller's

// --- jobctl.c

void jobctl_init(void);
bool jobctl_number_used_locked(s32 n);
void jobctl_first_locked(struct process *p);                          // process 1: its own session
void jobctl_join_locked(struct process *p, const struct process *as); // fork
void jobctl_leave_locked(struct process *p);                          // reaped
// p has ended or lost its parent: groups that are orphaned by that and have stopped members are
// sent SIGHUP and SIGCONT. parent: what p's parent was.
void jobctl_ended_locked(struct process *p, struct process *parent);
// The same for the groups of the children of `to` that come behind this link, which were parent's.
void jobctl_orphans_locked(struct process *to, const struct list *before, struct process *parent);
bool jobctl_orphaned_locked(struct process *p); // is p's group orphaned?
bool jobctl_orphaned(struct process *p);        // the same, taking the lock
// The last thread of the current process ends. If it led its session, that loses its terminal. No
// lock held; may sleep.
void jobctl_leader_ends(void);
struct pgrp *pgrp_find_locked(s32 id); // NULL: none
// The members one after the other; p NULL: the first; NULL at the end.
struct process *jobctl_next_member_locked(struct pgrp *g, struct process *p);

// --- fork.c

void vfork_release(struct task_ext *t); // the task no longer uses its parent's address space

// --- fs/pidfd.c

bool process_has_ended(struct process *p); // family.c: it is a zombie, or gone
bool process_is_reaped(struct process *p);
// sys_signal.c: sig with the siginfo at this user address, 0: as kill sends it.
int signal_from_user(struct process *p, int sig, u64 info);
// A new file that stands for p, for a descriptor with O_CLOEXEC. flags: O_NONBLOCK or 0.
int pidfd_file(struct process *p, u32 flags, struct file **out);
// The process a descriptor stands for, counted, and the descriptor's O_* flags (flags may be
// NULL). -EBADF.
int pidfd_process(int fd, struct process **out, u32 *flags);

// --- look.c

// A sum split by the ticks that met it; that of p's threads; and what one thread has used.
void times_split(const struct thread_sums *sums, u64 *user_ns, u64 *kernel_ns);
void process_times(struct process *p, u64 *user_ns, u64 *kernel_ns);
void thread_times(struct thread *t, u64 *user_ns, u64 *kernel_ns);

// --- usage.c

void usage_add(struct proc_usage *sum, const struct proc_usage *more);
void rusage_fill(struct uapi_rusage *r, const struct proc_usage *u);
// Before p, not yet known to others, starts in mm: faults from here on are its own.
void usage_begin(struct process *p, struct mm *mm);
// What all threads p ever had have used. Any lock of a rank below RANK_SIGNAL may be held.
void process_threads_sum(struct process *p, struct thread_sums *out);
// Under p->lock. mm, p's only address space, is about to be left (exec, the end); t is about to
// leave p->threads.
void usage_leave_mm_locked(struct process *p, struct mm *mm);
void usage_leave_thread_locked(struct task_ext *t);

// --- the rest

struct process *process_create(void); // one reference, no threads, no resources; NULL: no memory
// What user mode is told of the end of a thread (or of its address space): robust futexes and
// clear_child_tid. The current thread, user memory still there.
void task_release_user(struct task_ext *t);
// Drop the ext of the current thread, which then is a kernel thread about to die.
void task_free_current(void);

// Look at (get) or change (set) the affinity of a thread by number; either may be NULL. -ESRCH,
// -EPERM (to change it: creds_may_schedule), -EINVAL (to none), or sched_set_affinity's error.
int task_affinity(s32 tid, u64 *get, const u64 *set);

// Do to one thread, under the lock of its process: in tasks_visit, kernel/sys_prio.c.
struct task_visit {
    void (*one)(struct task_visit *v, struct task_ext *t);
    int value;
    s64 result; // -ESRCH until one was found
};
// To thread tid (0: the current one). Takes proc_table_lock and the process's.
void task_visit(struct task_visit *v, s32 tid);
// May t, whose process is locked, get this nice value, lower than its own, from the current
// process? Not whether t is its to change.
bool task_may_be_nice_locked(const struct task_ext *t, int nice);
#define NICE_MIN (-20)
#define NICE_MAX 19

// Open a program: -EACCES unless it is a regular file with an x bit. *out counted.
int exec_open(const char *path, struct file **out);
// Name the thread after the last part of the path.
void exec_set_name(struct thread *t, const char *path);

// A signal on its way, with what came with it.
struct sigqueue {
    struct list link;
    struct ksiginfo info;
    struct utimer *timer; // [P] the POSIX timer that sent it and whose place in RLIMIT_SIGPENDING
                          // it takes; NULL: it takes one of its own, or is not queued
};
struct sigqueue *sigqueue_alloc(void);  // may sleep; NULL: no memory
void sigqueue_free(struct sigqueue *q); // NULL is allowed

// to NULL: any thread. *q is used up (set to NULL) or left to the caller. proc->lock held.
int signal_send_locked(struct process *p, struct task_ext *to, const struct ksiginfo *info,
                       struct sigqueue **q);
// Make a thread look at its signals now: wake it, or interrupt the CPU it runs on. proc->lock held.
void signal_kick_locked(struct task_ext *t);
// Take the next signal; 0: none. proc->lock held. signals: only those in this set.
int signal_dequeue_locked(struct task_ext *t, u64 signals, struct ksiginfo *info);

// Forget every pending instance of sig. proc->lock held.
void signal_discard_locked(struct process *p, int sig);

// Signals whose default action is to do nothing, and those that stop.
bool signal_default_ignored(int sig);
bool signal_default_stops(int sig);

// Is every thread of p parked, for the first time since the stop began? proc->lock held; true: the
// parent is to be told.
bool stop_complete_locked(struct process *p);
// End the process with a status; its threads are kicked. proc->lock held.
void process_doom_locked(struct process *p, int status);

#endif
