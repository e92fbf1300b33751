// Operations on the slots (slots.h): what others call at the same time.
#include <filemap.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/rcu.h>
#include <sched.h>
#include <smp.h>
#include <uapi/mman.h>
#include "slots.h"

atomic_ulong nr_operations;

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

void slot_map(struct slot *s)
{
    op_map(s, 0, 0, SLOT_PAGES);
    if (s->kind != ANON) {
        map_alias(s, 0);
        map_alias(s, 1);
    }
}

static void perform(unsigned me, struct slot *s, enum operation what)
{
    unsigned a = soft_below(SLOT_PAGES), b = a + 1 + soft_below(SLOT_PAGES - a);
    if (soft_below(3) == 0) {
        a = 0, b = SLOT_PAGES;
    }
    switch (what) {
    case OP_MAP:
        op_map(s, me, a, b);
        break;
    case OP_UNMAP:
        op_unmap(s, me, a, b);
        break;
    case OP_READ_ONLY:
        op_protect(s, a, b, PROT_READ);
        break;
    case OP_WRITABLE:
        op_protect(s, a, b, PROT_READ | PROT_WRITE);
        break;
    case OP_DISCARD:
        op_discard(s, me, a, b);
        break;
    case OP_MOVE:
        op_move(s);
        break;
    case OP_PUNCH:
        op_punch(s, me, a, b);
        break;
    case OP_RESIZE:
        op_resize(s, me, soft_below(2) ? a : SLOT_PAGES);
        break;
    default:
        change_alias(s);
        break;
    }
}

void operate(unsigned me, struct slot *s)
{
    enum operation what = soft_below(s->kind == ANON ? OP_PUNCH : NR_OPERATIONS);
    atomic_uint *busy = what < OP_PUNCH   ? &s->busy[BY_MAP]
                        : what < OP_ALIAS ? &s->busy[BY_FILE]
                                          : &s->alias_busy;
    if (!(swarm.operations >> what & 1) || atomic_exchange(busy, 1)) {
        return;
    }
    perform(me, s, what);
    store_seq(busy, 0);
}
