// What the trap, thread and FPU files share among themselves.
#ifndef X86_64_X86_PRIV_H
#define X86_64_X86_PRIV_H

#include <arch/cpu.h>
#include <arch/trap.h>
#include <k/types.h>

struct thread;

// entry.S
extern char entry_text_start[], entry_text_end[]; // every call from here has a trapframe above it
extern char trap_stubs[];                         // 256, TRAP_STUB_SIZE apart
extern char trap_page_fault_entry[], syscall_entry[];
#define TRAP_STUB_SIZE 16
noreturn_fn void trap_enter_user(struct trapframe *f);

// trap.c, called by entry.S alone. From user mode these return with interrupts off and nothing left
// to do before the return.
void trap_page_fault_user(struct trapframe *f, vaddr_t addr);
void trap_page_fault_kernel(struct trapframe *f, vaddr_t addr);
void trap_user(struct trapframe *f);
void trap_kernel(struct trapframe *f);
void trap_syscall(struct trapframe *f);
void trap_prepare_return(struct trapframe *f);
noreturn_fn void trap_fatal(struct trapframe *f);

// kstack.c: does addr lie in the gap below a kernel stack?
bool kstack_guards(vaddr_t addr);

// cpu.c
// CPU n's stack for double faults gets a gap below it, if there is memory. Before the CPU starts;
// for the boot CPU once there is an allocator.
void trap_guard_ist(unsigned n);
extern bool cpu_has_fsgsbase;     // user code may change its FS and GS base itself
extern bool cpu_has_fast_strings; // `rep stos` and `rep movs` beat a loop

// fpu.c
void fpu_init_cpu(unsigned n);
void fpu_save(struct thread *t);   // registers -> t's area; interrupts off or t is current
void fpu_load(struct thread *t);   // t's area -> registers
int fpu_exception_code(bool simd); // the si_code of a pending floating-point exception
// Bytes of a signal image that the 512-byte part says it has; 0: just the 512 bytes.
size_t fpu_image_len(const void *legacy);
#define FPU_LEGACY_SIZE 512
#define FPU_IMAGE_MAX   2816

// thread.c
u64 user_fs_base_read(const struct thread *t); // t is current
u64 user_gs_base_read(const struct thread *t);

// stop.c: map what the ends of the machine write to. Once, at boot.
void stop_init(void);
#define CONSOLE_PATIENCE 4000000ul // looks at a busy port: seconds; then the text is lost

// uaccess.S
extern char nofault_start[], nofault_end[]; // faults here go straight to their fix-up
bool kernel_probe(u64 addr, u64 *out);

#endif
