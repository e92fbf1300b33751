// /proc/cpuinfo: what the CPU says of itself, under the names programs look for.
//
// CPUID is asked on the CPU that reads the file, so it is taken that all are alike; only the APIC
// number is each one's own. "flags" are names of bits, in the order Linux users know; a bit that
// only means something if the kernel turned it on is shown as the CPU has it. Nothing is known of
// packages and threads but that each CPU is shown as a core of its own.
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/smp.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <k/string.h>
#include <smp.h>
#include "irq.h"

struct cpuid_bit {
    u8 bit;
    char name[19];
};

static const struct cpuid_bit leaf1_d[] = {
    {0, "fpu"},  {1, "vme"},   {2, "de"},    {3, "pse"},   {4, "tsc"},    {5, "msr"},
    {6, "pae"},  {7, "mce"},   {8, "cx8"},   {9, "apic"},  {11, "sep"},   {12, "mtrr"},
    {13, "pge"}, {14, "mca"},  {15, "cmov"}, {16, "pat"},  {17, "pse36"}, {19, "clflush"},
    {23, "mmx"}, {24, "fxsr"}, {25, "sse"},  {26, "sse2"}, {27, "ss"},    {28, "ht"}};
static const struct cpuid_bit ext1_d[] = {{11, "syscall"},  {20, "nx"},      {22, "mmxext"},
                                          {25, "fxsr_opt"}, {26, "pdpe1gb"}, {27, "rdtscp"},
                                          {29, "lm"},       {31, "3dnow"}};
static const struct cpuid_bit leaf1_c[] = {{0, "pni"},
                                           {1, "pclmulqdq"},
                                           {3, "monitor"},
                                           {5, "vmx"},
                                           {9, "ssse3"},
                                           {12, "fma"},
                                           {13, "cx16"},
                                           {19, "sse4_1"},
                                           {20, "sse4_2"},
                                           {21, "x2apic"},
                                           {22, "movbe"},
                                           {23, "popcnt"},
                                           {24, "tsc_deadline_timer"},
                                           {25, "aes"},
                                           {26, "xsave"},
                                           {28, "avx"},
                                           {29, "f16c"},
                                           {30, "rdrand"},
                                           {31, "hypervisor"}};
static const struct cpuid_bit ext1_c[] = {{0, "lahf_lm"}, {2, "svm"},   {4, "cr8_legacy"},
                                          {5, "abm"},     {6, "sse4a"}, {8, "3dnowprefetch"}};
static const struct cpuid_bit leaf7_b[] = {
    {0, "fsgsbase"}, {1, "tsc_adjust"}, {3, "bmi1"},     {5, "avx2"},        {7, "smep"},
    {8, "bmi2"},     {9, "erms"},       {10, "invpcid"}, {16, "avx512f"},    {17, "avx512dq"},
    {18, "rdseed"},  {19, "adx"},       {20, "smap"},    {21, "avx512ifma"}, {23, "clflushopt"},
    {24, "clwb"},    {28, "avx512cd"},  {29, "sha_ni"},  {30, "avx512bw"},   {31, "avx512vl"}};
static const struct cpuid_bit leaf7_c[] = {
    {2, "umip"}, {8, "gfni"}, {9, "vaes"}, {10, "vpclmulqdq"}, {22, "rdpid"}};
static const struct cpuid_bit leaf7_d[] = {{4, "fsrm"}};

#define FLAGS(words, table) flags_text((words), (table), array_size(table), buf, size, n)

static size_t flags_text(u32 word, const struct cpuid_bit *bits, size_t nr, char *buf, size_t size,
                         size_t n)
{
    for (size_t i = 0; i < nr && n < size; i++) {
        if (word >> bits[i].bit & 1) {
            n += (size_t)snprintf(buf + n, size - n, " %s", bits[i].name);
        }
    }
    return n;
}

static size_t all_flags(char *buf, size_t size, size_t n)
{
    struct cpuid one = cpuid(1, 0), ext = {0}, seven = {0};
    if (cpuid(0x80000000, 0).a >= 0x80000001) {
        ext = cpuid(0x80000001, 0);
    }
    if (cpuid(0, 0).a >= 7) {
        seven = cpuid(7, 0);
    }
    n = FLAGS(one.d, leaf1_d);
    n = FLAGS(ext.d, ext1_d);
    n = FLAGS(one.c, leaf1_c);
    n = FLAGS(ext.c, ext1_c);
    n = FLAGS(seven.b, leaf7_b);
    n = FLAGS(seven.c, leaf7_c);
    return FLAGS(seven.d, leaf7_d);
}

static void brand_get(char out[49])
{
    u32 *words = (u32 *)out;
    memset(out, 0, 49);
    if (cpuid(0x80000000, 0).a < 0x80000004) {
        strlcpy(out, "unknown", 49);
        return;
    }
    for (u32 i = 0; i < 3; i++) {
        struct cpuid r = cpuid(0x80000002 + i, 0);
        words[4 * i] = r.a;
        words[4 * i + 1] = r.b;
        words[4 * i + 2] = r.c;
        words[4 * i + 3] = r.d;
    }
}

