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
extern const struct schedule hold_forks, hold_lazy, hold_loaded, hold_copy, hold_park, hold_move,
    hold_flush, hold_clear, hold_table, hold_close, hold_replace;

noreturn_fn void wrong_hold(const char *what, u64 value);

// How far the schedule has come; 0 when a round begins. stage_tell is for a CPU whose stores are to
// go on waiting in its buffer.
unsigned stage(void);
void stage_set(unsigned to);
void stage_tell(unsigned to);
void stage_wait(unsigned for_stage); // serves calls
// For a CPU that others may be waiting for: until then, or for so long that they get wherever they
// can without it. It serves calls, unless it keeps its stores.
void stage_hold(unsigned for_stage);

// What must succeed.
void hold_map(vaddr_t at, u64 bytes, unsigned flags, struct file *f);
void hold_unmap(vaddr_t at, u64 bytes);
void hold_store(vaddr_t at, u64 value);
u64 hold_load(vaddr_t at);

#endif
