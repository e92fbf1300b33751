// Robust futexes: the list of mutexes a dying thread still holds, in user memory and therefore
// hostile: cyclic, misaligned, anywhere. Each word with our tid gets FUTEX_OWNER_DIED and one
// waiter is woken. The walk ends at the head, at the first bad address, or after ROBUST_LIST_LIMIT
// entries.
#include <arch/uaccess.h>
#include <k/errno.h>
#include <proc.h>
#include <syscalls.h>
#include <uapi/futex.h>

static int user_load64(u64 uaddr, u64 *out)
{
    return arch_copy_from_user(out, (const void *)uaddr, sizeof(*out)) ? -EFAULT : 0;
}

// pending: the thread may have died between unlocking the word and taking it off its list, so
// waiters could be left although the word is free.
static int robust_release(u64 uaddr, s32 tid, bool pending, bool pi)
{
    u32 word, seen;

    if ((uaddr & 3) || arch_user_load32((const u32 *)uaddr, &word)) {
        return -EFAULT;
    }
    if (pending && !pi && word == 0) {
        futex_wake_user(uaddr, false, 1);
        return 0;
    }
    while ((word & FUTEX_TID_MASK) == (u32)tid) {
        seen = word;
        if (arch_user_cas32((u32 *)uaddr, &seen, (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED)) {
            return -EFAULT;
        }
        if (seen == word) {
            if (!pi && (word & FUTEX_WAITERS)) {
                futex_wake_user(uaddr, false, 1);
            }
            break;
        }
        word = seen;
    }
    return 0;
}

void futex_exit_robust(u64 head, s32 tid)
{
    struct uapi_robust_list_head h;
    u64 entry, next;

    if (arch_copy_from_user(&h, (const void *)head, sizeof(h))) {
        return;
    }
    entry = h.next;
    for (unsigned n = 0; n < ROBUST_LIST_LIMIT && (entry & ~1ull) != head; n++) {
        int err = user_load64(entry & ~1ull, &next); // before the release: it may be freed then

        if ((entry & ~1ull) != (h.pending & ~1ull) &&
            robust_release((entry & ~1ull) + (u64)h.futex_offset, tid, false, entry & 1)) {
            return;
        }
        if (err) {
            return;
        }
        entry = next;
    }
    if (h.pending & ~1ull) {
        robust_release((h.pending & ~1ull) + (u64)h.futex_offset, tid, true, h.pending & 1);
    }
}

s64 sys_set_robust_list(const u64 *a)
{
    if (a[1] != sizeof(struct uapi_robust_list_head)) {
        return -EINVAL;
    }
    current_task()->robust_list = a[0];
    return 0;
}

s64 sys_get_robust_list(const u64 *a)
{
    struct task_ext *t = current_task();
    u64 size = sizeof(struct uapi_robust_list_head);
    u64 head = t->robust_list;

    if ((s32)a[0] != 0 && (s32)a[0] != t->tid) {
        return syscall_missing("get_robust_list of another thread", -EPERM);
    }
    if (arch_copy_to_user((void *)a[2], &size, sizeof(size)) ||
        arch_copy_to_user((void *)a[1], &head, sizeof(head))) {
        return -EFAULT;
    }
    return 0;
}
