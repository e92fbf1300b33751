// The life of a VMA: counted by parked faults, freed by RCU (invariants 6 and 7).
//
// Question: faults sleep for I/O while munmap removes their VMA and the program closes the file. Is
// the VMA or its file ever used after it was freed, is one of them never freed, does munmap wait?
//
//     fault        fault_pass: rcu_fault_enter, map_pages (finds the page in the cache or not),
//                  rcu_fault_park, fault_block with ->fault and vma_put, then again with f->page in
//                  hand
//     munmap       vma_commit with rcu_edit_retire, zap, vma_commit_release with vma_put
//     close        close(2): the other reference on the file
//     rcu          the callback vma_free_rcu, once every section that was open when it was queued
//                  ended
//
//     ref          vma->ref: the tree's 1, and 1 for each parked fault
//     file_ref     of v->file: the descriptor's 1, the VMA's 1
//     section      who is in a read section; `waits_for`: whose section the callback waits for
//
// I/O may take for ever: then its fault sleeps at `end_io`, and all others must be through all the
// same. Memory is sequentially consistent here: the counts are read-modify-writes, and what orders
// `state` is the subject of fault_unmap.pml.
//
// BROKEN NO_RCU           vma_freed        vma_put frees at once
// BROKEN NO_COUNT         vma_freed        fault_park does not count
// BROKEN COUNT_FROM_ZERO  queued           fault_park counts even from 0: freed twice
// BROKEN EARLY_PUT        vma_freed        the VMA is put before ->fault, not after it
// BROKEN NO_LOOKUP        vma_freed        after ->fault the old VMA is used again, not looked up
// BROKEN FILE_ON_REMOVAL  file_ref         munmap gives the file back, not the end of the VMA
// BROKEN FILE_AT_ZERO     file_ref         the file goes with the last count, only the memory by
//                                          RCU
// BROKEN NO_LIVE_CHECK    entry            the fault installs without asking for `state`
// BROKEN NO_PUT           all_freed        the fault forgets its count
// BROKEN PAGE_KEPT        pages_held       a fault that fails forgets the page it carries
// BROKEN WRITER_WAITS     deadlock         munmap waits for parked faults

bool in_tree = true; // the VMA, in the tree
bool dead;           // vma->state
bool locked;         // the leaf table's ptl
bool entry;
byte ref = 1, file_ref = 2;
byte section, waits_for;
bool queued;    // call_rcu(vma_free_rcu)
bool vma_freed;
byte pages_held;
byte done;

#define use_vma()  assert(!vma_freed)
#define use_file() atomic { use_vma(); assert(file_ref > 0) }

inline rcu_read_lock()
{
    section = section | me
}

inline rcu_read_unlock()
{
    d_step {
        section = section & ~me;
        waits_for = waits_for & ~me
    }
}

inline file_put()
{
    d_step {
        assert(file_ref > 0);
        file_ref--
    }
}

inline vma_put()
{
    atomic {
        use_vma();
        assert(ref > 0);
        ref--;
        if
        :: ref == 0 ->
            assert(!queued);
#ifdef FILE_AT_ZERO
            file_put();
#endif
            queued = true;
#ifndef NO_RCU
            waits_for = section
#endif
        :: else
        fi
    }
}

active proctype rcu()
{
end:
    atomic {
        queued && waits_for == 0 ->
        vma_freed = true
#if !defined(FILE_ON_REMOVAL) && !defined(FILE_AT_ZERO)
        ;
        file_put()
#endif
    }
}

proctype fault(byte me)
{
    byte r;
    bool page; // f->page
again:
    rcu_read_lock();
    if
    :: !in_tree ->
        rcu_read_unlock();
        goto out
    :: else
    fi;
#ifdef NO_LOOKUP
look:
#endif
    use_vma();
    use_file(); // map_pages: v->file->mapping
    if
    :: true -> // cached, or carried along
        atomic {
            !locked ->
            locked = true
        }
        use_vma();
        if
#ifdef NO_LIVE_CHECK
        :: true -> entry = true
#else
        :: !dead -> entry = true
#endif
        :: dead ->
            locked = false;
            rcu_read_unlock();
            goto again
        fi;
        locked = false;
        rcu_read_unlock();
        goto out
    :: !page -> skip
    fi;

    // rcu_fault_park
#ifndef NO_COUNT
    do
    :: r = ref;
        use_vma();
#ifndef COUNT_FROM_ZERO
        if
        :: r == 0 ->
            rcu_read_unlock();
            goto again
        :: else
        fi;
#endif
        atomic { // compare and exchange
            use_vma();
            if
            :: ref == r ->
                ref = r + 1;
                break
            :: else
            fi
        }
    od;
#endif
    rcu_read_unlock();

    // fault_block
#ifdef EARLY_PUT
    vma_put();
#endif
    if
    :: true ->
end_io:
        false // the disk never answers
    :: true
    fi;
    use_file();
    page = true;
    pages_held++;
#if !defined(EARLY_PUT) && !defined(NO_COUNT) && !defined(NO_PUT)
    vma_put();
#endif
#ifdef NO_LOOKUP
    rcu_read_lock();
    goto look;
#endif
    goto again;

out:
    if
    :: page -> // fault_release
#ifndef PAGE_KEPT
        pages_held--
#endif
    :: else
    fi;
    done++
}

// Nothing in it may wait but for the lock of the table, which nobody sleeps with.
proctype munmap()
{
    in_tree = false;
    dead = true;
    atomic {
        !locked ->
        locked = true
    }
    entry = false;
    locked = false;
#ifdef WRITER_WAITS
    ref == 1;
#endif
#ifdef FILE_ON_REMOVAL
    file_put();
#endif
    vma_put();
    done++
}

proctype close()
{
    file_put();
    done++
}

init
{
    bool all_freed;
    atomic {
        run fault(1);
        run fault(2);
        run munmap();
        run close()
    }
end:
    // Everybody is through; a callback that was queued has run.
    atomic {
        done == 4 && (!queued || vma_freed) ->
        all_freed = vma_freed && file_ref == 0;
        assert(!entry);
        assert(pages_held == 0);
        assert(all_freed)
    }
}
