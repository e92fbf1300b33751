// System V semaphores in the Linux ABI: semop(2), semctl(2).
#ifndef UAPI_SEM_H
#define UAPI_SEM_H

#include <arch/abi.h>
#include <uapi/ipc.h>

#define SEM_UNDO 010000

#define GETPID       11
#define GETVAL       12
#define GETALL       13
#define GETNCNT      14
#define GETZCNT      15
#define SETVAL       16
#define SETALL       17
#define SEM_STAT     18
#define SEM_INFO     19
#define SEM_STAT_ANY 20

struct uapi_sembuf {
    u16 num;
    s16 op, flags;
};

struct uapi_semid_ds {
    struct uapi_ipc_perm perm;
    s64 otime;
    u64 pad1[ARCH_SEM_TIME_PAD];
    s64 ctime;
    u64 pad2[ARCH_SEM_TIME_PAD];
    u64 nsems, unused[2];
};

struct uapi_seminfo {
    s32 semmap, semmni, semmns, semmnu, semmsl, semopm, semume, semusz, semvmx, semaem;
};

#endif
