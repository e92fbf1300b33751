// SOURCES: mm/vma.c mm/mmap.c tests/host/vma_world.c
// SOURCES: mm/maple.c mm/maple_store.c mm/maple_leaf.c mm/maple_path.c mm/maple_gap.c
// SOURCES: mm/maple_check.c
// SOURCES: tests/host/shim/slab.c tests/host/shim/rcu_oracle.c tests/host/shim/panic.c
// SOURCES: tests/host/shim/lock.c
// Planning and committing changes of an address space (mm/vma.c), driven by the system calls that
// do (mm/mmap.c): hand-drawn cases, then random ones against a flat oracle (vma_world.h). One call
// in four is first made to fail at each of its allocations in turn. SEED=n repeats a run.
//
// In the drawings a letter is a page, '.' a hole, '|' the border of two VMAs that touch:
//     a anonymous, writable    r read-only     n no access        l locked     S growing stack
//     m anonymous, moved       f file, private g file, read-only  F other file o file, other offset
//     s file, shared
#include <uapi/mman.h>
#include "vma_world.h"

static u64 seed;

// ---- Hand-drawn cases ---------------------------------------------------------------------------

static void map_letters(char letter, unsigned from, unsigned to)
{
    struct cell c;

    assert_true(world_letter(letter, from, &c));
    struct vma_spec s = {.start = addr_of(from),
                         .end = addr_of(to),
                         .flags = c.flags,
                         .file = c.file,
                         .pgoff = c.pgoff};
    if (c.file) {
        assert_int_equal(c.file->ops->mmap(c.file, &s.ops), 0);
    }
    want_map(from, to, c.flags, c.file, c.pgoff);
    step(map_locked(&mm, &s));
}

static void unmap(unsigned from, unsigned to)
{
    want_unmap(from, to);
    step(mm_munmap(&mm, addr_of(from), (to - from) * PAGE_SIZE));
}

// To the flags of this letter, as mprotect and mlock do it: VMA by VMA.
static void set_flags(unsigned from, unsigned to, u32 flags)
{
    while (from < to) {
        struct vma *v = vma_find_first(&mm, addr_of(from));
        if (!v || v->start >= addr_of(to)) {
            return;
        }
        unsigned start = max(from, cell_of(v->start)), end = min(to, cell_of(v->end));
        if (v->flags != flags) {
            want_flags(start, end, flags);
            step(vma_set_flags(&mm, v, addr_of(start), addr_of(end), flags));
        }
        from = end;
    }
}

static void flags_of(char letter, unsigned from, unsigned to)
{
    struct cell c;

    assert_true(world_letter(letter, from, &c));
    set_flags(from, to, c.flags);
}

static void given(const char *picture)
{
    char now[128];

    world_begin(seed, NR_CELLS);
    for (unsigned c = 0; picture[c];) {
        unsigned end = c + 1;
        while (picture[end] == picture[c]) {
            end++;
        }
        if (picture[c] != '.') {
            map_letters(picture[c], c, end);
        }
        c = end;
    }
    world_draw((unsigned)strlen(picture), now);
    for (char *from = now, *to = now;; from++) {
        if (*from != '|') {
            *to++ = *from;
        }
        if (!*from) {
            break;
        }
    }
    assert_string_equal(now, picture);
}

static void expect(const char *picture)
{
    char now[128];
    unsigned cells = 0;

    for (const char *p = picture; *p; p++) {
        cells += *p != '|';
    }
    world_draw(cells, now);
    assert_string_equal(now, picture);
    world_end();
}

static void test_unmap(void **state)
{
    (void)state;
    given("aaaaaaaa"), unmap(3, 5), expect("aaa..aaa");
    given("aaaaaaaa"), unmap(0, 3), expect("...aaaaa");
    given("aaaaaaaa"), unmap(5, 8), expect("aaaaa...");
    given("aaaaaaaa"), unmap(0, 8), expect("........");
    given("aaaaaaaa"), unmap(5, 20), expect("aaaaa...");
    given("..aaaa.."), unmap(0, 2), expect("..aaaa..");
    given("..aaaa.."), unmap(6, 9), expect("..aaaa..");
    given("aa..rr.."), unmap(1, 5), expect("a....r..");
    given("aarrffgg"), unmap(1, 7), expect("a......g");
    given("aarrffgg"), unmap(2, 6), expect("aa....gg");
    given("ffffffff"), unmap(3, 4),
        expect("fff.ffff"); // the right rest starts at page 4 of the file
    given("ssssssss"), unmap(3, 4), expect("sss.ssss");
    given("mmmmmmmm"), unmap(2, 4), expect("mm..mmmm");
}

