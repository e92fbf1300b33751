// process_vm_readv, process_vm_writev: memory of one process to another. See process_vm_readv(2).
//
// Both sides are lists of pieces; the bytes go over one after the other, whatever the pieces'
// borders. They go through a page of the kernel: the other side's page is pinned by mm_copy_to and
// mm_copy_from only for the copy itself, never while this side's memory, which may fault and sleep,
// is touched. Rejected: holding the pin over both, which saves the second copy; a fork of the other
// process would find pages pinned for as long as our faults take, and copy each of them.
//
// The other process may exec or end meanwhile: the call has counted its address space once and goes
// on with that one.
#include <arch/uaccess.h>
#include <iov.h>
#include <k/errno.h>
#include <mm.h>
#include <proc.h>
#include <sched.h>
#include <signal.h>
#include <slab.h>
#include <syscalls.h>

#include "proc_priv.h"

// Where one side is.
struct side {
    struct uapi_iovec *v, *at; // v: to be freed; [at, end)
    struct uapi_iovec *end;
};

// Bytes to the end of the current piece; 0: nothing is left.
static u64 side_room(struct side *s)
{
    while (s->at < s->end && s->at->len == 0) {
        s->at++;
    }
    return s->at < s->end ? s->at->len : 0;
}

static void side_advance(struct side *s, u64 n)
{
    s->at->base += n;
    s->at->len -= n;
}

struct transfer {
    struct mm *mm; // the other process's
    struct side here, there;
    char *page;
    bool write; // from here to there
};

// n bytes, which lie in one page of theirs: those that went over, or -EFAULT.
static ssize_t transfer_some(struct transfer *t, size_t n)
{
    void *user = (void *)t->here.at->base;
    vaddr_t at = t->there.at->base;
    size_t left, got;

    if (t->write) {
        got = n - arch_copy_from_user(t->page, user, n);
        left = got ? mm_copy_to(t->mm, at, t->page, got) : 0;
    } else {
        got = n - mm_copy_from(t->mm, t->page, at, n);
        left = got ? arch_copy_to_user(user, t->page, got) : 0;
    }
    return got > left ? (ssize_t)(got - left) : -EFAULT;
}

static s64 transfer_all(struct transfer *t)
{
    s64 done = 0;

    for (;;) {
        u64 n = side_room(&t->here), there = side_room(&t->there);
        ssize_t r;

        n = min(n, there);
        n = n ? min(n, PAGE_SIZE - (t->there.at->base & ~PAGE_MASK)) : 0;

        if (n == 0 || (thread_signal_pending() && thread_kill_pending())) {
            return done;
        }
        r = transfer_some(t, n);
        if (r < 0) {
            return done ? done : r;
        }
        done += r;
        if ((size_t)r < n) {
            return done;
        }
        side_advance(&t->here, n);
        side_advance(&t->there, n);
        cond_resched();
    }
}

static s64 transfer_with(s32 pid, struct transfer *t)
{
    struct process *p = process_get_by_tid(pid);
    s64 r;

    if (!p) {
        return -ESRCH;
    }
    r = creds_get_mm(p, &t->mm);
    if (!r) {
        t->page = kmalloc(PAGE_SIZE, GFP_KERNEL);
        r = t->page ? transfer_all(t) : -ENOMEM;
        kfree(t->page);
        mm_put(t->mm);
    }
    process_put(p);
    return r;
}

static void side_set(struct side *s, u64 nr)
{
    s->at = s->v;
    s->end = s->v + (s->v ? nr : 0);
}

static s64 process_vm_call(const u64 *a, bool write)
{
    struct transfer t = {.write = write};
    s64 r = a[5] ? -EINVAL : iov_read_own(a[1], a[2], &t.here.v);

    side_set(&t.here, a[2]);
    if (!r && side_room(&t.here)) {
        r = iov_read(a[3], a[4], INT64_MAX, &t.there.v);
        side_set(&t.there, a[4]);
        if (!r && side_room(&t.there)) {
            r = transfer_with((s32)a[0], &t);
        }
        kfree(t.there.v);
    }
    kfree(t.here.v);
    return r;
}

s64 sys_process_vm_readv(const u64 *a)
{
    return process_vm_call(a, false);
}

s64 sys_process_vm_writev(const u64 *a)
{
    return process_vm_call(a, true);
}
