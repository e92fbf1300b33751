// tmpfs: files whose only copy is the page cache.
//
// A page that was never written reads as zeroes and comes into being when it is first touched;
// nothing ever leaves the cache but by truncate, a punched hole, or the end of the file.
//
// The limit. All of tmpfs together may take half of the memory, a mount with size= no more than
// that. What the initramfs brought counts, but nothing stops it, and half of what it left is still
// to be had. Pages come and go deep inside the
// page cache, so each file is charged by comparison: tmpfs_charge() brings what the file has been
// charged for in line with mapping.nr_pages. It runs after everything that may have changed that
// number and, for faults, in read_page, when the page is already in the cache and may be refused.
// So the sum may be behind by what is in progress at this moment, never for long.
//
// The memory of names, directories and links is not counted as pages; a mount has as many inodes as
// half of the memory has pages, or nr_inodes= of them (fs/ramdir.c counts).
//
// write, truncate and fallocate hold inode->lock; the user copy inside may fault, on this very file
// too: faults take no inode->lock.
#include <k/assert.h>
#include <k/string.h>
#include <page.h>
#include <proc.h>
#include <sched.h>
#include <signal.h>
#include "fs_priv.h"

#define TMPFS_MODE  01777
#define CHUNK_PAGES 64 // written between two looks at the limit

static struct spinlock charge_lock = SPINLOCK_INIT(RANK_SPIN_MISC);
static u64 charged_pages; // [charge_lock] of all files; inode->data: of one, the same lock
static u64 limit_pages;   // [I] after boot
static struct super shmem_super = {.type = "tmpfs", .magic = TMPFS_MAGIC};

static const struct file_ops tmpfs_fops;
static const struct inode_ops tmpfs_file_ops;

// Pages that may be added to a mount.
static u64 room_locked(const struct super *sb)
{
    u64 all = limit_pages - min(charged_pages, limit_pages), limit = sb->limit_pages;
    u64 own = limit - min(sb->charged_pages, limit);
    return limit ? min(all, own) : all;
}

// Bring the charge of a file up to date. Pages that are left; 0: full.
static u64 tmpfs_charge(struct inode *i)
{
    u64 left;
    spin_lock(&charge_lock);
    u64 now = load_relaxed(&i->mapping.nr_pages);
    charged_pages += now - i->data;
    i->sb->charged_pages += now - i->data;
    i->data = now;
    left = room_locked(i->sb);
    spin_unlock(&charge_lock);
    return left;
}

void tmpfs_set_room(void)
{
    spin_lock(&charge_lock);
    limit_pages = (page_nr_total() + charged_pages) / 2;
    spin_unlock(&charge_lock);
}

void tmpfs_set_limit(struct super *sb, u64 pages)
{
    spin_lock(&charge_lock);
    sb->limit_pages = pages;
    spin_unlock(&charge_lock);
}

bool tmpfs_may_limit(const struct super *sb, u64 pages)
{
    spin_lock(&charge_lock);
    bool may = sb->charged_pages <= pages || !pages;
    spin_unlock(&charge_lock);
    return may;
}

static bool tmpfs_over_limit(struct inode *i)
{
    tmpfs_charge(i);
    spin_lock(&charge_lock);
    const struct super *sb = i->sb;
    bool over =
        charged_pages > limit_pages || (sb->limit_pages && sb->charged_pages > sb->limit_pages);
    spin_unlock(&charge_lock);
    return over;
}

// The page is new, zero and already in the cache.
static int tmpfs_read_page(struct mapping *m, struct page *page)
{
    (void)page;
    return tmpfs_over_limit(m->host) ? -EIO : 0; // a fault: SIGBUS, as Linux does
}

static const struct mapping_ops tmpfs_mapping_ops = {.read_page = tmpfs_read_page};

struct inode *tmpfs_make_file(struct super *sb, u32 mode)
{
    struct inode *i = inode_new(sb, mode);
    if (i) {
        i->ops = &tmpfs_file_ops;
        i->fops = &tmpfs_fops;
        i->mapping.ops = &tmpfs_mapping_ops;
        store_relaxed(&i->seals, F_SEAL_SEAL);
    }
    return i;
}

