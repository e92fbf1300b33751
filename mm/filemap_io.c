// Files in memory, 2: reading pages in, read(), write(), truncate.
//
// A page's way into the cache:  new, LOCKED  ->  in the tree, LOCKED  ->  read_page  ->  UPTODATE.
// Whoever finds it LOCKED waits; only its reader clears the bit. A page that could not be read
// leaves the tree again. A page may be truncated while it is being read in: its reader goes on and
// finds page->mapping cleared afterwards.
//
// The size. Truncate stores the new size first and removes pages then; an insertion looks at the
// size under mapping->lock. So no page beyond the end comes into the cache after truncate has
// removed the last one (R24):
//
//     insert                                  truncate
//     lock; index < size? insert; unlock      size = new; lock; remove the tail; unlock
//
// write() extends: it inserts pages beyond the end, fills them and then moves the size, all under
// inode->lock, which truncate holds too.

#include <arch/uaccess.h>
#include <filemap.h>
#include <fs.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/explore.h>
#include <k/rcu.h>
#include <k/string.h>
#include <page.h>
#include <rmap.h>
#include <sched.h>
#include "pagecache.h"

static struct waitq page_waitq = WAITQ_INIT(page_waitq);

void mapping_init(struct mapping *m, struct inode *host, const struct mapping_ops *ops)
{
    static _Atomic u64 next_id;
    m->id = fetch_add_relaxed(&next_id, 1) + 1;
    m->host = host;
    m->ops = ops;
    spin_init(&m->lock, RANK_MAPPING);
    store_relaxed(&m->root, NULL);
    store_relaxed(&m->nr_pages, 0);
    store_relaxed(&m->size_bytes, 0);
    mutex_init(&m->i_mmap_lock, RANK_I_MMAP);
    m->nr_writers_coming = 0;
    list_init(&m->i_mmap);
}

static void page_unlock(struct page *p, u32 set)
{
    fetch_or_seq(&p->flags, set);              // UPTODATE pairs with filemap_page_is
    fetch_and_seq(&p->flags, ~(u32)PG_LOCKED); // pairs with page_wait
    waitq_wake_all(&page_waitq);
}

static void page_wait(struct page *p)
{
    waitq_wait(&page_waitq, !(load_seq(&p->flags) & PG_LOCKED)); // pairs with page_unlock
}

static struct page *page_new_locked(void)
{
    struct page *p = page_alloc(GFP_KERNEL | GFP_ZERO);
    if (p) {
        store_relaxed(&p->flags, PG_FILE | PG_LOCKED);
        store_relaxed(&p->mapping, NULL);
        list_init(&p->list);
    }
    return p;
}

// Pages removed from the tree: nobody maps them any more (the caller has unmapped them).
static void release_pages(struct list *pages)
{
    struct page *p, *tmp;
    list_for_each_entry_safe (p, tmp, pages, list) {
        list_del(&p->list);
        page_put(p);
    }
}

static void remove_range(struct mapping *m, u64 first, u64 last, struct list *out)
{
    list_init(out);
    spin_lock(&m->lock);
    pc_remove_locked(m, first, last, out);
    spin_unlock(&m->lock);
}

// A new page at index: *out is held and LOCKED. -EEXIST: somebody else's is there. beyond_end:
// write() may go past the size.
static int insert_new(struct mapping *m, u64 index, bool beyond_end, struct page **out)
{
    struct pc_preload pre = {0};
    struct page *p;
    int err;
    p = page_new_locked();
    if (!p) {
        return -ENOMEM;
    }
    yield_point("page insert");
    for (;;) {
        spin_lock(&m->lock);
        if (!beyond_end && index >= page_align_up(load_seq(&m->size_bytes)) >> PAGE_SHIFT) {
            err = -ERANGE;
        } else {
            err = pc_insert_locked(m, &pre, index, p);
        }
        spin_unlock(&m->lock);
        if (err != -EAGAIN) {
            break;
        }
        err = pc_preload(&pre);
        if (err) {
            break;
        }
    }
    pc_preload_free(&pre);
    if (err) {
        page_put(p);
        return err;
    }
    *out = p;
    return 0;
}

