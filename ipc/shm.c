// System V shared memory: shmget(2), shmop(2), shmctl(2), svipc(7).
//
// A segment is a tmpfs file without a name. To attach it is to map a struct file of its own of that
// file, whose operations (shm_fops) are how shmdt knows an attachment from other mappings; fork,
// mprotect, mremap and exit need know nothing of segments.
//
// How many attachments there are is not counted: it is the number of VMAs on the file's list of
// mappings, where each is from before it is published until its entries are gone. That is what
// Linux counts, too (a split mapping is two), and no hook in mm/ keeps it right.
//
// States. NAMED: in the table, found by key. DOOMED, after IPC_RMID: in the table without a key,
// for shmat by number, until the last attachment goes. GONE: out of the table; attachments that
// are being let go may still hold the struct. Nobody is told of the last attachment's end, so a
// doomed segment is looked at when somebody looks for it, which makes its end as prompt as it can
// be observed, and when an attachment's file is released, which frees the memory:
//
//     shmdt / exit: VMA leaves the list   ...grace period...   file released: shm_release sweeps
//                                  IPC_STAT here: finds it doomed, unmapped: -EINVAL
//
// A doomed segment without a VMA cannot come back: a new VMA is made from one (fork, mremap, which
// publish the new before the old leaves) or by shmat, which is counted in `attaching` meanwhile.
//
// Locks: shm_table.lock guards all of struct shm; mapping->i_mmap_lock is taken inside.
#include <arch/uaccess.h>
#include <fs.h>
#include <ipc.h>
#include <k/assert.h>
#include <k/printk.h>
#include <k/string.h>
#include <mm.h>
#include <page.h>
#include <proc.h>
#include <slab.h>
#include <syscalls.h>
#include <uapi/mman.h>
#include "ids.h"

#define SHMMNI  4096
#define SHM_MAX (~0ul - (1ul << 24))

struct shm {
    struct ipc_obj obj;  // obj.mode has SHM_DEST and SHM_LOCKED, too
    struct inode *inode; // counted
    u64 size;            // [I] bytes, as asked for
    unsigned ref;        // the table's, and one for each attachment's file
    unsigned attaching;  // shmat under way
    s64 atime, dtime, ctime;
    s32 cpid, lpid;
};

static const struct ipc_kind shm_kind;
static struct ipc_table shm_table = IPC_TABLE_INIT(shm_table, SHMMNI, &shm_kind);

static u64 nr_attached(struct shm *s)
{
    struct mapping *m = &s->inode->mapping;
    struct vma *v;
    u64 nr = 0;
    mutex_lock(&m->i_mmap_lock);
    list_for_each_entry (v, &m->i_mmap, i_mmap_link) {
        nr++;
        cond_resched(); // a process may have a million; the list stands still under its lock
    }
    mutex_unlock(&m->i_mmap_lock);
    return nr;
}

// Without a count: each attachment that goes asks this of a doomed segment.
static bool is_attached(struct shm *s)
{
    struct mapping *m = &s->inode->mapping;
    mutex_lock(&m->i_mmap_lock);
    bool some = !list_empty(&m->i_mmap);
    mutex_unlock(&m->i_mmap_lock);
    return some;
}

static void shm_put_locked(struct shm *s)
{
    if (--s->ref == 0) {
        inode_put(s->inode);
        kfree(s);
    }
}

static struct shm *shm_of(struct ipc_obj *o)
{
    return container_of(o, struct shm, obj);
}

// true: it was doomed and its last attachment has ended; it is out of the table, and o may be
// freed.
static bool shm_sweep_locked(struct ipc_obj *o)
{
    struct shm *s = shm_of(o);
    bool end = (o->mode & SHM_DEST) && !s->attaching && !is_attached(s);
    if (end) {
        ipc_remove(&shm_table, o);
        shm_put_locked(s);
    }
    return end;
}

// ---- shmget -------------------------------------------------------------------------------------

static struct shm *shm_new(s32 key, u64 size, u32 mode)
{
    struct shm *s = kzalloc(sizeof(*s), GFP_KERNEL);
    if (!s) {
        return NULL;
    }
    s->inode = shmem_inode_new(0777 & mode);
    if (!s->inode) {
        kfree(s);
        return NULL;
    }
    ipc_obj_init(&s->obj, key, mode);
    s->size = size;
    s->ref = 1;
    s->ctime = ipc_now_s();
    s->cpid = current_process()->pid;
    store_relaxed(&s->inode->nlink, 0);
    store_seq(&s->inode->mapping.size_bytes, page_align_up(size)); // nobody else knows it yet
    return s;
}

