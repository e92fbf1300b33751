// /proc/PID: what a process may learn about itself.
//
// These inodes are made at each look-up and go with the last user. There is one process as long as
// fork is missing, so what needs an address space or descriptors answers for the caller's own
// process and is empty for another: a process may end while it is looked at, and nothing pins its
// parts yet.
#include <k/printk.h>
#include <k/string.h>
#include <mm.h>
#include <proc.h>
#include <smp.h>
#include <uapi/time.h>
#include "fs_priv.h"

// The caller's process if it is the one of this inode.
static struct process *own_process(const struct inode *i)
{
    struct process *p = current_process();
    return p && (u64)p->pid == i->data ? p : NULL;
}

static size_t maps_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    if (!own_process(i) || !current_mm()) {
        *pos = ~0ull;
        return 0;
    }
    return mm_maps_text(current_mm(), pos, buf, size);
}

// The strings exec left on the stack; *pos counts their bytes.
static size_t strings_chunk(vaddr_t start, vaddr_t end, u64 *pos, char *buf, size_t size)
{
    u64 len = end - start;
    size_t n = *pos < len ? (size_t)min(len - *pos, (u64)size) : 0;
    size_t got = n - (n ? mm_copy_from(current_mm(), buf, start + *pos, n) : 0);
    *pos = got == n && *pos + n < len ? *pos + n : ~0ull;
    return got;
}

static size_t cmdline_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    struct process *p = own_process(i);
    return strings_chunk(p ? p->arg_start : 0, p ? p->arg_end : 0, pos, buf, size);
}

static size_t environ_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    struct process *p = own_process(i);
    return strings_chunk(p ? p->env_start : 0, p ? p->env_end : 0, pos, buf, size);
}

struct usage {
    u64 total, rss, faults; // pages, pages, page faults
    unsigned threads;
};

static void usage_get(struct process *p, struct usage *u)
{
    struct mm *mm = current_mm();
    s64 rss = 0;
    memset(u, 0, sizeof(*u));
    for (unsigned c = 0; mm && c < nr_cpus; c++) {
        rss += mm->cpu[c].nr_anon + mm->cpu[c].nr_file;
        u->faults += mm->cpu[c].faults;
    }
    u->rss = (u64)max(rss, (s64)0);
    u->total = mm ? mm->total_pages : 0; // a look without the edit lock: one word
    spin_lock(&p->lock);
    u->threads = p->nr_threads;
    spin_unlock(&p->lock);
}

static size_t comm_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    *pos = ~0ull;
    return own_process(i) ? text_add(buf, size, 0, "%s\n", current_thread()->name) : 0;
}

static size_t status_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    struct process *p = own_process(i);
    struct usage u;
    *pos = ~0ull;
    if (!p) {
        return 0;
    }
    usage_get(p, &u);
    return text_add(buf, size, 0,
                    "Name:\t%s\nUmask:\t%04o\nState:\tR (running)\nTgid:\t%d\nPid:\t%d\nPPid:\t%d\n"
                    "TracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n"
                    "VmSize:\t%8lu kB\nVmRSS:\t%8lu kB\nThreads:\t%u\n",
                    current_thread()->name, load_relaxed(&p->fs->umask), p->pid, p->pid, p->ppid,
                    (unsigned long)(u.total * (PAGE_SIZE >> 10)),
                    (unsigned long)(u.rss * (PAGE_SIZE >> 10)), u.threads);
}

