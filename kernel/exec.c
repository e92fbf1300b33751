// execve: replace the program of a process.
//
// The new address space is built completely beside the old one, without touching it; whatever is
// wrong with the file, the strings or memory ends in an error the caller sees. Then the other
// threads are made to leave, and the switch itself cannot fail.
//
// The initial stack, as the ABI has it, top down:
//
//     stack_top  8 zero bytes
//                the path (AT_EXECFN), environment strings, argument strings, platform, 16 random
//                bytes auxiliary vector, NULL envp..., NULL argv..., NULL
//     sp ->      argc                                           16-byte aligned
#include <arch/mmu.h>
#include <arch/thread.h>
#include <arch/trap.h>
#include <arch/uaccess.h>
#include <fs.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/string.h>
#include <mm.h>
#include <proc.h>
#include <signal.h>
#include <slab.h>
#include <syscalls.h>
#include <uapi/elf.h>
#include <uapi/time.h>

#include "proc_priv.h"

#define EXEC_STACK_TOP USER_END
#define EXEC_PATH_MAX  4096
#define EXEC_ARGS_MAX  (512u << 10) // bytes of argument and environment strings
#define EXEC_WORDS_MAX (EXEC_ARGS_MAX / 8)
#define EXEC_ARG_MAX   (128u << 10)   // one string
#define STACK_SPARE    (128ull << 10) // stack mapped beyond what the strings take
#define AUXV_WORDS     48

// --- The stack -----------------------------------------------------------------------------------

struct stack_build {
    struct mm *mm;
    u64 sp;     // grows down while strings are placed
    u64 *words; // argc, argv, envp, auxv
    size_t nr;
    int err;
};

static u64 stack_push(struct stack_build *s, const void *data, size_t n)
{
    s->sp -= n;
    if (!s->err && mm_copy_to(s->mm, s->sp, data, n)) {
        s->err = -ENOMEM;
    }
    return s->sp;
}

static void aux(struct stack_build *s, u64 type, u64 value)
{
    s->words[s->nr++] = type;
    s->words[s->nr++] = value;
}

static void auxv_fill(struct stack_build *s, const struct elf_info *elf, u64 execfn)
{
    u64 random_at, platform_at;
    u8 random[16];

    random_bytes(random, sizeof(random));
    random_at = stack_push(s, random, sizeof(random));
    platform_at = stack_push(s, ARCH_PLATFORM, sizeof(ARCH_PLATFORM));
    aux(s, AT_MINSIGSTKSZ, align_up(arch_fpu_image_size() + 1024, 16));
    aux(s, AT_HWCAP, arch_hwcap(0));
    aux(s, AT_PAGESZ, PAGE_SIZE);
    aux(s, AT_CLKTCK, USER_HZ);
    aux(s, AT_PHDR, elf->phdr_addr);
    aux(s, AT_PHENT, sizeof(struct elf64_phdr));
    aux(s, AT_PHNUM, elf->phnum);
    aux(s, AT_BASE, 0);
    aux(s, AT_FLAGS, 0);
    aux(s, AT_ENTRY, elf->entry);
    aux(s, AT_UID, 0);
    aux(s, AT_EUID, 0);
    aux(s, AT_GID, 0);
    aux(s, AT_EGID, 0);
    aux(s, AT_SECURE, 0);
    aux(s, AT_RANDOM, random_at);
    aux(s, AT_HWCAP2, arch_hwcap(1));
    aux(s, AT_EXECFN, execfn);
    aux(s, AT_PLATFORM, platform_at);
    aux(s, AT_NULL, 0);
}

// The addresses of n strings that lie one after the other.
static u64 pointers_fill(struct stack_build *s, const char *strings, u64 at, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        size_t len = strlen(strings) + 1;

        s->words[s->nr++] = at;
        at += len;
        strings += len;
    }
    s->words[s->nr++] = 0;
    return at;
}

