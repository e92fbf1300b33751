// What poll and select share.
#ifndef POLL_PRIV_H
#define POLL_PRIV_H

#include <sched.h>
#include "fs_priv.h"

// In pieces: as many as there are descriptors would be more than one piece of memory can hold.
#define WAITERS_A_PIECE (1u << 15)
#define WAITER_PIECES   16u

struct poller {
    struct pollq pollq;
    struct waiter *w[WAITER_PIECES]; // nr of them
    struct waitq **q;                // where each is
    unsigned nr, next;
};

struct poll_set {
    unsigned nr;
    struct uapi_pollfd *fd;
    struct file **file; // counted; NULL: none
    struct poller pq;
};

// Room for nr files: fill s->fd, then poll_set_find. 0 or -ENOMEM; poll_set_close always follows.
int poll_set_init(struct poll_set *s, unsigned nr);
void poll_set_find(struct poll_set *s);
void poll_set_close(struct poll_set *s);
// Wait: descriptors with events (in s->fd[].revents), 0 at the deadline, -EINTR.
s64 poll_loop(struct poll_set *s, u64 deadline);

// Deadlines, in clock_ns units. 0: do not wait; TIME_NEVER: for ever.
#define POLL_SECONDS_MAX (1ull << 33) // more is for ever
u64 poll_deadline_in(u64 ns);
// From a struct timespec; user 0: TIME_NEVER. -EFAULT, -EINVAL.
int poll_deadline_user(u64 user, u64 *deadline);
// What is left of the time goes back to the caller, as far as its memory can be written.
void poll_time_left(u64 user, u64 deadline);

#endif
