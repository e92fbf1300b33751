// The end: say what is known, stop the machine.
//
// The first CPU to panic reports; others that panic meanwhile just stop. A panic inside the report
// (a broken stack, say) must not start it anew: the second one prints its message and leaves.
#include "printk_priv.h"

#include <arch/boot.h>
#include <arch/cpu.h>
#include <k/assert.h>
#include <k/atomic.h>
#include <k/printk.h>
#include <ksyms.h>
#include <san.h>
#include <sched.h>
#include <smp.h>

static atomic_int panic_cpu = -1;
static bool panic_twice; // the reporting CPU only

static void print_frame(void *arg, u64 addr)
{
    const char *name;
    u64 off;

    (void)arg;
    if (ksym_lookup(addr, &name, &off)) {
        printk("  %#lx %s+%#lx\n", (unsigned long)addr, name, (unsigned long)off);
    } else {
        printk("  %#lx\n", (unsigned long)addr);
    }
}

static void panic_report(void)
{
    struct thread *t = current_thread();

    printk("CPU %u, thread %s\n", cpu_id(), t ? t->name : "none");
    arch_print_regs();
    printk("call chain:\n");
    arch_backtrace(0, print_frame, NULL);
    san_panic_print();
    trace_print();
}

void panic(const char *fmt, ...)
{
    char message[256];
    va_list ap;
    int me = (int)cpu_id(), nobody = -1;

    irq_disable();
    bool first = atomic_compare_exchange_strong(&panic_cpu, &nobody, me);
    if (!first && nobody != me) {
        cpu_stop();
    }
    printk_panic_begin();
    if (first) {
        smp_stop_others();
    }
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    printk_raw(first ? "panic: " : "panic in panic: ");
    printk_raw(message);
    printk_raw("\n");
    if (first) {
        panic_report();
    } else if (!panic_twice) {
        panic_twice = true;
        trace_print();
    }
    arch_panic_exit();
}
