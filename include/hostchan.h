// The host channel: a program's standard streams and exit status between the guest and tools/run,
// over COM2. docs/BOOT.md gives the protocol; drivers/hostchan.c implements it.
#ifndef HOSTCHAN_H
#define HOSTCHAN_H

#include <k/types.h>
#include <sched.h>

// The command line says chan=com2, and a port answers there. Constant after hostchan_init.
bool hostchan_present(void);

// After arch_init_late.
void hostchan_init(void);

// Write to the host's stdout (stream 1) or stderr (2). Thread context, sleeps when the host is
// slow; up to 4096 bytes stay in one piece. n, or -EINVAL (stream), -ENODEV (no channel).
ssize_t hostchan_write(int stream, const void *kernel_buf, size_t n);

// Read the host's stdin: waits for at least one byte. 0 at its end, -EINTR when a signal came
// first, -ENODEV. Thread context.
ssize_t hostchan_read(void *kernel_buf, size_t n);

// hostchan_read would not wait. Its changes wake hostchan_waitq().
bool hostchan_readable(void);
struct waitq *hostchan_waitq(void);

// Tell the host the program's exit status and wait (some seconds at most) until it has left. The
// last thing sent. Any context, a panic included: takes no lock it would have to wait for long.
void hostchan_exit_status(int status);

#endif
