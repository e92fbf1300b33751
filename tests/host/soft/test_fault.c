// The fault path under fire, on the soft machine: CPUs read and write user words while they map,
// unmap, protect, move, discard and truncate under each other, in two address spaces, under every
// scheme.
//
// A slot is a stretch of SLOT_PAGES pages with two homes (addresses that nothing else uses), in one
// address space, of one kind: anonymous, a private mapping of its own file, a shared one, or a
// shared one with write-notify. The file has more mappings in the other space, which come and go.
// Any CPU may access any slot at any time. One CPU at a time changes a slot's mappings, one at a
// time its file.
//
// Before that, first_touch.c, duels.c, forks.c and holds.c have their turns; after it, clears.c.
//
// At the end mm/audit.c looks at all entries and counters; then everything is unmapped and nothing
// may be left: frames, tables, VMAs, tree nodes, references on files.
//
//     SEED=n ROUNDS=n CPUS=n SCHEME=n    repeat a run, longer, with other numbers
//     THREADS=1 SECONDS=n                CPUs as threads of the host, for so long at most

#include <filemap.h>
#include <fs.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/rcu.h>
#include <k/string.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <sched.h>
#include <scheme.h>
#include <smp.h>
#include <stdio.h>
#include <stdlib.h>
#include <uapi/mman.h>
#include <vma.h>
#include "../../../mm/mm_priv.h"
#include "slots.h"

#define RAM_BYTES    (16ul << 20)
#define SWARM_ROUNDS 300u

struct slot slots[NR_SLOTS];
struct mm *space[NR_SPACES];
struct swarm swarm;
static const struct mm_scheme *scheme;
static unsigned long rounds;

// ---- Files --------------------------------------------------------------------------------------

// A file is kept by the VMA of the fault that has it read, whatever became of the mapping.
static int test_read_page(struct mapping *m, struct page *page)
{
    struct slot *s = container_of(m, struct slot, inode.mapping);
    u64 *word = page_addr(page);
    cond_resched();
    if (soft_below(4) == 0) {
        host_sleep(soft_below(soft_below(4) ? 100 : 2000));
        cond_resched();
    }
    assert(load_acquire(&s->file.ref) > 1);
    for (unsigned i = 0; i < PAGE_SIZE / 8; i++) {
        word[i] = value_make(VALUE_FILE, s, (unsigned)page->index, 0, 0, 0);
    }
    return 0;
}

static int test_mkwrite(struct mapping *m, struct page *page)
{
    (void)m, (void)page;
    cond_resched();
    return 0;
}

static const struct mapping_ops test_mapping_ops = {.read_page = test_read_page,
                                                    .page_mkwrite = test_mkwrite};

static int test_file_mmap(struct file *f, const struct vma_ops **ops)
{
    struct slot *s = container_of(f, struct slot, file);
    *ops = s->kind == NOTIFY_FILE ? &filemap_notify_vma_ops : &filemap_vma_ops;
    return 0;
}

static const struct file_ops test_file_ops = {.mmap = test_file_mmap};

// ---- A run --------------------------------------------------------------------------------------

// Four slots lie side by side in one leaf table, four have a leaf table to themselves and a home
// that lies across two, the others have all of the tables above the leaf to themselves.
static void slot_place(struct slot *s)
{
    vaddr_t side = 1ul << 32, far = 1ul << 39;
    switch (s->id / NR_KINDS % 4) {
    case 0:
        s->home[0] = side + s->id * SLOT_PAGES * PAGE_SIZE;
        s->home[1] = 2 * side + s->id * SLOT_PAGES * PAGE_SIZE;
        break;
    case 1:
        s->home[0] = 3 * side + s->id * pt_span(1);
        s->home[1] = 4 * side + s->id * pt_span(1) - PAGE_SIZE; // across two leaf tables
        break;
    default:
        s->home[0] = far + s->id * pt_span(2);
        s->home[1] = (4 + s->id) * far;
        break;
    }
    s->alias[0] = 5 * side + s->id * SLOT_PAGES * PAGE_SIZE;
    s->alias[1] = 6 * side + s->id * SLOT_PAGES * PAGE_SIZE;
}

