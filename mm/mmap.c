// mmap, munmap, brk: the calls that add and remove VMAs.
//
// All writers have one shape (STYLE: check, prepare, commit). Check the arguments without a lock;
// enter the scheme's writer side; plan (vma.c), which may fail and changes nothing; commit, which
// cannot fail; zap what the hole held; finish; leave; release. Populating comes after leaving: it
// faults pages in like the program would.

#include <fs.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/explore.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <rmap.h>
#include <scheme.h>
#include <tlb.h>
#include <uapi/mman.h>
#include "mm_priv.h"

// Linux's default is 65530; a range tree here is not strained by more, and researchers use more.
unsigned long mm_max_map_count = 1ul << 20;

int edit_begin(struct edit *e, struct mm *mm)
{
    vma_plan_init(e, mm);
    return mm->scheme->edit_enter(e);
}

void edit_end(struct edit *e)
{
    e->mm->scheme->edit_leave(e);
}

// The same for a call whose only plan is e itself. Nodes for one store, as most plans have, are had
// before the lock is taken, and what the plan retires is let go of after: neither makes other
// writers wait.
static int edit_begin_one(struct edit *e, struct mm *mm)
{
    vma_plan_init(e, mm);
    int err = mt_prepare(mm_tree(mm, 0), &e->pre, 1);
    if (!err) {
        err = mm->scheme->edit_enter(e);
        if (err) {
            vma_commit_release(e);
        }
    }
    return err;
}

static void edit_end_one(struct edit *e)
{
    edit_end(e);
    vma_commit_release(e);
}

u32 vma_flags_from_prot(unsigned prot)
{
    u32 flags = 0;
    flags |= prot & PROT_READ ? VMA_READ : 0;
    flags |= prot & PROT_WRITE ? VMA_WRITE : 0;
    flags |= prot & PROT_EXEC ? VMA_EXEC : 0;
    return flags;
}

int mm_may_map(struct mm *mm, u64 nr_pages, u32 flags)
{
    if (!mm_within_limits(mm, nr_pages, flags)) {
        return -ENOMEM;
    }
    return mm_may_replace(mm, nr_pages, flags);
}

int mm_may_replace(struct mm *mm, u64 nr_pages, u32 flags)
{
    if ((flags & VMA_LOCKED) && !mm_may_lock(mm, nr_pages)) {
        return -EAGAIN;
    }
    bool charged = (flags & (VMA_WRITE | VMA_SHARED | VMA_NORESERVE)) == VMA_WRITE;
    if (mm->nr_vmas >= mm_max_map_count) {
        return -ENOMEM;
    }
    // Linux's default heuristic: refuse what could never be backed.
    return charged && nr_pages > page_nr_total() ? -ENOMEM : 0;
}

void edit_zap_hole(struct edit *e)
{
    struct tlb_batch b;
    if (!e->occupied) {
        return;
    }
    tlb_begin(&b, e->mm);
    zap_range(e->mm, e->start, e->end, ZAP_PRUNE, &b);
    tlb_end(&b);
}

static int commit_plan(struct edit *e, int err)
{
    if (!err) {
        err = vma_plan_ready(e);
    }
    if (err) {
        vma_plan_abort(e);
        return err;
    }
    vma_commit(e);
    yield_point("retired");
    edit_zap_hole(e);
    yield_point("zapped");
    vma_commit_finish(e);
    return 0;
}

static int commit_unmap(struct edit *e, vaddr_t start, vaddr_t end)
{
    return commit_plan(e, vma_plan_cut(e, start, end));
}

static int commit_map(struct edit *e, const struct vma_spec *what)
{
    struct vma_spec s = *what;
    int err = vma_plan_cut(e, s.start, s.end);
    if (!err) {
        s.pending = e->occupied;
        err = vma_plan_add(e, &s);
    }
    return commit_plan(e, err);
}

int unmap_locked(struct mm *mm, vaddr_t start, vaddr_t end)
{
    struct edit e;
    vma_plan_init(&e, mm);
    int err = commit_unmap(&e, start, end);
    vma_commit_release(&e);
    return err;
}

int map_locked(struct mm *mm, const struct vma_spec *what)
{
    struct edit e;
    vma_plan_init(&e, mm);
    int err = commit_map(&e, what);
    vma_commit_release(&e);
    return err;
}

int vma_set_flags(struct mm *mm, struct vma *v, vaddr_t start, vaddr_t end, u32 flags)
{
    struct edit e;
    struct vma_spec s;
    vma_to_spec(v, &s);
    s.pgoff = vma_page_index(v, start);
    s.start = start;
    s.end = end;
    s.flags = flags;
    vma_plan_init(&e, mm);
    int err = vma_plan_cut(&e, start, end);
    if (!err) {
        err = vma_plan_add(&e, &s);
    }
    e.occupied = false; // the entries stay
    err = commit_plan(&e, err);
    vma_commit_release(&e);
    return err;
}

