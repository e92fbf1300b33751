// Files in memory, 1: faults. filemap_io.c has read, write and truncate.
//
// map_pages, the half that never blocks: in the fault's RCU section it looks the page up in the
// cache and, under one table lock, maps it and the cached pages around it (the fault-around
// window). A page it finds is neither counted nor locked: the cache owns it. What makes that safe
// is the question asked under the table lock, page->mapping == this file, against truncate
// (invariant 8):
//
//     installer                               truncate
//     slot of the table (pgtable.c)           page->mapping = NULL      (seq_cst)
//     lock the leaf table                     lock the leaf table, or find no table
//     page->mapping? (seq_cst)                clear the entry
//     install; unlock                         unlock; flush; put the page (RCU)
//
// Whoever locks second sees what the first did; without a table, the seq_cst pairs decide as for
// VMAs. A page that was removed and freed may have become any other page, but it does not become a
// page of this file at this index again without passing through the cache, and then it is the right
// one.
//
// fault, the half that may block: finds the page or has it read in, and returns it held. The driver
// starts again with it, so that it is mapped even if the cache has dropped it from its tree and
// read another in meanwhile: then page->mapping differs and the pass starts over without it.

#include <fault.h>
#include <filemap.h>
#include <fs.h>
#include <k/assert.h>
#include <k/errno.h>
#include <pgtable.h>
#include "mm_priv.h"
#include "pagecache.h"

static atomic_uint fault_around_pages = 16; // written by the knob while faults read it

int mm_set_fault_around(unsigned nr_pages)
{
    if (nr_pages != 1 && nr_pages != 16 && nr_pages != 512) {
        return -EINVAL;
    }
    store_relaxed(&fault_around_pages, nr_pages);
    return 0;
}

unsigned mm_fault_around(void)
{
    return load_relaxed(&fault_around_pages);
}

static u64 mapping_nr_pages(const struct mapping *m)
{
    return page_align_up(load_acquire(&m->size_bytes)) >> PAGE_SHIFT;
}

static struct page *filemap_find_page(struct fault *f)
{
    struct mapping *m = f->vma->file->mapping;
    u64 index = vma_page_index(f->vma, f->addr);
    struct page *p = f->page ? f->page : mapping_find_rcu(m, index);
    // write() fills pages before it moves the size: they are not there yet.
    return p && filemap_page_is(p, m, index) && index < mapping_nr_pages(m) ? p : NULL;
}

// The table is locked, the faulting page mapped: map the cached pages around it into empty entries.
// That is in the aligned window, which is never larger than a leaf table, within the VMA.
static unsigned map_around(struct fault *f, u64 bytes, bool writable)
{
    vaddr_t base = align_down(f->addr, bytes);
    vaddr_t start = max(base, f->vma->start), end = min(base + bytes, f->vma->end);
    struct mapping *m = f->vma->file->mapping;
    struct pte_slot *slot = table_slot(f->table, start);
    u64 index = vma_page_index(f->vma, start);
    u64 nr_pages = mapping_nr_pages(m);
    struct pc_node *leaf = NULL;
    bool looked = false;
    unsigned nr = 0;

    for (vaddr_t a = start; a < end && index < nr_pages; a += PAGE_SIZE, slot++, index++) {
        unsigned i = (unsigned)index & (PC_FANOUT - 1);
        if (!looked || i == 0) {
            leaf = pc_leaf_rcu(m, index);
            looked = true;
        }
        struct page *p = leaf ? rcu_dereference(&leaf->slot[i]) : NULL;
        if (p && pte_is_empty(pte_read(slot)) && filemap_page_is(p, m, index)) {
            pte_write(slot, fault_entry(f->vma, p, writable));
            nr++;
        }
    }
    return nr;
}

// May a page that is not written yet be mapped writable? Nobody then hears of the first store, so
// not if the file system or clear_refs.c is to.
static bool vma_maps_writable(const struct vma *v)
{
    const u32 both = VMA_SHARED | VMA_SOFT_DIRTY;
    return (v->flags & both) == both && !v->ops->page_mkwrite;
}

static on_one_page(2048) int filemap_map_pages(struct fault *f)
{
    const struct vma *v = f->vma;
    bool write = f->access & FAULT_WRITE;
    bool writable = write ? !v->ops->page_mkwrite || f->mkwrite_done : vma_maps_writable(v);
    struct page *page = filemap_find_page(f);

    if (!page) {
        return -ENOENT;
    }
    if (write && !writable) { // write-notify: ask first
        if (!page_tryget(page)) {
            return -EAGAIN;
        }
        if (f->page) {
            page_put(page); // held already
        }
        f->page = page;
        f->want_mkwrite = true;
        return -ENOENT;
    }
    if (!fault_lock_leaf(f)) {
        return -EAGAIN;
    }
    if (!filemap_page_is(page, v->file->mapping, vma_page_index(v, f->addr))) {
        fault_unlock_leaf(f);
        return -EAGAIN;
    }
    pte_t e = fault_entry(v, page, writable);
    pte_write(f->slot, write ? pte_set_dirty(e) : e);
    unsigned nr = 1;
    unsigned around = mm_fault_around();
    if (!write && around > 1) {
        nr += map_around(f, around * PAGE_SIZE, writable);
    }
    f->table->nr_used += (u16)nr;
    mm_this_cpu(f->mm)->nr_file += nr;
    fault_unlock_leaf(f);
    return 0;
}

static int filemap_fault(struct fault *f)
{
    return mapping_read_page(f->vma->file->mapping, vma_page_index(f->vma, f->addr), &f->page);
}

static int filemap_page_mkwrite(struct fault *f)
{
    struct mapping *m = f->vma->file->mapping;
    if (load_acquire(&f->page->mapping) != m) {
        return -EAGAIN; // truncated
    }
    return m->ops->page_mkwrite(m, f->page);
}

const struct vma_ops filemap_vma_ops = {
    .map_pages = filemap_map_pages,
    .find_page = filemap_find_page,
    .fault = filemap_fault,
};

const struct vma_ops filemap_notify_vma_ops = {
    .map_pages = filemap_map_pages,
    .find_page = filemap_find_page,
    .fault = filemap_fault,
    .page_mkwrite = filemap_page_mkwrite,
};
