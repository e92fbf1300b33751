// Data races: -fsanitize=thread.
//
// Problem: two CPUs use the same bytes at once, at least one writes, and not both accesses are
// atomics: the compiler may tear, repeat or drop such accesses, and a test sees it once a year.
//
// Idea: the compiler calls __tsan_readN and __tsan_writeN for each plain access and
// __tsan_atomicN_OP for each atomic, which we perform here. Of many thousand accesses one is
// sampled: its CPU puts a watchpoint on the address and waits some microseconds before it goes on.
// Every other access looks whether it meets a watchpoint. If it does, both sides are in the middle
// of the access now, and no lock or other order kept them apart: a race, found in the act, hence
// without false alarms. A race the delay does not hit is missed; run it again.
//
//      watcher                              the other
//      key: 0 -> my access
//      wait                                 sees key, overlaps: key -> BUSY
//      key -> 0 if it still is my access    writes down who it is; BUSY -> DONE
//      else wait for DONE, report both
//
// A watched value that changed though nobody met the watchpoint was written by code that is not
// instrumented: assembly language. That is reported, too. Or by an access that had looked before
// the watchpoint was there, and was held up: a race all the same, unless it is one of data_race().
// So these leave their address behind when they look:
//
//      watcher                              data_race(x = 1)
//                                           forgiven = &x; no key
//      key: 0 -> my access; x is 0
//                                           x = 1
//      x is 1, nobody came; forgiven is &x
//
// Watchpoints are a small table by address; an access looks at one word in it. At most 8 bytes
// within an aligned 8-byte granule are watched, of a larger access a random piece. Interrupts are
// off while watching: a handler that changes what its own CPU's thread uses is out of scope.
//
// Rejected: happens-before (a vector clock for each lock and thread costs far more memory and
// time, and would not see order that page tables or interrupts make).
#include <arch/boot.h>
#include <arch/cpu.h>
#include <bootinfo.h>
#include <k/assert.h>
#include <k/atomic.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <k/string.h>
#include <ksyms.h>
#include <san.h>
#include <sched.h>

#define NR_WATCHES   64
#define SKIP_MIN     1000  // accesses between two samples of a CPU
#define SKIP_RANGE   2048  // a power of two
#define DELAY_CYCLES 60000 // around 20 microseconds
#define DEPTH        12

enum access { READ = 0, WRITE = 1, ATOMIC = 2, FORGIVEN = 4 };

// Values of a key. Anything else: KEY_TAKEN | type << 56 | size << 52 | the address's low 48 bits.
#define KEY_FREE  0ul
#define KEY_BUSY  1ul
#define KEY_DONE  2ul
#define KEY_TAKEN (1ul << 63)

struct side {
    u64 addr;
    unsigned size, access, cpu, nr;
    const char *thread;
    u64 chain[DEPTH];
};

struct watch {
    _Atomic u64 key;
    struct side other;     // whoever made the key BUSY writes it, the watcher reads it after DONE
    atomic_ulong forgiven; // the granule that a data_race() was last about to write
} cache_aligned;

struct kcsan_cpu {
    int skip, ignore;
    u32 seed;
};

static struct watch watches[NR_WATCHES];
static DEFINE_PER_CPU(struct kcsan_cpu, kcsan_cpu);
static bool started, go_on;
static atomic_int nr_reports;
static struct side sides[2]; // of the reported race

static struct watch *watch_of(u64 addr)
{
    return &watches[(addr >> 3 ^ addr >> 9) % NR_WATCHES];
}

// --- Reports ------------------------------------------------------------------------------------

static void chain_add(void *arg, u64 addr)
{
    struct side *s = arg;

    if (s->nr < DEPTH) {
        s->chain[s->nr++] = addr;
    }
}

static void side_fill(struct side *s, u64 addr, unsigned size, unsigned access)
{
    struct thread *t = current_thread();

    *s = (struct side){.addr = addr, .size = size, .access = access, .cpu = cpu_id()};
    s->thread = t ? t->name : "none";
    arch_backtrace((u64)__builtin_frame_address(0), chain_add, s);
}

