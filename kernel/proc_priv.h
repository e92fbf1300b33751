// Between proc.c, exec.c, exit.c and the signal files.
#ifndef KERNEL_PROC_PRIV_H
#define KERNEL_PROC_PRIV_H

#include <proc.h>

struct process *process_create(void); // one reference, no threads, no resources; NULL: no memory
// What user mode is told of the end of a thread (or of its address space): robust futexes and
// clear_child_tid. The current thread, user memory still there.
void task_release_user(struct task_ext *t);
// Drop the ext of the current thread, which then is a kernel thread about to die.
void task_free_current(void);

// Look at (get) or change (set) the affinity of a thread by number; either may be NULL. -ESRCH, or
// sched_set_affinity's error.
int task_affinity(s32 tid, u64 *get, const u64 *set);

// Open a program: -EACCES unless it is a regular file with an x bit. *out counted.
int exec_open(const char *path, struct file **out);
// Name the thread after the last part of the path.
void exec_set_name(struct thread *t, const char *path);

// A signal on its way, with what came with it.
struct sigqueue {
    struct list link;
    struct ksiginfo info;
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

// Signals whose default action is to do nothing (for us: stops, too).
bool signal_default_ignored(int sig);

#endif
