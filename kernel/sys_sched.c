// The system calls of scheduling. There is one policy, SCHED_OTHER, without priorities; for nice
// values see sys_prio.c.
#include <arch/smp.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <mm.h>
#include <proc.h>
#include <sched.h>
#include <smp.h>
#include <syscalls.h>
#include <uapi/sched.h>
#include <uapi/time.h>

#include "proc_priv.h"

s64 sys_sched_yield(const u64 *a)
{
    (void)a;
    sched_yield();
    return 0;
}

static u64 online_mask(void)
{
    return nr_cpus >= 64 ? ~0ull : (1ull << nr_cpus) - 1;
}

// 0: the thread exists; affinity may be NULL.
static int affinity_of(s32 tid, u64 *affinity)
{
    struct task_ext *self = current_task();

    if (tid < 0) {
        return -EINVAL;
    }
    return task_affinity(tid ? tid : self->tid, affinity, NULL);
}

s64 sys_sched_setaffinity(const u64 *a)
{
    u64 mask = 0, len = min(a[1], (u64)sizeof(mask));
    struct task_ext *self = current_task();
    s32 tid = (s32)a[0];

    if (arch_copy_from_user(&mask, (const void *)a[2], len)) {
        return -EFAULT;
    }
    if (tid < 0) {
        return -ESRCH;
    }
    mask &= online_mask();
    if (!mask) {
        return -EINVAL;
    }
    if (tid == 0 || tid == self->tid) {
        return sched_set_affinity(self->thread, mask);
    }
    return task_affinity(tid, NULL, &mask);
}

// The result is the size of the kernel's mask in bytes; the rest of the buffer is the C library's.
s64 sys_sched_getaffinity(const u64 *a)
{
    u64 mask;
    int err;

    if (a[1] < sizeof(mask) || (a[1] & 7)) {
        return -EINVAL;
    }
    if ((s32)a[0] < 0) {
        return -ESRCH;
    }
    err = affinity_of((s32)a[0], &mask);
    if (err) {
        return err;
    }
    mask &= online_mask();
    return arch_copy_to_user((void *)a[2], &mask, sizeof(mask)) ? -EFAULT : (s64)sizeof(mask);
}

s64 sys_sched_getscheduler(const u64 *a)
{
    int err = affinity_of((s32)a[0], NULL);

    return err ? err : SCHED_OTHER;
}

s64 sys_sched_getparam(const u64 *a)
{
    s32 priority = 0;
    int err = a[1] ? affinity_of((s32)a[0], NULL) : -EINVAL;

    if (err) {
        return err;
    }
    return arch_copy_to_user((void *)a[1], &priority, sizeof(priority)) ? -EFAULT : 0;
}

static s64 policy_set(s32 tid, int policy, u64 param)
{
    s32 priority;
    int err = param ? affinity_of(tid, NULL) : -EINVAL;

    if (err) {
        return err;
    }
    if (arch_copy_from_user(&priority, (const void *)param, sizeof(priority))) {
        return -EFAULT;
    }
    if (policy == SCHED_FIFO || policy == SCHED_RR) {
        return syscall_missing("real-time scheduling", -EPERM);
    }
    if (policy != SCHED_OTHER && policy != SCHED_BATCH && policy != SCHED_IDLE) {
        return -EINVAL;
    }
    return priority ? -EINVAL : 0;
}

s64 sys_sched_setscheduler(const u64 *a)
{
    return policy_set((s32)a[0], (int)a[1], a[2]);
}

s64 sys_sched_setparam(const u64 *a)
{
    return policy_set((s32)a[0], SCHED_OTHER, a[1]);
}

struct uapi_sched_attr {
    u32 size, policy;
    u64 flags;
    s32 nice;
    u32 priority;
    u64 runtime, deadline, period;
    u32 util_min, util_max;
};
#define SCHED_ATTR_SIZE_MIN 48

