// Load averages: how many threads run or wait for a CPU, smoothed over 1, 5 and 15 minutes.
//
// A timer samples every five seconds on the CPU that booted. Each average moves towards the sample
// by 1 - exp(-5/60), ... of the difference, in fixed point. Threads in an uninterruptible wait are
// not counted (Linux does): here such waits are short, for there are no disks behind them.
#include <arch/time.h>
#include <k/atomic.h>
#include <proc.h>
#include <sched.h>

#define SAMPLE_NS 5000000000ull

static atomic_ulong average[3]; // written by the timer alone
static struct timer sampler;

static void loadavg_sample(struct timer *t)
{
    // 2048 * exp(-5/60), exp(-5/300), exp(-5/900)
    static const unsigned keep[3] = {1884, 2014, 2037};
    unsigned long now = sched_nr_runnable() * LOADAVG_ONE;

    for (unsigned i = 0; i < 3; i++) {
        unsigned long old = load_relaxed(&average[i]);
        unsigned long sum = old * keep[i] + now * (LOADAVG_ONE - keep[i]);
        // Round towards the sample, or the last steps would never be made.
        store_relaxed(&average[i], (sum + (now > old ? LOADAVG_ONE - 1 : 0)) / LOADAVG_ONE);
    }
    timer_arm(t, clock_ns() + SAMPLE_NS);
}

void loadavg_get(unsigned long out[3])
{
    for (unsigned i = 0; i < 3; i++) {
        out[i] = load_relaxed(&average[i]);
    }
}

void loadavg_init(void)
{
    timer_init(&sampler, loadavg_sample);
    timer_arm(&sampler, clock_ns() + SAMPLE_NS);
}
