// The first process. What to run comes from the command line:
//
//     run=PATH             a file with the arguments, each ended by a NUL; the first is the program
//     init=PATH -- WORDS   the program, and its arguments after "--"
//     neither              /init, /sbin/init, /bin/sh: the first there is
#include <arch/thread.h>
#include <arch/trap.h>
#include <bootinfo.h>
#include <arch/boot.h>
#include <fs.h>
#include <hostchan.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/string.h>
#include <mm.h>
#include <proc.h>
#include <slab.h>
#include <strace.h>

#include "exec_priv.h"

#define RUN_FILE_MAX  (128u << 10)
#define INIT_PATH_MAX 1024

static const char environment[] = "HOME=/\0PATH=/bin:/usr/bin:/sbin\0TERM=linux";

static void args_push(struct exec_args *args, const char *s, size_t len)
{
    memcpy(args->buf + args->used, s, len);
    args->buf[args->used + len] = '\0';
    args->used += len + 1;
}

static int args_from_run_file(const char *path, struct exec_args *args)
{
    struct file *file;
    ssize_t n;
    int err = vfs_open(path, O_RDONLY, 0, &file);

    if (err) {
        printk("init: cannot open %s: error %d\n", path, -err);
        return err;
    }
    n = file_read_kernel(file, 0, args->buf, RUN_FILE_MAX - 1);
    file_put(file);
    if (n <= 0) {
        printk("init: cannot read %s: error %d\n", path, n < 0 ? (int)-n : EIO);
        return -EIO;
    }
    if (args->buf[n - 1] != '\0') {
        args->buf[n++] = '\0';
    }
    for (ssize_t i = 0; i < n; i++) {
        args->argc += args->buf[i] == '\0';
    }
    args->used = (size_t)n;
    return 0;
}

// argv[0] is the path, then the words after "--".
static void args_from_words(const char *path, struct exec_args *args)
{
    const char *w = boot_init_args();

    args->used = args->argc = 0;
    args_push(args, path, strlen(path));
    args->argc = 1;
    while (*w) {
        size_t len = 0;

        while (w[len] && w[len] != ' ') {
            len++;
        }
        if (len) {
            args_push(args, w, len);
            args->argc++;
        }
        w += len + (w[len] == ' ');
    }
}

// Open the program and set its arguments.
static int init_choose(struct exec_args *args, struct file **file)
{
    static const char *const usual[] = {"/init", "/sbin/init", "/bin/sh"};
    char path[INIT_PATH_MAX];
    int err;

    if (boot_arg("run", path, sizeof(path))) {
        err = args_from_run_file(path, args);
        return err ? err : exec_open(args->buf, file);
    }
    if (boot_arg("init", path, sizeof(path))) {
        args_from_words(path, args);
        return exec_open(path, file);
    }
    for (unsigned i = 0; i < array_size(usual); i++) {
        args_from_words(usual[i], args);
        err = exec_open(usual[i], file);
        if (!err) {
            return 0;
        }
    }
    return err;
}

static int init_files(struct process *p)
{
    p->files = files_create();
    return p->files ? fs_open_stdio(p->files) : -ENOMEM;
}

// The process and its first thread around a loaded image.
static int init_launch(const struct exec_image *img, struct file *file, const char *path,
                       bool is_program)
{
    struct process *p = process_create();
    struct task_ext *task;
    struct trapframe f;
    int err;

    if (!p) {
        return -ENOMEM;
    }
    p->account = account_of(0, NULL);
    p->is_init = true;
    p->is_program = is_program;
    p->mm = img->mm;
    p->exe = file;
    p->arg_start = img->arg_start;
    p->arg_end = img->arg_end;
    p->env_start = img->env_start;
    p->env_end = img->env_end;
    p->start_stack = img->sp;
    strace_set(p, boot_flag("strace"));
    p->fs = fs_ctx_create(NULL);
    p->sighand = sighand_create(NULL);
    err = init_files(p);
    if (err || !p->fs || !p->sighand) {
        return err ? err : -ENOMEM;
    }
    task = task_create(p, "init");
    process_put(p); // the thread has its own reference
    if (!task) {
        return -ENOMEM;
    }
    exec_set_name(task->thread, path);
    task->thread->mm = img->mm;
    arch_user_regs_init(&f, img->entry, img->sp);
    arch_thread_init_user(task->thread, &f);
    err = process_publish(task, false, 0);
    if (!err) {
        thread_start(task->thread);
    }
    return err;
}

// A script may be the first program, too (an initramfs's /init often is).
static int init_load(struct file **file, struct exec_args *args, struct exec_image *img)
{
    char *path = kmalloc(EXEC_PATH_MAX, GFP_KERNEL);
    int err = -ENOMEM;

    if (path) {
        strlcpy(path, args->buf, EXEC_PATH_MAX);
        err = exec_script(file, path, args);
    }
    if (!err) {
        err = exec_load(*file, path, args, img);
    }
    kfree(path);
    return err;
}

// Why a program cannot be started, in the words of execve(2).
static const char *start_error(int err, char *buf, size_t size)
{
    static const struct {
        int err;
        const char *text;
    } words[] = {
        {-ENOENT, "no such file, or none of the loader it asks for"},
        {-EACCES, "not a file that may be executed"},
        {-ENOEXEC, "neither a program for this processor nor a script"},
        {-ENOMEM, "out of memory"},
        {-E2BIG, "too many arguments"},
        {-ELOOP, "too many symbolic links"},
        {-ENOTDIR, "the path goes through something that is no folder"},
        {-EISDIR, "it is a folder"},
    };

    for (unsigned i = 0; i < array_size(words); i++) {
        if (words[i].err == err) {
            return words[i].text;
        }
    }
    snprintf(buf, size, "error %d", -err);
    return buf;
}

// There is no program. Whoever waits at the host channel gets what a shell would say; without one
// the machine has nothing to do, which is worth a stop that can be read.
static noreturn_fn void init_failed(const char *what, int err)
{
    char line[160], number[16];
    const char *why = start_error(err, number, sizeof(number));
    if (!hostchan_present()) {
        printk("cannot start %s: %s; nothing to do, switching off\n", what, why);
        arch_poweroff();
    }
    int n = snprintf(line, sizeof(line), "faultline: cannot start %s: %s\n", what, why);
    hostchan_write(2, line, min((size_t)n, sizeof(line) - 1));
    hostchan_exit_status(err == -ENOENT ? 127 : 126);
    arch_poweroff();
}

void proc_start_init(void)
{
    const size_t size = RUN_FILE_MAX + BOOT_CMDLINE_MAX;
    struct exec_args args = {.buf = kmalloc(size, GFP_KERNEL), .size = size, .limit = 2 * size};
    char run[INIT_PATH_MAX];
    struct exec_image img;
    struct file *file;
    const char *what = "out of memory";
    int err = args.buf ? 0 : -ENOMEM;

    if (!err) {
        err = init_choose(&args, &file);
        what = args.argc ? args.buf : "a program";
    }
    if (!err) {
        char *env = args.buf + args.used;

        memcpy(env, environment, sizeof(environment));
        args.used += sizeof(environment);
        args.envc = 3;
        err = init_load(&file, &args, &img);
    }
    if (!err) {
        err = init_launch(&img, file, args.buf, boot_arg("run", run, sizeof(run)));
    }
    if (err) {
        init_failed(what, err);
    }
    kfree(args.buf);
}
