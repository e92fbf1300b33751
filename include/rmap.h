// The reverse map of files: from a page of a file to the VMAs that may map it.
#ifndef RMAP_H
#define RMAP_H

#include <k/types.h>

struct mapping;
struct vma;
struct mm;
struct page;
struct tlb_batch;

// Enter / leave the list of the file's mapping; nothing for anonymous memory. Sleeps (i_mmap_lock).
void rmap_link(struct vma *v);
void rmap_unlink(struct vma *v);

// A shared mapping of the file is to come through which it can be written. false: a seal forbids
// it. true: from here until rmap_writer_came, after the VMA has joined the list or when it will
// not, no such seal is put on. Both sleep (i_mmap_lock).
bool rmap_writer_comes(struct mapping *m);
void rmap_writer_came(struct mapping *m);
// Seal the file: F_SEAL_* more. -EBUSY: F_SEAL_WRITE, and somebody can write through a mapping, or
// is about to. inode->lock held. Sleeps (i_mmap_lock).
int rmap_seal(struct mapping *m, u32 seals);

// Remove every entry that maps pages [first, last] of the file, in all address spaces, and flush.
// cows: private copies too (truncate); otherwise only the file's own pages (hole punch). The caller
// has cleared page->mapping of those pages and executed a full barrier (invariant 8). Sleeps.
void rmap_unmap_file(struct mapping *m, u64 first, u64 last, bool cows);

// How many entries map page p, which is page `index` of the file: a look at all of them, one by
// one. Sleeps (i_mmap_lock).
unsigned rmap_nr_mappers(struct mapping *m, u64 index, const struct page *p);

// zap.c: clear the entries of [start, end); file_only: leave anonymous pages alone.
enum zap_flag {
    ZAP_FILE_ONLY = 1,  // leave private copies
    ZAP_PRUNE = 2,      // munmap: detach tables that become empty
    ZAP_FLUSH_EACH = 4, // the VMA stays live: flush before each table lock is dropped
};
void zap_range(struct mm *mm, vaddr_t start, vaddr_t end, unsigned zap_flags, struct tlb_batch *b);

#endif
