// Terminals: the line discipline between a device and the programs that have it open. fs/tty.c
// tells the theory; termios(3) and tty_ioctl(2) what is promised to programs.
//
// Lock letters: I immutable, a atomic, n in_lock, o out_lock, H the table lock of kernel/proc.c.
// Two letters: either lock is enough to read, both are needed to write.
#ifndef TTY_H
#define TTY_H

#include <jobctl.h>
#include <k/lock.h>
#include <k/types.h>
#include <sched.h>
#include <uapi/termios.h>

struct file;
struct inode;
struct tty;

#define TTY_CELLS      4096u // a power of two: bytes typed and not yet read
#define TTY_ECHO       1024u // a power of two: echoed bytes the device has not taken yet
#define TTY_ROOM_GREAT 4096u // what room() of a device says that takes everything

// What a device gives. The functions are called with out_lock held and may sleep.
struct tty_driver {
    size_t (*room)(struct tty *t);                         // bytes write() takes now
    void (*write)(struct tty *t, const u8 *buf, size_t n); // n <= room()
    void (*drain)(struct tty *t);                          // NULL: nothing waits. No lock held.
    void (*discard)(struct tty *t);                        // NULL: nothing waits
    void (*event)(struct tty *t, unsigned pkt);            // TIOCPKT_*; NULL: nobody listens
    s64 (*ioctl)(struct tty *t, unsigned cmd, u64 arg);    // NULL; -ENOTTY. No lock held.
    void (*last_close)(struct tty *t);                     // NULL. No lock held.
    void (*free)(struct tty *t);                           // the last use is gone; NULL: static
};

struct tty {
    struct job_tty job;
    const struct tty_driver *drv; // [I]
    atomic_int ref;               // [a] files, the device's own use, job_tty_current's
    int nr_open;                  // [n] files
    atomic_uint nr_hangups;       // [a] a file opened before the last one is dead
    atomic_bool gone;             // [a] the other end is closed for good (a pty)
    atomic_bool exclusive;        // [a] TIOCEXCL; the last close takes it back, under n

    struct mutex in_lock;        // RANK_TTY_IN
    struct uapi_termios termios; // [n,o]
    struct uapi_termios pinned;  // [n,o] bits and bytes of it that stay (TIOCSLCKTRMIOS)
    struct uapi_winsize winsize; // [n]
    // Free-running: [tail, line) complete lines, [line, head) what is being edited. Without ICANON
    // all of [tail, head) is for readers.
    u32 head, line, tail;    // [n]
    bool literal;            // [n] the next byte has no meaning (after ^V)
    bool erasing;            // [n] ECHOPRT: between the backslash and the slash
    unsigned line_column;    // [n] where the echo of the line being edited began
    atomic_uint nr_readable; // [a] bytes a reader may have now; written under n
    atomic_uint nr_typed;    // [a] head - tail; written under n
    u16 cell[TTY_CELLS];     // [n] a byte, and CELL_*
    struct waitq readers;    // nr_readable grew, or a hang-up
    struct waitq typists;    // there is room for input again

    struct mutex out_lock;    // RANK_TTY_OUT, inside in_lock
    unsigned column;          // [o]
    u32 echo_head, echo_tail; // [o]
    u8 echo[TTY_ECHO];        // [o]
    atomic_bool stopped;      // [a] by ^S; written under o
    struct waitq writers;     // the device has room again, ^Q, or a hang-up
};

// Fill in what is the same for all: usual settings, ref 1. cflag: the speed and the like.
void tty_init(struct tty *t, const struct tty_driver *drv, u64 rdev, u32 cflag);
struct tty *tty_get(struct tty *t);
void tty_put(struct tty *t); // thread context, no lock held; may free

// --- For devices

// Bytes have arrived. Thread context, may sleep for locks and for the device's output, never for a
// reader: returns how many were taken, fewer than n when the buffer is full. To wait for room:
// waitq_wait_signal(&t->typists, tty_has_room(t)).
size_t tty_receive(struct tty *t, const u8 *buf, size_t n);
bool tty_has_room(struct tty *t);
// The device takes bytes again. Thread context, out_lock not held.
void tty_wake_writers(struct tty *t);
// The line is gone: files open now are dead (but for the console's), SIGHUP. leader_gone: because
// of the end of the session's leader. Thread context, no lock held.
void tty_hangup(struct tty *t, bool leader_gone);
void tty_set_winsize(struct tty *t, const struct uapi_winsize *w); // SIGWINCH if it is another

// --- Files on terminals (fs/tty.c)

// file_ops.open of a terminal device: f becomes a file on t, whose use is taken over. console: it
// is /dev/console or the like, which never becomes the controlling terminal. 0, -EBUSY (TIOCEXCL),
// -EIO (gone), -ENOMEM.
int tty_open_file(struct tty *t, struct file *f, bool console);
struct tty *tty_of_file(struct file *f); // not counted; NULL: f is no terminal
s64 tty_ioctl_common(struct tty *t, struct file *f, unsigned cmd, u64 arg);
void tty_drain_and_flush(struct tty *t, bool in, bool out);
extern const struct file_ops tty_fops;

// --- The discipline's halves (fs/tty_line.c, fs/tty_out.c)

#define CELL_END 0x100u // ends a line for readers
#define CELL_EOF 0x200u // ends it and is not part of it

static inline bool tty_is_set(const struct tty *t, u32 lflag)
{
    return t->termios.lflag & lflag;
}
// Up to n bytes for a reader into kernel memory. *ended: they end a line. in_lock held.
size_t tty_take_locked(struct tty *t, u8 *buf, size_t n, bool *ended);
void tty_flush_input_locked(struct tty *t);
void tty_mode_changed_locked(struct tty *t, u32 old_lflag); // after ICANON was switched
void tty_publish_locked(struct tty *t);                     // counters and wake-ups

// A piece of a program's output, through OPOST: how many bytes were used up. out_lock held.
size_t tty_output_locked(struct tty *t, const u8 *buf, size_t n);
bool tty_may_write(struct tty *t);         // tty_output_locked would use up something
void tty_echo_flush_locked(struct tty *t); // give the device what it now takes
void tty_flush_output_locked(struct tty *t);
void tty_stop(struct tty *t, bool stop); // ^S, ^Q; out_lock not held
// in_lock held, out_lock not.
void tty_echo_byte(struct tty *t, u8 c);    // through OPOST
void tty_echo_visible(struct tty *t, u8 c); // control bytes as ^X, with ECHOCTL
void tty_echo_commit(struct tty *t);        // pass it to the device

// --- The terminals there are

void tty_consoles_init(void); // boot, threads run: input from the serial port and the keyboard
extern const struct file_ops tty_serial_fops, tty_screen_fops, tty_console_fops, tty_current_fops,
    ptmx_fops;
struct inode *devpts_mount(void);

#endif
