// What /proc says of an address space: maps, smaps, pagemap and the totals.
//
// The promise of maps, while other threads change the address space (R35): addresses only go up, no
// two lines overlap, and what was mapped all the time is shown. A piece of text is made as a
// writer, so that no other is half way; between two pieces anything may happen, so the walk goes on
// by address, never by count: the next line is of whatever is mapped at the cookie or above. If
// that VMA began earlier (it was joined with one that was shown already), its line begins at the
// cookie. Rejected: going on by the number of lines, or with the next VMA that begins above the
// cookie.
//
//     reader                                writer
//     line of [a, b); cookie = b
//                                           mprotect: [a, b) and [b, c) become [a, c)
//     first that begins at b or above:
//     the one after c. [b, c) was never
//     unmapped and is not shown
//
// Who uses a page is counted when asked: an anonymous page by its references (an entry each), a
// file's page through the reverse map, because entries do not count it (invariant 8).
#include <fs.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/rcu.h>
#include <k/string.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <rmap.h>
#include <sched.h>
#include <scheme.h>
#include "mm_priv.h"

#define NAME_COLUMN    73
#define PTES_AT_A_TIME 64u

// ---- maps -------------------------------------------------------------------------------------

static const char *vma_name(const struct vma *v, const struct mm *mm)
{
    if (v->file) {
        return v->file->path ? v->file->path : "";
    }
    if (v->flags & VMA_STACK) {
        return "[stack]";
    }
    if (v->start <= mm->brk && v->end >= mm->brk_start && mm->brk > mm->brk_start) {
        return "[heap]";
    }
    return "";
}

// Does a file without a name say so already?
static bool ends_in_deleted(const char *name)
{
    size_t n = strlen(name), m = strlen(" (deleted)");
    return n >= m && strcmp(name + n - m, " (deleted)") == 0;
}

static size_t name_append(const struct vma *v, const char *name, char *buf, size_t size, size_t n)
{
    for (; *name && n + 4 < size; name++) {
        if (*name == '\n') {
            n += (size_t)snprintf(buf + n, size - n, "\\012");
        } else {
            buf[n++] = *name;
        }
    }
    if (v->file && v->file->path && load_relaxed(&v->file->inode->nlink) == 0 &&
        !ends_in_deleted(v->file->path)) {
        n += (size_t)snprintf(buf + n, size - n, " (deleted)");
    }
    return n;
}

// The line of v from `from` on. 0: it does not fit.
static size_t maps_line(const struct vma *v, const struct mm *mm, vaddr_t from, char *buf,
                        size_t size)
{
    const char *name = vma_name(v, mm);
    const struct inode *i = v->file ? v->file->inode : NULL;
    u64 off = v->file ? vma_page_index(v, from) << PAGE_SHIFT : 0;
    int r = snprintf(buf, size, "%08lx-%08lx %c%c%c%c %08lx 00:%02x %lu ", (unsigned long)from,
                     (unsigned long)v->end, v->flags & VMA_READ ? 'r' : '-',
                     v->flags & VMA_WRITE ? 'w' : '-', v->flags & VMA_EXEC ? 'x' : '-',
                     v->flags & VMA_SHARED ? 's' : 'p', (unsigned long)off, i ? i->sb->dev : 0,
                     (unsigned long)(i ? i->ino : 0));
    size_t n = (size_t)r;
    if (r < 0 || n + 1 >= size) {
        return 0;
    }
    if (*name) {
        n += (size_t)snprintf(buf + n, size - n, "%*s", n < NAME_COLUMN ? NAME_COLUMN - (int)n : 0,
                              "");
        n = n < size ? name_append(v, name, buf, size, n) : size;
    }
    n += n < size ? (size_t)snprintf(buf + n, size - n, "\n") : 0;
    return n < size ? n : 0;
}

size_t mm_maps_text(struct mm *mm, u64 *pos, char *buf, size_t size)
{
    size_t used = 0;
    struct edit e;
    if (*pos >= USER_END || edit_begin(&e, mm)) {
        *pos = ~0ull;
        return 0;
    }
    for (;;) {
        struct vma *v = vma_find_first(mm, *pos);
        if (!v) {
            *pos = ~0ull;
            break;
        }
        size_t n = maps_line(v, mm, max(v->start, (vaddr_t)*pos), buf + used, size - used);
        if (!n && used) {
            break; // the buffer is full: the next call goes on here
        }
        used += n;
        *pos = v->end; // a line that does not fit an empty buffer is left out
    }
    edit_end(&e);
    return used;
}

