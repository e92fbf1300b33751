// Signal frames, in the layout that x86_64 Linux programs know (its uapi headers asm/sigcontext.h
// and asm/ucontext.h; "System V ABI, AMD64", 3.2.2 for the red zone):
//
//     higher addresses
//     | the interrupted stack, its 128-byte red zone |   or the top of the alternate stack
//     | FPU image, 64-byte aligned                   |   see fpu.c
//     | siginfo                                      |
//     | ucontext: registers, mask                    |
//     | return address: the restorer                 |   <- rsp; rsp + 8 is 16-byte aligned
//
// The handler returns into the restorer, which calls rt_sigreturn with rsp just above the return
// address. User code may have written anything into the frame meanwhile. Loading it back cannot
// harm the kernel: segments are constants, privileged flags are masked, the instruction pointer
// goes through trap_set_ip(), and the FPU image is checked before and by the CPU.
//
// The vector becomes TRAP_NONE in both directions: the frame no longer says how the kernel was
// entered, so no system call is restarted twice, and the return uses iret, which restores rcx and
// r11.
#include <arch/thread.h>
#include <arch/trap.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/string.h>
#include <signal.h>
#include "x86_priv.h"

#define RED_ZONE 128

#define UC_FP_XSTATE         1 // the FPU image has the extended part
#define UC_SIGCONTEXT_SS     2 // the context holds ss
#define UC_STRICT_RESTORE_SS 4

// Flags that user code may set.
#define RFLAGS_USER (RFLAGS_STATUS | RFLAGS_TF | RFLAGS_DF | RFLAGS_RF | RFLAGS_AC | RFLAGS_ID)

struct signal_context {
    u64 r8, r9, r10, r11, r12, r13, r14, r15;
    u64 rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
    u16 cs, gs, fs, ss;
    u64 err, trapno, oldmask, cr2;
    u64 fpstate; // user address, 0: none
    u64 reserved[8];
};

struct signal_ucontext {
    u64 flags, link;
    struct uapi_stack stack;
    struct signal_context regs;
    u64 mask;
};

struct signal_frame {
    u64 return_address;
    struct signal_ucontext uc;
    struct uapi_siginfo info;
};
_Static_assert(sizeof(struct signal_context) == 256, "the Linux ABI");
_Static_assert(sizeof(struct signal_frame) == 440, "the Linux ABI");

// clang-format off
static void context_save(struct signal_context *c, const struct trapframe *f, u64 fault_addr)
{
    bool trap = f->vector < TRAP_IRQ_FIRST;
    *c = (struct signal_context){
        .r8 = f->r8, .r9 = f->r9, .r10 = f->r10, .r11 = f->r11,
        .r12 = f->r12, .r13 = f->r13, .r14 = f->r14, .r15 = f->r15,
        .rdi = f->rdi, .rsi = f->rsi, .rbp = f->rbp, .rbx = f->rbx,
        .rdx = f->rdx, .rax = f->rax, .rcx = f->rcx, .rsp = f->rsp,
        .rip = f->rip, .rflags = f->rflags,
        .cs = SEL_USER_CODE, .ss = SEL_USER_DATA,
        .err = trap ? f->error : 0,
        .trapno = trap ? f->vector : 0,
        .cr2 = f->vector == TRAP_PF ? fault_addr : 0,
    };
}

static void context_load(const struct signal_context *c, struct trapframe *f)
{
    *f = (struct trapframe){
        .r8 = c->r8, .r9 = c->r9, .r10 = c->r10, .r11 = c->r11,
        .r12 = c->r12, .r13 = c->r13, .r14 = c->r14, .r15 = c->r15,
        .rdi = c->rdi, .rsi = c->rsi, .rbp = c->rbp, .rbx = c->rbx,
        .rdx = c->rdx, .rax = c->rax, .rcx = c->rcx, .rsp = c->rsp,
        .rflags = (c->rflags & RFLAGS_USER) | RFLAGS_IF | 2,
        .vector = TRAP_NONE, .cs = SEL_USER_CODE, .ss = SEL_USER_DATA,
    };
    trap_set_ip(f, c->rip);
}
// clang-format on

