// Deadlines, for the timed waits of sys_time.c, sys_signal.c and futex.c.
#ifndef KERNEL_TIME_PRIV_H
#define KERNEL_TIME_PRIV_H

#include <k/types.h>
#include <uapi/time.h>

// Read a struct timespec and turn it into a deadline in clock_ns units. absolute: a time on
// `clock`, otherwise a distance from now. A time on CLOCK_REALTIME stays that: the caller sleeps
// with schedule_until_wall. -EFAULT, -EINVAL (not a time, or no such clock).
int deadline_from_user(u64 timespec, int clock, bool absolute, u64 *deadline_ns);

// Clock numbers of other threads and processes become ours (clock_getcpuclockid(3)); -1: not ours.
int clock_decode(s32 clock);

// What settimeofday was given last (kernel/sys_settime.c).
struct uapi_timezone time_zone_get(void);

#endif
