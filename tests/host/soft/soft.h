// The soft machine: an architecture for the host tests, so that the kernel's own mm/ runs under the
// sanitizers with every hardware effect it must cope with, only more often.
//
//     RAM          an array; freed pages hold PAGE_POISON (mm/page.c does that in a DEBUG build)
//     a CPU        a thread, with its per-CPU area and its TLB; never preempted by another of ours
//     the TLB      filled by a walk of the tables (mmu.c), also for no reason at any time, as CPUs
//                  do; asked at each access; emptied by mmu_flush_* and mmu_load only. A cache of
//                  upper entries lets a walk begin in a leaf table that it has seen before. So a
//                  missing shootdown is an access to a poisoned or foreign page.
//     interrupts   cross calls, served at points: every ordered atomic access, lock, access to user
//                  memory and wait, unless they are off. An access to user memory and a walk are
//                  one instruction each: no interrupt comes in between.
//     the store    page-table stores and unlocks that are only `release` may wait in a buffer, as C
//     buffer       allows, while later loads and lock acquisitions of the CPU go ahead. seq_cst
//                  stores, fences and read-modify-writes empty it, and so does waiting.
//     bending      a point may also yield or sleep for some microseconds, decided by a generator
//                  seeded per thread: races of a few instructions become races of milliseconds. The
//                  host's scheduler still has a say: a seed makes a failure likely, not certain.
//
// host.c is the only file that includes the host's own headers for threads.
#ifndef SOFT_H
#define SOFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- host.c -------------------------------------------------------------------------------------
void host_run_threads(unsigned n, void (*fn)(unsigned)); // fn(0) .. fn(n-1); waits for all
void host_yield(void);
void host_sleep_us(unsigned us);
void *host_map(size_t bytes);      // zeroes
void host_watchdog(unsigned secs); // the process is killed after so long
uint64_t host_seed(void);          // SEED of the environment or the clock; printed
unsigned long host_option(const char *name, unsigned long otherwise);

// ---- cpu.c: points ------------------------------------------------------------------------------
extern _Thread_local int soft_fuse; // points until the next bend
void soft_bend(void);
static inline void soft_point(void)
{
    if (--soft_fuse <= 0) {
        soft_bend();
    }
}
// A place where a race is decided: bends one time in four.
void soft_race_point(void);
uint64_t soft_random(void); // this thread's generator
static inline unsigned soft_below(unsigned n)
{
    return (unsigned)(soft_random() >> 16) % n;
}
// Waiting for another CPU: serves interrupts.
void soft_wait(void);
// A CPU in its idle loop or on its way to user mode: the same, and RCU callbacks.
void soft_safe_point(void);

// ---- mmu.c: the store buffer --------------------------------------------------------------------
extern _Thread_local unsigned soft_nr_buffered;
void soft_drain_slow(void);
static inline void soft_drain(void)
{
    if (soft_nr_buffered) {
        soft_drain_slow();
    }
}
void soft_fence(void);
struct spinlock;
void soft_buffer_unlock(struct spinlock *l);
bool soft_buffer_has(const void *where);
// The CPU may walk to any address at any time, if it likes to.
void soft_speculate(void);

// ---- For tests ----------------------------------------------------------------------------------
// RAM and CPUs; page_init and mm_init are the test's. Then the thread of each CPU starts it.
void soft_cpu_start(unsigned n);
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