// ---- Who uses a page ---------------------------------------------------------------------------

// Up to nr entries from addr on, empty ones where there is no table. Each table is locked: while a
// private copy takes an entry's place the entry is empty for a moment.
static void ptes_read(struct mm *mm, vaddr_t addr, pte_t *out, unsigned nr)
{
    while (nr) {
        unsigned n = min(nr, PT_ENTRIES - pt_index(addr, 0));
        rcu_read_lock();
        struct page *t = pt_find_leaf_rcu(mm, addr);
        if (t) {
            spin_lock(&t->ptl);
        }
        for (unsigned i = 0; i < n; i++) {
            out[i] = t ? pte_read(table_slot(t, addr) + i) : pte_none();
        }
        if (t) {
            spin_unlock(&t->ptl);
        }
        rcu_read_unlock();
        addr += n * PAGE_SIZE;
        out += n;
        nr -= n;
    }
}

static bool page_is_file(const struct page *p)
{
    return load_relaxed(&p->flags) & PG_FILE;
}

// How many entries map p, which v maps at addr. A look: it may change meanwhile.
static unsigned page_nr_mappers(const struct vma *v, vaddr_t addr, const struct page *p)
{
    if (page_is_file(p) && v->file && v->file->mapping) {
        return max(rmap_nr_mappers(v->file->mapping, vma_page_index(v, addr), p), 1u);
    }
    return (unsigned)max(load_relaxed(&p->ref), 1);
}

// ---- smaps ------------------------------------------------------------------------------------

#define PSS_SHIFT 12 // shares are kept in 1/4096 bytes, as they are rounded down one by one

struct smaps_sum {
    u64 size, rss, pss, pss_dirty; // bytes; pss in 1/4096
    u64 shared_clean, shared_dirty, private_clean, private_dirty;
    u64 referenced, anonymous, locked; // locked in 1/4096 bytes
};

static void smaps_add_page(struct smaps_sum *s, const struct vma *v, vaddr_t addr, pte_t e)
{
    const struct page *p = pte_table_page(e);
    if (p == zero_page) {
        return; // nobody's memory
    }
    unsigned mappers = page_nr_mappers(v, addr, p);
    bool dirty = pte_is_dirty(e) || (load_relaxed(&p->flags) & PG_DIRTY) || !page_is_file(p);
    u64 share = ((u64)PAGE_SIZE << PSS_SHIFT) / mappers;
    s->rss += PAGE_SIZE;
    s->pss += share;
    s->pss_dirty += dirty ? share : 0;
    s->referenced += pte_is_accessed(e) ? PAGE_SIZE : 0;
    s->anonymous += page_is_file(p) ? 0 : PAGE_SIZE;
    s->locked += v->flags & VMA_LOCKED ? share : 0;
    u64 *of = mappers > 1 ? dirty ? &s->shared_dirty : &s->shared_clean
              : dirty     ? &s->private_dirty
                          : &s->private_clean;
    *of += PAGE_SIZE;
}

// The edit lock is held, so v stays.
static void smaps_add(struct smaps_sum *s, const struct vma *v, vaddr_t from)
{
    pte_t e[PTES_AT_A_TIME];
    s->size += v->end - from;
    while (from < v->end) {
        vaddr_t table_end = min(align_down(from, pt_span(1)) + pt_span(1), v->end);
        unsigned n = (unsigned)min((table_end - from) >> PAGE_SHIFT, (u64)PTES_AT_A_TIME);
        rcu_read_lock();
        bool any = pt_find_leaf_rcu(v->mm, from) != NULL;
        rcu_read_unlock();
        if (!any) {
            from = table_end;
            continue;
        }
        ptes_read(v->mm, from, e, n);
        for (unsigned i = 0; i < n; i++, from += PAGE_SIZE) {
            if (!pte_is_empty(e[i])) {
                smaps_add_page(s, v, from, e[i]);
            }
        }
        cond_resched();
    }
}

