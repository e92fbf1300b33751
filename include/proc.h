// Processes and their threads. kernel/proc.c: tables and life; clone.c, exec.c, exit.c: the
// calls. A kernel thread has neither (thread->proc and thread->ext are NULL).
//
// Lock letters: I immutable, a atomic, P proc->lock, H the table lock in proc.c, S only the thread
// itself, F fs_ctx->lock, A sighand->lock. Two letters: either to read, both to write.
#ifndef PROC_H
#define PROC_H

#include <arch/cpu.h>
#include <k/atomic.h>
#include <k/list.h>
#include <k/lock.h>
#include <k/types.h>
#include <sched.h>
#include <signal.h>
#include <uapi/misc.h>

struct account;
struct cpu_clock;
struct cred_groups;
struct file;
struct files;
struct inode;
struct itimers;
struct mm;
struct pgrp;
struct sem_undo;
struct vfork;

// What only user threads have.
struct task_ext {
    struct thread *thread; // [I]
    struct process *proc;  // [I]
    s32 tid;               // [H,P] changes when a thread that is not the first calls execve
    struct list hash_link; // [H]
    struct list proc_link; // [H,P]
    u64 order;             // [P] it was the so-many-th to join its process
    struct list mourners;  // [H] process.mourn_link: children to be told of its end

    u64 clear_child_tid; // [S] user address, 0: none
    u64 robust_list;     // [S] user address of the list head, 0: none

    atomic_bool sig_work; // [a] signal_deliver has something to do; set by anyone, cleared by S
    u64 blocked;          // [S,P]
    u64 sig_wait;         // [P] signals rt_sigtimedwait waits for
    struct sigpending pending;  // [P]
    struct ksiginfo fault;      // [S] a fault's siginfo, so that force_signal_fault cannot fail
    int fault_sig;              // [S] its signal, 0: none
    u64 saved_mask;             // [S] to restore after a temporary mask
    bool saved_mask_valid;      // [S]
    struct uapi_stack altstack; // [S]

    u32 mempolicy;           // [S] set_mempolicy
    u64 mempolicy_nodes;     // [S]
    s64 restart;             // [S] the -ERESTART code of the system call in progress, 0: none
    u64 resume_deadline_ns;  // [S] of a timed wait that starts again, 0: none
    struct vfork *vfork;     // [S] who waits until it leaves its parent's address space; NULL: none
    bool parked;             // [P] stopped by a signal
    s8 nice;                 // [P] kernel/sys_prio.c
    u8 policy;               // [P] SCHED_*, kernel/sys_sched.c
    bool reset_on_fork;      // [P] a child begins with no priority of ours (sched(7))
    u16 ioprio;              // [P]
    struct cpu_clock *clock; // [S] kernel/itimer_cpu.c; NULL: no timer was ever on its CPU time
};

// Where relative paths begin and what new files may not have; one for the processes that CLONE_FS
// made.
struct fs_ctx {
    atomic_int ref;     // [a] processes
    atomic_uint umask;  // [a]
    struct mutex lock;  // RANK_SLEEP_MISC
    struct inode *cwd;  // [F] counted; NULL: the root of all paths
    struct inode *root; // [F] counted: "/"; NULL: the root of all paths
};

// Signal actions; one for the processes that CLONE_SIGHAND without CLONE_THREAD made. Each of them
// has its own proc->lock, so that one does not do.
struct sighand {
    atomic_int ref;                        // [a] processes
    struct spinlock lock;                  // RANK_SIGHAND
    struct sigaction_k action[NR_SIGNALS]; // [A]
};

// Who the process is. fsuid and fsgid are who asks for files: fs/perm.c. A part of the process, so
// that who reads it without the lock may find numbers that do not belong together, but never memory
// that is gone. Only `groups` may go: it is counted before the lock is dropped.
struct creds {
    u32 uid, euid, suid, fsuid;
    u32 gid, egid, sgid, fsgid;
    struct cred_groups *groups; // counted; NULL: none
    u64 cap_permitted, cap_effective, cap_inheritable, cap_bounding, cap_ambient;
    u32 securebits; // SECBIT_*
};

