// Written-down schedules: see holds.c.
#ifndef HOLDS_H
#define HOLDS_H

#include <k/types.h>
#include <mm.h>
#include "slots.h"

#define HOLD_PARTS 3u

struct schedule {
    const char *name;
    bool writers_may_wait;    // it can happen where writers wait for faults, too
    void (*begin)(u64 round); // one CPU alone, in hold_mm
    unsigned nr_parts;
    void (*part[HOLD_PARTS])(u64 round); // a CPU each
    void (*end)(void);                   // one CPU alone
};

extern struct mm *hold_mm;
extern const struct schedule hold_forks, hold_lazy, hold_missed, hold_freed, hold_loaded,
    hold_store_first, hold_copy, hold_park, hold_move, hold_flush, hold_clear, hold_table,
    hold_close, hold_replace, hold_walk, hold_pin, hold_insert, hold_tryget, hold_between,
    hold_gone;

noreturn_fn void wrong_hold(const char *what, u64 value);

// How far the schedule has come; 0 when a round begins. What the CPU has stored is seen before it
// sets a stage, unless it keeps its stores.
unsigned stage(void);
void stage_set(unsigned to);
// For a hook, which is called at `where`: sets that stage, if the schedule has not come so far and
// this is the place. Then the hook is to hold its CPU.
bool stage_begins(unsigned which, const char *where, const char *place);
void stage_wait(unsigned for_stage);  // serves calls
void stage_sleep(unsigned for_stage); // the same, and RCU does not wait for it
// For a CPU that others may be waiting for: until then, or for so long that they get wherever they
// can without it. It serves calls, unless it keeps its stores.
void stage_hold(unsigned for_stage);

// What must succeed.
void hold_map(vaddr_t at, u64 bytes, unsigned flags, struct file *f);
void hold_unmap(vaddr_t at, u64 bytes);
void hold_store(vaddr_t at, u64 value);
u64 hold_load(vaddr_t at);
void hold_protect(vaddr_t at, u64 bytes, unsigned prot);
void hold_move_page(vaddr_t from, vaddr_t to);
void hold_discard(vaddr_t at, u64 bytes);
struct mm *hold_fork(void);

#endif
