// The range tree: which VMA holds this address? (mm/maple_store.c and mm/maple_leaf.c write,
// mm/maple_gap.c looks for free areas, mm/maple_check.c holds the rules as code; this file has the
// theory and the readers.)
//
// The problem
// -----------
// Every page fault of every thread asks for one address. It must not wait for a writer, and must
// not store to memory that another CPU uses: a lock word, a reference count, a sequence count.
// Meanwhile mmap, munmap and mprotect change ranges, some of them thousands at once (MAP_FIXED over
// many mappings), and none of those changes may make an address that is mapped before and after it
// look unmapped in between (race R12: a thread would die of a SIGSEGV it has not earned).
//
// The idea
// --------
// A B-tree whose nodes do not change once a reader can reach them, except for single pointers:
//
//     root: inner     pivot          40          90
//                     child  [0,40)     [40,90)     [90,800)       3 slots, 2 pivots
//                     gap        8          20         700         for the writer only
//                           ____/            |            \____
//                          /                 |                 .
//     leaf                           leaf                 leaf
//     pivot    5    20    28         pivot    60          pivot    95    100
//     slot   A    B     -    C       slot   -    D        slot   E     F     -
//
//     A is [0,5), B [5,20), C [28,40), D [60,90), E [90,95), F [95,100); "-" is a gap, a NULL slot.
//     A node does not store its own bounds; the pivots above it say them.
//
// A store that puts one pointer in the place of another (same bounds: the VMA object is exchanged,
// a range goes and leaves its slot as a gap, or such a slot is filled again) writes that slot: one
// aligned word, atomic by nature.
// Any other store builds new leaves aside, then new parents for them as far up as pivots change,
// and stops at the first node whose place can be taken over one for one. One release store of one
// pointer makes all of it public; the nodes that fell out are freed after a grace period:
//
//     store [15,70) = X      before: P              after: P'
//                                   /|.                   / .
//                                 L1 L2 L3              N1   L3        N1: A B X D, [0,90)
//
//     L1, L2 and P leave the tree by the one store that puts P' where P was. L3 is now in both: a
//     reader that still stands in P finds it there. (Real nodes are fuller than drawn.)
//
// The pieces that keep it a good tree:
// - Fill. A leaf has LEAF_MIN..23 slots, an inner node INNER_MIN..16 (the root may have fewer). The
//   writer gathers the slots of a level into one list, takes in whole neighbours while the list is
//   too short, and cuts the list into even parts. So the height stays logarithmic and the memory in
//   proportion, whatever the order of stores and erases.
// - A gap is a run of NULL slots, mostly of one. An erase of just what a slot holds leaves the
//   slot, and whoever maps as much in the same place finds it there. Such runs count as fill, as
//   long as the leaf has an entry (so there are never more leaves than ranges); leaves that are
//   gathered are built anew without them.
// - No gap straddles leaves: a leaf does not end in NULL unless it ends the tree. So the largest
//   gap of a leaf is its longest run, and that of a subtree is the largest of its leaves'.
// - Gap fields. An inner node keeps the largest gap under each child, so a search descends only
//   where it will succeed. They are changed in place, from the leaf up to the first ancestor that
//   does not care. Readers never look at them.
// - An empty tree has no nodes (root NULL), so mt_init cannot fail.
//
// Who may do what
// ---------------
//     readers   rcu_read_lock; loads only: mt_find_rcu, mt_next_rcu, mt_prev_rcu
//     writer    one at a time, under the tree's owner lock (an mm's edit_lock)
//     a node    set aside      in a maple_prealloc or a CPU's reserve
//               being filled   the writer's alone
//               public         immutable but for its slot or child words, and the gaps
//               unlinked       frozen; only readers that came before can stand in it
//               freed          after a grace period
//
// Why it is correct
// -----------------
// 1. A reader never sees a half-written node. All stores that fill a node come before the release
//    store that publishes it, or an ancestor of it; a reader gets there through an acquire load of
//    that same word:
//
//        writer                                  reader
//        fill N (plain stores)                   c = load_acquire(&P->child[1])
//        store_release(&P->child[1], N)          the old child: all below it is as it was; or
//                                                N: then also everything stored before it
//
//    Release and acquire are enough, because message passing is all there is. Nothing is decided
//    here by "I stored mine, then looked at yours": readers store nothing, and the writer never
//    asks about readers. (A fault that must not install a page under an unmapped VMA is such a
//    case; the scheme and the page-table lock handle it after the lookup, with a full barrier.)
// 2. For each address a store is one step. The pivots of immutable nodes and one pointer word in
//    each lead from the root to an address's slot; a store changes exactly one of those words, and
//    the old word and the new one both lead to an answer that is true at that moment. Rejected, to
//    change a leaf in place; [0,10)=A [10,20)=B is to become [0,15)=C [15,20)=B:
//
//        writer                                  reader of address 5, with bounds
//        slot[0] = C                             slot[0] is C, which says it goes to 15
//                                                pivot[0] is 10: C is found as [0,10)
//        pivot[0] = 15
//
//    and if the pivot goes first, address 12 is A's for a while. With a copy there is one moment:
//    store_release(&P->child[i], {C 15 B}). mt_prev_rcu may descend twice, and still says of each
//    address only what was true of it at some time during the call.
// 3. Nodes stay readable as long as anyone may stand in them: a node is unlinked first and given to
//    call_rcu afterwards. The other way round, a reader that starts in between is not waited for.
//    What hangs under an unlinked node stays as long: if a later store takes it out of the tree,
//    its grace period begins later still. And the writer's own links through unlinked nodes (rcu
//    and next) lie beyond the words that readers use; see the assertion in maple_priv.h.
// 4. mt_store cannot fail. On each level it makes at most 3 nodes (what is left of the first, the
//    new, and what is left of the last, are less than three nodes' worth), and one new root; and
//    nodes_needed shows how far the height can grow among the stores prepared for.
//
// What was rejected
// -----------------
// - A red-black tree (Linux before 6.1): rotations pass through states where a subtree is on no
//   path, so lockless readers need a sequence count and a retry. And twenty dependent loads for a
//   thousand VMAs, where this needs three nodes.
// - Moving pivots in place for a growing heap or stack: less to copy, and the race of point 2.
// - Ranges with explicit starts and ends in the leaf: less room where ranges abut, and the gap
//   between two leaves belongs to neither.
// - Copying the path up to the root at every store: simple, but every reader would miss on the root
//   after every mmap; as it is, a store dirties one word of one node on the readers' path.
// - Leaf chains (next-leaf pointers): a copied leaf would have to change its neighbour as well, and
//   two words cannot change at once. A walk descends from the root again for each next entry.
// - Gaps of one slot always. Then a munmap copies a leaf, to forget two bounds that the next mmap
//   brings back with another copy. (Such a pair of calls was 3,595 instructions, now 2,692; two
//   threads took 16 cache lines from each other in it, now 5.)
// - One number of slots for leaf and inner nodes: where an inner node has gaps, a leaf of the same
//   six cache lines has room for seven more slots.
#include <k/errno.h>
#include <k/percpu.h>
#include <maple.h>
#include <slab.h>
#include "maple_priv.h"

