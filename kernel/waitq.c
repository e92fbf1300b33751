// Wait queues: sleep until a condition that somebody else makes true.
//
// The sleeper queues itself and sets its state before it looks at the condition; the waker makes
// the condition true before it looks at the queue and, in thread_wake, at the state. Whichever
// comes second sees the other:
//
//      sleeper                             waker
//      queue (under q->lock)               condition = true
//      state = BLOCKED (full barrier)      take the first waiter (under q->lock)
//      condition? yes: finish              thread_wake: full barrier, state is BLOCKED?
//      schedule()                            yes: RUNNABLE, on a run queue
//
// A waker takes the waiter off the queue, so a second wake-up reaches the next one; a sleeper that
// finds its condition still false queues itself again, at the tail. Wakers call thread_wake under
// q->lock and waitq_finish takes that lock, so a waiter is never gone while a waker looks at it.
//
// waitq_wake_one may hit a sleeper that has just found its condition true and is leaving. The
// wake-up may have been meant for the next one: waitq_finish notices (somebody took it off the
// queue) and passes it on. At worst a thread wakes up for nothing.
//
// Watchers (epoll) are told of every wake-up and stay. One that arrives after the condition became
// true is not told, so who adds one looks at the condition afterwards: the queue's lock orders the
// two.
#include <k/assert.h>
#include <sched.h>

void waitq_init(struct waitq *q)
{
    spin_init(&q->lock, RANK_WAITQ);
    list_init(&q->waiters);
    list_init(&q->watchers);
}

void waitq_watch(struct waitq *q, struct watcher *w)
{
    unsigned long flags = spin_lock_irq(&q->lock);
    if (w->exclusive) {
        list_add_tail(&q->watchers, &w->link);
    } else {
        list_add_head(&q->watchers, &w->link);
    }
    spin_unlock_irq(&q->lock, flags);
}

void waitq_unwatch(struct waitq *q, struct watcher *w)
{
    unsigned long flags = spin_lock_irq(&q->lock);
    list_del(&w->link);
    spin_unlock_irq(&q->lock, flags);
}

bool waitq_has_watchers(struct waitq *q)
{
    unsigned long flags = spin_lock_irq(&q->lock);
    bool has = !list_empty(&q->watchers);
    spin_unlock_irq(&q->lock, flags);
    return has;
}

static void waitq_tell_watchers_locked(struct waitq *q, unsigned events)
{
    struct watcher *w;
    list_for_each_entry (w, &q->watchers, link) {
        if (w->fn(w, events) && w->exclusive) {
            break;
        }
    }
}

void waitq_prepare(struct waitq *q, struct waiter *w, enum thread_state s)
{
    unsigned long flags = spin_lock_irq(&q->lock);
    if (!w->thread) {
        w->thread = current_thread();
        list_add_tail(&q->waiters, &w->link);
    }
    thread_set_state(s);
    spin_unlock_irq(&q->lock, flags);
}

static bool waitq_wake_first_locked(struct waitq *q)
{
    struct waiter *w = list_first(&q->waiters, struct waiter, link);
    if (!w) {
        return false;
    }
    struct thread *t = w->thread;
    list_del(&w->link);
    w->thread = NULL;
    thread_wake(t);
    return true;
}

void waitq_finish(struct waitq *q, struct waiter *w)
{
    thread_set_state(THREAD_RUNNABLE);
    unsigned long flags = spin_lock_irq(&q->lock);
    if (w->thread) {
        list_del(&w->link);
        w->thread = NULL;
    } else {
        waitq_wake_first_locked(q);
    }
    spin_unlock_irq(&q->lock, flags);
}

void waitq_wake_one(struct waitq *q)
{
    unsigned long flags = spin_lock_irq(&q->lock);
    waitq_tell_watchers_locked(q, ~0u);
    waitq_wake_first_locked(q);
    spin_unlock_irq(&q->lock, flags);
}

void waitq_wake_all(struct waitq *q)
{
    waitq_wake_all_for(q, ~0u);
}

void waitq_wake_all_for(struct waitq *q, unsigned events)
{
    unsigned long flags = spin_lock_irq(&q->lock);
    waitq_tell_watchers_locked(q, events);
    while (waitq_wake_first_locked(q)) {
    }
    spin_unlock_irq(&q->lock, flags);
}
