// RCU: waiting for readers that leave no trace.
//
// The problem: free what readers may still be looking at, while readers write nothing at all.
// The idea: the kernel is not preempted and a read section does not sleep. So when a CPU switches
// threads, returns to user mode or idles, all its earlier sections have ended. After every CPU has
// done one of these - after a grace period - nobody can hold what was unlinked before it.
//
// One grace period runs at a time for the whole machine:
//
//      gp       even: none runs; odd: one runs. Ended periods: gp / 2.
//      gp_mask  the CPUs it still waits for. Each takes its own bit away; who takes the last one
//               ends the period. So it ends as soon as it can, and nobody polls.
//      gp_want  the CPUs to be told when it ends.
//
// Starting one sets WORK_RCU_QS in each CPU's work word, which the CPU reads anyway on its way to
// user mode; without a grace period a reader or a returning CPU touches no shared line. There are
// no interrupts either: a CPU in user mode comes in with its next tick. Only a CPU whose backlog
// passes RCU_BACKLOG interrupts those it waits for, once a grace period.
//
// Callbacks sit in three queues per CPU, touched by that CPU in thread context only, so no lock:
//
//      call_rcu -> next -> wait (for the period that ends as gp == wait_gp) -> done -> run
//
// `next` moves on when `wait` is empty and a batch is full, a tick has passed, the CPU goes idle or
// someone is in a hurry (synchronize_rcu, rcu_barrier). Batches keep the price of a grace period,
// two shared stores a CPU, away from the single free.
//
// Why it is correct.
// (1) The period that `wait` waits for starts after the objects were unlinked:
//
//      updater                              starter (another CPU)
//      unlink                               gp = odd (seq_cst)
//      full barrier                         full barrier
//      wait_gp from gp                      gp_mask = all, WORK_RCU_QS to each
//
//     If the updater saw the old gp, its barrier precedes the starter's, so whoever sees gp_mask
//     set sees the unlinking. From an odd gp the period under way does not count: one more is
//     needed.
// (2) A CPU takes its bit away while it runs no section, by a read-modify-write of gp_mask. If it
//     was set, the CPU has seen the start, so its later sections see the unlinking; its earlier
//     ones have ended, and who takes the last bit away has all of them behind it (the
//     read-modify-writes form one chain).
// (3) An idle CPU does not look at its word. Store buffering, all seq_cst:
//
//      starter                              CPU
//      WORK_RCU_QS to it                    enter: idle = true     leave: idle = false
//      idle? take its bit away for it       WORK_RCU_QS? report    sections
//
//     Entering: both looking too early would leave the bit for ever; seq_cst forbids it. Both
//     acting is harmless. Leaving: if the starter saw idle, the CPU's sections come after its store
//     of idle = false, hence after the unlinking. That is why an interrupt handler is not a reader.
// (4) WORK_RCU_QS may be left over from an earlier period. Reporting on it is right all the same,
//     as (2) looks only at gp_mask. A CPU clears the word's bit before it takes its mask bit away,
//     so a bit in the mask always has a bit in the word to remind the CPU, or the starter is about
//     to set it.
// (5) The starter's own bit goes last, in its own next quiescent state; the period cannot end while
//     it is being started. Interrupt handlers neither start nor end one.
//
// Rejected: a tree of locks (64 CPUs fit into one word); a coordinating thread (a switch for each
// period); remote enqueueing for rcu_barrier (every call_rcu would take a lock: a flag in the work
// word makes each CPU queue the barrier's callback itself).
#include <arch/cpu.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <k/assert.h>
#include <k/lock.h>
#include <k/percpu.h>
#include <k/rcu.h>
#include <sched.h>
#include <smp.h>

#include "rcu_check.h"

#define RCU_BATCH   128  // callbacks that make a grace period worth while
#define RCU_RUN_MAX 256  // callbacks run between two looks at the run queue
#define RCU_BACKLOG 8192 // callbacks from which on we interrupt the CPUs we wait for

struct rcu_queue {
    struct rcu_head *first, *last; // NULL: empty
    unsigned long nr;
};

