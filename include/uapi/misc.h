// The Linux ABI of the smaller system calls.
#ifndef UAPI_MISC_H
#define UAPI_MISC_H

#include <k/types.h>

#define UTS_LEN 65
struct uapi_utsname {
    char sysname[UTS_LEN], nodename[UTS_LEN], release[UTS_LEN], version[UTS_LEN];
    char machine[UTS_LEN], domainname[UTS_LEN];
};

#define RLIMIT_CPU        0
#define RLIMIT_FSIZE      1
#define RLIMIT_DATA       2
#define RLIMIT_STACK      3
#define RLIMIT_CORE       4
#define RLIMIT_RSS        5
#define RLIMIT_NPROC      6
#define RLIMIT_NOFILE     7
#define RLIMIT_MEMLOCK    8
#define RLIMIT_AS         9
#define RLIMIT_LOCKS      10
#define RLIMIT_SIGPENDING 11
#define RLIMIT_MSGQUEUE   12
#define RLIMIT_NICE       13
#define RLIMIT_RTPRIO     14
#define RLIMIT_RTTIME     15
#define RLIM_NLIMITS      16
#define RLIMIT_NOFILE_MAX (1u << 20) // no more than a table can have (fs.nr_open)
#define RLIM_INFINITY     (~0ull)

struct uapi_rlimit {
    u64 cur, max;
};

struct uapi_rusage {
    s64 utime_sec, utime_usec, stime_sec, stime_usec;
    s64 maxrss, ixrss, idrss, isrss, minflt, majflt, nswap, inblock, oublock, msgsnd, msgrcv;
    s64 nsignals, nvcsw, nivcsw;
};
#define RUSAGE_SELF     0
#define RUSAGE_CHILDREN (-1)
#define RUSAGE_THREAD   1

struct uapi_sysinfo {
    s64 uptime;
    u64 loads[3], totalram, freeram, sharedram, bufferram, totalswap, freeswap;
    u16 procs, pad;
    u64 totalhigh, freehigh;
    u32 mem_unit;
};

#define GRND_NONBLOCK 1
#define GRND_RANDOM   2
#define GRND_INSECURE 4

#define REBOOT_MAGIC1        0xfee1deadu
#define REBOOT_MAGIC2        0x28121969u
#define REBOOT_MAGIC2A       0x05121996u
#define REBOOT_MAGIC2B       0x16041998u
#define REBOOT_MAGIC2C       0x20112000u
#define REBOOT_CMD_RESTART   0x01234567u
#define REBOOT_CMD_RESTART2  0xa1b2c3d4u
#define REBOOT_CMD_HALT      0xcdef0123u
#define REBOOT_CMD_POWER_OFF 0x4321fedcu
#define REBOOT_CMD_CAD_ON    0x89abcdefu
#define REBOOT_CMD_CAD_OFF   0x00000000u

#define WNOHANG    1
#define WSTOPPED   2 // wait4: WUNTRACED
#define WEXITED    4
#define WCONTINUED 8
#define WNOWAIT    0x01000000u
#define WNOTHREAD  0x20000000u
#define WALL       0x40000000u
#define WCLONE     0x80000000u

#define P_ALL   0
#define P_PID   1
#define P_PGID  2
#define P_PIDFD 3

#endif
