// What both fuzzers stand in for: kernel memory is malloc's, and nothing sleeps.
#ifndef FUZZ_SHIM_H
#define FUZZ_SHIM_H

#include <sched.h>
#include <slab.h>
#include <stdlib.h>

void *kmalloc_site(size_t size, enum gfp gfp, const char *site)
{
    (void)site;
    return gfp & GFP_ZERO ? calloc(1, size) : malloc(size);
}

void kfree(void *p)
{
    free(p);
}

void cond_resched(void)
{
}

#endif
