// A fault against munmap, with a table in the slot and without one (invariants 1, 2 and 3).
//
// Question: two faults and a munmap meet in one leaf table. Can an entry stay under an unmapped
// address, can an entry of a live VMA be lost, can an empty table be left behind?
//
// Two pages share the leaf table that `SLOT` leads to: PAGE_A in VMA a, which munmap removes, and
// PAGE_B in a VMA that stays.
//
//     fault(PAGE_A), fault(PAGE_B)   mm_fault: rcu_fault_enter, pt_walk_leaf_nosleep with
//                                    pt_install, fault_lock_leaf, the install; fault_prune when it
//                                    fails
//     munmap                         vma_commit with rcu_edit_retire, zap_range with zap_leaf,
//                                    pt_prune
//     SLOT                           the entry of the parent: 0 or the number of a table
//     TABLE(t)                       what t's lock protects: the entries (so nr_used too) and
//                                    `detached`
//     TREE_A, STATE_A                is a in the VMA tree; vma->state
//     LOCK_P, LOCK(t)                ptl of the parent, of table t
//
// The second fault is for PAGE_B or for PAGE_A, too. At the start the slot is empty, or has an
// empty table, or one with page A in it. Detached tables are not used again here: when they may be
// is the question of table.pml.
//
// BROKEN NO_LIVE_CHECK    entry_under_nothing  fault_live is not asked
// BROKEN LIVE_BEFORE_LOCK entry_under_nothing  fault_live is asked before the lock is taken, not
//                                              under it
// BROKEN ZAP_FIRST        entry_under_nothing  entries are zapped before the VMA is marked dead
// BROKEN UNMAP_RELEASE    entry_under_nothing  edit_retire stores with release, and has no fence
// BROKEN FAULT_RELEASE    entry_under_nothing  pt_install stores the slot with release
// BROKEN FAULT_ACQUIRE    entry_under_nothing  fault_live loads with acquire
// BROKEN NO_PRUNE         table_leaked         a fault that fails leaves the table it installed
// BROKEN NO_USED_CHECK    live_entry_lost      pt_detach does not ask for nr_used == 0
// BROKEN NO_DETACHED_BIT  live_entry_lost      fault_lock_table does not ask for `detached`

#define NR_CPU  3
#define SB_SIZE 6
#define NR_LOC  12
#include "buffer.h"

#define SLOT     0
#define TREE_A   1
#define STATE_A  2
#define LOCK_P   3
#define TABLE(t) (2 + 2 * (t))
#define LOCK(t)  (3 + 2 * (t))
#define NR_TABLE 4

#define LIVE 0
#define DEAD 1

#define PAGE_A   1
#define PAGE_B   2
#define USED     (PAGE_A | PAGE_B)
#define DETACHED 4

byte nr_made;        // tables that were ever in the slot: their numbers are 1 .. nr_made
byte nr_detached;

#ifdef UNMAP_RELEASE
#define RETIRE() store(STATE_A, DEAD)
#else
#define RETIRE() store_seq(STATE_A, DEAD); fence()
#endif

#ifdef FAULT_RELEASE
#define PUBLISH(t) store(SLOT, t)
#else
#define PUBLISH(t) store_seq(SLOT, t)
#endif

#ifdef FAULT_ACQUIRE
#define LOAD_STATE(v) load(STATE_A, v)
#else
#define LOAD_STATE(v) load_seq(STATE_A, v)
#endif

#ifdef NO_USED_CHECK
#define UNUSED(v) true
#else
#define UNUSED(v) (((v) & USED) == 0)
#endif

#ifdef NO_DETACHED_BIT
#define ATTACHED(v) true
#else
#define ATTACHED(v) (((v) & DETACHED) == 0)
#endif

// pt_prune, pt_detach
inline prune()
{
    load_seq(SLOT, t);
    if
    :: t != 0 ->
        lock(LOCK_P);
        load(SLOT, v);
        if
        :: v == t ->
            lock(LOCK(t));
            load(TABLE(t), v);
            if
            :: UNUSED(v) ->
                store(TABLE(t), v | DETACHED);
                store(SLOT, 0);
                nr_detached++
            :: else
            fi;
            unlock(LOCK(t))
        :: else
        fi;
        unlock(LOCK_P)
    :: else
    fi
}

