// panic and printk on the host, and the seed of a run.
#include <k/assert.h>
#include <k/printk.h>
#include <shim.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void panic(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fprintf(stderr, "panic: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    abort();
}

void printk(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
}

void trace_event(const char *what, u64 a, u64 b)
{
    (void)what;
    (void)a;
    (void)b;
}

unsigned shim_times(void)
{
    const char *text = getenv("TIMES");
    return text != NULL ? (unsigned)strtoul(text, NULL, 0) : 1;
}

u64 shim_seed(void)
{
    const char *text = getenv("SEED");
    u64 seed = text != NULL ? strtoull(text, NULL, 0) : (u64)time(NULL);

    fprintf(stderr, "# SEED=%llu\n", (unsigned long long)seed);
    return seed;
}
