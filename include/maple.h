// The range tree: a B-tree that maps disjoint ranges [start, end) of u64 to non-NULL pointers, read
// under RCU and written by one writer at a time. mm/maple.c tells its theory.
//
// Readers (_rcu) hold rcu_read_lock and take no other lock; they see, for every address, either the
// entry before a store or the one after it, never "nothing" where both had something.
// Writers hold the tree's owner lock (for an address space: the edit lock). A write is prepared
// (may fail, may sleep) and then committed (cannot fail).
//
// Lock letters: I immutable, a atomic, r read under RCU and written by the writer, W the writer's.
#ifndef MAPLE_H
#define MAPLE_H

#include <k/atomic.h>
#include <k/types.h>

struct maple_node;

// Two cache lines: the first is all that a reader touches, so that a store which does not move the
// root leaves the readers' copy of it alone.
struct maple_tree {
    _Atomic(struct maple_node *) root; // [r] NULL: the tree is empty
    u64 limit;                         // [I] addresses are in [0, limit)
    u64 pad_readers[CACHE_LINE / 8 - 2];
    u64 nr_ranges; // [W]
    // The owner may put what its writers count on the rest of this line.
};

// Nodes set aside so that commits cannot fail. Lives on the writer's stack or in struct edit.
// mt_prepare fills it in, mt_unprepare empties it; begins as {0}.
struct maple_prealloc {
    struct maple_node *free; // chain
    unsigned nr;
};

// One-time: create the node cache. Boot, before any tree.
void maple_init(void);

// An empty tree; cannot fail, allocates nothing.
void mt_init(struct maple_tree *mt, u64 limit);

// Free all nodes at once. No reader and no writer may be left.
void mt_destroy(struct maple_tree *mt);

// The entry whose range holds addr, or NULL. Reader or writer. start/end may be NULL; they are set
// only when an entry is returned.
void *mt_find_rcu(struct maple_tree *mt, u64 addr, u64 *start, u64 *end);

// The first entry whose range ends after addr (so: holds addr or lies above), or NULL. A walk over
// all entries is a repeated mt_next_rcu(mt, end, &start, &end).
void *mt_next_rcu(struct maple_tree *mt, u64 addr, u64 *start, u64 *end);

// The last entry whose range starts below addr, or NULL.
void *mt_prev_rcu(struct maple_tree *mt, u64 addr, u64 *start, u64 *end);

// Set aside nodes for nr_stores stores that the same writer will commit next, before it lets go of
// the writer lock. What *pre holds already counts. 0, or -ENOMEM with nothing kept, also of that.
// May sleep. Cheap when repeated: the CPU keeps what an earlier mt_unprepare gave back. It is the
// worst case: 7 nodes (of 384 bytes) for each store in a small tree, 10 to 20 in a large one.
// Called without the lock it is a guess at the tree's height: ask again under the lock.
int mt_prepare(struct maple_tree *mt, struct maple_prealloc *pre, unsigned nr_stores);

// Make [start, end) map to entry, replacing whatever was there, trimming what overlaps; entry NULL
// erases. start < end <= limit. One atomic step per address for readers. Old nodes are freed by
// RCU. Cannot fail when prepared, never sleeps. A neighbouring range with the same entry pointer is
// joined to it. What became of the entries that were there is the caller's business.
void mt_store(struct maple_tree *mt, struct maple_prealloc *pre, u64 start, u64 end, void *entry);

// Give back what was not used: some to the CPU's reserve, the rest to the node cache. Thread
// context, with or without the writer lock.
void mt_unprepare(struct maple_prealloc *pre);

// Give this CPU's reserve back to the node cache. Thread context. slab_drain_local calls it.
void mt_drain_local(void);

struct maple_gap {
    u64 start;  // of the range found
    u64 lo, hi; // the whole gap around it, also where it reaches out of the window
    void *next; // the entry that it ends at; NULL: it ends the tree
};

// Free-area search, O(log n): the lowest (highest) start of an empty range of `size` bytes that
// lies in [min, max). 0 and *out, or -ENOMEM (also for size 0 or an empty window). Writer.
int mt_gap_lowest(struct maple_tree *mt, u64 min, u64 max, u64 size, struct maple_gap *out);
int mt_gap_highest(struct maple_tree *mt, u64 min, u64 max, u64 size, struct maple_gap *out);

// Nodes alive: in all trees, set aside in preallocs and reserves, and waiting for a grace period
// (tests look for leaks: after mt_destroy, mt_drain_local and rcu_barrier a tree accounts for
// none).
long maple_nr_nodes(void);

// Nodes that this tree consists of. Writer.
u64 mt_nr_nodes(struct maple_tree *mt);

// Check every rule of the structure; returns NULL or a sentence saying which one is broken. Writer.
const char *mt_check(struct maple_tree *mt);

#endif
