// The range tree's rules as code: mt_check walks everything and names the first rule that is
// broken. For tests and debug builds; the writer's lock is held.
#include <maple.h>
#include "maple_priv.h"

struct check {
    u64 nr_ranges;
    u64 limit;
    void *prev; // entry of the slot before, NULL: a gap
    bool first; // no slot was looked at yet
};

static const char *check_pivots(struct maple_node *n, u64 lo, u64 hi)
{
    unsigned slots = n->level == 0 ? LEAF_SLOTS : INNER_SLOTS;
    const u64 *pivot = n->level == 0 ? n->leaf.pivot : n->inner.pivot;

    if (n->nr == 0 || n->nr > slots) {
        return "the number of slots is impossible";
    }
    for (unsigned i = 0; i < n->nr; i++) {
        if (slot_start(n, i, lo) >= slot_end(n, i, hi)) {
            return "pivots do not ascend inside the parent's bounds";
        }
    }
    for (unsigned i = n->nr - 1u; i + 1 < slots; i++) {
        if (pivot[i] != PIVOT_PAD) {
            return "an unused pivot is not padded";
        }
    }
    return NULL;
}

static const char *check_leaf(struct check *c, struct maple_node *n, u64 lo, u64 hi, u64 *max_gap)
{
    u64 gap = 0, before = c->nr_ranges; // gap: as far as here

    for (unsigned i = 0; i < n->nr; i++) {
        void *entry = slot_get(n, i);

        if (i > 0 ? entry == c->prev && entry != NULL : !c->first && entry == c->prev) {
            return entry == NULL ? "a gap goes on in the next leaf"
                                 : "two ranges of one entry touch";
        }
        gap = entry == NULL ? gap + slot_end(n, i, hi) - slot_start(n, i, lo) : 0;
        *max_gap = max(*max_gap, gap);
        c->nr_ranges += entry != NULL;
        c->prev = entry;
        c->first = false;
    }
    if (c->prev == NULL && hi != c->limit) {
        return "a leaf ends in a gap";
    }
    if (c->nr_ranges == before) {
        return "a leaf is empty";
    }
    return NULL;
}

static const char *check_node(struct check *c, struct maple_node *n, u64 lo, u64 hi, u64 *max_gap)
{
    const char *broken = check_pivots(n, lo, hi);

    *max_gap = 0;
    if (broken != NULL) {
        return broken;
    }
    if (n->level == 0) {
        return check_leaf(c, n, lo, hi, max_gap);
    }
    for (unsigned i = 0; i < n->nr; i++) {
        struct maple_node *child = child_get(n, i);
        u64 gap;

        if (child == NULL || child->level + 1u != n->level) {
            return "leaves are not all at the same depth";
        }
        if (child->nr < (child->level == 0 ? LEAF_MIN : INNER_MIN)) {
            return "a node has too few slots";
        }
        broken = check_node(c, child, slot_start(n, i, lo), slot_end(n, i, hi), &gap);
        if (broken != NULL) {
            return broken;
        }
        if (n->inner.gap[i] != gap) {
            return "a gap field is not the largest gap below";
        }
        *max_gap = max(*max_gap, gap);
    }
    return NULL;
}

const char *mt_check(struct maple_tree *mt)
{
    struct check c = {.limit = mt->limit, .first = true};
    struct maple_node *root = root_get(mt);
    const char *broken = NULL;
    u64 gap;

    if (root != NULL) {
        if (root->level > 0 && root->nr < 2) {
            return "the root has a single child";
        }
        if (root->level >= MAX_HEIGHT) {
            return "the tree is too high";
        }
        broken = check_node(&c, root, 0, mt->limit, &gap);
    }
    if (broken == NULL && c.nr_ranges != mt->nr_ranges) {
        return "nr_ranges is not the number of ranges";
    }
    return broken;
}

static u64 subtree_nr_nodes(struct maple_node *n)
{
    u64 nr = 1;

    for (unsigned i = 0; n->level > 0 && i < n->nr; i++) {
        nr += subtree_nr_nodes(child_get(n, i));
    }
    return nr;
}

u64 mt_nr_nodes(struct maple_tree *mt)
{
    struct maple_node *root = root_get(mt);

    return root != NULL ? subtree_nr_nodes(root) : 0;
}
