// Open files that no path leads to: what eventfd, timerfd, signalfd and epoll return.
//
// They share one inode, which has a mode and times for fstat and nothing else; what they are is in
// file->private and in their operations.
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
