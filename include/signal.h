// Signals: kernel/signal.c (sending, state), kernel/sigdeliver.c (acting on them at the return to
// user mode), kernel/sys_signal.c (the calls). The theory is at the top of kernel/signal.c.
#ifndef SIGNAL_H
#define SIGNAL_H

#include <k/list.h>
#include <k/types.h>
#include <uapi/signal.h>

struct process;
struct task_ext;
struct trapframe;

// What a system call handler returns, instead of -EINTR, when a signal ended its wait and it has
// changed nothing. User mode never sees these: signal_deliver() turns them into a new start of the
// call or into -EINTR. A handler that returns plain -EINTR is never restarted, unless syscalls.def
// lists it as SYSCALL_RESTART.
#define ERESTARTSYS    512 // again, unless a handler without SA_RESTART ran
#define ERESTARTNOINTR 513 // again, whatever ran
#define ERESTARTNOHAND 514 // again, unless any handler ran
#define ENORESTART     515 // never: -EINTR, though syscalls.def lists the call
#define ERESTARTRESUME                                                                             \
    516 // the same for a relative timed wait: task_ext.resume_deadline_ns is kept

#define SIG_BIT(sig) (1ull << ((sig)-1))

// The action of one signal: the layout user mode passes to rt_sigaction.
struct sigaction_k {
    u64 handler; // SIG_DFL, SIG_IGN or an address
    u64 flags;   // SA_*
    u64 restorer;
    u64 mask;
};

struct ksiginfo {
    s32 signo, code;
    s32 pid; // sender; SI_USER, SI_TKILL, SI_QUEUE
    u32 uid;
    u64 value;        // SI_QUEUE
    u64 addr;         // faults (code > 0)
    s32 status;       // SIGCHLD: exit code or signal
    s64 utime, stime; // SIGCHLD: CPU time in 1/USER_HZ
};

// The 128 bytes that a handler with SA_SIGINFO sees.
void siginfo_to_user(struct uapi_siginfo *to, const struct ksiginfo *info);

// Signals sent but not yet taken, of one thread or of a process.
struct sigpending {
    u64 set;           // SIG_BITs
    struct list queue; // struct sigqueue, oldest first; a bit may be set without an entry
};

// The current thread did something the CPU refuses (trap code, handle_page_fault): the signal is
// acted on before it runs another user instruction. Blocked or ignored: it kills. Cannot fail.
// addr: the address accessed, or the instruction's. Thread context, no spinlock held.
void force_signal_fault(int sig, int code, u64 addr);

// Send to one thread / to any thread of the process. 0, -EAGAIN (a queued signal, no room).
// The caller keeps the target alive. May allocate; no spinlock held.
int signal_send_thread(struct task_ext *to, const struct ksiginfo *info);
int signal_send_process(struct process *to, const struct ksiginfo *info);
// SIGPIPE and the like, to the current thread.
void signal_send_self(int sig);

// Act on what is pending: kernel/entry.c calls it from return_to_user_work(), interrupts on, no
// lock held. May not return (the thread dies). Also finishes an interrupted system call.
void signal_deliver(struct trapframe *f);
// Is there a reason to call it? Any context; current thread.
bool signal_work_pending(void);

// Replace the current thread's mask until the return to user mode (ppoll, rt_sigsuspend). user_mask
// 0: nothing. 0, -EINVAL (size is not 8), -EFAULT.
int signal_mask_swap_user(u64 user_mask, u64 size);
// The current thread's mask; SIGKILL and SIGSTOP are left out. Used by arch_signal_pop's caller.
void signal_set_mask(u64 mask);

// For arch/ARCH/signal.c: the alternate stack as the frame stores it, and back (errors are ignored,
// as Linux does).
void signal_altstack_save(struct uapi_stack *out);
void signal_altstack_restore(const struct uapi_stack *in);

// The action of a signal now. proc->lock may be held.
struct sigaction_k sigaction_get(struct process *p, int sig);

void signal_init(void); // boot: caches

// For exec, exit and clone.
void signal_pending_init(struct sigpending *p);
void signal_pending_flush(struct process *proc, struct sigpending *p);
void signal_reset_for_exec(struct process *proc);
// Recompute the current thread's work flag; proc->lock held.
void signal_recalc_locked(struct task_ext *task);
// The task can no longer take shared signals of `lost`: tell others. proc->lock held.
void signal_retarget_locked(struct task_ext *task, u64 lost);

#endif
