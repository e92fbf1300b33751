/*
 * blocks.h: which instructions a window executed, and how often.
 *
 * QEMU translates and executes code in blocks: instructions in a row, entered at the first. We keep
 * the addresses of each block's instructions. An open window notes the blocks that it enters; they
 * are counted when it closes, unless an interrupt spoiled it. A block that an exception leaves in
 * the middle counts as a whole.
 *
 * A round of a string instruction ends its block and enters one that begins with it, so each round
 * counts as one instruction.
 *
 * The caller serializes everything but `trace_add`, which belongs to the window's CPU.
 */
#ifndef COHERENCE_BLOCKS_H
#define COHERENCE_BLOCKS_H

#include "qemu_plugin.h"

#include <stdio.h>

struct block;

/* The blocks of one window, in order. All zero: none. */
struct trace {
    struct block **ran;
    size_t nr, room;
};

/* From within the translation callback; NULL if there is no memory. It stays for good. */
struct block *block_make(const struct qemu_plugin_tb *tb);

void trace_add(struct trace *trace, struct block *block);

/* Counts the blocks of a window that is over. */
void trace_count(const struct trace *trace);

/* Prints "block RUN COUNT ADDRESS..." for each block that ran, and counts from 0 again. */
void blocks_report(FILE *out, unsigned run);

#endif
