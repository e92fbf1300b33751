// /proc: its root, and how its trees are made. What processes show is in proc_pid.c and
// proc_text.c, the machine in proc_machine.c, sys/ in proc_sys.c, faultline/ in knob.c.
//
// The trees are directories in memory whose files make their text when read. Only what programs are
// known to look at is here; a file that would have to lie is left out.
#include <ipc.h>
#include <k/assert.h>
#include <k/printk.h>
#include <k/string.h>
#include "proc_priv.h"

// ---- Trees ------------------------------------------------------------------------------------

static struct inode *tree_dir(struct inode *dir, const char *name)
{
    struct inode *d;
    if (ramdir_lookup(dir, name, &d) == 0) {
        inode_put(d); // its entry keeps it
        return d;
    }
    d = ramdir_new(dir->sb, 0555, true);
    return d && !ramdir_add(dir, name, d) ? d : NULL;
}

void tree_add(struct inode *root, const char *path, struct inode *leaf)
{
    struct inode *dir = root;
    char name[64];
    for (const char *slash; dir && (slash = strchr(path, '/')) != NULL; path = slash + 1) {
        strlcpy(name, path, min((size_t)(slash - path) + 1, sizeof(name)));
        dir = tree_dir(dir, name);
    }
    if (!dir || !leaf) {
        root->sb->incomplete = true;
        inode_put(leaf);
    } else if (ramdir_add(dir, path, leaf)) {
        root->sb->incomplete = true;
    }
}

struct inode *tree_finish(struct inode *root)
{
    if (root && root->sb->incomplete) {
        super_drop(root);
        root = NULL;
    }
    return root;
}

static size_t leaf_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    const struct leaf *l = (const struct leaf *)(uintptr_t)i->data;
    *pos = ~0ull;
    return l->show(buf, size);
}

static int leaf_store(struct inode *i, const char *text)
{
    const struct leaf *l = (const struct leaf *)(uintptr_t)i->data;
    return l->store(text);
}

static const struct text_ops leaf_ops = {.chunk = leaf_chunk};
static const struct text_ops leaf_rw_ops = {.chunk = leaf_chunk, .store = leaf_store};

// The leaves must live as long as the tree.
void tree_add_leaves(struct inode *root, const struct leaf *leaves, size_t nr)
{
    for (size_t k = 0; k < nr; k++) {
        const struct leaf *l = &leaves[k];
        tree_add(root, l->path,
                 text_new(root->sb, l->store ? 0644 : 0444, l->store ? &leaf_rw_ops : &leaf_ops,
                          (uintptr_t)l));
    }
}

struct inode *tree_new(const char *type, u32 magic, const struct leaf *leaves, size_t nr)
{
    struct super *sb = super_new(type, magic);
    struct inode *root = sb ? ramdir_new(sb, 0555, true) : NULL;
    if (root) {
        tree_add_leaves(root, leaves, nr);
    } else {
        kfree(sb);
    }
    return root;
}

// ---- The root -----------------------------------------------------------------------------------

static int proc_root_lookup(struct inode *dir, const char *name, struct inode **out)
{
    int err = ramdir_lookup(dir, name, out);
    return err == -ENOENT ? proc_pid_lookup(dir, name, out) : err;
}

// The processes come after the fixed names: cookie PID_COOKIE + the last pid shown.
#define PID_COOKIE RAMDIR_COOKIE_END

static void proc_root_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    s32 pid;
    char name[16];
    if (*pos < PID_COOKIE) {
        ramdir_readdir(dir, pos, sink);
        if (sink->full) {
            return;
        }
        *pos = PID_COOKIE;
    }
    while ((pid = process_next_pid((s32)(*pos - PID_COOKIE))) != 0) {
        u64 cookie = PID_COOKIE + (u64)pid;
        snprintf(name, sizeof(name), "%d", pid);
        if (!dirent_emit(sink, name, cookie, S_IFDIR, cookie)) {
            return;
        }
        *pos = cookie;
        cond_resched();
    }
}

static const struct inode_ops proc_root_ops = {
    .lookup = proc_root_lookup,
    .readdir = proc_root_readdir,
    .evict = ramdir_evict,
};

static ssize_t self_readlink(struct inode *link, char *buf, size_t size)
{
    struct process *p = current_process();
    (void)link;
    return p ? (ssize_t)snprintf(buf, size, "%d", p->pid) : -ENOENT;
}

static ssize_t thread_self_readlink(struct inode *link, char *buf, size_t size)
{
    struct process *p = current_process();
    (void)link;
    return p ? (ssize_t)snprintf(buf, size, "%d/task/%d", p->pid, current_task()->tid) : -ENOENT;
}

static ssize_t mounts_readlink(struct inode *link, char *buf, size_t size)
{
    (void)link;
    return (ssize_t)snprintf(buf, size, "self/mounts");
}

static ssize_t net_readlink(struct inode *link, char *buf, size_t size)
{
    (void)link;
    return (ssize_t)snprintf(buf, size, "self/net");
}

static const struct inode_ops net_ops = {.readlink = net_readlink};
static const struct inode_ops self_ops = {.readlink = self_readlink};
static const struct inode_ops thread_self_ops = {.readlink = thread_self_readlink};
static const struct inode_ops mounts_ops = {.readlink = mounts_readlink};

static struct inode *link_inode(struct super *sb, const struct inode_ops *ops)
{
    struct inode *i = inode_new(sb, S_IFLNK | 0777);
    if (i) {
        i->ops = ops;
    }
    return i;
}

static size_t sysvipc_shm_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i;
    return shm_text(pos, buf, size);
}

static size_t sysvipc_sem_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i;
    return sem_text(pos, buf, size);
}

static size_t sysvipc_msg_chunk(struct inode *i, u64 *pos, char *buf, size_t size)
{
    (void)i;
    return msg_text(pos, buf, size);
}

static const struct text_ops sysvipc_msg_ops = {.chunk = sysvipc_msg_chunk};
static const struct text_ops sysvipc_sem_ops = {.chunk = sysvipc_sem_chunk};
static const struct text_ops sysvipc_shm_ops = {.chunk = sysvipc_shm_chunk};

struct inode *procfs_mount(void)
{
    struct inode *root = tree_new("proc", PROC_MAGIC, NULL, 0);
    if (!root) {
        return NULL;
    }
    proc_machine_add(root);
    proc_sys_add(root);
    tree_add(root, "faultline", knob_dir_new(root->sb));
    tree_add(root, "self", link_inode(root->sb, &self_ops));
    tree_add(root, "thread-self", link_inode(root->sb, &thread_self_ops));
    tree_add(root, "net", link_inode(root->sb, &net_ops));
    tree_add(root, "mounts", link_inode(root->sb, &mounts_ops));
    tree_add(root, "sysvipc/shm", text_new(root->sb, 0444, &sysvipc_shm_ops, 0));
    tree_add(root, "sysvipc/sem", text_new(root->sb, 0444, &sysvipc_sem_ops, 0));
    tree_add(root, "sysvipc/msg", text_new(root->sb, 0444, &sysvipc_msg_ops, 0));
    root->ops = &proc_root_ops;
    return tree_finish(root);
}
