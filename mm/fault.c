// The page fault. Start reading here.
//
// The problem. Threads of one program touch new memory on many CPUs at once while others map, unmap
// and protect. A lock or a count that every fault takes is a cache line that every CPU fights for.
//
// The idea. A fault writes nothing shared until it has everything in hand, then locks the one
// page-table page it installs into, and only there asks whether what it believed is still true:
//
//     enter     RCU; find the VMA                      } no store to any line
//     check     may this access be?                    } another CPU looks at
//     walk      to the leaf table                      }
//     prepare   a page from this CPU's list, or find the file's page in its cache
//     lock the leaf table
//       attached? VMA live? entry as we saw it?        the only decisive test
//       install
//     unlock, leave
//
// Whatever is unexpected on the way (an entry changed, a table detached, the VMA replaced, no
// memory without sleeping, the page not in the cache) has one answer: let go of everything, do what
// may take long, start again. What is dear is carried along: the page that ->fault read in
// (f->page) and the page of our own (f->anon). So no state is ever half right, and no case needs a
// path of its own.
//
// Who else is in play: writers (mmap.c and friends) publish new VMAs, retire old ones with a full
// barrier, and then clear entries under the same table locks (invariant 1); table detaching
// (pgtable.c); truncate, which clears page->mapping and then entries (filemap.c). Why the one test
// under the lock is enough against each: docs/FAULT.md.
//
// How VMAs are found and kept is the scheme's affair (mm/scheme/); this file names none.

#include <k/assert.h>
#include <k/errno.h>
#include <k/explore.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <fault.h>
#include <pgtable.h>
#include <proc.h>
#include <sched.h>
#include <signal.h>
#include <smp.h>
#include <tlb.h>
#include "mm_priv.h"

void fault_drop_page(struct fault *f)
{
    if (f->page) {
        page_put(f->page);
        f->page = NULL;
    }
    f->mkwrite_done = false;
}

// DOC: fork-write. A table that a fork has closed takes entries for reading only.
bool fault_lock_odd(struct fault *f)
{
    if (!(load_relaxed(&f->table->state) & PT_DETACHED) && !(f->access & FAULT_WRITE) &&
        f->mm->scheme->fault_live(f)) {
        return true;
    }
    spin_unlock(&f->table->ptl);
    return false;
}

static int fault_check_access(const struct vma *v, unsigned access)
{
    unsigned need = access & FAULT_WRITE  ? VMA_WRITE
                    : access & FAULT_EXEC ? VMA_EXEC
                                          : VMA_ACCESS_FLAGS; // write or exec implies read
    return likely(v->flags & need) ? 0 : -EACCES;
}

// A file mapping and an empty entry.
static int fault_file(struct fault *f)
{
    const struct vma *v = f->vma;
    bool write = f->access & FAULT_WRITE;
    if (!write || (v->flags & VMA_SHARED)) {
        return v->ops->map_pages(f);
    }
    struct page *src = v->ops->find_page(f);
    return src ? fault_copy(f, src) : -ENOENT;
}

// Under RCU: find everything and install. -ENOENT: ->fault or ->page_mkwrite must run first.
static int fault_try(struct fault *f)
{
    yield_point("vma found");
    int err = fault_check_access(f->vma, f->access);
    f->want_mkwrite = false; // belongs to one pass
    if (err) {
        // An old VMA may refuse what its replacement allows.
        return load_acquire(&f->vma->state) == VMA_LIVE ? err : -EAGAIN; // pairs with edit_retire
    }
    err = pt_walk_leaf_nosleep(f->mm, f->addr, &f->table, &f->slot);
    if (unlikely(err)) {
        return err;
    }
    f->old = pte_read(f->slot);
    if (likely(pte_is_empty(f->old))) {
        return f->vma->ops ? fault_file(f) : fault_anon(f);
    }
    return fault_present(f);
}

// The blocking half. The VMA is counted (fault_park); nothing else is held.
static int fault_block(struct fault *f)
{
    int err;
    mm_this_cpu(f->mm)->parks++;
    if (f->want_mkwrite) {
        fault_count(mkwrite);
        err = f->vma->ops->page_mkwrite(f);
        f->mkwrite_done = err == 0;
    } else {
        fault_drop_page(f); // truncated meanwhile
        err = f->vma->ops->fault(f);
    }
    vma_put(f->vma);
    f->vma = NULL;
    // Whatever the file system calls its failure: there is no page behind this address.
    return !err || err == -EAGAIN ? -EAGAIN : err == -ENOMEM ? -ENOMEM : -EIO;
}

