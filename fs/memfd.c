// memfd_create: a tmpfs file without a name, and the seals that files made so may get.
// See memfd_create(2), and fcntl(2), "File sealing".
//
// inode->seals says what can never be done again; every file is born with F_SEAL_SEAL but those of
// memfd_create with MFD_ALLOW_SEALING. What the seals forbid is looked up where it happens: in
// tmpfs's write, truncate and fallocate under inode->lock, which adding a seal takes too, and in
// mmap. F_SEAL_WRITE is refused while a shared mapping can write, or is being made: mm/rmap.c.
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <syscalls.h>
#include <rmap.h>
#include "fd_priv.h"

#define MFD_CLOEXEC       0x1u
#define MFD_ALLOW_SEALING 0x2u
#define MFD_HUGETLB       0x4u
#define MFD_NOEXEC_SEAL   0x8u
#define MFD_EXEC          0x10u
#define MEMFD_NAME_MAX    249
#define ALL_SEALS                                                                                  \
    (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | F_SEAL_EXEC)

s64 sys_memfd_create(const u64 *a)
{
    u32 flags = (u32)a[1];
    struct file *f;
    if (flags & MFD_HUGETLB) {
        return syscall_missing("memfd_create: MFD_HUGETLB", -EINVAL);
    }
    if ((flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC)) ||
        (flags & (MFD_NOEXEC_SEAL | MFD_EXEC)) == (MFD_NOEXEC_SEAL | MFD_EXEC)) {
        return -EINVAL;
    }
    char *path = kmalloc(MEMFD_NAME_MAX + 32, GFP_KERNEL);
    if (!path) {
        return -ENOMEM;
    }
    memcpy(path, "/memfd:", 7);
    ssize_t n = arch_strncpy_from_user(path + 7, (const char *)a[0], MEMFD_NAME_MAX + 1);
    if (n < 0 || n > MEMFD_NAME_MAX) {
        kfree(path);
        return n < 0 ? n : -EINVAL;
    }
    memcpy(path + 7 + n, " (deleted)", sizeof(" (deleted)"));
    struct inode *i = shmem_inode_new(flags & MFD_NOEXEC_SEAL ? 0666 : 0777);
    if (!i) {
        kfree(path);
        return -ENOMEM;
    }
    u32 seals = flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) ? 0 : F_SEAL_SEAL;
    store_relaxed(&i->seals, seals | (flags & MFD_NOEXEC_SEAL ? F_SEAL_EXEC : 0));
    int err = file_open_inode(i, O_RDWR | O_LARGEFILE, path, &f);
    inode_put(i);
    return err ? err : fd_install(f, flags & MFD_CLOEXEC ? O_CLOEXEC : 0);
}

static s64 seals_add(struct file *f, u32 seals)
{
    struct inode *i = f->inode;
    unsigned mode = load_relaxed(&f->flags) & O_ACCMODE;
    s64 r = 0;
    if (mode == O_RDONLY) {
        return -EPERM;
    }
    if (seals & ~ALL_SEALS) {
        return -EINVAL;
    }
    mutex_lock(&i->lock);
    r = load_relaxed(&i->seals) & F_SEAL_SEAL ? -EPERM : rmap_seal(&i->mapping, seals);
    mutex_unlock(&i->lock);
    return r;
}

s64 memfd_fcntl(struct file *f, unsigned cmd, u64 arg)
{
    if (!f->mapping || f->inode->sb->magic != TMPFS_MAGIC) {
        return -EINVAL;
    }
    return cmd == F_GET_SEALS ? (s64)load_relaxed(&f->inode->seals) : seals_add(f, (u32)arg);
}
