// What the system calls of sockets share.
#ifndef NET_SYS_NET_H
#define NET_SYS_NET_H

#include "usock.h"

int fd_close(int fd); // fs/fd_priv.h's

// A sockaddr from user memory; what is longer than ours is cut. -EFAULT, -EINVAL.
int sockaddr_read(u64 user, s32 len, struct uapi_sockaddr_un *sa);
// As much of an address as fits into *user_len bytes; its length into *user_len. -EFAULT, -EINVAL.
int sockaddr_write(const struct uname *n, u64 user, u64 user_len);

// A call whose first argument is a socket: fn has it, and all the arguments. Returns
// what fn says, or -EBADF, -ENOTSOCK.
typedef s64 (*socket_fn)(struct file *f, struct usock *s, const u64 *a);
s64 socket_call(const u64 *a, socket_fn fn);

#endif
