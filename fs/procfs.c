// /proc and /sys: text about the machine. /proc/PID is in proc_pid.c, /proc/faultline in knob.c.
//
// The trees are directories in memory whose files make their text when read. Only what programs are
// known to look at is here; a file that would have to lie is left out.
#include <arch/smp.h>
#include <arch/time.h>
#include <k/assert.h>
#include <k/printk.h>
#include <k/string.h>
#include <mm.h>
#include <page.h>
#include <proc.h>
#include <smp.h>
#include <uapi/time.h>
#include "fs_priv.h"

#define KIB(pages) ((unsigned long)((pages) * (PAGE_SIZE >> 10)))

static size_t meminfo_show(char *buf, size_t size)
{
    u64 total = page_nr_total(), nr_free = page_nr_free();
    return text_add(buf, size, 0,
                    "MemTotal:       %8lu kB\nMemFree:        %8lu kB\nMemAvailable:   %8lu kB\n"
                    "SwapTotal:             0 kB\nSwapFree:              0 kB\n",
                    KIB(total), KIB(nr_free), KIB(nr_free));
}

static size_t cpuinfo_show(char *buf, size_t size)
{
    size_t n = 0;
    for (unsigned c = 0; c < nr_cpus; c++) {
        n = text_add(buf, size, n, "processor\t: %u\n\n", c);
    }
    return n;
}

static size_t stat_show(char *buf, size_t size)
{
    u64 boot_s = (wall_ns() - clock_ns()) / NSEC_PER_SEC;
    size_t n = text_add(buf, size, 0, "cpu  0 0 0 0 0 0 0 0 0 0\n");
    for (unsigned c = 0; c < nr_cpus; c++) {
        n = text_add(buf, size, n, "cpu%u 0 0 0 0 0 0 0 0 0 0\n", c);
    }
    return text_add(buf, size, n, "btime %lu\nprocesses %u\n", (unsigned long)boot_s,
                    process_count());
}

static size_t uptime_show(char *buf, size_t size)
{
    u64 now = clock_ns();
    return text_add(buf, size, 0, "%lu.%02lu 0.00\n", (unsigned long)(now / NSEC_PER_SEC),
                    (unsigned long)(now / 10000000 % 100));
}

static size_t version_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "Faultline\n");
}

static size_t filesystems_show(char *buf, size_t size)
{
    return text_add(buf, size, 0,
                    "nodev\tproc\nnodev\tsysfs\nnodev\ttmpfs\nnodev\tdevtmpfs\nnodev\tslowfs\n");
}

static size_t mounts_show(char *buf, size_t size)
{
    size_t n = 0;
    mutex_lock(&vfs_lock);
    for (struct super *sb = vfs_supers; sb; sb = sb->next) {
        n = text_add(buf, size, n, "%s %s %s rw 0 0\n", sb->type, sb->where, sb->type);
    }
    mutex_unlock(&vfs_lock);
    return n;
}

static size_t zero_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "0\n");
}

static size_t ostype_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "Linux\n"); // as uname says
}

static size_t pid_max_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "%u\n", 1u << 22);
}

static size_t cpus_show(char *buf, size_t size)
{
    return nr_cpus == 1 ? text_add(buf, size, 0, "0\n")
                        : text_add(buf, size, 0, "0-%u\n", nr_cpus - 1);
}

static size_t thp_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "always madvise [never]\n");
}

// ---- Trees
// -----------------------------------------------------------------------------------------

// A directory or a file of a tree that is described by its paths. Boot: no memory is fatal.
struct leaf {
    const char *path;
    size_t (*show)(char *buf, size_t size);
};

static struct inode *tree_dir(struct inode *dir, const char *name)
{
    struct inode *d;
    if (ramdir_lookup(dir, name, &d) == 0) {
        inode_put(d); // its entry keeps it
        return d;
    }
    d = ramdir_new(dir->sb, 0555, true);
    if (!d || ramdir_add(dir, name, d)) {
        panic("no memory for /%s", name);
    }
    return d;
}

