// Which bytes may be touched: -fsanitize=kernel-address.
//
// Problem: a write behind an object or into freed memory does harm long after and far away.
//
// Idea: one byte of shadow for every 8 bytes of kernel address space, at (addr >> 3) +
// KASAN_SHADOW_OFFSET. 0: all eight may be touched; 1..7: the first so many; from 0x80 on: none,
// and the value says why (enum kasan_why, and the compiler's below). The compiler calls
// __asan_loadN or __asan_storeN before each access, which look there; in a function whose arrays
// are on the stack, it also puts poisoned gaps around them and writes their shadow itself.
//
// Life of a page's shadow: freed --page_alloc--> open --page_free--> freed. Life of an object's:
// freed --alloc--> open for `size` bytes, its tail poisoned --free--> freed, waiting in a
// quarantine, so that a use after free meets poison and not the next owner. Page tables, struct
// pages, per-CPU areas and what the loader left are never poisoned: shadow starts as zeros.
//
// Shadow needs no lock: it belongs to whoever owns the memory, and 8 bytes never have two owners.
//
// What must not be forgotten: a stack that is left for good (exec, the end of a thread, entering
// user mode) keeps its poisoned gaps. The compiler announces calls that do not return, and we open
// the whole stack; a freed stack goes through page_free and page_alloc as every page.
//
// Outline checks and not inline ones: before kasan_start() there is nothing to check against, and a
// function can look at a flag. Rejected: stacks of the allocation and the free in each object; the
// report names the cache's state, and the panic has the access's call chain.
#include <arch/cpu.h>
#include <arch/thread.h>
#include <k/assert.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <k/string.h>
#include <ksyms.h>
#include <san.h>
#include <sched.h>

#define GRANULE          8
#define ROW              16 // bytes of shadow in a line of the report
#define QUARANTINE_SLOTS 128

// The compiler's own poison.
#define STACK_LEFT    0xf1
#define STACK_MIDDLE  0xf2
#define STACK_RIGHT   0xf3
#define STACK_LEFT_IT 0xf8

struct asan_global {
    u64 start, size, size_with_gap;
    const char *name, *module;
    u64 has_dynamic_init;
    const void *place;
    u64 odr;
};

struct quarantine {
    unsigned first, nr;
    struct {
        struct kmem_cache *cache;
        void *obj;
    } slot[QUARANTINE_SLOTS];
};

extern void (*const san_ctors_start[])(void), (*const san_ctors_end[])(void); // kernel.ld

static bool started;
static u64 bad_addr; // of the report
static DEFINE_PER_CPU(struct quarantine, quarantine);

static u8 *shadow_of(u64 addr)
{
    return (u8 *)((addr >> 3) + KASAN_SHADOW_OFFSET);
}

// --- Reports ------------------------------------------------------------------------------------

static const char *bug_name(u8 s)
{
    switch (s) {
    case STACK_LEFT:
    case STACK_MIDDLE:
    case STACK_RIGHT:
        return "out of bounds of a variable on the stack";
    case STACK_LEFT_IT:
        return "use of a stack variable after its scope";
    case KASAN_GLOBAL_END:
        return "out of bounds of a global variable";
    case KASAN_OBJECT_FREED:
        return "use after free of an object";
    case KASAN_OBJECT_END:
        return "out of bounds of an object";
    case KASAN_BLOCK_END:
        return "out of bounds of a kmalloc block";
    case KASAN_PAGE_FREED:
        return "use of a free page";
    default:
        return "unknown";
    }
}

// The byte of shadow that forbids the access; a partial granule tells by its neighbour.
static u8 verdict(u64 addr, size_t len)
{
    for (u64 a = addr & ~7ull; a < addr + len; a += GRANULE) {
        u8 s = *shadow_of(a);
        u64 last = min(addr + len - 1, a + GRANULE - 1);
        if (s >= 0x80) {
            return s;
        }
        if (s != 0 && (last & 7) >= s) {
            return *shadow_of(a + GRANULE) >= 0x80 ? *shadow_of(a + GRANULE) : KASAN_OBJECT_END;
        }
    }
    return 0;
}

void san_panic_print(void)
{
    u64 addr = bad_addr;
    u8 *row = (u8 *)((u64)shadow_of(addr) & ~(u64)(ROW - 1));

    if (addr == 0) {
        return;
    }
    printk("shadow, a byte for 8:\n");
    for (u8 *r = row - 2 * ROW; r <= row + 2 * ROW; r += ROW) {
        char line[ROW * 3 + 1];
        for (unsigned i = 0; i < ROW; i++) {
            snprintf(line + i * 3, 4, "%c%02x", r + i == shadow_of(addr) ? '>' : ' ', r[i]);
        }
        printk("  %016lx:%s\n", (unsigned long)(((u64)r - KASAN_SHADOW_OFFSET) << 3), line);
    }
}

static noreturn_fn cold void report(u64 addr, size_t len, const char *access, u64 ip)
{
    const char *name = "?";
    u64 off = 0;

    started = false; // the report itself may go where it likes
    ksym_lookup(ip, &name, &off);
    bad_addr = addr;
    panic("kasan: %s: %s of %zu bytes at %#lx by %s+%#lx", bug_name(verdict(addr, len)), access,
          len, (unsigned long)addr, name, (unsigned long)off);
}

// --- Checks -------------------------------------------------------------------------------------

