// A table's end: detached under two locks, shot down, freed by RCU (invariants 3, 4 and 5).
//
// Question: while two CPUs prune, one walks and installs in software, and the MMU of a fourth walks
// as it likes and caches what it finds. Is a freed table or page ever looked at, is a table with a
// live entry detached, is one freed twice or never?
//
//     root -> middle table -> leaf table { entry A, entry B }     each upper table has one slot
//
//     fault     pt_walk_leaf_nosleep with pt_install, fault_lock_table. Either of B, whose VMA
//               lives: it installs. Or of A, whose VMA it finds dead: fault_prune
//     munmap    of A, whose VMA is dead already: zap_range, pt_prune, tlb_end
//     failed    a fault of A that found no VMA: fault_prune (pt_prune, tlb_end)
//     mmu       another CPU that has the address space loaded: its paging-structure caches
//               hw_middle and hw_leaf and its TLB entry hw_tlb are filled at any time, also while
//               it is lazy
// All four, or else the fault of A, munmap and the mmu.
//
//     slot[t]   what table t contains: the child's number, or in a leaf the bits PAGE_A and PAGE_B.
//               So nr_used == 0 is slot[t] == 0.
//     section   who is in a read section; grace[i]: whose sections processor i waits for. After
//               call_rcu the pruners have nothing more to do, so here they wait and free
//               themselves.
//
// Memory is sequentially consistent here; fault_unmap.pml and tlb.pml are about the rest.
//
// BROKEN NO_RCU            freed            a table is freed as soon as the shootdown is done
// BROKEN FREE_BEFORE_SHOT  freed            a table is freed after a grace period, but before the
//                                           shootdown
// BROKEN SHOOT_FIRST       freed            the shootdown comes before the slot is emptied
// BROKEN LAZY_NOT_TOLD     freed            a shootdown of tables leaves out lazy CPUs
// BROKEN PAGE_BEFORE_SHOT  page_freed       a page goes before the shootdown
// BROKEN NO_DETACHED_CHECK entry_lost       fault_lock_table does not ask for `detached`
// BROKEN NO_PARENT_CHECK   entry_lost       pt_install does not ask for the parent's `detached`
// BROKEN NO_CHILD_LOCK     entry_lost       pt_detach does not take the child's lock
// BROKEN NO_USED_CHECK     entry_lost       pt_detach does not ask for nr_used == 0
// BROKEN NO_SLOT_CHECK     detached         pt_detach does not ask whether the slot still leads to
//                                           the child
// BROKEN LEAF_ONLY         table_leaked     pt_prune leaves the empty middle table behind

#define NR_TABLE 8 // 0 is the root, 1 the first middle table, 2 the first leaf
#define PAGE_A   1
#define PAGE_B   2

#define FAULT  1 // bits in `section`
#define MUNMAP 2
#define FAILED 4

byte slot[NR_TABLE];
bool locked[NR_TABLE], detached[NR_TABLE], freed[NR_TABLE];
byte nr_made; // tables so far: their numbers are 1 .. nr_made

byte section, grace[3];
byte hw_middle, hw_leaf;
bool hw_tlb, lazy, gen_moved; // mm->tlb_gen is not what this CPU has caught up with
bool page_freed;              // of A
byte done;

#define USE(t) assert(!freed[t])

inline lock(t)
{
    atomic {
        !locked[t] ->
        USE(t);
        locked[t] = true
    }
}

inline unlock(t)
{
    locked[t] = false
}

inline rcu_read_unlock()
{
    d_step {
        section = section & ~me;
        grace[0] = grace[0] & ~me;
        grace[1] = grace[1] & ~me;
        grace[2] = grace[2] & ~me
    }
}

inline follow(from, to)
{
    atomic {
        USE(from);
        to = slot[from]
    }
}

// pt_detach
inline detach(parent, child)
{
    gone = false;
    lock(parent);
    if
#ifndef NO_SLOT_CHECK
    :: slot[parent] == child ->
#else
    :: true ->
#endif
#ifndef NO_CHILD_LOCK
        lock(child);
#endif
        if
#ifndef NO_USED_CHECK
        :: slot[child] == 0 ->
#else
        :: true ->
#endif
            assert(!detached[child]); // not twice
            detached[child] = true;
            slot[parent] = 0;
            gone = true
        :: else
        fi;
#ifndef NO_CHILD_LOCK
        unlock(child)
#endif
    :: else
    fi;
    unlock(parent)
}

inline shoot(tables)
{
    atomic {
        gen_moved = true;
        if
#ifndef LAZY_NOT_TOLD
        :: lazy && !(tables) // it will see the generation
        :: else ->
#else
        :: lazy
        :: else ->
#endif
            hw_middle = 0;
            hw_leaf = 0;
            hw_tlb = false
        fi
    }
}

// call_rcu, the grace period, pt_table_free_rcu_cb
inline free_rcu(mine, t)
{
    if
    :: t != 0 ->
#ifndef NO_RCU
        grace[mine] = section;
        grace[mine] == 0;
#endif
        atomic {
            USE(t);
            freed[t] = true
        }
    :: else
    fi
}