int vma_replace(struct mm *mm, struct vma *v, u32 flags)
{
    struct edit e;
    vma_plan_init(&e, mm);
    int err = commit_plan(&e, vma_plan_replace(&e, v, flags));
    vma_commit_release(&e);
    return err;
}

// ---- mmap ------------------------------------------------------------------------------------

static int check_type(unsigned flags, struct file *file)
{
    const unsigned known = MAP_TYPE | MAP_FIXED | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_DENYWRITE |
                           MAP_EXECUTABLE | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE |
                           MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_FIXED_NOREPLACE;
    switch (flags & MAP_TYPE) {
    case MAP_SHARED_VALIDATE:
        if (!file) {
            return -EINVAL;
        }
        return flags & ~known ? -EOPNOTSUPP : 0;
    case MAP_SHARED:
    case MAP_PRIVATE:
        return 0;
    default:
        return -EINVAL;
    }
}

// What a file allows, and which operations its mapping has.
static int spec_from_file(struct vma_spec *s, struct file *file, bool shared, u64 off, u64 len)
{
    unsigned mode = file->flags & O_ACCMODE;
    // A regular file ends at 2^63; what cannot be mapped at all is told below.
    if (off + len < off || (S_ISREG(file->inode->mode) && (off + len) >> 63)) {
        return -EOVERFLOW;
    }
    if (mode == O_WRONLY || mode == O_ACCMODE ||
        (shared && (s->flags & VMA_WRITE) && mode != O_RDWR)) {
        return -EACCES;
    }
    if (!file->ops->mmap) {
        return -ENODEV;
    }
    if ((s->flags & VMA_EXEC) && !file_may_run(file)) {
        return -EPERM;
    }
    bool may_write = !shared || mode == O_RDWR;
    // With F_SEAL_SEAL, as most files are born, there can be no more seals.
    unsigned seals = load_relaxed(&file->inode->seals);
    if (shared && may_write && file->mapping && !(seals & F_SEAL_SEAL)) {
        s->writer_comes = may_write = rmap_writer_comes(file->mapping);
    } else if (shared) {
        may_write &= !(seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE));
    }
    if (!may_write && (s->flags & VMA_WRITE)) {
        return -EPERM;
    }
    s->flags |= may_write ? VMA_MAYWRITE : 0;
    int err = file->ops->mmap(file, &s->ops);
    if (err) {
        return err;
    }
    s->file = s->ops ? file_get(file) : NULL;
    s->pgoff = off >> PAGE_SHIFT;
    return 0;
}

// Shared memory without a file is a file without a name.
static int spec_shared_memory(struct vma_spec *s, u64 len)
{
    struct file *file;
    int err = shmem_file_create(len, &file);
    if (err) {
        return err;
    }
    err = file->ops->mmap(file, &s->ops);
    s->file = file;
    s->pgoff = 0;
    return err;
}

// Fill in everything but the address. On success s->file is held.
static int mmap_spec(struct vma_spec *s, u64 len, unsigned prot, unsigned flags, struct file *file,
                     u64 off)
{
    bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
    s->flags = vma_flags_from_prot(prot) | VMA_MAYREAD | VMA_SOFT_DIRTY;
    s->flags |= shared ? VMA_SHARED : VMA_MAYWRITE;
    s->flags |= flags & MAP_NORESERVE ? VMA_NORESERVE : 0;
    s->flags |= flags & MAP_LOCKED ? VMA_LOCKED : 0;
    if (file) {
        int err = flags & MAP_GROWSDOWN ? -EINVAL : spec_from_file(s, file, shared, off, len);
        if (err) {
            return err;
        }
    }
    if (s->file) {
        return 0;
    }
    if (shared) {
        s->flags |= VMA_MAYWRITE;
        return flags & MAP_GROWSDOWN ? -EINVAL : spec_shared_memory(s, len);
    }
    s->flags |= flags & MAP_GROWSDOWN ? VMA_GROWSDOWN : 0;
    return 0;
}

// Where threads map. Each seeks free areas below a top of its own, 8 GiB below that of the thread
// made before it; the first thread's is mmap_top, the 65th made shares it. Threads that map and
// unmap would otherwise fill the same gap: their mappings join, so each call takes apart and makes
// anew what another thread has made last, for nothing. (Measured: docs/SCALING.md.) Large mappings
// go below all tops, so that one of them does not fill the stretches of many threads.
//
// 8 GiB, because all tops then lie under one or two entries of the root: a mapping that is alone in
// its stretch comes and goes with a leaf table and the one above it. Rejected: an entry of the root
// for each thread; that is a third table, and the root's lock, each time.
#define HOMES       64
#define HOME_STRIDE (8ul << 30)
_Static_assert(HOMES *HOME_STRIDE < USER_END / 3, "programs begin at two thirds of the space");