// Have the file system fill p, which is ours, LOCKED and in the tree. On failure it leaves the
// tree.
static int fill_page(struct mapping *m, struct page *p, bool zeroes_will_do)
{
    int err = zeroes_will_do ? 0 : m->ops->read_page(m, p);
    if (err) {
        struct list gone;
        spin_lock(&m->lock);
        list_init(&gone);
        if (load_relaxed(&p->mapping) == m) {
            pc_remove_locked(m, p->index, p->index, &gone);
        }
        spin_unlock(&m->lock);
        page_unlock(p, 0);
        release_pages(&gone);
        return err;
    }
    page_unlock(p, PG_UPTODATE);
    return 0;
}

static int get_page(struct mapping *m, u64 index, bool beyond_end, bool whole, struct page **out)
{
    for (;;) {
        struct page *p = mapping_find_get(m, index);
        int err;
        if (!p) {
            err = insert_new(m, index, beyond_end, &p);
            if (err == -EEXIST) {
                continue;
            }
            if (!err) {
                err = fill_page(m, p, whole);
                if (err) {
                    page_put(p);
                }
            }
            *out = p;
            return err;
        }
        if (load_acquire(&p->flags) & PG_LOCKED) {
            page_wait(p);
        }
        if ((load_acquire(&p->flags) & PG_UPTODATE) && load_acquire(&p->mapping) == m) {
            *out = p;
            return 0;
        }
        page_put(p); // its reader failed or it was truncated: try ourselves
    }
}

int mapping_read_page(struct mapping *m, u64 index, struct page **out)
{
    *out = NULL;
    if (index >= page_align_up(load_seq(&m->size_bytes)) >> PAGE_SHIFT) {
        return -ERANGE;
    }
    int err = get_page(m, index, false, false, out);
    if (err) {
        *out = NULL;
    }
    return err;
}

int mapping_grab_page(struct mapping *m, u64 index, bool whole, struct page **out)
{
    int err = get_page(m, index, true, whole, out);
    if (err) {
        *out = NULL;
    }
    return err;
}

// ---- Size and removal --------------------------------------------------------------------------

// Clear [from, to) of the file within one page, if that page is in the cache. (A file system that
// keeps pages elsewhere must clear its own copy.)
static void clear_within_page(struct mapping *m, u64 from, u64 to)
{
    struct page *p = mapping_find_get(m, from >> PAGE_SHIFT);
    if (!p) {
        return;
    }
    if (load_acquire(&p->flags) & PG_LOCKED) {
        page_wait(p);
    }
    memset((char *)page_addr(p) + (from & ~PAGE_MASK), 0, to - from);
    atomic_fetch_or(&p->flags, PG_DIRTY);
    page_put(p);
}

static void remove_pages(struct mapping *m, u64 first, u64 last, bool cows)
{
    struct list gone;
    remove_range(m, first, last, &gone);
    atomic_fence_seq(); // invariant 8: before the walk looks at table slots
    yield_point("pages removed");
    rmap_unmap_file(m, first, last, cows);
    release_pages(&gone);
}

void mapping_truncate(struct mapping *m, u64 new_size)
{
    u64 old_size = load_relaxed(&m->size_bytes);
    store_seq(&m->size_bytes, new_size); // pairs with insert_new
    if (new_size >= old_size) {
        return;
    }
    u64 keep = page_align_up(new_size) >> PAGE_SHIFT;
    remove_pages(m, keep, ~0ull >> PAGE_SHIFT, true);
    if (new_size & ~PAGE_MASK) {
        clear_within_page(m, new_size, page_align_up(new_size));
    }
}

