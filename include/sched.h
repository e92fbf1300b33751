// Threads and the scheduler: per-CPU run queues, round robin, affinity, wake-up placement, idle
// balancing. The kernel is never preempted; user code is.
#ifndef SCHED_H
#define SCHED_H

#include <arch/thread.h>
#include <k/heap.h>
#include <k/list.h>
#include <k/lock.h>
#include <k/percpu.h>
#include <k/rcu.h>
#include <k/types.h>

struct mm;
struct process;

enum thread_state {
    THREAD_RUNNABLE, // on a run queue or running
    THREAD_BLOCKED,  // waits for thread_wake; signals do not end the wait
    THREAD_SLEEPING, // the same, but a signal wakes it
    THREAD_DEAD,
};

// [I] immutable once started; [a] atomic; [Q] the lock of run queue `cpu`; [self] the thread
// itself. A thread's memory goes by RCU: a pointer found under a lock or in a read section stays
// good there.
struct thread {
    void *kstack;            // [I] lowest address; must stay first (arch entry code)
    struct arch_thread arch; // registers, thread pointer, FPU
    atomic_int state;        // [a] enum thread_state
    atomic_int cpu;          // [Q to write] where it runs or last ran
    atomic_bool on_cpu;      // [a] its stack is in use
    bool on_rq;              // [Q]
    bool must_move;          // [self] affinity forbids this CPU: sched_finish_switch places it
    _Atomic u64 affinity;    // [Q to write] CPUs it may use
    struct list rq_link;     // [Q]
    u64 slice_end_ns;        // [self]
    // Written by the CPU that switches the thread in or out, between two steps of runtime_seq (odd:
    // under way); read by any through thread_runtime_ns().
    atomic_uint runtime_seq;
    _Atomic u64 runtime_ns;               // up to run_start_ns
    _Atomic u64 run_start_ns;             // 0: not running
    atomic_uint ticks_user, ticks_kernel; // timer ticks that met it in user mode, in the kernel
    atomic_uint switches_asked;           // times it blocked
    atomic_uint switches_forced;          // times it was put back on a queue
    struct mm *mm;                        // [self] address space; NULL: kernel thread
    unsigned mm_home;                     // [self] where it maps first: mm_find_gap
    struct process *proc;                 // [I] NULL: kernel thread
    struct list wait_link;                // for the owner of the wait
    unsigned rcu_depth;                   // [self] DEBUG
    void *held_locks[16];                 // [self] DEBUG: addresses and
    u16 held_ranks[16];                   // [self] DEBUG: ranks of the locks it holds
    unsigned nr_held;                     // [self] DEBUG
    char name[16];
    struct task_ext *ext; // proc.h: what only user threads have; NULL for kernel threads
    void (*on_free)(struct thread *); // [I] called just before the memory of a dead thread is freed
    void (*kfn)(void *);              // [I] kernel thread: what it runs
    void *karg;
    struct rcu_head rcu;
};

void sched_init(void); // boot CPU
void sched_init_cpu(unsigned cpu, struct thread *idle);
noreturn_fn void sched_idle_loop(void);

// A kernel thread, started. NULL: no memory.
struct thread *kthread_create(const char *name, void (*fn)(void *), void *arg);
noreturn_fn void kthread_exit(void);

// For proc.c: a thread with a kernel stack, not yet runnable, may use every CPU. NULL: no memory.
// thread_free undoes thread_alloc of a thread that was never started. A started one ends with
// thread_exit_self; its memory is freed a grace period after it has left its stack: first
// t->on_free(t), if set (t->ext is proc.c's to free there), then FPU state, stack and thread.
struct thread *thread_alloc(const char *name);
void thread_free(struct thread *t);
void thread_start(struct thread *t);     // place it on a run queue
noreturn_fn void thread_exit_self(void); // t->mm must be NULL by then

// A signal (or a kill) now waits for t: end its SLEEPING wait, or, if it runs on another CPU, make
// it pass return_to_user_work soon. Any context. The caller keeps t alive.
void thread_notify(struct thread *t);

// CPU time used so far; exact for the current thread.
u64 thread_runtime_ns(struct thread *t);
// The same of the idle thread of a CPU: how long it had nothing to do.
u64 sched_idle_ns(unsigned cpu);
// Ticks that met a CPU at work in user mode and in the kernel, and its switches, all since boot.
struct cpu_books {
    _Atomic u64 ticks_user, ticks_kernel, switches;
};
DECLARE_PER_CPU(struct cpu_books, cpu_books);
// Threads that run or wait for a CPU, idle ones not counted. A look, not a snapshot.
unsigned sched_nr_runnable(void);

