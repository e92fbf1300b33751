// Open files that no path leads to: what eventfd, timerfd, signalfd and epoll return.
//
// They share one inode, which has a mode and times for fstat and nothing else; what they are is in
// file->private and in their operations. Sockets have an inode each.
#include <k/assert.h>
#include <k/string.h>
#include "fs_priv.h"

static struct super anon_super = {.type = "anon_inodefs", .magic = 0x09041934};
static struct inode *anon_inode;

void anon_file_init(void)
{
    anon_inode = inode_new(&anon_super, 0600); // no type: Linux shows it so
    assert(anon_inode);
}

int anon_file_open(const char *name, const struct file_ops *ops, unsigned flags, void *private,
                   struct file **out)
{
    size_t n = strlen(name) + 1;
    char *path = kmalloc(n, GFP_KERNEL);
    if (path) {
        memcpy(path, name, n);
    }
    return file_open_ops(anon_inode, ops, flags, path, private, out);
}

s64 anon_fd_open(const char *name, const struct file_ops *ops, unsigned flags, void *private,
                 void (*undo)(void *))
{
    struct file *f;
    int err = anon_file_open(name, ops, flags & ~(unsigned)O_CLOEXEC, private, &f);
    if (err) {
        undo(private);
        return err;
    }
    return fd_install(f, flags & O_CLOEXEC);
}

static struct super sock_super = {.type = "sockfs", .magic = 0x534f434b};

int sock_file_open(const struct file_ops *ops, unsigned flags, void *private, struct file **out)
{
    struct inode *i = inode_new(&sock_super, S_IFSOCK | 0777);
    char *path = i ? kmalloc(32, GFP_KERNEL) : NULL;
    if (!i) {
        return -ENOMEM;
    }
    inode_set_owner(i, NULL);
    if (path) {
        text_add(path, 32, 0, "socket:[%lu]", i->ino);
    }
    int err = file_open_ops(i, ops, flags, path, private, out);
    inode_put(i);
    return err;
}
