// What processes may share beyond memory and descriptors: the current directory with the file
// creation mask (CLONE_FS), and the signal actions (CLONE_SIGHAND without CLONE_THREAD).
//
// Both are counted by processes. A process's own threads follow p->fs and p->sighand without a
// count; others take one under p->lock, where the last thread and execve change the pointers.
#include <fs.h>
#include <k/string.h>
#include <proc.h>
#include <slab.h>

#include "proc_priv.h"

struct fs_ctx *fs_ctx_create(struct fs_ctx *from)
{
    struct fs_ctx *c = kzalloc(sizeof(*c), GFP_KERNEL);

    if (!c) {
        return NULL;
    }
    store_relaxed(&c->ref, 1);
    mutex_init(&c->lock, RANK_SLEEP_MISC);
    store_relaxed(&c->umask, from ? load_relaxed(&from->umask) : 022);
    if (from) {
        mutex_lock(&from->lock);
        c->cwd = from->cwd ? inode_get(from->cwd) : NULL;
        c->root = from->root ? inode_get(from->root) : NULL;
        mutex_unlock(&from->lock);
    }
    return c;
}

struct fs_ctx *fs_ctx_get(struct fs_ctx *c)
{
    fetch_add_relaxed(&c->ref, 1);
    return c;
}

void fs_ctx_put(struct fs_ctx *c)
{
    // Acquire and release, as in process_put.
    if (c && atomic_fetch_sub(&c->ref, 1) == 1) {
        inode_put(c->cwd);
        inode_put(c->root);
        kfree(c);
    }
}

struct sighand *sighand_create(struct sighand *from)
{
    struct sighand *h = kzalloc(sizeof(*h), GFP_KERNEL);

    if (!h) {
        return NULL;
    }
    store_relaxed(&h->ref, 1);
    spin_init(&h->lock, RANK_SIGHAND);
    if (from) {
        spin_lock(&from->lock);
        memcpy(h->action, from->action, sizeof(h->action));
        spin_unlock(&from->lock);
    }
    return h;
}

struct sighand *sighand_get(struct sighand *h)
{
    fetch_add_relaxed(&h->ref, 1);
    return h;
}

void sighand_put(struct sighand *h)
{
    if (h && atomic_fetch_sub(&h->ref, 1) == 1) { // acquire and release, as in process_put
        kfree(h);
    }
}
