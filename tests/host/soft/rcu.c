// RCU of the soft machine. Each CPU publishes the epoch at which its outermost read section began
// (0: none). call_rcu stamps an object and moves the epoch on; the object goes as soon as no CPU
// holds a value up to the stamp, which is the earliest that RCU allows: the harshest timing for
// those who rely on it. Callbacks run at safe points, of any CPU.

#include <k/assert.h>
#include <k/rcu.h>
#include <page.h>
#include <soft.h>
#include <smp.h>
#include <stdlib.h>

struct waiting {
    struct waiting *next;
    struct rcu_head *head;
    u64 stamp;
};

static struct reader {
    atomic_ulong since;
} cache_aligned reader[MAX_CPUS];

static atomic_ulong epoch = 1;
static atomic_bool locked;                         // short and never held over a point
static struct waiting *oldest, **newest = &oldest; // [locked]
static atomic_long pending;

static void list_lock(void)
{
    while (atomic_exchange(&locked, true)) {
        host_yield();
    }
}

static void list_unlock(void)
{
    atomic_store(&locked, false);
}

void rcu_read_lock(void)
{
    if (soft_cpu->rcu_nest++ == 0) {
        // Past the store buffer: earlier stores may go on waiting, a section orders nothing.
        atomic_store(&reader[cpu_id()].since, atomic_load(&epoch)); // pairs with oldest_reader
        soft_point();
    }
}

void rcu_read_unlock(void)
{
    assert(soft_cpu->rcu_nest > 0);
    if (--soft_cpu->rcu_nest == 0) {
        soft_drain();
        atomic_store(&reader[cpu_id()].since, 0); // pairs with oldest_reader
        soft_point();
    }
}

bool rcu_read_held(void)
{
    return soft_cpu->rcu_nest > 0;
}

// No reader that runs now, or begins later, can see what was stamped below this. What is stamped
// while we look is not ours to judge: hence the epoch, read first.
static u64 oldest_reader(void)
{
    u64 oldest_since = atomic_load(&epoch);
    for (unsigned c = 0; c < nr_cpus; c++) {
        u64 since = atomic_load(&reader[c].since);
        if (since != 0 && since < oldest_since) {
            oldest_since = since;
        }
    }
    return oldest_since;
}

static struct waiting *take_ready(u64 limit)
{
    struct waiting *w;
    list_lock();
    w = oldest;
    if (w && w->stamp < limit) {
        oldest = w->next;
        if (!oldest) {
            newest = &oldest;
        }
    } else {
        w = NULL;
    }
    list_unlock();
    return w;
}

void rcu_quiescent(void)
{
    struct waiting *w;
    assert(soft_cpu->rcu_nest == 0);
    if (soft_cpu->rcu_running || atomic_load(&pending) == 0) {
        return;
    }
    soft_cpu->rcu_running = true;
    u64 limit = oldest_reader();
    while ((w = take_ready(limit))) {
        w->head->fn(w->head);
        free(w);
        atomic_fetch_sub(&pending, 1);
    }
    soft_cpu->rcu_running = false;
}

void call_rcu(struct rcu_head *head, void (*fn)(struct rcu_head *))
{
    struct waiting *w = malloc(sizeof(*w));
    assert(w);
    soft_drain();
    soft_point();
    head->fn = fn;
    w->head = head;
    w->next = NULL;
    atomic_fetch_add(&pending, 1);
    list_lock();
    w->stamp = atomic_fetch_add(&epoch, 1);
    *newest = w;
    newest = &w->next;
    list_unlock();
    soft_race_point("call rcu");
}

void synchronize_rcu(void)
{
    assert(soft_cpu->rcu_nest == 0);
    soft_drain();
    u64 now = atomic_fetch_add(&epoch, 1);
    while (oldest_reader() <= now) { // the epoch is beyond it
        soft_wait();
    }
    rcu_quiescent();
}

void rcu_barrier(void)
{
    assert(!soft_cpu->rcu_running);
    while (atomic_load(&pending) > 0) {
        synchronize_rcu();
        soft_wait();
    }
}

u64 rcu_nr_waiting(void)
{
    return (u64)atomic_load(&pending);
}

void soft_rcu_start(void)
{
}

void soft_rcu_stop(void)
{
}

void soft_rcu_safe_point(void)
{
    rcu_quiescent();
}

void soft_rcu_tick(void)
{
}

void soft_idle(unsigned turns)
{
    for (; turns; turns--) {
        soft_safe_point();
        host_yield();
    }
}
