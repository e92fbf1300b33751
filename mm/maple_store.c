// The range tree's writer: mt_store. mm/maple.c has the theory; this is the building. Stores that
// stay within one leaf, nearly all, are mm/maple_leaf.c's.
//
// One store replaces what lies between two slots, `left` (holds the first address) and `right`
// (holds the last one), and goes up level by level. On each level:
//
//     gather   a list of all slots of the nodes from left's to right's, with the middle replaced:
//
//                 left's node         nodes between       right's node
//              [ a  b  c | x  x ]     [ x  x  x ]      [ x | d  e ]        x: replaced
//               -------                                     -----
//                a b c          + what the level below made +  d e
//
//     balance  too short a list takes in whole neighbour nodes (left or right then moves onto them)
//     retire   remember the old nodes of the run, to be given to RCU after the publication
//     build    cut the list into one to three new nodes
//
// until one new node stands for one old node (its parent's slot takes it), or a level is replaced
// entirely by one node (the root takes it, and the tree has lost or gained levels). That is the
// only store that a reader can see.
//
// Everything old stays as it was until then, so the paths may be stepped along freely meanwhile;
// only the `next` word of remembered nodes is written, which no reader looks at.
#include <maple.h>
#include "maple_priv.h"

struct item {
    u64 end; // the item spans from the end of the one before it to here
    void *ptr;
    u64 gap; // above the leaves: the largest gap below
};

enum {
    ROOM_FRONT = LEAF_SLOTS + LEAF_MIN, // taken in on the left: a leaf, when there are too few yet
    ROOM_BACK = 2 * LEAF_SLOTS + 2,     // both ends of a store over two full leaves, the new entry
};

struct store {
    struct maple_tree *mt;
    struct maple_prealloc *pre;
    u64 start, end;
    void *entry;
    unsigned height; // levels; 0: empty tree
    struct path left, right;
    struct maple_node *retired; // chain through next
    unsigned first, nr;         // items in use
    struct item item[ROOM_FRONT + ROOM_BACK];
    unsigned nr_made; // new nodes of the level just built
    struct item made[MAX_MADE];
};

// ---- Gather, balance, retire, build ------------------------------------------------------------

// Joins neighbours that hold the same entry (or nothing); children are all different.
static void item_append(struct store *s, u64 end, void *ptr, u64 gap)
{
    struct item *it = &s->item[s->first + s->nr];

    if (s->nr > 0 && it[-1].ptr == ptr) {
        it[-1].end = end;
        return;
    }
    *it = (struct item){.end = end, .ptr = ptr, .gap = gap};
    s->nr++;
}

static struct item node_item(struct maple_node *n, unsigned i, u64 hi)
{
    struct item it = {.end = slot_end(n, i, hi)};

    if (n->level == 0) {
        it.ptr = slot_get(n, i);
    } else {
        it.ptr = child_get(n, i);
        it.gap = n->inner.gap[i];
    }
    return it;
}

static void gather_slots(struct store *s, struct maple_node *n, unsigned from, unsigned to, u64 hi)
{
    for (unsigned i = from; i < to; i++) {
        struct item it = node_item(n, i, hi);

        item_append(s, it.end, it.ptr, it.gap);
    }
}

// Left's slots before the replaced ones, the new ones (on level 0 with what remains of the slots
// cut at start and end), right's slots after.
static void gather(struct store *s, unsigned level)
{
    struct path *l = &s->left, *r = &s->right;

    s->first = ROOM_FRONT;
    s->nr = 0;
    if (level < s->height) {
        gather_slots(s, l->node[level], 0, l->idx[level], 0); // never the last slot: no hi needed
    }
    if (level == 0) {
        if (l->lo < s->start) {
            item_append(s, s->start, l->entry, 0);
        }
        item_append(s, s->end, s->entry, 0);
        if (s->end < r->hi) {
            item_append(s, r->hi, r->entry, 0);
        }
    }
    for (unsigned i = 0; level > 0 && i < s->nr_made; i++) {
        item_append(s, s->made[i].end, s->made[i].ptr, s->made[i].gap);
    }
    if (level < s->height) {
        struct maple_node *n = r->node[level];

        gather_slots(s, n, r->idx[level] + 1u, n->nr, path_node_hi(s->mt, r, level));
    }
}

static void take_in_right(struct store *s, unsigned level)
{
    struct maple_node *n = s->right.node[level];

    gather_slots(s, n, 0, n->nr, path_node_hi(s->mt, &s->right, level));
}

static void take_in_left(struct store *s, unsigned level)
{
    struct maple_node *n = s->left.node[level];
    u64 hi = path_node_hi(s->mt, &s->left, level);

    for (unsigned i = n->nr; i-- > 0;) {
        struct item it = node_item(n, i, hi);

        if (it.ptr != s->item[s->first].ptr) { // or else that one begins earlier now: a gap
            s->item[--s->first] = it;
            s->nr++;
        }
    }
}

