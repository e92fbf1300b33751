// The kernel's RCU (kernel/rcu.c) on the soft machine: readers, updaters, idle CPUs and waiters at
// the same time.
//
// A thing is reached by one of the pointers in place[], is exchanged for another and freed after a
// grace period, by call_rcu or after synchronize_rcu. Freed, its bytes are poison and the sanitizer
// knows. Each section has a number that others can see while it lasts. What is asked:
//
//     a reader          what it has found stays whole until its section ends
//     synchronize_rcu   of the sections that were running when it began none runs when it returns
//     rcu_barrier       every callback that any CPU had queued before it has run
//     callbacks         in order of one CPU's call_rcu; no section, no lock, interrupts on
//     the end           nothing is left; and nobody waits for ever (host.c's watch)
//
//     SEED=n ROUNDS=n CPUS=n THREADS=1 SECONDS=n

#include <arch/cpu.h>
#include <k/assert.h>
#include <k/percpu.h>
#include <k/rcu.h>
#include <page.h>
#include <slab.h>
#include <smp.h>
#include <soft.h>
#include <stdio.h>

#define PLACES    16u
#define MAGIC     0x600d600du
#define RAM_BYTES (4ul << 20)

struct thing {
    u64 one, other; // the same, while it lives
    u32 magic;
    u64 number; // of its CPU's call_rcu
    unsigned cpu;
    struct rcu_head rcu;
};

static struct kmem_cache *cache;
static _Atomic(struct thing *) place[2 * PLACES];
static unsigned long rounds;

static struct cpu_state {
    atomic_ulong section;     // number of the section, 0 outside
    atomic_ulong queued, ran; // callbacks
    u64 nr_sections;
} cache_aligned state[MAX_CPUS];
static atomic_ulong nr_reads, nr_syncs, nr_barriers;

static struct thing *thing_new(void)
{
    struct thing *t = kmem_cache_alloc(cache, GFP_KERNEL);
    assert(t);
    t->one = t->other = soft_random();
    t->magic = MAGIC;
    return t;
}

static void thing_check(const struct thing *t)
{
    assert(t->magic == MAGIC && t->one == t->other);
}

static void thing_freed(struct rcu_head *head)
{
    struct thing *t = container_of(head, struct thing, rcu);
    struct cpu_state *s = &state[t->cpu];
    assert(!rcu_read_held() && irq_enabled() && soft_cpu->nr_held == 0 && !soft_cpu->in_interrupt);
    assert(t->cpu == cpu_id());
    assert(t->number == load_relaxed(&s->ran) + 1);
    t->magic = 0;
    kmem_cache_free(cache, t);
    fetch_add_seq(&s->ran, 1); // pairs with do_barrier
}

static struct thing *exchange(void)
{
    return atomic_exchange(&place[soft_below(PLACES)], thing_new());
}

static void do_read(void)
{
    struct cpu_state *me = &state[cpu_id()];
    rcu_read_lock();
    store_seq(&me->section, ++me->nr_sections);
    for (unsigned n = soft_below(4) + 1; n; n--) {
        struct thing *t = rcu_dereference(&place[soft_below(2 * PLACES)]);
        for (unsigned k = soft_below(30); k; k--) {
            soft_point();
        }
        thing_check(t);
    }
    store_release(&me->section, 0);
    rcu_read_unlock();
    fetch_add_relaxed(&nr_reads, 1);
}

static void free_later(struct thing *t)
{
    struct cpu_state *me = &state[cpu_id()];
    t->cpu = cpu_id();
    t->number = load_relaxed(&me->queued) + 1;
    call_rcu(&t->rcu, thing_freed);
    fetch_add_seq(&me->queued, 1); // pairs with do_barrier
}

// Unlinked by a store that may still wait in the store buffer, and the unlock with it: call_rcu
// must see to that. These places are exchanged under the lock only.
static void do_unlink(void)
{
    static struct spinlock lock = SPINLOCK_INIT(RANK_SPIN_MISC);
    _Atomic(struct thing *) *p = &place[PLACES + soft_below(PLACES)];
    struct thing *t = thing_new();
    spin_lock(&lock);
    struct thing *old = load_relaxed(p);
    rcu_assign_pointer(p, t);
    spin_unlock(&lock);
    free_later(old);
}

