// Between itimer.c (timers and their expiry) and sys_itimer.c (the calls).
#ifndef KERNEL_ITIMER_PRIV_H
#define KERNEL_ITIMER_PRIV_H

#include <k/heap.h>
#include <sched.h>
#include <uapi/time.h>

#include "proc_priv.h"

#define CLOCK_PROCESS_USER 100 // ours: the user part of a process's CPU time, for ITIMER_VIRTUAL

// L: its->lock. P: proc->lock. D: the lock of the due list.
struct utimer {
    atomic_int ref;            // [a] its->all or its->interval, the due list, who works on it
    struct process *proc;      // [I] counted
    struct timer timer;        // [L] armed and cancelled; not on CPU time
    struct heap_node node;     // [L] on CPU time: in *heap, by deadline
    struct heap_node **heap;   // [L] NULL: in none
    struct cpu_clock *of;      // [L] CLOCK_THREAD_CPUTIME_ID: whose, counted
    struct list due_link;      // [D] its->due
    bool due;                  // [D]
    struct list link, id_link; // [L] POSIX timers: its->all, its->ids
    bool deleted;              // [L]
    bool posix;                // [I] made by timer_create
    bool charged;              // [P] counted in proc->nr_sigqueue
    int clock;                 // [I]
    bool wall;                 // [L] it counts in wall time: set to a time of CLOCK_REALTIME
    s32 id;                    // [I]
    int signo;                 // [I] 0: none (SIGEV_NONE)
    s32 tid;                   // [I] SIGEV_THREAD_ID, 0: the process
    u64 value;                 // [I]
    u64 deadline_ns;           // [L] on its clock, 0: not set
    u64 interval_ns;           // [L]
    int overrun;               // [P] of the signal taken last
    struct sigqueue *queued;   // [P] its signal that waits; NULL: none does
};

// The CPU time of a thread, as a clock that outlives it.
struct cpu_clock {
    unsigned ref;          // [L] the thread, and each timer
    struct task_ext *task; // [L] NULL: it has ended, and the clock stands
    struct heap_node *top; // [L] the timers set on it
};

struct itimers {
    struct mutex lock;                    // RANK_SLEEP_MISC
    struct list all;                      // [L] the POSIX timers: utimer.link
    struct list *ids;                     // [L] and by number: utimer.id_link; a table of lists,
    unsigned nr_ids, nr_all;              // [L] how many, and how many timers in them
    struct utimer *interval[3];           // [L] ITIMER_*
    s32 next_id;                          // [L]
    struct heap_node *cpu_top, *user_top; // [L] those set on the process's CPU time, all or user
    unsigned nr_cpu;                      // [L] those set on any CPU time
    struct list due, due_link;            // [D] utimer.due_link; among the processes that have some
};

// --- itimer.c

struct itimers *itimers_of(struct process *p, bool create);
struct utimer *utimer_create(struct process *p, int clock); // one reference; NULL: no memory
void utimer_put(struct utimer *u);
// The POSIX timer of this number; NULL: none. its->lock is held here and in the next one.
struct utimer *utimer_find_locked(struct itimers *its, s32 id);
int utimer_add_locked(struct itimers *its, struct utimer *u); // from now on it is. -EAGAIN
// If it is due: its signal, and the next time. cpu_now: the time of its clock, if that is CPU time.
// No lock held; sleeps.
void utimer_expire(struct utimer *u, u64 cpu_now);

// A POSIX timer takes a place in RLIMIT_SIGPENDING, which its signal then has. -EAGAIN: none left.
int utimer_charge(struct utimer *u);

// its->lock held by the caller of these. deadline 0: stop it; one by the wall clock if u->wall.
void utimer_set_locked(struct utimer *u, u64 deadline_ns, u64 interval_ns);
u64 utimer_now_locked(const struct utimer *u);
void utimer_read_locked(const struct utimer *u, u64 *left_ns, u64 *interval_ns);
void utimer_delete_locked(struct utimer *u);

// --- itimer_cpu.c: timers on CPU time. its->lock held by the caller of the _locked ones.

bool clock_is_cpu(int clock);
u64 utimer_cpu_now_locked(const struct utimer *u);
bool utimer_clock_ended_locked(const struct utimer *u); // that of a thread which has ended
void utimer_cpu_arm_locked(struct itimers *its, struct utimer *u); // at u->deadline_ns
void utimer_cpu_cancel_locked(struct itimers *its, struct utimer *u);
// u is to be on the current thread's time. No lock held. -ENOMEM.
int utimer_of_thread(struct itimers *its, struct utimer *u);
void cpu_clock_put_locked(struct cpu_clock *c);

#endif
