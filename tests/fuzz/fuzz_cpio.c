// Fuzzes fs/cpio.c: any bytes as an initramfs. libFuzzer, ASan and UBSan; the file system behind it
// is a stand-in that reads all it is given and now and then refuses or says "exists".
//
// SOURCES: fs/cpio.c
#include <fs.h>
#include <k/errno.h>
#include <k/printk.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../fs/fs_priv.h"
#include "fuzz_shim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *archive;
static size_t archive_len;
static unsigned nr_calls; // decides what the stand-in answers
static volatile unsigned char sink;

static void read_all(const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sink ^= ((const unsigned char *)p)[i];
    }
}

static int refuse_unlink(struct inode *dir, const char *name, struct inode *inode)
{
    (void)dir, (void)name, (void)inode;
    return nr_calls % 3 ? 0 : -EBUSY;
}

static int create(struct inode *dir, const char *name, u32 mode, u64 rdev, const char *target,
                  struct inode **out)
{
    static const struct mapping_ops some;
    (void)dir, (void)rdev;
    read_all(name, strlen(name));
    if (S_ISLNK(mode)) {
        read_all(target, strlen(target));
    }
    if (nr_calls % 11 == 10) {
        return -ENOMEM;
    }
    *out = calloc(1, sizeof(**out));
    (*out)->mode = mode;
    (*out)->ref = 1;
    (*out)->mapping.ops = S_ISREG(mode) ? &some : NULL;
    return 0;
}

static const struct inode_ops dir_ops = {.create = create, .unlink = refuse_unlink};
static struct inode root = {.mode = S_IFDIR | 0755, .ops = &dir_ops};

int walk_begin(struct walk *w, struct inode *start, const char *path)
{
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
    (void)start;
    memset(w, 0, sizeof(*w));
    nr_calls++;
    read_all(path, strlen(path) + 1);
    w->dots = !*last || !strcmp(last, ".") || !strcmp(last, "..");
    if (strlen(last) > NAME_MAX_LEN) {
        return -ENAMETOOLONG;
    }
    strcpy(w->name, last);
    w->dir = &root;
    return nr_calls % 13 ? 0 : -ENOTDIR;
}

void walk_end(struct walk *w)
{
    (void)w;
}

int walk_last(struct walk *w, bool follow, struct inode **out)
{
    static unsigned turn;
    (void)follow;
    if (++turn % 5 == 4) {
        *out = calloc(1, sizeof(**out));
        (*out)->mode = turn % 2 ? S_IFDIR : S_IFREG;
        (*out)->ref = 1;
        return 0;
    }
    w->absent = turn % 7 != 0;
    return -ENOENT;
}

void inode_put(struct inode *i)
{
    if (i && i != &root) {
        free(i);
    }
}

void tmpfs_count(struct inode *i)
{
    sink ^= (unsigned char)i->mode; // ASan sees whether it is still there
}

ssize_t mapping_write_kernel(struct mapping *m, u64 pos, const void *buf, size_t n)
{
    (void)m, (void)pos;
    // The whole of it must lie in the archive: ASan sees reads, this sees lengths.
    if ((const uint8_t *)buf < archive || n > archive_len ||
        (size_t)((const uint8_t *)buf - archive) > archive_len - n) {
        abort();
    }
    read_all(buf, n);
    return nr_calls % 17 ? (ssize_t)n : -ENOSPC;
}

void printk(const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    sink ^= (unsigned char)vsnprintf(line, sizeof(line), fmt, args); // reads what it prints
    va_end(args);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1); // to the byte, so that ASan guards the end
    memcpy(copy, data, size);
    archive = copy;
    archive_len = size;
    nr_calls = 0;
    (void)cpio_unpack(copy, size, NULL);
    free(copy);
    return 0;
}
