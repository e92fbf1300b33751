// Files: inodes, open files, descriptor tables, path walking. fs/vfs.c tells the theory.
//
// Lock letters: I immutable, a atomic, N the namespace lock (vfs_lock), L the inode's own lock,
// p file->pos_lock. Two letters: either lock is enough to read, both are needed to write.
#ifndef FS_H
#define FS_H

#include <filemap.h>
#include <k/list.h>
#include <k/lock.h>
#include <k/rcu.h>
#include <k/types.h>
#include <uapi/fs.h>

struct dirent_sink;
struct epitem;
struct inode;
struct inode_locks;
struct inode_marks;
struct pollq;
struct vma_ops;
struct waitq;

// Of directories and symbolic links. All but readlink, follow and evict are called with the
// namespace lock held; NULL: the file system has no such thing (-EPERM, or -EINVAL for readlink).
// Names are checked: not empty, not "." or "..", at most NAME_MAX_LEN bytes.
struct inode_ops {
    // *out counted; -ENOENT.
    int (*lookup)(struct inode *dir, const char *name, struct inode **out);
    // The name does not exist. mode has the type: regular, directory, device, or a symbolic link to
    // target. *out counted.
    int (*create)(struct inode *dir, const char *name, u32 mode, u64 rdev, const char *target,
                  struct inode **out);
    int (*link)(struct inode *dir, const char *name, struct inode *inode); // name does not exist
    // inode is what name stands for; the caller has checked its type, that it is no mount point
    // and, if it is a directory, that it is empty.
    int (*unlink)(struct inode *dir, const char *name, struct inode *inode);
    // Move inode from name to name2, replacing `victim` (NULL: name2 does not exist). whiteout: a
    // character device 0:0 is left in its place.
    int (*rename)(struct inode *dir, const char *name, struct inode *inode, struct inode *dir2,
                  const char *name2, struct inode *victim, bool whiteout);
    // The two names stand for each other's inode from now on.
    int (*exchange)(struct inode *dir, const char *name, struct inode *inode, struct inode *dir2,
                    const char *name2, struct inode *inode2);
    bool (*is_empty)(struct inode *dir);
    // Emit entries from cookie *pos on until the sink refuses; *pos is where to go on. The caller
    // emits "." and ".." (cookies 0 and 1).
    void (*readdir)(struct inode *dir, u64 *pos, struct dirent_sink *sink);
    // The target with a NUL; bytes without it, or errno.
    ssize_t (*readlink)(struct inode *link, char *buf, size_t size);
    // A link that stands for a file and not for a path: *out counted. Instead of readlink in
    // look-ups. *via: the open file it is, counted; stays NULL if it is none.
    int (*follow)(struct inode *link, struct inode **out, struct file **via);
    // The last reference is gone: free what private owns. No lock held, none to be taken but
    // spinlocks (a writer of an address space may drop the last reference).
    void (*evict)(struct inode *);
};

// One mounted file system.
struct super {
    const char *type;                                     // [I] "tmpfs"
    char *source;                                         // [I] what mount was told; NULL: nothing
    u32 dev;                                              // [I] st_dev
    bool incomplete;                                      // while it is made: no memory
    bool pinned;                                          // [I] never to be unmounted
    struct inode *root;                                   // [N] counted as covered->mounted
    struct inode *covered;                                // [N] not counted; NULL: the first mount
    atomic_uint flags;                                    // [a] MS_*, written under N
    atomic_uint writers;                                  // [a] regular files open for writing
    atomic_ulong nr_inodes;                               // [a] more of them only under N
    atomic_ulong nr_links;                                // [a] names but the first; written: N
    atomic_ulong limit_inodes;                            // [a] 0: none; written under N
    u32 first_mode, first_uid, first_gid;                 // [I] tmpfs: of the root when mounted
    u64 limit_pages, charged_pages;                       // fs/tmpfs.c: charge_lock; 0: no limit
    u32 magic;                                            // [I] statfs
    void (*statfs)(struct super *, struct uapi_statfs *); // [I] may be NULL
    // [I] What /proc/mounts shows behind the flags, as text_add; NULL: nothing.
    size_t (*options)(const struct super *, char *buf, size_t size, size_t n);
    struct inode *(*make_file)(struct super *, u32 mode); // [I] a regular file; NULL: no memory
    struct list link;                                     // [N] all of them, the oldest first
    struct super *stack; // [N] of mounts on each other's roots the first; alone: itself
    unsigned level;      // [N] how many of them are below it
    struct inode *top;   // [N] of the first: the root of the last one
    unsigned nr_inside;  // [N] mounts on what is in it
    bool leaving;        // [N] while a tree of mounts is taken away
};