static void test_map_joins(void **state)
{
    (void)state;
    given("aa......"), map_letters('a', 2, 4), expect("aaaa....");
    given("....aa.."), map_letters('a', 2, 4), expect("..aaaa..");
    given("aa..aa.."), map_letters('a', 2, 4), expect("aaaaaa..");
    given("aa...aa."), map_letters('a', 2, 4), expect("aaaa.aa.");
    given("ff..ff.."), map_letters('f', 2, 4), expect("ffffff..");
    given("ss..ss.."), map_letters('s', 2, 4), expect("ssssss..");
    given("SS..SS.."), map_letters('S', 2, 4), expect("SSSSSS..");
    // What differs in anything stays apart.
    given("aa..aa.."), map_letters('r', 2, 4), expect("aa|rr|aa..");
    given("ll..nn.."), map_letters('a', 2, 4), expect("ll|aa|nn..");
    given("aa..aa.."), map_letters('m', 2, 4), expect("aa|mm|aa..");
    given("ff..ff.."), map_letters('o', 2, 4), expect("ff|oo|ff..");
    given("ff..ff.."), map_letters('F', 2, 4), expect("ff|FF|ff..");
    given("ff..gg.."), map_letters('a', 2, 4), expect("ff|aa|gg..");
    given("ff..ff.."), map_letters('s', 2, 4), expect("ff|ss|ff..");
    given("ff..ff.."), map_letters('g', 2, 4), expect("ff|gg|ff..");
}

static void test_map_over(void **state)
{
    (void)state;
    // The rests of what is cut are joined to what replaces it, if they are alike.
    given("aaaaaaaa"), map_letters('a', 2, 5), expect("aaaaaaaa");
    given("aaaaaaaa"), map_letters('a', 0, 8), expect("aaaaaaaa");
    given("aaaaaaaa"), map_letters('a', 0, 3), expect("aaaaaaaa");
    given("ffffffff"), map_letters('f', 3, 8), expect("ffffffff");
    given("aaaaaaaa"), map_letters('r', 2, 5), expect("aa|rrr|aaa");
    given("mmmmmmmm"), map_letters('a', 2, 5), expect("mm|aaa|mmm");
    given("ffffffff"), map_letters('o', 2, 5), expect("ff|ooo|fff");
    given("aaaarrrr"), map_letters('a', 2, 6), expect("aaaaaa|rr");
    given("aaaarrrr"), map_letters('r', 2, 6), expect("aa|rrrrrr");
    given("aaaarrrr"), map_letters('n', 2, 6), expect("aa|nnnn|rr");
    given("a.rr.f.a"), map_letters('a', 1, 7), expect("aaaaaaaa");
    given("a.rr.f.a"), map_letters('n', 1, 7), expect("a|nnnnnn|a");
    given("rraarrff"), map_letters('r', 2, 4), expect("rrrrrr|ff"); // neighbours on both sides
    given("rraarrff"), map_letters('r', 2, 5), expect("rrrrrr|ff"); // a neighbour and a rest
    given("rraarrff"), map_letters('r', 1, 4), expect("rrrrrr|ff"); // a rest and a neighbour
}

static void test_set_flags(void **state)
{
    (void)state;
    given("aaaaaaaa"), flags_of('r', 3, 5), expect("aaa|rr|aaa");
    given("aaaaaaaa"), flags_of('r', 0, 3), expect("rrr|aaaaa");
    given("aaaaaaaa"), flags_of('r', 5, 8), expect("aaaaa|rrr");
    given("aaaaaaaa"), flags_of('r', 0, 8), expect("rrrrrrrr");
    given("rraaaarr"), flags_of('r', 2, 6), expect("rrrrrrrr");
    given("rraaaarr"), flags_of('r', 2, 4), expect("rrrr|aa|rr");
    given("rraaaarr"), flags_of('r', 4, 6), expect("rr|aa|rrrr");
    given("rraaaarr"), flags_of('r', 3, 5), expect("rr|a|rr|a|rr");
    given("aarrnnll"), flags_of('a', 0, 8), expect("aaaaaaaa");
    given("aarrnnll"), flags_of('n', 1, 7), expect("a|nnnnnn|l");
    given("ffffffff"), flags_of('g', 3, 5), expect("fff|gg|fff");
    given("fffggfff"), flags_of('f', 3, 5), expect("ffffffff");
    given("mmmmmmmm"), flags_of('l', 4, 8), flags_of('a', 4, 8), expect("mmmmmmmm");
    given("aaaaaaaa"), flags_of('l', 2, 6), expect("aa|llll|aa");
    given("aallllaa"), flags_of('a', 2, 6), expect("aaaaaaaa");
    given("aaaa..aa"), flags_of('l', 1, 8), expect("a|lll..ll");
}