static int stack_fill(struct stack_build *s, const char *path, const struct exec_args *args,
                      const struct elf_info *elf, struct exec_image *img)
{
    const char *env = args->buf;
    size_t bytes;
    u64 execfn;

    for (unsigned i = 0; i < args->argc; i++) {
        env += strlen(env) + 1;
    }
    s->sp -= sizeof(u64);
    execfn = stack_push(s, path, strlen(path) + 1);
    img->arg_start = stack_push(s, args->buf, args->used);
    img->env_end = img->arg_start + args->used;
    s->words[s->nr++] = args->argc;
    img->arg_end = pointers_fill(s, args->buf, img->arg_start, args->argc);
    img->env_start = img->arg_end;
    pointers_fill(s, env, img->env_start, args->envc);
    auxv_fill(s, elf, execfn);
    bytes = s->nr * sizeof(u64);
    s->sp = align_down(s->sp - bytes, 16) + bytes;
    img->sp = stack_push(s, s->words, bytes);
    return s->err;
}

static int stack_build(struct mm *mm, const char *path, const struct exec_args *args,
                       const struct elf_info *elf, struct exec_image *img)
{
    size_t nr_words = args->argc + args->envc + 3 + AUXV_WORDS;
    u64 need = nr_words * sizeof(u64) + args->used + EXEC_PATH_MAX + STACK_SPARE;
    struct stack_build s = {.mm = mm, .sp = EXEC_STACK_TOP};
    int err = mm_map_stack(mm, EXEC_STACK_TOP, page_align_up(need));

    if (err) {
        return err;
    }
    s.words = kmalloc(nr_words * sizeof(u64), GFP_KERNEL);
    if (!s.words) {
        return -ENOMEM;
    }
    err = stack_fill(&s, path, args, elf, img);
    kfree(s.words);
    return err;
}

int exec_load(struct file *file, const char *path, const struct exec_args *args,
              struct exec_image *out)
{
    struct elf_info elf;
    struct mm *mm = mm_create(NULL);
    int err;

    if (!mm) {
        return -ENOMEM;
    }
    err = elf_load(mm, file, &elf);
    if (err) {
        goto out_mm;
    }
    mm_set_brk_start(mm, page_align_up(elf.brk_start));
    err = stack_build(mm, path, args, &elf, out);
    if (err) {
        goto out_mm;
    }
    out->mm = mm;
    out->entry = elf.entry;
    return 0;

out_mm:
    mm_put(mm);
    return err;
}

// --- The call ------------------------------------------------------------------------------------

// One string of user memory, with its NUL.
static int args_add(struct exec_args *args, u64 user_str)
{
    size_t room = min((size_t)EXEC_ARGS_MAX - args->used, (size_t)EXEC_ARG_MAX);
    ssize_t len = arch_strncpy_from_user(args->buf + args->used, (const char *)user_str, room);

    if (len < 0) {
        return (int)len;
    }
    if ((size_t)len >= room) {
        return -E2BIG;
    }
    args->buf[args->used + (size_t)len] = '\0';
    args->used += (size_t)len + 1;
    return 0;
}

// A NULL-terminated vector of strings; a NULL vector is an empty one, as on Linux.
static int args_read(struct exec_args *args, u64 user_vec, unsigned *count)
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
        if (args->argc + args->envc >= EXEC_WORDS_MAX) {
            return -E2BIG;
        }
        err = args_add(args, str);
        if (err) {
            return err;
        }
        cond_resched();
    }
    return 0;
}

int exec_open(const char *path, struct file **out)
{
    struct file *file;
    int err = vfs_open(path, O_RDONLY, 0, &file);

    if (err) {
        return err;
    }
    if ((file->inode->mode & S_IFMT) != S_IFREG || !(file->inode->mode & 0111)) {
        file_put(file);
        return -EACCES;
    }
    *out = file;
    return 0;
}

void exec_set_name(struct thread *t, const char *path)
{
    const char *base = strrchr(path, '/');

    strlcpy(t->name, base ? base + 1 : path, sizeof(t->name));
}

