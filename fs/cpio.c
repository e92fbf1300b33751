// The initramfs: a cpio archive ("newc") unpacked into the root file system.
//
//     "070701" 13 fields of 8 hex digits | name NUL | pad to 4 | data | pad to 4 | next ...
//     TRAILER!!!
//
// The archive is input from outside: every length is compared with what is left before it is used,
// and a bad record ends the unpacking with a message that says where, keeping what came before. One
// record that cannot be made (a kind of file we lack, a name that is taken) is reported and left
// out.
//
// Linux concatenates archives with zeroes between; so do we: after a trailer, zeroes are skipped
// and another archive may follow. Hard links: only the last record of a group has the data, the
// others are empty; we make a separate empty file for those and say so, as no tool of ours writes
// them.
#include <k/printk.h>
#include <k/string.h>
#include <page.h>
#include <sched.h>
#include <uapi/time.h>
#include "fs_priv.h"

#define HEADER_LEN  110
#define FIELD_MODE  1
#define FIELD_UID   2
#define FIELD_GID   3
#define FIELD_NLINK 4
#define FIELD_MTIME 5
#define FIELD_SIZE  6
#define FIELD_RMAJ  9
#define FIELD_RMIN  10
#define FIELD_NAME  11
#define NR_FIELDS   13

struct record {
    u32 field[NR_FIELDS];
    const char *name; // with its NUL
    const u8 *data;
    size_t len; // of the data
};

static bool hex8(const u8 *s, u32 *out)
{
    u32 v = 0;
    for (int i = 0; i < 8; i++) {
        u8 c = s[i], d;
        if (c >= '0' && c <= '9') {
            d = (u8)(c - '0');
        } else if ((c | 32) >= 'a' && (c | 32) <= 'f') {
            d = (u8)((c | 32) - 'a' + 10);
        } else {
            return false;
        }
        v = v << 4 | d;
    }
    *out = v;
    return true;
}

// The record at *at, which moves behind it; NULL: good, or what is wrong.
static const char *record_read(const u8 *data, size_t len, size_t *at, struct record *r)
{
    const u8 *h = data + *at;
    size_t left = len - *at, name_end, data_end;
    if (left < HEADER_LEN) {
        return "cut off in a header";
    }
    if (memcmp(h, "070701", 6) != 0 && memcmp(h, "070702", 6) != 0) {
        return "no \"newc\" header";
    }
    for (unsigned i = 0; i < NR_FIELDS; i++) {
        if (!hex8(h + 6 + 8 * i, &r->field[i])) {
            return "a header field is not a number";
        }
    }
    // No sum below can wrap: each is of 32-bit numbers.
    if (r->field[FIELD_NAME] == 0 || r->field[FIELD_NAME] > PATH_MAX_LEN) {
        return "bad length of a name";
    }
    name_end = HEADER_LEN + r->field[FIELD_NAME];
    if (name_end > left) {
        return "cut off in a name";
    }
    r->name = (const char *)h + HEADER_LEN;
    if (h[name_end - 1] != '\0' || strlen(r->name) + 1 != r->field[FIELD_NAME]) {
        return "a name that does not end where it should";
    }
    r->len = r->field[FIELD_SIZE];
    data_end = align_up(name_end, 4) + r->len;
    if (data_end > left) {
        return "cut off in a file's data";
    }
    r->data = h + align_up(name_end, 4);
    *at += min(align_up(data_end, 4), left);
    return NULL;
}

static int file_fill(struct inode *i, const struct record *r)
{
    size_t done = 0;
    if (!i->mapping.ops) {
        return r->len ? -EINVAL : 0;
    }
    while (done < r->len) {
        size_t some = min(r->len - done, (size_t)(1u << 20));
        ssize_t n = mapping_write_kernel(&i->mapping, done, r->data + done, some);
        if (n <= 0) {
            return n ? (int)n : -EIO;
        }
        done += (size_t)n;
        cond_resched();
    }
    return 0;
}

