// Audit: is an address space what its VMAs say? For tests, through /proc/faultline/audit.
//
// The walk looks at every table from the root down, in an RCU section, as a writer of the address
// space (so VMAs stand still); faults go on. Each leaf table is locked while its entries are
// compared, which makes these statements exact at any time, because nobody may install into a dead
// VMA:
//
//     every entry lies under a live VMA and grants no right the VMA does not grant
//     a file's entry maps the file's page of that place   (truncate apart: it clears page->mapping
//                                                          before the entry)
//     an anonymous page is held and is not also a table, a slab or free
//     one that several address spaces share is writable in none
//     an entry that permits writes is soft-dirty, or its VMA is
//     no table waits for a fork; one that holds private copies says so
//     nr_used is the number of entries
//
// The sums (entries against the counters, tables against nr_tables) and "no empty table where there
// is no VMA" hold when no thread faults.
//
// Writing 1 to /proc/faultline/audit_tables has every page table checked when RCU frees it (it must
// be empty: an entry in it would be one that was installed after the detaching), and filled with
// entries that lead nowhere: a walker that still stands in it, software or hardware, dies at once.

#include <fs.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/rcu.h>
#include <mm.h>
#include <pgtable.h>
#include <sched.h>
#include <scheme.h>
#include "mm_priv.h"

atomic_bool pt_audit_freed;

#define REPORT_MAX 8

struct audit {
    struct mm *mm;
    u64 nr_wrong, nr_stray_tables;
    s64 nr_anon, nr_file, nr_tables;
    struct page *table; // the leaf table that is locked
};

static void wrong(struct audit *a, const char *what, vaddr_t addr, u64 value)
{
    if (a->nr_wrong++ < REPORT_MAX) {
        printk("audit: %s: address %lx, %lx\n", what, (unsigned long)addr, (unsigned long)value);
    }
}

static void audit_page(struct audit *a, const struct vma *v, vaddr_t addr, pte_t e)
{
    struct page *page = pte_table_page(e);
    u32 flags = load_relaxed(&page->flags);
    if (flags & PG_FILE) {
        a->nr_file++;
        const struct mapping *m = v->file ? v->file->mapping : NULL;
        const struct mapping *is = load_acquire(&page->mapping);
        if (!m || (is && (is != m || page->index != vma_page_index(v, addr)))) {
            wrong(a, "a page of another place in the file", addr, page->index);
        }
        if (pte_is_writable(e) && !(v->flags & VMA_SHARED)) {
            wrong(a, "a file's page writable in a private mapping", addr, page->index);
        }
    } else if (flags & PG_RESERVED) {
        if (page != zero_page || pte_is_writable(e)) {
            wrong(a, "a reserved page, or the zero page writable", addr, flags);
        }
    } else {
        a->nr_anon++;
        if (load_relaxed(&page->ref) < 1 ||
            (flags & (PG_TABLE | PG_SLAB | PG_BUDDY | PG_FREE | PG_RCU))) {
            wrong(a, "a page that is free or something else", addr, flags);
        }
        if ((flags & PG_SHARED) && pte_is_writable(e)) {
            wrong(a, "a page that others share, writable", addr, flags);
        }
        if (v->ops && !(load_relaxed(&a->table->state) & PT_COPIES)) {
            wrong(a, "a private copy in a table that says it has none", addr, flags);
        }
    }
}

static void audit_entry(struct audit *a, vaddr_t addr, pte_t e)
{
    const struct vma *v = mt_find_rcu(mm_tree(a->mm, addr), addr, NULL, NULL);
    if (!v) {
        wrong(a, "an entry where no VMA is", addr, page_to_pfn(pte_table_page(e)));
        return;
    }
    if (load_seq(&v->state) != VMA_LIVE) {
        wrong(a, "an entry under a VMA that is not live", addr, load_relaxed(&v->state));
    }
    if ((pte_is_writable(e) && !(v->flags & VMA_WRITE)) ||
        (pte_is_exec(e) && !(v->flags & VMA_EXEC)) ||
        (pte_is_present(e) && !(v->flags & VMA_ACCESS_FLAGS))) {
        wrong(a, "an entry that grants more than its VMA", addr, v->flags);
    }
    if (pte_is_writable(e) && !pte_is_soft_dirty(e) && !(v->flags & VMA_SOFT_DIRTY)) {
        wrong(a, "an entry that lets stores pass unseen", addr, v->flags);
    }
    audit_page(a, v, addr, e);
}

