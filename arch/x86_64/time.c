// The clock, the timer, the date.
//
// The clock is the time stamp counter, scaled: ns = (tsc - zero) * scale >> 32. Its rate comes from
// CPUID if the CPU or the hypervisor states it; otherwise it is measured for a few milliseconds
// against a counter of known rate, the best there is: ACPI timer, HPET, PIT. Reading such a counter
// may take long (an emulator leaves guest code; a virtual CPU may lose its processor), so each end
// of the measurement is the narrowest of several brackets of TSC readings around a reading. All
// CPUs' counters are taken to be the same, which holds on every machine with an invariant TSC and
// on emulators; a machine that does not promise it is reported.
//
// The timer is the local APIC's: in TSC-deadline mode if the CPU has it, else its own countdown,
// whose rate is measured against the TSC. A countdown covers a few seconds only and its rate is
// slightly off, so the interrupt compares with the deadline and rearms when it came early.
#include <acpi.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/time.h>
#include <arch/trap.h>
#include <k/percpu.h>
#include <k/printk.h>
#include "irq.h"

#define NS_PER_SEC       1000000000ul
#define MEASURE_NS       8000000ul // against a device
#define MEASURE_APIC_NS  2000000ul // against the TSC
#define BRACKETS         5
#define PM_TIMER_HZ      3579545ul
#define PIT_HZ           1193182ul
#define FALLBACK_HZ      1000000000ul
#define MSR_TSC_DEADLINE 0x6e0u
#define CPUID_HYPERVISOR (1u << 31) // leaf 1, ECX
#define CPUID_RDRAND     (1u << 30)
#define CPUID_DEADLINE   (1u << 24)
#define CPUID_INVARIANT  (1u << 8) // leaf 0x80000007, EDX

struct counter {
    const char *name;
    u64 (*read)(void);
    u64 mask; // it wraps after this value
    u64 hz;
};
struct sample {
    u64 tsc, count;
};

static u64 tsc_zero, tsc_hz;

u64 clock_counter_hz(void)
{
    return tsc_hz;
}
static u64 tsc_to_ns;  // ns per tick << 32
static u64 ns_to_tsc;  // ticks per ns << 32
static u64 ns_to_apic; // APIC ticks per ns << 32
static bool tsc_deadline, have_rdrand;
static u64 boot_wall_ns;
static DEFINE_PER_CPU(u64, timer_deadline) = TIME_NEVER;

static u64 tsc_read(void)
{
    __asm__ volatile("lfence" ::: "memory"); // not before what came before
    return cpu_cycles();
}

static u64 scale(u64 value, u64 factor)
{
    return (u64)((unsigned __int128)value * factor >> 32);
}

// a * b / by through 128 bits. The result must fit in 64, else the CPU traps; by > 0.
static u64 mul_div(u64 a, u64 b, u64 by)
{
    u64 rest;
    __asm__("mulq %2; divq %3" : "+a"(a), "=&d"(rest) : "r"(b), "r"(by) : "cc");
    return a;
}

static u64 ratio(u64 over, u64 under)
{
    return mul_div(over, 1ul << 32, under);
}

u64 clock_ns(void)
{
    return scale(tsc_read() - tsc_zero, tsc_to_ns);
}

void clock_delay_ns(u64 ns)
{
    u64 end = clock_ns() + ns;
    while (clock_ns() < end) {
        cpu_relax();
    }
}

// --- Counters of known rate

static volatile u32 *hpet;

static u64 pm_timer_read(void)
{
    return port_in32((u16)acpi.pm_timer);
}

static u64 hpet_read(void)
{
    return hpet[0xf0 / 4];
}

static u64 pit_read(void)
{
    port_out8(0x43, 0x80); // latch channel 2
    u64 low = port_in8(0x42);
    return 0xffff - (low | (u64)port_in8(0x42) << 8); // it counts down
}

static u64 apic_timer_read(void)
{
    return ~apic_timer_ticks_left();
}

static bool pm_timer_open(struct counter *c)
{
    *c = (struct counter){"ACPI timer", pm_timer_read, acpi.pm_timer_32bit ? 0xffffffff : 0xffffff,
                          PM_TIMER_HZ};
    return acpi.pm_timer != 0;
}