// capabilities(7). Each bit has one above it that locks it.
#define SECBIT_NOROOT          1u
#define SECBIT_NO_SETUID_FIXUP 4u
#define SECBIT_KEEP_CAPS       16u
#define SECBIT_NO_AMBIENT      64u
#define SECBITS_LOCKS          0xaau
#define SECBITS_ALL            0xffu
#define SECBIT_LOCK_OF(bit)    ((bit) << 1)

// What prctl and personality remember.
struct proc_flags {
    u32 personality;
    u32 dumpable;
    u64 timer_slack_ns;
    bool no_new_privs, thp_disable, io_flusher;
    u8 mce_kill; // 0: nothing said; else one more than PR_MCE_KILL's value
    int oom_score_adj;
};

// What getrusage tells: times in ns, faults that did not have to wait and that had to, times a
// thread gave its CPU up and had it taken, the most pages resident.
struct proc_usage {
    u64 user_ns, kernel_ns;
    u64 minor_faults, major_faults;
    u64 switches_asked, switches_forced;
    u64 peak_rss;
};

// What the threads of a process come to: CPU time, the ticks that met them in user mode and in the
// kernel, times they gave the CPU up and had it taken.
struct thread_sums {
    u64 runtime_ns;
    u64 ticks[2];
    u64 switches_asked, switches_forced;
};

// A process is made by task_publish of its first thread, is a zombie from the end of its last
// thread until its parent waits for it, and then leaves the tables: see kernel/family.c.
struct process {
    atomic_int ref;        // [a] one for each thread, the tables' one, and process_get's
    s32 pid;               // [I] once published
    s32 ppid;              // [H,P] 0: none
    s32 pgid, sid;         // [H,P] the numbers of pgrp and its session
    struct list all_link;  // [H]
    struct list hash_link; // [H] by pid

    struct process *parent;        // [H] NULL: process 1
    struct list children;          // [H] process.sibling, the oldest first
    struct list sibling;           // [H]
    struct pgrp *pgrp;             // [H] counted
    struct list pgrp_link;         // [H]
    s32 parent_tid;                // [H] the thread that made it, for pdeath_signal
    struct list mourn_link;        // [H] kernel/family.c: of that thread, or one instead of it
    u8 exit_signal;                // [H] sent to the parent at the end, 0: none
    u8 pdeath_signal;              // [H] sent when the thread that made it ends, 0: none
    bool did_exec;                 // [H] setpgid by the parent is refused
    bool subreaper;                // [H] inherits the children of its descendants
    bool zombie;                   // [H] no thread is left
    bool reaped;                   // [H] it has left the tables
    bool stray;                    // [H] given to a process 1 that is no init: the kernel reaps it
    u64 multi_seq;                 // [H] counts the signals sent to a group that has it as a member
    struct proc_usage child_usage; // [H] of the children waited for
    struct waitq child_wait;       // a child has ended, stopped or continued
    struct waitq end_wait;         // it has become a zombie (poll of a pidfd)
    struct waitq signal_wait;      // a signal has become pending (fs/signalfd.c)

    // Job control, see kernel/sigdeliver.c.
    u8 stop_sig;            // [P] every thread is to park, because of this signal; 0: none
    u8 stop_report;         // [P] waitid(WSTOPPED) has this to tell; 0: nothing
    bool stopped;           // [P] all threads are parked
    bool stop_dequeued;     // [P] a thread is about to stop it; a SIGCONT takes that back
    bool cont_report;       // [P] waitid(WCONTINUED) has something to tell
    bool cont_notify;       // [P] the parent is to get a SIGCHLD for it
    unsigned nr_parked;     // [P]
    struct waitq park_wait; // the parked threads