proctype fault(byte me; byte page)
{
    byte t, v, w;
again:
    v = 1;
    if
    :: page == PAGE_A -> load(TREE_A, v)
    :: else
    fi;
    if
    :: v == 0 -> goto fail // -EFAULT
    :: else
    fi;
    load(SLOT, t); // pt_walk_leaf_nosleep
    if
    :: t == 0 ->
        lock(LOCK_P); // pt_install
        load(SLOT, v);
        if
        :: v == 0 ->
            atomic {
                nr_made++;
                assert(nr_made <= NR_TABLE);
                v = nr_made
            }
            PUBLISH(v)
        :: else // somebody else just did
        fi;
        unlock(LOCK_P);
        load(SLOT, t);
        if
        :: t == 0 -> goto again // pruned again already
        :: else
        fi
    :: else
    fi;
#ifdef LIVE_BEFORE_LOCK
    LOAD_STATE(v);
    if
    :: page == PAGE_A && v == DEAD -> goto again
    :: else
    fi;
#endif
    lock(LOCK(t)); // fault_lock_leaf
    load(TABLE(t), w);
    if
    :: !ATTACHED(w) ->
        unlock(LOCK(t));
        goto again
    :: else
    fi;
#if !defined(NO_LIVE_CHECK) && !defined(LIVE_BEFORE_LOCK)
    LOAD_STATE(v);
    if
    :: page == PAGE_A && v == DEAD ->
        unlock(LOCK(t));
        goto again
    :: else
    fi;
#endif
    store(TABLE(t), w | page);
    unlock(LOCK(t));
    goto out;
fail:
#ifndef NO_PRUNE
    prune();
#endif
out:
    done++
}

// zap_range: what it finds is zapped; the table goes when it is empty then.
inline zap()
{
    load_seq(SLOT, t);
    if
    :: t != 0 ->
        lock(LOCK(t));
        load(TABLE(t), v);
        store(TABLE(t), v & ~PAGE_A);
        unlock(LOCK(t));
        load(TABLE(t), v); // only a hint: pt_detach asks again
        if
        :: UNUSED(v) -> prune()
        :: else
        fi
    :: else
    fi
}

proctype munmap(byte me)
{
    byte t, v;
#ifdef ZAP_FIRST
    zap();
#endif
    store(TREE_A, 0);
    RETIRE();
#ifndef ZAP_FIRST
    zap();
#endif
    done++
}

active proctype memory()
{
end:
    do
    :: DRAIN(0)
    :: DRAIN(1)
    :: DRAIN(2)
    od
}

init
{
    byte t;
    bool with_b; // else two faults that may fail, so that nobody else fills the table
    bool entry_under_nothing, live_entry_lost, table_leaked;
    atomic {
        mem[TREE_A] = 1;
        if
        :: true // an empty slot
        :: mem[SLOT] = 1; nr_made = 1
        :: mem[SLOT] = 1; nr_made = 1; mem[TABLE(1)] = PAGE_A
        fi;
        if
        :: with_b = true; run fault(1, PAGE_B)
        :: run fault(1, PAGE_A)
        fi;
        run fault(0, PAGE_A);
        run munmap(2)
    }
    atomic {
        done == 3 && sb[0].nr == 0 && sb[1].nr == 0 && sb[2].nr == 0 ->
        t = mem[SLOT];
        entry_under_nothing = t != 0 && (mem[TABLE(t)] & PAGE_A) != 0;
        live_entry_lost = with_b && (t == 0 || (mem[TABLE(t)] & PAGE_B) == 0);
        table_leaked = nr_made - nr_detached != (t != 0) || (t != 0 && mem[TABLE(t)] == 0);
        assert(!entry_under_nothing);
        assert(!live_entry_lost);
        assert(!table_leaked)
    }
}
