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
// The console's lock guards everything here, for printk adds while it holds that. printk may be
// called under any lock, where nobody can be woken: it sets WORK_LOG in the CPU's work word if
// somebody waits, and the next safe point of that CPU wakes them. Who is about to wait says so
// before the look at the log, and printk looks for it after the line is in:
//
//     reader                          printk
//     klog_waited = true (seq_cst)    the line, under the lock
//     the log, under the lock         klog_waited? (seq_cst)
//
// One of them sees the other's. It is never taken back; but for systems without a reader of the
// log there is always one.
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

#define SIZE  (64u << 10)
#define LEVEL 6 // of all messages: KERN_INFO

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
static u64 nr_lines; // begun so far
static int console_level = LEVEL + 1, console_level_before_off = LEVEL + 1;

struct waitq klog_wait = WAITQ_INIT(klog_wait);
static atomic_bool klog_waited; // [a] somebody has waited since boot

void klog_waiting(void)
{
    store_seq(&klog_waited, true); // pairs with klog_tell
}

void klog_tell(void)
{
    if (load_seq(&klog_waited)) { // pairs with klog_waiting
        unsigned long flags = irq_save();
        cpu_work_post(cpu_id(), WORK_LOG);
        irq_restore(flags);
    }
}

void klog_wake(void)
{
    fetch_and_seq(&this_cpu(cpu_work), ~(unsigned)WORK_LOG); // pairs with klog_tell
    waitq_wake_all(&klog_wait);
}

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
    nr_lines++;
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

// ---- Records

// Behind the end of the line that `at` is in; head: it has none yet.
static u64 line_end_locked(u64 at)
{
    while (at < head && ring[at % SIZE] != '\n') {
        at++;
    }
    return at;
}

// At the first whole line from `from` on.
static void mark_set_locked(struct klog_mark *m, u64 from)
{
    u64 at = oldest(from);

    if (at > 0 && at < head && ring[(at - 1) % SIZE] != '\n') {
        at = line_end_locked(at);
        at += at < head;
    }
    m->at = at;
    m->seq = nr_lines;
    while (at < head) { // those from here on have the last numbers
        at = line_end_locked(at);
        at += at < head;
        m->seq--;
    }
}

void klog_seek(struct klog_mark *m, enum klog_place to)
{
    unsigned long flags = console_lock_irq();

    mark_set_locked(m, to == KLOG_FIRST ? 0 : to == KLOG_END ? head : clear_mark);
    console_unlock_irq(flags);
}

long klog_record(struct klog_mark *m, char *to, size_t size)
{
    unsigned long flags = console_lock_irq();
    u64 at = m->at, end;
    size_t n = 0;
    long r = 0;

    if (at < oldest(0)) {
        mark_set_locked(m, 0);
        r = -EPIPE;
    } else if ((end = line_end_locked(at)) < head) {
        for (; at < end && n < size - 1; at++) {
            to[n++] = ring[at % SIZE];
        }
        to[n] = '\0';
        m->at = end + 1;
        m->seq++;
        r = (long)n;
    }
    console_unlock_irq(flags);
    return r;
}

bool klog_has_record(const struct klog_mark *m)
{
    unsigned long flags = console_lock_irq();
    u64 at = data_race(*(const volatile u64 *)&m->at);
    bool has = at < oldest(0) || line_end_locked(at) < head;

    console_unlock_irq(flags);
    return has;
}

static bool has_unread(void)
{
    unsigned long flags = console_lock_irq();
    bool has = head > unread;

    console_unlock_irq(flags);
    return has;
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
        klog_waiting();
        if (waitq_wait_signal(&klog_wait, has_unread())) {
            r = -ERESTARTSYS;
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

static atomic_bool restricted = true; // as most distributions have it

bool klog_is_restricted(void)
{
    return load_relaxed(&restricted);
}

void klog_restrict(bool on)
{
    store_relaxed(&restricted, on);
}

int klog_may_read(void)
{
    return klog_is_restricted() && !current_has_cap(CAP_SYSLOG) && !current_has_cap(CAP_SYS_ADMIN)
               ? -EPERM
               : 0;
}

// syslog(2): all may read all of it, or nobody, as dmesg_restrict says; the rest changes what
// others see. (CAP_SYS_ADMIN is what it took before there was CAP_SYSLOG.)
static int log_permission(enum syslog_action what)
{
    if (what == LOG_READ_ALL || what == LOG_SIZE_BUFFER) {
        return klog_may_read();
    }
    return current_has_cap(CAP_SYSLOG) || current_has_cap(CAP_SYS_ADMIN) ? 0 : -EPERM;
}

s64 sys_syslog(const u64 *a)
{
    enum syslog_action what = (enum syslog_action)(u32)a[0];
    int err = log_permission(what);

    if (err) {
        return err;
    }
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
