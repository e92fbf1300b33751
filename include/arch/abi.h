// The contract with a CPU, 9: where the Linux ABI of files differs between CPUs.
//
// <asm/abi.h> gives O_DIRECT, O_LARGEFILE, O_DIRECTORY, O_NOFOLLOW and struct uapi_stat.
#ifndef ARCH_ABI_H
#define ARCH_ABI_H

#include <k/types.h>

#include <asm/abi.h>

#endif
