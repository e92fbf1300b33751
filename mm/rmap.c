// The reverse map of files: which VMAs may map a page of this file.
//
// A VMA joins mapping->i_mmap before the tree publishes it and leaves after its entries are zapped
// and flushed. So truncate, which walks the list under i_mmap_lock, meets every VMA that could hold
// an entry for a page it removed; one that joins later finds page->mapping cleared when it
// installs.
//
// Seals. The list also tells whether a file may be sealed against writing (memfd_create(2)). A
// mapping that will be able to write is counted from before it looks at the seals until it is in
// the list, and the seal is put on under the list's lock:
//
//     mmap                                  fcntl(F_ADD_SEALS, F_SEAL_WRITE)
//     lock: sealed? else count; unlock      lock: nobody counted or in the list? seal; unlock
//     VMA into the list, and published
//     lock: no longer counted; unlock
//
// The walk clears entries under the table locks alone, without the edit lock of the address space:
// the VMA's mm cannot go away while the VMA is listed (exit removes its VMAs first), and tables
// that are detached meanwhile are noticed under their lock. What the walk finds empty may still be
// in a TLB if munmap is between clearing and flushing; tlb_settle waits for that (R9).

#include <filemap.h>
#include <fs.h>
#include <k/errno.h>
#include <k/lock.h>
#include <k/rcu.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <rmap.h>
#include <tlb.h>
#include <vma.h>

static struct mapping *vma_mapping(const struct vma *v)
{
    return v->file ? v->file->mapping : NULL;
}

void rmap_link(struct vma *v)
{
    struct mapping *m = vma_mapping(v);
    if (m) {
        mutex_lock(&m->i_mmap_lock);
        list_add_tail(&m->i_mmap, &v->i_mmap_link);
        mutex_unlock(&m->i_mmap_lock);
    }
}

void rmap_unlink(struct vma *v)
{
    struct mapping *m = vma_mapping(v);
    if (m) {
        mutex_lock(&m->i_mmap_lock);
        list_del(&v->i_mmap_link);
        mutex_unlock(&m->i_mmap_lock);
    }
}

bool rmap_writer_comes(struct mapping *m)
{
    unsigned never = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
    mutex_lock(&m->i_mmap_lock);
    bool may = !(load_relaxed(&m->host->seals) & never);
    m->nr_writers_coming += may;
    mutex_unlock(&m->i_mmap_lock);
    return may;
}

void rmap_writer_came(struct mapping *m)
{
    mutex_lock(&m->i_mmap_lock);
    m->nr_writers_coming--;
    mutex_unlock(&m->i_mmap_lock);
}

static bool has_writer_locked(const struct mapping *m)
{
    struct vma *v;
    list_for_each_entry (v, &m->i_mmap, i_mmap_link) {
        if ((v->flags & VMA_SHARED) && (v->flags & VMA_MAYWRITE)) {
            return true;
        }
    }
    return m->nr_writers_coming;
}

int rmap_seal(struct mapping *m, u32 seals)
{
    mutex_lock(&m->i_mmap_lock);
    u32 have = load_relaxed(&m->host->seals);
    int err = (seals & ~have & F_SEAL_WRITE) && has_writer_locked(m) ? -EBUSY : 0;
    if (!err) {
        store_relaxed(&m->host->seals, have | seals);
    }
    mutex_unlock(&m->i_mmap_lock);
    return err;
}

// The part of v that maps pages [first, last]; false if none does.
static bool vma_file_range(const struct vma *v, u64 first, u64 last, vaddr_t *start, vaddr_t *end)
{
    u64 nr = (v->end - v->start) >> PAGE_SHIFT;
    u64 lo = max(first, v->pgoff), hi = min(last, v->pgoff + nr - 1);
    if (lo > hi) {
        return false;
    }
    *start = v->start + ((lo - v->pgoff) << PAGE_SHIFT);
    *end = v->start + ((hi - v->pgoff + 1) << PAGE_SHIFT);
    return true;
}

void rmap_unmap_file(struct mapping *m, u64 first, u64 last, bool cows)
{
    struct vma *v;
    mutex_lock(&m->i_mmap_lock);
    list_for_each_entry (v, &m->i_mmap, i_mmap_link) {
        vaddr_t start, end;
        struct tlb_batch b;
        // A PENDING one is no exception. It may have been joined with neighbours, whose entries
        // stay and which leave the list first; all else in its range is about to be cleared anyway.
        if (!vma_file_range(v, first, last, &start, &end)) {
            continue;
        }
        tlb_begin(&b, v->mm);
        zap_range(v->mm, start, end, (cows ? 0 : ZAP_FILE_ONLY) | ZAP_FLUSH_EACH, &b);
        tlb_end(&b);
        tlb_settle(v->mm);
    }
    mutex_unlock(&m->i_mmap_lock);
}

unsigned rmap_nr_mappers(struct mapping *m, u64 index, const struct page *p)
{
    unsigned n = 0;
    struct vma *v;
    mutex_lock(&m->i_mmap_lock);
    list_for_each_entry (v, &m->i_mmap, i_mmap_link) {
        vaddr_t start, end;
        if (!vma_file_range(v, index, index, &start, &end)) {
            continue;
        }
        rcu_read_lock();
        struct page *t = pt_find_leaf_rcu(v->mm, start);
        pte_t e = t ? pte_read(table_slot(t, start)) : pte_none();
        n += !pte_is_empty(e) && pte_table_page(e) == p;
        rcu_read_unlock();
    }
    mutex_unlock(&m->i_mmap_lock);
    return n;
}
