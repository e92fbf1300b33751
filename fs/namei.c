// Files, 3: walking paths.
//
// A walk holds vfs_lock from walk_begin to walk_end, so what it finds stays as found until the
// caller has acted on it: create, unlink and rename need no second look. It stops before the last
// component, because each caller does something else with it; walk_last looks that one up.
//
//     /usr/bin/cc        dir = /usr/bin, name = "cc"
//     lib/               dir = current,  name = "lib", trailing
//     /  .  ..  a/..     dir = the directory itself, dots: nothing to create or remove there
//
// A symbolic link puts its target in front of what is left of the path, in one buffer. 40 links are
// followed at most. Both dir and the results are counted: /proc makes inodes as they are looked up.
//
// "/" is the root of the process, which chroot sets; ".." there leads nowhere else. openat2 may
// bound a walk further (RESOLVE_*): its start is then the root, or nothing may lead out of it. A
// mount is told by its super: each has one.

#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include "fs_priv.h"

#define WALK_BUF  (2 * PATH_MAX_LEN)
#define LINKS_MAX 40

void walk_cross_mounts(struct inode **i)
{
    if ((*i)->mounted) {
        struct inode *root = inode_get((*i)->mounted->sb->stack->top);
        inode_put(*i);
        *i = root;
    }
}

struct inode *cwd_get(void)
{
    struct process *p = current_process();
    struct inode *cwd;
    if (!p) {
        return inode_get(vfs_root);
    }
    mutex_lock(&p->fs->lock);
    cwd = inode_get(p->fs->cwd ? p->fs->cwd : vfs_root);
    mutex_unlock(&p->fs->lock);
    return cwd;
}

struct inode *root_get(void)
{
    struct process *p = current_process();
    struct inode *root;
    if (!p || !p->fs) { // boot; the last thread may look up on its way out
        return inode_get(vfs_root);
    }
    mutex_lock(&p->fs->lock);
    root = inode_get(p->fs->root ? p->fs->root : vfs_root);
    mutex_unlock(&p->fs->lock);
    return root;
}

static void walk_set_dir(struct walk *w, struct inode *dir) // takes the reference over
{
    inode_put(w->dir);
    w->dir = dir;
}

// The next component into w->name, empty if there is none. last: nothing but slashes follows it.
static int walk_next_name(struct walk *w, bool *last)
{
    const char *p = w->rest;
    size_t len = 0;
    while (*p == '/') {
        p++;
    }
    while (p[len] && p[len] != '/') {
        len++;
    }
    if (len > NAME_MAX_LEN) {
        return -ENAMETOOLONG;
    }
    memcpy(w->name, p, len);
    w->name[len] = '\0';
    p += len;
    w->trailing = *p == '/';
    while (*p == '/') {
        p++;
    }
    *last = *p == '\0';
    w->rest += p - (const char *)w->rest;
    return 0;
}

// Is `dir` where ".." leads no further: the root of the walk, or what is mounted on it? Whoever
// held the root before the mount walks below it and comes up, by "a/..", in the mounted one.
static bool at_root(const struct walk *w)
{
    return dir_is_or_covers(w->dir, w->root);
}

