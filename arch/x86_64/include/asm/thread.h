// x86_64: what the architecture keeps in struct thread.
#ifndef ASM_THREAD_H
#define ASM_THREAD_H

#include <asm/cpu.h>
#include <k/types.h>

// All fields belong to the thread itself; while it does not run, to whoever switches to it.
struct arch_thread {
    u64 sp;          // saved stack pointer while switched out
    u64 fs_base;     // as of the last switch away
    u64 gs_base;     // user's, likewise
    void *fpu;       // XSAVE area; NULL: kernel thread, its FPU state is nobody's
    int fpu_cpu;     // CPU that last loaded the area into its registers, -1: none
    bool has_canary; // the lowest word of the stack is the canary
};

#define ARCH_ELF_MACHINE 62 // EM_X86_64
#define ARCH_PLATFORM    "x86_64"

// CPUID 1's EDX, as Linux does.
static inline u64 arch_hwcap(unsigned n)
{
    return n == 0 ? cpuid(1, 0).d : 0;
}

#endif