static struct super super;

static void slot_start(struct slot *s, unsigned id)
{
    accesses_reset(id);
    s->id = id;
    s->kind = id % NR_KINDS;
    s->space = id / NR_KINDS % NR_SPACES;
    slot_place(s);
    s->file.ref = 1;
    s->file.flags = 2; // O_RDWR
    s->file.ops = &test_file_ops;
    s->inode.sb = &super;
    s->file.inode = &s->inode;
    s->file.mapping = &s->inode.mapping;
    mutex_init(&s->inode.lock, RANK_INODE);
    mapping_init(&s->inode.mapping, &s->inode, &test_mapping_ops);
    store_relaxed(&s->inode.mapping.size_bytes, SLOT_PAGES * PAGE_SIZE);
    store_seq(&s->nr_pages, SLOT_PAGES);
    store_seq(&s->where, 0);
    slot_map(s);
}

static void slot_end(struct slot *s)
{
    if (s->kind != ANON) {
        assert(load_acquire(&s->file.ref) == 1);
        mapping_destroy(&s->inode.mapping);
    }
}

// ---- A run, whole -------------------------------------------------------------------------------

// mm/audit.c looks at every entry of the tables. The counters are exact only when nobody faults.
static void audit(unsigned n, bool quiet)
{
    char text[256];
    use_space(n);
    soft_knob_read("audit", text, sizeof(text));
    bool good = quiet ? strcmp(text, AUDIT_QUIET) == 0 : strncmp(text, "wrong 0\n", 8) == 0;
    if (!good) {
        panic("audit of space %u:\n%s", n, text);
    }
}

static struct slot *some_slot(void)
{
    return &slots[(swarm.first + soft_below(swarm.nr_slots)) % NR_SLOTS];
}

// Few slots, few operations: races of a pair that would be rare among all of them.
static void draw_swarm(void)
{
    swarm = (struct swarm){.first = soft_below(NR_SLOTS),
                           .nr_slots = 1u << soft_below(5),
                           .operations = soft_below(3) ? soft_below(1u << NR_OPERATIONS) : ~0u,
                           .operate_in = 1 + soft_below(4),
                           .fork_in = soft_below(2) * 100};
    if (swarm.operations & 1u << OP_UNMAP) {
        swarm.operations |= 1u << OP_MAP;
    }
    if (swarm.operations & 1u << OP_READ_ONLY) {
        swarm.operations |= 1u << OP_WRITABLE;
    }
}

static void run(unsigned me)
{
    static bool stop;
    for (unsigned long i = 0; i < rounds; i++) {
        if (i % SWARM_ROUNDS == 0) {
            soft_barrier();
            if (me == 0) {
                draw_swarm();
                stop = host_time_is_up();
            }
            soft_barrier();
            if (stop) {
                break;
            }
        }
        if (host_time_is_up()) {
            continue; // to where all agree that it is
        }
        struct slot *s = some_slot();
        unsigned burst = 1 + soft_below(12), page = soft_below(SLOT_PAGES);
        for (unsigned k = 0; k < burst; k++) {
            access(me, s, (page + k / 3) % SLOT_PAGES, soft_below(2));
        }
        if (soft_below(swarm.operate_in) == 0) {
            operate(me, soft_below(2) ? some_slot() : s);
        }
        if (soft_below(8) == 0) {
            access_pinned(me, s, page);
        }
        if (swarm.fork_in && soft_below(swarm.fork_in) == 0) {
            access_child(soft_below(NR_SPACES));
        }
        if (soft_below(1000) == 0) {
            audit(soft_below(NR_SPACES), false);
        }
        if (soft_below(16) == 0) {
            mm_activate(NULL); // lazily
            soft_idle(soft_below(20));
        }
    }
}

struct baseline {
    u64 free;
    long tables, vmas, nodes;
};

