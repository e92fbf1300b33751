/*
 * symbols.c: names for kernel addresses, from the running kernel's own list. The host asks for
 * those that the plugin found: the list itself is too long for the channel. Faultline has no such
 * list; the host reads its ELF file.
 */
#include "coherence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct symbol {
    uint64_t addr;
    char name[56];
};

static struct symbol *symbols;
static size_t nr_symbols;

static int symbol_compare(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;
    return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static void symbols_read(void)
{
    FILE *file = fopen("/proc/kallsyms", "r");
    size_t room = 0;
    struct symbol s;
    char line[512];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "%lx %*c %55s", &s.addr, s.name) != 2) {
            continue;
        }
        if (nr_symbols == room) {
            room = room ? 2 * room : 65536;
            struct symbol *more = realloc(symbols, room * sizeof(*symbols));
            if (more == NULL) {
                break;
            }
            symbols = more;
        }
        symbols[nr_symbols++] = s;
    }
    if (file != NULL) {
        fclose(file);
    }
    qsort(symbols, nr_symbols, sizeof(*symbols), symbol_compare);
}

/* The last symbol at or below the address; NULL if there is none. */
static const struct symbol *symbol_find(uint64_t addr)
{
    size_t low = 0, high = nr_symbols;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (symbols[middle].addr <= addr) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? &symbols[low - 1] : NULL;
}

void symbols_answer(void)
{
    char line[64];

    symbols_read();
    while (fgets(line, sizeof(line), stdin) != NULL) {
        uint64_t addr = strtoull(line, NULL, 16);
        const struct symbol *s = symbol_find(addr);
        if (s != NULL && s->addr != 0) {
            printf("symbol %lx %s+0x%lx\n", addr, s->name, addr - s->addr);
        }
    }
    free(symbols);
}
