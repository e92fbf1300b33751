// The lock order, outermost first. A thread that holds a lock of rank r may only take locks of a
// rank greater than r; a DEBUG=1 kernel panics at the first violation. docs/LOCKING.md says, for
// each pair that nests, where the nesting happens. RANK_EPOLL and RANK_EPOLL_WAIT may be taken
// inside themselves: which of two epolls comes first is told by which of them watches the other,
// and fs/epoll_graph.c sees to it that this has no circle.
#ifndef K_LOCKRANK_H
#define K_LOCKRANK_H

enum lock_rank {
    // Sleeping locks.
    RANK_EPOLL_GRAPH = 1, // which epoll watches which
    RANK_EPOLL,           // an epoll's own, the outermost of nested ones first
    RANK_FILE_POS,        // file->pos_lock: read, write, lseek, getdents at the file's own position
    RANK_VFS,             // namespace: directories, mounts
    RANK_INODE,           // inode->lock: file size changes, write(), truncate
    RANK_PIPE,            // pipe->lock
    RANK_TTY_IN,          // tty->in_lock: settings and what is typed
    RANK_TTY_OUT,         // tty->out_lock: its device
    RANK_IPC,             // ipc/: a table of System V objects
    RANK_FDTABLE,         // files->lock
    RANK_MMAP_LOCK,       // mm->mmap_lock (scheme mmap_lock only)
    RANK_MM_EDIT,         // mm->edit_lock
    RANK_I_MMAP,          // mapping->i_mmap_lock
    RANK_FORK,            // mm->fork_gate: until the instant of a fork
    RANK_SLEEP_MISC,      // leaf sleeping locks: nothing sleeping is taken inside
    // Spinlocks.
    RANK_SPIN_FIRST = 32,
    RANK_PROC = RANK_SPIN_FIRST, // process tables and thread lists
    RANK_SIGNAL,                 // process->lock
    RANK_SIGHAND,                // sighand->lock: signal actions
    RANK_FUTEX,                  // futex hash bucket
    RANK_SOCK,                   // a unix socket (two: by address)
    RANK_PT_UPPER,               // lock of a page-table page above the leaf; top level first
    RANK_PT_UPPER2,
    RANK_PT_UPPER3,
    RANK_PT_LEAF,   // lock of a leaf page-table page
    RANK_MAPPING,   // mapping->lock: the page cache of one file
    RANK_RCU,       // grace-period state
    RANK_SLAB,      // slab depots
    RANK_PAGE,      // the buddy allocator
    RANK_SPIN_MISC, // leaf spinlocks
    // Spinlocks always taken with interrupts off.
    RANK_IRQ_FIRST = 64,
    RANK_WAITQ = RANK_IRQ_FIRST, // a wait queue; wakers may be interrupt handlers
    RANK_EPOLL_WAIT,             // an epoll's queues, the innermost of nested ones first
    RANK_TIMER,                  // a CPU's timer queue
    RANK_RUNQ,                   // a CPU's run queue
    RANK_TTY,                    // a device ring
    RANK_CONSOLE,                // the console
    RANK_SCREEN,                 // the text on the screen
};

#endif
