// Futexes: sleeping on a word of user memory.
//
// A hash table of buckets, by what lies behind the address (struct mm_key, so that a word in shared
// file memory is one futex in all processes). A waiter is on its own stack, in the list of its
// bucket, oldest first.
//
//     FUTEX_WAIT                              FUTEX_WAKE, after user mode changed the word
//     lock bucket                             lock bucket
//     word == expected?  no: -EAGAIN          take waiters off the list,
//     join the list                              waiter.bucket = NULL, wake the thread
//     unlock, sleep until bucket == NULL      unlock
//
// The word is compared under the bucket's lock: a waker that changed it before we looked is seen,
// one that changes it later finds us in the list. The lock is a spinlock and the word may be paged
// out, so it is read with a load that fails instead of faulting; then we let go, fault it in, and
// look again.
//
// Requeue moves a waiter to another bucket, so a waiter that gives up (timeout, signal) must follow
// its `bucket` pointer: lock what it says, check that it still says so. NULL: somebody woke it.
// A waker's use of the thread after bucket = NULL is safe: threads are freed by RCU, and a CPU that
// holds a spinlock passes no quiescent state.
//
// Two buckets are locked in address order; the second by trylock in a loop, since the rank is the
// same. Rejected: one lock for all futexes; a tree per address space (no help for shared words).
#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/string.h>
#include <mm.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>
#include <uapi/futex.h>
#include <uapi/time.h>

#include "time_priv.h"

#define NR_BUCKETS 256

struct bucket {
    struct spinlock lock; // RANK_FUTEX
    struct list waiters;  // [lock] futex_waiter.link, oldest first
} cache_aligned;

struct futex_waiter {
    struct list link;                // [lock of bucket]
    _Atomic(struct bucket *) bucket; // where it waits; NULL: woken
    struct mm_key key;               // [lock of bucket]
    u32 bitset;
    struct thread *thread;
};

static struct bucket buckets[NR_BUCKETS];

void futex_init(void)
{
    for (unsigned i = 0; i < NR_BUCKETS; i++) {
        spin_init(&buckets[i].lock, RANK_FUTEX);
        list_init(&buckets[i].waiters);
    }
}

static struct bucket *bucket_of(const struct mm_key *k)
{
    u64 h = (u64)k->object ^ k->index * 0x9e3779b97f4a7c15ull ^ (u64)k->offset << 20;

    h *= 0x9e3779b97f4a7c15ull;
    return &buckets[h >> 56];
}
_Static_assert(NR_BUCKETS == 1 << 8, "bucket_of takes eight bits");

static bool key_same(const struct mm_key *a, const struct mm_key *b)
{
    return a->object == b->object && a->index == b->index && a->offset == b->offset &&
           a->shared == b->shared;
}

static void buckets_lock(struct bucket *a, struct bucket *b)
{
    struct bucket *first = a < b ? a : b, *second = a < b ? b : a;

    spin_lock(&first->lock);
    while (first != second && !spin_trylock(&second->lock)) {
        cpu_relax();
    }
}

static void buckets_unlock(struct bucket *a, struct bucket *b)
{
    spin_unlock(&a->lock);
    if (a != b) {
        spin_unlock(&b->lock);
    }
}

static int key_get(u64 uaddr, bool process_private, struct mm_key *key)
{
    if (uaddr & 3) {
        return -EINVAL;
    }
    memset(key, 0, sizeof(*key));
    return mm_futex_key(current_mm(), uaddr, process_private, key);
}

// --- Waking --------------------------------------------------------------------------------------

static void waiter_wake_locked(struct futex_waiter *w)
{
    struct thread *t = w->thread;

    list_del(&w->link);
    store_release(&w->bucket, NULL); /* pairs with futex_sleep; w is gone from here on */
    thread_wake(t);
}

static unsigned bucket_wake_locked(struct bucket *b, const struct mm_key *key, unsigned nr,
                                   u32 bitset)
{
    struct futex_waiter *w, *tmp;
    unsigned woken = 0;

    list_for_each_entry_safe (w, tmp, &b->waiters, link) {
        if (woken == nr) {
            break;
        }
        if (key_same(&w->key, key) && (w->bitset & bitset)) {
            waiter_wake_locked(w);
            woken++;
        }
    }
    return woken;
}

static s64 futex_wake(u64 uaddr, bool private_, s64 nr, u32 bitset)
{
    struct mm_key key;
    struct bucket *b;
    int err = key_get(uaddr, private_, &key);
    unsigned woken;

    if (err) {
        return err;
    }
    if (!bitset) {
        return -EINVAL;
    }
    b = bucket_of(&key);
    spin_lock(&b->lock);
    woken = bucket_wake_locked(b, &key, nr > 0 ? (unsigned)nr : 1, bitset);
    spin_unlock(&b->lock);
    return woken;
}

int futex_wake_user(u64 uaddr, bool process_private, unsigned nr)
{
    return (int)futex_wake(uaddr, process_private, nr, FUTEX_BITSET_MATCH_ANY);
}

