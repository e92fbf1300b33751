// Tests of locks, wait queues, timers, the scheduler and cross calls; RCU's are in ktest_rcu.c.
// Each puts a pack of threads to work on one thing and counts what must be true at the end.
#include "ktest_priv.h"
#include "timer_priv.h"

#include <arch/cpu.h>
#include <arch/time.h>
#include <k/atomic.h>
#include <k/errno.h>
#include <k/lock.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <ktest.h>
#include <sched.h>
#include <smp.h>

// --- A pack of threads --------------------------------------------------------------------------

static struct waitq pack_done = WAITQ_INIT(pack_done);
static atomic_uint pack_left;
static void (*pack_fn)(unsigned);
static atomic_uint pack_number;

static void pack_main(void *arg)
{
    (void)arg;
    pack_fn(fetch_add_seq(&pack_number, 1));
    if (fetch_add_seq(&pack_left, -1u) == 1) {
        waitq_wake_all(&pack_done);
    }
}

void ktest_pack(unsigned n, void (*fn)(unsigned))
{
    pack_fn = fn;
    store_seq(&pack_number, 0);
    store_seq(&pack_left, n);
    for (unsigned i = 0; i < n; i++) {
        if (!kthread_create("ktest", pack_main, NULL)) {
            KTEST_CHECK(!"kthread_create");
            fetch_add_seq(&pack_left, -1u);
        }
    }
    waitq_wait(&pack_done, load_seq(&pack_left) == 0);
}

// --- Locks --------------------------------------------------------------------------------------

#define LOCK_ROUNDS 20000

static struct spinlock test_spin = SPINLOCK_INIT(RANK_SPIN_MISC);
static struct spinlock test_spin_irq = SPINLOCK_INIT(RANK_TTY);
static struct mutex test_mutex = MUTEX_INIT(test_mutex, RANK_SLEEP_MISC);
static struct rwsem test_rwsem = RWSEM_INIT(test_rwsem, RANK_SLEEP_MISC);
static unsigned long counter; // plain on purpose: the lock under test protects it
static unsigned long twin;

static void spin_worker(unsigned me)
{
    (void)me;
    for (int i = 0; i < LOCK_ROUNDS; i++) {
        spin_lock(&test_spin);
        counter++;
        spin_unlock(&test_spin);
        unsigned long flags = spin_lock_irq(&test_spin_irq);
        twin++;
        spin_unlock_irq(&test_spin_irq, flags);
        if (i % 64 == 0) {
            cond_resched();
        }
    }
}

KTEST(core_spinlock)
{
    counter = twin = 0;
    ktest_pack(nr_cpus + 1, spin_worker);
    KTEST_CHECK(counter == (nr_cpus + 1ul) * LOCK_ROUNDS);
    KTEST_CHECK(twin == counter);
    KTEST_CHECK(spin_trylock(&test_spin));
    KTEST_CHECK(!spin_trylock(&test_spin));
    spin_unlock(&test_spin);
}

static void mutex_worker(unsigned me)
{
    for (int i = 0; i < LOCK_ROUNDS / 10; i++) {
        mutex_lock(&test_mutex);
        unsigned long seen = counter;
        if ((i + (int)me) % 16 == 0) {
            sched_yield(); // others must now wait for a sleeping owner
        }
        counter = seen + 1;
        mutex_unlock(&test_mutex);
        if (i % 32 == 0) {
            sched_yield();
        }
    }
}

KTEST(core_mutex)
{
    counter = 0;
    ktest_pack(6, mutex_worker);
    KTEST_CHECK(counter == 6ul * (LOCK_ROUNDS / 10));
    KTEST_CHECK(mutex_trylock(&test_mutex));
    KTEST_CHECK(!mutex_trylock(&test_mutex));
    mutex_unlock(&test_mutex);
}

