// Reaching the pages behind user addresses from the kernel: populate, pin, copy, futex keys.
//
// Pinning takes a reference under the lock of the leaf table. An entry that is there under the lock
// keeps its page alive (an anonymous page by the entry's own reference; a file page because
// truncate must take this lock before it lets go), so the reference can be taken with a plain
// increment.

#include <fs.h>
#include <k/errno.h>
#include <k/explore.h>
#include <k/rcu.h>
#include <k/string.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <proc.h>
#include <sched.h>
#include <scheme.h>
#include "mm_priv.h"

int mm_populate(struct mm *mm, vaddr_t start, vaddr_t end, bool write_private)
{
    for (; start < end; start += PAGE_SIZE) {
        rcu_read_lock();
        struct vma *v = mt_find_rcu(mm_tree(mm, start), start, NULL, NULL);
        u32 flags = v ? v->flags : 0;
        rcu_read_unlock();
        if (!v) {
            return -ENOMEM;
        }
        bool write = write_private && (flags & VMA_WRITE) && !(flags & VMA_SHARED);
        int err = mm_fault(mm, start, write ? FAULT_WRITE : FAULT_READ);
        if (err) {
            return err;
        }
        cond_resched();
    }
    return 0;
}

// The table is locked. What is pinned for writing is soft-dirty and stays so (clear_refs.c). false:
// the MMU has changed the entry; look again.
static bool gup_record_write(struct pte_slot *slot, pte_t e)
{
    return pte_is_soft_dirty(e) || pte_cas(slot, e, pte_set_soft_dirty(e));
}

// The page behind addr if its entry allows the access now, held; else NULL.
static struct page *gup_try(struct mm *mm, vaddr_t addr, bool write)
{
    struct page *page = NULL;
    rcu_read_lock();
    struct page *t = pt_find_leaf_rcu(mm, addr);
    if (t) {
        spin_lock(&t->ptl);
        struct pte_slot *slot = table_slot(t, addr);
        pte_t e = pte_read(slot);                           // none if the table is detached
        bool closed = load_relaxed(&t->state) & PT_FORKING; // a write would reach the child
        if (pte_is_present(e) &&
            (!write || (pte_is_writable(e) && !closed && gup_record_write(slot, e)))) {
            page = pte_table_page(e);
            page_get(page);
            if (write) {
                atomic_fetch_or(&page->flags, PG_DIRTY); // the MMU does not see our store
            }
        }
        spin_unlock(&t->ptl);
    }
    rcu_read_unlock();
    return page;
}

int gup_page(struct mm *mm, vaddr_t addr, bool write, struct page **out)
{
    if (addr >= USER_END) {
        return -EFAULT;
    }
    for (;;) {
        *out = gup_try(mm, addr, write);
        if (*out) {
            return 0;
        }
        int err = mm_fault(mm, addr, write ? FAULT_WRITE : FAULT_READ);
        if (err) {
            return err;
        }
    }
}

static size_t copy_pages(struct mm *mm, vaddr_t addr, void *buf, size_t n, bool to_mm)
{
    char *at = buf;
    while (n) {
        struct page *page;
        size_t off = addr & ~PAGE_MASK;
        size_t some = min(n, PAGE_SIZE - off);
        if (gup_page(mm, addr, to_mm, &page)) {
            break;
        }
        char *p = (char *)page_addr(page) + off;
        yield_point("pinned");
        if (to_mm) {
            memcpy(p, at, some);
        } else {
            memcpy(at, p, some);
        }
        page_put(page);
        addr += some;
        at += some;
        n -= some;
    }
    return n;
}

size_t mm_copy_to(struct mm *mm, vaddr_t dst, const void *src, size_t n)
{
    return copy_pages(mm, dst, (void *)(uintptr_t)src, n, true);
}

size_t mm_copy_from(struct mm *mm, void *dst, vaddr_t src, size_t n)
{
    return copy_pages(mm, src, dst, n, false);
}

int mm_futex_key(struct mm *mm, vaddr_t addr, bool process_private, struct mm_key *key)
{
    *key = (struct mm_key){.object = mm, .index = addr >> PAGE_SHIFT, .offset = addr & ~PAGE_MASK};
    if (process_private) {
        return addr < USER_END ? 0 : -EFAULT;
    }
    rcu_read_lock();
    struct vma *v = mt_find_rcu(mm_tree(mm, addr), addr, NULL, NULL);
    if (v && (v->flags & VMA_SHARED) && v->file) {
        key->object = (const void *)(uintptr_t)v->file->mapping->id;
        key->index = vma_page_index(v, addr);
        key->shared = 1;
    }
    int err = v && (v->flags & VMA_ACCESS_FLAGS) ? 0 : -EFAULT;
    rcu_read_unlock();
    return err;
}
