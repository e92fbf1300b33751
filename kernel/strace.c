// strace=1, and /proc/PID/faultline_strace: each system call on the console as it ends.
//
//     [    1.234567 0] strace 12 openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3
//
// The cost when nobody traces is one load and one branch in syscall_dispatch (strace_any, a line
// that is only read). A process is traced when its flag says so; a child has its parent's flag, and
// exec keeps it.
//
// A call's arguments are put in words before it runs: what they point to may be other memory, or
// none, when it has run (execve). Only what the call itself fills in (read) is looked at after it.
// The text is user memory of the caller's own choice, so nothing here trusts it: strings are cut,
// bytes that do not print are escaped, pointers that lead nowhere are shown as numbers. A call that
// does not return (exit) is shown before it runs. Two threads' lines do not mix, as each is one
// printk.
//
// Letters of arguments: d l decimal, u unsigned, x hex, o octal, p address, f descriptor, A the
// same or AT_FDCWD, s string, w bytes (length: next argument), r bytes the call fills in (length:
// its result), a vector of strings, i two descriptors the call fills in, t timespec, S signal,
// others: a set of flags or values of strace_names.c.
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/string.h>
#include <proc.h>
#include <slab.h>
#include <strace.h>
#include <syscalls.h>
#include <uapi/fs.h>
#include <uapi/futex.h>
#include <uapi/time.h>

#include "strace_priv.h"

#define LINE_SIZE   448 // printk's own line is a little longer
#define STRING_SHOW 40u
#define VECTOR_SHOW 6u

atomic_bool strace_any;

struct line {
    char text[LINE_SIZE];
    size_t len;
};

static void printf_like(2, 3) add(struct line *l, const char *fmt, ...)
{
    va_list ap;
    if (l->len >= LINE_SIZE - 1) {
        return;
    }
    va_start(ap, fmt);
    int n = vsnprintf(l->text + l->len, LINE_SIZE - l->len, fmt, ap);
    va_end(ap);
    l->len = min(l->len + (size_t)max(n, 0), (size_t)LINE_SIZE - 1);
}

// ---- Values -----------------------------------------------------------------------------------

static void add_quoted(struct line *l, const char *bytes, size_t n, bool more)
{
    add(l, "\"");
    for (size_t i = 0; i < n; i++) {
        u8 c = (u8)bytes[i];
        if (c == '\n') {
            add(l, "\\n");
        } else if (c == '"' || c == '\\') {
            add(l, "\\%c", c);
        } else if (c < ' ' || c > '~') {
            add(l, "\\%03o", c);
        } else {
            add(l, "%c", c);
        }
    }
    add(l, more ? "\"..." : "\"");
}

static void add_pointer(struct line *l, u64 p)
{
    if (p) {
        add(l, "0x%lx", (unsigned long)p);
    } else {
        add(l, "NULL");
    }
}

static void add_string(struct line *l, u64 user)
{
    char s[STRING_SHOW + 1];
    ssize_t n = user ? arch_strncpy_from_user(s, (const char *)user, sizeof(s)) : -EFAULT;
    if (n < 0) {
        add_pointer(l, user);
    } else {
        add_quoted(l, s, min((size_t)n, (size_t)STRING_SHOW), (size_t)n > STRING_SHOW);
    }
}

static void add_bytes(struct line *l, u64 user, u64 len)
{
    char s[STRING_SHOW];
    size_t n = (size_t)min(len, (u64)STRING_SHOW);
    if (arch_copy_from_user(s, (const void *)user, n)) {
        add_pointer(l, user);
    } else {
        add_quoted(l, s, n, len > n);
    }
}

static void add_vector(struct line *l, u64 user)
{
    u64 word;
    add(l, "[");
    for (unsigned i = 0;; i++, user += sizeof(word)) {
        if (arch_copy_from_user(&word, (const void *)user, sizeof(word)) || !word) {
            break;
        }
        add(l, i ? ", " : "");
        if (i == VECTOR_SHOW) {
            add(l, "...");
            break;
        }
        add_string(l, word);
    }
    add(l, "]");
}

static void add_flags(struct line *l, const struct strace_flag *f, u64 value)
{
    bool any = false;
    if (!value && f->name && !f->bits) {
        add(l, "%s", f->name);
        return;
    }
    for (; f->name; f++) {
        if (f->bits && (value & f->bits) == f->bits) {
            add(l, "%s%s", any ? "|" : "", f->name);
            value &= ~f->bits;
            any = true;
        }
    }
    if (value || !any) {
        add(l, "%s%#lx", any ? "|" : "", (unsigned long)value);
    }
}