void mapping_punch(struct mapping *m, u64 start, u64 end)
{
    u64 first = page_align_up(start), last = page_align_down(end);
    if (first > last) { // within one page
        clear_within_page(m, start, end);
        return;
    }
    if (start < first) {
        clear_within_page(m, start, first);
    }
    if (end > last) {
        clear_within_page(m, last, end);
    }
    if (first < last) {
        remove_pages(m, first >> PAGE_SHIFT, (last >> PAGE_SHIFT) - 1, false);
    }
}

void mapping_destroy(struct mapping *m)
{
    struct list gone;
    assert(list_empty(&m->i_mmap));
    remove_range(m, 0, ~0ull, &gone);
    release_pages(&gone);
}

// ---- read and write ----------------------------------------------------------------------------

// Bytes NOT moved between a page and one side's buffer.
static size_t move_bytes(void *page_side, void *buf, size_t n, bool to_buf, bool user)
{
    if (!user) {
        memcpy(to_buf ? buf : page_side, to_buf ? page_side : buf, n);
        return 0;
    }
    return to_buf ? arch_copy_to_user(buf, page_side, n) : arch_copy_from_user(page_side, buf, n);
}

static ssize_t do_read(struct mapping *m, u64 pos, char *buf, size_t n, bool user)
{
    size_t done = 0;
    while (done < n) {
        u64 size = load_acquire(&m->size_bytes);
        struct page *p;
        if (pos >= size) {
            break;
        }
        size_t off = pos & ~PAGE_MASK;
        size_t some = min(n - done, (size_t)(PAGE_SIZE - off));
        some = min(some, (size_t)(size - pos));
        int err = mapping_read_page(m, pos >> PAGE_SHIFT, &p);
        if (err) {
            if (err == -ERANGE) {
                break; // truncated meanwhile
            }
            return done ? (ssize_t)done : err;
        }
        size_t left = move_bytes((char *)page_addr(p) + off, buf + done, some, true, user);
        page_put(p);
        done += some - left;
        pos += some - left;
        if (left) {
            return done ? (ssize_t)done : -EFAULT;
        }
        cond_resched();
    }
    return (ssize_t)done;
}

static ssize_t do_write(struct mapping *m, u64 pos, const char *buf, size_t n, bool user)
{
    size_t done = 0;
    int err = 0;
    while (done < n && !err) {
        size_t off = pos & ~PAGE_MASK;
        size_t some = min(n - done, (size_t)(PAGE_SIZE - off));
        bool past = page_align_down(pos) >= load_relaxed(&m->size_bytes);
        struct page *p;
        err = mapping_grab_page(m, pos >> PAGE_SHIFT, past, &p);
        if (err) {
            break;
        }
        size_t left = move_bytes((char *)page_addr(p) + off, (void *)(uintptr_t)(buf + done), some,
                                 false, user);
        atomic_fetch_or(&p->flags, PG_DIRTY);
        page_put(p);
        done += some - left;
        pos += some - left;
        if (pos > load_relaxed(&m->size_bytes)) {
            store_seq(&m->size_bytes, pos);
        }
        err = left ? -EFAULT : 0;
        cond_resched();
    }
    if (err) { // pages that were to be past the old end are not part of the file
        u64 end = page_align_up(load_relaxed(&m->size_bytes)) >> PAGE_SHIFT;
        if (pos >> PAGE_SHIFT >= end) {
            remove_pages(m, end, ~0ull >> PAGE_SHIFT, true);
        }
    }
    return done ? (ssize_t)done : err;
}

ssize_t mapping_read(struct mapping *m, u64 pos, void *user_buf, size_t n)
{
    return do_read(m, pos, user_buf, n, true);
}

ssize_t mapping_write(struct mapping *m, u64 pos, const void *user_buf, size_t n)
{
    return do_write(m, pos, user_buf, n, true);
}

ssize_t mapping_read_kernel(struct mapping *m, u64 pos, void *buf, size_t n)
{
    return do_read(m, pos, buf, n, false);
}

ssize_t mapping_write_kernel(struct mapping *m, u64 pos, const void *buf, size_t n)
{
    return do_write(m, pos, buf, n, false);
}
