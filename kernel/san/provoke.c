// One bug of each kind that a sanitizer kernel must report, committed on request: san=NAME on the
// command line. Compiled like the rest of the kernel; only the name is needed to see the report.
#include <arch/time.h>
#include <bootinfo.h>
#include <k/assert.h>
#include <k/printk.h>
#include <k/string.h>
#include <page.h>
#include <san.h>
#include <sched.h>
#include <slab.h>

struct bug {
    const char *name;
    void (*commit)(void);
};

// What the compiler must not see through.
#define hide(x)                                                                                    \
    ({                                                                                             \
        static _Atomic typeof(x) hidden_;                                                          \
        store_relaxed(&hidden_, (x));                                                              \
        load_relaxed(&hidden_);                                                                    \
    })

#if CONFIG_KASAN

static char global_array[10];

static void write_at(char *p)
{
    *p = 1;
}

static void object_oob(void)
{
    char *p = kmalloc(30, GFP_KERNEL);
    assert(p);
    write_at(hide(p + 30));
}

static void block_oob(void)
{
    char *p = kmalloc(5000, GFP_KERNEL);
    assert(p);
    write_at(hide(p + 5000));
}

static void use_after_free(void)
{
    char *p = kmalloc(100, GFP_KERNEL);
    assert(p);
    kfree(p);
    write_at(hide(p + 50));
}

static void double_free(void)
{
    char *p = kmalloc(100, GFP_KERNEL);
    assert(p);
    kfree(p);
    kfree(hide(p));
}

static void page_use_after_free(void)
{
    struct page *page = page_alloc(GFP_KERNEL);
    assert(page);
    page_free(page);
    page_clear(hide(page));
}

static void stack_oob(void)
{
    char array[10];
    write_at(hide(array + 10));
}

static void global_oob(void)
{
    write_at(hide(global_array + 10));
}

static const struct bug bugs[] = {
    {"object-oob", object_oob},
    {"block-oob", block_oob},
    {"use-after-free", use_after_free},
    {"double-free", double_free},
    {"page-use-after-free", page_use_after_free},
    {"stack-oob", stack_oob},
    {"global-oob", global_oob},
};

#elif CONFIG_KCSAN

#define RACE_NS     5000000000ull
#define FORGIVEN_NS 1000000000ull

static unsigned long racy;
static atomic_ulong mixed;

// Another thread, most likely on another CPU, as this one never sleeps.
static void race_run(void (*fn)(void *), u64 ns)
{
    u64 end = clock_ns() + ns;
    assert(kthread_create("racer", fn, &end));
    while (clock_ns() < end) {
        fn(NULL);
        cond_resched();
    }
}

static void plain_write(void *end)
{
    do {
        for (int i = 0; i < 1000; i++) {
            racy++;
            compiler_barrier();
        }
        cond_resched();
    } while (end && clock_ns() < *(u64 *)end);
}

static void mixed_write(void *end)
{
    do {
        for (int i = 0; i < 1000; i++) {
            if (end) {
                fetch_add_seq(&mixed, 1);
            } else {
                memset((void *)&mixed, 0, sizeof(mixed));
            }
        }
        cond_resched();
    } while (end && clock_ns() < *(u64 *)end);
}

// One side says that it is deliberate: this one must not be reported.
static void forgiven_write(void *end)
{
    do {
        for (int i = 0; i < 1000; i++) {
            if (end) {
                (void)data_race(racy++);
            } else {
                racy++;
            }
            compiler_barrier();
        }
        cond_resched();
    } while (end && clock_ns() < *(u64 *)end);
}

static void race(void)
{
    race_run(plain_write, RACE_NS);
}

static void mixed_race(void)
{
    race_run(mixed_write, RACE_NS);
}

static void forgiven_race(void)
{
    race_run(forgiven_write, FORGIVEN_NS);
}

static const struct bug bugs[] = {
    {"race", race},
    {"mixed-race", mixed_race},
    {"forgiven-race", forgiven_race},
};

#else

static int values[8];

static void shift(void)
{
    printk("san: %d\n", 1 << hide(33));
}

static void overflow(void)
{
    printk("san: %d\n", hide(INT_MAX) + 1);
}

static void divide(void)
{
    printk("san: %d\n", 1 / hide(0));
}

static void bounds(void)
{
    printk("san: %d\n", values[hide(8)]);
}

static void null(void)
{
    printk("san: %d\n", *hide((int *)NULL));
}

static void misaligned(void)
{
    printk("san: %d\n", *(int *)hide((char *)values + 1));
}

static const struct bug bugs[] = {
    {"shift", shift},   {"overflow", overflow}, {"divide", divide},
    {"bounds", bounds}, {"null", null},         {"misaligned", misaligned},
};

#endif

void san_provoke(void)
{
    char name[32];

    if (!boot_arg("san", name, sizeof(name))) {
        return;
    }
    for (size_t i = 0; i < array_size(bugs); i++) {
        if (strcmp(bugs[i].name, name) == 0) {
            bugs[i].commit();
            panic("san=%s went unnoticed", name);
        }
    }
    panic("san=%s: no such bug in this kernel", name);
}
