// The range tree's writer, the common case: a store that stays within one leaf.
//
// Nearly every store does. An address space's writer replaces one VMA by another, fills a piece of
// a gap or makes one, and the leaf has room for the two slots more that this may take. Then nothing
// is to be gathered, balanced or cut: the new leaf is the old one with its slots [from, to)
// exchanged for at most three new ones, and its place in the parent is the old one's:
//
//     slots       0    1    2    3    4          from = 1, to = 4: what the store touches, and
//     before   [  A    B    -    C    D  ]       gaps that the new one would lie beside
//                   |    s.......e   |
//     middle        | B  | X    | C  |           left rest, the new slot, right rest
//     after    [  A   B    X      C   D  ]
//
// A store that exchanges one pointer and no boundary does not even need the new leaf: one VMA for
// another, and also a VMA that goes and one that comes where such a one was. For a gap may be
// several slots, and a munmap leaves the bounds of what it takes away for the next mmap of that
// size:
//
//     slots       0    1    2    3            munmap of B: one word. The leaf has two gaps that
//     before   [  A    -    B    D  ]         touch; to the search for free areas they are one.
//     after    [  A    -    -    D  ]         mmap of as much, highest first: one word.
//
// Readers see both as they see any exchange. What such runs of gaps do to the tree: mm/maple.c.
//
// Everything else is for mm/maple_store.c, which can do this as well, in three times the
// instructions. The rules are the same (mm/maple.c), and so is why readers are not disturbed: the
// new leaf is complete before one release store puts it in the place of the old one.
#include <maple.h>
#include "maple_priv.h"

struct slot {
    u64 end;
    void *ptr;
};

struct splice {
    struct maple_node *leaf;
    u64 lo, hi; // the leaf's bounds
    unsigned from, to;
    struct slot middle[3];
    unsigned nr_middle;
};

static void *entry_before(struct maple_tree *mt, const struct path *p, u64 start)
{
    if (p->lo < start) {
        return p->entry;
    }
    if (p->idx[0] > 0) {
        return slot_get(p->node[0], p->idx[0] - 1u);
    }
    return start > 0 ? mt_find_rcu(mt, start - 1, NULL, NULL) : NULL;
}

// Slot j is the last one the store touches, and ends at last_end.
static void *entry_after(struct maple_tree *mt, struct maple_node *n, unsigned j, u64 last_end,
                         u64 end)
{
    if (end < last_end) {
        return slot_get(n, j);
    }
    if (j + 1u < n->nr) {
        return slot_get(n, j + 1u);
    }
    return end < mt->limit ? mt_find_rcu(mt, end, NULL, NULL) : NULL;
}

static void middle_add(struct splice *s, u64 end, void *ptr)
{
    s->middle[s->nr_middle++] = (struct slot){.end = end, .ptr = ptr};
}

// What comes in the place of which slots. A gap is joined with the slots beside it; equal entries
// are not neighbours here.
static void splice_plan(struct splice *s, const struct path *p, unsigned j, u64 last_end, u64 start,
                        u64 end, void *entry)
{
    struct maple_node *n = s->leaf;
    unsigned i = p->idx[0];
    void *last = slot_get(n, j);

    s->from = i;
    s->to = j + 1u;
    s->nr_middle = 0;
    if (p->lo < start) {
        if (entry != NULL || p->entry != NULL) {
            middle_add(s, start, p->entry);
        }
    } else if (entry == NULL && i > 0 && slot_get(n, i - 1u) == NULL) {
        s->from--;
    }
    if (entry != NULL || (end < last_end ? last : NULL) != NULL) {
        middle_add(s, end, entry);
        if (end < last_end) {
            middle_add(s, last_end, last);
        }
        return;
    }
    if (end == last_end && s->to < n->nr && slot_get(n, s->to) == NULL) {
        last_end = leaf_end(n, s->to, s->hi);
        s->to++;
    }
    middle_add(s, last_end, NULL);
}

// The new leaf holds something.
static bool splice_has_entry(const struct splice *s)
{
    for (unsigned i = 0; i < s->nr_middle; i++) {
        if (s->middle[i].ptr != NULL) {
            return true;
        }
    }
    for (unsigned i = 0; i < s->leaf->nr; i++) {
        if ((i < s->from || i >= s->to) && slot_get(s->leaf, i) != NULL) {
            return true;
        }
    }
    return false;
}

static bool splice_fits(const struct splice *s, const struct maple_tree *mt, const struct path *p)
{
    const struct slot *last = &s->middle[s->nr_middle - 1];
    unsigned nr = s->from + s->nr_middle + s->leaf->nr - s->to;

    if (nr > LEAF_SLOTS || (nr < LEAF_MIN && p->height > 1)) {
        return false;
    }
    if (s->hi == mt->limit) {
        return splice_has_entry(s); // the tree's last leaf may end in a gap
    }
    return last->ptr != NULL || s->to < s->leaf->nr;
}

// Copy slots and where they end.
static void slots_copy(struct maple_node *to, unsigned at, struct maple_node *from, unsigned i,
                       unsigned nr)
{
    for (unsigned k = 0; k < nr; k++) {
        store_relaxed(&to->leaf.slot[at + k], slot_get(from, i + k));
        to->leaf.pivot[at + k] = from->leaf.pivot[i + k];
    }
}

