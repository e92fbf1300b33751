// /proc/sys: the settings programs read, and the few that mean something here and may be written.
//
// A limit that is fixed in Faultline shows what it is. Settings of things Faultline lacks show the
// value with which Linux behaves as we do.
#include <arch/smp.h>
#include <k/printk.h>
#include <k/string.h>
#include <mm.h>
#include <page.h>
#include <proc.h>
#include <vma.h>
#include "proc_priv.h"

TEXT_FIXED(zero, 0)
TEXT_FIXED(one, 1)
TEXT_FIXED(pid_max, 1ul << 22)
TEXT_FIXED(threads_max, 1ul << 22)
TEXT_FIXED(ngroups_max, 65536)
TEXT_FIXED(cap_last_cap, 40)
TEXT_FIXED(entropy_avail, 256)
TEXT_FIXED(poolsize, 256)
TEXT_FIXED(shmmax, ~0ul - (1ul << 24))
TEXT_FIXED(shmall, ~0ul - (1ul << 24))
TEXT_FIXED(shmmni, 4096)
TEXT_FIXED(msgmax, 8192)
TEXT_FIXED(msgmnb, 16384)
TEXT_FIXED(msgmni, 32000)
TEXT_FIXED(overflow, 65534)
TEXT_FIXED(hundred, 100)
TEXT_FIXED(overcommit_ratio, 50)
TEXT_FIXED(mmap_min_addr, MMAP_MIN_ADDR)
TEXT_FIXED(nr_open, 1ul << 20)
TEXT_FIXED(file_max, INT64_MAX)

// ---- Names ------------------------------------------------------------------------------------

#define UTS_SHOW(name, field)                                                                      \
    static size_t name##_show(char *buf, size_t size)                                              \
    {                                                                                              \
        struct uapi_utsname u;                                                                     \
        uts_get(&u);                                                                               \
        return text_add(buf, size, 0, "%s\n", u.field);                                            \
    }

UTS_SHOW(ostype, sysname)
UTS_SHOW(osrelease, release)
UTS_SHOW(osversion, version)
UTS_SHOW(hostname, nodename)
UTS_SHOW(domainname, domainname)

static int hostname_store(const char *text)
{
    return uts_set_nodename(text, strlen(text));
}

static int domainname_store(const char *text)
{
    return uts_set_domainname(text, strlen(text));
}

static size_t core_pattern_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "core\n");
}

static size_t sem_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "32000\t1024000000\t500\t32000\n");
}

static size_t printk_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "7\t4\t1\t7\n");
}

// ---- Random numbers with a form -----------------------------------------------------------------