// One neighbour is mostly enough: it has the minimum of slots by itself, and at most one is lost by
// joining two gaps. It takes more where leaves consist of runs of gaps, which a list has joined. A
// neighbour under the same parent is preferred, since another parent would have to be copied as
// well; there is none only when the store covers all the parent's other children.
static void balance(struct store *s, unsigned level)
{
    struct path *r = &s->right;

    if (level >= s->height) {
        return;
    }
    if (level == 0 && s->item[s->first + s->nr - 1].ptr == NULL && path_step_right(r, level)) {
        take_in_right(s, level); // a leaf must not end in a gap
    }
    while (s->nr < (level == 0 ? LEAF_MIN : INNER_MIN)) {
        bool sibling = level + 1 < s->height && r->idx[level + 1] + 1u < r->node[level + 1]->nr;

        if (!sibling && path_step_left(&s->left, level)) {
            take_in_left(s, level);
        } else if (path_step_right(r, level)) {
            take_in_right(s, level);
        } else {
            break; // all there is: a root
        }
    }
}

// After gather and balance: next lies over gap fields, which they read.
static void run_retire(struct store *s, unsigned level)
{
    struct maple_node *n, *last = s->right.node[level];
    struct path p;

    if (s->left.node[level] != last) {
        p = s->left;
        do {
            n = p.node[level];
            path_step_right(&p, level);
            n->next = s->retired;
            s->retired = n;
        } while (p.node[level] != last);
    }
    last->next = s->retired;
    s->retired = last;
}

// One node of items [from, to) that starts at address lo; to be published by somebody else.
static struct item node_make(struct store *s, unsigned level, unsigned from, unsigned to, u64 lo)
{
    struct maple_node *n = node_take(s->pre);
    const struct item *it = &s->item[s->first + from];
    unsigned nr = to - from, slots = level == 0 ? LEAF_SLOTS : INNER_SLOTS;
    u64 *pivot = level == 0 ? n->leaf.pivot : n->inner.pivot;
    u64 gap = 0;

    assert(nr > 0 && nr <= slots);
    n->level = (u8)level;
    n->nr = (u8)nr;
    for (unsigned i = 0; i < nr; i++) {
        if (level > 0) {
            store_relaxed(&n->inner.child[i], it[i].ptr);
            n->inner.gap[i] = it[i].gap;
            gap = max(gap, it[i].gap);
        } else {
            store_relaxed(&n->leaf.slot[i], it[i].ptr);
            if (it[i].ptr == NULL) {
                gap = max(gap, it[i].end - (i > 0 ? it[i - 1].end : lo));
            }
        }
    }
    for (unsigned i = 0; i + 1 < slots; i++) {
        pivot[i] = i + 1 < nr ? it[i].end : PIVOT_PAD;
    }
    return (struct item){.end = it[nr - 1].end, .ptr = n, .gap = gap};
}

// Cut the items into as few nodes as will do, evenly. A cut never leaves a gap at the end of a
// leaf: it moves by one, and the division leaves that one slot free.
static void build(struct store *s, unsigned level)
{
    unsigned slots = level == 0 ? LEAF_SLOTS : INNER_SLOTS;
    unsigned part = level == 0 ? slots - 1 : slots;
    unsigned parts = s->nr <= slots ? 1 : (s->nr + part - 1) / part;
    unsigned from = 0, to;
    u64 lo = path_node_lo(&s->left, level);

    assert(parts <= MAX_MADE);
    for (unsigned i = 0; i < parts; i++) {
        to = s->nr * (i + 1) / parts;
        if (level == 0 && to < s->nr && s->item[s->first + to - 1].ptr == NULL) {
            to++;
        }
        s->made[i] = node_make(s, level, from, to, lo);
        lo = s->made[i].end;
        from = to;
    }
    s->nr_made = parts;
}

// ---- Publication -------------------------------------------------------------------------------

static void retired_to_rcu(struct store *s)
{
    while (s->retired != NULL) {
        struct maple_node *n = s->retired;

        s->retired = n->next;
        node_retire(n);
    }
}

// `level` has been replaced entirely by one node, or by nothing: all levels above it go.
static void publish_root(struct store *s, unsigned level, struct maple_node *root)
{
    for (level++; level < s->height; level++) {
        run_retire(s, level);
    }
    rcu_assign_pointer(&s->mt->root, root); // pairs with the readers' load of root
}

