// Other CPUs: which there are, starting them, interrupting them.
//
// Numbers: the boot CPU is 0, the others follow in the order of the firmware's table. A CPU starts
// in the trampoline page (trampoline.S) after INIT and start-up IPIs, climbs to long mode on the
// boot page tables, and takes its stack and number from ap_*: one CPU at a time, so arch_start_cpu
// waits until the newcomer has them. A CPU that does not show up is put back to sleep with another
// INIT, lest it wakes late and takes a later CPU's stack.
//
// A cross-CPU interrupt is one bit in the target's pending word and one vector. Only the sender
// that makes the word non-zero interrupts; whoever adds bits later knows that the interrupt is on
// its way:
//
//   sender                              target
//   old = pending |= kind  (A)          interrupt
//   if (old == 0) send                  kinds = exchange(pending, 0)  (B)
//
// Both are atomic on one word: a sender ordered before B in that word's history is seen by this B;
// one after B finds 0 and interrupts again. IPI_STOP is always sent: its sender is in a panic,
// maybe in the middle of somebody's A.
#include <acpi.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <arch/trap.h>
#include <bootinfo.h>
#include <k/assert.h>
#include <k/atomic.h>
#include <k/errno.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <k/string.h>
#include <sched.h>
#include <smp.h>
#include "boot_priv.h"
#include "irq.h"
#include "trampoline.h"
#include "x86_priv.h"

#define MSR_PAT        0x277u
#define CPUID_PAT      (1u << 16) // leaf 1, EDX
#define ICR_ASSERT     (1u << 14)
#define ICR_INIT       (5u << 8)
#define ICR_STARTUP    (6u << 8)
#define INIT_FAST_NS   200000ul   // enough for processors of this century
#define INIT_SLOW_NS   10000000ul // what the multiprocessor specification asks for
#define STARTUP_GAP_NS 200000ul
#define ARRIVE_NS      100000000ul
#define ARRIVE_SLOW_NS 2000000000ul

static u32 apic_ids[MAX_CPUS];
static unsigned nr_found = 1;
static DEFINE_PER_CPU(atomic_uint, ipi_pending);

// For the CPU that is being started.
void *ap_stack_top;
static unsigned ap_cpu;
static struct thread *ap_idle;
static atomic_bool ap_arrived;

u32 smp_apic_id_of(unsigned cpu)
{
    return apic_ids[cpu];
}

unsigned arch_count_cpus(void)
{
    return nr_found;
}

void smp_find_cpus(void)
{
    apic_ids[0] = apic_id();
    unsigned unreachable = 0;
    for (unsigned i = 0; i < acpi.nr_cpus; i++) {
        u32 id = acpi.cpu_apic_id[i];
        if (id == apic_ids[0]) {
            continue;
        }
        if (!apic_id_reachable(id) || nr_found == MAX_CPUS) {
            unreachable++;
            continue;
        }
        apic_ids[nr_found++] = id;
    }
    if (!acpi.have_madt) {
        printk("smp: no table of CPUs (MADT): using the boot CPU alone\n");
    }
    unreachable += acpi.nr_cpus_ignored;
    if (unreachable > 0) {
        printk("smp: %u CPUs cannot be used (at most %u)\n", unreachable, MAX_CPUS);
    }
    if (nr_found > 1 && !boot_trampoline_usable()) {
        printk("smp: no memory at %#x: using the boot CPU alone\n", TRAMPOLINE_PA);
        nr_found = 1;
    }
}

// Entry 1 of the page attribute table (PWT alone) becomes write combining, for mmu_map_stream; the
// others stay as they are after a reset. Nothing uses entry 1 before. SDM volume 3, 11.12.
static void pat_init_cpu(void)
{
    if (cpuid(1, 0).d & CPUID_PAT) {
        msr_write(MSR_PAT, 0x0007040600070106ul);
    }
}

void arch_init_cpu(unsigned n)
{
    pat_init_cpu();
    if (n == 0) {
        cpu_local_init(0);
    }
    trap_init_cpu(n);
    apic_init_cpu();
    time_init_cpu();
}

// --- Starting

static bool ap_wait(u64 ns)
{
    u64 deadline = clock_ns() + ns;
    while (!load_acquire(&ap_arrived)) { /* pairs with ap_main */
        if (clock_ns() >= deadline) {
            return false;
        }
        cpu_relax();
    }
    return true;
}

static bool ap_kick(u32 id, u64 init_ns, u64 arrive_ns)
{
    apic_send(id, ICR_INIT | ICR_ASSERT);
    clock_delay_ns(init_ns);
    apic_send(id, ICR_STARTUP | ICR_ASSERT | TRAMPOLINE_PA >> PAGE_SHIFT);
    if (ap_wait(STARTUP_GAP_NS)) {
        return true;
    }
    apic_send(id, ICR_STARTUP | ICR_ASSERT | TRAMPOLINE_PA >> PAGE_SHIFT);
    return ap_wait(arrive_ns);
}

int arch_start_cpu(unsigned n, struct thread *idle)
{
    size_t len = (size_t)(trampoline_end - trampoline_start);
    assert(n > 0 && n < nr_found && len <= PAGE_SIZE);
    memcpy(phys_to_virt(TRAMPOLINE_PA), trampoline_start, len);
    ap_cpu = n;
    ap_idle = idle;
    ap_stack_top = (char *)idle->kstack + KSTACK_SIZE;
    trap_guard_ist(n);
    store_release(&ap_arrived, false);
    if (ap_kick(apic_ids[n], INIT_FAST_NS, ARRIVE_NS) ||
        ap_kick(apic_ids[n], INIT_SLOW_NS, ARRIVE_SLOW_NS)) {
        return 0;
    }
    apic_send(apic_ids[n], ICR_INIT | ICR_ASSERT);
    printk("smp: CPU %u (APIC %u) did not start\n", n, apic_ids[n]);
    return -EIO;
}

noreturn_fn void ap_main(void)
{
    unsigned n = ap_cpu;
    kmap_init_cpu();
    cpu_local_init(n);
    current_thread_set(ap_idle);
    store_release(&ap_arrived, true); /* pairs with ap_wait; the next CPU may start now */
    smp_secondary_main(n);
}

// --- Interrupting

void arch_send_ipi(u64 cpu_mask, enum ipi_kind kind)
{
    for (u64 left = cpu_mask; left != 0; left &= left - 1) {
        unsigned cpu = (unsigned)__builtin_ctzll(left);
        unsigned old = fetch_or_seq(&per_cpu(ipi_pending, cpu), kind); /* (A) */
        if (old == 0 || kind == IPI_STOP) {
            apic_send(apic_ids[cpu], ICR_ASSERT | VEC_IPI);
        }
    }
}

void smp_ipi_received(void)
{
    unsigned kinds = atomic_exchange(&this_cpu(ipi_pending), 0); /* (B) */
    if (kinds != 0) {
        smp_ipi_interrupt(kinds);
    }
}
