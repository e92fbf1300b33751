// Accesses to the slots (slots.h), and what each may find.
#include <k/assert.h>
#include <k/errno.h>
#include <k/rcu.h>
#include <page.h>
#include <sched.h>
#include <smp.h>
#include <uapi/mman.h>
#include "slots.h"
#include "../../../mm/mm_priv.h"

struct under_way under_way[MAX_THREADS];
atomic_ulong nr_accesses;

// What each CPU has written last and nothing has discarded since, if the era is still that of the
// value.
static _Atomic u64 written[MAX_THREADS][NR_SLOTS][SLOT_PAGES];

void accesses_reset(unsigned slot)
{
    for (unsigned c = 0; c < nr_cpus; c++) {
        for (unsigned p = 0; p < SLOT_PAGES; p++) {
            store_relaxed(&written[c][slot][p], 0);
        }
    }
}

// ---- Values -------------------------------------------------------------------------------------

#define VALUE_MAGIC 0x5aul

//     63 magic 56   55 slot 48   47 page 44   43 writer 40   39 era 24   23 number 0
u64 value_make(u64 magic, const struct slot *s, unsigned page, unsigned writer, unsigned era,
               u64 number)
{
    return magic << 56 | (u64)s->id << 48 | (u64)page << 44 | (u64)writer << 40 |
           (u64)(era & 0xffff) << 24 | (number & 0xffffff);
}

static unsigned value_era(u64 value)
{
    return (value >> 24) & 0xffff;
}

static bool value_not_older(u64 value, u64 than)
{
    return ((value - than) & 0xffffff) < 0x800000;
}

noreturn_fn void wrong(const struct slot *s, unsigned page, const char *what, u64 value, int err)
{
    panic("slot %u kind %d page %u: %s: value %lx result %d (seq %u %u where %u prot %u pages %u "
          "eras %u..%u)",
          s->id, s->kind, page, what, (unsigned long)value, err, s->seq[0], s->seq[1], s->where,
          s->prot[page], s->nr_pages, s->era_oldest[page], s->era_next[page]);
}

static void check_value(const struct slot *s, unsigned page, unsigned writer, u64 value,
                        unsigned oldest)
{
    u64 same = value_make(VALUE_MAGIC, s, page, writer, 0, 0);
    if (value == (s->kind == ANON ? 0 : value_make(VALUE_FILE, s, page, 0, 0, 0))) {
        return;
    }
    if (value >> 40 != same >> 40) {
        wrong(s, page, "not of this page", value, 0);
    }
    if (value_era(value) < oldest) {
        wrong(s, page, "was discarded", value, 0);
    }
    if (value_era(value) > load_acquire(&s->era_next[page])) {
        wrong(s, page, "from the future", value, 0);
    }
}

// `last` was written before the access began: unless the era has changed, it or a newer value is
// there.
static void check_not_lost(const struct slot *s, unsigned page, u64 value, u64 last)
{
    if (last && load_seq(&s->era_next[page]) == value_era(last) &&
        (value >> 40 != last >> 40 || !value_not_older(value, last))) {
        wrong(s, page, "a store was lost", value, 0);
    }
}

// ---- Accesses -----------------------------------------------------------------------------------

void use_space(unsigned n)
{
    if (current_mm() != space[n]) {
        mm_activate(space[n]);
    }
}

enum way { HOME, OTHER_HOME, ALIAS, PRIVATE_ALIAS };

struct seen {
    unsigned seq[2], where, prot, nr_pages, era, oldest, erasing[2];
};

static void look(const struct slot *s, unsigned page, struct seen *out)
{
    out->seq[BY_MAP] = load_seq(&s->seq[BY_MAP]);
    out->seq[BY_FILE] = load_seq(&s->seq[BY_FILE]);
    out->where = load_acquire(&s->where);
    out->prot = load_acquire(&s->prot[page]);
    out->nr_pages = load_acquire(&s->nr_pages);
    out->oldest = load_acquire(&s->era_oldest[page]);
    out->era = load_seq(&s->era_next[page]); // before `erasing`: see erase_begin
    out->erasing[BY_MAP] = load_seq(&s->erasing[BY_MAP][page]);
    out->erasing[BY_FILE] = load_seq(&s->erasing[BY_FILE][page]);
}

static bool unchanged(const struct slot *s, const struct seen *was, enum by by)
{
    return load_seq(&s->seq[by]) == was->seq[by];
}