// What it is set to is checked, and then the default is what it stays.
s64 sys_sched_setattr(const u64 *a)
{
    struct uapi_sched_attr attr = {0};
    u32 size;
    int err;

    if (!a[1] || (s32)a[0] < 0 || a[2]) {
        return -EINVAL;
    }
    if (arch_copy_from_user(&size, (const void *)a[1], sizeof(size))) {
        return -EFAULT;
    }
    size = size ? size : SCHED_ATTR_SIZE_MIN;
    if (size < SCHED_ATTR_SIZE_MIN || size > sizeof(attr)) {
        return -E2BIG;
    }
    if (arch_copy_from_user(&attr, (const void *)a[1], size)) {
        return -EFAULT;
    }
    err = affinity_of((s32)a[0], NULL);
    if (err) {
        return err;
    }
    if (attr.policy == SCHED_FIFO || attr.policy == SCHED_RR || attr.policy == SCHED_DEADLINE) {
        return syscall_missing("real-time scheduling", -EPERM);
    }
    if (attr.policy != SCHED_OTHER && attr.policy != SCHED_BATCH && attr.policy != SCHED_IDLE) {
        return -EINVAL;
    }
    return attr.priority ? -EINVAL : 0;
}

s64 sys_sched_getattr(const u64 *a)
{
    struct uapi_sched_attr attr = {.policy = SCHED_OTHER, .util_max = 1024};
    int err;

    if (!a[1] || (s32)a[0] < 0 || a[3] || (u32)a[2] < SCHED_ATTR_SIZE_MIN || a[2] > PAGE_SIZE) {
        return -EINVAL;
    }
    err = affinity_of((s32)a[0], NULL);
    if (err) {
        return err;
    }
    attr.size = min((u32)a[2], (u32)sizeof(attr));
    return arch_copy_to_user((void *)a[1], &attr, attr.size) ? -EFAULT : 0;
}

static s64 priority_limit(int policy, s64 realtime)
{
    switch (policy) {
    case SCHED_FIFO:
    case SCHED_RR:
        return realtime;
    case SCHED_OTHER:
    case SCHED_BATCH:
    case SCHED_IDLE:
        return 0;
    default:
        return -EINVAL;
    }
}

s64 sys_sched_get_priority_max(const u64 *a)
{
    return priority_limit((int)a[0], 99);
}

s64 sys_sched_get_priority_min(const u64 *a)
{
    return priority_limit((int)a[0], 1);
}

s64 sys_sched_rr_get_interval(const u64 *a)
{
    struct uapi_timespec ts = {0, 4000000};
    int err = affinity_of((s32)a[0], NULL);

    if (err) {
        return err;
    }
    return arch_copy_to_user((void *)a[1], &ts, sizeof(ts)) ? -EFAULT : 0;
}

s64 sys_getcpu(const u64 *a)
{
    u32 cpu = cpu_id(), node = 0;

    if (a[0] && arch_copy_to_user((void *)a[0], &cpu, sizeof(cpu))) {
        return -EFAULT;
    }
    return a[1] && arch_copy_to_user((void *)a[1], &node, sizeof(node)) ? -EFAULT : 0;
}

// The interrupt is itself a full barrier for the code it interrupts.
static void barrier_here(void *arg)
{
    (void)arg;
    atomic_fence_seq();
}

static void barrier_everywhere(void)
{
    atomic_fence_seq();
    smp_call_mask(online_mask(), barrier_here, NULL);
    atomic_fence_seq();
}

s64 sys_membarrier(const u64 *a)
{
    if (a[1]) {
        return -EINVAL;
    }
    switch ((int)a[0]) {
    case MEMBARRIER_CMD_QUERY:
        return MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_PRIVATE_EXPEDITED |
               MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
        store_relaxed(&current_process()->membarrier_registered, true);
        return 0;
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
        if (!load_relaxed(&current_process()->membarrier_registered)) {
            return -EPERM;
        }
        barrier_everywhere();
        return 0;
    case MEMBARRIER_CMD_GLOBAL:
        barrier_everywhere();
        return 0;
    default:
        return -EINVAL;
    }
}