static vaddr_t home_top(struct mm *mm, u64 len)
{
    u64 below = len > HOME_STRIDE / 2 ? HOMES : mm_home(mm) % HOMES;
    return mm->mmap_top - below * HOME_STRIDE;
}

int mm_find_gap(struct mm *mm, u64 len, struct vma_gap *gap)
{
    vaddr_t top = home_top(mm, len);
    int err = vma_find_gap(mm, top, len, gap);
    return err && top < mm->mmap_top ? vma_find_gap(mm, mm->mmap_top, len, gap) : err;
}

// Choose the address. gap->start is 0 unless it was sought. The edit lock is held.
static int mmap_place(struct mm *mm, vaddr_t *addr, u64 len, unsigned flags, struct vma_gap *gap)
{
    gap->start = 0;
    vaddr_t at = *addr;
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        struct vma *v = vma_find_first(mm, at);
        bool taken = v && v->start < at + len;
        return (flags & MAP_FIXED_NOREPLACE) && taken ? -EEXIST : 0;
    }
    at = page_align_down(at);
    if (at >= MMAP_MIN_ADDR && at < USER_END && len <= USER_END - at) {
        struct vma *v = vma_find_first(mm, at);
        u64 keep = v && (v->flags & VMA_GROWSDOWN) ? STACK_GUARD_GAP : 0;
        if (!v || v->start >= at + len + keep) {
            *addr = at;
            return 0;
        }
    }
    int err = mm_find_gap(mm, len, gap);
    if (!err) {
        *addr = gap->start;
    }
    return err;
}

static int mmap_check(vaddr_t addr, u64 *len, unsigned flags, struct file *file)
{
    if (*len == 0) {
        return -EINVAL;
    }
    *len = page_align_up(*len);
    if (*len == 0 || *len > USER_END) {
        return -ENOMEM;
    }
    int err = check_type(flags, file);
    if (err) {
        return err;
    }
    if (flags & MAP_HUGETLB) {
        return -ENOMEM; // the pool of huge pages is empty
    }
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (addr > USER_END - *len) {
            return -ENOMEM;
        }
        if (addr & ~PAGE_MASK) {
            return -EINVAL;
        }
        if (addr < MMAP_MIN_ADDR) {
            return -EPERM;
        }
    }
    return 0;
}

// Pages of [start, end) that VMAs cover. The edit lock is held.
static u64 pages_mapped(struct mm *mm, vaddr_t start, vaddr_t end)
{
    u64 n = 0;
    struct vma *v = vma_find_first(mm, start);
    for (; v && v->start < end; v = vma_find_first(mm, v->end)) {
        n += (min(v->end, end) - max(v->start, start)) >> PAGE_SHIFT;
        if (v->end >= end) {
            break;
        }
    }
    return n;
}

static int mmap_locked(struct edit *e, struct vma_spec *s, vaddr_t addr, u64 len, unsigned flags)
{
    struct mm *mm = e->mm;
    struct vma_gap gap;
    int err = mmap_place(mm, &addr, len, flags, &gap);
    if (err) {
        return err;
    }
    s->start = addr;
    s->end = addr + len;
    if (!s->file) {
        s->pgoff = addr >> PAGE_SHIFT;
    }
    s->flags |= mm->lock_future;
    // What is replaced does not count, though it may be of another kind (Linux agrees).
    u64 more = (len >> PAGE_SHIFT) - (flags & MAP_FIXED ? pages_mapped(mm, addr, addr + len) : 0);
    if (!mm_within_limits(mm, more, s->flags)) {
        return -ENOMEM;
    }
    err = mm_may_replace(mm, len >> PAGE_SHIFT, s->flags);
    if (err) {
        return err;
    }
    return gap.start ? commit_plan(e, vma_plan_fill(e, s, &gap)) : commit_map(e, s);
}

