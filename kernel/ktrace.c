// The trace ring: what each CPU did last, for the report of a panic.
//
// Writing an event is a few stores to this CPU's own lines. An interrupt handler may write one in
// the middle of another; it takes the next slot, because the index is advanced first. A reader gets
// what is there: the panic has stopped the writers.
#include "printk_priv.h"

#include <arch/time.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <k/atomic.h>
#include <smp.h>

#define TRACE_EVENTS 32 // a power of two

struct trace_ring {
    unsigned next;
    struct {
        u64 time_ns, a, b;
        const char *what;
    } event[TRACE_EVENTS];
};
static DEFINE_PER_CPU(struct trace_ring, trace_ring);

void trace_event(const char *what, u64 a, u64 b)
{
    struct trace_ring *r = &this_cpu(trace_ring);
    unsigned i = r->next++ % TRACE_EVENTS;

    compiler_barrier(); // the slot is ours before an interrupt can take the next
    r->event[i].time_ns = clock_ns();
    r->event[i].what = what;
    r->event[i].a = a;
    r->event[i].b = b;
}

void trace_print(void)
{
    for (unsigned c = 0; c < nr_cpus; c++) {
        struct trace_ring *r = &per_cpu(trace_ring, c);
        unsigned n = r->next < TRACE_EVENTS ? r->next : TRACE_EVENTS;
        if (n > 0) {
            printk("last events of CPU %u:\n", c);
        }
        for (unsigned i = r->next - n; i != r->next; i++) {
            typeof(r->event[0]) *e = &r->event[i % TRACE_EVENTS];
            printk("  %5lu.%06lu %s %#lx %#lx\n", (unsigned long)(e->time_ns / 1000000000),
                   (unsigned long)(e->time_ns / 1000 % 1000000), e->what, (unsigned long)e->a,
                   (unsigned long)e->b);
        }
    }
}