struct rcu_cpu {
    struct rcu_queue next, wait, done; // this CPU, thread context
    u64 wait_gp;                       // `wait` is ready when gp >= wait_gp
    u64 hurried_gp;                    // the period whose CPUs were interrupted
    bool running;                      // a callback runs: do not nest
    atomic_bool urgent;                // move `next` on however short it is; the tick sets it
    atomic_ulong nr;                   // all three queues; rcu_barrier on another CPU reads it
    struct rcu_head barrier;
    struct rcu_readers readers; // DEBUG: that `wait` must not run under
};

static DEFINE_PER_CPU(struct rcu_cpu, rcu_cpu);
static DEFINE_PER_CPU(atomic_bool, rcu_busy); // [a] not idle; false until the CPU is online

static cache_aligned atomic_ulong gp;
static cache_aligned atomic_ulong gp_mask;
static cache_aligned atomic_ulong gp_want;

static void queue_add(struct rcu_queue *q, struct rcu_head *h)
{
    h->next = NULL;
    if (q->first) {
        q->last->next = h;
    } else {
        q->first = h;
    }
    q->last = h;
    q->nr++;
}

// Append all of `from` to `to`.
static void queue_move(struct rcu_queue *to, struct rcu_queue *from)
{
    if (!from->first) {
        return;
    }
    if (to->first) {
        to->last->next = from->first;
    } else {
        to->first = from->first;
    }
    to->last = from->last;
    to->nr += from->nr;
    *from = (struct rcu_queue){0};
}

static struct rcu_head *queue_take(struct rcu_queue *q)
{
    struct rcu_head *h = q->first;
    if (h) {
        q->first = h->next;
        q->nr--;
    }
    return h;
}

// --- Grace periods ------------------------------------------------------------------------------

// Only who took the last bit of gp_mask away comes here.
static void gp_end(void)
{
    fetch_add_seq(&gp, 1); // even: before gp_want is read, see rcu_advance
    u64 want = atomic_exchange(&gp_want, 0);
    for (unsigned c = 0; want; c++, want >>= 1) {
        if (want & 1) {
            cpu_work_post(c, WORK_RCU_CB);
        }
    }
}

static void gp_report(unsigned cpu)
{
    u64 bit = 1ul << cpu;
    if (fetch_and_seq(&gp_mask, ~bit) == bit) { // (2)
        gp_end();
    }
    atomic_fence_seq(); // (2): sections after this see what was unlinked before the start
}

// gp has just been made odd by us.
static void gp_start(void)
{
    unsigned me = cpu_id();

    atomic_fence_seq(); // (1)
    store_seq(&gp_mask, percpu_nr == 64 ? ~0ul : (1ul << percpu_nr) - 1);
    for (unsigned c = 0; c < percpu_nr; c++) {
        fetch_or_seq(&per_cpu(cpu_work, c), WORK_RCU_QS);
        if (c != me && !load_seq(&per_cpu(rcu_busy, c))) { // (3)
            gp_report(c);
        }
    }
}

void rcu_quiescent(void)
{
    atomic_uint *work = &this_cpu(cpu_work);

    debug_assert(!current_thread() || current_thread()->rcu_depth == 0);
    if (unlikely(load_relaxed(work) & WORK_RCU_QS)) {
        fetch_and_seq(work, ~(unsigned)WORK_RCU_QS); // (4): before the report
        gp_report(cpu_id());
    }
}

void rcu_idle_enter(void)
{
    store_seq(&this_cpu(rcu_busy), false); // (3)
    if (load_seq(&this_cpu(cpu_work)) & WORK_RCU_QS) {
        rcu_quiescent();
    }
}

void rcu_idle_exit(void)
{
    store_seq(&this_cpu(rcu_busy), true); // (3)
    atomic_fence_seq();
}

bool rcu_idle(unsigned cpu)
{
    return !load_seq(&per_cpu(rcu_busy, cpu));
}

// --- Callbacks ----------------------------------------------------------------------------------

