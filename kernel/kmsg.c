// /dev/kmsg: the log as records, for dmesg and journald. See Linux's
// Documentation/ABI/testing/dev-kmsg.
//
// A record is a line of the log (kernel/klog.c), "6,SEQUENCE,MICROSECONDS,-;text". An open file
// knows which one it reads next; if that has been overwritten, the read says so once (EPIPE) and
// goes on with the oldest. What is written becomes a line of the log; all have one level there, so
// a priority in front of it is taken off.
//
// The console is slow, and it is written with interrupts off: an open file takes 10 lines in 5
// seconds, as Linux's does, and when it is closed the log says how many it left out.
#include <arch/uaccess.h>
#include <fs.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/string.h>
#include <proc.h>
#include <sched.h>
#include <slab.h>

#include "printk_priv.h"

#define TEXT_MAX 1024u

struct kmsg {
    struct mutex lock;   // RANK_SLEEP_MISC: one reader at a time
    struct klog_mark at; // [lock]; poll and who waits take a look
    struct printk_limit limit;
};

static int kmsg_open(struct inode *i, struct file *f)
{
    bool reads = (load_relaxed(&f->flags) & O_ACCMODE) != O_WRONLY;
    int err = reads ? klog_may_read() : 0;
    struct kmsg *k = err ? NULL : kzalloc(sizeof(*k), GFP_KERNEL);

    (void)i;
    if (err) {
        return err;
    }
    if (!k) {
        return -ENOMEM;
    }
    mutex_init(&k->lock, RANK_SLEEP_MISC);
    klog_seek(&k->at, KLOG_FIRST);
    f->private = k;
    return 0;
}

static void kmsg_release(struct file *f)
{
    struct kmsg *k = f->private;
    unsigned lost = printk_lost(&k->limit);

    if (lost) {
        printk("%s: %u output lines suppressed, too many at a time\n", current_thread()->name,
               lost);
    }
    kfree(k);
}

// "<6>[   12.345678] text" as a record; bytes.
static size_t record_format(const char *line, u64 seq, char *out, size_t size)
{
    const char *p = strchr(line, '[');
    u64 sec = 0, usec = 0;

    for (p = p ? p + 1 : line; *p == ' '; p++) {
    }
    sec = parse_u64(p, &p);
    usec = *p == '.' ? parse_u64(p + 1, &p) : 0;
    p = strncmp(p, "] ", 2) == 0 ? p + 2 : p;
    size_t n = (size_t)snprintf(out, size, "6,%lu,%lu,-;", seq, sec * 1000000 + usec);
    for (; *p && n + 6 < size; p++) {
        bool plain = *p >= ' ' && *p < 127 && *p != '\\';
        n += (size_t)snprintf(out + n, size - n, plain ? "%c" : "\\x%02x", (unsigned char)*p);
    }
    out[n++] = '\n';
    return n;
}

// One record: bytes, 0: there is none, -EPIPE, -EINVAL: it does not fit
// (and is read, as on Linux).
static ssize_t kmsg_take(struct kmsg *k, char *line, char *out, size_t room)
{
    mutex_lock(&k->lock);
    u64 seq = k->at.seq;
    ssize_t r = klog_record(&k->at, line, TEXT_MAX);
    mutex_unlock(&k->lock);
    if (r > 0) {
        r = (ssize_t)record_format(line, seq, out, 5 * TEXT_MAX);
    }
    return r > 0 && (size_t)r > room ? -EINVAL : r;
}

static ssize_t kmsg_read(struct file *f, void *user, size_t n, u64 *pos)
{
    struct kmsg *k = f->private;
    char *line = kmalloc(6 * TEXT_MAX, GFP_KERNEL), *out = line + TEXT_MAX;
    ssize_t r = line ? 0 : -ENOMEM;

    (void)pos;
    while (!r && (r = kmsg_take(k, line, out, n)) == 0) {
        if (load_relaxed(&f->flags) & O_NONBLOCK) {
            r = -EAGAIN;
            break;
        }
        klog_waiting();
        r = waitq_wait_signal(&klog_wait, klog_has_record(&k->at)) ? -ERESTARTSYS : 0;
    }
    if (r > 0 && arch_copy_to_user(user, out, (size_t)r)) {
        r = -EFAULT;
    }
    kfree(line);
    return r;
}

static ssize_t kmsg_write(struct file *f, const void *user, size_t n, u64 *pos)
{
    struct kmsg *k = f->private;
    char text[256], *p = text;
    const char *end;

    (void)pos;
    if (n >= sizeof(text)) {
        return -EINVAL;
    }
    if (!printk_limit(&k->limit)) {
        return (ssize_t)n; // left out, and counted
    }
    if (arch_copy_from_user(text, user, n)) {
        return -EFAULT;
    }
    text[n] = '\0';
    if (p[0] == '<') {
        parse_u64(p + 1, &end);
        p = *end == '>' && end > p + 1 ? text + (end + 1 - text) : p;
    }
    size_t len = strlen(p);
    printk("%.*s\n", (int)(len && p[len - 1] == '\n' ? len - 1 : len), p);
    return (ssize_t)n;
}

static unsigned kmsg_poll(struct file *f, struct pollq *pt)
{
    struct kmsg *k = f->private;

    if (pt) {
        klog_waiting();
        poll_wait(pt, &klog_wait);
    }
    return klog_has_record(&k->at) ? POLLIN | POLLRDNORM : 0;
}

static s64 kmsg_seek(struct file *f, s64 offset, unsigned whence)
{
    struct kmsg *k = f->private;
    s64 r = offset ? -ESPIPE : 0;

    if (!r && whence != SEEK_SET && whence != SEEK_END && whence != SEEK_DATA) {
        r = -EINVAL;
    }
    if (!r) {
        mutex_lock(&k->lock);
        klog_seek(&k->at, whence == SEEK_SET   ? KLOG_FIRST
                          : whence == SEEK_END ? KLOG_END
                                               : KLOG_CLEARED);
        mutex_unlock(&k->lock);
    }
    return r;
}

const struct file_ops kmsg_fops = {
    .read = kmsg_read,
    .write = kmsg_write,
    .poll = kmsg_poll,
    .open = kmsg_open,
    .release = kmsg_release,
    .seek = kmsg_seek,
    .stream = true,
};