// Signal actions and descriptors that other processes share are theirs to keep: copies for the new
// program (CLONE_SIGHAND, CLONE_FILES; execve(2)). NULL: no need.
static int exec_unshare(struct files **files, struct sighand **sighand)
{
    struct process *p = current_process();
    int err;

    *files = NULL;
    *sighand = NULL;
    if (load_acquire(&p->sighand->ref) > 1) { /* pairs with sighand_put */
        *sighand = sighand_create(p->sighand);
        if (!*sighand) {
            return -ENOMEM;
        }
    }
    err = files_are_shared(p->files) ? files_copy(p->files, files) : 0;
    if (err) {
        sighand_put(*sighand);
    }
    return err;
}

// From here nothing can fail: the process becomes the new program.
static void exec_commit(struct file *file, const char *path, const struct exec_image *img,
                        struct files *files, struct sighand *sighand)
{
    struct thread *self = current_thread();
    struct process *p = self->proc;
    struct mm *old = self->mm;
    struct file *old_exe = p->exe;

    task_release_user(self->ext); // writes to the old address space
    files_close_on_exec(files ? files : p->files);
    task_become_leader(self->ext);
    self->ext->saved_mask_valid = false;
    spin_lock(&p->lock); // kernel/look.c looks from other processes
    if (sighand) {
        struct sighand *shared = p->sighand;

        p->sighand = sighand;
        sighand = shared;
    }
    if (files) {
        struct files *shared = p->files;

        p->files = files;
        files = shared;
    }
    p->mm = img->mm;
    p->exe = file;
    p->arg_start = img->arg_start;
    p->arg_end = img->arg_end;
    p->env_start = img->env_start;
    p->env_end = img->env_end;
    p->start_stack = img->sp;
    exec_set_name(self, path);
    spin_unlock(&p->lock);
    signal_reset_for_exec(p);
    sighand_put(sighand);
    if (files) {
        files_put(files);
    }
    mm_activate(img->mm);
    vfork_release(self->ext);
    mm_put(old);
    if (old_exe) {
        file_put(old_exe);
    }
    arch_fpu_reset_current();
    arch_set_tls(self, 0);
    arch_user_regs_init(current_trapframe(), img->entry, img->sp);
}

static s64 exec_run(const char *path, struct exec_args *args, const u64 *a)
{
    struct sighand *sighand;
    struct files *files;
    struct exec_image img;
    struct file *file;
    int err = args_read(args, a[1], &args->argc);

    if (!err && args->argc == 0) {
        args->buf[args->used++] = '\0'; // an empty argv[0], as Linux gives
        args->argc = 1;
    }
    if (!err) {
        err = args_read(args, a[2], &args->envc);
    }
    if (!err) {
        err = exec_open(path, &file);
    }
    if (err) {
        return err;
    }
    err = exec_load(file, path, args, &img);
    if (err) {
        goto out_file;
    }
    err = exec_unshare(&files, &sighand);
    if (err) {
        goto out_mm;
    }
    err = process_kill_others();
    if (err) {
        goto out_shared;
    }
    exec_commit(file, path, &img, files, sighand);
    return 0;

out_shared:
    sighand_put(sighand);
    if (files) {
        files_put(files);
    }
out_mm:
    mm_put(img.mm);
out_file:
    file_put(file);
    return err;
}

s64 sys_execve(const u64 *a)
{
    struct exec_args args = {0};
    char *path = kmalloc(EXEC_PATH_MAX, GFP_KERNEL);
    ssize_t len;
    s64 r = -ENOMEM;

    args.buf = kmalloc(EXEC_ARGS_MAX, GFP_KERNEL);
    if (!path || !args.buf) {
        goto out;
    }
    len = arch_strncpy_from_user(path, (const char *)a[0], EXEC_PATH_MAX);
    r = len < 0 ? len : len >= EXEC_PATH_MAX ? -ENAMETOOLONG : len == 0 ? -ENOENT : 0;
    if (!r) {
        r = exec_run(path, &args, a);
    }
out:
    kfree(args.buf);
    kfree(path);
    return r;
}