static size_t smaps_flags(const struct vma *v, char *buf, size_t size, size_t n)
{
    static const struct {
        u32 flag;
        char name[3];
    } names[] = {{VMA_READ, "rd"},       {VMA_WRITE, "wr"},     {VMA_EXEC, "ex"},
                 {VMA_SHARED, "sh"},     {VMA_MAYREAD, "mr"},   {VMA_MAYWRITE, "mw"},
                 {VMA_MAYREAD, "me"},    {VMA_SHARED, "ms"},    {VMA_GROWSDOWN, "gd"},
                 {VMA_LOCKED, "lo"},     {VMA_NORESERVE, "nr"}, {VMA_DONTFORK, "dc"},
                 {VMA_WIPEONFORK, "wf"}, {VMA_SOFT_DIRTY, "sd"}};
    n += (size_t)snprintf(buf + n, size - n, "VmFlags: ");
    for (unsigned i = 0; i < array_size(names); i++) {
        if (v->flags & names[i].flag) {
            n += (size_t)snprintf(buf + n, size - n, "%s ", names[i].name);
        }
    }
    return n + (size_t)snprintf(buf + n, size - n, "\n");
}

static size_t smaps_fields(const struct smaps_sum *s, char *buf, size_t size, size_t n)
{
    const struct {
        const char *name;
        u64 bytes;
    } rows[] = {{"Rss:", s->rss},
                {"Pss:", s->pss >> PSS_SHIFT},
                {"Pss_Dirty:", s->pss_dirty >> PSS_SHIFT},
                {"Shared_Clean:", s->shared_clean},
                {"Shared_Dirty:", s->shared_dirty},
                {"Private_Clean:", s->private_clean},
                {"Private_Dirty:", s->private_dirty},
                {"Referenced:", s->referenced},
                {"Anonymous:", s->anonymous},
                {"LazyFree:", 0},
                {"AnonHugePages:", 0},
                {"ShmemPmdMapped:", 0},
                {"FilePmdMapped:", 0},
                {"Shared_Hugetlb:", 0},
                {"Private_Hugetlb:", 0},
                {"Swap:", 0},
                {"SwapPss:", 0},
                {"Locked:", s->locked >> PSS_SHIFT}};
    for (unsigned i = 0; i < array_size(rows) && n < size; i++) {
        n += (size_t)snprintf(buf + n, size - n, "%-15s %8lu kB\n", rows[i].name,
                              (unsigned long)(rows[i].bytes >> 10));
    }
    return n;
}

// Of one VMA. 0: it does not fit.
static size_t smaps_one(const struct vma *v, vaddr_t from, char *buf, size_t size)
{
    struct smaps_sum s = {0};
    size_t n = maps_line(v, v->mm, from, buf, size);
    if (!n || size - n < 1024) {
        return 0;
    }
    smaps_add(&s, v, from);
    n += (size_t)snprintf(buf + n, size - n, "%-15s %8lu kB\n%-15s %8lu kB\n%-15s %8lu kB\n",
                          "Size:", (unsigned long)(s.size >> 10),
                          "KernelPageSize:", PAGE_SIZE >> 10, "MMUPageSize:", PAGE_SIZE >> 10);
    n = smaps_fields(&s, buf, size, n);
    n += (size_t)snprintf(buf + n, size - n, "%-15s %8u\n", "THPeligible:", 0);
    return smaps_flags(v, buf, size, n);
}

size_t mm_smaps_text(struct mm *mm, u64 *pos, char *buf, size_t size)
{
    size_t used = 0, n = 1;
    while (n) {
        struct edit e;
        if (*pos >= USER_END || edit_begin(&e, mm)) {
            *pos = ~0ull;
            break;
        }
        struct vma *v = vma_find_first(mm, *pos);
        n = v ? smaps_one(v, max(v->start, (vaddr_t)*pos), buf + used, size - used) : 0;
        *pos = !v ? ~0ull : n || !used ? v->end : *pos;
        used += n;
        edit_end(&e);
    }
    return used;
}