static void publish_child(struct store *s, unsigned level)
{
    struct path *p = &s->left;
    struct maple_node *parent = p->node[level + 1];

    // pairs with the readers' load of child
    rcu_assign_pointer(&parent->inner.child[p->idx[level + 1]],
                       (struct maple_node *)s->made[0].ptr);
    path_set_gap(p, level, s->made[0].gap);
}

static bool level_is_whole(const struct store *s, unsigned level)
{
    return path_node_lo(&s->left, level) == 0 &&
           path_node_hi(s->mt, &s->right, level) == s->mt->limit;
}

static void store_rebuild(struct store *s)
{
    for (unsigned level = 0;; level++) {
        bool whole, same;

        gather(s, level);
        balance(s, level);
        whole = level_is_whole(s, level);
        same = level < s->height && s->left.node[level] == s->right.node[level];
        if (level < s->height) {
            run_retire(s, level);
        }
        if (whole && s->nr == 1 && s->item[s->first].ptr == NULL) {
            publish_root(s, level, NULL); // one gap: no entry is left
            break;
        }
        build(s, level);
        if (whole && s->nr_made == 1) {
            publish_root(s, level, s->made[0].ptr);
            break;
        }
        if (same && s->nr_made == 1) {
            publish_child(s, level);
            break;
        }
    }
    retired_to_rcu(s); // unlinked now, so no new reader can find them
}

// ---- mt_store ----------------------------------------------------------------------------------

static void *entry_before(struct store *s)
{
    struct path *p = &s->left;

    if (p->lo < s->start || s->start == 0) {
        return p->lo < s->start ? p->entry : NULL;
    }
    return p->idx[0] > 0 ? slot_get(p->node[0], p->idx[0] - 1u)
                         : mt_find_rcu(s->mt, s->start - 1, NULL, NULL);
}

static void *entry_after(struct store *s)
{
    struct path *p = &s->right;

    if (s->end < p->hi || s->end == s->mt->limit) {
        return s->end < p->hi ? p->entry : NULL;
    }
    return p->idx[0] + 1u < p->node[0]->nr ? slot_get(p->node[0], p->idx[0] + 1u)
                                           : mt_find_rcu(s->mt, s->end, NULL, NULL);
}

// Neighbours with the same entry become part of the store, so that it stores one range.
static void store_widen(struct store *s)
{
    bool join_left = entry_before(s) == s->entry, join_right = entry_after(s) == s->entry;

    if (join_left) {
        mt_find_rcu(s->mt, s->start - 1, &s->start, NULL);
    }
    if (join_right) {
        mt_find_rcu(s->mt, s->end, NULL, &s->end);
    }
    if (join_left || join_right) {
        path_find(s->mt, &s->left, s->start);
        path_find(s->mt, &s->right, s->end - 1);
    }
}

// nr_ranges: those the store touches go, what it leaves of the outermost two and its own come.
static void store_count(struct store *s)
{
    struct path p = s->left;
    u64 gone = 0;
    bool last;

    do {
        struct maple_node *n = p.node[0];
        unsigned to;

        last = n == s->right.node[0];
        to = last ? s->right.idx[0] + 1u : n->nr;
        for (unsigned i = p.idx[0]; i < to; i++) {
            gone += slot_get(n, i) != NULL;
        }
        if (!last) {
            path_step_right(&p, 0);
        }
    } while (!last);
    s->mt->nr_ranges -= gone;
    s->mt->nr_ranges += s->left.lo < s->start && s->left.entry != NULL;
    s->mt->nr_ranges += s->end < s->right.hi && s->right.entry != NULL;
    s->mt->nr_ranges += s->entry != NULL;
}

// Any store. *p: the path to start.
static noinline void store_general(struct maple_tree *mt, struct maple_prealloc *pre,
                                   const struct path *p, u64 start, u64 end, void *entry)
{
    struct store s; // large: items are filled as far as they are used

    s.mt = mt;
    s.pre = pre;
    s.start = start;
    s.end = end;
    s.entry = entry;
    s.height = p->height;
    s.left = *p;
    s.retired = NULL;
    s.nr_made = 0;
    assert(s.height < MAX_HEIGHT);
    if (s.height > 0) {
        path_find(mt, &s.right, end - 1);
        if (entry != NULL) {
            store_widen(&s);
        }
        store_count(&s);
    } else if (entry == NULL) {
        return;
    } else {
        s.right = s.left;
        mt->nr_ranges = 1;
    }
    store_rebuild(&s);
}

void mt_store(struct maple_tree *mt, struct maple_prealloc *pre, u64 start, u64 end, void *entry)
{
    struct path p;

    assert(start < end && end <= mt->limit);
    path_find(mt, &p, start);
    if (p.height == 0 || !leaf_store(mt, pre, &p, start, end, entry)) {
        store_general(mt, pre, &p, start, end, entry);
    }
}
