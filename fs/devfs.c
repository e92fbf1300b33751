// /dev: the devices without hardware, the console, and the first process's standard streams.
#include <arch/uaccess.h>
#include <hostchan.h>
#include <k/assert.h>
#include <k/string.h>
#include <proc.h>
#include <sched.h>
#include <screen.h>
#include <tty.h>
#include <uart.h>
#include "fd_priv.h"

#define CHUNK 65536u

static ssize_t null_read(struct file *f, void *user, size_t n, u64 *pos)
{
    (void)f, (void)user, (void)n, (void)pos;
    return 0;
}

// It does not look at the bytes, so they may be anybody's.
static ssize_t null_write(struct file *f, const void *user, size_t n, u64 *pos)
{
    (void)f, (void)user, (void)pos;
    return (ssize_t)n;
}

static ssize_t full_write(struct file *f, const void *user, size_t n, u64 *pos)
{
    (void)f, (void)user, (void)n, (void)pos;
    return -ENOSPC;
}

static ssize_t zero_read(struct file *f, void *user, size_t n, u64 *pos)
{
    size_t done = 0;
    (void)f, (void)pos;
    while (done < n && !(done && thread_signal_pending())) {
        size_t some = min(n - done, (size_t)CHUNK);
        size_t left = arch_clear_user((char *)user + done, some);
        done += some - left;
        if (left) {
            return done ? (ssize_t)done : -EFAULT;
        }
        cond_resched();
    }
    return (ssize_t)done;
}

static ssize_t random_read(struct file *f, void *user, size_t n, u64 *pos)
{
    u8 buf[256];
    size_t done = 0;
    (void)f, (void)pos;
    while (done < n && !(done && thread_signal_pending())) {
        size_t some = min(n - done, sizeof(buf));
        random_bytes(buf, some);
        size_t left = arch_copy_to_user((char *)user + done, buf, some);
        done += some - left;
        if (left) {
            return done ? (ssize_t)done : -EFAULT;
        }
        cond_resched();
    }
    return (ssize_t)done;
}

static int zero_mmap(struct file *f, const struct vma_ops **ops)
{
    (void)f;
    *ops = NULL; // anonymous memory
    return 0;
}

static const struct file_ops null_fops = {
    .read = null_read, .write = null_write, .write_kernel = null_write};
static const struct file_ops zero_fops = {
    .read = zero_read, .write = null_write, .mmap = zero_mmap};
static const struct file_ops full_fops = {.read = zero_read, .write = full_write};
static const struct file_ops random_fops = {.read = random_read, .write = null_write};

static const struct device {
    const char *name;
    u32 major, minor, mode;
    const struct file_ops *fops;
} devices[] = {
    {"null", 1, 3, 0666, &null_fops},           {"zero", 1, 5, 0666, &zero_fops},
    {"full", 1, 7, 0666, &full_fops},           {"random", 1, 8, 0666, &random_fops},
    {"urandom", 1, 9, 0666, &random_fops},      {"tty", 5, 0, 0666, &tty_current_fops},
    {"console", 5, 1, 0600, &tty_console_fops}, {"ttyS0", 4, 64, 0600, &tty_serial_fops},
    {"tty0", 4, 0, 0600, &tty_screen_fops},     {"tty1", 4, 1, 0600, &tty_screen_fops},
    {"ptmx", 5, 2, 0666, &ptmx_fops},           {"kmsg", 1, 11, 0644, &kmsg_fops},
};

// Programs look for a terminal by its name.
static bool device_exists(const struct device *d)
{
    return d->fops == &tty_screen_fops   ? screen_present()
           : d->fops == &tty_serial_fops ? uart_console.present
                                         : true;
}

const struct file_ops *device_fops(u64 rdev)
{
    for (unsigned i = 0; i < array_size(devices); i++) {
        if (makedev(devices[i].major, devices[i].minor) == rdev) {
            return devices[i].fops;
        }
    }
    return NULL;
}

static struct inode *stream_inode(struct super *sb, u64 stream)
{
    struct inode *i = inode_new(sb, S_IFIFO | (stream == 0 ? 0400 : 0200));
    if (i) {
        i->fops = &hoststream_fops;
        i->data = stream;
    }
    return i;
}

static int devfs_fill(struct inode *root)
{
    static const char *const stream_names[] = {"hostin", "hostout", "hosterr"};
    int err = 0;
    for (unsigned i = 0; i < array_size(devices) && !err; i++) {
        const struct device *d = &devices[i];
        if (!device_exists(d)) {
            continue;
        }
        struct inode *node = inode_new(root->sb, S_IFCHR | d->mode);
        if (!node) {
            return -ENOMEM;
        }
        node->rdev = makedev(d->major, d->minor);
        node->fops = d->fops;
        err = ramdir_add(root, d->name, node);
    }
    for (unsigned i = 0; i < 3 && !err && hostchan_present(); i++) {
        struct inode *node = stream_inode(root->sb, i);
        err = node ? ramdir_add(root, stream_names[i], node) : -ENOMEM;
    }
    static const char *const links[][2] = {{"fd", "/proc/self/fd"},
                                           {"stdin", "/proc/self/fd/0"},
                                           {"stdout", "/proc/self/fd/1"},
                                           {"stderr", "/proc/self/fd/2"}};
    for (unsigned i = 0; i < array_size(links) && !err; i++) {
        struct inode *node = symlink_new(root->sb, links[i][1]);
        err = node ? ramdir_add(root, links[i][0], node) : -ENOMEM;
    }
    struct inode *pts = err ? NULL : ramdir_new(root->sb, 0755, false);
    err = pts ? ramdir_add(root, "pts", pts) : -ENOMEM;
    struct inode *shm = err ? NULL : ramdir_new(root->sb, 01777, false);
    return shm ? ramdir_add(root, "shm", shm) : -ENOMEM;
}

struct inode *devfs_mount(void)
{
    struct inode *root = tmpfs_mount(); // files may be made here too: /dev/shm
    if (!root) {
        return NULL;
    }
    root->sb->type = "devtmpfs";
    root->mode = S_IFDIR | 0755;
    if (devfs_fill(root)) {
        super_drop(root);
        return NULL;
    }
    return root;
}

int fs_open_stdio(struct files *files)
{
    static const char *const host[] = {"/dev/hostin", "/dev/hostout", "/dev/hosterr"};
    for (unsigned i = 0; i < 3; i++) {
        struct file *f;
        bool chan = hostchan_present();
        unsigned mode = !chan ? O_RDWR : i == 0 ? O_RDONLY : O_WRONLY;
        int err = vfs_open(chan ? host[i] : "/dev/console", mode, 0, &f);
        if (!err) {
            err = files_install(files, f, i, 0);
        }
        if (err < 0) {
            return err;
        }
    }
    return 0;
}
