/*
 * faultbench: what page faults and address-space calls cost, as one static program that runs
 * unchanged on Linux and on Faultline.
 *
 * Start reading at bench_fault.c for a bench, at harness.c for how one is measured.
 */
#include "bench.h"

static const struct bench *const benches[] = {
    fault_benches, map_benches, tlb_benches, mapbench_benches, latency_benches, size_benches, NULL,
};

static int bench_run_all(const struct options *opt, const struct bench *bench)
{
    static struct run run;
    int failed = 0;
    for (unsigned i = 0; i < opt->nr_threads; i++) {
        report_start(opt, bench, opt->threads[i]);
        run_bench(&run, bench, opt, opt->threads[i]);
        report_run(opt, &run);
        failed |= run.status == RUN_FAILED;
    }
    return failed;
}

/* Calls `run` for every bench that the command line chose; returns how many there were. */
static unsigned benches_chosen(const struct options *opt,
                               int (*run)(const struct options *, const struct bench *),
                               int *failed)
{
    unsigned n = 0;
    for (const struct bench *const *group = benches; *group != NULL; group++) {
        for (const struct bench *b = *group; b->name != NULL; b++) {
            if (options_match(opt, b->name)) {
                n++;
                *failed |= run != NULL ? run(opt, b) : 0;
            }
        }
    }
    return n;
}

int main(int argc, char **argv)
{
    struct options opt;
    int failed = 0;

    options_parse(&opt, argc, argv);
    if (opt.list) {
        report_list(benches);
        return 0;
    }
    if (benches_chosen(&opt, NULL, &failed) == 0) {
        fprintf(stderr, "faultbench: no bench of that name; --list names them\n");
        return 2;
    }
    report_head(&opt);
    benches_chosen(&opt, bench_run_all, &failed);
    return failed;
}
