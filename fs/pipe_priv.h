// What the files of pipes share: the ring of bytes (fs/pipe_ring.c, which tells its theory) and
// what programs do with it (fs/pipe.c).
//
// Lock letters: a atomic, P pipe->lock, I immutable.
#ifndef PIPE_PRIV_H
#define PIPE_PRIV_H

#include <iov.h>
#include <k/atomic.h>
#include <page.h>
#include <sched.h>
#include "fs_priv.h"

#define PIPE_SIZE    65536u // of a new pipe
#define PIPE_ATOMIC  4096u  // a write of so many bytes stays together: PIPE_BUF
#define PIPE_LARGEST (1u << 31)

struct pipe {
    struct mutex lock;                      // RANK_PIPE
    _Atomic u64 head, tail;                 // [a], written under P: bytes ever written, read
    atomic_uint size;                       // [a], written under P: bytes, a power of two
    struct page **slot;                     // [P] size / PAGE_SIZE; NULL: no byte is there
    struct page *spare;                     // [P] may be NULL
    atomic_uint readers, writers;           // [a], written under P: open ends
    atomic_uint readers_ever, writers_ever; // [a], written under P: opened so far
    struct waitq rd_wait, wr_wait;          // for bytes, for room; and for the other end
    atomic_bool held;                       // [a], written under P: splice has the first bytes
    bool named;                             // [I] a FIFO: an end is opened without the other
};

// Bytes that are there, and for how many there is room. Without the lock: a look.
static inline size_t pipe_used(struct pipe *p)
{
    // The tail first: it never passes a head that is read later.
    u64 tail = load_acquire(&p->tail); // both pair with the stores of pipe_drain and pipe_fill
    return (size_t)(load_acquire(&p->head) - tail);
}

static inline size_t pipe_room(struct pipe *p)
{
    size_t used = pipe_used(p), size = load_acquire(&p->size); // pairs with pipe_resize_locked
    return size > used ? size - used : 0; // not locked, the look may mix two states
}

// ---- pipe_ring.c

// 0 or -ENOMEM; pipe_ring_free in both cases. size: of pipe_size_round.
int pipe_ring_init(struct pipe *p, u64 size);
void pipe_ring_free(struct pipe *p);
// Take bytes out, as many as are there and wanted: their number, or 0, or -EFAULT.
ssize_t pipe_drain_locked(struct pipe *p, struct iov_iter *to);
// Put n bytes in, for which there is room; whole: all or none. Bytes, or -EFAULT, -ENOMEM.
ssize_t pipe_fill_locked(struct pipe *p, struct iov_iter *from, size_t n, bool whole);
void pipe_empty_locked(struct pipe *p);
// Copy bytes out, to kernel memory, that stay: how many. Take n out that were copied so.
size_t pipe_peek_locked(struct pipe *p, struct iov_iter *to);
void pipe_skip_locked(struct pipe *p, size_t n);
// 0, -EBUSY (what is there would not fit), -ENOMEM.
int pipe_resize_locked(struct pipe *p, u64 size);

// ---- pipe.c

// The pipe an open file is an end of; NULL: it is none.
struct pipe *pipe_of(struct file *f);
// Bytes, waiting for the first one: how many, 0 at the end, -EAGAIN, -EINTR, -EFAULT.
ssize_t pipe_get(struct pipe *p, struct iov_iter *to, bool nonblock);
// A copy of up to n bytes, which stay in the pipe and are kept from readers until pipe_let_go says
// how many of them are gone. *got 0: the end, and nothing is held. 0, -EAGAIN, -EINTR.
int pipe_hold(struct pipe *p, u8 *buf, size_t n, bool nonblock, size_t *got);
void pipe_let_go(struct pipe *p, size_t gone);
// Until a byte can be put in: 0, -EAGAIN, -EINTR, or -EPIPE and SIGPIPE.
int pipe_wait_room(struct pipe *p, bool nonblock);
// As much as there is room for, maybe 0; -EPIPE and SIGPIPE, -EFAULT, -ENOMEM.
ssize_t pipe_put_iter(struct pipe *p, struct iov_iter *from);
ssize_t pipe_put_some(struct pipe *p, const u8 *buf, size_t n);

#endif
