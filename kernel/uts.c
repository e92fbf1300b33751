// The names of the machine: uname, sethostname, setdomainname, and /proc/sys/kernel.
#include <arch/abi.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/lock.h>
#include <k/string.h>
#include <proc.h>
#include <syscalls.h>

static struct spinlock uts_lock = SPINLOCK_INIT(RANK_SPIN_MISC);
static struct uapi_utsname uts = {
    // [uts_lock] nodename and domainname; the rest never changes
    .sysname = "Linux", // the ABI we speak: programs and their libraries look here
    .nodename = "faultline",  .release = "6.1.0-faultline", .version = "#1 SMP Faultline",
    .machine = ARCH_PLATFORM, .domainname = "(none)",
};

void uts_get(struct uapi_utsname *out)
{
    spin_lock(&uts_lock);
    *out = uts;
    spin_unlock(&uts_lock);
}

static int uts_set(char *field, const char *name, size_t len)
{
    if (len >= UTS_LEN) {
        return -EINVAL;
    }
    spin_lock(&uts_lock);
    memset(field, 0, UTS_LEN);
    memcpy(field, name, len);
    spin_unlock(&uts_lock);
    return 0;
}

int uts_set_nodename(const char *name, size_t len)
{
    return uts_set(uts.nodename, name, len);
}

int uts_set_domainname(const char *name, size_t len)
{
    return uts_set(uts.domainname, name, len);
}

s64 sys_uname(const u64 *a)
{
    struct uapi_utsname u;

    uts_get(&u);
    return arch_copy_to_user((void *)a[0], &u, sizeof(u)) ? -EFAULT : 0;
}

static s64 name_from_user(const u64 *a, int (*set)(const char *, size_t))
{
    char name[UTS_LEN];

    if (!current_has_cap(CAP_SYS_ADMIN)) {
        return -EPERM;
    }
    if ((s32)a[1] < 0 || a[1] >= UTS_LEN) {
        return -EINVAL;
    }
    return arch_copy_from_user(name, (const void *)a[0], a[1]) ? -EFAULT : set(name, a[1]);
}

s64 sys_sethostname(const u64 *a)
{
    return name_from_user(a, uts_set_nodename);
}

s64 sys_setdomainname(const u64 *a)
{
    return name_from_user(a, uts_set_domainname);
}