// A plan may fill its hole in part: from either end.
static int plan_part(unsigned from, unsigned to, const struct vma_spec *what)
{
    struct edit e;

    vma_plan_init(&e, &mm);
    int err = vma_plan_cut(&e, addr_of(from), addr_of(to));
    if (!err) {
        err = vma_plan_add(&e, what);
    }
    if (!err) {
        err = vma_plan_ready(&e);
    }
    if (err) {
        vma_plan_abort(&e);
        return err;
    }
    vma_commit(&e);
    edit_zap_hole(&e);
    vma_commit_finish(&e);
    vma_commit_release(&e);
    return 0;
}

static void fill_part(unsigned from, unsigned to, char letter, unsigned part_from, unsigned part_to)
{
    struct cell c;

    assert_true(world_letter(letter, part_from, &c));
    struct vma_spec s = {.start = addr_of(part_from),
                         .end = addr_of(part_to),
                         .flags = c.flags,
                         .pgoff = c.pgoff,
                         .pending = true};
    want_unmap(from, to);
    for (unsigned i = part_from; i < part_to; i++) {
        world_letter(letter, i, &want.cell[i]);
    }
    step(plan_part(from, to, &s));
}

static void test_fill_part(void **state)
{
    (void)state;
    given("ffffffff"), fill_part(2, 6, 'a', 2, 4), expect("ff|aa..ff");
    given("ffffffff"), fill_part(2, 6, 'a', 4, 6), expect("ff..aa|ff");
    given("aaaaaaaa"), fill_part(2, 6, 'a', 2, 4), expect("aaaa..aa");
    given("aaaaaaaa"), fill_part(2, 6, 'a', 4, 6), expect("aa..aaaa");
    given("aarrrraa"), fill_part(2, 6, 'a', 2, 4), expect("aaaa..aa");
    given("aarrrraa"), fill_part(2, 6, 'a', 5, 6), expect("aa...aaa");
}

// ---- mremap's two plans at once -----------------------------------------------------------------

// Publish the destination, pending; retire the source, or publish it anew; only then finish both.
static int plan_pending(struct edit *e, const struct vma_spec *what)
{
    struct vma_spec s = *what;

    s.pending = true;
    vma_plan_init(e, &mm);
    int err = vma_plan_cut(e, s.start, s.end);
    if (!err) {
        err = vma_plan_add(e, &s);
    }
    if (!err) {
        err = vma_plan_ready(e);
    }
    return err;
}

static void move(unsigned from, unsigned to, unsigned len, unsigned new_len, bool keep_source)
{
    struct vma *v = vma_find(&mm, addr_of(from));
    struct vma_spec dst_spec, src_spec;
    struct edit dst, src;

    assert_non_null(v);
    vma_to_spec(v, &dst_spec);
    dst_spec.pgoff = vma_page_index(v, addr_of(from));
    dst_spec.start = addr_of(to);
    dst_spec.end = addr_of(to + new_len);
    src_spec = dst_spec;
    src_spec.start = addr_of(from);
    src_spec.end = addr_of(from + len);

    want_map(to, to + new_len, dst_spec.flags, dst_spec.file, dst_spec.pgoff);
    world_snapshot();
    assert_int_equal(plan_pending(&dst, &dst_spec), 0);
    vma_commit(&dst);
    assert_int_equal(vma_find(&mm, addr_of(to))->state, VMA_PENDING);
    have = want;
    world_snapshot();
    if (keep_source) {
        want_map(from, from + len, src_spec.flags, src_spec.file, src_spec.pgoff);
        assert_int_equal(plan_pending(&src, &src_spec), 0);
    } else {
        want_unmap(from, from + len);
        vma_plan_init(&src, &mm);
        assert_int_equal(vma_plan_cut(&src, addr_of(from), addr_of(from + len)), 0);
        assert_int_equal(vma_plan_ready(&src), 0);
    }
    vma_commit(&src);
    have = want;
    vma_commit_finish(&dst);
    vma_commit_release(&dst);
    vma_commit_finish(&src);
    vma_commit_release(&src);
    world_check();
}

