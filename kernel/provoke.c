// panic=NAME on the command line: break a rule on purpose, so that a test can see it noticed.
//
//     test          the panic itself, in every build
//     kernel-stack  use more of it than there is           not SAN=kasan
//     lock-order    take two locks against their ranks     DEBUG=1 only
//     rcu-sleep     sleep in a read section                DEBUG=1 only
//     rcu-free      free under a reader                    DEBUG=1 only, two CPUs
//     lock-sleep    sleep with a spinlock held             DEBUG=1 only
//
// A build that does not check the rule says so and goes on.
#include <arch/cpu.h>
#include <arch/time.h>
#include <bootinfo.h>
#include <k/assert.h>
#include <k/lock.h>
#include <k/printk.h>
#include <k/rcu.h>
#include <k/string.h>
#include <k/types.h>
#include <ktest.h>
#include <sched.h>
#include <uapi/time.h>

static struct spinlock first = SPINLOCK_INIT(RANK_MAPPING);
static struct spinlock second = SPINLOCK_INIT(RANK_PAGE);

static void provoke_panic(void)
{
    panic("asked for by panic=test");
}

// Frames of half a page, each with a call after it.
static noinline unsigned deeper(unsigned depth)
{
    volatile char frame[2048];
    frame[depth % sizeof(frame)] = (char)depth;
    unsigned below = depth < 1000 ? deeper(depth + 1) : 0;
    return below + (unsigned)frame[depth % sizeof(frame)];
}

static void provoke_kernel_stack(void)
{
    printk("panic=kernel-stack: %u frames\n", deeper(0));
}

static void provoke_lock_order(void)
{
    spin_lock(&second);
    spin_lock(&first);
    spin_unlock(&first);
    spin_unlock(&second);
}

static void provoke_rcu_sleep(void)
{
    rcu_read_lock();
    might_sleep();
    rcu_read_unlock();
}

static void free_something(void *done)
{
    synchronize_rcu();
    store_release((atomic_bool *)done, true); // pairs with provoke_rcu_free
}

// Read on a CPU that says it is idle, so that nobody waits for it.
static void provoke_rcu_free(void)
{
    static atomic_bool done;
    if (!kthread_create("provoke", free_something, &done)) {
        return;
    }
    unsigned long flags = irq_save();
    rcu_read_lock();
    rcu_idle_enter();
    for (u64 end = clock_ns() + 5 * NSEC_PER_SEC; clock_ns() < end && !load_acquire(&done);) {
        cpu_relax();
    }
    rcu_idle_exit();
    rcu_read_unlock();
    irq_restore(flags);
}

static void provoke_lock_sleep(void)
{
    spin_lock(&first);
    might_sleep();
    spin_unlock(&first);
}

static const struct {
    const char *name;
    void (*fn)(void);
} provocations[] = {
    {"test", provoke_panic},
    {"kernel-stack", provoke_kernel_stack},
    {"lock-order", provoke_lock_order},
    {"rcu-sleep", provoke_rcu_sleep},
    {"rcu-free", provoke_rcu_free},
    {"lock-sleep", provoke_lock_sleep},
};

void provoke_from_command_line(void)
{
    char name[32];
    if (!boot_arg("panic", name, sizeof(name))) {
        return;
    }
    for (unsigned i = 0; i < array_size(provocations); i++) {
        if (strcmp(name, provocations[i].name) == 0) {
            provocations[i].fn();
            printk("panic=%s: this kernel does not notice\n", name);
            return;
        }
    }
    printk("panic=%s: unknown\n", name);
}
