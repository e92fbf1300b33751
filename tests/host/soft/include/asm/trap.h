// The soft machine: mm_fault() is called directly.
#ifndef ASM_TRAP_H
#define ASM_TRAP_H

struct trapframe {
    int none;
};

#endif
