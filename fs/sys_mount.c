// System call: mount.
#include <k/string.h>
#include <syscalls.h>
#include "fs_priv.h"

// What Linux programs mount at their start is there already; a fresh tmpfs is all that can be
// added.
static int mount_type(const char *type, struct inode *at)
{
    static const char *const known[] = {"proc", "sysfs", "devtmpfs", "devpts"};
    for (unsigned i = 0; i < array_size(known); i++) {
        if (strcmp(type, known[i]) == 0) {
            return at->is_root && strcmp(at->sb->type, type) == 0
                       ? -EBUSY
                       : (int)syscall_missing("mount: proc, sysfs, devtmpfs, devpts elsewhere",
                                              -ENODEV);
        }
    }
    if (strcmp(type, "tmpfs") != 0) {
        return -ENODEV;
    }
    struct inode *root = tmpfs_mount();
    if (!root) {
        return -ENOMEM;
    }
    mutex_lock(&vfs_lock);
    char *where = NULL; // kept for ever, as the mount is
    int err = dir_path_locked(at, vfs_root, &where, NULL);
    if (!err) {
        err = mount_locked(at, root, where);
    }
    mutex_unlock(&vfs_lock);
    if (err) {
        kfree(where);
        kfree(root->sb);
        inode_put(root);
    }
    return err;
}

s64 sys_mount(const u64 *a)
{
    struct inode *at;
    char *type;
    int err;
    if (a[3] & (32 | 4096 | 8192)) { // remount, bind, move
        return syscall_missing("mount: remount, bind, move", -EINVAL);
    }
    err = user_path(a[2], true, &type);
    if (err) {
        return err;
    }
    err = lookup_at(AT_FDCWD, a[1], LOOKUP_FOLLOW, &at);
    if (!err) {
        err = S_ISDIR(at->mode) ? mount_type(type, at) : -ENOTDIR;
        inode_put(at);
    }
    kfree(type);
    return err;
}
