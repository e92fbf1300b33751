/*
 * lines.h: a cache line of physical memory, and what an access to it is.
 *
 *     nobody has it         any access: free
 *     {a, b..} have it      load by another: a transfer if it was ever written; store by anyone: a
 *                           transfer, unless nobody else has it
 *     {w} wrote it          w: free; load or store by another: a transfer
 *
 * A load adds the CPU to those that have it, a store leaves it alone among them.
 *
 * Every batch starts as if no cache had anything. What operations really share moves again and
 * again within a batch. A transfer that is one only because of what happened before the batch is
 * "cold" and counted apart: a page whose last owner was another CPU, or a tree that one thread
 * built in its preparations and the others now read for the first time. It is paid once, not with
 * every operation.
 *
 * So a line is kept three times: as the operations of this batch leave it, as those before this
 * batch left it, and as all accesses leave it, also those that belong to no operation.
 */
#ifndef COHERENCE_LINES_H
#define COHERENCE_LINES_H

#include <stdbool.h>
#include <stdint.h>

struct line {
    uint64_t holders;     /* a bit for each CPU that touched it in this batch and has it */
    uint64_t old_holders; /* those that had it before, and since when nobody wrote it */
    uint64_t all_holders; /* the same if accesses outside windows are looked at, too */
    uint32_t batch;       /* the last in which it was touched */
    bool written;         /* in this batch */
    bool old_written;     /* before */
    bool all_written;     /* ever, also outside windows */
};

/* Why a line had to be fetched: an operation of this batch, one before it, something else. */
enum move { MOVED_NOT, MOVED, MOVED_COLD, MOVED_OUTSIDE };

/* Before each access of an operation. At the first in a batch, what was true becomes what was true
 * before the batch. */
static inline void line_renew(struct line *l, uint32_t batch)
{
    if (l->batch == batch) {
        return;
    }
    l->old_holders |= l->holders;
    l->old_written |= l->written;
    l->holders = 0;
    l->written = false;
    l->batch = batch;
}

/* The line as all accesses leave it, whoever makes them: was this one a transfer? */
static inline bool line_track(struct line *l, uint64_t me, bool store)
{
    bool had = (l->all_holders & me) != 0, alone = (l->all_holders & ~me) == 0;

    if (store) {
        l->all_holders = me;
        l->all_written = true;
        return !alone;
    }
    l->all_holders |= me;
    return !had && l->all_written;
}

/* `me` is the CPU's bit; with `outside`, transfers that only other accesses explain count, too. */
static inline enum move line_store(struct line *l, uint64_t me, bool outside)
{
    bool tracked = line_track(l, me, true);
    enum move move = l->holders & ~me       ? MOVED
                     : l->old_holders & ~me ? MOVED_COLD
                     : outside && tracked   ? MOVED_OUTSIDE
                                            : MOVED_NOT;

    l->holders = me;
    l->written = true;
    l->old_holders = 0;
    return move;
}

static inline enum move line_load(struct line *l, uint64_t me, bool outside)
{
    bool tracked = line_track(l, me, false);
    bool had = (l->holders & me) != 0, had_old = had || (l->old_holders & me);

    l->holders |= me;
    if (!had && l->written) {
        return MOVED;
    }
    if (!had_old && l->old_written) {
        return MOVED_COLD;
    }
    return outside && tracked ? MOVED_OUTSIDE : MOVED_NOT;
}

#endif