static void side_print(const struct side *s)
{
    if (s->nr == 0) {
        printk("another write, by code that is not instrumented\n");
        return;
    }
    printk("%s%s of %u bytes at %#lx by CPU %u, thread %s:\n",
           s->access & ATOMIC ? "atomic " : "plain ", s->access & WRITE ? "write" : "read", s->size,
           (unsigned long)s->addr, s->cpu, s->thread);
    for (unsigned i = 0; i < s->nr; i++) {
        const char *name = "?";
        u64 off = 0;
        ksym_lookup(s->chain[i], &name, &off);
        printk("  %#lx %s+%#lx\n", (unsigned long)s->chain[i], name, (unsigned long)off);
    }
}

// `other` is all zero when it is unknown.
static void report(const struct side *mine, const struct side *other)
{
    const char *name = "?";
    u64 off = 0;
    int nobody = 0;

    if (go_on) {
        this_cpu(kcsan_cpu).ignore++;
        printk("kcsan: data race\n");
        side_print(mine);
        side_print(other);
        this_cpu(kcsan_cpu).ignore--;
        return;
    }
    if (!atomic_compare_exchange_strong(&nr_reports, &nobody, 1)) {
        return; // one is enough: that CPU is about to panic
    }
    started = false;
    sides[0] = *mine;
    sides[1] = *other;
    ksym_lookup(mine->chain[0], &name, &off);
    panic("kcsan: data race at %#lx in %s+%#lx", (unsigned long)mine->addr, name,
          (unsigned long)off);
}

void san_panic_print(void)
{
    if (sides[0].nr > 0) {
        side_print(&sides[0]);
        side_print(&sides[1]);
    }
}

// --- Watching -----------------------------------------------------------------------------------

static u64 key_make(u64 addr, unsigned size, unsigned access)
{
    return KEY_TAKEN | (u64)access << 56 | (u64)size << 52 | (addr & ((1ul << 48) - 1));
}

static u64 value_read(u64 addr, unsigned size)
{
    switch (size) {
    case 1:
        return *(volatile u8 *)addr;
    case 2:
        return *(volatile u16 *)addr;
    case 4:
        return *(volatile u32 *)addr;
    default:
        return *(volatile u64 *)addr;
    }
}

static void delay(struct kcsan_cpu *c)
{
    u64 start = cpu_cycles(), cycles = DELAY_CYCLES / 2 + c->seed % DELAY_CYCLES;

    while (cpu_cycles() - start < cycles) {
        cpu_relax();
    }
}

static noinline void watch(u64 addr, unsigned size, unsigned access)
{
    struct watch *w = watch_of(addr);
    u64 key = key_make(addr, size, access), expected = KEY_FREE;
    struct side mine, other;

    unsigned long flags = irq_save();
    struct kcsan_cpu *c = &this_cpu(kcsan_cpu);
    c->seed = c->seed * 1103515245 + (u32)cpu_cycles();
    c->skip = SKIP_MIN + (int)(c->seed >> 8) % SKIP_RANGE;
    if (c->ignore > 0 || !atomic_compare_exchange_strong(&w->key, &expected, key)) {
        irq_restore(flags);
        return;
    }
    u64 before = value_read(addr, size);
    delay(c);
    u64 after = value_read(addr, size);
    expected = key;
    if (atomic_compare_exchange_strong(&w->key, &expected, KEY_FREE)) {
        // The load pairs with the store in look.
        if (before != after && !(access & ATOMIC) && load_seq(&w->forgiven) != addr >> 3) {
            side_fill(&mine, addr, size, access);
            report(&mine, &(struct side){.thread = NULL});
        }
        irq_restore(flags);
        return;
    }
    while (load_acquire(&w->key) != KEY_DONE) { // pairs with the release in meet
        cpu_relax();
    }
    other = w->other;
    store_release(&w->key, KEY_FREE); // pairs with the exchange of the next watcher
    if (!(other.access & FORGIVEN)) {
        side_fill(&mine, addr, size, access);
        report(&mine, &other);
    }
    irq_restore(flags);
}

