// The loader's records, PVH or multiboot2, become bootinfo.
//
// Both leave physical addresses below 4 GiB, which the boot page tables' direct map covers. All
// that is needed later is copied out here, but for the initramfs itself, so that the loader's own
// memory is free afterwards. Records are read with bounds: a loader may pass more than we have room
// for.
//
// Memory maps come unsorted and overlapping. Their edges cut the address space into pieces; a piece
// is RAM if some record says RAM and none says anything else. RAM is clipped inwards to whole pages
// beforehand and everything else outwards, so a page that is partly reserved is reserved.
#include <arch/mmu.h>
#include <bootinfo.h>
#include <k/assert.h>
#include <k/string.h>
#include <k/types.h>
#include "boot_priv.h"

#define PVH_MAGIC        0x336ec578u
#define MULTIBOOT2_MAGIC 0x36d76289u
#define E820_RAM         1

struct raw_region {
    paddr_t start, end;
    bool ram;
};

static struct raw_region raw[BOOT_MAX_REGIONS];
static unsigned nr_raw;
static u8 rsdp_copy[36] __attribute__((aligned(16)));

static void region_add(u64 start, u64 len, u32 type)
{
    bool ram = type == E820_RAM;
    u64 end = start + len < start ? PTE_ADDR : start + len;
    start = ram ? page_align_up(start) : page_align_down(start);
    end = ram ? page_align_down(end) : page_align_up(end);
    end = min(end, PTE_ADDR);
    if (start < end && nr_raw < array_size(raw)) {
        raw[nr_raw++] = (struct raw_region){start, end, ram};
    }
}

// What the piece [start, end) is: false if no record covers it.
static bool piece_kind(paddr_t start, paddr_t end, enum boot_region_kind *kind)
{
    bool covered = false;
    *kind = BOOT_RAM;
    for (unsigned i = 0; i < nr_raw; i++) {
        if (raw[i].start <= start && end <= raw[i].end) {
            covered = true;
            if (!raw[i].ram) {
                *kind = BOOT_RESERVED;
            }
        }
    }
    return covered;
}

static void region_append(paddr_t start, paddr_t end, enum boot_region_kind kind)
{
    unsigned nr = bootinfo.nr_regions;
    struct boot_region *last = nr > 0 ? &bootinfo.region[nr - 1] : NULL;
    if (last && last->end == start && last->kind == kind) {
        last->end = end;
    } else if (bootinfo.nr_regions < BOOT_MAX_REGIONS) {
        bootinfo.region[bootinfo.nr_regions++] = (struct boot_region){start, end, kind};
    }
}

static void regions_finish(void)
{
    static paddr_t edge[2 * BOOT_MAX_REGIONS];
    unsigned n = 0;
    for (unsigned i = 0; i < 2 * nr_raw; i++) {
        paddr_t e = i & 1 ? raw[i / 2].end : raw[i / 2].start;
        unsigned j = n++;
        for (; j > 0 && edge[j - 1] > e; j--) {
            edge[j] = edge[j - 1];
        }
        edge[j] = e;
    }
    for (unsigned i = 0; i + 1 < n; i++) {
        enum boot_region_kind kind;
        if (edge[i] < edge[i + 1] && piece_kind(edge[i], edge[i + 1], &kind)) {
            region_append(edge[i], edge[i + 1], kind);
        }
    }
}

static void cmdline_set(const char *text, size_t max)
{
    size_t n = strnlen(text, min(max, sizeof(bootinfo.cmdline) - 1));
    memcpy(bootinfo.cmdline, text, n);
    bootinfo.cmdline[n] = 0;
}

static void initramfs_set(paddr_t start, paddr_t end)
{
    if (start < end && bootinfo.initramfs_end == 0) {
        bootinfo.initramfs_start = start;
        bootinfo.initramfs_end = end;
    }
}

// --- PVH: xen/include/public/arch-x86/hvm/start_info.h describes these.

struct pvh_start {
    u32 magic, version, flags, nr_modules;
    u64 modules, cmdline, rsdp;
    u64 memmap; // version 1 and later
    u32 nr_memmap, reserved;
};
struct pvh_module {
    u64 start, len, cmdline, reserved;
};
struct pvh_memmap {
    u64 start, len;
    u32 type, reserved;
};

static void pvh_read(const struct pvh_start *s)
{
    bootinfo.loader = "pvh";
    if (s->cmdline) {
        cmdline_set(phys_to_virt(s->cmdline), BOOT_CMDLINE_MAX);
    }
    if (s->nr_modules > 0) {
        const struct pvh_module *m = phys_to_virt(s->modules);
        initramfs_set(m->start, m->start + m->len);
    }
    bootinfo.acpi_rsdp = s->rsdp;
    if (s->version >= 1) {
        const struct pvh_memmap *m = phys_to_virt(s->memmap);
        for (u32 i = 0; i < s->nr_memmap; i++) {
            region_add(m[i].start, m[i].len, m[i].type);
        }
    }
}

