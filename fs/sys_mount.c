// System calls: mount, umount2.
//
// What mount knows: new file systems, a remount with other flags, and the propagation flags, of
// which only MS_PRIVATE is true here. Of the flags MS_NOATIME and MS_NODIRATIME are kept and
// shown, the others are obeyed.
#include <arch/uaccess.h>
#include <k/string.h>
#include <page.h>
#include <proc.h>
#include <syscalls.h>
#include "fs_priv.h"

#define MNT_FORCE       1u
#define MNT_DETACH      2u
#define MNT_EXPIRE      4u
#define UMOUNT_NOFOLLOW 8u

#define MS_SHOWN (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)

// ---- Options of a tmpfs: "size=10m,mode=755,uid=0"

struct options {
    u64 limit_pages, limit_inodes; // 0: none
    u32 mode, uid, gid;
    bool has_mode, has_limit, has_inodes;
};

// A number as parse_u64 knows them: "10k".
static bool scaled_parse(const char *text, u64 *out)
{
    const char *end;
    *out = parse_u64(text, &end);
    return end != text && !*end;
}

static bool size_parse(const char *text, u64 *pages)
{
    const char *end;
    u64 n = parse_u64(text, &end);
    bool percent = end != text && *end == '%';
    *pages = percent ? page_nr_total() / 100 * min(n, 1000ul) : page_align_up(n) >> PAGE_SHIFT;
    return end != text && !end[percent];
}

static bool number_parse(const char *text, unsigned base, u32 *out)
{
    u64 n = 0;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p >= (char)('0' + base) || n > ~0u) {
            return false;
        }
        n = n * base + (u64)(*p - '0');
    }
    *out = (u32)n;
    return *text && n <= ~0u;
}

static bool option_parse(char *text, struct options *o)
{
    char *value = strchr(text, '=');
    if (!value) {
        return !*text;
    }
    *value++ = '\0';
    if (strcmp(text, "size") == 0) {
        o->has_limit = true;
        return size_parse(value, &o->limit_pages);
    }
    if (strcmp(text, "mode") == 0) {
        o->has_mode = true;
        return number_parse(value, 8, &o->mode);
    }
    if (strcmp(text, "uid") == 0) {
        return number_parse(value, 10, &o->uid);
    }
    if (strcmp(text, "gid") == 0) {
        return number_parse(value, 10, &o->gid);
    }
    if (strcmp(text, "nr_blocks") == 0) {
        o->has_limit = true;
        return scaled_parse(value, &o->limit_pages);
    }
    o->has_inodes = true;
    return strcmp(text, "nr_inodes") == 0 && scaled_parse(value, &o->limit_inodes);
}

static int options_parse(char *text, struct options *o)
{
    while (text) {
        char *next = strchr(text, ',');
        if (next) {
            *next++ = '\0';
        }
        if (!option_parse(text, o)) {
            return -EINVAL;
        }
        text = next;
    }
    return 0;
}

// May a mount that is in use get these limits? As on Linux, none below what it has, and none of its
// inodes where there was none. (The pages have one always.)
static int options_check_locked(const struct super *sb, const struct options *o)
{
    bool limited = load_relaxed(&sb->limit_inodes);
    bool few = o->limit_inodes && (!limited || o->limit_inodes < super_inodes_used(sb));
    return few || !tmpfs_may_limit(sb, o->limit_pages) ? -EINVAL : 0;
}

static void options_apply(struct super *sb, const struct options *o)
{
    if (o->has_limit) {
        tmpfs_set_limit(sb, o->limit_pages);
    }
    if (o->has_inodes) {
        store_relaxed(&sb->limit_inodes, o->limit_inodes);
    }
}

// To a file system that nobody knows yet.
static void options_apply_first(struct inode *root, const struct options *o)
{
    struct super *sb = root->sb;
    options_apply(sb, o);
    sb->first_mode = o->has_mode ? o->mode & 07777 : sb->first_mode;
    root->mode = S_IFDIR | sb->first_mode;
    root->uid = sb->first_uid = o->uid;
    root->gid = sb->first_gid = o->gid;
}

// ---- mount

struct mount_args {
    char *source, *type, *data; // kernel memory; type and data may be NULL
    u64 flags;
};

static int type_new(const char *type, struct inode **root)
{
    if (strcmp(type, "tmpfs") == 0) {
        *root = tmpfs_mount();
    } else if (strcmp(type, "proc") == 0) {
        *root = procfs_mount();
    } else if (strcmp(type, "sysfs") == 0) {
        *root = sysfs_mount();
    } else if (strcmp(type, "devtmpfs") == 0) {
        *root = devfs_mount();
    } else if (strcmp(type, "devpts") == 0) {
        return (int)syscall_missing("mount: devpts elsewhere", -ENODEV);
    } else {
        return -ENODEV;
    }
    return *root ? 0 : -ENOMEM;
}

// Of a mount's flags what is kept. A remount that says nothing of access times leaves them as they
// were; elsewhere they are relative unless told otherwise.
static unsigned flags_shown(unsigned flags, bool again, unsigned was)
{
    const unsigned times = MS_NOATIME | MS_NODIRATIME | MS_RELATIME;
    if (again && !(flags & (times | MS_STRICTATIME))) {
        return (flags & MS_SHOWN & ~times) | (was & times);
    }
    if (flags & MS_STRICTATIME) {
        return flags & MS_SHOWN & ~MS_NOATIME;
    }
    return (flags & MS_SHOWN) | (flags & MS_NOATIME ? 0 : MS_RELATIME);
}

