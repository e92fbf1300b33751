/* options.c: the command line. */
#define _GNU_SOURCE
#include "bench.h"

#include <fnmatch.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: faultbench [options] [NAME or 'GLOB'...]\n"
    "Measures what faults and address-space calls cost, and checks every page it touches.\n"
    "\n"
    "  --threads N[,N...]  tasks, each pinned to a processor (1)\n"
    "  --seconds S         measured per row, after a warm-up of a third of it, 1 s at most (5)\n"
    "  --size BYTES        of the mapping each task works on; K, M, G understood (128M)\n"
    "  --slow-file PATH    file whose faults sleep, for the latency benches (/slow/data);\n"
    "                      without such a file, userfaultfd stands in for it\n"
    "  --json              one object a line instead of a table\n"
    "  --list              name the benches and exit\n"
    "\n"
    "Exits with 0, with 1 when a check failed or a bench could not run, with 2 on bad usage.\n";

static _Noreturn void usage_die(const char *what, const char *value)
{
    fprintf(stderr, "faultbench: bad %s: %s\n", what, value);
    exit(2);
}

static void parse_threads(struct options *opt, const char *arg)
{
    const char *p = arg;
    opt->nr_threads = 0;
    for (;;) {
        char *end;
        unsigned long n = strtoul(p, &end, 10);
        /* one task is kept for benches that need one more */
        if (end == p || n == 0 || n >= MAX_TASKS || opt->nr_threads == 16) {
            usage_die("--threads", arg);
        }
        opt->threads[opt->nr_threads++] = (unsigned)n;
        if (*end == '\0') {
            return;
        }
        if (*end != ',') {
            usage_die("--threads", arg);
        }
        p = end + 1;
    }
}

static void parse_seconds(struct options *opt, const char *arg)
{
    char *end;
    opt->seconds = strtod(arg, &end);
    if (end == arg || *end != '\0' || !(opt->seconds >= 0.01 && opt->seconds <= 3600)) {
        usage_die("--seconds", arg);
    }
}

static void parse_size(struct options *opt, const char *arg)
{
    static const char units[] = "KMG";
    char *end;
    unsigned long long n = strtoull(arg, &end, 10);
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    unsigned shift = unit != NULL ? 10 * (unsigned)(unit - units + 1) : 0;
    if (end == arg || n == 0 || n > (1ull << 40) >> shift || end[unit != NULL] != '\0') {
        usage_die("--size", arg);
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    opt->size_bytes = ((size_t)(n << shift) + page - 1) / page * page;
}

void options_parse(struct options *opt, int argc, char **argv)
{
    static const struct option longopts[] = {
        {"threads", required_argument, NULL, 't'}, {"seconds", required_argument, NULL, 's'},
        {"size", required_argument, NULL, 'z'},    {"slow-file", required_argument, NULL, 'f'},
        {"json", no_argument, NULL, 'j'},          {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},          {0},
    };
    *opt = (struct options){
        .slow_path = "/slow/data",
        .size_bytes = 128u << 20,
        .seconds = 5,
        .threads = {1},
        .nr_threads = 1,
    };
    int c;
    while ((c = getopt_long(argc, argv, "h", longopts, NULL)) != -1) {
        switch (c) {
        case 't':
            parse_threads(opt, optarg);
            break;
        case 's':
            parse_seconds(opt, optarg);
            break;
        case 'z':
            parse_size(opt, optarg);
            break;
        case 'f':
            opt->slow_path = optarg;
            break;
        case 'j':
            opt->json = true;
            break;
        case 'l':
            opt->list = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    opt->patterns = argv + optind;
    opt->nr_patterns = argc - optind;
}

bool options_match(const struct options *opt, const char *name)
{
    for (int i = 0; i < opt->nr_patterns; i++) {
        if (fnmatch(opt->patterns[i], name, 0) == 0) {
            return true;
        }
    }
    return opt->nr_patterns == 0;
}
