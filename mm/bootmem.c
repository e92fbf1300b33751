// Memory before there is an allocator.
//
// Problem: page tables of the direct map, per-CPU areas and page_map itself need memory when all we
// have is the loader's map of RAM, full of holes.
//
// Idea: a short array of free ranges: the map's RAM less what is reserved. An allocation cuts its
// bytes out of the largest range that fits; page_init hands the rest to the buddy allocator, after
// which nothing here may be called. What was cut out is never given back: its struct pages stay
// PG_RESERVED.
//
// We prefer ranges below 4 GiB and cut at their start, next to the kernel image, because that is
// what early page tables reach before the direct map is complete. Page 0 is never used, so that
// physical address 0 can mean "none".
//
// No lock: the boot CPU runs alone.
#include <bootinfo.h>
#include <k/assert.h>
#include <k/string.h>
#include "page_priv.h"

struct range {
    paddr_t start, end; // [start, end)
};

static struct {
    bool open, closed;
    unsigned nr;
    struct range range[BOOT_MAX_REGIONS * 2];
} boot_mem;

static void range_add(paddr_t start, paddr_t end)
{
    // A full array loses the piece: less memory, nothing wrong.
    if (start < end && boot_mem.nr < array_size(boot_mem.range)) {
        boot_mem.range[boot_mem.nr++] = (struct range){start, end};
    }
}

// Cut [start, end) out of every range: each keeps what lies before and after it.
static void range_cut(paddr_t start, paddr_t end)
{
    unsigned nr = boot_mem.nr; // those added below lie outside [start, end) already

    for (unsigned i = 0; i < nr; i++) {
        struct range *r = &boot_mem.range[i];
        struct range old = *r;
        if (end <= old.start || start >= old.end) {
            continue;
        }
        r->end = max(old.start, start);
        if (r->end > r->start) {
            range_add(end, old.end);
        } else {
            r->start = min(end, old.end);
            r->end = old.end;
        }
    }
}

static void boot_mem_open(void)
{
    assert(!boot_mem.closed);
    if (boot_mem.open) {
        return;
    }
    boot_mem.open = true;
    for (unsigned i = 0; i < bootinfo.nr_regions; i++) {
        const struct boot_region *r = &bootinfo.region[i];
        if (r->kind == BOOT_RAM) {
            range_add(page_align_up(r->start), page_align_down(r->end));
        }
    }
    range_cut(0, PAGE_SIZE);
    for (unsigned i = 0; i < bootinfo.nr_reserved; i++) {
        const struct boot_region *r = &bootinfo.reserved[i];
        range_cut(page_align_down(r->start), page_align_up(r->end));
    }
    range_cut(page_align_down(bootinfo.initramfs_start), page_align_up(bootinfo.initramfs_end));
}

// The largest range below `limit` that holds size bytes at align, or NULL.
static const struct range *range_find(size_t size, size_t align, paddr_t limit)
{
    const struct range *best = NULL;

    for (unsigned i = 0; i < boot_mem.nr; i++) {
        const struct range *r = &boot_mem.range[i];
        paddr_t start = align_up(r->start, align);
        if (r->end > limit || start >= r->end || r->end - start < size) {
            continue;
        }
        if (!best || r->end - r->start > best->end - best->start) {
            best = r;
        }
    }
    return best;
}

paddr_t boot_alloc(size_t size, size_t align)
{
    boot_mem_open();
    const struct range *r = range_find(size, align, 1ull << 32);
    if (!r) {
        r = range_find(size, align, ~0ull);
    }
    if (!r) {
        panic("boot_alloc: no room for %zu bytes aligned to %zu", size, align);
    }
    paddr_t start = align_up(r->start, align);
    range_cut(start, start + size);
    memset(phys_to_virt(start), 0, size);
    return start;
}

paddr_t boot_mem_end(void)
{
    paddr_t end = 0;

    for (unsigned i = 0; i < bootinfo.nr_regions; i++) {
        if (bootinfo.region[i].kind == BOOT_RAM) {
            end = max(end, page_align_down(bootinfo.region[i].end));
        }
    }
    return end;
}

void boot_mem_release(void (*fn)(paddr_t start, paddr_t end))
{
    boot_mem_open();
    boot_mem.closed = true;
    for (unsigned i = 0; i < boot_mem.nr; i++) {
        const struct range *r = &boot_mem.range[i];
        paddr_t start = page_align_up(r->start), end = page_align_down(r->end);
        if (start < end) {
            fn(start, end);
        }
    }
}
