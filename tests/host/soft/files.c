// A file for the soft machine's tests, in memory only.

#include <filemap.h>
#include <fs.h>
#include <k/assert.h>
#include <sched.h>
#include "slots.h"

static int test_file_mmap(struct file *f, const struct vma_ops **ops)
{
    (void)f;
    *ops = &filemap_vma_ops;
    return 0;
}

void test_file_create(struct test_file *t, int (*read_page)(struct mapping *, struct page *),
                      u64 size)
{
    static const struct file_ops ops = {.mmap = test_file_mmap};
    static struct super super;
    t->ops = (struct mapping_ops){.read_page = read_page};
    t->file = (struct file){.ref = 1, .flags = 2}; // O_RDWR
    t->file.ops = &ops;
    t->file.inode = &t->inode;
    t->file.mapping = &t->inode.mapping;
    mutex_init(&t->inode.lock, RANK_INODE);
    t->inode.sb = &super;
    mapping_init(&t->inode.mapping, &t->inode, &t->ops);
    store_relaxed(&t->inode.mapping.size_bytes, size);
}

void test_file_resize(struct test_file *t, u64 size)
{
    mutex_lock(&t->inode.lock);
    mapping_truncate(&t->inode.mapping, size);
    mutex_unlock(&t->inode.lock);
}

void test_file_punch(struct test_file *t, u64 start, u64 end)
{
    mutex_lock(&t->inode.lock);
    mapping_punch(&t->inode.mapping, start, end);
    mutex_unlock(&t->inode.lock);
}

void test_file_destroy(struct test_file *t)
{
    soft_settle();
    assert(load_acquire(&t->file.ref) == 1);
    mapping_destroy(&t->inode.mapping);
}
