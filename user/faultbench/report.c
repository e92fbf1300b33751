/*
 * report.c: what is printed, as a table or as JSON.
 *
 * JSON: one object a line. First {"system":...}; then per row {"start":...} before it runs, so that
 * a reader knows where a crash happened, and {"bench":...,"status":"ok"|"na"|"failed",...} after.
 */
#include "bench.h"

#include <string.h>
#include <sys/utsname.h>

static void json_string(const char *s)
{
    putchar('"');
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\') {
            putchar('\\');
        }
        putchar((unsigned char)*s < ' ' ? ' ' : *s);
    }
    putchar('"');
}

void report_list(const struct bench *const *benches)
{
    for (; *benches != NULL; benches++) {
        for (const struct bench *b = *benches; b->name != NULL; b++) {
            printf("%-18s %s\n", b->name, b->what);
        }
    }
}

void report_head(const struct options *opt)
{
    struct utsname u;
    if (uname(&u) != 0) {
        memset(&u, 0, sizeof(u));
    }
    if (opt->json) {
        printf("{\"system\":");
        json_string(u.sysname);
        printf(",\"release\":");
        json_string(u.release);
        printf(",\"machine\":");
        json_string(u.machine);
        printf(",\"cpus\":%u,\"size_bytes\":%zu}\n", cpus_allowed(), opt->size_bytes);
    } else {
        printf("faultbench on %s %s %s, %u CPUs, %zu KiB a task, %.2f s a row\n\n", u.sysname,
               u.release, u.machine, cpus_allowed(), opt->size_bytes >> 10, opt->seconds);
        printf("%-18s %7s %15s %15s\n", "bench", "threads", "per second", "per thread");
    }
    fflush(stdout);
}

void report_start(const struct options *opt, const struct bench *bench, unsigned nr_threads)
{
    if (opt->json) {
        printf("{\"start\":\"%s\",\"threads\":%u}\n", bench->name, nr_threads);
        fflush(stdout);
    }
}

static void report_json(const struct run *run)
{
    static const char *const names[] = {"ok", "na", "failed"};
    printf("{\"bench\":\"%s\",\"threads\":%u,\"status\":\"%s\"", run->bench->name, run->nr_threads,
           names[run->status]);
    if (run->status != RUN_OK) {
        printf(",\"why\":");
        json_string(run->why);
    } else {
        printf(",\"unit\":\"%s\",\"seconds\":%.3f,\"count\":%llu,\"rate\":%.1f", run->bench->unit,
               run->seconds, (unsigned long long)run->count, run->rate);
        printf(",\"samples\":[");
        for (unsigned i = 0; i < run->nr_samples; i++) {
            printf("%s%.1f", i > 0 ? "," : "", run->samples[i]);
        }
        printf("],\"metrics\":{");
        for (unsigned i = 0; i < run->nr_metrics; i++) {
            printf("%s\"%s\":%.2f", i > 0 ? "," : "", run->metrics[i].name, run->metrics[i].value);
        }
        printf("}");
    }
    printf("}\n");
}

static void report_row(const struct run *run)
{
    printf("%-18s %7u ", run->bench->name, run->nr_threads);
    if (run->status == RUN_OK) {
        /* of the task 0 that BENCH_PLUS_ONE adds, when it alone counts */
        unsigned n = (run->bench->flags & BENCH_PLUS_ONE) != 0 ? 1 : run->nr_threads;
        printf("%15.0f %15.0f %s\n", run->rate, run->rate / n, run->bench->unit);
    } else {
        printf("%15s %s\n", run->status == RUN_NA ? "n/a" : "FAILED", run->why);
        return;
    }
    for (unsigned i = 0; i < run->nr_metrics; i++) {
        printf("    %-28s %12.2f\n", run->metrics[i].name, run->metrics[i].value);
    }
}

void report_run(const struct options *opt, const struct run *run)
{
    if (opt->json) {
        report_json(run);
    } else {
        report_row(run);
    }
    fflush(stdout);
    if (run->status == RUN_FAILED) {
        fprintf(stderr, "faultbench: %s: %s\n", run->bench->name, run->why);
    }
}
