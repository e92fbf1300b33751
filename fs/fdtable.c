// Descriptor tables.
//
// read, write and mmap look a descriptor up and must not meet on a lock to do it. So the array of
// files is read under RCU: fd_get takes a reference unless the count is 0 already, which is why a
// file's memory is freed by RCU (file.c). Writers (open, close, dup) take files->lock; a table that
// grows is copied, published and the old one freed by RCU.
//
//     fd_get                              close
//     rcu; f = slot                       lock; slot = NULL; unlock
//     ref > 0 ? ref + 1                   file_put: ref - 1; at 0: release ... call_rcu(free)
//
// If fd_get comes second, the slot is empty; if it saw the file before, its memory is still there
// and the count decides.
#include <k/assert.h>
#include <k/rcu.h>
#include <k/string.h>
#include <proc.h>
#include <syscalls.h>
#include <uapi/sched.h>
#include "fd_priv.h"

#define FDS_FIRST  64
#define FDS_MAX    (1u << 20)
#define LOOK_BATCH 1024 // slots looked at at a time, where the caller may hold a spinlock

struct fdarray {
    unsigned size; // [I]
    struct rcu_head rcu;
    _Atomic(struct file *) file[]; // [r, files->lock]
};

struct files {
    atomic_int ref;
    struct mutex lock;               // RANK_FDTABLE
    _Atomic(struct fdarray *) array; // [r, lock]
    u64 *cloexec;                    // [lock] a bit per descriptor
    u64 *reserved;                   // [lock] the same, behind it: an empty slot that is taken
    unsigned first_free;             // [lock] none below is free
};

static struct fdarray *fdarray_new(unsigned size)
{
    struct fdarray *a = kzalloc(sizeof(*a) + size * sizeof(a->file[0]), GFP_KERNEL);
    if (a) {
        a->size = size;
    }
    return a;
}

// Bits for this many descriptors, all 0; those t had are the caller's. -ENOMEM.
static int fdbits_set(struct files *t, unsigned size)
{
    u64 *bits = kzalloc(2 * (size / 8), GFP_KERNEL);
    if (!bits) {
        return -ENOMEM;
    }
    t->cloexec = bits;
    t->reserved = bits + size / 64;
    return 0;
}

// A table with room for `size` descriptors, or NULL.
static struct files *files_create_sized(unsigned size)
{
    struct files *t = kzalloc(sizeof(*t), GFP_KERNEL);
    struct fdarray *a = fdarray_new(size);
    if (!t || !a || fdbits_set(t, size)) {
        kfree(t);
        kfree(a);
        return NULL;
    }
    store_relaxed(&t->ref, 1);
    mutex_init(&t->lock, RANK_FDTABLE);
    rcu_assign_pointer(&t->array, a);
    return t;
}

struct files *files_create(void)
{
    return files_create_sized(FDS_FIRST);
}

struct files *files_get(struct files *t)
{
    fetch_add_relaxed(&t->ref, 1);
    return t;
}

// What a copy needs: one descriptor may have been high once, and there may be many copies.
static unsigned size_in_use_locked(struct fdarray *a)
{
    unsigned end = a->size, size = FDS_FIRST;
    while (end && !load_relaxed(&a->file[end - 1])) {
        end--;
    }
    while (size < end) {
        size *= 2;
    }
    return size;
}

int files_copy(struct files *from, struct files **out)
{
    struct fdarray *a, *b;
    struct files *t = NULL;
    unsigned size;

    mutex_lock(&from->lock);
    a = load_relaxed(&from->array);
    size = size_in_use_locked(a);
    t = files_create_sized(size);
    if (t) {
        b = load_relaxed(&t->array);
        for (unsigned i = 0; i < size; i++) {
            struct file *f = load_relaxed(&a->file[i]);
            if (f) {
                store_relaxed(&b->file[i], file_get(f));
            }
            cond_resched();
        }
        memcpy(t->cloexec, from->cloexec, size / 8);
        // first_free stays 0: what is reserved there is free here
    }
    mutex_unlock(&from->lock);
    *out = t;
    return t ? 0 : -ENOMEM;
}

bool files_are_shared(struct files *t)
{
    return load_acquire(&t->ref) > 1; /* pairs with files_put: then the others are done with it */
}

// A descriptor of t was closed. By POSIX that ends all record locks of the process on the file,
// those taken through other descriptors too.
static void fd_file_put(struct files *t, struct file *f)
{
    locks_fd_closed(t, f);
    file_put(f);
}

void files_put(struct files *t)
{
    if (atomic_fetch_sub(&t->ref, 1) != 1) {
        return;
    }
    // Nobody else can reach the table.
    struct fdarray *a = load_relaxed(&t->array);
    for (unsigned i = 0; i < a->size; i++) {
        struct file *f = load_relaxed(&a->file[i]);
        if (f) {
            fd_file_put(t, f);
            cond_resched();
        }
    }
    kfree(a);
    kfree(t->cloexec);
    kfree(t);
}

