// The files of /proc about the machine as a whole, as proc(5) describes them.
#include <arch/boot.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <bootinfo.h>
#include <filemap.h>
#include <k/printk.h>
#include <k/string.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <smp.h>
#include <uapi/time.h>
#include "proc_priv.h"

#define KIB(pages) ((unsigned long)((pages) * (PAGE_SIZE >> 10)))
#define TICK_NS    (NSEC_PER_SEC / USER_HZ)

// Files live in memory and nowhere else, so what they take is Shmem, and nothing of it could be had
// back for something else.
static size_t meminfo_show(char *buf, size_t size)
{
    static const char *const none[] = {
        "Buffers",        "SwapCached",     "SwapTotal",     "SwapFree",          "Dirty",
        "Writeback",      "KReclaimable",   "SReclaimable",  "NFS_Unstable",      "Bounce",
        "WritebackTmp",   "VmallocTotal",   "VmallocUsed",   "HardwareCorrupted", "AnonHugePages",
        "ShmemHugePages", "ShmemPmdMapped", "FileHugePages", "FilePmdMapped",     "Hugetlb"};
    const struct {
        const char *name;
        u64 pages;
    } rows[] = {{"MemTotal", page_nr_total()},
                {"MemFree", page_nr_free()},
                {"MemAvailable", page_nr_free()},
                {"Cached", pagecache_nr_pages()},
                {"Shmem", pagecache_nr_pages()},
                {"Slab", (u64)slab_nr_pages()},
                {"SUnreclaim", (u64)slab_nr_pages()},
                {"KernelStack", (u64)task_count() * (KSTACK_SIZE / PAGE_SIZE)},
                {"PageTables", (u64)max(pt_nr_tables(), 0l)},
                {"CommitLimit", page_nr_total()}};
    size_t n = 0;
    for (unsigned i = 0; i < array_size(rows); i++) {
        n = text_add(buf, size, n, "%s:%*lu kB\n", rows[i].name, 23 - (int)strlen(rows[i].name),
                     KIB(rows[i].pages));
    }
    for (unsigned i = 0; i < array_size(none); i++) {
        n = text_add(buf, size, n, "%s:%*u kB\n", none[i], 23 - (int)strlen(none[i]), 0);
    }
    return text_add(buf, size, n,
                    "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\n"
                    "HugePages_Surp:        0\nHugepagesize:       2048 kB\n");
}

static size_t cpuinfo_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    size_t n = 0;
    (void)i;
    while (*pos < nr_cpus && size - n > 4096) {
        n += arch_cpuinfo_text((unsigned)*pos, buf + n, size - n);
        ++*pos;
    }
    *pos = *pos < nr_cpus ? *pos : ~0ull;
    return n;
}

// ---- stat and what it is made of ----------------------------------------------------------------

struct cpu_times {
    u64 user, kernel, idle; // USER_HZ
};

// Busy is what was not idle, split by the ticks that met it.
static void cpu_times_get(unsigned c, struct cpu_times *t)
{
    const struct cpu_books *b = &per_cpu(cpu_books, c);
    u64 now = clock_ns(), idle = min(sched_idle_ns(c), now), busy = (now - idle) / TICK_NS;
    u64 user = load_relaxed(&b->ticks_user), kernel = load_relaxed(&b->ticks_kernel);
    t->idle = idle / TICK_NS;
    t->user = user + kernel ? busy * user / (user + kernel) : 0;
    t->kernel = busy - t->user;
}

static size_t cpu_line(char *buf, size_t size, size_t n, const struct cpu_times *t)
{
    return text_add(buf, size, n, " %lu 0 %lu %lu 0 0 0 0 0 0\n", (unsigned long)t->user,
                    (unsigned long)t->kernel, (unsigned long)t->idle);
}

static size_t stat_show(char *buf, size_t size)
{
    u64 boot_s = (wall_ns() - clock_ns()) / NSEC_PER_SEC, switches = 0;
    struct cpu_times all = {0}, one;
    for (unsigned c = 0; c < nr_cpus; c++) {
        cpu_times_get(c, &one);
        all.user += one.user;
        all.kernel += one.kernel;
        all.idle += one.idle;
        switches += load_relaxed(&per_cpu(cpu_books, c).switches);
    }
    size_t n = text_add(buf, size, 0, "cpu ");
    n = cpu_line(buf, size, n, &all);
    for (unsigned c = 0; c < nr_cpus; c++) {
        cpu_times_get(c, &one);
        n = text_add(buf, size, n, "cpu%u", c);
        n = cpu_line(buf, size, n, &one);
    }
    return text_add(buf, size, n,
                    "intr %lu\nctxt %lu\nbtime %lu\nprocesses %lu\nprocs_running %u\n"
                    "procs_blocked 0\nsoftirq 0\n",
                    (unsigned long)arch_nr_interrupts(), (unsigned long)switches,
                    (unsigned long)boot_s, (unsigned long)process_forks(), sched_nr_runnable());
}

