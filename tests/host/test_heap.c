// SOURCES: kernel/heap.c
// The heap of timers against a plain array, with what the head of kernel/heap.c promises looked at
// after each step.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <k/heap.h>

#define NODES 1000u

static struct heap_node node[NODES], *top;
static bool inside[NODES];
static unsigned nr_inside;

static unsigned rank_of(const struct heap_node *n)
{
    return n ? n->rank : 0;
}

// Nodes in the tree of n.
static unsigned tree_check(const struct heap_node *n, const struct heap_node *parent)
{
    if (!n) {
        return 0;
    }
    assert_ptr_equal(n->parent, parent);
    assert_true(!parent || parent->key <= n->key);
    assert_true(rank_of(n->left) >= rank_of(n->right));
    assert_int_equal(n->rank, rank_of(n->right) + 1);
    assert_true(inside[n - node]);
    return 1 + tree_check(n->left, n) + tree_check(n->right, n);
}

static void all_check(void)
{
    u64 least = ~0ull;

    assert_int_equal(tree_check(top, NULL), nr_inside);
    assert_true((2u << rank_of(top)) / 2 - 1 <= nr_inside);
    for (unsigned i = 0; i < NODES; i++) {
        least = inside[i] && node[i].key < least ? node[i].key : least;
    }
    assert_true(nr_inside ? top && top->key == least : !top);
}

static void insert(unsigned i, u64 key)
{
    memset(&node[i], 0xa5, sizeof(node[i])); // nothing in it may matter but the key
    node[i].key = key;
    inside[i] = true;
    nr_inside++;
    heap_insert(&top, &node[i]);
}

static void take(unsigned i)
{
    heap_remove(&top, &node[i]);
    inside[i] = false;
    nr_inside--;
}

static void test_random(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 6; seed++) {
        unsigned keys = seed & 1 ? 20 : 1u << 30, most = seed <= 2 ? 8 : seed <= 4 ? 100 : NODES;

        srand(seed);
        for (unsigned step = 0; step < 6000; step++) {
            unsigned i = (unsigned)rand() % most;

            if (rand() % 8 == 0 && top) {
                take((unsigned)(top - node));
            } else if (inside[i]) {
                take(i);
            } else {
                insert(i, (unsigned)rand() % keys);
            }
            if (step % (most / 8 + 1) == 0) {
                all_check();
            }
        }
        while (top) {
            take((unsigned)(top - node));
        }
        all_check();
    }
}

// Keys that come in order make the longest ways: all left, none right.
static void test_sorted(void **state)
{
    (void)state;
    for (unsigned up = 0; up < 2; up++) {
        for (unsigned i = 0; i < NODES; i++) {
            insert(i, up ? i : NODES - i);
        }
        all_check();
        for (unsigned i = 0; i < NODES; i += 2) {
            take(i);
        }
        all_check();
        for (unsigned i = 1; i < NODES; i += 2) {
            unsigned first = (unsigned)(top - node);

            assert_int_equal(first, up ? i : NODES - i);
            take(first);
        }
        all_check();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_sorted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