// Addresses below the kernel's half have no shadow: the access itself will fault.
static inline bool has_shadow(u64 addr)
{
    return addr >= ~0ul << 47;
}

static inline bool forbidden(u64 addr, size_t len)
{
    u64 last = addr + len - 1;
    u8 s = *shadow_of(last);

    if (unlikely(s != 0) && (last & 7) >= s) { // s >= 0x80 is more than any last & 7 ...
        return true;
    }
    return s >= 0x80 || (addr >> 3 != last >> 3 && verdict(addr, len) != 0);
}

static inline void check(u64 addr, size_t len, bool write, u64 ip)
{
    if (likely(started) && likely(has_shadow(addr)) && unlikely(forbidden(addr, len))) {
        report(addr, len, write ? "write" : "read", ip);
    }
}

void kasan_check(const void *start, size_t len, bool write)
{
    if (len > 0) {
        check((u64)start, len, write, (u64)__builtin_return_address(0));
    }
}

#define ASAN_ACCESS(size)                                                                          \
    void __asan_load##size##_noabort(u64 addr);                                                    \
    void __asan_load##size##_noabort(u64 addr)                                                     \
    {                                                                                              \
        check(addr, size, false, (u64)__builtin_return_address(0));                                \
    }                                                                                              \
    void __asan_store##size##_noabort(u64 addr);                                                   \
    void __asan_store##size##_noabort(u64 addr)                                                    \
    {                                                                                              \
        check(addr, size, true, (u64)__builtin_return_address(0));                                 \
    }

ASAN_ACCESS(1)
ASAN_ACCESS(2)
ASAN_ACCESS(4)
ASAN_ACCESS(8)
ASAN_ACCESS(16)

void __asan_loadN_noabort(u64 addr, size_t len);
void __asan_loadN_noabort(u64 addr, size_t len)
{
    if (len > 0) {
        check(addr, len, false, (u64)__builtin_return_address(0));
    }
}

void __asan_storeN_noabort(u64 addr, size_t len);
void __asan_storeN_noabort(u64 addr, size_t len)
{
    if (len > 0) {
        check(addr, len, true, (u64)__builtin_return_address(0));
    }
}

// --- Poison -------------------------------------------------------------------------------------

void kasan_poison(const void *start, size_t len, enum kasan_why why)
{
    memset(shadow_of((u64)start), why, len / GRANULE);
}

void kasan_unpoison(const void *start, size_t len)
{
    memset(shadow_of((u64)start), 0, len / GRANULE);
}

void kasan_shrink(const void *start, size_t len, size_t room, enum kasan_why why)
{
    u8 *edge = shadow_of((u64)start + len), *end = shadow_of((u64)start + room);

    if (len % GRANULE != 0) {
        *edge++ = len % GRANULE;
    }
    if (edge < end) {
        memset(edge, why, (size_t)(end - edge));
    }
}

void kasan_check_free(const void *start, size_t len)
{
    if (started && verdict((u64)start, 1) != 0) {
        report((u64)start, len, "double or wild free", (u64)__builtin_return_address(0));
    }
    kasan_unpoison(start, len);
}

void __asan_register_globals(struct asan_global *g, size_t nr);
void __asan_register_globals(struct asan_global *g, size_t nr)
{
    for (size_t i = 0; i < nr; i++) {
        kasan_shrink((void *)g[i].start, g[i].size, g[i].size_with_gap, KASAN_GLOBAL_END);
    }
}

void __asan_unregister_globals(struct asan_global *g, size_t nr);
void __asan_unregister_globals(struct asan_global *g, size_t nr)
{
    (void)g;
    (void)nr;
}

// A call that does not return comes: nobody will clean up this stack.
void __asan_handle_no_return(void);
void __asan_handle_no_return(void)
{
    u64 here = (u64)__builtin_frame_address(0);
    struct thread *t = started ? current_thread() : NULL;

    if (t && here >= (u64)t->kstack && here < (u64)t->kstack + KSTACK_SIZE) {
        kasan_unpoison(t->kstack, KSTACK_SIZE);
    }
}

// --- Quarantine ---------------------------------------------------------------------------------

bool kasan_quarantine_pop(struct kmem_cache **c, void **obj)
{
    struct quarantine *q = &this_cpu(quarantine);

    if (q->nr == 0) {
        return false;
    }
    *c = q->slot[q->first].cache;
    *obj = q->slot[q->first].obj;
    q->first = (q->first + 1) % QUARANTINE_SLOTS;
    q->nr--;
    return true;
}

bool kasan_quarantine(struct kmem_cache **c, void **obj)
{
    struct quarantine *q = &this_cpu(quarantine);
    struct kmem_cache *new_cache = *c;
    void *new_obj = *obj;

    *obj = NULL;
    if (q->nr == QUARANTINE_SLOTS) {
        kasan_quarantine_pop(c, obj);
    }
    unsigned at = (q->first + q->nr++) % QUARANTINE_SLOTS;
    q->slot[at].cache = new_cache;
    q->slot[at].obj = new_obj;
    return true;
}

// --- Start --------------------------------------------------------------------------------------

void kasan_start(void)
{
    for (void (*const *fn)(void) = san_ctors_start; fn < san_ctors_end; fn++) {
        (*fn)(); // each calls __asan_register_globals for its file
    }
    started = true;
}