// --- Multiboot2: its specification, section 3.6.

enum mb2_type {
    MB2_END = 0,
    MB2_CMDLINE = 1,
    MB2_MODULE = 3,
    MB2_MEMMAP = 6,
    MB2_FRAMEBUFFER = 8,
    MB2_RSDP_OLD = 14,
    MB2_RSDP_NEW = 15,
};
struct mb2_tag {
    u32 type, size;
    u32 body[];
};
struct mb2_memmap {
    u64 start, len;
    u32 type, reserved;
};

static void mb2_read_memmap(const struct mb2_tag *t)
{
    u32 stride = t->body[0];
    if (stride < sizeof(struct mb2_memmap)) {
        return;
    }
    for (u32 at = 16; at <= t->size && stride <= t->size - at; at += stride) {
        const struct mb2_memmap *m = (const void *)((const char *)t + at);
        region_add(m->start, m->len, m->type);
    }
}

// 3.6.12. Kinds: 0 indexed colours, which we do not show; 1 direct colours; 2 text.
struct mb2_framebuffer {
    u32 type, size;
    u64 address;
    u32 pitch, width, height;
    u8 bits, kind;
    u16 reserved;
    u8 red_pos, red_bits, green_pos, green_bits, blue_pos, blue_bits; // kind 1
} __attribute__((packed));

static void mb2_read_framebuffer(const struct mb2_framebuffer *f, u32 size)
{
    u32 common = __builtin_offsetof(struct mb2_framebuffer, red_pos);
    if (size >= common && f->kind == 2) {
        bootinfo.screen = (struct boot_screen){.address = f->address,
                                               .kind = BOOT_SCREEN_TEXT,
                                               .pitch_bytes = f->pitch,
                                               .width = f->width,
                                               .height = f->height};
    } else if (size >= common + 6 && f->kind == 1) {
        bootinfo.screen = (struct boot_screen){.address = f->address,
                                               .kind = BOOT_SCREEN_PIXELS,
                                               .pitch_bytes = f->pitch,
                                               .width = f->width,
                                               .height = f->height,
                                               .bits = f->bits,
                                               .red_pos = f->red_pos,
                                               .red_bits = f->red_bits,
                                               .green_pos = f->green_pos,
                                               .green_bits = f->green_bits,
                                               .blue_pos = f->blue_pos,
                                               .blue_bits = f->blue_bits};
    }
}

static void mb2_read_tag(const struct mb2_tag *t)
{
    u32 len = t->size - sizeof(*t);
    switch (t->type) {
    case MB2_CMDLINE:
        cmdline_set((const char *)t->body, len);
        break;
    case MB2_MODULE:
        if (len >= 8) {
            initramfs_set(t->body[0], t->body[1]);
        }
        break;
    case MB2_MEMMAP:
        if (len >= 8) {
            mb2_read_memmap(t);
        }
        break;
    case MB2_FRAMEBUFFER:
        mb2_read_framebuffer((const void *)t, t->size);
        break;
    case MB2_RSDP_OLD:
    case MB2_RSDP_NEW: // the newer one follows the older one, or comes alone
        if (len >= 20 && (bootinfo.acpi_rsdp == 0 || t->type == MB2_RSDP_NEW)) {
            memcpy(rsdp_copy, t->body, min((size_t)len, sizeof(rsdp_copy)));
            bootinfo.acpi_rsdp = virt_to_phys(rsdp_copy);
        }
        break;
    default:
        break;
    }
}

static void mb2_read(const void *info)
{
    u32 total = *(const u32 *)info;
    bootinfo.loader = "multiboot2";
    for (u32 at = 8; at + sizeof(struct mb2_tag) <= total;) {
        const struct mb2_tag *t = (const void *)((const char *)info + at);
        if (t->type == MB2_END || t->size < sizeof(*t) || t->size > total - at) {
            break;
        }
        mb2_read_tag(t);
        at += align_up(t->size, 8);
    }
}

void loader_read(u32 magic, paddr_t info)
{
    switch (magic) {
    case PVH_MAGIC:
        pvh_read(phys_to_virt(info));
        break;
    case MULTIBOOT2_MAGIC:
        mb2_read(phys_to_virt(info));
        break;
    default:
        panic("started by an unknown loader (magic %#x)", magic);
    }
    regions_finish();
    if (bootinfo.nr_regions == 0) {
        panic("the loader (%s) passed no memory map", bootinfo.loader);
    }
}
