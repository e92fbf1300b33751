// Free-area search in the range tree: where does a new mapping fit? The theory of gaps is in
// mm/maple.c: a gap is one or more NULL slots of one leaf, and an inner node knows the largest
// below each child.
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

// Slots r of the leaf n, a gap, will do.
static bool run_fits(struct gap_search *q, struct maple_node *n, struct run r, u64 lo, u64 hi)
{
    q->found.lo = leaf_start(n, r.first, lo);
    q->found.hi = leaf_end(n, r.last, hi);
    q->found.next = r.last + 1u < n->nr ? slot_get(n, r.last + 1) : NULL; // in this leaf, if any
    return gap_fits(q, q->found.lo, q->found.hi);
}

static bool leaf_lowest(struct gap_search *q, struct maple_node *n, u64 lo, u64 hi)
{
    for (unsigned i = leaf_index(n, max(lo, q->min)); i < n->nr; i++) {
        if (leaf_start(n, i, lo) >= q->max) {
            return false;
        }
        if (slot_get(n, i) != NULL) {
            continue;
        }
        struct run r = leaf_run(n, i);
        if (run_fits(q, n, r, lo, hi)) {
            q->found.start = max(q->found.lo, q->min);
            return true;
        }
        i = r.last;
    }
    return false;
}

static bool leaf_highest(struct gap_search *q, struct maple_node *n, u64 lo, u64 hi)
{
    for (unsigned i = leaf_index(n, min(hi, q->max) - 1) + 1; i-- > 0;) {
        if (leaf_end(n, i, hi) <= q->min) {
            return false;
        }
        if (slot_get(n, i) != NULL) {
            continue;
        }
        struct run r = leaf_run(n, i);
        if (run_fits(q, n, r, lo, hi)) {
            q->found.start = min(q->found.hi, q->max) - q->size;
            return true;
        }
        i = r.first;
    }
    return false;
}

// Child i of n, which spans [lo, hi), is worth a look.
static bool child_may_fit(struct gap_search *q, struct maple_node *n, unsigned i, u64 lo, u64 hi)
{
    return n->inner.gap[i] >= q->size && gap_fits(q, slot_start(n, i, lo), slot_end(n, i, hi));
}

static bool search_lowest(struct gap_search *q, struct maple_node *n, u64 lo, u64 hi)
{
    if (n->level == 0) {
        return leaf_lowest(q, n, lo, hi);
    }
    for (unsigned i = inner_index(n, max(lo, q->min)); i < n->nr; i++) {
        u64 start = slot_start(n, i, lo);

        if (start >= q->max) {
            return false;
        }
        if (child_may_fit(q, n, i, lo, hi) &&
            search_lowest(q, child_get(n, i), start, slot_end(n, i, hi))) {
            return true;
        }
    }
    return false;
}

static bool search_highest(struct gap_search *q, struct maple_node *n, u64 lo, u64 hi)
{
    if (n->level == 0) {
        return leaf_highest(q, n, lo, hi);
    }
    for (unsigned i = inner_index(n, min(hi, q->max) - 1) + 1; i-- > 0;) {
        u64 end = slot_end(n, i, hi);

        if (end <= q->min) {
            return false;
        }
        if (child_may_fit(q, n, i, lo, hi) &&
            search_highest(q, child_get(n, i), slot_start(n, i, lo), end)) {
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
    q.found = (struct maple_gap){q.min, 0, mt->limit, NULL}; // an empty tree is one gap
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
    q.found = (struct maple_gap){q.max - size, 0, mt->limit, NULL}; // an empty tree is one gap
    if (root != NULL && !search_highest(&q, root, 0, mt->limit)) {
        return -ENOMEM;
    }
    *out = q.found;
    return 0;
}
