// Host stand-in for arch/trap.h: nothing traps here.
#ifndef ARCH_TRAP_H
#define ARCH_TRAP_H

struct trapframe;

enum fault_access {
    FAULT_READ = 1,
    FAULT_WRITE = 2,
    FAULT_EXEC = 4,
};

#endif
