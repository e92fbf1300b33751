// CPUs: their per-CPU areas, starting them, calling functions on them.
//
// Cross calls are the TLB shootdown's path, so they are made of one line each way. A caller has one
// descriptor per CPU: it waits with its thread on the CPU and interrupt handlers do not call, so
// one is enough. The target has one word, a bit for each calling CPU:
//
//      caller A                                 target T
//      desc[A] = fn, arg, pending = {T, ...}    interrupt
//      from[T] |= A      (seq_cst)              who = exchange(from[T], 0)
//      was from[T] 0? send IPI_CALL             for each A in who: fn(arg); desc[A].pending -= T
//      wait until desc[A].pending == 0          (release; pairs with the caller's wait)
//
// If from[T] was not 0, whoever made it so has sent an interrupt whose handler has not yet
// exchanged the word, or A's bit would have come after it; that handler finds A's bit as well.
//
// The caller waits with interrupts on and so answers others: two callers cannot wait for each
// other.
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <arch/trap.h>
#include <k/assert.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <k/rcu.h>
#include <k/string.h>
#include <page.h>
#include <sched.h>
#include <smp.h>

#define ONLINE_TIMEOUT_NS 5000000000ull

unsigned nr_cpus = 1;
unsigned percpu_nr;
unsigned long percpu_offset[MAX_CPUS];

static atomic_uint last_online; // number of the CPU that came online last

// --- Starting -----------------------------------------------------------------------------------

void smp_init_boot_cpu(void)
{
    size_t size = (size_t)(percpu_end - percpu_start);
    unsigned n = arch_count_cpus();

    for (unsigned c = 0; c < n; c++) {
        char *area = phys_to_virt(boot_alloc(size, CACHE_LINE));
        memcpy(area, percpu_start, size);
        percpu_offset[c] = (unsigned long)area - (unsigned long)percpu_start;
    }
    percpu_nr = n;
}

// The CPU that may come, 0: none. It takes itself out of here as its first act; who waits takes it
// out when time is up. So a CPU that comes too late sees that, and stops without having touched
// anything, and one that was in time is waited for to the end.
static atomic_uint awaited;

static bool smp_wait_online(unsigned cpu)
{
    u64 deadline = clock_ns() + ONLINE_TIMEOUT_NS;
    while (load_acquire(&last_online) != cpu) { // pairs with smp_secondary_main
        unsigned expected = cpu;
        if (clock_ns() > deadline && atomic_compare_exchange_strong(&awaited, &expected, 0)) {
            return false;
        }
        if (clock_ns() > deadline + ONLINE_TIMEOUT_NS) { // it may be anywhere in our data
            panic("smp: CPU %u came and does not get ready", cpu);
        }
        cond_resched();
        cpu_relax();
    }
    return true;
}

void smp_start_others(void)
{
    for (unsigned c = 1; c < percpu_nr; c++) {
        char name[16];
        snprintf(name, sizeof(name), "idle/%u", c);
        struct thread *idle = thread_alloc(name);
        if (!idle) {
            printk("smp: no memory for CPU %u\n", c);
            break;
        }
        sched_init_cpu(c, idle);
        store_release(&awaited, c); // pairs with smp_secondary_main
        int err = arch_start_cpu(c, idle);
        if (err) {                      // numbers have no holes: the rest stays off
            store_release(&awaited, 0); // pairs with smp_secondary_main
            printk("smp: CPU %u does not start (%d); using %u\n", c, err, nr_cpus);
            break;
        }
        if (!smp_wait_online(c)) {
            printk("smp: CPU %u was started and did not come; using %u\n", c, nr_cpus);
            break;
        }
        nr_cpus = c + 1;
    }
    printk("smp: %u of %u CPUs online\n", nr_cpus, percpu_nr);
}

void smp_secondary_main(unsigned cpu)
{
    unsigned expected = cpu;
    if (!atomic_compare_exchange_strong(&awaited, &expected, 0)) { // pairs with smp_wait_online
        cpu_stop();
    }
    arch_init_cpu(cpu);
    rcu_idle_exit();
    store_release(&last_online, cpu); // pairs with smp_wait_online
    sched_idle_loop();
}

// --- Cross calls --------------------------------------------------------------------------------

struct cross_call {
    void (*fn)(void *);
    void *arg;
    atomic_ulong pending; // targets that have not run it
};
static DEFINE_PER_CPU(struct cross_call, cross_call);
static DEFINE_PER_CPU(atomic_ulong, cross_call_from); // CPUs that want this one to run theirs

void smp_call_mask(u64 mask, void (*fn)(void *), void *arg)
{
    unsigned me = cpu_id();
    struct cross_call *call = &this_cpu(cross_call);
    u64 interrupt = 0;

    mask &= nr_cpus == 64 ? ~0ul : (1ul << nr_cpus) - 1;
    mask &= ~(1ul << me);
    if (!mask) {
        return;
    }
    assert(irq_enabled());
    call->fn = fn;
    call->arg = arg;
    store_relaxed(&call->pending, mask); // published by the bits in cross_call_from
    for (u64 left = mask; left; left &= left - 1) {
        unsigned c = (unsigned)__builtin_ctzl(left);
        if (fetch_or_seq(&per_cpu(cross_call_from, c), 1ul << me) == 0) {
            interrupt |= 1ul << c;
        }
    }
    if (interrupt) {
        arch_send_ipi(interrupt, IPI_CALL);
    }
    // Mostly without cpu_relax: an emulator leaves its guest for it and takes the lock that the
    // targets' interrupts need.
    for (unsigned i = 1; load_acquire(&call->pending); i++) { // pairs with cross_call_answer
        if (i % 256 == 0) {
            cpu_relax();
        }
    }
}

static void cross_call_answer(void)
{
    u64 bit = 1ul << cpu_id();
    u64 who = atomic_exchange(&this_cpu(cross_call_from), 0);

    for (; who; who &= who - 1) {
        struct cross_call *call = &per_cpu(cross_call, __builtin_ctzl(who));
        call->fn(call->arg);
        // The caller may return and reuse it now.
        atomic_fetch_and_explicit(&call->pending, ~bit, memory_order_release);
    }
}

void smp_ipi_interrupt(unsigned kinds)
{
    if (kinds & IPI_STOP) {
        cpu_stop();
    }
    if (kinds & IPI_CALL) {
        cross_call_answer();
    }
    // IPI_RESCHED only interrupts: its reasons are in cpu_work, which is looked at on the way back.
}

void smp_stop_others(void)
{
    u64 all = nr_cpus == 64 ? ~0ul : (1ul << nr_cpus) - 1;
    u64 others = all & ~(1ul << cpu_id());
    if (others) {
        arch_send_ipi(others, IPI_STOP);
    }
}