static void test_move(void **state)
{
    (void)state;
    given("aaaa........"), move(0, 8, 4, 4, false), expect("........????");
    given("....aaaa"), move(4, 0, 4, 4, false), expect("mmmm....");
    given("....aaaa"), move(4, 0, 2, 2, false), expect("mm....aa");
    given("....aaaa"), move(4, 0, 4, 4, true), expect("mmmm|aaaa");
    given("....aaaa"), move(5, 1, 2, 2, true), expect(".mm.aaaa");
    given("mm..aaaaaa"), move(6, 2, 2, 2, false), expect("mmmm|aa..aa"); // joins its left neighbour
    given("..mmaaaaaa"), move(4, 0, 2, 2, false), expect("mmmm..aaaa");
    given("ff..ffoo"), move(4, 2, 2, 2, false), expect("ff|??..oo"); // pages 4 and 5 of the file
    given("..ffff"), move(2, 0, 2, 2, false), expect("??..ff");
    given("nnaa...."), move(2, 4, 2, 4, false), expect("nn..????"); // longer than it was
}

// ---- A count keeps a VMA and its file, and nothing waits for it ---------------------------------

static void test_parked(void **state)
{
    (void)state;
    given("ffffffff");
    struct vma *v = vma_find(&mm, addr_of(3));
    world_park(3);
    unmap(0, 8);
    assert_int_equal(v->state, VMA_DEAD);
    assert_ptr_equal(v->file, &files[0]);
    assert_int_equal(files[0].ref, 2);
    assert_int_equal(vma_nr_used(), 1);
    world_unpark();
    assert_int_equal(files[0].ref, 1);
    assert_int_equal(vma_nr_used(), 0);
    expect("........");
}

// A reader that has found a VMA may follow it to its file until it leaves its section.
static void test_reader(void **state)
{
    (void)state;
    given("ffff....");
    rcu_read_lock();
    struct vma *v = vma_find(&mm, addr_of(0));
    want_unmap(0, 4);
    world_snapshot();
    assert_int_equal(unmap_locked(&mm, addr_of(0), addr_of(4)), 0);
    assert_int_equal(v->state, VMA_DEAD);
    assert_int_equal(v->end, addr_of(4));
    assert_int_equal(files[0].ref, 2);
    assert_int_equal(vma_nr_used(), 1);
    rcu_read_unlock();
    rcu_barrier();
    assert_int_equal(vma_nr_used(), 0);
    assert_int_equal(files[0].ref, 1);
    have = want;
    expect("....");
}

// A plan that is given up leaves no trace, whatever was in it.
static void test_abort(void **state)
{
    struct cell c;
    struct edit e;

    (void)state;
    given("aarrffgg");
    assert_true(world_letter('r', 1, &c));
    for (unsigned stop = 0; stop < 3; stop++) {
        struct vma_spec s = {
            .start = addr_of(1), .end = addr_of(7), .flags = c.flags, .pgoff = c.pgoff};
        vma_plan_init(&e, &mm);
        assert_int_equal(vma_plan_cut(&e, s.start, s.end), 0);
        if (stop > 0) {
            assert_int_equal(vma_plan_add(&e, &s), 0);
        }
        if (stop > 1) {
            assert_int_equal(vma_plan_ready(&e), 0);
        }
        vma_plan_abort(&e);
        world_check();
    }
    expect("aa|rr|ff|gg");
}

// ---- Free areas ---------------------------------------------------------------------------------

// The highest start of len free cells below top that keeps the guard gap, or -1: the slow way.
static int oracle_gap(unsigned len, unsigned top)
{
    const unsigned guard = STACK_GUARD_GAP >> PAGE_SHIFT;

    for (int at = (int)top - (int)len; at >= 0; at--) {
        bool fits = true;
        for (unsigned c = (unsigned)at; fits && c < (unsigned)at + len; c++) {
            fits = have.cell[c].flags == 0;
        }
        unsigned next = (unsigned)at + len;
        while (fits && next < NR_CELLS && !have.cell[next].flags) {
            next++;
        }
        if (fits && next < NR_CELLS && (have.cell[next].flags & VMA_GROWSDOWN)) {
            fits = next - ((unsigned)at + len) >= guard;
        }
        if (fits) {
            return at;
        }
    }
    return -1;
}