static void rwsem_worker(unsigned me)
{
    for (int i = 0; i < LOCK_ROUNDS / 10; i++) {
        if ((i + (int)me) % 8 == 0) {
            rwsem_write_lock(&test_rwsem);
            counter++;
            if (i % 3 == 0) {
                sched_yield();
            }
            twin++;
            if (i % 5 == 0) {
                rwsem_downgrade(&test_rwsem);
                KTEST_CHECK(counter == twin);
                rwsem_read_unlock(&test_rwsem);
            } else {
                rwsem_write_unlock(&test_rwsem);
            }
        } else {
            rwsem_read_lock(&test_rwsem);
            unsigned long seen = counter;
            if (i % 31 == 0) {
                sched_yield();
            }
            KTEST_CHECK(seen == counter && seen == twin);
            rwsem_read_unlock(&test_rwsem);
        }
    }
}

KTEST(core_rwsem)
{
    counter = twin = 0;
    ktest_pack(6, rwsem_worker);
    KTEST_CHECK(counter == twin && counter == 6ul * (LOCK_ROUNDS / 10 / 8));
    KTEST_CHECK(load_seq(&test_rwsem.state) == 0);
}

// --- Wait queues: a pipe of one item, several producers and consumers ---------------------------

#define ITEMS 3000

static struct waitq test_full = WAITQ_INIT(test_full);
static struct waitq test_empty = WAITQ_INIT(test_empty);
static atomic_uint slot; // 0: empty
static atomic_ulong consumed;

static bool slot_change(unsigned from, unsigned to)
{
    return atomic_compare_exchange_strong(&slot, &from, to);
}

static void slot_worker(unsigned me)
{
    for (int i = 0; i < ITEMS; i++) {
        if (me & 1) {
            waitq_wait(&test_empty, slot_change(0, 1));
            waitq_wake_one(&test_full);
        } else {
            waitq_wait(&test_full, slot_change(1, 0));
            fetch_add_seq(&consumed, 1);
            waitq_wake_one(&test_empty);
        }
    }
}

KTEST(core_waitq)
{
    store_seq(&slot, 0);
    store_seq(&consumed, 0);
    ktest_pack(6, slot_worker);
    KTEST_CHECK(load_seq(&consumed) == 3ul * ITEMS);
}

// --- Wake-ups across CPUs, affinity -------------------------------------------------------------

static struct waitq test_turn_q = WAITQ_INIT(test_turn_q);
static atomic_uint test_turn;

static void pinned_worker(unsigned me)
{
    unsigned cpu = me % nr_cpus;

    KTEST_CHECK(sched_set_affinity(current_thread(), 1ul << cpu) == 0);
    for (unsigned i = 0; i < 500; i++) {
        KTEST_CHECK(cpu_id() == cpu);
        waitq_wait(&test_turn_q, load_seq(&test_turn) == i * nr_cpus + me);
        fetch_add_seq(&test_turn, 1);
        waitq_wake_all(&test_turn_q);
    }
}

KTEST(core_wakeup)
{
    store_seq(&test_turn, 0);
    ktest_pack(nr_cpus, pinned_worker);
    KTEST_CHECK(load_seq(&test_turn) == 500 * nr_cpus);
    KTEST_CHECK(sched_set_affinity(current_thread(), 0) == -EINVAL);
}

static atomic_ulong seen_cpus;

static void spread_worker(unsigned me)
{
    u64 end = clock_ns() + 50000000;
    (void)me;
    while (clock_ns() < end) {
        fetch_or_seq(&seen_cpus, 1ul << cpu_id());
        cond_resched();
        cpu_relax();
    }
}

KTEST(core_spread)
{
    store_seq(&seen_cpus, 0);
    ktest_pack(2 * nr_cpus, spread_worker);
    KTEST_CHECK(load_seq(&seen_cpus) == (nr_cpus == 64 ? ~0ul : (1ul << nr_cpus) - 1));
}

// Many threads come and go: memory comes back (through RCU), nobody trips over the dead.
static void brief_worker(unsigned me)
{
    (void)me;
}

KTEST(core_thread_churn)
{
    for (int i = 0; i < 100; i++) {
        ktest_pack(10, brief_worker);
    }
}

// --- Timers -------------------------------------------------------------------------------------

static void sleep_worker(unsigned me)
{
    for (unsigned i = 0; i < 20; i++) {
        u64 ns = (me + i) % 7 * 400000;
        u64 start = clock_ns();
        sleep_ns(ns);
        KTEST_CHECK(clock_ns() - start >= ns);
    }
}

