// Free-area search in the range tree: where does a new mapping fit? The theory of gaps is in
// mm/maple.c: a gap is one NULL slot of one leaf, and an inner node knows the largest below each
// child.
//
// A search goes down from the root, into the first child (from the end it prefers) that has a gap
// large enough. Such a descent can only be disappointed at an edge of the window [min, max), where
// the large gap may lie outside or be cut; a child that lies wholly inside keeps its promise. So a
// level costs at most two nodes, and the search is logarithmic.
#include <k/errno.h>
#include <maple.h>
#include "maple_priv.h"

struct gap_search {
    u64 min, max, size;
    struct maple_gap found;
};

// The part of [lo, hi) that lies in the window is large enough.
static bool gap_fits(struct gap_search *q, u64 lo, u64 hi)
{
    lo = max(lo, q->min);
    hi = min(hi, q->max);
    return lo < hi && hi - lo >= q->size;
}

// Slot i of n, which spans [lo, hi), is worth a look.
static bool slot_may_fit(struct gap_search *q, struct maple_node *n, unsigned i, u64 lo, u64 hi)
{
    if (n->level == 0 ? slot_get(n, i) != NULL : n->inner.gap[i] < q->size) {
        return false;
    }
    return gap_fits(q, slot_start(n, i, lo), slot_end(n, i, hi));
}

static unsigned node_index(struct maple_node *n, u64 addr)
{
    return n->level == 0 ? leaf_index(n, addr) : inner_index(n, addr);
}

static bool search_lowest(struct gap_search *q, struct maple_node *n, u64 lo, u64 hi)
{
    for (unsigned i = node_index(n, max(lo, q->min)); i < n->nr; i++) {
        u64 start = slot_start(n, i, lo);

        if (start >= q->max) {
            return false;
        }
        if (!slot_may_fit(q, n, i, lo, hi)) {
            continue;
        }
        if (n->level == 0) {
            q->found = (struct maple_gap){max(start, q->min), start, slot_end(n, i, hi)};
            return true;
        }
        if (search_lowest(q, child_get(n, i), start, slot_end(n, i, hi))) {
            return true;
        }
    }
    return false;
}

static bool search_highest(struct gap_search *q, struct maple_node *n, u64 lo, u64 hi)
{
    for (unsigned i = node_index(n, min(hi, q->max) - 1) + 1; i-- > 0;) {
        u64 end = slot_end(n, i, hi);

        if (end <= q->min) {
            return false;
        }
        if (!slot_may_fit(q, n, i, lo, hi)) {
            continue;
        }
        if (n->level == 0) {
            q->found = (struct maple_gap){min(end, q->max) - q->size, slot_start(n, i, lo), end};
            return true;
        }
        if (search_highest(q, child_get(n, i), slot_start(n, i, lo), end)) {
            return true;
        }
    }
    return false;
}

// False: there can be no answer.
static bool search_begin(struct maple_tree *mt, struct gap_search *q)
{
    q->max = min(q->max, mt->limit);
    return q->size > 0 && q->min < q->max && q->max - q->min >= q->size;
}

int mt_gap_lowest(struct maple_tree *mt, u64 min, u64 max, u64 size, struct maple_gap *out)
{
    struct gap_search q = {.min = min, .max = max, .size = size};
    struct maple_node *root = root_get(mt);

    if (!search_begin(mt, &q)) {
        return -ENOMEM;
    }
    q.found = (struct maple_gap){q.min, 0, mt->limit}; // an empty tree is one gap
    if (root != NULL && !search_lowest(&q, root, 0, mt->limit)) {
        return -ENOMEM;
    }
    *out = q.found;
    return 0;
}

int mt_gap_highest(struct maple_tree *mt, u64 min, u64 max, u64 size, struct maple_gap *out)
{
    struct gap_search q = {.min = min, .max = max, .size = size};
    struct maple_node *root = root_get(mt);

    if (!search_begin(mt, &q)) {
        return -ENOMEM;
    }
    q.found = (struct maple_gap){q.max - size, 0, mt->limit}; // an empty tree is one gap
    if (root != NULL && !search_highest(&q, root, 0, mt->limit)) {
        return -ENOMEM;
    }
    *out = q.found;
    return 0;
}