// The FPU state at or below sp; its address is stored.
static noinline int fpu_push(u64 sp, u64 *addr)
{
    u8 image[FPU_IMAGE_MAX] __attribute__((aligned(64)));
    size_t size = arch_fpu_image_size();
    *addr = align_down(sp - size, 64);
    arch_fpu_save_image(image);
    return arch_copy_to_user((void *)*addr, image, size) ? -EFAULT : 0;
}

static noinline int fpu_pop(u64 addr)
{
    u8 image[FPU_IMAGE_MAX] __attribute__((aligned(64)));
    size_t size = FPU_LEGACY_SIZE;
    if (arch_copy_from_user(image, (void *)addr, FPU_LEGACY_SIZE)) {
        return -EFAULT;
    }
    size_t whole = fpu_image_len(image);
    if (whole != 0) {
        size_t rest = whole - FPU_LEGACY_SIZE;
        if (arch_copy_from_user(image + size, (void *)(addr + size), rest)) {
            return -EFAULT;
        }
        size = whole;
    }
    return arch_fpu_load_image(image, size) ? -EFAULT : 0;
}

int arch_signal_push(struct trapframe *f, int sig, const struct ksiginfo *info,
                     const struct sigaction_k *sa, u64 old_mask, u64 sp_altstack_or_0,
                     u64 sp_lowest)
{
    struct signal_frame frame = {.return_address = sa->restorer};
    u64 sp = sp_altstack_or_0 ? sp_altstack_or_0 : f->rsp - RED_ZONE;
    u64 fpstate;
    // All of the frame, with the most that alignment can take.
    u64 need = arch_fpu_image_size() + 64 + sizeof(frame) + 16 + 8;
    if (sp < need || sp - need < sp_lowest) {
        return -EFAULT;
    }
    if (!(sa->flags & SA_RESTORER) || fpu_push(sp, &fpstate)) {
        return -EFAULT;
    }
    sp = align_down(fpstate - sizeof(frame), 16) - 8;

    frame.uc.flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    frame.uc.flags |= arch_fpu_image_size() > FPU_LEGACY_SIZE ? UC_FP_XSTATE : 0;
    frame.uc.mask = old_mask;
    signal_altstack_save(&frame.uc.stack);
    siginfo_to_user(&frame.info, info);
    context_save(&frame.uc.regs, f, info->addr);
    frame.uc.regs.fpstate = fpstate;
    frame.uc.regs.oldmask = old_mask;
    if (arch_copy_to_user((void *)sp, &frame, sizeof(frame))) {
        return -EFAULT;
    }

    arch_fpu_reset_current();
    f->rdi = (u64)sig;
    f->rsi = sp + offsetof(struct signal_frame, info);
    f->rdx = sp + offsetof(struct signal_frame, uc);
    f->rax = 0;
    f->rsp = sp;
    f->rflags &= ~(RFLAGS_TF | RFLAGS_DF | RFLAGS_RF);
    f->vector = TRAP_NONE;
    trap_set_ip(f, sa->handler);
    return 0;
}

int arch_signal_pop(struct trapframe *f, u64 *old_mask)
{
    struct signal_ucontext uc;
    u64 at = f->rsp - sizeof(u64) + offsetof(struct signal_frame, uc);
    if (arch_copy_from_user(&uc, (void *)at, sizeof(uc))) {
        return -EFAULT;
    }
    if (uc.regs.fpstate == 0) {
        arch_fpu_reset_current();
    } else if (fpu_pop(uc.regs.fpstate)) {
        return -EFAULT;
    }
    context_load(&uc.regs, f);
    signal_altstack_restore(&uc.stack);
    *old_mask = uc.mask;
    return 0;
}