static void do_sync(void)
{
    u64 section[MAX_CPUS];
    struct thing *t = exchange();
    for (unsigned c = 0; c < nr_cpus; c++) {
        section[c] = load_seq(&state[c].section);
    }
    synchronize_rcu();
    for (unsigned c = 0; c < nr_cpus; c++) {
        assert(section[c] == 0 || load_seq(&state[c].section) != section[c]);
    }
    t->magic = 0;
    kmem_cache_free(cache, t);
    fetch_add_relaxed(&nr_syncs, 1);
}

static void do_barrier(void)
{
    u64 queued[MAX_CPUS];
    for (unsigned c = 0; c < nr_cpus; c++) {
        queued[c] = load_seq(&state[c].queued);
    }
    rcu_barrier();
    for (unsigned c = 0; c < nr_cpus; c++) {
        assert(load_seq(&state[c].ran) >= queued[c]);
    }
    fetch_add_relaxed(&nr_barriers, 1);
}

// Written down, for the generator hardly draws it: a callback takes long, and meanwhile another CPU
// waits in rcu_barrier, for that callback: so it is not held for ever.
#define HELD_ROUNDS 20u
#define HELD_TURNS  2000u

enum { BEGUN, IN_CALLBACK, RAN };
static atomic_uint stage;
static struct rcu_head held;

static void held_freed(struct rcu_head *head)
{
    (void)head;
    store_seq(&stage, IN_CALLBACK);
    for (unsigned n = 0; n < HELD_TURNS; n++) {
        soft_wait();
    }
    store_seq(&stage, RAN);
}

static void run_held(unsigned me)
{
    for (unsigned round = 0; round < HELD_ROUNDS && nr_cpus > 1; round++) {
        unsigned part = (me + round) % nr_cpus;
        soft_barrier();
        if (part == 0) {
            store_seq(&stage, BEGUN);
            call_rcu(&held, held_freed);
        }
        soft_barrier();
        if (part == 0) {
            while (load_seq(&stage) != RAN) {
                soft_idle(1);
            }
        } else if (part == 1) {
            while (load_seq(&stage) == BEGUN) {
                soft_safe_point();
                host_yield();
            }
            rcu_barrier();
            assert(load_seq(&stage) == RAN);
        }
        soft_barrier();
        host_progress();
    }
}

static void step(void)
{
    switch (soft_below(64)) {
    case 0:
        do_sync();
        break;
    case 1:
        if (soft_below(4) == 0) {
            do_barrier();
        }
        break;
    case 2:
        soft_idle(soft_below(60));
        break;
    case 3: // in the kernel for long
        for (unsigned k = soft_below(2000); k; k--) {
            soft_point();
        }
        break;
    case 4:
        for (unsigned k = soft_below(16) ? 10 : 9000; k; k--) { // beyond RCU_BACKLOG
            free_later(exchange());
        }
        break;
    default:
        if (soft_below(3)) {
            do_read();
        } else {
            do_unlink();
        }
        break;
    }
    soft_safe_point();
    host_progress();
}

static void cpu_main(unsigned n)
{
    static atomic_bool ready;
    soft_cpu_start(n);
    if (n == 0) {
        page_init();
        cache = kmem_cache_create("thing", sizeof(struct thing), 0);
        for (unsigned i = 0; i < 2 * PLACES; i++) {
            store_seq(&place[i], thing_new());
        }
        host_start_clock(100);
        store_seq(&ready, true);
    }
    while (!load_seq(&ready)) {
        host_yield();
    }
    soft_rcu_start();
    run_held(n);
    soft_barrier();
    for (unsigned long i = 0; i < rounds && !host_time_is_up(); i++) {
        step();
    }
    rcu_barrier();
    soft_barrier();
    if (n == 0) {
        rcu_barrier();
        assert(kmem_cache_nr_used(cache) == 2 * PLACES);
        printf("%lu sections, %lu synchronize_rcu, %lu rcu_barrier\n", load_relaxed(&nr_reads),
               load_relaxed(&nr_syncs), load_relaxed(&nr_barriers));
        for (unsigned i = 0; i < 2 * PLACES; i++) {
            kmem_cache_free(cache, load_seq(&place[i]));
        }
    }
    soft_barrier();
    soft_cpu_stop();
}

int main(void)
{
    unsigned cpus = (unsigned)host_option("CPUS", 4);
    rounds = host_option("ROUNDS", 20000);
    soft_boot(RAM_BYTES, min(cpus, (unsigned)MAX_CPUS), host_seed());
    host_run_cpus(nr_cpus, cpu_main);
    return 0;
}
