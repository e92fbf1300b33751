// SOURCES: mm/maple.c mm/maple_store.c mm/maple_leaf.c mm/maple_path.c mm/maple_gap.c
// SOURCES: mm/maple_check.c
// SOURCES: tests/host/shim/slab.c tests/host/shim/rcu_oracle.c tests/host/shim/panic.c
// SOURCES: tests/host/shim/lock.c
// What readers of the range tree may see (races R3, R12, R22): first one store at a time, looking
// at every word that a reader could load; then real threads. Also run it with
// `clang -fsanitize=thread`. SEED=n repeats a run (threads: its stores).
#include "maple_oracle.h"
#include <k/rcu.h>
#include <pthread.h>
#include <slab.h>

enum { MAX_NODES = 4096 };

static u64 seed;
static struct maple_tree tree;
static struct oracle orc;
static char things[1 << 16];

static void begin(unsigned cells, bool sparse)
{
    oracle_init(&orc, cells, sparse, seed);
    mt_init(&tree, oracle_limit(&orc));
}

static void finish(void)
{
    mt_destroy(&tree);
    mt_drain_local();
    rcu_barrier();
    assert_int_equal(maple_nr_nodes(), 0);
    oracle_fini(&orc);
}

// A tree that stays full of ranges and gaps of all lengths, with stores over many leaves now and
// then.
static void random_store(unsigned *from, unsigned *to, void **entry)
{
    unsigned kind = oracle_random(&orc, 20);
    unsigned len = kind == 0 ? orc.n : kind == 1 ? 300 : kind < 6 ? 12 : 3;

    *from = oracle_random(&orc, orc.n);
    *to = min(*from + 1 + oracle_random(&orc, len), orc.n);
    *entry = &things[oracle_random(&orc, sizeof(things))];
    if (kind == 0 && oracle_random(&orc, 4) != 0) {
        *to = *from + 1;
    }
    if (oracle_random(&orc, 5) == 0) {
        *entry = NULL;
    } else if (oracle_random(&orc, 4) == 0 && orc.entry[*from] != NULL) { // replace one exactly
        *to = run_end(&orc, *from);
        *from = run_first(&orc, *from);
    }
}

static void fill_tree(void)
{
    for (unsigned i = 0; i < orc.n; i++) {
        if (i % 3 != 0) {
            both_store(&orc, &tree, i, i + 1, &things[i]);
        }
    }
}

// ---- One word a store --------------------------------------------------------------------------

static struct seen {
    struct maple_node *node, copy;
} seen[MAX_NODES];
static unsigned nr_seen;

static void see(struct maple_node *n)
{
    assert_true(nr_seen < MAX_NODES);
    seen[nr_seen].node = n;
    memcpy(&seen[nr_seen++].copy, n, sizeof(*n));
    for (unsigned i = 0; n->level > 0 && i < n->nr; i++) {
        see(child_get(n, i));
    }
}

static bool reachable(struct maple_node *n, struct maple_node *what)
{
    bool yes = n == what;

    for (unsigned i = 0; !yes && n->level > what->level && i < n->nr; i++) {
        yes = reachable(child_get(n, i), what);
    }
    return yes;
}

// Pointers of a node that differ from the copy; anything else a reader looks at must not.
static unsigned words_changed(struct seen *s)
{
    struct maple_node *n = s->node, *c = &s->copy;
    unsigned changed = 0, slots = n->level == 0 ? LEAF_SLOTS : INNER_SLOTS;

    assert_int_equal(n->level, c->level);
    assert_int_equal(n->nr, c->nr);
    assert_memory_equal(n->inner.pivot, c->inner.pivot, (slots - 1) * sizeof(u64));
    assert_true(n->level > 0 || memcmp(n->leaf.pivot, c->leaf.pivot, sizeof(n->leaf.pivot)) == 0);
    for (unsigned i = 0; i < n->nr; i++) {
        changed +=
            n->level == 0 ? slot_get(n, i) != slot_get(c, i) : child_get(n, i) != child_get(c, i);
    }
    return changed;
}

