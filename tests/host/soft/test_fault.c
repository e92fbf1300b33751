// The fault path under fire, on the soft machine: CPUs read and write user words while they map,
// unmap, protect, move, discard and truncate under each other, in two address spaces, under every
// scheme.
//
// A slot is a stretch of SLOT_PAGES pages with two homes (addresses that nothing else uses), in one
// address space, of one kind: anonymous, a private mapping of its own file, a shared one, or a
// shared one with write-notify. The file has more mappings in the other space, which come and go.
// Any CPU may access any slot at any time. One CPU at a time changes a slot's mappings, one at a
// time its file.
//
// What a word may hold. Word t of a page is written by CPU t only, with slot, page, writer, era and
// a number. So a value that comes from elsewhere is recognised: a poisoned page, another slot's
// page, a page that should be gone.
//
// Eras. An operation that discards contents (munmap of private memory, DONTNEED, truncate...) first
// moves era_next of the pages on, waits for the accesses under way to end, and then acts: all that
// was written with an older era is older than the operation, and must not be seen by an access that
// begins after it has returned, when era_oldest moves on. Operations that keep contents (mprotect,
// mremap, unmapping shared memory) do not touch the eras. As long as the era stays, what one CPU
// has written is what every CPU reads, or something newer.
//
// Stable and in between. seq is odd during an operation, file_seq during one on the file. An access
// that saw the same even numbers before and after must succeed or fail exactly as the slot's state
// says: what is unmapped, or has moved, gives -EFAULT, a write to what was made read-only -EACCES,
// a page behind the end of the file -EIO, and all else succeeds. Meanwhile an access may get either
// result, but no -EFAULT where the operation does not unmap.
//
// Before that, first_touch.c has its turn.
//
// At the end mm/audit.c looks at all entries and counters; then everything is unmapped and nothing
// may be left: frames, tables, VMAs, tree nodes, references on files.
//
//     SEED=n ROUNDS=n CPUS=n SCHEME=n    repeat a run, longer, with other numbers
//     THREADS=1 SECONDS=n                CPUs as threads of the host, for so long at most

#include <filemap.h>
#include <fs.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/rcu.h>
#include <k/string.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <sched.h>
#include <scheme.h>
#include <smp.h>
#include <stdio.h>
#include <stdlib.h>
#include <uapi/mman.h>
#include <vma.h>
#include "../../../mm/mm_priv.h"

#define MAX_THREADS 8u
#define NR_SLOTS    16u
#define SLOT_PAGES  8u
#define NR_SPACES   2u
#define RAM_BYTES   (16ul << 20)

// first_touch.c: all CPUs, in mm.
void run_first_touch(unsigned me, struct mm *mm, unsigned long rounds);

enum kind { ANON, PRIVATE_FILE, SHARED_FILE, NOTIFY_FILE, NR_KINDS };
enum by { BY_MAP, BY_FILE }; // the two kinds of operations, each excluding its own

struct slot {
    unsigned id;
    enum kind kind;
    unsigned space;                     // which address space it lives in
    vaddr_t home[2], alias[2];          // alias: in the other space, [0] shared, [1] private
    atomic_uint busy[2], alias_busy;    // an operation is under way
    atomic_uint seq[2];                 // odd meanwhile
    atomic_bool unmaps;                 // ... and it unmaps
    atomic_uint where;                  // which home
    atomic_uint nr_pages;               // of the file: behind them is nothing
    atomic_uint prot[SLOT_PAGES];       // PROT_*; 0: unmapped
    atomic_uint erasing[2][SLOT_PAGES]; // operations under way that discard
    atomic_uint era_next[SLOT_PAGES];   // what writers write
    atomic_uint era_oldest[SLOT_PAGES]; // what readers may find
    struct file file;
    struct inode inode;
};

static struct slot slots[NR_SLOTS];
static struct mm *space[NR_SPACES];
static const struct mm_scheme *scheme;
static unsigned long rounds;
static atomic_ulong nr_accesses, nr_operations;

// What this CPU is accessing: a number that changes with each access, 0 for none.
static struct under_way {
    atomic_ulong what;
} cache_aligned under_way[MAX_THREADS];

// What each CPU has written last and nothing has discarded since, if the era is still that of the
// value.
static _Atomic u64 written[MAX_THREADS][NR_SLOTS][SLOT_PAGES];

// ---- Values -------------------------------------------------------------------------------------

#define VALUE_MAGIC 0x5aul
#define VALUE_FILE  0xa5ul // what read_page fills in

