// The contract with a CPU, 9: where the Linux ABI of files differs between CPUs.
//
// <asm/abi.h> gives O_DIRECT, O_LARGEFILE, O_DIRECTORY, O_NOFOLLOW, struct uapi_stat, and
// ARCH_EPOLL_PACKED (the attribute of struct epoll_event), and ARCH_SEM_TIME_PAD (words behind each
// time of struct semid_ds).
#ifndef ARCH_ABI_H
#define ARCH_ABI_H

#include <k/types.h>

#include <asm/abi.h>

#endif
