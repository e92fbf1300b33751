// /proc/PID, /proc/PID/task/TID: the folders and links. Their text is in proc_text.c.
//
// These inodes are made at each look-up, go with the last user, and hold nothing but numbers: a
// process that ends meanwhile leaves empty files and links that lead nowhere. (A number comes round
// again after four million others; who still has its folder open then sees the new owner. Signals
// do not reach that one: the folder remembers when its process began.)
//
// A link here stands for an object, not for a path: opening /proc/self/fd/3 opens what descriptor 3
// is, whatever became of its name.
#include <k/printk.h>
#include <k/string.h>
#include <net.h>
#include "proc_priv.h"

// ---- Links ------------------------------------------------------------------------------------

// What a link of these shows of an open file.
static ssize_t file_name_copy(const struct file *f, char *buf, size_t size)
{
    u32 type = f->inode->mode & S_IFMT;
    int n;
    if (f->path) {
        // What O_TMPFILE made is shown by the name it never had, also when it has got another one.
        bool gone = load_relaxed(&f->inode->nlink) == 0 || load_relaxed(&f->flags) & O_TMPFILE_BIT;
        gone = gone && !strstr(f->path, " (deleted)");
        n = snprintf(buf, size, "%s%s", f->path, gone ? " (deleted)" : "");
    } else if (type == S_IFIFO || type == S_IFSOCK) {
        n = snprintf(buf, size, "%s:[%lu]", type == S_IFIFO ? "pipe" : "socket",
                     (unsigned long)f->inode->ino);
    } else {
        n = snprintf(buf, size, "anon_inode:[%lu]", (unsigned long)f->inode->ino);
    }
    return n >= 0 && (size_t)n < size ? n : -ENAMETOOLONG;
}

// What each kind of link leads to, counted; NULL: nothing. The put is the later one, as the
// namespace may be locked.
static struct file *exe_file(const struct inode *link)
{
    struct process *p = pid_process(link);
    struct file *f = p ? process_get_exe(p) : NULL;
    if (p) {
        process_put(p);
    }
    return f;
}

// rdev of a descriptor's inode is its number.
static struct file *fd_file(const struct inode *i)
{
    struct process *p = pid_process(i);
    struct file *f = p ? process_get_file(p, (int)i->rdev) : NULL;
    if (p) {
        process_put(p);
    }
    return f;
}

// What a link to f, which is let go of, reads and leads to; NULL: there is none.
static ssize_t file_readlink(struct file *f, char *buf, size_t size)
{
    ssize_t n = f ? file_name_copy(f, buf, size) : -ENOENT;
    if (f) {
        file_put_later(f);
    }
    return n;
}

static int file_follow(struct file *f, struct inode **out, struct file **via)
{
    if (!f) {
        return -ENOENT;
    }
    *out = inode_get(f->inode);
    *via = f;
    return 0;
}

static ssize_t exe_readlink(struct inode *link, char *buf, size_t size)
{
    int err = pid_may_look(link);
    return err ? err : file_readlink(exe_file(link), buf, size);
}

static int exe_follow(struct inode *link, struct inode **out, struct file **via)
{
    int err = pid_may_look(link);
    return err ? err : file_follow(exe_file(link), out, via);
}

static const struct inode_ops exe_ops = {.readlink = exe_readlink, .follow = exe_follow};

static ssize_t fd_readlink(struct inode *link, char *buf, size_t size)
{
    int err = pid_may_look(link);
    return err ? err : file_readlink(fd_file(link), buf, size);
}

static int fd_follow(struct inode *link, struct inode **out, struct file **via)
{
    int err = pid_may_look(link);
    return err ? err : file_follow(fd_file(link), out, via);
}

static const struct inode_ops fd_link_ops = {.readlink = fd_readlink, .follow = fd_follow};