static struct kmem_cache *node_cache;

void maple_init(void)
{
    node_cache = kmem_cache_create("maple_node", sizeof(struct maple_node), CACHE_LINE);
    kmem_cache_on_drain(node_cache, mt_drain_local);
}

long maple_nr_nodes(void)
{
    return kmem_cache_nr_used(node_cache);
}

// ---- Nodes set aside ---------------------------------------------------------------------------

static void chain_push(struct maple_prealloc *pre, struct maple_node *n)
{
    n->next = pre->free;
    n->chain_len = ++pre->nr;
    pre->free = n;
}

struct maple_node *node_take(struct maple_prealloc *pre)
{
    struct maple_node *n = pre->free;

    assert(n != NULL); // the caller prepared fewer stores than it commits
    pre->free = n->next;
    pre->nr--;
    return n;
}

static void chain_trim(struct maple_prealloc *pre, unsigned nr)
{
    while (pre->nr > nr) {
        kmem_cache_free(node_cache, node_take(pre));
    }
}

static void node_free_rcu(struct rcu_head *head)
{
    kmem_cache_free(node_cache, container_of(head, struct maple_node, rcu));
}

void node_retire(struct maple_node *n)
{
    call_rcu(&n->rcu, node_free_rcu);
}

// The worst case of one store is 3 nodes a level and a new root: 3h + 1. For a burst of n stores,
// how far can the height grow on the way? A store adds at most one node to a level. So the children
// of the nodes on the root's level are 16 + n at the end, and those nodes themselves a fifth of
// that, as each but a root has INNER_MIN. If they are no more than 16 then one new root holds them
// all, and it is the "1" of 3h + 1; otherwise the next level counts as a full one, and so on up.
// (The argument needs an inner root: a lower tree is treated as one of two levels.)
static unsigned nodes_needed(struct maple_tree *mt, unsigned nr_stores)
{
    rcu_read_lock();                                      // the caller may not be the writer yet
    struct maple_node *root = rcu_dereference(&mt->root); // pairs with the stores to root
    unsigned height = root == NULL || root->level == 0 ? 2 : root->level + 1u;
    rcu_read_unlock();

    for (unsigned n = (INNER_SLOTS + nr_stores) / INNER_MIN; n > INNER_SLOTS; n /= INNER_MIN) {
        height++;
    }
    return nr_stores * (MAX_MADE * height + 1);
}

