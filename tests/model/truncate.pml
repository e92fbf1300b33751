// Truncate against a fault that installs the page (invariant 8).
//
// Question: entries hold no reference on a file's page. Can an entry stay that leads to a page
// which truncate has removed and freed, and does a fault ever look at a page after it was freed?
//
//     fault      filemap_map_pages: mapping_find_rcu (or the page carried in f->page, which is
//                held), the walk with pt_install, fault_lock_leaf, page_is_usable, the install
//     truncate   remove_pages: pc_remove_below under mapping->lock, atomic_fence_seq,
//                rmap_unmap_file with zap_leaf and its flush under the table lock, release_pages;
//                page_put frees by RCU
//     SLOT       the parent's entry: 1 when there is a leaf table
//     ENTRY      the entry in the leaf table that leads to the page
//     CACHE      the page is in the tree of the page cache
//     MAPPING    page->mapping is this file
//
// The VMA lives all the time. Whether there is a table at the start is open. Truncate does not
// prune.
//
// BROKEN NO_MAPPING_CHECK   entry_to_freed  page->mapping is not asked
// BROKEN CHECK_BEFORE_LOCK  entry_to_freed  page->mapping is asked before the lock is taken, not
//                                           under it
// BROKEN UNMAP_FIRST        entry_to_freed  entries are cleared before page->mapping
// BROKEN TRUNCATE_RELEASE   entry_to_freed  page->mapping is cleared with release, and there is no
//                                           fence
// BROKEN FAULT_RELEASE      entry_to_freed  pt_install stores the slot with release
// BROKEN FAULT_ACQUIRE      entry_to_freed  page_is_usable loads page->mapping with acquire
// BROKEN NO_RCU             page_freed      the page is freed without a grace period

#define NR_CPU  2
#define SB_SIZE 6
#define NR_LOC  6
#include "buffer.h"

#define SLOT    0
#define ENTRY   1
#define CACHE   2
#define MAPPING 3
#define LOCK_P  4
#define LOCK_T  5

byte ref = 1;    // page->ref: the cache's 1, and 1 of a fault that carries the page
bool page_freed;
bool section;    // the fault is in a read section
bool waits;      // the callback waits for that one

#ifdef TRUNCATE_RELEASE
#define CLEAR_MAPPING() store(MAPPING, 0)
#define FENCE()
#else
#define CLEAR_MAPPING() store_seq(MAPPING, 0)
#define FENCE() fence()
#endif

#ifdef FAULT_RELEASE
#define PUBLISH() store(SLOT, 1)
#else
#define PUBLISH() store_seq(SLOT, 1)
#endif

// page_is_usable
inline load_mapping(to)
{
    assert(!page_freed);
#ifdef FAULT_ACQUIRE
    load(MAPPING, to)
#else
    load_seq(MAPPING, to)
#endif
}

inline page_put()
{
    atomic {
        rmw_begin ->
        ref--;
        if
        :: ref == 0 ->
#ifdef NO_RCU
            page_freed = true
#else
            waits = section
#endif
        :: else
        fi
    }
}

inline rcu_read_unlock()
{
    d_step {
        section = false;
        waits = false
    }
}

proctype fault(bool carried)
{
    byte me = 0, v;
again:
    section = true;
    v = carried;
    if
    :: !carried -> load(CACHE, v) // mapping_find_rcu
    :: else
    fi;
    if
    :: v == 0 -> goto out // -ENOENT
    :: else
    fi;
    load_mapping(v); // find_page: a hint
    if
    :: v == 0 -> goto out
    :: else
    fi;
    load(SLOT, v);
    if
    :: v == 0 -> // pt_install
        lock(LOCK_P);
        PUBLISH();
        unlock(LOCK_P)
    :: else
    fi;
#ifdef CHECK_BEFORE_LOCK
    load_mapping(v);
    if
    :: v == 0 -> goto out
    :: else
    fi;
#endif
    lock(LOCK_T); // fault_lock_leaf
#if !defined(NO_MAPPING_CHECK) && !defined(CHECK_BEFORE_LOCK)
    load_mapping(v);
    if
    :: v == 0 ->
        unlock(LOCK_T);
        rcu_read_unlock();
        goto again // -EAGAIN
    :: else
    fi;
#endif
    store(ENTRY, 1);
    unlock(LOCK_T);
out:
    rcu_read_unlock();
    if
    :: carried -> page_put() // fault_release
    :: else
    fi;
    done++
}

inline unmap_file()
{
    load_seq(SLOT, v); // pt_next_leaf_rcu
    if
    :: v != 0 ->
        lock(LOCK_T);
        store(ENTRY, 0);
        unlock(LOCK_T)
    :: else
    fi
}

proctype truncate()
{
    byte me = 1, v;
#ifdef UNMAP_FIRST
    unmap_file();
#endif
    CLEAR_MAPPING();
    store(CACHE, 0);
    FENCE();
#ifndef UNMAP_FIRST
    unmap_file();
#endif
    page_put();
    done++
}

active proctype rcu()
{
end:
    atomic {
        ref == 0 && !waits ->
        page_freed = true
    }
}

active proctype memory()
{
end:
    do
    :: DRAIN(0)
    :: DRAIN(1)
    od
}

init
{
    bool entry_to_freed;
    atomic {
        mem[CACHE] = 1;
        mem[MAPPING] = 1;
        if
        :: mem[SLOT] = 1
        :: true
        fi;
        if
        :: ref = 2; run fault(true)
        :: run fault(false)
        fi;
        run truncate()
    }
    atomic {
        done == 2 && page_freed && sb[0].nr == 0 && sb[1].nr == 0 ->
        entry_to_freed = mem[ENTRY] != 0;
        assert(!entry_to_freed)
    }
}