static size_t uptime_show(char *buf, size_t size)
{
    u64 now = clock_ns(), idle = 0;
    for (unsigned c = 0; c < nr_cpus; c++) {
        idle += sched_idle_ns(c);
    }
    return text_add(buf, size, 0, "%lu.%02lu %lu.%02lu\n", (unsigned long)(now / NSEC_PER_SEC),
                    (unsigned long)(now / 10000000 % 100), (unsigned long)(idle / NSEC_PER_SEC),
                    (unsigned long)(idle / 10000000 % 100));
}

static size_t loadavg_show(char *buf, size_t size)
{
    unsigned long load[3];
    size_t n = 0;
    loadavg_get(load);
    for (unsigned i = 0; i < 3; i++) {
        unsigned long v = load[i] + LOADAVG_ONE / 200; // rounded to hundredths
        n = text_add(buf, size, n, "%lu.%02lu ", v / LOADAVG_ONE,
                     v % LOADAVG_ONE * 100 / LOADAVG_ONE);
    }
    return text_add(buf, size, n, "%u/%u %d\n", sched_nr_runnable(), task_count(),
                    process_last_number());
}

static size_t vmstat_show(char *buf, size_t size)
{
    struct mm_totals t;
    mm_totals_get(&t);
    return text_add(buf, size, 0,
                    "nr_free_pages %lu\nnr_file_pages %lu\nnr_shmem %lu\n"
                    "nr_slab_unreclaimable %lu\nnr_page_table_pages %ld\npswpin 0\npswpout 0\n"
                    "pgfault %lu\npgmajfault %lu\nthp_fault_alloc 0\nthp_fault_fallback 0\n",
                    (unsigned long)page_nr_free(), (unsigned long)pagecache_nr_pages(),
                    (unsigned long)pagecache_nr_pages(), (unsigned long)slab_nr_pages(),
                    pt_nr_tables(), (unsigned long)t.faults, (unsigned long)t.parks);
}

// ---- What never changes -------------------------------------------------------------------------

static size_t version_show(char *buf, size_t size)
{
    struct uapi_utsname u;
    uts_get(&u);
    return text_add(buf, size, 0, "%s version %s (Faultline) %s\n", u.sysname, u.release,
                    u.version);
}

static size_t filesystems_show(char *buf, size_t size)
{
    return text_add(buf, size, 0,
                    "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tslowfs\n");
}

static size_t cmdline_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "%s\n", bootinfo.cmdline);
}

static size_t devices_show(char *buf, size_t size)
{
    return text_add(buf, size, 0,
                    "Character devices:\n  1 mem\n  4 tty\n  4 ttyS\n  5 /dev/tty\n"
                    "  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n");
}

static size_t partitions_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "major minor  #blocks  name\n\n");
}

static size_t swaps_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
}

static size_t empty_show(char *buf, size_t size)
{
    (void)buf, (void)size;
    return 0;
}

void proc_machine_add(struct inode *root)
{
    static const struct leaf leaves[] = {
        {"meminfo", meminfo_show, NULL},
        {"stat", stat_show, NULL},
        {"uptime", uptime_show, NULL},
        {"loadavg", loadavg_show, NULL},
        {"vmstat", vmstat_show, NULL},
        {"version", version_show, NULL},
        {"filesystems", filesystems_show, NULL},
        {"cmdline", cmdline_show, NULL},
        {"interrupts", arch_interrupts_text, NULL},
        {"devices", devices_show, NULL},
        {"partitions", partitions_show, NULL},
        {"swaps", swaps_show, NULL},
        {"modules", empty_show, NULL},
        {"diskstats", empty_show, NULL},
    };
    static const struct text_ops cpuinfo_ops = {.chunk = cpuinfo_chunk};
    tree_add_leaves(root, leaves, array_size(leaves));
    tree_add(root, "cpuinfo", text_new(root->sb, 0444, &cpuinfo_ops, 0));
}
