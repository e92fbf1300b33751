// The log that dmesg reads: the last 64 KiB of what printk said, and system call syslog.
//
//     0 ......... clear ...... unread ...... head       bytes since boot; byte n is ring[n % SIZE]
//                 |<- READ_ALL ----------->|
//                              |<- READ -->|
//
// A line is stored as Linux's log has it, "<6>[   12.345678] text", all of one level: printk has
// only one. What is older than SIZE bytes is overwritten; both marks are brought up to that when
// they are looked at, and READ_ALL begins with a whole line.
//
// The console's lock guards everything here, for printk adds while it holds that. Nobody can be
// woken from there, so READ, which waits for news, looks ten times a second.
#include "printk_priv.h"

#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/lock.h>
#include <k/printk.h>
#include <k/string.h>
#include <proc.h>
#include <sched.h>
#include <signal.h>
#include <slab.h>
#include <syscalls.h>

#define SIZE    (64u << 10)
#define LEVEL   6 // of all messages: KERN_INFO
#define POLL_NS 100000000ull

enum syslog_action {
    LOG_CLOSE,
    LOG_OPEN,
    LOG_READ,
    LOG_READ_ALL,
    LOG_READ_CLEAR,
    LOG_CLEAR,
    LOG_CONSOLE_OFF,
    LOG_CONSOLE_ON,
    LOG_CONSOLE_LEVEL,
    LOG_SIZE_UNREAD,
    LOG_SIZE_BUFFER,
};

// All: [the console's lock]
static char ring[SIZE];
static u64 head, unread, clear_mark;
static int console_level = LEVEL + 1, console_level_before_off = LEVEL + 1;

void klog_add_locked(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ring[head++ % SIZE] = s[i];
    }
}

void klog_begin_line_locked(u64 now_ns)
{
    char prefix[40];

    int n =
        snprintf(prefix, sizeof(prefix), "<%d>[%5lu.%06lu] ", LEVEL,
                 (unsigned long)(now_ns / 1000000000), (unsigned long)(now_ns / 1000 % 1000000));
    klog_add_locked(prefix, (size_t)n);
}

bool klog_is_quiet_locked(void)
{
    return LEVEL >= console_level;
}

static u64 oldest(u64 from)
{
    return max(from, head - min(head, (u64)SIZE));
}

// At most len bytes from *from on, which moves; how many.
static size_t copy_locked(u64 *from, char *to, size_t len)
{
    u64 at = oldest(*from);
    size_t n = min((u64)len, head - at);

    for (size_t i = 0; i < n; i++) {
        to[i] = ring[(at + i) % SIZE];
    }
    *from = at + n;
    return n;
}

// Where the last len bytes begin, at the start of a line.
static u64 last_lines_locked(size_t len)
{
    u64 first = oldest(clear_mark);
    u64 at = max(first, head - min(head, (u64)len));

    while (at > first && at < head && ring[(at - 1) % SIZE] != '\n') {
        at++;
    }
    return at;
}

// Of what is in the log now: lines for READ_ALL and READ_CLEAR, bytes for READ.
static size_t log_take(enum syslog_action what, char *to, size_t len)
{
    unsigned long flags = console_lock_irq();
    u64 at = what == LOG_READ ? unread : last_lines_locked(len);
    size_t n = copy_locked(&at, to, len);

    if (what == LOG_READ) {
        unread = at;
    } else if (what == LOG_READ_CLEAR) {
        clear_mark = head;
    }
    console_unlock_irq(flags);
    return n;
}

// 0, or -ERESTARTSYS: a signal waits.
static int poll_pause(void)
{
    thread_set_state(THREAD_SLEEPING);
    bool signal = thread_signal_pending() || schedule_until(clock_ns() + POLL_NS) == -EINTR;
    thread_set_state(THREAD_RUNNABLE);
    return signal ? -ERESTARTSYS : 0;
}

static s64 log_read(enum syslog_action what, u64 user, int len)
{
    size_t n;

    if (!user || len < 0) {
        return -EINVAL;
    }
    char *buf = kmalloc(min((size_t)len, (size_t)SIZE), GFP_KERNEL);
    if (len && !buf) {
        return -ENOMEM;
    }
    s64 r = 0;
    while ((n = log_take(what, buf, min((size_t)len, (size_t)SIZE))) == 0 && len &&
           what == LOG_READ) {
        r = poll_pause();
        if (r) {
            break;
        }
    }
    if (!r) {
        r = arch_copy_to_user((void *)user, buf, n) ? -EFAULT : (s64)n;
    }
    kfree(buf);
    return r;
}

static s64 log_settings(enum syslog_action what, int value)
{
    s64 r = 0;
    unsigned long flags = console_lock_irq();

    switch (what) {
    case LOG_CLEAR:
        clear_mark = head;
        break;
    case LOG_CONSOLE_OFF:
        console_level_before_off = console_level > 1 ? console_level : console_level_before_off;
        console_level = 1;
        break;
    case LOG_CONSOLE_ON:
        console_level = console_level > 1 ? console_level : console_level_before_off;
        break;
    case LOG_CONSOLE_LEVEL:
        if (value < 1 || value > 8) {
            r = -EINVAL;
        } else {
            console_level = value;
        }
        break;
    default: // LOG_SIZE_UNREAD
        r = (s64)(head - oldest(unread));
        break;
    }
    console_unlock_irq(flags);
    return r;
}

s64 sys_syslog(const u64 *a)
{
    enum syslog_action what = (enum syslog_action)(u32)a[0];

    switch (what) {
    case LOG_CLOSE:
    case LOG_OPEN:
        return 0;
    case LOG_READ:
    case LOG_READ_ALL:
    case LOG_READ_CLEAR:
        return log_read(what, a[1], (int)a[2]);
    case LOG_CLEAR:
    case LOG_CONSOLE_OFF:
    case LOG_CONSOLE_ON:
    case LOG_CONSOLE_LEVEL:
    case LOG_SIZE_UNREAD:
        return log_settings(what, (int)a[2]);
    case LOG_SIZE_BUFFER:
        return SIZE;
    default:
        return -EINVAL;
    }
}
