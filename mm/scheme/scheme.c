// Which schemes there are, and which one new address spaces get.

#include <bootinfo.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/string.h>
#include <k/types.h>
#include <scheme.h>

static const struct mm_scheme *const schemes[] = {&scheme_rcu, &scheme_mmap_lock};
static _Atomic(const struct mm_scheme *) new_scheme = &scheme_rcu; // of address spaces to come

const struct mm_scheme *scheme_nth(unsigned n)
{
    return n < array_size(schemes) ? schemes[n] : NULL;
}

const struct mm_scheme *scheme_by_name(const char *name)
{
    for (unsigned i = 0; i < array_size(schemes); i++) {
        if (strcmp(schemes[i]->name, name) == 0) {
            return schemes[i];
        }
    }
    return NULL;
}

const struct mm_scheme *scheme_default(void)
{
    return load_relaxed(&new_scheme);
}

int scheme_set_default(const char *name)
{
    const struct mm_scheme *s = scheme_by_name(name);
    if (!s) {
        return -EINVAL;
    }
    store_relaxed(&new_scheme, s);
    return 0;
}

void scheme_init(void)
{
    char name[32];
    if (!boot_arg("mm.scheme", name, sizeof(name))) {
        return;
    }
    if (scheme_set_default(name)) {
        printk("mm.scheme=%s: no such scheme; using %s\n", name, scheme_default()->name);
    }
}
