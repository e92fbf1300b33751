// The timer interrupt and the tick.
//
// Each CPU has one hardware timer, programmed for the earlier of its next tick and its first timer.
// A CPU ticks, 100 times a second, only while it runs something: the scheduler starts the tick when
// it leaves idle and stops it when it enters. Programming the timer is slow (a device access, or an
// exit from a virtual machine), so stopping does not touch it: the interrupt that is on its way
// comes once more and finds nothing to do.
//
// All state here belongs to one CPU and is touched with interrupts off.
#include "timer_priv.h"

#include <arch/cpu.h>
#include <arch/time.h>
#include <arch/trap.h>
#include <k/percpu.h>
#include <k/rcu.h>
#include <sched.h>

#define TICK_NS 10000000ull

struct clock_cpu {
    bool ticking;
    bool programmed; // the hardware timer will fire at `deadline_ns`
    u64 tick_ns;     // next tick, while ticking
    u64 deadline_ns;
};
static DEFINE_PER_CPU(struct clock_cpu, clock_cpu);

void timer_need(u64 deadline_ns)
{
    struct clock_cpu *c = &this_cpu(clock_cpu);
    if (deadline_ns != TIME_NEVER && (!c->programmed || deadline_ns < c->deadline_ns)) {
        c->programmed = true;
        c->deadline_ns = deadline_ns;
        arch_timer_set(deadline_ns);
    }
}

void tick_start(void)
{
    struct clock_cpu *c = &this_cpu(clock_cpu);
    if (!c->ticking) {
        c->ticking = true;
        c->tick_ns = clock_ns() + TICK_NS;
        timer_need(c->tick_ns);
    }
}

void tick_stop(void)
{
    this_cpu(clock_cpu).ticking = false;
}

void timer_interrupt(bool from_user)
{
    struct clock_cpu *c = &this_cpu(clock_cpu);
    u64 now = clock_ns();

    c->programmed = false;
    if (c->ticking && now >= c->tick_ns) {
        c->tick_ns = now + TICK_NS;
        rcu_tick();
        sched_tick(from_user);
    }
    u64 next = timer_run_expired(now);
    if (c->ticking && c->tick_ns < next) {
        next = c->tick_ns;
    }
    timer_need(next);
}
