// SOURCES: mm/maple.c mm/maple_store.c mm/maple_leaf.c mm/maple_path.c mm/maple_gap.c
// SOURCES: mm/maple_check.c
// SOURCES: tests/host/shim/slab.c tests/host/shim/rcu_oracle.c tests/host/shim/panic.c
// SOURCES: tests/host/shim/lock.c
// The range tree against a flat oracle, single-threaded. SEED=n repeats a run.
#include "maple_oracle.h"
#include <k/rcu.h>

static u64 seed;
static struct maple_tree tree;
static struct oracle orc;
static char things[1 << 20]; // entries are addresses in here

static void begin(unsigned cells, bool sparse)
{
    oracle_init(&orc, cells, sparse, seed);
    mt_init(&tree, oracle_limit(&orc));
    shim_rcu_eager(true);
}

// No node may be left, and so no preparation has leaked and no old node was forgotten.
static void finish(void)
{
    mt_destroy(&tree);
    mt_drain_local();
    rcu_barrier();
    assert_int_equal(maple_nr_nodes(), 0);
    oracle_fini(&orc);
}

// Leaves are no more than ranges, and each level above has a fifth of the one below.
static void check_node_count(void)
{
    rcu_barrier();
    assert_in_range(maple_nr_nodes(), 0, tree.nr_ranges * 5 / 4 + 8 + RESERVE_MAX);
}

// A span of cells: mostly short, sometimes over everything.
static void random_span(unsigned *from, unsigned *to)
{
    unsigned shift = oracle_random(&orc, 100) < 85 ? 2 : oracle_random(&orc, 24);
    unsigned len = 1 + oracle_random(&orc, 1u << min(shift, 20u));

    *from = oracle_random(&orc, orc.n);
    *to = min(*from + len, orc.n);
    if (oracle_random(&orc, 50) == 0) {
        *from = oracle_random(&orc, 2) ? 0 : *from;
        *to = oracle_random(&orc, 2) ? orc.n : *to;
    }
}

// Stores and erases in waves, so that the tree grows and shrinks through all its heights.
static void random_run(unsigned ops, unsigned nr_things, unsigned check_every)
{
    for (unsigned op = 0; op < ops; op++) {
        bool growing = (op / (ops / 8)) % 2 == 0;
        unsigned from, to;
        void *e = &things[oracle_random(&orc, nr_things)];

        random_span(&from, &to);
        if (oracle_random(&orc, 100) < (growing ? 20u : 80u)) {
            e = NULL;
        } else if (growing && to - from > 64 && oracle_random(&orc, 8) != 0) {
            to = from + 1; // growing: seldom wipe out much
        }
        both_store(&orc, &tree, from, to, e);
        oracle_check_at(&orc, &tree, from);
        oracle_check_at(&orc, &tree, oracle_random(&orc, orc.n));
        oracle_check_at(&orc, &tree, to - 1);
        if (op % 4 == 0) {
            oracle_check_gaps(&orc, &tree);
        }
        if (op % check_every == 0) {
            oracle_check_all(&orc, &tree);
        }
    }
    oracle_check_all(&orc, &tree);
    check_node_count();
}

static void test_random_small(void **state)
{
    (void)state;
    begin(100, false);
    random_run(200000 * shim_times(), 5, 1); // few entries: neighbours join often
    finish();
}

static void test_random_medium(void **state)
{
    (void)state;
    begin(700, false);
    random_run(150000 * shim_times(), sizeof(things), 7);
    finish();
}

static void test_random_sparse(void **state)
{
    (void)state;
    begin(8000, true);
    random_run(50000 * shim_times(), sizeof(things), 1000);
    finish();
}

// Stores of one cell over a full space and erases of one cell, at every place: in place, splits and
// merges at both edges of each leaf.
static void test_every_cell(void **state)
{
    (void)state;
    begin(600, false);
    for (unsigned i = 0; i < orc.n; i++) {
        both_store(&orc, &tree, i, i + 1, &things[i]);
        oracle_check_all(&orc, &tree);
    }
    for (unsigned i = 0; i < orc.n; i += 2) {
        both_store(&orc, &tree, i, i + 1, NULL);
        oracle_check_all(&orc, &tree);
    }
    for (unsigned i = 0; i + 1 < orc.n; i++) { // over a gap's edge each time
        both_store(&orc, &tree, i, i + 2, &things[1000 + i]);
        oracle_check_all(&orc, &tree);
    }
    finish();
}