// --- Waiting -------------------------------------------------------------------------------------

// Join the bucket if the word is as expected. 0, -EAGAIN (it is not), -EFAULT.
static int futex_enqueue(struct futex_waiter *w, u64 uaddr, u32 expected)
{
    struct bucket *b = bucket_of(&w->key);
    u32 word;

    for (;;) {
        spin_lock(&b->lock);
        if (arch_user_load32_nofault((const u32 *)uaddr, &word) == 0) {
            break;
        }
        spin_unlock(&b->lock);
        if (arch_user_load32((const u32 *)uaddr, &word)) {
            return -EFAULT;
        }
        if (thread_signal_pending()) {
            return -ERESTARTSYS; // a page that never stays must not keep us here
        }
        cond_resched();
    }
    if (word != expected) {
        spin_unlock(&b->lock);
        return -EAGAIN;
    }
    store_relaxed(&w->bucket, b);
    list_add_tail(&b->waiters, &w->link);
    spin_unlock(&b->lock);
    return 0;
}

// false: it was woken before we could take it off its list.
static bool futex_dequeue(struct futex_waiter *w)
{
    struct bucket *b;

    while ((b = load_acquire(&w->bucket)) != NULL) { /* pairs with waiter_wake_locked */
        spin_lock(&b->lock);
        if (load_relaxed(&w->bucket) == b) {
            list_del(&w->link);
            spin_unlock(&b->lock);
            return true;
        }
        spin_unlock(&b->lock); // requeued, or woken, meanwhile
    }
    return false;
}

// 0: woken; -ETIMEDOUT; -EINTR: a signal. wall: the deadline is a time of the wall clock.
static int futex_sleep(struct futex_waiter *w, u64 deadline_ns, bool wall)
{
    int r = 1;

    while (r == 1) {
        thread_set_state(THREAD_SLEEPING);
        if (!load_acquire(&w->bucket)) { /* pairs with waiter_wake_locked */
            break;
        }
        r = thread_signal_pending() ? -EINTR
            : wall                  ? schedule_until_wall(deadline_ns)
                                    : schedule_until(deadline_ns);
    }
    thread_set_state(THREAD_RUNNABLE);
    if (!futex_dequeue(w)) {
        return 0; // a wake-up wins: it was spent on us
    }
    return r == -EINTR ? -EINTR : -ETIMEDOUT;
}

static s64 futex_wait(u64 uaddr, bool private_, u32 expected, u64 deadline_ns, bool wall,
                      u32 bitset)
{
    struct futex_waiter w = {.bitset = bitset, .thread = current_thread()};
    int err = key_get(uaddr, private_, &w.key);

    if (err) {
        return err;
    }
    if (!bitset) {
        return -EINVAL;
    }
    err = futex_enqueue(&w, uaddr, expected);
    return err ? err : futex_sleep(&w, deadline_ns, wall);
}

// relative: FUTEX_WAIT's timeout; otherwise a time on the chosen clock.
static s64 futex_wait_timed(const u64 *a, unsigned op, bool relative, u32 bitset)
{
    struct task_ext *t = current_task();
    bool wall = op & FUTEX_CLOCK_REALTIME && !relative;
    u64 deadline = TIME_NEVER;
    s64 r;

    if (a[3]) {
        r = deadline_from_user(a[3], wall ? CLOCK_REALTIME : CLOCK_MONOTONIC, !relative, &deadline);
        if (r) {
            return r;
        }
    }
    if (relative && t->resume_deadline_ns) {
        deadline = t->resume_deadline_ns; // the call starts again after a signal without a handler
    }
    t->resume_deadline_ns = 0;
    r = futex_wait(a[0], op & FUTEX_PRIVATE_FLAG, (u32)a[2], deadline, wall, bitset);
    if (r != -EINTR) {
        return r;
    }
    if (!a[3]) {
        return -ERESTARTSYS;
    }
    t->resume_deadline_ns = relative ? deadline : 0;
    return relative ? -ERESTARTRESUME : -ERESTARTNOHAND;
}

// --- Requeue and wake-op -------------------------------------------------------------------------

// Move up to nr waiters of `from` to `to`. Both buckets locked.
static unsigned bucket_requeue_locked(struct bucket *b1, const struct mm_key *from,
                                      struct bucket *b2, const struct mm_key *to, unsigned nr)
{
    struct futex_waiter *w, *tmp;
    struct list moved = LIST_INIT(moved);
    unsigned n = 0;

    list_for_each_entry_safe (w, tmp, &b1->waiters, link) {
        if (n == nr) {
            break;
        }
        if (key_same(&w->key, from)) {
            list_del(&w->link);
            w->key = *to;
            store_release(&w->bucket, b2); /* pairs with futex_dequeue */
            list_add_tail(&moved, &w->link);
            n++;
        }
    }
    list_splice_tail(&b2->waiters, &moved);
    return n;
}

