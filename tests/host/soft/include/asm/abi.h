// The soft machine: x86_64's values; no host test reads a struct of this ABI.
#ifndef ASM_ABI_H
#define ASM_ABI_H

#include <k/types.h>

#define O_DIRECT    00040000
#define O_LARGEFILE 00100000
#define O_DIRECTORY 00200000
#define O_NOFOLLOW  00400000

struct uapi_stat {
    u64 st_dev, st_ino, st_nlink;
};

// Words behind each time of a semid_ds.
#define ARCH_SEM_TIME_PAD 1

#endif