// In a read section.
static struct file *slot_get_rcu(struct fdarray *a, unsigned fd)
{
    struct file *f = fd < a->size ? rcu_dereference(&a->file[fd]) : NULL;
    int ref = f ? load_relaxed(&f->ref) : 0;
    while (ref && !atomic_compare_exchange_weak(&f->ref, &ref, ref + 1)) {
    }
    return ref ? f : NULL;
}

struct file *files_get_file(struct files *t, int fd)
{
    rcu_read_lock();
    struct file *f = slot_get_rcu(rcu_dereference(&t->array), (unsigned)fd);
    rcu_read_unlock();
    return f;
}

int files_next(struct files *t, int *fd, struct file **out)
{
    int r = 0;
    *out = NULL;
    rcu_read_lock();
    struct fdarray *a = rcu_dereference(&t->array);
    for (int left = LOOK_BATCH; r == 0 && left > 0; left--) {
        *out = slot_get_rcu(a, (unsigned)*fd);
        r = *out ? 1 : (unsigned)*fd >= a->size ? -1 : 0;
        *fd += r == 0;
    }
    rcu_read_unlock();
    return r;
}

u32 files_fd_flags(struct files *t, int fd)
{
    mutex_lock(&t->lock);
    bool on =
        (unsigned)fd < load_relaxed(&t->array)->size && t->cloexec[fd / 64] & 1ull << (fd % 64);
    mutex_unlock(&t->lock);
    return on ? O_CLOEXEC : 0;
}

struct file *fd_get_path(int fd)
{
    return files_get_file(current_process()->files, fd);
}

unsigned fd_table_size(void)
{
    rcu_read_lock();
    unsigned size = rcu_dereference(&current_process()->files->array)->size;
    rcu_read_unlock();
    return size;
}

struct file *fd_get(int fd)
{
    struct file *f = fd_get_path(fd);
    if (f && (load_relaxed(&f->flags) & O_PATH)) {
        file_put(f);
        return NULL;
    }
    return f;
}

// ---- Writers ------------------------------------------------------------------------------------

static void fdarray_free_rcu(struct rcu_head *head)
{
    kfree(container_of(head, struct fdarray, rcu));
}

// Make room for descriptor fd.
static int files_grow_locked(struct files *t, unsigned fd)
{
    struct fdarray *old = load_relaxed(&t->array), *a;
    u64 *cloexec = t->cloexec, *reserved = t->reserved;
    unsigned size = old->size;
    if (fd < size) {
        return 0;
    }
    while (size <= fd) {
        size *= 2;
    }
    a = fdarray_new(size);
    if (!a || fdbits_set(t, size)) {
        kfree(a);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < old->size; i++) {
        store_relaxed(&a->file[i], load_relaxed(&old->file[i]));
    }
    memcpy(t->cloexec, cloexec, old->size / 8);
    memcpy(t->reserved, reserved, old->size / 8);
    kfree(cloexec);
    rcu_assign_pointer(&t->array, a);
    call_rcu(&old->rcu, fdarray_free_rcu);
    return 0;
}

static bool bit_get(const u64 *bits, unsigned fd)
{
    return (bits[fd / 64] >> (fd % 64)) & 1;
}

static void bit_set(u64 *bits, unsigned fd, bool on)
{
    u64 bit = 1ull << (fd % 64);
    bits[fd / 64] = on ? bits[fd / 64] | bit : bits[fd / 64] & ~bit;
}

// Put f into slot fd, which exists; what was there.
static struct file *slot_set_locked(struct files *t, unsigned fd, struct file *f, u32 fd_flags)
{
    struct fdarray *a = load_relaxed(&t->array);
    struct file *old = load_relaxed(&a->file[fd]);
    rcu_assign_pointer(&a->file[fd], f);
    bit_set(t->cloexec, fd, f && (fd_flags & O_CLOEXEC));
    if (!f) {
        t->first_free = min(t->first_free, fd);
    }
    return old;
}

static unsigned fd_limit(void)
{
    u64 limit = current_process() ? process_rlimit(RLIMIT_NOFILE) : FDS_MAX;
    return (unsigned)min(limit, (u64)FDS_MAX);
}

// The lowest free slot from `lowest` on: it is there, and the caller fills or reserves it. -EMFILE,
// -ENOMEM.
static int slot_find_locked(struct files *t, unsigned lowest, unsigned limit)
{
    struct fdarray *a = load_relaxed(&t->array);
    unsigned fd = max(lowest, t->first_free);
    while (fd < a->size && (load_relaxed(&a->file[fd]) || bit_get(t->reserved, fd))) {
        fd++;
    }
    int err = fd >= limit ? -EMFILE : files_grow_locked(t, fd);
    if (err) {
        return err;
    }
    t->first_free = lowest <= t->first_free ? fd + 1 : t->first_free;
    return (int)fd;
}

int files_install(struct files *t, struct file *f, unsigned lowest, u32 fd_flags)
{
    unsigned limit = fd_limit();
    mutex_lock(&t->lock);
    int fd = slot_find_locked(t, lowest, limit);
    if (fd >= 0) {
        slot_set_locked(t, (unsigned)fd, f, fd_flags);
    }
    mutex_unlock(&t->lock);
    if (fd < 0) {
        file_put(f);
    }
    return fd;
}

