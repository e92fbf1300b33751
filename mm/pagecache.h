// Inside of the page cache: its radix tree.
#ifndef PAGECACHE_H
#define PAGECACHE_H

#include <filemap.h>
#include <k/rcu.h>

#define PC_BITS    6
#define PC_FANOUT  (1u << PC_BITS)
#define PC_PRELOAD 4 // nodes taken at a time

struct pc_node {
    u8 shift;    // [I] 0: the slots are pages
    u16 nr_used; // [mapping->lock]
    struct rcu_head rcu;
    _Atomic(void *) slot[PC_FANOUT]; // [r, mapping->lock]
};

struct pc_preload {
    struct pc_node *node[PC_PRELOAD];
    unsigned nr;
};

// Fill up with nodes, before the lock: 0 or -ENOMEM. Sleeps.
int pc_preload(struct pc_preload *pre);
void pc_preload_free(struct pc_preload *pre);

// mapping->lock is held: put page at index (the cache takes a reference); -EEXIST; -EAGAIN: out of
// nodes, unlock, pc_preload and try again.
int pc_insert_locked(struct mapping *m, struct pc_preload *pre, u64 index, struct page *page);

// mapping->lock is held: take the pages of [first, last] out. Their `mapping` is cleared (seq_cst)
// and they come on `out` by page->list, each with the cache's reference.
void pc_remove_locked(struct mapping *m, u64 first, u64 last, struct list *out);

// The node whose slots hold the pages around index, or NULL. In an RCU section.
struct pc_node *pc_leaf_rcu(struct mapping *m, u64 index);

#endif
