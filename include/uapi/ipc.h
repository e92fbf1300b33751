// System V IPC in the Linux ABI: svipc(7), shmctl(2).
#ifndef UAPI_IPC_H
#define UAPI_IPC_H

#include <k/types.h>

#define IPC_PRIVATE 0
#define IPC_CREAT   01000
#define IPC_EXCL    02000
#define IPC_NOWAIT  04000

#define IPC_RMID 0
#define IPC_SET  1
#define IPC_STAT 2
#define IPC_INFO 3

#define SHM_LOCK     11
#define SHM_UNLOCK   12
#define SHM_STAT     13
#define SHM_INFO     14
#define SHM_STAT_ANY 15

#define SHM_HUGETLB   04000
#define SHM_NORESERVE 010000

#define SHM_RDONLY 010000
#define SHM_RND    020000
#define SHM_REMAP  040000
#define SHM_EXEC   0100000

#define SHM_DEST   01000 // in the mode
#define SHM_LOCKED 02000

struct uapi_ipc_perm {
    s32 key;
    u32 uid, gid, cuid, cgid, mode;
    u16 seq, pad;
    u32 pad2;
    u64 unused[2];
};

struct uapi_shmid_ds {
    struct uapi_ipc_perm perm;
    u64 segsz;
    s64 atime, dtime, ctime;
    s32 cpid, lpid;
    u64 nattch, unused[2];
};

struct uapi_shminfo {
    u64 shmmax, shmmin, shmmni, shmseg, shmall, unused[4];
};

struct uapi_shm_info {
    s32 used_ids, pad;
    u64 shm_tot, shm_rss, shm_swp, swap_attempts, swap_successes;
};

#endif
