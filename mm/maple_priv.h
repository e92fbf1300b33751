// The inside of the range tree, shared by mm/maple*.c and its host test. mm/maple.c has the theory.
#ifndef MAPLE_PRIV_H
#define MAPLE_PRIV_H

#include <k/assert.h>
#include <k/rcu.h>
#include <maple.h>

enum {
    LEAF_SLOTS = 23, // both kinds of node then fill the same six cache lines
    INNER_SLOTS = 16,
    LEAF_MIN = 7, // a node with fewer slots takes in neighbours; the root may have fewer
    INNER_MIN = 5,
    MAX_HEIGHT = 16,  // INNER_MIN^15 leaves do not fit in any memory
    MAX_MADE = 3,     // nodes that one store makes on one level
    RESERVE_MAX = 32, // nodes a CPU keeps for its next mt_prepare
};

// A node divides its span [lo, hi), which only its ancestors know, into nr slots: slot i is
// [pivot[i-1], pivot[i]) with lo and hi at the two ends. Pivots from nr-1 on hold PIVOT_PAD.
#define PIVOT_PAD (~0ull)

struct maple_node {
    u8 level;      // [I] 0: leaf
    u8 nr;         // [I] slots in use
    u32 chain_len; // [W] while set aside: nodes in the chain from here on
    union {
        struct {
            u64 pivot[LEAF_SLOTS - 1];        // [I]
            _Atomic(void *) slot[LEAF_SLOTS]; // [r] NULL: a gap
        } leaf;
        struct {
            u64 pivot[INNER_SLOTS - 1];                      // [I]
            _Atomic(struct maple_node *) child[INNER_SLOTS]; // [r]
            u64 gap[INNER_SLOTS]; // [W] the largest gap below each child; readers never look
        } inner;
        struct {
            u64 body[2 * LEAF_SLOTS - 1]; // what readers of either kind may still look at
            union {
                struct rcu_head rcu;     // once retired; lies over gaps, which are dead by then
                struct maple_node *next; // [W] chain of nodes set aside, or about to be retired
            };
        };
    };
};
_Static_assert(sizeof(struct maple_node) == 6 * CACHE_LINE, "six lines");
_Static_assert(offsetof(struct maple_node, rcu) >= offsetof(struct maple_node, inner.gap),
               "what the writer links retired nodes with must not lie over what readers look at");

// Which of the slots holds addr (below the node's hi): a binary search without a branch to predict.
// Each step asks whether addr lies in the upper part of what is left; PIVOT_PAD answers no.
#define SEARCH_STEP(half) i += (half) & -(unsigned)(addr >= pivot[i + (half)-1])

static inline unsigned leaf_index(const struct maple_node *n, u64 addr)
{
    const u64 *pivot = n->leaf.pivot;
    unsigned i = 0;

    SEARCH_STEP(11); // 23 slots
    SEARCH_STEP(6);  // at most 12
    SEARCH_STEP(3);
    SEARCH_STEP(1); // 3
    SEARCH_STEP(1);
    return i;
}

static inline unsigned inner_index(const struct maple_node *n, u64 addr)
{
    const u64 *pivot = n->inner.pivot;
    unsigned i = 0;

    SEARCH_STEP(8); // 16 slots
    SEARCH_STEP(4);
    SEARCH_STEP(2);
    SEARCH_STEP(1);
    return i;
}

// The bounds of slot i of a node that spans [lo, hi): of a leaf, and of either kind.
static inline u64 leaf_start(const struct maple_node *n, unsigned i, u64 lo)
{
    return i == 0 ? lo : n->leaf.pivot[i - 1];
}

static inline u64 leaf_end(const struct maple_node *n, unsigned i, u64 hi)
{
    return i + 1u == n->nr ? hi : n->leaf.pivot[i];
}

static inline u64 slot_start(const struct maple_node *n, unsigned i, u64 lo)
{
    return n->level == 0 ? leaf_start(n, i, lo) : i == 0 ? lo : n->inner.pivot[i - 1];
}

static inline u64 slot_end(const struct maple_node *n, unsigned i, u64 hi)
{
    return n->level == 0 ? leaf_end(n, i, hi) : i + 1u == n->nr ? hi : n->inner.pivot[i];
}

// The writer's view of a published slot: nobody else writes it, so no order is needed.
static inline void *slot_get(struct maple_node *n, unsigned i)
{
    return load_relaxed(&n->leaf.slot[i]);
}

// The gap that slot i of a leaf is part of, or would be if it were NULL: which slots.
struct run {
    unsigned first, last;
};

static inline struct run leaf_run(struct maple_node *n, unsigned i)
{
    struct run r = {i, i};

    while (r.first > 0 && slot_get(n, r.first - 1) == NULL) {
        r.first--;
    }
    while (r.last + 1u < n->nr && slot_get(n, r.last + 1) == NULL) {
        r.last++;
    }
    return r;
}

static inline struct maple_node *child_get(struct maple_node *n, unsigned i)
{
    return load_relaxed(&n->inner.child[i]);
}

static inline struct maple_node *root_get(struct maple_tree *mt)
{
    return load_relaxed(&mt->root);
}

// The way from the root to one slot, for the writer.
struct path {
    struct maple_node *node[MAX_HEIGHT]; // by level, the leaf first
    u8 idx[MAX_HEIGHT];                  // which slot of each
    unsigned height;                     // levels; 0: empty tree
    u64 lo, hi;                          // bounds of the slot in the leaf
    void *entry;                         // what is in it
};

// The path to addr, which is below the limit.
void path_find(struct maple_tree *mt, struct path *p, u64 addr);

// The bounds of the path's node on a level; 0 and limit for a level above the root.
u64 path_node_lo(const struct path *p, unsigned level);
u64 path_node_hi(const struct maple_tree *mt, const struct path *p, unsigned level);

// Move to the neighbour node on a level: its last slot (left) or its first (right). False, and
// nothing moved, when there is none. lo, hi and entry are not kept up.
bool path_step_left(struct path *p, unsigned level);
bool path_step_right(struct path *p, unsigned level);

// The node on `level` now has this largest gap: tell its ancestors, up to one that does not care.
void path_set_gap(struct path *p, unsigned level, u64 gap);

// The store of mt_store, whose p is the path to start, if it can be done by exchanging one leaf (or
// less) for another; false: nothing has happened. mm/maple_leaf.c.
bool leaf_store(struct maple_tree *mt, struct maple_prealloc *pre, struct path *p, u64 start,
                u64 end, void *entry);

// Nodes. node_take cannot fail when prepared; node_retire frees after a grace period.
struct maple_node *node_take(struct maple_prealloc *pre);
void node_retire(struct maple_node *n);

#endif
