// Tests of files that are let go of by a kernel thread (fs/file_later.c).
#include "ktest_priv.h"

#include <fs.h>
#include <k/assert.h>
#include <k/atomic.h>
#include <ktest.h>

#define NR_EARLY 50

static atomic_bool go_on;
static atomic_int nr_streams, nr_early;

static void stream_release(struct file *f);

static const struct file_ops stream_fops = {.release = stream_release};

static void give(const struct file_ops *ops)
{
    struct file *f;
    int err = anon_file_open("ktest", ops, 0, NULL, &f);
    assert(!err);
    file_put_later(f);
}

// Each one hands over the next: there always is one.
static void stream_release(struct file *f)
{
    (void)f;
    if (load_relaxed(&go_on)) {
        give(&stream_fops);
    } else {
        fetch_add_seq(&nr_streams, -1);
    }
}

static void early_release(struct file *f)
{
    (void)f;
    fetch_add_seq(&nr_early, 1);
}

static const struct file_ops early_fops = {.release = early_release};

KTEST(file_put_flush)
{
    store_relaxed(&go_on, true);
    store_relaxed(&nr_streams, 3);
    for (int i = 0; i < 3; i++) {
        give(&stream_fops);
    }
    for (int round = 1; round <= 20; round++) {
        for (int i = 0; i < NR_EARLY; i++) {
            give(&early_fops);
        }
        file_put_flush();
        KTEST_CHECK(load_seq(&nr_early) == round * NR_EARLY);
    }
    KTEST_CHECK(load_seq(&nr_streams) == 3);
    store_relaxed(&go_on, false);
    KTEST_CHECK(file_put_settle() == 0);
    KTEST_CHECK(load_seq(&nr_streams) == 0);
}