// In a read section that began before it, a store changes one pointer at most, in a node that is
// still in the tree or in the root; nodes that fell out are as they were, all of them, and are
// freed when the section ends and not before.
static void test_one_word(void **state)
{
    (void)state;
    begin(500, true);
    fill_tree();
    rcu_barrier();
    shim_rcu_eager(true);
    for (unsigned op = 0; op < 4000; op++) {
        struct maple_node *root = root_get(&tree);
        unsigned from, to, changed, gone = 0;
        void *e;

        nr_seen = 0;
        if (root != NULL) {
            see(root);
        }
        random_store(&from, &to, &e);
        rcu_read_lock();
        both_store(&orc, &tree, from, to, e);
        changed = root_get(&tree) != root;
        for (unsigned i = 0; i < nr_seen; i++) {
            bool in = root_get(&tree) != NULL && reachable(root_get(&tree), seen[i].node);
            unsigned words = words_changed(&seen[i]);

            assert_true(in || words == 0);
            changed += words;
            gone += !in;
        }
        assert_in_range(changed, 0, 1);
        assert_int_equal(shim_rcu_pending(), gone);
        rcu_read_unlock();
        rcu_barrier();
        if (op % 16 == 0) {
            oracle_check_all(&orc, &tree);
        }
    }
    finish();
}

// ---- The moment of publication -----------------------------------------------------------------

static unsigned nr_published, hook_from, hook_to;
static void *hook_entry;

static void look_everywhere(void)
{
    for (unsigned i = 0; i < orc.n; i++) {
        assert_ptr_equal(mt_find_rcu(&tree, orc.addr[i], NULL, NULL), orc.entry[i]);
        assert_ptr_equal(mt_find_rcu(&tree, orc.addr[i + 1] - 1, NULL, NULL), orc.entry[i]);
    }
}

// Before the pointer is stored a reader sees all that was; after it, all that is to be.
static void on_publication(bool done)
{
    if (done) {
        nr_published++;
        oracle_store(&orc, hook_from, hook_to, hook_entry);
    }
    look_everywhere();
}

static void test_publication(void **state)
{
    (void)state;
    begin(500, false);
    fill_tree();
    shim_rcu_eager(true);
    for (unsigned op = 0; op < 6000; op++) {
        struct maple_prealloc pre = {0};

        random_store(&hook_from, &hook_to, &hook_entry);
        assert_int_equal(mt_prepare(&tree, &pre, 1), 0);
        nr_published = 0;
        shim_publish_hook = on_publication;
        mt_store(&tree, &pre, orc.addr[hook_from], orc.addr[hook_to], hook_entry);
        shim_publish_hook = NULL;
        assert_in_range(nr_published, 0, 1);
        oracle_store(&orc, hook_from, hook_to, hook_entry); // nothing published: nothing changed
        look_everywhere();
        mt_unprepare(&pre);
    }
    oracle_check_all(&orc, &tree);
    finish();
}

// ---- Threads -----------------------------------------------------------------------------------
//
//     cells   0        ALWAYS_FROM                    ALWAYS_TO       CELLS
//             |  comes and goes  |  mapped all the time  |  comes and goes  |
//
// The writer maps new objects over spans of any length, unmaps only outside the middle, and frees
// an object by RCU when its last cell is gone. Entries are checked for life, and for what they
// claim; and between two stores, when the oracle stands still, they must be the oracle's.
//
// The second time each allocation of each store fails once before it is made. The writer then finds
// the whole tree as it was, while the readers go on.

enum {
    CELLS = 1500,
    ALWAYS_FROM = 500,
    ALWAYS_TO = 1000,
    READERS = 3,
    STORES = 40000,
    STORES_FAILING = 200,
    MAGIC = 0x600d600d,
};

struct thing {
    u64 start, end; // what it was stored over; others may cover part of it since
    u32 magic;
    unsigned cells; // writer
    struct rcu_head rcu;
};