static int result_wanted(const struct slot *s, const struct seen *was, unsigned page, bool write,
                         enum way way)
{
    if (way == OTHER_HOME || !was->prot) {
        return -EFAULT;
    }
    if (write && !(was->prot & PROT_WRITE)) {
        return -EACCES;
    }
    return s->kind != ANON && page >= was->nr_pages ? -EIO : 0;
}

static void check_result(const struct slot *s, const struct seen *was, unsigned page, bool write,
                         enum way way, int err)
{
    const char *what = write ? "wrong result of a write" : "wrong result of a read";
    bool stable = unchanged(s, was, BY_FILE) && was->seq[BY_FILE] % 2 == 0;
    if (way >= ALIAS) { // may be unmapped
        if (stable && err && err != -EFAULT && !(err == -EIO && page >= was->nr_pages)) {
            wrong(s, page, what, way, err);
        }
        return;
    }
    bool unmaps = load_seq(&s->unmaps); // before seq: the next operation changes both
    if (!unchanged(s, was, BY_MAP)) {
        return;
    }
    int want = result_wanted(s, was, page, write, way);
    if (was->seq[BY_MAP] % 2) {
        if (err == -EFAULT && want != err && !unmaps) {
            wrong(s, page, "vanished for a moment", 0, err);
        }
    } else if (err != want && (stable || want == -EFAULT || want == -EACCES)) {
        wrong(s, page, what, way, err);
    }
}

// May nothing but an operation that is yet to begin discard what was written now? During a mmap
// over the page this is so if the write would have failed before.
static bool write_is_safe(const struct slot *s, const struct seen *was)
{
    bool old_refuses =
        unchanged(s, was, BY_MAP) && was->seq[BY_MAP] % 2 && !(was->prot & PROT_WRITE);
    return was->erasing[BY_FILE] == 0 && (was->erasing[BY_MAP] == 0 || old_refuses);
}

static enum way choose_way(const struct slot *s, bool write)
{
    unsigned r = soft_below(8);
    if (r == 0) {
        return OTHER_HOME;
    }
    if (r < 3 && (s->kind == SHARED_FILE || s->kind == NOTIFY_FILE)) {
        return ALIAS;
    }
    return r < 4 && s->kind != ANON && !write ? PRIVATE_ALIAS : HOME;
}

static vaddr_t way_address(const struct slot *s, const struct seen *was, enum way way)
{
    return way >= ALIAS ? s->alias[way - ALIAS] : s->home[was->where ^ (way == OTHER_HOME)];
}

void access(unsigned me, struct slot *s, unsigned page, bool write)
{
    static struct {
        u64 n;
    } cache_aligned counts[MAX_THREADS];
    enum way way = choose_way(s, write);
    unsigned word = write ? me : soft_below(nr_cpus);
    _Atomic u64 *w = &written[word][s->id][page];
    struct seen was;
    u64 value = 0, last = load_acquire(w); // pairs with the store below

    use_space(way >= ALIAS ? 1 - s->space : s->space);
    store_seq(&under_way[me].what, (++counts[me].n << 8) | (s->id + 1)); // pairs with wait_accesses
    look(s, page, &was);
    vaddr_t addr = way_address(s, &was, way) + page * PAGE_SIZE + word * 8;
    if (write) {
        value = value_make(VALUE_MAGIC, s, page, me, was.era, counts[me].n);
    }
    int err = write ? soft_store(addr, value) : soft_load(addr, &value);
    if (!err && write) {
        store_release(w, write_is_safe(s, &was) ? value : 0);
    } else if (!err) {
        check_value(s, page, word, value, was.oldest);
        if (s->kind != PRIVATE_FILE || way != PRIVATE_ALIAS) {
            check_not_lost(s, page, value, last);
        }
    }
    check_result(s, &was, page, write, way, err);
    store_seq(&under_way[me].what, 0);
    fetch_add_relaxed(&nr_accesses, 1);
    host_progress();
}

void access_pinned(unsigned me, struct slot *s, unsigned page)
{
    unsigned word = soft_below(nr_cpus);
    u64 last = load_acquire(&written[word][s->id][page]);
    struct seen was;
    struct page *p;

    store_seq(&under_way[me].what, 1ul << 62 | (s->id + 1));
    look(s, page, &was);
    int err = gup_page(space[s->space], s->home[was.where] + page * PAGE_SIZE, false, &p);
    if (!err) {
        u64 value = load_relaxed(&((_Atomic u64 *)page_addr(p))[word]);
        check_value(s, page, word, value, was.oldest);
        check_not_lost(s, page, value, last);
        page_put(p);
    }
    check_result(s, &was, page, false, HOME, err);
    store_seq(&under_way[me].what, 0);
}