struct inode *shmem_inode_new(u32 mode)
{
    struct inode *i = tmpfs_make_file(&shmem_super, S_IFREG | mode);
    if (i) {
        inode_set_owner(i, NULL);
        store_relaxed(&i->nlink, 0);
    }
    return i;
}

// ---- Reading and writing ------------------------------------------------------------------------

// Nobody will see the rest of a long call.
static bool call_is_over(void)
{
    return thread_signal_pending() && thread_kill_pending();
}

static ssize_t tmpfs_read(struct file *f, void *buf, size_t n, u64 *pos)
{
    size_t done = 0;
    ssize_t r = 0;
    while (done < n && !(done && call_is_over())) {
        size_t some = min(n - done, (size_t)(CHUNK_PAGES * PAGE_SIZE));
        r = mapping_read(f->mapping, *pos, (char *)buf + done, some);
        done += r > 0 ? (size_t)r : 0;
        *pos += r > 0 ? (u64)r : 0;
        if (r < (ssize_t)some) {
            break;
        }
    }
    return done ? (ssize_t)done : r;
}

static bool page_is_cached(struct mapping *m, u64 index)
{
    struct page *p = mapping_find_get(m, index);
    if (p) {
        page_put(p);
    }
    return p != NULL;
}

// How much may be written at pos before the limit is to be looked at again; 0: nothing, no space.
static size_t tmpfs_room(struct inode *i, u64 pos, size_t n)
{
    u64 left = tmpfs_charge(i);
    size_t in_page = PAGE_SIZE - (pos & ~PAGE_MASK);
    if (left > CHUNK_PAGES) {
        return min(n, (size_t)(CHUNK_PAGES * PAGE_SIZE));
    }
    if (left > 0 || page_is_cached(&i->mapping, pos >> PAGE_SHIFT)) {
        return min(n, in_page);
    }
    return 0;
}

static ssize_t tmpfs_write_locked(struct inode *i, const char *buf, size_t n, u64 pos, bool kernel)
{
    size_t done = 0;
    ssize_t r = 0;
    while (done < n) {
        size_t some = tmpfs_room(i, pos + done, n - done);
        r = !some    ? -ENOSPC
            : kernel ? mapping_write_kernel(&i->mapping, pos + done, buf + done, some)
                     : mapping_write(&i->mapping, pos + done, buf + done, some);
        if (r <= 0) {
            break;
        }
        done += (size_t)r;
        if ((size_t)r < some) {
            break; // a bad address or no memory: the next call tells
        }
        if (call_is_over()) {
            break;
        }
    }
    if (done < n) { // a page that was made for bytes that did not come must not stay beyond the end
        u64 size = page_align_up(load_relaxed(&i->mapping.size_bytes));
        if (page_align_up(pos + done + 1) > size) {
            mapping_punch(&i->mapping, size, page_align_up(pos + done + 1));
        }
    }
    tmpfs_charge(i);
    if (done) {
        inode_touch(i);
    }
    return done ? (ssize_t)done : r;
}

static bool write_is_sealed(struct inode *i, u64 end)
{
    unsigned seals = load_relaxed(&i->seals);
    return (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) ||
           ((seals & F_SEAL_GROW) && end > load_relaxed(&i->mapping.size_bytes));
}

// RLIMIT_FSIZE (getrlimit(2)): may a file be as long as that? If not: SIGXFSZ.
static bool may_be_long(u64 size)
{
    if (!current_process() || size <= process_rlimit(RLIMIT_FSIZE)) {
        return true;
    }
    signal_send_self(SIGXFSZ);
    return false;
}

// How much of a write of n bytes at pos the limits leave; 0: nothing, and SIGXFSZ is sent if it is
// RLIMIT_FSIZE that says so.
static size_t write_within(u64 pos, size_t n)
{
    if (pos >= FILE_SIZE_MAX || !may_be_long(pos + 1)) {
        return 0;
    }
    n = min(n, (size_t)(FILE_SIZE_MAX - pos));
    return current_process() ? min(n, (size_t)(process_rlimit(RLIMIT_FSIZE) - pos)) : n;
}