static void check_gap(unsigned len, unsigned top)
{
    struct vma_gap gap = {0};
    int want_cell = oracle_gap(len, top);
    int err = vma_find_gap(&mm, mm.mmap_top, (u64)len * PAGE_SIZE, &gap);

    if (want_cell < 0) {
        assert_int_equal(err, -ENOMEM);
    } else {
        assert_int_equal(err, 0);
        assert_int_equal(gap.start, addr_of((unsigned)want_cell));
        assert_ptr_equal(gap.prev, vma_find(&mm, gap.start - 1));
        assert_ptr_equal(gap.next, vma_find(&mm, gap.start + (u64)len * PAGE_SIZE));
    }
}

//     0        100       300        400                           890     900
//     |         [ a 100 ]            [ S 5 ]                       [ a 1 ]
//                        <- guard gap of 256 pages ->
static void test_gap(void **state)
{
    (void)state;
    world_begin(seed, NR_CELLS);
    check_gap(1, NR_CELLS);
    check_gap(NR_CELLS, NR_CELLS);
    check_gap(NR_CELLS + 1, NR_CELLS);
    map_letters('a', 890, 891);
    check_gap(9, NR_CELLS);
    check_gap(10, NR_CELLS);
    map_letters('S', 400, 405);
    for (unsigned len = 1; len < NR_CELLS; len++) {
        check_gap(len, NR_CELLS);
    }
    map_letters('r', 405, 890);
    map_letters('r', 891, NR_CELLS);
    for (unsigned len = 1; len < 200; len++) { // only below the guard gap: 144 pages
        check_gap(len, NR_CELLS);
    }
    map_letters('a', 100, 300);
    for (unsigned len = 1; len < 110; len++) {
        check_gap(len, NR_CELLS);
    }
    map_letters('a', 0, 100);
    check_gap(1, NR_CELLS);
    world_end();
    // A stack above mmap_top still keeps its gap.
    world_begin(seed, 600);
    map_letters('S', 650, 660);
    for (unsigned len = 1; len <= 400; len++) {
        check_gap(len, 600);
    }
    world_end();
}

static void test_mmap_place(void **state)
{
    (void)state;
    given("....aaaa");
    const unsigned how = MAP_PRIVATE | MAP_ANONYMOUS;
    assert_int_equal(mm_mmap(&mm, addr_of(6), PAGE_SIZE, 3, how | MAP_FIXED_NOREPLACE, NULL, 0),
                     -EEXIST);
    assert_int_equal(mm_mmap(&mm, addr_of(2), 3 * PAGE_SIZE, 3, how | MAP_FIXED_NOREPLACE, NULL, 0),
                     -EEXIST);
    assert_int_equal(mm_mmap(&mm, USER_END, PAGE_SIZE, 3, how | MAP_FIXED, NULL, 0), -ENOMEM);
    assert_int_equal(mm_mmap(&mm, BASE + 1, PAGE_SIZE, 3, how | MAP_FIXED, NULL, 0), -EINVAL);
    assert_int_equal(mm_mmap(&mm, 0, PAGE_SIZE, 3, how | MAP_FIXED, NULL, 0), -EPERM);
    assert_int_equal(mm_mmap(&mm, 0, 0, 3, how, NULL, 0), -EINVAL);
    assert_int_equal(mm_mmap(&mm, 0, ~0ul, 3, how, NULL, 0), -ENOMEM);
    world_check();
    struct cell c;
    world_letter('a', 1, &c);
    want_map(1, 3, c.flags, NULL, c.pgoff); // a hint that is free is taken
    step(mm_mmap(&mm, addr_of(1) + 5, 2 * PAGE_SIZE - 1, 3, how, NULL, 0) == (s64)addr_of(1)
             ? 0
             : -ENOMEM);
    expect(".aa.aaaa");
}

static long brk_to(unsigned cell)
{
    return mm_brk(&mm, addr_of(cell) - 5) == (s64)addr_of(cell) - 5 ? 0 : -ENOMEM;
}

