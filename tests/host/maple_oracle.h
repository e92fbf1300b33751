// The flat oracle of the range tree's tests: an address space of n cells, each holding one entry or
// nothing. Cell i is [addr[i], addr[i+1]); a small universe has cells of one address, a sparse one
// has random cell bounds over 47 bits. Everything the tree says is computed here the slow way.
#ifndef MAPLE_ORACLE_H
#define MAPLE_ORACLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <k/errno.h>
#include <maple.h>
#include <shim.h>
#include "../../mm/maple_priv.h"

struct oracle {
    unsigned n;
    u64 *addr;    // n + 1 bounds, from 0 to the limit
    void **entry; // n
    u64 rnd;
};

static inline int u64_compare(const void *a, const void *b)
{
    u64 x = *(const u64 *)a, y = *(const u64 *)b;

    return x < y ? -1 : x > y;
}

static inline unsigned oracle_random(struct oracle *o, unsigned below)
{
    return (unsigned)(shim_random(&o->rnd) % below);
}

static inline void oracle_init(struct oracle *o, unsigned n, bool sparse, u64 seed)
{
    o->n = n;
    o->rnd = seed;
    o->addr = calloc(n + 1, sizeof(*o->addr));
    o->entry = calloc(n, sizeof(*o->entry));
    for (unsigned i = 1; i <= n; i++) {
        o->addr[i] = sparse ? shim_random(&o->rnd) >> 17 : i;
    }
    qsort(o->addr, n + 1, sizeof(*o->addr), u64_compare);
    for (unsigned i = 1; i <= n; i++) {
        o->addr[i] = max(o->addr[i], o->addr[i - 1] + 1);
    }
}

static inline void oracle_fini(struct oracle *o)
{
    free(o->addr);
    free(o->entry);
}

static inline u64 oracle_limit(struct oracle *o)
{
    return o->addr[o->n];
}

static inline void oracle_store(struct oracle *o, unsigned from, unsigned to, void *entry)
{
    for (unsigned i = from; i < to; i++) {
        o->entry[i] = entry;
    }
}

// The run of equal entries that holds cell i.
static inline unsigned run_first(struct oracle *o, unsigned i)
{
    while (i > 0 && o->entry[i - 1] == o->entry[i]) {
        i--;
    }
    return i;
}

static inline unsigned run_end(struct oracle *o, unsigned i)
{
    while (i < o->n && i + 1 < o->n && o->entry[i + 1] == o->entry[i]) {
        i++;
    }
    return i + 1;
}

// The three lookups at cell i, all compared.
static inline void oracle_check_at(struct oracle *o, struct maple_tree *mt, unsigned i)
{
    u64 addr = o->addr[i] + shim_random(&o->rnd) % (o->addr[i + 1] - o->addr[i]);
    u64 start = 7, end = 7;
    unsigned j;
    void *e = mt_find_rcu(mt, addr, &start, &end);

    assert_ptr_equal(e, o->entry[i]);
    assert_ptr_equal(mt_find_rcu(mt, addr, NULL, NULL), o->entry[i]);
    if (e != NULL) {
        assert_int_equal(start, o->addr[run_first(o, i)]);
        assert_int_equal(end, o->addr[run_end(o, i)]);
    } else {
        assert_true(start == 7 && end == 7);
    }
    for (j = i; j < o->n && o->entry[j] == NULL; j++) {
    }
    e = mt_next_rcu(mt, addr, &start, &end);
    assert_ptr_equal(e, j < o->n ? o->entry[j] : NULL);
    if (e != NULL) {
        assert_int_equal(start, o->addr[run_first(o, j)]);
        assert_int_equal(end, o->addr[run_end(o, j)]);
    }
    // starts below addr: this cell's own run counts only if addr is not its first address
    j = addr > o->addr[i] ? i + 1 : i;
    while (j > 0 && o->entry[j - 1] == NULL) {
        j--;
    }
    e = mt_prev_rcu(mt, addr, &start, &end);
    assert_ptr_equal(e, j > 0 ? o->entry[j - 1] : NULL);
    if (e != NULL) {
        assert_int_equal(start, o->addr[run_first(o, j - 1)]);
        assert_int_equal(end, o->addr[run_end(o, j - 1)]);
    }
}