// Another CPU watches what is being accessed here.
static noinline void meet(struct watch *w, u64 key, u64 addr, unsigned size, unsigned access)
{
    unsigned long flags = irq_save();

    if (atomic_compare_exchange_strong(&w->key, &key, KEY_BUSY)) {
        side_fill(&w->other, addr, size, access | (this_cpu(kcsan_cpu).ignore > 0 ? FORGIVEN : 0u));
        store_release(&w->key, KEY_DONE); // pairs with the watcher's load_acquire
    }
    irq_restore(flags);
}

static inline bool conflicts(u64 key, u64 addr, unsigned size, unsigned access)
{
    unsigned theirs = (unsigned)(key >> 56) & 7;
    u64 start = key & ((1ul << 48) - 1), len = key >> 52 & 15;

    addr &= (1ul << 48) - 1;
    return addr < start + len && start < addr + size && ((access | theirs) & WRITE) != 0 &&
           (access & theirs & ATOMIC) == 0;
}

static inline void look(u64 addr, unsigned size, unsigned access)
{
    struct watch *w = watch_of(addr);
    u64 key = load_relaxed(&w->key);

    if (unlikely(access & WRITE && this_cpu(kcsan_cpu).ignore > 0)) {
        store_seq(&w->forgiven, addr >> 3); // before the write itself; pairs with watch
    }
    if (unlikely(key & KEY_TAKEN) && conflicts(key, addr, size, access)) {
        meet(w, key, addr, size, access);
    }
}

static inline __attribute__((always_inline)) void check(u64 addr, unsigned size, unsigned access)
{
    if (unlikely(!started)) {
        return;
    }
    look(addr, size, access);
    if (unlikely(--this_cpu(kcsan_cpu).skip < 0) && (addr & 7) + size <= 8) {
        watch(addr, size, access);
    }
}

static void check_range(u64 addr, size_t size, unsigned access)
{
    if (unlikely(!started) || size == 0) {
        return;
    }
    for (u64 at = addr, next; at < addr + size; at = next) {
        next = min(addr + size, (at | 7) + 1);
        look(at, (unsigned)(next - at), access);
    }
    struct kcsan_cpu *c = &this_cpu(kcsan_cpu);
    if (unlikely(--c->skip < 0)) {
        u64 at = addr + c->seed % size, room = min(addr + size, (at | 7) + 1) - at;
        watch(at, 1u << (63 - (unsigned)__builtin_clzl(room)), access); // 1, 2, 4 or 8 bytes of it
    }
}

void kcsan_ignore_begin(void)
{
    this_cpu(kcsan_cpu).ignore++;
}

void kcsan_ignore_end(void)
{
    this_cpu(kcsan_cpu).ignore--;
}

void kcsan_start(void)
{
    char word[8];

    go_on = boot_arg("kcsan", word, sizeof(word)) && strcmp(word, "go-on") == 0;
    for (unsigned cpu = 0; cpu < percpu_nr; cpu++) {
        per_cpu(kcsan_cpu, cpu) = (struct kcsan_cpu){.skip = SKIP_MIN, .seed = cpu + 1};
    }
    started = true;
}

// --- What the compiler calls --------------------------------------------------------------------

#define PLAIN(size)                                                                                \
    void __tsan_read##size(u64 addr);                                                              \
    void __tsan_read##size(u64 addr)                                                               \
    {                                                                                              \
        check(addr, size, READ);                                                                   \
    }                                                                                              \
    void __tsan_write##size(u64 addr);                                                             \
    void __tsan_write##size(u64 addr)                                                              \
    {                                                                                              \
        check(addr, size, WRITE);                                                                  \
    }                                                                                              \
    void __tsan_volatile_read##size(u64 addr);                                                     \
    void __tsan_volatile_read##size(u64 addr)                                                      \
    {                                                                                              \
        (void)addr; /* device registers */                                                         \
    }                                                                                              \
    void __tsan_volatile_write##size(u64 addr);                                                    \
    void __tsan_volatile_write##size(u64 addr)                                                     \
    {                                                                                              \
        (void)addr;                                                                                \
    }

