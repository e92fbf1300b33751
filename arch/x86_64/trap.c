// Traps, reduced to what portable code knows: a page fault becomes handle_page_fault(), a system
// call syscall_dispatch(), an interrupt irq_interrupt(), and everything else a signal for the user
// program that did it, or a panic.
//
// The page fault path is kept short: entry.S pushes the registers and comes here, one call away
// from mm/fault.c; the way back tests one condition. CR2 is read in entry.S while interrupts are
// off, since a fault taken later would overwrite it.
//
// A kernel-mode fault is legal at instructions that the exception table lists, on user addresses
// only: a listed instruction that faults on a kernel address was handed a bad pointer by the kernel
// itself. The exception are the functions from nofault_start on in uaccess.S: theirs go to the
// fix-up at once, because the caller holds a spinlock, or (kernel_probe, in a backtrace) suspects
// the pointer.
//
// Interrupts are on during handle_page_fault() if they were on before: it may sleep.
#include <arch/boot.h>
#include <asm/uaccess.h>
#include <k/assert.h>
#include <k/printk.h>
#include <ksyms.h>
#include <sched.h>
#include <signal.h>
#include "irq.h"
#include "x86_priv.h"

// The page fault's error code
#define PF_WRITE    (1u << 1)
#define PF_RESERVED (1u << 3) // a reserved bit was set: a broken page table
#define PF_FETCH    (1u << 4)

static const struct exception {
    const char *name;
    int sig, code;
    bool addr_is_ip; // what si_addr says: the instruction, or nothing
} exceptions[TRAP_IRQ_FIRST] = {
    [TRAP_DE] = {"divide error", SIGFPE, FPE_INTDIV, true},
    [TRAP_DB] = {"debug trap", SIGTRAP, TRAP_TRACE, true},
    [TRAP_NMI] = {"NMI", 0, 0, false},
    [TRAP_BP] = {"breakpoint", SIGTRAP, SI_KERNEL, false},
    [TRAP_OF] = {"overflow", SIGSEGV, SI_KERNEL, false},
    [TRAP_BR] = {"bound exceeded", SIGSEGV, SI_KERNEL, false},
    [TRAP_UD] = {"invalid opcode", SIGILL, ILL_ILLOPN, true},
    [TRAP_DF] = {"double fault", 0, 0, false},
    [TRAP_NP] = {"segment not present", SIGBUS, SI_KERNEL, false},
    [TRAP_SS] = {"stack segment fault", SIGBUS, SI_KERNEL, false},
    [TRAP_GP] = {"general protection fault", SIGSEGV, SI_KERNEL, false},
    [TRAP_PF] = {"page fault", SIGSEGV, SI_KERNEL, false},
    [TRAP_MF] = {"x87 exception", SIGFPE, 0, true},
    [TRAP_AC] = {"alignment check", SIGBUS, BUS_ADRALN, false},
    [TRAP_MC] = {"machine check", 0, 0, false},
    [TRAP_XM] = {"SIMD exception", SIGFPE, 0, true},
};

u64 ex_table_find(u64 ip)
{
    for (const struct ex_entry *e = ex_table_start; e < ex_table_end; e++) {
        if (e->insn == ip) {
            return e->fixup;
        }
    }
    return 0;
}

struct trapframe *current_trapframe(void)
{
    char *top = (char *)current_thread()->kstack + KSTACK_SIZE;
    return (struct trapframe *)(top - sizeof(struct trapframe));
}

static unsigned fault_access_of(u64 error)
{
    if (error & PF_WRITE) {
        return FAULT_WRITE;
    }
    return error & PF_FETCH ? FAULT_EXEC : FAULT_READ;
}

// Leaves interrupts off, so that nothing can become pending before the return instruction.
static inline void prepare_return(struct trapframe *f)
{
    irq_disable();
    while (unlikely(return_to_user_pending())) {
        irq_enable();
        return_to_user_work(f);
        irq_disable();
    }
}

void trap_prepare_return(struct trapframe *f)
{
    prepare_return(f);
}

static vaddr_t cr2_read(void)
{
    vaddr_t cr2;
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    return cr2;
}

static void overflow_fatal(const struct trapframe *f, vaddr_t addr)
{
    if (kstack_guards(addr)) {
        const struct thread *t = current_thread();
        panic("kernel stack overflow: thread %s, address %p, instruction %p", t ? t->name : "none",
              (void *)addr, (void *)f->rip);
    }
}

static noreturn_fn cold void page_fault_fatal(struct trapframe *f, vaddr_t addr)
{
    CPU_BLOCK_WRITE(panic_frame, f);
    overflow_fatal(f, addr);
    const char *what = f->error & PF_RESERVED ? "page table broken, fault" : "kernel page fault";
    panic("%s at %p, instruction %p, error code %lx", what, (void *)addr, (void *)f->rip, f->error);
}

