// Pipes, 1: the ring of bytes between writers and readers. fs/pipe.c: who waits for what.
//
// What is in a pipe lies in pages, a ring of them: byte number b (they are counted from the pipe's
// making, and [tail, head) of them are there) is in slot b / PAGE_SIZE modulo the number of slots.
// That number is a power of two and gives the pipe its size: 64 KiB, or what F_SETPIPE_SZ asked
// for. A slot gets its page when a byte comes to it and loses it when the last byte has left, so
// an idle pipe is a table of pointers and the one page that is kept back for the next byte.
//
//     slot   0        1        2        3        0 (again)
//            |        |....bbbb|bbbbbbbb|bbbbbbbb|bbb.....|
//                          ^ tail                   ^ head
//
// When a ring is nearly full, head and tail may be in one slot, which then has bytes of both ends.
//
// One sleeping lock per pipe; the copy to or from user memory happens under it (a fault there takes
// only locks that rank later), and so does all else that pages and slots go through. head, tail and
// size are atomics because sleepers look at them without the lock.
//
// Rejected: slots with an offset and a length each, as Linux has them. They let whole pages be
// moved in and out (splice); without that they only make the room depend on how it was filled.
#include <arch/mmu.h>
#include <k/string.h>
#include "pipe_priv.h"

// ---- Slots. All of this with the pipe locked.

static u64 pipe_nr_slots(struct pipe *p)
{
    return load_relaxed(&p->size) / PAGE_SIZE;
}

static struct page **pipe_slot(struct pipe *p, u64 at)
{
    return &p->slot[at / PAGE_SIZE & (pipe_nr_slots(p) - 1)];
}

// Slots that have a byte, counted again when both ends are in one.
static u64 pipe_slots_used(struct pipe *p)
{
    u64 head = load_relaxed(&p->head), tail = load_relaxed(&p->tail);
    return head == tail ? 0 : (head - 1) / PAGE_SIZE - tail / PAGE_SIZE + 1;
}

static void pipe_page_drop(struct pipe *p, struct page *page)
{
    if (page && p->spare) {
        page_free(page);
    } else if (page) {
        p->spare = page;
    }
}

// Of the slots of the bytes from `from` to `to`, empty those that have no byte.
static void pipe_prune(struct pipe *p, u64 from, u64 to)
{
    u64 used = pipe_slots_used(p), first = load_relaxed(&p->tail) / PAGE_SIZE;
    for (u64 q = from / PAGE_SIZE; q <= to / PAGE_SIZE; q++) {
        struct page **slot = pipe_slot(p, q * PAGE_SIZE);
        if (((q - first) & (pipe_nr_slots(p) - 1)) >= used) {
            pipe_page_drop(p, *slot);
            *slot = NULL;
        }
    }
}

// Where byte `at` is or goes; *n: how many bytes are to be moved there, at most those asked for.
// NULL: no memory.
static u8 *pipe_place(struct pipe *p, u64 at, size_t *n)
{
    struct page **slot = pipe_slot(p, at);
    *n = min(*n, (size_t)(PAGE_SIZE - at % PAGE_SIZE));
    if (!*slot) {
        *slot = p->spare ? p->spare : page_alloc(GFP_KERNEL);
        p->spare = NULL;
    }
    return *slot ? (u8 *)page_addr(*slot) + at % PAGE_SIZE : NULL;
}

// Move n bytes from `from` on; *end: how far that came.
static int pipe_move(struct pipe *p, struct iov_iter *it, u64 from, size_t n, u64 *end)
{
    u64 at = from;
    int err = 0;
    while (at < from + n && !err) {
        size_t some = (size_t)(from + n - at);
        u8 *place = pipe_place(p, at, &some);
        size_t went = place ? iov_copy(it, place, some) : 0;
        err = !place ? -ENOMEM : went < some ? -EFAULT : 0;
        at += went;
        cond_resched();
    }
    *end = at;
    return err;
}

// ---- Bytes in and out

ssize_t pipe_drain_locked(struct pipe *p, struct iov_iter *to)
{
    u64 from = load_relaxed(&p->tail), end;
    int err = pipe_move(p, to, from, min(to->left, pipe_used(p)), &end);
    store_release(&p->tail, end); // pairs with pipe_used
    if (end > from) {
        pipe_prune(p, from, end);
    }
    return end > from ? (ssize_t)(end - from) : err;
}

