// Names of kernel functions, for backtraces. The tables are made by the build's second link.
#ifndef KSYMS_H
#define KSYMS_H

#include <k/types.h>

// The function that contains addr: its name and the distance from its start. False: unknown. Any
// context, no lock.
bool ksym_lookup(u64 addr, const char **name, u64 *off);

#endif