    struct spinlock lock;                    // RANK_SIGNAL
    struct list threads;                     // [H,P] task_ext.proc_link, the oldest first
    bool tids_mixed;                         // [P] a younger one has had a smaller number
    unsigned nr_threads;                     // [P]
    unsigned nr_live;                        // [P] threads that still use what is owned below
    bool leader_left;                        // [P] the first thread has ended, exit_status is its
    bool exiting;                            // [P] every thread is to leave
    struct task_ext *exec_task;              // [P] this one calls execve, the others are to leave
    int exit_status;                         // [P] as wait() reports: code << 8 | signal
    struct waitq thread_gone;                // a thread has left `threads`
    struct sighand *sighand;                 // [P] counted; exec replaces it
    struct sigpending shared;                // [P]
    unsigned nr_sigqueue;                    // [P] queued ones, POSIX timers: RLIMIT_SIGPENDING
    struct uapi_rlimit rlimit[RLIM_NLIMITS]; // [P]
    struct thread_sums dead;                 // [P] of threads that are gone
    u64 nr_joined;                           // [P] threads there have been
    struct list walks;                       // [P] kernel/usage.c: who is adding the threads up
    struct proc_usage past;                  // [P] kernel/usage.c: of address spaces it has left
    u64 faults_before, parks_before;         // [P] kernel/usage.c: of mm

    struct mm *mm;       // [P] counted for each thread; changed only by the last thread (exec)
    struct files *files; // [P] counted; NULL once the last thread has begun to end
    struct fs_ctx *fs;   // [P] counted; NULL like files
    struct file *exe;    // [P, exec] program_get's, NULL before the first exec
    u64 start_ns;        // [I]
    atomic_bool membarrier_registered;              // [a]
    vaddr_t arg_start, arg_end, env_start, env_end; // [P, exec] the strings on the stack
    vaddr_t start_stack;                            // [P, exec] where argc was
    bool is_init;                                   // [I] the machine ends with it
    bool is_program;   // [I] process 1 is a program that was asked for, no init: no signal is kept
                       // from it, and the orphans it gets are reaped by the kernel
    struct creds cred; // [P]
    struct account *account;    // [P] counted; cred.uid's
    unsigned nr_charged;        // [P] of the account's threads, ours
    atomic_bool nproc_exceeded; // [a] kernel/account.c: execve is to look at RLIMIT_NPROC
    struct proc_flags flags;    // [P]
    atomic_ulong nr_programs;   // [a] counts execve; written under P before mm
    atomic_bool strace;         // [a] see strace.h; a child has its parent's
    struct itimers *timers;     // [P] NULL until the first one is made: kernel/itimer.c
    struct sem_undo *sem_undo;  // [ipc/sem.c] what SEM_UNDO is to take back
    atomic_bool cpu_watch;      // [a] a tick has to look at its CPU time
    _Atomic u64 cpu_look_ns;    // [a] clock_ns from which on it may: kernel/itimer_cpu.c
    u64 xcpu_ns;                // [P] CPU time of the next SIGXCPU
};

static inline struct task_ext *current_task(void)
{
    return current_thread()->ext;
}
static inline struct process *current_process(void)
{
    return current_thread()->proc;
}

// Has the caller this capability in force? capabilities(7). A look at a word that other threads of
// the process may be changing, so that it can be asked under any lock; kernel threads may do
// everything.
#define CAP_CHOWN           0
#define CAP_DAC_OVERRIDE    1
#define CAP_DAC_READ_SEARCH 2
#define CAP_FOWNER          3
#define CAP_FSETID          4
#define CAP_KILL            5
#define CAP_SETGID          6
#define CAP_SETUID          7
#define CAP_SETPCAP         8
#define CAP_NET_ADMIN       12
#define CAP_NET_RAW         13
#define CAP_IPC_LOCK        14
#define CAP_IPC_OWNER       15
#define CAP_SYS_CHROOT      18
#define CAP_SYS_PTRACE      19
#define CAP_SYS_ADMIN       21
#define CAP_SYS_BOOT        22
#define CAP_SYS_NICE        23
#define CAP_SYS_RESOURCE    24
#define CAP_SYS_TIME        25
#define CAP_SYS_TTY_CONFIG  26
#define CAP_MKNOD           27
#define CAP_SYSLOG          34
static inline bool current_has_cap(unsigned cap)
{
    const struct process *p = current_process();
    return !p || (data_race(p->cred.cap_effective) >> cap & 1);
}

// Of the current process; of a kernel thread: root's, which may do everything. The groups are not
// counted. Any lock of a rank below RANK_SIGNAL may be held.
struct creds creds_now(void);
bool current_in_group(u32 gid); // as a supplementary one; the same locks

void proc_init(void); // boot: caches, tables; before any user thread