ssize_t pipe_fill_locked(struct pipe *p, struct iov_iter *it, size_t n, bool whole)
{
    u64 from = load_relaxed(&p->head), end;
    int err = pipe_move(p, it, from, n, &end);
    if (!err || (!whole && end > from)) {
        store_release(&p->head, end); // pairs with pipe_used
    }
    if (err) {
        pipe_prune(p, from, end); // what was made for bytes that did not come
    }
    return !err || (!whole && end > from) ? (ssize_t)(end - from) : err;
}

size_t pipe_peek_locked(struct pipe *p, struct iov_iter *to)
{
    u64 from = load_relaxed(&p->tail), end;
    (void)pipe_move(p, to, from, min(to->left, pipe_used(p)), &end); // the pages are there
    return (size_t)(end - from);
}

void pipe_skip_locked(struct pipe *p, size_t n)
{
    u64 from = load_relaxed(&p->tail);
    store_release(&p->tail, from + n); // pairs with pipe_used
    if (n) {
        pipe_prune(p, from, from + n);
    }
}

void pipe_empty_locked(struct pipe *p)
{
    u64 from = load_relaxed(&p->tail), head = load_relaxed(&p->head);
    store_release(&p->tail, head); // pairs with pipe_used
    pipe_prune(p, from, head);
}

// ---- Size

u64 pipe_size_round(u64 bytes)
{
    u64 size = PAGE_SIZE;
    while (size < bytes && size <= PIPE_LARGEST) {
        size *= 2;
    }
    return size <= PIPE_LARGEST ? size : 0;
}

// Give the pages to a ring of another size: byte numbers stay, so do the places in the pages. Only
// a page in which both ends are, before or after, has to be two.
int pipe_resize_locked(struct pipe *p, u64 size)
{
    u64 used = pipe_slots_used(p), first = load_relaxed(&p->tail) / PAGE_SIZE;
    u64 nr = size / PAGE_SIZE, head_bytes = (load_relaxed(&p->head) - 1) % PAGE_SIZE + 1;
    struct page *extra = NULL, **slot;
    if (nr == pipe_nr_slots(p)) {
        return 0;
    }
    if (used > nr + 1 || (used && pipe_used(p) > size)) {
        return -EBUSY;
    }
    slot = nr * sizeof(*slot) <= KMALLOC_MAX ? kzalloc(nr * sizeof(*slot), GFP_KERNEL) : NULL;
    extra = used > pipe_nr_slots(p) ? page_alloc(GFP_KERNEL) : NULL;
    if (!slot || (used > pipe_nr_slots(p) && !extra)) {
        kfree(slot);
        pipe_page_drop(p, extra);
        return -ENOMEM;
    }
    for (u64 q = first; q < first + used; q++) {
        struct page *page = *pipe_slot(p, q * PAGE_SIZE), **to = &slot[q & (nr - 1)];
        if (*to) { // the last, in the first one's page from now on
            memcpy(page_addr(*to), page_addr(page), head_bytes);
            pipe_page_drop(p, page);
        } else if (q - first == pipe_nr_slots(p)) { // no longer
            memcpy(page_addr(extra), page_addr(page), head_bytes);
            *to = extra;
        } else {
            *to = page;
        }
    }
    kfree(p->slot);
    p->slot = slot;
    store_release(&p->size, (unsigned)size); // pairs with pipe_room
    return 0;
}

int pipe_ring_init(struct pipe *p, u64 size)
{
    store_relaxed(&p->size, (unsigned)size);
    p->slot = kzalloc(pipe_nr_slots(p) * sizeof(*p->slot), GFP_KERNEL);
    return p->slot ? 0 : -ENOMEM;
}

void pipe_ring_free(struct pipe *p)
{
    for (u64 k = 0; p->slot && k < pipe_nr_slots(p); k++) {
        pipe_page_drop(p, p->slot[k]);
        cond_resched();
    }
    if (p->spare) {
        page_free(p->spare);
    }
    kfree(p->slot);
}