struct inode {
    atomic_int ref;     // [a] each directory entry, open file, child directory and user holds one
    atomic_uint notify; // [a] NOTIFY_*: somebody watches; fs/notify.c
    atomic_int writers; // [a] regular files: opened by path to be written; below 0: programs run
    u32 mode;           // [L] S_IFMT (fixed) | permissions
    atomic_uint nlink;  // [a] written under N; 0: removed
    u32 uid, gid;       // [L]
    u64 ino, rdev;      // [I]
    struct super *sb;   // [I]
    s64 btime_ns;       // [I] when it was made, by the wall clock: since 1970, or before
    _Atomic s64 atime_ns, mtime_ns, ctime_ns; // [a] wall clock
    const struct inode_ops *ops;              // [I] NULL: neither directory nor link
    const struct file_ops *fops;              // [I] for files opened on it
    struct mutex lock;                        // RANK_INODE
    struct mapping mapping;                   // regular files: the page cache and the size
    struct inode *mounted;     // [N] a directory covered by a mount: its root, counted
    bool is_root;              // [N] the root of a mount
    struct inode_marks *marks; // [notify_lock] who watches; NULL: nobody
    u32 scan;                  // [N] of the last count of its tree: fs/ramdir.c
    bool linkable;             // [N] made without a name (O_TMPFILE), and may be given one
    struct inode *parent;      // [N] directories: counted; the root's is itself, not counted
    char *name;                // [N] directories: the name in parent; NULL: a root of its own
    _Atomic(struct inode_locks *) locks; // [a] set once; fs/filelock.c
    atomic_uint seals;                   // [a] F_SEAL_*, written under L, i_mmap_lock; fs/memfd.c
    void *private;                       // the file system's
    u64 data;                            // [I] the file system's
};

struct file_ops {
    // Bytes moved or errno. *pos is the position, to be advanced; nothing for streams. pos_lock is
    // held for regular files and directories (read, write) or *pos is the caller's own (pread).
    ssize_t (*read)(struct file *, void *user_buf, size_t n, u64 *pos);
    ssize_t (*write)(struct file *, const void *user_buf, size_t n, u64 *pos);
    // POLL* bits ready now; if pt is not NULL, first give the file's wait queues to poll_wait,
    // always the same ones in the same order. NULL: always ready.
    unsigned (*poll)(struct file *, struct pollq *pt);
    s64 (*ioctl)(struct file *, unsigned cmd, u64 arg); // -ENOTTY for unknown ones
    int (*open)(struct inode *, struct file *);
    void (*release)(struct file *);
    // mmap: 0 and the ops to use in *ops (NULL there: map as anonymous memory, /dev/zero), or
    // -ENODEV.
    int (*mmap)(struct file *, const struct vma_ops **ops);
    int (*fallocate)(struct file *, int mode, u64 offset, u64 len); // ranges are checked
    int (*truncate)(struct inode *, u64 size);                      // inode->lock is not held
    // Optional, for readv and writev where the pieces belong together (a datagram). nowait: -EAGAIN
    // rather than a sleep for another's doing, whatever O_NONBLOCK says.
    ssize_t (*readv)(struct file *, const struct uapi_iovec *v, u64 nr, bool nowait);
    ssize_t (*writev)(struct file *, const struct uapi_iovec *v, u64 nr, bool nowait);
    // Optional: write from kernel memory, for sendfile. pos_lock is not held; *pos is the caller's.
    ssize_t (*write_kernel)(struct file *, const void *buf, size_t n, u64 *pos);
    // Optional, for what has places but no position: SEEK_*.
    s64 (*seek)(struct file *, s64 offset, unsigned whence);
    bool stream;     // no position: lseek, pread and pwrite say -ESPIPE
    bool seek_stays; // but lseek says 0, as Linux has it for eventfd and its kin
    bool in_memory;  // read and write wait for nobody: RWF_NOWAIT changes nothing
    bool holes;      // what has no page in the cache is zeros: SEEK_DATA and SEEK_HOLE tell
};

