// The trace of system calls: kernel/strace.c.
#ifndef STRACE_H
#define STRACE_H

#include <k/atomic.h>
#include <k/types.h>

struct process;
struct strace_state;

// Has any process ever been traced? Read before each system call.
extern atomic_bool strace_any;

// Before a call: what is to be given to strace_leave after it, NULL: nothing (not traced, no
// memory, or the call does not return and was shown). Thread context, no lock held: both touch user
// memory.
struct strace_state *strace_enter(u64 nr, const u64 *a);
void strace_leave(struct strace_state *s, s64 result);

// Trace p and the children it makes from now on, or stop that.
void strace_set(struct process *p, bool on);

#endif
