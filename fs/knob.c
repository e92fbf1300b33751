// Knobs: /proc/faultline/NAME, numbers and switches of the kernel as small text files.
//
// The table is filled at boot, partly before there is a file system (and by one CPU), so it is an
// array and the directory looks names up in it.
#include <k/assert.h>
#include <k/string.h>
#include "fs_priv.h"

#define KNOBS_MAX 96

struct knob {
    const char *name;
    size_t (*show)(char *buf, size_t size);
    int (*store)(const char *text);
};
static struct knob knobs[KNOBS_MAX];
static unsigned nr_knobs;

void knob_register(const char *name, size_t (*show)(char *buf, size_t size),
                   int (*store)(const char *text))
{
    assert(nr_knobs < KNOBS_MAX);
    knobs[nr_knobs++] = (struct knob){name, show, store};
}

static size_t knob_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    *pos = ~0ull;
    return knobs[i->data].show(buf, size);
}

static int knob_store(struct inode *i, const char *text)
{
    return knobs[i->data].store(text);
}

static const struct text_ops knob_rw_ops = {.chunk = knob_chunk, .store = knob_store};
static const struct text_ops knob_ro_ops = {.chunk = knob_chunk};

struct inode *knob_file_new(struct super *sb, const char *name)
{
    for (unsigned i = 0; i < nr_knobs; i++) {
        if (strcmp(knobs[i].name, name) == 0) {
            bool rw = knobs[i].store != NULL;
            return text_new(sb, rw ? 0644 : 0444, rw ? &knob_rw_ops : &knob_ro_ops, i);
        }
    }
    return NULL;
}

static int knob_dir_lookup(struct inode *dir, const char *name, struct inode **out)
{
    *out = knob_file_new(dir->sb, name);
    return *out ? 0 : -ENOENT;
}

static void knob_dir_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    for (u64 i = max(*pos, (u64)2) - 2; i < nr_knobs; i++) {
        if (!dirent_emit(sink, knobs[i].name, dir->ino, S_IFREG, i + 3)) {
            return;
        }
        *pos = i + 3;
    }
}

static const struct inode_ops knob_dir_ops = {
    .lookup = knob_dir_lookup,
    .readdir = knob_dir_readdir,
};

struct inode *knob_dir_new(struct super *sb)
{
    struct inode *i = inode_new(sb, S_IFDIR | 0555);
    if (i) {
        i->ops = &knob_dir_ops;
        i->fops = &dir_fops;
        store_relaxed(&i->nlink, 2);
    }
    return i;
}
