// See vma_world.h.
#include "vma_world.h"
#include <k/assert.h>
#include "../../mm/maple_priv.h"

#define NR_SHMEM  64u
#define NR_PARKED 8u

struct mm mm;
struct space have, want;
struct file files[NR_FILES];
u64 rnd;

static struct file shmem_files[NR_SHMEM];
static struct file *next_shmem;
static struct vma *parked[NR_PARKED];
static unsigned nr_parked;
static struct vma *known[NR_CELLS]; // what the tree held when the step began, by cell
static unsigned nr_retired, nr_zaps;
static unsigned changed_from, changed_to; // cells that `want` is about
static bool zap_due;
static unsigned long fail_nth;
static int writers;
static long vmas_at_start;

// ---- What mm/ needs of the rest of the kernel ---------------------------------------------------

static int fake_mmap(struct file *f, const struct vma_ops **ops);

static const struct vma_ops fake_vma_ops = {0};
static struct super fake_super;
static struct inode fake_inode = {.mode = S_IFREG, .sb = &fake_super};
static const struct file_ops fake_file_ops = {.mmap = fake_mmap};

static int fake_mmap(struct file *f, const struct vma_ops **ops)
{
    (void)f;
    *ops = &fake_vma_ops;
    return 0;
}

static void file_init(struct file *f)
{
    f->ref = 1;
    f->flags = O_RDWR;
    f->ops = &fake_file_ops;
    f->inode = &fake_inode;
}

void file_put(struct file *f)
{
    assert_true(load_relaxed(&f->ref) > 0);
    fetch_add_relaxed(&f->ref, -1);
}

void file_put_later(struct file *f)
{
    file_put(f);
}

struct file *world_next_shmem(void)
{
    next_shmem = NULL;
    for (unsigned i = 0; i < NR_SHMEM && !next_shmem; i++) {
        next_shmem = shmem_files[i].ref == 0 ? &shmem_files[i] : NULL;
    }
    return next_shmem;
}

int shmem_file_create(u64 size_bytes, struct file **out)
{
    (void)size_bytes;
    assert_non_null(next_shmem);
    file_init(next_shmem);
    *out = next_shmem;
    return 0;
}

unsigned mm_home(struct mm *m)
{
    (void)m;
    return 0;
}

u64 page_nr_total(void)
{
    return 1u << 20;
}

// No process, no limit.
bool mm_may_lock(struct mm *m, u64 nr_pages)
{
    (void)m, (void)nr_pages;
    return true;
}

bool mm_within_limits(struct mm *m, u64 nr_pages, u32 flags)
{
    (void)m, (void)nr_pages, (void)flags;
    return true;
}

bool mm_heap_within_limits(struct mm *m, vaddr_t brk)
{
    (void)m, (void)brk;
    return true;
}

int mm_populate(struct mm *m, vaddr_t start, vaddr_t end, bool write_private)
{
    (void)write_private;
    assert_ptr_equal(m, &mm);
    assert_true(start < end);
    return 0;
}

static struct vma *look(unsigned cell)
{
    rcu_read_lock();
    struct vma *v = mt_find_rcu(mm_tree(&mm, addr_of(cell)), addr_of(cell), NULL, NULL);
    rcu_read_unlock();
    return v;
}

static bool same(const struct cell *a, const struct cell *b)
{
    return a->flags == b->flags && a->file == b->file && a->pgoff == b->pgoff;
}

static struct cell seen(const struct vma *v, unsigned cell)
{
    if (!v) {
        return (struct cell){0};
    }
    return (struct cell){v->flags, v->file, vma_page_index(v, addr_of(cell))};
}

// Nothing is sealed here.
bool rmap_writer_comes(struct mapping *m)
{
    (void)m;
    return true;
}

void rmap_writer_came(struct mapping *m)
{
    (void)m;
}

// A VMA enters the reverse map before the tree has it, and leaves it dead.
void rmap_link(struct vma *v)
{
    if (v->file) {
        assert_true(list_empty(&v->i_mmap_link));
        assert_ptr_not_equal(look(cell_of(v->start)), v);
        static struct list anchor = LIST_INIT(anchor);
        list_add_tail(&anchor, &v->i_mmap_link);
    }
}

void rmap_unlink(struct vma *v)
{
    assert_int_equal(v->state, VMA_DEAD);
    if (v->file) {
        assert_false(list_empty(&v->i_mmap_link));
        list_del(&v->i_mmap_link);
    }
}

// ---- Watching a commit --------------------------------------------------------------------------

