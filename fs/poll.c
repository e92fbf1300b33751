// poll and ppoll: wait until one of several files has something.
//
// A poller stands in several wait queues at once. Each round asks every file for its events and has
// it put the poller back into the queues it is no longer in (the wakers take waiters off). A file's
// poll function may itself sleep for a lock, which ends with the state RUNNABLE; so the state is
// set to SLEEPING only after the round, and what may have happened since is found in the waiters
// themselves:
//
//      poller                              waker
//      round: queue, look at events        make the event true
//      state = SLEEPING (full barrier)     take the waiter off its queue
//      every waiter still queued?          thread_wake: full barrier, state is SLEEPING?
//      yes: sleep; no: another round         yes: RUNNABLE
//
// Whoever comes second sees the other.
#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/assert.h>
#include <k/string.h>
#include <proc.h>
#include <sched.h>
#include <signal.h>
#include <syscalls.h>
#include <uapi/time.h>
#include "poll_priv.h"

void poll_wait(struct pollq *pt, struct waitq *q)
{
    pt->queue(pt, q);
}

static struct waiter *poller_waiter(struct poller *p, unsigned i)
{
    return &p->w[i / WAITERS_A_PIECE][i % WAITERS_A_PIECE];
}

static void poller_queue(struct pollq *pt, struct waitq *q)
{
    struct poller *p = container_of(pt, struct poller, pollq);
    assert(p->next < p->nr);
    unsigned i = p->next++;
    assert(!p->q[i] || p->q[i] == q); // the same ones in the same order
    p->q[i] = q;
    waitq_prepare(q, poller_waiter(p, i), THREAD_SLEEPING);
    thread_set_state(THREAD_RUNNABLE);
}

// Has a waker been at one of our waiters? The state is SLEEPING already.
static bool poller_was_woken(struct poller *pt)
{
    for (unsigned i = 0; i < pt->nr; i++) {
        // Volatile: a waker writes it; see the drawing.
        if (pt->q[i] && !*(struct thread *volatile *)&poller_waiter(pt, i)->thread) {
            return true;
        }
    }
    return false;
}