// For many spans of a tree of three levels: replace it by one range, and by nothing. These are the
// stores over many leaves, with every combination of what is left of the outermost.
static void test_spans(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        unsigned from, to;

        begin(900, round % 2 == 0);
        seed = shim_random(&seed);
        for (unsigned i = 0; i < orc.n; i++) {
            if (oracle_random(&orc, 8) != 0) {
                both_store(&orc, &tree, i, i + 1, &things[i]);
            }
        }
        for (unsigned n = 0; n < 6; n++) {
            from = oracle_random(&orc, orc.n);
            to = from + 1 + oracle_random(&orc, orc.n - from);
            both_store(&orc, &tree, from, to, oracle_random(&orc, 2) ? &things[5000 + n] : NULL);
            oracle_check_all(&orc, &tree);
            oracle_check_gaps(&orc, &tree);
        }
        finish();
    }
}

static unsigned erase_and_restore(unsigned cell)
{
    void *e = orc.entry[cell];
    unsigned used = both_store(&orc, &tree, cell, cell + 1, NULL);

    oracle_check_all(&orc, &tree);
    oracle_check_gaps(&orc, &tree);
    used += both_store(&orc, &tree, cell, cell + 1, e);
    oracle_check_all(&orc, &tree);
    return used;
}

// What goes and comes again in the same place takes no node, unless it ends its leaf.
static void test_same_place(void **state)
{
    struct maple_node *root;
    unsigned nr_used = 0;

    (void)state;
    begin(1000, false);
    for (unsigned i = 1; i < 16; i += 2) {
        both_store(&orc, &tree, i, i + 1, &things[i]);
    }
    root = root_get(&tree);
    for (unsigned i = 1; i < 16; i += 2) {
        assert_int_equal(erase_and_restore(i), 0);
    }
    for (unsigned i = 1; i < 14; i += 2) { // a run of gaps as long as it gets
        assert_int_equal(both_store(&orc, &tree, i, i + 1, NULL), 0);
        oracle_check_all(&orc, &tree);
        oracle_check_gaps(&orc, &tree);
    }
    assert_ptr_equal(root_get(&tree), root);
    both_store(&orc, &tree, 15, 16, NULL);
    assert_null(root_get(&tree));

    for (unsigned i = 1; i < orc.n; i += 2) {
        both_store(&orc, &tree, i, i + 1, &things[i]);
    }
    assert_in_range(root_get(&tree)->level, 1, MAX_HEIGHT);
    for (unsigned i = 1; i < orc.n; i += 2) {
        nr_used += erase_and_restore(i) > 0;
    }
    assert_in_range(nr_used, 1, 2 * mt_nr_nodes(&tree));
    finish();
}

// Erase all of a leaf but its last entry, for most leaves, with no leaf built anew. Every other
// cell is an entry, the tree's last is not.
static void hollow_out(void)
{
    struct maple_node *spared = NULL;

    for (unsigned i = 0; i < orc.n - 2; i++) {
        struct path p;

        path_find(&tree, &p, orc.addr[i]);
        if (p.idx[0] == 0 && p.lo == orc.addr[i]) {
            spared = oracle_random(&orc, 3) == 0 ? p.node[0] : NULL;
        }
        if (orc.entry[i] != NULL && p.node[0] != spared && p.idx[0] + 1u < p.node[0]->nr) {
            assert_int_equal(both_store(&orc, &tree, i, i + 1, NULL), 0);
        }
    }
    oracle_check_all(&orc, &tree);
}

