// User memory: check the range, then let uaccess.S do the access. The range check is what makes the
// exception table safe, see trap.c.
#include <arch/mmu.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <san.h>

// uaccess.S
size_t user_copy(void *dst, const void *src, size_t n);
size_t user_clear(void *dst, size_t n);
ssize_t user_strncpy(char *dst, const char *src, size_t max);
int user_load32(const u32 *addr, u32 *out);
int user_load32_nofault(const u32 *addr, u32 *out);
int user_cas32(u32 *addr, u32 *expected, u32 desired);

static bool range_is_user(const void *p, size_t n)
{
    return n <= USER_END && (u64)p <= USER_END - n;
}

size_t arch_copy_from_user(void *dst, const void *user_src, size_t n)
{
    kasan_check(dst, n, true);
    return range_is_user(user_src, n) ? user_copy(dst, user_src, n) : n;
}

size_t arch_copy_to_user(void *user_dst, const void *src, size_t n)
{
    kasan_check(src, n, false);
    return range_is_user(user_dst, n) ? user_copy(user_dst, src, n) : n;
}

size_t arch_clear_user(void *user_dst, size_t n)
{
    return range_is_user(user_dst, n) ? user_clear(user_dst, n) : n;
}

ssize_t arch_strncpy_from_user(char *dst, const char *user_src, size_t max)
{
    if ((u64)user_src >= USER_END) {
        return -EFAULT;
    }
    size_t room = min(max, USER_END - (u64)user_src);
    ssize_t len = user_strncpy(dst, user_src, room);
    return len == (ssize_t)room && room < max ? -EFAULT : len;
}

int arch_user_load32(const u32 *user_addr, u32 *out)
{
    return range_is_user(user_addr, sizeof(*out)) ? user_load32(user_addr, out) : -EFAULT;
}

int arch_user_load32_nofault(const u32 *user_addr, u32 *out)
{
    return range_is_user(user_addr, sizeof(*out)) ? user_load32_nofault(user_addr, out) : -EFAULT;
}

int arch_user_cas32(u32 *user_addr, u32 *expected, u32 desired)
{
    bool ok = range_is_user(user_addr, sizeof(desired));
    return ok ? user_cas32(user_addr, expected, desired) : -EFAULT;
}
