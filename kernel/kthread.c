// Threads come and go: memory, kernel stacks, kernel threads.
#include <arch/cpu.h>
#include <k/assert.h>
#include <k/string.h>
#include <sched.h>
#include <slab.h>

struct thread *thread_alloc(const char *name)
{
    struct thread *t = kzalloc(sizeof(*t), GFP_KERNEL);
    if (!t) {
        return NULL;
    }
    t->kstack = arch_kstack_alloc();
    if (!t->kstack) {
        kfree(t);
        return NULL;
    }
    store_relaxed(&t->affinity, ~0ul);
    store_relaxed(&t->cpu, (int)cpu_id());
    list_init(&t->rq_link);
    list_init(&t->wait_link);
    strlcpy(t->name, name, sizeof(t->name));
    return t;
}

void thread_free(struct thread *t)
{
    debug_assert(!t->on_rq && !load_relaxed(&t->on_cpu));
    arch_fpu_free(t);
    arch_kstack_free(t->kstack);
    kfree(t);
}

// First code of a kernel thread, interrupts off.
static void kthread_main(void *arg)
{
    struct thread *t = arg;
    irq_enable();
    t->kfn(t->karg);
    kthread_exit();
}

struct thread *kthread_create(const char *name, void (*fn)(void *), void *arg)
{
    struct thread *t = thread_alloc(name);
    if (!t) {
        return NULL;
    }
    t->kfn = fn;
    t->karg = arg;
    arch_thread_init_kernel(t, kthread_main, t);
    thread_start(t);
    return t;
}

void kthread_exit(void)
{
    thread_exit_self();
}

void thread_exit_self(void)
{
    debug_assert(!current_thread()->mm);
    debug_assert(current_thread()->nr_held == 0);
    thread_set_state(THREAD_DEAD);
    schedule();
    panic("a dead thread runs");
}