#define UNALIGNED(size)                                                                            \
    void __tsan_unaligned_read##size(u64 addr);                                                    \
    void __tsan_unaligned_read##size(u64 addr)                                                     \
    {                                                                                              \
        check_range(addr, size, READ);                                                             \
    }                                                                                              \
    void __tsan_unaligned_write##size(u64 addr);                                                   \
    void __tsan_unaligned_write##size(u64 addr)                                                    \
    {                                                                                              \
        check_range(addr, size, WRITE);                                                            \
    }

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
UNALIGNED(2)
UNALIGNED(4)
UNALIGNED(8)
UNALIGNED(16)

void __tsan_read16(u64 addr);
void __tsan_read16(u64 addr)
{
    check_range(addr, 16, READ);
}

void __tsan_write16(u64 addr);
void __tsan_write16(u64 addr)
{
    check_range(addr, 16, WRITE);
}

void __tsan_read_range(u64 addr, size_t size);
void __tsan_read_range(u64 addr, size_t size)
{
    check_range(addr, size, READ);
}

void __tsan_write_range(u64 addr, size_t size);
void __tsan_write_range(u64 addr, size_t size)
{
    check_range(addr, size, WRITE);
}

void __tsan_init(void);
void __tsan_init(void)
{
}

// Read-modify-writes are sequentially consistent whatever was asked for, as on most CPUs; loads and
// stores are as strong as asked for, rounded up.
#define ATOMIC_RMW(bits, op)                                                                       \
    u##bits __tsan_atomic##bits##_##op(_Atomic u##bits *p, u##bits v, int order);                  \
    u##bits __tsan_atomic##bits##_##op(_Atomic u##bits *p, u##bits v, int order)                   \
    {                                                                                              \
        (void)order;                                                                               \
        check((u64)p, bits / 8, WRITE | ATOMIC);                                                   \
        return atomic_##op(p, v);                                                                  \
    }

#define ATOMIC_CAS(bits, name)                                                                     \
    bool __tsan_atomic##bits##_compare_exchange_##name(_Atomic u##bits *p, u##bits *old,           \
                                                       u##bits new, int order, int fail);          \
    bool __tsan_atomic##bits##_compare_exchange_##name(_Atomic u##bits *p, u##bits *old,           \
                                                       u##bits new, int order, int fail)           \
    {                                                                                              \
        (void)order;                                                                               \
        (void)fail;                                                                                \
        check((u64)p, bits / 8, WRITE | ATOMIC);                                                   \
        return atomic_compare_exchange_strong(p, old, new);                                        \
    }

#define ATOMICS(bits)                                                                              \
    u##bits __tsan_atomic##bits##_load(_Atomic u##bits *p, int order);                             \
    u##bits __tsan_atomic##bits##_load(_Atomic u##bits *p, int order)                              \
    {                                                                                              \
        check((u64)p, bits / 8, READ | ATOMIC);                                                    \
        return order == memory_order_seq_cst ? load_seq(p) : load_acquire(p);                      \
    }                                                                                              \
    void __tsan_atomic##bits##_store(_Atomic u##bits *p, u##bits v, int order);                    \
    void __tsan_atomic##bits##_store(_Atomic u##bits *p, u##bits v, int order)                     \
    {                                                                                              \
        check((u64)p, bits / 8, WRITE | ATOMIC);                                                   \
        if (order == memory_order_seq_cst) {                                                       \
            store_seq(p, v);                                                                       \
        } else {                                                                                   \
            store_release(p, v);                                                                   \
        }                                                                                          \
    }                                                                                              \
    ATOMIC_RMW(bits, exchange)                                                                     \
    ATOMIC_RMW(bits, fetch_add)                                                                    \
    ATOMIC_RMW(bits, fetch_sub)                                                                    \
    ATOMIC_RMW(bits, fetch_and)                                                                    \
    ATOMIC_RMW(bits, fetch_or)                                                                     \
    ATOMIC_RMW(bits, fetch_xor)                                                                    \
    ATOMIC_CAS(bits, strong)                                                                       \
    ATOMIC_CAS(bits, weak)

ATOMICS(8)
ATOMICS(16)
ATOMICS(32)
ATOMICS(64)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
    (void)order;
    atomic_fence_seq();
}

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
    (void)order;
    compiler_barrier();
}
