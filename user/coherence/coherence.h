/* What the files of this program share; main.c says what it is for. */
#ifndef COHERENCE_H
#define COHERENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_THREADS 64
#define MAX_STEPS   64
#define PAGE        4096ul
#define TABLE       (512 * PAGE) /* what one leaf page table maps */
#define FILE_BYTES  (8 * TABLE)

/* A thread and what its operation needs. Aligned so that no two share a line or a page. */
struct worker {
    _Alignas(4096) atomic_uint turn; /* 1: it is this thread's turn; a futex */
    unsigned id;                     /* and the CPU it is pinned to */
    const struct run *run;
    struct worker *next;
    char *base;            /* the operation's memory, made by its setup */
    char *page[MAX_STEPS]; /* of operations that map */
    int err;               /* the first errno of an operation; 0 if all went well */
};

/*
 * One measured operation. Of these functions only `step` runs in a counted window. `setup` and
 * `teardown` run before and after the steps of every batch, thread by thread.
 */
struct operation {
    const char *name;
    const char *title;
    unsigned nr_steps;  /* per thread and batch, at most MAX_STEPS */
    unsigned nr_window; /* pages that a file fault shall map around it; 0 if it does not matter */
    int (*setup)(struct worker *w); /* 0 or an errno */
    void (*step)(struct worker *w, unsigned k);
    void (*teardown)(struct worker *w);
};

struct run {
    const struct operation *op;
    unsigned nr_threads;
    unsigned nr_warm;    /* batches before those that count */
    unsigned nr_batches; /* that count */
};

/* operations.c */
extern const struct operation operations[]; /* ends with name == NULL */

/* The file that file operations map; returns 0 or an errno. */
int file_make(void);

/* How many pages a read fault maps around it; returns false if the kernel cannot be told. */
bool fault_window_set(unsigned nr_pages);

/* turns.c: runs it with one thread a CPU; returns 0, or the errno of what failed. */
int run_in_turns(const struct run *run);

/* symbols.c: for each address on standard input prints the kernel's symbol, until its end. */
void symbols_answer(void);

#endif