static bool hpet_open(struct counter *c)
{
    hpet = acpi.hpet_address ? mmu_map_device(acpi.hpet_address, 1024) : NULL;
    u64 period_fs = hpet ? hpet[1] : 0;
    if (period_fs == 0 || period_fs > 100000000) {
        return false;
    }
    hpet[0x10 / 4] |= 1; // run
    *c = (struct counter){"HPET", hpet_read, 0xffffffff, 1000000000000000ul / period_fs};
    return true;
}

static bool pit_open(struct counter *c)
{
    *c = (struct counter){"PIT", pit_read, 0xffff, PIT_HZ};
    port_out8(0x61, (u8)((port_in8(0x61) & ~2) | 1)); // channel 2 runs, the speaker is off
    port_out8(0x43, 0xb0);                            // channel 2, both bytes, mode 0
    port_out8(0x42, 0xff);
    port_out8(0x42, 0xff);
    return true;
}

// A counter that is there also moves.
static bool counter_moves(const struct counter *c)
{
    u64 first = c->read();
    for (int i = 0; i < 1000; i++) {
        if (((c->read() ^ first) & c->mask) != 0) {
            return true;
        }
    }
    return false;
}

// --- Measuring

static struct sample sample_take(u64 (*read)(void))
{
    struct sample best = {0, 0};
    u64 best_width = ~0ul;
    for (int i = 0; i < BRACKETS; i++) {
        u64 before = tsc_read(), count = read(), after = tsc_read();
        if (after - before < best_width) {
            best_width = after - before;
            best = (struct sample){before + (after - before) / 2, count};
        }
    }
    return best;
}

static u64 tsc_hz_measured(const struct counter *c)
{
    u64 ticks, enough = c->hz / (NS_PER_SEC / MEASURE_NS);
    struct sample a = sample_take(c->read), b;
    while (((c->read() - a.count) & c->mask) < enough) {
        cpu_relax();
    }
    b = sample_take(c->read);
    ticks = (b.count - a.count) & c->mask;
    return mul_div(b.tsc - a.tsc, c->hz, ticks);
}

static u64 tsc_hz_from_cpuid(void)
{
    u32 max = cpuid(0, 0).a;
    if (max >= 0x15) {
        struct cpuid r = cpuid(0x15, 0);
        if (r.a && r.b && r.c) {
            return (u64)r.c * r.b / r.a;
        }
    }
    if (cpuid(1, 0).c & CPUID_HYPERVISOR) {
        u32 top = cpuid(0x40000000, 0).a;
        if (top >= 0x40000010 && top < 0x40010000) {
            return cpuid(0x40000010, 0).a * 1000ul;
        }
    }
    return 0;
}

static u64 tsc_hz_find(const char **how)
{
    static bool (*const open[])(struct counter *) = {pm_timer_open, hpet_open, pit_open};
    struct counter c;
    u64 hz = tsc_hz_from_cpuid();
    *how = "CPUID";
    for (unsigned i = 0; hz == 0 && i < array_size(open); i++) {
        if (open[i](&c) && counter_moves(&c)) {
            *how = c.name;
            hz = tsc_hz_measured(&c);
        }
    }
    if (hz == 0 && cpuid(0, 0).a >= 0x16) {
        *how = "CPUID's nominal rate";
        hz = (u64)(cpuid(0x16, 0).a & 0xffff) * 1000000;
    }
    if (hz == 0) {
        *how = "a guess: nothing to measure with";
        hz = FALLBACK_HZ;
    }
    return hz;
}

// --- The date: the CMOS clock, MC146818 data sheet.

static u8 rtc_read(u8 reg)
{
    port_out8(0x70, 0x80 | reg); // bit 7: no NMI
    return port_in8(0x71);
}

// Seconds since 1970; 0 if there is no clock or it gives nonsense.
static u64 rtc_seconds(void)
{
    static const u8 reg[6] = {0, 2, 4, 7, 8, 9}; // second minute hour day month year
    u8 v[6], again[6];
    unsigned tries = 0;
    do {
        if (++tries > 100) {
            return 0;
        }
        for (unsigned i = 0; i < 10000 && (rtc_read(10) & 0x80); i++) {
            cpu_relax(); // being updated
        }
        for (unsigned i = 0; i < 6; i++) {
            v[i] = rtc_read(reg[i]);
        }
        for (unsigned i = 0; i < 6; i++) {
            again[i] = rtc_read(reg[i]);
        }
    } while (__builtin_memcmp(v, again, 6) != 0);
    u8 mode = rtc_read(11);
    bool pm = !(mode & 2) && (v[2] & 0x80);
    v[2] &= 0x7f;
    for (unsigned i = 0; i < 6 && !(mode & 4); i++) {
        v[i] = (u8)(v[i] / 16 * 10 + v[i] % 16);
    }
    if (!(mode & 2)) {
        v[2] = (u8)(v[2] % 12 + (pm ? 12 : 0));
    }
    if (v[0] > 60 || v[1] > 59 || v[2] > 23 || v[3] < 1 || v[3] > 31 || v[4] < 1 || v[4] > 12 ||
        v[5] > 99) {
        return 0;
    }
    // Days from 1970 in the Gregorian calendar, the year beginning in March.
    u64 y = 2000u + v[5] - (v[4] <= 2), m = (v[4] + 9u) % 12;
    u64 days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + v[3] - 1 - 719468;
    return ((days * 24 + v[2]) * 60 + v[1]) * 60 + v[0];
}

