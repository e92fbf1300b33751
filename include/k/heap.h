// A heap of nodes that live in their owners' structs: the least key is on top. Nothing is allocated
// and nothing takes more than O(log n) steps; see kernel/heap.c. The owner's lock protects every
// function here.
#ifndef K_HEAP_H
#define K_HEAP_H

#include <k/types.h>

struct heap_node {
    struct heap_node *parent, *left, *right;
    unsigned rank;
    u64 key; // the owner's to set, while the node is in no heap
};

// *top is the node on top; NULL: the heap is empty. n is in no heap.
void heap_insert(struct heap_node **top, struct heap_node *n);
// n is in the heap of this top.
void heap_remove(struct heap_node **top, struct heap_node *n);

#endif
