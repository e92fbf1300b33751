/*
 * plugin.c: counts the cache lines that a kernel moves between CPUs, inside QEMU.
 *
 * The problem: whether operations of different CPUs disturb each other shows on a large machine
 * as time, if one has that machine. What causes it is visible on any: two CPUs write, or one
 * writes and one reads, the same 64 bytes.
 *
 * The idea: QEMU's translator calls us for every memory access. For each 64-byte line of physical
 * memory we keep what an ideal cache would (lines.h): who has it, and whether it was written. An
 * access that finds the line with somebody else is a transfer. Threads that take turns strictly
 * (user/coherence) make this independent of the host: it is a property of the kernel's code, not of
 * its timing.
 *
 * What counts: accesses of the kernel (the instruction's address is in the upper half) by a CPU
 * whose window is open. Accesses outside windows do not move a line: most are the scheduler's and
 * the hand-over's, which wakes the thread that is measured next and so writes to its task and its
 * stack. With outside=on they are tracked, too, and a transfer that only they explain is counted
 * apart, "outside". What is not the hand-over's among those is real: a clock or a statistic that
 * another CPU's timer interrupt writes and the operation reads.
 *
 * A window in which the CPU handled an interrupt is thrown away. We see no interrupt, but every
 * handler acknowledges, by a store to the local APIC (EOI, at offset 0xb0 of its page). A store to
 * offset 0x300 starts an interprocessor interrupt, and that is a number worth reporting.
 *
 * An atomic read-modify-write reaches us as one store when several CPUs run in parallel, and as a
 * load and a store when they run in turns. The load of an instruction with a LOCK prefix, and of
 * XCHG with memory, is therefore ignored: such an instruction is one access, a store. A plain
 * `add %reg, mem` is two, as it is for a processor.
 *
 * Not seen: page walks by the MMU and its accessed and dirty bits; instruction fetches; prefetches;
 * what a shootdown makes other CPUs do.
 *
 * Locking: one spinlock over everything that several CPUs reach. Windows hardly ever overlap, so
 * it is hardly ever contended. Without outside=on, an access outside a window takes no lock.
 *
 * With blocks=on it also counts which instructions the windows executed (blocks.h), for
 * tools/profile.
 *
 * Options: out=FILE (required), outside=on, blocks=on, kernel=ADDRESS (from where on code is the
 * kernel's).
 */
#include "blocks.h"
#include "lines.h"
#include "marks.h"
#include "qemu_plugin.h"

#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LINE_SHIFT  6
#define NR_LINES    (UINT64_C(1) << (36 - LINE_SHIFT)) /* 64 GiB; the table is touched as needed */
#define MAX_CPUS    64
#define MAX_EVENTS  65536  /* transfers in one window */
#define NR_SITES    131072 /* a power of two */
#define APIC_EOI    0x0b0
#define APIC_ICR    0x300
#define PAGE_OFFSET 0xfff

/* What is summed up, for a window and then for a batch. */
struct sums {
    uint64_t windows, interrupted;
    uint64_t insns;
    uint64_t loads, stores;                 /* transfers */
    uint64_t cold_loads, cold_stores;       /* because of what happened before the batch */
    uint64_t outside_loads, outside_stores; /* because of accesses outside windows */
    uint64_t ipis, device;                  /* stores to the ICR; other accesses to devices */
    uint64_t unknown;                       /* accesses whose physical address QEMU did not tell */
};

struct event {
    uint64_t ip, vaddr, paddr;
    bool store;
    bool outside; /* the cause */
};

struct site {
    struct event what;
    uint64_t count; /* 0: the slot is free */
};

struct window {
    bool open, interrupted;
    struct sums sums;
    unsigned nr_events;
    struct event *events;
    struct trace trace; /* with blocks=on */
} __attribute__((aligned(64)));

PLUGIN_EXPORT int qemu_plugin_version = PLUGIN_API_VERSION;

static struct window windows[MAX_CPUS];
static struct line *lines;
static struct site *sites;
static unsigned nr_sites;
static uint64_t sites_lost;
static struct sums batch_sums;
static uint32_t batch_id;
static bool batch_warm;
static unsigned run_id;
static bool track_outside, trace_blocks, in_run;
static uint64_t kernel_start = UINT64_C(1) << 63;
static FILE *out;
static atomic_flag lock = ATOMIC_FLAG_INIT;