// --- Start

void time_init_early(void)
{
    tsc_zero = tsc_read();
    have_rdrand = cpuid(1, 0).c & CPUID_RDRAND;
}

void time_init(void)
{
    const char *how;
    tsc_hz = tsc_hz_find(&how);
    ns_to_tsc = ratio(tsc_hz, NS_PER_SEC);
    tsc_to_ns = ratio(NS_PER_SEC, tsc_hz);
    u64 now = rtc_seconds();
    boot_wall_ns = now ? now * NS_PER_SEC - clock_ns() : 0;
    bool invariant =
        cpuid(0x80000000, 0).a >= 0x80000007 && (cpuid(0x80000007, 0).d & CPUID_INVARIANT);
    bool emulated = cpuid(1, 0).c & CPUID_HYPERVISOR;
    printk("time: counter at %lu.%03lu MHz by %s%s\n", tsc_hz / 1000000, tsc_hz / 1000 % 1000, how,
           invariant || emulated ? "" : ", which may not be the same on all CPUs");
}

void time_init_cpu(void)
{
    this_cpu(timer_deadline) = TIME_NEVER;
    tsc_deadline = cpuid(1, 0).c & CPUID_DEADLINE;
    if (tsc_deadline) {
        apic_timer_tsc_deadline();
        return;
    }
    if (ns_to_apic == 0) {
        apic_timer_set_ticks(~0u);
        struct sample a = sample_take(apic_timer_read);
        clock_delay_ns(MEASURE_APIC_NS);
        struct sample b = sample_take(apic_timer_read);
        apic_timer_set_ticks(0);
        u64 tsc_ns = scale(b.tsc - a.tsc, tsc_to_ns);
        ns_to_apic = max(ratio((b.count - a.count) & 0xffffffff, tsc_ns), 1ul);
    }
}

// --- The timer

static void timer_program(u64 deadline_ns)
{
    if (tsc_deadline) {
        unsigned __int128 ticks = ((unsigned __int128)deadline_ns * ns_to_tsc >> 32) + 1;
        bool never = deadline_ns == TIME_NEVER || ticks > ~0ul - tsc_zero;
        msr_write(MSR_TSC_DEADLINE, never ? 0 : max(tsc_zero + (u64)ticks, 1ul));
        return;
    }
    if (deadline_ns == TIME_NEVER) {
        apic_timer_set_ticks(0);
        return;
    }
    u64 now = clock_ns();
    u64 wait_ns = deadline_ns > now ? min(deadline_ns - now, NS_PER_SEC) : 0;
    apic_timer_set_ticks((u32)min(scale(wait_ns, ns_to_apic) + 1, 0xfffffffful));
}

void arch_timer_set(u64 deadline_ns)
{
    this_cpu(timer_deadline) = deadline_ns;
    timer_program(deadline_ns);
}

void time_interrupt(bool from_user)
{
    u64 deadline = this_cpu(timer_deadline);
    if (deadline == TIME_NEVER) {
        return; // turned off when it had already fired
    }
    if (clock_ns() < deadline) {
        timer_program(deadline);
        return;
    }
    this_cpu(timer_deadline) = TIME_NEVER;
    timer_interrupt(from_user);
}

u64 arch_boot_wall_ns(void)
{
    return boot_wall_ns;
}

bool arch_random(u64 *out)
{
    for (int i = 0; have_rdrand && i < 10; i++) {
        bool ok;
        __asm__ volatile("rdrand %0" : "=r"(*out), "=@ccc"(ok));
        if (ok) {
            return true;
        }
    }
    return false;
}
