// Directories in memory, whole trees, for umount: is anybody there, and away with them. Breadth
// first, without recursion: a directory that is still to be looked at is in a list of those. The
// namespace is locked (vfs_lock); fs/mount.c says what idle means.
#include <k/list.h>
#include <sched.h>
#include "ramdir_priv.h"

static u32 last_scan; // [vfs_lock]

static void todo_add(struct list *todo, struct inode *dir)
{
    list_add_tail(todo, &((struct ramdir *)dir->private)->todo);
}

static struct inode *todo_take(struct list *todo)
{
    struct ramdir *d = list_first(todo, struct ramdir, todo);
    if (d) {
        list_del(&d->todo);
    }
    return d ? d->inode : NULL;
}

static bool inode_is_idle(struct inode *i, int extra)
{
    int own = (int)load_relaxed(&i->nlink) - (S_ISDIR(i->mode) ? 1 : 0);
    if (load_relaxed(&i->notify) & NOTIFY_SELF) {
        return !i->mounted && notify_has_refs(i, own + extra);
    }
    return !i->mounted && load_acquire(&i->ref) == own + extra; /* pairs with inode_put */
}

bool ramdir_tree_is_idle(struct inode *root, int extra)
{
    struct list todo = LIST_INIT(todo);
    unsigned long found = 1;
    struct inode *dir;
    bool idle = inode_is_idle(root, extra);
    u32 scan = ++last_scan;
    if (!is_ramdir(root)) {
        return false;
    }
    todo_add(&todo, root);
    while ((dir = todo_take(&todo)) != NULL) {
        struct ramdir *d = dir->private;
        struct entry *e;
        ramdir_for_each (e, d) {
            struct inode *i = e->inode;
            if (i->scan == scan) {
                continue; // another name of it
            }
            i->scan = scan;
            found++;
            cond_resched();
            idle = idle && inode_is_idle(i, 0);
            if (is_ramdir(i)) {
                todo_add(&todo, i);
            }
        }
    }
    return idle && load_relaxed(&root->sb->nr_inodes) == found;
}

void ramdir_tree_drop(struct inode *root)
{
    struct list todo = LIST_INIT(todo);
    struct inode *dir;
    notify_unmounted(root);
    todo_add(&todo, inode_get(root));
    while ((dir = todo_take(&todo)) != NULL) {
        struct ramdir *d = dir->private;
        struct entry *e;
        while ((e = d->newest[0]) != NULL) {
            if (is_ramdir(e->inode)) {
                todo_add(&todo, inode_get(e->inode)); // until its own entries are gone
            }
            entry_unlink(d, e);
            notify_unmounted(e->inode);
            inode_put(e->inode);
            kfree(e);
            cond_resched();
        }
        inode_put(dir);
    }
}
