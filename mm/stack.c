// The growing stack: a VMA_GROWSDOWN VMA is extended when the program touches memory just below it.
//
// Growing is a writer like any other: the wider VMA is published, the narrow one retired, no node
// of the tree and no VMA is changed under a reader (R11). A gap of STACK_GUARD_GAP bytes is kept to
// the mapping below, unless that one is inaccessible anyway (a guard page) or a stack piece itself.

#include <k/errno.h>
#include <mm.h>
#include <proc.h>
#include <scheme.h>
#include <uapi/mman.h>
#include "mm_priv.h"

#define STACK_LIMIT_DEFAULT (8ul << 20)

static u64 stack_limit(void)
{
    struct process *p = current_process();
    return p ? p->rlimit[RLIMIT_STACK].cur : STACK_LIMIT_DEFAULT;
}

static bool stack_grow_locked(struct mm *mm, vaddr_t addr)
{
    struct vma *v = vma_find_first(mm, addr);
    if (!v) {
        return false;
    }
    if (v->start <= addr) {
        return true; // another thread was faster
    }
    if (!(v->flags & VMA_GROWSDOWN) || v->end - addr > stack_limit()) {
        return false;
    }
    struct vma *prev = vma_find_prev(mm, v->start);
    if (prev && (prev->flags & VMA_ACCESS_FLAGS) && !(prev->flags & VMA_GROWSDOWN) &&
        addr - min(addr, prev->end) < STACK_GUARD_GAP) {
        return false;
    }
    u64 more = (v->start - addr) >> PAGE_SHIFT;
    if (addr < MMAP_MIN_ADDR || more > v->pgoff || mm_may_map(mm, more, v->flags)) {
        return false;
    }
    struct vma_spec s;
    vma_to_spec(v, &s);
    s.end = v->start;
    s.start = addr;
    s.pgoff -= more;
    s.flags |= VMA_SOFT_DIRTY;
    return map_locked(mm, &s) == 0; // joined with v: adjoining offsets
}

bool stack_grow(struct mm *mm, vaddr_t addr)
{
    struct edit e;
    // A cheap look first: most bad addresses have no stack above them.
    rcu_read_lock();
    struct vma *v = mt_next_rcu(mm_tree(mm, addr), addr, NULL, NULL);
    bool maybe = v && ((v->flags & VMA_GROWSDOWN) || v->start <= addr);
    rcu_read_unlock();
    if (!maybe || edit_begin(&e, mm)) {
        return false;
    }
    bool grown = stack_grow_locked(mm, page_align_down(addr));
    edit_end(&e);
    return grown;
}

int mm_map_stack(struct mm *mm, vaddr_t top, u64 initial_len)
{
    struct vma_spec s = {.start = top - page_align_up(initial_len),
                         .end = top,
                         .flags = VMA_READ | VMA_WRITE | VMA_MAYREAD | VMA_MAYWRITE |
                                  VMA_GROWSDOWN | VMA_STACK | VMA_SOFT_DIRTY};
    struct edit e;
    s.pgoff = s.start >> PAGE_SHIFT;
    mm->stack_top = top;
    int err = edit_begin(&e, mm);
    if (err) {
        return err;
    }
    err = map_locked(mm, &s);
    edit_end(&e);
    return err;
}
