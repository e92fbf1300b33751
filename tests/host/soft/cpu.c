// The soft machine's CPUs: their start, points, cross calls and locks.
//
// A cross call is a word of callers in each target's line, as in kernel/smp.c; the target looks at
// it at its points. Whoever waits for anything serves calls meanwhile, so two callers cannot wait
// for each other.

#include <arch/cpu.h>
#include <bootinfo.h>
#include <k/assert.h>
#include <k/lock.h>
#include <k/percpu.h>
#include <k/rcu.h>
#include <k/string.h>
#include <page.h>
#include <sched.h>
#include <smp.h>
#include <stdlib.h>

#define FUSE_MAX 250

unsigned nr_cpus, percpu_nr;
unsigned long percpu_offset[MAX_CPUS];
struct bootinfo bootinfo;
char *soft_ram;

static struct soft_cpu soft_cpus[MAX_CPUS];
_Thread_local struct soft_cpu *soft_cpu = &soft_cpus[0];

static struct thread cpu_thread[MAX_CPUS];
static u64 boot_seed;

struct call {
    void (*fn)(void *);
    void *arg;
    atomic_ulong pending; // targets that have not run it
};
static struct cpu_line {
    struct call call;  // what this CPU wants of others
    atomic_ulong from; // CPUs that want this one to run theirs
} cache_aligned line[MAX_CPUS];

extern char __start_percpu_host[], __stop_percpu_host[];

// ---- Start --------------------------------------------------------------------------------------

void soft_boot(size_t ram_bytes, unsigned cpus, u64 seed)
{
    size_t len = (size_t)(__stop_percpu_host - __start_percpu_host);

    soft_ram = host_map(ram_bytes);
    boot_seed = seed;
    bootinfo.region[0] = (struct boot_region){0, ram_bytes, BOOT_RAM};
    bootinfo.nr_regions = 1;
    for (unsigned c = 0; c < cpus; c++) {
        char *area = host_map(len);
        memcpy(area, __start_percpu_host, len);
        percpu_offset[c] = (uintptr_t)area - (uintptr_t)__start_percpu_host;
    }
    nr_cpus = percpu_nr = cpus;
}

void soft_cpu_start(unsigned n)
{
    struct soft_cpu *c = &soft_cpus[n];
    *c = (struct soft_cpu){.id = n, .percpu_offset = percpu_offset[n], .current = &cpu_thread[n]};
    c->fuse = FUSE_MAX;
    c->random = boot_seed * 64 + n;
    host_set_cpu(c);
    mmu_load(0);
}

void soft_cpu_stop(void)
{
    soft_rcu_stop();
    soft_drain();
}