// Stores among leaves that are nearly all gap: they take in neighbours until they have enough.
static void test_hollow(void **state)
{
    (void)state;
    begin(1000, false);
    for (unsigned round = 0; round < 300 * shim_times(); round++) {
        both_store(&orc, &tree, 0, orc.n, NULL);
        for (unsigned i = 0; i < orc.n; i += 2) {
            unsigned cell = i * 7 % orc.n; // out of order: leaves of many sizes, full ones, too

            both_store(&orc, &tree, cell, cell + 1, &things[cell]);
        }
        hollow_out();
        for (unsigned k = 0; k < 8; k++) {
            unsigned from = oracle_random(&orc, orc.n - 60);
            unsigned to = from + 1 + oracle_random(&orc, 60);

            both_store(&orc, &tree, from, to, k % 2 ? &things[k] : NULL);
            oracle_check_all(&orc, &tree);
        }
        oracle_check_gaps(&orc, &tree);
    }
    finish();
}

static void test_boundaries(void **state)
{
    u64 limit = ~0ull, start, end;
    struct maple_gap out;
    struct maple_prealloc pre = {0};

    (void)state;
    mt_unprepare(&pre); // never prepared: nothing
    mt_init(&tree, limit);
    assert_null(mt_find_rcu(&tree, 0, &start, &end));
    assert_null(mt_next_rcu(&tree, 0, NULL, NULL));
    assert_null(mt_prev_rcu(&tree, ~0ull, NULL, NULL));
    assert_int_equal(mt_gap_lowest(&tree, 0, ~0ull, ~0ull, &out), 0);
    assert_int_equal(out.start, 0);
    assert_int_equal(mt_gap_highest(&tree, 10, 20, 4, &out), 0);
    assert_int_equal(out.start, 16);
    assert_int_equal(mt_gap_lowest(&tree, 10, 20, 11, &out), -ENOMEM);
    assert_int_equal(mt_gap_lowest(&tree, 20, 10, 1, &out), -ENOMEM);
    assert_int_equal(mt_gap_highest(&tree, 10, 20, 0, &out), -ENOMEM);
    assert_int_equal(mt_prepare(&tree, &pre, 5), 0);
    mt_store(&tree, &pre, 3, 9, NULL); // erasing nothing makes nothing
    assert_null(root_get(&tree));
    mt_store(&tree, &pre, 0, limit, &things[0]);
    assert_ptr_equal(mt_find_rcu(&tree, 0, &start, &end), &things[0]);
    assert_ptr_equal(mt_find_rcu(&tree, limit - 1, NULL, NULL), &things[0]);
    assert_true(start == 0 && end == limit);
    assert_null(mt_find_rcu(&tree, limit, NULL, NULL));
    assert_null(mt_next_rcu(&tree, limit, NULL, NULL));
    assert_ptr_equal(mt_prev_rcu(&tree, limit, &start, NULL), &things[0]);
    assert_null(mt_prev_rcu(&tree, 0, NULL, NULL));
    assert_ptr_equal(mt_prev_rcu(&tree, 1, NULL, NULL), &things[0]);
    assert_int_equal(mt_gap_lowest(&tree, 0, limit, 1, &out), -ENOMEM);
    mt_store(&tree, &pre, limit - 1, limit, NULL);
    mt_store(&tree, &pre, 0, 1, NULL);
    assert_int_equal(mt_gap_lowest(&tree, 0, ~0ull, 1, &out), 0);
    assert_int_equal(out.start, 0);
    assert_int_equal(mt_gap_highest(&tree, 0, ~0ull, 1, &out), 0);
    assert_int_equal(out.start, limit - 1);
    assert_null(mt_check(&tree));
    mt_store(&tree, &pre, 0, limit, NULL);
    assert_null(root_get(&tree));
    assert_int_equal(tree.nr_ranges, 0);
    mt_unprepare(&pre);
    mt_destroy(&tree);
    mt_drain_local();
    rcu_barrier();
    assert_int_equal(maple_nr_nodes(), 0);
}