static void add_open_flags(struct line *l, u64 value)
{
    static const char *const how[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
    add(l, "%s", how[value & O_ACCMODE]);
    if (value & ~(u64)O_ACCMODE) {
        add(l, "|");
        add_flags(l, strace_flags('O'), value & ~(u64)O_ACCMODE & 0xffffffff);
    }
}

static void add_timespec(struct line *l, u64 user)
{
    s64 t[2];
    if (!user || arch_copy_from_user(t, (const void *)user, sizeof(t))) {
        add_pointer(l, user);
    } else {
        add(l, "{%ld, %ld}", (long)t[0], (long)t[1]);
    }
}

static void add_two(struct line *l, u64 user)
{
    s32 fd[2];
    if (arch_copy_from_user(fd, (const void *)user, sizeof(fd))) {
        add_pointer(l, user);
    } else {
        add(l, "[%d, %d]", fd[0], fd[1]);
    }
}

static void add_value(struct line *l, char letter, u64 v)
{
    u64 known = letter == 'K' ? v & (u64)FUTEX_CMD_MASK & 0xffffffff : v & 0xffffffff;
    const char *name = letter == 'S' ? strace_signal(v) : strace_value(letter, known);
    const struct strace_flag *flags = strace_flags(letter);
    if (name) {
        add(l, "%s", name);
        add(l, letter == 'K' && v & FUTEX_PRIVATE_FLAG ? "|PRIVATE" : "");
        add(l, letter == 'K' && v & FUTEX_CLOCK_REALTIME ? "|CLOCK_REALTIME" : "");
    } else if (flags) {
        add_flags(l, flags, letter == 'C' ? v & ~0xffull : v);
        if (letter == 'C' && v & 0xff && strace_signal(v & 0xff)) {
            add(l, "|%s", strace_signal(v & 0xff));
        }
    } else {
        add(l, "%ld", (long)(s32)v);
    }
}

// Argument n. len: of what the call has filled in.
static void add_argument(struct line *l, char letter, const u64 *a, unsigned n, u64 len)
{
    switch (letter) {
    case 'd':
    case 'f':
        add(l, "%d", (s32)a[n]);
        break;
    case 'l':
        add(l, "%ld", (long)a[n]);
        break;
    case 'u':
        add(l, "%u", (u32)a[n]);
        break;
    case 'x':
        add(l, "%#lx", (unsigned long)a[n]);
        break;
    case 'o':
        add(l, "0%o", (u32)a[n]);
        break;
    case 'A':
        add(l, (s32)a[n] == AT_FDCWD ? "AT_FDCWD" : "%d", (s32)a[n]);
        break;
    case 's':
        add_string(l, a[n]);
        break;
    case 'w':
        add_bytes(l, a[n], a[n + 1]);
        break;
    case 'r':
        add_bytes(l, a[n], len);
        break;
    case 'a':
        add_vector(l, a[n]);
        break;
    case 'i':
        add_two(l, a[n]);
        break;
    case 't':
        add_timespec(l, a[n]);
        break;
    case 'O':
        add_open_flags(l, a[n]);
        break;
    case 'p':
        add_pointer(l, a[n]);
        break;
    default:
        add_value(l, letter, a[n]);
        break;
    }
}

// ---- Calls ------------------------------------------------------------------------------------

struct strace_state {
    struct line line;
    const struct strace_call *call; // NULL: not known
    u64 a[6];
    bool late; // the arguments wait for the end of the call
};

static void add_arguments(struct strace_state *s, s64 result)
{
    // A call we know nothing of: what it may have been given.
    const char *letters = s->call ? s->call->args : "xxxx";
    for (unsigned i = 0; letters[i]; i++) {
        char c = letters[i];
        add(&s->line, i ? ", " : "");
        if ((c == 'r' || c == 'i') && result < 0) {
            c = 'p';
        }
        add_argument(&s->line, c, s->a, i, (u64)result);
    }
}

static void line_print(struct strace_state *s, const char *result)
{
    printk("strace %d %s) = %s\n", current_task()->tid, s->line.text, result);
}

struct strace_state *strace_enter(u64 nr, const u64 *a)
{
    struct process *p = current_process();
    if (!load_relaxed(&p->strace)) {
        return NULL;
    }
    struct strace_state *s = kzalloc(sizeof(*s), GFP_KERNEL);
    const char *name = syscall_name(nr);
    if (!s) {
        return NULL;
    }
    memcpy(s->a, a, sizeof(s->a));
    s->call = name ? strace_call_find(name) : NULL;
    s->late = s->call && (strchr(s->call->args, 'r') || strchr(s->call->args, 'i'));
    if (name) {
        add(&s->line, "%s(", name);
    } else {
        add(&s->line, "syscall_%lu(", (unsigned long)nr);
    }
    if (!s->late) {
        add_arguments(s, 0);
    }
    if (s->call && s->call->ret == '?') {
        line_print(s, "?");
        kfree(s);
        return NULL;
    }
    return s;
}

void strace_leave(struct strace_state *s, s64 r)
{
    char result[48];
    const char *name = r < 0 && r > -4096 ? strace_errno((u64)-r) : NULL;
    if (s->late) {
        add_arguments(s, r);
    }
    if (name) {
        snprintf(result, sizeof(result), "-1 %s", name);
    } else if (r < 0 && r > -4096) {
        snprintf(result, sizeof(result), "? (starts again: %ld)", (long)-r);
    } else if (s->call && s->call->ret == 'x') {
        snprintf(result, sizeof(result), "0x%lx", (unsigned long)r);
    } else if (s->call && s->call->ret == 'o') {
        snprintf(result, sizeof(result), "0%lo", (unsigned long)r);
    } else {
        snprintf(result, sizeof(result), "%ld", (long)r);
    }
    line_print(s, result);
    kfree(s);
}

void strace_set(struct process *p, bool on)
{
    if (on) {
        store_relaxed(&strace_any, true); // stays: who is traced no more pays a second branch
    }
    store_relaxed(&p->strace, on);
}
