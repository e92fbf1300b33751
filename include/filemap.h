// The page cache of one file. Pages in it are found without a lock; the cache owns them (a PTE
// holds no reference and no count: invariant 8). mm/pagecache.c, mm/filemap.c.
#ifndef FILEMAP_H
#define FILEMAP_H

#include <k/lock.h>
#include <k/types.h>
#include <page.h>
#include <vma.h>

struct inode;

// How a file system fills a page. Sleeps; the page is new, locked, in no cache or already inserted.
struct mapping_ops {
    // Fill page's bytes for its index; 0 or -EIO, -ENOMEM.
    int (*read_page)(struct mapping *m, struct page *page);
    // Optional, write-notify: a shared mapping is about to write page for the first time since
    // clean.
    int (*page_mkwrite)(struct mapping *m, struct page *page);
};

struct mapping {
    u64 id;                         // [I] never used again: names the file in futex keys
    struct inode *host;             // [I] NULL: memory without an inode
    const struct mapping_ops *ops;  // [I]
    struct spinlock lock;           // RANK_MAPPING: the tree of pages
    _Atomic(struct pc_node *) root; // [r, lock]
    atomic_ulong nr_pages;          // [a], written under lock
    atomic_ulong size_bytes;        // [a] the file's size; written under inode->lock
    struct mutex i_mmap_lock;       // RANK_I_MMAP
    struct list i_mmap;             // [i_mmap_lock] VMAs that map this file
    unsigned nr_writers_coming;     // [i_mmap_lock] mmaps under way that will be able to write
};

void mapping_init(struct mapping *m, struct inode *host, const struct mapping_ops *ops);
// Drop every page; nobody maps or reads the file any more. Sleeps.
void mapping_destroy(struct mapping *m);

// Is p an up-to-date page of this file at this index? In an RCU section; decisive under the lock of
// the table it is to be installed in (seq_cst: the other side of truncate's store,
// pc_remove_locked).
static inline bool filemap_page_is(struct page *p, const struct mapping *m, u64 index)
{
    return (load_acquire(&p->flags) & PG_UPTODATE) && load_seq(&p->mapping) == m &&
           p->index == index;
}

// Look a page up. _rcu: no reference, inside a read section. The other: held, or NULL.
struct page *mapping_find_rcu(struct mapping *m, u64 index);
struct page *mapping_find_get(struct mapping *m, u64 index);
// The first index in [index, end) that has a page in the cache (present) or has none (!present),
// or end. What comes or goes meanwhile is seen or not. May reschedule; as many steps as there are
// pages and nodes on the way, however far apart they are.
u64 mapping_seek(struct mapping *m, u64 index, u64 end, bool present);

// The page at index, read in if needed, held. Pages at or past the end of the file: -ERANGE.
// Sleeps.
int mapping_read_page(struct mapping *m, u64 index, struct page **out);
// The same but allocates also past the end (write() extends the size afterwards); a page that will
// be overwritten whole need not be read: contents are zero then.
int mapping_grab_page(struct mapping *m, u64 index, bool whole, struct page **out);

// Change the size: pages past the end leave the cache and every address space before this returns
// (invariant 8, R24), the tail of the last page is cleared. Caller holds inode->lock. Sleeps.
void mapping_truncate(struct mapping *m, u64 new_size);
// Drop the pages of [start, end) bytes (page aligned inwards; edges are cleared): fallocate's hole.
void mapping_punch(struct mapping *m, u64 start, u64 end);

// read()/write() through the cache. Bytes moved or errno; user says which side buf is on.
ssize_t mapping_read(struct mapping *m, u64 pos, void *user_buf, size_t n);
ssize_t mapping_write(struct mapping *m, u64 pos, const void *user_buf, size_t n); // grows the size
// The same with kernel memory (exec reads headers, cpio fills tmpfs).
ssize_t mapping_read_kernel(struct mapping *m, u64 pos, void *buf, size_t n);
ssize_t mapping_write_kernel(struct mapping *m, u64 pos, const void *buf, size_t n);

// The vm operations of files whose pages live in a mapping: without and with write-notify (the
// latter needs ops->page_mkwrite).
extern const struct vma_ops filemap_vma_ops, filemap_notify_vma_ops;

u64 pagecache_nr_pages(void); // of all files
void pagecache_init(void);    // boot

#endif