// Between two publications a reader finds at each page what was or what will be: nothing only where
// one of the two is nothing, and never a VMA that is dead.
static void check_cell_midway(unsigned c)
{
    struct vma *v = look(c);
    struct cell now = seen(v, c);

    assert_true(same(&now, &have.cell[c]) || same(&now, &want.cell[c]));
    if (v && v != known[c]) {
        bool replaced = zap_due && c >= changed_from && c < changed_to && have.cell[c].flags;
        assert_int_not_equal(v->state, VMA_DEAD);
        if (replaced) {
            assert_int_equal(v->state, VMA_PENDING);
        }
    } else if (v) {
        assert_int_equal(v->state, VMA_LIVE);
    }
}

static void on_publish(bool done)
{
    (void)done;
    unsigned from = changed_from > 3 ? changed_from - 3 : 0;
    for (unsigned c = from; c < min(changed_to + 3, NR_CELLS); c++) {
        check_cell_midway(c);
    }
    for (unsigned i = 0; i < 8; i++) {
        check_cell_midway(random_below(NR_CELLS));
    }
}

static int world_edit_enter(struct edit *e)
{
    assert_ptr_equal(e->mm, &mm);
    assert_int_equal(writers++, 0);
    return 0;
}

static void world_edit_leave(struct edit *e)
{
    (void)e;
    assert_int_equal(--writers, 0);
}

// All of the new tree is public by now, and the old VMA is in no part of it.
static void world_edit_retire(struct edit *e, struct vma *old)
{
    (void)e;
    assert_int_not_equal(old->state, VMA_DEAD); // once
    assert_ptr_equal(known[cell_of(old->start)], old);
    for (unsigned c = cell_of(old->start); c < cell_of(old->end); c++) {
        struct vma *v = look(c);
        struct cell now = seen(v, c);
        assert_ptr_not_equal(v, old);
        assert_true(same(&now, &want.cell[c]));
    }
    for (unsigned c = changed_from; c < changed_to; c++) {
        struct cell now = seen(look(c), c);
        assert_true(same(&now, &want.cell[c]));
    }
    store_seq(&old->state, VMA_DEAD);
    nr_retired++;
}

static const struct mm_scheme world_scheme = {
    .name = "world",
    .edit_enter = world_edit_enter,
    .edit_retire = world_edit_retire,
    .edit_leave = world_edit_leave,
};

void tlb_begin(struct tlb_batch *b, struct mm *m)
{
    b->mm = m;
}

void tlb_end(struct tlb_batch *b)
{
    assert_ptr_equal(b->mm, &mm);
}

// What is zapped is dead, and what takes its place is not live yet.
void zap_range(struct mm *m, vaddr_t start, vaddr_t end, unsigned flags, struct tlb_batch *b)
{
    assert_ptr_equal(m, b->mm);
    assert_int_equal(flags, ZAP_PRUNE);
    assert_int_equal(cell_of(start), changed_from);
    assert_int_equal(cell_of(end), changed_to);
    for (unsigned c = changed_from; c < changed_to; c++) {
        struct vma *v = look(c);
        assert_true(!v || v->state == VMA_PENDING);
        assert_true(!known[c] || known[c]->state == VMA_DEAD);
    }
    nr_zaps++;
}

// ---- The oracle ---------------------------------------------------------------------------------

static bool joins(const struct cell *a, const struct cell *b)
{
    return a->flags && !((a->flags ^ b->flags) & ~(u32)VMA_SOFT_DIRTY) && a->file == b->file &&
           a->pgoff + 1 == b->pgoff;
}

// What is joined is soft-dirty if a part of it was.
static void want_soft_dirty(void)
{
    for (unsigned c = 0, end; c < NR_CELLS; c = end) {
        u32 soft = want.cell[c].flags & VMA_SOFT_DIRTY;
        for (end = c + 1; end < NR_CELLS && joins(&want.cell[end - 1], &want.cell[end]); end++) {
            soft |= want.cell[end].flags & VMA_SOFT_DIRTY;
        }
        for (unsigned d = c; d < end; d++) {
            want.cell[d].flags |= soft;
        }
    }
}

static void want_range(unsigned from, unsigned to)
{
    want = have;
    changed_from = from;
    changed_to = to;
    zap_due = false;
    for (unsigned c = from; c < to; c++) {
        zap_due |= have.cell[c].flags != 0;
    }
}

void want_map(unsigned from, unsigned to, u32 flags, struct file *file, u64 pgoff)
{
    want_range(from, to);
    for (unsigned c = from; c < to; c++) {
        want.cell[c] = (struct cell){flags, file, pgoff + c - from};
    }
    want_soft_dirty();
}

void want_unmap(unsigned from, unsigned to)
{
    want_range(from, to);
    memset(&want.cell[from], 0, (to - from) * sizeof(want.cell[0]));
}

void want_flags(unsigned from, unsigned to, u32 flags)
{
    want_range(from, to);
    zap_due = false;
    for (unsigned c = from; c < to; c++) {
        want.cell[c].flags = flags;
    }
    want_soft_dirty();
}

