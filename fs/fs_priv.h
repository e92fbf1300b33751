// What the files of fs/ share.
#ifndef FS_PRIV_H
#define FS_PRIV_H

#include <arch/abi.h>
#include <fs.h>
#include <k/errno.h>
#include <slab.h>

extern struct mutex vfs_lock; // RANK_VFS: names, directories, mounts
extern struct inode *vfs_root;

#define FILE_SIZE_MAX ((u64)INT64_MAX & PAGE_MASK)
#define POS_END       (~0ull) // of a write to a file with a page cache: its end, as with O_APPEND

// --- vfs.c --- A new inode with one reference, a fresh number and nlink 1. NULL: no memory.
struct inode *inode_new(struct super *sb, u32 mode);
void inode_touch(struct inode *i); // mtime and ctime are now
// Is d root, or what is mounted on it? There ".." of who has that root ends. Namespace locked.
bool dir_is_or_covers(const struct inode *d, const struct inode *root);
// The path of a directory below root, allocated; if it is not below it, below the root of all
// paths, and *unreachable (may be NULL) is set. 0, -ENOENT: it was removed, -ENOMEM. Namespace
// locked.
int dir_path_locked(struct inode *dir, struct inode *root, char **out, bool *unreachable);

// --- mount.c ---
struct super *super_new(const char *type, u32 magic); // NULL: no memory
// Cover the directory `at`, or the last mount on it, by a file system's root, whose reference is
// taken over. Namespace locked. -EBUSY: it is the root of all, or has the same type, of which Linux
// has one; -ENOENT: it was removed; -EINVAL: it is in what was detached; -ENOSPC: mount_max;
// -ENOMEM.
int mount_locked(struct inode *at, struct inode *root);
void super_publish_locked(struct super *sb, struct inode *root, struct inode *covered);
// A file system that nobody uses and that is mounted nowhere; the reference to its root is taken
// over.
void super_drop(struct inode *root);
// Mounted no more; mounts_reap_locked drops it once the caller has put its reference to root. lazy:
// even if somebody else is there. -EINVAL: no mount's root; -EBUSY.
int umount_locked(struct inode *root, bool lazy);
void mounts_reap_locked(void); // drop what was detached and is not used any more
// What the current process sees of them; *pos as in struct text_ops.
size_t mounts_text(u64 *pos, char *buf, size_t size, bool info);
extern atomic_uint mount_max; // /proc/sys/fs/mount-max
// May names and files of a file system be changed? 0 or -EROFS.
static inline int super_may_write(const struct super *sb)
{
    return load_relaxed(&sb->flags) & MS_RDONLY ? -EROFS : 0;
}

// --- perm.c ---
// Is i the current process's, or may it do with it what the owner may (CAP_FOWNER)?
bool inode_is_mine(const struct inode *i);
// Is it in the group, or may it give set-group-ID bits of any (CAP_FSETID)?
bool group_is_mine(u32 gid);
int inode_permission_real(const struct inode *i, unsigned may); // as its real user: access(2)
// May the name of victim in dir go? -EROFS, -EACCES; -EPERM: dir is sticky, and neither is its own.
int dir_may_delete(const struct inode *dir, const struct inode *victim);
int inode_may_chown(const struct inode *i, u32 uid, u32 gid); // ~0u: stays. 0 or -EPERM
// The set-user-ID and set-group-ID bits that a new owner or other bytes take away.
u32 inode_mode_drops(const struct inode *i);
void inode_will_change_locked(struct inode *i); // its bytes: such bits go first; i->lock is held
// A new inode that nobody knows yet is the current process's. dir: where it will be, or NULL.
void inode_set_owner(struct inode *i, const struct inode *dir);

