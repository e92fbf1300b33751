/*
 * coherence: the guest's half of tools/coherence. It makes the operations of operations.c in
 * strict turns (turns.c) and marks them for the plugin, which does the counting: nothing is
 * measured here. It runs unchanged on Linux and on Faultline, and also without the plugin.
 *
 *     coherence [--list] [--symbols] [--threads N,N..] [--warm N] [--batches N] [OPERATION...]
 *
 * It prints the kernel's release, then two lines for each run, numbered as the plugin numbers them:
 *
 *     system RELEASE
 *     start OPERATION THREADS
 *     run NUMBER OPERATION THREADS STEPS ok|failed: WHY
 *     skip OPERATION THREADS WHY     (0: at any number)
 *     done
 */
#define _GNU_SOURCE
#include "coherence.h"

#include <fnmatch.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

struct options {
    unsigned threads[MAX_THREADS], nr_threads;
    unsigned nr_warm, nr_batches;
    bool symbols;
    char **names; /* ends with NULL; empty: all */
};

static void usage(void)
{
    fprintf(stderr, "usage: coherence [--list] [--symbols] [--threads N,N..] [--warm N] "
                    "[--batches N] [OPERATION...]\n");
    exit(2);
}

static unsigned number_parse(const char *text, unsigned max)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (end == text || *end != '\0' || n < 1 || n > max) {
        usage();
    }
    return (unsigned)n;
}

static void threads_parse(struct options *opt, char *text)
{
    opt->nr_threads = 0;
    for (char *part = strtok(text, ","); part != NULL; part = strtok(NULL, ",")) {
        if (opt->nr_threads == MAX_THREADS) {
            usage();
        }
        opt->threads[opt->nr_threads++] = number_parse(part, MAX_THREADS);
    }
}

static void operations_list(void)
{
    for (const struct operation *op = operations; op->name != NULL; op++) {
        printf("%-14s %s\n", op->name, op->title);
    }
    exit(0);
}

static void options_parse(struct options *opt, int argc, char **argv)
{
    static const struct option known[] = {
        {"list", no_argument, NULL, 'l'},          {"symbols", no_argument, NULL, 's'},
        {"threads", required_argument, NULL, 't'}, {"warm", required_argument, NULL, 'w'},
        {"batches", required_argument, NULL, 'b'}, {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (c) {
        case 'l':
            operations_list();
            break;
        case 's':
            opt->symbols = true;
            break;
        case 't':
            threads_parse(opt, optarg);
            break;
        case 'w':
            opt->nr_warm = number_parse(optarg, 1000);
            break;
        case 'b':
            opt->nr_batches = number_parse(optarg, 1000);
            break;
        default:
            usage();
        }
    }
    opt->names = argv + optind;
}

static bool operation_chosen(const struct options *opt, const struct operation *op)
{
    for (char **name = opt->names; *name != NULL; name++) {
        if (fnmatch(*name, op->name, 0) == 0) {
            return true;
        }
    }
    return opt->names[0] == NULL;
}

static unsigned cpus_available(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* Runs it at every number of threads; returns whether one failed. */
static bool operation_run(const struct options *opt, const struct operation *op)
{
    static unsigned number;
    bool failed = false;

    if (op->nr_window != 0 && !fault_window_set(op->nr_window)) {
        if (op->nr_window != 16) {
            printf("skip %s 0 the kernel has no switch for this window\n", op->name);
            return false;
        }
        /* It is the default of both kernels. */
    }
    for (unsigned i = 0; i < opt->nr_threads; i++) {
        struct run run = {op, opt->threads[i], opt->nr_warm, opt->nr_batches};
        if (run.nr_threads > cpus_available()) {
            printf("skip %s %u there are not as many CPUs\n", op->name, run.nr_threads);
            continue;
        }
        printf("start %s %u\n", op->name, run.nr_threads);
        fflush(stdout);
        int err = run_in_turns(&run);
        printf("run %u %s %u %u %s%s\n", ++number, op->name, run.nr_threads, op->nr_steps,
               err ? "failed: " : "ok", err ? strerror(err) : "");
        fflush(stdout);
        failed |= err != 0;
    }
    return failed;
}

int main(int argc, char **argv)
{
    struct options opt = {.threads = {1}, .nr_threads = 1, .nr_warm = 2, .nr_batches = 6};
    struct utsname system;
    bool failed = false;

    options_parse(&opt, argc, argv);
    if (uname(&system) == 0) {
        printf("system %s\n", system.release);
    }
    int err = file_make();
    if (err) {
        fprintf(stderr, "coherence: the file to map: %s\n", strerror(err));
        return 1;
    }
    for (const struct operation *op = operations; op->name != NULL; op++) {
        if (operation_chosen(&opt, op)) {
            failed |= operation_run(&opt, op);
        }
    }
    printf("done\n");
    fflush(stdout);
    if (opt.symbols) {
        symbols_answer();
    }
    return failed;
}
