/* blocks.c: see blocks.h. A trace that cannot grow ends QEMU: half a profile would lie. */
#include "blocks.h"

#include <inttypes.h>
#include <stdlib.h>

struct block {
    struct block *next; /* of all */
    uint64_t count;
    size_t nr;
    uint64_t addresses[];
};

static struct block *blocks;

struct block *block_make(const struct qemu_plugin_tb *tb)
{
    size_t nr = qemu_plugin_tb_n_insns(tb);
    struct block *b = malloc(sizeof(*b) + nr * sizeof(b->addresses[0]));

    if (b == NULL) {
        return NULL;
    }
    b->count = 0;
    b->nr = nr;
    for (size_t i = 0; i < nr; i++) {
        b->addresses[i] = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i));
    }
    b->next = blocks;
    blocks = b;
    return b;
}

void trace_add(struct trace *trace, struct block *block)
{
    if (trace->nr == trace->room) {
        size_t room = trace->room ? 2 * trace->room : 4096;
        struct block **ran = realloc(trace->ran, room * sizeof(*ran));
        if (ran == NULL) {
            fprintf(stderr, "coherence: no memory for a window's blocks\n");
            exit(1);
        }
        trace->ran = ran;
        trace->room = room;
    }
    trace->ran[trace->nr++] = block;
}

void trace_count(const struct trace *trace)
{
    for (size_t i = 0; i < trace->nr; i++) {
        trace->ran[i]->count++;
    }
}

void blocks_report(FILE *out, unsigned run)
{
    for (struct block *b = blocks; b != NULL; b = b->next) {
        if (b->count == 0) {
            continue;
        }
        fprintf(out, "block %u %" PRIu64, run, b->count);
        for (size_t i = 0; i < b->nr; i++) {
            fprintf(out, " %" PRIx64, b->addresses[i]);
        }
        fputc('\n', out);
        b->count = 0;
    }
}
