// Runs the tests that KTEST() registered, in the order of the link.
#include <arch/time.h>
#include <k/assert.h>
#include <k/atomic.h>
#include <k/printk.h>
#include <k/string.h>
#include <ktest.h>

extern const struct ktest ktests_start[], ktests_end[]; // the linker script

static atomic_uint nr_failures; // of the running test

void ktest_fail(const char *what, const char *file, int line)
{
    if (fetch_add_relaxed(&nr_failures, 1) < 10) {
        printk("ktest: failed: %s (%s:%d)\n", what, file, line);
    }
}

void ktest_run(const char *prefix)
{
    unsigned nr_run = 0, nr_failed = 0;

    for (const struct ktest *t = ktests_start; t < ktests_end; t++) {
        if (strncmp(t->name, prefix, strlen(prefix)) != 0) {
            continue;
        }
        store_relaxed(&nr_failures, 0);
        u64 start = clock_ns();
        t->fn();
        bool failed = load_seq(&nr_failures) > 0;
        printk("ktest %s %s (%lu ms)\n", t->name, failed ? "FAILED" : "ok",
               (unsigned long)((clock_ns() - start) / 1000000));
        nr_run++;
        nr_failed += failed;
    }
    if (nr_failed > 0) {
        panic("%u of %u kernel tests failed", nr_failed, nr_run);
    }
    printk("ktest: %u passed\n", nr_run);
}