// Each CPU keeps a chain of nodes for its next mt_prepare: of its worst case a store uses a node or
// two, the rest comes back through mt_unprepare. For each CPU and not for each tree, because a node
// that another CPU filled last costs six transfers of lines to fill again. Thread context only, and
// the kernel is not preempted, so no lock.
static DEFINE_PER_CPU(struct maple_node *, node_reserve);

static unsigned chain_nr(struct maple_node *chain)
{
    return chain != NULL ? chain->chain_len : 0;
}

int mt_prepare(struct maple_tree *mt, struct maple_prealloc *pre, unsigned nr_stores)
{
    unsigned had, need = nodes_needed(mt, nr_stores);

    if (pre->free == NULL) {
        pre->free = this_cpu(node_reserve);
        this_cpu(node_reserve) = NULL;
        pre->nr = chain_nr(pre->free);
    }
    had = pre->nr;
    while (pre->nr < need) {
        struct maple_node *n = kmem_cache_alloc(node_cache, GFP_KERNEL); // may change the CPU

        if (n == NULL) {
            chain_trim(pre, had);
            mt_unprepare(pre);
            return -ENOMEM;
        }
        chain_push(pre, n);
    }
    return 0;
}

void mt_unprepare(struct maple_prealloc *pre)
{
    chain_trim(pre, this_cpu(node_reserve) == NULL ? RESERVE_MAX : 0);
    if (pre->free != NULL) {
        this_cpu(node_reserve) = pre->free;
    }
    pre->free = NULL;
    pre->nr = 0;
}

void mt_drain_local(void)
{
    struct maple_prealloc rest = {.free = this_cpu(node_reserve)};

    this_cpu(node_reserve) = NULL;
    rest.nr = chain_nr(rest.free);
    chain_trim(&rest, 0);
}

// ---- Life --------------------------------------------------------------------------------------

void mt_init(struct maple_tree *mt, u64 limit)
{
    store_relaxed(&mt->root, NULL); // whoever publishes the tree's owner publishes this
    mt->nr_ranges = 0;
    mt->limit = limit;
}

static void subtree_free(struct maple_node *n)
{
    for (unsigned i = 0; n->level > 0 && i < n->nr; i++) {
        subtree_free(child_get(n, i));
    }
    kmem_cache_free(node_cache, n);
}

