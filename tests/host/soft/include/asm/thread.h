// The soft machine: threads never leave their CPU.
#ifndef ASM_THREAD_H
#define ASM_THREAD_H

struct arch_thread {
    int none;
};

#endif