// Give up the CPU. schedule() with state RUNNABLE yields. To block: set the state, check the
// condition, call schedule(); a wake in between makes it return at once.
void thread_set_state(enum thread_state s); // the current thread; a full barrier
void schedule(void);
void sched_yield(void);
// A wait must expect to be woken for no reason. thread_wake does what a wait queue's waker does:
// its earlier stores are visible to t when t runs on. false: was not blocked. Any context
// (interrupts too), any lock of a rank below RANK_RUNQ may be held.
bool thread_wake(struct thread *t);
void cond_resched(
    void); // long loops: quiescent state, callbacks, reschedule if asked. No lock held.
void sched_set_need_resched(void);
bool sched_need_resched(void);
int sched_set_affinity(struct thread *t, u64 mask); // -EINVAL: no online CPU in mask. May sleep.
void sched_tick(bool from_user);
void sched_finish_switch(struct thread *prev); // arch entry stub of a new thread; interrupts off
void runq_kick_idle(void);                     // tick: let an idle CPU take some of our queue

// Reasons for a CPU to leave user mode or its idle loop, one word per CPU. return_to_user_pending
// reads only this word (and the thread's signals).
enum cpu_work_bit {
    WORK_RESCHED = 1,     // the run queue has a better idea
    WORK_RCU_QS = 2,      // a grace period waits for this CPU to be quiescent
    WORK_RCU_CB = 4,      // callbacks may be ready
    WORK_CPU_TIME = 16,   // the current process has a timer or limit on its CPU time
    WORK_RCU_BARRIER = 8, // rcu_barrier wants its callback queued here
    WORK_DRAIN = 32,      // page_drain_all wants the memory that this CPU keeps
    WORK_LOG = 64,        // printk has news for those who wait for it: klog_wake
};
DECLARE_PER_CPU(atomic_uint, cpu_work);
// Set bits for a CPU. If it is idle it wakes up; if it runs, it notices at its next safe point (the
// tick at the latest), or at once with cpu_work_post_now, which interrupts it. Any context.
void cpu_work_post(unsigned cpu, unsigned bits);
void cpu_work_post_now(unsigned cpu, unsigned bits);

// Asserts that sleeping is allowed here: no spinlock, no RCU section, interrupts on. DEBUG only.
void might_sleep(void);

// kernel/signal.c: true when an unblocked signal waits for the current thread. A sleeping wait
// returns -EINTR when this is true for the current thread.
bool thread_signal_pending(void);

// Wait queues.
struct waitq {
    struct spinlock lock; // taken with interrupts off: wakers may be interrupt handlers
    struct list waiters;
    struct list watchers;
};
#define WAITQ_INIT(name)                                                                           \
    {                                                                                              \
        .lock = SPINLOCK_INIT(RANK_WAITQ), .waiters = LIST_INIT((name).waiters),                   \
        .watchers = LIST_INIT((name).watchers)                                                     \
    }
struct waiter {            // on the sleeper's stack; starts all zero
    struct list link;      // [q->lock]
    struct thread *thread; // NULL: not on the queue; written under q->lock
};
// prepare: queue w (if it is not), then set the state; finish: take it off, state RUNNABLE. The
// wakers take waiters off in the order they came; any context, any lock of a rank below RANK_WAITQ.
void waitq_init(struct waitq *q);
void waitq_prepare(struct waitq *q, struct waiter *w, enum thread_state s);
void waitq_finish(struct waitq *q, struct waiter *w);
void waitq_wake_one(struct waitq *q);
void waitq_wake_all(struct waitq *q);
// A watcher stays on the queue and has fn called at each wake-up, before the waiters' turn: under
// q->lock, interrupts off, maybe in an interrupt handler. events: what the waker knows to have
// become true (POLL* bits; the plain wakers say all of them). fn returns whether somebody will act
// on it; of the exclusive watchers, which are called last, the first that does is the last called.
// The caller of waitq_unwatch holds no lock that fn takes; after it fn is not running.
struct watcher {
    struct list link;                               // [q->lock]
    bool (*fn)(struct watcher *w, unsigned events); // [I]
    bool exclusive;                                 // [I]
};
void waitq_watch(struct waitq *q, struct watcher *w);
void waitq_unwatch(struct waitq *q, struct watcher *w);
void waitq_wake_all_for(struct waitq *q, unsigned events);
bool waitq_has_watchers(struct waitq *q); // a look
// Sleep until cond holds; evaluates cond again after every wake-up.
#define waitq_wait(q, cond)                                                                        \
    do {                                                                                           \
        struct waiter w_ = {0};                                                                    \
        for (;;) {                                                                                 \
            waitq_prepare((q), &w_, THREAD_BLOCKED);                                               \
            if (cond) {                                                                            \
                break;                                                                             \
            }                                                                                      \
            schedule();                                                                            \
        }                                                                                          \
        waitq_finish((q), &w_);                                                                    \
    } while (0)
