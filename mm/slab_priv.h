// Between slab.c and kmalloc.c.
#ifndef SLAB_PRIV_H
#define SLAB_PRIV_H

#include <slab.h>

void kmalloc_init(void); // creates the classes' caches; slab_init calls it

#endif