// Move what can move: next -> wait -> done, and see to it that the grace period we need comes.
static void rcu_advance(struct rcu_cpu *r)
{
    u64 me = 1ul << cpu_id();

    for (;;) {
        u64 now = load_seq(&gp); // acquire: the sections that gp_end had behind it
        if (r->wait.first && now >= r->wait_gp) {
            rcu_readers_gone(&r->readers);
            queue_move(&r->done, &r->wait);
        }
        if (!r->wait.first && r->next.first &&
            (r->next.nr >= RCU_BATCH || load_relaxed(&r->urgent))) {
            store_relaxed(&r->urgent, false);
            queue_move(&r->wait, &r->next);
            atomic_fence_seq(); // (1)
            rcu_readers_note(&r->readers);
            now = load_seq(&gp);
            r->wait_gp = (now + 3) & ~1ul; // even: the next one's end; odd: the next but one's
        }
        if (!r->wait.first) {
            return;
        }
        // Ask to be told, then look: gp_end ends the period, then looks who asked (seq_cst).
        fetch_or_seq(&gp_want, me);
        now = load_seq(&gp);
        if (now >= r->wait_gp) {
            continue;
        }
        unsigned long even = now;
        if (!(now & 1) && atomic_compare_exchange_strong(&gp, &even, now + 1)) {
            gp_start();
        }
        return;
    }
}

// For those who do not run callbacks themselves.
static void rcu_advance_post(struct rcu_cpu *r)
{
    rcu_advance(r);
    if (r->done.first) {
        cpu_work_post(cpu_id(), WORK_RCU_CB);
    }
}

// A long queue: interrupt the CPUs that the grace period waits for, so that they report.
static cold void rcu_hurry(struct rcu_cpu *r)
{
    u64 now = load_relaxed(&gp);
    if (!(now & 1) || now == r->hurried_gp) {
        return;
    }
    r->hurried_gp = now;
    u64 mask = load_relaxed(&gp_mask) & ~(1ul << cpu_id());
    if (mask) {
        arch_send_ipi(mask, IPI_RESCHED);
    }
}

static void rcu_queue_callback(struct rcu_cpu *r, struct rcu_head *head)
{
    queue_add(&r->next, head);
    fetch_add_relaxed(&r->nr, 1); // own line: nobody writes it but this CPU
}

void call_rcu(struct rcu_head *head, void (*fn)(struct rcu_head *))
{
    struct rcu_cpu *r = &this_cpu(rcu_cpu);

    head->fn = fn;
    rcu_queue_callback(r, head);
    if (unlikely(r->next.nr >= RCU_BATCH)) {
        if (!r->wait.first) {
            rcu_advance_post(r);
        }
        if (unlikely(load_relaxed(&r->nr) >= RCU_BACKLOG)) {
            rcu_hurry(r);
        }
    }
}

static void barrier_queue(struct rcu_cpu *r);

void rcu_run_callbacks(void)
{
    struct rcu_cpu *r = &this_cpu(rcu_cpu);
    unsigned work = load_relaxed(&this_cpu(cpu_work)) & (WORK_RCU_CB | WORK_RCU_BARRIER);

    if (!work || r->running) {
        return;
    }
    r->running = true;
    fetch_and_seq(&this_cpu(cpu_work), ~work);
    if (work & WORK_RCU_BARRIER) {
        barrier_queue(r);
    }
    rcu_advance(r);
    unsigned n = 0;
    while (n < RCU_RUN_MAX && r->done.first) {
        struct rcu_head *h = queue_take(&r->done);
        h->fn(h);
        n++;
    }
    fetch_sub_release(&r->nr, n); // pairs with rcu_barrier: the callbacks have run
    if (r->done.first) {
        cpu_work_post(cpu_id(), WORK_RCU_CB);
    }
    r->running = false;
}

bool rcu_needs_cpu(void)
{
    return load_relaxed(&this_cpu(rcu_cpu).nr) > 0;
}

u64 rcu_nr_waiting(void)
{
    u64 nr = 0;
    for (unsigned c = 0; c < nr_cpus; c++) {
        nr += load_acquire(&per_cpu(rcu_cpu, c).nr); // pairs with rcu_run_callbacks
    }
    return nr;
}

