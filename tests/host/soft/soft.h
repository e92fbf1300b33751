// The soft machine: an architecture for the host tests, so that the kernel's own mm/ runs under the
// sanitizers with every hardware effect it must cope with, only more often.
//
//     RAM          an array; freed pages hold PAGE_POISON (mm/page.c does that in a DEBUG build)
//     a CPU        a thread of its own, or one of several that take turns on one thread (below),
//                  with its per-CPU area and its TLB; never preempted by another of ours
//     the TLB      filled by a walk of the tables (mmu.c), also for no reason at any time, as CPUs
//                  do; asked at each access; emptied by mmu_flush_* and mmu_load only. A cache of
//                  upper entries lets a walk begin in a leaf table that it has seen before. So a
//                  missing shootdown is an access to a poisoned or foreign page.
//     interrupts   cross calls, served at points: every ordered atomic access, lock, access to user
//                  memory and wait, unless they are off. An access to user memory and a walk are
//                  one instruction each: no interrupt comes in between.
//     the store    stores that are at most `release`, unlocks too, may wait in a buffer, as C
//     buffer       allows, while later loads and lock acquisitions of the CPU go ahead. seq_cst
//                  stores, fences and read-modify-writes empty it, and so does waiting.
//     bending      a point may also yield or sleep, decided by a generator seeded per CPU: races of
//                  a few instructions become long ones.
//
// In turns or at once. Usually the CPUs take turns on one thread, and who is next is drawn from the
// seed: a seed gives one schedule, always the same, however busy the host is; but CPUs change at
// points only. With THREADS=1 each CPU is a thread of the host, which then has its say: real
// reordering, and instructions between points race, too, but a seed makes a failure likely, not
// certain, and the host had better be idle.
//
// host.c is the only file that includes the host's own headers for threads.
#ifndef SOFT_H
#define SOFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- host.c -------------------------------------------------------------------------------------
void host_run_cpus(unsigned n, void (*fn)(unsigned)); // fn(0) .. fn(n-1), each a CPU; waits for all
void host_yield(void);
void host_sleep(unsigned time); // in turns: turns of others; threads: microseconds
void *host_map(size_t bytes);   // zeroes
struct soft_cpu;
void host_set_cpu(struct soft_cpu *c);
void host_progress(void); // who does not call it for long hangs, and is aborted
void host_start_clock(unsigned percent);
bool host_time_is_up(void); // threads: so much of SECONDS has passed since then
uint64_t host_seed(void);   // SEED of the environment or the clock; printed
unsigned long host_option(const char *name, unsigned long otherwise);

// ---- A CPU --------------------------------------------------------------------------------------
#define SOFT_TLB    64u
#define SOFT_UPPER  8u
#define SOFT_BUFFER 16u
#define SOFT_RECENT 16u

struct soft_cpu {
    unsigned id;
    unsigned long percpu_offset;
    struct thread *current;
    bool irq_off, in_interrupt;
    int fuse; // points until the next bend
    uint64_t random;
    // The test's, for a schedule that is written down. keep_stores: each store waits in the buffer
    // until something must empty it, and nothing is bent.
    void (*at_point)(const char *where);
    bool keep_stores;

    unsigned nr_held; // spinlocks, by rank
    uint16_t held_rank[16];

    unsigned nr_buffered;
    struct soft_store {
        void *where;
        unsigned size_bytes;
        uint64_t value;
    } buffer[SOFT_BUFFER];

    uint64_t loaded_root; // 0: the kernel's tables, which map no user address
    struct soft_translation {
        uint64_t page; // ~0: none
        uint64_t frame;
        bool writable, dirty;
    } tlb[SOFT_TLB];
    struct soft_upper { // which leaf table covers this stretch
        uint64_t base, table;
        bool writable; // as far as the entries above it say
    } upper[SOFT_UPPER];
    uint64_t recent[SOFT_RECENT];

    unsigned rcu_nest; // rcu.c's own
    bool rcu_running;
};
extern _Thread_local struct soft_cpu *soft_cpu; // this one

// ---- cpu.c: points ------------------------------------------------------------------------------
void soft_bend(void);
static inline void soft_point(void)
{
    // Sooner when others do not see all of our stores: that is what a store buffer is for.
    soft_cpu->fuse -= soft_cpu->nr_buffered ? 12 : 1;
    if (soft_cpu->fuse <= 0) {
        soft_bend();
    }
}
// A place where a race is decided: calls at_point, or bends one time in four.
void soft_race_point(const char *where);
uint64_t soft_random(void); // this CPU's generator
static inline unsigned soft_below(unsigned n)
{
    return (unsigned)(soft_random() >> 16) % n;
}
// Waiting for another CPU: serves interrupts.
void soft_wait(void);
// A CPU in its idle loop or on its way to user mode: the same, and RCU callbacks.
void soft_safe_point(void);
// At one of these: what page_drain_all asks of this CPU.
void soft_answer_drain(void);

// ---- rcu.c, the oracle, or real_rcu.c, kernel/rcu.c ---------------------------------------------
void soft_rcu_start(void); // this CPU is up, goes down
void soft_rcu_stop(void);
void soft_rcu_safe_point(void);
void soft_rcu_tick(void); // interrupt context
void soft_idle(unsigned turns);

// ---- mmu.c: the store buffer --------------------------------------------------------------------
void soft_drain_slow(void);
static inline void soft_drain(void)
{
    if (soft_cpu->nr_buffered) {
        soft_drain_slow();
    }
}
void soft_fence(void);
void soft_buffer(void *where, unsigned size_bytes, uint64_t value);
bool soft_buffer_has(const void *where);
// The CPU sees its own stores before others do.
bool soft_forward_slow(const void *where, uint64_t *value);
static inline bool soft_forward(const void *where, uint64_t *value)
{
    return soft_cpu->nr_buffered && soft_forward_slow(where, value);
}
// The CPU may walk to any address at any time, if it likes to; or to this one.
void soft_speculate(void);
void soft_walk(uint64_t addr);

// ---- For tests ----------------------------------------------------------------------------------
// RAM and CPUs; page_init and mm_init are the test's. Then each CPU starts itself.
void soft_cpu_start(unsigned n);
void soft_cpu_stop(void);
void soft_boot(size_t ram_bytes, unsigned cpus, uint64_t seed);
// One load or store of a user word by this CPU, with the faults it takes: 0 or mm_fault's error.
int soft_load(uint64_t addr, uint64_t *value);
int soft_store(uint64_t addr, uint64_t value);
// What /proc/faultline/NAME would say to a program of this CPU's address space.
void soft_knob_read(const char *name, char *buf, size_t size);
// Wait until nothing waits for RCU and lists are empty.
void soft_settle(void);
// Every CPU comes here, serving interrupts while it waits.
void soft_barrier(void);

#endif
