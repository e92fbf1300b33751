// RCU and SRCU: readers look at objects that an updater keeps replacing. A freed object is poisoned
// before anything else happens to it; a reader that ever sees poison was not waited for.
#include "ktest_priv.h"

#include <arch/cpu.h>
#include <arch/time.h>
#include <k/assert.h>
#include <k/atomic.h>
#include <k/printk.h>
#include <k/rcu.h>
#include <ktest.h>
#include <sched.h>
#include <slab.h>
#include <smp.h>

#define ALIVE  0x600d600du
#define POISON 0xdeadbeefu
#define RUN_NS 300000000ull

struct object {
    atomic_uint a, b;
    struct rcu_head rcu;
};

static _Atomic(struct object *) shared;
static atomic_ulong nr_allocated, nr_freed, nr_reads;
static u64 end_ns;

static struct object *object_new(void)
{
    struct object *o = kmalloc(sizeof(*o), GFP_KERNEL);
    assert(o);
    store_relaxed(&o->a, ALIVE);
    store_relaxed(&o->b, ALIVE);
    fetch_add_seq(&nr_allocated, 1);
    return o;
}

static void object_poison(struct object *o)
{
    store_relaxed(&o->a, POISON);
    store_relaxed(&o->b, POISON);
    fetch_add_seq(&nr_freed, 1);
    kfree(o);
}

static void object_free_rcu(struct rcu_head *head)
{
    object_poison(container_of(head, struct object, rcu));
}

static void read_some(void)
{
    for (int i = 0; i < 100; i++) {
        rcu_read_lock();
        struct object *o = rcu_dereference(&shared);
        KTEST_CHECK(load_relaxed(&o->a) == ALIVE);
        if (i == 99) { // long enough for a grace period that does not wait for us
            u64 until = clock_ns() + 500000;
            while (clock_ns() < until) {
                cpu_relax();
            }
        }
        KTEST_CHECK(load_relaxed(&o->b) == ALIVE);
        rcu_read_unlock();
    }
    fetch_add_relaxed(&nr_reads, 100);
}

static void rcu_worker(unsigned me)
{
    unsigned i = 0;
    while (clock_ns() < end_ns) {
        i++;
        if (me % 3 == 2) { // an updater
            struct object *o = atomic_exchange(&shared, object_new());
            if (i % 512 == 0) {
                synchronize_rcu();
                object_poison(o);
            } else {
                call_rcu(&o->rcu, object_free_rcu);
                if (i % 16 == 0) {
                    rcu_flush_batch(); // grace periods of every length
                }
            }
        } else {
            read_some();
            if (i % 64 == me) { // let this CPU idle now and then
                sleep_ns(500000);
            }
        }
        cond_resched();
    }
}

KTEST(rcu_torture)
{
    store_seq(&nr_allocated, 0);
    store_seq(&nr_freed, 0);
    store_seq(&nr_reads, 0);
    end_ns = clock_ns() + RUN_NS;
    store_seq(&shared, object_new());
    ktest_pack(nr_cpus + 2, rcu_worker);
    struct object *last = atomic_exchange(&shared, NULL);
    call_rcu(&last->rcu, object_free_rcu);
    rcu_barrier();
    KTEST_CHECK(load_seq(&nr_freed) == load_seq(&nr_allocated));
    printk("ktest: rcu: %lu reads, %lu objects freed\n", load_seq(&nr_reads), load_seq(&nr_freed));
}

KTEST(rcu_latency)
{
    u64 start = clock_ns();
    for (int i = 0; i < 10; i++) {
        synchronize_rcu();
    }
    u64 ns = (clock_ns() - start) / 10;
    printk("ktest: rcu: a grace period of an idle machine: %lu us\n", (unsigned long)(ns / 1000));
    KTEST_CHECK(ns < 200000000);
}

static atomic_uint nr_marks;

static void mark(struct rcu_head *head)
{
    (void)head;
    fetch_add_seq(&nr_marks, 1);
}

static struct rcu_head marks[MAX_CPUS][3];

static void barrier_worker(unsigned me)
{
    unsigned cpu = me % nr_cpus;
    KTEST_CHECK(sched_set_affinity(current_thread(), 1ul << cpu) == 0);
    for (int i = 0; i < 3; i++) {
        call_rcu(&marks[cpu][i], mark);
    }
}

KTEST(rcu_barrier)
{
    store_seq(&nr_marks, 0);
    for (unsigned round = 1; round <= 5; round++) {
        ktest_pack(nr_cpus, barrier_worker);
        rcu_barrier();
        KTEST_CHECK(load_seq(&nr_marks) == round * nr_cpus * 3);
    }
}

// A flood of callbacks from one thread that never sleeps is worked off while it comes in.
#define FLOOD 200000

static atomic_long flood_left;

static void flood_free(struct rcu_head *head)
{
    fetch_add_relaxed(&flood_left, -1);
    kfree(head);
}

KTEST(rcu_flood)
{
    long most = 0;
    store_seq(&flood_left, 0);
    for (int i = 0; i < FLOOD; i++) {
        struct rcu_head *h = kmalloc(sizeof(*h), GFP_KERNEL);
        assert(h);
        fetch_add_relaxed(&flood_left, 1);
        most = max(most, (long)load_relaxed(&flood_left));
        call_rcu(h, flood_free);
        cond_resched();
    }
    rcu_barrier();
    KTEST_CHECK(load_seq(&flood_left) == 0);
    printk("ktest: rcu: %d callbacks, at most %ld waiting\n", FLOOD, most);
    KTEST_CHECK(most < FLOOD / 2);
}

static struct srcu test_srcu;

static void srcu_worker(unsigned me)
{
    while (clock_ns() < end_ns) {
        if (me == 0) {
            struct object *o = atomic_exchange(&shared, object_new());
            synchronize_srcu(&test_srcu);
            object_poison(o);
        } else {
            int i = srcu_read_lock(&test_srcu);
            struct object *o = load_acquire(&shared);
            KTEST_CHECK(load_relaxed(&o->a) == ALIVE);
            if (me & 1) {
                sched_yield();
            } else {
                sleep_ns(100000);
            }
            KTEST_CHECK(load_relaxed(&o->b) == ALIVE);
            srcu_read_unlock(&test_srcu, i);
        }
    }
}

KTEST(srcu_torture)
{
    KTEST_CHECK(srcu_init(&test_srcu) == 0);
    end_ns = clock_ns() + RUN_NS;
    store_seq(&shared, object_new());
    ktest_pack(nr_cpus + 2, srcu_worker);
    object_poison(atomic_exchange(&shared, NULL));
    kfree(test_srcu.cpu);
}