s64 mm_mmap(struct mm *mm, vaddr_t addr, u64 len, unsigned prot, unsigned flags, struct file *file,
            u64 off)
{
    struct vma_spec s = {0};
    struct edit e;
    int err = mmap_check(addr, &len, flags, file);
    if (err) {
        return err;
    }
    err = mmap_spec(&s, len, prot, flags, file, off);
    if (err) {
        goto out_file;
    }
    struct vma *draft = vma_draft(mm, &s);
    s.draft = &draft;
    err = draft ? edit_begin_one(&e, mm) : -ENOMEM;
    if (err) {
        goto out_draft;
    }
    err = mmap_locked(&e, &s, addr, len, flags);
    edit_end_one(&e);
    if (!err && ((s.flags & (VMA_LOCKED | VMA_LOCKONFAULT)) == VMA_LOCKED ||
                 (flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE)) {
        mm_populate(mm, s.start, s.end, true); // best effort, as on Linux
    }
out_draft:
    vma_draft_free(draft);
out_file:
    if (s.writer_comes) {
        rmap_writer_came(file->mapping);
    }
    if (s.file) {
        file_put(s.file);
    }
    return err ? err : (s64)s.start;
}

int mm_map_fixed(struct mm *mm, vaddr_t addr, u64 len, unsigned prot, unsigned flags,
                 struct file *file, u64 off)
{
    s64 r = mm_mmap(mm, addr, len, prot, flags | MAP_FIXED, file, off);
    return r < 0 ? (int)r : 0;
}

// ---- munmap, brk -----------------------------------------------------------------------------

s64 mm_munmap(struct mm *mm, vaddr_t addr, u64 len)
{
    struct edit e;
    if ((addr & ~PAGE_MASK) || len == 0 || addr > USER_END || len > USER_END - addr) {
        return -EINVAL;
    }
    int err = edit_begin_one(&e, mm);
    if (err) {
        return err;
    }
    err = commit_unmap(&e, addr, addr + page_align_up(len));
    edit_end_one(&e);
    return err;
}

// The first piece of an attachment that began at addr, or (file: only of this one) its next piece.
static struct vma *attached_piece(struct mm *mm, vaddr_t addr, vaddr_t from,
                                  const struct file_ops *ops, const struct file *file)
{
    struct vma *v;
    for (; (v = vma_find_first(mm, from)); from = v->end) {
        if (file && v->start - addr >= load_relaxed(&file->mapping->size_bytes)) {
            return NULL;
        }
        bool ours = v->file && v->file->ops == ops && (!file || v->file == file);
        if (ours && v->start - addr == v->pgoff << PAGE_SHIFT) {
            return v;
        }
    }
    return NULL;
}

int mm_detach(struct mm *mm, vaddr_t addr, const struct file_ops *ops, struct file **file)
{
    struct edit e;
    int err = edit_begin(&e, mm);
    if (err) {
        return err;
    }
    struct vma *v = attached_piece(mm, addr, addr, ops, NULL);
    *file = v ? file_get(v->file) : NULL;
    err = v ? 0 : -EINVAL;
    while (v && !err) {
        vaddr_t end = v->end;
        err = unmap_locked(mm, v->start, end);
        v = attached_piece(mm, addr, end, ops, *file);
    }
    edit_end(&e);
    if (err && *file) {
        file_put(*file);
    }
    return err;
}

void mm_set_brk_start(struct mm *mm, vaddr_t brk)
{
    mm->brk_start = mm->brk = page_align_up(brk);
}

static int brk_grow(struct mm *mm, vaddr_t old_end, vaddr_t new_end)
{
    struct vma *next = vma_find_first(mm, old_end);
    u64 keep = next && (next->flags & VMA_GROWSDOWN) ? STACK_GUARD_GAP : PAGE_SIZE; // as Linux
    if (next && next->start < new_end + keep) {
        return -ENOMEM;
    }
    struct vma_spec s = {.start = old_end,
                         .end = new_end,
                         .flags =
                             VMA_READ | VMA_WRITE | VMA_MAYREAD | VMA_MAYWRITE | VMA_SOFT_DIRTY,
                         .pgoff = old_end >> PAGE_SHIFT};
    s.flags |= mm->lock_future;
    int err = mm_may_map(mm, (new_end - old_end) >> PAGE_SHIFT, s.flags);
    return err ? err : map_locked(mm, &s);
}

s64 mm_brk(struct mm *mm, vaddr_t brk)
{
    struct edit e;
    int err = 0;
    if (edit_begin(&e, mm)) {
        return (s64)mm->brk;
    }
    vaddr_t old_end = page_align_up(mm->brk), new_end = page_align_up(brk);
    bool grown = new_end > old_end;
    if (brk < mm->brk_start || brk >= USER_END) {
        err = -ENOMEM; // also how a program asks for the present value
    } else if (grown) {
        err = mm_heap_within_limits(mm, brk) ? brk_grow(mm, old_end, new_end) : -ENOMEM;
    } else if (new_end < old_end) {
        struct vma *v = vma_find_first(mm, new_end);
        err = v && v->start < old_end ? unmap_locked(mm, new_end, old_end) : -ENOMEM;
    }
    if (!err) {
        mm->brk = brk;
    }
    s64 result = (s64)mm->brk;
    edit_end(&e);
    if (!err && grown && mm->lock_future == VMA_LOCKED) {
        mm_populate(mm, old_end, new_end, true);
    }
    return result;
}