static int dir_look(struct inode *link, bool root, struct inode **out)
{
    struct process *p = pid_process(link);
    int err = p ? process_may_look(p) : -ENOENT;
    *out = err ? NULL : process_get_dir(p, root);
    if (p) {
        process_put(p);
    }
    return err ? err : *out ? 0 : -ENOENT;
}

// Links with a follow are read by readlink(2) alone, without the lock of the namespace.
static ssize_t dir_readlink(struct inode *link, bool root, char *buf, size_t size)
{
    char *path = NULL;
    struct inode *i;
    int n = dir_look(link, root, &i);
    if (n) {
        return n;
    }
    struct inode *top = root_get();
    mutex_lock(&vfs_lock);
    n = dir_path_locked(i, top, &path, NULL);
    mutex_unlock(&vfs_lock);
    inode_put(top);
    inode_put(i);
    if (!n) {
        n = snprintf(buf, size, "%s", path);
    }
    kfree(path);
    return n < 0 || (size_t)n < size ? n : -ENAMETOOLONG;
}

static ssize_t cwd_readlink(struct inode *link, char *buf, size_t size)
{
    return dir_readlink(link, false, buf, size);
}

static int cwd_follow(struct inode *link, struct inode **out, struct file **via)
{
    (void)via;
    return dir_look(link, false, out);
}

static const struct inode_ops cwd_ops = {.readlink = cwd_readlink, .follow = cwd_follow};

static ssize_t root_readlink(struct inode *link, char *buf, size_t size)
{
    return dir_readlink(link, true, buf, size);
}

static int root_follow(struct inode *link, struct inode **out, struct file **via)
{
    (void)via;
    return dir_look(link, true, out);
}

static const struct inode_ops root_ops = {.readlink = root_readlink, .follow = root_follow};

// ---- Making inodes ------------------------------------------------------------------------------

// Whose it is: the process's, or root's, if the process is not to be looked into and the inode says
// more than that it is there. These inodes are made for one look-up, so a process that looks at
// itself finds them its own: what it may do with them does not depend on its being dumpable.
static struct inode *pid_owned(struct inode *i, const struct inode *dir)
{
    struct process *p = i ? pid_process(dir) : NULL;
    if (!p) {
        return i;
    }
    if (p == current_process()) {
        inode_set_owner(i, NULL);
    } else {
        spin_lock(&p->lock);
        bool open = p->flags.dumpable == 1 || i->mode == (S_IFDIR | 0555);
        i->uid = open ? p->cred.euid : 0;
        i->gid = open ? p->cred.egid : 0;
        spin_unlock(&p->lock);
    }
    process_put(p);
    return i;
}

static struct inode *link_new(struct inode *dir, const struct inode_ops *ops, u32 mode, u64 number)
{
    struct inode *i = inode_new(dir->sb, S_IFLNK | mode);
    if (i) {
        i->ops = ops;
        i->data = dir->data;
        i->rdev = number;
    }
    return pid_owned(i, dir);
}

// A directory inode with a parent and a name.
static struct inode *dir_new(struct inode *parent, const char *name, u64 data,
                             const struct inode_ops *ops, u32 mode)
{
    struct inode *i = inode_new(parent->sb, S_IFDIR | mode);
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
    i->data = data;
    store_relaxed(&i->nlink, 2);
    return pid_owned(i, i);
}

// Numbers as names of a directory; cookies are number + 3.
static bool number_emit(struct inode *dir, u64 *pos, struct dirent_sink *sink, s32 number, u32 type)
{
    char name[16];
    snprintf(name, sizeof(name), "%d", number);
    if (!dirent_emit(sink, name, dir->ino + (u64)number + 1, type, (u64)number + 3)) {
        return false;
    }
    *pos = (u64)number + 3;
    cond_resched();
    return true;
}

// ---- fd, fdinfo -------------------------------------------------------------------------------

