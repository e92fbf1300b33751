// Files, 5: mounts.
//
// Each mount is a file system of its own with its own super; there are no bind mounts. A mount
// covers a directory: look-ups step from it to the root of the other file system, which takes over
// the covered one's parent and name, so that ".." and getcwd need not know of mounts. A second
// mount on one place covers the first one's root.
//
//     new --mount--> mounted --umount, idle--> gone
//                       |                       ^
//                       +-----MNT_DETACH---> detached --found idle--+
//
// Is a file system idle? Everything in it is in memory, so it can be counted. Nobody is there
// exactly if every inode has the references of the tree itself and no more, and the super has no
// inode that is not in the tree:
//
//     a directory     its entry, or the mount, and one of each directory below it: nlink - 1
//     anything else   its names: nlink
//
// The count is made under vfs_lock. A reference that is dropped meanwhile makes it "busy" at worst;
// a new one is only made by a look-up, which needs the lock, or from another reference, which the
// count has met. A detached file system is looked at again when somebody mounts or unmounts
// something; until then a tree that nobody uses any more stays in memory. Rejected: a count of
// users per super, kept by every open and every reference to a directory, for a call that is made
// once a day.
//
// All of it is guarded by vfs_lock; sb->writers is an atomic count of the files open for writing.
#include <k/assert.h>
#include <k/string.h>
#include "fs_priv.h"

struct super *vfs_supers;
static struct super *detached; // [vfs_lock]
static u32 last_dev;           // [vfs_lock]

struct super *super_new(const char *type, u32 magic)
{
    struct super *sb = kzalloc(sizeof(*sb), GFP_KERNEL);
    if (sb) {
        sb->type = type;
        sb->magic = magic;
        store_relaxed(&sb->flags, MS_RELATIME);
    }
    return sb;
}

void super_publish_locked(struct super *sb, struct inode *root, struct inode *covered)
{
    struct super **end = &vfs_supers;
    sb->root = root;
    sb->covered = covered;
    sb->dev = ++last_dev;
    while (*end) {
        end = &(*end)->next;
    }
    *end = sb;
}

int mount_locked(struct inode *at, struct inode *root)
{
    if (at->mounted || at == vfs_root) {
        return -EBUSY;
    }
    if (load_relaxed(&at->nlink) == 0) {
        return -ENOENT;
    }
    if (!at->name) { // the root of what was detached
        return -EINVAL;
    }
    root->name = kmalloc(strlen(at->name) + 1, GFP_KERNEL);
    if (!root->name) {
        return -ENOMEM;
    }
    memcpy(root->name, at->name, strlen(at->name) + 1);
    root->parent = inode_get(at->parent);
    root->is_root = true;
    at->mounted = root;
    super_publish_locked(root->sb, root, at);
    return 0;
}

// ---- Going

void super_drop(struct inode *root)
{
    struct super *sb = root->sb;
    ramdir_tree_drop(root);
    inode_put(root);
    assert(load_relaxed(&sb->nr_inodes) == 0);
    kfree(sb->source);
    kfree(sb);
}

// Taken out of the list of what is mounted. The root is no longer below anything.
static void super_leave_locked(struct super *sb)
{
    struct inode *root = sb->root;
    sb->leaving = false;
    sb->covered->mounted = NULL;
    sb->covered = NULL;
    inode_put(root->parent);
    kfree(root->name);
    root->name = NULL; // has no path
    root->parent = root;
    root->is_root = false;
    sb->next = detached;
    detached = sb;
}

void mounts_reap_locked(void)
{
    for (struct super **p = &detached; *p;) {
        struct super *sb = *p;
        if (ramdir_tree_is_idle(sb->root, 0)) {
            *p = sb->next;
            super_drop(sb->root);
        } else {
            p = &sb->next;
        }
    }
}

// Mark sb and all that is mounted in it, however deep: 0, or -EBUSY if some of that must stay. A
// mount comes later in the list than what it is mounted in, so one pass meets them all; however
// many a program has made, this is no more.
static int mark_leaving_locked(const struct super *sb)
{
    int err = 0;
    for (struct super *s = vfs_supers; s; s = s->next) {
        s->leaving = s == sb || (s->covered && s->covered->sb->leaving);
        err = s->leaving && s->pinned ? -EBUSY : err;
    }
    return err;
}