static s64 shm_create_locked(s32 key, u64 size, u32 flags)
{
    if (size == 0 || size > SHM_MAX) {
        return -EINVAL;
    }
    if (flags & SHM_HUGETLB) {
        return -ENOMEM; // the pool of huge pages is empty
    }
    if (!(flags & SHM_NORESERVE) && page_align_up(size) >> PAGE_SHIFT > page_nr_total()) {
        return -ENOMEM; // what could never be backed
    }
    if (shm_table.used >= shm_table.max) {
        return -ENOSPC;
    }
    struct shm *s = shm_new(key, size, flags);
    if (!s) {
        return -ENOMEM;
    }
    int err = ipc_add(&shm_table, &s->obj);
    if (err) {
        shm_put_locked(s);
        return err;
    }
    s->inode->ino = (u64)s->obj.id; // what /proc/PID/maps shows
    return s->obj.id;
}

static bool shm_fits(struct ipc_obj *o, u64 size)
{
    return shm_of(o)->size >= size;
}

s64 sys_shmget(const u64 *a)
{
    return ipc_get(&shm_table, (s32)a[0], a[1], (u32)a[2]);
}

// ---- shmat, shmdt -------------------------------------------------------------------------------

static int shm_mmap(struct file *f, const struct vma_ops **ops)
{
    (void)f;
    *ops = &filemap_vma_ops;
    return 0;
}

// An attachment's file: its VMAs are gone.
static void shm_release(struct file *f)
{
    struct shm *s = f->private;
    mutex_lock(&shm_table.lock);
    s->dtime = ipc_now_s();
    if (s->obj.mode & SHM_DEST) {
        struct ipc_obj *o;
        bool listed = ipc_find(&shm_table, s->obj.id, &o) == 0 && o == &s->obj;
        if (listed) {
            shm_sweep_locked(&s->obj);
        }
    }
    shm_put_locked(s);
    mutex_unlock(&shm_table.lock);
}

static const struct file_ops shm_fops = {.mmap = shm_mmap, .release = shm_release};

// The segment, counted as being attached, and a file of it.
static int shm_open_locked(s32 id, u32 flags, struct shm **out, struct file **file)
{
    struct ipc_obj *o;
    int err = ipc_find_any(&shm_table, id, false, &o);
    u32 want = (flags & SHM_RDONLY ? 0444 : 0666) | (flags & SHM_EXEC ? 0111 : 0);
    err = err ? err : ipc_permission(o, want);
    if (err) {
        return err;
    }
    struct shm *s = shm_of(o);
    char *path = kmalloc(32, GFP_KERNEL);
    if (path) {
        snprintf(path, 32, "/SYSV%08x (deleted)", (u32)s->obj.key);
    }
    err = file_open_ops(s->inode, &shm_fops, flags & SHM_RDONLY ? O_RDONLY : O_RDWR, path, s, file);
    if (err) {
        return err;
    }
    s->ref++; // the file's
    s->attaching++;
    *out = s;
    return 0;
}

static void shm_attached(struct shm *s, struct file *file, bool done)
{
    mutex_lock(&shm_table.lock);
    s->attaching--;
    if (done) {
        s->atime = ipc_now_s();
        s->lpid = current_process()->pid;
    }
    mutex_unlock(&shm_table.lock);
    file_put(file);
}

s64 sys_shmat(const u64 *a)
{
    u32 flags = (u32)a[2];
    vaddr_t addr = a[1];
    unsigned prot = PROT_READ, map = MAP_SHARED;
    struct shm *s;
    struct file *file;
    if ((s32)a[0] < 0) {
        return -EINVAL;
    }
    if (addr & ~PAGE_MASK) {
        addr = flags & SHM_RND ? page_align_down(addr) : 1;
    }
    if (addr == 1 || (addr == 0 && (flags & SHM_REMAP))) {
        return -EINVAL;
    }
    prot |= flags & SHM_RDONLY ? 0 : PROT_WRITE;
    prot |= flags & SHM_EXEC ? PROT_EXEC : 0;
    map |= !addr ? 0 : flags & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE;
    mutex_lock(&shm_table.lock);
    int err = shm_open_locked((s32)a[0], flags, &s, &file);
    mutex_unlock(&shm_table.lock);
    if (err) {
        return err;
    }
    s64 r = mm_mmap(current_mm(), addr, page_align_up(s->size), prot, map, file, 0);
    shm_attached(s, file, r >= 0);
    return r == -EEXIST ? -EINVAL : r;
}

s64 sys_shmdt(const u64 *a)
{
    struct file *file;
    int err = a[0] & ~PAGE_MASK ? -EINVAL : mm_detach(current_mm(), a[0], &shm_fops, &file);
    if (err) {
        return err;
    }
    struct shm *s = file->private;
    mutex_lock(&shm_table.lock);
    s->lpid = current_process()->pid;
    s->dtime = ipc_now_s();
    mutex_unlock(&shm_table.lock);
    file_put(file);
    return 0;
}

