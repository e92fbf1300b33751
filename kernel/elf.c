// Loading an ELF64 program into an empty address space: ET_EXEC where it asks to be, ET_DYN (a
// position-independent program) at a fixed base. A program that names an interpreter (PT_INTERP,
// the dynamic loader) gets that loaded, too, right below the stack's room, and starts in it; what
// the loader needs to know of the program is in the auxiliary vector.
//
//     ELF_LOWEST ...  ET_EXEC     ELF_DYN_BASE: ET_DYN, brk ->      <- mmap | interpreter | stack
//
// The file is hostile. So: read the headers once into kernel memory, check every number there
// (decode), and only then map (perform). What holds after decode:
//   - segments are ascending and share no page, so no mapping replaces another;
//   - no sum wraps, nothing lies below ELF_LOWEST or above the place for the stack;
//   - a segment's bytes are all inside the file, and file offset and address agree within a page.
// A program may still do nonsense with its own memory; that is its problem.
//
//     address   |....vaddr        vaddr+filesz       vaddr+memsz.....|
//     mapped    |<-- from the file, private ------->|<- anonymous -->|
//                                  tail cleared ^^^^
#include <arch/mmu.h>
#include <arch/thread.h>
#include <fs.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/string.h>
#include <mm.h>
#include <proc.h>
#include <slab.h>
#include <uapi/elf.h>
#include <uapi/mman.h>

#include "exec_priv.h"

#define ELF_PHNUM_MAX   128
#define INTERP_PATH_MAX 4096
#define ELF_LOWEST      0x10000ull
#define ELF_ALIGN_MAX   (1ull << 30)
#define ELF_DYN_BASE    page_align_down(USER_END / 3 * 2)

struct elf_file {
    struct file *file;
    u64 size;
    struct elf64_ehdr eh;
    struct elf64_phdr *ph;           // eh.phnum entries
    u64 bias;                        // added to every address: 0 for ET_EXEC
    u64 floor;                       // an interpreter may not be below it: the end of the program
    u64 limit;                       // no segment may reach this address
    u64 low, high;                   // [low, high) without bias, page aligned
    const struct elf64_phdr *interp; // PT_INTERP, NULL: none
    bool is_interp;
    bool stack_exec;
};

static int refuse(const char *why)
{
    printk_limited("exec: %s\n", why);
    return -ENOEXEC;
}

static int headers_read(struct elf_file *e)
{
    struct elf64_ehdr *h = &e->eh;
    u64 bytes;

    if (file_read_kernel(e->file, 0, h, sizeof(*h)) != (ssize_t)sizeof(*h) ||
        h->magic != ELF_MAGIC) {
        return -ENOEXEC; // no program at all: the caller says so
    }
    if (h->class_ != ELFCLASS64 || h->data != ELFDATA2LSB || h->machine != ARCH_ELF_MACHINE) {
        return refuse("ELF file for another machine");
    }
    if (h->type != ET_EXEC && h->type != ET_DYN) {
        return refuse("ELF file is not a program");
    }
    if (h->phentsize != sizeof(struct elf64_phdr) || !h->phnum || h->phnum > ELF_PHNUM_MAX) {
        return refuse("ELF program header table is malformed");
    }
    bytes = h->phnum * sizeof(struct elf64_phdr);
    if (h->phoff > e->size || bytes > e->size - h->phoff) {
        return refuse("ELF program headers are beyond the end of the file");
    }
    e->ph = kmalloc(bytes, GFP_KERNEL);
    if (!e->ph) {
        return -ENOMEM;
    }
    return file_read_kernel(e->file, h->phoff, e->ph, bytes) == (ssize_t)bytes ? 0 : -EIO;
}

