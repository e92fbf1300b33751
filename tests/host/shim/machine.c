// Host tests of the allocators: CPUs as threads, RAM as an array, panics that a test can expect.
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <bootinfo.h>
#include <k/assert.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <k/rcu.h>
#include <k/string.h>
#include <page.h>
#include "machine.h"

char *host_ram;
struct bootinfo bootinfo;
unsigned long percpu_offset[MAX_CPUS];
jmp_buf *host_panic_jump;
char host_panic_text[256];

unsigned percpu_nr;

extern char __start_percpu_host[], __stop_percpu_host[];
static char *percpu_area[MAX_CPUS];

void host_cpu_enter(unsigned cpu)
{
    host_cpu = cpu;
    host_percpu_offset = percpu_offset[cpu];
}

static DEFINE_PER_CPU(atomic_bool, drain_asked);

void host_safe_point(void)
{
    if (load_relaxed(&this_cpu(drain_asked))) {
        store_relaxed(&this_cpu(drain_asked), false);
        page_drain_this_cpu();
    }
}

void page_drain_all(void)
{
    for (unsigned cpu = 0; cpu < percpu_nr; cpu++) {
        store_relaxed(&per_cpu(drain_asked, cpu), true);
    }
    host_safe_point();
    synchronize_rcu();
    page_drain_this_cpu();
}

static void bootinfo_fill(size_t bytes)
{
    paddr_t hole = page_align_down(bytes / 2);

    bootinfo.nr_regions = 3;
    bootinfo.region[0] = (struct boot_region){0, hole, BOOT_RAM};
    bootinfo.region[1] = (struct boot_region){hole, hole + 16 * PAGE_SIZE, BOOT_RESERVED};
    bootinfo.region[2] = (struct boot_region){hole + 16 * PAGE_SIZE, bytes, BOOT_RAM};
    bootinfo.nr_reserved = 2;
    bootinfo.reserved[0] = (struct boot_region){1 << 20, (1 << 20) + 12345, BOOT_RESERVED};
    bootinfo.reserved[1] = (struct boot_region){8 << 20, (8 << 20) + 1, BOOT_RESERVED};
}

void host_machine_init(size_t bytes, unsigned n)
{
    size_t len = (size_t)(__stop_percpu_host - __start_percpu_host);

    host_ram = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert(host_ram != MAP_FAILED);
    for (unsigned cpu = 0; cpu < n; cpu++) {
        percpu_area[cpu] = aligned_alloc(CACHE_LINE, align_up(len, (size_t)CACHE_LINE));
        memcpy(percpu_area[cpu], __start_percpu_host, len);
        percpu_offset[cpu] = (uintptr_t)percpu_area[cpu] - (uintptr_t)__start_percpu_host;
    }
    percpu_nr = n;
    host_cpu_enter(0);
    bootinfo_fill(bytes);
}

struct cpu_run {
    unsigned cpu;
    void (*fn)(unsigned cpu);
};

static void *cpu_main(void *arg)
{
    struct cpu_run *r = arg;

    host_cpu_enter(r->cpu);
    r->fn(r->cpu);
    return NULL;
}

void host_cpus_run(void (*fn)(unsigned cpu))
{
    pthread_t thread[MAX_CPUS];
    struct cpu_run run[MAX_CPUS];

    for (unsigned cpu = 1; cpu < percpu_nr; cpu++) {
        run[cpu] = (struct cpu_run){cpu, fn};
        assert(pthread_create(&thread[cpu], NULL, cpu_main, &run[cpu]) == 0);
    }
    fn(0);
    for (unsigned cpu = 1; cpu < percpu_nr; cpu++) {
        pthread_join(thread[cpu], NULL);
    }
}

// --- k/ -----------------------------------------------------------------------------------------

void panic(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(host_panic_text, sizeof(host_panic_text), fmt, ap);
    va_end(ap);
    if (host_panic_jump) {
        longjmp(*host_panic_jump, 1);
    }
    fprintf(stderr, "panic: %s\n", host_panic_text);
    abort();
}

void printk(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
}
