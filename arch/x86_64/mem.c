// Clearing and copying whole pages: most of what a page fault costs.
//
// A CPU that claims fast string instructions (ERMS) gets them. Elsewhere a loop of plain stores
// wins, by a factor of two in an emulator, which goes through its memory lookup for each step of a
// `rep` and through the repetition's bookkeeping on top.
#include <arch/mmu.h>
#include "x86_priv.h"

static void clear_by_string(void *page)
{
    u64 n = PAGE_SIZE / 8;
    __asm__ volatile("rep stosq" : "+D"(page), "+c"(n) : "a"(0ul) : "memory");
}

static void clear_by_loop(void *page)
{
    char *end = (char *)page + PAGE_SIZE;
    __asm__ volatile("1:\n"
                     ".set offset, 0\n"
                     ".rept 64\n"
                     "mov %2, offset(%0)\n"
                     ".set offset, offset + 8\n"
                     ".endr\n"
                     "add $512, %0\n"
                     "cmp %1, %0\n"
                     "jne 1b\n"
                     : "+r"(page)
                     : "r"(end), "r"(0ul)
                     : "memory", "cc");
}

static void copy_by_string(void *dst, const void *src)
{
    u64 n = PAGE_SIZE / 8;
    __asm__ volatile("rep movsq" : "+D"(dst), "+S"(src), "+c"(n)::"memory");
}

static void copy_by_loop(void *dst, const void *src)
{
    const char *end = (const char *)src + PAGE_SIZE;
    u64 a, b, c, d;
    __asm__ volatile("1:\n"
                     ".set offset, 0\n"
                     ".rept 16\n"
                     "mov offset(%1), %2\n"
                     "mov offset+8(%1), %3\n"
                     "mov offset+16(%1), %4\n"
                     "mov offset+24(%1), %5\n"
                     "mov %2, offset(%0)\n"
                     "mov %3, offset+8(%0)\n"
                     "mov %4, offset+16(%0)\n"
                     "mov %5, offset+24(%0)\n"
                     ".set offset, offset + 32\n"
                     ".endr\n"
                     "add $512, %0\n"
                     "add $512, %1\n"
                     "cmp %6, %1\n"
                     "jne 1b\n"
                     : "+r"(dst), "+r"(src), "=&r"(a), "=&r"(b), "=&r"(c), "=&r"(d)
                     : "r"(end)
                     : "memory", "cc");
}

on_one_page(512) void mem_clear_page(void *page)
{
    if (cpu_has_fast_strings) {
        clear_by_string(page);
    } else {
        clear_by_loop(page);
    }
}

on_one_page(1024) void mem_copy_page(void *dst, const void *src)
{
    if (cpu_has_fast_strings) {
        copy_by_string(dst, src);
    } else {
        copy_by_loop(dst, src);
    }
}
