// Dropping a file where sleeping is not allowed.
//
// The last put of a file may evict its inode, which takes sleeping locks. VMAs let go of their
// files in RCU callbacks, so a put that turns out to be the last is handed to a kernel thread
// through a lock-free chain; every other put is a plain decrement on the spot.
//
// A put may lead to the next one, as that of a socket in a message to a socket in a message. Who
// wants to look at what is left over only when all of them are over asks with file_put_then.
//
// Who waits for the thread mostly wants certain files gone, and others hand over new ones all the
// time. So files are put in the order they came, and counted: those that came before file_put_flush
// are among the first nr_given that it saw. A file that is counted and not yet in the chain only
// makes it wait for one more. file_put_settle does wait until nothing is left, however long others
// go on.

#include <fs.h>
#include <k/assert.h>
#include <k/atomic.h>
#include <k/errno.h>
#include <sched.h>

static _Atomic(struct file *) later;
static _Atomic(void (*)(void)) then;
static atomic_long nr_later;          // handed over, not yet put; and 1 for `then`
static atomic_ulong nr_given, nr_put; // files since boot
static struct waitq later_waitq = WAITQ_INIT(later_waitq);
static struct waitq flush_waitq = WAITQ_INIT(flush_waitq);

static bool put_unless_last(struct file *f)
{
    int ref = load_relaxed(&f->ref);
    while (ref > 1) {
        if (atomic_compare_exchange_weak(&f->ref, &ref, ref - 1)) {
            return true;
        }
    }
    return false;
}

// Whoever comes to 0 tells, for who is not the last one finds it at 1:
//
//      file_put_then                   the thread            file_put_settle
//      nr_later: 1 -> 2
//      `then` is set already
//                                      fn(); 2 -> 1; wake    1: sleeps on
//      nr_later: 1 -> 0                                      sleeps for ever
static void count_down(void)
{
    if (atomic_fetch_sub(&nr_later, 1) == 1) { // pairs with file_put_settle
        waitq_wake_all(&flush_waitq);
    }
}

void file_put_later(struct file *f)
{
    if (put_unless_last(f)) {
        return;
    }
    atomic_fetch_add(&nr_later, 1);
    fetch_add_relaxed(&nr_given, 1); // who asks for a flush knows of it by other means
    struct file *head = load_relaxed(&later);
    do {
        f->later = head;
    } while (!atomic_compare_exchange_weak(&later, &head, f)); // pairs with chain_take
    waitq_wake_one(&later_waitq);
}

void file_put_then(void (*fn)(void))
{
    atomic_fetch_add(&nr_later, 1); // first, or the thread could be done before it
    if (atomic_exchange(&then, fn)) {
        count_down(); // it has been asked for
    }
    waitq_wake_one(&later_waitq); // pairs with the look at `then`
}

// What has been handed over, the oldest first.
static struct file *chain_take(void)
{
    struct file *f = atomic_exchange(&later, NULL), *first = NULL; // pairs with file_put_later
    while (f) {
        struct file *older = f->later;
        f->later = first;
        first = f;
        f = older;
        cond_resched();
    }
    return first;
}

static void file_later_thread(void *arg)
{
    (void)arg;
    for (;;) {
        waitq_wait(&later_waitq, load_relaxed(&later) || load_relaxed(&then));
        struct file *f = chain_take();
        while (f) {
            struct file *next = f->later;
            file_put(f);
            fetch_add_seq(&nr_put, 1); // pairs with file_put_flush
            count_down();
            f = next;
            cond_resched();
        }
        waitq_wake_all(&flush_waitq);
        void (*fn)(void) = load_relaxed(&later) ? NULL : atomic_exchange(&then, NULL);
        if (fn) {
            fn();
            count_down();
        }
    }
}

void file_put_flush(void)
{
    unsigned long given = load_relaxed(&nr_given);
    waitq_wait(&flush_waitq, load_seq(&nr_put) >= given); // pairs with the thread's count
}

int file_put_settle(void)
{
    return waitq_wait_signal(&flush_waitq, load_seq(&nr_later) == 0); // pairs with count_down
}

void file_put_later_init(void)
{
    struct thread *t = kthread_create("file-later", file_later_thread, NULL);
    assert(t);
}