// Boot, thread context, file systems mounted: load and start process 1. Panics with a clear line
// when no program can be started (there is nothing else to do).
void proc_start_init(void);

// Find by number and keep the process from going away; NULL: none. process_put undoes it.
struct process *process_get_by_pid(s32 pid);
struct process *process_get_by_tid(s32 tid); // of any of its threads, or of a zombie
void process_get(struct process *p);
void process_put(struct process *p);
// Processes alive (for leak tests and sysinfo) and user threads alive.
unsigned process_count(void);
unsigned task_count(void);

// Send to one thread by number; tgid 0: of any process. info NULL: only look. -ESRCH.
int task_signal_by_tid(s32 tgid, s32 tid, const struct ksiginfo *info);

// A new thread of proc with its ext, kernel stack and FPU area, not yet visible or runnable; NULL:
// no memory. task_free undoes it as long as it was not published.
struct task_ext *task_create(struct process *proc, const char *name);
void task_free(struct task_ext *task);
// Give a thread a number, make it findable. -EAGAIN: the process is dying, out of numbers, or too
// many threads.
int task_publish(struct task_ext *task);
// Take it out of the tables; the last one makes its process a zombie, whose exit status is `status`
// unless exit_group or a signal set one before. last: it was.
void task_unpublish(struct task_ext *task, int status, bool *last);
// exec by a thread that is not the first: it becomes the one whose tid is the pid.
void task_become_leader(struct task_ext *task);

// End the current thread with this status (as wait() reports); the last one ends the process.
noreturn_fn void task_exit(int status);
// End every thread of the current process.
noreturn_fn void process_exit_group(int status);
// Make all other threads of the current process leave and wait for that: 0, or -EAGAIN when
// somebody else is already ending the process.
int process_kill_others(void);
// Is the current thread to end (a deadly signal, exit_group, another thread's execve)? Waits that
// only that may end look at it; the state is SLEEPING then. Takes proc->lock.
bool thread_kill_pending(void);
// The way back to user mode, after a tick that found cpu_watch: CPU-time timers and limits. Sleeps.
void itimers_cpu_check(void);
// CPU time of the whole process.
u64 process_runtime_ns(struct process *p);

// ---- Looking at other processes (kernel/look.c; /proc is made of it) ----------------------------
//
// What a process owns may go at any time: exec replaces it, the last thread lets go of it. Each
// function looks under the lock that guards the change and returns a counted reference, or NULL
// when there is nothing left (a process without threads waits for its parent, or for nothing).
// The caller holds a reference to the process and no spinlock.
struct mm *process_get_mm(struct process *p); // mm_put
// The same for a file of /proc, which not everybody may read: -ESRCH, -EACCES; ptrace(2), "Ptrace
// access mode checking", PTRACE_MODE_READ_FSCREDS. And the question alone: 0 or -EACCES.
int process_get_mm_for_file(struct process *p, struct mm **out);
int process_may_look(struct process *p);
struct files *process_get_files(struct process *p); // files_put
struct file *process_get_exe(struct process *p);    // file_put
// files_get_file of its table, and the first open descriptor from fd on (-1: none), its file
// counted in *out; without a reference to the table: the last put of one closes files, which not
// every caller may do. The second may sleep.
struct file *process_get_file(struct process *p, int fd);
int process_next_file(struct process *p, int fd, struct file **out);
// The current directory, or the root; inode_put. The caller holds no RANK_SLEEP_MISC lock.
struct inode *process_get_dir(struct process *p, bool root);