noreturn_fn cold void trap_fatal(struct trapframe *f)
{
    const char *name = f->vector < TRAP_IRQ_FIRST ? exceptions[f->vector].name : NULL;
    CPU_BLOCK_WRITE(panic_frame, f);
    if (f->vector == TRAP_DF) { // of a page fault whose frame found no room: CR2 says where
        overflow_fatal(f, cr2_read());
    }
    panic("%s in %s mode at %p, vector %lu, error code %lx", name ? name : "unexpected trap",
          trap_from_user(f) ? "user" : "kernel", (void *)f->rip, f->vector, f->error);
}

void trap_page_fault_user(struct trapframe *f, vaddr_t addr) // DOC: page-fault-entry
{
    if (unlikely(f->error & PF_RESERVED)) {
        page_fault_fatal(f, addr);
    }
    irq_enable();
    (void)handle_page_fault(addr, fault_access_of(f->error), true);
    prepare_return(f);
}

void trap_page_fault_kernel(struct trapframe *f, vaddr_t addr)
{
    u64 fixup = ex_table_find(f->rip);
    bool nofault = f->rip >= (u64)nofault_start && f->rip < (u64)nofault_end;
    if (fixup == 0 || (addr >= USER_END && !nofault) || (f->error & PF_RESERVED)) {
        page_fault_fatal(f, addr);
    }
    if (!nofault) {
        bool irqs_were_on = f->rflags & RFLAGS_IF;
        if (irqs_were_on) {
            irq_enable();
        }
        bool handled = handle_page_fault(addr, fault_access_of(f->error), false);
        irq_disable();
        if (handled) {
            return;
        }
    }
    f->rip = fixup;
}

static void exception_user(struct trapframe *f)
{
    const struct exception *e = &exceptions[f->vector];
    int sig = e->sig, code = e->code;
    if (f->vector == TRAP_MF || f->vector == TRAP_XM) {
        code = fpu_exception_code(f->vector == TRAP_XM);
    }
    if (e->name == NULL) { // reserved vectors, and those that nothing here enables
        sig = SIGSEGV;
        code = SI_KERNEL;
    }
    irq_enable();
    force_signal_fault(sig, code, e->addr_is_ip ? f->rip : 0);
}

void trap_user(struct trapframe *f)
{
    if (f->vector >= VEC_EXTERNAL) {
        irq_interrupt((unsigned)f->vector, true);
    } else {
        exception_user(f);
    }
    prepare_return(f);
}

void trap_kernel(struct trapframe *f)
{
    if (f->vector >= VEC_EXTERNAL) {
        irq_interrupt((unsigned)f->vector, false);
        return;
    }
    u64 fixup = ex_table_find(f->rip);
    if (fixup == 0) {
        trap_fatal(f);
    }
    f->rip = fixup;
}

void trap_syscall(struct trapframe *f)
{
    irq_enable();
    syscall_dispatch(f);
    prepare_return(f);
}

static void regs_print(const struct trapframe *f)
{
    const char *name;
    u64 off;
    if (!trap_from_user(f) && ksym_lookup(f->rip, &name, &off)) {
        printk("rip %016lx  %s+0x%lx\n", f->rip, name, off);
    } else {
        printk("rip %016lx\n", f->rip);
    }
    printk("rsp %016lx rflags %08lx cs %02lx ss %02lx cr2 %016lx\n", f->rsp, f->rflags, f->cs,
           f->ss, cr2_read());
    printk("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", f->rax, f->rbx, f->rcx, f->rdx);
    printk("rsi %016lx rdi %016lx rbp %016lx r8  %016lx\n", f->rsi, f->rdi, f->rbp, f->r8);
    printk("r9  %016lx r10 %016lx r11 %016lx r12 %016lx\n", f->r9, f->r10, f->r11, f->r12);
    printk("r13 %016lx r14 %016lx r15 %016lx\n", f->r13, f->r14, f->r15);
}

// No trap and no user thread: what of the panicking code's registers is still what it was.
static void regs_print_here(void)
{
    u64 rsp, rbp, rbx, r12, r13, r14, r15, rflags, cr2, cr3;
    __asm__ volatile("mov %%rsp, %0; mov %%rbp, %1; mov %%rbx, %2; mov %%r12, %3; mov %%r13, %4"
                     : "=r"(rsp), "=r"(rbp), "=r"(rbx), "=r"(r12), "=r"(r13));
    __asm__ volatile("mov %%r14, %0; mov %%r15, %1; pushfq; pop %2; mov %%cr2, %3; mov %%cr3, %4"
                     : "=r"(r14), "=r"(r15), "=r"(rflags), "=r"(cr2), "=r"(cr3));
    printk("rsp %016lx rbp %016lx rflags %08lx cr2 %016lx cr3 %016lx\n", rsp, rbp, rflags, cr2,
           cr3);
    printk("rbx %016lx r12 %016lx r13 %016lx r14 %016lx r15 %016lx\n", rbx, r12, r13, r14, r15);
}

void arch_print_regs(void)
{
    const struct trapframe *f = CPU_BLOCK_READ(panic_frame);
    const struct thread *t = current_thread();
    if (f != NULL) {
        regs_print(f);
    } else if (t != NULL && t->proc != NULL) {
        printk("registers at the last entry from user mode:\n");
        regs_print(current_trapframe());
    } else {
        regs_print_here();
    }
}
