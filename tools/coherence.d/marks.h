/*
 * Marks: how a guest program talks to the plugin. A plugin of QEMU 7.2 sees no register and no
 * memory of the guest, only instructions. So a mark is an instruction without effect that carries
 * a number: on x86 the seven-byte no-op `0f 1f 80`, whose operand is a 32-bit displacement from
 * RAX that nothing ever loads from. Any program may execute it, on any kernel, and without the
 * plugin it does nothing.
 *
 * The order of marks, B for the batches of one run:
 *
 *     RUN (BATCH_WARM|BATCH (BEGIN END)... BATCH_END)... RUN_END
 *
 * BEGIN and END are about the virtual CPU that executes them; the others come from one thread at a
 * time while no window is open.
 */
#ifndef COHERENCE_MARKS_H
#define COHERENCE_MARKS_H

#define MARK_MAGIC      0x46c71e00 /* the low byte is the number */
#define MARK_BEGIN      1          /* this CPU's accesses count from here */
#define MARK_END        2          /* to here */
#define MARK_RUN        3          /* one operation at one number of threads starts */
#define MARK_BATCH_WARM 4          /* a batch that fills the caches of the kernel; not reported */
#define MARK_BATCH      5
#define MARK_BATCH_END  6
#define MARK_RUN_END    7

#endif
