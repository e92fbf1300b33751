// Paths in the range tree: how the writer remembers where it is. Nodes have no parent pointers (a
// copied inner node would have to change all its children), so a path holds what lies above a slot,
// and stepping to a neighbour goes up to the first ancestor that has one and down its near edge.
#include <maple.h>
#include "maple_priv.h"

u64 path_node_lo(const struct path *p, unsigned level)
{
    for (unsigned j = level + 1; j < p->height; j++) {
        if (p->idx[j] > 0) {
            return p->node[j]->inner.pivot[p->idx[j] - 1];
        }
    }
    return 0;
}

u64 path_node_hi(const struct maple_tree *mt, const struct path *p, unsigned level)
{
    for (unsigned j = level + 1; j < p->height; j++) {
        if (p->idx[j] + 1u < p->node[j]->nr) {
            return p->node[j]->inner.pivot[p->idx[j]];
        }
    }
    return mt->limit;
}

void path_find(struct maple_tree *mt, struct path *p, u64 addr)
{
    struct maple_node *n = root_get(mt);
    unsigned i;

    p->height = 0;
    p->lo = 0;
    p->hi = mt->limit;
    p->entry = NULL;
    if (n == NULL) {
        return;
    }
    p->height = n->level + 1u;
    assert(p->height <= MAX_HEIGHT);
    for (; n->level > 0; n = child_get(n, i)) {
        i = inner_index(n, addr);
        p->node[n->level] = n;
        p->idx[n->level] = (u8)i;
        p->lo = slot_start(n, i, p->lo);
        p->hi = slot_end(n, i, p->hi);
    }
    i = leaf_index(n, addr);
    p->node[0] = n;
    p->idx[0] = (u8)i;
    p->lo = leaf_start(n, i, p->lo);
    p->hi = leaf_end(n, i, p->hi);
    p->entry = slot_get(n, i);
}

bool path_step_left(struct path *p, unsigned level)
{
    unsigned j = level + 1;

    while (j < p->height && p->idx[j] == 0) {
        j++;
    }
    if (j >= p->height) {
        return false;
    }
    p->idx[j]--;
    for (; j > level; j--) {
        p->node[j - 1] = child_get(p->node[j], p->idx[j]);
        p->idx[j - 1] = p->node[j - 1]->nr - 1;
    }
    return true;
}

bool path_step_right(struct path *p, unsigned level)
{
    unsigned j = level + 1;

    while (j < p->height && p->idx[j] + 1u == p->node[j]->nr) {
        j++;
    }
    if (j >= p->height) {
        return false;
    }
    p->idx[j]++;
    for (; j > level; j--) {
        p->node[j - 1] = child_get(p->node[j], p->idx[j]);
        p->idx[j - 1] = 0;
    }
    return true;
}

void path_set_gap(struct path *p, unsigned level, u64 gap)
{
    for (unsigned j = level + 1; j < p->height; j++) {
        struct maple_node *n = p->node[j];

        if (n->inner.gap[p->idx[j]] == gap) {
            return;
        }
        n->inner.gap[p->idx[j]] = gap;
        for (unsigned i = 0; i < n->nr; i++) {
            gap = max(gap, n->inner.gap[i]);
        }
    }
}
