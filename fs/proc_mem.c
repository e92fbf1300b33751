// /proc/PID/mem, pagemap and clear_refs: an address space as a file.
//
// Each call looks the process up anew, so an open file keeps nobody's memory. After execve it shows
// nothing any more, as on Linux, where it goes on with the old address space, which is empty by
// then: who may write to a program's memory must not do so to that of the next one, which may have
// more rights than both. f->private remembers which program it was, and SHOWS_FRAMES.
#include <arch/uaccess.h>
#include <k/printk.h>
#include <k/string.h>
#include <mm.h>
#include <sched.h>
#include "proc_priv.h"

#define PAGEMAP_BATCH 64u

// ---- mem --------------------------------------------------------------------------------------

// The bounce page is filled on one side and emptied on the other; neither may be touched under a
// lock, as both sides may fault.
static ssize_t mem_move(struct mm *mm, char *page, char *user, vaddr_t at, size_t n, bool write)
{
    size_t left;
    if (write) {
        n -= arch_copy_from_user(page, user, n);
        if (!n) {
            return -EFAULT;
        }
        left = mm_copy_to(mm, at, page, n);
        return left < n ? (ssize_t)(n - left) : -EIO;
    }
    left = mm_copy_from(mm, page, at, n);
    if (left == n) {
        return -EIO;
    }
    n -= left;
    left = arch_copy_to_user(user, page, n);
    return left < n ? (ssize_t)(n - left) : -EFAULT;
}

static u64 program_number(const struct inode *i)
{
    struct process *p = pid_process(i);
    u64 n = p ? load_acquire(&p->nr_programs) : 0; /* pairs with exec_commit */
    if (p) {
        process_put(p);
    }
    return n;
}

#define SHOWS_FRAMES 1u // pagemap

static int mem_open(struct inode *i, struct file *f)
{
    f->private = (void *)(uintptr_t)(program_number(i) << 1);
    return pid_may_look(i);
}

// The memory the file was opened for. The number changes before the memory does.
static struct mm *file_mm(const struct file *f)
{
    struct mm *mm = pid_mm(f->inode);
    if (mm && program_number(f->inode) != (u64)(uintptr_t)f->private >> 1) {
        mm_put(mm);
        mm = NULL;
    }
    return mm;
}

static ssize_t mem_io(struct file *f, char *user, size_t n, u64 *pos, bool write)
{
    struct mm *mm = file_mm(f);
    char *page = mm ? kmalloc(PAGE_SIZE, GFP_KERNEL) : NULL;
    size_t done = 0;
    ssize_t r = mm ? page ? 0 : -ENOMEM : 0; // of a process without memory nothing is read
    while (page && done < n && !(done && thread_signal_pending())) {
        size_t some = min(n - done, PAGE_SIZE - (*pos & ~PAGE_MASK));
        r = mem_move(mm, page, user + done, *pos, some, write);
        if (r < 0) {
            break;
        }
        done += (size_t)r;
        *pos += (u64)r;
        if ((size_t)r < some) {
            break;
        }
        cond_resched();
    }
    kfree(page);
    if (mm) {
        mm_put(mm);
    }
    return done ? (ssize_t)done : r;
}

static ssize_t mem_read(struct file *f, void *user, size_t n, u64 *pos)
{
    return mem_io(f, user, n, pos, false);
}

static ssize_t mem_write(struct file *f, const void *user, size_t n, u64 *pos)
{
    return mem_io(f, (char *)(uintptr_t)user, n, pos, true);
}

static const struct file_ops mem_fops = {.read = mem_read, .write = mem_write, .open = mem_open};

// ---- pagemap ----------------------------------------------------------------------------------

// Frame numbers help attackers (rowhammer): shown to those who could open the file with
// CAP_SYS_ADMIN. Like Linux, by who has opened it.
static int pagemap_open(struct inode *i, struct file *f)
{
    int err = mem_open(i, f);
    u64 shows = current_has_cap(CAP_SYS_ADMIN) ? SHOWS_FRAMES : 0;
    f->private = (void *)((uintptr_t)f->private | shows);
    return err;
}

static void words_hide_frames(u64 *words, u64 nr)
{
    for (u64 i = 0; i < nr; i++) {
        words[i] &= ~PAGEMAP_PFN;
    }
}

static ssize_t pagemap_read(struct file *f, void *user, size_t n, u64 *pos)
{
    u64 words[PAGEMAP_BATCH];
    size_t done = 0;
    int err = 0;
    if ((*pos | n) % sizeof(words[0])) {
        return -EINVAL;
    }
    struct mm *mm = file_mm(f);
    while (mm && done < n && !(done && thread_signal_pending())) {
        u64 page = *pos / sizeof(words[0]);
        u64 room = page < USER_END >> PAGE_SHIFT ? (USER_END >> PAGE_SHIFT) - page : 0;
        u64 nr = min((u64)(n - done) / sizeof(words[0]), room);
        nr = min(nr, (u64)PAGEMAP_BATCH);
        err = nr ? mm_pagemap(mm, page << PAGE_SHIFT, words, (unsigned)nr) : 0;
        if (err || !nr) {
            break;
        }
        if (!((uintptr_t)f->private & SHOWS_FRAMES)) {
            words_hide_frames(words, nr);
        }
        if (arch_copy_to_user((char *)user + done, words, nr * sizeof(words[0]))) {
            err = -EFAULT;
            break;
        }
        done += nr * sizeof(words[0]);
        *pos += nr * sizeof(words[0]);
        cond_resched();
    }
    if (mm) {
        mm_put(mm);
    }
    return done ? (ssize_t)done : err;
}

static const struct file_ops pagemap_fops = {.open = pagemap_open, .read = pagemap_read};

// ---- clear_refs -------------------------------------------------------------------------------

#define CLEAR_PEAK 5 // the others: enum mm_clear

static size_t nothing_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i, (void)buf, (void)size;
    *pos = ~0ull;
    return 0;
}

static int clear_refs_store(struct inode *i, const char *text)
{
    const char *end;
    int err = 0;
    u64 what = parse_u64(text, &end);
    if (end == text || *end || what < MM_CLEAR_ACCESSED || what > CLEAR_PEAK) {
        return -EINVAL;
    }
    struct mm *mm = pid_mm(i);
    if (!mm) {
        return -ESRCH;
    }
    if (what == CLEAR_PEAK) {
        mm_usage_forget_peak(mm);
    } else {
        err = mm_clear_refs(mm, (enum mm_clear)what);
    }
    mm_put(mm);
    return err;
}

static const struct pid_file files[] = {
    {"mem", 0600, .process_only = false, .fops = &mem_fops},
    {"pagemap", 0400, .process_only = false, .fops = &pagemap_fops},
    {"clear_refs", 0200, .process_only = false,
     .text = {.chunk = nothing_chunk, .store = clear_refs_store}},
};

const struct pid_file *pid_mem_file(unsigned n)
{
    return n < array_size(files) ? &files[n] : NULL;
}
