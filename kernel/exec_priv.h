// Between exec.c, exec_args.c and elf.c.
#ifndef KERNEL_EXEC_PRIV_H
#define KERNEL_EXEC_PRIV_H

#include "proc_priv.h"

#define EXEC_PATH_MAX 4096

// Under the current process's limit; exec_args_free in any case. -ENOMEM.
int exec_args_init(struct exec_args *args);
void exec_args_free(struct exec_args *args);
// The vectors of execve. -EFAULT, -E2BIG, -ENOMEM, -EINTR (killed).
int exec_args_read(struct exec_args *args, u64 argv, u64 envp);

// If *file, found at path, is a script, replace it by its interpreter and set the arguments.
// -ENOEXEC, -ELOOP, -E2BIG, or what opening the interpreter says; *file is counted in any case.
int exec_script(struct file **file, const char *path, struct exec_args *args);

#endif