static int detach_locked(struct super *sb)
{
    int err = mark_leaving_locked(sb);
    for (struct super **p = &vfs_supers; !err && *p;) {
        struct super *s = *p;
        if (s->leaving) {
            *p = s->next;
            super_leave_locked(s);
        } else {
            p = &s->next;
        }
    }
    return err;
}

int umount_locked(struct inode *root, bool lazy)
{
    struct super *sb = root->sb;
    int err = 0;
    if (!root->is_root || root == vfs_root) {
        err = -EINVAL;
    } else if (lazy) {
        err = detach_locked(sb);
    } else if (sb->pinned || !ramdir_tree_is_idle(root, 1)) {
        err = -EBUSY;
    } else {
        err = detach_locked(sb); // nothing is mounted in it
    }
    return err;
}

// ---- Showing them

static const char *mount_path(const struct super *sb, struct inode *root, char **path)
{
    bool outside;
    if (dir_path_locked(sb->root, root, path, &outside)) {
        *path = NULL;
        return NULL;
    }
    return outside ? NULL : *path;
}

// Spaces and the like as \040, so that a line has its fields where they belong.
static size_t escaped_add(char *buf, size_t size, size_t n, const char *text)
{
    for (; *text; text++) {
        bool odd = *text == ' ' || *text == '\t' || *text == '\n' || *text == '\\';
        n = text_add(buf, size, n, odd ? "\\%03o" : "%c", (unsigned char)*text);
    }
    return n;
}

static size_t flags_add(char *buf, size_t size, size_t n, unsigned flags)
{
    static const struct {
        unsigned flag;
        const char *name;
    } names[] = {{MS_NOSUID, ",nosuid"},         {MS_NODEV, ",nodev"},
                 {MS_NOEXEC, ",noexec"},         {MS_NOATIME, ",noatime"},
                 {MS_NODIRATIME, ",nodiratime"}, {MS_RELATIME, ",relatime"}};
    n = text_add(buf, size, n, flags & MS_RDONLY ? "ro" : "rw");
    for (unsigned i = 0; i < array_size(names); i++) {
        n = flags & names[i].flag ? text_add(buf, size, n, "%s", names[i].name) : n;
    }
    return n;
}

static size_t options_add(char *buf, size_t size, size_t n, const struct super *sb)
{
    return sb->options ? sb->options(sb, buf, size, n) : n;
}

static size_t mount_line(char *buf, size_t size, size_t n, const struct super *sb, const char *path)
{
    unsigned flags = load_relaxed(&sb->flags);
    n = escaped_add(buf, size, n, sb->source ? sb->source : sb->type);
    n = text_add(buf, size, n, " ");
    n = escaped_add(buf, size, n, path);
    n = text_add(buf, size, n, " %s ", sb->type);
    n = flags_add(buf, size, n, flags);
    n = options_add(buf, size, n, sb);
    return text_add(buf, size, n, " 0 0\n");
}

static size_t mountinfo_line(char *buf, size_t size, size_t n, const struct super *sb,
                             const char *path)
{
    unsigned flags = load_relaxed(&sb->flags);
    // The root's parent is what Linux shows of its first mount.
    n = text_add(buf, size, n, "%u %u 0:%u / ", sb->dev, sb->covered ? sb->covered->sb->dev : 0,
                 sb->dev);
    n = escaped_add(buf, size, n, path);
    n = text_add(buf, size, n, " ");
    n = flags_add(buf, size, n, flags);
    n = text_add(buf, size, n, " - %s ", sb->type);
    n = escaped_add(buf, size, n, sb->source ? sb->source : sb->type);
    n = text_add(buf, size, n, flags & MS_RDONLY ? " ro" : " rw");
    n = options_add(buf, size, n, sb);
    return text_add(buf, size, n, "\n");
}

size_t mounts_text(char *buf, size_t size, bool info)
{
    struct inode *root = root_get();
    size_t n = 0;
    mutex_lock(&vfs_lock);
    for (struct super *sb = vfs_supers; sb; sb = sb->next) {
        char *path;
        const char *below = mount_path(sb, root, &path);
        if (below) {
            n = info ? mountinfo_line(buf, size, n, sb, below)
                     : mount_line(buf, size, n, sb, below);
        }
        kfree(path);
    }
    mutex_unlock(&vfs_lock);
    inode_put(root);
    return n;
}
