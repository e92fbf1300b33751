// Unix sockets, 2: addresses.
//
// A name is bytes: a path, or, when its first byte is 0, an abstract name in a table of its own
// that no file system knows. Any user may have as many of those as descriptors, and the table is
// everybody's under a spinlock: so it is one of lists by a hash of the name, which begins with a
// random number, or one could choose names of one list.
//
// A path's socket is found through the inode that bind made there: inode->private leads to the
// socket while that lives. Both ways are guarded by names_lock; who finds a socket counts it there,
// and a released one has left both before its reference goes.
#include <k/assert.h>
#include <k/string.h>
#include <proc.h>
#include "usock.h"

static struct spinlock names_lock = SPINLOCK_INIT(RANK_SPIN_MISC);
#define ABSTRACT_BUCKETS 1024u
static struct list abstract[ABSTRACT_BUCKETS]; // [names_lock] usock.name_link; zero: not yet used
static atomic_uint last_auto;

#define PATH_AT offsetof(struct uapi_sockaddr_un, path)

struct uname *uname_get(struct uname *n)
{
    if (n) {
        fetch_add_relaxed(&n->ref, 1);
    }
    return n;
}

void uname_put(struct uname *n)
{
    if (n && atomic_fetch_sub(&n->ref, 1) == 1) { // earlier uses happen before the freeing
        kfree(n);
    }
}

static struct uname *uname_new(const char *path, u32 len, bool is_abstract)
{
    struct uname *n = kzalloc(sizeof(*n) + 1, GFP_KERNEL); // a NUL behind the longest path
    if (n) {
        store_relaxed(&n->ref, 1);
        n->len = len;
        n->abstract = is_abstract;
        memcpy(n->path, path, len);
        n->hash = is_abstract ? name_hash(n->path, n->len) : 0;
    }
    return n;
}

int uname_parse(const struct uapi_sockaddr_un *sa, s32 len, struct uname **out)
{
    if (len <= (s32)PATH_AT || len > (s32)sizeof(*sa) || sa->family != AF_UNIX) {
        return -EINVAL;
    }
    u32 n = (u32)len - (u32)PATH_AT;
    bool is_abstract = sa->path[0] == '\0';
    if (!is_abstract) {
        n = (u32)strnlen(sa->path, n);
    }
    *out = uname_new(sa->path, n, is_abstract);
    return *out ? 0 : -ENOMEM;
}

u32 uname_show(const struct uname *n, struct uapi_sockaddr_un *sa)
{
    memset(sa, 0, sizeof(*sa));
    sa->family = AF_UNIX;
    if (!n) {
        return PATH_AT;
    }
    memcpy(sa->path, n->path, n->len);
    return (u32)PATH_AT + n->len + (n->abstract ? 0 : 1); // a path with its NUL
}

static struct list *abstract_bucket_locked(const struct uname *n)
{
    struct list *b = &abstract[n->hash % ABSTRACT_BUCKETS];
    if (!b->next) {
        list_init(b);
    }
    return b;
}

static struct usock *abstract_find_locked(const struct uname *n, int type)
{
    struct usock *s;
    list_for_each_entry (s, abstract_bucket_locked(n), name_link) {
        if ((!type || s->type == type) && s->name->len == n->len &&
            memcmp(s->name->path, n->path, n->len) == 0) {
            return s;
        }
    }
    return NULL;
}

// Give an unbound socket its name (taken over). -EINVAL: it has one, -EADDRINUSE.
static int bind_abstract(struct usock *s, struct uname *n)
{
    int err = 0;
    spin_lock(&s->lock);
    spin_lock(&names_lock);
    if (s->name) {
        err = -EINVAL;
    } else if (abstract_find_locked(n, 0)) {
        err = -EADDRINUSE;
    } else {
        s->name = n;
        list_add_tail(abstract_bucket_locked(n), &s->name_link);
    }
    spin_unlock(&names_lock);
    spin_unlock(&s->lock);
    if (err) {
        uname_put(n);
    }
    return err;
}

static int bind_path(struct usock *s, struct uname *n)
{
    struct inode *i;
    u32 umask = load_relaxed(&current_process()->fs->umask);
    int err = vfs_make_node(n->path, S_IFSOCK | (0777 & ~umask), &i);
    if (err) {
        uname_put(n);
        return err == -EEXIST ? -EADDRINUSE : err;
    }
    spin_lock(&s->lock);
    spin_lock(&names_lock);
    if (s->name) {
        err = -EINVAL; // two threads bind one socket: the loser's node stays, as a dead one
    } else {
        s->name = n;
        s->inode = i;
        i->private = s;
    }
    spin_unlock(&names_lock);
    spin_unlock(&s->lock);
    if (err) {
        uname_put(n);
        inode_put(i);
    }
    return err;
}

static bool usock_has_name(struct usock *s)
{
    spin_lock(&s->lock);
    bool has = s->name != NULL;
    spin_unlock(&s->lock);
    return has;
}

int usock_autobind(struct usock *s)
{
    static const char hex[] = "0123456789abcdef";
    int err = -EADDRINUSE;
    while (err == -EADDRINUSE && !usock_has_name(s)) {
        char path[6] = {0};
        unsigned nr = fetch_add_relaxed(&last_auto, 1);
        for (unsigned i = 0; i < 5; i++) {
            path[1 + i] = hex[nr >> (4 * (4 - i)) & 15];
        }
        struct uname *n = uname_new(path, sizeof(path), true);
        if (!n) {
            return -ENOMEM;
        }
        err = bind_abstract(s, n);
        cond_resched();
    }
    return err == -EADDRINUSE || err == -EINVAL ? 0 : err; // it has one
}

int usock_bind(struct usock *s, const struct uapi_sockaddr_un *sa, s32 len)
{
    struct uname *n;
    if (len == (s32)PATH_AT && sa->family == AF_UNIX) {
        return usock_autobind(s);
    }
    int err = uname_parse(sa, len, &n);
    if (!err && usock_has_name(s)) {
        uname_put(n);
        err = -EINVAL;
    }
    return err ? err : n->abstract ? bind_abstract(s, n) : bind_path(s, n);
}

int usock_find(const struct uname *n, struct usock **out)
{
    struct inode *i = NULL;
    int err = n->abstract ? 0 : vfs_find(n->path, &i);
    err = err || n->abstract ? err : inode_permission(i, MAY_WRITE);
    if (err) {
        inode_put(i);
        return err;
    }
    spin_lock(&names_lock);
    struct usock *s = n->abstract ? abstract_find_locked(n, 0) : NULL;
    if (i && S_ISSOCK(i->mode)) {
        s = i->private;
    }
    *out = s ? usock_get(s) : NULL;
    spin_unlock(&names_lock);
    inode_put(i);
    return s ? 0 : -ECONNREFUSED;
}

void usock_unname(struct usock *s)
{
    spin_lock(&names_lock);
    struct inode *i = s->inode;
    if (i) {
        i->private = NULL;
        s->inode = NULL;
    }
    list_del(&s->name_link);
    spin_unlock(&names_lock);
    inode_put(i);
}