int fd_reserve(void)
{
    struct files *t = current_process()->files;
    unsigned limit = fd_limit();
    mutex_lock(&t->lock);
    int fd = slot_find_locked(t, 0, limit);
    if (fd >= 0) {
        bit_set(t->reserved, (unsigned)fd, true);
    }
    mutex_unlock(&t->lock);
    return fd;
}

void fd_fill(int fd, struct file *f, u32 fd_flags)
{
    struct files *t = current_process()->files;
    mutex_lock(&t->lock);
    bit_set(t->reserved, (unsigned)fd, false);
    slot_set_locked(t, (unsigned)fd, f, fd_flags);
    mutex_unlock(&t->lock);
}

int fd_install(struct file *f, u32 fd_flags)
{
    return files_install(current_process()->files, f, 0, fd_flags);
}

int fd_replace(int fd, struct file *f, u32 fd_flags)
{
    struct files *t = current_process()->files;
    struct file *old = NULL;
    int err;
    if ((unsigned)fd >= fd_limit()) {
        file_put(f);
        return -EBADF;
    }
    mutex_lock(&t->lock);
    err = files_grow_locked(t, (unsigned)fd);
    if (!err && bit_get(t->reserved, (unsigned)fd)) {
        err = -EBUSY; // dup(2)
    }
    if (!err) {
        old = slot_set_locked(t, (unsigned)fd, f, fd_flags);
    }
    mutex_unlock(&t->lock);
    if (err) {
        file_put(f);
    } else if (old) {
        fd_file_put(t, old);
    }
    return err ? err : fd;
}

int fd_close(int fd)
{
    struct files *t = current_process()->files;
    struct file *old = NULL;
    mutex_lock(&t->lock);
    if ((unsigned)fd < load_relaxed(&t->array)->size) {
        old = slot_set_locked(t, (unsigned)fd, NULL, 0);
    }
    mutex_unlock(&t->lock);
    if (!old) {
        return -EBADF;
    }
    fd_file_put(t, old);
    return 0;
}

int fd_cloexec(int fd, int set)
{
    struct files *t = current_process()->files;
    int r = -EBADF;
    mutex_lock(&t->lock);
    struct fdarray *a = load_relaxed(&t->array);
    if ((unsigned)fd < a->size && load_relaxed(&a->file[fd])) {
        r = bit_get(t->cloexec, (unsigned)fd);
        if (set >= 0) {
            bit_set(t->cloexec, (unsigned)fd, set);
        }
    }
    mutex_unlock(&t->lock);
    return r;
}

void files_close_on_exec(struct files *t)
{
    unsigned fd = 0;
    for (;;) {
        struct file *f = NULL;
        mutex_lock(&t->lock);
        unsigned size = load_relaxed(&t->array)->size;
        for (; fd < size && !f; fd++) {
            if (bit_get(t->cloexec, fd)) {
                f = slot_set_locked(t, fd, NULL, 0);
            }
        }
        mutex_unlock(&t->lock);
        if (!f) {
            return;
        }
        fd_file_put(t, f);
        cond_resched();
    }
}

// ---- close_range --------------------------------------------------------------------------------

#define CLOSE_RANGE_UNSHARE 2u
#define CLOSE_RANGE_CLOEXEC 4u

// The first open descriptor in [from, last], closed or marked; -1: none is left.
static int range_step(struct files *t, unsigned from, unsigned last, bool mark)
{
    struct file *f = NULL;
    int fd = -1;
    mutex_lock(&t->lock);
    struct fdarray *a = load_relaxed(&t->array);
    for (unsigned i = from; i <= last && i < a->size; i++) {
        if (load_relaxed(&a->file[i])) {
            fd = (int)i;
            break;
        }
    }
    if (fd >= 0 && mark) {
        bit_set(t->cloexec, (unsigned)fd, true);
    } else if (fd >= 0) {
        f = slot_set_locked(t, (unsigned)fd, NULL, 0);
    }
    mutex_unlock(&t->lock);
    if (f) {
        fd_file_put(t, f);
    }
    return fd;
}

s64 sys_close_range(const u64 *a)
{
    unsigned first = (unsigned)a[0], last = (unsigned)a[1];
    u32 flags = (u32)a[2];
    struct files *t = current_process()->files;
    if ((flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) || first > last) {
        return -EINVAL;
    }
    if ((flags & CLOSE_RANGE_UNSHARE) && files_are_shared(t)) {
        s64 err = sys_unshare((u64[]){CLONE_FILES});
        if (err) {
            return err;
        }
        t = current_process()->files;
    }
    for (int fd; (fd = range_step(t, first, last, flags & CLOSE_RANGE_CLOEXEC)) >= 0;) {
        if ((unsigned)fd == last) {
            break;
        }
        first = (unsigned)fd + 1;
        cond_resched();
    }
    return 0;
}
