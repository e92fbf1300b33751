// Walking the stack by frame pointers: [rbp] is the caller's rbp, [rbp + 8] the return address.
//
// A call from entry.S has a struct trapframe right above its return address; if the trap came from
// kernel code, the interrupted instruction is reported, too. A user frame ends the walk, as does a
// zero frame pointer (thread_start_kernel), one that does not lead upwards, or memory that is not
// there.
#include <arch/boot.h>
#include <arch/mmu.h>
#include "x86_priv.h"

#define MAX_DEPTH 64

static bool frame_plausible(u64 fp)
{
    return fp >= DIRECT_MAP_BASE && (fp & 7) == 0 && fp < ~0ul - sizeof(struct trapframe) - 16;
}

void arch_backtrace(u64 fp, void (*fn)(void *, u64 addr), void *arg)
{
    u64 ret, next, cs, rip;
    if (fp == 0) {
        fp = (u64)__builtin_frame_address(0);
    }
    for (unsigned depth = 0; depth < MAX_DEPTH && frame_plausible(fp); depth++) {
        if (!kernel_probe(fp, &next) || !kernel_probe(fp + 8, &ret) || ret == 0) {
            return;
        }
        fn(arg, ret - 1); // inside the call: behind one that never returns is another function
        if (ret >= (u64)entry_text_start && ret < (u64)entry_text_end) {
            u64 frame = fp + 16;
            if (!kernel_probe(frame + TRAPFRAME_CS, &cs) || (cs & 3) != 0 ||
                !kernel_probe(frame + TRAPFRAME_RIP, &rip)) {
                return;
            }
            fn(arg, rip);
        }
        if (next <= fp) {
            return;
        }
        fp = next;
    }
}
