// Sanitizer kernels, `make SAN=ubsan|kasan|kcsan`. The compiler calls kernel/san/ where a program
// may go wrong; the hooks below tell that code what the compiler cannot know. In every other build
// they are nothing.
#ifndef SAN_H
#define SAN_H

#include <k/types.h>

struct kmem_cache;

// What a poisoned byte of shadow says; those of the compiler are in kasan.c.
enum kasan_why {
    KASAN_GLOBAL_END = 0xf9,
    KASAN_OBJECT_FREED = 0xfb,
    KASAN_OBJECT_END = 0xfc,
    KASAN_BLOCK_END = 0xfe, // behind a large kmalloc
    KASAN_PAGE_FREED = 0xff,
};

#if CONFIG_KASAN
// For functions that use memory which is poisoned for everybody else.
#define no_kasan  __attribute__((no_sanitize_address))
#define KASAN_GAP 16 // bytes behind each object of a slab

// Architecture: map the shadow, first one zero page for all of it, from the first line of C; then
// memory of its own for RAM and the kernel image. Boot CPU, final page tables about to be loaded.
void kasan_map_early(void);
void kasan_map_shadow(void);
// From here on accesses are checked. Boot CPU, on the final page tables.
void kasan_start(void);

// [start, start + len), multiples of 8: nobody may touch it, or everybody.
void kasan_poison(const void *start, size_t len, enum kasan_why why);
void kasan_unpoison(const void *start, size_t len);

// Of the open [start, start + room) keep the first len bytes open.
void kasan_shrink(const void *start, size_t len, size_t room, enum kasan_why why);

// As an access of this kind by the caller: for assembly language, which nobody instruments.
void kasan_check(const void *start, size_t len, bool write);

// An object or block is about to be freed: panics if it is poisoned already, else opens all of it.
void kasan_check_free(const void *start, size_t len);

// Delay the reuse of freed objects: put *obj of *c into this CPU's queue and take out the oldest,
// *obj NULL if there is room for more. False: there is no queue, free *obj itself. pop takes
// without putting; false: empty. Same rules as for the slab allocator's fast path.
bool kasan_quarantine(struct kmem_cache **c, void **obj);
bool kasan_quarantine_pop(struct kmem_cache **c, void **obj);
#else
#define no_kasan
#define KASAN_GAP 0
static inline void kasan_map_early(void)
{
}
static inline void kasan_map_shadow(void)
{
}
static inline void kasan_start(void)
{
}
static inline void kasan_poison(const void *start, size_t len, enum kasan_why why)
{
    (void)start;
    (void)len;
    (void)why;
}
static inline void kasan_unpoison(const void *start, size_t len)
{
    (void)start;
    (void)len;
}
static inline void kasan_shrink(const void *start, size_t len, size_t room, enum kasan_why why)
{
    (void)start;
    (void)len;
    (void)room;
    (void)why;
}
static inline void kasan_check(const void *start, size_t len, bool write)
{
    (void)start;
    (void)len;
    (void)write;
}
static inline void kasan_check_free(const void *start, size_t len)
{
    (void)start;
    (void)len;
}
static inline bool kasan_quarantine(struct kmem_cache **c, void **obj)
{
    (void)c;
    (void)obj;
    return false;
}
static inline bool kasan_quarantine_pop(struct kmem_cache **c, void **obj)
{
    (void)c;
    (void)obj;
    return false;
}
#endif

#if CONFIG_KCSAN
// From here on accesses are sampled. Boot CPU, once threads run.
void kcsan_start(void);
#else
static inline void kcsan_start(void)
{
}
#endif

#if CONFIG_KASAN || CONFIG_KCSAN || CONFIG_UBSAN
// The boot argument san=NAME: commit that bug, to see it reported. Thread context; returns if the
// argument is absent.
void san_provoke(void);
// For panic alone: what else is known of the bug that was just reported.
void san_panic_print(void);
#else
static inline void san_provoke(void)
{
}
static inline void san_panic_print(void)
{
}
#endif

#endif