// Brute force over all gaps: false, or *out.
static inline bool oracle_gap(struct oracle *o, u64 lo, u64 hi, u64 size, bool highest,
                              struct maple_gap *out)
{
    bool found = false;

    for (unsigned i = 0; i < o->n; i = run_end(o, i)) {
        u64 s = max(o->addr[i], lo), e = min(o->addr[run_end(o, i)], hi);

        if (o->entry[i] != NULL || s >= e || e - s < size || (found && !highest)) {
            continue;
        }
        unsigned end = run_end(o, i);

        *out = (struct maple_gap){highest ? e - size : s, o->addr[i], o->addr[end],
                                  end < o->n ? o->entry[end] : NULL};
        found = true;
    }
    return found && size > 0;
}

static inline bool gap_equal(const struct maple_gap *a, const struct maple_gap *b)
{
    return a->start == b->start && a->lo == b->lo && a->hi == b->hi && a->next == b->next;
}

static inline void oracle_check_gaps(struct oracle *o, struct maple_tree *mt)
{
    unsigned i = oracle_random(o, o->n), j = oracle_random(o, o->n), k = oracle_random(o, o->n);
    u64 lo = o->addr[min(i, j)], hi = o->addr[max(i, j) + 1];
    struct maple_gap a, b;
    u64 size = (o->addr[k + 1] - o->addr[k]) << oracle_random(o, 6);
    bool found;

    if (oracle_random(o, 2) == 0) { // the whole space, and bounds inside cells
        lo = oracle_random(o, 2) ? 0 : lo + oracle_random(o, 3);
        hi = oracle_random(o, 2) ? ~0ull : hi;
    }
    size += oracle_random(o, 3);
    size -= min(size, (u64)oracle_random(o, 2));
    found = oracle_gap(o, lo, hi, size, false, &b);
    assert_int_equal(mt_gap_lowest(mt, lo, hi, size, &a), found ? 0 : -ENOMEM);
    assert_true(!found || gap_equal(&a, &b));
    found = oracle_gap(o, lo, hi, size, true, &b);
    assert_int_equal(mt_gap_highest(mt, lo, hi, size, &a), found ? 0 : -ENOMEM);
    assert_true(!found || gap_equal(&a, &b));
}

// The structure's rules, and every range in order, forwards and backwards.
static inline void oracle_check_all(struct oracle *o, struct maple_tree *mt)
{
    const char *broken = mt_check(mt);
    u64 nr = 0, start, end, addr = 0;
    void *e;

    if (broken != NULL) {
        fail_msg("mt_check: %s", broken);
    }
    for (unsigned i = 0; i < o->n; i = run_end(o, i)) {
        if (o->entry[i] == NULL) {
            continue;
        }
        e = mt_next_rcu(mt, addr, &start, &end);
        assert_ptr_equal(e, o->entry[i]);
        assert_int_equal(start, o->addr[i]);
        assert_int_equal(end, o->addr[run_end(o, i)]);
        addr = end;
        nr++;
    }
    assert_null(mt_next_rcu(mt, addr, NULL, NULL));
    assert_int_equal(mt->nr_ranges, nr);
    for (addr = ~0ull; (e = mt_prev_rcu(mt, addr, &start, NULL)) != NULL; addr = start) {
        assert_ptr_equal(e, mt_find_rcu(mt, start, NULL, NULL));
        nr--;
    }
    assert_int_equal(nr, 0);
}

// A prepared store in tree and oracle, which may use no more nodes than mt_prepare counts on: how
// many it did.
static inline unsigned both_store(struct oracle *o, struct maple_tree *mt, unsigned from,
                                  unsigned to, void *entry)
{
    struct maple_prealloc pre = {0};
    struct maple_node *root = root_get(mt);
    unsigned height = root == NULL ? 1 : root->level + 1u, used;

    assert_int_equal(mt_prepare(mt, &pre, 1), 0);
    used = pre.nr;
    mt_store(mt, &pre, o->addr[from], o->addr[to], entry);
    used -= pre.nr;
    assert_in_range(used, 0, MAX_MADE * height + 1);
    mt_unprepare(&pre);
    oracle_store(o, from, to, entry);
    return used;
}

#endif