static struct timer test_timer;
static atomic_uint nr_rings;

static void test_ring(struct timer *t)
{
    (void)t;
    fetch_add_seq(&nr_rings, 1);
}

KTEST(core_timer)
{
    u64 start = clock_ns();
    ktest_pack(8, sleep_worker);
    KTEST_CHECK(clock_ns() - start < 5000000000ull);

    store_seq(&nr_rings, 0);
    timer_init(&test_timer, test_ring);
    KTEST_CHECK(!timer_cancel(&test_timer));
    timer_arm(&test_timer, clock_ns() + 1000000000ull);
    KTEST_CHECK(timer_cancel(&test_timer));
    timer_arm(&test_timer, clock_ns() + 1000000ull);
    sleep_ns(5000000);
    KTEST_CHECK(!timer_cancel(&test_timer));
    KTEST_CHECK(load_seq(&nr_rings) == 1);

    thread_set_state(THREAD_BLOCKED);
    KTEST_CHECK(schedule_until(clock_ns()) == 0);
    KTEST_CHECK(load_seq(&current_thread()->state) == THREAD_RUNNABLE);
}

#define CROWD (3 * TIMER_BATCH + 7)

static struct timer crowd[CROWD];

static void crowd_arm(u64 deadline_ns)
{
    for (unsigned i = 0; i < CROWD; i++) {
        timer_init(&crowd[i], test_ring);
        timer_arm(&crowd[i], deadline_ns);
    }
    store_seq(&nr_rings, 0);
}

// However many are due, one interrupt runs a batch of them and asks for the next; and all come.
KTEST(core_timer_crowd)
{
    unsigned calls = 0;
    unsigned long flags = irq_save();

    crowd_arm(clock_ns());
    while (load_seq(&nr_rings) < CROWD && calls++ < 100) {
        unsigned before = load_seq(&nr_rings);
        u64 now = clock_ns(), next = timer_run_expired(now);

        KTEST_CHECK(load_seq(&nr_rings) - before <= TIMER_BATCH);
        KTEST_CHECK(load_seq(&nr_rings) == CROWD || (next >= now && next != TIME_NEVER));
    }
    KTEST_CHECK(calls >= 4 && calls < 100);
    irq_restore(flags);

    flags = irq_save();
    crowd_arm(clock_ns() + 1000000);
    irq_restore(flags);
    for (unsigned i = 0; i < 1000 && load_seq(&nr_rings) < CROWD; i++) {
        sleep_ns(5000000);
    }
    KTEST_CHECK(load_seq(&nr_rings) == CROWD);
}

// --- Cross calls --------------------------------------------------------------------------------

#define CALL_ROUNDS 1000

static atomic_ulong nr_called;

static void count_call(void *arg)
{
    fetch_add_seq((atomic_ulong *)arg, 1);
}

static void call_worker(unsigned me)
{
    atomic_ulong mine = 0;

    KTEST_CHECK(sched_set_affinity(current_thread(), 1ul << me % nr_cpus) == 0);
    for (int i = 0; i < CALL_ROUNDS; i++) {
        smp_call_mask(~0ul, count_call, &mine);
        KTEST_CHECK(load_seq(&mine) == (i + 1ul) * (nr_cpus - 1));
    }
    fetch_add_seq(&nr_called, load_seq(&mine));
}

// What a TLB shootdown costs.
static void call_timing(void)
{
    atomic_ulong called = 0;
    u64 start = clock_ns();
    for (int i = 0; i < CALL_ROUNDS; i++) {
        smp_call_mask(~0ul, count_call, &called);
    }
    printk("ktest: cross call to all, one caller: %lu ns\n",
           (unsigned long)((clock_ns() - start) / CALL_ROUNDS));
}

KTEST(core_smp_call)
{
    call_timing();
    store_seq(&nr_called, 0);
    u64 start = clock_ns();
    ktest_pack(nr_cpus, call_worker);
    u64 ns = clock_ns() - start;
    KTEST_CHECK(load_seq(&nr_called) == (u64)nr_cpus * (nr_cpus - 1) * CALL_ROUNDS);
    printk("ktest: cross call to all: %lu ns\n", (unsigned long)(ns / CALL_ROUNDS));
}
