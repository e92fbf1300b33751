// /sys: what the C library, hwloc and test programs read of the CPUs, the memory node and the
// memory management. Read only; what Faultline lacks (devices, huge pages) is there as Linux shows
// it when it has none.
//
// Folders of CPUs are made for every CPU the firmware lists: the others start after this file
// system is mounted.
#include <arch/smp.h>
#include <k/printk.h>
#include <k/string.h>
#include <page.h>
#include <smp.h>
#include "proc_priv.h"

#define KIB(pages) ((unsigned long)((pages) * (PAGE_SIZE >> 10)))

TEXT_FIXED(zero, 0)
TEXT_FIXED(distance, 10)
TEXT_FIXED(kernel_max, MAX_CPUS - 1)
TEXT_FIXED(huge_size, PAGE_SIZE << 9)

static size_t cpus_show(char *buf, size_t size)
{
    return nr_cpus == 1 ? text_add(buf, size, 0, "0\n")
                        : text_add(buf, size, 0, "0-%u\n", nr_cpus - 1);
}

static size_t offline_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "\n");
}

static size_t never_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "always madvise [never]\n");
}

static size_t shmem_never_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "always within_size advise [never] deny force\n");
}

static size_t defrag_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "always defer defer+madvise madvise [never]\n");
}

static size_t mask_show(char *buf, size_t size, u64 mask)
{
    return nr_cpus > 32 ? text_add(buf, size, 0, "%08x,%08x\n", (u32)(mask >> 32), (u32)mask)
                        : text_add(buf, size, 0, "%x\n", (u32)mask);
}

static size_t all_mask_show(char *buf, size_t size)
{
    return mask_show(buf, size, ~0ull >> (64 - nr_cpus));
}

static size_t node_meminfo_show(char *buf, size_t size)
{
    u64 total = page_nr_total(), nr_free = page_nr_free();
    return text_add(buf, size, 0,
                    "Node 0 MemTotal:       %8lu kB\nNode 0 MemFree:        %8lu kB\n"
                    "Node 0 MemUsed:        %8lu kB\nNode 0 HugePages_Total:     0\n"
                    "Node 0 HugePages_Free:      0\nNode 0 HugePages_Surp:      0\n",
                    KIB(total), KIB(nr_free), KIB(total - min(nr_free, total)));
}

// ---- Of one CPU: data is its number -----------------------------------------------------------

static size_t cpu_number_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    *pos = ~0ull;
    return text_add(buf, size, 0, "%u\n", (unsigned)i->data);
}

static size_t cpu_mask_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    *pos = ~0ull;
    return mask_show(buf, size, 1ull << i->data);
}

static size_t cpu_zero_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i;
    *pos = ~0ull;
    return zero_show(buf, size);
}

static size_t cpu_all_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i;
    *pos = ~0ull;
    return cpus_show(buf, size);
}

static size_t cpu_all_mask_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i;
    *pos = ~0ull;
    return all_mask_show(buf, size);
}

// Each CPU is a core of its own in one package, as /proc/cpuinfo has it.
static void cpu_add(struct inode *root, unsigned c)
{
    static const struct {
        const char *name;
        struct text_ops ops;
    } files[] = {
        {"topology/core_id", {.chunk = cpu_number_chunk}},
        {"topology/physical_package_id", {.chunk = cpu_zero_chunk}},
        {"topology/thread_siblings", {.chunk = cpu_mask_chunk}},
        {"topology/thread_siblings_list", {.chunk = cpu_number_chunk}},
        {"topology/core_cpus", {.chunk = cpu_mask_chunk}},
        {"topology/core_cpus_list", {.chunk = cpu_number_chunk}},
        {"topology/core_siblings", {.chunk = cpu_all_mask_chunk}},
        {"topology/core_siblings_list", {.chunk = cpu_all_chunk}},
        {"topology/package_cpus", {.chunk = cpu_all_mask_chunk}},
        {"topology/package_cpus_list", {.chunk = cpu_all_chunk}},
    };
    char path[96];
    for (unsigned i = 0; i < array_size(files); i++) {
        snprintf(path, sizeof(path), "devices/system/cpu/cpu%u/%s", c, files[i].name);
        tree_add(root, path, text_new(root->sb, 0444, &files[i].ops, c));
    }
    snprintf(path, sizeof(path), "devices/system/cpu/cpu%u/node0", c);
    tree_add(root, path, symlink_new(root->sb, "../../node/node0"));
    snprintf(path, sizeof(path), "devices/system/node/node0/cpu%u", c);
    char target[48];
    snprintf(target, sizeof(target), "../../cpu/cpu%u", c);
    tree_add(root, path, symlink_new(root->sb, target));
}

static void empty_dirs_add(struct inode *root)
{
    static const char *const empty[] = {"block",     "bus",       "class/block",     "class/net",
                                        "class/tty", "dev/block", "dev/char",        "firmware",
                                        "fs/cgroup", "module",    "devices/virtual", "kernel/debug",
                                        "power"};
    for (unsigned i = 0; i < array_size(empty); i++) {
        tree_add(root, empty[i], ramdir_new(root->sb, 0555, true));
    }
}

struct inode *sysfs_mount(void)
{
    static const struct leaf leaves[] = {
        {"devices/system/cpu/online", cpus_show, NULL},
        {"devices/system/cpu/possible", cpus_show, NULL},
        {"devices/system/cpu/present", cpus_show, NULL},
        {"devices/system/cpu/offline", offline_show, NULL},
        {"devices/system/cpu/kernel_max", kernel_max_show, NULL},
        {"devices/system/node/online", zero_show, NULL},
        {"devices/system/node/possible", zero_show, NULL},
        {"devices/system/node/has_cpu", zero_show, NULL},
        {"devices/system/node/has_memory", zero_show, NULL},
        {"devices/system/node/has_normal_memory", zero_show, NULL},
        {"devices/system/node/node0/cpulist", cpus_show, NULL},
        {"devices/system/node/node0/cpumap", all_mask_show, NULL},
        {"devices/system/node/node0/distance", distance_show, NULL},
        {"devices/system/node/node0/meminfo", node_meminfo_show, NULL},
        {"kernel/mm/transparent_hugepage/enabled", never_show, NULL},
        {"kernel/mm/transparent_hugepage/shmem_enabled", shmem_never_show, NULL},
        {"kernel/mm/transparent_hugepage/defrag", defrag_show, NULL},
        {"kernel/mm/transparent_hugepage/use_zero_page", zero_show, NULL},
        {"kernel/mm/transparent_hugepage/hpage_pmd_size", huge_size_show, NULL},
        {"kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", zero_show, NULL},
        {"kernel/mm/hugepages/hugepages-2048kB/free_hugepages", zero_show, NULL},
    };
    struct inode *root = tree_new("sysfs", SYSFS_MAGIC, leaves, array_size(leaves));
    for (unsigned c = 0; root && c < min(arch_count_cpus(), (unsigned)MAX_CPUS); c++) {
        cpu_add(root, c);
    }
    if (root) {
        empty_dirs_add(root);
    }
    return tree_finish(root);
}
