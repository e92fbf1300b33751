// The system calls of scheduling. The scheduler has one policy, without priorities. So those of
// Linux that a program may choose without harm to others, SCHED_OTHER, SCHED_BATCH and SCHED_IDLE,
// are kept, inherited, shown and refused by Linux's rules (sched(7)), and all act alike; nice
// values likewise, see sys_prio.c. The real-time ones would be promises: they are refused, with
// EPERM to all.
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
    if (tid == 0 || tid == self->tid) {
        return mask ? sched_set_affinity(self->thread, mask) : -EINVAL;
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

static void policy_get_one(struct task_visit *v, struct task_ext *t)
{
    v->result = t->policy | (t->reset_on_fork ? SCHED_RESET_ON_FORK : 0);
}

s64 sys_sched_getscheduler(const u64 *a)
{
    struct task_visit v = {.one = policy_get_one, .result = -ESRCH};

    if ((s32)a[0] < 0) {
        return -EINVAL;
    }
    task_visit(&v, (s32)a[0]);
    return v.result;
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

#define KEEP_POLICY (-1) // and whether a child begins anew
#define KEEP_NICE   (NICE_MAX + 1)

struct policy_change {
    struct task_visit v;
    int policy, nice;
    u32 priority;
    bool reset_on_fork;
};

static bool is_realtime(int policy)
{
    return policy == SCHED_FIFO || policy == SCHED_RR || policy == SCHED_DEADLINE;
}

// The nice value that a change of t to policy gives it; SCHED_IDLE has none, and leaves it alone.
static int nice_after(const struct task_ext *t, const struct policy_change *c, int policy)
{
    return c->nice == KEEP_NICE || policy == SCHED_IDLE ? t->nice : c->nice;
}

// What does not need CAP_SYS_NICE. SCHED_IDLE is less than any nice value: to leave it is to rise.
static bool change_is_free_locked(const struct task_ext *t, const struct policy_change *c,
                                  int policy)
{
    int nice = nice_after(t, c, policy);
    bool wakes = t->policy == SCHED_IDLE && policy != SCHED_IDLE;

    return !is_realtime(policy) && !(nice < t->nice && !task_may_be_nice_locked(t, nice)) &&
           !(wakes && !task_may_be_nice_locked(t, t->nice)) && creds_may_schedule_locked(t->proc) &&
           !(t->reset_on_fork && !c->reset_on_fork && c->policy != KEEP_POLICY);
}

static void policy_set_one(struct task_visit *v, struct task_ext *t)
{
    struct policy_change *c = container_of(v, struct policy_change, v);
    int policy = c->policy == KEEP_POLICY ? t->policy : c->policy;

    if (!change_is_free_locked(t, c, policy) && !current_has_cap(CAP_SYS_NICE)) {
        v->result = -EPERM;
        return;
    }
    v->result = 0;
    if (is_realtime(policy)) {
        return; // policy_set says no
    }
    t->policy = (u8)policy;
    t->nice = (s8)nice_after(t, c, policy);
    t->reset_on_fork = c->policy == KEEP_POLICY ? t->reset_on_fork : c->reset_on_fork;
}

// The priority is that of a real-time policy: 1 to 99, and 0 for all others.
static int policy_check(int policy, u32 priority)
{
    switch (policy) {
    case SCHED_FIFO:
    case SCHED_RR:
        return priority >= 1 && priority <= 99 ? 0 : -EINVAL;
    case SCHED_DEADLINE:
    case SCHED_OTHER:
    case SCHED_BATCH:
    case SCHED_IDLE:
    case KEEP_POLICY:
        return priority ? -EINVAL : 0;
    default:
        return -EINVAL;
    }
}

static s64 policy_set(s32 tid, struct policy_change *c)
{
    int err = tid < 0 ? -EINVAL : affinity_of(tid, NULL);

    err = err ? err : policy_check(c->policy, c->priority);
    if (err) {
        return err;
    }
    c->v = (struct task_visit){.one = policy_set_one, .result = -ESRCH};
    task_visit(&c->v, tid);
    if (!c->v.result && is_realtime(c->policy)) {
        return syscall_missing("real-time scheduling", -EPERM);
    }
    return c->v.result;
}

static s64 policy_set_param(s32 tid, int policy, u64 param)
{
    struct policy_change c = {.policy = policy, .nice = KEEP_NICE};

    if (!param || tid < 0) {
        return -EINVAL;
    }
    if (arch_copy_from_user(&c.priority, (const void *)param, sizeof(c.priority))) {
        return -EFAULT;
    }
    if (policy != KEEP_POLICY) {
        c.policy = policy & ~SCHED_RESET_ON_FORK;
        c.reset_on_fork = policy & SCHED_RESET_ON_FORK;
    }
    return policy_set(tid, &c);
}

s64 sys_sched_setscheduler(const u64 *a)
{
    return (int)a[1] < 0 ? -EINVAL : policy_set_param((s32)a[0], (int)a[1], a[2]);
}

s64 sys_sched_setparam(const u64 *a)
{
    return policy_set_param((s32)a[0], KEEP_POLICY, a[1]);
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

s64 sys_sched_setattr(const u64 *a)
{
    struct uapi_sched_attr attr = {0};
    u32 size;

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
    if ((s32)attr.policy < 0 || (attr.flags & ~SCHED_FLAG_ALL)) {
        return -EINVAL;
    }
    if (attr.flags & SCHED_FLAG_UTIL_CLAMP) { // no processor here is slowed down
        return -EOPNOTSUPP;
    }
    struct policy_change c = {.policy = (int)attr.policy,
                              .nice = min(max(attr.nice, NICE_MIN), NICE_MAX),
                              .priority = attr.priority,
                              .reset_on_fork = attr.flags & SCHED_FLAG_RESET_ON_FORK};
    if (attr.flags & (SCHED_FLAG_KEEP_POLICY | SCHED_FLAG_KEEP_PARAMS)) {
        c.policy = KEEP_POLICY; // on Linux, too, it stays with its parameters
    }
    if (attr.flags & SCHED_FLAG_KEEP_PARAMS) {
        c.nice = KEEP_NICE;
        c.priority = 0;
    }
    return policy_set((s32)a[0], &c);
}

struct attr_look {
    struct task_visit v;
    struct uapi_sched_attr attr;
};

static void attr_get_one(struct task_visit *v, struct task_ext *t)
{
    struct attr_look *l = container_of(v, struct attr_look, v);

    v->result = 0;
    l->attr.policy = t->policy;
    l->attr.nice = t->nice;
    l->attr.flags = t->reset_on_fork ? SCHED_FLAG_RESET_ON_FORK : 0;
}

s64 sys_sched_getattr(const u64 *a)
{
    struct attr_look l = {.v = {.one = attr_get_one, .result = -ESRCH}, .attr.util_max = 1024};

    if (!a[1] || (s32)a[0] < 0 || a[3] || (u32)a[2] < SCHED_ATTR_SIZE_MIN || a[2] > PAGE_SIZE) {
        return -EINVAL;
    }
    task_visit(&l.v, (s32)a[0]);
    if (l.v.result) {
        return l.v.result;
    }
    l.attr.size = min((u32)a[2], (u32)sizeof(l.attr));
    return arch_copy_to_user((void *)a[1], &l.attr, l.attr.size) ? -EFAULT : 0;
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
    case SCHED_DEADLINE:
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
