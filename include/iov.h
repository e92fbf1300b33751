// The pieces of memory of one call: readv, writev, sendmsg and all that end in them. fs/iov.c.
#ifndef IOV_H
#define IOV_H

#include <k/types.h>
#include <uapi/fs.h>

#define RW_MAX 0x7ffff000ul // bytes a call moves at most, as on Linux

enum iov_way { IOV_TO_USER, IOV_TO_KERNEL, IOV_FROM_USER, IOV_FROM_KERNEL };

struct iov_iter {
    const struct uapi_iovec *v; // the piece we are in
    size_t off;                 // in it
    size_t left;                // bytes to go, in it and those after it
    enum iov_way way;
};

// The pieces, which must stay: nr of them, RW_MAX bytes at most (iov_read_own sees to it).
struct iov_iter iov_iter_of(const struct uapi_iovec *v, u64 nr, enum iov_way way);
// Copy n bytes, not more than are to go, between buf and the pieces; how many went, fewer than n: a
// bad address. May sleep.
size_t iov_copy(struct iov_iter *it, u8 *buf, size_t n);
// A vector of user memory in kernel memory, to be kfree'd; NULL if nr is 0. What is beyond
// max_bytes is cut off. readv(2): -EINVAL (more than UIO_MAXIOV, or a negative length), -EFAULT,
// -ENOMEM. May sleep.
int iov_read(u64 user, u64 nr, u64 max_bytes, struct uapi_iovec **out);
// One of pieces of the caller's own memory, RW_MAX bytes at most; -EFAULT also if one of them could
// not be user memory.
int iov_read_own(u64 user, u64 nr, struct uapi_iovec **out);

#endif