struct file {
    atomic_int ref;
    atomic_uint flags;                // [a] O_*; what fcntl sets may change
    const struct file_ops *ops;       // [I]
    struct inode *inode;              // [I] counted
    struct mapping *mapping;          // [I] of the inode, NULL if it has no page cache
    struct mutex pos_lock;            // RANK_FILE_POS
    u64 pos;                          // [p]
    void *private;                    // the file system's
    struct inode *dir;                // [I] counted: where it was found, or (O_TMPFILE) made
    char *path;                       // [I] when opened, for /proc; NULL: unknown
    bool writes;                      // [I] counted in inode->writers
    struct rcu_head rcu;              // fd_get looks at files that are being freed
    struct file *later;               // file_put_later's chain
    _Atomic(struct epitem *) watched; // [a] epolls that watch it; fs/epoll.c
};

// May its bytes be run? Not on a file system mounted with noexec.
static inline bool file_may_run(const struct file *f)
{
    return !(load_relaxed(&f->inode->sb->flags) & MS_NOEXEC);
}

static inline struct file *file_get(struct file *f)
{
    fetch_add_relaxed(&f->ref, 1);
    return f;
}
void file_put(struct file *f); // the last put calls release; may sleep
// The same where sleeping is not allowed (RCU callbacks, under an address space's lock): a last put
// is done by a kernel thread soon after. fs/file_later.c.
void file_put_later(struct file *f);
// Have that thread call fn, once, when nothing waits to be put any more. It may sleep. There is one
// fn: the collector of unix sockets.
void file_put_then(void (*fn)(void));
// Wait until the files are put that were handed over before.
void file_put_flush(void);
// Wait until nothing is handed over any more, be it by one of them; for tests. -EINTR.
int file_put_settle(void);
void file_put_later_init(void);
long file_nr_open(void); // for leak tests

static inline struct inode *inode_get(struct inode *i)
{
    fetch_add_relaxed(&i->ref, 1);
    return i;
}
void inode_put(struct inode *i); // the last put frees; may sleep

struct files;                     // a descriptor table (fs/fdtable.c)
struct files *files_create(void); // NULL: no memory
struct files *files_get(struct files *f);
void files_put(struct files *f); // the last one closes everything; may sleep
// fork: a table of its own with the same open files. -ENOMEM.
int files_copy(struct files *from, struct files **out);
bool files_are_shared(struct files *f); // by processes (or somebody looks at it)
// The file behind a descriptor of the current process; counted; NULL: EBADF. No lock. A file opened
// with O_PATH is for fd_get_path only.
struct file *fd_get(int fd);
struct file *fd_get_path(int fd);
// Takes over the reference, also on error; fd_flags: O_CLOEXEC or 0. The descriptor or -EMFILE,
// -ENOMEM. May sleep.
int fd_install(struct file *f, u32 fd_flags);
// The same in two steps, for what must not be lost when there is no room: a descriptor that nobody
// else gets and that is not open yet (-EMFILE, -ENOMEM), and f in its place; NULL: it is free.
int fd_reserve(void);
void fd_fill(int fd, struct file *f, u32 fd_flags);
void files_close_on_exec(struct files *f);
// Of any table the caller knows to stay: the file behind a descriptor, counted, or NULL; the first
// open one of a thousand from *fd on: 1 with it in *fd and its file, counted, in *out, 0 with where
// to go on in *fd, -1 at the end of the table; O_CLOEXEC or 0 (sleeps). The first two take no lock.
struct file *files_get_file(struct files *t, int fd);
int files_next(struct files *t, int *fd, struct file **out);
u32 files_fd_flags(struct files *t, int fd);

struct inode *vfs_root_get(void); // the root of all paths, counted

void vfs_init(void); // boot: caches and mounts; after mm_init and the drivers
// The initramfs (cpio "newc") into the root. 0, or errno after a clear message; what was good is
// kept.
// used (may be NULL) hears, from time to time, that the first `upto` bytes will not be read again.
int cpio_unpack(const void *data, size_t len, void (*used)(size_t upto));
void tmpfs_set_room(void); // boot: the initramfs is unpacked and its memory given back