void mt_destroy(struct maple_tree *mt)
{
    struct maple_node *root = root_get(mt);

    if (root != NULL) {
        subtree_free(root);
    }
    store_relaxed(&mt->root, NULL);
    mt->nr_ranges = 0;
}

// ---- Readers -----------------------------------------------------------------------------------

// Where an address is: slot i of a leaf that spans [lo, hi).
struct spot {
    struct maple_node *leaf; // NULL: the tree is empty
    unsigned i;
    u64 lo, hi;
};

// Every load of a pointer here is an acquire that pairs with the releases of the stores.
static inline struct spot spot_find_rcu(struct maple_tree *mt, u64 addr)
{
    struct spot s = {.leaf = rcu_dereference(&mt->root), .lo = 0, .hi = mt->limit};

    if (s.leaf == NULL) {
        return s;
    }
    while (s.leaf->level > 0) {
        s.i = inner_index(s.leaf, addr);
        s.lo = slot_start(s.leaf, s.i, s.lo);
        s.hi = slot_end(s.leaf, s.i, s.hi);
        s.leaf = rcu_dereference(&s.leaf->inner.child[s.i]);
    }
    s.i = leaf_index(s.leaf, addr);
    return s;
}

static void *spot_report(const struct spot *s, void *entry, u64 *start, u64 *end)
{
    if (start != NULL) {
        *start = leaf_start(s->leaf, s->i, s->lo);
    }
    if (end != NULL) {
        *end = leaf_end(s->leaf, s->i, s->hi);
    }
    return entry;
}

static noinline void *find_bounds_rcu(struct maple_tree *mt, u64 addr, u64 *start, u64 *end)
{
    struct spot s = spot_find_rcu(mt, addr);
    void *entry = s.leaf != NULL ? rcu_dereference(&s.leaf->leaf.slot[s.i]) : NULL;

    return entry != NULL ? spot_report(&s, entry, start, end) : NULL;
}

// The page fault's lookup: keep it small. DOC: lookup
on_one_page(256) void *mt_find_rcu(struct maple_tree *mt, u64 addr, u64 *start, u64 *end)
{
    struct maple_node *n;

    if (unlikely(addr >= mt->limit)) {
        return NULL;
    }
    if (start != NULL || end != NULL) {
        return find_bounds_rcu(mt, addr, start, end);
    }
    n = rcu_dereference(&mt->root);
    if (unlikely(n == NULL)) {
        return NULL;
    }
    while (n->level > 0) {
        n = rcu_dereference(&n->inner.child[inner_index(n, addr)]);
    }
    return rcu_dereference(&n->leaf.slot[leaf_index(n, addr)]);
}

// One descent: a leaf that does not end the tree ends in an entry.
void *mt_next_rcu(struct maple_tree *mt, u64 addr, u64 *start, u64 *end)
{
    struct spot s;

    if (addr >= mt->limit) {
        return NULL;
    }
    s = spot_find_rcu(mt, addr);
    for (; s.leaf != NULL && s.i < s.leaf->nr; s.i++) {
        void *entry = rcu_dereference(&s.leaf->leaf.slot[s.i]);

        if (entry != NULL) {
            return spot_report(&s, entry, start, end);
        }
    }
    return NULL;
}

// At most two descents: the leaf before ends in an entry.
void *mt_prev_rcu(struct maple_tree *mt, u64 addr, u64 *start, u64 *end)
{
    addr = min(addr, mt->limit);
    while (addr > 0) {
        struct spot s = spot_find_rcu(mt, addr - 1);

        if (s.leaf == NULL) {
            return NULL;
        }
        for (;; s.i--) {
            void *entry = rcu_dereference(&s.leaf->leaf.slot[s.i]);

            if (entry != NULL) {
                return spot_report(&s, entry, start, end);
            }
            if (s.i == 0) {
                break;
            }
        }
        addr = s.lo;
    }
    return NULL;
}