static void test_brk(void **state)
{
    struct cell c;

    (void)state;
    given("..........rr");
    mm_set_brk_start(&mm, addr_of(2) - 3);
    world_letter('a', 2, &c);
    assert_int_equal(mm_brk(&mm, 0), addr_of(2));
    assert_int_equal(mm_brk(&mm, USER_END), addr_of(2));
    want_map(2, 6, c.flags, NULL, c.pgoff);
    step(brk_to(6));
    c.pgoff += 4;
    want_map(6, 9, c.flags, NULL, c.pgoff); // joins
    step(brk_to(9));
    want_unmap(4, 9);
    step(brk_to(4));
    assert_int_equal(mm_brk(&mm, addr_of(11)), addr_of(4) - 5); // something is in the way
    world_check();
    expect("..aa......rr");
}

// ---- Random operations --------------------------------------------------------------------------

static u32 random_access(void)
{
    static const u32 access[] = {0, VMA_READ, VMA_READ | VMA_WRITE, VMA_READ | VMA_WRITE,
                                 VMA_READ | VMA_EXEC};

    return access[random_below(array_size(access))];
}

static unsigned prot_of(u32 flags)
{
    return (flags & VMA_READ ? PROT_READ : 0u) | (flags & VMA_WRITE ? PROT_WRITE : 0u) |
           (flags & VMA_EXEC ? PROT_EXEC : 0u);
}

static void random_span(unsigned *from, unsigned *to)
{
    unsigned longest = random_below(40) ? 12 : 300;

    *from = random_below(NR_CELLS);
    *to = min(*from + 1 + random_below(longest), NR_CELLS);
}

// Where a mmap with this hint must land, or -1.
static int oracle_place(unsigned hint, unsigned len, unsigned top)
{
    bool fits = hint + len <= NR_CELLS;

    for (unsigned c = hint; fits && c < hint + len; c++) {
        fits = have.cell[c].flags == 0;
    }
    unsigned next = hint + len;
    while (fits && next < NR_CELLS && !have.cell[next].flags) {
        next++;
    }
    if (fits && next < NR_CELLS && (have.cell[next].flags & VMA_GROWSDOWN)) {
        fits = next - (hint + len) >= STACK_GUARD_GAP >> PAGE_SHIFT;
    }
    return fits ? (int)hint : oracle_gap(len, top);
}

static void random_mmap(unsigned from, unsigned to, unsigned top)
{
    unsigned len = to - from, kind = random_below(8), flags = MAP_PRIVATE;
    struct file *file = NULL, *given_file = NULL;
    u32 vma_flags = random_access() | VMA_MAYREAD | VMA_MAYWRITE | VMA_SOFT_DIRTY;
    int at = (int)from;
    // Offsets that often adjoin those of the neighbours.
    u64 off = random_below(4) ? from : random_below(50);

    if (kind == 0) {
        flags = MAP_SHARED;
        given_file = world_next_shmem();
        off = 0;
        if (!given_file) {
            return;
        }
    } else if (kind < 4) {
        file = given_file = &files[random_below(NR_FILES)];
        flags = kind == 1 ? MAP_SHARED : MAP_PRIVATE;
    }
    flags |= file ? 0u : (unsigned)MAP_ANONYMOUS;
    if (random_below(12) == 0) {
        flags |= MAP_LOCKED;
        vma_flags |= VMA_LOCKED;
    }
    if (kind == 7 && random_below(4) == 0) {
        flags |= MAP_GROWSDOWN;
        vma_flags |= VMA_GROWSDOWN;
    }
    if (random_below(2)) {
        flags |= MAP_FIXED;
    } else {
        at = oracle_place(from, len, top);
    }
    if (at < 0) {
        assert_int_equal(mm_mmap(&mm, addr_of(from), len * PAGE_SIZE, 0, flags, file, off),
                         -ENOMEM);
        return;
    }
    vma_flags |= flags & MAP_SHARED ? VMA_SHARED : 0u;
    off = given_file ? off : addr_of((unsigned)at) >> PAGE_SHIFT;
    want_map((unsigned)at, (unsigned)at + len, vma_flags, given_file, off);
    s64 r;
    step((r = mm_mmap(&mm, addr_of(from), len * PAGE_SIZE, prot_of(vma_flags), flags, file,
                      off << PAGE_SHIFT)) < 0
             ? r
             : 0);
    assert_int_equal(r, addr_of((unsigned)at));
}