static ssize_t tmpfs_write_from(struct file *f, const void *buf, size_t n, u64 *pos, bool kernel)
{
    struct inode *i = f->inode;
    ssize_t r;
    mutex_lock(&i->lock);
    if (*pos == POS_END || (load_relaxed(&f->flags) & O_APPEND)) {
        *pos = load_relaxed(&i->mapping.size_bytes);
    }
    size_t may = n ? write_within(*pos, n) : 0;
    if (n && !may) {
        r = -EFBIG;
    } else if (write_is_sealed(i, *pos + may)) {
        r = -EPERM;
    } else {
        inode_will_change_locked(i);
        r = tmpfs_write_locked(i, buf, may, *pos, kernel);
    }
    mutex_unlock(&i->lock);
    if (r > 0) {
        *pos += (u64)r;
    }
    return r;
}

static ssize_t tmpfs_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
    return tmpfs_write_from(f, buf, n, pos, false);
}

static ssize_t tmpfs_write_kernel(struct file *f, const void *buf, size_t n, u64 *pos)
{
    return tmpfs_write_from(f, buf, n, pos, true);
}

static int tmpfs_truncate(struct inode *i, u64 size)
{
    if (size > FILE_SIZE_MAX) {
        return -EFBIG;
    }
    mutex_lock(&i->lock);
    unsigned seals = load_relaxed(&i->seals);
    u64 old = load_relaxed(&i->mapping.size_bytes);
    if ((size < old && (seals & F_SEAL_SHRINK)) || (size > old && (seals & F_SEAL_GROW))) {
        mutex_unlock(&i->lock);
        return -EPERM;
    }
    if (size > old && !may_be_long(size)) {
        mutex_unlock(&i->lock);
        return -EFBIG;
    }
    inode_will_change_locked(i);
    mapping_truncate(&i->mapping, size);
    inode_touch(i);
    mutex_unlock(&i->lock);
    tmpfs_charge(i);
    return 0;
}

// Does the limit leave room for the pages of [start, end) that do not exist? Asked first, so that a
// call that is too large makes nothing: what it had made within the file could not be taken back,
// because a mapping may have written to it since. Ends after as many steps as there are pages.
static bool tmpfs_may_allocate(struct inode *i, u64 start, u64 end)
{
    u64 left = tmpfs_charge(i);
    for (u64 index = start >> PAGE_SHIFT; index < page_align_up(end) >> PAGE_SHIFT; index++) {
        if (!page_is_cached(&i->mapping, index) && left-- == 0) {
            return false;
        }
        if (thread_signal_pending()) {
            break; // tmpfs_allocate_locked sees it, too
        }
        cond_resched();
    }
    return true;
}

// Make the pages of [start, end) exist.
static int tmpfs_allocate_locked(struct inode *i, u64 start, u64 end)
{
    if (!tmpfs_may_allocate(i, start, end)) {
        return -ENOSPC;
    }
    for (u64 index = start >> PAGE_SHIFT; index < page_align_up(end) >> PAGE_SHIFT; index++) {
        struct page *p;
        if (tmpfs_charge(i) == 0 && !page_is_cached(&i->mapping, index)) {
            return -ENOSPC;
        }
        int err = mapping_grab_page(&i->mapping, index, true, &p);
        if (err) {
            return err;
        }
        page_put(p);
        if (thread_signal_pending()) {
            return -EINTR;
        }
        cond_resched();
    }
    return 0;
}

static int tmpfs_fallocate(struct file *f, int mode, u64 offset, u64 len)
{
    struct inode *i = f->inode;
    u64 end = offset + len, size;
    int err = 0;
    mutex_lock(&i->lock);
    size = load_relaxed(&i->mapping.size_bytes);
    bool punch = mode & FALLOC_FL_PUNCH_HOLE, grows = end > size && !(mode & FALLOC_FL_KEEP_SIZE);
    unsigned never = punch ? F_SEAL_WRITE | F_SEAL_FUTURE_WRITE : grows ? F_SEAL_GROW : 0;
    if (load_relaxed(&i->seals) & never) {
        mutex_unlock(&i->lock);
        return -EPERM;
    }
    if (!punch && grows && !may_be_long(end)) {
        mutex_unlock(&i->lock);
        return -EFBIG;
    }
    inode_will_change_locked(i);
    if (punch) {
        mapping_punch(&i->mapping, offset, end);
    } else {
        // Nothing is kept beyond the end of the file, where faults must find no page.
        bool keep = mode & FALLOC_FL_KEEP_SIZE;
        err = tmpfs_allocate_locked(i, offset, keep ? min(end, page_align_up(size)) : end);
        if (err && page_align_up(end) > page_align_up(size)) {
            mapping_punch(&i->mapping, page_align_up(size), page_align_up(end));
        } else if (!err && end > size && !keep) {
            mapping_truncate(&i->mapping, end);
        }
    }
    inode_touch(i);
    mutex_unlock(&i->lock);
    tmpfs_charge(i);
    return err;
}