static bool name_is_dots(const char *name)
{
    return name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

// Look w->name up in w->dir.
static int walk_lookup(struct walk *w, struct inode **out)
{
    if (!S_ISDIR(w->dir->mode)) {
        return -ENOTDIR;
    }
    bool dotdot = strcmp(w->name, "..") == 0;
    bool stays = name_is_dots(w->name) && (!dotdot || at_root(w));
    if (dotdot && stays && (w->resolve & RESOLVE_BENEATH)) {
        return -EXDEV;
    }
    if (stays) {
        *out = inode_get(w->dir);
        return 0;
    }
    int err = 0;
    if (dotdot) {
        *out = inode_get(w->dir->parent);
    } else {
        err = w->dir->ops->lookup(w->dir, w->name, out);
    }
    if (err) {
        return err;
    }
    walk_cross_mounts(out);
    if ((w->resolve & RESOLVE_NO_XDEV) && (*out)->sb != w->dir->sb) {
        inode_put(*out);
        return -EXDEV;
    }
    return 0;
}

// May a link's target at the root be gone to?
static int walk_to_root_check(const struct walk *w)
{
    bool leaves = w->resolve & RESOLVE_BENEATH;
    leaves |= (w->resolve & RESOLVE_NO_XDEV) && w->root->sb != w->dir->sb;
    return leaves ? -EXDEV : 0;
}

// In a directory where everybody may leave links and nobody may remove another's, the last name of
// a path is not followed through a link that neither the caller nor the directory's owner has left:
// a program that writes to a well-known name in /tmp is not led elsewhere (protected_symlinks of
// proc_sys_fs(5), which all distributions set).
static int link_may_lead(const struct walk *w, const struct inode *link)
{
    bool public = (w->dir->mode & (S_ISVTX | S_IWOTH)) == (S_ISVTX | S_IWOTH);
    return public && link->uid != w->dir->uid && link->uid != creds_now().fsuid ? -EACCES : 0;
}

// Continue with the target of a link found in w->dir.
static int walk_follow(struct walk *w, struct inode *link)
{
    char *target;
    ssize_t n = -EINVAL;
    if (++w->links > LINKS_MAX || (w->resolve & RESOLVE_NO_SYMLINKS)) {
        return -ELOOP;
    }
    target = kmalloc(PATH_MAX_LEN, GFP_KERNEL);
    if (!target) {
        return -ENOMEM;
    }
    if (link->ops && link->ops->readlink) {
        n = link->ops->readlink(link, target, PATH_MAX_LEN);
    }
    size_t left = strlen(w->rest) + w->trailing;
    if (n >= 0 && (size_t)n + left + 2 > WALK_BUF) {
        n = -ENAMETOOLONG;
    }
    if (n == 0) {
        n = -ENOENT;
    }
    if (n > 0 && target[0] == '/') {
        int err = walk_to_root_check(w);
        n = err ? err : n;
    }
    if (n > 0) {
        char *rest = w->rest - w->trailing; // a slash was there
        memmove(w->buf + n, rest, left + 1);
        memcpy(w->buf, target, (size_t)n);
        w->rest = w->buf;
        if (target[0] == '/') {
            walk_set_dir(w, inode_get(w->root));
        }
    }
    kfree(target);
    return n < 0 ? (int)n : 0;
}

// The put is the later one: the namespace is locked.
static void via_put(struct file **via)
{
    if (*via) {
        file_put_later(*via);
        *via = NULL;
    }
}

// *i is a link that stands for a file: replace it by that. *via: see struct walk; to be put, also
// on error.
static int walk_jump(const struct walk *w, struct inode **i, struct file **via)
{
    struct inode *link = *i;
    *via = NULL;
    int err = w->resolve & (RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS) ? -ELOOP : 0;
    if (!err) {
        err = link->ops->follow(link, i, via);
    }
    if (!err && ((w->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) ||
                 ((w->resolve & RESOLVE_NO_XDEV) && (*i)->sb != w->dir->sb))) {
        inode_put(*i);
        err = -EXDEV;
    }
    inode_put(link);
    return err;
}

static bool link_jumps(const struct inode *i)
{
    return S_ISLNK(i->mode) && i->ops && i->ops->follow;
}

// May names be looked up in the directory that the walk has come to?
static int walk_may_search(const struct walk *w)
{
    return w->resolve & WALK_REAL ? inode_permission_real(w->dir, MAY_EXEC)
                                  : inode_permission(w->dir, MAY_EXEC);
}

// Up to the last component, in whose directory the caller may look up.
static int walk_parent(struct walk *w)
{
    for (;;) {
        struct inode *next;
        bool last;
        int err = walk_next_name(w, &last);
        if (!err && w->name[0] && S_ISDIR(w->dir->mode)) {
            err = walk_may_search(w);
        }
        if (err) {
            return err;
        }
        if (last) {
            w->dots = name_is_dots(w->name);
            w->dotdot = strcmp(w->name, "..") == 0;
            return S_ISDIR(w->dir->mode) ? 0 : -ENOTDIR;
        }
        err = walk_lookup(w, &next);
        if (!err && link_jumps(next)) {
            struct file *via;
            err = walk_jump(w, &next, &via);
            via_put(&via);
        }
        if (err) {
            return err;
        }
        if (S_ISLNK(next->mode)) {
            err = walk_follow(w, next);
            inode_put(next);
        } else {
            walk_set_dir(w, next);
            err = S_ISDIR(next->mode) ? 0 : -ENOTDIR;
        }
        if (err) {
            return err;
        }
    }
}

int walk_begin_locked(struct walk *w, struct inode *start, const char *path, u32 resolve)
{
    size_t len = strnlen(path, PATH_MAX_LEN);
    bool scoped = resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT);
    memset(w, 0, sizeof(*w));
    w->resolve = resolve;
    if (len == 0) {
        return -ENOENT;
    }
    if (len >= PATH_MAX_LEN) {
        return -ENAMETOOLONG;
    }
    w->buf = kmalloc(WALK_BUF, GFP_KERNEL);
    if (!w->buf) {
        return -ENOMEM;
    }
    memcpy(w->buf, path, len + 1);
    w->rest = w->buf;
    w->root = scoped ? inode_get(start) : root_get();
    w->dir = inode_get(path[0] == '/' || !start ? w->root : start);
    return path[0] == '/' && (resolve & RESOLVE_BENEATH) ? -EXDEV : walk_parent(w);
}

