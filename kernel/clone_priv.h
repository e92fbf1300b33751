// Between clone.c (the calls, threads) and fork.c (processes).
#ifndef KERNEL_CLONE_PRIV_H
#define KERNEL_CLONE_PRIV_H

#include "proc_priv.h"

struct clone_request {
    u64 flags, sp, tls, parent_tid, child_tid, pidfd;
    u32 exit_signal;
};

// The flags have been checked. The pid or errno.
s64 clone_process(const struct clone_request *rq);

// What a new thread gets from the calling one: mask, affinity, FPU state, registers, thread
// pointer. -EPERM: a thread pointer the CPU refuses.
int clone_registers(const struct clone_request *rq, struct task_ext *child);

#endif
