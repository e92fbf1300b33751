// The calls about memory nodes, for a machine that has one: node 0.
//
// Whatever policy is asked for, memory comes from node 0, so what is left is to judge the arguments
// as Linux does, to remember a thread's policy and to say where pages are. The policy of a range
// (mbind) is judged and forgotten: get_mempolicy(MPOL_F_ADDR) shows the thread's. A policy is not
// inherited by new threads.
#include <arch/uaccess.h>
#include <k/errno.h>
#include <fault.h>
#include <k/rcu.h>
#include <mm.h>
#include <proc.h>
#include <sched.h>
#include <syscalls.h>
#include <uapi/fs.h>
#include <uapi/mempolicy.h>
#include <uapi/mman.h>

#include "proc_priv.h"

#define PM_FILE       (1ull << 61)
#define NODES_MAX_BIT 4096u // a longer mask is refused, as on Linux

// The nodes of a user mask of maxnode - 1 bits: 0 or 1 (node 0 alone). -EINVAL: other nodes.
static int nodes_read(u64 user, u64 maxnode, u64 *out)
{
    *out = 0;
    if (!user || maxnode <= 1) {
        return 0;
    }
    if (--maxnode > NODES_MAX_BIT) {
        return -EINVAL;
    }
    for (u64 bit = 0; bit < maxnode; bit += 64) {
        u64 word;
        if (arch_copy_from_user(&word, (const void *)(user + bit / 8), sizeof(word))) {
            return -EFAULT;
        }
        word &= maxnode - bit < 64 ? (1ull << (maxnode - bit)) - 1 : ~0ull;
        if (word & ~(bit ? 0ull : 1ull)) {
            return -EINVAL;
        }
        *out |= word;
    }
    return 0;
}

static int nodes_write(u64 user, u64 maxnode, u64 nodes)
{
    u64 bytes = (maxnode - 1 + 63) / 64 * 8;
    if (arch_copy_to_user((void *)user, &nodes, min(bytes, (u64)sizeof(nodes)))) {
        return -EFAULT;
    }
    return bytes > 8 && arch_clear_user((void *)(user + 8), bytes - 8) ? -EFAULT : 0;
}

// A mode with its flags, and the nodes that go with it.
static int policy_check(u64 mode, u64 user, u64 maxnode, u64 *nodes)
{
    unsigned flags = (unsigned)mode & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES);
    unsigned plain = (unsigned)mode & ~(MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES);
    if (plain > MPOL_PREFERRED_MANY || flags == (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES)) {
        return -EINVAL;
    }
    int err = nodes_read(user, maxnode, nodes);
    if (err) {
        return err;
    }
    switch (plain) {
    case MPOL_DEFAULT:
    case MPOL_LOCAL:
        return *nodes || (plain == MPOL_LOCAL && flags) ? -EINVAL : 0;
    case MPOL_PREFERRED:
        return !*nodes && flags ? -EINVAL : 0;
    default:
        return *nodes ? 0 : -EINVAL;
    }
}

s64 sys_set_mempolicy(const u64 *a)
{
    struct task_ext *t = current_task();
    u64 nodes;
    int err = (s32)a[0] < 0 ? -EINVAL : policy_check((u32)a[0], a[1], a[2], &nodes);
    if (err) {
        return err;
    }
    t->mempolicy = (u32)a[0];
    t->mempolicy_nodes = nodes;
    return 0;
}

// Is every page of the range in a mapping?
static bool range_is_mapped(struct mm *mm, vaddr_t addr, vaddr_t end)
{
    while (addr < end) {
        u64 vma_end;
        rcu_read_lock();
        bool found = mt_find_rcu(mm_tree(mm, addr), addr, NULL, &vma_end);
        rcu_read_unlock();
        if (!found) {
            return false;
        }
        addr = vma_end;
        cond_resched();
    }
    return true;
}

s64 sys_mbind(const u64 *a)
{
    vaddr_t end = a[0] + page_align_up(a[1]);
    u64 nodes;
    if (a[5] & ~(u64)(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL) || a[0] & ~PAGE_MASK ||
        end < a[0]) {
        return -EINVAL;
    }
    int err = (s32)a[2] < 0 ? -EINVAL : policy_check((u32)a[2], a[3], a[4], &nodes);
    if (err || end == a[0]) {
        return err;
    }
    return range_is_mapped(current_mm(), a[0], end) ? 0 : -EFAULT;
}