static void tree_add(struct inode *root, const char *path, struct inode *leaf)
{
    struct inode *dir = root;
    char name[64];
    for (const char *slash; (slash = strchr(path, '/')) != NULL; path = slash + 1) {
        strlcpy(name, path, min((size_t)(slash - path) + 1, sizeof(name)));
        dir = tree_dir(dir, name);
    }
    if (!leaf || ramdir_add(dir, path, leaf)) {
        panic("no memory for %s", path);
    }
}

static struct inode *tree_new(const char *type, u32 magic, const struct leaf *leaves, size_t nr)
{
    struct super *sb = super_new(type, magic);
    struct inode *root = sb ? ramdir_new(sb, 0555, true) : NULL;
    for (size_t i = 0; root && i < nr; i++) {
        tree_add(root, leaves[i].path, text_new_simple(sb, leaves[i].show));
    }
    return root;
}

static int proc_root_lookup(struct inode *dir, const char *name, struct inode **out)
{
    int err = ramdir_lookup(dir, name, out);
    return err == -ENOENT ? proc_pid_lookup(dir, name, out) : err;
}

// The number of the one who looks comes after the fixed names. Cookies from PID_COOKIE on.
#define PID_COOKIE (1ull << 32)

static void proc_root_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    struct process *p = current_process();
    char name[16];
    if (*pos < PID_COOKIE) {
        ramdir_readdir(dir, pos, sink);
        if (sink->full) {
            return;
        }
        *pos = PID_COOKIE;
    }
    if (p && *pos == PID_COOKIE) {
        snprintf(name, sizeof(name), "%d", p->pid);
        if (dirent_emit(sink, name, (u64)p->pid + PID_COOKIE, S_IFDIR, PID_COOKIE + 1)) {
            *pos = PID_COOKIE + 1;
        }
    }
}

static const struct inode_ops proc_root_ops = {
    .lookup = proc_root_lookup,
    .readdir = proc_root_readdir,
};

static ssize_t self_readlink(struct inode *link, char *buf, size_t size)
{
    struct process *p = current_process();
    (void)link;
    return p ? (ssize_t)snprintf(buf, size, "%d", p->pid) : -ENOENT;
}

static const struct inode_ops self_ops = {.readlink = self_readlink};

static struct inode *self_new(struct super *sb)
{
    struct inode *i = inode_new(sb, S_IFLNK | 0777);
    if (i) {
        i->ops = &self_ops;
    }
    return i;
}

struct inode *procfs_mount(void)
{
    static const struct leaf leaves[] = {
        {"meminfo", meminfo_show},
        {"cpuinfo", cpuinfo_show},
        {"stat", stat_show},
        {"uptime", uptime_show},
        {"version", version_show},
        {"filesystems", filesystems_show},
        {"sys/vm/overcommit_memory", zero_show},
        {"sys/kernel/ostype", ostype_show},
        {"sys/kernel/pid_max", pid_max_show},
    };
    struct inode *root = tree_new("proc", PROC_MAGIC, leaves, array_size(leaves));
    if (!root) {
        return NULL;
    }
    struct inode *limit = knob_file_new(root->sb, "max_map_count");
    if (limit) {
        tree_add(root, "sys/vm/max_map_count", limit);
    }
    tree_add(root, "mounts", text_new_simple(root->sb, mounts_show));
    tree_add(root, "faultline", knob_dir_new(root->sb));
    tree_add(root, "self", self_new(root->sb));
    root->ops = &proc_root_ops;
    return root;
}

struct inode *sysfs_mount(void)
{
    static const struct leaf leaves[] = {
        {"devices/system/cpu/online", cpus_show},
        {"devices/system/cpu/possible", cpus_show},
        {"devices/system/cpu/present", cpus_show},
        {"kernel/mm/transparent_hugepage/enabled", thp_show},
    };
    struct inode *root = tree_new("sysfs", SYSFS_MAGIC, leaves, array_size(leaves));
    char name[48];
    // The C library counts these. The other CPUs start later.
    for (unsigned c = 0; root && c < min(arch_count_cpus(), (unsigned)MAX_CPUS); c++) {
        struct inode *dir = ramdir_new(root->sb, 0555, true);
        snprintf(name, sizeof(name), "devices/system/cpu/cpu%u", c);
        tree_add(root, name, dir);
    }
    return root;
}