static void take_stock(struct baseline *b)
{
    soft_settle();
    *b = (struct baseline){page_nr_free(), pt_nr_tables(), vma_nr_used(), maple_nr_nodes()};
}

// page_nr_free is exact when nothing is on its way: look until it stays.
static void take_baseline(struct baseline *b)
{
    struct baseline again;
    for (unsigned same = 0; same < 5; same++) {
        take_stock(&again);
        if (memcmp(&again, b, sizeof(again)) != 0) {
            *b = again;
            same = 0;
        }
        host_sleep(100);
    }
}

// The other CPUs may still be emptying their lists: page_nr_free can miss what is on its way.
static void check_stock(const struct baseline *before, const char *name)
{
    struct baseline b;
    for (unsigned tries = 0; tries < 50; tries++) {
        take_stock(&b);
        if (memcmp(&b, before, sizeof(b)) == 0) {
            printf("%s: %lu accesses, %lu operations\n", name, nr_accesses, nr_operations);
            return;
        }
        host_sleep(500);
    }
    panic("%s leaks: frames free %lu, were %lu; tables %ld, VMAs %ld, nodes %ld", name,
          (unsigned long)b.free, (unsigned long)before->free, b.tables, b.vmas, b.nodes);
}

static void start_clock(unsigned me, unsigned percent)
{
    soft_barrier();
    if (me == 0) {
        host_start_clock(percent);
    }
    soft_barrier();
}

static void run_scheme(unsigned me, const struct mm_scheme *with)
{
    static struct baseline before;
    if (me == 0) {
        take_baseline(&before);
        for (unsigned i = 0; i < NR_SPACES; i++) {
            space[i] = mm_create(with);
            assert(space[i]);
        }
        for (unsigned i = 0; i < NR_SLOTS; i++) {
            slot_start(&slots[i], i);
        }
    }
    start_clock(me, 15);
    run_first_touch(me, space[0], min(rounds / 8, 600ul));
    start_clock(me, 15);
    run_duels(me, space[0], min(rounds / 16, 250ul));
    start_clock(me, 20);
    run_forks(me, space[0], min(rounds / 32, 120ul));
    run_holds(me, space[0]);
    start_clock(me, 40);
    run(me);
    start_clock(me, 10);
    run_clears(me, space[0], min(rounds / 32, 120ul));
    mm_activate(NULL);
    soft_barrier();
    if (me == 0) {
        for (unsigned i = 0; i < NR_SPACES; i++) {
            audit(i, true);
        }
        mm_activate(NULL);
        for (unsigned i = 0; i < NR_SPACES; i++) {
            mm_put(space[i]);
        }
        soft_settle();
        for (unsigned i = 0; i < NR_SLOTS; i++) {
            slot_end(&slots[i]);
        }
        check_stock(&before, with->name);
    }
    soft_barrier();
}

static void cpu_main(unsigned n)
{
    static atomic_bool ready;
    soft_cpu_start(n);
    if (n == 0) {
        page_init();
        maple_init();
        mm_init();
        store_relaxed(&pt_audit_freed, true); // tables must be empty when RCU frees them
        store_seq(&ready, true);
    }
    while (!load_seq(&ready)) {
        host_yield();
    }
    soft_rcu_start();
    for (unsigned i = 0; scheme_nth(i); i++) {
        if (!scheme || scheme == scheme_nth(i)) {
            run_scheme(n, scheme_nth(i));
        }
    }
    soft_cpu_stop();
}

int main(void)
{
    unsigned cpus = (unsigned)host_option("CPUS", 4);
    unsigned long which = host_option("SCHEME", ~0ul);
    rounds = host_option("ROUNDS", 1500);
    scheme = which == ~0ul ? NULL : scheme_nth((unsigned)which);
    setvbuf(stdout, NULL, _IOLBF, 0);
    soft_boot(RAM_BYTES, min(cpus, MAX_THREADS), host_seed());
    host_run_cpus(nr_cpus, cpu_main);
    return 0;
}
