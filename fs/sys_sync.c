// System calls: promises and advice about a file's pages. sync(2), readahead(2), posix_fadvise(2).
//
// Nothing here has a slower copy behind it, so there is nothing to write back, and what is not in
// memory costs nothing to read in. The arguments are checked as on Linux.
#include <k/string.h>
#include <syscalls.h>
#include "fs_priv.h"

#define SYNC_FILE_RANGE_ALL 7u
#define FADV_LAST           5

s64 sys_sync(const u64 *a)
{
    (void)a;
    return 0;
}

s64 sys_syncfs(const u64 *a)
{
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    file_put(f);
    return 0;
}

s64 sys_sync_file_range(const u64 *a)
{
    s64 off = (s64)a[1], len = (s64)a[2], end;
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    u32 type = f->inode->mode & S_IFMT;
    file_put(f);
    if (((u32)a[3] & ~SYNC_FILE_RANGE_ALL) || off < 0 || len < 0 ||
        __builtin_add_overflow(off, len, &end)) {
        return -EINVAL;
    }
    bool seekable = type == S_IFREG || type == S_IFBLK || type == S_IFDIR || type == S_IFLNK;
    return seekable ? 0 : -ESPIPE;
}

s64 sys_readahead(const u64 *a)
{
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    bool readable = (load_relaxed(&f->flags) & O_ACCMODE) != O_WRONLY, mapped = f->mapping != NULL;
    file_put(f);
    return !readable ? -EBADF : mapped ? 0 : -EINVAL;
}

s64 sys_fadvise64(const u64 *a)
{
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    u32 type = f->inode->mode & S_IFMT;
    file_put(f);
    if (type == S_IFIFO) {
        return -ESPIPE;
    }
    return (s64)a[2] < 0 || (u32)a[3] > FADV_LAST ? -EINVAL : 0;
}