// Each allocation of mt_prepare fails once: the tree is as before, nothing is kept.
static void test_no_memory(void **state)
{
    (void)state;
    begin(3000, true);
    for (unsigned round = 0; round < 60 * shim_times(); round++) {
        unsigned stores = round == 0 ? 60 : 1 + oracle_random(&orc, 12);
        unsigned long nth = 1;
        struct maple_prealloc pre = {0};
        bool failed;

        do {
            long before = maple_nr_nodes();

            shim_alloc_fail_nth(nth++);
            failed = mt_prepare(&tree, &pre, stores) == -ENOMEM;
            assert_int_equal(failed, shim_alloc_failed());
            if (failed) {
                assert_int_equal(maple_nr_nodes(), before);
                assert_true(pre.free == NULL && pre.nr == 0);
                oracle_check_all(&orc, &tree);
            }
        } while (failed);
        shim_alloc_fail_nth(0);
        oracle_check_all(&orc, &tree);
        for (unsigned i = 0; i < stores; i++) {
            unsigned from = oracle_random(&orc, orc.n), to = min(from + 3, orc.n);

            mt_store(&tree, &pre, orc.addr[from], orc.addr[to],
                     &things[(round * 64 + i) % sizeof(things)]);
            oracle_store(&orc, from, to, &things[(round * 64 + i) % sizeof(things)]);
        }
        mt_unprepare(&pre);
        check_node_count();
    }
    finish();
}

// Bursts of stores prepared for at once, on trees of all sizes: never more nodes than prepared for,
// though the height may change on the way. (The reserve is emptied first: it would hide a lack.)
static void test_bursts(void **state)
{
    (void)state;
    for (unsigned cells = 8; cells < 20000; cells *= 3) {
        begin(cells, false);
        for (unsigned round = 0; round < 30; round++) {
            struct maple_prealloc pre = {0};
            unsigned split = oracle_random(&orc, orc.n), burst = 1u << oracle_random(&orc, 12);

            mt_drain_local();
            assert_int_equal(mt_prepare(&tree, &pre, burst), 0);
            for (unsigned i = 0; i < burst; i++) {
                unsigned from, to;
                void *e = &things[oracle_random(&orc, sizeof(things))];

                random_span(&from, &to);
                if (round % 2 == 0) { // in a row: splits
                    from = (split + i * 2) % orc.n;
                    to = from + 1;
                }
                mt_store(&tree, &pre, orc.addr[from], orc.addr[to], e);
                oracle_store(&orc, from, to, e);
            }
            mt_unprepare(&pre);
            oracle_check_all(&orc, &tree);
        }
        finish();
    }
}

// A million ranges in and out in random order, by a permutation i * step mod a power of two.
static void test_million(void **state)
{
    enum { N = 1 << 20 };
    u64 step = seed * 2 + 1, size = 1 << 13;

    (void)state;
    shim_rcu_eager(true);
    mt_init(&tree, (u64)N * size);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (u64 i = 0; i < N; i++) {
            u64 at = (i * step + (pass * step >> 7)) % N * size;
            struct maple_prealloc pre = {0};

            assert_int_equal(mt_prepare(&tree, &pre, 1), 0);
            mt_store(&tree, &pre, at + 4096, at + 8192, pass == 0 ? &things[at / size] : NULL);
            mt_unprepare(&pre);
            if ((i & (i - 1)) == 0 || i % (N / 8) == 0) {
                const char *broken = mt_check(&tree);

                assert_null(broken);
                check_node_count();
            }
        }
        if (pass == 0) {
            assert_int_equal(tree.nr_ranges, N);
            assert_in_range(root_get(&tree)->level, 3, 7);
        }
    }
    assert_null(root_get(&tree));
    mt_destroy(&tree);
    mt_drain_local();
    rcu_barrier();
    assert_int_equal(maple_nr_nodes(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boundaries),    cmocka_unit_test(test_every_cell),
        cmocka_unit_test(test_random_small),  cmocka_unit_test(test_random_medium),
        cmocka_unit_test(test_random_sparse), cmocka_unit_test(test_spans),
        cmocka_unit_test(test_same_place),    cmocka_unit_test(test_hollow),
        cmocka_unit_test(test_no_memory),     cmocka_unit_test(test_bursts),
        cmocka_unit_test(test_million),
    };

    seed = shim_seed();
    maple_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
