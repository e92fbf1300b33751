// Files, 5: mounts.
//
// Each mount is a file system of its own with its own super; there are no bind mounts. A mount
// covers a directory: look-ups step from it to the root of the other file system, which takes over
// the covered one's parent and name, so that ".." and getcwd need not know of mounts. A second
// mount on one place covers the first one's root, and so on. There may be a hundred thousand of
// these, so each of a stack knows the first, and that the last one's root: one step leads to it.
//
//     directory <--covered-- first (stack: itself, top -->) <--covered-- second ... <-- last
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
// A detached one leaves nothing mounted: each that was below it is detached for itself.
//
// All of it is guarded by vfs_lock; sb->writers is an atomic count of the files open for writing.
#include <k/assert.h>
#include <k/string.h>
#include <sched.h>
#include "fs_priv.h"

static struct list supers = LIST_INIT(supers);     // [vfs_lock] what is mounted
static struct list detached = LIST_INIT(detached); // [vfs_lock]
static unsigned nr_mounts;                         // [vfs_lock]
static u32 last_dev;                               // [vfs_lock]
atomic_uint mount_max = 100000;

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
    struct super *on = covered ? covered->sb : NULL;
    bool stacked = covered && covered->is_root;
    sb->root = root;
    sb->covered = covered;
    sb->dev = ++last_dev;
    sb->stack = stacked ? on->stack : sb;
    sb->level = stacked ? on->level + 1 : 0;
    sb->stack->top = root;
    if (on) {
        on->nr_inside++;
    }
    list_add_tail(&supers, &sb->link);
    nr_mounts++;
}

int mount_locked(struct inode *at, struct inode *root)
{
    const struct super *sb = root->sb;
    at = at->mounted ? at->mounted->sb->stack->top : at;
    if (at == vfs_root) {
        return -EBUSY;
    }
    if (load_relaxed(&at->nlink) == 0) {
        return -ENOENT;
    }
    if (!at->sb->covered && at->sb != vfs_root->sb) { // in what was detached
        return -EINVAL;
    }
    // Of all but tmpfs Linux has one and mounts it again; here it would be another one.
    if (at->is_root && strcmp(at->sb->type, sb->type) == 0 && !sb->make_file) {
        return -EBUSY;
    }
    if (nr_mounts >= load_relaxed(&mount_max)) {
        return -ENOSPC;
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
    if (sb->covered->is_root) { // of what stays, and is the last one now
        sb->stack->top = sb->covered;
    }
    sb->stack = sb;
    sb->level = 0;
    sb->top = root;
    sb->covered->sb->nr_inside--;
    sb->leaving = false;
    sb->covered->mounted = NULL;
    sb->covered = NULL;
    inode_put(root->parent);
    kfree(root->name);
    root->name = NULL; // has no path
    root->parent = root;
    root->is_root = false;
    list_del(&sb->link);
    list_add_tail(&detached, &sb->link);
    nr_mounts--;
}

void mounts_reap_locked(void)
{
    struct super *sb, *tmp;
    list_for_each_entry_safe (sb, tmp, &detached, link) {
        if (ramdir_tree_is_idle(sb->root, 0)) {
            list_del(&sb->link);
            super_drop(sb->root);
        }
    }
}

// Mark sb and all that is mounted in it, however deep: 0, or -EBUSY if some of that must stay. A
// mount comes later in the list than what it is mounted in, so one pass meets them all; however
// many a program has made, this is no more.
static int mark_leaving_locked(const struct super *sb)
{
    struct super *s;
    int err = 0;
    list_for_each_entry (s, &supers, link) {
        s->leaving = s == sb || (s->covered && s->covered->sb->leaving);
        err = s->leaving && s->pinned ? -EBUSY : err;
    }
    return err;
}

static int detach_locked(struct super *sb)
{
    struct super *s, *tmp;
    if (!sb->nr_inside && !sb->pinned) {
        super_leave_locked(sb);
        return 0;
    }
    int err = mark_leaving_locked(sb);
    if (err) {
        return err;
    }
    list_for_each_entry_safe (s, tmp, &supers, link) {
        if (s->leaving) {
            super_leave_locked(s);
        }
    }
    return 0;
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

// The numbers of the mounts grow along the list, so that of the last one shown is the position.
size_t mounts_text(u64 *pos, char *buf, size_t size, bool info)
{
    struct inode *root = root_get();
    struct super *sb;
    bool full = false;
    size_t n = 0;
    mutex_lock(&vfs_lock);
    list_for_each_entry (sb, &supers, link) {
        if (sb->dev <= *pos) {
            continue;
        }
        char *path;
        const char *below = mount_path(sb, root, &path);
        size_t end = !below ? n
                     : info ? mountinfo_line(buf, size, n, sb, below)
                            : mount_line(buf, size, n, sb, below);
        kfree(path);
        full = end >= size - 1 && n; // without a line before it a line is cut
        if (full) {
            break;
        }
        n = end;
        *pos = sb->dev;
        cond_resched();
    }
    mutex_unlock(&vfs_lock);
    inode_put(root);
    *pos = full ? *pos : ~0ull;
    return n;
}
