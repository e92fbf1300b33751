// Holds: races that need one CPU to stand still at one place while others get far. The generator
// would hardly ever draw that, so the schedule is written down: each CPU has its part, and a hook
// that the kernel's yield points call (soft_cpu->at_point) holds it where the part says. So what a
// schedule is about happens in each round, whatever the seed; CPUs change parts from round to
// round. The schedules: hold_files.c, hold_forks.c, hold_tables.c, hold_tlb.c.

#include <k/assert.h>
#include <k/string.h>
#include <sched.h>
#include <scheme.h>
#include <smp.h>
#include <uapi/mman.h>
#include "holds.h"

#define ROUNDS   20u
#define PATIENCE 2000u // turns

struct mm *hold_mm;
static const struct schedule *played;
static atomic_uint how_far;

void wrong_hold(const char *what, u64 value)
{
    panic("%s: %s: %lx", played->name, what, (unsigned long)value);
}

unsigned stage(void)
{
    return atomic_load_explicit(&how_far, memory_order_seq_cst);
}

void stage_set(unsigned to)
{
    if (!soft_cpu->keep_stores) {
        soft_drain();
    }
    atomic_store_explicit(&how_far, to, memory_order_seq_cst);
}

bool stage_begins(unsigned which, const char *where, const char *place)
{
    if (stage() >= which || strcmp(where, place) != 0) {
        return false;
    }
    stage_set(which);
    return true;
}

void stage_wait(unsigned for_stage)
{
    while (stage() < for_stage) {
        soft_wait();
    }
}

void stage_sleep(unsigned for_stage)
{
    while (stage() < for_stage) {
        schedule();
    }
}

void stage_hold(unsigned for_stage)
{
    for (unsigned n = 0; n < PATIENCE && stage() < for_stage; n++) {
        if (soft_cpu->keep_stores) {
            host_yield();
        } else {
            soft_wait();
        }
    }
}

// ---- What must succeed --------------------------------------------------------------------------

void hold_map(vaddr_t at, u64 bytes, unsigned flags, struct file *f)
{
    s64 err = mm_mmap(hold_mm, at, bytes, PROT_READ | PROT_WRITE, MAP_FIXED | flags, f, 0);
    if (err < 0) {
        wrong_hold("mmap fails", (u64)err);
    }
}

void hold_unmap(vaddr_t at, u64 bytes)
{
    int err = mm_munmap(hold_mm, at, bytes);
    if (err) {
        wrong_hold("munmap fails", (u64)err);
    }
}

void hold_store(vaddr_t at, u64 value)
{
    int err = soft_store(at, value);
    if (err) {
        wrong_hold("a store fails", (u64)err);
    }
}

u64 hold_load(vaddr_t at)
{
    u64 value = 0;
    int err = soft_load(at, &value);
    if (err) {
        wrong_hold("a load fails", (u64)err);
    }
    return value;
}

void hold_protect(vaddr_t at, u64 bytes, unsigned prot)
{
    int err = mm_mprotect(hold_mm, at, bytes, prot);
    if (err) {
        wrong_hold("mprotect fails", (u64)err);
    }
}

void hold_move_page(vaddr_t from, vaddr_t to)
{
    s64 at = mm_mremap(hold_mm, from, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    if (at < 0) {
        wrong_hold("mremap fails", (u64)at);
    }
}

void hold_discard(vaddr_t at, u64 bytes)
{
    int err = mm_madvise(hold_mm, at, bytes, MADV_DONTNEED);
    if (err) {
        wrong_hold("madvise fails", (u64)err);
    }
}

struct mm *hold_fork(void)
{
    struct mm *child;
    int err = mm_fork(hold_mm, &child);
    if (err) {
        wrong_hold("fork fails", (u64)err);
    }
    return child;
}

// ---- All CPUs -----------------------------------------------------------------------------------

static const struct schedule *const schedules[] = {
    &hold_forks,       &hold_lazy,   &hold_missed, &hold_freed,   &hold_loaded,
    &hold_store_first, &hold_copy,   &hold_park,   &hold_move,    &hold_flush,
    &hold_clear,       &hold_table,  &hold_close,  &hold_replace, &hold_walk,
    &hold_pin,         &hold_insert, &hold_tryget, &hold_between, &hold_gone};

static void run_schedule(unsigned me, const struct schedule *s)
{
    for (u64 round = 1; round <= ROUNDS; round++) {
        soft_barrier();
        if (me == 0) {
            played = s;
            stage_set(0);
            s->begin(round);
            host_progress();
        }
        soft_barrier();
        unsigned mine = (unsigned)(me + round) % nr_cpus;
        if (mine < s->nr_parts) {
            s->part[mine](round);
        }
        soft_barrier();
        if (me == 0) {
            s->end();
        }
    }
}

// May a fault stand still while a writer changes what it is about? The schemes to be named here are
// those whose writers wait for no fault.
static bool writers_wait(const struct mm *mm)
{
    return mm->scheme != &scheme_rcu;
}

void run_holds(unsigned me, struct mm *mm)
{
    mm_activate(mm);
    if (me == 0) {
        hold_mm = mm;
    }
    for (unsigned i = 0; i < array_size(schedules); i++) {
        const struct schedule *s = schedules[i];
        if (nr_cpus >= s->nr_parts && (s->writers_may_wait || !writers_wait(mm))) {
            run_schedule(me, s);
        }
    }
    soft_barrier();
}
