// System V messages in the Linux ABI: msgop(2), msgctl(2).
#ifndef UAPI_MSG_H
#define UAPI_MSG_H

#include <uapi/ipc.h>

#define MSG_NOERROR 010000
#define MSG_EXCEPT  020000
#define MSG_COPY    040000

#define MSG_STAT     11
#define MSG_INFO     12
#define MSG_STAT_ANY 13

struct uapi_msqid_ds {
    struct uapi_ipc_perm perm;
    s64 stime, rtime, ctime;
    u64 cbytes, qnum, qbytes;
    s32 lspid, lrpid;
    u64 unused[2];
};

struct uapi_msginfo {
    s32 msgpool, msgmap, msgmax, msgmnb, msgmni, msgssz, msgtql;
    u16 msgseg;
};

#endif
