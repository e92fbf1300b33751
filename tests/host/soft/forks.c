// Forks: one CPU forks the address space in which all others store, and looks into the children.
//
//     places   | . . | . . . |       | . |   | . |  ...      | . |  ...       | . |
//                two leaf tables       leaf tables of their own, others above them, too
//
// A session begins with untouched memory (sometimes the first places are a private mapping of a
// file). Each of the other CPUs writes its own word of every place, round after round, in an order
// of its own. What it stores is a ticket, drawn before the store; another is drawn after it:
//
//     writer                                  what a child holds
//     begin = ticket++                        X is in it, Y is not: then Y had not ended when X
//     store begin                             began, or the child is not one instant. What had
//     end = ticket++                          ended when fork was called is in it, what began
//                                             after it had returned is not.
//
// A child is looked at again, later: it must not have changed but by its own stores, of which the
// parent sees none; and a child of a child is its equal. A writer must find in each word what it
// left there, and what it has stored through a pin, which is in a word apart because that may come
// after the instant. Some forks follow each other at once, some run out of memory, which the parent
// must not notice, and holes are punched into the file: both have its tables walked meanwhile.

#include <k/assert.h>
#include <k/errno.h>
#include <k/rcu.h>
#include <k/string.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <sched.h>
#include <shim.h>
#include <smp.h>
#include <uapi/mman.h>
#include "slots.h"

#define BASE        (8ul << 32)
#define NR_PLACES   10u
#define FILE_PLACES 5u
#define PIN_WORDS   8u // from here on: each writer's, stored to through a pin
#define NR_WORDS    (PIN_WORDS + MAX_THREADS)
#define MARK_WORD   100u // written by children only
#define MARK        0x3a3aul
#define RING        64u // a power of two
#define FORKS       3u  // in a session

static struct mm *parent;
static struct test_file file;
static atomic_ulong ticket;
static atomic_bool over; // the writers of this session are to end
static bool of_file;     // the first places are of the file

struct store {
    atomic_ulong begin, end; // 0: not yet
};
static struct store stores[MAX_THREADS][NR_PLACES][RING]; // the last ones, by round

struct child {
    struct mm *mm;
    u64 word[NR_WORDS][NR_PLACES]; // what it must hold
    bool marked;
};

noreturn_fn static void wrong_fork(const char *what, unsigned writer, unsigned place, u64 value)
{
    panic("forks: %s: writer %u place %u value %lx", what, writer, place, (unsigned long)value);
}

static vaddr_t place_addr(unsigned p)
{
    static const struct {
        u64 far, near; // in level-1 tables, in leaf tables
    } at[NR_PLACES - FILE_PLACES] = {{0, 5}, {0, 6}, {1, 0}, {1, 1}, {3, 0}};
    if (p < FILE_PLACES) {
        return BASE + pt_span(1) + p * PAGE_SIZE - 2 * PAGE_SIZE;
    }
    p -= FILE_PLACES;
    return BASE + at[p].far * pt_span(2) + at[p].near * pt_span(1);
}

// ---- The file -----------------------------------------------------------------------------------

static int zero_page_read(struct mapping *m, struct page *page)
{
    (void)m;
    memset(page_addr(page), 0, PAGE_SIZE);
    return 0;
}

// ---- Accesses -----------------------------------------------------------------------------------

// Another CPU's injected failure may hit us.
static u64 load_word(unsigned place, unsigned word)
{
    u64 value = 0;
    int err;
    do {
        err = soft_load(place_addr(place) + word * sizeof(value), &value);
    } while (err == -ENOMEM);
    if (err) {
        wrong_fork("a load fails", word, place, (u64)err);
    }
    return value;
}

static void store_word(unsigned place, unsigned word, u64 value)
{
    int err;
    do {
        err = soft_store(place_addr(place) + word * sizeof(value), value);
    } while (err == -ENOMEM);
    if (err) {
        wrong_fork("a store fails", word, place, (u64)err);
    }
}

static u64 draw_ticket(void)
{
    return fetch_add_seq(&ticket, 1) + 1;
}

// ---- Writers ------------------------------------------------------------------------------------

static void write_place(unsigned w, unsigned p, unsigned round)
{
    struct store *s = &stores[w][p][round % RING];
    u64 value = load_word(p, w), mark = load_word(p, MARK_WORD);
    if (value != load_relaxed(&stores[w][p][(round - 1) % RING].begin)) {
        wrong_fork("a store was lost", w, p, value);
    }
    if (mark) {
        wrong_fork("the parent sees a child's store", w, p, mark);
    }
    value = draw_ticket();
    store_seq(&s->end, 0);
    store_seq(&s->begin, value); // this and the next pair with end_of_next
    store_word(p, w, value);
    store_seq(&s->end, draw_ticket());
    host_progress();
}

