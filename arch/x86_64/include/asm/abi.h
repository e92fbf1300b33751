// x86_64: its own values of the Linux ABI of files.
#ifndef ASM_ABI_H
#define ASM_ABI_H

#include <k/types.h>

#define O_DIRECT    00040000
#define O_LARGEFILE 00100000
#define O_DIRECTORY 00200000
#define O_NOFOLLOW  00400000

// struct epoll_event has no padding on this CPU only.
#define ARCH_EPOLL_PACKED __attribute__((packed))

struct uapi_stat {
    u64 st_dev, st_ino, st_nlink;
    u32 st_mode, st_uid, st_gid, pad0;
    u64 st_rdev;
    s64 st_size, st_blksize, st_blocks;
    u64 st_atime_sec, st_atime_nsec, st_mtime_sec, st_mtime_nsec, st_ctime_sec, st_ctime_nsec;
    s64 reserved[3];
};
_Static_assert(sizeof(struct uapi_stat) == 144, "the ABI's size");

// Words behind each time of a semid_ds.
#define ARCH_SEM_TIME_PAD 1

#endif
