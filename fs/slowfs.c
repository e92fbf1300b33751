// slowfs, mounted at /slow: a file system whose disk is as slow and as bad as a test asks.
//
// Its "disk" needs no memory: the 8-byte word at position p of any file is the number p. Reading a
// page in sleeps slow_delay_ms first; every slow_fail_every-th read fails. Written data lives in
// the page cache only; whatever is dropped from there reads as the disk's pattern again.
//
//     slow_delay_ms           how long read_page and page_mkwrite sleep
//     slow_fail_every         every n-th read_page says -EIO; 0: none
//     slow_mkwrite_fail_every the same for the first write to a page of a shared mapping
//     slow_reads              pages read so far, failures included
//     slow_mkwrites           calls of page_mkwrite so far
//     slow_drop               write 1: drop every cached page, so that the next touch reads again
//
// /slow/data is there from the start; files can be made, written and removed as in tmpfs.
#include <k/assert.h>
#include <k/string.h>
#include <page.h>
#include <sched.h>
#include "fs_priv.h"

#define DATA_BYTES (64ull << 20)

static atomic_uint delay_ms = 5, fail_every, mkwrite_fail_every;
static atomic_ulong nr_reads, nr_mkwrites;
static struct inode *slow_root; // [I]

static bool slow_turn(atomic_ulong *count, atomic_uint *every)
{
    u64 n = fetch_add_relaxed(count, 1) + 1;
    u64 each = load_relaxed(every);
    sleep_ns(load_relaxed(&delay_ms) * 1000000ull);
    return each && n % each == 0;
}

static void page_fill_pattern(struct mapping *m, struct page *page)
{
    u64 *word = page_addr(page), at = page->index << PAGE_SHIFT;
    u64 size = load_relaxed(&m->size_bytes);
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(*word); i++) {
        word[i] = at + i * sizeof(*word);
    }
    if (size < at + PAGE_SIZE) { // what lies beyond the end reads as zero when mapped
        size_t keep = size > at ? size - at : 0;
        memset((char *)word + keep, 0, PAGE_SIZE - keep);
    }
}

static int slow_read_page(struct mapping *m, struct page *page)
{
    if (slow_turn(&nr_reads, &fail_every)) {
        return -EIO;
    }
    page_fill_pattern(m, page);
    return 0;
}

static int slow_page_mkwrite(struct mapping *m, struct page *page)
{
    (void)m;
    (void)page;
    return slow_turn(&nr_mkwrites, &mkwrite_fail_every) ? -EIO : 0;
}

static const struct mapping_ops slow_mapping_ops = {
    .read_page = slow_read_page,
    .page_mkwrite = slow_page_mkwrite,
};

static ssize_t slow_read(struct file *f, void *buf, size_t n, u64 *pos)
{
    ssize_t r = mapping_read(f->mapping, *pos, buf, n);
    *pos += r > 0 ? (u64)r : 0;
    return r;
}

static ssize_t slow_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
    struct inode *i = f->inode;
    ssize_t r = -EFBIG;
    mutex_lock(&i->lock);
    if (*pos == POS_END || (load_relaxed(&f->flags) & O_APPEND)) {
        *pos = load_relaxed(&i->mapping.size_bytes);
    }
    if (*pos < FILE_SIZE_MAX) {
        r = mapping_write(&i->mapping, *pos, buf, min(n, (size_t)(FILE_SIZE_MAX - *pos)));
    }
    inode_touch(i);
    mutex_unlock(&i->lock);
    *pos += r > 0 ? (u64)r : 0;
    return r;
}

static int slow_truncate(struct inode *i, u64 size)
{
    if (size > FILE_SIZE_MAX) {
        return -EFBIG;
    }
    mutex_lock(&i->lock);
    mapping_truncate(&i->mapping, size);
    inode_touch(i);
    mutex_unlock(&i->lock);
    return 0;
}

static int slow_mmap(struct file *f, const struct vma_ops **ops)
{
    (void)f;
    *ops = &filemap_notify_vma_ops;
    return 0;
}

static const struct file_ops slow_fops = {
    .read = slow_read,
    .write = slow_write,
    .mmap = slow_mmap,
    .truncate = slow_truncate,
};

