// Between itimer.c (timers and their expiry) and sys_itimer.c (the calls).
#ifndef KERNEL_ITIMER_PRIV_H
#define KERNEL_ITIMER_PRIV_H

#include <sched.h>
#include <uapi/time.h>

#include "proc_priv.h"

#define CLOCK_PROCESS_USER 100 // ours: the user part of a process's CPU time, for ITIMER_VIRTUAL

// L: its->lock. P: proc->lock.
struct utimer {
    atomic_int ref;          // [a] its->all, the due list, who works on it
    struct process *proc;    // [I] counted
    struct timer timer;      // [L] armed and cancelled
    struct list due_link;    // [the due list's lock]
    bool due;                // [the due list's lock]
    struct list link;        // [L] its->all
    bool deleted;            // [L]
    bool posix;              // [I] made by timer_create
    bool charged;            // [P] counted in proc->nr_sigqueue
    int clock;               // [I]
    s32 clock_tid;           // [I] CLOCK_THREAD_CPUTIME_ID: whose
    s32 id;                  // [I]
    int signo;               // [I] 0: none (SIGEV_NONE)
    s32 tid;                 // [I] SIGEV_THREAD_ID, 0: the process
    u64 value;               // [I]
    u64 deadline_ns;         // [L] on its clock, 0: not set
    u64 look;                // [L] the check of CPU-time timers that expired it last
    u64 interval_ns;         // [L]
    int overrun;             // [P] of the signal taken last
    struct sigqueue *queued; // [P] its signal that waits; NULL: none does
};

struct itimers {
    struct mutex lock;          // RANK_SLEEP_MISC
    struct list all;            // [L] utimer.link
    struct utimer *interval[3]; // [L] ITIMER_*
    s32 next_id;                // [L]
    u64 looks;                  // [L] checks of the CPU-time timers so far
};

struct itimers *itimers_of(struct process *p, bool create);
struct utimer *utimer_create(struct process *p, int clock); // one reference; NULL: no memory
void utimer_put(struct utimer *u);
bool clock_is_cpu(int clock);
u64 utimer_now(const struct utimer *u);

// A POSIX timer takes a place in RLIMIT_SIGPENDING, which its signal then has. -EAGAIN: none left.
int utimer_charge(struct utimer *u);

// its->lock held by the caller of these. deadline 0: stop it.
void utimer_set_locked(struct utimer *u, u64 deadline_ns, u64 interval_ns);
void utimer_read_locked(const struct utimer *u, u64 *left_ns, u64 *interval_ns);
void utimer_delete_locked(struct utimer *u);

#endif