void world_snapshot(void)
{
    for (unsigned c = 0; c < NR_CELLS; c++) {
        known[c] = look(c);
    }
    nr_retired = nr_zaps = 0;
}

void step_begin(unsigned long nth)
{
    world_snapshot();
    if (nth == 1 && random_below(4)) {
        nth = 0; // most random operations only once
    } else {
        mt_drain_local(); // would hide that a plan asks for too few
    }
    fail_nth = nth;
    shim_publish_hook = on_publish;
    shim_alloc_fail_nth(nth);
}

bool step_failed(long err)
{
    bool failed = shim_alloc_failed();

    shim_alloc_fail_nth(0);
    shim_publish_hook = NULL;
    if (failed) {
        assert_int_equal(err, -ENOMEM);
        assert_int_equal(nr_retired, 0);
        assert_int_equal(nr_zaps, 0);
        assert_true(fail_nth < 200);
        world_check();
    }
    return failed;
}

// Every VMA that is no longer in the tree was retired, and no other.
static unsigned count_gone(void)
{
    unsigned gone = 0;

    for (unsigned c = 0; c < NR_CELLS; c++) {
        struct vma *v = known[c];
        bool first = v && (c == 0 || known[c - 1] != v);
        bool still = false;
        for (unsigned d = c; first && d < NR_CELLS && known[d] == v; d++) {
            still |= look(d) == v;
        }
        gone += first && !still;
    }
    return gone;
}

void step_end(long err)
{
    assert_int_equal(err, 0);
    assert_int_equal(nr_zaps, zap_due);
    assert_int_equal(nr_retired, count_gone());
    have = want;
    world_check();
}

// ---- Checks -------------------------------------------------------------------------------------

static int nr_parked_on(const struct vma *v)
{
    int n = 0;

    for (unsigned i = 0; i < nr_parked; i++) {
        n += parked[i] == v;
    }
    return n;
}

static void check_vma(const struct vma *v, unsigned c)
{
    assert_int_equal(v->start, addr_of(c));
    assert_int_equal(v->state, VMA_LIVE);
    assert_int_equal(v->ref, 1 + nr_parked_on(v));
    assert_ptr_equal(v->mm, &mm);
    assert_ptr_equal(v->ops, v->file ? &fake_vma_ops : NULL);
    assert_int_equal(list_empty(&v->i_mmap_link), !v->file);
    assert_true(list_empty(&v->edit_link));
}

// VMAs are exactly the longest runs of cells that belong together: neighbours that can be one VMA
// are one.
static unsigned check_tree(void)
{
    unsigned nr = 0;

    for (unsigned c = 0; c < NR_CELLS;) {
        struct vma *v = look(c);
        struct cell now = seen(v, c);
        assert_true(same(&now, &have.cell[c]));
        if (!v) {
            c++;
            continue;
        }
        check_vma(v, c);
        unsigned end = c + 1;
        while (end < NR_CELLS && joins(&have.cell[end - 1], &have.cell[end])) {
            end++;
        }
        assert_int_equal(v->end, addr_of(end));
        nr++;
        c = end;
    }
    return nr;
}

static void check_counts(unsigned nr_vmas)
{
    u64 total = 0, locked = 0, data = 0;

    for (unsigned c = 0; c < NR_CELLS; c++) {
        u32 f = have.cell[c].flags;
        total += f != 0;
        locked += !!(f & VMA_LOCKED);
        data += (f & (VMA_WRITE | VMA_SHARED | VMA_GROWSDOWN)) == VMA_WRITE;
    }
    assert_int_equal(mm.nr_vmas, nr_vmas);
    assert_int_equal(mm.vmas.nr_ranges, nr_vmas);
    assert_int_equal(mm.total_pages, total);
    assert_int_equal(mm.locked_pages, locked);
    assert_int_equal(mm.data_pages, data);
}

// The VMAs that a fault still holds though they have left the tree.
static unsigned count_parked_dead(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < nr_parked; i++) {
        bool first = parked[i]->state == VMA_DEAD;
        for (unsigned j = 0; j < i; j++) {
            first &= parked[j] != parked[i];
        }
        n += first;
        if (first && parked[i]->file) {
            parked[i]->file->pos++;
        }
    }
    return n;
}

// A file's position is no use here otherwise: it counts the VMAs that hold the file.
static void check_refs(unsigned nr_vmas)
{
    struct vma *last = NULL;

    for (unsigned i = 0; i < NR_SHMEM; i++) {
        shmem_files[i].pos = 0;
    }
    for (unsigned i = 0; i < NR_FILES; i++) {
        files[i].pos = 1; // ours
    }
    for (unsigned c = 0; c < NR_CELLS; c++) {
        struct vma *v = look(c);
        if (v && v != last && v->file) {
            v->file->pos++;
        }
        last = v;
    }
    assert_int_equal(vma_nr_used() - vmas_at_start, nr_vmas + count_parked_dead());
    for (unsigned i = 0; i < NR_FILES; i++) {
        assert_int_equal(files[i].ref, files[i].pos);
    }
    for (unsigned i = 0; i < NR_SHMEM; i++) {
        assert_int_equal(shmem_files[i].ref, shmem_files[i].pos);
    }
}

