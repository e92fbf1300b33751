// FPU, SSE, AVX: state that belongs to user code alone. The kernel is compiled without these
// registers, so they change hands only at a thread switch (thread.c), and a fault or system call
// touches nothing here.
//
// Each user thread has an XSAVE area in the standard (not compacted) format, which is also the
// format of signal frames. The area is current while the thread is switched out; while it runs the
// registers are. XSAVEOPT writes only what is not in its initial state, so a thread that uses no
// AVX pays little. A CPU without XSAVE has the 512 bytes of FXSAVE instead.
//
// Everything the CPU offers up to AVX-512 is enabled. Left out: MPX (gone), PKRU (needs a system
// call interface), AMX (8 KiB per thread; Linux, too, gives it only to those who ask).
//
// An area is one page: its size is known only at run time but always fits, alignment is right, and
// a thread needs four pages for its stack anyway.
#include <arch/thread.h>
#include <asm/uaccess.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/string.h>
#include <page.h>
#include <sched.h>
#include <uapi/signal.h>
#include "x86_priv.h"

#define CPUID_1_C_XSAVE       (1u << 26)
#define CPUID_D1_A_XSAVEOPT   (1u << 0)
#define XF_LEGACY             3ul // x87, SSE
#define XF_AVX                (1ul << 2)
#define XF_AVX512             (7ul << 5)
#define FCW_INITIAL           0x37f
#define MXCSR_INITIAL         0x1f80
#define MXCSR_MASK_DEFAULT    0xffbf
#define FP_XSTATE_MAGIC1      0x46505853u
#define FP_XSTATE_MAGIC2      0x46505845u
#define FP_XSTATE_MAGIC2_SIZE 4

// What an image in a signal frame says about itself, in the bytes the CPU leaves to software.
struct image_note {
    u32 magic1;
    u32 image_size; // magic2 included
    u64 xfeatures;
    u32 xstate_size; // magic2 follows there
    u32 zero[7];
};

struct legacy_area {
    u16 fcw, fsw;
    u8 ftw, zero;
    u16 fop;
    u64 fip, fdp;
    u32 mxcsr, mxcsr_mask;
    u8 registers[432];
    struct image_note note;
};
_Static_assert(sizeof(struct legacy_area) == FPU_LEGACY_SIZE, "FXSAVE");

struct xsave_area {
    struct legacy_area legacy;
    u64 xstate_bv, xcomp_bv, zero[6];
    u8 extended[];
};

// Set once by the boot CPU; all CPUs are taken to be alike.
static bool have_xsave, have_xsaveopt;
static u64 xfeatures = XF_LEGACY;
static size_t area_size = FPU_LEGACY_SIZE;
static u32 mxcsr_mask = MXCSR_MASK_DEFAULT;
static u8 initial_bytes[PAGE_SIZE] __attribute__((aligned(64))); // a xsave_area as a thread starts

static void area_save(void *area, bool all)
{
    u32 lo = (u32)xfeatures, hi = (u32)(xfeatures >> 32);
    if (!have_xsave) {
        __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
    } else if (have_xsaveopt && !all) {
        __asm__ volatile("xsaveopt64 (%0)" ::"r"(area), "a"(lo), "d"(hi) : "memory");
    } else {
        __asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(lo), "d"(hi) : "memory");
    }
}

// False: the CPU refused the contents (general protection fault), the registers are unchanged.
static bool area_load(const void *area)
{
    u32 lo = (u32)xfeatures, hi = (u32)(xfeatures >> 32);
    int refused = 0;
    if (!have_xsave) {
        __asm__ volatile("1: fxrstor64 (%1)\n"
                         "jmp 3f\n"
                         "2: mov $1, %0\n"
                         "3:\n" EX_TABLE("1b", "2b")
                         : "+r"(refused)
                         : "r"(area)
                         : "memory");
    } else {
        __asm__ volatile("1: xrstor64 (%1)\n"
                         "jmp 3f\n"
                         "2: mov $1, %0\n"
                         "3:\n" EX_TABLE("1b", "2b")
                         : "+r"(refused)
                         : "r"(area), "a"(lo), "d"(hi)
                         : "memory");
    }
    return !refused;
}

static void features_detect(void)
{
    struct legacy_area *initial = (struct legacy_area *)initial_bytes;
    have_xsave = cpuid(1, 0).c & CPUID_1_C_XSAVE;
    if (have_xsave) {
        struct cpuid d = cpuid(0xd, 0);
        u64 offered = (u64)d.d << 32 | d.a;
        xfeatures |= offered & XF_AVX;
        if ((xfeatures & XF_AVX) && (offered & XF_AVX512) == XF_AVX512) {
            xfeatures |= XF_AVX512;
        }
        have_xsaveopt = cpuid(0xd, 1).a & CPUID_D1_A_XSAVEOPT;
    }
    __asm__ volatile("fxsave64 (%0)" ::"r"(initial) : "memory");
    if (initial->mxcsr_mask != 0) {
        mxcsr_mask = initial->mxcsr_mask;
    }
    memset(initial, 0, sizeof(*initial));
    initial->fcw = FCW_INITIAL;
    initial->mxcsr = MXCSR_INITIAL;
    initial->mxcsr_mask = mxcsr_mask;
}

