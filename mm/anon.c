// Anonymous memory and private copies.
//
// An anonymous page is owned by the entries that map it (page->ref) and by pins. It is taken from
// this CPU's list, filled before any lock is taken, and installed under the lock of the leaf table;
// when the entry changed meanwhile the page stays in f->anon for the next pass.
//
// A read of untouched memory maps the one zero page, which nobody counts; the first write replaces
// it.
//
// Replacing a present entry (a private write over the zero page, a file page or a shared page):
// another thread may hold the old translation and would go on reading the old page after this
// thread's write. So: clear the entry, shoot it down, then install, all under the lock of the
// table.
//
//     writer of the copy                     reader with a stale translation
//     entry = none
//     shoot down -------------------------->  forgets it
//     entry = copy, writable                  faults; waits for the table lock; reads the copy
//
// The copy itself is made before the lock. A file page may be truncated, freed and reused while it
// is copied; then its page->mapping is no longer the file's, which is asked under the lock (RCU
// keeps it from becoming the same file's page again in that time). An anonymous source could be
// freed and come back in the same slot without RCU, so it is counted, under the lock, before it is
// copied.

#include <arch/mmu.h>
#include <fault.h>
#include <filemap.h>
#include <fs.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/explore.h>
#include <pgtable.h>
#include <tlb.h>
#include "mm_priv.h"

struct page *zero_page;

void anon_init(void)
{
    zero_page = page_alloc(GFP_KERNEL | GFP_ZERO);
    assert(zero_page);
    atomic_fetch_or(&zero_page->flags, PG_RESERVED);
}

static int fault_anon_read(struct fault *f)
{
    if (!fault_lock_leaf(f)) {
        return -EAGAIN;
    }
    pte_write(f->slot, fault_entry(f->vma, zero_page, false));
    f->table->nr_used++;
    fault_unlock_leaf(f);
    return 0;
}

on_one_page(1024) int fault_anon(struct fault *f)
{
    if (!(f->access & FAULT_WRITE)) {
        return fault_anon_read(f);
    }
    struct page *page = fault_take_anon(f);
    if (unlikely(!page)) {
        return -ENOMEM;
    }
    if (likely(!f->anon_is_zero)) {
        page_clear(page);
        f->anon_is_zero = true;
    }
    if (unlikely(!fault_lock_leaf(f))) {
        return -EAGAIN;
    }
    pte_write(f->slot, pte_set_dirty(fault_entry(f->vma, page, true)));
    f->table->nr_used++;
    fault_unlock_leaf(f);
    f->anon = NULL;
    mm_this_cpu(f->mm)->nr_anon++;
    return 0;
}

// The table is locked and the entry is f->old. Put f->anon in its place.
static void fault_replace_locked(struct fault *f)
{
    struct mm_cpu *count = mm_this_cpu(f->mm);
    pte_t new = pte_set_dirty(fault_entry(f->vma, f->anon, true));
    if (pte_is_empty(f->old)) {
        f->table->nr_used++;
    } else {
        pte_write(f->slot, pte_none());
        yield_point("replace");
        tlb_shoot(f->mm, f->addr, f->addr + PAGE_SIZE, false);
        if (load_relaxed(&pte_table_page(f->old)->flags) & PG_FILE) {
            count->nr_file--;
        }
    }
    pte_write(f->slot, new);
    f->anon = NULL;
    count->nr_anon++;
}

int fault_copy(struct fault *f, struct page *src)
{
    // The entry may belong to a VMA that has just replaced ours, or ours is about to: nothing found
    // so far is known to fit together. So ask before the copy (RCU then keeps a file page from
    // being freed during it) and again under the lock, where the answer counts.
    const struct mapping *m = f->vma->file ? f->vma->file->mapping : NULL;
    u64 index = vma_page_index(f->vma, f->addr);
    if (unlikely(!m || !filemap_page_is(src, m, index))) {
        return -EAGAIN;
    }
    struct page *page = fault_take_anon(f);
    if (unlikely(!page)) {
        return -ENOMEM;
    }
    page_copy(page, src);
    f->anon_is_zero = false;
    if (unlikely(!fault_lock_leaf(f))) {
        return -EAGAIN;
    }
    if (unlikely(!filemap_page_is(src, m, index))) {
        fault_unlock_leaf(f);
        return -EAGAIN;
    }
    pt_state_set(f->table, PT_COPIES);
    fault_replace_locked(f);
    fault_unlock_leaf(f);
    return 0;
}