// The link shows by its mode how the file is open.
static u32 fd_link_mode(const struct file *f)
{
    unsigned how = load_relaxed(&f->flags) & O_ACCMODE;
    return how == O_RDONLY ? 0500 : how == O_WRONLY ? 0300 : 0700;
}

static u32 fd_flags(const struct inode *i)
{
    struct process *p = pid_process(i);
    struct files *t = p ? process_get_files(p) : NULL;
    u32 flags = 0;
    if (t) {
        flags = files_fd_flags(t, (int)i->rdev);
        files_put(t);
    }
    if (p) {
        process_put(p);
    }
    return flags;
}

static size_t fdinfo_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    struct file *f = fd_file(i);
    *pos = ~0ull;
    if (!f) {
        return 0;
    }
    u64 at = f->ops->stream ? 0 : f->pos; // a look: one word
    size_t n = text_add(buf, size, 0, "pos:\t%lu\nflags:\t0%o\nmnt_id:\t%u\nino:\t%lu\n",
                        (unsigned long)at, load_relaxed(&f->flags) | fd_flags(i), f->inode->sb->dev,
                        (unsigned long)f->inode->ino);
    file_put(f);
    return n;
}

static const struct text_ops fdinfo_ops = {.chunk = fdinfo_chunk};

static int fd_lookup(struct inode *dir, const char *name, bool info, struct inode **out)
{
    s32 fd = name_to_number(name);
    struct process *p = fd >= 0 ? pid_process(dir) : NULL;
    struct file *f = p ? process_get_file(p, fd) : NULL;
    u32 mode = f ? fd_link_mode(f) : 0;
    if (p) {
        process_put(p);
    }
    if (!f) {
        return -ENOENT;
    }
    file_put_later(f); // the namespace is locked
    if (info) {
        *out = pid_owned(text_new(dir->sb, 0400, &fdinfo_ops, dir->data), dir);
        if (*out) {
            (*out)->rdev = (u64)fd;
        }
    } else {
        *out = link_new(dir, &fd_link_ops, mode, (u64)fd);
    }
    return *out ? 0 : -ENOMEM;
}

static int fd_dir_lookup(struct inode *dir, const char *name, struct inode **out)
{
    return fd_lookup(dir, name, false, out);
}

static int fdinfo_dir_lookup(struct inode *dir, const char *name, struct inode **out)
{
    return fd_lookup(dir, name, true, out);
}

static void fd_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink, u32 type)
{
    struct process *p = pid_process(dir);
    while (p) {
        struct file *f;
        int fd = process_next_file(p, (int)(max(*pos, (u64)2) - 2), &f);
        if (fd < 0) {
            break;
        }
        file_put_later(f);
        if (!number_emit(dir, pos, sink, fd, type)) {
            break;
        }
    }
    if (p) {
        process_put(p);
    }
}

static void fd_dir_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    fd_readdir(dir, pos, sink, S_IFLNK);
}

static void fdinfo_dir_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    fd_readdir(dir, pos, sink, S_IFREG);
}

static const struct inode_ops fd_dir_ops = {.lookup = fd_dir_lookup, .readdir = fd_dir_readdir};
static const struct inode_ops fdinfo_dir_ops = {.lookup = fdinfo_dir_lookup,
                                                .readdir = fdinfo_dir_readdir};

// ---- task -------------------------------------------------------------------------------------

static const struct inode_ops pid_dir_ops;

static int task_dir_lookup(struct inode *dir, const char *name, struct inode **out)
{
    s32 tid = name_to_number(name);
    struct process *p = tid > 0 ? pid_process(dir) : NULL;
    struct task_look t;
    bool found = p && task_look(p, tid, &t);
    if (p) {
        process_put(p);
    }
    if (!found) {
        return -ENOENT;
    }
    *out = dir_new(dir, name, pid_data(pid_of(dir), tid), &pid_dir_ops, 0555);
    return *out ? 0 : -ENOMEM;
}

