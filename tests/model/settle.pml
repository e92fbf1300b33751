// tlb_settle: truncate meets a munmap between its clearing and its flush (invariant 4, R9).
//
// Question: munmap drops the table lock before it flushes. Truncate then finds nothing to clear.
// Can the program read or write a file's page through an old translation after truncate has freed
// it?
//
//     munmap     the VMA is dead: tlb_begin, zap_leaf, perhaps pt_prune, tlb_end; then rmap_unlink
//     truncate   page->mapping is cleared: rmap_unmap_file: tlb_begin, zap_leaf with its flush
//                under the table lock, tlb_end, tlb_settle; then the page is freed
//     program    another CPU of the address space: its TLB may take up an entry at any time, and
//                drop it
//
//     slot       is there a leaf table       entry     its entry for the page
//     pending    mm->tlb_pending             listed    the VMA is in mapping->i_mmap
//
// Nobody installs here: the VMA is dead and the page has left the file. Memory is sequentially
// consistent: `pending` rises by a seq_cst read-modify-write before the entry is cleared, and the
// locks and the slot (release, acquire) pass it on.
//
// BROKEN NO_SETTLE      page_freed  truncate believes an empty entry
// BROKEN SETTLE_FIRST   page_freed  tlb_settle is asked before the table is looked at
// BROKEN BEGIN_LATE     page_freed  munmap counts itself after it has cleared the entry
// BROKEN END_EARLY      page_freed  munmap counts itself out before its flush
// BROKEN UNLINK_EARLY   page_freed  munmap leaves i_mmap before its flush
// BROKEN NO_FLUSH_EACH  page_freed  truncate does not flush what it cleared itself

bool slot = true, entry = true;
bool table_locked, i_mmap_locked;
bool listed = true;
byte pending;
bool tlb; // the program's CPU holds the translation
bool page_freed;
byte done;

inline lock(which)
{
    atomic {
        !which ->
        which = true
    }
}

inline unlink_vma()
{
    lock(i_mmap_locked);
    listed = false;
    i_mmap_locked = false
}

proctype munmap()
{
    bool noted;
#ifdef UNLINK_EARLY
    unlink_vma();
#endif
#ifndef BEGIN_LATE
    pending++;
#endif
    lock(table_locked);
    if
    :: entry ->
        entry = false;
        noted = true
    :: else
    fi;
    table_locked = false;
#ifdef BEGIN_LATE
    pending++;
#endif
    if
    :: slot = false; noted = true // pt_prune
    :: true // a neighbour has entries in the table
    fi;
#ifdef END_EARLY
    pending--;
#endif
    if
    :: noted -> tlb = false
    :: else
    fi;
#ifndef END_EARLY
    pending--;
#endif
#ifndef UNLINK_EARLY
    unlink_vma();
#endif
    done++
}

inline settle()
{
    if
    :: pending != 0 -> tlb = false
    :: else
    fi
}

proctype truncate()
{
    lock(i_mmap_locked);
    if
    :: listed ->
#ifdef SETTLE_FIRST
        settle();
#endif
        pending++;
        if
        :: slot ->
            lock(table_locked);
            if
            :: entry ->
                entry = false;
#ifndef NO_FLUSH_EACH
                tlb = false
#endif
            :: else
            fi;
            table_locked = false
        :: else
        fi;
        pending--;
#if !defined(NO_SETTLE) && !defined(SETTLE_FIRST)
        settle()
#endif
    :: else
    fi;
    i_mmap_locked = false;
    page_freed = true;
    done++
}

active proctype program()
{
end:
    do
    :: atomic { entry -> tlb = true }
    :: tlb = false
    :: atomic {
        tlb ->
        assert(!page_freed)
    }
    od
}

init
{
    atomic {
        run munmap();
        run truncate()
    }
    done == 2;
    assert(!entry && pending == 0)
}