static void lock_take(void)
{
    while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) {
        sched_yield(); /* there may be fewer processors than virtual ones */
    }
}

static void lock_drop(void)
{
    atomic_flag_clear_explicit(&lock, memory_order_release);
}

/* --- Lines ------------------------------------------------------------------------------------ */

static void window_note(struct window *w, const struct event *e)
{
    if (w->nr_events < MAX_EVENTS) {
        w->events[w->nr_events++] = *e;
    }
}

static void window_account(struct window *w, unsigned cpu, struct event *e)
{
    struct line *l = &lines[e->paddr >> LINE_SHIFT];
    uint64_t me = UINT64_C(1) << cpu;

    if (e->paddr >> LINE_SHIFT >= NR_LINES) {
        w->sums.unknown++;
        return;
    }
    line_renew(l, batch_id);
    switch (e->store ? line_store(l, me, track_outside) : line_load(l, me, track_outside)) {
    case MOVED:
        *(e->store ? &w->sums.stores : &w->sums.loads) += 1;
        e->outside = false;
        window_note(w, e);
        break;
    case MOVED_OUTSIDE:
        *(e->store ? &w->sums.outside_stores : &w->sums.outside_loads) += 1;
        e->outside = true;
        window_note(w, e);
        break;
    case MOVED_COLD:
        *(e->store ? &w->sums.cold_stores : &w->sums.cold_loads) += 1;
        break;
    case MOVED_NOT:
        break;
    }
}

static void window_device(struct window *w, uint64_t vaddr, bool store)
{
    uint64_t reg = vaddr & PAGE_OFFSET;

    if (store && reg == APIC_EOI) {
        w->interrupted = true;
    } else if (store && reg == APIC_ICR) {
        w->sums.ipis++;
    } else {
        w->sums.device++;
    }
}

static void access_count(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t vaddr, uint64_t ip)
{
    struct window *w = &windows[cpu];
    struct qemu_plugin_hwaddr *hw = qemu_plugin_get_hwaddr(info, vaddr);
    bool store = qemu_plugin_mem_is_store(info);
    unsigned size = 1u << qemu_plugin_mem_size_shift(info);

    if (hw == NULL) {
        w->sums.unknown++;
        return;
    }
    if (qemu_plugin_hwaddr_is_io(hw)) {
        window_device(w, vaddr, store);
        return;
    }
    struct event e = {ip, vaddr, qemu_plugin_hwaddr_phys_addr(hw), store, false};
    uint64_t last = e.paddr + size - 1;

    lock_take();
    window_account(w, cpu, &e);
    /* Across a page's end the second half is elsewhere; QEMU does not say where. */
    if (last >> LINE_SHIFT != e.paddr >> LINE_SHIFT && (vaddr & PAGE_OFFSET) + size <= 0x1000) {
        e.vaddr += size - 1;
        e.paddr = last;
        window_account(w, cpu, &e);
    }
    lock_drop();
}

/* An access that does not count, but leaves its line where it is made. */
static void access_track(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t vaddr)
{
    struct qemu_plugin_hwaddr *hw = qemu_plugin_get_hwaddr(info, vaddr);

    if (hw == NULL || qemu_plugin_hwaddr_is_io(hw)) {
        return;
    }
    uint64_t line = qemu_plugin_hwaddr_phys_addr(hw) >> LINE_SHIFT;
    if (line < NR_LINES) {
        lock_take();
        line_track(&lines[line], UINT64_C(1) << cpu, qemu_plugin_mem_is_store(info));
        lock_drop();
    }
}

static void on_access(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void *ip)
{
    if (cpu < MAX_CPUS && windows[cpu].open) {
        access_count(cpu, info, vaddr, (uint64_t)(uintptr_t)ip);
    } else if (track_outside && in_run && cpu < MAX_CPUS) {
        access_track(cpu, info, vaddr);
    }
}

static void on_atomic_access(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void *ip)
{
    if (qemu_plugin_mem_is_store(info)) {
        on_access(cpu, info, vaddr, ip);
    }
}