// A fault that fails may have installed tables under a VMA that is gone by now; nobody else will
// look there (the empty slot, pgtable.c).
static cold void fault_prune(struct fault *f)
{
    struct tlb_batch b;
    fault_count(failed);
    tlb_begin(&b, f->mm);
    pt_prune(f->mm, f->addr, &b);
    tlb_end(&b);
}

// A writer has published this address but is still clearing what was there before: wait for it.
static cold void fault_wait_writer(struct fault *f)
{
    struct edit e = {.mm = f->mm, .start = f->addr, .end = f->addr + PAGE_SIZE};
    if (f->mm->scheme->edit_enter(&e) == 0) {
        f->mm->scheme->edit_leave(&e);
    }
}

// Let go of everything, then see what kept us: the part of a retry that may sleep.
static cold int fault_slow(struct fault *f, int err)
{
    trace_event("fault: address, what held it up", f->addr, (u64)-err);
    const struct mm_scheme *scheme = f->mm->scheme;
    unsigned state;

    switch (err) {
    case -ENOENT:
        scheme->fault_park(f);
        return f->vma ? fault_block(f) : -EAGAIN;
    case -ENOMEM:
        scheme->fault_leave(f);
        fault_count(refill);
        err = page_refill();
        return err ? err : -EAGAIN;
    case -EAGAIN:
        state = load_acquire(&f->vma->state);
        scheme->fault_leave(f);
        if (state == VMA_PENDING) {
            fault_count(writer);
            fault_wait_writer(f);
        } else {
            fault_count(moved);
        }
        fork_settle(f->mm, f->addr, f->access);
        return -EAGAIN;
    default:
        scheme->fault_leave(f);
        return err;
    }
}

// One pass. 0: done; -EAGAIN: start again; else the fault fails. Nothing but f->page and f->anon is
// held on return.
static on_one_page(512) int fault_pass(struct fault *f)
{
    const struct mm_scheme *scheme = f->mm->scheme;
    int err = scheme->fault_enter(f);
    if (unlikely(err)) {
        return err == -EFAULT && stack_grow(f->mm, f->addr) ? -EAGAIN : err;
    }
    err = fault_try(f);
    if (likely(!err)) {
        scheme->fault_leave(f);
        return 0;
    }
    return fault_slow(f, err);
}

static cold int fault_again(struct fault *f)
{
    int err;
    fault_count(again);
    do {
        f->retries++;
        cond_resched();
        err = fault_pass(f);
    } while (err == -EAGAIN);
    mm_this_cpu(f->mm)->retries += f->retries;
    return err;
}

static cold void fault_release(struct fault *f)
{
    fault_drop_page(f);
    if (f->anon) {
        page_free(f->anon);
    }
}

int mm_fault(struct mm *mm, vaddr_t addr, unsigned access)
{
    struct fault f;
    f.mm = mm; // one by one: the rest is set before it is read, and clearing it all is not free
    f.addr = page_align_down(addr);
    f.access = access;
    f.page = f.anon = NULL;
    f.mkwrite_done = false;
    f.retries = 0;
    int err = fault_pass(&f);
    if (unlikely(err == -EAGAIN)) {
        err = fault_again(&f);
    }
    if (unlikely(f.page || f.anon)) {
        fault_release(&f);
    }
    if (unlikely(err)) {
        fault_prune(&f);
    }
    mm_this_cpu(mm)->faults++;
    return err;
}

static cold void fault_signal(vaddr_t addr, int err)
{
    trace_event("fault failed: address, errno", addr, (u64)-err);
    switch (err) {
    case -EACCES:
        force_signal_fault(SIGSEGV, SEGV_ACCERR, addr);
        break;
    case -EIO:
        force_signal_fault(SIGBUS, BUS_ADRERR, addr);
        break;
    case -ENOMEM:
        printk("out of memory: killing process %d\n", current_process()->pid);
        force_signal_fault(SIGKILL, SI_KERNEL, addr);
        break;
    default:
        force_signal_fault(SIGSEGV, SEGV_MAPERR, addr);
        break;
    }
}

bool handle_page_fault(vaddr_t addr, unsigned access, bool user)
{
    struct mm *mm = current_thread()->mm;
    int err = likely(mm && addr < USER_END) ? mm_fault(mm, addr, access) : -EFAULT;
    if (likely(!err)) {
        return true;
    }
    if (!user) {
        return false;
    }
    fault_signal(addr, err);
    return true;
}