static void task_dir_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    struct process *p = pid_process(dir);
    while (p) {
        s32 tid = process_next_tid(p, *pos > 3 ? (s32)(*pos - 3) : 0);
        if (!tid || !number_emit(dir, pos, sink, tid, S_IFDIR)) {
            break;
        }
    }
    if (p) {
        process_put(p);
    }
}

static const struct inode_ops task_dir_ops = {.lookup = task_dir_lookup,
                                              .readdir = task_dir_readdir};

// ---- ns: there is one namespace of each kind, and everybody is in it ----------------------------

// With the numbers that Linux gives the first ones.
static const struct {
    const char *name, *kind;
    u32 number;
} namespaces[] = {
    {"cgroup", "cgroup", 0xeffffffb}, {"ipc", "ipc", 0xefffffff},
    {"mnt", "mnt", 0xf0000001},       {"net", "net", 0xf0000000},
    {"pid", "pid", 0xeffffffc},       {"pid_for_children", "pid", 0xeffffffc},
    {"time", "time", 0xeffffffa},     {"time_for_children", "time", 0xeffffffa},
    {"user", "user", 0xeffffffd},     {"uts", "uts", 0xeffffffe},
};

static struct super ns_super = {.type = "nsfs", .magic = 0x6e736673};
static const struct file_ops ns_fops = {.stream = true};

static ssize_t ns_readlink(struct inode *link, char *buf, size_t size)
{
    u64 n = link->rdev;
    return snprintf(buf, size, "%s:[%u]", namespaces[n].kind, namespaces[n].number);
}

// An inode with the namespace's number, which is all that can be asked of it.
static int ns_follow(struct inode *link, struct inode **out, struct file **via)
{
    (void)via;
    *out = inode_new(&ns_super, S_IFREG | 0444);
    if (!*out) {
        return -ENOMEM;
    }
    (*out)->ino = namespaces[link->rdev].number;
    (*out)->fops = &ns_fops;
    return 0;
}

static const struct inode_ops ns_link_ops = {.readlink = ns_readlink, .follow = ns_follow};

static int ns_dir_lookup(struct inode *dir, const char *name, struct inode **out)
{
    for (u64 n = 0; n < array_size(namespaces); n++) {
        if (strcmp(name, namespaces[n].name) == 0) {
            *out = link_new(dir, &ns_link_ops, 0777, n);
            return *out ? 0 : -ENOMEM;
        }
    }
    return -ENOENT;
}

static void ns_dir_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    for (u64 n = max(*pos, (u64)2) - 2; n < array_size(namespaces); n++) {
        if (!dirent_emit(sink, namespaces[n].name, dir->ino + n + 1, S_IFLNK, n + 3)) {
            return;
        }
        *pos = n + 3;
    }
}

static const struct inode_ops ns_dir_ops = {.lookup = ns_dir_lookup, .readdir = ns_dir_readdir};

// ---- net ----------------------------------------------------------------------------------------

static size_t net_unix_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i;
    return usock_text(pos, buf, size);
}

static const struct text_ops net_unix_ops = {.chunk = net_unix_chunk};

static int net_dir_lookup(struct inode *dir, const char *name, struct inode **out)
{
    if (strcmp(name, "unix") != 0) {
        return -ENOENT;
    }
    *out = text_new(dir->sb, 0444, &net_unix_ops, dir->data);
    return *out ? 0 : -ENOMEM;
}

static void net_dir_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    if (*pos <= 2 && dirent_emit(sink, "unix", dir->ino + 1, S_IFREG, 3)) {
        *pos = 3;
    }
}

static const struct inode_ops net_dir_ops = {.lookup = net_dir_lookup, .readdir = net_dir_readdir};

// ---- The folder of a process or thread ----------------------------------------------------------

