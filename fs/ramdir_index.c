// The entries of a directory in memory: by name, and in the order they are listed in.
//
// Any program may keep as many names in one directory as there are inodes, and every step of every
// path is taken under vfs_lock. So nothing that is done for one name may look at all of them: not
// to find it, not to add or remove it, and not to go on with a listing.
//
//     by name     a table of chains, one to two entries each, made anew when the number of entries
//                 has doubled or is down to a quarter. Without memory for it long chains do. The
//                 hash begins with a number drawn at boot, so that nobody can choose names that
//                 share a chain.
//     by cookie   a list with shortcuts (Pugh, "Skip Lists", 1990): an entry has a link at height
//                 0, one in four has another one at height 1, which leads to the next entry that
//                 has, and so on. A search goes along the highest links first. How high an entry is
//                 comes from its hash.
//
//     newest[2] ------------------> c -----------------------------------> nothing
//     newest[1] ------> e --------> c -----------------------> a --------> nothing
//     newest[0] -> f -> e --> d --> c ---------> b ----------> a --------> nothing
//     cookie       7    8     9     10           12            13          (11 was removed)
//
// A listing goes from the newest entry to the oldest and a new one gets a cookie below all others:
// what comes while a listing is under way is behind it. So each listing ends, also that of a
// program which gives every name it is shown another one; that is the order of Linux's tmpfs, too.
// (Newest last, which was here first, showed such a program its own names for ever.) A cookie is
// never used twice, 2^62 are enough, and a listing goes on with the first entry that has the cookie
// where it stopped or a later one: what stays is listed once, whatever else comes and goes.
//
// Rejected: one search tree in the order of the hashes for both, which lists names in another order
// at each boot; a cursor for each open directory, which lseek does not know of.
#include <k/assert.h>
#include <k/string.h>
#include <proc.h>
#include <sched.h>
#include "ramdir_priv.h"

void ramdir_index_init(struct ramdir *d)
{
    d->buckets = d->few;
    d->nr_buckets = BUCKETS_FEW;
    d->last_cookie = RAMDIR_COOKIE_END;
}

void ramdir_index_free(struct ramdir *d)
{
    assert(d->nr == 0);
    if (d->buckets != d->few) {
        kfree(d->buckets);
    }
}

struct entry *entry_new(const char *name)
{
    size_t n = strlen(name) + 1;
    u64 hash = name_hash(name, n);
    unsigned height = 1 + (unsigned)__builtin_ctzll(hash | 1ull << 2 * (ENTRY_HEIGHT_MAX - 1)) / 2;
    struct entry *e = kmalloc(sizeof(*e) + height * sizeof(e->next[0]) + n, GFP_KERNEL);
    if (e) {
        e->hash = hash;
        e->height = height;
        memcpy(entry_name(e), name, n);
    }
    return e;
}

// ---- By name ------------------------------------------------------------------------------------

// The high bits: the height is in the low ones.
static struct entry **entry_bucket(struct ramdir *d, u64 hash)
{
    return &d->buckets[(hash >> 32) & (d->nr_buckets - 1)];
}

static void entry_chain(struct ramdir *d, struct entry *e)
{
    struct entry **b = entry_bucket(d, e->hash);
    e->chain = *b;
    *b = e;
}

struct entry *entry_find(struct ramdir *d, const char *name)
{
    u64 hash = name_hash(name, strlen(name) + 1);
    struct entry *e = *entry_bucket(d, hash);
    while (e && (e->hash != hash || strcmp(entry_name(e), name) != 0)) {
        e = e->chain;
    }
    return e;
}

static void ramdir_resize(struct ramdir *d, unsigned long nr)
{
    bool few = nr <= BUCKETS_FEW;
    struct entry **b = few ? d->few : kzalloc(nr * sizeof(*b), GFP_KERNEL), *e;
    if (!b || b == d->buckets) {
        return;
    }
    if (d->buckets == d->few) {
        memset(d->few, 0, sizeof(d->few));
    } else {
        kfree(d->buckets);
    }
    d->buckets = b;
    d->nr_buckets = few ? BUCKETS_FEW : nr;
    ramdir_for_each (e, d) {
        entry_chain(d, e);
        cond_resched();
    }
}

// ---- By cookie ----------------------------------------------------------------------------------

// The links that lead over `cookie`: at each height, the one to the first entry that has this or a
// later one.
static void links_find(struct ramdir *d, u64 cookie, struct entry **link[ENTRY_HEIGHT_MAX])
{
    struct entry **at = d->newest;
    for (unsigned h = ENTRY_HEIGHT_MAX; h-- > 0;) {
        while (at[h] && at[h]->cookie < cookie) {
            at = at[h]->next;
        }
        link[h] = &at[h];
    }
}

struct entry *entry_from(struct ramdir *d, u64 cookie)
{
    struct entry **link[ENTRY_HEIGHT_MAX];
    links_find(d, cookie, link);
    return *link[0];
}

// ---- Both ---------------------------------------------------------------------------------------

static bool is_power_of_two(unsigned long n)
{
    return n && !(n & (n - 1));
}

void entry_link(struct ramdir *d, struct entry *e)
{
    e->cookie = --d->last_cookie;
    for (unsigned h = 0; h < e->height; h++) {
        e->next[h] = d->newest[h];
        d->newest[h] = e;
    }
    entry_chain(d, e);
    d->nr++;
    if (is_power_of_two(d->nr) && d->nr >= 2 * d->nr_buckets) {
        ramdir_resize(d, d->nr);
    }
}

void entry_unlink(struct ramdir *d, struct entry *e)
{
    struct entry **link[ENTRY_HEIGHT_MAX], **c = entry_bucket(d, e->hash);
    links_find(d, e->cookie, link);
    for (unsigned h = 0; h < e->height; h++) {
        *link[h] = e->next[h];
    }
    while (*c != e) {
        c = &(*c)->chain;
    }
    *c = e->chain;
    d->nr--;
    if ((is_power_of_two(d->nr) || d->nr == 0) && 4 * d->nr <= d->nr_buckets) {
        ramdir_resize(d, d->nr);
    }
}
