// Files, 2: open files.
//
// A struct file is what open() makes and descriptors, mappings and calls in progress share: a
// count, the position, the flags. fd_get (fs/fdtable.c) looks at it without a lock, so its memory
// goes by RCU; everything else of it is gone when release has run.
#include <k/assert.h>
#include <k/string.h>
#include "fs_priv.h"

static const struct file_ops path_fops; // O_PATH: names a file, cannot touch it
static struct kmem_cache *file_cache;
static atomic_long nr_open;

void vfs_file_init(void)
{
    file_cache = kmem_cache_create("file", sizeof(struct file), 0);
}

long file_nr_open(void)
{
    return load_relaxed(&nr_open);
}

static void file_free_rcu(struct rcu_head *head)
{
    kmem_cache_free(file_cache, container_of(head, struct file, rcu));
}

// Files that a remount to read-only must not meet.
static bool file_is_writer(const struct file *f)
{
    return S_ISREG(f->inode->mode) && f->ops != &path_fops &&
           (load_relaxed(&f->flags) & O_ACCMODE) != O_RDONLY;
}

//     open                         remount
//     writers + 1                  flags = MS_RDONLY
//     look at flags                look at writers
//
// One sees the other (both seq_cst).
static int file_count_writer(struct file *f)
{
    struct super *sb = f->inode->sb;
    if (!file_is_writer(f)) {
        return 0;
    }
    fetch_add_seq(&sb->writers, 1); // pairs with mount_again
    if (load_seq(&sb->flags) & MS_RDONLY) {
        fetch_add_seq(&sb->writers, (unsigned)-1);
        return -EROFS;
    }
    return 0;
}

// A file is written or run, not both (open(2), execve(2): ETXTBSY). inode->writers counts those who
// write above 0 and those who run it below; one more goes only away from 0. What was not opened by
// path does not count, as on Linux: a memfd is written and then run.
static int writers_step(struct inode *i, int step)
{
    int n = load_relaxed(&i->writers);
    do {
        if (step > 0 ? n < 0 : n > 0) {
            return -ETXTBSY;
        }
    } while (!atomic_compare_exchange_weak(&i->writers, &n, n + step)); // with itself
    return 0;
}

int inode_write_begin(struct inode *i)
{
    return S_ISREG(i->mode) ? writers_step(i, 1) : 0;
}

void inode_write_end(struct inode *i)
{
    if (S_ISREG(i->mode)) {
        fetch_add_relaxed(&i->writers, -1);
    }
}

int program_deny_writers(struct file *f)
{
    return writers_step(f->inode, -1);
}

struct file *program_get(struct file *f)
{
    int err = writers_step(f->inode, -1);
    assert(!err); // the caller's own keeps it below 0
    return file_get(f);
}

void program_put(struct file *f)
{
    fetch_add_relaxed(&f->inode->writers, 1);
    file_put(f);
}

static void file_destroy(struct file *f)
{
    inode_put(f->inode);
    inode_put(f->dir);
    kfree(f->path);
    fetch_add_relaxed(&nr_open, -1);
    call_rcu(&f->rcu, file_free_rcu);
}

void file_put(struct file *f)
{
    if (atomic_fetch_sub(&f->ref, 1) == 1) { // all earlier uses happen before release
        if (load_relaxed(&f->watched)) {     // who watches it held a reference while it did that
            epoll_file_gone(f);
        }
        if (f->ops != &path_fops) {
            bool writer = (load_relaxed(&f->flags) & O_ACCMODE) != O_RDONLY;
            notify_file(f, writer ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
        }
        locks_file_gone(f);
        if (f->ops->release) {
            f->ops->release(f);
        }
        if (file_is_writer(f)) {
            fetch_add_seq(&f->inode->sb->writers, (unsigned)-1);
        }
        if (f->writes) {
            inode_write_end(f->inode);
        }
        file_destroy(f);
    }
}

struct file *file_blank(void)
{
    return kmem_cache_alloc(file_cache, GFP_KERNEL | GFP_ZERO);
}

void file_blank_free(struct file *f)
{
    kmem_cache_free(file_cache, f);
}

static int file_open_ops_blank(struct file *f, struct inode *inode, const struct file_ops *ops,
                               unsigned flags, char *path, void *private)
{
    int err = 0;
    store_relaxed(&f->ref, 1);
    store_relaxed(&f->flags, flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC | OPEN_EXEC));
    f->ops = ops;
    f->inode = inode_get(inode);
    f->mapping = S_ISREG(inode->mode) && inode->mapping.ops ? &inode->mapping : NULL;
    mutex_init(&f->pos_lock, RANK_FILE_POS);
    f->path = path;
    f->private = private;
    fetch_add_relaxed(&nr_open, 1);
    err = f->ops ? file_count_writer(f) : -ENXIO;
    if (!err && f->ops->open) {
        err = f->ops->open(inode, f);
        if (err && file_is_writer(f)) {
            fetch_add_seq(&inode->sb->writers, (unsigned)-1);
        }
    }
    atomic_fetch_and(&f->flags, ~(unsigned)O_NOCTTY); // was for open
    if (err) {
        file_destroy(f); // was never open: no release
    }
    return err;
}

static const struct file_ops *inode_ops_for(const struct inode *inode, unsigned flags)
{
    return (flags & O_PATH) ? &path_fops : inode->fops;
}

int file_open_blank(struct file *f, struct inode *inode, unsigned flags, char *path)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY && !(flags & O_PATH);
    int err = writes ? inode_write_begin(inode) : 0;
    if (err) {
        kfree(path);
        inode_put(f->dir);
        file_blank_free(f);
        return err;
    }
    f->writes = writes;
    err = file_open_ops_blank(f, inode, inode_ops_for(inode, flags), flags, path, NULL);
    if (err && writes) {
        inode_write_end(inode);
    }
    return err;
}

int file_open_ops(struct inode *inode, const struct file_ops *ops, unsigned flags, char *path,
                  void *private, struct file **out)
{
    struct file *f = file_blank();
    if (!f) {
        kfree(path);
        return -ENOMEM;
    }
    int err = file_open_ops_blank(f, inode, ops, flags, path, private);
    if (!err) {
        *out = f;
    }
    return err;
}

int file_open_inode(struct inode *inode, unsigned flags, char *path, struct file **out)
{
    return file_open_ops(inode, inode_ops_for(inode, flags), flags, path, NULL, out);
}

ssize_t file_read_kernel(struct file *f, u64 pos, void *buf, size_t n)
{
    if (S_ISDIR(f->inode->mode)) {
        return -EISDIR;
    }
    return f->mapping ? mapping_read_kernel(f->mapping, pos, buf, n) : -EINVAL;
}

int vfs_open(const char *path, unsigned flags, u32 mode, struct file **out)
{
    struct inode *start = path[0] == '/' ? NULL : cwd_get();
    int err = vfs_open_at(start, path, flags, mode, 0, out);
    inode_put(start);
    return err;
}
