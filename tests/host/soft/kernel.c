// The rest of the kernel, as little as mm/ needs of it on the soft machine.
#include <arch/uaccess.h>
#include <bootinfo.h>
#include <fs.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/string.h>
#include <maple.h>
#include <proc.h>
#include <san.h>
#include <signal.h>
#include <slab.h>
#include <stdio.h>
#include <stdlib.h>

void force_signal_fault(int sig, int code, u64 addr)
{
    panic("signal %d code %d at %lx", sig, code, (unsigned long)addr);
}

// No process: no limits but the defaults.
bool boot_arg(const char *name, char *buf, size_t size)
{
    (void)name, (void)buf, (void)size;
    return false;
}

u64 parse_u64(const char *s, const char **end)
{
    *end = s;
    return 0;
}

static struct {
    const char *name;
    size_t (*show)(char *buf, size_t size);
} knob[16];
static unsigned nr_knobs;

void knob_register(const char *name, size_t (*show)(char *buf, size_t size),
                   int (*store)(const char *text))
{
    (void)store;
    assert(nr_knobs < array_size(knob));
    knob[nr_knobs].name = name;
    knob[nr_knobs++].show = show;
}

void soft_knob_read(const char *name, char *buf, size_t size)
{
    unsigned i = 0;
    while (strcmp(knob[i].name, name) != 0) {
        assert(++i < nr_knobs);
    }
    // mm/audit.c looks without locks where a wrong number would only be reported.
    size_t n = data_race(knob[i].show(buf, size));
    buf[min(n, size - 1)] = '\0';
}

int inject_set(const char *text)
{
    (void)text;
    return -EINVAL;
}

bool inject_seen_nth(unsigned i, const char **site, u64 *nr, u64 *failed)
{
    (void)i, (void)site, (void)nr, (void)failed;
    return false;
}

void slab_drain_local(void)
{
    mt_drain_local(); // tests/host/shim/slab.c has no lists to drain
}

long slab_nr_used(void)
{
    return 0;
}

size_t slab_text(char *buf, size_t size)
{
    (void)buf, (void)size;
    return 0;
}

long slab_nr_pages(void)
{
    return 0;
}

// The host's files are the test's own: never freed, only counted.
void file_put(struct file *f)
{
    assert(fetch_sub_release(&f->ref, 1) > 1);
}

void file_put_later(struct file *f)
{
    file_put(f);
}

int file_put_settle(void)
{
    return 0;
}

long file_nr_open(void)
{
    return 0;
}

int shmem_file_create(u64 size_bytes, struct file **out)
{
    (void)size_bytes, (void)out;
    return -ENOMEM;
}

// The kernel moves bytes to and from user memory only in calls that no soft test makes.
size_t arch_copy_to_user(void *user_dst, const void *src, size_t n)
{
    (void)user_dst, (void)src;
    return n;
}

size_t arch_copy_from_user(void *dst, const void *user_src, size_t n)
{
    (void)dst, (void)user_src;
    return n;
}

#if SOFT_ASAN
// ---- The allocator's hooks for KASAN: the host's sanitizer serves as well -----------------------

void __asan_poison_memory_region(void const volatile *start, size_t len);
void __asan_unpoison_memory_region(void const volatile *start, size_t len);
void *__asan_region_is_poisoned(void *start, size_t len);

void kasan_poison(const void *start, size_t len, enum kasan_why why)
{
    (void)why;
    __asan_poison_memory_region(start, len);
}

void kasan_unpoison(const void *start, size_t len)
{
    __asan_unpoison_memory_region(start, len);
}

void kasan_check(const void *start, size_t len, bool write)
{
    if (__asan_region_is_poisoned((void *)(uintptr_t)start, len)) {
        panic("%s freed memory at %lx", write ? "writes" : "reads", (unsigned long)start);
    }
}

void kasan_check_free(const void *start, size_t len)
{
    kasan_check(start, len, true);
}
#endif