// --- notify.c --- Those who watch are told after it happened; IN_* of uapi/fs.h. Sleeps; the
// caller holds no lock but, for notify_self and notify_name, the namespace's.
#define NOTIFY_SELF  1u
#define NOTIFY_CHILD 2u
void notify_file_slow(struct file *f, u32 event);
void notify_inode_slow(struct inode *i, u32 event);
void notify_self_slow(struct inode *i, u32 event);
void notify_name_slow(struct inode *dir, u32 event, const char *name, bool is_dir, u32 cookie);
bool notify_inode_put(struct inode *i);       // drops the reference: was it the last?
bool notify_has_refs(struct inode *i, int n); // and those who watch it may have one more
void notify_unmounted(struct inode *i);       // its file system goes
u32 notify_cookie(void);                      // of a rename
extern atomic_uint notify_max_events, notify_max_groups, notify_max_marks; // /proc/sys/fs/inotify

// To an open file; to an inode, whatever it is called; to those only who watch the inode itself.
static inline void notify_file(struct file *f, u32 event)
{
    if (unlikely(load_relaxed(&f->inode->notify))) {
        notify_file_slow(f, event);
    }
}
static inline void notify_inode(struct inode *i, u32 event)
{
    if (unlikely(load_relaxed(&i->notify))) {
        notify_inode_slow(i, event);
    }
}
static inline void notify_self(struct inode *i, u32 event)
{
    if (unlikely(load_relaxed(&i->notify) & NOTIFY_SELF)) {
        notify_self_slow(i, event);
    }
}
// To a name in a directory.
static inline void notify_name(struct inode *dir, u32 event, const char *name, bool is_dir,
                               u32 cookie)
{
    if (unlikely(load_relaxed(&dir->notify) & NOTIFY_SELF)) {
        notify_name_slow(dir, event, name, is_dir, cookie);
    }
}

// --- file.c ---
void vfs_file_init(void);
// Open an inode (a reference is taken). path: allocated, taken over, may be NULL. 0 or errno.
int file_open_inode(struct inode *inode, unsigned flags, char *path, struct file **out);
// The same in two steps, for a caller that must not run out of memory between them. A blank file
// (NULL: no memory) is given to file_open_blank, which frees it when it fails, or to
// file_blank_free.
struct file *file_blank(void);
void file_blank_free(struct file *f);
int file_open_blank(struct file *f, struct inode *inode, unsigned flags, char *path);
// Between these nobody runs i as a program. -ETXTBSY: somebody does.
int inode_write_begin(struct inode *i);
void inode_write_end(struct inode *i);
int program_deny_writers(struct file *f); // until program_put; -ETXTBSY: there are some

// --- sys_copy.c --- Positions of calls that move bytes from file to file.
bool file_may(struct file *f, unsigned mode); // is it open for O_RDONLY or O_WRONLY?
// Where to start, at `user` or (0) at the file's own position: 0, -EFAULT, -EINVAL; and where it
// ended: 0, -EFAULT.
int file_pos_from(struct file *f, u64 user, u64 *pos);
int file_pos_back(struct file *f, u64 user, u64 pos);
// FICLONE and FICLONERANGE on the file to be written: never 0. No locks held; may fault.
s64 ioctl_clone(struct file *out, unsigned cmd, u64 arg);

// --- anonfile.c ---
void anon_file_init(void);

// --- poll.c --- What file_ops.poll gets: queue is called by poll_wait. At most QUEUES_PER_FILE.
#define QUEUES_PER_FILE 2
struct pollq {
    void (*queue)(struct pollq *pt, struct waitq *q);
};
// What a file has now, as POLL* bits.
unsigned file_poll(struct file *f, struct pollq *pt);

// --- epoll.c --- The last reference to a watched file is gone: nobody watches it any more.
void epoll_file_gone(struct file *f);
void epoll_init(void);
extern atomic_uint epoll_max_items; // /proc/sys/fs/epoll/max_user_watches

// --- filelock.c ---
void locks_file_gone(struct file *f);   // its last reference is going
void inode_locks_free(struct inode *i); // the inode is going

