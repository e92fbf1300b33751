// Who is told: a shootdown against a CPU that loads the address space or comes back to it
// (invariant 4).
//
// Question: tlb_shoot interrupts only CPUs that are in mm->cpus and not lazy. Can one it leaves out
// use a page through an old translation after it was freed?
//
//     shooter    clears the entry under the table lock; tlb_shoot: tlb_gen, mm->cpus, then lazy;
//                frees the page
//     switcher   mm_switch. Either tlb_load: another address space was loaded, so there is no
//                translation yet. Or it was lazy in this one and may hold one
//     ENTRY      the entry
//     CPUS       the switcher's bit in mm->cpus
//     GEN        mm->tlb_gen; the switcher has caught up with 0
//     LAZY       tlb_cpu.lazy of the switcher
//     tlb        the switcher's CPU holds the translation
//
// BROKEN LEAVE_RELEASE   page_freed  a CPU stores lazy = false with release before it looks at
//                                    tlb_gen
// BROKEN LEAVE_ACQUIRE   page_freed  a CPU looks at tlb_gen with acquire
// BROKEN SHOOT_RELAXED   page_freed  tlb_gen is counted relaxed: no barrier after the cleared entry
// BROKEN GEN_LAST        page_freed  tlb_gen is counted after looking at lazy
// BROKEN BIT_LATE        page_freed  the bit in mm->cpus is set after the first walk
// BROKEN NO_GEN_CHECK    page_freed  a CPU that leaves lazy does not look at tlb_gen

#define NR_CPU  2
#define SB_SIZE 3
#define NR_LOC  4
#include "buffer.h"

#define ENTRY 0
#define CPUS  1
#define GEN   2
#define LAZY  3

bool tlb, page_freed;

#ifdef LEAVE_RELEASE
#define STORE_LAZY() store(LAZY, 0)
#else
#define STORE_LAZY() store_seq(LAZY, 0)
#endif

#ifdef LEAVE_ACQUIRE
#define LOAD_GEN(v) load(GEN, v)
#else
#define LOAD_GEN(v) load_seq(GEN, v)
#endif

inline count_gen()
{
#ifdef SHOOT_RELAXED
    mem[GEN] = 1
#else
    atomic {
        rmw_begin ->
        mem[GEN] = 1
    }
#endif
}

proctype shooter()
{
    byte me = 0, cpus, is_lazy;
    store(ENTRY, 0);
#ifndef GEN_LAST
    count_gen();
#endif
    load_seq(CPUS, cpus);
    if
    :: cpus != 0 ->
        load_seq(LAZY, is_lazy);
        if
        :: !is_lazy -> tlb = false // the interrupt, answered
        :: else
        fi
    :: else
    fi;
#ifdef GEN_LAST
    count_gen();
#endif
    page_freed = true;
    done++
}

inline set_bit()
{
    atomic {
        rmw_begin ->
        mem[CPUS] = 1
    }
}

// The program runs: the MMU walks the tables, in one step for an interrupt, and the program uses
// what was found or was there already.
inline use_page()
{
    d_step {
        look(ENTRY, v);
        if
        :: v != 0 -> tlb = true
        :: else
        fi;
        v = 0
    }
    atomic {
        if
        :: tlb -> assert(!page_freed)
        :: else
        fi
    }
}

proctype switcher(bool was_lazy)
{
    byte me = 1, v;
    if
    :: !was_lazy -> // tlb_load
#ifndef BIT_LATE
        set_bit();
#endif
        LOAD_GEN(v);
        STORE_LAZY();
        fence(); // mmu_load serializes, and flushes
        tlb = false
    :: else ->
        STORE_LAZY();
#ifndef NO_GEN_CHECK
        LOAD_GEN(v);
        if
        :: v != 0 -> tlb = false
        :: else
        fi
#endif
    fi;
    use_page();
#ifdef BIT_LATE
    set_bit();
#endif
    use_page();
    done++
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
    atomic {
        mem[ENTRY] = 1;
        mem[LAZY] = 1;
        if
        :: mem[CPUS] = 1; tlb = true; run switcher(true)
        :: run switcher(false)
        fi;
        run shooter()
    }
    done == 2
}