static int tmpfs_mmap(struct file *f, const struct vma_ops **ops)
{
    (void)f;
    *ops = &filemap_vma_ops;
    return 0;
}

static const struct file_ops tmpfs_fops = {
    .read = tmpfs_read,
    .write = tmpfs_write,
    .write_kernel = tmpfs_write_kernel,
    .mmap = tmpfs_mmap,
    .fallocate = tmpfs_fallocate,
    .truncate = tmpfs_truncate,
    .in_memory = true,
    .holes = true,
};

// The last reference: nobody has it mapped. Its pages go here and not in inode_put, so that the
// charge can follow.
static void tmpfs_evict(struct inode *i)
{
    mapping_destroy(&i->mapping);
    tmpfs_charge(i);
}

static const struct inode_ops tmpfs_file_ops = {.evict = tmpfs_evict};

void tmpfs_count(struct inode *i)
{
    if (i->ops == &tmpfs_file_ops) {
        tmpfs_charge(i);
    }
}

// ---- Mounts -------------------------------------------------------------------------------------

static void tmpfs_statfs(struct super *sb, struct uapi_statfs *st)
{
    spin_lock(&charge_lock);
    st->blocks = sb->limit_pages ? sb->limit_pages : limit_pages;
    st->bfree = st->bavail = room_locked(sb);
    spin_unlock(&charge_lock);
    st->files = load_relaxed(&sb->limit_inodes); // no limit: zeroes, as on Linux
    st->ffree = st->files - min(super_inodes_used(sb), st->files);
}

static u64 tmpfs_default_inodes(void)
{
    return page_nr_total() / 2;
}

// What differs from the defaults, as mount takes it.
static size_t tmpfs_options(const struct super *sb, char *buf, size_t size, size_t n)
{
    if (sb->limit_pages) {
        n = text_add(buf, size, n, ",size=%luk", sb->limit_pages << (PAGE_SHIFT - 10));
    }
    if (load_relaxed(&sb->limit_inodes) != tmpfs_default_inodes()) {
        n = text_add(buf, size, n, ",nr_inodes=%lu", load_relaxed(&sb->limit_inodes));
    }
    if (sb->first_mode != TMPFS_MODE) {
        n = text_add(buf, size, n, ",mode=%03o", sb->first_mode);
    }
    n = sb->first_uid ? text_add(buf, size, n, ",uid=%u", sb->first_uid) : n;
    return sb->first_gid ? text_add(buf, size, n, ",gid=%u", sb->first_gid) : n;
}

struct inode *tmpfs_mount(void)
{
    struct super *sb = super_new("tmpfs", TMPFS_MAGIC);
    if (!sb) {
        return NULL;
    }
    if (!limit_pages) {
        limit_pages = page_nr_total() / 2;
    }
    sb->statfs = tmpfs_statfs;
    sb->options = tmpfs_options;
    sb->make_file = tmpfs_make_file;
    store_relaxed(&sb->limit_inodes, tmpfs_default_inodes());
    sb->first_mode = TMPFS_MODE;
    struct inode *root = ramdir_new(sb, TMPFS_MODE, false);
    if (!root) {
        kfree(sb);
    }
    return root;
}

int shmem_file_create(u64 size_bytes, struct file **out)
{
    struct inode *i = tmpfs_make_file(&shmem_super, S_IFREG | 0600);
    if (!i) {
        return -ENOMEM;
    }
    store_relaxed(&i->nlink, 0);
    store_seq(&i->mapping.size_bytes, page_align_up(size_bytes)); // nobody else knows the file yet
    static const char name[] = "/dev/zero (deleted)";
    char *path = kmalloc(sizeof(name), GFP_KERNEL);
    if (path) {
        memcpy(path, name, sizeof(name));
    }
    int err = file_open_inode(i, O_RDWR, path, out);
    inode_put(i);
    return err;
}