static void on_block(unsigned cpu, void *nr_insns)
{
    if (cpu < MAX_CPUS && windows[cpu].open) {
        windows[cpu].sums.insns += (uint64_t)(uintptr_t)nr_insns;
    }
}

static void on_traced_block(unsigned cpu, void *block)
{
    if (cpu < MAX_CPUS && windows[cpu].open) {
        trace_add(&windows[cpu].trace, block);
    }
}

/* --- Places ----------------------------------------------------------------------------------- */

static void site_count(const struct event *e)
{
    uint64_t line = e->paddr >> LINE_SHIFT;
    uint64_t hash = (e->ip * 4 + e->outside * 2 + e->store) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ line) * UINT64_C(0xff51afd7ed558ccd);

    for (unsigned at = hash >> 40 & (NR_SITES - 1);; at = (at + 1) & (NR_SITES - 1)) {
        struct site *s = &sites[at];
        if (s->count == 0) {
            if (nr_sites == NR_SITES / 2) {
                sites_lost++;
                return;
            }
            nr_sites++;
            s->what = *e;
        }
        if (s->what.ip == e->ip && s->what.store == e->store && s->what.outside == e->outside &&
            s->what.paddr >> LINE_SHIFT == line) {
            s->count++;
            return;
        }
    }
}

static void sites_report(void)
{
    for (unsigned at = 0; at < NR_SITES; at++) {
        const struct site *s = &sites[at];
        if (s->count > 0) {
            fprintf(out, "site %u %s%s %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIu64 "\n", run_id,
                    s->what.outside ? "outside-" : "", s->what.store ? "store" : "load", s->what.ip,
                    s->what.vaddr, s->what.paddr, s->count);
        }
    }
    if (sites_lost > 0) {
        fprintf(out, "lost %u %" PRIu64 "\n", run_id, sites_lost);
    }
    blocks_report(out, run_id);
    fprintf(out, "end %u\n", run_id);
    fflush(out);
    memset(sites, 0, NR_SITES * sizeof(*sites));
    nr_sites = 0;
    sites_lost = 0;
}

/* --- Marks ------------------------------------------------------------------------------------ */

static void window_open(struct window *w)
{
    memset(&w->sums, 0, sizeof(w->sums));
    w->nr_events = 0;
    w->trace.nr = 0;
    w->interrupted = false;
    if (w->events == NULL) {
        w->events = calloc(MAX_EVENTS, sizeof(*w->events));
    }
    w->open = w->events != NULL;
}

static void window_close(struct window *w)
{
    if (!w->open) {
        return;
    }
    w->open = false;
    if (w->interrupted) {
        batch_sums.interrupted++;
        return;
    }
    batch_sums.windows++;
    batch_sums.insns += w->sums.insns;
    batch_sums.loads += w->sums.loads;
    batch_sums.stores += w->sums.stores;
    batch_sums.cold_loads += w->sums.cold_loads;
    batch_sums.cold_stores += w->sums.cold_stores;
    batch_sums.outside_loads += w->sums.outside_loads;
    batch_sums.outside_stores += w->sums.outside_stores;
    batch_sums.ipis += w->sums.ipis;
    batch_sums.device += w->sums.device;
    batch_sums.unknown += w->sums.unknown;
    for (unsigned i = 0; !batch_warm && i < w->nr_events; i++) {
        site_count(&w->events[i]);
    }
    if (!batch_warm) {
        trace_count(&w->trace);
    }
}

static void batch_begin(bool warm)
{
    memset(&batch_sums, 0, sizeof(batch_sums));
    batch_warm = warm;
    batch_id++;
}

static void batch_report(void)
{
    const struct sums *s = &batch_sums;

    fprintf(out,
            "batch %u %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
            " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
            run_id, batch_warm ? "warm" : "counted", s->windows, s->interrupted, s->insns, s->loads,
            s->stores, s->cold_loads, s->cold_stores, s->outside_loads, s->outside_stores, s->ipis,
            s->device, s->unknown);
}