// ---- A child of a space -------------------------------------------------------------------------
//
// What a child holds of a slot is what the slot was at one instant of the fork. If no operation
// changed the slot's mappings meanwhile, then it is mapped in the child as it was; and what had
// been written before and not discarded is there. The child's private memory is its own from then
// on: it does not change, and what is stored there is nobody else's. What it maps of a file goes
// on being the file's.

#define VALUE_CHILD 0x3cul

struct slot_then {
    struct seen was[SLOT_PAGES];
    u64 last[MAX_THREADS][SLOT_PAGES];
    bool stable; // its mappings, while the fork went on
};

static void look_at_slot(const struct slot *s, struct slot_then *then)
{
    for (unsigned p = 0; p < SLOT_PAGES; p++) {
        for (unsigned c = 0; c < nr_cpus; c++) {
            then->last[c][p] = load_acquire(&written[c][s->id][p]);
        }
        look(s, p, &then->was[p]);
    }
}

static bool slot_is_stable(const struct slot *s, const struct slot_then *then, enum by by)
{
    return then->was[0].seq[by] % 2 == 0 && unchanged(s, &then->was[0], by);
}

static vaddr_t word_in_child(const struct slot *s, const struct slot_then *then, unsigned page,
                             unsigned word)
{
    return way_address(s, &then->was[0], HOME) + page * PAGE_SIZE + word * 8;
}

// One word; *value is its contents, unless it cannot be read.
static bool read_in_child(const struct slot *s, const struct slot_then *then, unsigned page,
                          unsigned word, u64 *value)
{
    const struct seen *was = &then->was[page];
    int err = soft_load(word_in_child(s, then, page, word), value);
    int want = result_wanted(s, was, page, false, HOME);
    bool known = then->stable && (want == -EFAULT || slot_is_stable(s, then, BY_FILE));
    if (err && err != -EFAULT && err != -EIO) {
        wrong(s, page, "a child cannot read", 0, err);
    }
    if (known && err != want) {
        wrong(s, page, "wrong result of a read in a child", 0, err);
    }
    if (!err) {
        check_value(s, page, word, *value, was->oldest);
        if (then->stable) {
            check_not_lost(s, page, *value, then->last[word][page]);
        }
    }
    return !err;
}

// A page's words, again, and then a store.
static void check_page_in_child(const struct slot *s, const struct slot_then *then, unsigned page)
{
    bool is_private = s->kind == ANON || s->kind == PRIVATE_FILE;
    for (unsigned c = 0; c < nr_cpus; c++) {
        u64 value = 0, again = 0;
        if (!read_in_child(s, then, page, c, &value) || !is_private) {
            continue;
        }
        soft_point();
        bool there = read_in_child(s, then, page, c, &again);
        if ((s->kind == ANON || slot_is_stable(s, then, BY_FILE)) && (!there || again != value)) {
            wrong(s, page, "a child's memory changes", again, there);
        }
        if (c + 1 == nr_cpus) {
            value = value_make(VALUE_CHILD, s, page, c, 0, 0);
            soft_store(word_in_child(s, then, page, c), value); // where that is allowed
        }
    }
}

void access_child(unsigned n)
{
    static struct slot_then at[MAX_THREADS][NR_SLOTS];
    struct slot_then *then = at[cpu_id()];
    struct mm *child;
    for (unsigned i = 0; i < NR_SLOTS; i++) {
        look_at_slot(&slots[i], &then[i]);
    }
    int err = mm_fork(space[n], &child);
    if (err) {
        wrong(&slots[0], 0, "fork fails", n, err);
    }
    for (unsigned i = 0; i < NR_SLOTS; i++) {
        then[i].stable = slot_is_stable(&slots[i], &then[i], BY_MAP);
    }
    mm_activate(child);
    for (unsigned i = 0; i < NR_SLOTS * SLOT_PAGES; i++) {
        const struct slot *s = &slots[i / SLOT_PAGES];
        if (s->space == n) {
            check_page_in_child(s, &then[s->id], i % SLOT_PAGES);
        }
        host_progress();
    }
    mm_activate(NULL);
    mm_put(child);
    fetch_add_relaxed(&nr_operations, 1);
}