// a: mode, nodes, maxnode, address, flags
s64 sys_get_mempolicy(const u64 *a)
{
    struct task_ext *t = current_task();
    u64 flags = a[4], nodes = t->mempolicy_nodes;
    s32 mode = (s32)t->mempolicy;
    if (flags & ~(u64)(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED) || (a[1] && a[2] < 1)) {
        return -EINVAL;
    }
    if (flags & MPOL_F_MEMS_ALLOWED) {
        if (flags != MPOL_F_MEMS_ALLOWED) {
            return -EINVAL;
        }
        mode = 0;
        nodes = 1;
    } else if (flags & MPOL_F_ADDR) {
        if (!range_is_mapped(current_mm(), page_align_down(a[3]), page_align_down(a[3]) + 1)) {
            return -EFAULT;
        }
        if (flags & MPOL_F_NODE) {
            int err = mm_fault(current_mm(), a[3], FAULT_READ);
            if (err) {
                return err;
            }
            mode = 0; // the page's node
        }
    } else if (a[3] || ((flags & MPOL_F_NODE) && mode != MPOL_INTERLEAVE)) {
        return -EINVAL;
    } else if (flags & MPOL_F_NODE) {
        mode = 0; // the next page's node
    }
    if (a[0] && arch_copy_to_user((void *)a[0], &mode, sizeof(mode))) {
        return -EFAULT;
    }
    return a[1] && a[2] > 1 ? nodes_write(a[1], a[2], nodes) : 0;
}

static int mm_of(s32 pid, struct mm **out)
{
    struct process *p = pid ? process_get_by_pid(pid) : current_process();
    *out = p ? process_get_mm(p) : NULL;
    if (p && pid) {
        process_put(p);
    }
    return *out ? 0 : -ESRCH;
}

s64 sys_migrate_pages(const u64 *a)
{
    u64 from, to;
    int err = nodes_read(a[2], a[1], &from);
    err = err ? err : nodes_read(a[3], a[1], &to);
    if (err) {
        return err;
    }
    struct mm *mm;
    err = mm_of((s32)a[0], &mm);
    if (err) {
        return err;
    }
    mm_put(mm);
    return to ? 0 : -EINVAL; // nothing is elsewhere
}

// Where nothing is in anonymous memory, or only the page of zeroes, Linux says -EFAULT; where
// nothing is in a file's, -ENOENT.
static s64 page_status(struct mm *mm, vaddr_t addr)
{
    u64 word;
    rcu_read_lock();
    struct vma *v = mt_find_rcu(mm_tree(mm, addr), addr, NULL, NULL);
    bool file = v && v->ops;
    rcu_read_unlock();
    if (!v || addr >= USER_END) {
        return -EFAULT;
    }
    int err = mm_pagemap(mm, page_align_down(addr), &word, 1);
    if (err) {
        return err;
    }
    if (!(word & PAGEMAP_PRESENT)) {
        return file ? -ENOENT : -EFAULT;
    }
    return word & PM_FILE && !file ? -EFAULT : 0;
}

// nr, pages, nodes, status: user addresses of arrays. nodes 0: only look.
static int move_pages(struct mm *mm, u64 nr, u64 pages, u64 nodes, u64 status)
{
    for (u64 i = 0; i < nr; i++) {
        vaddr_t addr;
        s32 node = 0;
        if (arch_copy_from_user(&addr, (const void *)(pages + 8 * i), sizeof(addr)) ||
            (nodes && arch_copy_from_user(&node, (const void *)(nodes + 4 * i), sizeof(node)))) {
            return -EFAULT;
        }
        if (node != 0) {
            return -ENODEV;
        }
        s32 where = (s32)page_status(mm, addr);
        if (arch_copy_to_user((void *)(status + 4 * i), &where, sizeof(where))) {
            return -EFAULT;
        }
        if (thread_signal_pending() && thread_kill_pending()) {
            return -EINTR; // nobody will see it; other signals do not end this call
        }
        cond_resched();
    }
    return 0;
}

s64 sys_move_pages(const u64 *a)
{
    struct mm *mm;
    if (a[5] & ~(u64)(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)) {
        return -EINVAL;
    }
    int err = mm_of((s32)a[0], &mm);
    if (err) {
        return err;
    }
    err = move_pages(mm, a[1], a[2], a[3], a[4]);
    mm_put(mm);
    return err;
}

// ---- process_madvise ----------------------------------------------------------------------------

static bool advice_for_others(int advice)
{
    return advice == MADV_COLD || advice == MADV_PAGEOUT || advice == MADV_WILLNEED;
}

// Bytes advised, or the error of the first range.
static s64 madvise_vector(struct mm *mm, u64 user, u64 nr, int advice)
{
    s64 done = 0;
    for (u64 i = 0; i < nr; i++) {
        struct uapi_iovec v;
        if (arch_copy_from_user(&v, (const void *)(user + i * sizeof(v)), sizeof(v))) {
            return done ? done : -EFAULT;
        }
        s64 err = mm_madvise(mm, v.base, v.len, advice);
        if (err) {
            return done ? done : err;
        }
        done += (s64)v.len;
        cond_resched();
    }
    return done;
}

// a: pidfd, vector, its length, advice, flags
s64 sys_process_madvise(const u64 *a)
{
    struct process *p;
    u32 flags;
    if (a[4] || a[2] > UIO_MAXIOV) {
        return -EINVAL;
    }
    int err = pidfd_process((int)a[0], &p, &flags);
    if (err) {
        return err;
    }
    struct mm *mm = advice_for_others((int)a[3]) ? process_get_mm(p) : NULL;
    process_put(p);
    if (!mm) {
        return advice_for_others((int)a[3]) ? -ESRCH : -EINVAL;
    }
    s64 r = madvise_vector(mm, a[1], a[2], (int)a[3]);
    mm_put(mm);
    return r;
}