static size_t uuid_text(const u8 *b, char *buf, size_t size)
{
    size_t n = 0;
    for (unsigned i = 0; i < 16; i++) {
        n = text_add(buf, size, n, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
    }
    return text_add(buf, size, n, "\n");
}

// RFC 4122, section 4.4: a random one.
static void uuid_make(u8 *b)
{
    random_bytes(b, 16);
    b[6] = (u8)((b[6] & 0x0f) | 0x40);
    b[8] = (u8)((b[8] & 0x3f) | 0x80);
}

static size_t uuid_show(char *buf, size_t size)
{
    u8 b[16];
    uuid_make(b);
    return uuid_text(b, buf, size);
}

static u8 boot_id[16]; // [I] after boot

static size_t boot_id_show(char *buf, size_t size)
{
    return uuid_text(boot_id, buf, size);
}

// ---- Files --------------------------------------------------------------------------------------

static size_t file_nr_show(char *buf, size_t size)
{
    return text_add(buf, size, 0, "%ld\t0\t%lu\n", file_nr_open(), (unsigned long)INT64_MAX);
}

// Of these a write is taken when it says what is so anyway.
static int zero_store(const char *text)
{
    const char *end;
    u64 v = parse_u64(text, &end);
    return end == text || v ? -EINVAL : 0;
}

static size_t pipe_max_size_show(char *buf, size_t size)
{
    return text_number(buf, size, load_relaxed(&pipe_max_size));
}

static int pipe_max_size_store(const char *text)
{
    const char *end;
    u64 v = parse_u64(text, &end), size = pipe_size_round(v);
    if (end == text || *end || !size) {
        return -EINVAL;
    }
    store_relaxed(&pipe_max_size, (unsigned)size);
    return 0;
}

#define LIMIT_FILE(name)                                                                           \
    static size_t name##_show(char *buf, size_t size)                                              \
    {                                                                                              \
        return text_number(buf, size, load_relaxed(&name));                                        \
    }                                                                                              \
    static int name##_store(const char *text)                                                      \
    {                                                                                              \
        const char *end;                                                                           \
        u64 v = parse_u64(text, &end);                                                             \
        bool good = end != text && !*end && v <= INT32_MAX;                                        \
        if (good) {                                                                                \
            store_relaxed(&name, (unsigned)v);                                                     \
        }                                                                                          \
        return good ? 0 : -EINVAL;                                                                 \
    }
LIMIT_FILE(notify_max_events)
LIMIT_FILE(notify_max_groups)
LIMIT_FILE(notify_max_marks)
LIMIT_FILE(mount_max)
LIMIT_FILE(epoll_max_items)

static size_t dmesg_restrict_show(char *buf, size_t size)
{
    return text_number(buf, size, klog_is_restricted());
}

// Not for who merely owns the file.
static int dmesg_restrict_store(const char *text)
{
    const char *end;
    u64 v = parse_u64(text, &end);
    if (!current_has_cap(CAP_SYS_ADMIN)) {
        return -EPERM;
    }
    if (end == text || *end || v > 1) {
        return -EINVAL;
    }
    klog_restrict(v);
    return 0;
}

// There is nothing to drop: the memory is the files' only home.
static int drop_caches_store(const char *text)
{
    const char *end;
    u64 v = parse_u64(text, &end);
    return end == text || v < 1 || v > 4 ? -EINVAL : 0;
}

void proc_sys_add(struct inode *root)
{
    static const struct leaf leaves[] = {
        {"sys/kernel/ostype", ostype_show, NULL},
        {"sys/kernel/osrelease", osrelease_show, NULL},
        {"sys/kernel/version", osversion_show, NULL},
        {"sys/kernel/hostname", hostname_show, hostname_store},
        {"sys/kernel/domainname", domainname_show, domainname_store},
        {"sys/kernel/pid_max", pid_max_show, NULL},
        {"sys/kernel/threads-max", threads_max_show, NULL},
        {"sys/kernel/ngroups_max", ngroups_max_show, NULL},
        {"sys/kernel/cap_last_cap", cap_last_cap_show, NULL},
        {"sys/kernel/core_pattern", core_pattern_show, NULL},
        {"sys/kernel/core_uses_pid", zero_show, NULL},
        {"sys/kernel/printk", printk_show, NULL},
        {"sys/kernel/dmesg_restrict", dmesg_restrict_show, dmesg_restrict_store},
        {"sys/kernel/randomize_va_space", zero_show, NULL},
        {"sys/kernel/panic", zero_show, NULL},
        {"sys/kernel/tainted", zero_show, NULL},
        {"sys/kernel/overflowuid", overflow_show, NULL},
        {"sys/kernel/overflowgid", overflow_show, NULL},
        {"sys/kernel/random/boot_id", boot_id_show, NULL},
        {"sys/kernel/random/uuid", uuid_show, NULL},
        {"sys/kernel/random/entropy_avail", entropy_avail_show, NULL},
        {"sys/kernel/random/poolsize", poolsize_show, NULL},
        {"sys/kernel/shmmax", shmmax_show, NULL},
        {"sys/kernel/shmall", shmall_show, NULL},
        {"sys/kernel/shmmni", shmmni_show, NULL},
        {"sys/kernel/msgmax", msgmax_show, NULL},
        {"sys/kernel/msgmnb", msgmnb_show, NULL},
        {"sys/kernel/msgmni", msgmni_show, NULL},
        {"sys/kernel/sem", sem_show, NULL},
        {"sys/vm/overcommit_memory", zero_show, zero_store},
        {"sys/vm/overcommit_ratio", overcommit_ratio_show, NULL},
        {"sys/vm/overcommit_kbytes", zero_show, NULL},
        {"sys/vm/mmap_min_addr", mmap_min_addr_show, NULL},
        {"sys/vm/nr_hugepages", zero_show, zero_store},
        {"sys/vm/nr_overcommit_hugepages", zero_show, zero_store},
        {"sys/vm/swappiness", zero_show, zero_store},
        {"sys/vm/drop_caches", zero_show, drop_caches_store},
        {"sys/vm/compact_memory", zero_show, NULL},
        {"sys/vm/panic_on_oom", zero_show, NULL},
        {"sys/vm/oom_kill_allocating_task", one_show, NULL}, // who asks for too much dies
        {"sys/vm/vfs_cache_pressure", hundred_show, NULL},
        {"sys/fs/file-max", file_max_show, NULL},
        {"sys/fs/file-nr", file_nr_show, NULL},
        {"sys/fs/nr_open", nr_open_show, NULL},
        {"sys/fs/inotify/max_queued_events", notify_max_events_show, notify_max_events_store},
        {"sys/fs/inotify/max_user_instances", notify_max_groups_show, notify_max_groups_store},
        {"sys/fs/inotify/max_user_watches", notify_max_marks_show, notify_max_marks_store},
        {"sys/fs/epoll/max_user_watches", epoll_max_items_show, epoll_max_items_store},
        {"sys/fs/mount-max", mount_max_show, mount_max_store},
        {"sys/fs/pipe-max-size", pipe_max_size_show, pipe_max_size_store},
        {"sys/fs/pipe-user-pages-hard", zero_show, zero_store},
        {"sys/fs/pipe-user-pages-soft", zero_show, zero_store},
        {"sys/fs/protected_hardlinks", zero_show, NULL},
        {"sys/fs/protected_symlinks", zero_show, NULL},
        {"sys/fs/suid_dumpable", zero_show, NULL},
    };
    uuid_make(boot_id);
    tree_add_leaves(root, leaves, array_size(leaves));
    struct inode *limit = knob_file_new(root->sb, "max_map_count");
    if (limit) {
        tree_add(root, "sys/vm/max_map_count", limit);
    }
}