static size_t stat_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    struct process *p = own_process(i);
    struct usage u;
    *pos = ~0ull;
    if (!p) {
        return 0;
    }
    usage_get(p, &u);
    u64 tick_ns = NSEC_PER_SEC / USER_HZ;
    size_t n =
        text_add(buf, size, 0, "%d (%s) R %d %d %d 0 -1 0 %lu 0 0 0 %lu 0 0 0 20 0 %u 0 ", p->pid,
                 current_thread()->name, p->ppid, p->pgid, p->sid, (unsigned long)u.faults,
                 (unsigned long)(process_runtime_ns(p) / tick_ns), u.threads);
    n = text_add(buf, size, n, "%lu %lu %lu %lu 0 0 %lu 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 ",
                 (unsigned long)(p->start_ns / tick_ns), (unsigned long)(u.total << PAGE_SHIFT),
                 (unsigned long)u.rss, (unsigned long)p->rlimit[RLIMIT_RSS].cur,
                 (unsigned long)current_mm()->stack_top);
    return text_add(buf, size, n, "%lu %lu %lu %lu 0\n", (unsigned long)p->arg_start,
                    (unsigned long)p->arg_end, (unsigned long)p->env_start,
                    (unsigned long)p->env_end);
}

static size_t statm_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    struct process *p = own_process(i);
    struct usage u;
    *pos = ~0ull;
    if (!p) {
        return 0;
    }
    usage_get(p, &u);
    return text_add(buf, size, 0, "%lu %lu 0 0 0 0 0\n", (unsigned long)u.total,
                    (unsigned long)u.rss);
}

static const struct pid_file {
    const char *name;
    struct text_ops ops;
} pid_files[] = {
    {"maps", {.chunk = maps_chunk}},       {"cmdline", {.chunk = cmdline_chunk}},
    {"environ", {.chunk = environ_chunk}}, {"comm", {.chunk = comm_chunk}},
    {"status", {.chunk = status_chunk}},   {"stat", {.chunk = stat_chunk}},
    {"statm", {.chunk = statm_chunk}},
};

// ---- Links
// -----------------------------------------------------------------------------------------

static ssize_t path_copy(const struct file *f, char *buf, size_t size)
{
    if (f && f->path) {
        size_t n = strlcpy(buf, f->path, size);
        return n < size ? (ssize_t)n : -ENAMETOOLONG;
    }
    return f ? snprintf(buf, size, "anon:[%lu]", (unsigned long)f->inode->ino) : -ENOENT;
}

static ssize_t exe_readlink(struct inode *link, char *buf, size_t size)
{
    struct process *p = own_process(link);
    return path_copy(p ? p->exe : NULL, buf, size);
}

static int exe_follow(struct inode *link, struct inode **out)
{
    struct process *p = own_process(link);
    if (!p || !p->exe) {
        return -ENOENT;
    }
    *out = inode_get(p->exe->inode);
    return 0;
}

static const struct inode_ops exe_ops = {.readlink = exe_readlink, .follow = exe_follow};

// rdev of a descriptor's link is its number.
static ssize_t fd_readlink(struct inode *link, char *buf, size_t size)
{
    struct file *f = own_process(link) ? fd_get_path((int)link->rdev) : NULL;
    ssize_t n = path_copy(f, buf, size);
    if (f) {
        file_put(f);
    }
    return n;
}

static int fd_follow(struct inode *link, struct inode **out)
{
    struct file *f = own_process(link) ? fd_get_path((int)link->rdev) : NULL;
    if (!f) {
        return -ENOENT;
    }
    *out = inode_get(f->inode);
    file_put(f);
    return 0;
}

static const struct inode_ops fd_link_ops = {.readlink = fd_readlink, .follow = fd_follow};

static struct inode *link_new(struct inode *dir, const struct inode_ops *ops, u64 number)
{
    struct inode *i = inode_new(dir->sb, S_IFLNK | 0777);
    if (i) {
        i->ops = ops;
        i->data = dir->data;
        i->rdev = number;
    }
    return i;
}

// ---- Directories
// -----------------------------------------------------------------------------------

// A directory inode with a parent and a name, of process number pid.
static struct inode *dir_new(struct inode *parent, const char *name, u64 pid,
                             const struct inode_ops *ops)
{
    struct inode *i = inode_new(parent->sb, S_IFDIR | 0555);
    char *copy = kmalloc(strlen(name) + 1, GFP_KERNEL);
    if (!i || !copy) {
        inode_put(i);
        kfree(copy);
        return NULL;
    }
    memcpy(copy, name, strlen(name) + 1);
    i->name = copy;
    i->parent = inode_get(parent);
    i->ops = ops;
    i->fops = &dir_fops;
    i->data = pid;
    store_relaxed(&i->nlink, 2);
    return i;
}

