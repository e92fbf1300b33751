// Process groups, sessions and what a terminal needs of them: kernel/jobctl.c.
//
// A session has at most one controlling terminal, and a terminal controls at most one session. Both
// directions are kept here, under the table lock of kernel/proc.c (letter H there). A terminal (a
// tty, the slave side of a pty) embeds one struct job_tty and finds itself with container_of.
//
//     session --tty--> job_tty --session--> session        set together, cleared together
//                      job_tty --fg-------> pgrp           the foreground group, counted
//
// A line discipline works so:
//   open        without O_NOCTTY: job_tty_acquire(j, false), errors ignored
//   read        r = job_tty_may(j, SIGTTIN) before it waits, and after each wait; r < 0: return r
//   write       with TOSTOP set, and ioctls that change the terminal: job_tty_may(j, SIGTTOU)
//   ^C ^\ ^Z    job_tty_signal(j, SIGINT...), from thread context (never from an interrupt)
//   resize      job_tty_signal(j, SIGWINCH)
//   /dev/tty    job_tty_current()
//   hang-up     job_tty_hangup(j, false): the line is gone, the pty's master was closed
//   last close  job_tty_drop(j) before the memory goes
#ifndef JOBCTL_H
#define JOBCTL_H

#include <k/types.h>

struct process;
struct session;
struct pgrp;

struct job_tty {
    struct session *session; // [H] NULL: controls none
    struct pgrp *fg;         // [H] counted; NULL: none
    u64 rdev;                // [I] the device's number, for /proc
    // Count one more use of the terminal; table lock held: no sleep, no lock of a lower rank. It is
    // for job_tty_current: the caller there drops the use again.
    void (*get)(struct job_tty *j);
    // The leader of its session has ended: hang the line up, and drop a use that get() counted.
    // Thread context, no lock held. NULL: the line stays up (a pty, whose end is its master's).
    void (*leader_gone)(struct job_tty *j);
};

// All may be called from thread context with no spinlock held; none sleeps for long.

// TIOCSCTTY: make it the controlling terminal of the caller's session and the caller's group the
// foreground one. 0, also if it is already so; -EPERM: the caller leads no session, that session
// has another terminal, or the terminal another session (steal: take it away from that one).
int job_tty_acquire(struct job_tty *j, bool steal);
// TIOCNOTTY: the caller's session gives it up. A leader: SIGHUP and SIGCONT to the foreground
// group. -ENOTTY: it is not the caller's controlling terminal.
int job_tty_release(struct job_tty *j);
// The line is gone: SIGHUP and SIGCONT to the session's leader; it controls no session afterwards.
// The foreground group hears of it when the leader ends, or (leader_gone) now: SIGHUP.
void job_tty_hangup(struct job_tty *j, bool leader_gone);
// It controls nothing any more, and nobody is told.
void job_tty_drop(struct job_tty *j);

// The caller's controlling terminal, counted by get(); NULL: none (/dev/tty: -ENXIO).
struct job_tty *job_tty_current(void);
// Is it the caller's controlling terminal?
bool job_tty_mine(struct job_tty *j);

// May the caller read from (SIGTTIN) or change (SIGTTOU) it now? 0: it is in the foreground, or the
// terminal is not its controlling one, or (SIGTTOU) it ignores or blocks the signal. -EIO: it
// cannot be stopped (an orphaned group; SIGTTIN ignored or blocked). -ERESTARTSYS: its group was
// sent the signal; return that from the system call.
int job_tty_may(struct job_tty *j, int sig);
// The keyboard: SI_KERNEL to each process of the foreground group.
void job_tty_signal(struct job_tty *j, int sig);

// TIOCGPGRP: the number of the foreground group, 0: none. -ENOTTY: not the caller's terminal,
// unless any one will do (on the master of a pty).
s32 job_tty_fg(struct job_tty *j, bool any);
// TIOCSPGRP, after job_tty_may(j, SIGTTOU). -ENOTTY (not the caller's), -EINVAL (negative), -ESRCH
// (no such group), -EPERM (in another session).
int job_tty_set_fg(struct job_tty *j, s32 pgid);
// TIOCGSID: the session's number; -ENOTTY as above, or if it controls none.
s32 job_tty_sid(struct job_tty *j, bool any);
// For /proc: the device's number and the foreground group of p's controlling terminal; 0 and -1:
// p has none.
void job_tty_look(const struct process *p, u64 *rdev, s32 *fg);

#endif
