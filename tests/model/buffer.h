// Store buffers: memory as C11 and the processors give it to us, small enough to search.
//
// A processor's stores go into its buffer, oldest first, and reach memory some time later; its own
// loads see them at once, everyone else's do not. So a store may be overtaken by later loads: store
// buffering, the one reordering this kernel's pairs of seq_cst accesses are there to forbid.
//
//     store      store_relaxed, store_release, pte_write, unlocking: into the buffer
//     load       load_relaxed, load_acquire, pte_read
//     store_seq  the same as store, but marked
//     load_seq   waits until no marked store is left in the buffer: ordered after our store_seq,
//                and after nothing else. (Both sides of a pair must be seq_cst: each can be broken
//                alone.)
//     fence      atomic_fence_seq: waits until the buffer is empty
//     lock       acquires, no more. On x86 a lock also empties the buffer, and would hide a weak
//                fault side; the C11 we write, and other processors, do not promise that.
//     rmw_begin  a read-modify-write that is seq_cst: the buffer is empty first
//
// What is left out: loads overtaking loads and stores overtaking stores. Every load of a pointer
// here is an acquire and every publishing store a release, so the code rules these out by itself.
//
// The including file defines NR_CPU, NR_LOC and SB_SIZE first. `me` is the processor of a process.

typedef store_buffer
{
    byte nr;  // stores in it
    byte seq; // the first so many of them end in a marked one
    byte loc[SB_SIZE];
    byte val[SB_SIZE];
}

byte mem[NR_LOC];
store_buffer sb[NR_CPU];
byte done; // processes that are through

hidden byte k; // scratch of the d_steps here

inline push(l, v)
{
    assert(sb[me].nr < SB_SIZE); // or the model would miss what a longer buffer can do
    sb[me].loc[sb[me].nr] = l;
    sb[me].val[sb[me].nr] = v;
    sb[me].nr++
}

inline store(l, v)
{
    d_step
    {
        push(l, v)
    }
}

inline store_seq(l, v)
{
    d_step
    {
        push(l, v);
        sb[me].seq = sb[me].nr
    }
}

inline look(l, to)
{
    to = mem[l];
    k = 0;
    do
        ::k < sb[me].nr->if ::sb[me].loc[k] == l->to = sb[me].val[k] ::else fi;
    k++ ::else->break od;
    k = 0
}

inline load(l, to)
{
    d_step
    {
        look(l, to)
    }
}

inline load_seq(l, to)
{
    d_step
    {
        sb[me].seq == 0->look(l, to)
    }
}

inline fence()
{
    sb[me].nr == 0
}

inline lock(l)
{
    atomic
    {
        mem[l] == 0-> // so an unlock of our own has left the buffer, too
                  mem[l] = 1
    }
}

inline unlock(l)
{
    store(l, 0)
}

#define rmw_begin (sb[me].nr == 0)

// The oldest store of processor c reaches memory.
#define DRAIN(c)                                                                                   \
    d_step                                                                                         \
    {                                                                                              \
        sb[c].nr > 0->mem[sb[c].loc[0]] = sb[c].val[0];                                            \
        k = 0;                                                                                     \
        do                                                                                         \
            ::k + 1 < sb[c].nr->sb[c].loc[k] = sb[c].loc[k + 1];                                   \
        sb[c].val[k] = sb[c].val[k + 1];                                                           \
        k++ ::else->break od;                                                                      \
        sb[c].loc[k] = 0;                                                                          \
        sb[c].val[k] = 0;                                                                          \
        k = 0;                                                                                     \
        sb[c].nr--;                                                                                \
        if                                                                                         \
            ::sb[c].seq > 0->sb[c].seq-- ::else fi                                                 \
    }
