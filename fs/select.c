// select and pselect6: poll, with the descriptors in bit sets. See select(2).
//
// The three sets are turned into a poll set of the descriptors that are in any of them, and the
// answer back into sets. A closed descriptor in a set is an error here (EBADF), not an event.
#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>
#include <uapi/time.h>
#include "fd_priv.h"
#include "poll_priv.h"

#define SETS     3
#define IN_SET   (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)
#define OUT_SET  (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)
#define EX_SET   POLLPRI
#define WORD_LEN 64u

static const unsigned asked[SETS] = {POLLIN | POLLRDNORM | POLLRDBAND,
                                     POLLOUT | POLLWRNORM | POLLWRBAND, POLLPRI};
static const unsigned meant[SETS] = {IN_SET, OUT_SET, EX_SET};

struct select {
    unsigned nr, words; // descriptors below nr; words of 64 bits in each set
    u64 *bits;          // SETS * words
    u64 user[SETS];
};

static bool bit_test(const u64 *set, unsigned i)
{
    return set[i / WORD_LEN] >> (i % WORD_LEN) & 1;
}

static int select_read(struct select *s, const u64 *a)
{
    s->words = (s->nr + WORD_LEN - 1) / WORD_LEN;
    s->bits = kzalloc(max(SETS * s->words * sizeof(u64), sizeof(u64)), GFP_KERNEL);
    if (!s->bits) {
        return -ENOMEM;
    }
    for (unsigned k = 0; k < SETS; k++) {
        s->user[k] = a[1 + k];
        if (s->user[k] &&
            arch_copy_from_user(s->bits + k * s->words, (const void *)s->user[k], s->words * 8)) {
            return -EFAULT;
        }
    }
    return 0;
}

static unsigned select_events(const struct select *s, unsigned fd)
{
    unsigned events = 0;
    for (unsigned k = 0; k < SETS; k++) {
        events |= bit_test(s->bits + k * s->words, fd) ? asked[k] : 0;
    }
    return events;
}

static int select_to_poll(const struct select *s, struct poll_set *p)
{
    unsigned nr = 0;
    for (unsigned fd = 0; fd < s->nr; fd++) {
        nr += select_events(s, fd) != 0;
    }
    int err = poll_set_init(p, nr);
    if (err) {
        return err;
    }
    nr = 0;
    for (unsigned fd = 0; fd < s->nr; fd++) {
        unsigned events = select_events(s, fd);
        if (events) {
            p->fd[nr++] = (struct uapi_pollfd){.fd = (s32)fd, .events = (s16)events};
        }
    }
    poll_set_find(p);
    for (unsigned i = 0; i < nr; i++) {
        if (!p->file[i]) {
            return -EBADF;
        }
    }
    return 0;
}

// The answer, in place of the sets. Bits set.
static s64 select_answer(struct select *s, const struct poll_set *p)
{
    s64 found = 0;
    for (unsigned i = 0; i < p->nr; i++) {
        unsigned fd = (unsigned)p->fd[i].fd, events = (u16)p->fd[i].revents;
        for (unsigned k = 0; k < SETS; k++) {
            u64 *set = s->bits + k * s->words;
            if (!bit_test(set, fd)) {
                continue;
            }
            if (events & meant[k]) {
                found++;
            } else {
                set[fd / WORD_LEN] &= ~(1ull << (fd % WORD_LEN));
            }
        }
    }
    for (unsigned k = 0; k < SETS; k++) {
        if (s->user[k] &&
            arch_copy_to_user((void *)s->user[k], s->bits + k * s->words, s->words * 8)) {
            return -EFAULT;
        }
    }
    return found;
}

// a: as select's arguments.
static s64 do_select(const u64 *a, u64 deadline)
{
    struct select s = {0};
    struct poll_set p = {0};
    s64 r;
    if ((s32)a[0] < 0) {
        return -EINVAL;
    }
    // What is beyond the table cannot be open, and Linux does not look there.
    s.nr = min((unsigned)a[0], fd_table_size());
    r = select_read(&s, a);
    if (!r) {
        r = select_to_poll(&s, &p);
    }
    if (!r) {
        r = poll_loop(&p, deadline);
    }
    if (r >= 0) {
        r = select_answer(&s, &p);
    }
    poll_set_close(&p);
    kfree(s.bits);
    return r;
}

s64 sys_select(const u64 *a)
{
    struct uapi_timeval tv;
    u64 deadline = TIME_NEVER;
    if (a[4]) {
        if (arch_copy_from_user(&tv, (const void *)a[4], sizeof(tv))) {
            return -EFAULT;
        }
        if (tv.tv_sec < 0 || tv.tv_usec < 0) {
            return -EINVAL;
        }
        u64 sec = (u64)tv.tv_sec + (u64)tv.tv_usec / 1000000;
        if (sec <= POLL_SECONDS_MAX) {
            deadline =
                poll_deadline_in(sec * NSEC_PER_SEC + (u64)tv.tv_usec % 1000000 * NSEC_PER_USEC);
        }
    }
    s64 r = do_select(a, deadline);
    if (a[4] && deadline != TIME_NEVER) {
        u64 now = clock_ns(), left = deadline > now ? deadline - now : 0;
        tv = (struct uapi_timeval){(s64)(left / NSEC_PER_SEC),
                                   (s64)(left % NSEC_PER_SEC / NSEC_PER_USEC)};
        (void)!arch_copy_to_user((void *)a[4], &tv, sizeof(tv));
    }
    return r == -EINTR ? -ERESTARTNOHAND : r;
}

s64 sys_pselect6(const u64 *a)
{
    struct {
        u64 mask, size;
    } sig = {0};
    u64 deadline;
    if (a[5] && arch_copy_from_user(&sig, (const void *)a[5], sizeof(sig))) {
        return -EFAULT;
    }
    int err = poll_deadline_user(a[4], &deadline);
    if (!err) {
        err = signal_mask_swap_user(sig.mask, sig.size);
    }
    if (err) {
        return err;
    }
    s64 r = do_select(a, deadline);
    poll_time_left(a[4], deadline);
    return r == -EINTR ? -ERESTARTNOHAND : r;
}