void walk_end_locked(struct walk *w)
{
    via_put(&w->via);
    inode_put(w->dir);
    inode_put(w->root);
    kfree(w->buf);
}

int walk_begin(struct walk *w, struct inode *start, const char *path)
{
    mutex_lock(&vfs_lock);
    return walk_begin_locked(w, start, path, 0);
}

void walk_end(struct walk *w)
{
    walk_end_locked(w);
    mutex_unlock(&vfs_lock);
}

int walk_last(struct walk *w, bool follow, struct inode **out)
{
    for (;;) {
        struct inode *i;
        int err = walk_lookup(w, &i);
        w->absent = err == -ENOENT && w->dir->sb->magic != PROC_MAGIC;
        if (!err && link_jumps(i) && (follow || w->trailing)) {
            via_put(&w->via);
            err = walk_jump(w, &i, &w->via);
        }
        if (err) {
            return err;
        }
        if (!S_ISLNK(i->mode) || !(follow || w->trailing)) {
            if (w->trailing && !S_ISDIR(i->mode)) {
                inode_put(i);
                return -ENOTDIR;
            }
            *out = i;
            return 0;
        }
        err = link_may_lead(w, i);
        err = err ? err : walk_follow(w, i);
        inode_put(i);
        if (!err) {
            err = walk_parent(w);
        }
        if (err) {
            return err;
        }
    }
}

// ---- For the calls ------------------------------------------------------------------------------

int user_path(u64 user, bool empty_ok, char **out)
{
    char *path = kmalloc(PATH_MAX_LEN, GFP_KERNEL);
    ssize_t n = path ? arch_strncpy_from_user(path, (const char *)user, PATH_MAX_LEN) : -ENOMEM;
    if (n >= PATH_MAX_LEN) {
        n = -ENAMETOOLONG;
    } else if (n == 0 && !empty_ok) {
        n = -ENOENT;
    }
    if (n < 0) {
        kfree(path);
        return (int)n;
    }
    *out = path;
    return 0;
}

int at_start(int dirfd, const char *path, struct inode **out)
{
    *out = NULL;
    return path[0] == '/' ? 0 : at_start_dir(dirfd, path[0] == '\0', out);
}

int at_start_dir(int dirfd, bool any, struct inode **out)
{
    struct file *f;
    if (dirfd == AT_FDCWD) {
        *out = cwd_get();
        return 0;
    }
    f = fd_get_path(dirfd);
    if (!f) {
        return -EBADF;
    }
    int err = any || S_ISDIR(f->inode->mode) ? 0 : -ENOTDIR;
    if (!err) {
        *out = inode_get(f->inode);
    }
    file_put(f);
    return err;
}

static int lookup_path(struct inode *start, const char *path, unsigned how, struct inode **out)
{
    struct walk w;
    mutex_lock(&vfs_lock);
    int err = walk_begin_locked(&w, start, path, how & LOOKUP_REAL ? WALK_REAL : 0);
    if (!err) {
        err = walk_last(&w, how & LOOKUP_FOLLOW, out);
    }
    walk_end(&w);
    return err;
}

int vfs_find(const char *path, struct inode **out)
{
    struct inode *start = path[0] == '/' ? NULL : cwd_get();
    int err = lookup_path(start, path, LOOKUP_FOLLOW, out);
    inode_put(start);
    return err;
}

int lookup_at(int dirfd, u64 user, unsigned how, struct inode **out)
{
    struct inode *start;
    char *path;
    int err = user_path(user, how & (LOOKUP_EMPTY | LOOKUP_LINK), &path);
    if (err) {
        return err;
    }
    err = at_start(dirfd, path, &start);
    if (!err && path[0] == '\0' && (how & LOOKUP_LINK) && !S_ISLNK(start->mode)) {
        inode_put(start);
        err = -ENOENT;
    } else if (!err && path[0] == '\0') {
        *out = start;
    } else if (!err) {
        err = lookup_path(start, path, how, out);
        inode_put(start);
    }
    kfree(path);
    return err;
}