// What is no file.
static const struct pid_other {
    const char *name;
    u32 mode;
    bool process_only;
    const struct inode_ops *ops;
} others[] = {
    {"exe", S_IFLNK | 0777, false, &exe_ops},
    {"cwd", S_IFLNK | 0777, false, &cwd_ops},
    {"root", S_IFLNK | 0777, false, &root_ops},
    {"fd", S_IFDIR | 0500, false, &fd_dir_ops},
    {"fdinfo", S_IFDIR | 0500, false, &fdinfo_dir_ops},
    {"task", S_IFDIR | 0555, true, &task_dir_ops},
    {"ns", S_IFDIR | 0511, false, &ns_dir_ops},
    {"net", S_IFDIR | 0555, false, &net_dir_ops},
};

static const struct pid_file *pid_file(unsigned n)
{
    for (unsigned nr = 0;; nr++) {
        if (!pid_text_file(nr)) {
            return pid_mem_file(n - nr);
        }
        if (nr == n) {
            return pid_text_file(n);
        }
    }
}

static struct inode *pid_file_new(struct inode *dir, const struct pid_file *f)
{
    if (!f->fops) {
        return pid_owned(text_new(dir->sb, f->mode, &f->text, dir->data), dir);
    }
    struct inode *i = inode_new(dir->sb, S_IFREG | f->mode);
    if (i) {
        i->fops = f->fops;
        i->data = dir->data;
    }
    return pid_owned(i, dir);
}

static int pid_dir_lookup(struct inode *dir, const char *name, struct inode **out)
{
    bool task = tid_of(dir);
    for (unsigned n = 0; pid_file(n); n++) {
        const struct pid_file *f = pid_file(n);
        if (strcmp(name, f->name) == 0 && !(task && f->process_only)) {
            *out = pid_file_new(dir, f);
            return *out ? 0 : -ENOMEM;
        }
    }
    for (unsigned n = 0; n < array_size(others); n++) {
        const struct pid_other *o = &others[n];
        if (strcmp(name, o->name) == 0 && !(task && o->process_only)) {
            *out = S_ISLNK(o->mode) ? link_new(dir, o->ops, o->mode & 07777, 0)
                                    : dir_new(dir, name, dir->data, o->ops, o->mode & 07777);
            return *out ? 0 : -ENOMEM;
        }
    }
    return -ENOENT;
}

static void pid_dir_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    bool task = tid_of(dir);
    unsigned nr_files = 0;
    while (pid_file(nr_files)) {
        nr_files++;
    }
    for (u64 i = max(*pos, (u64)2) - 2; i < nr_files + array_size(others); i++) {
        const struct pid_file *f = i < nr_files ? pid_file((unsigned)i) : NULL;
        const struct pid_other *o = f ? NULL : &others[i - nr_files];
        if (!(task && (f ? f->process_only : o->process_only)) &&
            !dirent_emit(sink, f ? f->name : o->name, dir->ino + i + 1, f ? S_IFREG : o->mode,
                         i + 3)) {
            return;
        }
        *pos = i + 3;
    }
}

static const struct inode_ops pid_dir_ops = {.lookup = pid_dir_lookup, .readdir = pid_dir_readdir};

int proc_pid_lookup(struct inode *root, const char *name, struct inode **out)
{
    s32 pid = name_to_number(name);
    struct process *p = pid > 0 ? process_get_by_pid(pid) : NULL;
    if (!p) {
        return -ENOENT;
    }
    *out = dir_new(root, name, pid_data(pid, 0), &pid_dir_ops, 0555);
    if (*out) {
        (*out)->rdev = p->start_ns; // nobody else knows it yet
    }
    process_put(p);
    return *out ? 0 : -ENOMEM;
}

int proc_pid_process(const struct inode *dir, struct process **out)
{
    if (dir->ops != &pid_dir_ops || tid_of(dir)) {
        return -EBADF;
    }
    *out = pid_process(dir);
    if (*out && (*out)->start_ns != dir->rdev) { // the number's next owner
        process_put(*out);
        *out = NULL;
    }
    return *out ? 0 : -ESRCH;
}
