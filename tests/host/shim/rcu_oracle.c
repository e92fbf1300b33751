// RCU for host tests. Every thread that reads has a slot with the epoch at which its outermost read
// section began (0: none). call_rcu stamps an object with the epoch and moves the epoch on; the
// object may go when no slot holds a value up to the stamp.
//
// The reader's slot store and the later loads of its section are ordered by seq_cst on the store
// and the host being x86 or by the acquire loads that follow; the sanitizers see the release at
// unlock.
#include <k/assert.h>
#include <k/rcu.h>
#include <pthread.h>
#include <sched.h>
#include <shim.h>
#include <stdlib.h>

enum { MAX_READERS = 64 };

struct waiting {
    struct waiting *next;
    struct rcu_head *head;
    u64 stamp;
};

static struct reader {
    atomic_ulong since;
} cache_aligned readers[MAX_READERS];
static atomic_uint nr_readers;
static _Thread_local struct reader *self;
static _Thread_local unsigned nest;
static _Thread_local bool running; // this thread is inside a callback

static atomic_ulong epoch = 1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct waiting *oldest, **newest = &oldest; // [lock]
static atomic_long pending;
static atomic_bool eager;

void (*shim_publish_hook)(bool done);

void shim_rcu_eager(bool on)
{
    atomic_store(&eager, on);
}

long shim_rcu_pending(void)
{
    return atomic_load(&pending);
}

void rcu_read_lock(void)
{
    if (self == NULL) {
        unsigned i = atomic_fetch_add(&nr_readers, 1);

        assert(i < MAX_READERS);
        self = &readers[i];
    }
    if (nest++ == 0) {
        atomic_store(&self->since, atomic_load(&epoch));
    }
}

void rcu_read_unlock(void)
{
    assert(nest > 0);
    if (--nest == 0) {
        store_release(&self->since, 0); // pairs with oldest_reader
    }
}

bool rcu_read_held(void)
{
    return nest > 0;
}

static u64 oldest_reader(void)
{
    u64 min_since = ~0ull;
    unsigned n = atomic_load(&nr_readers);

    for (unsigned i = 0; i < n; i++) {
        u64 since = atomic_load(&readers[i].since);

        if (since != 0 && since < min_since) {
            min_since = since;
        }
    }
    return min_since;
}

static void run_ready(void)
{
    u64 limit;

    if (running) {
        return;
    }
    running = true;
    limit = oldest_reader();
    for (;;) {
        struct waiting *w;

        pthread_mutex_lock(&lock);
        w = oldest;
        if (w == NULL || w->stamp >= limit) {
            pthread_mutex_unlock(&lock);
            break;
        }
        oldest = w->next;
        if (oldest == NULL) {
            newest = &oldest;
        }
        pthread_mutex_unlock(&lock);
        w->head->fn(w->head);
        free(w);
        atomic_fetch_sub(&pending, 1);
    }
    running = false;
}

void call_rcu(struct rcu_head *head, void (*fn)(struct rcu_head *))
{
    struct waiting *w = malloc(sizeof(*w));

    assert(w != NULL);
    head->fn = fn;
    w->head = head;
    w->next = NULL;
    atomic_fetch_add(&pending, 1);
    pthread_mutex_lock(&lock);
    w->stamp = atomic_fetch_add(&epoch, 1);
    *newest = w;
    newest = &w->next;
    pthread_mutex_unlock(&lock);
    if (atomic_load(&eager)) {
        run_ready();
    }
}

void rcu_quiescent(void)
{
    assert(nest == 0);
    run_ready();
}

void synchronize_rcu(void)
{
    u64 now = atomic_fetch_add(&epoch, 1);

    assert(nest == 0);
    while (oldest_reader() <= now) {
        sched_yield();
    }
    run_ready();
}

void rcu_barrier(void)
{
    while (atomic_load(&pending) > 0) {
        synchronize_rcu();
    }
}