static struct kmem_cache *thing_cache;
static atomic_bool stop;
static atomic_ulong nr_rounds, nr_compared;
static u64 always_from, always_to;
static bool failing;
static unsigned long nr_failures;

// What the oracle says, for readers; odd: a store is on its way.
static _Atomic(void *) cell[CELLS];
static atomic_ulong version;

static void thing_free_rcu(struct rcu_head *head)
{
    kmem_cache_free(thing_cache, container_of(head, struct thing, rcu));
}

static void thing_check(struct thing *t, u64 addr, u64 start, u64 end)
{
    assert(t != NULL);
    assert(t->magic == MAGIC);
    assert(t->start <= start && end <= t->end);
    assert(start <= addr && addr < end);
}

static void read_once(u64 *rnd)
{
    u64 limit = tree.limit, addr = shim_random(rnd) % limit, start = 0, end = 0;
    struct thing *t;

    t = mt_find_rcu(&tree, addr, &start, &end);
    if (t != NULL || (addr >= always_from && addr < always_to)) {
        thing_check(t, addr, start, end);
    }
    addr = always_from + addr % (always_to - always_from);
    t = mt_find_rcu(&tree, addr, NULL, NULL);
    thing_check(t, addr, addr, addr + 1);
    addr = shim_random(rnd) % always_from; // below: next may not pass over the middle
    t = mt_next_rcu(&tree, addr, &start, &end);
    assert(t != NULL && start <= always_from && end > addr);
    thing_check(t, start, start, end);
    addr = always_to + 1 + shim_random(rnd) % (limit - always_to);
    t = mt_prev_rcu(&tree, addr, &start, &end);
    assert(t != NULL && end >= always_to && start < addr);
    thing_check(t, start, start, end);
}

// True if the oracle stood still.
static bool compare_once(u64 *rnd)
{
    unsigned i = (unsigned)(shim_random(rnd) % CELLS);
    u64 was = load_seq(&version);
    void *is = mt_find_rcu(&tree, orc.addr[i], NULL, NULL);
    void *want = load_acquire(&cell[i]); // pairs with thing_store, as the next

    if (was % 2 != 0 || load_seq(&version) != was) {
        return false;
    }
    assert(is == want);
    return true;
}

// Through the middle and back, never meeting a hole.
static void walk_once(void)
{
    struct thing *t;
    u64 start = 0, end = 0;

    for (u64 addr = always_from; addr < always_to; addr = end) {
        t = mt_next_rcu(&tree, addr, &start, &end);
        thing_check(t, addr, start, end);
    }
    for (u64 addr = always_to; addr > always_from; addr = start) {
        t = mt_prev_rcu(&tree, addr, &start, &end);
        thing_check(t, addr - 1, start, end);
    }
}

static void *reader_main(void *arg)
{
    u64 n, compared = 0, rnd = seed + (uintptr_t)arg;

    for (n = 0; !load_relaxed(&stop); n++) {
        rcu_read_lock();
        compared += compare_once(&rnd);
        if (n % 64 == 0) {
            walk_once();
        } else {
            read_once(&rnd);
        }
        rcu_read_unlock();
    }
    atomic_fetch_add(&nr_rounds, n);
    atomic_fetch_add(&nr_compared, compared);
    return NULL;
}

// mt_prepare with its first, its second... allocation failing, until it needs no more.
static void fail_each_allocation(void)
{
    struct maple_prealloc pre = {0};
    bool failed = true;

    for (unsigned long nth = 1; failed; nth++) {
        mt_drain_local(); // nothing in reserve
        shim_alloc_fail_nth(nth);
        int err = mt_prepare(&tree, &pre, 1);
        failed = shim_alloc_failed();
        shim_alloc_fail_nth(0);
        assert_int_equal(err, failed ? -ENOMEM : 0);
        if (failed) {
            assert_true(pre.free == NULL && pre.nr == 0);
            oracle_check_all(&orc, &tree);
            nr_failures++;
        } else {
            mt_unprepare(&pre);
        }
    }
}