// A second file of the same name replaces the first; a directory that exists gets the mode, and
// what is mounted here stays whatever the archive has in its place.
static int node_make(struct walk *w, const struct record *r, const char *target, struct inode **out)
{
    u32 mode = r->field[FIELD_MODE];
    int err = walk_last(w, false, out);
    if (!err && S_ISDIR((*out)->mode)) {
        if (S_ISDIR(mode)) {
            (*out)->mode = S_IFDIR | (mode & 07777);
            return 0;
        }
        if ((*out)->is_root) { // debootstrap without rights to mount has /proc a link to itself
            printk("initramfs: %s is mounted already: the archive's stays out\n", r->name);
            inode_put(*out);
            *out = NULL;
            return 0;
        }
        err = -EISDIR;
    } else if (!err) {
        err = w->dir->ops->unlink ? w->dir->ops->unlink(w->dir, w->name, *out) : -EPERM;
    } else if (err == -ENOENT && w->absent) {
        if (!w->dir->ops->create) {
            return -EPERM;
        }
        return w->dir->ops->create(w->dir, w->name, mode & (S_IFMT | 07777),
                                   makedev(r->field[FIELD_RMAJ], r->field[FIELD_RMIN]), target,
                                   out);
    } else {
        return err;
    }
    inode_put(*out);
    *out = NULL;
    return err ? err : node_make(w, r, target, out);
}

static int record_unpack(const struct record *r)
{
    u32 type = r->field[FIELD_MODE] & S_IFMT;
    char *target = NULL;
    struct inode *i = NULL;
    struct walk w;
    if (type == S_IFLNK) {
        if (r->len == 0 || r->len >= PATH_MAX_LEN) {
            return -ENAMETOOLONG;
        }
        target = kmalloc(r->len + 1, GFP_KERNEL);
        if (!target) {
            return -ENOMEM;
        }
        memcpy(target, r->data, r->len);
        target[r->len] = '\0';
    }
    int err = walk_begin(&w, NULL, r->name); // from the root, whether the name starts with / or not
    if (!err && w.dots) {
        err = strcmp(w.name, "..") == 0 ? -EINVAL : 0;
    } else if (!err) {
        err = node_make(&w, r, target, &i);
    }
    walk_end(&w);
    if (!err && i && S_ISREG(i->mode)) {
        if (r->field[FIELD_NLINK] > 1) {
            printk("initramfs: %s: hard links become separate files\n", r->name);
        }
        err = file_fill(i, r);
        tmpfs_count(i); // also what came of a file that could not be had whole
    }
    if (!err && i) {
        i->uid = r->field[FIELD_UID]; // nobody else knows it yet
        i->gid = r->field[FIELD_GID];
        if (r->field[FIELD_MTIME]) { // 0: our tools know no time for it
            store_relaxed(&i->mtime_ns, (u64)r->field[FIELD_MTIME] * NSEC_PER_SEC);
        }
    }
    inode_put(i);
    kfree(target);
    return err;
}

int cpio_unpack(const void *archive, size_t len, void (*used)(size_t upto))
{
    const u8 *data = archive;
    size_t at = 0;
    unsigned made = 0;
    int first = 0;
    bool in_archive = false;
    while (at < len) {
        struct record r;
        if (!in_archive && data[at] == 0) {
            at++;
            continue;
        }
        size_t here = at;
        const char *wrong = record_read(data, len, &at, &r);
        if (wrong) {
            printk("initramfs: %s at byte %lu of %lu\n", wrong, (unsigned long)here,
                   (unsigned long)len);
            return -EINVAL;
        }
        in_archive = strcmp(r.name, "TRAILER!!!") != 0;
        int err = in_archive ? record_unpack(&r) : 0;
        if (err) {
            printk("initramfs: cannot make %s: error %d\n", r.name, -err);
            first = first ? first : err;
        }
        made += in_archive && !err;
        if (used) {
            used(at);
        }
        cond_resched();
    }
    if (in_archive) {
        printk("initramfs: no trailer\n");
        first = first ? first : -EINVAL;
    }
    printk("initramfs: %u files, %lu KiB\n", made, (unsigned long)len >> 10);
    return first;
}