static void audit_leaf(struct audit *a, struct page *table, vaddr_t base)
{
    unsigned used = 0;
    spin_lock(&table->ptl);
    unsigned state = load_relaxed(&table->state);
    a->table = table;
    if (state & PT_FORKING) {
        wrong(a, "a table that waits for a fork, and there is none", base, state);
    }
    for (unsigned i = 0; !(state & PT_DETACHED) && i < PT_ENTRIES; i++) {
        pte_t e = pte_read(table_slot(table, base + i * PAGE_SIZE));
        if (!pte_is_empty(e)) {
            used++;
            audit_entry(a, base + i * PAGE_SIZE, e);
        }
    }
    if (!(state & PT_DETACHED) && used != table->nr_used) {
        wrong(a, "a leaf table's count is not its entries'", base, table->nr_used);
    }
    spin_unlock(&table->ptl);
}

// `base` is the lowest address the table covers. Recursion is as deep as the tables.
static void audit_table(struct audit *a, struct page *table, vaddr_t base)
{
    u64 span = pt_span(table->level);
    u64 covered = span * PT_ENTRIES;
    a->nr_tables++;
    if (table->nr_used == 0 && table->level < PT_TOP) {
        vaddr_t at = base;
        const struct vma *v = mt_next_rcu(mm_tree(a->mm, at), at, NULL, NULL);
        a->nr_stray_tables += !v || v->start >= base + covered;
    }
    if (table->level == 0) {
        audit_leaf(a, table, base);
        return;
    }
    for (vaddr_t at = base; at < base + covered && at < USER_END; at += span) {
        pte_t e = pte_read_seq(table_slot(table, at));
        if (!pte_is_empty(e)) {
            audit_table(a, pte_table_page(e), at);
        }
    }
}

static size_t audit_show(char *buf, size_t size)
{
    struct mm *mm = current_mm();
    struct audit a = {.mm = mm};
    s64 anon = 0, file = 0, tables = 0;
    struct edit e;
    if (!mm || edit_begin(&e, mm)) {
        return 0;
    }
    rcu_read_lock();
    audit_table(&a, pfn_to_page(mm_root(mm, 0) >> PAGE_SHIFT), 0);
    rcu_read_unlock();
    edit_end(&e);
    for (unsigned c = 0; c < MAX_CPUS; c++) {
        anon += mm->cpu[c].nr_anon;
        file += mm->cpu[c].nr_file;
        tables += mm->cpu[c].nr_tables;
    }
    return (size_t)snprintf(buf, size,
                            "wrong %lu\nstray_tables %lu\nanon_off %ld\nfile_off %ld\n"
                            "tables_off %ld\n",
                            (unsigned long)a.nr_wrong, (unsigned long)a.nr_stray_tables,
                            (long)(a.nr_anon - anon), (long)(a.nr_file - file),
                            (long)(a.nr_tables - tables));
}

void pt_audit_table_freed(struct page *table)
{
    struct pte_slot *slot = page_addr(table);
    pte_t nowhere = pte_make_table(0xfffffffffful << PAGE_SHIFT);
    for (unsigned i = 0; i < PT_ENTRIES; i++) {
        pte_t e = pte_read(slot + i);
        if (!pte_is_empty(e)) {
            panic("audit: page table %lx, level %u, is freed with entry %u in use: %lx",
                  (unsigned long)page_to_phys(table), table->level, i, (unsigned long)pte_paddr(e));
        }
        pte_write(slot + i, nowhere);
    }
}

static size_t audit_tables_show(char *buf, size_t size)
{
    return (size_t)snprintf(buf, size, "%u\n", load_relaxed(&pt_audit_freed));
}

static int audit_tables_store(const char *text)
{
    if ((text[0] != '0' && text[0] != '1') || text[1] != '\0') {
        return -EINVAL;
    }
    store_relaxed(&pt_audit_freed, text[0] == '1');
    return 0;
}

void audit_init(void)
{
    knob_register("audit", audit_show, NULL);
    knob_register("audit_tables", audit_tables_show, audit_tables_store);
}