// Like mprotect (other access, same rest) or mlock.
static void random_flags(unsigned from, unsigned to)
{
    bool lock = random_below(3) == 0;
    u32 access = random_access();

    while (from < to) {
        u32 now = have.cell[from].flags;
        unsigned end = from + 1;
        if (!now) {
            from = end;
            continue;
        }
        while (end < to && have.cell[end].flags == now) {
            end++;
        }
        set_flags(from, end, lock ? now ^ VMA_LOCKED : (now & ~VMA_ACCESS_FLAGS) | access);
        from = end;
    }
}

static void random_move(unsigned from, unsigned to)
{
    struct vma *v = vma_find_first(&mm, addr_of(from));
    unsigned len, new_len, dst = to;

    if (!v || v->end > addr_of(NR_CELLS)) {
        return;
    }
    from = max(from, cell_of(v->start));
    len = min(to - from, cell_of(v->end) - from);
    len = from < to && len ? len : 1;
    new_len = random_below(3) ? len : len + random_below(4);
    dst = random_below(NR_CELLS - new_len);
    if (dst + new_len > NR_CELLS || (dst < from + len && from < dst + new_len)) {
        return;
    }
    unmap(dst, dst + new_len); // as MREMAP_FIXED does; may have cut what is moved
    if (vma_find(&mm, addr_of(from)) == v) {
        move(from, dst, len, new_len, random_below(3) == 0);
    }
}

// As mm/clear_refs.c does it.
static void random_clear(unsigned from, unsigned to)
{
    while (from < to) {
        struct vma *v = vma_find_first(&mm, addr_of(from));
        if (!v || v->start >= addr_of(to)) {
            return;
        }
        u32 flags = v->flags & ~(u32)VMA_SOFT_DIRTY;
        from = cell_of(v->end);
        if (v->flags != flags) {
            want_flags(cell_of(v->start), from, flags);
            step(vma_replace(&mm, v, flags));
        }
    }
}

// Room below a growing VMA, as mm/stack.c takes it.
static void random_grow(void)
{
    for (unsigned c = 8; c < NR_CELLS; c++) {
        struct vma *v = vma_find(&mm, addr_of(c));
        unsigned more = 1 + random_below(6);
        if (!v || !(v->flags & VMA_GROWSDOWN) || cell_of(v->start) != c || v->pgoff < more ||
            have.cell[c - 1].flags) {
            continue;
        }
        bool free_below = true;
        for (unsigned d = c - more; d < c; d++) {
            free_below &= have.cell[d].flags == 0;
        }
        if (free_below) {
            struct vma_spec s;
            vma_to_spec(v, &s);
            s.end = v->start;
            s.start = addr_of(c - more);
            s.pgoff -= more;
            want_map(c - more, c, s.flags, s.file, s.pgoff);
            step(map_locked(&mm, &s));
            assert_ptr_equal(vma_find(&mm, s.start), vma_find(&mm, s.end));
        }
        return;
    }
}

static void random_run(unsigned ops, unsigned top)
{
    world_begin(seed, top);
    for (unsigned op = 0; op < ops; op++) {
        unsigned from, to, what = random_below(100);

        random_span(&from, &to);
        if (what < 45) {
            random_mmap(from, to, top);
        } else if (what < 65) {
            unmap(from, to);
        } else if (what < 85) {
            random_flags(from, to);
        } else if (what < 92) {
            random_move(from, to);
        } else if (what < 94) {
            random_grow();
        } else if (what < 95) {
            random_clear(from, to);
        } else if (what < 98) {
            world_park(from);
        } else {
            world_unpark();
        }
    }
    world_end();
}

static void test_random(void **state)
{
    (void)state;
    random_run(5000, NR_CELLS);
    seed = shim_random(&seed);
    random_run(2000, 700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unmap),      cmocka_unit_test(test_map_joins),
        cmocka_unit_test(test_map_over),   cmocka_unit_test(test_set_flags),
        cmocka_unit_test(test_fill_part),  cmocka_unit_test(test_move),
        cmocka_unit_test(test_parked),     cmocka_unit_test(test_reader),
        cmocka_unit_test(test_abort),      cmocka_unit_test(test_gap),
        cmocka_unit_test(test_mmap_place), cmocka_unit_test(test_brk),
        cmocka_unit_test(test_random),
    };

    seed = shim_seed();
    maple_init();
    vma_cache_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