size_t mm_smaps_rollup_text(struct mm *mm, char *buf, size_t size)
{
    struct smaps_sum s = {0};
    vaddr_t first = 0, at = 0;
    for (bool more = true; more;) {
        struct edit e;
        if (edit_begin(&e, mm)) {
            return 0;
        }
        struct vma *v = vma_find_first(mm, at);
        if (v) {
            smaps_add(&s, v, max(v->start, at));
            first = first ? first : v->start;
            at = v->end;
        }
        more = v != NULL;
        edit_end(&e);
    }
    int r = snprintf(buf, size, "%08lx-%08lx ---p 00000000 00:00 0 ", (unsigned long)first,
                     (unsigned long)at);
    r += snprintf(buf + r, size - (size_t)r, "%*s[rollup]\n", NAME_COLUMN - r, "");
    return smaps_fields(&s, buf, size, (size_t)r);
}

// ---- pagemap ----------------------------------------------------------------------------------

static u64 pagemap_word(const struct vma *v, vaddr_t addr, pte_t e)
{
    bool soft_dirty = (v && (v->flags & VMA_SOFT_DIRTY)) || pte_is_soft_dirty(e);
    u64 word = soft_dirty ? PAGEMAP_SOFT_DIRTY : 0;
    if (pte_is_empty(e)) {
        return word;
    }
    const struct page *p = pte_table_page(e);
    word |= PAGEMAP_PRESENT | page_to_pfn(p);
    if (p == zero_page) {
        return word; // as on Linux, nobody's
    }
    word |= page_is_file(p) ? PAGEMAP_FILE : 0;
    return v && page_nr_mappers(v, addr, p) == 1 ? word | PAGEMAP_EXCLUSIVE : word;
}

int mm_pagemap(struct mm *mm, vaddr_t addr, u64 *out, unsigned nr)
{
    pte_t e[PTES_AT_A_TIME];
    struct vma *v = NULL;
    struct edit edit;
    int err = edit_begin(&edit, mm);
    if (err) {
        return err;
    }
    while (nr) {
        unsigned n = min(nr, PTES_AT_A_TIME);
        ptes_read(mm, addr, e, n);
        for (unsigned i = 0; i < n; i++, addr += PAGE_SIZE) {
            if (!v || v->end <= addr) {
                v = vma_find_first(mm, addr);
            }
            *out++ = pagemap_word(v && v->start <= addr ? v : NULL, addr, e[i]);
        }
        nr -= n;
    }
    edit_end(&edit);
    return 0;
}

// ---- Totals -----------------------------------------------------------------------------------

static void usage_add_vmas(struct mm *mm, const struct inode *exe, struct mm_usage *u)
{
    u64 end = 0;
    for (;;) {
        rcu_read_lock();
        struct vma *v = mt_next_rcu(mm_tree(mm, end), end, NULL, &end);
        u64 pages = v ? (v->end - v->start) >> PAGE_SHIFT : 0;
        u32 flags = v ? v->flags : 0;
        bool exec = v && v->file && (flags & VMA_EXEC);
        bool own = exec && v->file->inode == exe;
        rcu_read_unlock();
        if (!v) {
            return;
        }
        u->stack += flags & VMA_GROWSDOWN ? pages : 0;
        u->exec += own ? pages : 0;
        u->lib += exec && !own ? pages : 0;
        cond_resched();
    }
}

void mm_counts_get(struct mm *mm, struct mm_usage *u)
{
    memset(u, 0, sizeof(*u));
    for (unsigned c = 0; c < MAX_CPUS; c++) {
        const struct mm_cpu *k = &mm->cpu[c];
        u->anon += k->nr_anon;
        u->file += k->nr_file;
        u->tables += k->nr_tables;
        u->faults += k->faults;
        u->parks += k->parks;
    }
    u->anon = max(u->anon, (s64)0);
    u->file = max(u->file, (s64)0);
    u64 rss = (u64)(u->anon + u->file), peak = load_relaxed(&mm->peak_rss);
    u->peak_rss = max(rss, peak);
    store_relaxed(&mm->peak_rss, u->peak_rss); // two looks at once: the smaller one may win
}

// Looks at words that writers change under the edit lock: each is right, together they are only
// nearly of one moment.
void mm_usage_get(struct mm *mm, const struct inode *exe, struct mm_usage *u)
{
    mm_counts_get(mm, u);
    u->total = mm->total_pages;
    u->locked = mm->locked_pages;
    usage_add_vmas(mm, exe, u);
    u->data = mm->data_pages + u->stack;
    u->peak_total = max(mm->peak_pages, u->total);
}

void mm_usage_forget_peak(struct mm *mm)
{
    store_relaxed(&mm->peak_rss, 0);
}
