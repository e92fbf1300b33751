// The kernel's messages: formatted on the caller's stack, then printed under one lock, so that
// lines of different CPUs do not mix. Each line gets the time since boot and the CPU.
//
// A panic must come through even if its CPU stopped in the middle of printing: from
// printk_panic_begin() on there is no lock, and all other CPUs are told to stop.
#include "printk_priv.h"

#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/time.h>
#include <k/atomic.h>
#include <k/lock.h>
#include <k/printk.h>
#include <k/string.h>
#include <screen.h>

#define LINE_SIZE   512
#define LIMIT_LINES 10
#define LIMIT_NS    5000000000ull

static struct spinlock console_lock = SPINLOCK_INIT(RANK_CONSOLE);
static bool mid_line; // [console_lock]
static atomic_bool panicking;

static void console_puts(const char *s)
{
    arch_console_write(s, strlen(s));
}

// Whole lines or parts of one, to the console and to the log; a panic goes to the console alone.
static void print_prefixed(const char *s, u64 now, unsigned cpu)
{
    char prefix[40];
    bool dying = load_relaxed(&panicking), show = dying || !klog_is_quiet_locked();

    snprintf(prefix, sizeof(prefix), "[%5lu.%06lu %u] ", (unsigned long)(now / 1000000000),
             (unsigned long)(now / 1000 % 1000000), cpu);
    while (*s) {
        size_t n = 0;
        if (!mid_line && show) {
            console_puts(prefix);
        }
        if (!mid_line && !dying) {
            klog_begin_line_locked(now);
        }
        while (s[n] && s[n] != '\n') {
            n++;
        }
        mid_line = s[n] != '\n';
        n += !mid_line;
        if (show) {
            arch_console_write(s, n);
        }
        if (!dying) {
            klog_add_locked(s, n);
        }
        s += n;
    }
}

void printk(const char *fmt, ...)
{
    char line[LINE_SIZE];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (load_relaxed(&panicking)) {
        print_prefixed(line, clock_ns(), cpu_id());
        return;
    }
    unsigned long flags = spin_lock_irq(&console_lock);
    print_prefixed(line, clock_ns(), cpu_id());
    spin_unlock_irq(&console_lock, flags);
    klog_tell();
}

bool printk_limit(struct printk_limit *l)
{
    unsigned long flags = spin_lock_irq(&console_lock);
    u64 now = clock_ns();
    bool may;

    if (!l->from_ns || now - l->from_ns > LIMIT_NS) {
        l->from_ns = max(now, 1ull);
        l->nr = 0;
    }
    may = l->nr < LIMIT_LINES;
    l->nr += may;
    l->lost += !may;
    spin_unlock_irq(&console_lock, flags);
    return may;
}

unsigned printk_lost(struct printk_limit *l)
{
    unsigned long flags = spin_lock_irq(&console_lock);
    unsigned lost = l->lost;

    l->lost = 0;
    spin_unlock_irq(&console_lock, flags);
    return lost;
}

unsigned long console_lock_irq(void) NO_LOCK_ANALYSIS
{
    return spin_lock_irq(&console_lock);
}

void console_unlock_irq(unsigned long flags) NO_LOCK_ANALYSIS
{
    spin_unlock_irq(&console_lock, flags);
}

void printk_panic_begin(void)
{
    store_seq(&panicking, true);
    screen_panic_begin();
    if (mid_line) {
        arch_console_putc('\n');
        mid_line = false;
    }
}

void printk_raw(const char *s)
{
    console_puts(s);
}