//     63 magic 56   55 slot 48   47 page 44   43 writer 40   39 era 24   23 number 0
static u64 value_make(u64 magic, const struct slot *s, unsigned page, unsigned writer, unsigned era,
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

static noreturn_fn void wrong(const struct slot *s, unsigned page, const char *what, u64 value,
                              int err)
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

static void use_space(unsigned n)
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
    if (!unchanged(s, was, BY_MAP)) {
        return;
    }
    int want = result_wanted(s, was, page, write, way);
    if (was->seq[BY_MAP] % 2) {
        if (err == -EFAULT && want != err && !load_acquire(&s->unmaps)) {
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

static void access(unsigned me, struct slot *s, unsigned page, bool write)
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

// Pinned, by a CPU that need not run in the address space, and read through the kernel's mapping.
static void access_pinned(unsigned me, struct slot *s, unsigned page)
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

// ---- Operations ---------------------------------------------------------------------------------

// Wait until the accesses to s that are under way now have ended.
static void wait_accesses(const struct slot *s, unsigned me)
{
    for (unsigned c = 0; c < nr_cpus; c++) {
        unsigned long was = load_seq(&under_way[c].what);
        while (c != me && (was & 0xff) == s->id + 1 && load_seq(&under_way[c].what) == was) {
            soft_wait();
            soft_safe_point();
        }
    }
}

static void op_begin(struct slot *s, enum by by, bool unmaps)
{
    if (by == BY_MAP) {
        store_seq(&s->unmaps, unmaps);
    }
    fetch_add_seq(&s->seq[by], 1);
}

static void op_end(struct slot *s, enum by by)
{
    fetch_add_seq(&s->seq[by], 1);
    fetch_add_relaxed(&nr_operations, 1);
}

// The contents of some pages are about to be discarded, and have been. A writer that finds
// `erasing` 0 after it has looked at the era either writes before, with an era that is over, or
// after.
struct erase {
    unsigned a, b;
    unsigned era[SLOT_PAGES];
};

static void erase_begin(struct slot *s, enum by by, unsigned me, struct erase *e)
{
    for (unsigned p = e->a; p < e->b; p++) {
        fetch_add_seq(&s->erasing[by][p], 1);
        e->era[p] = fetch_add_seq(&s->era_next[p], 1) + 1;
    }
    wait_accesses(s, me);
}

static void erase_end(struct slot *s, enum by by, const struct erase *e)
{
    for (unsigned p = e->a; p < e->b; p++) {
        unsigned oldest = load_seq(&s->era_oldest[p]);
        while (oldest < e->era[p] &&
               !atomic_compare_exchange_weak(&s->era_oldest[p], &oldest, e->era[p])) {
        }
        fetch_add_seq(&s->erasing[by][p], -1);
    }
}

static bool is_shared(const struct slot *s)
{
    return s->kind == SHARED_FILE || s->kind == NOTIFY_FILE;
}

static void must(const struct slot *s, const char *what, s64 result)
{
    if (result < 0) {
        wrong(s, 0, what, 0, (int)result);
    }
}

static vaddr_t addr_of(const struct slot *s, unsigned page)
{
    return s->home[load_relaxed(&s->where)] + page * PAGE_SIZE;
}

static void set_prot(struct slot *s, unsigned a, unsigned b, unsigned prot)
{
    for (unsigned p = a; p < b; p++) {
        store_seq(&s->prot[p], prot);
    }
}

static void op_map(struct slot *s, unsigned me, unsigned a, unsigned b)
{
    unsigned flags = MAP_FIXED | (is_shared(s) ? MAP_SHARED : MAP_PRIVATE);
    struct file *file = s->kind == ANON ? NULL : &s->file;
    struct erase e = {a, is_shared(s) ? a : b, {0}};
    erase_begin(s, BY_MAP, me, &e);
    op_begin(s, BY_MAP, false);
    must(s, "mmap",
         mm_mmap(space[s->space], addr_of(s, a), (b - a) * PAGE_SIZE, PROT_READ | PROT_WRITE,
                 flags | (file ? 0 : MAP_ANONYMOUS), file, file ? a * PAGE_SIZE : 0));
    set_prot(s, a, b, PROT_READ | PROT_WRITE);
    erase_end(s, BY_MAP, &e);
    op_end(s, BY_MAP);
}

static void op_unmap(struct slot *s, unsigned me, unsigned a, unsigned b)
{
    struct erase e = {a, is_shared(s) ? a : b, {0}};
    erase_begin(s, BY_MAP, me, &e);
    op_begin(s, BY_MAP, true);
    must(s, "munmap", mm_munmap(space[s->space], addr_of(s, a), (b - a) * PAGE_SIZE));
    set_prot(s, a, b, 0);
    erase_end(s, BY_MAP, &e);
    op_end(s, BY_MAP);
}

static void op_protect(struct slot *s, unsigned a, unsigned b, unsigned prot)
{
    for (unsigned p = a; p < b; p++) {
        if (!load_relaxed(&s->prot[p])) {
            return;
        }
    }
    op_begin(s, BY_MAP, false);
    must(s, "mprotect", mm_mprotect(space[s->space], addr_of(s, a), (b - a) * PAGE_SIZE, prot));
    set_prot(s, a, b, prot);
    op_end(s, BY_MAP);
}

static void op_discard(struct slot *s, unsigned me, unsigned a, unsigned b)
{
    struct erase e = {a, is_shared(s) ? a : b, {0}};
    erase_begin(s, BY_MAP, me, &e);
    op_begin(s, BY_MAP, false);
    s64 err = mm_madvise(space[s->space], addr_of(s, a), (b - a) * PAGE_SIZE, MADV_DONTNEED);
    must(s, "madvise", err == -ENOMEM ? 0 : err); // holes
    erase_end(s, BY_MAP, &e);
    op_end(s, BY_MAP);
}

static void op_move(struct slot *s)
{
    unsigned prot = load_relaxed(&s->prot[0]);
    for (unsigned p = 0; p < SLOT_PAGES; p++) {
        if (!prot || load_relaxed(&s->prot[p]) != prot) {
            return;
        }
    }
    unsigned to = 1 - load_relaxed(&s->where);
    op_begin(s, BY_MAP, true);
    s64 err = mm_mremap(space[s->space], addr_of(s, 0), SLOT_PAGES * PAGE_SIZE,
                        SLOT_PAGES * PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, s->home[to]);
    if (s->kind != ANON || err != -EFAULT) { // else in two VMAs: a part was mapped after a move
        must(s, "mremap", err);
        store_seq(&s->where, to);
    }
    op_end(s, BY_MAP);
}

static void change_mapping(unsigned me, struct slot *s)
{
    unsigned a = soft_below(SLOT_PAGES), b = a + 1 + soft_below(SLOT_PAGES - a);
    if (soft_below(3) == 0) {
        a = 0, b = SLOT_PAGES;
    }
    switch (soft_below(8)) {
    case 0:
    case 1:
        op_map(s, me, a, b);
        break;
    case 2:
        op_unmap(s, me, a, b);
        break;
    case 3:
        op_protect(s, a, b, PROT_READ);
        break;
    case 4:
        op_protect(s, a, b, PROT_READ | PROT_WRITE);
        break;
    case 5:
        op_discard(s, me, a, b);
        break;
    default:
        op_move(s);
        break;
    }
}

static void op_resize(struct slot *s, unsigned me, unsigned nr_pages)
{
    struct erase e = {nr_pages, SLOT_PAGES, {0}};
    erase_begin(s, BY_FILE, me, &e);
    op_begin(s, BY_FILE, false);
    mutex_lock(&s->inode.lock);
    mapping_truncate(&s->inode.mapping, nr_pages * PAGE_SIZE);
    mutex_unlock(&s->inode.lock);
    store_seq(&s->nr_pages, nr_pages);
    erase_end(s, BY_FILE, &e);
    op_end(s, BY_FILE);
}

// A hole: the file's own pages go, private copies stay.
static void op_punch(struct slot *s, unsigned me, unsigned a, unsigned b)
{
    struct erase e = {a, is_shared(s) ? b : a, {0}};
    erase_begin(s, BY_FILE, me, &e);
    op_begin(s, BY_FILE, false);
    mutex_lock(&s->inode.lock);
    mapping_punch(&s->inode.mapping, a * PAGE_SIZE, b * PAGE_SIZE);
    mutex_unlock(&s->inode.lock);
    erase_end(s, BY_FILE, &e);
    op_end(s, BY_FILE);
}

static void change_file(unsigned me, struct slot *s)
{
    unsigned a = soft_below(SLOT_PAGES), b = a + 1 + soft_below(SLOT_PAGES - a);
    switch (soft_below(4)) {
    case 0:
        op_punch(s, me, a, b);
        break;
    case 1:
        op_resize(s, me, a);
        break;
    default:
        op_resize(s, me, SLOT_PAGES);
        break;
    }
}

static void map_alias(struct slot *s, unsigned which)
{
    must(s, "alias",
         mm_mmap(space[1 - s->space], s->alias[which], SLOT_PAGES * PAGE_SIZE,
                 PROT_READ | PROT_WRITE, MAP_FIXED | (which ? MAP_PRIVATE : MAP_SHARED), &s->file,
                 0));
}

static void change_alias(struct slot *s)
{
    unsigned which = soft_below(2);
    if (soft_below(2)) {
        map_alias(s, which);
    } else {
        must(s, "munmap of an alias",
             mm_munmap(space[1 - s->space], s->alias[which], SLOT_PAGES * PAGE_SIZE));
    }
}

static void operate(unsigned me, struct slot *s)
{
    unsigned what = s->kind == ANON ? 0 : soft_below(4);
    atomic_uint *busy = what < 2 ? &s->busy[BY_MAP] : what < 3 ? &s->busy[BY_FILE] : &s->alias_busy;
    if (atomic_exchange(busy, 1)) {
        return;
    }
    if (what < 2) {
        change_mapping(me, s);
    } else if (what < 3) {
        change_file(me, s);
    } else {
        change_alias(s);
    }
    store_seq(busy, 0);
}

// ---- Files --------------------------------------------------------------------------------------

static int test_read_page(struct mapping *m, struct page *page)
{
    struct slot *s = container_of(m, struct slot, inode.mapping);
    u64 *word = page_addr(page);
    cond_resched();
    if (soft_below(4) == 0) {
        host_sleep(soft_below(100));
        cond_resched();
    }
    for (unsigned i = 0; i < PAGE_SIZE / 8; i++) {
        word[i] = value_make(VALUE_FILE, s, (unsigned)page->index, 0, 0, 0);
    }
    return 0;
}

static int test_mkwrite(struct mapping *m, struct page *page)
{
    (void)m, (void)page;
    cond_resched();
    return 0;
}

static const struct mapping_ops test_mapping_ops = {.read_page = test_read_page,
                                                    .page_mkwrite = test_mkwrite};

static int test_file_mmap(struct file *f, const struct vma_ops **ops)
{
    struct slot *s = container_of(f, struct slot, file);
    *ops = s->kind == NOTIFY_FILE ? &filemap_notify_vma_ops : &filemap_vma_ops;
    return 0;
}

static const struct file_ops test_file_ops = {.mmap = test_file_mmap};

// ---- A run --------------------------------------------------------------------------------------

// Four slots lie side by side in one leaf table, four have a leaf table to themselves and a home
// that lies across two, the others have all of the tables above the leaf to themselves.
static void slot_place(struct slot *s)
{
    vaddr_t side = 1ul << 32, far = 1ul << 39;
    switch (s->id / NR_KINDS % 4) {
    case 0:
        s->home[0] = side + s->id * SLOT_PAGES * PAGE_SIZE;
        s->home[1] = 2 * side + s->id * SLOT_PAGES * PAGE_SIZE;
        break;
    case 1:
        s->home[0] = 3 * side + s->id * pt_span(1);
        s->home[1] = 4 * side + s->id * pt_span(1) - PAGE_SIZE; // across two leaf tables
        break;
    default:
        s->home[0] = far + s->id * pt_span(2);
        s->home[1] = (4 + s->id) * far;
        break;
    }
    s->alias[0] = 5 * side + s->id * SLOT_PAGES * PAGE_SIZE;
    s->alias[1] = 6 * side + s->id * SLOT_PAGES * PAGE_SIZE;
}

static void slot_start(struct slot *s, unsigned id)
{
    for (unsigned c = 0; c < nr_cpus; c++) {
        for (unsigned p = 0; p < SLOT_PAGES; p++) {
            store_relaxed(&written[c][id][p], 0);
        }
    }
    s->id = id;
    s->kind = id % NR_KINDS;
    s->space = id / NR_KINDS % NR_SPACES;
    slot_place(s);
    s->file.ref = 1;
    s->file.flags = 2; // O_RDWR
    s->file.ops = &test_file_ops;
    s->file.inode = &s->inode;
    s->file.mapping = &s->inode.mapping;
    mutex_init(&s->inode.lock, RANK_INODE);
    mapping_init(&s->inode.mapping, &s->inode, &test_mapping_ops);
    store_relaxed(&s->inode.mapping.size_bytes, SLOT_PAGES * PAGE_SIZE);
    store_seq(&s->nr_pages, SLOT_PAGES);
    store_seq(&s->where, 0);
    op_map(s, 0, 0, SLOT_PAGES);
    if (s->kind != ANON) {
        map_alias(s, 0);
        map_alias(s, 1);
    }
}

static void slot_end(struct slot *s)
{
    if (s->kind != ANON) {
        assert(load_acquire(&s->file.ref) == 1);
        mapping_destroy(&s->inode.mapping);
    }
}

// ---- A run, whole -------------------------------------------------------------------------------

// mm/audit.c looks at every entry of the tables. The counters are exact only when nobody faults.
static void audit(unsigned n, bool quiet)
{
    char text[256];
    use_space(n);
    soft_knob_read("audit", text, sizeof(text));
    bool good = quiet ? strcmp(text, "wrong 0\nstray_tables 0\nanon_off 0\nfile_off 0\n"
                                     "tables_off 0\n") == 0
                      : strncmp(text, "wrong 0\n", 8) == 0;
    if (!good) {
        panic("audit of space %u:\n%s", n, text);
    }
}

static void run(unsigned me)
{
    for (unsigned long i = 0; i < rounds && !host_time_is_up(); i++) {
        struct slot *s = &slots[soft_below(NR_SLOTS)];
        unsigned burst = 1 + soft_below(12), page = soft_below(SLOT_PAGES);
        for (unsigned k = 0; k < burst; k++) {
            access(me, s, (page + k / 3) % SLOT_PAGES, soft_below(2));
        }
        if (soft_below(3) == 0) {
            operate(me, &slots[soft_below(2) ? soft_below(NR_SLOTS) : s->id]);
        }
        if (soft_below(8) == 0) {
            access_pinned(me, s, page);
        }
        if (soft_below(1000) == 0) {
            audit(soft_below(NR_SPACES), false);
        }
        if (soft_below(16) == 0) {
            mm_activate(NULL); // lazily
            soft_idle(soft_below(20));
        }
    }
}

struct baseline {
    u64 free;
    long tables, vmas, nodes;
};

static void take_stock(struct baseline *b)
{
    soft_settle();
    *b = (struct baseline){page_nr_free(), pt_nr_tables(), vma_nr_used(), maple_nr_nodes()};
}

// The other CPUs may still be emptying their lists: page_nr_free can miss what is on its way.
static void check_stock(const struct baseline *before, const char *name)
{
    struct baseline b;
    for (unsigned tries = 0; tries < 50; tries++) {
        take_stock(&b);
        if (memcmp(&b, before, sizeof(b)) == 0) {
            printf("%s: %lu accesses, %lu operations\n", name, nr_accesses, nr_operations);
            return;
        }
        host_sleep(500);
    }
    panic("%s leaks: frames free %lu, were %lu; tables %ld, VMAs %ld, nodes %ld", name,
          (unsigned long)b.free, (unsigned long)before->free, b.tables, b.vmas, b.nodes);
}

static void run_scheme(unsigned me, const struct mm_scheme *with)
{
    static struct baseline before;
    if (me == 0) {
        take_stock(&before);
        for (unsigned i = 0; i < NR_SPACES; i++) {
            space[i] = mm_create(with);
            assert(space[i]);
        }
        for (unsigned i = 0; i < NR_SLOTS; i++) {
            slot_start(&slots[i], i);
        }
        host_start_clock();
    }
    soft_barrier();
    run_first_touch(me, space[0], rounds / 8);
    run(me);
    mm_activate(NULL);
    soft_barrier();
    if (me == 0) {
        for (unsigned i = 0; i < NR_SPACES; i++) {
            audit(i, true);
        }
        mm_activate(NULL);
        for (unsigned i = 0; i < NR_SPACES; i++) {
            mm_put(space[i]);
        }
        soft_settle();
        for (unsigned i = 0; i < NR_SLOTS; i++) {
            slot_end(&slots[i]);
        }
        check_stock(&before, with->name);
    }
    soft_barrier();
}

static void cpu_main(unsigned n)
{
    static atomic_bool ready;
    soft_cpu_start(n);
    if (n == 0) {
        page_init();
        maple_init();
        mm_init();
        store_relaxed(&pt_audit_freed, true); // tables must be empty when RCU frees them
        store_seq(&ready, true);
    }
    while (!load_seq(&ready)) {
        host_yield();
    }
    soft_rcu_start();
    for (unsigned i = 0; scheme_nth(i); i++) {
        if (!scheme || scheme == scheme_nth(i)) {
            run_scheme(n, scheme_nth(i));
        }
    }
    soft_cpu_stop();
}

int main(void)
{
    unsigned cpus = (unsigned)host_option("CPUS", 4);
    unsigned long which = host_option("SCHEME", ~0ul);
    rounds = host_option("ROUNDS", 1500);
    scheme = which == ~0ul ? NULL : scheme_nth((unsigned)which);
    setvbuf(stdout, NULL, _IOLBF, 0);
    soft_boot(RAM_BYTES, min(cpus, MAX_THREADS), host_seed());
    host_run_cpus(nr_cpus, cpu_main);
    return 0;
}
