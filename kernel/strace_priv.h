// Between strace.c, which prints, and strace_names.c, which knows the calls.
#ifndef STRACE_PRIV_H
#define STRACE_PRIV_H

#include <k/types.h>

// How a call is shown. args: a letter each, see strace.c.
struct strace_call {
    const char *name;
    char ret; // 'd', 'x' an address, 'o' octal, '?' does not return
    const char *args;
};
const struct strace_call *strace_call_find(const char *name); // NULL: not known

struct strace_flag {
    u64 bits;
    const char *name;
};
// The sets of flags by the letter of the argument; NULL: none has it. The list ends with no name.
// The first entry with bits 0 is what 0 is called.
const struct strace_flag *strace_flags(char letter);
const char *strace_errno(u64 err);                // NULL: unknown
const char *strace_signal(u64 sig);               // NULL: unknown or real-time
const char *strace_value(char letter, u64 value); // one of a set: advice, futex operation...

#endif