static size_t sizes_text(char *buf, size_t size, size_t n)
{
    struct cpuid one = cpuid(1, 0), wide = {.a = 0x3024};
    u32 line = (one.b >> 8 & 0xff) * 8;
    if (cpuid(0x80000000, 0).a >= 0x80000008) {
        wide = cpuid(0x80000008, 0);
    }
    u64 khz = clock_counter_hz() / 1000;
    return n + (size_t)snprintf(buf + n, size - n,
                                "\nbugs\t\t:\nbogomips\t: %lu.%02lu\nclflush size\t: %u\n"
                                "cache_alignment\t: %u\naddress sizes\t: %u bits physical, %u bits "
                                "virtual\npower management:\n\n",
                                (unsigned long)(khz / 500), (unsigned long)(khz / 5 % 100),
                                line ? line : 64, line ? line : 64, wide.a & 0xff,
                                PT_LEVELS * PT_INDEX_BITS + PAGE_SHIFT);
}

size_t arch_cpuinfo_text(unsigned cpu, char *buf, size_t size)
{
    struct cpuid zero = cpuid(0, 0), one = cpuid(1, 0);
    char vendor[13] = "", brand[49];
    u32 family = one.a >> 8 & 0xf, model = one.a >> 4 & 0xf;
    memcpy(vendor, &zero.b, 4);
    memcpy(vendor + 4, &zero.d, 4);
    memcpy(vendor + 8, &zero.c, 4);
    brand_get(brand);
    model |= family == 6 || family == 15 ? one.a >> 12 & 0xf0 : 0;
    family += family == 15 ? one.a >> 20 & 0xff : 0;
    u64 khz = clock_counter_hz() / 1000;
    size_t n = (size_t)snprintf(
        buf, size,
        "processor\t: %u\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %s\n"
        "stepping\t: %u\ncpu MHz\t\t: %lu.%03lu\nphysical id\t: 0\n"
        "siblings\t: %u\ncore id\t\t: %u\ncpu cores\t: %u\napicid\t\t: %u\ninitial apicid\t: %u\n"
        "fpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: %u\nwp\t\t: yes\nflags\t\t:",
        cpu, vendor, family, model, brand, one.a & 0xf, (unsigned long)(khz / 1000),
        (unsigned long)(khz % 1000), nr_cpus, cpu, nr_cpus, smp_apic_id_of(cpu),
        smp_apic_id_of(cpu), zero.a);
    n = all_flags(buf, size, n);
    return sizes_text(buf, size, n);
}

// ---- Interrupts ---------------------------------------------------------------------------------

// Counted by vector on the CPU they arrive at.
DEFINE_PER_CPU(struct irq_counts, irq_counts);

static const struct {
    unsigned vector;
    const char *name, *what;
} known[] = {{VEC_TIMER, "LOC", "Local timer interrupts"},
             {VEC_IPI, "CAL", "Function call interrupts"},
             {VEC_ERROR, "ERR", "Local APIC errors"},
             {VEC_SPURIOUS, "SPU", "Spurious interrupts"}};

static u32 irq_count(unsigned cpu, unsigned vector)
{
    return load_relaxed(&per_cpu(irq_counts, cpu).nr[vector - VEC_EXTERNAL]);
}

u64 arch_nr_interrupts(void)
{
    u64 sum = 0;
    for (unsigned c = 0; c < nr_cpus; c++) {
        for (unsigned v = VEC_EXTERNAL; v < 256; v++) {
            sum += irq_count(c, v);
        }
    }
    return sum;
}

static size_t irq_line(unsigned vector, const char *name, const char *what, char *buf, size_t size,
                       size_t n)
{
    n += (size_t)snprintf(buf + n, size - n, "%4s: ", name);
    for (unsigned c = 0; c < nr_cpus && n < size; c++) {
        n += (size_t)snprintf(buf + n, size - n, "%10u ", irq_count(c, vector));
    }
    return n < size ? n + (size_t)snprintf(buf + n, size - n, "  %s\n", what) : size;
}

size_t arch_interrupts_text(char *buf, size_t size)
{
    size_t n = (size_t)snprintf(buf, size, "     ");
    for (unsigned c = 0; c < nr_cpus && n < size; c++) {
        n += (size_t)snprintf(buf + n, size - n, "CPU%-8u", c);
    }
    n += n < size ? (size_t)snprintf(buf + n, size - n, "\n") : 0;
    for (unsigned v = VEC_LINE; v < VEC_LINE_END && n < size; v++) {
        int gsi = ioapic_line_of(v);
        char name[8];
        if (gsi < 0) {
            continue;
        }
        snprintf(name, sizeof(name), "%d", gsi);
        n = irq_line(v, name, "IO-APIC", buf, size, n);
    }
    for (unsigned i = 0; i < array_size(known) && n < size; i++) {
        n = irq_line(known[i].vector, known[i].name, known[i].what, buf, size, n);
    }
    return min(n, size - 1);
}