void rcu_flush_batch(void)
{
    struct rcu_cpu *r = &this_cpu(rcu_cpu);
    if (r->next.first && !r->wait.first) {
        store_relaxed(&r->urgent, true);
        rcu_advance_post(r);
    }
}

void rcu_tick(void)
{
    struct rcu_cpu *r = &this_cpu(rcu_cpu);
    // We may have hit call_rcu half-way: only look, the safe point acts.
    if (load_relaxed(&r->nr) > 0) {
        store_relaxed(&r->urgent, true);
        cpu_work_post(cpu_id(), WORK_RCU_CB);
    }
}

// --- Waiting ------------------------------------------------------------------------------------

struct rcu_sync {
    struct rcu_head head;
    struct waitq q;
    bool done; // [q.lock], so that the waiter does not leave before the waker has
};

static void rcu_sync_done(struct rcu_head *head)
{
    struct rcu_sync *s = container_of(head, struct rcu_sync, head);
    unsigned long flags = spin_lock_irq(&s->q.lock);
    struct waiter *w = list_first(&s->q.waiters, struct waiter, link);
    s->done = true;
    if (w) {
        thread_wake(w->thread);
    }
    spin_unlock_irq(&s->q.lock, flags);
}

static bool rcu_sync_is_done(struct rcu_sync *s)
{
    unsigned long flags = spin_lock_irq(&s->q.lock);
    bool done = s->done;
    spin_unlock_irq(&s->q.lock, flags);
    return done;
}

void synchronize_rcu(void)
{
    struct rcu_sync s = {.done = false};

    might_sleep();
    waitq_init(&s.q);
    call_rcu(&s.head, rcu_sync_done);
    store_relaxed(&this_cpu(rcu_cpu).urgent, true);
    rcu_advance_post(&this_cpu(rcu_cpu));
    waitq_wait(&s.q, rcu_sync_is_done(&s));
}

// rcu_barrier: every CPU that has callbacks queues one more, behind them; they run in order.
static struct mutex barrier_lock = MUTEX_INIT(barrier_lock, RANK_SLEEP_MISC);
static atomic_int barrier_left; // [a] callbacks still to run, and 1 while they are handed out
static struct waitq barrier_waitq = WAITQ_INIT(barrier_waitq);

static void barrier_done(struct rcu_head *head)
{
    (void)head;
    // release, acquire: what the callbacks before this one did, for who called rcu_barrier
    if (atomic_fetch_sub(&barrier_left, 1) == 1) {
        waitq_wake_all(&barrier_waitq);
    }
}

static void barrier_queue(struct rcu_cpu *r)
{
    r->barrier.fn = barrier_done;
    rcu_queue_callback(r, &r->barrier);
    store_relaxed(&r->urgent, true);
}

void rcu_barrier(void)
{
    might_sleep();
    mutex_lock(&barrier_lock);
    store_seq(&barrier_left, 1);
    for (unsigned c = 0; c < nr_cpus; c++) {
        // A callback that the caller knows of is counted already; later ones do not matter.
        if (load_seq(&per_cpu(rcu_cpu, c).nr) > 0) {
            fetch_add_seq(&barrier_left, 1);
            cpu_work_post_now(c, WORK_RCU_BARRIER);
        }
    }
    barrier_done(NULL);
    waitq_wait(&barrier_waitq, load_seq(&barrier_left) == 0); // pairs with barrier_done
    mutex_unlock(&barrier_lock);
}

void rcu_init(void)
{
    store_seq(&this_cpu(rcu_busy), true);
}

#if CONFIG_DEBUG
void rcu_read_lock(void)
{
    struct thread *t = current_thread();
    if (t && t->rcu_depth++ == 0) {
        rcu_reader_enter();
    }
    compiler_barrier();
}

void rcu_read_unlock(void)
{
    struct thread *t = current_thread();
    compiler_barrier();
    if (t) {
        assert(t->rcu_depth > 0);
        if (--t->rcu_depth == 0) {
            rcu_reader_leave();
        }
    }
}

bool rcu_read_held(void)
{
    struct thread *t = current_thread();
    return !t || t->rcu_depth > 0;
}
#endif