static int segment_check(struct elf_file *e, const struct elf64_phdr *p)
{
    u64 end;

    if (p->filesz > p->memsz || p->offset > e->size || p->filesz > e->size - p->offset) {
        return refuse("ELF segment is larger than the file");
    }
    if (p->vaddr >= USER_END || p->memsz > USER_END - p->vaddr) {
        return refuse("ELF segment is outside user memory");
    }
    if (p->filesz && ((p->vaddr ^ p->offset) & ~PAGE_MASK)) {
        return refuse("ELF segment is not aligned in the file");
    }
    end = page_align_up(p->vaddr + p->memsz);
    if (page_align_down(p->vaddr) < e->high) {
        return refuse("ELF segments overlap or are out of order");
    }
    if (!e->high) {
        e->low = page_align_down(p->vaddr);
    }
    e->high = end;
    return 0;
}

// Check all there is to check and choose the base.
static int decode(struct elf_file *e)
{
    u64 align = PAGE_SIZE;

    for (unsigned i = 0; i < e->eh.phnum; i++) {
        const struct elf64_phdr *p = &e->ph[i];
        int err = 0;

        if (p->type == PT_INTERP && !e->interp) {
            e->interp = p;
        }
        if (p->type == PT_GNU_STACK) {
            e->stack_exec = p->flags & PF_X;
        }
        if (p->type == PT_LOAD && p->memsz) {
            err = segment_check(e, p);
            if (p->align > align && p->align <= ELF_ALIGN_MAX && !(p->align & (p->align - 1))) {
                align = p->align;
            }
        }
        if (err) {
            return err;
        }
    }
    if (!e->high) {
        return refuse("ELF file has nothing to load");
    }
    if (e->is_interp && e->eh.type != ET_DYN) {
        return refuse("ELF interpreter has a place of its own");
    }
    if (e->is_interp) {
        if (e->high - e->low > e->limit / 2) {
            return -ENOMEM;
        }
        e->bias = align_down(e->limit - (e->high - e->low), align) - align_down(e->low, align);
        // The program, and its heap above it, must not reach it.
        if (e->low + e->bias < e->floor) {
            return -ENOMEM;
        }
    } else if (e->eh.type == ET_DYN) {
        e->bias = align_up(ELF_DYN_BASE, align) - align_down(e->low, align);
    } else if (e->low < ELF_LOWEST) {
        return refuse("ELF program wants the lowest addresses");
    }
    // With bias (which may be a "negative" number) high is below 2 * USER_END: this does not wrap.
    if (e->high + e->bias > e->limit) {
        return -ENOMEM;
    }
    return e->eh.entry + e->bias < USER_END ? 0 : refuse("ELF entry is outside user memory");
}

static unsigned segment_prot(const struct elf64_phdr *p)
{
    return (p->flags & PF_R ? PROT_READ : 0) | (p->flags & PF_W ? PROT_WRITE : 0) |
           (p->flags & PF_X ? PROT_EXEC : 0);
}

// Zeroes behind the file's last byte in its last page. A segment nobody may write keeps what the
// file has there, as on Linux.
static int tail_clear(struct mm *mm, u64 from, u64 to)
{
    static const u8 zeroes[256];

    while (from < to) {
        u64 n = min(to - from, (u64)sizeof(zeroes));

        if (mm_copy_to(mm, from, zeroes, n)) {
            return -EIO;
        }
        from += n;
    }
    return 0;
}

static int segment_map(struct mm *mm, struct elf_file *e, const struct elf64_phdr *p)
{
    u64 start = p->vaddr + e->bias;
    u64 first = page_align_down(start);
    u64 file_end = start + p->filesz;
    u64 anon = p->filesz ? page_align_up(file_end) : first;
    u64 end = page_align_up(start + p->memsz);
    unsigned prot = segment_prot(p);
    int err = 0;

    if (p->filesz) {
        err = mm_map_fixed(mm, first, anon - first, prot, MAP_PRIVATE | MAP_FIXED, e->file,
                           page_align_down(p->offset));
    }
    if (!err && p->filesz && p->memsz > p->filesz && (prot & PROT_WRITE)) {
        err = tail_clear(mm, file_end, anon);
    }
    if (!err && anon < end) {
        err = mm_map_fixed(mm, anon, end - anon, prot, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS,
                           NULL, 0);
    }
    return err;
}

