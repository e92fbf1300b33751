// The soft machine. Interrupts (cross calls) are served at points of the code,
// see soft.h, unless they are off.
#ifndef ASM_CPU_H
#define ASM_CPU_H

#include <k/types.h>
#include <soft.h>

struct thread;

static inline unsigned long arch_percpu_offset(void)
{
    return soft_cpu->percpu_offset;
}
static inline unsigned cpu_id(void)
{
    return soft_cpu->id;
}
static inline struct thread *current_thread(void)
{
    return soft_cpu->current;
}
static inline bool irq_enabled(void)
{
    return !soft_cpu->irq_off;
}
static inline unsigned long irq_save(void)
{
    bool off = soft_cpu->irq_off;
    soft_cpu->irq_off = true;
    return off;
}
static inline void irq_restore(unsigned long off)
{
    soft_cpu->irq_off = off;
}
static inline void cpu_relax(void)
{
    soft_wait();
}

#endif
