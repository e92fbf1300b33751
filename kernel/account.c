// What the processes of one user come to together: how many threads they have (RLIMIT_NPROC).
//
// The problem: whoever makes a thread has to know how many its real user has already. To count them
// is to look at every process there is, under the lock that everybody needs.
//
// The idea: each user number that is the real one of a process has an account, which is counted by
// these processes and goes with the last of them; root's is always there. A thread is charged to
// it when it gets its number, and
//
//     a thread that is not the first     until it ends
//     the first thread                   until the process is reaped: a zombie counts as one, and
//                                        so does a first thread that ended before the others
//     execve by another than the first   takes the first one's place, and its own becomes free
//
// which is what Linux counts. p->nr_charged says how many of the account are p's, so that a change
// of the real user takes them along:
//
//     setuid in p                             a thread of p begins, or ends
//     p->lock: to->nr_tasks += nr_charged     p->lock: p->account->nr_tasks and p->nr_charged +- 1
//              from->nr_tasks -= nr_charged
//
// Both do it under p->lock: neither finds the one without the other.
//
// Locks: p->account and p->nr_charged are p->lock's. nr_tasks is atomic, as the processes of one
// user have different locks. Threads begin under the table lock, so two of them do not both find
// the last free place. The accounts' own lock is a leaf; under it a count of references becomes 0
// and the account leaves the table, so that none that is being freed is found.
//
// A change of user may exceed the limit, and does not fail: programs that gave up being root went
// on as root when it did. Instead, the next execve fails, if there are still too many by then
// (execve(2), EAGAIN, "since Linux 3.1").
//
// Rejected: the table lock instead of one of our own, because references are dropped with and
// without it; credentials that are objects of their own and hold the account, as Linux has them:
// here they belong to the process.
#include <k/assert.h>
#include <k/errno.h>
#include <proc.h>
#include <slab.h>

#include "proc_priv.h"

#define ACCOUNT_BUCKETS 256

struct account {
    struct list hash_link; // [accounts_lock]
    u32 uid;               // [I]
    atomic_int ref;        // [a] becomes 0 under accounts_lock
    atomic_ulong nr_tasks; // [a] counted, of all processes with this real user
};

static struct spinlock accounts_lock = SPINLOCK_INIT(RANK_SPIN_MISC);
static struct list accounts[ACCOUNT_BUCKETS]; // [accounts_lock]
static struct account root_account = {.ref = 1};

static struct list *bucket(u32 uid)
{
    return &accounts[uid % ACCOUNT_BUCKETS];
}

void accounts_init(void)
{
    for (unsigned i = 0; i < ACCOUNT_BUCKETS; i++) {
        list_init(&accounts[i]);
    }
    list_add_tail(bucket(0), &root_account.hash_link);
}

struct account *account_alloc(void)
{
    return kzalloc(sizeof(struct account), GFP_KERNEL);
}

void account_free(struct account *a)
{
    kfree(a);
}

struct account *account_get(struct account *a)
{
    fetch_add_relaxed(&a->ref, 1);
    return a;
}

void account_put(struct account *a)
{
    bool last;

    if (!a) {
        return;
    }
    spin_lock(&accounts_lock);
    last = atomic_fetch_sub(&a->ref, 1) == 1; // who frees sees what the others did before
    if (last) {
        list_del(&a->hash_link);
    }
    spin_unlock(&accounts_lock);
    if (last) {
        assert(load_relaxed(&a->nr_tasks) == 0);
        kfree(a);
    }
}

struct account *account_of(u32 uid, struct account **spare)
{
    struct account *a;

    spin_lock(&accounts_lock);
    list_for_each_entry (a, bucket(uid), hash_link) {
        if (a->uid == uid) {
            account_get(a);
            goto out_unlock;
        }
    }
    a = *spare;
    if (a) {
        *spare = NULL;
        a->uid = uid;
        store_relaxed(&a->ref, 1);
        list_add_tail(bucket(uid), &a->hash_link);
    }
out_unlock:
    spin_unlock(&accounts_lock);
    return a;
}

void account_charge_locked(struct process *p)
{
    spin_assert_held(&p->lock);
    p->nr_charged++;
    fetch_add_relaxed(&p->account->nr_tasks, 1);
}

void account_uncharge_locked(struct process *p)
{
    spin_assert_held(&p->lock);
    assert(p->nr_charged > 0);
    p->nr_charged--;
    fetch_sub_relaxed(&p->account->nr_tasks, 1);
}

// The limits are p's, which another thread may be changing: a look.
static bool above(const struct process *p, const struct account *a, u64 more)
{
    return load_relaxed(&a->nr_tasks) + more > data_race(p->rlimit[RLIMIT_NPROC].cur);
}

// getrlimit(2), RLIMIT_NPROC: it binds neither root nor who has one of two capabilities.
bool account_is_full(const struct process *p)
{
    return p->account->uid != 0 && above(p, p->account, 1) && !current_has_cap(CAP_SYS_RESOURCE) &&
           !current_has_cap(CAP_SYS_ADMIN);
}

// Linux looks before a thread changes its user, and each of p's threads does that in turn: the last
// one, which is the one that called setuid, finds all others there.
struct account *account_move_locked(struct process *p, struct account *to)
{
    struct account *from = p->account;

    spin_assert_held(&p->lock);
    store_relaxed(&p->nproc_exceeded, to->uid != 0 && above(p, to, p->nr_charged - 1));
    fetch_add_relaxed(&to->nr_tasks, p->nr_charged);
    fetch_sub_relaxed(&from->nr_tasks, p->nr_charged);
    p->account = to;
    return from;
}

int account_exec_check(void)
{
    struct process *p = current_process();
    int err = 0;

    if (!load_relaxed(&p->nproc_exceeded)) {
        return 0;
    }
    spin_lock(&p->lock); // p->account stays
    if (above(p, p->account, 0)) {
        err = -EAGAIN;
    } else {
        store_relaxed(&p->nproc_exceeded, false); // they have become fewer: forgiven for good
    }
    spin_unlock(&p->lock);
    return err;
}