static s64 futex_requeue(const u64 *a, bool private_, bool compare)
{
    s32 nr_wake = (s32)a[2], nr_move = (s32)a[3];
    struct mm_key key1, key2;
    struct bucket *b1, *b2;
    unsigned woken, moved;
    u32 word;
    int err;

    if (nr_wake < 0 || nr_move < 0) {
        return -EINVAL;
    }
    err = key_get(a[0], private_, &key1);
    if (!err) {
        err = key_get(a[4], private_, &key2);
    }
    if (err) {
        return err;
    }
    b1 = bucket_of(&key1);
    b2 = bucket_of(&key2);
    buckets_lock(b1, b2);
    while (compare && arch_user_load32_nofault((const u32 *)a[0], &word)) {
        buckets_unlock(b1, b2);
        if (arch_user_load32((const u32 *)a[0], &word)) {
            return -EFAULT;
        }
        if (thread_signal_pending()) {
            return -ERESTARTSYS; // nothing was done; the page may be taken from us for ever
        }
        cond_resched();
        buckets_lock(b1, b2);
    }
    if (compare && word != (u32)a[5]) {
        buckets_unlock(b1, b2);
        return -EAGAIN;
    }
    woken = bucket_wake_locked(b1, &key1, (unsigned)nr_wake, FUTEX_BITSET_MATCH_ANY);
    moved = bucket_requeue_locked(b1, &key1, b2, &key2, (unsigned)nr_move);
    buckets_unlock(b1, b2);
    return woken + moved;
}

static u32 wake_op_apply(u32 op, u32 old, u32 arg)
{
    switch (op) {
    case FUTEX_OP_SET:
        return arg;
    case FUTEX_OP_ADD:
        return old + arg;
    case FUTEX_OP_OR:
        return old | arg;
    case FUTEX_OP_ANDN:
        return old & ~arg;
    default:
        return old ^ arg;
    }
}

static bool wake_op_compare(u32 cmp, s32 old, s32 arg)
{
    switch (cmp) {
    case FUTEX_OP_CMP_EQ:
        return old == arg;
    case FUTEX_OP_CMP_NE:
        return old != arg;
    case FUTEX_OP_CMP_LT:
        return old < arg;
    case FUTEX_OP_CMP_LE:
        return old <= arg;
    case FUTEX_OP_CMP_GT:
        return old > arg;
    default:
        return old >= arg;
    }
}

// Change the second word, wake on the first, and on the second too if its old value says so. The
// change is atomic by itself and comes before both wakes, which is all that waiters can tell.
static s64 futex_wake_op(const u64 *a, bool private_)
{
    u32 spec = (u32)a[5], op = spec >> 28 & 7, cmp = spec >> 24 & 15;
    s32 op_arg = (s32)(spec << 8) >> 20, cmp_arg = (s32)(spec << 20) >> 20;
    u32 *word = (u32 *)a[4], old, seen;
    s64 n, more = 0;
    int err;

    if (op > FUTEX_OP_XOR || cmp > FUTEX_OP_CMP_GE) {
        return syscall_missing("futex: FUTEX_WAKE_OP with an unknown operation", -ENOSYS);
    }
    if ((a[0] | a[4]) & 3) {
        return -EINVAL;
    }
    if (spec >> 28 & FUTEX_OP_OPARG_SHIFT) {
        op_arg = (s32)(1u << (op_arg & 31));
    }
    err = arch_user_load32(word, &seen);
    do {
        old = seen;
        if (err || (err = arch_user_cas32(word, &seen, wake_op_apply(op, old, (u32)op_arg)))) {
            return err;
        }
    } while (seen != old);
    n = futex_wake(a[0], private_, (s32)a[2], FUTEX_BITSET_MATCH_ANY);
    if (n >= 0 && wake_op_compare(cmp, (s32)old, cmp_arg)) {
        more = futex_wake(a[4], private_, (s32)a[3], FUTEX_BITSET_MATCH_ANY);
    }
    return n < 0 ? n : more < 0 ? more : n + more;
}

s64 sys_futex(const u64 *a)
{
    unsigned op = (unsigned)a[1];
    bool private_ = op & FUTEX_PRIVATE_FLAG;

    switch (op & (unsigned)FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
        return futex_wait_timed(a, op, true, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAIT_BITSET:
        return futex_wait_timed(a, op, false, (u32)a[5]);
    case FUTEX_WAKE:
        return futex_wake(a[0], private_, (s32)a[2], FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAKE_BITSET:
        return futex_wake(a[0], private_, (s32)a[2], (u32)a[5]);
    case FUTEX_REQUEUE:
        return futex_requeue(a, private_, false);
    case FUTEX_CMP_REQUEUE:
        return futex_requeue(a, private_, true);
    case FUTEX_WAKE_OP:
        return futex_wake_op(a, private_);
    default:
        return syscall_missing("futex: this operation (priority inheritance, FUTEX_FD)", -ENOSYS);
    }
}