// pt_prune: the tables that went are in `leaf` and `middle`, 0 for those that stay.
inline prune()
{
    section = section | me;
    follow(0, middle);
    leaf = 0;
    if
    :: middle != 0 -> follow(middle, leaf)
    :: else
    fi;
    gone = true;
    if
    :: leaf != 0 ->
        detach(middle, leaf);
        if
        :: !gone -> leaf = 0
        :: else
        fi
    :: else
    fi;
#ifdef LEAF_ONLY
    gone = false;
#endif
    if
    :: middle != 0 && gone -> detach(0, middle)
    :: else -> gone = false
    fi;
    if
    :: !gone -> middle = 0
    :: else
    fi;
    rcu_read_unlock()
}

// tlb_end
inline finish(mine, noted)
{
    tables = leaf != 0 || middle != 0;
#ifdef FREE_BEFORE_SHOT
    free_rcu(mine, leaf);
    free_rcu(mine, middle);
#endif
#ifndef SHOOT_FIRST
    if
    :: (noted) || tables -> shoot(tables)
    :: else
    fi;
#endif
#ifndef FREE_BEFORE_SHOT
    free_rcu(mine, leaf);
    free_rcu(mine, middle)
#endif
}

proctype fault(byte page)
{
    byte me = FAULT, t, level, next, middle, leaf;
    bool gone, tables;
again:
    section = section | me;
    t = 0;
    level = 2;
    do
    :: level > 0 ->
        follow(t, next);
        if
        :: next == 0 -> // pt_install
            lock(t);
            if
#ifndef NO_PARENT_CHECK
            :: detached[t] ->
                unlock(t);
                rcu_read_unlock();
                goto again
#endif
            :: else ->
                if
                :: slot[t] == 0 ->
                    atomic {
                        nr_made++;
                        slot[t] = nr_made
                    }
                :: else
                fi
            fi;
            unlock(t);
            follow(t, next);
            if
            :: next == 0 -> // pruned again already
                rcu_read_unlock();
                goto again
            :: else
            fi
        :: else
        fi;
        t = next;
        level--
    :: else -> break
    od;
    lock(t); // fault_lock_table
#ifndef NO_DETACHED_CHECK
    if
    :: detached[t] ->
        unlock(t);
        rcu_read_unlock();
        goto again
    :: else
    fi;
#endif
    if
    :: page == PAGE_B -> slot[t] = slot[t] | PAGE_B
    :: else
    fi;
    unlock(t);
    rcu_read_unlock();
    if
    :: page == PAGE_A -> // it was not live: fault_prune
        prune();
        finish(2, false)
    :: else
    fi;
    done++
}

proctype munmap()
{
    byte me = MUNMAP, middle, leaf;
    bool gone, tables;
    section = section | me;
    follow(0, middle);
    follow(middle, leaf); // both are there: they hold entry A
    lock(leaf);
    slot[leaf] = slot[leaf] & ~PAGE_A;
    unlock(leaf);
    rcu_read_unlock();
#ifdef PAGE_BEFORE_SHOT
    page_freed = true;
#endif
#ifdef SHOOT_FIRST
    shoot(true);
#endif
    prune();
    finish(0, true);
    page_freed = true;
    done++
}

proctype failed()
{
    byte me = FAILED, middle, leaf;
    bool gone, tables;
#ifdef SHOOT_FIRST
    shoot(true);
#endif
    prune();
    finish(1, false);
    done++
}

// It never forgets by itself: what is cached later is as if it had not been cached before.
active proctype mmu()
{
end:
    do
    :: atomic { hw_middle == 0 -> USE(0); hw_middle = slot[0] }
    :: atomic { hw_middle != 0 && hw_leaf == 0 -> USE(hw_middle); hw_leaf = slot[hw_middle] }
    :: atomic { hw_leaf != 0 && !hw_tlb -> USE(hw_leaf); hw_tlb = (slot[hw_leaf] & PAGE_A) != 0 }
    :: atomic { hw_tlb && !lazy -> assert(!page_freed) } // the program runs and uses A
    :: lazy = true
    :: atomic { // mm_switch
        lazy ->
        lazy = false;
        if
        :: gen_moved ->
            hw_middle = 0;
            hw_leaf = 0;
            hw_tlb = false;
            gen_moved = false
        :: else
        fi
    }
    od
}

init
{
    byte t, m, l;
    bool with_b, entry_lost, table_leaked;
    atomic {
        slot[0] = 1;
        slot[1] = 2;
        slot[2] = PAGE_A;
        nr_made = 2;
        run munmap();
        if
        :: with_b = true; run fault(PAGE_B); run failed()
        :: run fault(PAGE_A); done++
        fi
    }
    d_step {
        done == 3 ->
        if
        :: with_b ->
            m = slot[0];
            l = slot[m];
            entry_lost = m == 0 || l == 0 || detached[m] || detached[l] || slot[l] != PAGE_B
        :: else // no table may be left
        fi;
        assert(!entry_lost);
        t = 1;
        do
        :: t <= nr_made ->
            table_leaked = table_leaked || (t != m && t != l && !freed[t]);
            t++
        :: else -> break
        od;
        assert(!table_leaked)
    }
}