unsigned file_poll(struct file *f, struct pollq *pt)
{
    return f->ops->poll ? f->ops->poll(f, pt) : POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

static unsigned poll_round(struct poll_set *s, bool wait)
{
    unsigned found = 0;
    for (unsigned i = 0; i < s->nr; i++) {
        unsigned events = 0;
        cond_resched();
        s->pq.next = i * QUEUES_PER_FILE;
        if (s->file[i]) {
            events = file_poll(s->file[i], wait ? &s->pq.pollq : NULL);
            events &= (u16)s->fd[i].events | POLLERR | POLLHUP;
        } else if (s->fd[i].fd >= 0) {
            events = POLLNVAL;
        }
        s->fd[i].revents = (s16)events;
        if (events) {
            found++;
            wait = false; // will not sleep
        }
    }
    return found;
}

// Ready descriptors, 0 at the deadline, -EINTR.
s64 poll_loop(struct poll_set *s, u64 deadline)
{
    for (;;) {
        unsigned found = poll_round(s, deadline != 0);
        if (found || deadline == 0) {
            return found;
        }
        thread_set_state(THREAD_SLEEPING);
        if (poller_was_woken(&s->pq)) {
            thread_set_state(THREAD_RUNNABLE);
            continue;
        }
        int r = schedule_until(deadline);
        if (r <= 0) {
            found = poll_round(s, false);
            return found ? (s64)found : r;
        }
    }
}

void poll_set_close(struct poll_set *s)
{
    for (unsigned i = 0; s->pq.q && i < s->pq.nr; i++) {
        if (s->pq.q[i]) {
            waitq_finish(s->pq.q[i], poller_waiter(&s->pq, i));
        }
    }
    for (unsigned i = 0; s->file && i < s->nr; i++) {
        cond_resched();
        if (s->file[i]) {
            file_put(s->file[i]);
        }
    }
    for (unsigned k = 0; k < WAITER_PIECES; k++) {
        kfree(s->pq.w[k]);
    }
    kfree(s->pq.q);
    kfree(s->file);
    kfree(s->fd);
}

int poll_set_init(struct poll_set *s, unsigned nr)
{
    memset(s, 0, sizeof(*s));
    s->nr = nr;
    s->pq.pollq.queue = poller_queue;
    if (nr == 0) {
        return 0;
    }
    if (nr > WAITERS_A_PIECE * WAITER_PIECES / QUEUES_PER_FILE) {
        return -ENOMEM;
    }
    s->pq.nr = nr * QUEUES_PER_FILE;
    s->fd = kmalloc(nr * sizeof(*s->fd), GFP_KERNEL);
    s->file = kzalloc(nr * sizeof(*s->file), GFP_KERNEL);
    s->pq.q = kzalloc(s->pq.nr * sizeof(*s->pq.q), GFP_KERNEL);
    bool good = s->fd && s->file && s->pq.q;
    for (unsigned k = 0; good && k * WAITERS_A_PIECE < s->pq.nr; k++) {
        unsigned n = min(s->pq.nr - k * WAITERS_A_PIECE, WAITERS_A_PIECE);
        s->pq.w[k] = kzalloc(n * sizeof(struct waiter), GFP_KERNEL);
        good = s->pq.w[k] != NULL;
    }
    return good ? 0 : -ENOMEM;
}

void poll_set_find(struct poll_set *s)
{
    for (unsigned i = 0; i < s->nr; i++) {
        s->file[i] = s->fd[i].fd >= 0 ? fd_get(s->fd[i].fd) : NULL;
    }
}

static int poll_set_open(struct poll_set *s, u64 user, unsigned nr)
{
    int err = poll_set_init(s, nr);
    if (err || nr == 0) {
        return err;
    }
    if (arch_copy_from_user(s->fd, (const void *)user, nr * sizeof(*s->fd))) {
        return -EFAULT;
    }
    poll_set_find(s);
    return 0;
}

static s64 do_poll(u64 user, u64 nr, u64 deadline)
{
    struct poll_set s;
    s64 r;
    if (nr > process_rlimit(RLIMIT_NOFILE)) {
        return -EINVAL;
    }
    r = poll_set_open(&s, user, (unsigned)nr);
    if (!r) {
        r = poll_loop(&s, deadline);
    }
    for (unsigned i = 0; r >= 0 && i < s.nr; i++) {
        u64 to = user + i * sizeof(struct uapi_pollfd) + offsetof(struct uapi_pollfd, revents);
        if (arch_copy_to_user((void *)to, &s.fd[i].revents, sizeof(s16))) {
            r = -EFAULT;
        }
    }
    poll_set_close(&s);
    return r;
}

u64 poll_deadline_in(u64 ns)
{
    u64 now = clock_ns();
    return ns == 0 ? 0 : ns > TIME_NEVER - 1 - now ? TIME_NEVER : now + ns;
}

s64 sys_poll(const u64 *a)
{
    s64 ms = (s32)a[2];
    // Linux would wait for the rest of the time after a stop; with a handler it is EINTR as here.
    return do_poll(a[0], (u32)a[1], ms < 0 ? TIME_NEVER : poll_deadline_in((u64)ms * 1000000));
}

int poll_deadline_user(u64 user, u64 *deadline)
{
    struct uapi_timespec ts;
    *deadline = TIME_NEVER;
    if (!user) {
        return 0;
    }
    if (arch_copy_from_user(&ts, (const void *)user, sizeof(ts))) {
        return -EFAULT;
    }
    if (ts.tv_sec < 0 || (u64)ts.tv_nsec >= NSEC_PER_SEC) {
        return -EINVAL;
    }
    if ((u64)ts.tv_sec <= POLL_SECONDS_MAX) {
        *deadline = poll_deadline_in((u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec);
    }
    return 0;
}

void poll_time_left(u64 user, u64 deadline)
{
    if (!user || deadline == TIME_NEVER) {
        return;
    }
    u64 now = clock_ns(), left = deadline > now ? deadline - now : 0;
    struct uapi_timespec ts = {(s64)(left / NSEC_PER_SEC), (s64)(left % NSEC_PER_SEC)};
    (void)!arch_copy_to_user((void *)user, &ts, sizeof(ts));
}

s64 sys_ppoll(const u64 *a)
{
    u64 deadline;
    int err = poll_deadline_user(a[2], &deadline);
    if (!err) {
        err = signal_mask_swap_user(a[3], a[4]);
    }
    if (err) {
        return err;
    }
    s64 r = do_poll(a[0], (u32)a[1], deadline);
    poll_time_left(a[2], deadline);
    // The mask stays swapped for a handler to run under it; restored on the way to user mode.
    return r == -EINTR ? -ERESTARTNOHAND : r;
}