static void on_mark(unsigned cpu, void *number)
{
    if (cpu >= MAX_CPUS) {
        return;
    }
    lock_take();
    switch ((uintptr_t)number) {
    case MARK_BEGIN:
        window_open(&windows[cpu]);
        break;
    case MARK_END:
        window_close(&windows[cpu]);
        break;
    case MARK_RUN:
        run_id++;
        in_run = true;
        break;
    case MARK_BATCH_WARM:
    case MARK_BATCH:
        batch_begin((uintptr_t)number == MARK_BATCH_WARM);
        break;
    case MARK_BATCH_END:
        batch_report();
        break;
    case MARK_RUN_END:
        in_run = false;
        sites_report();
        break;
    }
    lock_drop();
}

/* --- Translation ------------------------------------------------------------------------------ */

/* The number of a mark, 0 if the instruction is none. */
static unsigned mark_number(const uint8_t *code, size_t size)
{
    uint32_t operand;

    if (size != 7 || code[0] != 0x0f || code[1] != 0x1f || code[2] != 0x80) {
        return 0;
    }
    memcpy(&operand, code + 3, sizeof(operand));
    return (operand & ~0xffu) == MARK_MAGIC ? operand & 0xff : 0;
}

/* Is it one atomic access? A LOCK prefix, or XCHG, which locks by itself if it has a memory
 * operand (and without one it has no access either). */
static bool insn_is_atomic(const uint8_t *code, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = code[i];
        if (byte == 0xf0) {
            return true;
        }
        bool prefix = byte == 0x66 || byte == 0x67 || byte == 0xf2 || byte == 0xf3 ||
                      byte == 0x2e || byte == 0x36 || byte == 0x3e || byte == 0x26 ||
                      byte == 0x64 || byte == 0x65 || (byte & 0xf0) == 0x40;
        if (!prefix) {
            return byte == 0x86 || byte == 0x87;
        }
    }
    return false;
}

static void block_watch(struct qemu_plugin_tb *tb)
{
    uintptr_t nr = qemu_plugin_tb_n_insns(tb);

    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, (void *)nr);
    if (trace_blocks) {
        lock_take();
        struct block *block = block_make(tb);
        lock_drop();
        if (block == NULL) {
            fprintf(stderr, "coherence: no memory for a block\n");
            exit(1);
        }
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_traced_block, QEMU_PLUGIN_CB_NO_REGS, block);
    }
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t nr = qemu_plugin_tb_n_insns(tb);
    bool kernel = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0)) >= kernel_start;

    (void)id;
    if (kernel) {
        block_watch(tb);
    }
    for (size_t i = 0; i < nr; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint8_t *code = qemu_plugin_insn_data(insn);
        size_t size = qemu_plugin_insn_size(insn);
        unsigned mark = mark_number(code, size);

        if (mark != 0) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, QEMU_PLUGIN_CB_NO_REGS,
                                                   (void *)(uintptr_t)mark);
        } else if (kernel) {
            qemu_plugin_register_vcpu_mem_cb(
                insn, insn_is_atomic(code, size) ? on_atomic_access : on_access,
                QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW,
                (void *)(uintptr_t)qemu_plugin_insn_vaddr(insn));
        }
    }
}

static void on_end(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    fflush(out);
}

/* --- Start ------------------------------------------------------------------------------------ */

static bool option_take(const char *text)
{
    if (strncmp(text, "out=", 4) == 0) {
        out = fopen(text + 4, "w");
        return out != NULL;
    }
    if (strcmp(text, "outside=on") == 0) {
        track_outside = true;
        return true;
    }
    if (strcmp(text, "blocks=on") == 0) {
        trace_blocks = true;
        return true;
    }
    if (strncmp(text, "kernel=", 7) == 0) {
        kernel_start = strtoull(text + 7, NULL, 0);
        return true;
    }
    return false;
}

PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc,
                                      char **argv);

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (!option_take(argv[i])) {
            fprintf(stderr, "coherence: cannot use the option %s\n", argv[i]);
            return -1;
        }
    }
    if (out == NULL || !info->system_emulation || info->system.max_vcpus > MAX_CPUS) {
        fprintf(stderr, "coherence: needs out=FILE and a machine of at most %d CPUs\n", MAX_CPUS);
        return -1;
    }
    lines = mmap(NULL, NR_LINES * sizeof(*lines), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    sites = calloc(NR_SITES, sizeof(*sites));
    if (lines == MAP_FAILED || sites == NULL) {
        fprintf(stderr, "coherence: no memory\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_end, NULL);
    return 0;
}