// What can be said of a process and of one of its threads. Times in ns.
struct process_look {
    s32 pid, ppid, pgid, sid;
    unsigned nr_threads; // 0: a zombie
    int exit_status;     // as wait() reports
    u64 start_ns;
    u64 user_ns, kernel_ns; // the exact sum, split by the ticks that met it here and there
    u64 sig_pending, sig_ignored, sig_caught; // SIG_BITs
    unsigned nr_sigqueue;
    struct uapi_rlimit rlimit[RLIM_NLIMITS];
    vaddr_t arg_start, arg_end, env_start, env_end, start_stack;
    struct proc_usage child_usage; // of the children waited for
    u32 umask;
    struct creds cred; // but for the groups
    struct proc_flags flags;
};
struct task_look {
    s32 tid;
    char name[16];
    char state; // as in /proc/PID/stat: R S D Z
    unsigned cpu;
    u64 affinity;
    u64 user_ns, kernel_ns;
    unsigned switches_asked, switches_forced;
    int nice;
    u64 sig_pending, sig_blocked;
};
void process_look(struct process *p, struct process_look *out);
// What p has used so far, its children's not counted. Any lock of a rank below RANK_SIGNAL may be
// held.
void process_usage(struct process *p, struct proc_usage *out);
// tid 0: the first thread. false: no such thread in p (a zombie's leader is made up).
bool task_look(struct process *p, s32 tid, struct task_look *out);
// The smallest pid, or tid of p, above `after`; 0: none. For listing.
s32 process_next_pid(s32 after);
s32 process_next_tid(struct process *p, s32 after);
// Name a thread of p as prctl(PR_SET_NAME) does. -ESRCH.
int task_set_name(struct process *p, s32 tid, const char *name);
// The last number given to a thread.
s32 process_last_number(void);
// Threads started since boot.
u64 process_forks(void);

// The names of the machine (kernel/uts.c). len without a NUL; -EINVAL: too long.
void uts_get(struct uapi_utsname *out);
int uts_set_nodename(const char *name, size_t len);
int uts_set_domainname(const char *name, size_t len);

// Load averages of 1, 5 and 15 minutes, in 1/2048 (kernel/loadavg.c).
#define LOADAVG_ONE 2048ul
void loadavg_get(unsigned long out[3]);
void loadavg_init(void);

// The context of another process, counted; NULL: it has ended. fs_ctx_put may sleep.
struct fs_ctx *process_get_fs(struct process *p);
void fs_ctx_put(struct fs_ctx *c);

// The soft limit of the current process.
u64 process_rlimit(unsigned which);

// Load a program into a new address space (kernel/exec.c). Strings are kernel memory.
#define CRED_KEEP (~0u)
struct exec_ids {
    u32 uid, gid; // whom the file makes who runs it act as; CRED_KEEP: as before
};
struct exec_image {
    struct mm *mm; // the new address space, one user
    u64 entry, sp;
    vaddr_t arg_start, arg_end, env_start, env_end;
    struct exec_ids ids;
    bool secure;     // it has more than who runs it
    bool changed;    // or acts as somebody else than who ran it
    bool unreadable; // who runs it may not read it, or its interpreter
};
struct exec_args {
    char *buf; // strings, each with its NUL, argv first; page allocated
    size_t used, size, limit;
    unsigned argc, envc;
    bool path_gone; // after the execve nobody finds the path any more: no name for a script
};
// argv and envp are stored in args; the image is complete or nothing is left. Sleeps.
// -ENOEXEC, -ENOMEM, -EIO, -E2BIG, -EINVAL ...
int exec_load(struct file *file, const char *path, const struct exec_args *args,
              struct exec_image *out);
// kernel/elf.c: map the segments.
struct elf_info {
    u64 entry;         // where to begin: the interpreter's, if there is one
    u64 program_entry; // the program's own
    u64 interp_base;   // what was added to the interpreter's addresses, 0: none
    u64 phdr_addr, phnum, load_base, brk_start;
    bool stack_exec; // PT_GNU_STACK asks for it
    bool unreadable; // the interpreter: who runs it may not read it
};
int elf_load(struct mm *mm, struct file *file, struct elf_info *out);

// The robust list of the dying current thread (kernel/futex.c), and the wake-up of who waits on a
// user word. Thread context; user memory is touched.
void futex_exit_robust(u64 head, s32 tid);
int futex_wake_user(u64 uaddr, bool process_private, unsigned nr);
void futex_init(void);

// Cryptographic random bytes (kernel/random.c). Any thread context.
void random_bytes(void *buf, size_t n);
// The same for the same n bytes until the next boot, and nobody outside can tell which: for tables
// of names that programs choose. Any thread context.
u64 name_hash(const void *name, size_t n);
void random_init(void);

// The clocks of uapi/time.h: -EINVAL for one we lack.
int clock_read_ns(int clock, u64 *ns);

#endif