// The new leaf, not yet public. (A leaf's last slot has no pivot.)
static struct maple_node *splice_build(const struct splice *s, struct maple_prealloc *pre)
{
    struct maple_node *n = s->leaf, *m = node_take(pre);
    unsigned at = s->from;

    m->level = 0;
    m->nr = (u8)(at + s->nr_middle + n->nr - s->to);
    slots_copy(m, 0, n, 0, at);
    for (unsigned i = 0; i < s->nr_middle; i++, at++) {
        store_relaxed(&m->leaf.slot[at], s->middle[i].ptr);
        if (at < LEAF_SLOTS - 1) {
            m->leaf.pivot[at] = s->middle[i].end;
        }
    }
    if (s->to < n->nr) {
        slots_copy(m, at, n, s->to, n->nr - s->to - 1);
        store_relaxed(&m->leaf.slot[m->nr - 1], slot_get(n, n->nr - 1u));
    }
    for (at = m->nr - 1u; at < LEAF_SLOTS - 1; at++) {
        m->leaf.pivot[at] = PIVOT_PAD;
    }
    return m;
}

static void splice_count(struct maple_tree *mt, const struct splice *s)
{
    for (unsigned i = s->from; i < s->to; i++) {
        mt->nr_ranges -= slot_get(s->leaf, i) != NULL;
    }
    for (unsigned i = 0; i < s->nr_middle; i++) {
        mt->nr_ranges += s->middle[i].ptr != NULL;
    }
}

static u64 leaf_max_gap(struct maple_node *n, u64 lo, u64 hi)
{
    u64 largest = 0, since = lo; // where the gap that a slot goes on or begins began

    for (unsigned i = 0; i < n->nr; i++) {
        u64 end = leaf_end(n, i, hi);

        if (slot_get(n, i) != NULL) {
            since = end;
        } else {
            largest = max(largest, end - since);
        }
    }
    return largest;
}

// Slot i is not all that the leaf n holds. From the end, which is an entry but in the tree's last.
static bool leaf_has_other(struct maple_node *n, unsigned i)
{
    for (unsigned k = n->nr; k-- > 0;) {
        if (k != i && slot_get(n, k) != NULL) {
            return true;
        }
    }
    return false;
}

// The path's slot has become a gap, or is none any more. Tell the nodes above.
static void slot_update_gap(struct path *p, const struct splice *s, bool is_gap)
{
    struct maple_node *n = s->leaf;
    struct run r = leaf_run(n, p->idx[0]);
    u64 gap = leaf_end(n, r.last, s->hi) - leaf_start(n, r.first, s->lo);
    u64 largest = p->node[1]->inner.gap[p->idx[1]];

    if (is_gap) {
        path_set_gap(p, 0, max(gap, largest));
    } else if (gap == largest) {
        path_set_gap(p, 0, leaf_max_gap(n, s->lo, s->hi));
    }
}

// Exchange the pointer of the path's slot, unless that leaves the leaf ending in a gap, or empty.
static bool slot_exchange(struct maple_tree *mt, struct path *p, const struct splice *s,
                          void *entry)
{
    struct maple_node *n = s->leaf;
    unsigned i = p->idx[0];

    if (entry == NULL && (i + 1u == n->nr || !leaf_has_other(n, i))) {
        return false;
    }
    rcu_assign_pointer(&n->leaf.slot[i], entry); // pairs with the readers' load of slot
    if (p->entry == NULL || entry == NULL) {
        mt->nr_ranges += p->entry == NULL ? 1 : -1ull;
        if (p->height > 1) {
            slot_update_gap(p, s, entry == NULL);
        }
    }
    return true;
}

static void splice_publish(struct maple_tree *mt, struct path *p, const struct splice *s,
                           struct maple_node *m)
{
    if (p->height == 1) {
        rcu_assign_pointer(&mt->root, m); // pairs with the readers' load of root
        return;
    }
    // pairs with the readers' load of child
    rcu_assign_pointer(&p->node[1]->inner.child[p->idx[1]], m);
    path_set_gap(p, 0, leaf_max_gap(m, s->lo, s->hi));
}

bool leaf_store(struct maple_tree *mt, struct maple_prealloc *pre, struct path *p, u64 start,
                u64 end, void *entry)
{
    struct splice s; // of which what is used is set
    unsigned j = p->idx[0];
    u64 last_end = p->hi;

    s.leaf = p->node[0];
    s.hi = path_node_hi(mt, p, 0);

    if (end > s.hi) {
        return false;
    }
    if (end > p->hi) {
        j = leaf_index(s.leaf, end - 1);
        last_end = leaf_end(s.leaf, j, s.hi);
    } else if (p->entry == entry) {
        return true; // erasing inside a gap, or storing what is there
    }
    if (entry != NULL && (entry_before(mt, p, start) == entry ||
                          entry_after(mt, s.leaf, j, last_end, end) == entry)) {
        return false; // to be joined
    }
    s.lo = path_node_lo(p, 0);
    if (p->lo == start && p->hi == end && slot_exchange(mt, p, &s, entry)) {
        return true;
    }
    splice_plan(&s, p, j, last_end, start, end, entry);
    if (!splice_fits(&s, mt, p)) {
        return false;
    }
    splice_count(mt, &s);
    splice_publish(mt, p, &s, splice_build(&s, pre));
    node_retire(s.leaf); // unlinked now, so no new reader can find it
    return true;
}