// A private write over the zero page.
static int fault_replace_zero(struct fault *f)
{
    struct page *page = fault_take_anon(f);
    if (!page) {
        return -ENOMEM;
    }
    if (!f->anon_is_zero) {
        page_clear(page);
        f->anon_is_zero = true;
    }
    if (!fault_lock_leaf(f)) {
        return -EAGAIN;
    }
    fault_replace_locked(f);
    fault_unlock_leaf(f);
    return 0;
}

// A private write to an anonymous page that is mapped read-only: ours alone? Then it becomes
// writable; else copy it.
static int fault_write_anon(struct fault *f, struct page *src)
{
    struct page *page;
    if (!fault_lock_leaf(f)) {
        return -EAGAIN;
    }
    if (anon_page_is_ours(src)) {
        pte_write(f->slot, pte_set_dirty(pte_set_prot(f->old, vma_prot(f->vma->flags, true))));
        fault_unlock_leaf(f);
        mmu_flush_page(f->addr);
        return 0;
    }
    page_get(src);
    fault_unlock_leaf(f);

    page = fault_take_anon(f);
    if (page) {
        page_copy(page, src);
        f->anon_is_zero = false;
    }
    int err = !page ? -ENOMEM : fault_lock_leaf(f) ? 0 : -EAGAIN;
    if (!err) {
        fault_replace_locked(f);
        mm_this_cpu(f->mm)->nr_anon--; // the entry's share of src goes
        fault_unlock_leaf(f);
        page_put(src);
    }
    page_put(src);
    return err;
}

// Write-notify: a shared file page that is mapped read-only becomes writable once the file system
// has agreed. The agreement was given for f->page; it counts only for that page.
static int fault_write_shared(struct fault *f, struct page *page)
{
    if (f->vma->ops->page_mkwrite && !(f->mkwrite_done && f->page == page)) {
        // Only an entry seen under the lock, with the VMA live, is known to map a page of this
        // file.
        if (!fault_lock_leaf(f)) {
            return -EAGAIN;
        }
        page_get(page);
        fault_unlock_leaf(f);
        fault_drop_page(f);
        f->page = page;
        f->want_mkwrite = true;
        return -ENOENT; // ->page_mkwrite, then again
    }
    if (!fault_lock_leaf(f)) {
        return -EAGAIN;
    }
    pte_write(f->slot, pte_set_dirty(pte_set_prot(f->old, vma_prot(f->vma->flags, true))));
    fault_unlock_leaf(f);
    mmu_flush_page(f->addr);
    return 0;
}

int fault_write_present(struct fault *f)
{
    struct page *page = pte_table_page(f->old);
    u32 flags = load_relaxed(&page->flags);
    if (f->vma->flags & VMA_SHARED) {
        return fault_write_shared(f, page);
    }
    if (page == zero_page) {
        return fault_replace_zero(f);
    }
    return flags & PG_FILE ? fault_copy(f, page) : fault_write_anon(f, page);
}

// The entry is there but does not allow the access: another thread was faster, this CPU's TLB was
// stale, mprotect has given a right that the entry does not show yet, or a write needs its own
// page.
int fault_present(struct fault *f)
{
    bool write = f->access & FAULT_WRITE;
    bool exec = f->access & FAULT_EXEC;
    pte_t e = f->old;
    if (pte_is_present(e) && (!write || pte_is_writable(e)) && (!exec || pte_is_exec(e))) {
        if (write && (load_relaxed(&f->table->state) & PT_FORKING)) {
            return -EAGAIN; // the way to the table permits no write
        }
        if (write) {
            pt_open_leaf(f->mm, f->addr); // perhaps not opened yet
        }
        mmu_flush_page(f->addr);
        return 0;
    }
    if (write) {
        return fault_write_present(f);
    }
    if (!fault_lock_leaf(f)) {
        return -EAGAIN;
    }
    // Only more rights than before, so no flush; the MMU may set dirty meanwhile, so compare and
    // swap.
    bool done = pte_cas(f->slot, e, pte_set_prot(e, vma_prot(f->vma->flags, pte_is_writable(e))));
    fault_unlock_leaf(f);
    return done ? 0 : -EAGAIN;
}