void fpu_init_cpu(unsigned n)
{
    if (n == 0) {
        features_detect();
    }
    if (have_xsave) {
        __asm__ volatile("xsetbv" ::"c"(0), "a"((u32)xfeatures), "d"((u32)(xfeatures >> 32)));
    }
    if (have_xsave && n == 0) {
        area_size = cpuid(0xd, 0).b; // for what is enabled now
    }
    assert(area_size + FP_XSTATE_MAGIC2_SIZE <= FPU_IMAGE_MAX);
    __asm__ volatile("fninit");
    area_load(initial_bytes);
}

void fpu_save(struct thread *t)
{
    area_save(t->arch.fpu, false);
}

void fpu_load(struct thread *t)
{
    if (!area_load(t->arch.fpu)) {
        panic("FPU state of %s is corrupt", t->name);
    }
}

int arch_fpu_alloc(struct thread *t)
{
    struct page *p = page_alloc(GFP_KERNEL);
    if (p == NULL) {
        return -ENOMEM;
    }
    memcpy(page_addr(p), initial_bytes, PAGE_SIZE);
    t->arch.fpu_cpu = -1;
    t->arch.fpu = page_addr(p);
    return 0;
}

void arch_fpu_free(struct thread *t)
{
    if (t->arch.fpu != NULL) {
        struct page *p = virt_to_page(t->arch.fpu);
        t->arch.fpu = NULL;
        t->arch.fpu_cpu = -1;
        page_free(p);
    }
}

void arch_fpu_copy_current(struct thread *t)
{
    struct thread *self = current_thread();
    if (self->arch.fpu != NULL) {
        area_save(t->arch.fpu, true);
        t->arch.fs_base = user_fs_base_read(self);
        t->arch.gs_base = user_gs_base_read(self);
        t->arch.fpu_cpu = -1;
    }
}

void arch_fpu_reset_current(void)
{
    area_load(initial_bytes);
    if (current_thread()->arch.fpu != NULL) {
        area_save(current_thread()->arch.fpu, true);
    }
}

size_t arch_fpu_image_size(void)
{
    return area_size + (have_xsave ? FP_XSTATE_MAGIC2_SIZE : 0);
}

void arch_fpu_save_image(void *buf)
{
    struct legacy_area *to = buf;
    void *area = current_thread()->arch.fpu;
    area_save(area, true);
    memcpy(buf, area, area_size);
    to->note = (struct image_note){0};
    if (have_xsave) {
        u32 magic2 = FP_XSTATE_MAGIC2;
        to->note.magic1 = FP_XSTATE_MAGIC1;
        to->note.image_size = (u32)arch_fpu_image_size();
        to->note.xfeatures = xfeatures;
        to->note.xstate_size = (u32)area_size;
        memcpy((char *)buf + area_size, &magic2, sizeof(magic2));
    }
}

size_t fpu_image_len(const void *legacy)
{
    const struct image_note *note = &((const struct legacy_area *)legacy)->note;
    bool whole = have_xsave && note->magic1 == FP_XSTATE_MAGIC1 && note->xstate_size == area_size &&
                 note->image_size == arch_fpu_image_size();
    return whole ? arch_fpu_image_size() : 0;
}

// Whether the part behind the legacy area is what XRSTOR accepts.
static bool image_header_valid(const struct xsave_area *x)
{
    u64 reserved = x->xcomp_bv;
    for (size_t i = 0; i < array_size(x->zero); i++) {
        reserved |= x->zero[i];
    }
    return reserved == 0 && (x->xstate_bv & ~xfeatures) == 0;
}

// buf is aligned to 64. An image without the extended part sets the legacy registers and resets the
// others, as on Linux.
int arch_fpu_load_image(const void *buf, size_t len)
{
    const struct xsave_area *x = buf;
    u32 magic2 = 0;
    if (((u64)buf & 63) != 0 || len < FPU_LEGACY_SIZE || (x->legacy.mxcsr & ~mxcsr_mask) != 0) {
        return -EINVAL;
    }
    if (!have_xsave) {
        return area_load(buf) ? 0 : -EINVAL;
    }
    if (len >= arch_fpu_image_size()) {
        memcpy(&magic2, (const char *)buf + area_size, sizeof(magic2));
    }
    if (magic2 == FP_XSTATE_MAGIC2) {
        return image_header_valid(x) && area_load(buf) ? 0 : -EINVAL;
    }
    area_load(initial_bytes);
    __asm__ volatile("fxrstor64 (%0)" ::"r"(buf) : "memory");
    return 0;
}

int fpu_exception_code(bool simd)
{
    u32 mxcsr;
    u16 fsw, fcw;
    unsigned raised;
    if (simd) {
        __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
        raised = mxcsr & ~(mxcsr >> 7) & 0x3f;
    } else {
        __asm__ volatile("fnstsw %0; fnstcw %1" : "=m"(fsw), "=m"(fcw));
        raised = fsw & ~fcw & 0x3f;
    }
    if (raised & 1) {
        return FPE_FLTINV;
    }
    if (raised & 4) {
        return FPE_FLTDIV;
    }
    if (raised & 8) {
        return FPE_FLTOVF;
    }
    return raised & 0x12 ? FPE_FLTUND : FPE_FLTRES; // denormal operand, underflow; inexact
}
