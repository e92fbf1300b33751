// What the files of directories in memory share: the entries of one directory and how they are
// found (fs/ramdir_index.c, which tells the theory), what can be done with names (fs/ramdir.c), and
// whole trees (fs/ramtree.c). All of it is guarded by vfs_lock.
#ifndef RAMDIR_PRIV_H
#define RAMDIR_PRIV_H

#include <k/list.h>
#include "fs_priv.h"

#define ENTRY_HEIGHT_MAX 12 // one in four is higher by one: enough for 16 million
#define BUCKETS_FEW      4u

struct entry {
    struct entry *chain; // the next one of its bucket
    struct inode *inode; // counted
    u64 cookie, hash;
    unsigned height;      // links in next
    struct entry *next[]; // at each height, the next older one that is so high; then the name
};

struct ramdir {
    struct entry *newest[ENTRY_HEIGHT_MAX];
    struct entry **buckets;         // by name; `few` at first
    struct entry *few[BUCKETS_FEW]; // zeroes while it is not in use
    unsigned long nr, nr_buckets;   // nr_buckets: a power of two
    u64 last_cookie;                // of the newest
    struct inode *inode;
    struct list todo; // of a walk through the tree
};

static inline char *entry_name(struct entry *e)
{
    return (char *)&e->next[e->height];
}

static inline bool is_ramdir(const struct inode *i)
{
    return S_ISDIR(i->mode) && i->ops->evict == ramdir_evict;
}

void ramdir_index_init(struct ramdir *d);
void ramdir_index_free(struct ramdir *d);  // it is empty
struct entry *entry_new(const char *name); // NULL: no memory; to be kfree'd once it is not in use
struct entry *entry_find(struct ramdir *d, const char *name);
// The first entry, from the newest on, whose cookie is this one or a later one; NULL: none is left.
struct entry *entry_from(struct ramdir *d, u64 cookie);
void entry_link(struct ramdir *d, struct entry *e); // with the next cookie, as the newest
void entry_unlink(struct ramdir *d, struct entry *e);

// From the newest on.
#define ramdir_for_each(e, d) for (e = (d)->newest[0]; e; e = e->next[0])

#endif
