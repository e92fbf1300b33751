// System V IPC: shared memory, semaphores and messages (ipc/). What the rest of the kernel needs.
#ifndef IPC_H
#define IPC_H

#include <k/types.h>

// The text of /proc/sysvipc/shm, as text_ops.chunk makes it: see sysvipc(5). Sleeps.
size_t shm_text(u64 *pos, char *buf, size_t size);

size_t sem_text(u64 *pos, char *buf, size_t size); // of /proc/sysvipc/sem
size_t msg_text(u64 *pos, char *buf, size_t size); // of /proc/sysvipc/msg

// The process, which is the current one, ends: what it did with SEM_UNDO is taken back. Sleeps; no
// lock held.
struct process;
void sem_exit(struct process *p);

#endif
