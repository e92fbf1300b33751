// The counters of the fault path, and /proc/faultline/stats and faults.
//
// A fault that needs one pass adds one to its address space's line of this CPU (struct mm_cpu) and
// nothing else. Whatever takes more than that has time to count: fault_counts, a line per CPU,
// tells what held faults up on this machine. So "fast" is not counted but what is left: faults less
// those that came again. The two are written at different ends of a fault, which may change the CPU
// in between: the sums are right, a single CPU's figure may be a few off.
//
// The address spaces are on a list only so that their faults can be summed; one that goes leaves
// its sums behind. mms_lock [RANK_SPIN_MISC, a leaf].
#include <fs.h>
#include <k/list.h>
#include <k/lock.h>
#include <k/printk.h>
#include <maple.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <scheme.h>
#include <slab.h>
#include <smp.h>
#include <vma.h>
#include "mm_priv.h"

DEFINE_PER_CPU(struct fault_counts, fault_counts);

static struct spinlock mms_lock = SPINLOCK_INIT(RANK_SPIN_MISC);
static struct list mms = LIST_INIT(mms);       // [mms_lock] mm.all_link
static unsigned nr_mms;                        // [mms_lock]
static struct mm_totals gone_totals[MAX_CPUS]; // [mms_lock] of address spaces that are gone

static void totals_add(struct mm_totals *t, const struct mm_cpu *k)
{
    t->faults += k->faults;
    t->retries += k->retries;
    t->parks += k->parks;
}

void mm_list_add(struct mm *mm)
{
    spin_lock(&mms_lock);
    list_add_tail(&mms, &mm->all_link);
    nr_mms++;
    spin_unlock(&mms_lock);
}

void mm_list_del(struct mm *mm)
{
    spin_lock(&mms_lock);
    list_del(&mm->all_link);
    nr_mms--;
    for (unsigned c = 0; c < MAX_CPUS; c++) {
        totals_add(&gone_totals[c], &mm->cpu[c]);
    }
    spin_unlock(&mms_lock);
}

// Of one CPU.
static void totals_of_cpu(unsigned c, struct mm_totals *t)
{
    struct mm *mm;
    spin_lock(&mms_lock);
    *t = gone_totals[c];
    list_for_each_entry (mm, &mms, all_link) {
        totals_add(t, &mm->cpu[c]);
    }
    spin_unlock(&mms_lock);
}

void mm_totals_get(struct mm_totals *out)
{
    *out = (struct mm_totals){0};
    for (unsigned c = 0; c < nr_cpus; c++) {
        struct mm_totals t;
        totals_of_cpu(c, &t);
        out->faults += t.faults;
        out->retries += t.retries;
        out->parks += t.parks;
    }
}

// One line per CPU: how faults went, and what held up those that came again.
static size_t faults_text(char *buf, size_t size)
{
    int n = 0;
    for (unsigned c = 0; c < nr_cpus && (size_t)n + 200 < size; c++) {
        const struct fault_counts *k = &per_cpu(fault_counts, c);
        struct mm_totals t;
        totals_of_cpu(c, &t);
        u64 again = load_relaxed(&k->again);
        n += snprintf(
            buf + n, size - (size_t)n,
            "cpu%u fast %lu slow %lu retry %lu park %lu mkwrite %lu refill %lu "
            "writer %lu moved %lu failed %lu\n",
            c, (unsigned long)(t.faults - min(again, t.faults)), (unsigned long)again,
            (unsigned long)t.retries, (unsigned long)t.parks,
            (unsigned long)load_relaxed(&k->mkwrite), (unsigned long)load_relaxed(&k->refill),
            (unsigned long)load_relaxed(&k->writer), (unsigned long)load_relaxed(&k->moved),
            (unsigned long)load_relaxed(&k->failed));
    }
    return (size_t)n;
}

// The counters of one address space, a line per CPU.
size_t mm_counters_text(const struct mm *mm, char *buf, size_t size)
{
    int n = snprintf(buf, size, "scheme %s\n", mm->scheme->name);
    for (unsigned c = 0; c < nr_cpus && (size_t)n + 200 < size; c++) {
        const struct mm_cpu *k = &mm->cpu[c];
        n += snprintf(buf + n, size - (size_t)n,
                      "cpu%u faults %lu retries %lu parks %lu anon %ld file %ld tables %ld\n", c,
                      (unsigned long)k->faults, (unsigned long)k->retries, (unsigned long)k->parks,
                      (long)k->nr_anon, (long)k->nr_file, (long)k->nr_tables);
    }
    return (size_t)n;
}

static size_t stats_text(char *buf, size_t size)
{
    spin_lock(&mms_lock);
    unsigned spaces = nr_mms;
    spin_unlock(&mms_lock);
    int n =
        snprintf(buf, size,
                 "pages_total %lu\npages_free %lu\npages_slab %ld\nkernel_tables %lu\nobjects %ld\n"
                 "page_tables %ld\nvmas %ld\nmaple_nodes %ld\n"
                 "address_spaces %u\nopen_files %ld\n",
                 (unsigned long)page_nr_total(), (unsigned long)page_nr_free(), slab_nr_pages(),
                 (unsigned long)mmu_nr_kernel_tables(), slab_nr_used(), pt_nr_tables(),
                 vma_nr_used(), maple_nr_nodes(), spaces, file_nr_open());
    struct mm *mm = current_mm();
    return (size_t)n + (mm ? mm_counters_text(mm, buf + n, size - (size_t)n) : 0);
}

// What the reader's address space consists of. A leak test takes it off what there is in all, for
// it depends on where a program's memory lay and on the past of its tree.
static size_t own_text(char *buf, size_t size)
{
    struct mm *mm = current_mm();
    struct edit e;
    s64 anon = 0, tables = 0;
    if (!mm || edit_begin(&e, mm)) {
        return 0;
    }
    u64 nodes = mt_nr_nodes(mm_tree(mm, 0)), vmas = mm->nr_vmas;
    edit_end(&e);
    for (unsigned c = 0; c < nr_cpus; c++) {
        anon += mm->cpu[c].nr_anon;
        tables += mm->cpu[c].nr_tables;
    }
    return (size_t)snprintf(buf, size, "anon %ld\npage_tables %ld\nvmas %lu\nmaple_nodes %lu\n",
                            (long)anon, (long)tables, (unsigned long)vmas, (unsigned long)nodes);
}

void counters_init(void)
{
    knob_register("own", own_text, NULL);
    knob_register("stats", stats_text, NULL);
    knob_register("objects", slab_text, NULL);
    knob_register("faults", faults_text, NULL);
}
