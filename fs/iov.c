// Vectors of user memory: include/iov.h has the contract.
#include <arch/mmu.h>
#include <arch/uaccess.h>
#include <iov.h>
#include <k/string.h>
#include "fs_priv.h"

struct iov_iter iov_iter_of(const struct uapi_iovec *v, u64 nr, enum iov_way way)
{
    struct iov_iter it = {.v = v, .way = way};
    for (u64 i = 0; i < nr; i++) {
        it.left += v[i].len;
    }
    return it;
}

size_t iov_copy(struct iov_iter *it, u8 *buf, size_t n)
{
    size_t done = 0, failed = 0;
    while (done < n && !failed) {
        if (it->off == it->v->len) {
            it->v++;
            it->off = 0;
            continue;
        }
        void *at = (void *)(it->v->base + it->off);
        size_t some = min(n - done, (size_t)it->v->len - it->off);
        if (it->way == IOV_FROM_KERNEL) {
            memcpy(buf + done, at, some);
        } else if (it->way == IOV_TO_KERNEL) {
            memcpy(at, buf + done, some);
        } else {
            failed = it->way == IOV_TO_USER ? arch_copy_to_user(at, buf + done, some)
                                            : arch_copy_from_user(buf + done, at, some);
        }
        done += some - failed;
        it->off += some - failed;
    }
    it->left -= done;
    return done;
}

int iov_read(u64 user, u64 nr, u64 max_bytes, struct uapi_iovec **out)
{
    struct uapi_iovec *v;
    u64 total = 0;
    *out = NULL;
    if (nr > UIO_MAXIOV) {
        return -EINVAL;
    }
    if (nr == 0) {
        return 0;
    }
    v = kmalloc(nr * sizeof(*v), GFP_KERNEL);
    if (!v) {
        return -ENOMEM;
    }
    if (arch_copy_from_user(v, (const void *)user, nr * sizeof(*v))) {
        kfree(v);
        return -EFAULT;
    }
    for (u64 i = 0; i < nr; i++) {
        if ((s64)v[i].len < 0) {
            kfree(v);
            return -EINVAL;
        }
        v[i].len = min(v[i].len, max_bytes - total);
        total += v[i].len;
    }
    *out = v;
    return 0;
}

int iov_read_own(u64 user, u64 nr, struct uapi_iovec **out)
{
    int err = iov_read(user, nr, RW_MAX, out);
    for (u64 i = 0; !err && i < nr; i++) {
        const struct uapi_iovec *v = &(*out)[i];
        err = v->base > USER_END || v->len > USER_END - v->base ? -EFAULT : 0;
    }
    if (err) {
        kfree(*out);
        *out = NULL;
    }
    return err;
}
