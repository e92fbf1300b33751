// The strings of execve: collecting them, and what a script's first line makes of them.
//
// They lie one after the other in one block, each with its NUL, arguments first; the block grows as
// they come. Their bytes and the pointers to them together may take a quarter of the stack's limit
// (execve(2), "Limits on size of arguments and environment"), and no more than fits a block.
//
// A script begins with "#!", the path of an interpreter and perhaps one argument, all that is left
// of the line. The interpreter is run instead, with
//
//     argv[0]                  argv[1] ...
//     interpreter [argument] script  argv[1] ...
//
// and may be a script itself, SCRIPT_DEPTH deep. What is behind the first 256 bytes does not count;
// a path that does not end there is no path.
#include <arch/uaccess.h>
#include <fs.h>
#include <k/errno.h>
#include <k/string.h>
#include <proc.h>
#include <slab.h>

#include "exec_priv.h"

#define ARGS_FIRST   (16u << 10)
#define ARGS_MAX     KMALLOC_MAX
#define ARGS_MIN     (128u << 10) // allowed whatever the limit is
#define ARG_MAX      (128u << 10) // one string
#define SCRIPT_HEAD  256
#define SCRIPT_DEPTH 5

int exec_args_init(struct exec_args *args)
{
    u64 limit = process_rlimit(RLIMIT_STACK) / 4;

    *args = (struct exec_args){.buf = kmalloc(ARGS_FIRST, GFP_KERNEL), .size = ARGS_FIRST};
    args->limit = (size_t)min(max(limit, (u64)ARGS_MIN), (u64)ARGS_MAX);
    return args->buf ? 0 : -ENOMEM;
}

void exec_args_free(struct exec_args *args)
{
    kfree(args->buf);
}

// Room for n bytes more than are used.
static int args_grow(struct exec_args *args, size_t n)
{
    size_t size = args->size;
    char *buf;

    if (args->used + n <= size) {
        return 0;
    }
    while (size < args->used + n) {
        size *= 2;
    }
    buf = size <= ARGS_MAX ? kmalloc(size, GFP_KERNEL) : NULL;
    if (!buf) {
        return size <= ARGS_MAX ? -ENOMEM : -E2BIG;
    }
    memcpy(buf, args->buf, args->used);
    kfree(args->buf);
    args->buf = buf;
    args->size = size;
    return 0;
}

static bool args_fit(const struct exec_args *args, size_t more)
{
    return args->used + more + (args->argc + args->envc + 2) * sizeof(u64) <= args->limit;
}

// One string of user memory, with its NUL.
static int args_add_user(struct exec_args *args, u64 user_str)
{
    for (;;) {
        size_t room = min(args->size - args->used, (size_t)ARG_MAX);
        ssize_t len = arch_strncpy_from_user(args->buf + args->used, (const char *)user_str, room);
        int err;

        if (len < 0) {
            return (int)len;
        }
        if ((size_t)len < room) {
            args->buf[args->used + (size_t)len] = '\0';
            args->used += (size_t)len + 1;
            return args_fit(args, 0) ? 0 : -E2BIG;
        }
        if (room == ARG_MAX || !args_fit(args, room)) {
            return -E2BIG;
        }
        err = args_grow(args, 2 * room);
        if (err) {
            return err;
        }
    }
}

// A NULL-terminated vector of strings; a NULL vector is an empty one, as on Linux.
static int args_read_vector(struct exec_args *args, u64 user_vec, unsigned *count)
{
    u64 str;

    for (*count = 0; user_vec; (*count)++, user_vec += sizeof(u64)) {
        int err;

        if (arch_copy_from_user(&str, (const void *)user_vec, sizeof(str))) {
            return -EFAULT;
        }
        if (!str) {
            break;
        }
        if (thread_kill_pending()) {
            return -EINTR;
        }
        err = args_grow(args, 64);
        if (!err) {
            err = args_add_user(args, str);
        }
        if (err) {
            return err;
        }
        cond_resched();
    }
    return 0;
}

int exec_args_read(struct exec_args *args, u64 argv, u64 envp)
{
    int err = args_read_vector(args, argv, &args->argc);

    if (!err && args->argc == 0) {
        args->buf[args->used++] = '\0'; // an empty argv[0], as Linux gives
        args->argc = 1;
    }
    return err ? err : args_read_vector(args, envp, &args->envc);
}

// --- Scripts -------------------------------------------------------------------------------------

// Put a string in front of all others.
static int args_push_front(struct exec_args *args, const char *s)
{
    size_t n = strlen(s) + 1;
    int err = args_grow(args, n);

    if (err || !args_fit(args, n)) {
        return err ? err : -E2BIG;
    }
    memmove(args->buf + n, args->buf, args->used);
    memcpy(args->buf, s, n);
    args->used += n;
    args->argc++;
    return 0;
}

static void args_drop_first(struct exec_args *args)
{
    size_t n = strlen(args->buf) + 1;

    memmove(args->buf, args->buf + n, args->used - n);
    args->used -= n;
    args->argc--;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

// Cut the first line into path and argument (NULL: none), in place. head ends with a NUL; whole: so
// does the file.
static int script_parse(char *head, bool whole, char **interp, char **arg)
{
    char *p = head + 2, *end = strchr(head, '\n');

    whole |= end != NULL;
    if (!end) {
        end = head + strlen(head);
    }
    *end = '\0';
    while (end > p && is_blank(end[-1])) {
        *--end = '\0';
        whole = true; // something ends the path
    }
    while (is_blank(*p)) {
        p++;
    }
    *interp = p;
    while (*p && !is_blank(*p)) {
        p++;
    }
    if (p == *interp || (!*p && !whole)) {
        return -ENOEXEC;
    }
    while (is_blank(*p)) {
        *p++ = '\0';
    }
    *arg = *p ? p : NULL;
    return 0;
}

// One step: *file is a script named `name` that *head begins. Afterwards *file is its interpreter,
// whose path is in `name`.
static int script_step(struct file **file, char *name, char *head, bool whole,
                       struct exec_args *args)
{
    char *interp, *arg;
    struct file *next;
    int err = script_parse(head, whole, &interp, &arg);

    if (err) {
        return err;
    }
    args_drop_first(args);
    err = args_push_front(args, name);
    if (!err && arg) {
        err = args_push_front(args, arg);
    }
    if (!err) {
        err = args_push_front(args, interp);
    }
    if (!err) {
        err = exec_open(interp, &next);
    }
    if (err) {
        return err;
    }
    program_put(*file);
    *file = next;
    strlcpy(name, interp, EXEC_PATH_MAX);
    return 0;
}

int exec_script(struct file **file, const char *path, struct exec_args *args)
{
    char *name = kmalloc(EXEC_PATH_MAX, GFP_KERNEL);
    char *head = kmalloc(SCRIPT_HEAD + 1, GFP_KERNEL);
    int err = name && head ? 0 : -ENOMEM;

    for (unsigned depth = 0; !err; depth++) {
        ssize_t n = file_read_kernel(*file, 0, head, SCRIPT_HEAD);

        if (depth == 0) {
            strlcpy(name, path, EXEC_PATH_MAX);
        }
        if (n < 2 || head[0] != '#' || head[1] != '!') {
            err = n < 0 ? (int)n : 0;
            break;
        }
        head[n] = '\0';
        if (depth == 0 && args->path_gone) {
            err = -ENOENT; // execveat(2), "BUGS"
            break;
        }
        err = depth < SCRIPT_DEPTH ? script_step(file, name, head, n < SCRIPT_HEAD, args) : -ELOOP;
    }
    kfree(head);
    kfree(name);
    return err;
}