// A decimal number without signs or leading zeroes; -1: something else.
static s32 number_of(const char *name)
{
    s64 n = 0;
    if (name[0] < '1' || name[0] > '9') {
        return name[0] == '0' && !name[1] ? 0 : -1;
    }
    for (; *name; name++) {
        if (*name < '0' || *name > '9' || n > INT32_MAX / 10) {
            return -1;
        }
        n = n * 10 + (*name - '0');
    }
    return n > INT32_MAX ? -1 : (s32)n;
}

static int fd_dir_lookup(struct inode *dir, const char *name, struct inode **out)
{
    s32 fd = number_of(name);
    struct file *f = fd >= 0 && own_process(dir) ? fd_get_path(fd) : NULL;
    if (!f) {
        return -ENOENT;
    }
    file_put(f);
    *out = link_new(dir, &fd_link_ops, (u64)fd);
    return *out ? 0 : -ENOMEM;
}

static void fd_dir_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    u64 limit = own_process(dir) ? process_rlimit(RLIMIT_NOFILE) : 0;
    for (u64 fd = max(*pos, (u64)2) - 2; fd < min(limit, (u64)1 << 20); fd++) {
        struct file *f = fd_get_path((int)fd);
        char name[16];
        if (!f) {
            continue;
        }
        file_put(f);
        snprintf(name, sizeof(name), "%u", (unsigned)fd);
        if (!dirent_emit(sink, name, dir->ino + fd + 1, S_IFLNK, fd + 3)) {
            return;
        }
        *pos = fd + 3;
    }
}

static const struct inode_ops fd_dir_ops = {.lookup = fd_dir_lookup, .readdir = fd_dir_readdir};

static int pid_dir_lookup(struct inode *dir, const char *name, struct inode **out)
{
    *out = NULL;
    for (unsigned i = 0; i < array_size(pid_files) && !*out; i++) {
        if (strcmp(name, pid_files[i].name) == 0) {
            *out = text_new(dir->sb, 0444, &pid_files[i].ops, dir->data);
            return *out ? 0 : -ENOMEM;
        }
    }
    if (strcmp(name, "exe") == 0) {
        *out = link_new(dir, &exe_ops, 0);
    } else if (strcmp(name, "fd") == 0) {
        *out = dir_new(dir, name, dir->data, &fd_dir_ops);
    } else if (strcmp(name, "mounts") == 0) {
        return ramdir_lookup(dir->parent, name, out);
    } else {
        return -ENOENT;
    }
    return *out ? 0 : -ENOMEM;
}

static void pid_dir_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    static const struct {
        const char *name;
        u32 mode;
    } more[] = {{"exe", S_IFLNK}, {"fd", S_IFDIR}, {"mounts", S_IFREG}};
    const u64 nr_files = array_size(pid_files);
    for (u64 i = max(*pos, (u64)2) - 2; i < nr_files + array_size(more); i++) {
        const char *name = i < nr_files ? pid_files[i].name : more[i - nr_files].name;
        u32 mode = i < nr_files ? S_IFREG : more[i - nr_files].mode;
        if (!dirent_emit(sink, name, dir->ino + i + 1, mode, i + 3)) {
            return;
        }
        *pos = i + 3;
    }
}

static const struct inode_ops pid_dir_ops = {.lookup = pid_dir_lookup, .readdir = pid_dir_readdir};

int proc_pid_lookup(struct inode *root, const char *name, struct inode **out)
{
    s32 pid = number_of(name);
    struct process *p = pid > 0 ? process_get_by_pid(pid) : NULL;
    if (!p) {
        return -ENOENT;
    }
    process_put(p);
    *out = dir_new(root, name, (u64)pid, &pid_dir_ops);
    return *out ? 0 : -ENOMEM;
}