// --- namei.c ---
struct walk {
    struct inode *dir;           // counted: where `name` is to be looked up
    char name[NAME_MAX_LEN + 1]; // the last component
    bool trailing;               // slashes behind it: must be a directory
    bool dots;                   // "." or "..", or the root: dir is the thing itself
    bool dotdot;
    bool absent;        // walk_last: -ENOENT was about `name` in `dir` itself, where it might be
                        // made; in /proc never, which says so to all calls, as Linux's does
    unsigned links;     // symbolic links followed
    char *buf, *rest;   // what is still to be walked: [rest, NUL) in buf
    struct inode *root; // counted: "/", and where ".." ends
    u32 resolve;        // RESOLVE_*, WALK_REAL
    struct file *via;   // counted: walk_last was led to what is open here, by /proc/PID/fd; or NULL
};
#define WALK_REAL (1u << 31) // it is the real user who searches
// walk_begin locks the namespace and walks up to the last component; walk_end always follows,
// unlocks and lets go. start NULL: the current directory.
int walk_begin(struct walk *w, struct inode *start, const char *path);
void walk_end(struct walk *w);
// The same for a caller that holds the namespace lock already. resolve: RESOLVE_* of openat2(2);
// with those that make it the root, start is not NULL.
int walk_begin_locked(struct walk *w, struct inode *start, const char *path, u32 resolve);
void walk_end_locked(struct walk *w);
// Look the last component up; follow: through symbolic links, after which w->dir and w->name are
// the place of the final target. *out counted; -ENOENT with `absent`: dir and name say where it
// would be, otherwise something on the way is missing.
int walk_last(struct walk *w, bool follow, struct inode **out);
// Cross the mounts that cover *i.
void walk_cross_mounts(struct inode **i);
// A path of user memory, to be kfree'd. -EFAULT, -ENAMETOOLONG, -ENOENT (empty, unless empty_ok).
int user_path(u64 user, bool empty_ok, char **out);
// The directory a path is relative to: counted, NULL for absolute ones. -EBADF, -ENOTDIR.
int at_start(int dirfd, const char *path, struct inode **out);
// The same whatever the path; any: it need not be a directory.
int at_start_dir(int dirfd, bool any, struct inode **out);
// A whole look-up for a call: -ENOENT and the others. *out counted.
#define LOOKUP_FOLLOW 1u
#define LOOKUP_EMPTY  2u // an empty path is dirfd itself
#define LOOKUP_REAL   4u // it is the real user who searches
#define LOOKUP_LINK   8u // an empty path is dirfd itself if that is a symbolic link
int lookup_at(int dirfd, u64 user, unsigned how, struct inode **out);
struct inode *cwd_get(void);  // counted
struct inode *root_get(void); // the current process's "/", counted
#define OPEN_EXEC 040u        // beside the O_ flags: to run it
int vfs_open_at(struct inode *start, const char *path, unsigned flags, u32 mode, u32 resolve,
                struct file **out);

// --- ramdir.c: directories in memory, used by every file system here ---
extern const struct inode_ops ramdir_ops;       // users may create
extern const struct inode_ops ramdir_fixed_ops; // they may not
extern const struct inode_ops symlink_ops;
struct inode *ramdir_new(struct super *sb, u32 mode, bool fixed);
// Add an inode (a reference is taken over, also on error). Namespace locked, or boot.
int ramdir_add(struct inode *dir, const char *name, struct inode *inode);
// The next entry's inode from cookie *pos (0 at first) on, which moves on; not counted. Locked.
struct inode *ramdir_next_child(struct inode *dir, u64 *pos);
int ramdir_lookup(struct inode *dir, const char *name, struct inode **out);
void ramdir_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink);
struct inode *symlink_new(struct super *sb, const char *target);
extern const struct file_ops dir_fops;
#define RAMDIR_COOKIE_END (1ull << 62) // *pos is not above it after ramdir_readdir
// One inode more, or one more name of one? 0 or -ENOSPC. Namespace locked.
int super_inode_room(const struct super *sb);
u64 super_inodes_used(const struct super *sb); // with further names, each of which counts as one
void ramdir_evict(struct inode *dir);
// Has nobody a reference to anything in the file system of this root but its own tree, and the
// caller `extra` to the root? Namespace locked.
bool ramdir_tree_is_idle(struct inode *root, int extra);
void ramdir_flag_child(struct inode *dir, struct inode *inode); // if dir is watched
void ramdir_flag_children(struct inode *dir); // NOTIFY_CHILD; nothing for other directories
// The name of an inode in dir, into NAME_MAX_LEN + 1 bytes; false: it has none there.
bool ramdir_name_of(struct inode *dir, const struct inode *inode, char *name);
void ramdir_tree_drop(struct inode *root); // let go of everything in it; it is idle