// Where the program finds its own headers in memory; 0: they are not loaded.
static u64 phdr_address(const struct elf_file *e)
{
    u64 bytes = e->eh.phnum * sizeof(struct elf64_phdr);

    for (unsigned i = 0; i < e->eh.phnum; i++) {
        const struct elf64_phdr *p = &e->ph[i];

        // memsz 0: not loaded and not checked.
        if (p->type == PT_LOAD && p->memsz && e->eh.phoff >= p->offset && p->filesz >= bytes &&
            e->eh.phoff - p->offset <= p->filesz - bytes) {
            return p->vaddr + (e->eh.phoff - p->offset) + e->bias;
        }
    }
    return 0;
}

// Check the file, then map it. e->ph is to be freed in any case.
static int image_load(struct mm *mm, struct elf_file *e)
{
    int err;

    if (!e->file->mapping) {
        return -ENOEXEC;
    }
    e->size = load_relaxed(&e->file->mapping->size_bytes);
    err = headers_read(e);
    if (!err) {
        err = decode(e);
    }
    for (unsigned i = 0; !err && i < e->eh.phnum; i++) {
        if (e->ph[i].type == PT_LOAD && e->ph[i].memsz) {
            err = segment_map(mm, e, &e->ph[i]);
        }
    }
    return err;
}

// The path in PT_INTERP, opened.
static int interp_open(const struct elf_file *e, struct file **out)
{
    u64 len = e->interp->filesz;
    char *path;
    int err;

    if (len < 2 || len > INTERP_PATH_MAX || e->interp->offset > e->size ||
        len > e->size - e->interp->offset) {
        return refuse("ELF interpreter has no sensible name");
    }
    path = kmalloc(len, GFP_KERNEL);
    if (!path) {
        return -ENOMEM;
    }
    err = file_read_kernel(e->file, e->interp->offset, path, len) == (ssize_t)len ? 0 : -EIO;
    if (!err && path[len - 1] != '\0') {
        err = refuse("ELF interpreter has no sensible name");
    }
    if (!err) {
        err = exec_open(path, out);
        if (err) {
            printk_limited("exec: the interpreter %s cannot be opened: error %d\n", path, -err);
        }
    }
    kfree(path);
    return err;
}

static int interp_load(struct mm *mm, const struct elf_file *program, struct elf_info *out)
{
    struct elf_file e = {
        .is_interp = true, .limit = mm->mmap_top, .floor = program->high + program->bias};
    int err = interp_open(program, &e.file);

    if (err) {
        return err;
    }
    err = image_load(mm, &e);
    if (err == -ENOEXEC) {
        err = -ELIBBAD;
    }
    out->entry = e.eh.entry + e.bias;
    out->interp_base = e.bias;
    out->unreadable = inode_permission(e.file->inode, MAY_READ) != 0;
    kfree(e.ph);
    program_put(e.file); // only the program itself is kept from being written: execve(2)
    return err;
}

int elf_load(struct mm *mm, struct file *file, struct elf_info *out)
{
    struct elf_file e = {.file = file, .limit = mm->mmap_top};
    int err = image_load(mm, &e);

    if (!err) {
        *out = (struct elf_info){
            .entry = e.eh.entry + e.bias,
            .program_entry = e.eh.entry + e.bias,
            .phdr_addr = phdr_address(&e),
            .phnum = e.eh.phnum,
            .load_base = e.bias,
            .brk_start = e.high + e.bias,
            .stack_exec = e.stack_exec,
        };
    }
    if (!err && e.interp) {
        err = interp_load(mm, &e, out);
    }
    kfree(e.ph);
    return err;
}
