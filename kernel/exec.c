// execve: replace the program of a process. The strings and scripts are in exec_args.c, the file
// in elf.c.
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
#include <uapi/mman.h>
#include <uapi/time.h>

#include "exec_priv.h"

#define EXEC_STACK_TOP USER_END
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

static void auxv_fill(struct stack_build *s, const struct elf_info *elf, u64 execfn,
                      struct exec_image *img)
{
    const struct process *p = current_process();
    struct creds before = creds_now(), cred = before;
    u64 random_at, platform_at;
    u8 random[16];

    img->secure = creds_exec(&cred, &img->ids, p && p->flags.no_new_privs);
    img->changed = creds_change(&before, &cred);
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
    aux(s, AT_BASE, elf->interp_base);
    aux(s, AT_FLAGS, 0);
    aux(s, AT_ENTRY, elf->program_entry);
    aux(s, AT_UID, cred.uid);
    aux(s, AT_EUID, cred.euid);
    aux(s, AT_GID, cred.gid);
    aux(s, AT_EGID, cred.egid);
    aux(s, AT_SECURE, img->secure);
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
    auxv_fill(s, elf, execfn, img);
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
    if (!err && elf->stack_exec) {
        err = (int)mm_mprotect(mm, EXEC_STACK_TOP - page_align_up(need), page_align_up(need),
                               PROT_READ | PROT_WRITE | PROT_EXEC);
    }
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
    file_exec_ids(file, &out->ids);
    out->unreadable = elf.unreadable || inode_permission(file->inode, MAY_READ) != 0;
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

int exec_open(const char *path, struct file **out)
{
    return vfs_open_exec(AT_FDCWD, path, 0, out, NULL);
}

void exec_set_name(struct thread *t, const char *path)
{
    const char *base = strrchr(path, '/');

    strlcpy(t->name, base ? base + 1 : path, sizeof(t->name));
}

// What the old program shares with other processes and the new one has for itself; NULL: no need.
struct exec_own {
    struct files *files;
    struct sighand *sighand;
    struct fs_ctx *fs;
};

static void exec_own_put(struct exec_own *o)
{
    sighand_put(o->sighand);
    if (o->files) {
        files_put(o->files);
    }
    if (o->fs) {
        fs_ctx_put(o->fs);
    }
}

// Signal actions and descriptors that other processes share are theirs to keep: copies for the new
// program (CLONE_SIGHAND, CLONE_FILES; execve(2)). Directories stay shared (CLONE_FS), but not with
// a program that gains: its root and current directory are not for others to change. (Linux does
// not let it gain.) A reference of somebody who looks at them makes a copy too many, no harm.
static int exec_unshare(struct exec_own *o, bool secure)
{
    struct process *p = current_process();
    int err = 0;

    *o = (struct exec_own){0};
    if (load_acquire(&p->sighand->ref) > 1) { /* pairs with sighand_put */
        o->sighand = sighand_create(p->sighand);
        err = o->sighand ? 0 : -ENOMEM;
    }
    if (!err && secure && load_relaxed(&p->fs->ref) > 1) {
        o->fs = fs_ctx_create(p->fs);
        err = o->fs ? 0 : -ENOMEM;
    }
    if (!err && files_are_shared(p->files)) {
        err = files_copy(p->files, &o->files);
    }
    if (err) {
        exec_own_put(o);
    }
    return err;
}

#define SWAP(a, b)                                                                                 \
    do {                                                                                           \
        typeof(a) swap_ = (a);                                                                     \
        (a) = (b);                                                                                 \
        (b) = swap_;                                                                               \
    } while (0)

// The process takes what is its own; *own has afterwards what it shared.
static void exec_take_locked(struct process *p, struct exec_own *own)
{
    spin_assert_held(&p->lock);
    if (own->sighand) {
        SWAP(p->sighand, own->sighand);
    }
    if (own->files) {
        SWAP(p->files, own->files);
    }
    if (own->fs) {
        SWAP(p->fs, own->fs);
    }
}

// From here nothing can fail: the process becomes the new program.
static void exec_commit(struct file *file, const char *path, const struct exec_image *img,
                        struct exec_own *own)
{
    struct thread *self = current_thread();
    struct process *p = self->proc;
    struct mm *old = self->mm;
    struct file *old_exe = p->exe;