static int mount_new(struct inode *at, struct mount_args *m)
{
    struct options o = {0};
    struct inode *root;
    if (!m->type) {
        return -EINVAL;
    }
    int err = type_new(m->type, &root);
    if (err) {
        return err;
    }
    if (root->sb->make_file) { // a tmpfs; what others know of options says nothing here
        err = options_parse(m->data, &o);
    }
    if (!err) {
        if (root->sb->make_file) {
            options_apply_first(root, &o);
        }
        store_seq(&root->sb->flags, flags_shown(m->flags, false, 0));
        root->sb->source = m->source;
        m->source = NULL;
        mutex_lock(&vfs_lock);
        mounts_reap_locked();
        err = mount_locked(at, root);
        mutex_unlock(&vfs_lock);
    }
    if (err) {
        super_drop(root);
    }
    return err;
}

static int mount_again(struct inode *at, struct mount_args *m)
{
    struct super *sb = at->sb;
    struct options o = {0};
    int err = at->is_root ? 0 : -EINVAL;
    if (!err && sb->make_file) {
        err = options_parse(m->data, &o);
    }
    if (err) {
        return err;
    }
    mutex_lock(&vfs_lock);
    err = sb->make_file ? options_check_locked(sb, &o) : 0;
    if (err) {
        mutex_unlock(&vfs_lock);
        return err;
    }
    unsigned was = load_relaxed(&sb->flags), how = flags_shown(m->flags, true, was);
    store_seq(&sb->flags, how); // pairs with file_may_write
    if ((how & MS_RDONLY) && load_seq(&sb->writers)) {
        store_seq(&sb->flags, was);
        err = -EBUSY;
    } else {
        options_apply(sb, &o);
    }
    mutex_unlock(&vfs_lock);
    return err;
}

static int mount_call(struct inode *at, struct mount_args *m)
{
    u64 propagation = m->flags & (MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED);
    if (!current_has_cap(CAP_SYS_ADMIN)) {
        return -EPERM;
    }
    if (m->flags & MS_REMOUNT) {
        return mount_again(at, m);
    }
    if (m->flags & (MS_BIND | MS_MOVE)) {
        return (int)syscall_missing("mount: bind, move", -EINVAL);
    }
    if (propagation) { // nothing is propagated: private is what all are
        return !at->is_root ? -EINVAL
               : propagation != MS_PRIVATE
                   ? (int)syscall_missing("mount: shared, slave, unbindable", -EINVAL)
                   : 0;
    }
    return S_ISDIR(at->mode) ? mount_new(at, m) : -ENOTDIR;
}

// A string of user memory, to be kfree'd; NULL stays NULL.
static int user_string(u64 user, char **out)
{
    *out = NULL;
    return user ? user_path(user, true, out) : 0;
}

s64 sys_mount(const u64 *a)
{
    struct mount_args m = {.flags = a[3]};
    struct inode *at;
    if ((m.flags & 0xffff0000) == 0xc0ed0000) { // old programs say so, for a check long gone
        m.flags &= 0xffff;
    }
    int err = user_string(a[2], &m.type);
    err = err ? err : user_string(a[0], &m.source);
    err = err ? err : user_string(a[4], &m.data);
    err = err ? err : lookup_at(AT_FDCWD, a[1], LOOKUP_FOLLOW, &at);
    if (!err) {
        err = mount_call(at, &m);
        inode_put(at);
    }
    kfree(m.data);
    kfree(m.source);
    kfree(m.type);
    return err;
}

// ---- umount2

// *i is covered ("." and "/" may be): the last mount on it, as Linux has it.
static int umount_now(struct inode **i, bool lazy)
{
    mutex_lock(&vfs_lock);
    walk_cross_mounts(i);
    int err = umount_locked(*i, lazy);
    mutex_unlock(&vfs_lock);
    return err;
}

s64 sys_umount2(const u64 *a)
{
    u32 flags = (u32)a[1];
    struct inode *i;
    if ((flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW)) ||
        ((flags & MNT_EXPIRE) && (flags & (MNT_FORCE | MNT_DETACH)))) {
        return -EINVAL;
    }
    if (flags & MNT_EXPIRE) {
        return syscall_missing("umount2: MNT_EXPIRE", -EINVAL);
    }
    int err = lookup_at(AT_FDCWD, a[0], flags & UMOUNT_NOFOLLOW ? 0 : LOOKUP_FOLLOW, &i);
    if (err) {
        return err;
    }
    if (!current_has_cap(CAP_SYS_ADMIN)) {
        inode_put(i);
        return -EPERM;
    }
    if (i == vfs_root && !(flags & MNT_DETACH)) { // the root is made read-only, as on Linux
        struct mount_args m = {.flags = load_relaxed(&i->sb->flags) | MS_RDONLY};
        err = mount_again(i, &m);
        inode_put(i);
        return err;
    }
    err = umount_now(&i, flags & MNT_DETACH);
    if (err == -EBUSY) { // by mappings that were removed, whose files go a grace period later?
        rcu_barrier();
        file_put_flush();
        err = umount_now(&i, false);
    }
    inode_put(i);
    mutex_lock(&vfs_lock);
    mounts_reap_locked();
    mutex_unlock(&vfs_lock);
    return err;
}
