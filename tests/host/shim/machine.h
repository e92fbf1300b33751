// Host tests of the allocators: a machine of some RAM and some CPUs (threads).
#ifndef HOST_MACHINE_H
#define HOST_MACHINE_H

#include <setjmp.h>
#include <k/types.h>

// RAM [0, bytes) and n CPUs; the caller becomes CPU 0. bootinfo lists all of RAM but for a hole in
// the middle. Once a process.
void host_machine_init(size_t bytes, unsigned n);
void host_cpu_enter(unsigned cpu);
// What page_drain_all asked of this CPU. These CPUs may be nobody's thread, so unlike the kernel's
// (mm/drain.c, which runs on the soft machine) it asks and does not wait.
void host_safe_point(void);
// Run fn on a thread a CPU, CPU 0 included, and wait.
void host_cpus_run(void (*fn)(unsigned cpu));

// Expect stmt to panic: true if it did. What it held (locks) stays held.
extern jmp_buf *host_panic_jump;
extern char host_panic_text[256];
#define host_panics(stmt)                                                                          \
    ({                                                                                             \
        jmp_buf jump_;                                                                             \
        volatile bool panicked_ = true;                                                            \
        if (setjmp(jump_) == 0) {                                                                  \
            host_panic_jump = &jump_;                                                              \
            stmt;                                                                                  \
            panicked_ = false;                                                                     \
        }                                                                                          \
        host_panic_jump = NULL;                                                                    \
        panicked_;                                                                                 \
    })

#endif