    task_release_user(self->ext); // writes to the old address space
    files_close_on_exec(own->files ? own->files : p->files);
    itimers_exec(p);
    task_become_leader(self->ext);
    self->ext->saved_mask_valid = false;
    if (img->secure || img->changed) {
        family_forget_pdeath(p);
    }
    spin_lock(&p->lock); // kernel/look.c looks from other processes
    exec_take_locked(p, own);
    usage_leave_mm_locked(p, p->mm);
    // Whoever finds the new memory finds the new number: pairs with program_number.
    store_release(&p->nr_programs, load_relaxed(&p->nr_programs) + 1);
    p->mm = img->mm;
    p->exe = file;
    p->arg_start = img->arg_start;
    p->arg_end = img->arg_end;
    p->env_start = img->env_start;
    p->env_end = img->env_end;
    p->start_stack = img->sp;
    store_relaxed(&p->membarrier_registered, false); // membarrier(2): it was the old memory's
    creds_exec_locked(p, img);
    exec_set_name(self, path);
    spin_unlock(&p->lock);
    signal_reset_for_exec(p);
    exec_own_put(own);
    mm_activate(img->mm);
    vfork_release(self->ext);
    mm_put(old);
    if (old_exe) {
        program_put(old_exe);
    }
    arch_fpu_reset_current();
    arch_set_tls(self, 0);
    arch_user_regs_init(current_trapframe(), img->entry, img->sp);
}

// file is used up.
static s64 exec_file(struct file *file, const char *path, struct exec_args *args)
{
    struct exec_own own;
    struct exec_image img;
    int err = exec_script(&file, path, args);

    if (!err) {
        err = exec_load(file, path, args, &img);
    }
    if (err) {
        goto out_file;
    }
    err = exec_unshare(&own, img.secure);
    if (err) {
        goto out_mm;
    }
    err = process_kill_others();
    if (err) {
        goto out_shared;
    }
    exec_commit(file, path, &img, &own);
    return 0;

out_shared:
    exec_own_put(&own);
out_mm:
    mm_put(img.mm);
out_file:
    program_put(file);
    return err;
}

static int exec_path(u64 user_path, unsigned flags, char *path)
{
    ssize_t len = arch_strncpy_from_user(path, (const char *)user_path, EXEC_PATH_MAX);

    if (len < 0 || len >= EXEC_PATH_MAX) {
        return len < 0 ? (int)len : -ENAMETOOLONG;
    }
    path[len] = '\0';
    if (len == 0 && !(flags & AT_EMPTY_PATH)) {
        return -ENOENT;
    }
    return 0;
}

// What execveat's descriptor and path name, and how the program is told of it: a path that begins
// at a descriptor is found below /dev/fd.
static int exec_name(int dirfd, char *path, struct file **out, unsigned flags, bool *path_gone)
{
    bool beside = path[0] != '/' && dirfd != AT_FDCWD;
    char *rest = NULL;
    int err = vfs_open_exec(dirfd, path, flags, out, path_gone);

    *path_gone &= beside;
    if (err || !beside) {
        return err;
    }
    rest = kmalloc(EXEC_PATH_MAX, GFP_KERNEL);
    if (!rest) {
        program_put(*out);
        return -ENOMEM;
    }
    strlcpy(rest, path, EXEC_PATH_MAX);
    snprintf(path, EXEC_PATH_MAX, rest[0] ? "/dev/fd/%d/%s" : "/dev/fd/%d", dirfd, rest);
    kfree(rest);
    return 0;
}

static s64 exec_call(int dirfd, u64 user_path, u64 argv, u64 envp, unsigned flags)
{
    char *path = kmalloc(EXEC_PATH_MAX, GFP_KERNEL);
    struct exec_args args;
    struct file *file;
    int err = exec_args_init(&args);

    if (err || !path) {
        err = -ENOMEM;
        goto out;
    }
    err = exec_path(user_path, flags, path);
    if (!err) {
        err = account_exec_check();
    }
    if (!err) {
        err = exec_name(dirfd, path, &file, flags, &args.path_gone);
    }
    if (err) {
        goto out;
    }
    err = exec_args_read(&args, argv, envp);
    if (err) {
        program_put(file);
        goto out;
    }
    err = (int)exec_file(file, path, &args);
out:
    exec_args_free(&args);
    kfree(path);
    return err;
}

s64 sys_execve(const u64 *a)
{
    return exec_call(AT_FDCWD, a[0], a[1], a[2], 0);
}

s64 sys_execveat(const u64 *a)
{
    unsigned flags = (unsigned)a[4];

    if (flags & ~(unsigned)(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) {
        return -EINVAL;
    }
    return exec_call((int)a[0], a[1], a[2], a[3], flags);
}
