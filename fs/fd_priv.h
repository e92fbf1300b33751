// Descriptors: what the system calls use beyond fs.h.
#ifndef FD_PRIV_H
#define FD_PRIV_H

#include "fs_priv.h"

// All take over the reference to f, also on error; fd_flags: O_CLOEXEC or 0.
int files_install(struct files *t, struct file *f, unsigned lowest, u32 fd_flags);
// Into this descriptor; what was open there is closed. fd, -EBADF (above the limit), -EBUSY
// (reserved), -ENOMEM.
int fd_replace(int fd, struct file *f, u32 fd_flags);
int fd_close(int fd); // 0 or -EBADF
// The close-on-exec flag, 0 or 1, before it was set to `set` (negative: left alone). -EBADF.
int fd_cloexec(int fd, int set);
// ---- filelock.c
s64 file_fcntl_lock(struct file *f, int fd, unsigned cmd, u64 user);
void locks_fd_closed(struct files *t, struct file *f); // a descriptor of t was closed

// ---- memfd.c
s64 memfd_fcntl(struct file *f, unsigned cmd, u64 arg);

// No descriptor from this one on is open in the current process.
unsigned fd_table_size(void);

#endif
