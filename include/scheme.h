// The locking scheme of an address space: how faults and writers keep out of each other's way. One
// file each in mm/scheme/, the same seven functions in the same order under the same headings. The
// fault driver never names a scheme. Chosen per boot (mm.scheme=NAME) and per address space.
//
// A scheme may keep state in vma->scheme_word and in fields of struct mm that it adds (mm_create
// makes them). docs/FAULT.md tells how to add one and how to test it.
#ifndef SCHEME_H
#define SCHEME_H

#include <k/types.h>
#include <maple.h>
#include <vma.h>

struct fault;

// A writer at work on an address space.
struct edit {
    struct mm *mm;
    vaddr_t start, end; // the hole: what the plan clears
    bool erase;         // the hole stays (partly) empty: store NULL over it
    bool occupied;      // something was mapped in the hole: zap it after the commit
    struct list old;    // VMAs to retire, by edit_link
    struct list fresh;  // VMAs to publish, by edit_link, in address order
    unsigned nr_old, nr_fresh;
    struct maple_prealloc pre;
};

struct mm_scheme {
    const char *name;

    // Find the VMA of f->addr and keep it readable until fault_leave or fault_park. In every scheme
    // an RCU read section is open from here to there, so a fault does not sleep in between. What
    // the tree yields may be retired at any moment, or be so already: its memory stays while the
    // section lasts, and that is all. 0; -EFAULT: no VMA; -EAGAIN: start again. On an error nothing
    // is held.
    int (*fault_enter)(struct fault *f);

    // The lock of the leaf table is held: may this fault still install what it has prepared? Not
    // from a VMA that is PENDING, if faults can meet one: its writer is still clearing.
    bool (*fault_live)(struct fault *f);

    // Going to sleep: keep f->vma (counted, and so its file), let go of everything else. The driver
    // puts the VMA itself. f->vma is NULL after it when the VMA was on its way out: start again.
    void (*fault_park)(struct fault *f);

    void (*fault_leave)(struct fault *f);

    // A writer enters [e->start, e->end) of e->mm (the whole space when both are 0) and leaves; no
    // two at a time in one address space. What the headers call the edit lock is held from here to
    // edit_leave. Sleeps. 0 or an errno, which the call returns.
    int (*edit_enter)(struct edit *e);

    // old is no longer in the tree: from the return of this function on, no fault installs an entry
    // from it. May sleep, so may wait until the faults inside have left. A full barrier on return:
    // the caller looks at table slots next (invariant 2).
    void (*edit_retire)(struct edit *e, struct vma *old);

    void (*edit_leave)(struct edit *e);
};

extern const struct mm_scheme scheme_rcu, scheme_mmap_lock;

// NULL: no such scheme. scheme_nth: for listing, NULL at the end.
const struct mm_scheme *scheme_by_name(const char *name);
const struct mm_scheme *scheme_nth(unsigned n);
const struct mm_scheme *scheme_default(void);
// Of address spaces made from now on (a child has its parent's). -EINVAL: no such scheme.
int scheme_set_default(const char *name);
void scheme_init(void); // boot: reads mm.scheme=

#endif