// The same, ended by a signal: value 0 or -EINTR.
#define waitq_wait_signal(q, cond)                                                                 \
    ({                                                                                             \
        struct waiter w_ = {0};                                                                    \
        int r_ = 0;                                                                                \
        for (;;) {                                                                                 \
            waitq_prepare((q), &w_, THREAD_SLEEPING);                                              \
            if (cond) {                                                                            \
                break;                                                                             \
            }                                                                                      \
            if (thread_signal_pending()) {                                                         \
                r_ = -EINTR;                                                                       \
                break;                                                                             \
            }                                                                                      \
            schedule();                                                                            \
        }                                                                                          \
        waitq_finish((q), &w_);                                                                    \
        r_;                                                                                        \
    })

// Timers: fn runs in the timer interrupt of the CPU that armed it; fn may take locks of rank
// RANK_WAITQ, wake threads and arm the timer again. One thread at a time arms or cancels a timer.
struct timer {
    struct heap_node node;      // [queue of cpu] the key is the deadline
    void (*fn)(struct timer *); // [I]
    atomic_int cpu;             // where it was last armed, -1: never
    bool armed;                 // [queue of cpu]
    bool wall;                  // [queue of cpu] the deadline is one of the wall clock
};
void timer_init(struct timer *t, void (*fn)(struct timer *));
void timer_arm(struct timer *t, u64 deadline_ns); // clock_ns units; cancel it first if it is armed
// The same by the wall clock, and by what it is set to before then.
void timer_arm_wall(struct timer *t, u64 wall_time_ns);
// true: it had not run; on return it is not running. The caller holds no lock that fn takes.
bool timer_cancel(struct timer *t);

// Sleep until the deadline (TIME_NEVER: none) or until woken. The caller has set its state as for
// schedule(), it is RUNNABLE again on return. 0: the deadline passed; -EINTR: the state was
// SLEEPING and a signal waits (look at your condition first); 1: woken, or no reason at all.
int schedule_until(u64 deadline_ns);
// The same for a time of the wall clock: the deadline passes when the clock shows it or is set past
// it, and has passed though the clock is set back afterwards.
int schedule_until_wall(u64 wall_time_ns);
// Not ended by signals. For kernel threads and tests.
void sleep_ns(u64 ns);

// The wall clock (kernel/wall.c): ns since 1970 UTC. Any context, no lock, no store.
u64 wall_ns(void);
// The clock_ns() time of a wall-clock time, as the clock is set now; of one before boot the first
// there is.
u64 wall_to_clock(u64 wall_time_ns);
// Set it, or move it by so much. Timers on it follow, and on return every watch has been called.
// Sleeps. -EINVAL: the boot would be before 1970, or the end of this clock's numbers too near.
int wall_set(u64 wall_time_ns);
int wall_step(s64 delta_ns);
u64 wall_nr_sets(void); // how often that was done; any context
// fn is called after each time, in thread context; it takes no sleeping lock. Watching twice is
// watching once; unwatching what does not watch is nothing; after it fn is not running. Both sleep.
struct wall_watch {
    struct list link;                // [kernel/wall.c] empty at first
    void (*fn)(struct wall_watch *); // [I]
};
void wall_watch(struct wall_watch *w);
void wall_unwatch(struct wall_watch *w);

// Boot: the wall clock as the machine has it.
void wall_init(void);
// The tick and timers of this CPU. The scheduler starts the tick when the CPU leaves idle.
void tick_start(void); // interrupts off
void tick_stop(void);  // interrupts off

#endif