// dirent_emit: false: full. next: the cookie of the entry after it.
struct dirent_sink {
    char *buf; // kernel memory
    size_t size, used;
    bool full;
    bool old; // the entries of getdents
};
bool dirent_emit(struct dirent_sink *s, const char *name, u64 ino, u32 mode, u64 next);

// --- file systems ---
struct inode *tmpfs_mount(void);                         // a new one; its root, NULL: no memory
void tmpfs_set_limit(struct super *sb, u64 pages);       // 0: none of its own
bool tmpfs_may_limit(const struct super *sb, u64 pages); // it has no more than that
struct inode *tmpfs_make_file(struct super *sb, u32 mode);
void tmpfs_count(struct inode *i); // pages written past the limits; of other file systems: nothing
struct inode *slowfs_mount(void);
struct inode *devfs_mount(void);
struct inode *procfs_mount(void);
struct inode *sysfs_mount(void);
const struct file_ops *device_fops(u64 rdev); // NULL: no such device
// The two ends of a new pipe. flags: O_NONBLOCK.
int pipe_open_both(struct file **rd, struct file **wr, unsigned flags);
// F_GETPIPE_SZ, F_SETPIPE_SZ: bytes, or -EBADF (no pipe), -EINVAL, -EPERM, -EBUSY, -ENOMEM.
s64 pipe_fcntl(struct file *f, unsigned cmd, u64 arg);
// /proc/sys/fs/pipe-max-size, pipe(7): bytes a pipe may have without CAP_SYS_RESOURCE. Written with
// what pipe_size_round made: the size a pipe would have that was asked for so much, 0: none.
extern atomic_uint pipe_max_size;
u64 pipe_size_round(u64 bytes);
extern const struct file_ops hoststream_fops;
struct inode *fifo_new(struct super *sb, u32 mode); // a named one; NULL: no memory

// --- text.c: files with generated text ---
struct text_ops {
    int (*may_open)(const struct inode *); // 0 or errno; NULL: the mode says all
    // Append text from *pos (0 at first) on, as much as fits; advance *pos, ~0 at the end.
    size_t (*chunk)(struct inode *, u64 *pos, char *buf, size_t size);
    int (*store)(struct inode *, const char *text); // NULL: read only
};
// A file of the ops; data is for them (inode->data).
struct inode *text_new(struct super *sb, u32 mode, const struct text_ops *ops, u64 data);
// One whose text one function makes.
struct inode *text_new_simple(struct super *sb, size_t (*show)(char *buf, size_t size));
// snprintf at buf + used that never runs over: the new `used`.
size_t text_add(char *buf, size_t size, size_t used, const char *fmt, ...) printf_like(4, 5);
// A whole text: a number and its newline.
size_t text_number(char *buf, size_t size, u64 v);
// A show function for text that is always the same number.
#define TEXT_FIXED(name, value)                                                                    \
    static size_t name##_show(char *buf, size_t size)                                              \
    {                                                                                              \
        return text_number(buf, size, (value));                                                    \
    }
// The number that a name is, written without leading zeroes; -1: it is none, or above INT32_MAX.
s32 name_to_number(const char *name);

// --- knob.c ---
struct inode *knob_dir_new(struct super *sb);
struct inode *knob_file_new(struct super *sb, const char *name); // NULL: none, or no memory

// --- proc_pid.c ---
int proc_pid_lookup(struct inode *root, const char *name, struct inode **out);
struct process;
// The process whose directory /proc/PID it is, counted; -EBADF: it is no such directory, -ESRCH:
// the process is gone.
int proc_pid_process(const struct inode *dir, struct process **out);

// Linux's encoding of device numbers.
static inline u64 makedev(u32 major, u32 minor)
{
    return ((u64)(major & 0xfffu) << 8) | (minor & 0xffu) | ((u64)(minor & ~0xffu) << 12);
}

#endif
