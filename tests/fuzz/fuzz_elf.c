// Fuzzes kernel/elf.c: any bytes as a program. libFuzzer, ASan and UBSan; the address space behind
// it is a stand-in that insists on what elf.c promises of the mappings it makes.
//
// SOURCES: kernel/elf.c
#include <arch/mmu.h>
#include <fs.h>
#include <k/errno.h>
#include <k/printk.h>
#include <mm.h>
#include <proc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uapi/mman.h>
#include "fuzz_shim.h"
#include "../../kernel/proc_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *program;
static size_t program_len;
static struct mapping *program_mapping;
static u64 mapped_to; // end of the last mapping: they ascend
static unsigned nr_calls;

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

ssize_t file_read_kernel(struct file *f, u64 pos, void *buf, size_t n)
{
    (void)f;
    if (pos >= program_len) {
        return 0;
    }
    n = n < program_len - pos ? n : program_len - pos;
    memcpy(buf, program + pos, n);
    return (ssize_t)n;
}

int mm_map_fixed(struct mm *mm, vaddr_t addr, u64 len, unsigned prot, unsigned flags,
                 struct file *file, u64 offset)
{
    must(len && !((addr | len | offset) & (PAGE_SIZE - 1)));
    must(addr >= 0x10000 && addr < mm->mmap_top && len <= mm->mmap_top - addr);
    must(addr >= mapped_to);
    must(!(prot & ~7u) && (flags & MAP_FIXED));
    must(!file || offset < program_len);
    mapped_to = addr + len;
    return ++nr_calls % 19 ? 0 : -ENOMEM;
}

size_t mm_copy_to(struct mm *mm, vaddr_t dst, const void *src, size_t n)
{
    (void)mm, (void)src;
    must(dst + n <= mapped_to);
    return ++nr_calls % 23 ? 0 : n;
}

// The interpreter of a program is the program itself, or is not there.
int exec_open(const char *path, struct file **out)
{
    static struct file interp;
    must(memchr(path, 0, program_len + 1));
    if (++nr_calls % 5 == 0) {
        return -ENOENT;
    }
    interp.mapping = program_mapping;
    *out = &interp;
    return 0;
}

int inode_permission(const struct inode *i, unsigned may)
{
    (void)i, (void)may;
    return 0;
}

void program_put(struct file *f)
{
    must(f->mapping == program_mapping);
}

void printk(const char *fmt, ...)
{
    (void)fmt;
}

bool printk_limit(struct printk_limit *l)
{
    (void)l;
    return true;
}

unsigned printk_lost(struct printk_limit *l)
{
    (void)l;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mm mm = {.mmap_top = USER_END - (1ul << 30)};
    struct mapping mapping = {.size_bytes = size};
    struct file file = {.mapping = &mapping};
    struct elf_info info;
    program = data;
    program_len = size;
    program_mapping = &mapping;
    mapped_to = 0;
    nr_calls = size ? data[size - 1] : 0;
    if (elf_load(&mm, &file, &info) == 0) {
        must(info.entry < USER_END && info.brk_start <= mm.mmap_top);
        must(info.phdr_addr < USER_END);
    }
    return 0;
}