u64 soft_random(void)
{
    u64 z = (soft_cpu->random += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

// ---- Interrupts and points ----------------------------------------------------------------------

static void serve(void)
{
    struct cpu_line *me = &line[soft_cpu->id];
    if (soft_cpu->irq_off || soft_cpu->in_interrupt ||
        !atomic_load_explicit(&me->from, memory_order_relaxed)) {
        return;
    }
    soft_cpu->in_interrupt = true;
    soft_drain();
    u64 who = atomic_exchange(&me->from, 0);
    for (; who; who &= who - 1) {
        struct call *call = &line[__builtin_ctzl(who)].call;
        call->fn(call->arg);
        // The caller may return and reuse it now: pairs with smp_call_mask.
        atomic_fetch_and_explicit(&call->pending, ~(1ul << soft_cpu->id), memory_order_seq_cst);
    }
    soft_cpu->in_interrupt = false;
}

static void soft_tick(void)
{
    if (!soft_cpu->irq_off && !soft_cpu->in_interrupt) {
        soft_cpu->in_interrupt = true;
        soft_rcu_tick();
        soft_cpu->in_interrupt = false;
    }
}

// Mostly short, but sometimes for as long as others need for several system calls.
static void sleep_some(void)
{
    host_sleep(soft_below(1u << soft_below(12)));
}

void soft_bend(void)
{
    u64 r = soft_random();
    soft_cpu->fuse = (int)(r >> 32) % FUSE_MAX;
    if (soft_cpu->keep_stores) {
        return;
    }
    serve();
    switch (r % 16) {
    case 0:
        sleep_some();
        break;
    case 1:
    case 2:
        soft_speculate();
        break;
    case 3:
        soft_drain();
        break;
    case 4:
        soft_tick();
        break;
    default:
        host_yield();
        break;
    }
    serve();
}

void soft_race_point(const char *where)
{
    if (soft_cpu->at_point) {
        soft_cpu->at_point(where);
        return;
    }
    unsigned r = soft_below(64);
    if (r < 16) {
        serve();
        if (r % 4 == 1) {
            soft_speculate();
        }
        if (r % 4 == 0) {
            sleep_some();
        } else {
            host_yield();
        }
        serve();
    }
}

void soft_wait(void)
{
    soft_drain();
    serve();
    host_yield();
}

void soft_answer_drain(void)
{
    if (load_relaxed(&this_cpu(cpu_work)) & WORK_DRAIN) {
        page_drain_answer();
    }
}

void soft_safe_point(void)
{
    assert(!rcu_read_held());
    soft_drain();
    serve();
    soft_rcu_safe_point();
    soft_answer_drain();
}

void smp_call_mask(u64 mask, void (*fn)(void *), void *arg)
{
    struct call *call = &line[soft_cpu->id].call;

    assert(!soft_cpu->irq_off && !soft_cpu->in_interrupt);
    mask &= (nr_cpus == 64 ? ~0ul : (1ul << nr_cpus) - 1) & ~(1ul << soft_cpu->id);
    soft_drain();
    call->fn = fn;
    call->arg = arg;
    atomic_store(&call->pending, mask); // published by the bits in `from`
    for (u64 left = mask; left; left &= left - 1) {
        atomic_fetch_or(&line[__builtin_ctzl(left)].from, 1ul << soft_cpu->id);
    }
    while (atomic_load(&call->pending)) { // pairs with serve
        soft_wait();
    }
}

void soft_barrier(void)
{
    static atomic_uint arrived;
    unsigned turn = atomic_fetch_add(&arrived, 1) / nr_cpus;
    while (load_acquire(&arrived) / nr_cpus == turn) {
        soft_safe_point();
        host_yield();
    }
}

// ---- Locks --------------------------------------------------------------------------------------

void spin_init(struct spinlock *l, enum lock_rank rank)
{
    *l = (struct spinlock)SPINLOCK_INIT((u16)rank);
}

static bool spin_take(struct spinlock *l)
{
    // Acquire: pairs with the release in spin_unlock.
    if (atomic_exchange_explicit(&l->held, 1, memory_order_acquire)) {
        return false;
    }
    soft_cpu->held_rank[soft_cpu->nr_held++] = l->rank;
    return true;
}

// Who does not wait may take locks in any order.
NO_LOCK_ANALYSIS bool spin_trylock(struct spinlock *l)
{
    assert(!soft_cpu->in_interrupt);
    soft_point();
    if (soft_buffer_has(&l->held)) {
        soft_drain();
    }
    return spin_take(l);
}

NO_LOCK_ANALYSIS void spin_lock(struct spinlock *l)
{
    assert(soft_cpu->nr_held == 0 || soft_cpu->held_rank[soft_cpu->nr_held - 1] < l->rank);
    assert(!soft_cpu->in_interrupt);
    soft_point();
    if (soft_buffer_has(&l->held)) {
        soft_drain();
    }
    while (!spin_take(l)) {
        soft_wait();
    }
}

NO_LOCK_ANALYSIS void spin_unlock(struct spinlock *l)
{
    assert(soft_cpu->nr_held > 0 && soft_cpu->held_rank[soft_cpu->nr_held - 1] == l->rank);
    soft_cpu->nr_held--;
    soft_buffer(&l->held, sizeof(l->held), 0);
    soft_point();
}

unsigned long spin_lock_irq(struct spinlock *l)
{
    unsigned long flags = irq_save();
    spin_lock(l);
    return flags;
}

// At once: such a lock may be on a stack that is about to be used for something else.
void spin_unlock_irq(struct spinlock *l, unsigned long flags)
{
    spin_unlock(l);
    soft_drain();
    irq_restore(flags);
}

void spin_assert_held(struct spinlock *l)
{
    assert(load_relaxed(&l->held));
}

static void may_sleep(void)
{
    assert(soft_cpu->nr_held == 0 && !rcu_read_held() && !soft_cpu->in_interrupt &&
           !soft_cpu->irq_off);
}

void mutex_init(struct mutex *m, enum lock_rank rank)
{
    *m = (struct mutex)MUTEX_INIT(*m, rank);
}

bool mutex_trylock(struct mutex *m)
{
    struct thread *none = NULL;
    return atomic_compare_exchange_strong(&m->owner, &none, current_thread());
}

void mutex_lock(struct mutex *m)
{
    may_sleep();
    soft_point();
    while (!mutex_trylock(m)) {
        assert(load_relaxed(&m->owner) != current_thread());
        schedule();
    }
}

void mutex_unlock(struct mutex *m)
{
    assert(load_relaxed(&m->owner) == current_thread());
    store_release(&m->owner, NULL); // pairs with mutex_trylock
    soft_point();
}

void rwsem_init(struct rwsem *s, enum lock_rank rank)
{
    *s = (struct rwsem)RWSEM_INIT(*s, rank);
}

bool rwsem_read_trylock(struct rwsem *s)
{
    long n = load_relaxed(&s->state);
    return n >= 0 && load_relaxed(&s->nr_waiters) == 0 &&
           atomic_compare_exchange_strong(&s->state, &n, n + 1);
}

void rwsem_read_lock(struct rwsem *s)
{
    may_sleep();
    soft_point();
    while (!rwsem_read_trylock(s)) {
        schedule();
    }
}

void rwsem_read_unlock(struct rwsem *s)
{
    assert(fetch_add_seq(&s->state, -1) > 0);
}

void rwsem_write_lock(struct rwsem *s)
{
    long free = 0;
    may_sleep();
    soft_point();
    fetch_add_seq(&s->nr_waiters, 1);
    while (!atomic_compare_exchange_strong(&s->state, &free, -1)) {
        free = 0;
        schedule();
    }
    fetch_add_seq(&s->nr_waiters, -1);
}

void rwsem_write_unlock(struct rwsem *s)
{
    assert(load_relaxed(&s->state) == -1);
    store_release(&s->state, 0); // pairs with the trylocks
    soft_point();
}

// ---- The scheduler's part -----------------------------------------------------------------------

DEFINE_PER_CPU(atomic_uint, cpu_work);

// A CPU looks at its word often enough, an idle one in its loop; nobody needs to be interrupted.
void cpu_work_post(unsigned cpu, unsigned bits)
{
    fetch_or_seq(&per_cpu(cpu_work, cpu), bits);
}

void cpu_work_post_now(unsigned cpu, unsigned bits)
{
    cpu_work_post(cpu, bits);
}

void might_sleep(void)
{
    may_sleep();
}

void cond_resched(void)
{
    may_sleep();
    soft_safe_point();
}

void schedule(void)
{
    soft_safe_point();
    host_yield();
}

// A wait may end for no reason, so that a queue of waiters is not needed: they look again.
void waitq_init(struct waitq *q)
{
    spin_init(&q->lock, RANK_WAITQ);
    list_init(&q->waiters);
}
void waitq_prepare(struct waitq *q, struct waiter *w, enum thread_state s)
{
    (void)q, (void)w, (void)s;
}
void waitq_finish(struct waitq *q, struct waiter *w)
{
    (void)q, (void)w;
}
void waitq_wake_all(struct waitq *q)
{
    (void)q;
}

void soft_settle(void)
{
    for (int i = 0; i < 3; i++) {
        rcu_barrier();
        page_drain_all();
    }
}