static void pin_and_write(unsigned w, unsigned p, u64 value)
{
    static u64 left[MAX_THREADS][NR_PLACES];
    struct page *page;
    u64 was = load_word(p, PIN_WORDS + w);
    if (was != (value == 1 ? 0 : left[w][p])) {
        wrong_fork("a store through a pin was lost", w, p, was);
    }
    int err = gup_page(parent, place_addr(p), true, &page);
    if (err == -ENOMEM) {
        value = was;
    } else if (err) {
        wrong_fork("a pin fails", w, p, (u64)err);
    } else {
        for (unsigned n = soft_below(1u << soft_below(9)); n > 0; n--) {
            soft_point();
        }
        atomic_store_explicit((_Atomic u64 *)page_addr(page) + PIN_WORDS + w, value,
                              memory_order_relaxed);
        page_put(page);
    }
    left[w][p] = value;
}

static void punch_file(void)
{
    test_file_punch(&file, 0, FILE_PLACES * PAGE_SIZE);
}

static void write_all(unsigned w)
{
    unsigned order[NR_PLACES], pinned = soft_below(NR_PLACES);
    u64 pins = 0;
    for (unsigned i = 0; i < NR_PLACES; i++) {
        unsigned j = soft_below(i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (unsigned round = 1; !load_seq(&over); round++) {
        for (unsigned i = 0; i < NR_PLACES; i++) {
            write_place(w, order[i], round);
            if (soft_below(4) == 0) {
                pin_and_write(w, pinned, ++pins);
            }
            if (of_file && soft_below(16) == 0) {
                punch_file();
            }
        }
    }
}

// ---- Children -----------------------------------------------------------------------------------

static unsigned writer_of(unsigned i) // CPU 0 forks
{
    return i + 1;
}

static void audit_child(void)
{
    char text[256];
    soft_knob_read("audit", text, sizeof(text));
    // Counters are exact when nobody punches holes.
    if (strncmp(text, AUDIT_QUIET, of_file ? strlen("wrong 0\n") : sizeof(text)) != 0) {
        panic("forks: audit of a child:\n%s", text);
    }
}

// A store that was not in the ring when all of it was looked through: if it was made it had left
// the ring by then, so that all which is in there now came after it. A time at which the next one
// had ended: that is the oldest here, or has left, too.
static u64 end_after_forgotten(unsigned w, unsigned p, u64 value)
{
    u64 oldest = ~0ul, second = ~0ul;
    for (unsigned k = 0; k < RING; k++) {
        u64 begin = load_seq(&stores[w][p][k].begin);
        second = min(second, max(begin, oldest));
        oldest = min(oldest, begin);
    }
    if (value > oldest) {
        wrong_fork("never stored", w, p, value);
    }
    return second;
}

// The child has this store of the writer's to this place, 0 for none. When the next one had ended,
// or a later time if that is forgotten; ~0 if it has not.
static u64 end_of_next(unsigned w, unsigned p, u64 value)
{
    struct store *s = stores[w][p];
    for (unsigned k = 0; k < RING; k++) {
        u64 begin = load_seq(&s[k].begin);
        struct store *next = &s[(k + 1) % RING];
        if (begin == value && (value || k == 0)) {
            u64 end = load_seq(&next->begin) > value ? load_seq(&next->end) : 0;
            return end ? end : ~0ul;
        }
    }
    return end_after_forgotten(w, p, value);
}

static void child_is_one_instant(struct child *c, u64 before, u64 after)
{
    u64 last_in = 0, first_out = ~0ul;
    for (unsigned i = 0; writer_of(i) < nr_cpus; i++) {
        unsigned w = writer_of(i);
        for (unsigned p = 0; p < NR_PLACES; p++) {
            u64 value = c->word[w][p] = load_word(p, w);
            c->word[PIN_WORDS + w][p] = load_word(p, PIN_WORDS + w);
            u64 end = end_of_next(w, p, value);
            if (value > after || end < before) {
                wrong_fork(value > after ? "stored after the fork" : "stored before the fork", w, p,
                           value);
            }
            last_in = max(last_in, value);
            first_out = min(first_out, end);
        }
    }
    if (first_out < last_in) {
        wrong_fork("two instants in one child", 0, 0, last_in);
    }
}

// Nobody but us stores to it.
static void child_stays(const struct child *c)
{
    mm_activate(c->mm);
    for (unsigned w = 0; w < NR_WORDS; w++) {
        for (unsigned p = 0; p < NR_PLACES && w % PIN_WORDS < nr_cpus; p++) {
            u64 value = load_word(p, w);
            if (value != c->word[w][p]) {
                wrong_fork("a child has changed", w, p, value);
            }
        }
    }
    for (unsigned p = 0; p < NR_PLACES; p++) {
        u64 mark = load_word(p, MARK_WORD);
        if (mark != (c->marked ? MARK : 0)) {
            wrong_fork("a child's mark", 0, p, mark);
        }
    }
}

static void child_marks(struct child *c)
{
    unsigned w = writer_of(soft_below(nr_cpus - 1));
    mm_activate(c->mm);
    for (unsigned p = 0; p < NR_PLACES; p++) {
        store_word(p, MARK_WORD, MARK);
        if (soft_below(2)) {
            store_word(p, w, MARK);
            c->word[w][p] = MARK;
        }
    }
    c->marked = true;
}

static bool child_make(struct child *c)
{
    struct mm *hasty[4];
    unsigned nr_hasty = soft_below(3) ? 0 : soft_below(array_size(hasty) + 1);
    *c = (struct child){0};
    for (unsigned i = 0; i < nr_hasty; i++) {
        if (mm_fork(parent, &hasty[i])) {
            wrong_fork("fork fails", 0, 0, 0);
        }
    }
    if (soft_below(4) == 0) {
        shim_alloc_fail_nth(1 + soft_below(12));
    }
    u64 before = load_seq(&ticket);
    int err = mm_fork(parent, &c->mm);
    u64 after = load_seq(&ticket);
    bool injected = shim_alloc_failed();
    shim_alloc_fail_nth(0);
    while (nr_hasty) {
        mm_put(hasty[--nr_hasty]);
    }
    if (err) {
        if (err != -ENOMEM || !injected) {
            wrong_fork("fork fails", 0, 0, (u64)err);
        }
        c->mm = NULL;
        return false;
    }
    mm_activate(c->mm);
    child_is_one_instant(c, before, after);
    audit_child();
    return true;
}

static void child_of_child(struct child *c)
{
    struct child grandchild = *c;
    int err = mm_fork(c->mm, &grandchild.mm);
    if (err) {
        wrong_fork("fork of a child fails", 0, 0, (u64)err);
    }
    child_marks(c);
    child_stays(&grandchild);
    child_stays(c);
    audit_child();
    mm_activate(parent);
    mm_put(grandchild.mm);
}

static void child_end(struct child *c)
{
    if (c->mm) {
        child_stays(c);
        mm_activate(parent);
        mm_put(c->mm);
        c->mm = NULL;
    }
}

static void fork_and_fork(void)
{
    struct child older = {0}, c;
    for (unsigned i = 0; i < FORKS; i++) {
        for (unsigned n = soft_below(1u << soft_below(11)); n > 0; n--) {
            soft_point();
        }
        soft_safe_point();
        mm_activate(parent);
        if (!child_make(&c)) {
            continue;
        }
        if (soft_below(4) == 0) {
            child_of_child(&c);
        } else if (soft_below(2)) {
            child_marks(&c);
        }
        child_end(&older);
        older = c;
        child_stays(&older);
    }
    child_end(&older);
    mm_activate(parent);
    store_seq(&over, true);
}

// ---- Sessions -----------------------------------------------------------------------------------

static void session_begin(void)
{
    s64 err = mm_mmap(parent, BASE, 4 * pt_span(2), PROT_READ | PROT_WRITE,
                      MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, NULL, 0);
    if (err >= 0 && of_file) {
        err = mm_mmap(parent, place_addr(0), FILE_PLACES * PAGE_SIZE, PROT_READ | PROT_WRITE,
                      MAP_FIXED | MAP_PRIVATE, &file.file, 0);
    }
    if (err < 0) {
        wrong_fork("mmap", 0, 0, (u64)err);
    }
    memset(stores, 0, sizeof(stores));
    store_seq(&over, false);
}

static void run_sessions(unsigned me, unsigned long sessions)
{
    static bool stop;
    for (unsigned long n = 0; n < sessions; n++) {
        soft_barrier();
        if (me == 0) {
            stop = host_time_is_up();
            of_file = n % 3 == 2;
            session_begin();
        }
        soft_barrier();
        if (stop) {
            break;
        }
        if (me == 0) {
            fork_and_fork();
        } else {
            write_all(me);
        }
    }
}

void run_forks(unsigned me, struct mm *mm, unsigned long sessions)
{
    if (nr_cpus < 2) {
        return;
    }
    if (me == 0) {
        parent = mm;
        test_file_create(&file, zero_page_read, FILE_PLACES * PAGE_SIZE);
    }
    mm_activate(mm);
    run_sessions(me, sessions);
    soft_barrier();
    if (me == 0) {
        if (mm_munmap(mm, BASE, 4 * pt_span(2))) {
            wrong_fork("munmap", 0, 0, 0);
        }
        test_file_destroy(&file);
    }
    soft_barrier();
}