// Open by path. flags O_*. 0 or errno; *out counted. Relative to the current process's directory.
// May sleep; no lock held.
int vfs_open(const char *path, unsigned flags, u32 mode, struct file **out);
// execveat: a program below dirfd (AT_FDCWD), or, with AT_EMPTY_PATH and "", the one that is open
// there; AT_SYMLINK_NOFOLLOW: -ELOOP for a link. cloexec (may be NULL): dirfd is close-on-exec.
// -EACCES unless it is a regular file with an x bit; -ETXTBSY: it is open for writing. Until
// program_put nobody will open it so. *out counted.
int vfs_open_exec(int dirfd, const char *path, unsigned flags, struct file **out, bool *cloexec);
// A file of vfs_open_exec once more, and no more.
struct file *program_get(struct file *f);
void program_put(struct file *f); // may sleep
// Read from a file with a page cache into kernel memory: bytes (short at the end), or errno.
ssize_t file_read_kernel(struct file *f, u64 pos, void *buf, size_t n);
// Descriptors 0, 1, 2 for the first process: the host channel's three streams or the console.
int fs_open_stdio(struct files *files);

// An unlinked tmpfs file of size_bytes, opened read-write: what MAP_SHARED|MAP_ANONYMOUS maps. 0 or
// -ENOMEM; *out counted.
int shmem_file_create(u64 size_bytes, struct file **out);
struct inode *shmem_inode_new(u32 mode); // the same, not yet opened; NULL: no memory

// Files of the kernel with generated text: /proc/faultline/NAME. show returns bytes; store (NULL:
// read only) gets the text without its newline and returns 0 or errno. Both may sleep and run in
// several threads at a time. Registration is for boot, at any time of it; name is a literal.
void knob_register(const char *name, size_t (*show)(char *buf, size_t size),
                   int (*store)(const char *text));

extern const struct file_ops kmsg_fops; // /dev/kmsg: kernel/kmsg.c

// For file_ops.poll: let the poller wait on q as well (fs/poll.c).
void poll_wait(struct pollq *pt, struct waitq *q);

// Make a node (a socket's name) at an absolute path or one relative to the current directory; mode
// has the type, the umask is not applied. *out counted. -EEXIST and others. May sleep.
int vfs_make_node(const char *path, u32 mode, struct inode **out);
// May the current process do that to an inode? 0, -EACCES, or -EROFS. Neither sleeps nor takes a
// lock but proc->lock. fs/perm.c.
#define MAY_EXEC  1u // of a directory: look names up in it
#define MAY_WRITE 2u
#define MAY_READ  4u
int inode_permission(const struct inode *i, unsigned may);
struct exec_ids;
// Whom a program acts as by its set-user-ID and set-group-ID bits. Takes the inode's lock.
void file_exec_ids(struct file *f, struct exec_ids *out);
// What a path leads to, links followed; *out counted. May sleep.
int vfs_find(const char *path, struct inode **out);
// An open file on a socket's own inode, of a file system nobody mounts. 0 or -ENOMEM.
int sock_file_open(const struct file_ops *ops, unsigned flags, void *private, struct file **out);

// Open an inode (a reference is taken) with these operations instead of its own, and f->private
// set. path: allocated, taken over, may be NULL. release is not called if this fails. -ENOMEM;
// *out counted.
int file_open_ops(struct inode *inode, const struct file_ops *ops, unsigned flags, char *path,
                  void *private, struct file **out);

// An open file that no path leads to: eventfd and its kin. name, a literal, is what /proc shows.
// private is what release finds in f->private. 0 or -ENOMEM; *out counted. May sleep.
int anon_file_open(const char *name, const struct file_ops *ops, unsigned flags, void *private,
                   struct file **out);
// The same, and a descriptor for it. flags: O_* with O_CLOEXEC and O_NONBLOCK. The descriptor, or
// -ENOMEM, -EMFILE; private is freed, by undo if no file was made of it, else by its release.
s64 anon_fd_open(const char *name, const struct file_ops *ops, unsigned flags, void *private,
                 void (*undo)(void *));

// The system calls of files are in fs/sys_*.c; include/syscalls.h declares them from syscalls.def.

#endif