static void thing_store(unsigned from, unsigned to, bool erase)
{
    struct thing *t = erase ? NULL : kmem_cache_alloc(thing_cache, GFP_KERNEL);
    void *old[CELLS];

    memcpy(old, orc.entry, sizeof(old));
    if (t != NULL) {
        *t = (struct thing){orc.addr[from], orc.addr[to], MAGIC, to - from, {NULL, NULL}};
    }
    if (failing) {
        fail_each_allocation();
    }
    fetch_add_seq(&version, 1);
    both_store(&orc, &tree, from, to, t);
    for (unsigned i = from; i < to; i++) {
        store_release(&cell[i], t);
    }
    fetch_add_seq(&version, 1);
    for (unsigned i = from; i < to; i++) {
        struct thing *o = old[i];

        if (o != NULL && --o->cells == 0) {
            call_rcu(&o->rcu, thing_free_rcu);
        }
    }
}

static void writer_step(void)
{
    unsigned kind = oracle_random(&orc, 64);
    unsigned len = kind == 0 ? CELLS : kind < 3 ? 200 : kind < 16 ? 8 : 1;
    unsigned from = oracle_random(&orc, CELLS);
    unsigned to = min(from + 1 + oracle_random(&orc, len), (unsigned)CELLS);

    if (kind == 1) { // shatter: many small ones, so that the next long one spans leaves
        for (unsigned i = from; i < to; i++) {
            thing_store(i, i + 1, false);
        }
        return;
    }
    if (kind > 40 && orc.entry[from] != NULL) { // exchange one exactly
        to = run_end(&orc, from);
        from = run_first(&orc, from);
    }
    thing_store(from, to, kind % 3 == 0 && (to <= ALWAYS_FROM || from >= ALWAYS_TO));
}

static void write_and_read(unsigned stores)
{
    pthread_t thread[READERS];

    begin(CELLS, true);
    shim_rcu_eager(true);
    store_relaxed(&stop, false);
    store_relaxed(&nr_rounds, 0);
    store_relaxed(&nr_compared, 0);
    always_from = orc.addr[ALWAYS_FROM];
    always_to = orc.addr[ALWAYS_TO];
    thing_store(ALWAYS_FROM, ALWAYS_TO, false);
    for (uintptr_t i = 0; i < READERS; i++) {
        assert(pthread_create(&thread[i], NULL, reader_main, (void *)i) == 0);
    }
    for (unsigned op = 0; op < stores; op++) {
        writer_step();
        if (op % 1024 == 0) {
            oracle_check_all(&orc, &tree);
        }
    }
    store_relaxed(&stop, true);
    for (unsigned i = 0; i < READERS; i++) {
        pthread_join(thread[i], NULL);
    }
    print_message("# %lu rounds of readers, %lu at rest, beside %u stores, %lu failures\n",
                  load_relaxed(&nr_rounds), load_relaxed(&nr_compared), stores, nr_failures);
    assert_true(load_relaxed(&nr_rounds) > 0 && load_relaxed(&nr_compared) > 0);
    failing = false;
    oracle_check_all(&orc, &tree);
    thing_store(0, CELLS, true);
    rcu_barrier();
    assert_int_equal(kmem_cache_nr_used(thing_cache), 0);
    finish();
}

static void test_readers(void **state)
{
    (void)state;
    write_and_read(STORES * shim_times());
}

static void test_readers_no_memory(void **state)
{
    (void)state;
    failing = true;
    write_and_read(STORES_FAILING * shim_times());
    assert_true(nr_failures > STORES_FAILING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_word),
        cmocka_unit_test(test_publication),
        cmocka_unit_test(test_readers),
        cmocka_unit_test(test_readers_no_memory),
    };

    seed = shim_seed();
    thing_cache = kmem_cache_create("thing", sizeof(struct thing), 0);
    maple_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
