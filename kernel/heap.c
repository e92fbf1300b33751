// A leftist heap, for timers.
//
// The problem: what arming a timer costs must not depend much on how many there are, because a
// program may have as many as RLIMIT_SIGPENDING, and it is done under a lock with interrupts off.
// And there is no memory to be had: the timer of a timed wait lies on the stack of who waits.
//
// The idea: a binary tree, linked through the nodes, where no parent's key is above its children's,
// and where the way down to a missing child is never longer on the right than on the left. `rank`
// is the length of that way along the right:
//
//                3 (2)               rank(n) = rank(n->right) + 1, and 0 for no node
//               /     \              rank(n->left) >= rank(n->right)
//            7 (2)     5 (1)
//           /    \    /
//       9 (1)  8 (1) 6 (1)
//
// A tree of rank r has at least 2^r - 1 nodes, so the way along the right is short: log2(n + 1) at
// most. Two trees are merged along these two ways, as two sorted lists are, and on the way back up
// the children of each node are swapped where the right one has become the deeper. Insertion merges
// with a tree of one. Removal merges the two children, puts that where the node was, and mends the
// ranks above as long as they change. That is at most log2(n + 1) steps, too: a rank above changes
// because the right child's has. Where it shrinks, each new rank is the one below it plus 1; where
// it grows, each old one was; and none is above the top's.
//
// Rejected: a sorted list (a timer costs as much as there are); a pairing heap (simpler still, but
// one removal may take n steps); a wheel (it rounds, or needs something else that knows the next
// deadline, for which the interrupt is set).
#include <k/heap.h>

static unsigned rank_of(const struct heap_node *n)
{
    return n ? n->rank : 0;
}

// Mend n, one of whose children has changed. false: nothing changes above it.
static bool heap_settle(struct heap_node *n)
{
    unsigned rank;

    if (rank_of(n->left) < rank_of(n->right)) {
        struct heap_node *deep = n->right;

        n->right = n->left;
        n->left = deep;
    }
    rank = rank_of(n->right) + 1;
    if (rank == n->rank) {
        return false;
    }
    n->rank = rank;
    return true;
}

// One tree of two, either of which may be NULL. Its top has no parent.
static struct heap_node *heap_merge(struct heap_node *a, struct heap_node *b)
{
    struct heap_node *top = NULL, *up = NULL, **at = &top;

    while (a && b) {
        if (b->key < a->key) {
            struct heap_node *more = a;

            a = b;
            b = more;
        }
        *at = a;
        a->parent = up;
        up = a;
        at = &a->right;
        a = a->right;
    }
    *at = a ? a : b;
    if (*at) {
        (*at)->parent = up;
    }
    for (; up; up = up->parent) { // all the way: each of them has got another right child
        heap_settle(up);
    }
    return top;
}

void heap_insert(struct heap_node **top, struct heap_node *n)
{
    n->left = n->right = NULL;
    n->rank = 1;
    *top = heap_merge(*top, n);
}

void heap_remove(struct heap_node **top, struct heap_node *n)
{
    struct heap_node *up = n->parent, *rest = heap_merge(n->left, n->right);

    if (rest) {
        rest->parent = up;
    }
    if (!up) {
        *top = rest;
        return;
    }
    *(up->left == n ? &up->left : &up->right) = rest;
    while (up && heap_settle(up)) {
        up = up->parent;
    }
}