// ---- shmctl -------------------------------------------------------------------------------------

static s64 shm_limits(void *user)
{
    struct uapi_shminfo i = {
        .shmmax = SHM_MAX, .shmmin = 1, .shmmni = SHMMNI, .shmseg = SHMMNI, .shmall = SHM_MAX};
    mutex_lock(&shm_table.lock);
    s32 highest = ipc_highest(&shm_table);
    mutex_unlock(&shm_table.lock);
    return arch_copy_to_user(user, &i, sizeof(i)) ? -EFAULT : highest;
}

static s64 shm_totals(void *user)
{
    struct uapi_shm_info i = {0};
    struct ipc_obj *o;
    mutex_lock(&shm_table.lock);
    for (unsigned n = 0; (o = ipc_next(&shm_table, &n)); n++) {
        struct shm *s = shm_of(o);
        if (!shm_sweep_locked(o)) {
            i.used_ids++;
            i.shm_tot += page_align_up(s->size) >> PAGE_SHIFT;
            i.shm_rss += load_relaxed(&s->inode->mapping.nr_pages);
        }
    }
    s32 highest = ipc_highest(&shm_table);
    mutex_unlock(&shm_table.lock);
    return arch_copy_to_user(user, &i, sizeof(i)) ? -EFAULT : highest;
}

static void shm_stat(struct ipc_obj *o, void *ds)
{
    struct uapi_shmid_ds *d = ds;
    struct shm *s = shm_of(o);
    d->segsz = s->size;
    d->atime = s->atime;
    d->dtime = s->dtime;
    d->ctime = s->ctime;
    d->cpid = s->cpid;
    d->lpid = s->lpid;
    d->nattch = nr_attached(s);
}

// What changes a segment. Memory is never swapped out, so SHM_LOCK only has to be remembered.
static int shm_change(struct ipc_obj *o, int cmd, const void *ds)
{
    (void)ds;
    switch (cmd) {
    case IPC_RMID:
        o->key = IPC_PRIVATE;
        o->mode |= SHM_DEST;
        shm_sweep_locked(o);
        break;
    case IPC_SET:
        shm_of(o)->ctime = ipc_now_s();
        break;
    case SHM_LOCK:
        o->mode |= SHM_LOCKED;
        break;
    default:
        o->mode &= ~(u32)SHM_LOCKED;
        break;
    }
    return 0;
}

s64 sys_shmctl(const u64 *a)
{
    s32 id = (s32)a[0];
    int cmd = (int)a[1];
    void *user = (void *)a[2];
    if (id < 0 || cmd < 0) {
        return -EINVAL;
    }
    switch (cmd) {
    case IPC_INFO:
        return shm_limits(user);
    case SHM_INFO:
        return shm_totals(user);
    case IPC_STAT:
        return ipc_stat(&shm_table, id, 0, user);
    case SHM_STAT:
        return ipc_stat(&shm_table, id, IPC_BY_SLOT, user);
    case SHM_STAT_ANY:
        return ipc_stat(&shm_table, id, IPC_BY_SLOT | IPC_FOR_ALL, user);
    case IPC_RMID:
    case IPC_SET:
    case SHM_LOCK:
    case SHM_UNLOCK:
        return ipc_change(&shm_table, id, cmd, user);
    default:
        return -EINVAL;
    }
}

// ---- /proc/sysvipc/shm --------------------------------------------------------------------------

static int shm_line(struct ipc_obj *o, char *buf, size_t size)
{
    struct shm *s = shm_of(o);
    return snprintf(buf, size,
                    "%10d %10d  %4o %21lu %5d %5d  %5lu %5u %5u %5u %5u %10lu %10lu %10lu %21lu "
                    "%21lu\n",
                    o->key, o->id, o->mode, s->size, s->cpid, s->lpid, nr_attached(s), o->uid,
                    o->gid, o->cuid, o->cgid, s->atime, s->dtime, s->ctime,
                    load_relaxed(&s->inode->mapping.nr_pages) << PAGE_SHIFT, 0ul);
}

size_t shm_text(u64 *pos, char *buf, size_t size)
{
    return ipc_text(&shm_table, pos, buf, size);
}

_Static_assert(sizeof(struct uapi_shmid_ds) <= IPC_DS_MAX, "ipc/ids.c has room");
static const struct ipc_kind shm_kind = {
    .ds_size = sizeof(struct uapi_shmid_ds),
    .heading = "       key      shmid perms                  size  cpid  lpid "
               "nattch   uid   gid  cuid  cgid      atime      dtime      ctime"
               "                   rss                  swap\n",
    .create = shm_create_locked,
    .fits = shm_fits,
    .sweep = shm_sweep_locked,
    .stat = shm_stat,
    .change = shm_change,
    .line = shm_line,
};