static struct inode *slow_make_file(struct super *sb, u32 mode)
{
    struct inode *i = inode_new(sb, mode);
    if (i) {
        i->fops = &slow_fops;
        i->mapping.ops = &slow_mapping_ops;
    }
    return i;
}

// ---- Knobs --------------------------------------------------------------------------------------

// The files of a directory, counted, in *out (kfree it), and their number; -ENOMEM.
static long slow_files(struct inode *dir, struct inode ***out)
{
    struct inode *i;
    long n = 0;
    mutex_lock(&vfs_lock);
    for (u64 pos = 0; ramdir_next_child(dir, &pos);) {
        n++;
    }
    *out = kmalloc((size_t)max(n, 1l) * sizeof(**out), GFP_KERNEL);
    n = *out ? 0 : -ENOMEM;
    for (u64 pos = 0; *out && (i = ramdir_next_child(dir, &pos)) != NULL;) {
        if (S_ISREG(i->mode)) {
            (*out)[n++] = inode_get(i);
        }
    }
    mutex_unlock(&vfs_lock);
    return n;
}

// A file's lock may be held for as long as the "disk" sleeps, so the namespace is not locked then.
static int slow_drop_dir(struct inode *dir)
{
    struct inode **file;
    long n = slow_files(dir, &file);
    for (long k = 0; k < n; k++) {
        struct mapping *m = &file[k]->mapping;
        mutex_lock(&file[k]->lock);
        mapping_punch(m, 0, page_align_up(load_relaxed(&m->size_bytes)));
        mutex_unlock(&file[k]->lock);
        inode_put(file[k]);
    }
    kfree(file);
    return (int)min(n, 0l);
}

static int number_store(const char *text, atomic_uint *to, u64 limit)
{
    const char *end;
    u64 n = parse_u64(text, &end);
    if (end == text || *end || n > limit) {
        return -EINVAL;
    }
    store_relaxed(to, (unsigned)n);
    return 0;
}

#define SHOW(fn, value)                                                                            \
    static size_t fn(char *buf, size_t size)                                                       \
    {                                                                                              \
        return text_add(buf, size, 0, "%lu\n", (unsigned long)load_relaxed(&(value)));             \
    }
#define STORE(fn, value, limit)                                                                    \
    static int fn(const char *text)                                                                \
    {                                                                                              \
        return number_store(text, &(value), (limit));                                              \
    }

SHOW(delay_show, delay_ms)
STORE(delay_store, delay_ms, 60000)
SHOW(fail_show, fail_every)
STORE(fail_store, fail_every, UINT32_MAX)
SHOW(mkwrite_fail_show, mkwrite_fail_every)
STORE(mkwrite_fail_store, mkwrite_fail_every, UINT32_MAX)
SHOW(reads_show, nr_reads)
SHOW(mkwrites_show, nr_mkwrites)

static size_t drop_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "0\n");
}

static int drop_store(const char *text)
{
    if (strcmp(text, "1") != 0) {
        return -EINVAL;
    }
    return slow_drop_dir(slow_root);
}

struct inode *slowfs_mount(void)
{
    struct super *sb = super_new("slowfs", TMPFS_MAGIC);
    struct inode *data = NULL;
    if (!sb) {
        return NULL;
    }
    sb->make_file = slow_make_file;
    sb->pinned = true; // the knobs go there
    slow_root = ramdir_new(sb, 01777, false);
    if (slow_root) {
        data = slow_make_file(sb, S_IFREG | 0666);
    }
    if (!data) {
        return NULL;
    }
    store_relaxed(&data->mapping.size_bytes, DATA_BYTES);
    knob_register("slow_delay_ms", delay_show, delay_store);
    knob_register("slow_fail_every", fail_show, fail_store);
    knob_register("slow_mkwrite_fail_every", mkwrite_fail_show, mkwrite_fail_store);
    knob_register("slow_reads", reads_show, NULL);
    knob_register("slow_mkwrites", mkwrites_show, NULL);
    knob_register("slow_drop", drop_show, drop_store);
    return ramdir_add(slow_root, "data", data) ? NULL : slow_root;
}
