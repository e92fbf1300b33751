// What the files of /proc share.
#ifndef PROC_PRIV_FS_H
#define PROC_PRIV_FS_H

#include <proc.h>
#include "fs_priv.h"

// The data of an inode below /proc/PID: whom it is about. tid 0: the process as a whole.
static inline u64 pid_data(s32 pid, s32 tid)
{
    return (u64)(u32)pid << 32 | (u32)tid;
}
static inline s32 pid_of(const struct inode *i)
{
    return (s32)(i->data >> 32);
}
static inline s32 tid_of(const struct inode *i)
{
    return (s32)(u32)i->data;
}
// The process, counted; NULL: gone. Its address space, with a use more (mm_put); NULL: gone, or not
// for who asks. May the current process look into it: 0 (or it is gone), -EACCES.
struct process *pid_process(const struct inode *i);
struct mm *pid_mm(const struct inode *i);
int pid_may_look(const struct inode *i);

// A file below /proc/PID (proc_text.c, proc_mem.c): made by text, or by fops.
struct pid_file {
    const char *name;
    u32 mode;
    bool process_only; // not in task/TID
    struct text_ops text;
    const struct file_ops *fops;
};
const struct pid_file *pid_text_file(unsigned n); // NULL: no more
const struct pid_file *pid_mem_file(unsigned n);

// A directory or a file of a tree that is described by its paths. Without memory the tree stays
// incomplete, which tree_finish sees: it returns the root, or NULL and the tree is gone.
struct leaf {
    const char *path;
    size_t (*show)(char *buf, size_t size);
    int (*store)(const char *text); // NULL: read only
};
struct inode *tree_new(const char *type, u32 magic, const struct leaf *leaves, size_t nr);
struct inode *tree_finish(struct inode *root);
void tree_add(struct inode *root, const char *path, struct inode *leaf);
void tree_add_leaves(struct inode *root, const struct leaf *leaves, size_t nr);

// proc_sys.c, proc_machine.c: they add their parts to the tree of /proc.
void proc_sys_add(struct inode *root);
void proc_machine_add(struct inode *root);

#endif
