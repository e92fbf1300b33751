// Files whose text is made when they are read: /proc, /sys, knobs.
//
// A source appends text from a cookie on, a buffer full at a time, so that even the longest text
// (the maps of an address space of a million ranges) needs one buffer of a few pages. An open file
// keeps the last piece and where it lies in the text; reading on makes the next piece, reading back
// starts at the beginning. All of it is under file->pos_lock, which read and write hold for these
// files.
#include <arch/uaccess.h>
#include <k/printk.h>
#include <k/string.h>
#include <sched.h>
#include "fs_priv.h"

#define PIECE     (4 * PAGE_SIZE)
#define STORE_MAX 4096

struct text_file {
    u64 start;  // position in the text of buf[0]
    size_t len; // bytes in buf
    u64 cookie; // where the source goes on; ~0: at the end
    char buf[PIECE];
};

size_t text_add(char *buf, size_t size, size_t used, const char *fmt, ...)
{
    va_list ap;
    if (used >= size) {
        return used;
    }
    va_start(ap, fmt);
    int n = vsnprintf(buf + used, size - used, fmt, ap);
    va_end(ap);
    return n < 0 ? used : min(used + (size_t)n, size - 1);
}

static int text_open(struct inode *i, struct file *f)
{
    const struct text_ops *ops = i->private;
    if ((load_relaxed(&f->flags) & O_ACCMODE) != O_RDONLY && !ops->store) {
        return -EACCES;
    }
    int err = ops->may_open ? ops->may_open(i) : 0;
    if (err) {
        return err;
    }
    struct text_file *t = kmalloc(sizeof(*t), GFP_KERNEL);
    if (!t) {
        return -ENOMEM;
    }
    t->start = t->len = t->cookie = 0;
    f->private = t;
    return 0;
}

static void text_release(struct file *f)
{
    kfree(f->private);
}

static ssize_t text_read(struct file *f, void *user, size_t n, u64 *pos)
{
    const struct text_ops *ops = f->inode->private;
    struct text_file *t = f->private;
    size_t done = 0;
    if (*pos < t->start) {
        t->start = t->len = t->cookie = 0;
    }
    while (done < n) {
        if (*pos >= t->start + t->len) {
            t->start += t->len;
            t->len = 0;
            if (t->cookie == ~0ull) {
                break;
            }
            t->len = min(ops->chunk(f->inode, &t->cookie, t->buf, PIECE), (size_t)PIECE);
            cond_resched();
            continue;
        }
        size_t off = *pos - t->start, some = min(n - done, t->len - off);
        size_t left = arch_copy_to_user((char *)user + done, t->buf + off, some);
        done += some - left;
        *pos += some - left;
        if (left) {
            return done ? (ssize_t)done : -EFAULT;
        }
    }
    return (ssize_t)done;
}

// Each write is one whole value.
static ssize_t text_write(struct file *f, const void *user, size_t n, u64 *pos)
{
    const struct text_ops *ops = f->inode->private;
    if (n >= STORE_MAX) {
        return -EINVAL;
    }
    char *text = kmalloc(n + 1, GFP_KERNEL);
    if (!text) {
        return -ENOMEM;
    }
    ssize_t r = -EFAULT;
    if (arch_copy_from_user(text, user, n) == 0) {
        size_t len = n && text[n - 1] == '\n' ? n - 1 : n;
        text[len] = '\0';
        r = ops->store(f->inode, text);
    }
    kfree(text);
    if (r) {
        return r;
    }
    *pos += n;
    return (ssize_t)n;
}

// O_TRUNC and `echo >` are harmless.
static int text_truncate(struct inode *i, u64 size)
{
    (void)i;
    (void)size;
    return 0;
}

static const struct file_ops text_fops = {
    .read = text_read,
    .write = text_write,
    .open = text_open,
    .release = text_release,
    .truncate = text_truncate,
};

struct inode *text_new(struct super *sb, u32 mode, const struct text_ops *ops, u64 data)
{
    struct inode *i = inode_new(sb, S_IFREG | mode);
    if (i) {
        i->fops = &text_fops;
        i->private = (void *)(uintptr_t)ops;
        i->data = data;
    }
    return i;
}

static size_t simple_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    size_t (*show)(char *, size_t) = (size_t(*)(char *, size_t))(uintptr_t)i->data;
    *pos = ~0ull;
    return show(buf, size);
}

struct inode *text_new_simple(struct super *sb, size_t (*show)(char *buf, size_t size))
{
    static const struct text_ops ops = {.chunk = simple_chunk};
    return text_new(sb, 0444, &ops, (uintptr_t)show);
}

size_t text_number(char *buf, size_t size, u64 v)
{
    return text_add(buf, size, 0, "%lu\n", (unsigned long)v);
}

s32 name_to_number(const char *name)
{
    s64 n = 0;
    if (!*name || (name[0] == '0' && name[1])) {
        return -1;
    }
    for (; *name; name++) {
        if (*name < '0' || *name > '9' || n > INT32_MAX) {
            return -1;
        }
        n = n * 10 + (*name - '0');
    }
    return n > INT32_MAX ? -1 : (s32)n;
}