void world_check(void)
{
    const char *broken = mt_check(&mm.vmas);
    unsigned nr = check_tree();

    assert_null(broken);
    check_counts(nr);
    check_refs(nr);
}

// ---- Beginning and end --------------------------------------------------------------------------

void world_begin(u64 seed, unsigned top_cell)
{
    rnd = seed;
    memset(&mm, 0, sizeof(mm));
    memset(&have, 0, sizeof(have));
    mt_init(&mm.vmas, USER_END);
    mm.scheme = &world_scheme;
    mm.mmap_top = addr_of(top_cell);
    for (unsigned i = 0; i < NR_FILES; i++) {
        file_init(&files[i]);
    }
    shim_rcu_eager(true);
    vmas_at_start = vma_nr_used();
    world_check();
}

void world_end(void)
{
    while (nr_parked) {
        world_unpark();
    }
    want_unmap(0, NR_CELLS);
    step(mm_munmap(&mm, BASE, NR_CELLS * PAGE_SIZE));
    mt_destroy(&mm.vmas);
    mt_drain_local();
    rcu_barrier();
    assert_int_equal(vma_nr_used(), 0);
    assert_int_equal(maple_nr_nodes(), 0);
    assert_int_equal(shim_kmalloc_used(), 0);
    for (unsigned i = 0; i < NR_FILES; i++) {
        assert_int_equal(files[i].ref, 1);
    }
}

void world_park(unsigned cell)
{
    struct vma *v = look(cell);

    if (v && nr_parked < NR_PARKED) {
        v->ref++;
        parked[nr_parked++] = v;
    }
}

void world_unpark(void)
{
    if (nr_parked) {
        unsigned i = random_below(nr_parked);
        struct vma *v = parked[i];
        parked[i] = parked[--nr_parked];
        assert_true(v->file == NULL || v->file->ref > 0);
        vma_put(v);
    }
}

// ---- Pictures -----------------------------------------------------------------------------------

#define PRIVATE (VMA_MAYREAD | VMA_MAYWRITE | VMA_SOFT_DIRTY)

static const struct {
    char letter;
    u32 flags;
    int file;  // -1: anonymous
    int shift; // of the page number against the address
} letters[] = {
    {'a', PRIVATE | VMA_READ | VMA_WRITE, -1, 0},
    {'r', PRIVATE | VMA_READ, -1, 0},
    {'n', PRIVATE, -1, 0},
    {'l', PRIVATE | VMA_READ | VMA_WRITE | VMA_LOCKED, -1, 0},
    {'S', PRIVATE | VMA_READ | VMA_WRITE | VMA_GROWSDOWN, -1, 0},
    {'m', PRIVATE | VMA_READ | VMA_WRITE, -1, 4}, // moved here from 4 pages further up
    {'f', PRIVATE | VMA_READ | VMA_WRITE, 0, 0},
    {'g', PRIVATE | VMA_READ, 0, 0},
    {'F', PRIVATE | VMA_READ | VMA_WRITE, 1, 0},
    {'o', PRIVATE | VMA_READ | VMA_WRITE, 0, 1},
    {'s', PRIVATE | VMA_SHARED | VMA_READ | VMA_WRITE, 0, 0},
};

bool world_letter(char letter, unsigned cell, struct cell *out)
{
    for (unsigned i = 0; i < array_size(letters); i++) {
        if (letters[i].letter == letter) {
            u64 first = letters[i].file < 0 ? BASE >> PAGE_SHIFT : 0;
            out->flags = letters[i].flags;
            out->file = letters[i].file < 0 ? NULL : &files[letters[i].file];
            out->pgoff = first + cell + (u64)letters[i].shift;
            return true;
        }
    }
    assert_int_equal(letter, '.');
    return false;
}

static char letter_of(const struct cell *c, unsigned cell)
{
    for (unsigned i = 0; i < array_size(letters); i++) {
        struct cell l;
        world_letter(letters[i].letter, cell, &l);
        if (same(c, &l)) {
            return letters[i].letter;
        }
    }
    return c->flags ? '?' : '.';
}

void world_draw(unsigned nr_cells, char *out)
{
    struct vma *last = NULL;

    for (unsigned c = 0; c < nr_cells; c++) {
        struct vma *v = look(c);
        struct cell now = seen(v, c);
        if (v && last && v != last) {
            *out++ = '|';
        }
        *out++ = letter_of(&now, c);
        last = v;
    }
    *out = '\0';
}
